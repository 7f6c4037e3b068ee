"""`webhooks`: the configurations by which an API server asks the handlers about objects."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from matrixinfer.cli.objects import PANEL


class FailurePolicy(StrEnum):
    FAIL = "Fail"
    IGNORE = "Ignore"


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=PANEL)(webhooks)


def webhooks(
    *,
    namespace: Annotated[str, typer.Option("-n", "--namespace", help="Namespace of the Service.")] = "matrixinfer",
    service: Annotated[str, typer.Option(help="Service of the handlers with the role admission.")] = (
        "matrixinfer-admission"
    ),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Service.")] = 443,
    name: Annotated[str, typer.Option(help="Name of both configurations.")] = "matrixinfer",
    url: Annotated[str, typer.Option(metavar="HTTPS-URL", help="Call here instead of by a Service.")] = "",
    cert_manager: Annotated[
        str,
        typer.Option(metavar="NAMESPACE/CERTIFICATE", help="cert-manager says whom to trust; else the handlers do."),
    ] = "",
    ca: Annotated[Path | None, typer.Option("--ca", metavar="FILE", help="Trust these authorities (PEM).")] = None,
    failure_policy: Annotated[
        FailurePolicy, typer.Option(help="When nobody answers: refuse every change, or let the CRDs' own rules decide.")
    ] = FailurePolicy.FAIL,
    timeout: Annotated[int, typer.Option(min=1, max=30, help="Seconds that an answer may take.")] = 5,
) -> None:
    """Print the webhook configurations as YAML: bad objects are refused in words, defaults are written out.

    Example: matrixinfer webhooks --namespace matrixinfer | kubectl apply --server-side -f -
    """
    import yaml

    from matrixinfer.cli.errors import CliError
    from matrixinfer.handlers.admission.configurations import Wanted, configurations

    if url and not url.startswith("https://"):
        raise CliError(f"--url: expected https://…, got {url!r}: an API server calls nothing else")
    if cert_manager and cert_manager.count("/") != 1:
        raise CliError(f"--cert-manager: expected NAMESPACE/CERTIFICATE, got {cert_manager!r}")
    bundle = ca.read_bytes() if ca is not None else b""
    wanted = Wanted(name, namespace, service, port, url, cert_manager, bundle, failure_policy.value, timeout)
    typer.echo(yaml.safe_dump_all(configurations(wanted), sort_keys=False, width=120), nl=False)
