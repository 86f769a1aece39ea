"""Vetting of one candidate step by step: phases, multiples of the period, peaks (cpp/src/dip_vetting.hpp)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from reference_events import (
    BOX,
    LEAST_COVERAGE,
    Depth,
    Ephemeris,
    Limits,
    Measured,
    StarPoints,
    first_event,
    mad_scatter,
    measured_at,
    observed_events,
    weighted_mean,
)
from reference_folding import phase_sums
from reference_shape import fit_ephemeris, fit_shape, locate, refine
from reference_single import detrend, distinct_peaks

from starskope.search.vetting import PeriodTrials, Vetted

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

CELLS_PER_BOX = 4
PRIMARY_WIDTH = 1.5
"""No secondary is sought within this many durations of the primary's middle: a box is shorter than the dip it fits."""


class PhaseScan(NamedTuple):
    """Boxes at all phases of a period."""

    coherent: float
    secondary_phase: float
    bump: float
    box_gain: float
    secondary_gain: float


def steadiness(found: Measured) -> float:
    """Mean depth without the event that carries most of it, over that with it; NaN for fewer than two events."""
    if found.event_depth.size < 2:
        return np.nan
    w = 1.0 / found.variance
    moment = w * found.event_depth
    without = np.argmax(moment)
    total, whole = np.sum(w), np.sum(moment)
    return float((whole - moment[without]) / (total - w[without]) / (whole / total))


def n_consistent(found: Measured) -> int:
    """Count the events within three sigma and 30 % of the depth, and nearer to it than to nothing or twice it."""
    n, depth = 0, found.depth.value
    for i in range(found.event_depth.size):
        one = found.event_depth[i]
        n += int(abs(one - depth) <= 3.0 * np.sqrt(found.variance[i]) + 0.3 * depth and one > 0.2 * depth)
    return n


def odd_even(found: Measured) -> tuple[float, float]:
    """Depth of the odd minus that of the even events and its error; NaN where one of them is missing."""
    is_odd = found.number % 2 != 0
    odd = weighted_mean(found.event_depth[is_odd], found.variance[is_odd])
    even = weighted_mean(found.event_depth[~is_odd], found.variance[~is_odd])
    return odd.value - even.value, np.hypot(odd.error, even.error)


def _cells(at: Ephemeris) -> tuple[int, float]:
    """Cells of a period, and where the first begins: four to the box, the first four hold the event."""
    n_cell = max(int(np.rint(CELLS_PER_BOX * at.period / at.duration)), 3 * CELLS_PER_BOX)
    return n_cell, at.t0 - 0.5 * CELLS_PER_BOX * at.period / n_cell


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
    coherent = max(1.0, mad_scatter(inside[:n]))
    other_gain = y[deepest] ** 2 / w[deepest] if y[deepest] < 0 else 0.0
    return PhaseScan(coherent, deepest / n_cell, -lowest / coherent, box_gain, other_gain)


MULTIPLES = (2.0, 3.0, 0.5, 1.0 / 3.0)
BETTER = 1.15
"""A longer period replaces the one found when its squared signal-to-noise ratio exceeds that by this factor: events
lost in noise make any period look twice as long. A shorter one only has to be as good."""
LEAST_SHAPE = 5.0
"""Signal-to-noise ratio from which a shape is fitted and multiples are tried; they gain at most a factor of 1.4."""
LEAST_FIT = 6.0
"""Signal-to-noise ratio from which the ephemeris is fitted to the shape: a claim needs more."""
NOT_WORSE = 0.95
"""The fitted ephemeris replaces that of the box unless its squared signal-to-noise ratio falls below this part."""
FREE_SCATTER = 1.3
OWN_SIGMA = 4.0
"""From here on a dip at another phase is taken out of the noise."""
DIFFERENT_SIGMA, DIFFERENT_FRACTION = 5.0, 0.1
"""Odd and even events are two kinds of events beyond this: the period is then twice as long."""


NOTHING = Vetted(*(float("nan"),) * len(Vetted._fields))


def _squared_snr(found: Measured) -> float:
    """Squared signal-to-noise ratio with red noise alone; 0 where nothing dips."""
    depth = found.depth
    return (depth.value / depth.formal) ** 2 if depth.value > 0 and depth.formal > 0 else 0.0


def _strength(found: Measured) -> float:
    """Squared signal-to-noise ratio by which periods compare; 0 where nothing dips.

    The scatter of the events counts from `FREE_SCATTER` times the noise on: three true events scatter by as much.
    """
    depth = found.depth
    if not (depth.value > 0 and depth.formal > 0):
        return 0.0
    squared: float = _squared_snr(found)
    return squared / max(1.0, depth.error / depth.formal / FREE_SCATTER) ** 2


