"""The labels that a LeaderWorkerSet gives its pods, for monitoring and affinity rules that were written for one."""

from __future__ import annotations

import hashlib

from matrixinfer.handlers.api.pod import Pod
from matrixinfer.handlers.api.podplugins import NoConfig
from matrixinfer.handlers.reconcile.podplugins.port import Mutation, PodContext

PREFIX = "leaderworkerset.sigs.k8s.io/"


def lws_standard_labels(config: NoConfig) -> Mutation:
    return _labelled


def _labelled(pod: Pod, context: PodContext) -> Pod:
    """What is a group there is an instance here; its key is the same for all its Pods and no others."""
    key = hashlib.sha1(f"{pod.metadata.namespace}/{context.entry}".encode(), usedforsecurity=False).hexdigest()
    own = {
        f"{PREFIX}name": context.infer.metadata.name,
        f"{PREFIX}group-index": str(context.group),
        f"{PREFIX}worker-index": str(context.number),
        f"{PREFIX}group-key": key,
    }
    metadata = pod.metadata.model_copy(update={"labels": pod.metadata.labels | own})
    return pod.model_copy(update={"metadata": metadata})
