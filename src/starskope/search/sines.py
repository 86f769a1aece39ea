"""How much of a candidate a sine would explain.

Owns the comparison of a box with waves of its period. Refuses verdicts: it returns a number.
"""

from __future__ import annotations

import numpy as np

from starskope.search.ephemeris import Ephemeris
from starskope.search.series import StarSeries

__all__ = ["sine_gain"]

CELLS_PER_BOX = 4


def sine_gain(series: StarSeries, at: Ephemeris, level: float) -> float:
    """Return the largest gain of a sine and its first overtone among the harmonics of the period a box may imitate.

    Twice the gain in log-likelihood where weights are inverse variances.
    """
    # Cells of a period: four to the box, the first four hold the event.
    n_cell = max(int(np.rint(CELLS_PER_BOX * at.period / at.duration)), 3 * CELLS_PER_BOX)
    start = at.t0 - 0.5 * CELLS_PER_BOX * at.period / n_cell
    turns = (series.time - start) / at.period
    cell = np.minimum((turns - np.floor(turns)) * n_cell, n_cell - 1.0).astype(np.int64)
    y = np.bincount(cell, series.weight * (series.flux - level), n_cell)
    gains = 2.0 * np.abs(np.fft.rfft(y)) ** 2 / max(float(np.bincount(cell, series.weight, n_cell).sum()), 1e-300)
    # A wave and its first overtone, as spots on two sides of a star make them, for every wave the box may follow.
    n_wave = min(max(int(0.5 * at.period / at.duration), 1), (gains.size - 1) // 2)
    wave = np.arange(1, n_wave + 1)
    return float((gains[wave] + gains[2 * wave]).max())
