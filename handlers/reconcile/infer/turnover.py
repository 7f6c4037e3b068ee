"""Who comes and who goes: the balance of groups, and within each group that of every role's instances. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from matrixinfer.handlers.api.modelinfer import ModelInfer, Role
from matrixinfer.handlers.reconcile.infer.balance import Balance, Bounds, Unit, balance
from matrixinfer.handlers.reconcile.infer.census import Census, Present
from matrixinfer.handlers.reconcile.infer.places import Instance, Place, places
from matrixinfer.handlers.reconcile.infer.templates import Templates


@dataclass
class Turnover:
    """`wanted` has for each place that shall be taken the template's revision. `retired` groups and instances shall go,
    `staying` ones are as wanted but for what is missing. `to_update` counts outdated units that a rollout will replace;
    `ready_groups` those that serve."""

    wanted: dict[Place, str] = field(default_factory=dict)
    retired_groups: set[int] = field(default_factory=set)
    retired: set[Instance] = field(default_factory=set)
    staying_groups: set[int] = field(default_factory=set)
    ready_groups: int = 0
    outdated: int = 0


class Turn:
    """One look at one ModelInfer. `leaving`: instances that shall go because something failed."""

    def __init__(self, infer: ModelInfer, templates: Templates, census: Census, leaving: set[Instance]) -> None:
        self._infer = infer
        self._strategy = infer.spec.rollout_strategy
        self._templates = templates
        self._census = census
        self._leaving = leaving
        self._result = Turnover()

    def turnover(self) -> Turnover:
        replicas, result = self._infer.spec.replicas, self._result
        by_group = not self._strategy.by_role
        units = {
            number: self._census.group_unit(number, replaced_whole=by_group, leaving=self._leaving)
            for number in self._census.groups
        }
        bounds = Bounds.of(self._strategy.rolling_update_configuration, replicas, paused=self._strategy.paused)
        groups = balance(units.values(), replicas, bounds if by_group else Bounds())
        result.retired_groups = set(groups.retired)
        result.staying_groups = {n for n, unit in units.items() if not unit.leaves} - result.retired_groups
        for number in sorted(result.staying_groups):
            self._roles(number)
        gone = defaultdict[int, set[Instance]](set)
        for one in self._leaving | result.retired:
            gone[one.group].add(one)
        left = [self._left(units[number], gone.get(number)) for number in result.staying_groups]
        result.ready_groups = sum(unit.is_ready and not unit.leaves for unit in left)
        result.outdated += sum(unit.is_outdated and not unit.leaves for unit in left)
        for number in groups.made:
            revision = self._revision_of_new(number, bounds) if by_group else self._templates.update
            result.outdated += by_group and self._templates.is_former(revision)
            self._want_group(number, revision)
        return result

    def _left(self, group: Unit, gone: set[Instance] | None) -> Unit:
        """As it is when the plan is done: without the instances that it takes away."""
        if gone is None:
            return group
        by_group = not self._strategy.by_role
        return self._census.group_unit(group.number, replaced_whole=by_group, leaving=gone, gone=gone)

    def _roles(self, group: int) -> None:
        """Scales, and with a rollout by role replaces, the instances of a group that stays."""
        revision = self._census.revision_of(group) if not self._strategy.by_role else self._templates.update
        roles = self._templates.roles(revision)
        present = self._census.groups[group]
        self._result.retired |= {
            one for one, there in present.items() if one.role not in roles and not there.leaves
        } - self._leaving
        blocked = self._strategy.paused
        for name in self._in_order(roles):
            own = [there for one, there in present.items() if one.role == name]
            blocked |= self._instances(group, roles[name], revision, own, paused=blocked)

    def _instances(self, group: int, role: Role, revision: str, own: list[Present], *, paused: bool) -> bool:
        """True while instances of the role are still to be replaced: those of the next one wait."""
        by_role = self._strategy.by_role
        units = {
            there.instance.number: self._census.instance_unit(there, role, replaced=by_role, leaving=self._leaving)
            for there in own
        }
        bounds = Bounds.of(self._strategy.rolling_update_configuration, role.replicas, paused=paused)
        change = balance(units.values(), role.replicas, bounds if by_role else Bounds())
        self._result.retired |= {Instance(group, role.name, number) for number in change.retired}
        for there in own:
            unit = units[there.instance.number]
            if unit.leaves or unit.number in change.retired:
                continue
            self._result.outdated += unit.is_outdated
            self._want(there.instance, self._revision_staying(there, unit, revision))
        for number in change.made:
            origin = self._revision_of_new(number, bounds) if by_role else revision
            self._result.outdated += by_role and self._templates.is_former(origin, role.name)
            self._want(Instance(group, role.name, number), origin)
        return _has_more_to_replace(units.values(), change, bounds) or self._waits_for_new(units, change, role)

    def _waits_for_new(self, units: Mapping[int, Unit], change: Balance, role: Role) -> bool:
        """The next role begins when this one is whole again."""
        staying = [unit for number, unit in units.items() if not unit.leaves and number not in change.retired]
        return self._strategy.by_role and sum(unit.is_ready for unit in staying) < role.replicas

    def _revision_staying(self, there: Present, unit: Unit, revision: str) -> str:
        """What is missing of an instance is made from the template of the rest."""
        own = there.revision
        if unit.is_outdated and self._templates.knows(own) and there.instance.role in self._templates.roles(own):
            return own
        return revision

    def _revision_of_new(self, number: int, bounds: Bounds) -> str:
        """Those that a partition protects, and all while the rollout is paused, come again as they were."""
        current = self._infer.status.current_revision
        is_old = bounds.paused or number < bounds.partition
        return current if is_old and self._templates.knows(current) else self._templates.update

    def _want_group(self, number: int, revision: str) -> None:
        for role in self._templates.roles(revision).values():
            for instance in range(role.replicas):
                self._want(Instance(number, role.name, instance), revision)

    def _want(self, instance: Instance, revision: str) -> None:
        role = self._templates.roles(revision).get(instance.role)
        if role is not None:
            self._result.wanted |= dict.fromkeys(places(instance, role), revision)

    def _in_order(self, roles: Iterable[str]) -> list[str]:
        order = {name: at for at, name in enumerate(self._strategy.role_order)}
        return sorted(roles, key=lambda name: order.get(name, len(order)))


def paused(infer: ModelInfer) -> ModelInfer:
    """As if somebody had paused its rollout."""
    strategy = infer.spec.rollout_strategy.model_copy(update={"paused": True})
    return infer.model_copy(update={"spec": infer.spec.model_copy(update={"rollout_strategy": strategy})})


def _has_more_to_replace(units: Iterable[Unit], change: Balance, bounds: Bounds) -> bool:
    old = [unit for unit in units if unit.is_outdated and not unit.leaves and unit.number not in change.retired]
    return len(old) > bounds.partition
