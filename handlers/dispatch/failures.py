"""The errors that a client can get from dispatch itself, in OpenAI's terms."""

from __future__ import annotations

from matrixinfer.bus.contracts.frames import Failure
from matrixinfer.handlers.dispatch.fair.refusal import Refusal


def deadline_exceeded(waited_s: float) -> Failure:
    return Failure(
        504, f"no worker was free before the request's deadline; it waited {waited_s:.1f} s", code="deadline_exceeded"
    )


def deleted() -> Failure:
    return Failure(
        404,
        "the model was deleted while the request waited for a worker",
        type="invalid_request_error",
        code="model_not_found",
    )


def poison(deaths: int) -> Failure:
    return Failure(502, f"{deaths} workers died while they held this request; it is not tried again", code="poison")


def no_prefill(times: int) -> Failure:
    return Failure(
        502, f"the prompt could not be handed from a prefill to a decode worker, {times} times", code="prefill_failed"
    )


def turned_away(refusal: Refusal) -> Failure:
    """At the door: 429 when the tenant's own requests are in the way, 503 when everybody's are."""
    if refusal.status == 429:
        message = f"too many of your requests wait for this model: {refusal.reason}"
        return Failure(429, message, "rate_limit_error", "rate_limit_exceeded", "", refusal.retry_after_s)
    message = f"the model is overloaded: {refusal.reason}"
    return Failure(503, message, code="overloaded", retry_after_s=refusal.retry_after_s)


def too_large() -> Failure:
    return Failure(
        413,
        "the request does not fit into a message to a worker",
        type="invalid_request_error",
        code="request_too_large",
    )
