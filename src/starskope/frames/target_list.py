"""What a user names as targets: files, places, TIC numbers, ephemerides, read into one table or one set of paths.

Owns the words of the command line that name targets. Refuses formats of files (``archive.catalog``), questions to the
archive (``archive.tic``) and motion (``frames.moving``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table, vstack

from starskope.archive.catalog import read_catalog, standard_columns
from starskope.frames.moving import Ephemerides, is_ephemeris
from starskope.transfer.options import TransferOptions

__all__ = ["read_targets", "rows_of", "select", "write_index"]

_PLACE = re.compile(r"\s*([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)\s*[,\s]\s*([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)\s*\Z")
_TIC = re.compile(r"(?:TIC[ _-]?)?([0-9]{1,16})\Z", re.IGNORECASE)
_SUFFIXES = (".ecsv", ".ecsv.gz", ".csv", ".csv.gz", ".parquet", ".pq", ".fits", ".fit", ".fits.gz")
_ALIASES = {
    "ra": ("ra", "raj2000", "ra_icrs", "_ra", "ra_deg", "s_ra"),
    "dec": ("dec", "dej2000", "de_icrs", "decj2000", "_dec", "dec_deg", "s_dec"),
    "tic_id": ("tic_id", "tic", "ticid", "id"),
    "time": ("time", "btjd", "datetime_jd", "jd"),
}


def read_targets(
    words: Sequence[str], *, epoch: float | None = None, options: TransferOptions | None = None
) -> Table | Ephemerides:
    """Read targets: each word a file, a place ``RA,DEC`` in degrees, or a TIC number.

    Parameters
    ----------
    words : sequence of str
        Files end in .ecsv, .csv, .parquet or .fits and hold columns ra and dec (degrees), or an ephemeris (time, ra,
        dec and a name); ``10.5,-20.25``; ``TIC 25155310`` or the number alone.
    epoch : float, optional
        Julian year to which stars with proper motions are moved: the middle of the sector. Default: they stay.
    options : TransferOptions, optional
        For questions to the archive about TIC numbers.

    Returns
    -------
    Table or Ephemerides
        ``ra``, ``dec`` (degrees, ICRS) and what else is known, in the order of the words.

    Raises
    ------
    ValueError
        A word names nothing, a file cannot be read or has no positions, or targets that move stand beside some that
        do not.
    FileNotFoundError
        A file is not there.
    TransferError
        The archive cannot be asked.
    """
    if not words:
        raise ValueError("no targets: name a file, RA,DEC in degrees, or TIC numbers")
    tables: list[Table] = []
    paths: list[Ephemerides] = []
    numbers = [int(found[1]) for word in words if not _is_file(word) and (found := _TIC.match(word.strip()))]
    known = _ask_tic(numbers, options) if numbers else {}
    for word in words:
        if _is_file(word):
            table = _named(read_catalog(word))
            if is_ephemeris(table):
                paths.append(Ephemerides.from_table(table))
            else:
                tables.append(_stars(table, word, epoch))
        elif found := _TIC.match(word.strip()):
            tables.append(_moved(known[int(found[1])], epoch))
        elif found := _PLACE.match(word):
            tables.append(_place(float(found[1]), float(found[2]), word))
        else:
            files = ", ".join(_SUFFIXES)
            raise ValueError(f"{word!r} names no target: expected a file ({files}), RA,DEC in degrees, or a TIC number")
    if paths and tables:
        raise ValueError("targets that move and targets that do not: cut them in two calls")
    if paths:
        return Ephemerides.joined(paths)
    joined = vstack(tables, join_type="outer", metadata_conflicts="silent")
    if not len(joined):
        raise ValueError(f"no targets in {', '.join(words)}: the list is empty")
    return joined


def _is_file(word: str) -> bool:
    return word.lower().endswith(_SUFFIXES) or Path(word).is_file()


def _named(table: Table) -> Table:
    """Give the columns that place a target their plain names."""
    renamed = table.copy(copy_data=False)
    lower = {name.strip().lower(): name for name in reversed(renamed.colnames)}
    for plain, aliases in _ALIASES.items():
        found = next((lower[alias] for alias in aliases if alias in lower), None)
        if found is not None and found != plain and plain not in renamed.colnames:
            renamed.rename_column(found, plain)
    return renamed


def _stars(table: Table, name: str, epoch: float | None) -> Table:
    """Positions and what else the file tells; of a catalogue with TIC numbers and magnitudes, the standard columns."""
    missing = [column for column in ("ra", "dec") if column not in table.colnames]
    if missing:
        aliases, found = ", ".join(_ALIASES[missing[0]][1:]), ", ".join(table.colnames[:30])
        raise ValueError(f"{name} has no column {missing[0]} (also as {aliases}); found {found or 'none'}")
    lower = {column.lower() for column in table.colnames}
    if "tic_id" in table.colnames and lower & {"tmag", "tessmag"}:
        n_row = len(table)
        stars, _ = standard_columns(table, name)
        if len(stars) == n_row:
            return _moved(stars, epoch)
    for column in ("ra", "dec"):
        values = table[column]
        unit = getattr(values, "unit", None)
        degrees = values.quantity.to_value("deg") if unit is not None and str(unit) != "deg" else values
        try:
            numbers = np.ma.filled(np.ma.asarray(degrees).astype(np.float64), np.nan)
        except ValueError as error:
            raise ValueError(f"{name}: the column {column} holds more than numbers ({error}): give degrees") from None
        if numbers.ndim != 1:
            raise ValueError(f"{name}: the column {column} has shape {numbers.shape}, expected one number per target")
        table[column] = numbers
    return table


def _moved(stars: Table, epoch: float | None) -> Table:
    from starskope.archive.catalog import moved_to_epoch

    return (
        stars
        if epoch is None or "epoch" not in stars.meta or "pmra" not in stars.colnames
        else moved_to_epoch(stars, epoch)
    )


def _place(ra: float, dec: float, word: str) -> Table:
    if not (math.isfinite(ra) and math.isfinite(dec) and -360.0 <= ra <= 360.0 and -90.0 <= dec <= 90.0):
        raise ValueError(f"{word!r} is no place on the sky: expected degrees, RA from 0 to 360 and DEC from -90 to 90")
    return Table({"ra": [ra % 360.0], "dec": [dec]})


def _ask_tic(numbers: Sequence[int], options: TransferOptions | None) -> dict[int, Any]:
    from starskope.archive.tic import tic_stars

    stars = tic_stars(numbers, options=options)
    return {int(number): stars[row : row + 1] for row, number in enumerate(stars["tic_id"])}


def rows_of(targets: Table | Ephemerides) -> Table:
    """Return one row per target: the table, or the names of those that move."""
    return Table({"name": np.array(targets.names, np.str_)}) if isinstance(targets, Ephemerides) else targets


def select(targets: Table | Ephemerides, rows: Sequence[int]) -> Table | Ephemerides:
    """Return some of the targets, in this order."""
    return targets.select(rows) if isinstance(targets, Ephemerides) else targets[list(rows)]


def write_index(path: Path, targets: Table, records: Sequence[Mapping[str, Any]]) -> Path:
    """Write what became of each target beside its columns, as ECSV; whole or not at all.

    Parameters
    ----------
    targets : Table
        What was asked for.
    records : sequence of mapping
        One per target: ``label``, ``status``, ``path``, ``reason``, ``sector``, ``camera``, ``ccd``, ``edge``,
        ``collateral``, ``n_lost``; what is missing was not looked at.
    """
    from starskope.landing import replacing_file

    texts = {name: [str(record.get(name, "")) for record in records] for name in ("label", "status", "path", "reason")}
    numbers = {name: [int(record.get(name, 0)) for record in records] for name in ("sector", "camera", "ccd", "n_lost")}
    flags = {name: [bool(record.get(name, False)) for record in records] for name in ("edge", "collateral")}
    index = Table({"target": np.arange(len(records)), **texts, **numbers, **flags})
    for name in targets.colnames:
        if name not in index.colnames and targets[name].ndim == 1:
            index[name] = targets[name]
    with replacing_file(path, "the list of cutouts") as part:
        index.write(part, format="ascii.ecsv")
    return path
