"""The failures that every engine ends a job with, in OpenAI's terms."""

from __future__ import annotations

from matrixinfer.agents.engines.port import Piece
from matrixinfer.bus.contracts.frames import Failure


def bad_request(message: str, param: str = "", code: str = "") -> Failure:
    """The client's mistake: 400."""
    return Failure(status=400, message=message, type="invalid_request_error", code=code, param=param)


def context_exceeded(needed_tokens: int, capacity_tokens: int) -> Failure:
    """Prompt and answer do not fit, however long one waits: 400, with OpenAI's code."""
    return bad_request(
        f"this request needs {needed_tokens} tokens of context, and the model has {capacity_tokens}; "
        "shorten the prompt or lower max_tokens",
        code="context_length_exceeded",
    )


def adapter_missing(name: str) -> Failure:
    """It was asked for by its name, and is not loaded (any more): 404, as for a model."""
    message = f"the LoRA adapter {name!r} is not loaded here"
    return Failure(status=404, message=message, type="invalid_request_error", code="model_not_found", param="model")


def cancelled() -> Failure:
    """The job was aborted: 499, the convention for a client that left."""
    return Failure(status=499, message="the request was cancelled", type="cancelled", code="cancelled")


def engine_closed() -> Failure:
    """The engine is not there (any more): 503."""
    return Failure(status=503, message="the engine was shut down before the answer was complete", code="engine_closed")


def engine_failed(message: str, status: int = 500) -> Failure:
    """The engine itself went wrong."""
    return Failure(status=status, message=message, code="engine_failed")


def final(failure: Failure) -> Piece:
    """The last piece of a job that failed."""
    return Piece(b"", final=True, failure=failure)
