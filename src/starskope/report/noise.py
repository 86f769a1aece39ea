"""How noisy the stars of a run are, and which of them to show.

Owns the scatter per cadence beside the noise that the errors promise. Refuses to draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from starskope.curves.container import LightCurves

__all__ = ["StarNoise", "medians", "point_to_point"]

_TO_SIGMA = 1.4826  # Median absolute deviation to standard deviation of a Gaussian.
_MIN_POINTS = 8


def medians(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Median of the finite values along axis 0 of (n, n_series); NaN where there are none."""
    values = np.asarray(rows, dtype=np.float64)
    result = np.full(values.shape[1], np.nan)
    known = np.isfinite(values).any(axis=0)
    if known.any():
        result[known] = np.nanmedian(np.where(np.isfinite(values), values, np.nan)[:, known], axis=0)
    return result


def point_to_point(flux: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scatter per cadence of each star from differences of neighbouring cadences, as a fraction of its median.

    Slow changes of the star cancel, so what is left is noise: ``1.4826 median|d - median(d)| / sqrt(2)``.

    Parameters
    ----------
    flux : (n_time, n_star) float32
        NaN = missing.

    Returns
    -------
    (n_star,) float64
        NaN where fewer than 8 differences exist or the median flux is not positive.
    """
    steps = np.diff(flux.astype(np.float64), axis=0)
    spread = medians(np.abs(steps - medians(steps)))
    middle = medians(flux)
    known = (np.count_nonzero(np.isfinite(steps), axis=0) >= _MIN_POINTS) & (middle > 0)
    return np.where(known, _TO_SIGMA * spread / np.sqrt(2.0) / np.where(known, middle, 1.0), np.nan)


@dataclass(frozen=True, eq=False)
class StarNoise:
    """Noise of every star of a set of light curves.

    Attributes
    ----------
    tmag : (n_star,) float64
        TESS magnitude; NaN where the catalogue has none.
    measured, expected, spread : (n_star,) float64
        Point-to-point scatter, median error and spread of the whole curve, as fractions of the median flux.
    relative : (n_time, n_star) float32
        Flux over its median.
    """

    tmag: NDArray[np.float64]
    measured: NDArray[np.float64]
    expected: NDArray[np.float64]
    spread: NDArray[np.float64]
    relative: NDArray[np.float32]

    @classmethod
    def measure(cls, curves: LightCurves, used: NDArray[np.bool_]) -> Self:
        """Measure on the cadences marked in `used` (n_time,) bool."""
        unknown = np.full(curves.n_star, np.nan)
        tmag = unknown
        if "tmag" in curves.stars.colnames:
            tmag = np.ma.filled(np.ma.asarray(curves.stars["tmag"]).astype(np.float64), np.nan)
        middle = medians(curves.flux[used])
        scale = np.where(middle > 0, middle, np.nan)
        relative = (curves.flux / scale).astype(np.float32)
        error = unknown if curves.flux_err is None else medians(curves.flux_err[used]) / scale
        spread = _TO_SIGMA * medians(np.abs(relative[used] - 1.0))
        return cls(np.asarray(tmag), point_to_point(curves.flux[used]), error, spread, relative)

    @property
    def ratio(self) -> float:
        """Median over stars of measured over expected; NaN when no star has both."""
        both = np.isfinite(self.measured) & np.isfinite(self.expected) & (self.expected > 0)
        return float(np.median(self.measured[both] / self.expected[both])) if both.any() else float("nan")

    def examples(self) -> list[int]:
        """Pick the three stars that vary most beyond their noise, then the three brightest that do not."""
        known = np.flatnonzero(np.isfinite(self.spread) & (self.measured > 0))
        if not known.size:
            return []
        excess = self.spread[known] / self.measured[known]
        varying = known[np.argsort(-excess, kind="stable")][:3]
        quiet = known[(excess <= np.median(excess)) & ~np.isin(known, varying)]
        bright = quiet[np.argsort(np.nan_to_num(self.tmag[quiet], nan=99.0), kind="stable")][:3]
        return [int(star) for star in (*varying, *bright)]
