"""What is asked of a container from outside: a command, a page or a port of it, or just some time. Values only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from matrixinfer.agents.node.shapes import Object, part, parts, seconds, shown, text, word, words

HOST = "127.0.0.1"
"""Containers share the machine's network."""


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


KINDS = ("exec", "httpGet", "tcpSocket", "sleep", "grpc")
LAST_PORT = 65535


def read_check(holder: Object, name: str, ports: Iterable[Object]) -> Check | None:
    """None for nothing. Raises ValueError for what this node cannot ask."""
    if holder.get(name) is None:
        return None
    try:
        return _read(part(holder, name), ports)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _read(item: Object, ports: Iterable[Object]) -> Check:
    kinds = [kind for kind in KINDS if item.get(kind) is not None]
    if len(kinds) > 1:
        raise ValueError(f"expected one thing to do, got {' and '.join(kinds)}")
    if not kinds:
        raise ValueError("a probe or hook says nothing to do; expected exec, httpGet, tcpSocket or sleep")
    check = part(item, kinds[0])
    match kinds[0]:
        case "exec":
            return Exec(_command(check))
        case "httpGet":
            scheme, path = (text(check, "scheme") or "HTTP").lower(), text(check, "path") or "/"
            url = f"{scheme}://{text(check, 'host') or HOST}:{_port(check, ports)}/{path.lstrip('/')}"
            return HttpGet(url, tuple((text(one, "name"), text(one, "value")) for one in parts(check, "httpHeaders")))
        case "tcpSocket":
            return TcpSocket(text(check, "host") or HOST, _port(check, ports))
        case "sleep":
            return Sleep(seconds(check, "seconds", 0))
    raise ValueError("a check by grpc is not known to this node; expected exec, httpGet or tcpSocket")


def _command(item: Object) -> tuple[str, ...]:
    command = words(item, "command")
    if not command:
        raise ValueError("exec has no command")
    return command


def _port(item: Object, ports: Iterable[Object]) -> int:
    """By number, or by the name that the container's `ports` give it."""
    wanted = word(item, "port")
    named = {text(port, "name"): word(port, "containerPort") for port in ports}
    try:
        found = int(named.get(wanted, wanted))
    except ValueError as error:
        known = ", ".join(name for name in named if name) or "none"
        raise ValueError(f"port {shown(wanted)} is no number and none of the container's ports ({known})") from error
    if not 1 <= found <= LAST_PORT:
        raise ValueError(f"port: expected a number from 1 to {LAST_PORT}, got {shown(found)}")
    return found
