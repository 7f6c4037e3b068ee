"""What a pool's tokenizer is made of, read from the gateway's disk. It blocks: never to be called on the loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from matrixinfer.bus.contracts.serving import Tokenizer
from matrixinfer.gateway.tokenizing.errors import TokenizerUnusable

TOKENIZER, CONFIG, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"


class Files(NamedTuple):
    """`template` is empty where there is none. `special_tokens` has the text of `bos_token` and so on."""

    tokenizer: bytes
    template: str
    special_tokens: Mapping[str, str]


def read(wish: Tokenizer) -> Files:
    """Raises TokenizerUnusable."""
    try:
        path = Path(wish.path)
        path = path / TOKENIZER if path.is_dir() else path
        config = _config(path.with_name(CONFIG))
        return Files(path.read_bytes(), _template(wish, path.with_name(TEMPLATE), config), _special_tokens(config))
    except OSError as error:
        why = f"{error.filename} cannot be read: {error.strerror}"
        raise TokenizerUnusable(f"{why}; mount it at this path on every gateway, or correct the ModelServer") from error


def _config(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TokenizerUnusable(f"{path}: expected a JSON object: {error}") from error


def _template(wish: Tokenizer, beside: Path, config: Mapping[str, Any]) -> str:
    """The wish's own comes before its file, that before the file beside the tokenizer, and the configuration is last.
    Of several named ones the `default` is meant."""
    if wish.chat_template:
        return wish.chat_template
    if wish.chat_template_path:
        return _text(Path(wish.chat_template_path))
    if beside.exists():
        return _text(beside)
    told = config.get("chat_template")
    if isinstance(told, list):
        named = [one.get("template") for one in told if isinstance(one, dict) and one.get("name") == "default"]
        told = named[0] if named else ""
    return told if isinstance(told, str) else ""


def _special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    """Each is a text, or an object with the text as `content`."""
    found = {}
    for name, token in config.items():
        text = token.get("content") if isinstance(token, dict) else token
        if name.endswith("_token") and isinstance(text, str):
            found[name] = text
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise TokenizerUnusable(f"{path}: expected a template in UTF-8: {error.reason}") from error
