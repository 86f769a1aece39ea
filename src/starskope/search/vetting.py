"""What is measured of one periodic candidate, and which of its period's multiples it has.

Owns the chain refine -> events -> other phases for one star, and the choice among P/3, P/2, P, 2P, 3P. Refuses
thresholds of claims: those are the verdict's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from starskope.search.ephemeris import BOX, Ephemeris, Limits, first_event
from starskope.search.ephemeris_fit import fit_ephemeris
from starskope.search.events import PhaseScan, n_consistent, odd_even, scan_phases, steadiness
from starskope.search.one_ephemeris import Depth, Measured, measured_at, observed_events, weighted_mean
from starskope.search.refine import refine
from starskope.search.shape import fit_shape
from starskope.search.star_points import StarPoints

__all__ = ["NOTHING", "Vetted", "measure", "snr", "vet"]

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


class Vetted(NamedTuple):
    """A candidate after vetting: the fields of `candidate.Candidate` that the star alone can tell, and two more.

    Attributes
    ----------
    gain : float
        Of the box, and of that at a significant secondary, to compare with `events.sine_gain`.
    level : float
        Mean flux outside.
    """

    period: float
    t0: float
    duration: float
    depth: float
    depth_err: float
    snr: float
    n_transits: float
    n_consistent: float
    steadiness: float
    odd_even: float
    odd_even_err: float
    secondary: float
    secondary_err: float
    secondary_phase: float
    n_secondary: float
    bump: float
    flat_bottom: float
    flat_bottom_max: float
    length: float
    period_err: float
    t0_err: float
    gain: float
    level: float


NOTHING = Vetted(*(float("nan"),) * len(Vetted._fields))


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _squared_snr(found: Measured) -> float:
    """Squared signal-to-noise ratio with red noise alone; 0 where nothing dips."""
    depth = found.depth
    return (depth.value / depth.formal) ** 2 if depth.value > 0 and depth.formal > 0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _strength(found: Measured) -> float:
    """Squared signal-to-noise ratio by which periods compare; 0 where nothing dips.

    The scatter of the events counts from `FREE_SCATTER` times the noise on: three true events scatter by as much.
    """
    depth = found.depth
    if not (depth.value > 0 and depth.formal > 0):
        return 0.0
    squared: float = _squared_snr(found)
    return squared / max(1.0, depth.error / depth.formal / FREE_SCATTER) ** 2


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def snr(found: Measured) -> float:
    """Signal-to-noise ratio with the scatter of the events; 0 where nothing dips."""
    depth = found.depth
    return depth.value / depth.error if depth.value > 0 and depth.error > 0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def measure(points: StarPoints, start: Ephemeris, frequency_step: float, limits: Limits) -> Measured:
    """Refine a candidate from the grid and measure its events.

    Parameters
    ----------
    points : StarPoints
        All points of the star, unbinned.
    start : Ephemeris
        From the grid of the box search.
    frequency_step : float
        Of that grid at this period, 1/day.
    limits : Limits
    """
    at = refine(points, start, frequency_step, limits.duration_min, limits.duration_max)
    found: Measured = measured_at(points, at, BOX, np.nan)
    return found


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
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


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
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


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _is_better(other: Measured, best: Measured) -> bool:
    """Compare two periods of one star.

    Twice the period keeps half of the events: whether these are two kinds is for odd and even to say
    (`_twice_when_alternating`), so that their scatter does not count here; it does where a third of them is compared.
    """
    ratio = other.at.period / best.at.period
    by_scatter = abs(np.log2(ratio) - np.rint(np.log2(ratio))) > 0.1
    gain = _strength(other) / _strength(best) if by_scatter else _squared_snr(other) / _squared_snr(best)
    return bool(gain > (BETTER if ratio > 1.0 else 1.0))


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _secondary(points: StarPoints, found: Measured, phase: float) -> tuple[int, Depth]:
    """Measure the events at the phase of the deepest other dip; none where no other phase was seen (NaN)."""
    if not np.isfinite(phase):
        return 0, Depth(np.nan, np.nan, np.nan)
    at = found.at
    t0 = first_event(at.t0 + phase * at.period, at.period, points.time[0])
    other = Ephemeris(at.period, t0, at.duration)
    number, depth, variance = observed_events(points, other, found.shape, found.white, found.red, found.level)
    return number.size, weighted_mean(depth, variance)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _durations_of(period: float, limits: Limits, before: float) -> Limits:
    """Limits for another period: durations go with its cube root."""
    factor = (period / before) ** (1.0 / 3.0)
    return Limits(
        limits.period_min,
        limits.period_max,
        limits.duration_min * min(factor, 1.0),
        limits.duration_max * factor,
    )


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
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


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _twice_when_alternating(points: StarPoints, found: Measured, limits: Limits) -> tuple[bool, Measured]:
    """Twice the period where odd and even events differ beyond doubt and three of the deeper ones were seen."""
    difference, error = odd_even(found)
    if not (abs(difference) > DIFFERENT_SIGMA * error and abs(difference) > DIFFERENT_FRACTION * found.depth.value):
        return False, found
    is_tried, twice = _multiple(points, found, 2.0, limits)
    return is_tried and twice.number.size >= 3, twice