def snr(found: Measured) -> float:
    """Signal-to-noise ratio with the scatter of the events; 0 where nothing dips."""
    depth = found.depth
    return depth.value / depth.error if depth.value > 0 and depth.error > 0 else 0.0


def measure(points: StarPoints, start: Ephemeris, frequency_step: float, limits: Limits) -> Measured:
    """Refine a candidate from the grid and measure its events."""
    at = refine(points, start, frequency_step, limits.duration_min, limits.duration_max)
    found: Measured = measured_at(points, at, BOX, np.nan)
    return found


def vet(points: StarPoints, found: Measured, limits: Limits) -> Vetted:
    """Settle the period of a candidate that dips among its multiples and describe it.

    Parameters
    ----------
    points : StarPoints
    found : Measured
        From `measure`.
    limits : Limits
    """
    best, is_settled = found, True
    if found.depth.value > LEAST_SHAPE * found.depth.formal:
        found = measured_at(points, found.at, fit_shape(points, found.at, found.level), np.nan)
        best = found
        for multiple in MULTIPLES:
            is_tried, other = _multiple(points, found, multiple, limits)
            if is_tried and _is_better(other, best):
                best, is_settled = other, False
        is_alternating, twice = _twice_when_alternating(points, best, limits)
        if is_alternating:
            best, is_settled = twice, False
    if not is_settled:
        # The box that fits two kinds of dips at once fits neither: seek again near the period that was settled.
        span = points.time[points.time.size - 1] - points.time[0]
        step = best.at.duration / (3.0 * best.at.period * max(span, best.at.period))
        again = measure(points, best.at, step, _durations_of(best.at.period, limits, found.at.period))
        again = measured_at(points, again.at, fit_shape(points, again.at, again.level), np.nan)
        if _strength(again) > NOT_WORSE * _strength(best):
            best = again
    period_err, t0_err = np.nan, np.nan
    if best.shape.length > 0.0 and snr(best) > LEAST_FIT:
        at, one_err, other_err = fit_ephemeris(points, best.at, best.shape, best.level)
        better = measured_at(points, at, fit_shape(points, at, best.level), np.nan)
        if _strength(better) > NOT_WORSE * _strength(best):
            best, period_err, t0_err = better, one_err, other_err
    scan = scan_phases(points, best)
    n_secondary, secondary = _secondary(points, best, scan.secondary_phase)
    phase, gain = scan.secondary_phase, scan.box_gain
    if secondary.value >= OWN_SIGMA * secondary.error:
        # What dips at the same phase every time is no noise, and no sine has two dips as sharp.
        gain += scan.secondary_gain
        best = measured_at(points, best.at, best.shape, phase)
        scan = scan_phases(points, best)
        n_secondary, secondary = _secondary(points, best, phase)
    vetted: Vetted = _described(best, scan, phase, n_secondary, secondary, gain, (period_err, t0_err))
    return vetted


def _described(
    found: Measured,
    scan: PhaseScan,
    secondary_phase: float,
    n_secondary: int,
    secondary: Depth,
    gain: float,
    errors: tuple[float, float],
) -> Vetted:
    at, depth, shape = found.at, found.depth, found.shape
    error = max(depth.error, depth.formal * scan.coherent)
    difference, difference_err = odd_even(found)
    is_shaped = shape.length > 0.0
    return Vetted(
        at.period,
        at.t0,
        at.duration,
        depth.value,
        error,
        depth.value / error,
        float(found.number.size),
        float(n_consistent(found)),
        steadiness(found),
        difference,
        difference_err,
        secondary.value,
        max(secondary.error, secondary.formal * scan.coherent),
        secondary_phase,
        float(n_secondary),
        scan.bump,
        shape.bottom if is_shaped else np.nan,
        shape.bottom_max if is_shaped else np.nan,
        shape.length if is_shaped else np.nan,
        errors[0],
        errors[1],
        gain,
        found.level,
    )


def _is_better(other: Measured, best: Measured) -> bool:
    """Compare two periods of one star.

    Twice the period keeps half of the events: whether these are two kinds is for odd and even to say
    (`_twice_when_alternating`), so that their scatter does not count here; it does where a third of them is compared.
    """
    ratio = other.at.period / best.at.period
    by_scatter = abs(np.log2(ratio) - np.rint(np.log2(ratio))) > 0.1
    gain = _strength(other) / _strength(best) if by_scatter else _squared_snr(other) / _squared_snr(best)
    return bool(gain > (BETTER if ratio > 1.0 else 1.0))


