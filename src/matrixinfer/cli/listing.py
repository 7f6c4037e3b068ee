"""How objects are printed: rows under one header, or documents one after the other, however often more of them come."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

import typer

Manifest = dict[str, Any]


class Output(StrEnum):
    TABLE = "table"
    YAML = "yaml"
    JSON = "json"


class Printed(Protocol):
    def add(self, manifests: Sequence[Manifest], now: float, *, is_gone: bool = False) -> None: ...


class Rows:
    """A table whose columns never get narrower, so that what comes later stands below what was there."""

    def __init__(self, with_namespace: bool) -> None:
        from rich.console import Console

        self._with_namespace = with_namespace
        self._widths: list[int] = []
        console = Console(highlight=False, markup=False)
        self._console = console if console.is_terminal else Console(width=250, highlight=False, markup=False)

    def add(self, manifests: Sequence[Manifest], now: float, *, is_gone: bool = False) -> None:
        from rich.table import Table

        from matrixinfer.cli.tables import columns

        if not manifests:
            return
        kind = manifests[0]["kind"]
        titles = [*(["NAMESPACE"] if self._with_namespace else []), "NAME", *(t for t, _ in columns(kind)), "AGE"]
        rows = [self._cells(one, now, is_gone) for one in manifests]
        is_first = not self._widths
        shown = [*rows, titles] if is_first else rows
        widths = [max(len(row[at]) for row in shown) for at in range(len(titles))]
        self._widths = widths if is_first else [max(both) for both in zip(self._widths, widths, strict=True)]
        table = Table(box=None, pad_edge=False, header_style="bold", show_header=is_first)
        for title, width in zip(titles, self._widths, strict=True):
            table.add_column(title, overflow="fold", min_width=min(width, self._console.width // 4))
        for row in rows:
            table.add_row(*row)
        self._console.print(table)

    def _cells(self, one: Manifest, now: float, is_gone: bool) -> list[str]:
        from matrixinfer.cli.tables import age, columns

        metadata = one["metadata"]
        cells = [metadata.get("namespace", "")] if self._with_namespace else []
        cells += [metadata["name"], *(read(one) for _, read in columns(one["kind"])), age(one, now)]
        return [*cells[:-1], f"{cells[-1]} (deleted)"] if is_gone else cells


class Documents:
    """One document for each object; with `with_events`, what happened to it around it."""

    def __init__(self, output: Output, with_events: bool) -> None:
        self._output = output
        self._with_events = with_events
        self._seen: set[str] = set()
        self._is_first = True

    def add(self, manifests: Sequence[Manifest], now: float, *, is_gone: bool = False) -> None:
        for one in manifests:
            self._print(self._event(one, is_gone) if self._with_events else one)

    def _event(self, one: Manifest, is_gone: bool) -> Manifest:
        uid = one["metadata"]["uid"]
        is_known = uid in self._seen
        self._seen.add(uid)
        return {"type": "DELETED" if is_gone else "MODIFIED" if is_known else "ADDED", "object": one}

    def _print(self, document: Manifest) -> None:
        if self._output is Output.JSON:
            typer.echo(json.dumps(document))
            return
        if not self._is_first:
            typer.echo("---")
        self._is_first = False
        typer.echo(dumped(document, self._output))


def dumped(value: object, output: Output) -> str:
    if output is Output.JSON:
        return json.dumps(value, indent=2)
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False)).rstrip()
