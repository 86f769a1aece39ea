"""What callers give to the spectra, as one thing: many series, their cadence, and who they belong to.

Owns the reading of light curves and plain arrays of either direction, handing them out in blocks of neighbouring
series in float32, and laying them on the regular grid. Refuses to transform, to detrend and to drop flagged cadences
(``LightCurves.mask`` does).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from starskope.curves.container import LightCurves
from starskope.search.cadence import Grid, cadence_in_days, fit_grid, regular_grid
from starskope.validation import as_array, as_out

__all__ = ["STARS_PER_BLOCK", "SeriesBatch", "read_series"]

STARS_PER_BLOCK = 256
"""Series that one worker takes at a time; fixed, so that results do not depend on the number of workers."""

F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SeriesBatch:
    """Series on one time axis.

    Attributes
    ----------
    values : (n_given, n_star) or, with ``axis`` 1, (n_star, n_given) real
        As the caller gave them; NaN and infinities = missing.
    errors : like values, or (n_given,), or None
        One-sigma errors.
    grid : Grid
        Where the given cadences stand.
    time : (n_given,) float64 or None
        The given times; None where only a cadence was given.
    axis : int
        Axis of time in ``values``.
    stars : Table
        One row per series.
    time_zero : float
        Julian date of time 0; NaN = not known.
    """

    values: NDArray[Any]
    errors: NDArray[Any] | None
    grid: Grid
    time: NDArray[np.float64] | None
    axis: int
    stars: Table
    time_zero: float

    @property
    def n_star(self) -> int:
        """Number of series."""
        return int(self.values.shape[1 - self.axis])

    def stars_per_range(self, workers: int) -> int:
        """Return how many series a worker takes at a time: any multiple of 64 gives the same bytes.

        Many where they are read as they lie, so that what the kernels do once per call counts little; few where each
        range is copied first.
        """
        copied = self.grid.place is not None or not self._plain(self.values)
        if copied or self.axis == 1:
            return STARS_PER_BLOCK
        share = -(-self.n_star // (4 * workers if workers > 1 else 1))
        return max(STARS_PER_BLOCK, -(-share // 64) * 64)

    def block(self, start: int, stop: int) -> F32:
        """Return series ``start`` to ``stop`` (n_given, n) float32 at the given times; not to be written to."""
        return self._block(self.values, start, stop)

    def on_grid(self, block: F32, filler: float = math.nan) -> F32:
        """Lay rows (n_given, ...) on the places of the grid (n_time, ...); ``filler`` where there is none."""
        if self.grid.place is None:
            return block
        laid = np.full((self.grid.n_time, *block.shape[1:]), filler, dtype=np.float32)
        laid[self.grid.place] = block
        return laid

    def result(self, out: Any, shape: tuple[int, ...]) -> F32:
        """Return what powers of this shape go to: ``out``, checked, or a new array."""
        return as_out(out, "out", shape, inputs=(self.values, self.errors, self.time))

    def given_places(self) -> NDArray[np.float64]:
        """Return where the given cadences stand on the grid, in cadences from its first place, not rounded."""
        if self.time is None:
            return np.arange(self.grid.n_time, dtype=np.float64)
        return (self.time - self.grid.start) / self.grid.cadence_days

    def weights(self, start: int, stop: int) -> F32 | None:
        """Return inverse variances of series ``start`` to ``stop``, each series' largest error counting 1.

        Returns
        -------
        (n_given, n) or (n_given,) float32, or None
            None without errors, one axis where all series have the same. 0 where an error is NaN, zero or infinite, so
            not known; a series of which no error is known has equal weights.

        Raises
        ------
        ValueError
            An error is negative.
        """
        if self.errors is None:
            return None
        shared = self.errors.ndim == 1
        errors = np.asarray(self.errors, np.float32)[:, np.newaxis] if shared else self._block(self.errors, start, stop)
        if (errors < 0).any():
            row, star = np.argwhere(errors < 0)[0]
            which = "" if shared else f", series {start + star}"
            raise ValueError(
                f"flux_err of cadence {row}{which} is {errors[row, star]:g}, below 0: set errors not known to NaN"
            )
        known = (errors > 0) & np.isfinite(errors)
        largest = np.max(errors, axis=0, where=known, initial=0.0)
        ratio = np.divide(largest, errors, out=np.zeros_like(errors), where=known)
        weights = np.where(known.any(axis=0), ratio * ratio, np.float32(1.0)).astype(np.float32)
        return weights[:, 0].copy() if shared else weights

    def _block(self, values: NDArray[Any], start: int, stop: int) -> F32:
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and that is missing
            if self.axis == 1:
                return np.ascontiguousarray(values[start:stop].T, dtype=np.float32)
            part = values[:, start:stop]
            return part if self._plain(part) else np.ascontiguousarray(part, dtype=np.float32)

    @staticmethod
    def _plain(part: NDArray[Any]) -> bool:
        """Whether the kernels read these columns as they lie."""
        plain = part.dtype == np.float32 and part.dtype.isnative and part.flags.aligned
        return plain and part.strides[1] == part.itemsize and part.strides[0] >= part.shape[1] * part.itemsize


def read_series(
    x: Any, *, cadence: Any = None, time: Any = None, flux_err: Any = None, axis: int = 0, caller: str
) -> SeriesBatch:
    """Take light curves, or an array with its cadence or times.

    Raises
    ------
    TypeError, ValueError
        What was given does not fit together; the message names ``caller``, the value and the remedy.
    """
    if isinstance(x, LightCurves):
        for name, given in (("cadence", cadence), ("time", time), ("flux_err", flux_err)):
            if given is not None:
                raise ValueError(f"{caller}: light curves tell their own times and errors: leave {name}= out")
        if axis != 0:
            raise ValueError(f"{caller}: axis={axis!r}: light curves are time-major: leave axis= out")
        if x.n_time < 2:
            raise ValueError(f"{caller}: light curves of {x.n_time} cadences; a spectrum needs 2 or more")
        return SeriesBatch(x.flux, x.flux_err, fit_grid(x.time), x.time, 0, x.stars, x.time_zero)
    if axis not in (0, 1):
        raise ValueError(f"{caller}: axis={axis!r}: expected 0 (n_time, n_series) or 1 (n_series, n_time)")
    values = _real(x, caller, "x")
    if values.ndim == 1:
        values, axis = values[:, np.newaxis], 0
    if values.ndim != 2:
        raise ValueError(
            f"{caller}: x has shape {values.shape}; expected one or two axes (a cube is x.reshape(n_time, -1))"
        )
    n_given, n_star = values.shape[axis], values.shape[1 - axis]
    if n_given < 2:
        raise ValueError(f"{caller}: x has shape {values.shape}, {n_given} cadences; a spectrum needs 2 or more")
    step = None if cadence is None else cadence_in_days(cadence)
    times = None
    if time is not None:
        times = np.asarray(_real(time, caller, "time"), dtype=np.float64)
        if times.shape != (n_given,):
            raise ValueError(f"{caller}: time has shape {times.shape}; expected ({n_given},), one per cadence of x")
        grid = fit_grid(times, cadence_days=step)
    elif step is None:
        raise ValueError(f"{caller}: an array needs its cadence in days: give cadence=, such as 1800 / 86400")
    else:
        grid = regular_grid(n_given, step)
    stars = Table({"star": np.arange(n_star, dtype=np.int64)})
    return SeriesBatch(values, _errors(flux_err, values, axis, caller), grid, times, axis, stars, math.nan)


def _real(value: Any, caller: str, name: str) -> NDArray[Any]:
    """Return an array of real numbers as it is; masked elements become NaN."""
    if hasattr(value, "to_value"):
        raise TypeError(f"{caller}: {name} has a unit; give plain numbers ({name}.value)")
    array = as_array(value, f"{caller}: {name}")
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{caller}: {name}: expected an array of real numbers, got dtype {array.dtype}")
    if isinstance(array, np.ma.MaskedArray):
        wide = np.float32 if array.dtype == np.float32 else np.float64
        return np.ma.filled(array.astype(wide), np.nan)
    return np.asarray(array)


def _errors(flux_err: Any, values: NDArray[Any], axis: int, caller: str) -> NDArray[Any] | None:
    if flux_err is None:
        return None
    errors = _real(flux_err, caller, "flux_err")
    n_given = values.shape[axis]
    if errors.shape not in ((n_given,), values.shape):
        raise ValueError(
            f"{caller}: flux_err has shape {errors.shape}; expected {values.shape} like x, or ({n_given},) for all"
        )
    return errors
