"""The ports on a real nats-server: nats-py for the connection, our own paths where requests pass.

Here belongs all that knows NATS: its protocol, its JSON API, its error codes, its reconnects. Errors of nats-py end
here. Only those who start a process import it, for `connect`; everybody else is given a `Bus`.
"""

from matrixinfer.bus.jetstream.connect import connect, drift, stock

__all__ = ["connect", "drift", "stock"]
