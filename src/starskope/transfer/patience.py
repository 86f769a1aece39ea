"""When to stop waiting for one object or range.

Owns two judgements: whether the try under way brings bytes fast enough to go on, and whether another try is allowed.
It refuses to sleep between tries, to send and to word what went wrong: `ranged` and `faults` do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType

from starskope.transfer.checks import AnswerError
from starskope.transfer.options import TransferOptions

__all__ = ["Patience", "TooSlowError", "Watch", "slowest", "too_slow"]

_LOOKS_PER_STALL = 5


class TooSlowError(AnswerError):
    """A connection brings bytes, but so few that it counts as stalled."""


def slowest(options: TransferOptions) -> float:
    """Return the fewest bytes that must come in `stall_timeout_s`."""
    return max(1.0, options.min_bytes_per_s * options.stall_timeout_s)


def too_slow(n_bytes: int, seconds: float, floor: float) -> TooSlowError:
    """Return the error of a connection that brought `n_bytes` in so many seconds where `floor` were asked."""
    return TooSlowError(f"too slow: {n_bytes} bytes in {seconds:g} s, at least {floor:g} must come")


class Patience:
    """What one object or range may still cost: a number of tries, and seconds in which no byte came.

    Parameters
    ----------
    options : TransferOptions
        ``max_attempts``, ``retry_seconds``, ``renew_bytes``, ``max_replaced``.

    Notes
    -----
    Progress renews neither, so a server that closes each connection after a kilobyte is given up after as many tries
    as one that sends nothing. Only a try that brought `renew_bytes` is forgiven, which can happen no more often than
    the object has that many bytes.
    """

    __slots__ = ("_n_replaced", "_options", "idle_s", "n_failed")

    def __init__(self, options: TransferOptions) -> None:
        self._options = options
        self._n_replaced = 0
        self.n_failed = 0
        self.idle_s = 0.0

    def failed(self, n_bytes: int, idle_s: float) -> None:
        """Count a try that brought `n_bytes`, the last of them `idle_s` seconds before it failed."""
        if n_bytes >= self._options.renew_bytes:
            self.n_failed, self.idle_s = 0, 0.0
        self.n_failed += 1
        self.idle_s += idle_s

    def waited(self, seconds: float) -> None:
        """Count a wait between two tries."""
        self.idle_s += seconds

    def replaced(self) -> bool:
        """Count an answer from another object than the one asked for; return whether to ask once more."""
        self._n_replaced += 1
        return self._n_replaced <= self._options.max_replaced

    @property
    def is_spent(self) -> bool:
        """Whether no further try is allowed."""
        return self.n_failed >= self._options.max_attempts or self.idle_s >= self._options.retry_seconds


class Watch:
    """Ends a try that brings fewer bytes than the floor: ``async with Watch(options) as watch:``.

    Parameters
    ----------
    options : TransferOptions
        Over any `stall_timeout_s`, ``min_bytes_per_s * stall_timeout_s`` bytes must come, and at least one.

    Attributes
    ----------
    n_bytes : int
        Bytes that came so far.
    is_paused : bool
        To be set while the taker of the bytes is busy: its time is not the server's.

    Raises
    ------
    TimeoutError
        Out of the ``with`` block, when no byte came.
    TooSlowError
        When too few came.

    Notes
    -----
    Looks five times per `stall_timeout_s`, so a try ends within 1.2 of it. The wait for the head of the answer counts
    too, as a head can trickle just as a body can.
    """

    __slots__ = ("_alarm", "_floor", "_loop", "_seen", "_stall_s", "_timer", "is_paused", "last", "n_bytes")

    def __init__(self, options: TransferOptions) -> None:
        self._stall_s = options.stall_timeout_s
        self._floor = slowest(options)
        self._seen = deque([0], maxlen=_LOOKS_PER_STALL + 1)
        self.n_bytes = 0
        self.is_paused = False
        self.last = 0.0

    async def __aenter__(self) -> Watch:
        self._loop = asyncio.get_running_loop()
        self.last = self._loop.time()
        self._alarm = asyncio.timeout(None)
        await self._alarm.__aenter__()
        self._look_later()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        try:
            await self._alarm.__aexit__(kind, error, trace)
        except TimeoutError:
            if not (n_late := self._seen[-1] - self._seen[0]):
                raise
            raise too_slow(n_late, self._stall_s, self._floor) from None

    def took(self, n_bytes: int) -> None:
        """Count bytes that came."""
        self.n_bytes += n_bytes
        self.last = self._loop.time()

    def idle_s(self) -> float:
        """Return the seconds that this try wasted at its end: since the last byte, or while it was found too slow."""
        since_s = self._loop.time() - self.last
        return max(since_s, self._stall_s) if self._alarm.expired() else since_s

    def _look_later(self) -> None:
        self._timer = self._loop.call_later(self._stall_s / _LOOKS_PER_STALL, self._look)

    def _look(self) -> None:
        self._look_later()
        if self.is_paused:
            self._seen.clear()
        self._seen.append(self.n_bytes)
        if len(self._seen) == self._seen.maxlen and self._seen[-1] - self._seen[0] < self._floor:
            self._timer.cancel()
            self._alarm.reschedule(self._loop.time())
