"""Which stars and which cadences: what a caller may say, turned into positions.

Owns the reading of masks, positions, slices, catalogue numbers and time spans. Refuses the data themselves.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

__all__ = ["cadences", "positions_of_ids", "star_label", "star_positions"]

Positions = NDArray[np.intp]
_CATALOGUES = {"tic_id": "TIC", "kepler_id": "KIC", "epic_id": "EPIC", "gaia_id": "Gaia DR3"}
ID_COLUMNS = ("tic_id", "kepler_id", "epic_id", "gaia_id", "star")


def star_positions(stars: ArrayLike | slice | None, n_star: int) -> Positions:
    """Turn a mask (n_star,), positions (negative ones count from the end), a slice or None (all) into positions."""
    if stars is None:
        return np.arange(n_star)
    if isinstance(stars, slice):
        return np.arange(n_star)[stars]
    chosen = np.atleast_1d(np.asarray(stars))
    if chosen.dtype == bool:
        if chosen.shape != (n_star,):
            raise ValueError(f"select: the mask of stars has shape {chosen.shape}; expected ({n_star},)")
        return np.flatnonzero(chosen)
    if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
        raise TypeError(
            f"select: stars has dtype {chosen.dtype} and shape {chosen.shape}; give a mask, positions or a slice"
        )
    bad = chosen[(chosen < -n_star) | (chosen >= n_star)]
    if bad.size:
        raise IndexError(f"select: star {bad[0]} of {n_star}; give positions from 0, or ids= for catalogue numbers")
    return chosen.astype(np.intp) % max(1, n_star)


def star_label(table: Table, star: int) -> str:
    """Return what to call a star: its catalogue number (``TIC 25155310``), else its name, its place, its position."""
    for column, catalogue in _CATALOGUES.items():
        if column in table.colnames and int(table[column][star]) > 0:
            return f"{catalogue} {int(table[column][star])}"
    if "name" in table.colnames and str(table["name"][star]):
        return str(table["name"][star])
    if {"ra", "dec"} <= set(table.colnames) and math.isfinite(table["ra"][star] + table["dec"][star]):
        return f"{table['ra'][star]:.5f} {table['dec'][star]:+.5f}"
    return f"star {star}"


def positions_of_ids(table: Table, ids: ArrayLike) -> Positions:
    """Return the positions of catalogue numbers in the first identifier column that the star table has."""
    name = next((name for name in ID_COLUMNS if name in table.colnames), None)
    if name is None:
        raise ValueError(f"select(ids=...): the star table has none of the columns {', '.join(ID_COLUMNS)}; use stars=")
    place: dict[int, int] = {}
    for i, known in enumerate(table[name]):
        place.setdefault(int(known), i)
    wanted = [int(one) for one in np.atleast_1d(np.asarray(ids))]
    absent = [one for one in wanted if one not in place]
    if absent:
        raise ValueError(
            f"select: {name} {absent[0]} is not among these {len(table)} stars ({len(absent)} ids unknown)"
        )
    return np.array([place[one] for one in wanted], dtype=np.intp)


def cadences(span: Any, time: NDArray[np.float64]) -> Positions:
    """Turn a bool mask (n_time,), a slice, a span (start, stop) in days (start included) or None into positions."""
    if span is None:
        return np.arange(time.size)
    if isinstance(span, slice):
        if (span.step or 1) < 0:
            raise ValueError(f"select: time={span} runs backwards; times must increase")
        return np.arange(time.size)[span]
    if isinstance(span, tuple):
        if len(span) != 2:
            raise ValueError(f"select: time={span} has {len(span)} entries; give (start, stop) in days")
        start = -math.inf if span[0] is None else span[0]
        stop = math.inf if span[1] is None else span[1]
        return np.flatnonzero((time >= start) & (time < stop))
    mask = np.asarray(span)
    if mask.dtype != bool or mask.shape != time.shape:
        raise ValueError(
            f"select: time has dtype {mask.dtype} and shape {mask.shape}; "
            f"give a bool mask ({time.size},), a slice or a tuple (start, stop) in days"
        )
    return np.flatnonzero(mask)
