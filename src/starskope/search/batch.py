"""What only the whole batch can say: how often noise alone gives such a score, and whose light a candidate is.

Owns false-alarm probabilities from the best inverted box of every star, candidates that share period and epoch, the
claims, and the final table. Refuses to touch light curves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Column, Table
from numpy.typing import NDArray

from starskope.search.block import BlockSearch
from starskope.search.candidate import NONE, PERIODIC, SINGLE, Candidate
from starskope.search.settings import SearchSettings
from starskope.search.verdict import passes, verdict

__all__ = ["conclude", "false_alarm_probability", "shared_signals"]

F64 = NDArray[np.float64]

PERIODIC_PRIOR, SINGLE_PRIOR = (4.54, 0.28), (3.55, 0.285)
"""Location and scale of the Gumbel distributions that the best inverted boxes and events of 5,120 noise curves follow:
1,282 points of half an hour, flattened; half of them with red noise of 0.05 to 1 d, 0.2 to 1.5 times the white."""
PRIOR_WEIGHT = 20.0
LEAST_SCALE = 0.7
"""Part of the prior's scale below which no batch may go: scores of the same noise cannot be that equal."""
DEEPEST_TAIL = 500.0
"""Scales above the location beyond which probabilities are all 1e-217: none shall be 0."""
CROWD = 5
INVERTED_KEPT = 1000
"""Highest scores of the inverted light that the table of candidates carries in its ``meta``."""
ID_COLUMNS = ("tic_id", "kepler_id", "epic_id", "gaia_id", "name")


def false_alarm_probability(scores: F64, inverted: F64, counts: NDArray[np.bool_], prior: tuple[float, float]) -> F64:
    """Probability that the noise of a star gives a score at least as high.

    Parameters
    ----------
    scores : (n,) float64
    inverted : (n_star,) float64
        Best score of every star's inverted light; NaN is left out.
    counts : (n_star,) bool
        Whether that inverted box would be claimed.
    prior : (location, scale)
        Of a Gumbel distribution that noise follows; it counts as `PRIOR_WEIGHT` stars do.

    Returns
    -------
    (n,) float64

    Notes
    -----
    The larger of two numbers. One is the tail of a Gumbel distribution (the best of many trials) through the median and
    the upper quartile of the inverted scores, which a quarter of variable stars cannot move; the prior helps few stars,
    so that one file has a probability too. The other is the part of the stars, one left out, whose inverted box is as
    high and would be claimed: what the batch has that no distribution of noise foresees; one star alone is no measure.
    """
    known = np.isfinite(inverted)
    location, scale = _gumbel(inverted[known], prior)
    tail = -np.expm1(-np.exp(-np.minimum((scores - location) / scale, DEEPEST_TAIL)))
    rivals = np.sort(inverted[known & counts])
    as_high = rivals.size - np.searchsorted(rivals, scores, side="left")
    counted = np.maximum(as_high - 1, 0) / (np.count_nonzero(known) + 1.0)
    return np.asarray(np.where(np.isfinite(scores), np.maximum(tail, counted), np.nan))


def _gumbel(seen: F64, prior: tuple[float, float]) -> tuple[float, float]:
    if seen.size == 0:
        return prior
    share = seen.size / (seen.size + PRIOR_WEIGHT)
    median, upper = np.quantile(seen, [0.5, 0.75])
    # The quantile p of a Gumbel distribution is location - scale ln(-ln p).
    scale = float(upper - median) / (math.log(math.log(2.0)) - math.log(-math.log(0.75)))
    location = float(median) + scale * math.log(math.log(2.0))
    scale = (1.0 - share) * prior[1] + share * scale
    return (1.0 - share) * prior[0] + share * location, max(scale, LEAST_SCALE * prior[1])


@dataclass(frozen=True)
class _Row:
    star: int
    rank: int
    candidate: Candidate
    allowed: F64
    delay: float
    passes: bool


