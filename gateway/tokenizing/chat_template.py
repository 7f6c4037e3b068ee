"""A model's chat template: Jinja, with what the models' authors expect of Hugging Face's renderer. Pure.

It comes with a model, so it is somebody else's program: the sandbox lets it change nothing and see nothing but the
conversation. What it may use beside Jinja: `raise_exception`, `strftime_now`, `break` and `continue`, a mark for
training (`generation`, without effect), and a `tojson` that keeps every character as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from matrixinfer.gateway.tokenizing.conversation import Conversation
from matrixinfer.gateway.tokenizing.errors import NotTokenized, TokenizerUnusable

Now = Callable[[], datetime]


class ChatTemplate:
    """`render` may be called by several threads at once."""

    def __init__(self, source: str, special_tokens: Mapping[str, str], now: Now) -> None:
        """Raises TokenizerUnusable for what is no template."""
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, LoopControlExtension]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = lambda pattern: now().strftime(pattern)
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise TokenizerUnusable(
                f"the chat template cannot be read, line {error.lineno}: {error.message}"
            ) from error
        self._special_tokens = dict(special_tokens)

    def render(self, chat: Conversation) -> str:
        """Raises NotTokenized for whatever goes wrong in the template: it is a program, and may raise anything."""
        given = self._special_tokens | chat.more
        given |= {"messages": chat.messages, "tools": chat.tools, "documents": chat.documents}
        given.setdefault("add_generation_prompt", chat.add_generation_prompt)
        try:
            return self._template.render(given)
        except Exception as error:  # counted, and the engine will say what it thinks of it
            raise NotTokenized("template_failed", f"{type(error).__name__}: {error}") from error


class _Generation(Extension):
    tags = {"generation"}  # noqa: RUF012 - Jinja's own declaration

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Without Jinja's escapes for HTML, which the models have never seen."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
