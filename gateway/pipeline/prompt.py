"""The prompt as dispatch wants to know it: how long it is, and the names of its blocks. Pure.

Where the pool names a tokenizer, these are of tokens (`gateway.tokenizing`). Else a block is 1,024 bytes of the
messages' JSON as the client wrote them. A longer conversation begins with the bytes of the shorter one, so the blocks
tell which pod has seen its beginning; they never equal an engine's own. An image's bytes are in them too: only for its
length does it count as a few tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matrixinfer.bus.block_hashes import block_hashes
from matrixinfer.gateway.pipeline.body import Asked
from matrixinfer.gateway.pipeline.embedded import embedded

BYTES_PER_TOKEN = 4
"""Of usual text, JSON around it included; the engine's usage corrects what was expected."""

TOKENS_PER_PIECE = 1000
"""Of an image or of half a minute of sound: about the middle of what engines make of one, whatever its bytes."""


class Prompt(NamedTuple):
    """`tokenized` as in the envelope."""

    tokens: int
    block_hashes: bytes
    tokenized: bool = False


def of_tokens(token_ids: Sequence[int], adapter: str) -> Prompt:
    """As the engine will have it, for `adapter` (empty: the model itself)."""
    return Prompt(max(1, len(token_ids)), block_hashes(token_ids, adapter), tokenized=True)


def measure(asked: Asked, adapter: str) -> Prompt:
    """What `asked` brings, without a tokenizer."""
    text = b"".join(map(bytes, asked.messages)) if asked.messages else bytes(asked.prompt)
    pieces, size_bytes = embedded(text)
    tokens = (len(text) - size_bytes) // BYTES_PER_TOKEN + pieces * TOKENS_PER_PIECE
    return Prompt(max(1, tokens), block_hashes(text, adapter))
