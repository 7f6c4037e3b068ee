"""The story of one request, joined from the records of many batches by (rid, attempt, hop)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from matrixinfer.bus.contracts.decision import Decision, DecisionBatch, FirstToken, PodSight, Rejection
from matrixinfer.bus.contracts.load import Finished


@dataclass
class Step:
    """One placement, with what the pods looked like, and what became of it as far as it is known."""

    namespace: str
    modelserver: str
    epoch: int
    decision: Decision
    sights: list[PodSight]
    first_token: FirstToken | None = None
    finished: Finished | None = None
    prefilled: Finished | None = None
    """The end of the prefill half, of one that was placed on a pair."""

    @property
    def key(self) -> tuple[int, int]:
        return self.decision.attempt, self.decision.hop


@dataclass
class Story:
    """In the order of attempts and hops."""

    rid: str
    steps: list[Step] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)

    def is_empty(self) -> bool:
        return not (self.steps or self.rejections)

    def has_ended(self) -> bool:
        """Is there nothing more to wait for?"""
        return bool(self.rejections) or any(step.finished is not None for step in self.steps)


def story_of(rid: str, batches: Iterable[DecisionBatch]) -> Story:
    """All that `batches` tell of the request; an empty story when they do not name it."""
    story, starts = Story(rid), dict[tuple[int, int], FirstToken]()
    ends, prefills = dict[tuple[int, int], Finished](), dict[tuple[int, int], Finished]()
    for batch in batches:
        for decision in batch.decisions:
            if decision.rid == rid:
                story.steps.append(Step(batch.namespace, batch.modelserver, batch.epoch, decision, batch.sights))
        starts.update({(one.attempt, one.hop): one for one in batch.first_tokens if one.rid == rid})
        finished = [ending.finished for ending in batch.endings if ending.finished.key.rid == rid]
        for one in finished:
            of_phase = prefills if one.key.phase == "prefill" else ends
            of_phase[one.key.attempt, one.key.hop] = one
        story.rejections += [one for one in batch.rejections if one.rid == rid]
    story.steps.sort(key=lambda step: step.key)
    for step in story.steps:
        step.first_token, step.finished = starts.get(step.key), ends.get(step.key)
        step.prefilled = prefills.get(step.key)
    return story
