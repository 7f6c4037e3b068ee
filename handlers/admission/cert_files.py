"""A certificate that somebody else keeps, as files: cert-manager's in a mounted Secret."""

from __future__ import annotations

import logging
from pathlib import Path

from matrixinfer.bus.clock import Clock
from matrixinfer.handlers.admission.errors import BadKeyset
from matrixinfer.handlers.admission.tls import Tls

logger = logging.getLogger("matrixinfer.handlers.admission.cert_files")

LOOK_EVERY_S = 5.0
"""A mounted Secret changes a minute or two after the Secret itself: it need not be looked at more often."""


async def follow_files(folder: Path, tls: Tls, clock: Clock) -> None:
    """Serve what lies there, and what will, until cancelled. A pair that cannot be served is told once."""
    told = ""
    while True:
        try:
            tls.serve((folder / "tls.crt").read_bytes(), (folder / "tls.key").read_bytes())
            told = ""
        except (OSError, BadKeyset) as error:
            if str(error) != told:
                logger.warning("%s holds no certificate to serve (yet): %s", folder, error)
            told = str(error)
        await clock.sleep(LOOK_EVERY_S)
