"""What a client is told of an error: in OpenAI's form, as a body and as an event of a stream that has begun."""

from __future__ import annotations

import logging
import math

import msgspec

from matrixinfer.bus.contracts.frames import Failure
from matrixinfer.gateway.errors import ApiError, InternalError

log = logging.getLogger("matrixinfer.gateway.doors")

_encode = msgspec.json.Encoder().encode


def failure_of(error: Exception) -> Failure:
    """What to answer. All but an ApiError is a defect: the client learns that it is ours, the log all of it."""
    if isinstance(error, ApiError):
        return error.failure()
    log.error("a request could not be taken in", exc_info=error)
    return InternalError("something went wrong in the gateway; its log tells what").failure()


def error_body(failure: Failure) -> bytes:
    error = {
        "message": failure.message,
        "type": failure.type,
        "param": failure.param or None,
        "code": failure.code or None,
    }
    return _encode({"error": error})


def error_event(failure: Failure) -> bytes:
    """For a stream whose status is sent: the official clients raise on it."""
    return b"data: " + error_body(failure) + b"\n\n"


def retry_after(failure: Failure) -> bytes | None:
    """The header's value in whole seconds, rounded up; None without advice."""
    return str(math.ceil(failure.retry_after_s)).encode() if failure.retry_after_s > 0 else None
