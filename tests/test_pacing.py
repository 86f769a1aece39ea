"""The gate, the waits, the patience and the watch: laws that need no network."""

from __future__ import annotations

import asyncio
import random
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from starskope.transfer.options import TransferOptions
from starskope.transfer.pacing import Gate, Pace, backoff_s
from starskope.transfer.patience import Patience, TooSlowError, Watch


@given(st.integers(1, 10_000), st.floats(0, 10), st.floats(0, 100), st.integers(0, 2**32))
def test_waits_are_jittered_within_their_ceiling(n_failed: int, base_s: float, max_s: float, seed: int) -> None:
    wait = backoff_s(n_failed, base_s, max_s, random.Random(seed))
    assert 0 <= wait <= min(max_s, base_s * 2.0 ** min(n_failed, 60))


def test_waits_grow_and_spread() -> None:
    rng = random.Random(0)
    waits = np.array([[backoff_s(n, 0.2, 10.0, rng) for _ in range(4000)] for n in (1, 3, 20)])
    np.testing.assert_allclose(waits.mean(axis=1), [0.2, 0.8, 5.0], rtol=0.05)
    np.testing.assert_allclose(waits.std(axis=1), np.array([0.4, 1.6, 10.0]) / 12**0.5, rtol=0.05)
    with pytest.raises(ValueError, match=r"at least 1"):
        backoff_s(0, 0.2, 1.0, rng)


def _gate(start: int, most: int, least: int = 2, **changes: float) -> Gate:
    options = TransferOptions(start_connections=start, max_connections=most, min_connections=least, **changes)
    return Gate(options, most)


def _fill(gate: Gate) -> None:
    while gate.try_enter():
        pass


def _round(gate: Gate) -> None:
    """All requests of one full gate succeed, each replaced by the next."""
    for _ in range(int(gate.width)):
        _fill(gate)
        gate.succeeded()
        gate.leave()


def test_the_gate_doubles_until_the_first_complaint_and_then_gains_one_per_round() -> None:
    gate = _gate(4, 64)
    widths = []
    for _ in range(5):
        _round(gate)
        widths.append(int(gate.width))
    assert widths == [8, 16, 32, 64, 64]
    gate.throttled(0)
    assert gate.width == 32
    _round(gate)
    assert 32.9 < gate.width <= 33.0
    _round(gate)
    assert 33.8 < gate.width <= 34.0


def test_one_burst_of_complaints_narrows_once_and_never_below_the_least() -> None:
    gate = _gate(32, 64, least=3)
    for _ in range(20):
        gate.throttled(0)
    assert gate.width == 16, "twenty answers to one burst are one complaint"
    for fallen in range(1, 10):
        gate.throttled(fallen)
    assert gate.width == 3
    assert _gate(32, 2, least=8).width == 2, "the limit of a host is above the least"


def test_a_gate_that_nobody_fills_does_not_widen() -> None:
    gate = _gate(8, 64)
    for _ in range(100):
        assert gate.try_enter()
        gate.succeeded()
        gate.leave()
    assert gate.width == 8


def test_places_are_given_in_order_and_survive_cancellation() -> None:
    async def play() -> list[int]:
        pace = Pace(TransferOptions(max_connections=2, start_connections=2), "host")
        order: list[int] = []

        async def visit(name: int) -> None:
            async with pace.slot():
                assert pace.gate().n_busy <= 2
                order.append(name)
                await asyncio.sleep(0.01)

        visits = [asyncio.create_task(visit(name)) for name in range(9)]
        await asyncio.sleep(0.005)
        for name in (2, 4, 5):
            visits[name].cancel()
        late = asyncio.create_task(visit(9))
        await asyncio.gather(*visits, late, return_exceptions=True)
        assert pace.gate().n_busy == 0
        return order

    assert asyncio.run(play()) == [0, 1, 3, 6, 7, 8, 9]


def test_a_place_given_to_a_cancelled_task_goes_on_to_the_next() -> None:
    async def play() -> None:
        gate = _gate(1, 1, least=1)
        await gate.enter()
        first = asyncio.create_task(gate.enter())
        second = asyncio.create_task(gate.enter())
        await asyncio.sleep(0)
        gate.leave()  # wakes the first, which is cancelled before it runs
        first.cancel()
        async with asyncio.timeout(2):
            await second
        assert first.cancelled()
        assert gate.n_busy == 1
        gate.leave()
        only_cancelled = asyncio.create_task(gate.enter())
        await only_cancelled
        waiter = asyncio.create_task(gate.enter())
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.sleep(0)
        gate.leave()
        async with asyncio.timeout(2):
            await gate.enter()

    asyncio.run(play())


def test_the_gate_finds_the_width_of_a_server_and_keeps_near_it() -> None:
    """A server that takes 20 at once and refuses the rest: most of what is sent must be taken, and it must be used."""

    async def play() -> tuple[int, int, float]:
        pace = Pace(TransferOptions(start_connections=64, max_connections=256, min_connections=1), "host")
        taken = refused = inside = 0
        widths: list[float] = []

        async def ask() -> None:
            nonlocal taken, refused, inside
            while taken < 4000:
                async with pace.slot() as slot:
                    if inside >= 20:
                        await asyncio.sleep(0.0005)
                        refused += 1
                        slot.throttled()
                    else:
                        inside += 1
                        await asyncio.sleep(0.001)
                        widths.append(pace.gate().width)
                        inside -= 1
                        taken += 1
                        slot.succeeded()

        await asyncio.gather(*(ask() for _ in range(128)))
        return taken, refused, float(np.mean(widths))

    taken, refused, mean_width = asyncio.run(play())
    assert refused < 0.1 * taken
    assert 10 < mean_width < 24


