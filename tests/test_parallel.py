"""Ranges, order, errors and threads of `starskope.parallel`."""

from __future__ import annotations

import os
import threading
import time

import pytest

from starskope import parallel


def test_ranges_cover_everything_once_whatever_the_step() -> None:
    for n in (0, 1, 7, 100):
        for step in (1, 3, 7, 100, 1000):
            pieces = list(parallel.ranges(n, step))
            assert [i for start, stop in pieces for i in range(start, stop)] == list(range(n))
            assert all(0 < stop - start <= step for start, stop in pieces)


@pytest.mark.parametrize("workers", [1, 2, 7, 50])
def test_results_come_in_order_of_the_ranges(workers: int) -> None:
    def late_first(start: int, stop: int) -> tuple[int, int]:
        time.sleep(0.003 * (start == 0))
        return start, stop

    assert parallel.map_ranges(late_first, 23, 4, workers) == list(parallel.ranges(23, 4))


def test_one_worker_stays_in_the_calling_thread() -> None:
    threads = parallel.map_ranges(lambda *_: threading.get_ident(), 5, 1, 1)
    assert set(threads) == {threading.get_ident()}


def test_several_workers_run_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=20)
    parallel.map_ranges(lambda *_: meeting.wait(), 3, 1, 3)


@pytest.mark.parametrize("workers", [1, 4])
def test_the_first_error_in_order_is_raised_and_the_rest_is_dropped(workers: int) -> None:
    started = []

    def fail(start: int, _stop: int) -> None:
        started.append(start)
        if start >= 2:
            raise ValueError(f"range {start}")

    with pytest.raises(ValueError, match="range 2"):
        parallel.map_ranges(fail, 1000, 1, workers)
    assert len(started) < 20


def test_nested_calls_finish() -> None:
    def outer(start: int, _stop: int) -> int:
        return sum(parallel.map_ranges(lambda a, b: b - a, start + 5, 1, 3))

    assert parallel.map_ranges(outer, 6, 1, 4) == [5, 6, 7, 8, 9, 10]


def test_submitted_work_runs_elsewhere_and_hands_back_its_error() -> None:
    assert parallel.submit(threading.get_ident).result(20) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        parallel.submit(divmod, 1, 0).result(20)


def test_waiting_work_has_threads_of_its_own_and_their_number_is_kept() -> None:
    end = threading.Event()
    waiting = []
    try:
        while parallel.can_wait():
            waiting.append(parallel.submit_waiting(end.wait, 20))
            assert len(waiting) <= 1000
        assert parallel.submit(int).result(20) == 0, "single tasks do not stand behind those that wait"
    finally:
        end.set()
    assert all(future.result(20) for future in waiting)
    assert len(waiting) > parallel.available_cpus()
    with pytest.raises(ZeroDivisionError):
        parallel.submit_waiting(divmod, 1, 0).result(20)
    assert parallel.can_wait()


def test_workers_are_counted() -> None:
    assert parallel.resolve_workers(3) == 3
    assert parallel.resolve_workers(-1) == parallel.available_cpus() >= 1
    if hasattr(os, "sched_getaffinity"):
        assert parallel.available_cpus() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("workers", [0, -2])
def test_other_counts_are_refused(workers: int) -> None:
    with pytest.raises(ValueError, match=f"workers={workers}: expected 1 or more"):
        parallel.resolve_workers(workers)


@pytest.mark.parametrize("workers", [1.0, True, "2", None])
def test_what_is_no_integer_is_refused(workers: object) -> None:
    with pytest.raises(TypeError, match="workers="):
        parallel.resolve_workers(workers)  # type: ignore[arg-type]


def test_a_step_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="step=0"):
        parallel.map_ranges(lambda *_: None, 3, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_a_pool_of_its_own() -> None:
    parallel.submit(int).result(20)
    child = os.fork()
    if child == 0:
        os._exit(0 if parallel.submit(lambda: 42).result(20) == 42 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
