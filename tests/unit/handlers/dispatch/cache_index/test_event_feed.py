"""Whatever is lost, doubled or late, and whoever starts anew: after a dump the index has the agent's cache."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.bus.contracts.cache import BlocksStored, CacheEvent
from matrixinfer.bus.contracts.control import CacheDump, CacheDumped
from matrixinfer.handlers.dispatch.cache_index.event_feed import HELD_EVENTS, Ask, EventFeed
from matrixinfer.handlers.dispatch.cache_index.kv_index import KvIndex
from unit.handlers.dispatch.cache_index.cached_agent import CachedAgent

PODS = ["a", "b"]
BLOCKS = [bytes([number]) * 8 for number in range(1, 7)]
TIERS = ["gpu", "cpu"]

pods = st.sampled_from(PODS)
some_blocks = st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=4).map(b"".join)
lives = st.one_of(
    st.tuples(st.sampled_from(["store", "remove"]), pods, some_blocks, st.sampled_from(TIERS)),
    st.tuples(st.sampled_from(["clear", "reboot", "remind"]), pods),
)
ways = st.tuples(st.sampled_from(["arrive", "arrive", "lose", "double", "overtake"]), pods)
dumps = st.tuples(st.sampled_from(["ask", "answer", "no answer", "gone", "clean"]), pods)


class World:
    """Two agents, the feed, and what is on the way between them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.index = KvIndex(1000)
        self.feed = EventFeed(self.index, pace_s=0.01, retry_s=5.0)
        self.agents = {pod: CachedAgent(pod) for pod in PODS}
        self.ask: Ask | None = None
        self.reply: CacheDumped | None = None

    def act(self, what: str, pod: str, *arguments: object) -> None:
        agent = self.agents[pod]
        match what:
            case "arrive" | "double" if agent.sent:
                event = agent.sent.pop(0)
                for _ in range(2 if what == "double" else 1):
                    self.feed.hear(event)
            case "lose" if agent.sent:
                agent.sent.pop(0)
            case "overtake" if len(agent.sent) > 1:
                agent.sent[:2] = reversed(agent.sent[:2])
            case "ask":
                self.now += 0.1
                if (ask := self.feed.next_ask(self.now)) is not None:
                    self.ask, self.reply = ask, self.agents[ask.pod].answer(ask.order)
            case "answer" if self.ask is not None and self.reply is not None:
                self.feed.answered(self.ask, self.reply, self.now)
            case "no answer" if self.ask is not None:
                self.feed.unanswered(self.ask, self.now)
            case "gone":
                self.feed.gone(pod)
            case "clean":
                self.index.clean()
            case "store" | "remove" | "clear" | "reboot" | "remind":
                getattr(agent, what)(*arguments)

    def come_to_rest(self) -> None:
        """Everything on the way arrives, each agent reminds once more, and every ask is answered."""
        for pod, agent in self.agents.items():
            agent.remind()
            while agent.sent:
                self.act("arrive", pod)
        self.act("no answer", "a")
        for _ in range(100):
            self.now += 10.0
            if (ask := self.feed.next_ask(self.now)) is None:
                break
            self.feed.answered(ask, self.agents[ask.pod].answer(ask.order), self.now)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(lives, ways, ways, dumps), max_size=80))
def test_at_rest_the_index_has_just_what_the_agents_cache(history):
    world = World()
    for step in history:
        world.act(*step)
    world.come_to_rest()

    for block in BLOCKS:
        there = {pod: tokens for pod, agent in world.agents.items() if (tokens := agent.tokens(block))}
        assert world.index.matches(block) == pytest.approx(there)
    assert not any(world.feed.is_doubtful(pod) for pod in PODS)


def followed(pod: str = "a", *blocks: bytes) -> World:
    """A world in which this pod's cache, with these blocks, is known."""
    world = World()
    for block in blocks:
        world.agents[pod].store(block, "gpu")
    world.agents[pod].remind()
    world.feed.hear(world.agents[pod].sent[-1])
    world.agents[pod].sent.clear()
    while world.feed.is_doubtful(pod):
        world.act("ask", pod)
        world.act("answer", pod)
    return world


def test_a_pod_heard_for_the_first_time_is_asked_for_a_dump():
    world = World()
    assert world.feed.is_doubtful("a")
    world.feed.hear(CacheEvent("ns", "a", "boot-1", 0))

    assert world.feed.next_ask(0.0) == Ask("a", CacheDump())


def test_events_in_order_need_no_dump():
    world = followed("a", BLOCKS[0])
    for block in BLOCKS[1:4]:
        world.agents["a"].store(block, "gpu")
        world.act("arrive", "a")

    assert world.feed.next_ask(world.now + 10) is None
    assert world.index.matches(b"".join(BLOCKS[:5])) == {"a": 4 * 256}


def test_a_gap_makes_the_pod_doubtful_and_its_known_blocks_stay_until_the_dump():
    world = followed("a", BLOCKS[0])
    world.agents["a"].remove(BLOCKS[0], "gpu")
    world.act("lose", "a")
    world.agents["a"].store(BLOCKS[1], "gpu")
    world.act("arrive", "a")

    assert world.feed.is_doubtful("a")
    assert world.index.matches(BLOCKS[0] + BLOCKS[1]) == {"a": 512}


def test_a_reminder_shows_that_the_newest_event_was_lost():
    world = followed("a", BLOCKS[0])
    world.agents["a"].remind()
    world.act("arrive", "a")
    assert not world.feed.is_doubtful("a")

    world.agents["a"].clear()
    world.act("lose", "a")
    world.agents["a"].remind()
    world.act("arrive", "a")
    assert world.feed.is_doubtful("a")


