"""Light curves and target pixels in FITS files that missions and archives made.

Owns the way from the bytes of a foreign FITS file to one star's `LightCurves`: which table, which columns, which cards.
Refuses to mask, to detrend and to fetch; sums over pixels stand in ``pixels``, the makers' names in ``missions``.

FITS is untrusted: nothing is executed or unpickled, and no array is larger than the bytes that are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Column, Table
from numpy.typing import NDArray

from starskope.curves import pixels
from starskope.curves.missions import (
    FLAG_COLUMNS,
    TIME_COLUMNS,
    FluxColumn,
    exposure_s,
    mission_of,
    product_of,
    star_cards,
)
from starskope.curves.time_axis import TimeZero, check_days, in_order, zero_from_cards
from starskope.errors import FrameError
from starskope.layout.bintable import BinaryTable
from starskope.layout.fits import Hdu, iter_hdus
from starskope.layout.times import BTJD_ZERO

if TYPE_CHECKING:
    from starskope.curves.container import LightCurves

__all__ = ["read_mission_fits"]

# A column of flux counts as usable when it has at least this share of what the next choice has.
_USABLE = 0.5
_CARDS_KEPT = ("SECTOR", "CAMERA", "CCD", "QUARTER", "CAMPAIGN", "CREATOR", "PROCVER", "OBSMODE")


@dataclass(frozen=True)
class _Measured:
    """What one table gives: arrays (n_row,), and what `meta` says of them."""

    product: str
    column: str
    flux: NDArray[np.float64]
    error: NDArray[np.float64] | None
    unit: str
    background: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()


def read_mission_fits(data: bytes, path: Path, time_zero: float | None = None) -> LightCurves:
    """Read one star from a file of TESS, Kepler, K2 or a community pipeline; see `missions.PRODUCTS`.

    Parameters
    ----------
    data : bytes
        The whole file, unpacked.
    path : Path
        For messages and ``meta["file"]``; nothing is decided by it.
    time_zero : float, optional
        Julian date of time 0, for a file that does not tell.

    Raises
    ------
    FrameError
        Damaged, truncated, or no light curve in a form known here.
    """
    what = str(path)
    hdus = list(iter_hdus(data, name=what))
    found = _table(data, hdus, what)
    if found is None:
        tables = [hdu for hdu in hdus if hdu.header.get("XTENSION") == "BINTABLE"]
        held = ", ".join(list(BinaryTable(data, tables[0], name=what))[:8]) if tables else "no table"
        raise FrameError(f"{what} holds no light curve known here (found: {held}): expected columns TIME and a flux")
    hdu, table = found
    header = _Cards(hdu.header, hdus[0].header)
    mission = mission_of(header)
    time_column = next(name for name in TIME_COLUMNS if name in table)
    zero = zero_from_cards(header, table.unit(time_column), mission, time_zero, what)
    time = np.asarray(table[time_column], np.float64)
    if zero.jd > 0:
        # Rows that were never measured hold 0 in some products; the zero itself is years before each mission.
        time = np.where(time == 0, np.nan, time)
    check_days(time, zero.jd, what)
    quality = _flags(table, time.size)
    if len(table.cell_shape("FLUX") if "FLUX" in table else ()) == 2:
        measured = _sum_pixels(data, hdus, table, header, quality, what)
    else:
        measured = _choose(table, header, what)
    # The table's RA_OBJ of early TESS files is off by the proper motion; the primary header's is the catalogue's.
    stars = _star_table(star_cards(_Cards(hdus[0].header, hdu.header), mission))
    return _curves(measured, time, quality, zero, header, stars, mission, path)


def _star_table(cards: Mapping[str, tuple[Any, str, str]]) -> Table | None:
    columns = {
        name: Column([value], unit=unit or None, description=text) for name, (value, unit, text) in cards.items()
    }
    return Table(columns) if columns else None


class _Cards(Mapping[str, Any]):
    """The cards of several headers, the first that has a value counts; only cards that are asked for are parsed.

    An empty card does not hide that of the next header, and a malformed one that nobody needs costs no file.
    """

    def __init__(self, *headers: Mapping[str, Any]) -> None:
        self._headers = headers

    def __getitem__(self, keyword: str) -> Any:
        for header in self._headers:
            value = header.get(keyword)
            if value is not None and value != "":
                return value
        raise KeyError(keyword)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(keyword for header in self._headers for keyword in header))

    def __len__(self) -> int:
        return len(list(iter(self)))


def _table(data: bytes, hdus: Sequence[Hdu], what: str) -> tuple[Hdu, BinaryTable] | None:
    for hdu in hdus:
        if hdu.header.get("XTENSION") == "BINTABLE":
            table = BinaryTable(data, hdu, name=what)
            has_time = any(name in table for name in TIME_COLUMNS)
            if has_time and product_of(table) is not None:
                return hdu, table
    return None


def _flags(table: BinaryTable, n_row: int) -> NDArray[np.int32]:
    quality = np.zeros(n_row, np.int32)
    for name, (bits, shift) in FLAG_COLUMNS.items():
        if name in table and table.cell_shape(name) == ():
            column = table[name]
            if column.dtype.kind in "iu":
                quality |= ((column.astype(np.int64) & bits) << shift).astype(np.int32)
    return quality


def _choose(table: BinaryTable, header: Mapping[str, Any], what: str) -> _Measured:
    """Take the best usable column of flux: one that has at least half of the points that the next choice has."""
    product = product_of(table)
    choices = [choice for choice in (product.choices if product else ()) if choice.flux in table]
    columns = [_column(table, choice, header, what) for choice in choices]
    counts = [np.count_nonzero(np.isfinite(column.flux)) for column in columns]
    best = 0
    while best + 1 < len(columns) and counts[best] < _USABLE * counts[best + 1]:
        best += 1
    notes = () if best == 0 else (f"{choices[0].flux} has {counts[0]} points: {choices[best].flux} taken instead",)
    chosen = columns[best]
    name = product.name if product else ""
    return _Measured(name, chosen.column, chosen.flux, chosen.error, chosen.unit, notes=notes)


def _column(table: BinaryTable, choice: FluxColumn, header: Mapping[str, Any], what: str) -> _Measured:
    if table.cell_shape(choice.flux) != ():
        raise FrameError(f"{what}: column {choice.flux} holds arrays of {table.cell_shape(choice.flux)}, not numbers")
    flux = _numbers(table, choice.flux, what)
    error = None
    if choice.error in table:
        error = _numbers(table, choice.error, what)
        negative = np.flatnonzero(error < 0)
        if negative.size:
            raise FrameError(
                f"{what}: {choice.error}[{negative[0]}] = {error[negative[0]]:.6g} is negative "
                f"({negative.size} such values): unknown errors must be NaN"
            )
        # Early TESS files hold zeros, with errors of zero, where nothing was measured.
        flux = np.where((flux == 0) & ~(error > 0), np.nan, flux)
        error = np.where(np.isfinite(flux) & (error > 0), error, np.nan)
    elif isinstance(header.get(choice.error_card), int | float) and header[choice.error_card] > 0:
        error = np.where(np.isfinite(flux), float(header[choice.error_card]), np.nan)
    unit = _unit(table.unit(choice.flux))
    return _Measured("", choice.flux, flux, error, unit)


def _numbers(table: BinaryTable, name: str, what: str) -> NDArray[np.float64]:
    values = table[name]
    if values.dtype.kind not in "iuf":
        raise FrameError(f"{what}: column {name} holds no numbers (dtype {values.dtype})")
    numbers = values.astype(np.float64)
    numbers[np.isinf(numbers)] = np.nan
    return numbers


def _unit(text: str) -> str:
    """Return a unit that astropy reads; SPOC writes e-/s."""
    return "electron / s" if text.replace(" ", "") in {"e-/s", "electron/s", "e/s"} else ""


def _sum_pixels(
    data: bytes,
    hdus: Sequence[Hdu],
    table: BinaryTable,
    header: Mapping[str, Any],
    quality: NDArray[np.int32],
    what: str,
) -> _Measured:
    mask = next((hdu for hdu in hdus if str(hdu.header.get("EXTNAME") or "").upper() == "APERTURE"), None)
    summed = pixels.sum_pixels(
        table["FLUX"],
        table.get("FLUX_ERR"),
        table.get("FLUX_BKG"),
        None if mask is None else pixels.aperture_bits(data, mask, what),
        is_background_subtracted=bool(header.get("BACKAPP", True)),
        is_good=quality == 0,
        target=_target(table, header),
        what=what,
    )
    return _Measured(
        "target pixels",
        "FLUX",
        summed.flux,
        summed.error,
        _unit(table.unit("FLUX")),
        background=summed.background,
        notes=summed.notes,
    )


def _target(table: BinaryTable, header: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return row and column (0-based) of the target: the reference pixel that the cards of FLUX give, if inside."""
    number = [name.upper() for name in table].index("FLUX") + 1
    column, row = header.get(f"1CRPX{number}"), header.get(f"2CRPX{number}")
    n_row, n_col = table.cell_shape("FLUX")
    if not (isinstance(row, int | float) and isinstance(column, int | float)):
        return None
    inside = 0.5 <= row < n_row + 0.5 and 0.5 <= column < n_col + 0.5
    return (row - 1.0, column - 1.0) if inside else None


