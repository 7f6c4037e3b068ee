"""What is asked of a container from outside: a command, a page or a port of it, or just some time. Values only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

HOST = "127.0.0.1"
"""Containers share the machine's network."""

Object = Mapping[str, Any]
"""A part of a Kubernetes object as JSON gives it."""


@dataclass(frozen=True)
class Exec:
    """Well when it ends with code 0."""

    argv: tuple[str, ...]


@dataclass(frozen=True)
class HttpGet:
    """Well when the answer's status is from 200 to 399."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class TcpSocket:
    """Well when somebody accepts."""

    host: str
    port: int


@dataclass(frozen=True)
class Sleep:
    """Well after its time."""

    seconds: float


Check = Exec | HttpGet | TcpSocket | Sleep


def read_check(item: Object | None, ports: Iterable[Object]) -> Check | None:
    """None for nothing. Raises ValueError for what this node cannot ask."""
    if item is None:
        return None
    if (run := item.get("exec")) is not None:
        return Exec(_command(run))
    if (page := item.get("httpGet")) is not None:
        scheme = str(page.get("scheme") or "HTTP").lower()
        path = str(page.get("path") or "/")
        url = f"{scheme}://{page.get('host') or HOST}:{_port(page.get('port'), ports)}/{path.lstrip('/')}"
        return HttpGet(url, tuple((str(one["name"]), str(one["value"])) for one in page.get("httpHeaders") or ()))
    if (socket := item.get("tcpSocket")) is not None:
        return TcpSocket(str(socket.get("host") or HOST), _port(socket.get("port"), ports))
    if (sleep := item.get("sleep")) is not None:
        return Sleep(float(sleep.get("seconds") or 0))
    if "grpc" in item:
        raise ValueError("a check by grpc is not known to this node; expected exec, httpGet or tcpSocket")
    raise ValueError("a probe or hook says nothing to do; expected exec, httpGet, tcpSocket or sleep")


def _command(item: Object) -> tuple[str, ...]:
    words = tuple(str(word) for word in item.get("command") or ())
    if not words:
        raise ValueError("exec has no command")
    return words


def _port(wanted: object, ports: Iterable[Object]) -> int:
    """By number, or by the name that the container's `ports` give it."""
    named = {str(port.get("name")): port.get("containerPort") for port in ports}
    found = named.get(str(wanted), wanted)
    try:
        return int(str(found))
    except ValueError as error:
        known = ", ".join(name for name in named if name != "None") or "none"
        raise ValueError(f"port {wanted!r} is no number and none of the container's ports ({known})") from error
