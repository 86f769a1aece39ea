"""Statistics of many series on one time axis: mean, median, sigma clip.

Owns `clip_series`, the checked and threaded door to the core's kernel, and nothing else. Refuses files, headers and
weights; `frames.stack` makes images of it, `frames.background` boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope import _core
from starskope.parallel import map_ranges
from starskope.validation import as_float32, choice, integer_at_least

__all__ = ["METHODS", "ClipSettings", "Clipped", "clip_series"]

Method = Literal["sigma_clip", "mean", "median"]
Center = Literal["median", "mean"]

METHODS: tuple[Method, ...] = ("sigma_clip", "mean", "median")
_CENTERS: tuple[Center, ...] = ("median", "mean")
_SERIES_PER_RANGE = 4096


@dataclass(frozen=True)
class ClipSettings:
    """How series are reduced, checked once.

    Parameters
    ----------
    method : {"sigma_clip", "mean", "median"}
        ``"mean"`` and ``"median"`` take every finite value.
    sigma : float or (float, float)
        Clipping limit in standard deviations, or its lower and upper one; above 0, infinite for no limit.
    max_iters : int or None
        Largest number of clipping iterations, at least 1; None to go on until nothing changes.
    center : {"median", "mean"}
        What deviations are taken from.
    """

    method: Method = "sigma_clip"
    sigma: float | tuple[float, float] = 3.0
    max_iters: int | None = 5
    center: Center = "median"

    def __post_init__(self) -> None:
        choice(self.method, "method", METHODS)
        choice(self.center, "center", _CENTERS)
        if self.max_iters is not None:
            integer_at_least(self.max_iters, "max_iters", 1)
        for limit in self.limits:
            if not limit > 0:
                raise ValueError(f"sigma={self.sigma!r}: expected a number above 0, or a lower and an upper one")

    @property
    def limits(self) -> tuple[float, float]:
        """Lower and upper clipping limit."""
        try:
            low, high = self.sigma if isinstance(self.sigma, tuple | list) else (self.sigma, self.sigma)
            if isinstance(low, str | bool) or isinstance(high, str | bool):
                raise TypeError
            return float(low), float(high)
        except (TypeError, ValueError):
            raise TypeError(f"sigma={self.sigma!r}: expected a number, or a lower and an upper one") from None


@dataclass(frozen=True, eq=False)
class Clipped:
    """Statistics of the values that survived, per series.

    Attributes
    ----------
    mean, std : ndarray of float32
        Mean and population standard deviation (ddof 0); NaN where nothing survived.
    count : ndarray of int32
        Number of survivors.
    median : ndarray of float32 or None
        Median of the survivors, where it was asked for.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    count: NDArray[np.int32]
    median: NDArray[np.float32] | None = None


def clip_series(
    data: ArrayLike,
    *,
    method: Method = "sigma_clip",
    sigma: float | tuple[float, float] = 3.0,
    max_iters: int | None = 5,
    center: Center = "median",
    median: bool = False,
    workers: int = 1,
) -> Clipped:
    """Reduce every series along the first axis, with or without sigma clipping.

    Parameters
    ----------
    data : array_like, shape (n_time, ...)
        Time-major series; NaN and infinities are missing. Native C-contiguous float32 is used in place, never written.
    method, sigma, max_iters, center
        As in `ClipSettings`.
    median : bool
        Return the median of the survivors too (always for ``method="median"``).
    workers : int
        Threads; -1 for the CPUs of this process. The result has the same bytes for any number.

    Returns
    -------
    Clipped
        Arrays of shape ``data.shape[1:]``.

    Raises
    ------
    TypeError, ValueError
        Data without a time axis or of no real numbers; settings out of range.

    Notes
    -----
    Clipping is that of ``astropy.stats.sigma_clip(axis=0, cenfunc=center, stdfunc="std")``: values below
    ``center - sigma * std`` or above ``center + sigma * std`` of the survivors so far are dropped, and the bounds of
    the last iteration decide. Sums are float64; a value that lies on a bound to within rounding may fall on either
    side.
    Scratch memory is about 256 bytes per time and worker.

    Examples
    --------
    >>> import numpy as np
    >>> series = np.array([[1.0], [1.1], [0.9], [1.0], [9.0]], np.float32)
    >>> clipped = clip_series(series, sigma=1.5)
    >>> float(clipped.mean[0]), int(clipped.count[0])
    (1.0, 4)
    """
    settings = ClipSettings(method, sigma, max_iters, center)
    array = as_float32(data, "data")
    if array.ndim < 2:
        raise ValueError(f"data: expected (n_time, ...) with at least 2 axes, got shape {array.shape}")
    shape = array.shape[1:]
    block = array.reshape(array.shape[0], int(np.prod(shape)))
    n_series = block.shape[1]
    mean, std = np.empty(n_series, np.float32), np.empty(n_series, np.float32)
    medians = np.empty(n_series, np.float32) if median or method == "median" else None
    count = np.empty(n_series, np.int32)
    low, high = settings.limits
    iterations = 0 if method != "sigma_clip" else -1 if max_iters is None else max_iters

    def reduce(start: int, stop: int) -> None:
        part = slice(start, stop)
        _core.clip(
            block[:, part],
            sigma_low=low,
            sigma_high=high,
            max_iters=iterations,
            center=center,
            mean=mean[part],
            median=None if medians is None else medians[part],
            std=std[part],
            count=count[part],
        )

    map_ranges(reduce, n_series, _SERIES_PER_RANGE, workers)
    return Clipped(
        mean.reshape(shape),
        std.reshape(shape),
        count.reshape(shape),
        None if medians is None else medians.reshape(shape),
    )
