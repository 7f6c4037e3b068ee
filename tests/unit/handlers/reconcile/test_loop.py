"""The loop's verdicts: what is tried again, when, and what never is."""

from __future__ import annotations

import pytest

from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.errors import Reject, Retry
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.handlers.api.conditions import find
from matrixinfer.handlers.api.manifests import parse_manifests
from matrixinfer.handlers.api.meta import Condition, Resource
from matrixinfer.handlers.api.model import Model
from matrixinfer.handlers.api.modelinfer import ModelInfer
from matrixinfer.handlers.api.modelserver import ModelServer
from matrixinfer.handlers.api.pod import Pod, PodStatus
from matrixinfer.handlers.api.podgroup import PodGroup
from matrixinfer.handlers.api.service import Service
from matrixinfer.handlers.cluster.local.adapter import LocalCluster
from matrixinfer.handlers.errors import ClusterError, Conflicted
from matrixinfer.handlers.reconcile.backends.platform import Platform
from matrixinfer.handlers.reconcile.loop import Loop
from matrixinfer.handlers.reconcile.modelinfer import NEXT_PORTION_S, PORTION
from matrixinfer.handlers.reconcile.setbacks import (
    CONFLICT_RETRY_S,
    CONFLICTS,
    FAILED,
    FIRST_RETRY_S,
    GIVEN_UP_AFTER,
    LAST_RETRY_S,
    TOLD_AFTER,
)
from matrixinfer.handlers.reconcile.triggers import RECONCILED, Key

SERVER = """
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelServer
metadata: {name: s}
spec: {inferenceEngine: Simulated, workloadSelector: {matchLabels: {app: x}}}
---
apiVersion: matrixinfer.ai/v1alpha1
kind: ModelInfer
metadata: {name: i}
spec:
  template:
    roles: [{name: server, entryTemplate: {spec: {containers: [{name: c}]}}}]
"""

MODEL = """
apiVersion: matrixinfer.ai/v1alpha1
kind: Model
metadata: {name: m}
spec: {backends: [{name: a, type: Simulated}]}
"""


class Place:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.broker = MemoryBroker(self.clock)
        self.bus = self.broker.connect()

    async def __aenter__(self) -> Place:
        self.cluster = await LocalCluster.open(self.bus)
        self.loop = self.another_loop()
        for resource in parse_manifests(SERVER):
            await self.cluster.apply(resource)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.bus.link.close()

    def another_loop(self) -> Loop:
        """As another process has it."""
        serving = self.bus.store("SERVING")
        return Loop(self.cluster, serving, self.bus.clock, lambda *_: [], lambda _: {}, platform=Platform("agent"))

    async def make_ready(self, pod: Pod) -> None:
        status = PodStatus(phase="Running", conditions=(Condition(type="Ready", status="True"),))
        await self.cluster.update_status(pod.model_copy(update={"status": status}))

    async def verdict(self, key: Key) -> Retry:
        with pytest.raises(Retry) as caught:
            await self.loop.reconcile(key)
        return caught.value


async def test_what_is_wanted_is_done_and_done_only_once():
    async with Place() as place:
        await place.loop.reconcile(Key("ModelServer", "default", "s"))
        first = await place.bus.store("SERVING").entries()
        assert list(first) == ["pool.default.s"]
        version = place.cluster.get(ModelServer, "default", "s").metadata.resource_version
        await place.loop.reconcile(Key("ModelServer", "default", "s"))
        assert await place.bus.store("SERVING").entries() == first
        assert place.cluster.get(ModelServer, "default", "s").metadata.resource_version == version


async def test_the_local_cluster_has_the_names_and_no_pod_groups():
    worker = "workerReplicas: 1, workerTemplate: {spec: {containers: [{name: c}]}}"
    text = SERVER.replace("{name: server,", f"{{name: server, {worker},").replace(
        "spec:\n  template:", "spec:\n  schedulerName: volcano\n  template:"
    )
    async with Place() as place:
        for resource in parse_manifests(text):
            await place.cluster.apply(resource)
        await place.loop.reconcile(Key("ModelInfer", "default", "i"))
        (service,) = place.cluster.list(Service)
        assert service.metadata.name == "i-0-server-0-0"
        assert [pod.metadata.annotations for pod in place.cluster.list(Pod)] == [{}, {}]
        assert place.cluster.list(PodGroup) == []
        version = service.metadata.resource_version
        await place.loop.reconcile(Key("ModelInfer", "default", "i"))
        assert place.cluster.get(Service, "default", "i-0-server-0-0").metadata.resource_version == version


