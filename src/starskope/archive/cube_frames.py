"""The table that ends a cube: one row per frame, with the cards of its image and its file name.

Owns the checks of that table and the way from a row back to cards. Pure: bytes in, columns out. Refuses to read bytes
(``archive.cubes``) and to say what cards mean (``frames``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope.errors import FrameError
from starskope.layout.bintable import BinaryTable
from starskope.layout.cube import CubeLayout
from starskope.layout.fits import Hdu, format_header, iter_hdus, parse_header

__all__ = ["CubeFrames", "most_table_bytes", "one_row", "table_header"]

_MOST_ROW_BYTES = 32_768
_MOST_HEADER_BYTES = 2**20
_MOST_TABLE_BYTES = 2**28  # 12,154 frames, the most of any sector, take 30 MB
_NAME = "FFI_FILE"


def most_table_bytes(layout: CubeLayout) -> int:
    """Return how long the table of a cube of these frames may be; real ones have rows of some 2,000 bytes."""
    return min(_MOST_TABLE_BYTES, _MOST_HEADER_BYTES + layout.n_frame * _MOST_ROW_BYTES)


def table_header(buffer: Any, layout: CubeLayout, name: str) -> Hdu:
    """Read the header of the table.

    Parameters
    ----------
    buffer : bytes-like
        From the first byte after the pixels on.
    layout : CubeLayout
        Of the same cube.
    name : str
        What messages call the cube.

    Raises
    ------
    FrameError
        It is no table, has another number of rows than the cube has frames, rows too long to be cards, or no column
        FFI_FILE.
    """
    hdu = next(iter_hdus(buffer, name=f"{name}, after its pixels"))
    header = hdu.header
    if header.get("XTENSION") != "BINTABLE":
        raise FrameError(f"{name} has {header.get('XTENSION')!r} after its pixels, expected the table of its frames")
    if header.get("NAXIS2") != layout.n_frame:
        raise FrameError(
            f"{name} holds {layout.n_frame} frames, its table {header.get('NAXIS2')} rows: it is damaged or unfinished"
        )
    width = header.get("NAXIS1")
    if isinstance(width, bool) or not isinstance(width, int) or not 1 <= width <= _MOST_ROW_BYTES:
        raise FrameError(f"{name}: the rows of its table have {width!r} bytes, expected 1 to {_MOST_ROW_BYTES}")
    columns = (header.get(f"TTYPE{i}") for i in range(1, 1000))
    if _NAME not in {str(column).strip().upper() for column in columns if column is not None}:
        raise FrameError(f"{name}: its table of frames has no column {_NAME}, so its frames have no names")
    return hdu


def one_row(hdu: Hdu, row: bytes, name: str) -> Mapping[str, Any]:
    """Return the cards of one row, given the table's header and the bytes of that row alone."""
    cards = [card if card.keyword != "NAXIS2" else ("NAXIS2", 1) for card in hdu.header.cards]
    header = parse_header(format_header(cards), name=name)
    return _cards({key: column[0] for key, column in BinaryTable(row, Hdu(header, 0, len(row)), name=name).items()})


class CubeFrames:
    """The frames of a cube in the order of its time axis.

    Parameters
    ----------
    buffer : bytes-like
        From the first byte after the pixels on: the whole table.
    layout : CubeLayout
    name : str
        What messages call the cube.

    Raises
    ------
    FrameError
        As `table_header`, or the bytes end before the table does.
    """

    def __init__(self, buffer: Any, layout: CubeLayout, name: str) -> None:
        hdu = table_header(buffer, layout, name)
        self._table = BinaryTable(buffer, hdu, name=name)
        self.header = hdu.header
        self.n_frame = layout.n_frame

    @cached_property
    def columns(self) -> dict[str, NDArray[Any]]:
        """Every column in native byte order, by upper-case name."""
        return {name.upper(): column for name, column in self._table.items()}

    @cached_property
    def names(self) -> NDArray[np.str_]:
        """(n_frame,) file name of each frame, without folders."""
        names: NDArray[np.str_] = np.char.strip(np.char.decode(self.columns[_NAME], "ascii", "backslashreplace"))
        return names

    def number(self, name: str) -> NDArray[np.float64]:
        """Return a column of numbers as (n_frame,) float64, NaN everywhere where there is none."""
        column = self.columns.get(name)
        if column is None or column.ndim != 1 or column.dtype.kind not in "fiu":
            return np.full(self.n_frame, np.nan)
        return column.astype(np.float64)

    def cards(self, frame: int) -> Mapping[str, Any]:
        """Return the cards of a frame: plain values by keyword, without those that the frame did not have."""
        return _RowCards(self.columns, frame)


class _RowCards(Mapping[str, Any]):
    """One row of the columns; a value becomes plain when it is asked for, as one asks for few of them."""

    def __init__(self, columns: Mapping[str, NDArray[Any]], frame: int) -> None:
        self._columns, self._frame = columns, frame

    def __getitem__(self, keyword: str) -> Any:
        column = self._columns[keyword]
        value = _plain(column[self._frame]) if column.ndim == 1 else None
        if value is None:
            raise KeyError(keyword)
        return value

    def __iter__(self) -> Iterator[str]:
        return (keyword for keyword in self._columns if keyword in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _cards(row: Mapping[str, Any]) -> dict[str, Any]:
    cards = {key.upper(): _plain(value) for key, value in row.items() if not np.ndim(value)}
    return {key: value for key, value in cards.items() if value is not None}


def _plain(value: Any) -> Any:
    """Return a cell as a plain value, None where the frame lacked the card, which is NaN or an empty text then."""
    plain = value.decode("ascii", "backslashreplace").strip() if isinstance(value, bytes) else value.item()
    return None if plain == "" or plain != plain else plain  # noqa: PLR0124 - NaN is no value
