"""What is measured of one periodic candidate, and which of its period's multiples it has.

Owns the chain refine -> events -> other phases for one star, and the choice among P/3, P/2, P, 2P, 3P. Refuses
thresholds of claims: those are the verdict's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from starskope.search import events as per_event
from starskope.search.candidate import PERIODIC, Candidate
from starskope.search.events import Depth, Events
from starskope.search.rednoise import Noise, box_noise
from starskope.search.refine import Ephemeris, first_event, refine
from starskope.search.series import StarSeries, near_events
from starskope.search.shape import DipShape, fit_ephemeris, fit_shape

__all__ = ["Limits", "Measured", "measure", "vet"]

MULTIPLES = (2.0, 3.0, 0.5, 1.0 / 3.0)
BETTER = 1.15
"""A longer period replaces the one found when its squared signal-to-noise ratio exceeds that by this factor: events
lost in noise make any period look twice as long. A shorter one only has to be as good."""
LEAST_MULTIPLE = 5.0
"""Signal-to-noise ratio below which no multiple of the period can have enough: it gains a factor of 1.4."""
LEAST_SHAPE = 5.0
"""Signal-to-noise ratio from which a shape is fitted."""
NOT_WORSE = 0.95
"""The fitted ephemeris replaces that of the box unless its squared signal-to-noise ratio falls below this part."""
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
    noise: Noise
    level: float

    @property
    def squared_snr(self) -> float:
        """Squared signal-to-noise ratio with red noise; 0 where nothing dips."""
        depth = self.depth
        return (depth.value / depth.formal) ** 2 if depth.value > 0 and depth.formal > 0 else 0.0

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
    return _at(series, refine(series, start, frequency_step, shortest=limits.duration_min, longest=limits.duration_max))


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
    for multiple in MULTIPLES if found.snr > LEAST_MULTIPLE else ():
        other = _multiple(series, found.at, multiple, limits)
        if other is not None and other.squared_snr > (BETTER if multiple > 1 else 1.0) * best.squared_snr:
            best = other
    best = _twice_when_alternating(series, best, limits) or best
    shape, errors = None, (math.nan, math.nan)
    if best.snr > LEAST_SHAPE:
        shape = fit_shape(series, best.at, best.level)
    if shape is not None:
        at, *fitted = fit_ephemeris(series, best.at, shape, best.level)
        better = _at(series, at)
        if better.squared_snr > NOT_WORSE * best.squared_snr:
            best, errors = better, (fitted[0], fitted[1])
    return _describe(series, best, sde, shape, errors)


def _describe(
    series: StarSeries, found: Measured, sde: float, shape: DipShape | None, errors: tuple[float, float]
) -> Candidate:
    at, events = found.at, found.events
    scan = per_event.scan_phases(series, at, found.noise, found.level)
    depth = found.depth
    error = max(depth.error, depth.formal * scan.coherent)
    difference, difference_err = per_event.odd_even(events)
    secondary, n_secondary = Depth(math.nan, math.nan, math.nan), 0
    if math.isfinite(scan.secondary_phase):
        t0 = first_event(at.t0 + scan.secondary_phase * at.period, at.period, float(series.time[0]))
        others = per_event.measure_events(series, at._replace(t0=t0), found.noise, found.level)
        secondary, n_secondary = per_event.mean_depth(others), others.depth.size
    return Candidate(
        kind=PERIODIC,
        period=at.period,
        t0=at.t0,
        duration=at.duration,
        depth=depth.value,
        depth_err=error,
        snr=depth.value / error,
        sde=sde,
        n_transits=float(events.depth.size),
        n_consistent=float(per_event.n_consistent(events, depth.value)),
        steadiness=per_event.steadiness(events),
        odd_even=difference,
        odd_even_err=difference_err,
        secondary=secondary.value,
        secondary_err=max(secondary.error, secondary.formal * scan.coherent),
        secondary_phase=scan.secondary_phase,
        bump=scan.bump,
        sine_ratio=scan.box_gain / scan.sine_gain if scan.sine_gain > 0 else math.inf,
        n_secondary=float(n_secondary),
        flat_bottom=shape.bottom if shape else math.nan,
        flat_bottom_max=shape.bottom_max if shape else math.nan,
        period_err=errors[0],
        t0_err=errors[1],
    )


def _at(series: StarSeries, at: Ephemeris) -> Measured:
    quiet = series.keep(~near_events(series.time, at.period, at.t0, TRANSIT_WIDTH * at.duration))
    if quiet.time.size == 0:
        quiet = series
    level = float(quiet.weight @ quiet.flux / quiet.weight.sum())
    noise = box_noise(quiet.time, quiet.flux, quiet.weight, at.duration)
    events = per_event.measure_events(series, at, noise, level)
    return Measured(at, events, per_event.mean_depth(events), noise, level)


def _multiple(series: StarSeries, at: Ephemeris, multiple: float, limits: Limits) -> Measured | None:
    """Best of the ephemerides with a multiple of the period that keep some of the events."""
    period = at.period * multiple
    if not limits.period_min <= period <= limits.period_max or at.duration > 0.3 * period:
        return None
    shifts = range(round(multiple)) if multiple > 1 else range(1)
    tried = [
        _at(series, Ephemeris(period, first_event(at.t0 + k * at.period, period, float(series.time[0])), at.duration))
        for k in shifts
    ]
    return max(tried, key=lambda one: one.squared_snr)


def _twice_when_alternating(series: StarSeries, found: Measured, limits: Limits) -> Measured | None:
    """Twice the period where odd and even events differ beyond doubt and three of the deeper ones were seen."""
    difference, error = per_event.odd_even(found.events)
    if not (abs(difference) > DIFFERENT_SIGMA * error and abs(difference) > DIFFERENT_FRACTION * found.depth.value):
        return None
    twice = _multiple(series, found.at, 2.0, limits)
    if twice is None or twice.events.depth.size < 3:
        return None
    return twice
