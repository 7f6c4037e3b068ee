"""`crds`: the CustomResourceDefinitions, for a Kubernetes cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from matrixinfer.cli.objects import PANEL


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=PANEL)(crds)


def crds(
    kind: Annotated[str | None, typer.Argument(help="Only of this kind; else of all.")] = None,
) -> None:
    """Print the CustomResourceDefinitions as YAML.

    Example: matrixinfer crds | kubectl apply --server-side -f -
    """
    import yaml

    from matrixinfer.cli.errors import CliError
    from matrixinfer.handlers.api.crds.render import our_kinds, rendered
    from matrixinfer.handlers.api.registry import find_kind

    kinds = our_kinds()
    if kind is not None:
        wanted = find_kind(kind)
        if wanted not in kinds:
            raise CliError(f"{wanted.name} is Kubernetes' own kind; it has no CustomResourceDefinition")
        kinds = [wanted]
    typer.echo(yaml.safe_dump_all([rendered(one) for one in kinds], sort_keys=False, width=120), nl=False)
