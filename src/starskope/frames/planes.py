"""Image planes: from the bytes of a file to native float32, whole or a few rows at a time.

Owns every BITPIX, scaling and BLANK, and reading from disk no more than is needed. Refuses to interpret headers further
(``frames.decode``) and to find planes (``layout.fits``).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope import _core
from starskope.errors import FrameError
from starskope.layout.fits import ImagePlane, locate_image

__all__ = ["Encoding", "PlaneFile", "read_bytes"]

_RAW_DTYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_HEADER_BYTES = 16 * 2880
_STEP_BYTES = 1 << 20  # what is read at once stays in cache until it is decoded, and its pages are used again


@dataclass(frozen=True)
class Encoding:
    """How the values of a plane are stored; made by `Encoding.of`.

    Attributes
    ----------
    bitpix : int
        As in FITS.
    scale, zero : float
        ``zero + scale * value`` is meant.
    blank : int or None
        The integer that stands for a missing value.
    """

    bitpix: int
    scale: float
    zero: float
    blank: int | None

    @classmethod
    def of(cls, plane: ImagePlane, name: str) -> Encoding:
        """Read the cards of a plane; `name` is what messages call the file.

        Raises
        ------
        FrameError
            Scaling cards that are no finite numbers, or a BLANK of integers that is none.
        """
        blank = plane.header.get("BLANK") if plane.bitpix > 0 else None
        if blank is not None and (isinstance(blank, bool) or not isinstance(blank, int)):
            raise FrameError(f"{name}: BLANK is {blank!r}, expected an integer; the header is damaged")
        scale = _scaling(plane.header, "BSCALE", 1.0, name)
        return cls(plane.bitpix, scale, _scaling(plane.header, "BZERO", 0.0, name), blank)

    def decode(self, buffer: Any, offset: int, out: NDArray[np.float32]) -> None:
        """Decode consecutive values.

        Parameters
        ----------
        buffer : bytes-like
            Holds the values, the first of them at byte ``offset``.
        offset : int
            As said.
        out : ndarray of float32, shape (n, m)
            Written; contiguous rows. Float32 planes without scaling keep every bit, other values round to float32,
            BLANK becomes NaN.
        """
        if self.bitpix == -32 and self.scale == 1.0 and self.zero == 0.0:
            _core.decode_plane(buffer, offset, out)
            return
        raw = np.frombuffer(buffer, np.dtype(_RAW_DTYPES[self.bitpix]), out.size, offset).reshape(out.shape)
        values = raw.astype(np.float64)
        if self.scale != 1.0:
            values *= self.scale
        if self.zero != 0.0:
            values += self.zero
        with np.errstate(over="ignore"):
            out[...] = values
        if self.blank is not None:
            out[raw == self.blank] = np.nan


def _scaling(header: Mapping[str, Any], card: str, default: float, name: str) -> float:
    value = header.get(card)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise FrameError(f"{name}: {card} is {value!r}, expected a finite number; the header is damaged")
    return float(value)


@dataclass(frozen=True, eq=False)
class PlaneFile:
    """A file on disk whose image plane was found.

    Attributes
    ----------
    path : Path
    plane : ImagePlane
        Header, shape and place of the plane.
    """

    path: Path
    plane: ImagePlane

    @property
    def name(self) -> str:
        """File name without folders, for messages."""
        return self.path.name

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.plane.n_row, self.plane.n_col

    @classmethod
    def find(cls, path: str | os.PathLike[str]) -> PlaneFile:
        """Read the headers of ``path`` up to its first 2-D image.

        Raises
        ------
        FrameError
            Not FITS, compressed, truncated, no 2-D image.
        OSError
            The file cannot be opened or read.
        """
        path = Path(path)
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            n_bytes = _HEADER_BYTES
            while True:
                head = read_bytes(file, 0, min(n_bytes, size))
                try:
                    plane = locate_image(head, name=path.name, complete=False)
                    break
                except FrameError:
                    if n_bytes >= size:
                        raise
                    n_bytes *= 16  # longer headers, or other HDUs before the image
        if plane.offset + plane.n_bytes > size:
            raise FrameError(
                f"{path.name} is truncated: its {plane.n_row}x{plane.n_col} plane ends at byte "
                f"{plane.offset + plane.n_bytes}, {size} bytes are there; download it again"
            )
        return cls(path, plane)

    def read_rows(self, start: int, stop: int, out: NDArray[np.float32]) -> None:
        """Decode rows ``start`` to ``stop`` into ``out`` (stop - start, n_col), reading only their bytes."""
        row_bytes = abs(self.plane.bitpix) // 8 * self.plane.n_col
        step = max(1, _STEP_BYTES // row_bytes)
        encoding = Encoding.of(self.plane, self.name)
        with self.path.open("rb", buffering=0) as file:
            for first in range(start, stop, step):
                last = min(first + step, stop)
                n_bytes = (last - first) * row_bytes
                data = read_bytes(file, self.plane.offset + first * row_bytes, n_bytes)
                if len(data) < n_bytes:
                    raise FrameError(f"{self.name} became shorter while it was read: is it still being written?")
                encoding.decode(data, 0, out[first - start : last - start])

    def read_all(self) -> bytearray:
        """Return the bytes of the whole file, as for checksums."""
        with self.path.open("rb", buffering=0) as file:
            return read_bytes(file, 0, os.fstat(file.fileno()).st_size)


def read_bytes(file: FileIO, offset: int, n_bytes: int) -> bytearray:
    """Return ``n_bytes`` bytes of an open, unbuffered file from ``offset`` on, fewer only where it ends."""
    buffer = bytearray(n_bytes)
    filled = 0
    file.seek(offset)
    with memoryview(buffer) as view:
        while filled < n_bytes:
            n = file.readinto(view[filled:])
            if not n:
                break
            filled += n
    del buffer[filled:]
    return buffer
