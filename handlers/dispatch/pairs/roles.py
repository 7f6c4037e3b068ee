"""What a pod may do by its role. Pods of any other role than these two serve whole requests."""

from __future__ import annotations

from matrixinfer.bus.contracts.disaggregation import Connector
from matrixinfer.handlers.dispatch.pod import Pod

PREFILL = "prefill"
DECODE = "decode"


def answers(pod: Pod) -> bool:
    """Can a request end here, whole or as its decode half?"""
    return pod.role != PREFILL


def prefills(pod: Pod, connector: Connector) -> bool:
    """Can it have a prefill half? SGLang's engines have to know where to meet."""
    return pod.role == PREFILL and (connector != "sglang" or bool(pod.told.bootstrap))


def serves_alone(pod: Pod, connector: Connector) -> bool:
    """Can it prefill and decode? SGLang's decode engines take a prompt only from a prefill engine."""
    return pod.role != PREFILL and not (pod.role == DECODE and connector == "sglang")
