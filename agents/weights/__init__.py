"""Weights on this machine: an address in, a local file or folder out, downloaded once and verified.

Here belong: the table of address schemes (`registry`), one file for each scheme, and the cache that they share
(`cache`). Here does not belong: which model a pod serves, or loading it. The node and the worker may import it.
"""

from __future__ import annotations

from matrixinfer.agents.weights.registry import fetch

__all__ = ["fetch"]
