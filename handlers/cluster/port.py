"""What a cluster promises to the reconcilers; they cannot tell which one they have."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from matrixinfer.handlers.api.meta import Resource

R = TypeVar("R", bound=Resource)


@dataclass(frozen=True)
class ObjectChange:
    """An object came (`before` is None), changed, or went (`after` is None). Never both None."""

    before: Resource | None
    after: Resource | None

    @property
    def newest(self) -> Resource:
        """The object after the change, or as it was last seen."""
        resource = self.after or self.before
        assert resource is not None
        return resource


class Cluster(Protocol):
    """Reads come from a cache of this process, which at least knows what this process wrote: never a call to a server.

    Every method that writes raises the bus's Unavailable when the cluster does not answer; then it may have happened
    or not, and the same call may be tried again.
    """

    def get(self, kind: type[R], namespace: str, name: str) -> R | None:
        """The object as last seen, or None. Raises Unreadable for an object that this version cannot understand."""
        ...

    def list(self, kind: type[R], namespace: str | None = None, labels: Mapping[str, str] | None = None) -> list[R]:
        """The objects of `namespace` (None: of all) that have all of `labels`, in no order.

        An object that this version cannot understand is left out (it was logged when it came)."""
        ...

    async def apply(self, resource: R) -> R:
        """Make the object's labels, annotations, owners and spec be exactly these; returns it as it is then.

        A changed spec raises the generation; the status is left alone; applying what is there already writes
        nothing. With a `metadata.uid`, only that object is changed. Raises Conflicted when the object has another
        uid or is being deleted, and for another spec of a Pod: it cannot change.
        """
        ...

    async def update_status(self, resource: R) -> R:
        """Replace the status of the object that has this uid, nothing else; writing what is there writes nothing.
        Raises NotFound, and Conflicted for another uid."""
        ...

    async def delete(self, kind: type[Resource], namespace: str, name: str, *, uid: str | None = None) -> bool:
        """Delete; False when there was nothing to delete. Raises Conflicted when it has another uid.

        A Pod that somebody runs is only marked (`deletionTimestamp`) and goes when its processes ended. What is
        owned by the object goes by itself, soon after it.
        """
        ...

    async def reaches(self, kind: type[Resource], resource_version: str, timeout_s: float) -> bool:
        """Wait until the cache has seen this version of the kind, or a later one. False after `timeout_s`."""
        ...

    async def record(self, about: Resource, reason: str, message: str, *, is_warning: bool = False) -> None:
        """Emit an Event about the object, for people: `reason` is one CamelCase word. The same one again is counted and
        not repeated. Never raises: an Event that cannot be written is logged."""
        ...

    def serves(self, kind: type[Resource]) -> bool:
        """Does this cluster have the kind? One whose CRD is not installed has no objects, and applying one raises
        NotFound; a CRD that is installed later is noticed within minutes."""
        ...

    def watch(self, kinds: Iterable[type[Resource]]) -> AsyncIterator[ObjectChange]:
        """First every object of these kinds that is there, as having come, then each change in order, this process's
        own included. After a broken connection the differences come; a change of a change may be missed."""
        ...
