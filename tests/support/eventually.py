"""Waiting for an outcome with a deadline, never for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    predicate: Callable[..., Awaitable[T]], *, timeout_s: float = 5.0, every_s: float = 0.005
) -> T: ...


@overload
async def eventually(predicate: Callable[..., T], *, timeout_s: float = 5.0, every_s: float = 0.005) -> T: ...


async def eventually(predicate: Callable[..., Any], *, timeout_s: float = 5.0, every_s: float = 0.005) -> Any:
    """The first true value of `predicate`. AssertionError, with the last value, when the deadline passes."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = predicate()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {timeout_s:g} s; last value: {value!r}")
        await asyncio.sleep(every_s)
