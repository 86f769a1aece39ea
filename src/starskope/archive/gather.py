"""Many questions at a time, but never more than allowed; answers in the order of the questions.

Refuses to retry and to swallow failures: the first one cancels the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

__all__ = ["gather_limited"]

T = TypeVar("T")
R = TypeVar("R")


async def gather_limited(work: Callable[[T], Awaitable[R]], items: Sequence[T], limit: int) -> list[R]:
    """Await ``work(item)`` for all items, at most `limit` at a time; results in order of the items.

    The first failure cancels the others and is raised as it is.
    """
    gate = asyncio.Semaphore(limit)

    async def one(item: T) -> R:
        async with gate:
            return await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
