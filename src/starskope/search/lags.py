"""Autocorrelation: how alike a series is to itself some time later.

Owns `autocorrelation` and its result. Refuses irregular times, and to say which peak is a rotation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from starskope import _core
from starskope.curves.columns import star_table
from starskope.parallel import map_ranges, resolve_workers
from starskope.search.spectra_input import read_series
from starskope.validation import integer_at_least

__all__ = ["Autocorrelation", "autocorrelation"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_LARGEST_SHIFT = 0.25
"""Part of a cadence by which times may stand off a regular grid."""
_MOST_TIMES = 1 << 24


@dataclass(frozen=True, eq=False, repr=False)
class Autocorrelation:
    """Correlation against lag of many stars.

    Attributes
    ----------
    correlation : (n_lag, n_star) float32
        1 at lag 0; NaN for a star without scatter.
    lag : (n_lag,) float64
        Days, from 0.
    stars : astropy.table.Table
        One row per star.
    cadence_days : float
        Distance of neighbouring lags.
    unbiased : bool
        Means over the pairs of points a lag apart, in place of sums.
    """

    correlation: F32
    lag: F64
    stars: Table
    cadence_days: float
    unbiased: bool

    def __post_init__(self) -> None:
        shape = np.shape(self.correlation)
        if len(shape) != 2 or np.shape(self.lag) != shape[:1]:
            raise ValueError(
                f"correlation has shape {shape} and lag {np.shape(self.lag)}: expected (n_lag, n_star) and (n_lag,)"
            )
        object.__setattr__(self, "stars", star_table(self.stars, shape[1]))

    @property
    def n_lag(self) -> int:
        """Number of lags."""
        return int(self.correlation.shape[0])

    @property
    def n_star(self) -> int:
        """Number of stars."""
        return int(self.correlation.shape[1])

    def __repr__(self) -> str:
        kind = "unbiased" if self.unbiased else "biased"
        return (
            f"<Autocorrelation: {self.n_lag} lags x {self.n_star} stars; 0 to {self.lag[-1]:.4g} d; {kind}, "
            f"cadence {self.cadence_days * 1440:.4g} min>"
        )

    def select(self, stars: ArrayLike | slice) -> Self:
        """Keep some stars: positions, a mask (n_star,) or a slice."""
        columns = stars if isinstance(stars, slice) else np.asarray(stars)
        return replace(self, correlation=self.correlation[:, columns], stars=self.stars[columns])

    def plot(self, star: int = 0, *, axes: Any = None) -> Any:
        """Draw one star's autocorrelation; returns the matplotlib axes."""
        from starskope.search.spectra_drawing import draw_lags

        return draw_lags(self.lag, self.correlation, self.stars, star, axes)


def autocorrelation(
    x: ArrayLike | Any,
    *,
    cadence: float | None = None,
    n_lag: int | None = None,
    unbiased: bool = False,
    axis: int = 0,
    workers: int = 1,
    out: Any = None,
) -> Autocorrelation:
    """Autocorrelations of many series at once.

    Parameters
    ----------
    x : LightCurves, or array_like (n_time, n_star) of real numbers
        A single axis is one series. NaN and infinities are missing. Light curves are put on their regular grid; places
        without a cadence are gaps.
    cadence : float or Quantity
        Days from sample to sample; of arrays only, which must have it.
    n_lag : int, optional
        Lags 0 to n_lag - 1 cadences; default: all, n_time.
    unbiased : bool
        See Notes.
    axis : 0 or 1
        Axis of time in an array. The result is (n_lag, n_star) either way.
    workers : int
        Compute threads, -1 = all CPUs of this process; the result has the same bytes for any number.
    out : (n_lag, n_star) float32, optional
        Where the correlations go, C-contiguous or a range of columns. No input may lie in it.

    Returns
    -------
    Autocorrelation
        ``correlation`` (n_lag, n_star) float32, 1 at lag 0. NaN for a series without scatter.

    Raises
    ------
    TypeError, ValueError
        Anything that does not fit; also times that stand off a regular grid by more than a quarter of a cadence.

    Notes
    -----
    With d the points less their mean, over the pairs of which both are there::

        correlation[k] = sum_j d[j] d[j + k] / sum_j d[j]**2

    which is biased towards 0 at long lags, where pairs are few, and never above 1. Unbiased are means in place of both
    sums: NaN at lags without a pair, and noisy where they are few. Two transforms of a length that holds all lags; with
    gaps, two more count the pairs of the unbiased kind. The error is some 1e-7 (unbiased: times n_time over the number
    of pairs).

    References
    ----------
    McQuillan, Aigrain & Mazeh 2013, MNRAS 432, 1203, doi:10.1093/mnras/stt536 (rotation periods)

    Examples
    --------
    >>> import numpy as np
    >>> import starskope as sk
    >>> flux = 1 + 0.01 * np.sin(2 * np.pi * np.arange(1280) / 16)
    >>> found = sk.autocorrelation(flux, cadence=0.025, n_lag=25)
    >>> float(found.lag[8 + np.argmax(found.correlation[8:, 0])])
    0.4
    """
    series = read_series(x, cadence=cadence, axis=axis, caller="autocorrelation")
    grid = series.grid
    n_lag = grid.n_time if n_lag is None else integer_at_least(n_lag, "n_lag", 1)
    if n_lag > grid.n_time:
        raise ValueError(f"n_lag={n_lag}: the series has {grid.n_time} cadences: give that or less")
    if grid.n_time > _MOST_TIMES:
        raise ValueError(f"autocorrelation: {grid.n_time} cadences, more than {_MOST_TIMES}: bin them")
    if not isinstance(unbiased, bool | np.bool_):
        raise TypeError(f"unbiased={unbiased!r}: expected True or False")
    shift = float(np.max(np.abs(grid.deviation), initial=0.0))
    if not shift <= _LARGEST_SHIFT * grid.cadence_days:
        raise ValueError(
            f"autocorrelation: times keep to no regular cadence (near {grid.cadence_days * 1440:.4g} min): "
            "put the series on one, or use lomb_scargle"
        )
    found = series.result(out, (n_lag, series.n_star))

    def correlate(start: int, stop: int) -> None:
        _core.autocorrelation(series.on_grid(series.block(start, stop)), found[:, start:stop], bool(unbiased))

    map_ranges(correlate, series.n_star, series.stars_per_range(resolve_workers(workers)), workers)
    lag = grid.cadence_days * np.arange(n_lag, dtype=np.float64)
    return Autocorrelation(found, lag, series.stars, grid.cadence_days, bool(unbiased))
