"""What this process knows of the objects: fed by a reflector for each kind, and at once by its own writes.

A later version of an object has a larger number, from whichever answer it comes, so the largest is believed:

    we apply: r12 ──► cache holds r12 ──► the watch brings r11 (older: ignored) ──► r12 (known) ──► r13
    we delete uid u ──► cache empty, grave of u ──► the watch brings u at r12 (dead: ignored) ──► DELETED u, no grave

A list is as of one version L: an object that it lacks is gone, unless we hold a version of it that is later than L.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from matrixinfer.handlers.api.registry import KINDS
from matrixinfer.handlers.cluster.known import Cached, Known, Seen, read

Body = Mapping[str, Any]


def key_of(namespace: str, name: str) -> str:
    return f"{namespace}/{name}"


class Cache(Known):
    def __init__(self) -> None:
        super().__init__()
        self.seen = {kind: Seen() for kind in KINDS}
        self._graves: dict[str, set[str]] = {kind: set() for kind in KINDS}

    # -- what the reflector brings
    def graves(self, kind: str) -> frozenset[str]:
        """Taken before a list is begun, given to `listed` when it has come."""
        return frozenset(self._graves[kind])

    def listed(self, kind: str, bodies: Iterable[dict[str, Any]], revision: int, graves: frozenset[str]) -> None:
        """Everything there is, as of `revision`. A lower one than was seen before is a store that was put back: then it
        is right, whatever this process held."""
        is_put_back = revision < self.seen[kind].revision
        found = {_key(body): body for body in bodies}
        for key in self.keys(kind):
            held = self.get(kind, key)
            if key not in found and held is not None and (is_put_back or held.revision <= revision):
                self.put(kind, key, None)
        for key, body in found.items():
            self._believe(kind, key, body, is_right=is_put_back)
        living = {body["metadata"]["uid"] for body in found.values()}
        self._graves[kind] = set() if is_put_back else {u for u in self._graves[kind] if u in living or u not in graves}
        if is_put_back:
            self.seen[kind].starts_again(revision)
        self.seen[kind].reached(revision)

    def saw(self, kind: str, what: str, body: dict[str, Any]) -> None:
        """One event of the watch: ADDED, MODIFIED, DELETED or BOOKMARK."""
        revision = int(body["metadata"]["resourceVersion"])
        if what == "DELETED":
            self._saw_the_end(kind, body)
        elif what != "BOOKMARK":
            self._believe(kind, _key(body), body)
        self.seen[kind].reached(revision)

    # -- what this process did
    def wrote(self, kind: str, body: dict[str, Any]) -> Cached:
        """The answer to a write; returns it as it is read. The watch may be faster, and have brought what others did
        after it: an object that is gone must not come back."""
        revision, held = int(body["metadata"]["resourceVersion"]), self.get(kind, _key(body))
        is_late = revision <= self.seen[kind].revision
        if is_late and (held is None or held.revision != revision):
            return read(kind, _key(body), body, revision)
        return self._believe(kind, _key(body), body)

    def deleted(self, kind: str, key: str, uid: str, before: Cached | None) -> None:
        """`before` is what was held when the delete was sent: if that was another uid, its end came earlier still."""
        held = self.get(kind, key)
        self._graves[kind] |= {uid} if before is None else {uid, before.uid}
        if held is not None and held.uid in self._graves[kind]:
            self.put(kind, key, None)

    def _believe(self, kind: str, key: str, body: dict[str, Any], *, is_right: bool = False) -> Cached:
        revision = int(body["metadata"]["resourceVersion"])
        held = self.get(kind, key)
        is_news = held is None or (held.revision != revision if is_right else held.revision < revision)
        if held is not None and held.revision == revision:
            return held
        cached = read(kind, key, body, revision)
        if not is_news or (cached.uid in self._graves[kind] and not is_right):
            return cached
        if held is not None and held.uid != cached.uid:
            self.put(kind, key, None)  # another object of this name: the former's end was missed
        self.put(kind, key, cached)
        return cached

    def _saw_the_end(self, kind: str, body: Body) -> None:
        key, uid = _key(body), body["metadata"]["uid"]
        self._graves[kind].discard(uid)
        held = self.get(kind, key)
        if held is not None and held.uid == uid:
            self.put(kind, key, None)


def _key(body: Body) -> str:
    return key_of(body["metadata"]["namespace"], body["metadata"]["name"])
