"""Words that came before their work are kept, but not for ever and not without end."""

from __future__ import annotations

from unittest import mock

from matrixinfer.agents.worker import early_words
from matrixinfer.agents.worker.early_words import KEEP_S, EarlyWords
from matrixinfer.bus.contracts.disaggregation import Handed
from support.halves import decode_key


def test_a_word_is_taken_once_and_the_first_one_counts() -> None:
    words = EarlyWords()
    first = Handed(decode_key(), "b", b"1")
    words.keep(first, 0.0)
    words.keep(Handed(decode_key(), "b", lost="late"), 1.0)
    assert words.take(decode_key()) == first
    assert words.take(decode_key()) is None


def test_what_is_too_old_goes() -> None:
    words = EarlyWords()
    words.keep(Handed(decode_key("a"), "b"), 0.0)
    words.keep(Handed(decode_key("b"), "b"), KEEP_S - 1)
    words.forget(KEEP_S)
    assert words.take(decode_key("a")) is None
    assert words.take(decode_key("b")) is not None


def test_what_is_too_much_goes_oldest_first() -> None:
    with mock.patch.object(early_words, "KEEP_COUNT", 3), mock.patch.object(early_words, "KEEP_BYTES", 10):
        words = EarlyWords()
        for n in range(5):
            words.keep(Handed(decode_key(f"r{n}"), "b"), 0.0)
        assert [words.take(decode_key(f"r{n}")) is not None for n in range(5)] == [False, False, True, True, True]
        words.keep(Handed(decode_key("a"), "b", b"123456"), 0.0)
        words.keep(Handed(decode_key("b"), "b", b"12345"), 0.0)
        assert [words.take(decode_key(rid)) is not None for rid in ("a", "b")] == [False, True]
