"""What only the whole batch can say: which candidates of all stars are claims.

Owns the join of blocks: false-alarm probabilities, shared signals, claims and verdicts. Refuses to touch light curves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from starskope.search.block_result import BlockSearch
from starskope.search.candidate import NONE, PERIODIC, SINGLE
from starskope.search.candidate_table import Row, candidate_table
from starskope.search.false_alarm import PERIODIC_PRIOR, SINGLE_PRIOR, NoiseScores
from starskope.search.settings import SearchSettings
from starskope.search.shared_signals import shared_signals
from starskope.search.verdict import passes, verdict

__all__ = ["conclude"]

F64 = NDArray[np.float64]

INVERTED_KEPT = 1000
"""Highest scores of the inverted light that the table of candidates carries in its ``meta``."""


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
    inverted, inverted_single = _joined(blocks, "inverted"), _joined(blocks, "inverted_single")
    would_pass, single_would_pass = (
        _joined(blocks, name) > 0 for name in ("inverted_passes", "inverted_single_passes")
    )
    rows = _rows(blocks, settings)
    radius = _floats(stars, "rad")
    kinds = np.array([row.candidate.kind for row in rows])
    scores = np.array([row.candidate.score for row in rows])
    alarm = np.full(len(rows), np.nan)
    noise = {
        PERIODIC: NoiseScores.of(inverted, would_pass, PERIODIC_PRIOR),
        SINGLE: NoiseScores.of(inverted_single, single_would_pass, SINGLE_PRIOR),
    }
    for kind, scores_of_noise in noise.items():
        which = kinds == kind
        alarm[which] = scores_of_noise.probability(scores[which])
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
    table = candidate_table(rows, claim, verdicts, alarm, same_as, stars, time_zero)
    table.meta["inverted"] = {
        "n_star": int(np.count_nonzero(np.isfinite(inverted))),
        "n_claim": int(np.count_nonzero(would_pass)),
        "n_single": int(np.count_nonzero(single_would_pass)),
        "periodic": _highest(inverted),
        "single": _highest(inverted_single),
        "noise": {"periodic": noise[PERIODIC].as_json(), "single": noise[SINGLE].as_json()},
    }
    return table


def _joined(blocks: Sequence[BlockSearch], name: str) -> F64:
    return np.concatenate([getattr(block, name) for block in blocks] or [np.zeros(0)])


def _highest(scores: F64) -> list[float]:
    """Highest scores as plain numbers, for the table's ``meta``."""
    known = np.sort(scores[np.isfinite(scores)])[::-1]
    return [round(float(score), 3) for score in known[:INVERTED_KEPT]]


def _rows(blocks: Sequence[BlockSearch], settings: SearchSettings) -> list[Row]:
    rows, first = [], 0
    for block in blocks:
        for star in range(block.n_star):
            for rank in range(block.values["kind"].shape[1]):
                candidate = block.candidate(star, rank)
                if rank and candidate.kind == NONE:
                    break
                rows.append(
                    Row(
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
