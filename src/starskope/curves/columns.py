"""What a star table and the notes of light curves may hold, so that every store can keep them.

Owns the one form of a star table (plain columns of numbers, booleans or text) and of ``meta`` (JSON values). Refuses
objects: nothing here is ever pickled.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
from astropy.table import Column, Table
from astropy.units import Unit
from numpy.typing import NDArray

__all__ = ["column_specs", "decode_column", "encode_column", "plain_json", "star_table", "table_from_specs"]

_KINDS = {"int64": np.int64, "float64": np.float64, "float32": np.float32, "bool": np.bool_}


def star_table(stars: Any, n_star: int) -> Table:
    """Return a copy of a star table in the one form that light curves keep.

    Integers become int64, floats float64 (float32 stays), text str; a masked float becomes NaN, masked text ``""``,
    a masked integer -1 and a masked boolean False. Units and descriptions are kept, table metadata is not.

    Parameters
    ----------
    stars : astropy.table.Table or None
        One row per star; ``None`` numbers the stars in a column ``star``.
    n_star : int
        Rows that the table must have.

    Returns
    -------
    astropy.table.Table

    Raises
    ------
    ValueError
        The number of rows differs from ``n_star``, or an integer does not fit into 64 bits.
    TypeError
        ``stars`` is no table, or a column holds objects (SkyCoord, Time, Python objects).
    """
    if stars is None:
        return Table({"star": np.arange(n_star, dtype=np.int64)})
    if not isinstance(stars, Table):
        raise TypeError(f"stars is a {type(stars).__name__}; give an astropy Table with one row per star")
    if len(stars) != n_star:
        raise ValueError(
            f"stars has {len(stars)} rows, but flux holds {n_star} stars: give one row per column of flux, in its order"
        )
    plain = Table()
    for name in stars.colnames:
        column = stars[name]
        plain[name] = Column(
            _plain_values(name, column), unit=_unit(column), description=getattr(column.info, "description", None)
        )
    return plain


def _unit(column: Any) -> Any:
    unit = getattr(column, "unit", None)
    return None if unit is None or str(unit) == "" else Unit(unit, parse_strict="silent")


def _plain_values(name: str, column: Any) -> NDArray[Any]:
    if not (isinstance(column, Column) or hasattr(column, "to_value")) or not hasattr(column, "dtype"):
        raise TypeError(
            f"stars column {name!r} is a {type(column).__name__}; give numbers (degrees for ra, dec) or text"
        )
    mask = np.asarray(getattr(column, "mask", False))
    values = np.asarray(getattr(column, "value", column))
    if isinstance(values, np.ma.MaskedArray):
        values = values.data
    if values.dtype.kind == "O":
        present = values[~np.broadcast_to(mask, values.shape)]
        if not all(isinstance(v, str) for v in present):
            raise TypeError(f"stars column {name!r} holds Python objects; give numbers or text")
        values = np.where(mask, "", values).astype(str)
    target: np.dtype[Any]
    filler: Any
    match values.dtype.kind:
        case "b":
            target, filler = np.dtype(np.bool_), False
        case "i" | "u":
            target, filler = np.dtype(np.int64), -1
            if values.dtype.kind == "u" and values.size and values.max() > np.iinfo(np.int64).max:
                raise ValueError(f"stars column {name!r} holds {values.max()}, which does not fit into int64")
        case "f":
            target, filler = np.dtype(np.float64 if values.dtype.itemsize > 4 else np.float32), np.nan
        case "U" | "S":
            # As wide as the longest text, so that equal tables have equal bytes.
            text = np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
            values, target, filler = np.array(np.where(mask, "", text).tolist(), dtype=str), np.dtype(str), ""
        case kind:
            raise TypeError(f"stars column {name!r} has dtype {values.dtype} (kind {kind!r}); give numbers or text")
    values = values.astype(target)
    if mask.any():
        values = np.where(mask, filler, values).astype(values.dtype)
    if target.kind == "U" and values.ndim != 1:
        raise TypeError(f"stars column {name!r} holds {values.ndim - 1}-d text; give one text per star")
    return np.ascontiguousarray(values)


def column_specs(stars: Table) -> list[dict[str, Any]]:
    """Describe the columns of a plain star table: name, key in the store, kind, unit, description.

    The key is the name where every store and file system can take it, else ``column_<number>``.
    """
    specs, taken = [], set()
    for i, name in enumerate(stars.colnames):
        key = name
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", name) or name.lower() in taken or name.startswith("column_"):
            key = f"column_{i}"
        taken.add(key.lower())
        column = stars[name]
        kind = "text" if column.dtype.kind == "U" else column.dtype.name
        unit = None if column.unit is None else column.unit.to_string()
        specs.append({"name": name, "key": key, "kind": kind, "unit": unit, "description": column.description})
    return specs


def encode_column(column: Column) -> NDArray[Any]:
    """Return the column as an array of a plain dtype: text becomes UTF-8 bytes of fixed width (dtype ``S``)."""
    values = np.asarray(column)
    if values.dtype.kind != "U":
        return values
    return np.char.encode(values, "utf-8").astype("S") if values.size else np.zeros(values.shape, "S1")


def decode_column(values: NDArray[Any], kind: str) -> NDArray[Any]:
    """Undo `encode_column`: native byte order, and text as str."""
    if kind == "text":
        return np.char.decode(np.asarray(values).astype("S"), "utf-8") if values.size else np.zeros(values.shape, "U1")
    return np.ascontiguousarray(np.asarray(values).astype(_KINDS[kind]))


def table_from_specs(specs: list[dict[str, Any]], arrays: Mapping[str, NDArray[Any]]) -> Table:
    """Build the star table from `column_specs` and the arrays of a store, by key."""
    stars = Table()
    for spec in specs:
        unit = None if spec["unit"] is None else Unit(spec["unit"], parse_strict="silent")
        values = decode_column(arrays[spec["key"]], spec["kind"])
        stars[spec["name"]] = Column(values, unit=unit, description=spec["description"])
    return stars


def plain_json(value: Any, where: str = "meta") -> Any:
    """Return ``value`` as JSON types: NumPy scalars and arrays, tuples and paths are converted, NaN becomes None.

    Raises
    ------
    TypeError
        Something is no JSON value; the message names its place.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case np.generic():
            return plain_json(value.item(), where)
        case np.ndarray():
            return plain_json(value.tolist(), where)
        case PurePath():
            return str(value)
        case Mapping():
            return {str(key): plain_json(item, f"{where}[{key!r}]") for key, item in value.items()}
        case list() | tuple():
            return [plain_json(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise TypeError(f"{where} is a {type(value).__name__}; give numbers, text, lists or dicts")
