"""How many requests go to a host at once, and how long to wait before trying again.

Owns the gate before every request: one per host, whose width follows what the server can take (additive increase,
multiplicative decrease), and the law of the waits between tries. It refuses to count tries (`patience`) and to know
what a request is: whoever holds a place says how it went.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from types import TracebackType

from starskope.transfer.options import TransferOptions

__all__ = ["Gate", "Pace", "Slot", "backoff_s"]


def backoff_s(n_failed: int, base_s: float, max_s: float, rng: random.Random) -> float:
    """Return a wait with full jitter: uniform in ``[0, min(max_s, base_s * 2**n_failed)]``.

    Parameters
    ----------
    n_failed : int
        Tries that failed so far, at least 1.
    base_s, max_s : float
        Scale and ceiling in seconds.
    rng : random.Random
        Source of the jitter.

    Returns
    -------
    float
        Seconds.

    Notes
    -----
    Full jitter spreads clients that failed together over the whole interval, which clears a throttled prefix sooner
    than equal or no jitter.

    References
    ----------
    M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog (2015).
    """
    if n_failed < 1:
        raise ValueError(f"n_failed must be at least 1, got {n_failed}")
    # The exponent is capped: a float overflows at 2**1024 and no wait needs that.
    return rng.uniform(0.0, min(max_s, base_s * 2.0 ** min(n_failed, 60)))


class Gate:
    """The requests in flight to one host: how many there are, and how many there may be.

    Parameters
    ----------
    options : TransferOptions
        First width, bounds and steps.
    limit : int
        Greatest width of this host.

    Notes
    -----
    The width grows only while it is what holds requests back: by one per success until the server complains for the
    first time (which doubles it per round trip), then by `pace_increase` per round. A complaint narrows it by
    `pace_decrease`, once for all requests that were under way together.

    References
    ----------
    D.-M. Chiu and R. Jain, Computer Networks and ISDN Systems 17, 1 (1989).
    """

    __slots__ = ("_lost_at", "_options", "_waiting", "limit", "minimum", "n_busy", "n_fallen", "n_lost", "width")

    def __init__(self, options: TransferOptions, limit: int) -> None:
        self.limit = limit
        self.minimum = min(options.min_connections, limit)
        self.width = float(max(self.minimum, min(options.start_connections, limit)))
        self.n_busy = 0
        self.n_fallen = 0
        self.n_lost = 0
        self._lost_at = 0.0
        self._options = options
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def n_waiting(self) -> int:
        """How many stand before the gate."""
        return sum(not future.done() for future in self._waiting)

    def try_enter(self) -> bool:
        """Take a place if one is free and nobody waits for it."""
        if self._waiting or self.n_busy >= int(self.width):
            return False
        self.n_busy += 1
        return True

    def try_exceed(self) -> bool:
        """Take a place for the second request of a late read, which as few as `hedge_share` may do beyond the width."""
        most = int(self.width) + 1 + int(self.width * self._options.hedge_share)
        if self.limit < self._options.max_connections:
            most = min(most, self.limit)
        if self.n_busy >= most:
            return False
        self.n_busy += 1
        return True

    async def enter(self) -> None:
        """Take a place, in the order of asking."""
        if self.try_enter():
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._admit()  # those who wait in front may all have been cancelled
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave()
            raise

    def leave(self) -> None:
        """Give the place back."""
        self.n_busy -= 1
        self._admit()

    def succeeded(self) -> None:
        """Widen, if more is wanted than the width allows."""
        self.n_lost = 0
        if self.width < self.limit and (self._waiting or self.n_busy >= int(self.width)):
            step = self._options.pace_increase / self.width if self.n_fallen else 1.0
            self.width = min(float(self.limit), self.width + step)
            self._admit()

    def throttled(self, n_fallen: int) -> None:
        """Narrow, unless the gate fell already since the request began, when it had fallen `n_fallen` times."""
        if n_fallen == self.n_fallen:
            self.width = max(float(self.minimum), self.width * self._options.pace_decrease)
            self.n_fallen += 1

    def lost(self, now_s: float) -> None:
        """Count an object whose tries ran out; any success forgets them all."""
        self.n_lost += 1
        self._lost_at = now_s

    def is_given_up(self, now_s: float) -> bool:
        """Whether so many objects were lost in a row that no more are tried, for `retry_seconds` after the last."""
        return self.n_lost >= self._options.max_lost and now_s - self._lost_at < self._options.retry_seconds

    def _admit(self) -> None:
        while self._waiting and self.n_busy < int(self.width):
            place = self._waiting.popleft()
            if not place.done():
                self.n_busy += 1
                place.set_result(None)


class Slot:
    """One place at a gate, held over a request and its body: ``async with pace.slot() as slot:``."""

    __slots__ = ("_n_fallen", "gate")

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self._n_fallen = 0

    async def __aenter__(self) -> Slot:
        await self.gate.enter()
        self._n_fallen = self.gate.n_fallen
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gate.leave()

    def succeeded(self) -> None:
        """Say that the answer came whole."""
        self.gate.succeeded()

    def throttled(self) -> None:
        """Say that the server asked for fewer requests: 503 SlowDown or 429 (RFC 6585)."""
        self.gate.throttled(self._n_fallen)


class Pace:
    """The gates of one client, one per host.

    Parameters
    ----------
    options : TransferOptions
        Widths and steps.
    host : str
        Host that is meant where none is named.
    max_connections : int, optional
        Greatest width of any gate, where it is below that of the options.
    """

    def __init__(self, options: TransferOptions, host: str = "", max_connections: int | None = None) -> None:
        self._options = options
        self._host = host.lower()
        self._most = min(options.max_connections, max_connections or options.max_connections)
        self._gates: dict[str, Gate] = {}

    def gate(self, host: str | None = None) -> Gate:
        """Return the gate of a host, made on first use."""
        name = self._host if host is None else host.lower()
        gate = self._gates.get(name)
        if gate is None:
            gate = self._gates[name] = Gate(self._options, self.limit(name))
        return gate

    def slot(self, host: str | None = None) -> Slot:
        """Return a place at the gate of a host, to be entered with ``async with``."""
        return Slot(self.gate(host))

    def limit(self, host: str) -> int:
        """Return the most requests that may be in flight to a host."""
        return min([self._most, *(most for domain, most in self._options.host_limits if _is_in(host, domain))])


def _is_in(host: str, domain: str) -> bool:
    name = domain.lower().strip(".")
    return host == name or host.endswith("." + name)
