"""The table of candidates: one row per star and rank, with units and descriptions.

Owns columns, their order and their words. Refuses to decide anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import Column, Table
from numpy.typing import NDArray

from starskope.search.candidate import Candidate

__all__ = ["Row", "candidate_table", "ranges_text"]

F64 = NDArray[np.float64]

ID_COLUMNS = ("tic_id", "kepler_id", "epic_id", "gaia_id", "name")


@dataclass(frozen=True)
class Row:
    """One candidate with what the table needs besides its numbers."""

    star: int
    rank: int
    candidate: Candidate
    allowed: F64
    delay: float
    passes: bool


def candidate_table(
    rows: Sequence[Row],
    claim: NDArray[np.bool_],
    verdicts: Sequence[str],
    alarm: F64,
    same_as: NDArray[np.int64],
    stars: Table,
    time_zero: float,
) -> Table:
    """Build the table.

    Parameters
    ----------
    rows : sequence of Row
        In order of star and rank.
    claim : (n_row,) bool
    verdicts : sequence of str
    alarm : (n_row,) float64
        False-alarm probabilities; NaN = nothing was searched.
    same_as : (n_row,) int64
        -1 = no other star.
    stars : astropy.table.Table
        Identifiers are carried over.
    time_zero : float
        Julian date of time 0.
    """

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
        np.array([ranges_text(row.allowed) for row in rows], dtype=str) if rows else np.zeros(0, "U1"),
        description="periods of a single event that the coverage allows, days",
    )
    table["t0_bjd"] = Column(
        np.where(np.isfinite(delay), time_zero + t0, np.nan), unit=u.d, description="t0 as BJD (TDB), full days"
    )
    for name, text in (
        ("rp_rs", "radius of the planet over that of the star; NaN where the shape is lost in noise"),
        ("a_rs", "distance over the radius of the star"),
        ("impact", "impact parameter in radii of the star"),
        ("density", "of the star over that of the Sun, for a circular orbit"),
    ):
        table[name] = Column(numbers(name), description=text)
        table[f"{name}_err"] = Column(numbers(f"{name}_err"))
    table["fit_chi2"] = Column(numbers("fit_chi2"), description="of the transit, per degree of freedom")
    for name in ID_COLUMNS:
        if name in stars.colnames:
            table[name] = stars[name][star]
    return table


def ranges_text(allowed: F64) -> str:
    """Write ranges of periods (n, 2), NaN = none: ``"7.6, 15.2-16.1, >25"``."""
    parts = []
    for low, high in allowed:
        if math.isnan(low):
            break
        if math.isinf(high):
            parts.append(f">{low:.4g}")
        else:
            parts.append(f"{low:.4g}" if high - low < 1e-3 * low else f"{low:.4g}-{high:.4g}")
    return ", ".join(parts)
