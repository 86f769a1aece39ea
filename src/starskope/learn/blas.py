"""A BLAS that is held on one thread, so that how it adds up does not depend on the machine's CPUs.

Owns the guard. Refuses to know what is computed under it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["single_threaded"]

_lock = threading.Lock()
_depth = 0
_limiter: Any = None


@contextmanager
def single_threaded() -> Iterator[None]:
    """Hold the BLAS libraries of the process on one thread; blocks may nest and overlap in several threads.

    The setting belongs to the process, so whoever leaves last gives it back.
    """
    from threadpoolctl import threadpool_limits

    global _depth, _limiter  # noqa: PLW0603 - thread counts are settings of the process
    with _lock:
        if _depth == 0:
            _limiter = threadpool_limits(limits=1, user_api="blas")
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _limiter.restore_original_limits()
                _limiter = None
