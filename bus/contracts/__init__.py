"""The messages of the bus: frozen msgspec structs, encoded as msgpack arrays, one module for each conversation.

A contract changes only by a new optional field at the end: an older reader ignores it, a newer one fills its default.
`CONTRACT_VERSION` tells what the writer knew. A field is never removed, moved or given another meaning.
"""

from matrixinfer.bus.contracts.codec import CONTRACT_VERSION, decode, encode

__all__ = ["CONTRACT_VERSION", "decode", "encode"]
