from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from matrixinfer.bus.contracts.frames import Chunk, ChunkKind
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.gateway.relay.binding import Binding, Source

AGENT = Source("default", "pod-a", "boot-1")


def piece(number: int, data: bytes = b"x", *, attempt: int = 1, hop: int = 1, phase: str = "whole") -> Chunk:
    return Chunk("rid", attempt, hop, phase, number, ChunkKind.DATA, data)


@st.composite
def transports(draw):
    """The sender's chunks, and an order in which they arrive: some lost, some twice, then everything replayed."""
    sent = [piece(n, data) for n, data in enumerate(draw(st.lists(st.binary(max_size=4), min_size=1, max_size=12)))]
    arrivals = draw(st.lists(st.sampled_from(sent), max_size=40))
    return sent, arrivals


@given(transports())
def test_any_loss_reordering_and_duplication_then_a_replay_gives_the_exact_stream(transport):
    sent, arrivals = transport
    binding = Binding()
    got: list[Chunk] = []
    for chunk in arrivals:
        got += binding.take(AGENT, chunk) or ()
        assert got == sent[: len(got)]
    early = {chunk.number for chunk in arrivals if chunk.number > binding.next_number}
    assert binding.has_gap() == bool(early)
    for chunk in sent[binding.next_number :]:
        got += binding.take(AGENT, chunk) or ()
    assert got == sent
    assert not binding.has_gap()
    assert binding.held_bytes == 0


@given(transports(), st.data())
def test_another_hop_mixed_in_never_changes_what_the_client_gets(transport, data):
    sent, _ = transport
    foreign = piece(0, b"foreign", hop=2)
    binding = Binding()
    got: list[Chunk] = []
    for chunk in sent:
        got += binding.take(AGENT, chunk) or ()
        if data.draw(st.booleans()):
            assert binding.take(AGENT, foreign) is None
    assert got == sent


def test_what_is_behind_a_gap_is_held_and_counted_until_the_gap_is_filled():
    binding = Binding()
    assert binding.take(AGENT, piece(0)) == (piece(0),)
    assert binding.take(AGENT, piece(2, b"two")) == ()
    assert binding.take(AGENT, piece(3, b"three")) == ()
    assert (binding.has_gap(), binding.held_bytes, binding.next_number) == (True, 8, 1)
    assert binding.take(AGENT, piece(1)) == (piece(1), piece(2, b"two"), piece(3, b"three"))
    assert (binding.has_gap(), binding.held_bytes, binding.next_number) == (False, 0, 4)


def test_every_part_of_the_identity_binds():
    others = [
        (AGENT._replace(pod="pod-b"), piece(1)),
        (AGENT._replace(boot="boot-2"), piece(1)),
        (AGENT._replace(namespace="other"), piece(1)),
        (AGENT, piece(1, hop=2)),
        (AGENT, piece(1, attempt=2)),
        (AGENT, piece(1, phase="decode")),
    ]
    for source, chunk in others:
        binding = Binding()
        binding.take(AGENT, piece(0))
        assert binding.take(source, chunk) is None
        assert binding.take(AGENT, piece(1)) == (piece(1),)


def test_the_first_heard_binds_whatever_its_number_and_hop():
    binding = Binding()
    assert binding.take(AGENT, piece(4, hop=3, attempt=2)) == ()
    assert binding.key("rid") == WorkKey("rid", 2, 3, "whole")
    assert binding.source == AGENT
