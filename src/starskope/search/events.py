"""What the events of an ephemeris have in common, and every other phase of its period.

Owns steadiness, consistency, odd against even, the deepest other dip, the highest bump, and the comparison with a sine.
Refuses verdicts: it returns numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from starskope.search.ephemeris import Ephemeris
from starskope.search.fold import phase_sums
from starskope.search.one_ephemeris import LEAST_COVERAGE, Measured, weighted_mean
from starskope.search.selection import median
from starskope.search.star_points import StarPoints

__all__ = ["PhaseScan", "n_consistent", "odd_even", "scan_phases", "sine_gain", "steadiness"]

F64 = NDArray[np.float64]

CELLS_PER_BOX = 4
PRIMARY_WIDTH = 1.5
"""No secondary is sought within this many durations of the primary's middle: a box is shorter than the dip it fits."""


class PhaseScan(NamedTuple):
    """Boxes at all phases of a period.

    Attributes
    ----------
    coherent : float
        Scatter of the boxes outside the event over what red noise predicts; above 1 where noise has the period.
    secondary_phase : float
        Phase (0 to 1) of the middle of the most significant other dip; NaN without any.
    bump : float
        Signal-to-noise ratio of the highest bump.
    box_gain, secondary_gain : float
        Gains of the boxes at phase 0 and at the other dip, in the unit of `sine_gain`.
    """

    coherent: float
    secondary_phase: float
    bump: float
    box_gain: float
    secondary_gain: float


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def steadiness(found: Measured) -> float:
    """Mean depth without the event that carries most of it, over that with it; NaN for fewer than two events."""
    if found.event_depth.size < 2:
        return np.nan
    w = 1.0 / found.variance
    moment = w * found.event_depth
    without = np.argmax(moment)
    total, whole = np.sum(w), np.sum(moment)
    return float((whole - moment[without]) / (total - w[without]) / (whole / total))


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def n_consistent(found: Measured) -> int:
    """Count the events within three sigma and 30 % of the depth, and nearer to it than to nothing or twice it."""
    n, depth = 0, found.depth.value
    for i in range(found.event_depth.size):
        one = found.event_depth[i]
        n += int(abs(one - depth) <= 3.0 * np.sqrt(found.variance[i]) + 0.3 * depth and one > 0.2 * depth)
    return n


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def odd_even(found: Measured) -> tuple[float, float]:
    """Depth of the odd minus that of the even events and its error; NaN where one of them is missing."""
    is_odd = found.number % 2 != 0
    odd = weighted_mean(found.event_depth[is_odd], found.variance[is_odd])
    even = weighted_mean(found.event_depth[~is_odd], found.variance[~is_odd])
    return odd.value - even.value, np.hypot(odd.error, even.error)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _cells(at: Ephemeris) -> tuple[int, float]:
    """Cells of a period, and where the first begins: four to the box, the first four hold the event."""
    n_cell = max(int(np.rint(CELLS_PER_BOX * at.period / at.duration)), 3 * CELLS_PER_BOX)
    return n_cell, at.t0 - 0.5 * CELLS_PER_BOX * at.period / n_cell


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def scan_phases(points: StarPoints, found: Measured) -> PhaseScan:
    """Slide the box over all phases: the uniqueness test of a candidate (after Coughlin et al. 2016).

    References
    ----------
    Coughlin et al. 2016, doi:10.3847/0067-0049/224/1/12 (model-shift uniqueness test).
    """
    at = found.at
    n_cell, start = _cells(at)
    cell = at.period / n_cell
    w, y = phase_sums(points.time, points.flux - found.level, points.weight, at.period, start, n_cell, CELLS_PER_BOX)
    box_gain = y[0] ** 2 / w[0] if w[0] > 0 and y[0] < 0 else 0.0
    per_event = max(at.duration / points.cadence, 1.0)
    inside, n = np.empty(n_cell), 0
    deepest, highest, lowest = -1, 0.0, 0.0
    for c in range(n_cell):
        # Weights have mean 1: one event that counts as observed is enough, its error says the rest.
        if min(c, n_cell - c) * cell > PRIMARY_WIDTH * at.duration and w[c] >= LEAST_COVERAGE * per_event:
            variance = found.white**2 / w[c] + found.red**2 * min(per_event / w[c], 1.0)
            inside[n] = -y[c] / w[c] / np.sqrt(variance)
            if deepest < 0 or inside[n] > highest:
                deepest, highest = c, inside[n]
            lowest = min(lowest, inside[n])
            n += 1
    if n == 0:
        return PhaseScan(1.0, np.nan, 0.0, box_gain, 0.0)
    scratch = inside[:n].copy()
    middle = median(scratch, n)
    for i in range(n):
        scratch[i] = abs(inside[i] - middle)
    coherent = max(1.0, 1.4826 * median(scratch, n))
    other_gain = y[deepest] ** 2 / w[deepest] if y[deepest] < 0 else 0.0
    return PhaseScan(coherent, deepest / n_cell, -lowest / coherent, box_gain, other_gain)


def sine_gain(points: StarPoints, at: Ephemeris, level: float) -> float:
    """Return the largest gain of a sine and its first overtone among the harmonics of the period a box may imitate.

    Twice the gain in log-likelihood where weights are inverse variances.
    """
    n_cell, start = _cells(at)
    w, y = phase_sums(points.time, points.flux - level, points.weight, at.period, start, n_cell, 1)
    gains = 2.0 * np.abs(np.fft.rfft(y)) ** 2 / max(float(w.sum()), 1e-300)
    # A wave and its first overtone, as spots on two sides of a star make them, for every wave the box may follow.
    n_wave = min(max(int(0.5 * at.period / at.duration), 1), (gains.size - 1) // 2)
    wave = np.arange(1, n_wave + 1)
    return float((gains[wave] + gains[2 * wave]).max())
