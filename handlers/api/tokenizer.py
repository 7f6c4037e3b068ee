"""Where the gateways find a model's tokenizer: part of the ModelServer, and of the Model's backends that make one."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from matrixinfer.handlers.api.meta import Part
from matrixinfer.handlers.api.patterns import ABSOLUTE_PATH

OnDisk = Annotated[str, Field(max_length=4096, pattern=ABSOLUTE_PATH)]


class Tokenizer(Part):
    """With it the gateways count a prompt's tokens exactly, and name its blocks by what the engine computes. Without
    it, or where it cannot be loaded, they go by the prompt's bytes."""

    path: OnDisk
    """On the disk of every gateway (a mounted volume): a folder with `tokenizer.json`, or such a file. Another version
    needs another path: what changes below the same one is not seen by gateways that have loaded it."""

    chat_template: Annotated[str, Field(max_length=131_072)] = ""
    """The Jinja template itself, as the engine is given it."""

    chat_template_path: OnDisk | None = None
    """A file with it, on the same disk. Without either: `chat_template.jinja` beside the tokenizer, else what
    `tokenizer_config.json` there has as `chat_template`."""

    @model_validator(mode="after")
    def _one_template(self) -> Self:
        if self.chat_template and self.chat_template_path:
            raise ValueError("expected chatTemplate or chatTemplatePath, not both")
        return self
