"""Chat templates as the models bring them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import pytest

from matrixinfer.gateway.pipeline import body
from matrixinfer.gateway.tokenizing.chat_template import ChatTemplate
from matrixinfer.gateway.tokenizing.conversation import conversation
from matrixinfer.gateway.tokenizing.errors import NotTokenized, TokenizerUnusable
from support.tokenizer import TEMPLATE

USER = {"role": "user", "content": "hello"}


def rendered(template: str, *messages: dict[str, Any], **fields: object) -> str:
    asked = body.read(
        msgspec.json.encode({"model": "m", "messages": messages or (USER,), **fields}), "chat.completions"
    )
    made = ChatTemplate(template, {"bos_token": "<s>", "eos_token": "</s>"}, lambda: datetime(2026, 11, 26))
    return made.render(conversation(asked))


def test_the_messages_become_one_text_with_the_special_tokens_and_the_beginning_of_the_answer() -> None:
    assert rendered(TEMPLATE, {"role": "system", "content": "be brief"}, USER) == (
        "<s><|system|>be brief<|end|>\n<|user|>hello<|end|>\n<|assistant|>"
    )
    assert rendered(TEMPLATE, add_generation_prompt=False) == "<s><|user|>hello<|end|>\n"
    assert rendered("{{ eos_token }}") == "</s>"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% if true %}\n  a\n  {% endif %}\nb", "  a\nb"),
        ("{{ {'a': '<ä&>'} | tojson }}", '{"a": "<ä&>"}'),
        ("{{ {'b': 1, 'a': 2} | tojson(indent=1) }}", '{\n "b": 1,\n "a": 2\n}'),
        ("{{ strftime_now('%d %b %Y') }}", "26 Nov 2026"),
        (
            "{% for n in [0, 1, 2, 3] %}{% if n == 1 %}{% continue %}{% endif %}{{ n }}"
            "{% if n == 2 %}{% break %}{% endif %}{% endfor %}",
            "02",
        ),
        ("a{% generation %}{{ messages[0].content }}{% endgeneration %}b", "ahellob"),
        ("{{ tools is none }}{{ thinking is defined }}", "TrueFalse"),
        ("{{ nothing_of_the_kind }}", ""),
    ],
    ids=[
        "blocks leave no lines",
        "json",
        "json with an indent",
        "the date",
        "loops",
        "generation",
        "absent",
        "unknown",
    ],
)
def test_what_templates_may_expect(template: str, text: str) -> None:
    assert rendered(template) == text


def test_tools_documents_and_the_clients_own_variables_are_given() -> None:
    tool = {"type": "function", "function": {"name": "weather"}}
    given = {"tools": [tool], "documents": [{"title": "t"}], "chat_template_kwargs": {"enable_thinking": False}}
    text = rendered("{{ tools[0].function.name }} {{ documents[0].title }} {{ enable_thinking }}", **given)
    assert text == "weather t False"


def test_the_arguments_of_calls_are_values_and_missing_contents_are_empty() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"city": "Paris"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None}
    template = (
        "{% set message = messages[0] %}{{ message.tool_calls[0].function.arguments.city }}"
        "[{{ message.content }}]{{ message.refusal is defined }}"
    )
    assert rendered(template, message) == "Paris[]False"


def test_parts_of_text_are_lines_of_one_text() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert rendered("{{ messages[0].content }}", {"role": "user", "content": parts}) == "one\ntwo"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}]}, "media"),
        ({"messages": [{"role": "user", "content": 7}]}, "not_understood"),
        ({"messages": ["hello"]}, "not_understood"),
        ({"messages": [{"role": "user", "content": [{"type": ["text"], "text": "a"}]}]}, "media"),
        ({"messages": [USER], "tools": {"a": 1}}, "not_understood"),
        ({"messages": [USER], "chat_template": "{{ 1 }}"}, "not_understood"),
        ({"messages": [USER], "continue_final_message": True}, "not_understood"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": "{"}}]}]}, "not_understood"),
    ],
)
def test_what_is_no_text_is_said_to_be_none(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotTokenized) as caught:
        rendered(TEMPLATE, *fields.pop("messages"), **fields)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('roles must alternate') }}",
        "{{ messages[0].content.no.such }}",
        "{{ 1 / 0 }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{% for n in range(10**9) %}{% endfor %}",
    ],
    ids=["it refuses", "undefined", "arithmetic", "a look behind", "a change of what is given", "an endless loop"],
)
def test_a_template_that_fails_or_is_up_to_something_is_no_end_of_the_request(template: str) -> None:
    with pytest.raises(NotTokenized) as caught:
        rendered(template)
    assert caught.value.reason == "template_failed"


def test_what_is_no_template_is_told_with_its_line() -> None:
    with pytest.raises(TokenizerUnusable, match="line 2"):
        rendered("a\n{% if %}")
