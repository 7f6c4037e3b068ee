"""The protocol's parser: any messages, cut anywhere, come out as they went in."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.errors import ProtocolError

from matrixinfer.bus.jetstream.parser import Parser

Heard = tuple[int, bytes, bytes, bytes, "bytes | None"]


class Ears:
    """Stands for the client: listens to odd subscriptions, and leaves even ones to nats-py."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.foreign: list[Heard] = []
        self.pings = 0
        self.errors: list[str] = []

    def hear(self, *message: bytes) -> bool:
        if int(message[0]) % 2 == 0:
            return False
        self.heard.append(message)  # type: ignore[arg-type]
        return True

    async def _process_msg(self, *message: bytes) -> None:
        self.foreign.append(message)  # type: ignore[arg-type]

    async def _process_ping(self) -> None:
        self.pings += 1

    async def _process_err(self, text: str) -> None:
        self.errors.append(text)


def parse(chunks: list[bytes]) -> Ears:
    ears = Ears()

    async def run() -> None:
        parser = Parser(ears)
        for chunk in chunks:
            await parser.parse(chunk)

    asyncio.run(run())
    return ears


def wire(message: Heard) -> bytes:
    sid, subject, reply, data, headers = message
    middle = b" %b" % reply if reply else b""
    if headers is None:
        return b"MSG %b %d%b %d\r\n%b\r\n" % (subject, sid, middle, len(data), data)
    size = len(headers)
    return b"HMSG %b %d%b %d %d\r\n%b%b\r\n" % (subject, sid, middle, size, size + len(data), headers, data)


NAMES = st.sampled_from([b"mi.work.ns.pod", b"MSG", b"a.b"])
HEADERS = st.sampled_from([None, b"NATS/1.0\r\n\r\n", b"NATS/1.0 503\r\n\r\n", b"NATS/1.0\r\nNats-Msg-Id: a\r\n\r\n"])
DATA = st.one_of(st.binary(max_size=40), st.sampled_from([b"PING\r\n", b"MSG a 1 5\r\n", b"\r\n\r\n"]))
MESSAGES = st.tuples(st.integers(1, 9), NAMES, st.sampled_from([b"", b"_INBOX.x.1"]), DATA, HEADERS)


@settings(deadline=None)
@given(st.lists(st.one_of(MESSAGES, st.sampled_from([b"PING\r\n", b"-ERR 'x'\r\n"])), max_size=8), st.data())
def test_messages_come_out_whole_however_the_stream_is_cut(items: list[Heard | bytes], data: st.DataObject) -> None:
    stream = b"".join(item if isinstance(item, bytes) else wire(item) for item in items)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    ears = parse([stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)])
    messages = [item for item in items if not isinstance(item, bytes)]
    assert ears.heard == [m for m in messages if m[0] % 2]
    assert ears.foreign == [m for m in messages if m[0] % 2 == 0]
    assert ears.pings == items.count(b"PING\r\n")
    assert ears.errors == ["'x'"] * items.count(b"-ERR 'x'\r\n")


@pytest.mark.parametrize("garbage", [b"MSG a b c\r\n", b"HMSG a 1\r\n", b"NONSENSE\r\n", b"x" * 70_000])
def test_what_is_no_protocol_is_an_error(garbage: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse([garbage])
