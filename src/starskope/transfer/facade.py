"""The plain names of awaiting functions: one background event loop for the whole process.

Owns the loop, its thread and the way an interrupt travels from the waiting thread to the coroutine. The thread starts
with the first call, never on import, and works beside a loop that already runs (Jupyter). It refuses to be called from
its own loop, where waiting would wait for itself.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import threading
from collections.abc import Coroutine
from typing import Any, ClassVar, Generic, TypeVar

__all__ = ["run_sync"]

T = TypeVar("T")
_SHUTDOWN_TIMEOUT_S = 5.0


class _Outcome(Generic[T]):
    """What became of one coroutine, handed from the loop's thread to the waiting one."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.error: BaseException | None = None
        self.value: T | None = None
        self.task: asyncio.Task[None] | None = None


class _LoopThread:
    """An event loop that runs in a daemon thread until the interpreter ends."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name="starskope-io", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def submit(self, coroutine: Coroutine[Any, Any, T], outcome: _Outcome[T], context: contextvars.Context) -> None:
        async def capture() -> None:
            # Everything is caught, SystemExit too: what escapes a task would end the loop for everybody.
            try:
                outcome.value = await coroutine
            except BaseException as error:
                outcome.error = error

        def end(_: asyncio.Task[None]) -> None:
            coroutine.close()  # a task that is cancelled before its first step never touched it
            outcome.done.set()

        def start() -> None:
            outcome.task = self.loop.create_task(capture(), context=context)
            outcome.task.add_done_callback(end)

        self.loop.call_soon_threadsafe(start)

    def cancel(self, coroutine: Coroutine[Any, Any, T], outcome: _Outcome[T]) -> None:
        def stop() -> None:
            # The loop keeps the order of calls: without a task here, the interrupt came before the submission.
            if outcome.task is None:
                coroutine.close()
                outcome.done.set()
            else:
                outcome.task.cancel()

        self.loop.call_soon_threadsafe(stop)

    def shut_down(self) -> None:
        """Cancel what still runs and close the loop, so that no socket or file is left to the collector."""
        if self.pid != os.getpid() or self.loop.is_closed():
            return

        async def wind_up() -> None:
            current = asyncio.current_task()
            tasks = [task for task in asyncio.all_tasks() if task is not current]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.loop.shutdown_asyncgens()
            await self.loop.shutdown_default_executor()

        ended: _Outcome[None] = _Outcome()
        self.submit(wind_up(), ended, contextvars.Context())
        if ended.done.wait(_SHUTDOWN_TIMEOUT_S):
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(_SHUTDOWN_TIMEOUT_S)
            if not self.thread.is_alive():
                self.loop.close()


class _Holder:
    """The one loop thread of this process."""

    lock = threading.Lock()
    running: _LoopThread | None = None
    # Loops copied by a fork are kept, not closed: closing one would unregister the sockets of the parent's.
    copied: ClassVar[list[_LoopThread]] = []


def _loop_thread() -> _LoopThread:
    """Return the one loop thread, made on first use and again after a fork."""
    with _Holder.lock:
        running = _Holder.running
        if running is None or running.pid != os.getpid() or not running.thread.is_alive():
            if running is not None and running.pid != os.getpid():
                _Holder.copied.append(running)
            running = _Holder.running = _LoopThread()
            atexit.register(running.shut_down)
        return running


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the background loop and wait for its result.

    Parameters
    ----------
    coroutine : coroutine
        Freshly made, not yet awaited. Context variables of the caller are seen by it.

    Returns
    -------
    object
        What the coroutine returns; what it raises is raised here.

    Raises
    ------
    TypeError
        When given something else than a coroutine.
    RuntimeError
        When called from a coroutine of the background loop itself: await the ``_async`` twin there.
    KeyboardInterrupt
        On Ctrl-C, after the coroutine was cancelled and has cleaned up. A second Ctrl-C does not wait.

    Examples
    --------
    >>> import asyncio
    >>> from starskope.transfer.facade import run_sync
    >>> run_sync(asyncio.sleep(0, result=7))
    7
    """
    if not asyncio.iscoroutine(coroutine):
        raise TypeError(f"run_sync needs a coroutine, got {type(coroutine).__name__}: call the async function first")
    background = _loop_thread()
    if threading.current_thread() is background.thread:
        coroutine.close()
        raise RuntimeError(
            "run_sync was called from starskope's own event loop, which would wait for itself: "
            "await the _async twin instead"
        )
    outcome: _Outcome[T] = _Outcome()
    try:
        background.submit(coroutine, outcome, contextvars.copy_context())
        outcome.done.wait()
    except BaseException:
        background.cancel(coroutine, outcome)
        outcome.done.wait()
        raise
    if outcome.error is not None:
        try:
            raise outcome.error
        finally:
            outcome.error = None  # the traceback holds this frame: break the circle
    return outcome.value  # type: ignore[return-value]
