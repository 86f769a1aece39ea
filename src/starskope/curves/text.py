"""Light curves as text: columns time, flux and, where there, error and flags.

Owns the reading of comma-, tab-, semicolon- and blank-separated columns with or without a line of names, and of the
few things that people write beside them: the star and the zero of the times. Refuses to guess a zero: where neither
names nor comments nor the star's catalogue tell it, the caller must.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from starskope.curves.time_axis import TimeZero, check_days, in_order, zero_from_text
from starskope.errors import FrameError
from starskope.layout.times import BKJD_ZERO, BTJD_ZERO

if TYPE_CHECKING:
    from starskope.curves.container import LightCurves

__all__ = ["read_text"]

F64 = NDArray[np.float64]

_TIMES = ("time", "t", "btjd", "tbjd", "tjd", "bkjd", "bjd", "bjd_tdb", "jd", "hjd", "mjd", "date", "phase")
_FLUXES = ("pdcsap_flux", "flux", "sap_flux", "fcor", "cal_aper_flux", "cal_psf_flux", "relative_flux", "rel_flux")
_ERRORS = (
    *("flux_err", "flux_error", "fluxerr", "err", "error", "e_flux", "eflux", "sigma", "uncertainty"),
    *("pdcsap_flux_err", "sap_flux_err", "flux_unc"),
)
_FLAGS = ("quality", "sap_quality", "flags", "flag")
_MISSING = frozenset({"", "nan", "null", "none", "na", "n/a", "--", "-", "inf", "-inf"})
# Catalogue or file prefix -> (column of the star table, catalogue, mission, zero of its times).
_STARS = {
    "epic": ("epic_id", "EPIC", "K2", BKJD_ZERO),
    "ktwo": ("epic_id", "EPIC", "K2", BKJD_ZERO),
    "kic": ("kepler_id", "KIC", "Kepler", BKJD_ZERO),
    "kplr": ("kepler_id", "KIC", "Kepler", BKJD_ZERO),
    "tic": ("tic_id", "TIC", "TESS", BTJD_ZERO),
}
_STAR = re.compile(r"(?<![a-z])(epic|ktwo|kic|kplr|tic)[ _:=-]*0*([1-9][0-9]{2,14})(?![0-9])", re.IGNORECASE)


@dataclass(frozen=True)
class _Columns:
    """The columns of a file by role; `names` empty where it has no line of names."""

    time: int
    flux: int
    error: int | None
    flags: int | None
    names: tuple[str, ...]


def read_text(data: bytes, path: Path, time_zero: float | None = None) -> LightCurves:
    """Read one star from text.

    Parameters
    ----------
    data : bytes
        The whole file, UTF-8.
    path : Path
        For messages, and for the star's number where the text names none (EPIC201367065.csv).
    time_zero : float, optional
        Julian date of time 0, for a file that does not tell.

    Raises
    ------
    FrameError
        No text, no columns of time and flux, cells that are no numbers, negative errors, times in another unit than
        days, or a zero of times that nobody tells.

    Notes
    -----
    Without a line of names the columns are time, flux and error. The zero is what the name of the time column or a
    comment says (``btjd``, ``# BJD - 2454833``); then `time_zero`; then the convention of the mission whose catalogue
    number stands in a comment or in the name of the file.
    """
    from starskope.curves.container import LightCurves

    what = str(path)
    comments, lines, numbers = _lines(data, what)
    delimiter = _delimiter(lines[0])
    columns = _columns(_cells(lines[0], delimiter), what)
    body, first = (lines[1:], numbers[1:]) if columns.names else (lines, numbers)
    wanted = [i for i in (columns.time, columns.flux, columns.error, columns.flags) if i is not None]
    values = _values(body, first, delimiter, wanted, columns, what)
    time, flux = values[:, 0], values[:, 1]
    error = values[:, wanted.index(columns.error)] if columns.error is not None else None
    flags = values[:, wanted.index(columns.flags)] if columns.flags is not None else None
    star = _star("\n".join(comments)) or _star(path.stem)
    zero = _zero(columns, comments, star, time_zero, time, what)
    check_days(time, zero.jd, what)
    if error is not None:
        negative = np.flatnonzero(error < 0)
        if negative.size:
            raise FrameError(
                f"{what}, line {first[negative[0]]}: error {error[negative[0]]:.6g} is negative "
                f"({negative.size} such lines): leave unknown errors empty, or name the columns"
            )
        error = np.where(error > 0, error, np.nan)
    rows, counts = in_order(time)
    shift = BTJD_ZERO if zero.jd == 0 else 0.0
    meta: dict[str, Any] = {"flux_unit": "", "product": "text", "file": path.name, "time_zero_from": zero.source}
    meta["flux_column"] = columns.names[columns.flux] if columns.names else "second column"
    if zero.is_barycentric:
        meta["time_reference"] = "barycentre"
    if counts:
        meta["rows"] = counts
    if star is not None and zero.source == _label(star):
        meta["notes"] = [f"times taken as days since JD {zero.jd:.0f}, the zero of {_STARS[star[0]][2]}: {zero.source}"]
    quality = None
    if flags is not None:
        quality = np.where(np.isfinite(flags), flags, 0.0).astype(np.int64)[rows] & 0x7FFFFFF
    return LightCurves(
        time[rows] - shift,
        flux[rows, None],
        _star_table(star, path),
        flux_err=None if error is None else error[rows, None],
        quality=quality,
        time_zero=zero.jd + shift,
        mission=_STARS[star[0]][2] if star else "",
        meta=meta,
    )


def _lines(data: bytes, what: str) -> tuple[list[str], list[str], list[int]]:
    """Return comments, other lines, and the numbers of these in the file, from 1."""
    if not data:
        raise FrameError(f"{what} is empty (zero bytes): delete it and get it again")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\x00"
    if "\x00" in text:
        raise FrameError(f"{what} is neither FITS, nor Zarr, nor text (it begins with {data[:12]!r})")
    if text.lstrip()[:1] == "<":
        raise FrameError(f"{what} is a server's HTML or XML answer, no light curve: download it again")
    comments, lines, numbers = [], [], []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("#"):
            comments.append(stripped.lstrip("# "))
        elif stripped:
            lines.append(stripped)
            numbers.append(number)
    # A line of names may stand behind a "#", as numpy.savetxt and TOPCAT write it.
    if comments and lines and _is_number(_cells(lines[0], _delimiter(lines[0]))[0]):
        names = _cells(comments[-1], _delimiter(comments[-1]))
        if len(names) == len(_cells(lines[0], _delimiter(lines[0]))) and _role(names, _TIMES) is not None:
            lines.insert(0, comments[-1])
            numbers.insert(0, numbers[0])
    if not lines:
        raise FrameError(f"{what} holds comments and no numbers: expected lines of time, flux and error")
    return comments, lines, numbers


def _delimiter(line: str) -> str | None:
    return next((mark for mark in (",", ";", "\t") if mark in line), None)


def _cells(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return line.split()
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _role(names: Sequence[str], known: Sequence[str]) -> int | None:
    """Return the column whose name, units in brackets aside, is known; the order of `known` counts."""
    plain = [re.sub(r"\s*[\[(].*", "", name).strip().lower().replace(" ", "_") for name in names]
    return next((plain.index(name) for name in known if name in plain), None)


def _columns(cells: list[str], what: str) -> _Columns:
    if all(_is_number(cell) or cell.lower() in _MISSING for cell in cells):
        if len(cells) not in (2, 3):
            raise FrameError(
                f"{what} has {len(cells)} columns without names: expected time, flux and, optionally, error"
            )
        return _Columns(0, 1, 2 if len(cells) == 3 else None, None, ())
    time, flux = _role(cells, _TIMES), _role(cells, _FLUXES)
    if time is None:
        # BJD - 2457000 and its like.
        time = next((i for i, cell in enumerate(cells) if zero_from_text(cell)), None)
    if time is None or flux is None:
        absent = "time (time, btjd, bkjd, bjd)" if time is None else "flux (flux, pdcsap_flux, sap_flux)"
        raise FrameError(f"{what} has no column of {absent}; its columns are {', '.join(cells)[:200]}")
    errors: tuple[str, ...] = _ERRORS
    if (own := f"{cells[flux].strip().lower()}_err") in errors:
        errors = (own, *errors)
    return _Columns(time, flux, _role(cells, errors), _role(cells, _FLAGS), tuple(cells))


def _values(
    lines: list[str], numbers: list[int], delimiter: str | None, wanted: list[int], columns: _Columns, what: str
) -> F64:
    """Return (n_row, n_wanted) float64; empty cells, nan and null are NaN."""
    if not lines:
        return np.empty((0, len(wanted)))
    try:
        # The whole table at once, in C; what it does not take is read line by line to say what is wrong.
        return np.loadtxt(io.StringIO("\n".join(lines)), delimiter=delimiter, usecols=wanted, ndmin=2, comments=None)
    except ValueError:
        pass
    values = np.empty((len(lines), len(wanted)))
    for i, line in enumerate(lines):
        cells = _cells(line, delimiter)
        for k, column in enumerate(wanted):
            if column >= len(cells):
                raise FrameError(
                    f"{what}, line {numbers[i]} has {len(cells)} columns, expected {max(wanted) + 1} or more"
                )
            cell = cells[column]
            if cell.lower() in _MISSING:
                values[i, k] = math.nan
            elif _is_number(cell):
                values[i, k] = float(cell)
            else:
                name = f"column {columns.names[column]!r}" if columns.names else f"column {column + 1}"
                raise FrameError(f"{what}, line {numbers[i]}, {name}: {cell[:40]!r} is no number")
    return values


def _star(text: str) -> tuple[str, int] | None:
    found = _STAR.search(text)
    return (found[1].lower(), int(found[2])) if found else None


def _star_table(star: tuple[str, int] | None, path: Path) -> Table:
    if star is None:
        return Table({"name": [path.stem]})
    return Table({_STARS[star[0]][0]: [star[1]], "name": [_label(star)]})


def _label(star: tuple[str, int]) -> str:
    return f"{_STARS[star[0]][1]} {star[1]}"


def _zero(
    columns: _Columns,
    comments: Sequence[str],
    star: tuple[str, int] | None,
    given: float | None,
    time: F64,
    what: str,
) -> TimeZero:
    name = columns.names[columns.time] if columns.names else ""
    for text in (name, *comments):
        if (zero := zero_from_text(text)) is not None:
            return zero
    if given is not None:
        return TimeZero(given, True, "time_zero=")
    if name.lower() in {"mjd", "jd", "hjd", "date", "phase"}:
        raise FrameError(
            f"{what}: its times are {name!r}, expected barycentric ones: name the column btjd, bkjd or bjd, "
            "or give time_zero= where the difference does not matter"
        )
    if star is not None:
        return TimeZero(_STARS[star[0]][3], True, _label(star))
    check_days(time, BTJD_ZERO, what)
    raise FrameError(
        f"{what}: the zero of its times is not known: name the column btjd, bkjd or bjd, write a comment such as "
        f"'# BJD - 2457000', or give time_zero= (--time-zero), such as 2457000 for BTJD"
    )
