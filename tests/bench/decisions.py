"""What the record of a decision costs: the CPU that it adds to a decision, to take down and to write, and its bytes.

PYTHONPATH=src:tests python -m bench.decisions
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

from bench.scheduling import EveryPod, pods_of_a_pool, requests
from matrixinfer.bus.clock import ManualClock
from matrixinfer.bus.contracts import encode
from matrixinfer.bus.contracts.decision import Ending, FirstToken
from matrixinfer.bus.contracts.frames import Usage
from matrixinfer.bus.contracts.load import Finished, WorkKey
from matrixinfer.bus.contracts.profile import Profile
from matrixinfer.bus.ids import new_request_id
from matrixinfer.bus.memory import MemoryBroker
from matrixinfer.handlers.dispatch.assignment import PoolShard
from matrixinfer.handlers.dispatch.decisions import DecisionLog
from matrixinfer.handlers.dispatch.effects import Effects
from matrixinfer.handlers.dispatch.placing import Placement
from matrixinfer.handlers.dispatch.pod import Pod
from matrixinfer.handlers.dispatch.request import Request
from matrixinfer.handlers.dispatch.scheduling.port import Choice, Knowledge
from matrixinfer.handlers.dispatch.scheduling.profile import compile_profile
from matrixinfer.handlers.dispatch.scheduling.registry import BUILT_IN
from matrixinfer.handlers.dispatch.scheduling.runtime import ProfileScheduler
from matrixinfer.handlers.dispatch.scheduling.witness import Witness, has_all_recorded
from matrixinfer.handlers.dispatch.settings import DispatchSettings
from support.scheduling import NOW, surroundings

BATCH = 256
ROUNDS = 20


def least_us(work: Callable[[], object], count: int) -> float:
    """CPU time for each of `count` in microseconds, of the round that others on this machine disturbed least."""
    times = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return min(times) / count * 1e6


def asked(count: int, *, is_complete: bool) -> list[Request]:
    """With real ids, since their length is most of a small record."""
    found: list[Request] = []
    for request in requests(Random(4)) * 200:
        rid = str(new_request_id())
        if has_all_recorded(rid) == is_complete and len(found) < count:
            request.key = (rid, 1)
            found.append(request)
    return found


def scheduler(pods: list[Pod], witness: Witness | None) -> ProfileScheduler:
    caches = EveryPod(pods, Random(2))
    given = surroundings(knowledge=Knowledge(caches, caches), clock=time.process_time)
    return compile_profile(Profile(), BUILT_IN, given._replace(witness=witness))


def placement(request: Request, choice: Choice) -> Placement:
    rid, attempt = request.key
    return Placement(
        request=request,
        work=WorkKey(rid, attempt, 1),
        pod=choice.pod.name,
        boot="0123456789ab",
        epoch=1,
        remaining_s=60.0,
        queued_s=0.0123,
        candidates=choice.candidates,
        policy="default",
        seen=choice.seen,
    )


def written(log: DecisionLog, placements: list[Placement]) -> bytes:
    """As it would be posted."""
    for each in placements:
        log.record(each)
    return encode(log.take(1))


def report(count: int) -> None:
    pods = pods_of_a_pool(count, Random(1))
    some, sampled = asked(BATCH, is_complete=False), asked(20, is_complete=True)
    plain, seeing, rng = scheduler(pods, None), scheduler(pods, Witness()), Random(3)
    before = least_us(lambda: [plain.pick(request, pods, NOW, rng) for request in some], BATCH)
    after = least_us(lambda: [seeing.pick(request, pods, NOW, rng) for request in some], BATCH)
    log = DecisionLog(MemoryBroker(ManualClock()).connect(), PoolShard("default", "qwen", 0), DispatchSettings())

    def placements(of: list[Request]) -> list[Placement]:
        choices = [seeing.pick(request, pods, NOW, rng) for request in of]
        return [placement(request, choice) for request, choice in zip(of, choices, strict=True) if choice]

    usual, complete = placements(some), placements(sampled)
    writing = least_us(lambda: written(log, usual), BATCH)
    print(f"one decision over {count} pods, default profile, batches of {BATCH}")
    print(f"  deciding, without and with seeing   {before:8.1f} {after:8.1f} µs")
    print(f"  recording and encoding              {writing:8.1f} µs")
    print(f"  bytes                               {len(written(log, usual)) / BATCH:8.0f}")
    print(f"  bytes with every candidate          {len(written(log, complete)) / len(complete):8.0f}")
    log.follow(effects_of(usual), NOW)
    print(f"  bytes of what became of it          {len(encode(log.take(1))) / BATCH:8.0f}")


def effects_of(placements: list[Placement]) -> Effects:
    effects = Effects()
    for each in placements:
        work = each.work
        effects.first_tokens.append(FirstToken(work.rid, work.attempt, work.hop, each.pod, 0.123))
        usage = Usage(8192, 4096, 256)
        effects.endings.append(Ending(each.pod, Finished(work, "completed", True, usage, 0.12, 5.0)))
    return effects


def main() -> None:
    for count in (2, 8, 256):
        report(count)


if __name__ == "__main__":
    main()
