"""One star as the search sees it: the valid points, centred on zero, with relative weights.

Owns how a column of a block becomes such points and how found transits are taken out of them. Refuses detrending.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from starskope.search.rednoise import mad_scatter

__all__ = ["UPWARD_SIGMA", "StarSeries", "centred", "usable_errors"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

UPWARD_SIGMA = 5.0
"""Points above this many scatters are no dips, and no measure of noise either: flares and cosmic rays."""
LEAST_POINTS = 16
"""A star with fewer points has no noise level worth the name."""


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
    """

    time: F64
    flux: F64
    weight: F64
    cadence: float

    @classmethod
    def of(cls, time: F64, flux: F32, flux_err: F32 | None, cadence: float) -> Self:
        """Take the valid points of a column; ``flux`` as `centred` returns it."""
        valid = np.isfinite(flux)
        weight = np.ones(np.count_nonzero(valid))
        if flux_err is not None and weight.size:
            weight = 1.0 / np.square(flux_err[valid].astype(np.float64))
            weight /= weight.mean()
        return cls(time[valid], flux[valid].astype(np.float64), weight, cadence)

    @property
    def span(self) -> float:
        """Days from the first to the last point."""
        return float(self.time[-1] - self.time[0]) if self.time.size else 0.0

    def without(self, period: float, t0: float, width: float) -> Self:
        """Return the points farther than half of ``width`` (days) from every event."""
        return self.keep(~near_events(self.time, period, t0, width))

    def keep(self, points: NDArray[np.bool_]) -> Self:
        """Return some of the points."""
        return replace(self, time=self.time[points], flux=self.flux[points], weight=self.weight[points])


def near_events(time: F64, period: float, t0: float, width: float) -> NDArray[np.bool_]:
    """Say which times lie within half of ``width`` of an event; an infinite period has one event."""
    offset = time - t0
    if np.isfinite(period):
        offset = offset - period * np.rint(offset / period)
    return np.asarray(np.abs(offset) < 0.5 * width)


def centred(flux: F32) -> F32:
    """Divide each star by its median, subtract 1, and drop what stands high above: (n_time, n_star) float32.

    NaN = missing; a star whose median is not positive, or that holds fewer than 16 points or no scatter at all, is NaN
    throughout: there is nothing to search.
    """
    out = np.full(flux.shape, np.nan, np.float32)
    for star in range(flux.shape[1]):
        column = flux[:, star].astype(np.float64)
        valid = np.isfinite(column)
        if np.count_nonzero(valid) < LEAST_POINTS:
            continue
        level = float(np.median(column[valid]))
        if not level > 0:
            continue
        relative = column / level - 1.0
        scatter = mad_scatter(relative[valid])
        if not scatter > 0:
            # More than half of the points are equal: only their spread can tell whether there is any light to search.
            scatter = float(relative[valid].std())
        if not scatter > 1e-12:
            continue
        with np.errstate(invalid="ignore"):
            out[:, star] = np.where(relative <= UPWARD_SIGMA * scatter, relative, np.nan)
    return out


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
