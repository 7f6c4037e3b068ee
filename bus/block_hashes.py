"""The names of prompt blocks: what gateway, agents and simulator must compute alike for the cache index to work.

A block is 256 tokens (or 1,024 bytes where nobody tokenizes). Its hash is chained: it names all of the prompt up to
the block's end, so equal hashes mean equal prefixes and no parent needs to be told. What follows the last whole block
has no hash.

An engine names its blocks otherwise, and has them of another size. Its agent hears their token ids and makes these
names itself: it puts the engine's blocks of one chain together, and names each 256 tokens, counted from the prompt's
beginning, as soon as all of them are there.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import blake2b

BLOCK_TOKENS = 256
BLOCK_BYTES = 1024
HASH_BYTES = 8

_TOKEN_BYTES = 4


def block_hashes(prompt: bytes | Sequence[int], adapter: str = "", *, after: bytes = b"") -> bytes:
    """8 bytes for each whole block of `prompt`, which is its token ids (each below 2**32), or its bytes as they are.

    The adapter is mixed into the first link, as an adapter's keys and values are not the model's: another adapter
    changes every hash. Blocks of bytes never have the hashes of blocks of tokens. `after` continues a chain: it is the
    hash of the block before `prompt`, which then holds the adapter already.

        h[0] = H(root + block[0])        h[i] = H(h[i-1] + block[i])        H = BLAKE2b, unkeyed, digest of 8 bytes
        root = H("tokens" + NUL + adapter in UTF-8), of bytes H("bytes" + NUL + adapter in UTF-8)

    A block of tokens is its ids one after the other, each in 4 bytes, little-endian: 1,024 bytes. The ids are all that
    the engine computes from the beginning on, with those of the chat template and a leading one such as `<s>`.
    """
    if isinstance(prompt, bytes):
        unit, data, size = b"bytes", prompt, BLOCK_BYTES
    else:
        unit, data, size = b"tokens", struct.pack(f"<{len(prompt)}I", *prompt), BLOCK_TOKENS * _TOKEN_BYTES
    link = after or blake2b(unit + b"\0" + adapter.encode(), digest_size=HASH_BYTES).digest()
    links = []
    for start in range(0, len(data) - size + 1, size):
        link = blake2b(link + data[start : start + size], digest_size=HASH_BYTES).digest()
        links.append(link)
    return b"".join(links)


def as_numbers(hashes: bytes) -> memoryview[int]:
    """The hashes as numbers, for tables inside this process. A piece of a hash at the end, as a broken message may
    have it, is none."""
    return memoryview(hashes)[: len(hashes) // HASH_BYTES * HASH_BYTES].cast("Q")
