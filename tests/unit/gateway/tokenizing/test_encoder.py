"""From what is asked to token ids, by a tokenizer on the disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixinfer.bus.contracts.envelope import Endpoint
from matrixinfer.bus.contracts.serving import Tokenizer
from matrixinfer.gateway.pipeline import body
from matrixinfer.gateway.tokenizing import files
from matrixinfer.gateway.tokenizing.encoder import Encoder, load
from matrixinfer.gateway.tokenizing.errors import NotTokenized, Reason, TokenizerUnusable
from support.tokenizer import write_tokenizer

USER = {"role": "user", "content": "the quick brown fox"}


def ids(encoder: Encoder, endpoint: Endpoint = "chat.completions", **fields: Any) -> list[int]:
    asked = body.read(json.dumps({"model": "m", **fields}).encode(), endpoint)
    found = list(encoder.token_ids(asked, endpoint))
    assert list(encoder.token_ids(asked, endpoint, apart=True)) == found
    return found


def test_a_chat_is_encoded_as_its_template_writes_it_and_with_no_second_beginning(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path)
    text = "<s><|user|>the quick brown fox<|end|>\n<|assistant|>"
    assert ids(load(Tokenizer(str(tmp_path))), messages=[USER]) == tokenizer.encode(text, add_special_tokens=False).ids


def test_a_text_gets_what_the_tokenizer_puts_around_it(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path)
    encoder = load(Tokenizer(str(tmp_path / "tokenizer.json")))
    found = ids(encoder, "completions", prompt="the lazy dog")
    assert found == tokenizer.encode("the lazy dog").ids
    assert found[0] == tokenizer.token_to_id("<s>")
    assert ids(encoder, "completions", prompt=["the lazy dog"]) == found


@pytest.mark.parametrize("prompt", [[5, 6, 7], [[5, 6, 7]]])
def test_token_ids_are_taken_as_they_are(tmp_path: Path, prompt: object) -> None:
    write_tokenizer(tmp_path)
    assert ids(load(Tokenizer(str(tmp_path))), "completions", prompt=prompt) == [5, 6, 7]


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        (["a", "b"], "several_prompts"),
        ([[1], [2]], "several_prompts"),
        ([1, "a"], "not_understood"),
        ([-1], "not_understood"),
        ([2**32], "not_understood"),
        ([True], "not_understood"),
        ([[[1]]], "not_understood"),
    ],
)
def test_other_prompts_are_not_tokenized(tmp_path: Path, prompt: object, reason: str) -> None:
    write_tokenizer(tmp_path)
    with pytest.raises(NotTokenized) as caught:
        ids(load(Tokenizer(str(tmp_path))), "completions", prompt=prompt)
    assert caught.value.reason == reason


def test_a_tokenizer_that_cuts_or_fills_up_is_made_to_leave_the_length_alone(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path)
    text = "the quick brown fox " * 40
    whole = tokenizer.encode(text).ids
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=4096)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert ids(load(Tokenizer(str(tmp_path))), "completions", prompt=text) == whole


def test_the_template_is_the_wishs_own_then_its_files_then_the_one_beside_then_the_configurations(
    tmp_path: Path,
) -> None:
    write_tokenizer(tmp_path, template="configuration")
    folder, other = str(tmp_path), tmp_path / "other.jinja"
    assert files.read(Tokenizer(folder)).template == "configuration"
    (tmp_path / "chat_template.jinja").write_text("beside")
    assert files.read(Tokenizer(folder)).template == "beside"
    other.write_text("its file")
    assert files.read(Tokenizer(folder, "", str(other))).template == "its file"
    assert files.read(Tokenizer(folder, "its own", str(other))).template == "its own"


def test_of_several_named_templates_the_default_is_meant(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    named = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named, "bos_token": None}))
    found = files.read(Tokenizer(str(tmp_path)))
    assert (found.template, found.special_tokens) == ("d", {})


def test_without_a_template_texts_are_encoded_and_chats_are_not(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    encoder = load(Tokenizer(str(tmp_path)))
    assert ids(encoder, "completions", prompt="fox")
    with pytest.raises(NotTokenized) as caught:
        ids(encoder, messages=[USER])
    assert caught.value.reason == "no_template"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("tokenizer.json", None, "tokenizer.json cannot be read: No such file or directory; mount it"),
        ("tokenizer.json", b"{}", "expected a tokenizer.json"),
        ("tokenizer.json", b"\xff\xfe", "expected a tokenizer.json"),
        ("tokenizer_config.json", b"[1]", "tokenizer_config.json: expected a JSON object"),
        ("chat_template.jinja", b"{% endfor %}", "the chat template cannot be read, line 1"),
        ("chat_template.jinja", b"\xff", "expected a template in UTF-8"),
    ],
)
def test_what_cannot_be_loaded_is_said_with_the_file(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    write_tokenizer(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TokenizerUnusable, match=says):
        load(Tokenizer(str(tmp_path)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "tool_calls", "function", "arguments", "image_url"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return load(Tokenizer(str(folder)))


def outcome(encoder: Encoder, asked: body.Asked, endpoint: Endpoint) -> str:
    try:
        return "tokens" if all(0 <= token < 2**32 for token in encoder.token_ids(asked, endpoint)) else "no token ids"
    except NotTokenized as error:
        return error.reason


@settings(deadline=None, max_examples=300)
@given(st.lists(JSON, min_size=1, max_size=3), JSON, JSON)
def test_whatever_a_client_sends_is_tokenized_or_said_not_to_be(encoder, messages, tools, kwargs) -> None:
    asked = {"model": "m", "messages": messages, "tools": tools, "chat_template_kwargs": kwargs}
    read = body.read(json.dumps(asked).encode(), "chat.completions")
    assert outcome(encoder, read, "chat.completions") in ("tokens", *get_args(Reason))


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=20) | st.lists(JSON, max_size=4))
def test_whatever_the_prompt_of_a_completion_is_it_is_tokenized_or_said_not_to_be(encoder, prompt) -> None:
    read = body.read(json.dumps({"model": "m", "prompt": prompt}).encode(), "completions")
    assert outcome(encoder, read, "completions") in ("tokens", *get_args(Reason))


def test_a_gateway_starts_without_the_libraries() -> None:
    names = "['tokenizers', 'jinja2']"
    code = f"import sys, matrixinfer.gateway.main; print([name for name in {names} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "[]"


def test_without_the_extra_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(TokenizerUnusable, match=r"pip install 'matrixinfer\[tokenizers\]'"):
        load(Tokenizer(str(tmp_path)))
