"""The grammar of subjects: every name is one token, escaped reversibly, behind an installation's prefix.

Letters, digits, `_` and `-` stand for themselves; every other byte of a name's UTF-8 form becomes `=` and two upper
case hex digits (`.` is `=2E`). So any name is a legal token of a subject, a key of a bucket and a consumer's name.
"""

from __future__ import annotations

import functools
import re
import zlib
from dataclasses import dataclass
from typing import NamedTuple

from matrixinfer.bus.errors import Malformed

RECONCILE_PARTITIONS = 8

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_ESCAPED = re.compile(rb"=([0-9A-F]{2})")
_TOKEN = re.compile(r"(?:[A-Za-z0-9_-]|=[0-9A-F]{2})+")


@functools.lru_cache(maxsize=65536)
def escape(name: str) -> str:
    """Name → token. Raises Malformed for an empty name: a subject cannot hold an empty token."""
    if not name:
        raise Malformed("a name on the bus must not be empty")
    return _UNSAFE.sub(lambda m: "".join(f"={byte:02X}" for byte in m.group().encode()), name)


@functools.lru_cache(maxsize=65536)
def unescape(token: str) -> str:
    """Token → name; the inverse of `escape`. Raises Malformed for what `escape` never makes."""
    if not _TOKEN.fullmatch(token):
        raise Malformed(f"{token!r} is not a token of this grammar: letters, digits, '_', '-' and '=XX' are")
    try:
        name = _ESCAPED.sub(lambda m: bytes([int(m.group(1), 16)]), token.encode()).decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"token {token!r} does not hold a UTF-8 name") from error
    if escape(name) != token:
        raise Malformed(f"token {token!r} is not in canonical form: expected {escape(name)!r}")
    return name


def partition_of(kind: str, namespace: str, name: str) -> int:
    """Which reconcile partition an object belongs to: stable over processes and versions."""
    return zlib.crc32(f"{kind}/{namespace}/{name}".encode()) % RECONCILE_PARTITIONS


class InferSubject(NamedTuple):
    namespace: str
    modelserver: str
    shard: int
    tenant: str


class PodSubject(NamedTuple):
    namespace: str
    pod: str


class BodySubject(NamedTuple):
    namespace: str
    modelserver: str
    rid: str


class ApiSubject(NamedTuple):
    tenant: str
    endpoint: str


