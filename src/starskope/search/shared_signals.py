"""Candidates of different stars that are one signal: contamination and systematics.

Owns the comparison of ephemerides and the choice of the source. Refuses to judge a star by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from starskope.search.candidate import Candidate

__all__ = ["shared_signals"]

F64 = NDArray[np.float64]

CROWD = 5
"""Other stars with one signal, from which on it is the detector's rather than a neighbour's."""


def shared_signals(
    star: NDArray[np.int64], candidates: Sequence[Candidate], claim: NDArray[np.bool_], brightness: F64
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Find claims of different stars that share period and epoch, or the time of a single event.

    Parameters
    ----------
    star : (n_row,) int64
    candidates : sequence of Candidate
    claim : (n_row,) bool
    brightness : (n_star,) float64
        Flux of the stars; the source of a shared signal is where most light is missing.

    Returns
    -------
    same_as : (n_row,) int64
        The star with the strongest of the shared signals; -1 where that is the star itself or nothing is shared.
    crowded : (n_row,) bool
        Shared by more than five stars: a systematic of the detector.
    """
    n = len(candidates)
    same_as, crowded = np.full(n, -1, np.int64), np.zeros(n, bool)
    rows = np.flatnonzero(claim).tolist()
    strength = np.array([candidates[i].depth * brightness[star[i]] for i in range(n)])
    left = sorted(rows, key=lambda i: (-strength[i], star[i]))
    while left:
        source = left[0]
        group = [i for i in left[1:] if star[i] != star[source] and _same_ephemeris(candidates[source], candidates[i])]
        for i in group:
            same_as[i] = star[source]
            crowded[i] = len(group) >= CROWD
        taken = {source, *group}
        left = [i for i in left if i not in taken]
    return same_as, crowded


def _same_ephemeris(a: Candidate, b: Candidate) -> bool:
    """Say whether two candidates share period (or one has twice that of the other) and epoch, or a single time."""
    width = 0.5 * max(a.duration, b.duration)
    if not (math.isfinite(a.period) and math.isfinite(b.period)):
        return math.isnan(a.period) and math.isnan(b.period) and abs(a.t0 - b.t0) <= width
    short, long = (a, b) if a.period <= b.period else (b, a)
    ratio = round(long.period / short.period)
    if ratio not in (1, 2):
        return False
    if abs(long.period - ratio * short.period) * a.n_transits > 2.0 * width:
        return False
    offset = (long.t0 - short.t0) / short.period
    return abs(offset - round(offset)) * short.period <= width
