"""Traces of real services, read from files: Mooncake's (FAST'25) as JSON lines, Azure's (2023) as CSV.

Mooncake's `hash_ids` name 512-token blocks: an equal id is an equal block with an equal prefix, so each is two of ours.
Azure's trace has sizes only: its prompts share nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path

import msgspec

from matrixinfer.simulate.errors import BadTrace
from matrixinfer.simulate.workload import BLOCK_TOKENS, Arrival, Blocks, Workload

MOONCAKE_BLOCK_TOKENS = 512


class _MooncakeRow(msgspec.Struct):
    """`timestamp` is in ms."""

    timestamp: float
    input_length: int
    output_length: int
    hash_ids: list[int] = []


def read(path: Path, limit: int | None = None) -> Workload:
    """The trace in `path`, its kind by the suffix; its first request comes at 0. Raises BadTrace and OSError."""
    readers = {".jsonl": _mooncake, ".csv": _azure}
    reader = readers.get(path.suffix)
    if reader is None:
        raise BadTrace(f"{path}: expected a trace that ends in {' or '.join(readers)}")
    with path.open(encoding="utf-8-sig", newline="") as lines:
        arrivals = _numbered(path, reader, islice(lines, _lines(limit, path.suffix)))
    if not arrivals:
        raise BadTrace(f"{path}: expected at least one request, found none")
    return Workload(path.stem, _from_zero(arrivals))


def _lines(limit: int | None, suffix: str) -> int | None:
    return None if limit is None else limit + (suffix == ".csv")


def _numbered(path: Path, reader: Callable[[Iterable[str]], Iterator[Arrival]], lines: Iterable[str]) -> list[Arrival]:
    arrivals: list[Arrival] = []
    try:
        arrivals.extend(reader(lines))
    except (ValueError, KeyError, msgspec.MsgspecError, csv.Error) as error:
        raise BadTrace(f"{path}: request {len(arrivals) + 1} cannot be read: {error}") from error
    return arrivals


def _from_zero(arrivals: list[Arrival]) -> list[Arrival]:
    arrivals.sort(key=lambda arrival: arrival.at)
    begin = arrivals[0].at
    return [msgspec.structs.replace(arrival, at=arrival.at - begin) for arrival in arrivals]


def _mooncake(lines: Iterable[str]) -> Iterator[Arrival]:
    decoder, blocks = msgspec.json.Decoder(_MooncakeRow), Blocks()
    parts = range(MOONCAKE_BLOCK_TOKENS // BLOCK_TOKENS)
    for number, line in enumerate(lines):
        row = decoder.decode(line)
        whole = row.input_length // BLOCK_TOKENS
        named = [blocks.named(f"{id}/{part}") for id in row.hash_ids for part in parts]
        yield _arrival(number, row.timestamp / 1000, row.input_length, row.output_length, tuple(named[:whole]))


def _azure(lines: Iterable[str]) -> Iterator[Arrival]:
    blocks = Blocks()
    for number, row in enumerate(csv.DictReader(lines)):
        at = datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp()
        prompt_tokens = int(row["ContextTokens"])
        own = blocks.fresh(f"azure-{number}", prompt_tokens // BLOCK_TOKENS)
        yield _arrival(number, at, prompt_tokens, int(row["GeneratedTokens"]), own)


def _arrival(number: int, at: float, prompt_tokens: int, output_tokens: int, blocks: tuple[bytes, ...]) -> Arrival:
    if prompt_tokens < 0 or output_tokens < 0:
        raise ValueError(f"expected lengths of at least 0, got {prompt_tokens} and {output_tokens}")
    return Arrival(
        rid=f"r{number}",
        at=at,
        prompt_tokens=max(1, prompt_tokens),
        output_tokens=max(1, output_tokens),
        blocks=blocks,
    )
