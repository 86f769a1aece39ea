"""The events of a candidate one by one, and every other phase of its period.

Owns depths per event with red-noise errors, what they have in common, odd against even, the deepest other dip, the
highest bump, and the comparison with a sine. Refuses verdicts: it returns numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from starskope.search.fold import phase_sums
from starskope.search.one_ephemeris import observed_events, weighted_mean
from starskope.search.rednoise import Noise
from starskope.search.refine import Ephemeris
from starskope.search.series import StarSeries
from starskope.search.shape import DipShape

__all__ = ["Events", "PhaseScan", "least_points", "mean_depth", "measure_events", "odd_even", "scan_phases"]

F64 = NDArray[np.float64]

LEAST_COVERAGE = 0.35
"""An event counts as observed when this much of it is: its own error says how little that may be worth."""
CELLS_PER_BOX = 4
PRIMARY_WIDTH = 1.5
"""No secondary is sought within this many durations of the primary's middle: a box is shorter than the dip it fits."""


@dataclass(frozen=True, eq=False)
class Events:
    """Observed events of one ephemeris.

    Attributes
    ----------
    number : (n_event,) int64
        Mid-transit is ``t0 + number * period``.
    depth, variance : (n_event,) float64
        Fraction of the light below the level outside, and the variance with red noise.
    """

    number: NDArray[np.int64]
    depth: F64
    variance: F64


class Depth(NamedTuple):
    """A mean depth, its error from noise alone (``formal``) and with the scatter of the events (``error``)."""

    value: float
    formal: float
    error: float


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
    sine_gain : float
        Largest gain of a sine and its first overtone among the harmonics of the period that a box may imitate.
    box_gain, secondary_gain : float
        Gains of the boxes at phase 0 and at the other dip in the same unit.
    """

    coherent: float
    secondary_phase: float
    bump: float
    sine_gain: float
    box_gain: float
    secondary_gain: float


def measure_events(series: StarSeries, at: Ephemeris, shape: DipShape, noise: Noise, level: float) -> Events:
    """Measure every event of which enough was observed.

    Parameters
    ----------
    shape : DipShape
        What is fitted to each event, its depth free: a box at half-hour cadence would make depths depend on where the
        cadences fall.
    level : float
        Flux outside the events.
    """
    least = least_points(at.duration, series.cadence)
    dip = (shape.length, shape.bottom, shape.smear)
    return Events(
        *observed_events(series.time, series.flux - level, series.weight, tuple(at), dip, noise.white, noise.red, least)
    )


def least_points(duration: float, cadence: float) -> float:
    """Return the points within its duration from which an event counts as observed."""
    return max(LEAST_COVERAGE * max(duration / cadence, 1.0), 1.0 - 1e-9)


def mean_depth(events: Events) -> Depth:
    """Mean depth weighted by inverse variance; its error grows with the scatter of the events where that is larger.

    Notes
    -----
    ``error = formal * max(1, sqrt((chi2 + 3) / (n - 1 + 3)))``: one deep artefact among events of no depth has a large
    error by its own scatter, while three honest events are not punished for the small number.
    """
    return Depth(*weighted_mean(events.depth, events.variance))


def steadiness(events: Events) -> float:
    """Mean depth without the event that carries most of it, over that with it; NaN for fewer than two events."""
    if events.depth.size < 2:
        return float("nan")
    w = 1.0 / events.variance
    moment = w * events.depth
    without = int(np.argmax(moment))
    whole = moment.sum() / w.sum()
    return float((moment.sum() - moment[without]) / (w.sum() - w[without]) / whole)


def n_consistent(events: Events, depth: float) -> int:
    """Count the events within three sigma and 30 % of a depth, and nearer to it than to nothing or twice it."""
    off = np.abs(events.depth - depth)
    return int(np.count_nonzero((off <= 3.0 * np.sqrt(events.variance) + 0.3 * depth) & (events.depth > 0.2 * depth)))


def odd_even(events: Events) -> tuple[float, float]:
    """Depth of the odd minus that of the even events and its error; NaN where one of them is missing."""
    odd = events.number % 2 != 0
    parts = [
        mean_depth(Events(events.number[which], events.depth[which], events.variance[which])) for which in (odd, ~odd)
    ]
    return parts[0].value - parts[1].value, float(np.hypot(parts[0].error, parts[1].error))


def scan_phases(series: StarSeries, at: Ephemeris, noise: Noise, level: float) -> PhaseScan:
    """Slide the box over all phases: the uniqueness test of a candidate (after Coughlin et al. 2016).

    References
    ----------
    Coughlin et al. 2016, doi:10.3847/0067-0049/224/1/12 (model-shift uniqueness test).
    """
    n_cell = max(round(CELLS_PER_BOX * at.period / at.duration), 3 * CELLS_PER_BOX)
    cell = at.period / n_cell
    start = at.t0 - 0.5 * CELLS_PER_BOX * cell
    flux = series.flux - level
    w, y = phase_sums(series.time, flux, series.weight, at.period, start, n_cell, CELLS_PER_BOX)
    box_gain = float(y[0] ** 2 / w[0]) if w[0] > 0 and y[0] < 0 else 0.0
    single_w, single_y = phase_sums(series.time, flux, series.weight, at.period, start, n_cell, 1)
    gains = 2.0 * np.abs(np.fft.rfft(single_y)) ** 2 / max(float(single_w.sum()), 1e-300)
    # A wave and its first overtone, as spots on two sides of a star make them, for every wave the box may follow.
    n_wave = min(max(int(0.5 * at.period / at.duration), 1), (gains.size - 1) // 2)
    wave = np.arange(1, n_wave + 1)
    sine_gain = float((gains[wave] + gains[2 * wave]).max())
    offset = np.minimum(np.arange(n_cell), n_cell - np.arange(n_cell)) * cell
    per_event = max(at.duration / series.cadence, 1.0)
    # Weights have mean 1: one event that counts as observed is enough, its error says the rest.
    usable = (offset > PRIMARY_WIDTH * at.duration) & (w >= LEAST_COVERAGE * per_event)
    if not usable.any():
        return PhaseScan(1.0, float("nan"), 0.0, sine_gain, box_gain, 0.0)
    significance = np.zeros(n_cell)
    variance = noise.white**2 / w[usable] + noise.red**2 * np.minimum(per_event / w[usable], 1.0)
    significance[usable] = -y[usable] / w[usable] / np.sqrt(variance)
    inside = significance[usable]
    coherent = max(1.0, float(1.4826 * np.median(np.abs(inside - np.median(inside)))))
    deepest = int(np.argmax(np.where(usable, significance, -np.inf)))
    bump = max(0.0, float(-inside.min())) / coherent
    other_gain = float(y[deepest] ** 2 / w[deepest]) if y[deepest] < 0 else 0.0
    return PhaseScan(coherent, deepest / n_cell, bump, sine_gain, box_gain, other_gain)
