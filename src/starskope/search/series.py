"""One star as the search sees it: the valid points, centred on zero, with relative weights.

Owns how a column of a block becomes such points and how found transits are taken out of them. Refuses detrending.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from starskope import _core

__all__ = ["StarSeries", "centred", "mad_scatter", "near_events", "usable_errors"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, eq=False)
class StarSeries:
    """Valid points of one star.

    Attributes
    ----------
    time : (n,) float64
        Days, strictly increasing; barycentric where that is known.
    flux : (n,) float64
        Relative, its level subtracted: dips are negative.
    weight : (n,) float64
        Inverse variances scaled to mean 1.
    cadence : float
        Median step of the times, days.
    segment : (n,) int32, optional
        Which of several joined light curves a point is from.
    """

    time: F64
    flux: F64
    weight: F64
    cadence: float
    segment: I32 | None = None

    @classmethod
    def of(cls, time: F64, flux: F32, flux_err: F32 | None, cadence: float, segment: I32 | None = None) -> Self:
        """Take the valid points of a column; ``flux`` as `centred` returns it."""
        valid = np.isfinite(flux)
        weight = np.ones(np.count_nonzero(valid))
        if flux_err is not None and weight.size:
            weight = 1.0 / np.square(flux_err[valid].astype(np.float64))
            weight /= weight.mean()
        part = None if segment is None else segment[valid]
        return cls(time[valid], flux[valid].astype(np.float64), weight, cadence, part)

    @property
    def span(self) -> float:
        """Days from the first to the last point."""
        return float(self.time[-1] - self.time[0]) if self.time.size else 0.0

    def without(self, period: float, t0: float, width: float) -> Self:
        """Return the points farther than half of ``width`` (days) from every event."""
        return self.keep(~near_events(self.time, period, t0, width))

    def keep(self, points: NDArray[np.bool_]) -> Self:
        """Return some of the points."""
        part = None if self.segment is None else self.segment[points]
        return replace(self, time=self.time[points], flux=self.flux[points], weight=self.weight[points], segment=part)

    def parts(self) -> list[Self]:
        """Return the series of each segment; the series itself where it is one."""
        if self.segment is None:
            return [self]
        return [self.keep(self.segment == number) for number in np.unique(self.segment)]


def near_events(time: F64, period: float, t0: float, width: float) -> NDArray[np.bool_]:
    """Say which times lie within half of ``width`` of an event; an infinite period has one event."""
    offset = time - t0
    if np.isfinite(period):
        offset = offset - period * np.rint(offset / period)
    return np.asarray(np.abs(offset) < 0.5 * width)


def centred(flux: F32, segment: I32 | None = None) -> F32:
    """Divide each star by its median, subtract 1, and drop what stands high above: (n_time, n_star) float32.

    NaN = missing; a star whose median is not positive, or that holds fewer than 16 points or no scatter at all, is NaN
    throughout: there is nothing to search. With ``segment`` (n_time,) this holds for every segment by itself.
    """
    part = np.zeros(flux.shape[0], np.int64)
    if segment is not None:
        part = np.unique(segment, return_inverse=True)[1].astype(np.int64)
    out = np.empty(flux.shape, np.float32)
    _core.centre_series(np.ascontiguousarray(flux, np.float32), part, int(part.max(initial=-1)) + 1, out)
    return out


def mad_scatter(values: F64) -> float:
    """Return the standard deviation from the median absolute deviation; NaN of nothing."""
    if values.size == 0:
        return float("nan")
    return MAD_TO_SIGMA * float(np.median(np.abs(values - np.median(values))))


def usable_errors(flux_err: F32 | None, flux: F32) -> F32 | None:
    """Errors above 0 for every point of ``flux``: what is not known becomes the star's median error, or 1."""
    if flux_err is None:
        return None
    out = np.array(flux_err, np.float32)
    for star in range(out.shape[1]):
        column = out[:, star]
        known = np.isfinite(column) & (column > 0)
        fill = (
            float(np.median(column[known & np.isfinite(flux[:, star])]))
            if (known & np.isfinite(flux[:, star])).any()
            else 1.0
        )
        column[~known] = fill
    return out
