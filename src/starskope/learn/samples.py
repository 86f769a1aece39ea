"""Rows that a machine learns from: an array in memory, or one too large for it that is read block by block.

Owns the order in which the rows of an epoch come, the reading of blocks and their checks. Refuses to know what is
learned from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope import _core
from starskope.learn import draws
from starskope.parallel import map_ranges

__all__ = ["Samples", "describe", "is_streamed"]

_BLOCK_BYTES = 1 << 27
_ROWS_APART = 4  # random words come in fours
_ROWS = 1024  # described at a time


def is_streamed(x: Any) -> bool:
    """Tell whether ``x`` is read row range by row range: a memory map, or an array in chunks (zarr, h5py, dask)."""
    return isinstance(x, np.memmap) or all(hasattr(x, name) for name in ("shape", "dtype", "chunks"))


def describe(x: NDArray[np.float32], workers: int = 1) -> tuple[NDArray[np.float64], float, float]:
    """Return the sums (n_feature,) of rows (n_row, n_feature), the smallest and the largest value, in one pass.

    Sums are not finite where values are not; the range leaves out NaN and is infinite if nothing is left.
    """
    n_row, n_feature = x.shape

    def part(start: int, stop: int) -> tuple[NDArray[np.float64], float, float]:
        sums = np.empty(n_feature)
        return sums, *_core.describe_rows(x[start:stop], sums)

    total, low, high = np.zeros(n_feature), np.inf, -np.inf
    for sums, least, most in map_ranges(part, n_row, _ROWS, workers):
        total += sums
        low, high = min(low, least), max(high, most)
    return total, low, high


class Samples:
    """Rows (n_row, n_feature) of float32.

    Parameters
    ----------
    x : array, or what `is_streamed` accepts
        Sliced by rows. An array in memory must be float32 and C-contiguous.
    mean : (n_feature,), optional
        Mean row of an array in memory, where it is known.
    check : callable, optional
        Called with every block that is read, (n, n_feature) float32; raises for values that do not fit.
    block_bytes : int
        Read at a time, roughly. Without it an array in memory is one block.

    Notes
    -----
    Each epoch takes blocks of consecutive rows in a random order, and the rows of a block in a random order. An array
    of one block comes in the order of `draws.permutation`, whether it is in memory or not.
    """

    def __init__(
        self,
        x: Any,
        *,
        mean: NDArray[np.float64] | None = None,
        check: Callable[[NDArray[np.float32]], object] | None = None,
        block_bytes: int | None = None,
    ) -> None:
        self.n_row, self.n_feature = (int(n) for n in x.shape)
        self._x, self._mean, self._check, self._streamed = x, mean, check, is_streamed(x)
        self._block_bytes = block_bytes if block_bytes is not None or not self._streamed else _BLOCK_BYTES

    def mean(self) -> NDArray[np.float64]:
        """Return the mean row (n_feature,)."""
        if self._mean is not None:
            return self._mean
        total = np.zeros(self.n_feature)
        step = self._rows_per_block(1)
        for start in range(0, self.n_row, step):
            total += describe(self._read(start, min(start + step, self.n_row)))[0]
        return total / self.n_row

    def blocks(
        self, seed: NDArray[np.uint32], epoch: int, batch_size: int
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """Yield the blocks of an epoch: rows (n, n_feature), and in which order to take them (n,).

        Blocks hold whole batches; only the last block of the array may not.
        """
        step = self._rows_per_block(batch_size)
        n_block = -(-self.n_row // step)
        for block in draws.permutation(seed, epoch, n_block, draw=1) if n_block > 1 else range(n_block):
            start = int(block) * step
            stop = min(start + step, self.n_row)
            order = draws.permutation(seed, epoch, stop - start, first=start)
            yield self._read(start, stop), order.astype(np.int64, copy=False)

    def _rows_per_block(self, batch_size: int) -> int:
        """Return how many, a multiple of the batch and of 4."""
        if self._block_bytes is None:
            return max(1, self.n_row)
        multiple = int(np.lcm(batch_size, _ROWS_APART))
        return max(1, self._block_bytes // (4 * max(1, self.n_feature) * multiple)) * multiple

    def _read(self, start: int, stop: int) -> NDArray[np.float32]:
        if not self._streamed:
            whole: NDArray[np.float32] = self._x
            return whole[start:stop]
        with np.errstate(over="ignore"):
            rows = np.require(np.asarray(self._x[start:stop]), np.float32, ["C", "A"])
        if self._check is not None:
            self._check(rows)
        return rows