def _secondary(points: StarPoints, found: Measured, phase: float) -> tuple[int, Depth]:
    """Measure the events at the phase of the deepest other dip; none where no other phase was seen (NaN)."""
    if not np.isfinite(phase):
        return 0, Depth(np.nan, np.nan, np.nan)
    at = found.at
    t0 = first_event(at.t0 + phase * at.period, at.period, points.time[0])
    other = Ephemeris(at.period, t0, at.duration)
    number, depth, variance = observed_events(points, other, found.shape, found.white, found.red, found.level)
    return number.size, weighted_mean(depth, variance)


def _durations_of(period: float, limits: Limits, before: float) -> Limits:
    """Limits for another period: durations go with its cube root."""
    factor = (period / before) ** (1.0 / 3.0)
    return Limits(
        limits.period_min,
        limits.period_max,
        limits.duration_min * min(factor, 1.0),
        limits.duration_max * factor,
    )


def _multiple(points: StarPoints, found: Measured, multiple: float, limits: Limits) -> tuple[bool, Measured]:
    """Best of the ephemerides with a multiple of the period that keep some of the events; False where none is tried."""
    at = found.at
    period = at.period * multiple
    if not limits.period_min <= period <= limits.period_max or at.duration > 0.3 * period:
        return False, found
    best = found
    for k in range(int(np.rint(multiple)) if multiple > 1.0 else 1):
        t0 = first_event(at.t0 + k * at.period, period, points.time[0])
        one = measured_at(points, Ephemeris(period, t0, at.duration), found.shape, np.nan)
        if k == 0 or _strength(one) > _strength(best):
            best = one
    return True, best


def _twice_when_alternating(points: StarPoints, found: Measured, limits: Limits) -> tuple[bool, Measured]:
    """Twice the period where odd and even events differ beyond doubt and three of the deeper ones were seen."""
    difference, error = odd_even(found)
    if not (abs(difference) > DIFFERENT_SIGMA * error and abs(difference) > DIFFERENT_FRACTION * found.depth.value):
        return False, found
    is_tried, twice = _multiple(points, found, 2.0, limits)
    return is_tried and twice.number.size >= 3, twice


N_PEAKS = 3
"""Peaks of a spectrum that are looked at; the one whose events stand out most is the candidate."""


def best_peak(points: StarPoints, statistic: F32, trials: PeriodTrials) -> tuple[bool, float, Vetted]:
    """Refine the highest peaks of a spectrum and vet the one whose events stand out most.

    Parameters
    ----------
    points : StarPoints
    statistic : (n_period,) float32
        Signal-to-noise ratios of the best boxes.
    trials : PeriodTrials

    Returns
    -------
    dips : bool
        False where nothing dips: then there is nothing to vet.
    sde : float
        Height of the peak above the trend of the spectrum in its scatter; NaN without a peak.
    vetted : Vetted
    """
    efficiency = detrend(statistic, trials.edges, trials.centres)
    last = trials.periods.size - 1
    is_any, sde = False, np.nan
    best, limits = _nothing(), Limits(np.nan, np.nan, np.nan, np.nan)
    for i in distinct_peaks(efficiency, trials.periods, points.time[points.time.size - 1] - points.time[0], N_PEAKS):
        period = trials.periods[i]
        step = 0.0
        for k in range(max(i - 1, 0), min(i + 1, last)):
            step = max(step, abs(1.0 / trials.periods[k + 1] - 1.0 / trials.periods[k]))
        its_limits = Limits(trials.periods[0], trials.periods[last], trials.shortest[i], trials.longest[i])
        is_found, start = locate(points, period, its_limits.duration_min, its_limits.duration_max)
        if not is_found:
            continue
        found = measure(points, start, step, its_limits)
        if not is_any or snr(found) > snr(best):
            is_any, best, limits, sde = True, found, its_limits, efficiency[i]
    if not snr(best) > 0:
        return False, sde, NOTHING
    return True, sde, vet(points, best, limits)


def _nothing() -> Measured:
    """Return what no events measure."""
    none = np.zeros(0)
    at, depth = Ephemeris(np.nan, np.nan, np.nan), Depth(np.nan, np.nan, np.nan)
    return Measured(at, BOX, np.zeros(0, np.int64), none, none, depth, np.nan, np.nan, np.nan)
