"""Candidates that do not repeat: one dip, or two, and the periods that the coverage leaves them.

Owns what makes dips a candidate. Refuses to find dips (`single`) and to search periods.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from starskope.curves.binning import bin_starts
from starskope.search.allowed_periods import allowed_periods
from starskope.search.block_result import N_RANGES
from starskope.search.candidate import SINGLE, Candidate
from starskope.search.series import StarSeries
from starskope.search.settings import SearchSettings
from starskope.search.single import Dip
from starskope.search.verdict import passes

__all__ = ["Ranges", "as_pair", "binned", "lone_candidate", "with_allowed_periods", "would_be_claimed"]

F64 = NDArray[np.float64]
Ranges = list[tuple[float, float]]

ALIKE = 1.67
"""Largest ratio of the depths of two events of one body."""


def binned(series: StarSeries, n_bin: int) -> StarSeries:
    """Average every ``n_bin`` cadences of a star."""
    if n_bin == 1 or series.time.size == 0:
        return series
    starts = bin_starts(series.time, n=n_bin)
    n_cadence = np.diff(starts, append=series.time.size)
    w = np.add.reduceat(series.weight, starts)
    return StarSeries(
        np.add.reduceat(series.time, starts) / n_cadence,
        np.add.reduceat(series.weight * series.flux, starts) / w,
        w / w.mean(),
        series.cadence * n_bin,
        None if series.segment is None else series.segment[starts],
    )


def lone_candidate(dips: Sequence[Dip], bump: float, settings: SearchSettings) -> tuple[Candidate, float]:
    """Make the most significant dip a candidate; a second one like it makes a pair.

    Parameters
    ----------
    dips : sequence of Dip
        In order of significance.
    bump : float
        Signal-to-noise ratio of the highest bump of the star.
    settings : SearchSettings

    Returns
    -------
    candidate : Candidate
    apart : float
        Days between the events of a pair; NaN for one event.
    """
    if not dips:
        return Candidate(), math.nan
    first = dips[0]
    pair = [
        dip for dip in dips[1:2] if dip.snr >= settings.single_snr_min and 1.0 / ALIKE < dip.depth / first.depth < ALIKE
    ]
    rival = max([bump, *(dip.snr for dip in dips[1 + len(pair) :])])
    candidate = Candidate(
        kind=SINGLE,
        t0=min([first.time, *(dip.time for dip in pair)]),
        duration=first.duration,
        depth=first.depth,
        depth_err=first.error,
        snr=first.snr,
        n_transits=1.0 + len(pair),
        n_consistent=1.0 + len(pair),
        contrast=first.snr / rival if rival > 0 else math.inf,
        score=first.snr,
    )
    return candidate, abs(pair[0].time - first.time) if pair else math.nan


def would_be_claimed(dips: Sequence[Dip], bump: float, settings: SearchSettings) -> bool:
    """Say whether the most significant dip passes as a single event."""
    return passes(lone_candidate(dips, bump, settings)[0], settings)


def as_pair(series: StarSeries, found: Candidate, settings: SearchSettings) -> tuple[Candidate, Ranges]:
    """Make a periodic candidate of two events what it is: two events, a whole number of periods apart."""
    number = np.floor((series.time - found.t0) / found.period + 0.5).astype(np.int64)
    inside = np.abs(series.time - found.t0 - number * found.period) < 0.5 * found.duration
    first = int(number[0])
    count = np.bincount(number[inside] - first)
    seen = np.flatnonzero(count >= 0.5 * count.max())
    found = replace(found, t0=found.t0 + float(first + seen[0]) * found.period)
    return with_allowed_periods(series, found, float(seen[-1] - seen[0]) * found.period, settings)


def with_allowed_periods(
    series: StarSeries, candidate: Candidate, apart: float, settings: SearchSettings
) -> tuple[Candidate, Ranges]:
    """Add the periods that the coverage allows; two events are one period apart unless one between them was missed."""
    dip = Dip(candidate.t0, candidate.duration, candidate.depth, candidate.depth_err, candidate.snr)
    shortest = max(settings.period_min, 2.0 * dip.duration)
    ranges = allowed_periods(series, dip, apart, shortest, max(2.0 * series.span, 4.0 * shortest))
    least = ranges[0][0] if ranges else math.nan
    return replace(candidate, period=apart, period_least=least), ranges[-N_RANGES:]
