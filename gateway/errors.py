"""What the gateway answers when it cannot serve, in OpenAI's terms, and what stops it from starting.

ApiError                    has `failure()`: status, message, type, code, param, advice to retry
├── BadRequest        400   the body is not what the endpoint takes
├── NotFound          404   no such page
├── ModelNotFound     404   no route serves this model
├── MethodNotAllowed  405
├── TooSlow           408   the request did not come in time
├── BodyTooLarge      413
├── QueueIsFull       429   the tenant's bound in the queue is reached
├── HeadTooLarge      431
├── ClientLeft        499   nobody reads the answer; only counted
├── InternalError     500   a defect or a wrong installation on our side
├── UpstreamLost      502   the agent that ran the request is gone with it
├── Overloaded        503   this worker, or the bus, holds as many (large) requests as it may
├── NotReady          503   the model has a route but no pool yet
├── BusUnavailable    503   the request could not be published
├── ShuttingDown      503
├── SlowClient        503   more waits for the client than may; only counted
└── DeadlineExceeded  504

StartError
└── PortTaken               somebody else listens there
"""

from __future__ import annotations

from typing import ClassVar

from matrixinfer.bus.contracts.frames import Failure

LONGEST_QUOTE = 100


def quoted(text: str) -> str:
    """What a client sent, for a message: in quotes, and cut where it is longer than anybody means to read."""
    return repr(text) if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]!r}… ({len(text)} characters)"


class ApiError(Exception):
    """Base of what a client can be told. `retry_after_s` of 0 gives no advice."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, param: str = "", code: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self._failure = Failure(self.status, message, self.type, code or self.code, param, retry_after_s)

    def failure(self) -> Failure:
        return self._failure


class BadRequest(ApiError):
    status, type, code = 400, "invalid_request_error", "invalid_request"


class NotFound(ApiError):
    status, type, code = 404, "invalid_request_error", "not_found"


class ModelNotFound(ApiError):
    status, type, code = 404, "invalid_request_error", "model_not_found"


class MethodNotAllowed(ApiError):
    status, type, code = 405, "invalid_request_error", "method_not_allowed"


class TooSlow(ApiError):
    status, type, code = 408, "invalid_request_error", "request_timeout"


class BodyTooLarge(ApiError):
    status, type, code = 413, "invalid_request_error", "request_too_large"


class QueueIsFull(ApiError):
    status, type, code = 429, "rate_limit_error", "queue_full"


class HeadTooLarge(ApiError):
    status, type, code = 431, "invalid_request_error", "head_too_large"


class ClientLeft(ApiError):
    status, code = 499, "client_left"


class InternalError(ApiError):
    status, code = 500, "internal_error"


class UpstreamLost(ApiError):
    status, code = 502, "upstream_lost"


class Overloaded(ApiError):
    status, code = 503, "overloaded"


class NotReady(ApiError):
    status, code = 503, "model_not_ready"


class BusUnavailable(ApiError):
    status, code = 503, "bus_unavailable"


class ShuttingDown(ApiError):
    """The same for who comes too late and for whose time is up: another worker, or the next one, takes the request."""

    status, code = 503, "shutting_down"

    def __init__(self) -> None:
        super().__init__("this gateway is shutting down; try again", retry_after_s=1.0)


class SlowClient(ApiError):
    status, code = 503, "slow_client"


class DeadlineExceeded(ApiError):
    status, code = 504, "deadline_exceeded"


class StartError(Exception):
    """The gateway cannot start; the message says what to do."""


class PortTaken(StartError):
    """The listening address is in use."""
