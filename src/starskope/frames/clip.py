"""Statistics of many series on one time axis: mean, median, sigma clip.

Owns `clip_series`, the checked and threaded door to the core's kernels, and what it takes for series: arrays of any
library and lists of planes, float32 of either byte order where they lie. Refuses files and headers; `frames.stack`
makes images of it, `frames.background` boxes, `frames.moments` moments that grow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope import _core
from starskope.parallel import map_ranges
from starskope.validation import as_array, as_float32, choice, integer_at_least

__all__ = ["METHODS", "ClipSettings", "Clipped", "clip_series", "mask_rows", "series_part", "series_step", "time_major"]

Method = Literal["sigma_clip", "mean", "median"]
Center = Literal["median", "mean"]
Scale = Literal["std", "mad"]
Rows = NDArray[np.float32] | list[NDArray[np.float32]]

METHODS: tuple[Method, ...] = ("sigma_clip", "mean", "median")
_CENTERS: tuple[Center, ...] = ("median", "mean")
_SCALES: tuple[Scale, ...] = ("std", "mad")
_VALUES_PER_RANGE = 1 << 21


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
    scale : {"std", "mad"}
        What they are measured in: the population standard deviation, or 1.4826 times the median absolute deviation from
        the median, which outliers hardly move.
    """

    method: Method = "sigma_clip"
    sigma: float | tuple[float, float] = 3.0
    max_iters: int | None = 5
    center: Center = "median"
    scale: Scale = "std"

    def __post_init__(self) -> None:
        choice(self.method, "method", METHODS)
        choice(self.center, "center", _CENTERS)
        choice(self.scale, "scale", _SCALES)
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

    @property
    def iterations(self) -> int:
        """Iterations in the core's terms: 0 clips nothing, -1 until nothing changes."""
        return 0 if self.method != "sigma_clip" else -1 if self.max_iters is None else self.max_iters


