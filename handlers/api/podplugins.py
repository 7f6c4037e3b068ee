"""Plug-ins that change the Pods of a ModelInfer as they are made: how they are asked for, and what the built-in ones
can be told."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from matrixinfer.handlers.api.container import EnvVar
from matrixinfer.handlers.api.kubernetes import JsonObject
from matrixinfer.handlers.api.meta import Labels, Part
from matrixinfer.handlers.api.patterns import ROLE_NAME
from matrixinfer.handlers.api.rules import Rule
from matrixinfer.handlers.api.sentences import sentence, shown


class NoConfig(Part):
    """Of a plug-in that has nothing to be told."""


class PodMetadataConfig(Part):
    """What is there already stays as it is."""

    labels: Labels = Field(default={})
    annotations: dict[str, str] = Field(default={})
    env: Annotated[tuple[EnvVar, ...], Field(max_length=64)] = ()
    """Added to every container."""


BUILT_IN_CONFIGS: dict[str, type[Part]] = {"lws-standard-labels": NoConfig, "pod-metadata": PodMetadataConfig}
"""By name; what each does stands in the table of the reconciler."""


class Target(StrEnum):
    ALL = "All"
    ENTRY = "Entry"
    WORKER = "Worker"


class PluginScope(Part):
    roles: Annotated[tuple[Annotated[str, Field(max_length=12, pattern=ROLE_NAME)], ...], Field(max_length=16)] = ()
    """Only pods of these; empty: of all."""

    target: Target = Target.ALL
    """Only the pods that take requests, or only the workers."""


class PodPlugin(Part):
    """One link of the chain: each is given the pod that the one before it returned."""

    RULES = (
        Rule(
            f"self.type != 'BuiltIn' || self.name in {sorted(BUILT_IN_CONFIGS)}",
            f"a plugin of type BuiltIn must be one of {', '.join(sorted(BUILT_IN_CONFIGS))}",
        ),
    )

    name: Annotated[str, Field(min_length=1, max_length=63)]
    type: Literal["BuiltIn", "Installed"] = "BuiltIn"
    """`Installed`: it comes with a package that is installed beside the handlers, by the entry point group
    `matrixinfer.pod_plugins`."""

    config: JsonObject = Field(default={})
    """What the plug-in is told; its own type says what it takes."""

    scope: PluginScope = PluginScope()

    @model_validator(mode="after")
    def _built_in_ones_are_known(self) -> Self:
        if self.type != "BuiltIn":
            return self
        config = BUILT_IN_CONFIGS.get(self.name)
        if config is None:
            names = ", ".join(sorted(BUILT_IN_CONFIGS))
            raise ValueError(f"a plugin of type BuiltIn must be one of {names}, got {shown(self.name)}")
        configured(config, self)
        return self


def configured(config: type[Part], plugin: PodPlugin) -> Part:
    """What a plug-in is told, checked. Raises ValueError that names each field that is wrong."""
    try:
        return config.model_validate(plugin.config)
    except ValidationError as error:
        wrong = [f"config{''.join(f'.{part}' for part in one['loc'])}: {sentence(one)}" for one in error.errors()]
        raise ValueError(f"plugin {plugin.name}: {'; '.join(wrong)}") from error
