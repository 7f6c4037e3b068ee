"""The root of the command line: global flags, the order of the commands, and what becomes of errors."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from matrixinfer.cli import (
    chat,
    crds,
    describe,
    doctor,
    explain,
    logs,
    objects,
    parts,
    replay,
    rollout,
    scale,
    simulate,
    start,
    webhooks,
)
from matrixinfer.cli.errors import readable


class ReadableErrors(TyperGroup):
    """Errors become one line on stderr and exit code 1; with `--debug` they keep their traceback."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except BrokenPipeError:  # the reader of our output left, e.g. `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except Exception as error:
            if ctx.params.get("debug") or type(error).__module__.startswith("typer."):
                raise
            typer.echo(f"error: {readable(error)}", err=True)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=ReadableErrors,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Serve large language models, event-driven over NATS JetStream.\n\n"
    "[bold]matrixinfer up[/bold] starts everything on this machine, with a small real model.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from matrixinfer import __version__

        typer.echo(f"matrixinfer {__version__}")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Flags that every command takes; `debug` is read by `ReadableErrors`."""
    # Without a log of its own a command says what happened itself: no log lines beside its one line of error.
    logging.getLogger("matrixinfer").addHandler(logging.NullHandler())


for group in (
    *(start, chat, objects, describe, logs, scale, rollout, crds, webhooks),
    *(explain, replay, doctor, simulate, parts),
):
    group.register(app)
