"""Star catalogues of any make, brought to one form: names, units, types, epoch.

Owns reading a catalogue file, the aliases under which the field writes its columns, and moving stars to the epoch of
the observation. Refuses to ask anybody (``archive.mast``) and to invent: a missing required column is an error that
names the columns there are, a missing optional one is NaN.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from astropy.table import Column, Table
from astropy.table.meta import get_header_from_yaml
from numpy.typing import NDArray

__all__ = ["J2000", "TIC_EPOCH", "moved_to_epoch", "read_catalog", "standard_columns"]

TIC_EPOCH = J2000 = 2000.0
"""Epoch of the TIC's ``ra`` and ``dec`` in Julian years; taken for catalogues that do not say theirs."""

# Name here: unit, and the names under which it is met, lower case, best first.
_REQUIRED = {
    "tic_id": (None, ("tic_id", "ticid", "tic", "tid", "tic id", "id")),
    "ra": (u.deg, ("ra", "ra_deg", "raj2000", "ra_icrs", "_raj2000", "ra_j2000")),
    "dec": (u.deg, ("dec", "dec_deg", "dej2000", "decj2000", "de_icrs", "_dej2000", "dec_j2000")),
    "tmag": (u.mag, ("tmag", "tess_mag", "tessmag", "st_tmag", "tess mag")),
}
_OPTIONAL = {
    "teff": (u.K, ("teff", "st_teff")),
    "logg": (u.dex(u.cm / u.s**2), ("logg", "st_logg")),
    "rad": (u.R_sun, ("rad", "radius", "st_rad", "r_star")),
    "mass": (u.M_sun, ("mass", "st_mass", "m_star")),
    "pmra": (u.mas / u.yr, ("pmra", "pm_ra", "pmra_cosdec", "st_pmra")),
    "pmdec": (u.mas / u.yr, ("pmdec", "pm_dec", "pmde", "st_pmdec")),
}
_EPOCH_COLUMNS = ("ref_epoch", "epoch")
_SUFFIXES = "'.ecsv', '.csv', '.csv.gz', '.parquet' or '.fits'"


