"""Binary tables of FITS: bytes to native columns.

Owns the row layout that TFORMn, TDIMn, TSCALn and TZEROn describe. Pure: bytes in, arrays out. Every size that a header
announces is checked against the bytes that are there before anything is allocated. Refuses variable-length columns
(their data lie in a heap that no light curve needs), and to know what a column means (``curves.missions``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope.errors import FrameError
from starskope.layout.fits import Hdu

__all__ = ["BinaryTable", "image_values"]

_TFORM = re.compile(r" *([0-9]*)([LXBIJKAEDCMPQ])")
_TDIM = re.compile(r" *\(([0-9 ,]+)\)")
_CODES = {"L": "i1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8", "C": ">c8", "M": ">c16"}
_BITPIX = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_MOST_COLUMNS = 999


@dataclass(frozen=True)
class _Field:
    """One column: name as it stands, NumPy dtype on disk, shape of a cell, and the linear scale."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    unit: str
    scale: float
    zero: float
    readable: bool

    @property
    def n_bytes(self) -> int:
        size = int(self.dtype[1:]) if self.dtype[0] == "S" else np.dtype(self.dtype).itemsize
        return size * math.prod(self.shape)


class BinaryTable(Mapping[str, NDArray[Any]]):
    """The columns of one BINTABLE, looked up in any case; each is decoded when asked for.

    Parameters
    ----------
    buffer : bytes-like
        The whole file.
    hdu : Hdu
        The table's unit, see `layout.fits.iter_hdus`.
    name : str
        What error messages call the file.

    Raises
    ------
    FrameError
        The bytes end before the table does, or the cards do not describe rows of NAXIS1 bytes.
    """

    def __init__(self, buffer: Any, hdu: Hdu, *, name: str = "the data") -> None:
        self._what = f"{name}: table {hdu.header.get('EXTNAME') or ''}".rstrip()
        width = self._card(hdu, "NAXIS1", 0)
        self.n_row = self._card(hdu, "NAXIS2", 0)
        view = memoryview(buffer).cast("B")
        if hdu.offset + width * self.n_row > len(view):
            there = max(0, len(view) - hdu.offset) // max(1, width)
            raise FrameError(
                f"{self._what} is truncated: {self.n_row} rows announced, {there} are there; download it again"
            )
        n_field = self._card(hdu, "TFIELDS", 0)
        if not 0 <= n_field <= _MOST_COLUMNS:
            raise FrameError(f"{self._what} has TFIELDS = {n_field}: expected 0 to {_MOST_COLUMNS}; it is damaged")
        self._fields = [self._field(hdu.header, i) for i in range(1, n_field + 1)]
        self._place = {field.name.upper(): i for i, field in reversed(list(enumerate(self._fields)))}
        # Summed before NumPy sees it: a dtype has room for 2 GiB, a header for any number.
        needed = sum(field.n_bytes for field in self._fields)
        if needed != width:
            raise FrameError(
                f"{self._what} has rows of {width} bytes (NAXIS1), its columns need {needed}; it is damaged"
            )
        layout = np.dtype([(f"f{i}", field.dtype, field.shape) for i, field in enumerate(self._fields)])
        n_bytes = width * self.n_row
        self._rows: NDArray[Any] = (
            np.frombuffer(view[hdu.offset : hdu.offset + n_bytes], layout) if n_bytes else np.zeros(self.n_row, layout)
        )

    def _card(self, hdu: Hdu, keyword: str, least: int) -> int:
        value = hdu.header.get(keyword)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise FrameError(f"{self._what} has {keyword} = {value!r}: expected a number; the header is damaged")
        return value

    def _field(self, header: Mapping[str, Any], i: int) -> _Field:
        form, dim = str(header.get(f"TFORM{i}", "")), header.get(f"TDIM{i}")
        found = _TFORM.match(form)
        if found is None:
            raise FrameError(f"{self._what} has TFORM{i} = {form!r}, which is no column format; it is damaged")
        repeat, code = int(found[1] or 1), found[2]
        shape: tuple[int, ...] = () if repeat == 1 else (repeat,)
        if code == "A":
            dtype, shape = f"S{repeat}", ()
        elif code == "X":
            dtype, shape = "u1", (-(-repeat // 8),)
        elif code in "PQ":
            dtype, shape = "u1", (repeat * (8 if code == "P" else 16),)
        else:
            dtype = _CODES[code]
        axes = _TDIM.match(dim) if isinstance(dim, str) else None
        if axes and code in _CODES:
            lengths = [int(length) for length in axes[1].split(",") if length.strip()]
            if math.prod(lengths) == repeat:
                shape = tuple(reversed(lengths))
        scale, zero = header.get(f"TSCAL{i}"), header.get(f"TZERO{i}")
        return _Field(
            name=str(header.get(f"TTYPE{i}", f"COL{i}")).strip(),
            dtype=dtype,
            shape=shape,
            unit=str(header.get(f"TUNIT{i}") or "").strip(),
            scale=1.0 if scale is None else _number(scale, f"{self._what}: TSCAL{i}"),
            zero=0.0 if zero is None else _number(zero, f"{self._what}: TZERO{i}"),
            readable=code not in "PQ",
        )

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a column in native byte order, (n_row, *cell) and C-contiguous, TSCAL and TZERO applied.

        Nothing is shared with the bytes of the file. Integers with a whole TZERO (FITS's unsigned ones) stay integers.
        """
        place = self._place[name.upper()]
        field = self._fields[place]
        if not field.readable:
            raise FrameError(f"{self._what}: column {field.name} has cells of varying length, which are not read")
        raw = self._rows[f"f{place}"]
        values = np.ascontiguousarray(raw, dtype=raw.dtype.newbyteorder("="))
        if values.dtype.kind in "SV" or (field.scale == 1.0 and field.zero == 0.0):
            return values.copy() if values.base is not None else values
        if values.dtype.kind in "iu" and field.scale == 1.0 and field.zero.is_integer() and abs(field.zero) <= 2.0**62:
            return values.astype(np.int64) + int(field.zero)
        return values.astype(np.float64) * field.scale + field.zero

    def __iter__(self) -> Any:
        return iter(field.name for field in self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.upper() in self._place

    def unit(self, name: str) -> str:
        """Return TUNIT of a column, ``""`` where there is none."""
        return self._fields[self._place[name.upper()]].unit

    def cell_shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one cell: () for a number, (n_row, n_col) for an image."""
        return self._fields[self._place[name.upper()]].shape


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FrameError(f"{what} is {value!r}, expected a number; the header is damaged")
    return float(value)


def image_values(buffer: Any, hdu: Hdu, *, name: str = "the data") -> NDArray[Any]:
    """Return the small image of an HDU, native byte order, axes slowest first.

    Raises FrameError where the bytes end before the image does. BSCALE and BZERO are not applied: masks carry none.
    """
    header = hdu.header
    # `iter_hdus` has checked that these are numbers.
    shape = tuple(int(header[f"NAXIS{axis}"]) for axis in range(int(header["NAXIS"]), 0, -1))
    view = memoryview(buffer).cast("B")
    if hdu.offset + hdu.n_bytes > len(view):
        raise FrameError(f"{name} is truncated within image {header.get('EXTNAME') or ''}; download it again")
    dtype = np.dtype(_BITPIX[header["BITPIX"]])
    values = np.frombuffer(view[hdu.offset : hdu.offset + hdu.n_bytes], dtype)
    return np.array(values.reshape(shape), dtype=dtype.newbyteorder("="))