async def test_an_object_that_is_gone_is_done_with():
    async with Place() as place:
        for kind in RECONCILED:
            await place.loop.reconcile(Key(kind, "default", "nobody"))


async def test_a_kind_without_reconciler_is_never_tried_again():
    async with Place() as place:
        with pytest.raises(Reject, match="no reconciler for kind 'Pod'"):
            await place.loop.reconcile(Key("Pod", "default", "p"))


async def test_failures_in_a_row_wait_longer_and_longer_and_a_success_forgets_them():
    key = Key("ModelServer", "default", "s")
    async with Place() as place:
        place.broker.drop_connection(place.bus)
        waits = [(await place.verdict(key)).after_s for _ in range(10)]
        assert waits[:3] == [FIRST_RETRY_S, 2 * FIRST_RETRY_S, 4 * FIRST_RETRY_S]
        assert waits[-1] == LAST_RETRY_S
        place.broker.restore_connection(place.bus)
        await place.loop.reconcile(key)
        place.broker.drop_connection(place.bus)
        assert (await place.verdict(key)).after_s == FIRST_RETRY_S


async def test_a_conflict_is_looked_at_again_almost_at_once(monkeypatch):
    async with Place() as place:

        async def lost(resource: object) -> None:
            raise Conflicted("somebody was faster")

        monkeypatch.setattr(place.cluster, "apply", lost)
        assert (await place.verdict(Key("ModelInfer", "default", "i"))).after_s == CONFLICT_RETRY_S


async def test_a_conflict_without_an_end_is_a_failure_and_told(monkeypatch):
    key = Key("ModelInfer", "default", "i")
    async with Place() as place:

        async def lost(resource: object) -> None:
            raise Conflicted("somebody is always faster")

        with monkeypatch.context() as patch:
            patch.setattr(place.cluster, "apply", lost)
            waits = [(await place.verdict(key)).after_s for _ in range(CONFLICTS + TOLD_AFTER)]
            assert waits[: CONFLICTS + 2] == [*[CONFLICT_RETRY_S] * CONFLICTS, FIRST_RETRY_S, 2 * FIRST_RETRY_S]
            found = place.cluster.get(ModelInfer, "default", "i")
            assert "somebody is always faster" in find(found.status.conditions, FAILED).message
        await place.loop.reconcile(key)
        assert find(place.cluster.get(ModelInfer, "default", "i").status.conditions, FAILED) is None


async def test_the_rest_of_a_large_object_comes_after_a_turn_of_the_others():
    key = Key("ModelInfer", "default", "i")
    async with Place() as place:
        (_, infer) = parse_manifests(SERVER.replace("spec:\n  template", "spec:\n  replicas: 150\n  template"))
        await place.cluster.apply(infer)
        assert (await place.verdict(key)).after_s == NEXT_PORTION_S
        assert len(place.cluster.list(Pod)) == PORTION
        await place.loop.reconcile(key)
        assert len(place.cluster.list(Pod)) == 150


async def test_a_defect_is_told_with_its_traceback_and_tried_again(monkeypatch, caplog):
    async with Place() as place:

        async def broken(resource: object) -> None:
            raise ZeroDivisionError("oops")

        monkeypatch.setattr(place.cluster, "apply", broken)
        assert "ZeroDivisionError: oops" in (await place.verdict(Key("ModelInfer", "default", "i"))).reason
        assert caplog.records[-1].exc_info is not None