def conclude(blocks: Sequence[BlockSearch], stars: Table, settings: SearchSettings, *, time_zero: float = 0.0) -> Table:
    """Join blocks of stars into the table of candidates.

    Parameters
    ----------
    blocks : sequence of BlockSearch
        In order of the stars.
    stars : astropy.table.Table
        (n_star,) rows; ``rad`` in solar radii tells planets from stars, ``median_flux`` or ``tmag`` whose light a
        shared signal is, identifiers are carried over.
    settings : SearchSettings
    time_zero : float
        Julian date of time 0, for ``t0_bjd``.

    Returns
    -------
    astropy.table.Table
        See `search_transits`.
    """
    n_star = sum(block.n_star for block in blocks)
    if len(stars) != n_star:
        raise ValueError(f"stars has {len(stars)} rows for {n_star} searched stars: give the table of the same stars")
    inverted = np.concatenate([block.inverted for block in blocks] or [np.zeros(0)])
    inverted_single = np.concatenate([block.inverted_single for block in blocks] or [np.zeros(0)])
    would_pass = np.concatenate([block.inverted_passes for block in blocks] or [np.zeros(0)]) > 0
    rows = _rows(blocks, settings)
    radius = _floats(stars, "rad")
    kinds = np.array([row.candidate.kind for row in rows])
    scores = np.array([row.candidate.score for row in rows])
    alarm = np.full(len(rows), np.nan)
    for kind, against, counts, prior in (
        (PERIODIC, inverted, would_pass, PERIODIC_PRIOR),
        (SINGLE, inverted_single, np.ones(n_star, bool), SINGLE_PRIOR),
    ):
        which = kinds == kind
        alarm[which] = false_alarm_probability(scores[which], against, counts, prior)
    claim = np.array([row.passes for row in rows], bool) & (alarm <= settings.false_alarm_max)
    same_as, crowded = shared_signals(
        np.array([row.star for row in rows], np.int64),
        [row.candidate for row in rows],
        claim,
        _brightness(stars),
    )
    claim &= ~crowded
    verdicts = []
    for row, same in zip(rows, same_as, strict=True):
        # Noise, and light that may be another star's, has no nature that its own numbers could tell.
        unknown = row.candidate.kind == PERIODIC and (same >= 0 or not row.passes)
        verdicts.append("ambiguous" if unknown else verdict(row.candidate, float(radius[row.star])))
    table = _table(rows, claim, verdicts, alarm, same_as, stars, time_zero)
    table.meta["inverted"] = _inverted_summary(inverted, would_pass, inverted_single, settings)
    return table


def _inverted_summary(
    inverted: F64, would_pass: NDArray[np.bool_], inverted_single: F64, settings: SearchSettings
) -> dict[str, Any]:
    """Tell, as plain JSON, what the light upside down gave: the highest scores, and how many pass as a claim does."""

    def highest(scores: F64) -> list[float]:
        known = np.sort(scores[np.isfinite(scores)])[::-1]
        return [round(float(score), 3) for score in known[:INVERTED_KEPT]]

    with np.errstate(invalid="ignore"):
        n_periodic = int(np.count_nonzero(would_pass & (inverted >= settings.snr_min)))
        n_single = int(np.count_nonzero(inverted_single >= settings.single_snr_min))
    return {
        "n_star": int(np.count_nonzero(np.isfinite(inverted))),
        "n_claim": n_periodic,
        "n_single": n_single,
        "periodic": highest(inverted),
        "single": highest(inverted_single),
    }


def _rows(blocks: Sequence[BlockSearch], settings: SearchSettings) -> list[_Row]:
    rows, first = [], 0
    for block in blocks:
        for star in range(block.n_star):
            for rank in range(block.values["kind"].shape[1]):
                candidate = block.candidate(star, rank)
                if rank and candidate.kind == NONE:
                    break
                rows.append(
                    _Row(
                        first + star,
                        rank,
                        candidate,
                        block.allowed[star, rank],
                        float(block.delay[star, rank]),
                        passes(candidate, settings),
                    )
                )
        first += block.n_star
    return rows


