"""One job is one answer in one slot: what asks for several is refused, or a single request would hold an engine."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from matrixinfer.agents.engines.failures import bad_request
from matrixinfer.bus.contracts.frames import Failure

_SINGLE = (b"1", b"null")
_list_of = msgspec.json.Decoder(list[msgspec.Raw]).decode


def refusal(fields: Mapping[str, msgspec.Raw]) -> Failure | None:
    """None for a body (its fields, still encoded) that asks for one answer to one prompt."""
    for name in ("n", "best_of"):
        if name in fields and bytes(fields[name]) not in _SINGLE:
            return several(name, bytes(fields[name]).decode(errors="replace"))
    prompt = bytes(fields.get("prompt", b""))
    if prompt.startswith(b"[") and is_batch(_list_of(prompt)):
        return bad_request(
            "expected prompt to be one text or one list of token ids: send one request a prompt", "prompt"
        )
    return None


def several(name: str, value: object) -> Failure:
    """`n` or `best_of` is not 1."""
    return bad_request(f"expected {name} to be 1: this engine makes one answer a request, got {value}", param=name)


def is_batch(items: list[msgspec.Raw]) -> bool:
    """More than one prompt: a list of several texts or of several lists."""
    return len(items) > 1 and bytes(items[0])[:1] in (b'"', b"[")
