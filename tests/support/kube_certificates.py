"""Keys and certificates of a control plane for tests, made by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

NAMES = "IP:127.0.0.1,IP:10.0.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default.svc"
DAYS = "30"


def make_certificates(folder: Path) -> None:
    """ca, server, front (the aggregator's own, before the servers behind it) and sa.key (of service accounts)."""
    folder.mkdir(parents=True)
    _key(folder / "ca.key")
    authority = folder / "ca.crt"
    _openssl("req", "-x509", "-new", "-key", folder / "ca.key", "-days", DAYS, "-subj", "/CN=tests", "-out", authority)
    _certificate(folder, "server", "kube-apiserver", names=NAMES)
    _certificate(folder, "front", "front-proxy-client")
    _openssl("genrsa", "-traditional", "-out", folder / "sa.key", "2048")


def _certificate(folder: Path, name: str, subject: str, *, names: str = "") -> None:
    key, request, certificate = (folder / f"{name}.{ending}" for ending in ("key", "csr", "crt"))
    _key(key)
    _openssl("req", "-new", "-key", key, "-subj", f"/CN={subject}", "-out", request)
    signing: list[str | Path] = [
        "-CA",
        folder / "ca.crt",
        "-CAkey",
        folder / "ca.key",
        "-CAcreateserial",
        "-days",
        DAYS,
    ]
    extensions = folder / f"{name}.ext"
    extensions.write_text(f"subjectAltName={names}\n" if names else "")
    _openssl("x509", "-req", "-in", request, *signing, "-days", DAYS, "-out", certificate, "-extfile", extensions)


def _key(path: Path) -> None:
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
