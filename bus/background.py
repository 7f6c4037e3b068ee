"""Tasks that run beside everything else: one that dies is always noticed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger("matrixinfer.bus.background")


def spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Start `work`; should it end with an error, that is logged with its traceback, once, as critical."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_notice)
    return task


def _notice(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.critical("%s died", task.get_name(), exc_info=error)
