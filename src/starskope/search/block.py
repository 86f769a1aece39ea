"""The search of one fixed block of stars: everything about a star that needs no other star.

Owns the passes over a block: search, vet, take out, search again, and the best inverted box of every star. Refuses what
needs the whole batch: false-alarm probabilities and claims (`batch`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from starskope.curves.binning import bin_means, bin_starts
from starskope.curves.container import LightCurves
from starskope.curves.masks import BAD_INTERVAL, ENSEMBLE
from starskope.parallel import map_ranges
from starskope.search.block_result import N_RANGES, BlockSearch
from starskope.search.box_spectra import BoxSpectra
from starskope.search.candidate import NONE, PERIODIC, Candidate, field_names
from starskope.search.ephemeris import Ephemeris
from starskope.search.lone_events import (
    Ranges,
    as_pair,
    binned,
    lone_candidate,
    with_allowed_periods,
    would_be_claimed,
)
from starskope.search.series import StarSeries, centred, near_events, usable_errors
from starskope.search.settings import Grid, SearchSettings, refuse_other_units
from starskope.search.sines import sine_gain
from starskope.search.single import find_dips
from starskope.search.transit_fit import fit_transit
from starskope.search.verdict import LEAST_EVENTS, passes
from starskope.search.vetting import PeriodTrials, best_peak

__all__ = ["BlockSearch", "search_block"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

CALIBRATED_PERIODS = 6000
"""Trial periods of the noise curves behind `false_alarm`: 0.5-13.5 d over a sector."""
STARS = 16
"""Stars that a thread takes at a time."""
MASK_WIDTH = 2.0
"""Durations of a box around an event that are taken out before the next search: a box is shorter than its dip."""
MASK_MARGIN = 0.5
"""Durations beyond the trapezoid that fits the dip."""
SECONDARY_SIGMA = 5.0
RATIOS = (1, 2, 3, 4)
FORBIDDEN = 32 | BAD_INTERVAL | ENSEMBLE
"""Quality bits beside which no single event counts: reaction-wheel desaturations (the same bit for TESS, Kepler and K2)
and what the mask of the light curves adds."""


@dataclass(eq=False)
class _Star:
    """A star on its way through the passes."""

    column: int
    time: F64
    is_barycentric: bool
    found: list[Candidate] = field(default_factory=list)
    ranges: list[Ranges] = field(default_factory=list)
    inverted: float = math.nan
    inverted_single: float = math.nan
    inverted_passes: float = 0.0
    inverted_single_passes: float = 0.0


def search_block(
    curves: LightCurves, settings: SearchSettings, *, workers: int = 1, segment: I32 | None = None
) -> BlockSearch:
    """Search every star of a block.

    Parameters
    ----------
    curves : LightCurves
        Flattened; the stars are independent of each other.
    settings : SearchSettings
    workers : int
        Threads, over periods in the box search and over stars after it; any number gives the same bytes.
    segment : (n_time,) int32, optional
        Which of several light curves a point is from, where these were joined: levels, scatter and single events are
        those of each.

    Returns
    -------
    BlockSearch

    Raises
    ------
    ValueError
        Times in another unit than days; periods beyond the span of the times.

    Notes
    -----
    A pass searches all periods for boxes in the star's light and, by the same path, in its light turned upside down.
    The three highest peaks of the detrended spectrum are refined and vetted on all points. Where the best stands out,
    its events are taken out and the star takes part in the next pass, which gives the next rank and, for the first
    candidate, the inverted box that counts: light upside down around a deep transit dips by itself.
    """
    refuse_other_units(curves.time)
    flux = centred(curves.flux, segment)
    errors = usable_errors(curves.flux_err, flux)
    grid = settings.grid(curves.time, segment)
    stars = [_Star(column, *_times(curves, column)) for column in range(curves.n_star)]
    active = [star for star in stars if np.isfinite(flux[:, star.column]).any()] if grid is not None else []
    for n_pass in range(settings.n_candidates + 1):
        if not active or grid is None:
            break
        active = _search_pass(active, n_pass, curves, flux, errors, grid, settings, workers, segment)
    return _packed(stars, settings.n_candidates, curves.time)


def _times(curves: LightCurves, star: int) -> tuple[F64, bool]:
    """Time axis of a star: barycentric where that is known."""
    known = curves.meta.get("time_reference") == "barycentre" or (
        curves.observer is not None and curves.direction is not None
    )
    if not known:
        return curves.time, False
    time = curves.bjd(star)
    return (time, True) if np.isfinite(time).all() else (curves.time, False)


def _search_pass(
    active: list[_Star],
    n_pass: int,
    curves: LightCurves,
    flux: F32,
    errors: F32 | None,
    grid: Grid,
    settings: SearchSettings,
    workers: int,
    segment: I32 | None,
) -> list[_Star]:
    """Search the active stars without what was found before; return those that deserve another pass."""
    columns = [star.column for star in active]
    left = flux[:, columns]
    for j, star in enumerate(active):
        for candidate in star.found:
            left[_taken(star, candidate), j] = np.nan
    errors_left = None if errors is None else errors[:, columns]
    time, means, mean_err = _binned(curves.time, left, errors_left, grid.n_bin)
    spectra = BoxSpectra(time, means, mean_err, grid, workers)
    del means, mean_err
    a_pass = _Pass(n_pass, grid, PeriodTrials.of(grid), settings, (curves.quality & FORBIDDEN) != 0)

    def search(start: int, stop: int) -> list[_Star]:
        again = []
        for j in range(start, stop):
            errors_j = None if errors_left is None else errors_left[:, j]
            series = StarSeries.of(active[j].time, left[:, j], errors_j, grid.cadence, segment)
            if _search_star(active[j], series, spectra.of(j), a_pass):
                again.append(active[j])
        return again

    return [star for stars in map_ranges(search, len(active), STARS, workers) for star in stars]


class _Pass(NamedTuple):
    """What a pass is for all of its stars."""

    number: int
    grid: Grid
    trials: PeriodTrials
    settings: SearchSettings
    forbidden: NDArray[np.bool_]


def _search_star(star: _Star, series: StarSeries, spectra: tuple[F32, F32], a_pass: _Pass) -> bool:
    """Add to a star what a pass finds; say whether it deserves another."""
    number, grid, trials, settings, forbidden = a_pass
    dips_snr, rises_snr = spectra
    if number <= 1:
        turned = _best(series, rises_snr, trials, settings, upside_down=True)
        star.inverted, star.inverted_passes = turned.score, float(passes(turned, settings))
    dips, bumps = find_dips(binned(series, grid.n_bin), star.time[forbidden])
    dip, bump = (found[0].snr if found else 0.0 for found in (dips, bumps))
    if number == 0:
        star.inverted_single = bump
        star.inverted_single_passes = float(would_be_claimed(bumps, dip, settings))
    if number == settings.n_candidates:
        return False
    best = _best(series, dips_snr, trials, settings)
    if any(_same_orbit(best, other, series.span) for other in star.found):
        best = replace(best, same_orbit=1.0)
    ranges: Ranges = []
    if passes(best, settings):
        if best.n_transits < LEAST_EVENTS:
            best, ranges = as_pair(series, best, settings)
        else:
            best = fit_transit(series, best)
    elif best.same_orbit == 0.0 or best.snr < settings.snr_min:
        lone, apart = lone_candidate(dips, bump, settings)
        if passes(lone, settings):
            best, ranges = with_allowed_periods(series, lone, apart, settings)
    star.found.append(best)
    star.ranges.append(ranges)
    return passes(best, settings) or (best.same_orbit > 0.0 and best.snr >= settings.snr_min)


def _best(
    series: StarSeries, statistic: F32, trials: PeriodTrials, settings: SearchSettings, *, upside_down: bool = False
) -> Candidate:
    """Refine and vet the highest peaks of one spectrum; return the one whose events stand out most."""
    sde, vetted = best_peak(series, statistic, trials, upside_down=upside_down)
    if vetted is None:
        return Candidate(sde=sde)
    numbers = vetted._asdict()
    gain, level = numbers.pop("gain"), numbers.pop("level")
    # What cannot be claimed needs no comparison with a sine, which costs more than the rest.
    sine_ratio = math.nan
    if vetted.snr >= min(settings.snr_min, settings.single_snr_min):
        # A sine upside down is one.
        sine = sine_gain(series, Ephemeris(vetted.period, vetted.t0, vetted.duration), -level if upside_down else level)
        sine_ratio = gain / sine if sine > 0 else math.inf
    score = _score(vetted.snr, trials.periods.size)
    return Candidate(kind=PERIODIC, sde=sde, sine_ratio=sine_ratio, score=score, **numbers)


def _score(snr: float, n_period: int) -> float:
    """Signal-to-noise ratio as it would stand out on the grid that false-alarm probabilities are calibrated on.

    The best of n trials of noise grows as sqrt(2 ln n): with a million periods it is 5.6 where it was 4.6 with 5,900.
    """
    return math.sqrt(max(snr**2 - 2.0 * math.log(max(n_period / CALIBRATED_PERIODS, 1.0)), 0.0))


def _binned(time: F64, flux: F32, errors: F32 | None, n_bin: int) -> tuple[F64, F32, F32 | None]:
    """Average every ``n_bin`` cadences for the period search."""
    if n_bin == 1:
        return time, flux, errors
    starts = bin_starts(time, n=n_bin)
    n_cadence = np.diff(starts, append=time.size)
    mean_time = time[starts] + np.add.reduceat(time - np.repeat(time[starts], n_cadence), starts) / n_cadence
    mean, mean_err = bin_means(flux, errors, starts)
    return mean_time, mean, None if errors is None else mean_err


def _taken(star: _Star, candidate: Candidate) -> NDArray[np.bool_]:
    """Cadences of a star that a candidate takes out: its events, and its secondary where that is beyond doubt."""
    period = candidate.period if math.isfinite(candidate.period) else math.inf
    width = max(MASK_WIDTH, np.nan_to_num(candidate.length) + MASK_MARGIN) * candidate.duration
    taken = near_events(star.time, period, candidate.t0, width)
    if candidate.kind == PERIODIC and candidate.secondary >= SECONDARY_SIGMA * candidate.secondary_err:
        taken |= near_events(star.time, period, candidate.t0 + candidate.secondary_phase * period, width)
    return taken


def _same_orbit(candidate: Candidate, stronger: Candidate, span: float) -> bool:
    """Say whether two periods keep a ratio of small numbers over all of the times to half a duration.

    Planets near a resonance do not; what is left of an eclipse, and the other eclipses of its orbit, do.
    """
    if not (candidate.kind == stronger.kind == PERIODIC and math.isfinite(stronger.period)):
        return False
    ratio = candidate.period / stronger.period
    tolerance = 0.5 * max(candidate.duration, stronger.duration) / max(span, 1e-9)
    return any(abs(ratio * n / m - 1.0) < tolerance for m in RATIOS for n in RATIOS)


def _packed(stars: list[_Star], n_candidates: int, axis: F64) -> BlockSearch:
    shape = (len(stars), n_candidates)
    values = {name: np.full(shape, np.nan) for name in field_names()}
    values["kind"][:] = NONE
    allowed, delay = np.full((*shape, N_RANGES, 2), np.nan), np.full(shape, np.nan)
    for star in stars:
        for rank, candidate in enumerate(star.found):
            for name in field_names():
                values[name][star.column, rank] = getattr(candidate, name)
            for k, limits in enumerate(star.ranges[rank]):
                allowed[star.column, rank, k] = limits
            if star.is_barycentric:
                # Outside the times (a first event before the first point) the delay of the nearest point holds.
                delay[star.column, rank] = np.interp(candidate.t0, star.time, star.time - axis)

    def of_stars(name: str) -> F64:
        return np.array([getattr(star, name) for star in stars], np.float64)

    return BlockSearch(
        values,
        allowed=allowed,
        inverted=of_stars("inverted"),
        inverted_single=of_stars("inverted_single"),
        inverted_passes=of_stars("inverted_passes"),
        inverted_single_passes=of_stars("inverted_single_passes"),
        delay=delay,
    )
