"""The time axis of a file that others made: its zero, where its clock stands, its unit, its order.

Owns what `TIMEREF`, `BJDREFI`, `BJDREFF`, units and names say about times, the recognition of a wrong unit, and putting
cadences in order. Refuses to convert: times in seconds, MJD or full Julian dates under a header that says otherwise are
named as such and refused, and so is a time whose zero nobody tells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope.errors import FrameError
from starskope.layout.times import BKJD_ZERO, BTJD_ZERO, TIME_ZERO

__all__ = ["TimeZero", "check_days", "in_order", "zero_from_cards", "zero_from_text"]

F64 = NDArray[np.float64]

MJD_ZERO = 2400000.5
# Light curves are modern: photographic plates aside, nothing was measured before.
_FIRST_JD, _LAST_JD = 2_415_020.5, 2_488_069.5
# A median step beyond this is no cadence of a survey in days.
_WIDEST_STEP_DAYS = 10.0
# TESS's fastest cadence is 20 s.
_SHORTEST_STEP_DAYS = 1e-4
_NAMED = {"BTJD": BTJD_ZERO, "TBJD": BTJD_ZERO, "TJD": BTJD_ZERO, "BKJD": BKJD_ZERO, "KJD": BKJD_ZERO, "BJD": 0.0}
_OFFSET = re.compile(r"BJD(?:_?TDB)?\s*[-–]\s*(24[0-9]{5}(?:\.[0-9]+)?)", re.IGNORECASE)
_NAME = re.compile(r"(?<![A-Za-z])(BTJD|TBJD|BKJD|BJD)(?![A-Za-z])", re.IGNORECASE)


@dataclass(frozen=True)
class TimeZero:
    """Julian date of time 0, whether times are barycentric, and who says so."""

    jd: float
    is_barycentric: bool
    source: str


def zero_from_text(text: str) -> TimeZero | None:
    """Return the zero that a unit, a column name or a comment names: "BJD - 2457000, days", "btjd", "BJD_TDB"."""
    if found := _OFFSET.search(text):
        return TimeZero(float(found[1]), True, found[0])
    if found := _NAME.search(text.replace("_TDB", "").replace("_tdb", "").replace("_", " ")):
        return TimeZero(_NAMED[found[1].upper()], True, found[1])
    return None


def zero_from_cards(header: Mapping[str, Any], unit: str, mission: str, given: float | None, what: str) -> TimeZero:
    """Return the zero of a FITS table's times.

    Parameters
    ----------
    header : mapping
        Cards of the table, those of the primary header behind them.
    unit : str
        TUNIT of the column of times.
    mission : str
        "TESS", "Kepler" or "K2" where the header names the telescope; each has its convention.
    given : float, optional
        What the caller says; it holds where the file says nothing.
    what : str
        What error messages call the file.

    Raises
    ------
    FrameError
        Times are not in days, or nobody tells their zero.
    """
    said = header.get("TIMEUNIT")
    for word in (str(said or ""), unit):
        if word.strip().lower() in {"s", "sec", "second", "seconds", "min", "minute", "minutes", "h", "hour", "hours"}:
            raise FrameError(f"{what}: its times are in {word.strip()!r}, expected days: convert them first")
    barycentric = str(header.get("TIMEREF") or "").strip().upper() == "SOLARSYSTEM"
    for stem, shift in (("BJDREF", 0.0), ("MJDREF", MJD_ZERO), ("JDREF", 0.0)):
        whole = header.get(f"{stem}I")
        if isinstance(whole, int | float) and not isinstance(whole, bool):
            # TGLC writes BJDREFR.
            rest = header.get(f"{stem}F", header.get(f"{stem}R"))
            fraction = float(rest) if isinstance(rest, int | float) else 0.0
            return TimeZero(whole + fraction + shift, barycentric, f"{stem}I")
    named = zero_from_text(unit)
    if named is not None:
        return named
    if given is not None:
        return TimeZero(given, True, "time_zero=")
    convention = TIME_ZERO.get(mission.lower())
    if convention is None:
        raise FrameError(
            f"{what}: the zero of its times is not known (no BJDREFI card, unit {unit!r}, telescope "
            f"{header.get('TELESCOP')!r}): give time_zero=, such as 2457000 for BTJD or 2454833 for BKJD"
        )
    return TimeZero(convention, barycentric, "TELESCOP")


def check_days(time: F64, zero: float, what: str) -> None:
    """Refuse times that cannot be days since the Julian date `zero`, saying which unit they look like.

    Parameters
    ----------
    time : (n_time,) float64
        Finite ones count.
    zero : float
        Julian date of time 0.
    what : str
        What error messages call the file.

    Raises
    ------
    FrameError
        Dates before 1900 or after 2100, or neighbouring cadences more than 10 days apart (median).
    """
    known = time[np.isfinite(time)]
    if not known.size:
        return
    first, last = float(known.min()), float(known.max())
    step = float(np.median(np.diff(np.sort(known)))) if known.size > 2 else 0.0
    if first + zero >= _FIRST_JD and last + zero <= _LAST_JD and step <= _WIDEST_STEP_DAYS:
        return
    raise FrameError(
        f"{what}: times from {first:.10g} to {last:.10g} are no days since JD {zero:.10g}; "
        f"{_looks_like(first, last, step, zero)}"
    )


def _looks_like(first: float, last: float, step: float, zero: float) -> str:
    def modern(shift: float, per_day: float = 1.0) -> bool:
        return first / per_day + shift >= 2_440_000 and last / per_day + shift <= _LAST_JD

    if modern(0.0):
        return "they look like full Julian dates: subtract that zero, name them BJD, or give time_zero=0 (--time-zero)"
    if modern(MJD_ZERO):
        return f"they look like modified Julian dates (MJD): add {MJD_ZERO - zero:.10g}, and mind that MJD is no BJD"
    for unit, per_day in (("seconds", 86400.0), ("minutes", 1440.0), ("hours", 24.0)):
        if modern(zero, per_day) and _SHORTEST_STEP_DAYS <= step / per_day <= 1.0:
            return f"they look like {unit}: divide by {per_day:g}"
    if zero < BKJD_ZERO and 0 < first < 20_000:
        return "they look like days of a mission: BTJD (since JD 2457000) or BKJD (since JD 2454833)"
    return "expected dates between the years 1900 and 2100"


def in_order(time: F64) -> tuple[NDArray[np.intp], dict[str, int]]:
    """Return the rows to keep, in order of time, and how many were dropped or moved.

    Rows without a time are dropped; of several rows of one time the first in the file counts.

    Returns
    -------
    rows : (n_kept,) int
    counts : dict of str to int
        ``without_time``, ``repeated``, ``out_of_order``; only what is not zero.
    """
    known = np.flatnonzero(np.isfinite(time))
    times = time[known]
    steps = np.diff(times)
    counts = {"without_time": time.size - known.size, "repeated": 0, "out_of_order": int(np.count_nonzero(steps < 0))}
    if steps.size and steps.min() <= 0:
        order = np.argsort(times, kind="stable")
        first = np.concatenate([[True], np.diff(times[order]) > 0])
        counts["repeated"] = int(np.count_nonzero(~first))
        known = known[order[first]]
    return known, {name: number for name, number in counts.items() if number}
