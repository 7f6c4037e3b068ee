"""How a handlers process with the role `admission` is told where to answer, and whom it may say it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode, SettingsConfigDict

from matrixinfer.bus.configuration import Settings


def _words(value: object) -> object:
    """`10.0.0.1, localhost` as it stands in the environment."""
    return tuple(word for word in re.split(r"[,\s]+", value) if word) if isinstance(value, str) else value


class AdmissionSettings(Settings):
    """Read once per process: environment (`MATRIXINFER_ADMISSION_…`) over file (`admission`) over default."""

    model_config = SettingsConfigDict(env_prefix="MATRIXINFER_ADMISSION_")

    host: str = "0.0.0.0"  # the API server comes from another machine
    """Address to listen on: one that the API server reaches."""

    port: int = Field(default=8443, ge=0, le=65535)
    """TCP port of the webhooks and of `/readyz`, HTTPS only; 0 takes a free one."""

    cert_dir: Path | None = None
    """Folder with `tls.crt` and `tls.key`, as cert-manager mounts them; a new pair is served within seconds, without a
    restart. Absent: the process makes a certificate of its own, keeps it in `secret`, renews it, and tells
    `configuration` whom to trust."""

    secret: str = "matrixinfer-admission"
    """Secret of the certificate that is made here; all replicas share it."""

    service: str = "matrixinfer-admission"
    """Service by which the API server calls; the certificate is made for its name."""

    namespace: str = "matrixinfer"
    """Namespace of the Service and of the Secret."""

    configuration: str = "matrixinfer"
    """Name of the two webhook configurations, the mutating and the validating, that are told whom to trust."""

    names: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = ()
    """Further names and addresses that the certificate is made for, separated by commas: for an API server outside the
    cluster, which calls by URL."""

    linger_s: float = Field(default=5.0, ge=0)
    """Reviews are answered for so long after the process was told to stop: API servers learn late that it goes."""

    @property
    def all_names(self) -> tuple[str, ...]:
        """What the certificate must be good for."""
        service = f"{self.service}.{self.namespace}.svc"
        return (service, f"{service}.cluster.local", *self.names)
