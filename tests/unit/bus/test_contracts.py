"""Version N of every contract against N-1: what the last version wrote is read, and what the next will add is ignored.

`contracts_v1.json` holds, for each message, its fields and one message as version 1 wrote it. It is never changed; a
new version adds its own file, with the messages that began in it.
"""

from __future__ import annotations

import enum
import importlib
import json
import pkgutil
import types
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from matrixinfer.bus import contracts
from matrixinfer.bus.contracts import decode, encode
from matrixinfer.bus.contracts.envelope import Envelope
from matrixinfer.bus.errors import Malformed

GOLDEN: dict[str, dict[str, Any]] = {}
for version in sorted(Path(__file__).parent.glob("contracts_v*.json")):
    GOLDEN |= json.loads(version.read_text())


def all_contracts() -> dict[str, type[msgspec.Struct]]:
    found = {}
    for module in pkgutil.iter_modules(contracts.__path__):
        loaded = importlib.import_module(f"{contracts.__name__}.{module.name}")
        for value in vars(loaded).values():
            if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == loaded.__name__:
                found[value.__name__] = value
    return dict(sorted(found.items()))


CONTRACTS = all_contracts()


def sample(kind: Any) -> Any:
    """A value of any type that a contract uses; of a message, with the fields of its first version only."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is not None:
        return sample_of_many(origin, arguments)
    if issubclass(kind, enum.Enum):
        return next(iter(kind))
    if issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind)
        return kind(**{name: sample(hints[name]) for name in GOLDEN[kind.__name__]["fields"]})
    return {str: "text", int: 7, float: 1.5, bytes: b"bytes", bool: True}.get(kind, {"any": "thing"})


def sample_of_many(origin: Any, arguments: tuple[Any, ...]) -> Any:
    if origin is typing.Literal:
        return arguments[0]
    if origin is dict:
        return {sample(arguments[0]): sample(arguments[1])}
    if origin is tuple:
        return tuple(map(sample, arguments))
    first = sample(arguments[0])
    return first if origin in (typing.Union, types.UnionType) else origin([first])


def test_every_contract_is_held_to_its_first_version() -> None:
    assert set(GOLDEN) <= set(CONTRACTS), "a contract is gone: its messages can be no longer read"
    assert set(CONTRACTS) <= set(GOLDEN), "a new contract needs its golden message, in the file of its version"


@pytest.mark.parametrize("name", GOLDEN)
def test_what_its_first_version_wrote_is_read_today(name: str) -> None:
    kind = CONTRACTS[name]

    assert decode(bytes.fromhex(GOLDEN[name]["message"]), kind) == sample(kind)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_reader_of_its_first_version_finds_its_fields_where_they_were(name: str) -> None:
    fields = msgspec.structs.fields(CONTRACTS[name])
    old = GOLDEN[name]["fields"]

    assert [field.name for field in fields][: len(old)] == old
    assert all(not field.required for field in fields[len(old) :])


@pytest.mark.parametrize("name", GOLDEN)
def test_what_a_newer_version_adds_is_ignored(name: str) -> None:
    message = sample(CONTRACTS[name])
    raw = msgspec.msgpack.decode(encode(message))
    if isinstance(raw, list):
        raw.append("new")
    else:
        raw["new"] = "new"

    assert decode(encode(raw), CONTRACTS[name]) == message


def test_a_message_that_is_not_of_the_contract_is_malformed_and_says_which_was_expected() -> None:
    with pytest.raises(Malformed, match="expected the message Envelope"):
        decode(encode(["no", "envelope"]), CONTRACTS["Envelope"])


def test_an_envelope_tells_the_size_of_its_body_wherever_that_is() -> None:
    envelope = sample(Envelope)

    assert envelope.size_bytes == len(b"bytes")
    assert msgspec.structs.replace(envelope, body=b"", body_ref="mi.body.a.b.c", body_bytes=99).size_bytes == 99
