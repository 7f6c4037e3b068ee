"""What can go wrong in the node.

NodeError
├── NodeTaken        another node works with the same data folder
│   └── NameTaken    or under the same name
├── BadPod           a Pod asks for something that cannot be run here
└── CannotStart      a container cannot be started, now at least
    └── BadConfiguration  it is told of something that is not here
"""

from __future__ import annotations


class NodeError(Exception):
    """Base of everything the node raises."""


class NodeTaken(NodeError):
    """Two nodes on one data folder would start every container twice; two of one name would both run its Pods."""


class NameTaken(NodeTaken):
    """Somebody else keeps the lease of this name. `fact` is the message without the advice."""

    def __init__(self, name: str, prefix: str) -> None:
        self.fact = f"another node named {name!r} is alive on this bus (prefix {prefix!r})"
        super().__init__(
            f"{self.fact}: give this one its own MATRIXINFER_NODE_NAME, or its platform its own MATRIXINFER_BUS_PREFIX"
        )


class BadPod(NodeError):
    """The Pod's spec does not say what to run, or says it in a way that this node does not know."""


class CannotStart(NodeError):
    """The container's program or a volume is not there, or may not be used. `reason` is Kubernetes' word for it."""

    reason = "CreateContainerError"


class BadConfiguration(CannotStart):
    """Its environment names something that this node does not have."""

    reason = "CreateContainerConfigError"
