"""The bus inside one process: the memory twin of every port, for tests and simulations.

Here belongs what the ports promise and the topology says, by the clock it was given, so that hours pass in
milliseconds; with failures to inject (`drop_connection`, `restart`). Here does not belong: sockets, permissions,
durability. Anybody may import it in tests; the simulator may in production code.
"""

from matrixinfer.bus.memory.broker import MemoryBroker

__all__ = ["MemoryBroker"]
