"""One pool's tokenizer, loaded: from what is asked to token ids, as the engine will have them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from matrixinfer.bus.contracts.envelope import Endpoint
from matrixinfer.bus.contracts.serving import Tokenizer as Wish
from matrixinfer.gateway.pipeline.body import Asked
from matrixinfer.gateway.tokenizing import files
from matrixinfer.gateway.tokenizing.conversation import conversation
from matrixinfer.gateway.tokenizing.errors import NotTokenized, TokenizerUnusable

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from matrixinfer.gateway.tokenizing.chat_template import ChatTemplate

_MOST_ID = 2**32 - 1


class Encoder:
    """May be used by several threads at once."""

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate | None) -> None:
        self._tokenizer = tokenizer
        self._template = template

    def token_ids(self, asked: Asked, endpoint: Endpoint, *, apart: bool = False) -> Sequence[int]:
        """`apart`: called in a thread, so that others shall run meanwhile. Raises NotTokenized."""
        if endpoint == "chat.completions":
            if self._template is None:
                raise NotTokenized("no_template")
            return self._encode(self._template.render(conversation(asked)), special=False, apart=apart)
        prompt = _single(asked)
        return self._encode(prompt, special=True, apart=apart) if isinstance(prompt, str) else prompt

    def _encode(self, text: str, *, special: bool, apart: bool) -> list[int]:
        """`special`: with what the tokenizer puts around every text; a template has put it there itself.

        Of the library's calls only those for many texts give up the interpreter's lock. They share one pool of threads,
        so a short text on the loop would wait there behind the long ones.
        """
        encoder = self._tokenizer
        try:
            if apart:
                return encoder.encode_batch_fast([text], add_special_tokens=special)[0].ids
            return encoder.encode(text, add_special_tokens=special).ids
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of the library is no Exception
            raise NotTokenized("not_encoded", f"{type(error).__name__}: {error}") from error


def load(wish: Wish) -> Encoder:
    """Read and make it. The library keeps the interpreter's lock while it reads: everything stands still for 20 to 50
    ms a MB of `tokenizer.json`. Raises TokenizerUnusable."""
    try:
        from tokenizers import Tokenizer

        from matrixinfer.gateway.tokenizing.chat_template import ChatTemplate
    except ImportError as error:
        advice = f"install this gateway with its extra: pip install 'matrixinfer[tokenizers]' ({error})"
        raise TokenizerUnusable(f"the libraries for tokenizing are not installed; {advice}") from error
    found = files.read(wish)
    try:
        tokenizer = Tokenizer.from_str(found.tokenizer.decode())
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of the library is no Exception
        raise TokenizerUnusable(f"{wish.path}: expected a tokenizer.json of Hugging Face's: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    template = ChatTemplate(found.template, found.special_tokens, datetime.now) if found.template else None
    return Encoder(tokenizer, template)


def _single(asked: Asked) -> str | list[int]:
    """A text, or token ids. A list of one prompt is that prompt; of several, each would be a request to the engine."""
    try:
        prompt: Any = msgspec.json.decode(asked.prompt)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotTokenized("not_understood", str(error)) from error
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and all(type(token) is int and 0 <= token <= _MOST_ID for token in prompt):
        return prompt
    raise NotTokenized("several_prompts" if _are_several(prompt) else "not_understood")


def _are_several(prompt: Any) -> bool:
    return isinstance(prompt, list) and len(prompt) > 1 and all(isinstance(one, str | list) for one in prompt)
