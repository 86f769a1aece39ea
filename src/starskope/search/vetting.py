"""What is measured of one periodic candidate, and which of its period's multiples it has.

Owns the chain refine -> events -> other phases for one star, and the choice among P/3, P/2, P, 2P, 3P. Refuses
thresholds of claims: those are the verdict's.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from starskope.search import events as per_event
from starskope.search.candidate import PERIODIC, Candidate
from starskope.search.events import Depth, Events, PhaseScan
from starskope.search.one_ephemeris import measured_at
from starskope.search.rednoise import Noise
from starskope.search.refine import Ephemeris, first_event, refine
from starskope.search.series import StarSeries
from starskope.search.shape import BOX, DipShape, fit_ephemeris, fit_shape

__all__ = ["Limits", "Measured", "measure", "vet"]

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
TRANSIT_WIDTH = 2.0
"""Durations of a box around an event within which nothing counts as quiet."""
DIFFERENT_SIGMA, DIFFERENT_FRACTION = 5.0, 0.1
"""Odd and even events are two kinds of events beyond this: the period is then twice as long."""


class Limits(NamedTuple):
    """Limits of a search in days: periods, durations."""

    period_min: float
    period_max: float
    duration_min: float
    duration_max: float


class Measured(NamedTuple):
    """A refined candidate with its events and the noise they stand in."""

    at: Ephemeris
    events: Events
    depth: Depth
    shape: DipShape
    noise: Noise
    level: float

    @property
    def strength(self) -> float:
        """Squared signal-to-noise ratio by which periods compare; 0 where nothing dips.

        The scatter of the events counts from `FREE_SCATTER` times the noise on: three true events scatter by as much.
        """
        if not (self.depth.value > 0 and self.depth.formal > 0):
            return 0.0
        return self.squared_snr / max(1.0, self.depth.error / self.depth.formal / FREE_SCATTER) ** 2

    @property
    def squared_snr(self) -> float:
        """Squared signal-to-noise ratio with red noise alone; 0 where nothing dips."""
        return (self.depth.value / self.depth.formal) ** 2 if self.depth.value > 0 and self.depth.formal > 0 else 0.0

    @property
    def snr(self) -> float:
        """Signal-to-noise ratio with the scatter of the events; 0 where nothing dips."""
        return self.depth.value / self.depth.error if self.depth.value > 0 and self.depth.error > 0 else 0.0


def measure(series: StarSeries, start: Ephemeris, frequency_step: float, limits: Limits) -> Measured:
    """Refine a candidate from the grid and measure its events.

    Parameters
    ----------
    series : StarSeries
        All points of the star, unbinned.
    start : Ephemeris
        From the grid of the box search.
    frequency_step : float
        Of that grid at this period, 1/day.
    limits : Limits
    """
    at = refine(series, start, frequency_step, shortest=limits.duration_min, longest=limits.duration_max)
    return _at(series, at, BOX)


def vet(series: StarSeries, found: Measured, limits: Limits, sde: float) -> Candidate:
    """Settle the period of a candidate among its multiples and describe it.

    Parameters
    ----------
    series : StarSeries
    found : Measured
        From `measure`.
    limits : Limits
    sde : float
        Height of the peak.
    """
    if not found.snr > 0:
        return Candidate(sde=sde)
    best = found
    if found.depth.value > LEAST_SHAPE * found.depth.formal:
        shape = fit_shape(series, found.at, found.level)
        best = found = _at(series, found.at, shape)
        for multiple in MULTIPLES:
            other = _multiple(series, found.at, shape, multiple, limits)
            if other is not None and _is_better(other, best):
                best = other
        best = _twice_when_alternating(series, best, limits) or best
    if best is not found:
        # The box that fits two kinds of dips at once fits neither: seek again near the period that was settled.
        step = best.at.duration / (3.0 * best.at.period * max(series.span, best.at.period))
        again = measure(series, best.at, step, _durations_of(best.at.period, limits, found.at.period))
        again = _at(series, again.at, fit_shape(series, again.at, again.level))
        best = again if again.strength > NOT_WORSE * best.strength else best
    errors = (math.nan, math.nan)
    if best.shape is not BOX and best.snr > LEAST_FIT:
        at, *fitted = fit_ephemeris(series, best.at, best.shape, best.level)
        better = _at(series, at, fit_shape(series, at, best.level))
        if better.strength > NOT_WORSE * best.strength:
            best, errors = better, (fitted[0], fitted[1])
    scan = per_event.scan_phases(series, best.at, best.noise, best.level)
    secondary, phase = _secondary(series, best, scan), scan.secondary_phase
    gain = scan.box_gain
    if secondary is not None and secondary.depth.value >= OWN_SIGMA * secondary.depth.error:
        # What dips at the same phase every time is no noise, and no sine has two dips as sharp.
        gain += scan.secondary_gain
        best = _at(series, best.at, best.shape, phase)
        scan = per_event.scan_phases(series, best.at, best.noise, best.level)._replace(secondary_phase=phase)
        secondary = _secondary(series, best, scan)
    sine_ratio = gain / scan.sine_gain if scan.sine_gain > 0 else math.inf
    return replace(_describe(best, scan, secondary, errors), sde=sde, sine_ratio=sine_ratio)


def _is_better(other: Measured, best: Measured) -> bool:
    """Compare two periods of one star.

    Twice the period keeps half of the events: whether these are two kinds is for odd and even to say
    (`_twice_when_alternating`), so that their scatter does not count here; it does where a third of them is compared.
    """
    ratio = other.at.period / best.at.period
    by_scatter = abs(math.log2(ratio) - round(math.log2(ratio))) > 0.1
    gain = other.strength / best.strength if by_scatter else other.squared_snr / best.squared_snr
    return gain > (BETTER if ratio > 1.0 else 1.0)


class _Secondary(NamedTuple):
    depth: Depth
    n_event: int


def _secondary(series: StarSeries, found: Measured, scan: PhaseScan) -> _Secondary | None:
    """Measure the events at the phase of the deepest other dip; None where no other phase was seen."""
    if not math.isfinite(scan.secondary_phase):
        return None
    t0 = first_event(found.at.t0 + scan.secondary_phase * found.at.period, found.at.period, float(series.time[0]))
    others = per_event.measure_events(series, found.at._replace(t0=t0), found.shape, found.noise, found.level)
    if others.depth.size == 0:
        return None
    return _Secondary(per_event.mean_depth(others), others.depth.size)


def _describe(
    found: Measured,
    scan: PhaseScan,
    secondary: _Secondary | None,
    errors: tuple[float, float],
) -> Candidate:
    at, events, depth = found.at, found.events, found.depth
    shape = None if found.shape is BOX else found.shape
    error = max(depth.error, depth.formal * scan.coherent)
    difference, difference_err = per_event.odd_even(events)
    other = secondary.depth if secondary else Depth(math.nan, math.nan, math.nan)
    return Candidate(
        kind=PERIODIC,
        period=at.period,
        t0=at.t0,
        duration=at.duration,
        depth=depth.value,
        depth_err=error,
        snr=depth.value / error,
        n_transits=float(events.depth.size),
        n_consistent=float(per_event.n_consistent(events, depth.value)),
        steadiness=per_event.steadiness(events),
        odd_even=difference,
        odd_even_err=difference_err,
        secondary=other.value,
        secondary_err=max(other.error, other.formal * scan.coherent),
        secondary_phase=scan.secondary_phase,
        bump=scan.bump,
        n_secondary=float(secondary.n_event) if secondary else 0.0,
        flat_bottom=shape.bottom if shape else math.nan,
        flat_bottom_max=shape.bottom_max if shape else math.nan,
        length=shape.length if shape else math.nan,
        period_err=errors[0],
        t0_err=errors[1],
    )


def _at(series: StarSeries, at: Ephemeris, shape: DipShape, other_phase: float = math.nan) -> Measured:
    """Measure an ephemeris as it is; the noise is taken outside its events and, if given, those at another phase."""
    level, white, red, *found = measured_at(
        series.time,
        series.flux,
        series.weight,
        tuple(at),
        (shape.length, shape.bottom, shape.smear),
        at.t0 + other_phase * at.period,
        TRANSIT_WIDTH * at.duration,
        per_event.least_points(at.duration, series.cadence),
    )
    events = Events(*found)
    return Measured(at, events, per_event.mean_depth(events), shape, Noise(white, red), level)


def _durations_of(period: float, limits: Limits, before: float) -> Limits:
    """Limits for another period: durations go with its cube root."""
    factor = (period / before) ** (1.0 / 3.0)
    return limits._replace(
        duration_min=limits.duration_min * min(factor, 1.0), duration_max=limits.duration_max * factor
    )


def _multiple(series: StarSeries, at: Ephemeris, shape: DipShape, multiple: float, limits: Limits) -> Measured | None:
    """Best of the ephemerides with a multiple of the period that keep some of the events."""
    period = at.period * multiple
    if not limits.period_min <= period <= limits.period_max or at.duration > 0.3 * period:
        return None
    start = float(series.time[0])
    shifts = range(round(multiple)) if multiple > 1 else range(1)
    tried = [
        _at(series, Ephemeris(period, first_event(at.t0 + k * at.period, period, start), at.duration), shape)
        for k in shifts
    ]
    return max(tried, key=lambda one: one.strength)


def _twice_when_alternating(series: StarSeries, found: Measured, limits: Limits) -> Measured | None:
    """Twice the period where odd and even events differ beyond doubt and three of the deeper ones were seen."""
    difference, error = per_event.odd_even(found.events)
    if not (abs(difference) > DIFFERENT_SIGMA * error and abs(difference) > DIFFERENT_FRACTION * found.depth.value):
        return None
    twice = _multiple(series, found.at, found.shape, 2.0, limits)
    if twice is None or twice.events.depth.size < 3:
        return None
    return twice