def test_another_boot_has_nothing_of_the_former_and_the_former_is_not_heard_any_more():
    world = followed("a", BLOCKS[0])
    world.agents["a"].store(BLOCKS[1], "gpu")
    late = world.agents["a"].sent.pop()
    world.act("reboot", "a")
    world.act("remind", "a")
    world.act("arrive", "a")
    world.feed.hear(late)

    assert world.feed.is_doubtful("a")
    assert world.index.matches(BLOCKS[0]) == world.index.matches(BLOCKS[1]) == {}


def test_a_pod_that_is_gone_is_in_no_answer_and_its_late_chunk_tells_nothing():
    world = followed("a", BLOCKS[0])
    world.feed.hear(CacheEvent("ns", "a", "boot-1", 9))
    world.act("ask", "a")
    world.act("gone", "a")
    world.act("answer", "a")

    assert world.index.matches(BLOCKS[0]) == {}
    assert world.feed.next_ask(world.now + 10) is None


def test_a_late_event_of_a_forgotten_former_boot_misleads_only_until_the_living_one_answers():
    world = followed("a", BLOCKS[0])
    world.agents["a"].store(BLOCKS[1], "gpu")
    late = world.agents["a"].sent.pop()
    world.act("gone", "a")
    world.act("reboot", "a")
    world.agents["a"].store(BLOCKS[2], "gpu")
    world.act("arrive", "a")
    world.feed.hear(late)
    assert world.index.matches(BLOCKS[1]) == {"a": 256}

    world.come_to_rest()
    assert world.index.matches(BLOCKS[1]) == {}
    assert world.index.matches(BLOCKS[2]) == {"a": 256}
    world.act("store", "a", BLOCKS[3], "gpu")
    world.act("arrive", "a")
    assert world.index.matches(BLOCKS[3]) == {"a": 256}


def test_events_during_a_dump_are_applied_after_it_in_their_order():
    world = World()
    agent = world.agents["a"]
    for block in BLOCKS[:3]:
        agent.store(block, "gpu")
    world.act("arrive", "a")
    world.act("ask", "a")
    agent.remove(BLOCKS[2], "gpu")
    agent.store(BLOCKS[3], "gpu")
    world.act("answer", "a")
    while agent.sent:
        world.act("arrive", "a")
    assert world.index.matches(BLOCKS[3]) == {}

    world.act("ask", "a")
    world.act("answer", "a")
    assert world.index.matches(b"".join(BLOCKS[:3])) == {"a": 512}
    assert world.index.matches(BLOCKS[3]) == {"a": 256}
    assert not world.feed.is_doubtful("a")


def test_one_chunk_is_asked_for_at_a_time_and_one_in_every_interval():
    world = World()
    for pod in PODS:
        world.feed.hear(CacheEvent("ns", pod, "boot-1", 0))
    ask = world.feed.next_ask(1.0)
    assert ask is not None
    assert world.feed.next_ask(2.0) is None

    world.feed.answered(ask, CacheDumped("boot-1", 0), 2.0)
    assert world.feed.next_ask(2.0) == Ask("b", CacheDump())

    fast = EventFeed(KvIndex(10), pace_s=0.5)
    for pod in PODS:
        fast.hear(CacheEvent("ns", pod, "boot", 0))
    first = fast.next_ask(1.0)
    assert first is not None
    fast.answered(first, CacheDumped("boot", 0), 1.0)
    assert (fast.next_ask(1.4), fast.next_ask(1.5)) == (None, Ask("b", CacheDump()))


def test_a_pod_that_does_not_answer_waits_while_others_are_asked():
    world = World()
    for pod in PODS:
        world.feed.hear(CacheEvent("ns", pod, "boot-1", 0))
    ask = world.feed.next_ask(0.0)
    assert ask is not None
    world.feed.unanswered(ask, 1.0)

    other = world.feed.next_ask(1.0)
    assert other == Ask("b", CacheDump())
    world.feed.answered(other, CacheDumped("boot-1", 0), 1.1)
    assert (world.feed.next_ask(5.9), world.feed.next_ask(6.0)) == (None, ask)


def test_a_chunk_that_was_not_asked_for_begins_the_dump_again():
    world = World()
    world.feed.hear(CacheEvent("ns", "a", "boot-1", 0))
    ask = world.feed.next_ask(0.0)
    assert ask is not None
    world.feed.answered(ask, CacheDumped("boot-1", 0, cursor=7, blocks=[BlocksStored(BLOCKS[0])]), 0.0)

    assert world.index.matches(BLOCKS[0]) == {}
    assert world.feed.next_ask(5.0) == ask


def test_a_dump_during_which_too_much_happens_is_begun_again_after_the_others():
    world = World()
    for pod in PODS:
        world.feed.hear(CacheEvent("ns", pod, "boot-1", 0))
    ask = world.feed.next_ask(0.0)
    for number in range(HELD_EVENTS + 1):
        world.feed.hear(CacheEvent("ns", "a", "boot-1", number + 1, [BlocksStored(BLOCKS[0])]))

    assert world.index.matches(BLOCKS[0]) == {"a": 256}
    other = world.feed.next_ask(1.0)
    assert other == Ask("b", CacheDump())
    world.feed.answered(other, CacheDumped("boot-1", 0), 1.0)
    assert world.feed.next_ask(2.0) == ask