async def test_what_goes_on_failing_says_so_is_given_up_and_says_so_no_more_when_it_succeeds(monkeypatch):
    key = Key("ModelInfer", "default", "i")
    async with Place() as place:
        apply, told = place.cluster.apply, set()

        async def broken(resource: object) -> None:
            raise ZeroDivisionError("oops")

        async def record(about: object, reason: str, message: str, *, is_warning: bool) -> None:
            told.add((reason, message, is_warning))

        monkeypatch.setattr(place.cluster, "record", record)

        def conditions() -> list[str]:
            return [one.type for one in place.cluster.get(ModelInfer, "default", "i").status.conditions]

        monkeypatch.setattr(place.cluster, "apply", broken)
        for _ in range(TOLD_AFTER - 1):
            await place.verdict(key)
        assert FAILED not in conditions()
        for _ in range(GIVEN_UP_AFTER - TOLD_AFTER):
            await place.verdict(key)
            assert FAILED in conditions()
        with pytest.raises(Reject, match=f"given up after {GIVEN_UP_AFTER} failures in a row: ZeroDivisionError: oops"):
            await place.loop.reconcile(key)
        assert (await place.verdict(key)).after_s == FIRST_RETRY_S
        assert told == {(FAILED, "ZeroDivisionError: oops", True)}
        monkeypatch.setattr(place.cluster, "apply", apply)
        await place.loop.reconcile(key)
        assert FAILED not in conditions()


async def test_what_was_seen_is_told_although_not_all_that_follows_can_be_done(monkeypatch):
    """A quota that allows two of three pods: the two are counted, and the failure is told once, not now and then."""
    key = Key("ModelInfer", "default", "i")
    async with Place() as place:
        (_, infer) = parse_manifests(SERVER.replace("spec:\n  template", "spec:\n  replicas: 3\n  template"))
        await place.cluster.apply(infer)
        apply = place.cluster.apply

        async def of_a_small_quota(resource: Pod) -> Pod:
            if isinstance(resource, Pod) and len(place.cluster.list(Pod)) == 2:
                raise ClusterError("exceeded quota")
            return await apply(resource)

        monkeypatch.setattr(place.cluster, "apply", of_a_small_quota)
        for _ in range(TOLD_AFTER + 1):
            await place.verdict(key)
        failed = find(place.cluster.get(ModelInfer, "default", "i").status.conditions, FAILED)
        assert "exceeded quota" in failed.message
        for pod in place.cluster.list(Pod):
            await place.make_ready(pod)
        another = place.another_loop()
        with pytest.raises(Retry):
            await another.reconcile(key)
        status = place.cluster.get(ModelInfer, "default", "i").status
        assert status.available_replicas == 2
        assert find(status.conditions, FAILED) == failed, "the other process has not failed often enough to tell it"


async def test_a_model_of_which_a_part_is_refused_is_not_said_to_be_whole(monkeypatch):
    key = Key("Model", "default", "m")
    async with Place() as place:
        (model,) = parse_manifests(MODEL)
        await place.cluster.apply(model)
        apply = place.cluster.apply

        async def without_servers(resource: Resource) -> Resource:
            if isinstance(resource, ModelServer):
                raise ClusterError("forbidden")
            return await apply(resource)

        monkeypatch.setattr(place.cluster, "apply", without_servers)
        await place.verdict(key)
        initialized = find(place.cluster.get(Model, "default", "m").status.conditions, "Initialized")
        assert (initialized.status, initialized.reason) == ("False", "Creating")
        assert "ModelServer m-a" in initialized.message
        monkeypatch.setattr(place.cluster, "apply", apply)
        await place.loop.reconcile(key)
        initialized = find(place.cluster.get(Model, "default", "m").status.conditions, "Initialized")
        assert initialized.status == "True"


async def test_whoever_cannot_be_reached_is_waited_for_without_end():
    key = Key("ModelServer", "default", "s")
    async with Place() as place:
        place.broker.drop_connection(place.bus)
        for _ in range(2 * GIVEN_UP_AFTER):
            assert (await place.verdict(key)).after_s <= LAST_RETRY_S


async def test_a_failed_pod_is_looked_at_again_when_its_time_has_come():
    key = Key("ModelInfer", "default", "i")
    async with Place() as place:
        await place.loop.reconcile(key)
        (pod,) = place.cluster.list(Pod)
        ended = pod.status.model_copy(update={"phase": "Failed"})
        await place.cluster.update_status(pod.model_copy(update={"status": ended}))
        assert (await place.verdict(key)).after_s == pytest.approx(10.0)
        await place.clock.advance(10.5)
        await place.loop.reconcile(key)
        assert place.cluster.list(Pod) == []
        await place.loop.reconcile(key)
        (again,) = place.cluster.list(Pod)
        assert again.metadata.uid != pod.metadata.uid
        assert place.cluster.get(ModelInfer, "default", "i").status.replicas == 1