class ReconcileSubject(NamedTuple):
    partition: int
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True)
class Subjects:
    """Builds and reads the subjects of one installation. Methods that take `"*"` nowhere escape it: see the filters."""

    prefix: str = "mi"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.prefix):
            raise Malformed(f"prefix {self.prefix!r}: expected letters, digits, '_' and '-' only")

    # -- requests and work
    def infer(self, namespace: str, modelserver: str, shard: int, tenant: str) -> str:
        return f"{self.prefix}.infer.{escape(namespace)}.{escape(modelserver)}.{shard}.{escape(tenant)}"

    def infer_filter(self, namespace: str, modelserver: str, shard: int) -> str:
        return f"{self.prefix}.infer.{escape(namespace)}.{escape(modelserver)}.{shard}.*"

    def parse_infer(self, subject: str) -> InferSubject:
        namespace, modelserver, shard, tenant = self._tokens(subject, "infer", 4)
        return InferSubject(unescape(namespace), unescape(modelserver), _number(shard, subject), unescape(tenant))

    def work(self, namespace: str, pod: str) -> str:
        return f"{self.prefix}.work.{escape(namespace)}.{escape(pod)}"

    def parse_work(self, subject: str) -> PodSubject:
        return self._pod(subject, "work")

    def body(self, namespace: str, modelserver: str, rid: str) -> str:
        """The reference to a request's body in BODIES, as an envelope carries it."""
        return f"{self.prefix}.body.{escape(namespace)}.{escape(modelserver)}.{escape(rid)}"

    def parse_body(self, subject: str) -> BodySubject:
        namespace, modelserver, rid = self._tokens(subject, "body", 3)
        return BodySubject(unescape(namespace), unescape(modelserver), unescape(rid))

    def handover(self, namespace: str, pod: str) -> str:
        """Where the agent of the other half of a request speaks to this pod's."""
        return f"{self.prefix}.handover.{escape(namespace)}.{escape(pod)}"

    # -- answers and control
    def frames(self, gateway: str) -> str:
        return f"{self.prefix}.frames.{escape(gateway)}"

    def cancel(self, namespace: str, modelserver: str) -> str:
        return f"{self.prefix}.cancel.{escape(namespace)}.{escape(modelserver)}"

    def control(self, namespace: str, pod: str) -> str:
        return f"{self.prefix}.control.{escape(namespace)}.{escape(pod)}"

    def where(self, namespace: str, modelserver: str) -> str:
        return f"{self.prefix}.where.{escape(namespace)}.{escape(modelserver)}"

    def queue(self, namespace: str, modelserver: str) -> str:
        return f"{self.prefix}.queue.{escape(namespace)}.{escape(modelserver)}"

    def queue_filter(self) -> str:
        return f"{self.prefix}.queue.*.*"

    # -- reports
    def load(self, namespace: str, pod: str) -> str:
        return f"{self.prefix}.load.{escape(namespace)}.{escape(pod)}"

    def load_filter(self) -> str:
        return f"{self.prefix}.load.*.*"

    def parse_load(self, subject: str) -> PodSubject:
        return self._pod(subject, "load")

    def cache(self, namespace: str, pod: str) -> str:
        return f"{self.prefix}.cache.{escape(namespace)}.{escape(pod)}"

    def cache_filter(self) -> str:
        return f"{self.prefix}.cache.*.*"

    def parse_cache(self, subject: str) -> PodSubject:
        return self._pod(subject, "cache")

    def decision(self, namespace: str, modelserver: str) -> str:
        return f"{self.prefix}.decision.{escape(namespace)}.{escape(modelserver)}"

    def decision_filter(self) -> str:
        """Of every pool."""
        return f"{self.prefix}.decision.*.*"

    def dead(self, stream: str) -> str:
        return f"{self.prefix}.dead.{escape(stream)}"

    # -- the control plane
    def reconcile(self, kind: str, namespace: str, name: str) -> str:
        partition = partition_of(kind, namespace, name)
        return f"{self.prefix}.reconcile.{partition}.{escape(kind)}.{escape(namespace)}.{escape(name)}"

    def reconcile_filter(self, partition: int) -> str:
        return f"{self.prefix}.reconcile.{partition}.>"

    def parse_reconcile(self, subject: str) -> ReconcileSubject:
        partition, kind, namespace, name = self._tokens(subject, "reconcile", 4)
        return ReconcileSubject(_number(partition, subject), unescape(kind), unescape(namespace), unescape(name))

    def later(self, stream: str, key: str) -> str:
        """Where a scheduled message waits inside `stream` until the server moves it to its target."""
        return f"{self.prefix}.later.{escape(stream)}.{escape(key)}"

    def cluster(self, verb: str) -> str:
        """The local cluster's own door: apply, get, list, delete; request and reply."""
        return f"{self.prefix}.cluster.{escape(verb)}"

    def api(self, tenant: str, endpoint: str) -> str:
        """The gateways' door on the bus. `endpoint` may hold dots: it is the rest of the subject."""
        return f"{self.prefix}.api.{escape(tenant)}.{endpoint}"

    def api_filter(self, endpoint: str) -> str:
        return f"{self.prefix}.api.*.{endpoint}"

    def parse_api(self, subject: str) -> ApiSubject:
        tenant, _, endpoint = subject.removeprefix(f"{self.prefix}.api.").partition(".")
        if not subject.startswith(f"{self.prefix}.api.") or not endpoint:
            raise Malformed(f"subject {subject!r}: expected {self.prefix}.api.<tenant>.<endpoint>")
        return ApiSubject(unescape(tenant), endpoint)

    def _tokens(self, subject: str, family: str, count: int) -> list[str]:
        head, *tokens = subject.removeprefix(self.prefix + ".").split(".")
        if not subject.startswith(self.prefix + ".") or head != family or len(tokens) != count:
            raise Malformed(f"subject {subject!r}: expected {self.prefix}.{family} and {count} tokens")
        return tokens

    def _pod(self, subject: str, family: str) -> PodSubject:
        namespace, pod = self._tokens(subject, family, 2)
        return PodSubject(unescape(namespace), unescape(pod))


def key(*names: str) -> str:
    """A bucket key out of names, each escaped: `key("pod", "default", "a.b")` is `pod.default.a=2Eb`."""
    return ".".join(escape(name) for name in names)


def parse_key(text: str) -> tuple[str, ...]:
    """The names of a bucket key; the inverse of `key`."""
    return tuple(unescape(token) for token in text.split("."))


def _number(token: str, subject: str) -> int:
    if not token.isascii() or not token.isdigit():
        raise Malformed(f"subject {subject!r}: expected a number, met {token!r}")
    return int(token)