def read_catalog(path: str | Path) -> Table:
    """Read a catalogue file: ECSV, CSV (also gzip), Parquet or FITS, by its suffix.

    Parameters
    ----------
    path : path
        CSV may hold ``#`` comment lines.

    Returns
    -------
    Table
        As it stands in the file.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        For another suffix, or a file that cannot be read as what its suffix says.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"catalogue {str(path)!r} does not exist or is no file; give a file ending in {_SUFFIXES}"
        )
    name = path.name.lower()
    try:
        if name.endswith((".ecsv", ".ecsv.gz")):
            return Table.read(path, format="ascii.ecsv")
        if name.endswith((".csv", ".csv.gz")):
            return _read_csv(path)
        if name.endswith((".parquet", ".pq")):
            return _read_parquet(path)
        if name.endswith((".fits", ".fit", ".fits.gz")):
            return Table.read(path, format="fits", unit_parse_strict="silent", character_as_bytes=False)
    except (OSError, ValueError, TypeError, KeyError, EOFError, UnicodeError) as error:
        reason = str(error).strip().splitlines()
        text = reason[0][:200] if reason else type(error).__name__
        raise ValueError(f"catalogue {str(path)!r} cannot be read as its suffix says: {text}") from error
    raise ValueError(f"catalogue {str(path)!r} has a suffix that says nothing: expected {_SUFFIXES}")


def _read_csv(path: Path) -> Table:
    if path.name.lower().endswith(".gz"):
        with gzip.open(path, "rt", encoding="utf-8-sig") as file:
            text = file.read()
    else:
        text = path.read_text(encoding="utf-8-sig")
    if text.startswith("# %ECSV"):
        return Table.read(text, format="ascii.ecsv")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise ValueError("it holds no lines")
    return Table.read(lines, format="ascii.csv")


def _read_parquet(path: Path) -> Table:
    """Read by pyarrow alone (astropy's reader wants pandas too), with the units that astropy keeps in the schema."""
    from pyarrow import parquet

    arrow = parquet.read_table(path)
    table = Table({name: arrow.column(name).to_numpy() for name in arrow.column_names if name[:8] != "__index_"})
    described = (arrow.schema.metadata or {}).get(b"table_meta_yaml")
    if described:
        header = get_header_from_yaml(described.decode().splitlines())
        for column in header["datatype"]:
            if column["name"] in table.colnames and "unit" in column:
                table[column["name"]].unit = str(column["unit"])
        table.meta.update(header.get("meta", {}))
    return table


def standard_columns(table: Table, name: str) -> tuple[Table, list[str]]:
    """Bring a catalogue to the standard columns.

    Parameters
    ----------
    table : Table
        Any catalogue; not changed.
    name : str
        What messages call it.

    Returns
    -------
    stars : Table
        ``tic_id`` int64; ``ra``, ``dec`` (deg, ICRS), ``tmag``, ``teff``, ``logg``, ``rad``, ``mass``, ``pmra`` (with
        cos dec), ``pmdec`` float64 with units, NaN = unknown; then the other columns under lower-case names. Rows
        without position or magnitude and repeated stars (same tic_id: the first counts) are gone. ``meta["epoch"]`` is
        the positions' epoch in Julian years.
    notes : list of str
        What was left out.

    Raises
    ------
    ValueError
        When a required column is missing (the text names the columns found), is no number, or is out of range.
    """
    by_name: dict[str, str] = {}
    for column in table.colnames:
        by_name.setdefault(column.strip().lower(), column)
    used: dict[str, str] = {}
    for target, (_, aliases) in {**_REQUIRED, **_OPTIONAL}.items():
        found = next((by_name[alias] for alias in aliases if alias in by_name), None)
        if found is not None:
            used[target] = found
    missing = [target for target in _REQUIRED if target not in used]
    if missing:
        wanted = "; ".join(f"{target} (also as {', '.join(_REQUIRED[target][1][1:])})" for target in missing)
        columns = ", ".join(table.colnames[:30]) + (", ..." if len(table.colnames) > 30 else "")
        raise ValueError(f"{name} lacks {wanted}; its columns are: {columns or 'none'}")

    stars = Table()
    stars["tic_id"] = _identifiers(table[used["tic_id"]], used["tic_id"], name)
    for target, (unit, _) in {**_REQUIRED, **_OPTIONAL}.items():
        if target != "tic_id":
            source = used.get(target)
            values = np.full(len(table), np.nan) if source is None else _numbers(table[source], source, unit, name)
            stars[target] = Column(values, unit=unit)
    for column in table.colnames:
        lower = column.strip().lower()
        if column not in used.values() and lower not in stars.colnames:
            stars[lower] = _unmasked(table[column])
    stars.meta["epoch"] = _epoch(table, name)
    for column in _EPOCH_COLUMNS:
        if column in stars.colnames:
            stars.remove_column(column)
    return _usable(stars, name)


def _unmasked(column: Any) -> Any:
    """Return a column that every store can hold: no mask and no objects, unknown is NaN or an empty string."""
    values = np.ma.asarray(column.value if isinstance(column, u.Quantity) else column)
    mask = np.ma.getmaskarray(values)
    data = np.ma.getdata(values)
    if data.dtype.kind == "O":
        data = np.array(
            ["" if hidden or value is None else str(value) for value, hidden in zip(data, mask, strict=True)]
        )
    elif np.any(mask):
        blank = np.nan if data.dtype.kind in "iufb" else ""
        data = np.where(mask, blank, data.astype(np.float64) if data.dtype.kind in "iub" else data)
    return Column(data, unit=getattr(column, "unit", None))


def _usable(stars: Table, name: str) -> tuple[Table, list[str]]:
    notes = []
    known = np.isfinite(stars["ra"]) & np.isfinite(stars["dec"]) & np.isfinite(stars["tmag"]) & (stars["tic_id"] >= 0)
    if n_unknown := int(np.count_nonzero(~known)):
        notes.append(f"{n_unknown} row(s) of {name} without identifier, position or magnitude were left out")
        stars = stars[known]
    wrong = np.flatnonzero((np.abs(stars["dec"]) > 90) | (np.abs(stars["ra"]) > 360))
    if wrong.size:
        row = stars[int(wrong[0])]
        raise ValueError(
            f"{name}: TIC {row['tic_id']} has ra = {row['ra']}, dec = {row['dec']}; expected degrees within 360 and 90"
        )
    stars["ra"] = Column(np.asarray(stars["ra"]) % 360.0, unit=u.deg)
    _, first = np.unique(np.asarray(stars["tic_id"]), return_index=True)
    if n_repeated := len(stars) - first.size:
        notes.append(f"{n_repeated} row(s) of {name} repeat a star that stands above; the first row counts")
        stars = stars[np.sort(first)]
    return stars, notes


def _numbers(column: Any, source: str, unit: u.UnitBase, name: str) -> NDArray[np.float64]:
    """Return a column as float64 in `unit`, NaN where masked; a column without unit is taken to be in it."""
    has_unit = getattr(column, "unit", None)
    try:
        plain = np.ma.asarray(column.value if isinstance(column, u.Quantity) else column)
        values: NDArray[np.float64] = np.asarray(np.ma.filled(plain.astype(np.float64), np.nan))
    except (ValueError, TypeError):
        example = next((str(value) for value in column if str(value).strip() not in ("", "--")), "")
        raise ValueError(f"{name}: column {source!r} must hold numbers, found {example[:40]!r}") from None
    # Magnitudes and log g are logarithms whatever unit their makers wrote: 4.4 "cm/s2" is meant as 4.4, not 0.64.
    if has_unit in (None, "", unit) or isinstance(unit, u.LogUnit) or unit == u.mag:
        return values
    try:
        return np.asarray((values * u.Unit(has_unit)).to_value(unit), dtype=np.float64)
    except (u.UnitConversionError, ValueError, TypeError):
        raise ValueError(f"{name}: column {source!r} is in {has_unit}, expected {unit} or no unit") from None


def _identifiers(column: Any, source: str, name: str) -> NDArray[np.int64]:
    """Return TIC numbers as int64, -1 where there is none; digits in text and ``TIC 123`` count too."""
    values = np.ma.asarray(column)
    mask = np.ma.getmaskarray(values)
    data = np.ma.getdata(values)
    if data.dtype.kind in "iu":
        result = data.astype(np.int64)
    elif data.dtype.kind == "f":
        mask = mask | np.isnan(data)
        if np.any((data[~mask] != np.floor(data[~mask])) | (np.abs(data[~mask]) > 2.0**53)):
            raise ValueError(f"{name}: column {source!r} must hold whole TIC numbers; it holds fractions or infinities")
        result = np.where(mask, -1, data).astype(np.int64)
    else:
        texts = [str(value).strip() for value in data]
        mask = mask | np.array([text in ("", "--", "nan", "None") for text in texts], dtype=bool)
        result = np.full(len(texts), -1, dtype=np.int64)
        for index in np.flatnonzero(~mask):
            digits = texts[index].upper().removeprefix("TIC").strip()
            if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
                raise ValueError(f"{name}: column {source!r} must hold TIC numbers, found {texts[index][:40]!r}")
            result[index] = int(digits)
    if np.any(result[~mask] < 0):
        raise ValueError(f"{name}: column {source!r} must hold TIC numbers, found {int(result[~mask].min())}")
    result[mask] = -1
    return result


def _epoch(table: Table, name: str) -> float:
    by_name = {column.lower(): column for column in table.colnames}
    for candidate in _EPOCH_COLUMNS:
        if candidate in by_name and len(table):
            epochs = np.unique(_numbers(table[by_name[candidate]], by_name[candidate], u.yr, name))
            epochs = epochs[np.isfinite(epochs)]
            if epochs.size == 1 and 1900 <= epochs[0] <= 2100:
                return float(epochs[0])
            if candidate == "ref_epoch":
                raise ValueError(
                    f"{name}: column {by_name[candidate]!r} must hold one Julian year, found {epochs[:3].tolist()}"
                )
    epoch = next((value for key, value in table.meta.items() if str(key).lower() in _EPOCH_COLUMNS), J2000)
    try:
        year = float(epoch)
    except (TypeError, ValueError):
        year = float("nan")
    if not 1900 <= year <= 2100:
        raise ValueError(f"{name}: its epoch is {epoch!r}; expected a Julian year such as 2000.0 or 2015.5")
    return year


def moved_to_epoch(stars: Table, epoch: float) -> Table:
    """Return a copy of standard columns with stars moved along their proper motion.

    Parameters
    ----------
    stars : Table
        From `standard_columns`; ``meta["epoch"]`` says where they stand now.
    epoch : float
        Julian year to move to. Stars without proper motion stay.

    Returns
    -------
    Table
        ``meta["epoch"]`` is the new epoch, so that a table written and read again is not moved twice.

    Notes
    -----
    Straight motion of the direction vector at constant rate, parallax and radial velocity left out: exact to a
    milliarcsecond over decades for all but the very nearest stars, 1e-4 of a TESS pixel at worst.
    """
    moved = stars.copy()
    years = epoch - float(stars.meta["epoch"])
    ra, dec = np.radians(np.asarray(stars["ra"])), np.radians(np.asarray(stars["dec"]))
    scale = np.radians(years / 3.6e6)
    east = np.nan_to_num(np.asarray(stars["pmra"])) * scale
    north = np.nan_to_num(np.asarray(stars["pmdec"])) * scale
    x = np.cos(dec) * np.cos(ra) - east * np.sin(ra) - north * np.sin(dec) * np.cos(ra)
    y = np.cos(dec) * np.sin(ra) + east * np.cos(ra) - north * np.sin(dec) * np.sin(ra)
    z = np.sin(dec) + north * np.cos(dec)
    moves = (east != 0) | (north != 0)
    new_ra, new_dec = np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arctan2(z, np.hypot(x, y)))
    moved["ra"] = Column(np.where(moves, new_ra, np.asarray(stars["ra"])), unit=u.deg)
    moved["dec"] = Column(np.where(moves, new_dec, np.asarray(stars["dec"])), unit=u.deg)
    moved.meta["epoch"] = epoch
    return moved
