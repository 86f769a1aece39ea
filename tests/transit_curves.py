"""Light curves with known dips for the tests of the transit search: boxes with slopes, white noise, gaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CADENCE = 1.0 / 48.0


def half_hours(days: float = 27.0, gap: tuple[float, float] | None = (13.0, 14.1)) -> NDArray[np.float64]:
    """Times of half-hour cadences from 1325 on, with the gap in the middle of a sector."""
    time = 1325.0 + np.arange(round(days / CADENCE)) * CADENCE
    if gap is None:
        return time
    return time[(time < 1325.0 + gap[0]) | (time >= 1325.0 + gap[1])]


def dip(time: NDArray[np.float64], period: float, t0: float, duration: float) -> NDArray[np.float64]:
    """Depth 1 with slopes of a fifth of the duration on both sides; an infinite period dips once."""
    offset = time - t0
    if np.isfinite(period):
        offset = offset - period * np.rint(offset / period)
    return np.clip((0.5 * duration - np.abs(offset)) / (0.2 * duration), 0.0, 1.0)


def quiet(time: NDArray[np.float64], n_star: int = 1, sigma: float = 3e-4, seed: int = 1) -> NDArray[np.float64]:
    """Flux around 1 with white noise, (n_time, n_star)."""
    return 1.0 + sigma * np.random.default_rng(seed).standard_normal((time.size, n_star))