def test_hosts_have_gates_of_their_own_and_small_ones_stay_small() -> None:
    pace = Pace(TransferOptions(), "s3.amazonaws.com")
    assert pace.gate() is pace.gate("S3.amazonaws.com")
    assert pace.limit("s3.amazonaws.com") == 256
    for host in ("mast.stsci.edu", "archive.stsci.edu", "stsci.edu"):
        assert pace.limit(host) == 3
        assert pace.gate(host).width == 3
    assert pace.limit("notstsci.edu") == 256
    assert Pace(TransferOptions(), "h", max_connections=40).limit("h") == 40
    assert Pace(TransferOptions(host_limits=(("h.org", 7),)), "a.h.org").gate().limit == 7


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pace_decrease": 1.0}, "pace_decrease must be a fraction"),
        ({"hedge_quantile": -0.1}, "hedge_quantile must be a fraction"),
        ({"host_limits": (("stsci.edu", 0),)}, "host_limits holds"),
        ({"host_limits": (("", 3),)}, "host_limits holds"),
        ({"host_limits": ("stsci.edu",)}, "host_limits holds"),
        ({"renew_bytes": 0.5}, "renew_bytes must be a whole number"),
        ({"retry_seconds": 0}, "retry_seconds must be a number above 0"),
        ({"min_bytes_per_s": -1}, "min_bytes_per_s must not be negative"),
        ({"max_replaced": "two"}, "max_replaced must not be negative"),
    ],
)
def test_bad_options_of_pace_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TransferOptions(**settings)  # type: ignore[arg-type]


def test_a_dead_host_is_given_up_and_tried_again_later() -> None:
    gate = Gate(TransferOptions(max_lost=3, retry_seconds=10.0), 8)
    for now in (1.0, 2.0, 3.0):
        assert not gate.is_given_up(now)
        gate.lost(now)
    assert gate.is_given_up(3.1)
    assert gate.is_given_up(12.9)
    assert not gate.is_given_up(13.1)
    gate.succeeded()
    assert not gate.is_given_up(3.1)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 5)), min_size=1, max_size=200))
def test_patience_ends_whatever_small_progress_there_is(tries: list[tuple[int, float]]) -> None:
    options = TransferOptions(max_attempts=6, retry_seconds=9.0, renew_bytes=10**6 + 1)
    patience = Patience(options)
    n_allowed = 0
    idle_s = 0.0
    for n_bytes, seconds in tries:
        patience.failed(n_bytes, seconds)
        idle_s += seconds
        n_allowed += 1
        if patience.is_spent:
            break
    assert n_allowed <= 6
    assert patience.is_spent == (n_allowed == 6 or idle_s >= 9.0)


def test_only_much_progress_is_forgiven_and_only_as_often_as_the_object_is_long() -> None:
    options = TransferOptions(max_attempts=3, renew_bytes=1000)
    patience = Patience(options)
    n_tries = 0
    left = 10_500
    while not patience.is_spent:
        n_tries += 1
        patience.failed(min(1000, left), 0.0)
        left -= min(1000, left)
    assert n_tries == 10 + 2
    patience = Patience(options)
    for _ in range(3):
        patience.failed(999, 0.0)
    assert patience.is_spent


@pytest.mark.parametrize(
    ("every_s", "n_bytes", "error", "words"),
    [
        (0.01, 1, TooSlowError, r"too slow: \d+ bytes in 0.4 s, at least 400 must come"),
        (9.0, 0, TimeoutError, "^$"),
        (0.01, 20, None, "-"),
    ],
)
def test_the_watch_ends_what_is_too_slow(
    every_s: float, n_bytes: int, error: type[Exception] | None, words: str
) -> None:
    async def play() -> float:
        began = time.monotonic()
        async with Watch(TransferOptions(stall_timeout_s=0.4, min_bytes_per_s=1000)) as watch:
            while time.monotonic() < began + 1.2:
                await asyncio.sleep(every_s)
                watch.took(n_bytes)
        return time.monotonic() - began

    began = time.monotonic()
    if error is None:
        assert asyncio.run(play()) >= 1.2
        return
    with pytest.raises(error, match=words):
        asyncio.run(play())
    assert time.monotonic() - began < 0.9


def test_time_in_which_the_taker_is_busy_is_not_the_servers() -> None:
    async def play() -> None:
        async with Watch(TransferOptions(stall_timeout_s=0.1, min_bytes_per_s=1000)) as watch:
            watch.is_paused = True
            await asyncio.sleep(0.3)
            watch.is_paused = False
            watch.took(1)

    asyncio.run(play())


def test_a_burst_before_a_trickle_buys_no_time() -> None:
    async def play() -> float:
        began = time.monotonic()
        with pytest.raises(TooSlowError):
            async with Watch(TransferOptions(stall_timeout_s=0.5, min_bytes_per_s=1000)) as watch:
                watch.took(10**6)
                while True:
                    await asyncio.sleep(0.01)
                    watch.took(1)
        return time.monotonic() - began

    assert 0.4 < asyncio.run(play()) < 1.0
