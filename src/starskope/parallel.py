"""The one owner of compute threads and worker processes: work spread over CPUs without changing a bit of the result.

Owns the count of workers, the split of work into fixed ranges, and the shared pool that takes single tasks off an event
loop. Refuses to split by arrival or by number of workers: ranges depend on the size of the work alone, and results come
back in their order, so any number of workers gives the same bytes. Refuses OpenMP and shared state too: functions given
here release the GIL themselves (the core) or live with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

__all__ = [
    "available_cpus",
    "can_wait",
    "map_ranges",
    "ranges",
    "resolve_workers",
    "spawn",
    "submit",
    "submit_waiting",
]

_T = TypeVar("_T")
_P = ParamSpec("_P")


def available_cpus() -> int:
    """Return how many CPUs this process may use (its affinity), which containers and batch systems restrict."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resolve_workers(workers: int) -> int:
    """Turn the public ``workers`` into a number of threads.

    Parameters
    ----------
    workers : int
        1 or more, or -1 for the CPUs that this process may use.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        Not an integer.
    ValueError
        0 or below -1.
    """
    if isinstance(workers, bool) or not hasattr(workers, "__index__"):
        raise TypeError(f"workers={workers!r}: expected an integer, 1 or more, or -1 for all CPUs")
    workers = workers.__index__()
    if workers == -1:
        return available_cpus()
    if workers < 1:
        raise ValueError(f"workers={workers}: expected 1 or more, or -1 for all CPUs of this process")
    return workers


def ranges(n: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield ``(start, stop)`` of consecutive ranges of ``step`` that cover ``0..n``; the last may be shorter."""
    if step < 1:
        raise ValueError(f"step={step}: expected 1 or more")
    return ((start, min(start + step, n)) for start in range(0, n, step))


def map_ranges(function: Callable[[int, int], _T], n: int, step: int, workers: int = 1) -> list[_T]:
    """Call ``function(start, stop)`` for every range of ``step`` items in ``0..n``.

    Parameters
    ----------
    function : callable
        Called once per range, from several threads at a time when ``workers`` is above 1.
    n, step : int
        Items and items per range. Ranges do not depend on ``workers``.
    workers : int
        Threads, as `resolve_workers` takes it. With 1 the calling thread does all.

    Returns
    -------
    list
        Results in order of the ranges.

    Raises
    ------
    Exception
        What ``function`` raised first in order of the ranges; ranges not yet started are dropped then.
    """
    pieces = list(ranges(n, step))
    n_threads = min(resolve_workers(workers), len(pieces))
    if n_threads <= 1:
        return [function(start, stop) for start, stop in pieces]
    failed = threading.Event()
    results: list[_T | None] = [None] * len(pieces)
    errors: dict[int, BaseException] = {}
    todo = iter(range(len(pieces)))
    lock = threading.Lock()

    def work() -> None:
        while not failed.is_set():
            with lock:
                piece = next(todo, None)
            if piece is None:
                return
            try:
                results[piece] = function(*pieces[piece])
            except BaseException as error:  # handed to the caller below, whatever it is
                errors[piece] = error
                failed.set()

    # A pool per call: its threads end here, so nothing waits for a shared pool that a nested call has filled.
    with ThreadPoolExecutor(n_threads - 1, thread_name_prefix="starskope") as pool:
        helpers = [pool.submit(work) for _ in range(n_threads - 1)]
        work()
        for helper in helpers:
            helper.result()
    if errors:
        raise errors[min(errors)]
    return results  # type: ignore[return-value]


def spawn(module: str, *, pass_fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Start a fresh interpreter that runs a module of this package, with pipes as its standard input and output.

    Parameters
    ----------
    module : str
        Run as ``python -m module``. It must end when its standard input does: so it cannot outlive its parent.
    pass_fds : sequence of int, optional
        Descriptors that the process inherits.

    Returns
    -------
    subprocess.Popen

    Notes
    -----
    Nothing of the caller's script is run again, as `multiprocessing` would: a function that is called from a plain
    script or a notebook may use processes. The process has a group of its own, so that Ctrl-C on the terminal reaches
    the parent alone, which then ends it in order.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        bufsize=0,
        pass_fds=tuple(pass_fds),
        process_group=0,
    )


_pool: ThreadPoolExecutor | None = None
_waiting: ThreadPoolExecutor | None = None
_n_waiting = 0
_MAX_WAITING = 64
_pool_lock = threading.Lock()


def submit(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
    """Run ``function`` in the shared pool of as many threads as CPUs, for single tasks beside an event loop.

    Coroutines wait with ``await asyncio.wrap_future(submit(function, ...))``, so that their loop goes on. Tasks must
    not wait for other tasks of this pool; `map_ranges` inside a task is fine, it has threads of its own.
    """
    global _pool  # noqa: PLW0603 - one pool per process, made on first use
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(available_cpus(), thread_name_prefix="starskope-task")
        return _pool.submit(function, *args, **kwargs)


def can_wait() -> bool:
    """Return whether `submit_waiting` has a thread to give."""
    return _n_waiting < _MAX_WAITING


def submit_waiting(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
    """Run ``function`` in a thread of its own, for what mostly waits for a connection; ask `can_wait` before."""
    global _waiting, _n_waiting  # noqa: PLW0603 - as `submit`
    with _pool_lock:
        if _waiting is None:
            _waiting = ThreadPoolExecutor(_MAX_WAITING, thread_name_prefix="starskope-line")
        future = _waiting.submit(function, *args, **kwargs)
        _n_waiting += 1
    future.add_done_callback(_end_waiting)
    return future


def _end_waiting(_: Future[Any]) -> None:
    global _n_waiting  # noqa: PLW0603 - as `submit`
    with _pool_lock:
        _n_waiting -= 1


def _forget_pool() -> None:
    global _pool, _waiting, _n_waiting, _pool_lock
    _pool, _waiting, _n_waiting, _pool_lock = None, None, 0, threading.Lock()


if hasattr(os, "register_at_fork"):
    # Threads do not survive a fork: a child makes its own pool.
    os.register_at_fork(after_in_child=_forget_pool)