@dataclass(frozen=True, eq=False)
class Clipped:
    """Statistics of the values that survived, per series.

    Attributes
    ----------
    mean, std : ndarray of float32
        Mean and population standard deviation (ddof 0), weighted where weights were given; NaN where nothing survived.
    count : ndarray of int32
        Number of survivors.
    median : ndarray of float32 or None
        Median of the survivors, where it was asked for.
    rejected : ndarray of bool, shape (n_time, ...), or None
        True where a value was there and was clipped, where it was asked for.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    count: NDArray[np.int32]
    median: NDArray[np.float32] | None = None
    rejected: NDArray[np.bool_] | None = None

    @property
    def variance(self) -> NDArray[np.float32]:
        """Population variance, ``std**2``."""
        return np.square(self.std)


def clip_series(
    data: ArrayLike | Sequence[ArrayLike],
    *,
    method: Method = "sigma_clip",
    sigma: float | tuple[float, float] = 3.0,
    max_iters: int | None = 5,
    center: Center = "median",
    scale: Scale = "std",
    mask: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    median: bool = False,
    rejected: bool = False,
    workers: int = 1,
) -> Clipped:
    """Reduce every series along the first axis, with or without sigma clipping.

    Parameters
    ----------
    data : array_like, shape (n_time, ...), or list of arrays of one shape
        Time-major series; NaN and infinities are missing. Float32 of either byte order is used where it lies, never
        written: an array, or a list of planes, each of them C-contiguous. Anything else is converted.
    method, sigma, max_iters, center, scale
        As in `ClipSettings`.
    mask : array_like of bool, shape (n_time, ...), optional
        True where a value is not to be used.
    weights : array_like, shape (n_time,) or (n_time, ...), optional
        Of frames or of values: mean ``sum(w x) / sum(w)`` and the standard deviation about it. They do not decide who
        survives, nor the median; a value whose weight is not finite or not above 0 is missing.
    median : bool
        Return the median of the survivors too (always for ``method="median"``).
    rejected : bool
        Return which values were clipped.
    workers : int
        Threads; -1 for the CPUs of this process. The result has the same bytes for any number.

    Returns
    -------
    Clipped
        Arrays of shape ``data.shape[1:]``.

    Raises
    ------
    TypeError, ValueError
        Data without a time axis or of no real numbers; mask or weights of another shape, negative weights; settings out
        of range.

    Notes
    -----
    Clipping is that of ``astropy.stats.sigma_clip(axis=0, cenfunc=center, stdfunc="std")``, ``stdfunc="mad_std"`` with
    ``scale="mad"``: values below ``center - sigma * scale`` or above ``center + sigma * scale`` of the survivors so far
    are dropped, and the bounds of the last iteration decide. Sums are float64; a value that lies on a bound to within
    rounding may fall on either side.
    Scratch memory is about 512 bytes per time and worker.

    Examples
    --------
    >>> import numpy as np
    >>> series = np.array([[1.0], [1.1], [0.9], [1.0], [9.0]], np.float32)
    >>> clipped = clip_series(series, sigma=1.5, rejected=True)
    >>> float(clipped.mean[0]), int(clipped.count[0]), clipped.rejected[:, 0].tolist()
    (1.0, 4, [False, False, False, False, True])
    """
    settings = ClipSettings(method, sigma, max_iters, center, scale)
    rows, shape = time_major(data)
    n_time, n_series = len(rows), math.prod(shape)
    masked = mask_rows(mask, (n_time, *shape))
    of_frame, of_value = _weights(weights, (n_time, *shape))
    mean, std = np.empty(n_series, np.float32), np.empty(n_series, np.float32)
    medians = np.empty(n_series, np.float32) if median or method == "median" else None
    count = np.empty(n_series, np.int32)
    clipped = np.empty((n_time, n_series), np.uint8) if rejected else None
    low, high = settings.limits

    def reduce(start: int, stop: int) -> None:
        part = slice(start, stop)
        _core.clip(
            series_part(rows, part),
            sigma_low=low,
            sigma_high=high,
            max_iters=settings.iterations,
            center=center,
            scale=scale,
            mask=None if masked is None else masked[:, part],
            frame_weight=of_frame,
            weight=None if of_value is None else of_value[:, part],
            mean=mean[part],
            median=None if medians is None else medians[part],
            std=std[part],
            count=count[part],
            rejected=None if clipped is None else clipped[:, part],
        )

    map_ranges(reduce, n_series, series_step(n_time), workers)
    return Clipped(
        mean.reshape(shape),
        std.reshape(shape),
        count.reshape(shape),
        None if medians is None else medians.reshape(shape),
        None if clipped is None else clipped.view(np.bool_).reshape(n_time, *shape),
    )


def series_step(n_time: int) -> int:
    """Return how many series one call of the core takes: some megabytes, whatever the number of workers."""
    return max(4096, _VALUES_PER_RANGE // max(n_time, 1) // 512 * 512)


def series_part(rows: Rows, part: slice) -> Rows:
    """Return a range of the series of `time_major` rows."""
    return rows[:, part] if isinstance(rows, np.ndarray) else [row[part] for row in rows]


def time_major(data: Any) -> tuple[Rows, tuple[int, ...]]:
    """Return rows (n_time, n_series) of float32 that the core reads in place, and the shape of a frame.

    Raises
    ------
    TypeError, ValueError
        Not real numbers, no time axis, or frames of different shapes.
    """
    if isinstance(data, list | tuple) and data and all(_lies_ready(plane) for plane in data):
        shape, order = data[0].shape, data[0].dtype
        if shape and all(plane.shape == shape and plane.dtype == order for plane in data):
            return [plane.reshape(-1) for plane in data], shape
    array = as_array(data, "data")
    if array.ndim < 2:
        raise ValueError(f"data: expected (n_time, ...) with at least 2 axes, got shape {array.shape}")
    shape = array.shape[1:]
    size = (array.shape[0], math.prod(shape))
    if _is_float32(array) and array.size and array.strides[0] >= 4 * size[1] and array[0].flags.c_contiguous:
        return np.lib.stride_tricks.as_strided(array, size, (array.strides[0], 4), writeable=False), shape
    return as_float32(array, "data").reshape(size), shape


def _is_float32(value: Any) -> bool:
    plain = isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray)
    return plain and value.dtype.kind == "f" and value.dtype.itemsize == 4


def _lies_ready(value: Any) -> bool:
    return _is_float32(value) and value.flags.c_contiguous


def mask_rows(mask: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """Return a mask (n_time, ...) as the core takes it, (n_time, n_series)."""
    if mask is None:
        return None
    array = as_array(mask, "mask")
    if array.dtype != np.bool_ or array.shape != shape:
        raise ValueError(f"mask: expected bool of shape {shape}, got {array.dtype} of shape {array.shape}")
    return np.ascontiguousarray(array).view(np.uint8).reshape(shape[0], math.prod(shape[1:]))


def _weights(
    weights: ArrayLike | None, shape: tuple[int, ...]
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
    if weights is None:
        return None, None
    array = as_float32(weights, "weights")
    if array.shape not in (shape[:1], shape):
        raise ValueError(f"weights: expected shape {shape[:1]} or {shape}, got {array.shape}")
    if (array < 0).any():
        raise ValueError("weights: expected none below 0")
    return (array, None) if array.ndim == 1 else (None, array.reshape(shape[0], math.prod(shape[1:])))
