"""Moments of series whose frames arrive in any number of blocks: count, mean, variance.

Owns `Moments`, an accumulator that grows by blocks of frames and merges with others, in the core's float64. Refuses to
clip (a clip has to see all frames of its block: ``frames.clip``) and to read files.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope import _core
from starskope.frames.clip import mask_rows, series_part, series_step, time_major
from starskope.parallel import map_ranges
from starskope.validation import is_array

__all__ = ["Moments"]


class Moments:
    """Count, mean and variance of every series so far.

    Parameters
    ----------
    shape : tuple of int
        Of one frame, ``(n_row, n_col)`` or ``(n_series,)``.

    Notes
    -----
    Holds 24 bytes per series. A block costs one pass over its frames and one over these, so blocks of 16 frames and
    more run at the speed of memory; single frames pay for the accumulator instead. Everything is float64: means are
    right to the last digit of float32 for any number of frames. Any partition of the frames into blocks and
    accumulators gives the same moments to rounding; the same partition the same bytes, for any number of workers.

    References
    ----------
    Chan, Golub & LeVeque 1983, The American Statistician 37, 242.

    Examples
    --------
    >>> import numpy as np
    >>> first, second = Moments((2,)), Moments((2,))
    >>> first.add(np.array([[1.0, 5.0], [3.0, np.nan]], np.float32))
    >>> second.add(np.array([[8.0, 6.0]], np.float32))
    >>> first.merge(second)
    >>> first.mean.tolist(), first.count.tolist()
    ([4.0, 5.5], [3, 2])
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = tuple(shape)
        n_series = math.prod(self.shape)
        self._count, self._mean, self._squares = (np.zeros(n_series) for _ in range(3))

    def __repr__(self) -> str:
        return f"<Moments of {self.shape}, up to {int(self._count.max(initial=0))} values each>"

    def add(self, frames: ArrayLike, mask: ArrayLike | None = None, workers: int = 1) -> None:
        """Add a block of frames.

        Parameters
        ----------
        frames : array_like, shape ``(n_time, *shape)``, or a list of arrays of that shape
            NaN and infinities are missing. Float32 of either byte order is used where it lies.
        mask : array_like of bool, shape ``(n_time, *shape)``, optional
            True where a value is not to be used.
        workers : int
            Threads; -1 for the CPUs of this process.

        Raises
        ------
        TypeError, ValueError
            Not real numbers, or other shapes.
        """
        rows, shape = time_major(frames)
        if shape != self.shape:
            hint = "; add frame[None] for a single one" if is_array(frames) and np.shape(frames) == self.shape else ""
            raise ValueError(f"frames: expected (n_time, ...) of frames of shape {self.shape}, got {shape}{hint}")
        masked = mask_rows(mask, (len(rows), *shape))

        def add(start: int, stop: int) -> None:
            part = slice(start, stop)
            of_mask = None if masked is None else masked[:, part]
            state = self._count[part], self._mean[part], self._squares[part]
            _core.add_frames(series_part(rows, part), *state, of_mask)

        map_ranges(add, self._count.size, series_step(len(rows)), workers)

    def merge(self, other: Moments) -> None:
        """Add the moments of other frames of the same series.

        Raises
        ------
        TypeError, ValueError
            No moments, or of another shape.
        """
        if not isinstance(other, Moments):
            raise TypeError(f"other: expected Moments, got {type(other).__name__}")
        if other.shape != self.shape:
            raise ValueError(f"other: expected moments of frames of shape {self.shape}, got {other.shape}")
        state: tuple[NDArray[Any], ...] = (other._count, other._mean, other._squares)
        if other is self:
            state = tuple(part.copy() for part in state)
        _core.merge_moments(self._count, self._mean, self._squares, *state)

    @property
    def count(self) -> NDArray[np.int64]:
        """Number of values per series."""
        return self._count.astype(np.int64).reshape(self.shape)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean per series; NaN where there is no value."""
        return np.where(self._count > 0, self._mean, np.nan).reshape(self.shape)

    @property
    def variance(self) -> NDArray[np.float64]:
        """Population variance per series (ddof 0); NaN where there is no value."""
        empty = self._count == 0
        return np.divide(self._squares, self._count, out=np.full(empty.shape, np.nan), where=~empty).reshape(self.shape)

    @property
    def std(self) -> NDArray[np.float64]:
        """Population standard deviation per series."""
        return np.sqrt(self.variance)
