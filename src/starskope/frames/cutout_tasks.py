"""Threads that decode while an event loop reads, and many small jobs of a loop side by side.

Owns the bound on both and their end: whoever leaves has no thread behind that still writes into his arrays. Refuses to
know what is decoded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from starskope import parallel

__all__ = ["Decoders", "each_index", "off_loop"]

T = TypeVar("T")
P = ParamSpec("P")


async def off_loop(function: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
    """Await a function that computes for long in a thread, while the loop goes on."""
    return await asyncio.wrap_future(parallel.submit(function, *arguments, **keywords))


class Decoders:
    """A bounded number of decoding tasks in the shared threads; leaving waits for them all."""

    def __init__(self, workers: int) -> None:
        self._n_most = parallel.resolve_workers(workers)
        self._running: set[asyncio.Future[None]] = set()
        self._slots = asyncio.Semaphore(self._n_most)

    async def __aenter__(self) -> Decoders:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # A thread that still writes into the arrays must end before their owner hears of anything.
        results = await asyncio.gather(*self._running, return_exceptions=True)
        if kind is None:
            for result in results:
                if isinstance(result, BaseException):
                    raise result

    async def run(self, function: Callable[..., None], *arguments: Any) -> None:
        """Start a task; waits only while too many run, and raises what an earlier one raised."""
        while len(self._running) >= self._n_most:
            done, self._running = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        self._running.add(asyncio.wrap_future(parallel.submit(function, *arguments)))

    async def wait(self, function: Callable[..., None], *arguments: Any) -> None:
        """Run a task to its end."""
        async with self._slots:
            task = asyncio.wrap_future(parallel.submit(function, *arguments))
            self._running.add(task)
            try:
                await asyncio.shield(task)
            finally:
                if task.done():
                    self._running.discard(task)


async def each_index(work: Callable[[int], Awaitable[None]], n_item: int, n_parallel: int) -> None:
    """Await ``work(0)`` to ``work(n_item - 1)``, at most so many at a time; the first failure cancels the rest."""
    coming = iter(range(n_item))

    async def worker() -> None:
        for index in coming:
            await work(index)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(n_parallel, n_item)):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
