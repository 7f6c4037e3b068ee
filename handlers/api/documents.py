"""YAML text becomes documents, without letting a few aliases become more than a machine can hold."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from matrixinfer.handlers.errors import BadManifest

MOST_NODES = 100_000
"""Values in one document, each as often as aliases repeat it. The largest sensible object has some thousands."""


def documents(text: str) -> Iterator[object]:
    """The documents in order, empty ones left out. Raises BadManifest for what is no YAML or expands without bound."""
    try:
        for document in yaml.load_all(text, _BoundedLoader):
            if document is not None:
                yield document
    except yaml.YAMLError as error:
        sentence = str(error).replace('in "<unicode string>", ', "at ")
        raise BadManifest([f"not YAML: {sentence}"]) from error
    except RecursionError as error:
        raise BadManifest(["not YAML that can be read: it is nested too deeply"]) from error
    except ValueError as error:  # of a scalar that looks like a number or a date, and is none
        raise BadManifest([f"not YAML that can be read: {error}"]) from error


class _BoundedLoader(yaml.SafeLoader):
    def construct_document(self, node: yaml.Node) -> object:
        size = _expanded(node, {})
        if size > MOST_NODES:
            line = node.start_mark.line + 1
            raise BadManifest(
                [
                    f"the document at line {line} has {size} values when its aliases are written out; "
                    f"expected at most {MOST_NODES}"
                ]
            )
        return super().construct_document(node)


def _expanded(node: yaml.Node, sizes: dict[yaml.Node, int]) -> int:
    """How many nodes `node` stands for, itself included. Each is visited once, however often it is repeated."""
    if node in sizes:
        if sizes[node] == 0:
            line = node.start_mark.line + 1
            raise BadManifest([f"the value at line {line} holds an alias of itself; expected values that end"])
        return sizes[node]
    sizes[node] = 0  # being counted
    sizes[node] = 1 + sum(_expanded(part, sizes) for part in _parts(node))
    return sizes[node]


def _parts(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value
