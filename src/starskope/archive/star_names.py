"""Which stars are meant: numbers of the TIC, KIC and EPIC, however the user writes them.

Owns the reading of names and of columns. Refuses names that need a resolver, and to guess which catalogue a bare number
in a text is of.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table

__all__ = ["Star", "read_stars"]

_NAME = re.compile(r"\s*(?:(tic|tess)|(kic|kplr)|(epic|ktwo))[ _-]*([0-9]{1,16})\s*\Z", re.IGNORECASE)
_LARGEST = {"tic": 10**16 - 1, "kic": 10**9 - 1, "epic": 10**9 - 1}
_ALIASES = {
    "tic": ("tic_id", "ticid", "tic", "tid", "tic id", "id"),
    "kic": ("kic", "kic_id", "kicid", "kepid"),
    "epic": ("epic", "epic_id", "epicid", "epic_number"),
}
_EXPECTED = "expected 'TIC 25155310', 'KIC 11804465' or 'EPIC 206089508', or a number of the TIC"


@dataclass(frozen=True)
class Star:
    """One star of a question.

    Parameters
    ----------
    row : int
        Its place among those that were given.
    tic, kic, epic : int
        Its numbers, 0 where unknown.
    ra, dec : float
        Degrees, ICRS; NaN where unknown.
    """

    row: int
    tic: int = 0
    kic: int = 0
    epic: int = 0
    ra: float = math.nan
    dec: float = math.nan

    @property
    def label(self) -> str:
        """The best of its names."""
        if self.tic:
            return f"TIC {self.tic}"
        return f"KIC {self.kic}" if self.kic else f"EPIC {self.epic}"


def read_stars(stars: Any) -> list[Star]:
    """Return the stars of a table, of a list of names or numbers, or of one name.

    Parameters
    ----------
    stars : Table, str, int, or iterable of str and int
        A table has at least one column of TIC, KIC or EPIC numbers, under their usual names (``tic_id``, ``kic``,
        ``kepid``, ``epic``...); masked, zero and negative ones count as unknown. Names are ``TIC 25155310``,
        ``KIC 11804465``, ``EPIC 206089508``, blanks and case at will; a number alone is of the TIC.

    Raises
    ------
    ValueError
        For a name or number that cannot be one, a table without such a column, or no stars at all.
    TypeError
        For something else.
    """
    if isinstance(stars, Table):
        found = _of_table(stars)
    else:
        single = isinstance(stars, str) or not isinstance(stars, Iterable)
        found = [_of_name(name, row) for row, name in enumerate([stars] if single else stars)]
    if not found:
        raise ValueError("no stars given: name some, or give a table with a column tic_id, kic or epic")
    return found


def _of_name(name: Any, row: int) -> Star:
    if isinstance(name, int | np.integer) and not isinstance(name, bool):
        return Star(row, tic=_checked(int(name), "tic", name))
    if not isinstance(name, str):
        raise TypeError(f"star {name!r} is a {type(name).__name__}: {_EXPECTED}")
    found = _NAME.match(name)
    if not found:
        raise ValueError(f"star {name[:80]!r} is no name of the TIC, KIC or EPIC: {_EXPECTED}")
    catalogue = "tic" if found[1] else "kic" if found[2] else "epic"
    return Star(row, **{catalogue: _checked(int(found[4]), catalogue, name)})


def _checked(number: int, catalogue: str, name: Any) -> int:
    if not 1 <= number <= _LARGEST[catalogue]:
        raise ValueError(f"star {name!r}: {catalogue.upper()} numbers go from 1 to {_LARGEST[catalogue]}")
    return number


def _of_table(table: Table) -> list[Star]:
    columns = {name.strip().lower(): name for name in table.colnames}
    numbers_of = {}
    for catalogue, aliases in _ALIASES.items():
        column = next((columns[alias] for alias in aliases if alias in columns), None)
        if column is not None:
            numbers_of[catalogue] = _whole_numbers(table[column], catalogue, column)
    if not numbers_of:
        known = ", ".join(repr(name) for name in table.colnames[:12]) or "none"
        raise ValueError(f"the table of stars has no column tic_id, kic or epic; there are {known}")
    places = {name: _degrees(table[columns[name]]) for name in ("ra", "dec") if name in columns}
    stars = []
    for row in range(len(table)):
        star = Star(
            row,
            **{catalogue: values[row] for catalogue, values in numbers_of.items()},
            ra=places["ra"][row] if "ra" in places else math.nan,
            dec=places["dec"][row] if "dec" in places else math.nan,
        )
        if not (star.tic or star.kic or star.epic):
            raise ValueError(f"row {row} of the table of stars has no TIC, KIC or EPIC number: leave it out")
        stars.append(star)
    return stars


def _whole_numbers(column: Any, catalogue: str, name: str) -> list[int]:
    """Read numbers that a table holds as integers, floats or text; 0 where it holds none."""
    out = []
    for value, is_masked in zip(np.asarray(column).tolist(), np.ma.getmaskarray(np.ma.asarray(column)), strict=True):
        text = str(value).strip()
        if is_masked or text in ("", "--", "nan", "None") or value is None:
            out.append(0)
            continue
        digits = re.sub(rf"^{catalogue}[ _-]*|\.0$", "", text, flags=re.IGNORECASE)
        if not re.fullmatch(r"-?[0-9]{1,19}", digits):
            raise ValueError(f"column {name!r} of the table of stars holds {text[:80]!r}: expected whole numbers")
        number = int(digits)
        out.append(_checked(number, catalogue, text) if number > 0 else 0)
    return out


def _degrees(column: Any) -> list[float]:
    filled = np.ma.filled(np.ma.asarray(column, dtype=np.float64), np.nan)
    return [float(value) for value in np.asarray(filled)]
