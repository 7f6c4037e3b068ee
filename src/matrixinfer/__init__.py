"""MatrixInfer serves large language models on Kubernetes, event-driven over NATS JetStream.

The namespace of the platform. Its four parts are `matrixinfer.bus` (what is said and how it travels),
`matrixinfer.handlers` (consumers that decide), `matrixinfer.gateway` (the front doors) and
`matrixinfer.agents` (beside each engine). Only the modules that lie directly here (`cli`, `up`, `reaper`)
may import all four: they assemble processes out of the parts. No logic of a part belongs here.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("matrixinfer")
except PackageNotFoundError:  # a bare checkout, never installed
    __version__ = "0+unknown"
