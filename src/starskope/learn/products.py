"""Float32 products of matrices in fixed tiles, on a BLAS that is held on one thread.

Owns the guard around BLAS and the split of a product into tiles of columns or rows. How a BLAS adds up depends on the
shape it is given and on its own threads; with one thread and tiles that depend on the shapes alone, any number of
workers gives the same bytes. Refuses to know what is multiplied.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ROWS", "UNITS", "in_row_tiles", "single_threaded"]

UNITS = 256
"""Units per tile of a training step: a multiple of 4, as the draws ask; narrower tiles lose speed on OpenBLAS."""
ROWS = 128
"""Rows per tile when a whole sample is sent through."""

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


def in_row_tiles(x: NDArray[np.float32], start: int, stop: int) -> NDArray[np.float32]:
    """Return rows ``start:stop`` of ``x``, filled up with zeros to `ROWS` rows.

    A BLAS may add up differently for another number of rows; with this padding the result for a row does not depend on
    how many others come with it.
    """
    if stop - start == ROWS:
        return x[start:stop]
    padded = np.zeros((ROWS, x.shape[1]), np.float32)
    padded[: stop - start] = x[start:stop]
    return padded