def _curves(
    measured: _Measured,
    time: NDArray[np.float64],
    quality: NDArray[np.int32],
    zero: TimeZero,
    header: Mapping[str, Any],
    stars: Table | None,
    mission: str,
    path: Path,
) -> LightCurves:
    from starskope.curves.container import LightCurves

    rows, counts = in_order(time)
    meta: dict[str, Any] = {
        "flux_unit": measured.unit,
        "product": measured.product,
        "flux_column": measured.column,
        "file": path.name,
        "time_zero_from": zero.source,
        **{card.lower(): header[card] for card in _CARDS_KEPT if card in header},
    }
    if zero.is_barycentric:
        meta["time_reference"] = "barycentre"
    if counts:
        meta["rows"] = counts
    if measured.notes:
        meta["notes"] = list(measured.notes)
    # A full Julian date would cost its last digits in everything that follows; the difference is exact.
    shift = BTJD_ZERO if zero.jd == 0 else 0.0

    def column(values: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
        return None if values is None else values[rows, None]

    return LightCurves(
        time[rows] - shift,
        measured.flux[rows, None],
        stars,
        flux_err=column(measured.error),
        quality=quality[rows],
        background=column(measured.background),
        time_zero=zero.jd + shift,
        exposure_s=exposure_s(header),
        mission=mission,
        meta=meta,
    )
