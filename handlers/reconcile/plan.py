"""What a reconciler wants done: values only, so that a decision can be tested, compared and replayed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.serving import PodAdapters, Pool, PoolPod, Route
from matrixinfer.handlers.api.meta import Resource

Contract = Route | Pool | PoolPod | PodAdapters


@dataclass(frozen=True)
class Notice:
    """An Event about the object that is reconciled. `reason` is one CamelCase word."""

    reason: str
    message: str
    is_warning: bool = False


@dataclass(frozen=True)
class Plan:
    """Done in the order of the fields. `deletes` mean these very objects, by their uid.

    `serving` maps keys of SERVING to the value they shall have, None to be removed. `status` is the object with its
    new status when all before it was done, `unfinished` with that to be told when something could not, where the two
    differ. `again_after_s`: look again then, even if nothing changes.
    """

    applies: tuple[Resource, ...] = ()
    serving: Mapping[str, Contract | None] = field(default_factory=dict)
    deletes: tuple[Resource, ...] = ()
    status: Resource | None = None
    unfinished: Resource | None = None
    again_after_s: float | None = None
    notices: tuple[Notice, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing to do now."""
        return not (self.applies or self.serving or self.deletes or self.status)


def serving_changes(wanted: Mapping[str, Contract], present: Mapping[str, bytes]) -> dict[str, Contract | None]:
    """What turns the entries `present` into those `wanted`."""
    changes: dict[str, Contract | None] = {key: None for key in present if key not in wanted}
    changes |= {key: value for key, value in wanted.items() if present.get(key) != encode(value)}
    return changes


def differs(wanted: Resource, present: Resource) -> bool:
    """Would applying `wanted` change what is there?"""
    return _applied_part(wanted) != _applied_part(present)


def has_all(present: object, wanted: object) -> bool:
    """Is all that is `wanted` there, whatever else is? Both as JSON."""
    if isinstance(wanted, dict):
        return isinstance(present, dict) and all(has_all(present.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        if not isinstance(present, list) or len(present) != len(wanted):
            return False
        return all(has_all(one, other) for one, other in zip(present, wanted, strict=True))
    return present == wanted


def _applied_part(resource: Resource) -> dict[str, object]:
    body = resource.to_json()
    metadata = body["metadata"]
    own = {name: metadata.get(name) for name in ("labels", "annotations", "ownerReferences")}
    rest = {name: value for name, value in body.items() if name not in ("apiVersion", "kind", "metadata", "status")}
    return {"metadata": own, **rest}


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(names: Iterable[str], limit: int = 5) -> str:
    """`a, b and 3 more`, sorted."""
    known = sorted(names)
    shown = ", ".join(known[:limit])
    return shown if len(known) <= limit else f"{shown} and {len(known) - limit} more"
