"""A second request for a small read that is late.

Owns when a read counts as late, how many second requests there may be, and the race of the two. It refuses to repeat
what failed (`ranged` does) and to send a second request where the gate has no place free.

References
----------
J. Dean and L. A. Barroso, "The Tail at Scale", Communications of the ACM 56, 2 (2013).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from starskope.transfer.options import TransferOptions
from starskope.transfer.pacing import Gate
from starskope.transfer.patience import slowest, too_slow

__all__ = ["Latency", "hedged"]

T = TypeVar("T")
Read = Callable[[bool, Callable[[int], None]], Awaitable[T]]
_N_KEPT = 256
_N_NEW = 64


class Latency:
    """How long the latest small reads took, and how many were asked for twice.

    Parameters
    ----------
    options : TransferOptions
        The ``hedge_*`` options, `stall_timeout_s` and `min_bytes_per_s`.
    """

    __slots__ = ("_kept", "_n_new", "_options", "floor", "late_s", "n_hedged", "n_read", "stall_s")

    def __init__(self, options: TransferOptions) -> None:
        self._options = options
        self._kept: list[float] = []
        self._n_new = 0
        self.n_read = 0
        self.n_hedged = 0
        self.late_s = options.hedge_max_s
        self.stall_s = options.stall_timeout_s
        self.floor = slowest(options)

    def note(self, seconds: float) -> None:
        """Take note of a read that went well."""
        self.n_read += 1
        self._n_new += 1
        if len(self._kept) < _N_KEPT:
            self._kept.append(seconds)
        else:
            self._kept[self.n_read % _N_KEPT] = seconds
        if self._n_new >= _N_NEW:
            self._n_new = 0
            options = self._options
            late_s = sorted(self._kept)[int(options.hedge_quantile * len(self._kept))]
            self.late_s = min(max(late_s, options.hedge_min_s), options.hedge_max_s)

    def may_hedge(self) -> bool:
        """Return whether one more read may be asked for twice, and count it."""
        share = self._options.hedge_share
        if share and self.n_hedged < max(1.0, share * self.n_read):
            self.n_hedged += 1
            return True
        return False


async def hedged(read: Read[T], latency: Latency, gate: Gate) -> T:
    """Await ``read(False, took)``; when it is late also ``read(True, took)``, and take what comes first.

    Parameters
    ----------
    read : callable
        Makes the request; told whether it is the second one, and what to call with the number of bytes that came. Its
        cancellation must close the connection.
    latency : Latency
        When a read is late.
    gate : Gate
        Where the second request needs a place.

    Returns
    -------
    object
        What the faster one returned; the other is cancelled and has ended.

    Raises
    ------
    TimeoutError
        When no byte came for `stall_timeout_s`.
    TooSlowError
        When fewer came in that time than `min_bytes_per_s` asks for.
    Exception
        Otherwise what the first raised, when the second did not do better.
    """
    race: _Race[T] = _Race(read, latency, gate)
    try:
        result = await read(False, race.took)
    except BaseException as error:
        is_ours = race.close()
        if isinstance(error, asyncio.CancelledError) and not is_ours:
            raise
        won = await race.winner(error)
        if won is not None:
            return won.result()
        if isinstance(error, asyncio.CancelledError):
            raise race.verdict() from None
        raise
    else:
        race.close()
        latency.note(race.seconds())
        return result
    finally:
        if race.second is not None:
            await race.end()


class _Race(Generic[T]):
    """The timers and the second request of one read. The first one runs in the task that makes this."""

    __slots__ = ("_began", "_floor", "_gate", "_has_cancelled", "_is_closed", "_latency", "_loop", "_n_bytes",
                 "_n_cancelling", "_n_judged", "_read", "_stall_s", "_task", "_timer", "second")  # fmt: skip

    def __init__(self, read: Read[T], latency: Latency, gate: Gate) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a hedged read needs a task")
        self._task = task
        self._n_cancelling = task.cancelling()
        self._loop = task.get_loop()
        self._read, self._latency, self._gate = read, latency, gate
        self._stall_s, self._floor = latency.stall_s, latency.floor
        self._n_bytes = self._n_judged = 0
        self._began = self._loop.time()
        self._timer = self._loop.call_at(self._began + min(latency.late_s, self._stall_s), self._late)
        self._is_closed = self._has_cancelled = False
        self.second: asyncio.Task[T] | None = None

    def seconds(self) -> float:
        return self._loop.time() - self._began

    def took(self, n_bytes: int) -> None:
        self._n_bytes += n_bytes

    def verdict(self) -> Exception:
        """Return what to raise for a read that was ended from here."""
        if n_late := self._n_bytes - self._n_judged:
            return too_slow(n_late, self._stall_s, self._floor)
        return TimeoutError()

    def close(self) -> bool:
        """Note that the first has ended; return whether it was cancelled from here and by nobody else."""
        self._timer.cancel()
        self._is_closed = True
        return self._has_cancelled and self._task.uncancel() <= self._n_cancelling

    async def winner(self, error: BaseException) -> asyncio.Task[T] | None:
        """Return the second request if it goes well; after an error of the first it has as long as that had."""
        second = self.second
        if second is None:
            return None
        if not second.done() and isinstance(error, Exception):
            await asyncio.wait({second}, timeout=max(0.0, self._stall_s - self.seconds()))
        return second if _went_well(second) else None

    async def end(self) -> None:
        if self.second is not None and not self.second.done():
            self.second.cancel()
            await asyncio.wait({self.second})

    def _late(self) -> None:
        if self.seconds() < self._stall_s and self._gate.try_exceed():
            if self._latency.may_hedge():
                self.second = self._loop.create_task(self._run_second())
                self.second.add_done_callback(self._second_ended)
            else:
                self._gate.leave()
        self._timer = self._loop.call_at(self._began + self._stall_s, self._judge)

    def _judge(self) -> None:
        """Look once per `stall_timeout_s` whether enough came in it."""
        if self._n_bytes - self._n_judged >= self._floor:
            self._n_judged = self._n_bytes
            self._timer = self._loop.call_later(self._stall_s, self._judge)
        else:
            self._interrupt()

    async def _run_second(self) -> T:
        return await self._read(True, self.took)

    def _second_ended(self, second: asyncio.Task[T]) -> None:
        self._gate.leave()
        if _went_well(second):
            self._interrupt()

    def _interrupt(self) -> None:
        if not (self._is_closed or self._has_cancelled):
            self._has_cancelled = True
            self._task.cancel()


def _went_well(task: asyncio.Task[T]) -> bool:
    # Asking for the exception also tells the loop that it was seen.
    return task.done() and not task.cancelled() and task.exception() is None