def shared_signals(
    star: NDArray[np.int64], candidates: Sequence[Candidate], claim: NDArray[np.bool_], brightness: F64
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Find claims of different stars that share period and epoch.

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
    rows = [i for i in np.flatnonzero(claim).tolist() if candidates[i].kind == PERIODIC]
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
    """Say whether two candidates share period (or one has twice that of the other) and epoch."""
    short, long = (a, b) if a.period <= b.period else (b, a)
    width = 0.5 * max(a.duration, b.duration)
    ratio = round(long.period / short.period)
    if ratio not in (1, 2):
        return False
    if abs(long.period - ratio * short.period) * a.n_transits > 2.0 * width:
        return False
    offset = (long.t0 - short.t0) / short.period
    return abs(offset - round(offset)) * short.period <= width


def _brightness(stars: Table) -> F64:
    if "median_flux" in stars.colnames:
        flux = _floats(stars, "median_flux")
        return np.where(np.isfinite(flux), flux, 0.0)
    for name in ("tmag", "kepmag"):
        if name in stars.colnames:
            return np.nan_to_num(10.0 ** (-0.4 * _floats(stars, name)))
    return np.ones(len(stars))


def _floats(stars: Table, name: str) -> F64:
    if name not in stars.colnames:
        return np.full(len(stars), np.nan)
    return np.ma.filled(np.ma.asarray(stars[name], np.float64), np.nan)


def _table(
    rows: Sequence[_Row],
    claim: NDArray[np.bool_],
    verdicts: Sequence[str],
    alarm: F64,
    same_as: NDArray[np.int64],
    stars: Table,
    time_zero: float,
) -> Table:
    def numbers(name: str) -> F64:
        return np.array([getattr(row.candidate, name) for row in rows], np.float64)

    delay = np.array([row.delay for row in rows], np.float64)
    t0 = numbers("t0")
    star = np.array([row.star for row in rows], np.int64)
    table = Table()
    table["star"] = Column(star, description="position of the star: column of the flux")
    table["rank"] = Column(np.array([row.rank for row in rows], np.int64), description="0 = the strongest of its star")
    table["period"] = Column(numbers("period"), unit=u.d, description="NaN = a single event")
    table["t0"] = Column(
        t0 - np.nan_to_num(delay), unit=u.d, description="mid-transit of the first event, on the time axis given"
    )
    table["duration"] = Column(numbers("duration"), unit=u.d, description="of the box")
    for name, text in (
        ("depth", "fraction of the light"),
        ("depth_err", "with red noise and the scatter of the events"),
        ("snr", "depth / depth_err"),
        ("sde", "height of the peak over the spectrum's trend, in its scatter"),
    ):
        table[name] = Column(numbers(name), description=text)
    table["n_transits"] = Column(
        np.nan_to_num(numbers("n_transits")).astype(np.int64), description="events that were observed"
    )
    table["odd_even"] = Column(numbers("odd_even"), description="depth of odd less that of even events")
    table["secondary"] = Column(numbers("secondary"), description="depth of the deepest dip at another phase")
    table["claim"] = Column(claim, description="whether it passes")
    table["verdict"] = Column(np.array(verdicts, dtype="U12") if rows else np.zeros(0, "U12"))
    table["false_alarm_probability"] = Column(alarm, description="that noise of a star gives such a score")
    table["same_as"] = Column(same_as, description="star with the strongest of the signals that share this; -1 = none")
    table["period_err"] = Column(numbers("period_err"), unit=u.d, description="from the scatter of the points")
    table["t0_err"] = Column(numbers("t0_err"), unit=u.d, description="from the scatter of the points")
    table["odd_even_err"] = Column(numbers("odd_even_err"))
    table["secondary_err"] = Column(numbers("secondary_err"))
    table["secondary_phase"] = Column(numbers("secondary_phase"), description="of its middle, 0 to 1")
    table["flat_bottom"] = Column(numbers("flat_bottom"), description="bottom over length of the dip: 0 = V, 1 = box")
    table["period_least"] = Column(numbers("period_least"), unit=u.d, description="shortest that the coverage allows")
    table["periods_allowed"] = Column(
        np.array([_ranges_text(row.allowed) for row in rows], dtype=str) if rows else np.zeros(0, "U1"),
        description="periods of a single event that the coverage allows, days",
    )
    table["t0_bjd"] = Column(
        np.where(np.isfinite(delay), time_zero + t0, np.nan), unit=u.d, description="t0 as BJD (TDB), full days"
    )
    for name in ID_COLUMNS:
        if name in stars.colnames:
            table[name] = stars[name][star]
    return table


def _ranges_text(allowed: F64) -> str:
    parts = []
    for low, high in allowed:
        if math.isnan(low):
            break
        if math.isinf(high):
            parts.append(f">{low:.4g}")
        else:
            parts.append(f"{low:.4g}" if high - low < 1e-3 * low else f"{low:.4g}-{high:.4g}")
    return ", ".join(parts)
