"""The certificate that is served, exchanged while connections are open: they keep theirs, new ones get the new one."""

from __future__ import annotations

import asyncio
import logging
import ssl
import tempfile
from pathlib import Path

from matrixinfer.handlers.admission.errors import BadKeyset

logger = logging.getLogger("matrixinfer.handlers.admission.tls")


class Tls:
    """`context` is for the server; it can be used when `is_ready` is set."""

    def __init__(self) -> None:
        self.context = _context()
        self.is_ready = asyncio.Event()
        self._served: tuple[bytes, bytes] | None = None

    def serve(self, certificate: bytes, key: bytes) -> None:
        """From the next connection on, in PEM. Raises BadKeyset, and goes on with what it had."""
        if (certificate, key) == self._served:
            return
        with tempfile.TemporaryDirectory() as name:  # the library takes files only; nobody else may enter the folder
            paths = Path(name) / "tls.crt", Path(name) / "tls.key"
            for path, content in zip(paths, (certificate, key), strict=True):
                path.write_bytes(content)
            try:
                _context().load_cert_chain(*paths)  # a pair that does not fit must not spoil the one that is served
            except (ssl.SSLError, OSError) as error:
                raise BadKeyset(f"the certificate and its key cannot be served: {error}") from error
            self.context.load_cert_chain(*paths)
        logger.info("%s", "another certificate is served" if self._served else "a certificate is served")
        self._served = certificate, key
        self.is_ready.set()


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
