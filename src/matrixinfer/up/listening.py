"""The gateways' ports: looked at before anything starts, and kept for our own workers while the platform runs."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psutil

from matrixinfer.up.errors import PortTaken


def reserve(host: str, port: int) -> socket.socket:
    """A socket that holds the port but does not listen: gateways that share the port can come and go under it.

    Port 0 takes a free one. Raises PortTaken, saying who has it and what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if port:
        _check_free(family, host, port)
    holder = socket.socket(family, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        holder.bind((host, port))
    except OSError as error:
        holder.close()
        raise _refused(host, port, error) from error
    return holder


@contextmanager
def own_ports(host: str, count: int) -> Iterator[tuple[int, ...]]:
    """So many free ports, kept for our own workers: bound here but not listened on, each lets one listener in."""
    with ExitStack() as holders:
        yield tuple(_hold(holders, host) for _ in range(count))


def _hold(holders: ExitStack, host: str) -> int:
    holder = holders.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # its listener sets it too
    holder.bind((host, 0))
    return int(holder.getsockname()[1])


def _check_free(family: int, host: str, port: int) -> None:
    """Without SO_REUSEPORT, so that other listeners of this user are noticed too."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise _refused(host, port, error) from error


def _refused(host: str, port: int, error: OSError) -> PortTaken:
    if error.errno == errno.EADDRINUSE:
        return PortTaken(f"port {port} on {host} is taken{_by_whom(port)}; choose another with --port, or stop that")
    if error.errno == errno.EACCES:
        return PortTaken(f"port {port} on {host} is not allowed to this user; choose one above 1023 with --port")
    return PortTaken(f"cannot listen on {host}:{port}: {error.strerror or error}; choose others with --host and --port")


def _by_whom(port: int) -> str:
    """Best effort: another user's process cannot be seen."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        return ""
    return ""
