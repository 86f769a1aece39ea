"""One frame from its bytes: the image plane in native float32 and what its headers say about it.

Owns decoding (any BITPIX; the float32 planes of the missions by the core), the meaning of the header cards of a frame,
and the check of CHECKSUM cards, which reports and never rejects. Refuses the network (``frames.stream``), the grammar
of headers (``layout.fits``), and any judgement of quality (``frames.quality``).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope import _core
from starskope.errors import FrameError
from starskope.layout.fits import ImagePlane, iter_hdus, locate_image, padded, plane_request, science_region

__all__ = ["Frame", "checksum_note", "decode_frame", "read_frame"]

_SECONDS_PER_DAY = 86400.0
_MISSIONS = ("TESS", "Kepler")
_RAW_DTYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


@dataclass(frozen=True, eq=False)
class Frame:
    """A decoded full frame image.

    Attributes
    ----------
    index : int
        Place of the frame in its series.
    name : str
        File name or key, for messages.
    image : ndarray of float32, shape (n_row, n_col)
        The whole plane on the pixel grid of the file, native order. NaN = missing.
    header : mapping
        Cards of the HDU that holds the image.
    primary : mapping
        Cards of the primary HDU; empty where the image is in the primary HDU.
    note : str
        What was noticed but does not matter for the pixels, such as a failing CHECKSUM; empty otherwise.
    """

    index: int
    name: str
    image: NDArray[np.float32]
    header: Mapping[str, Any]
    primary: Mapping[str, Any]
    note: str = ""

    def __repr__(self) -> str:
        n_row, n_col = self.image.shape
        return f"<Frame {self.index} {self.name}: {n_row}x{n_col}, BTJD {self.time:.5f}, quality {self.quality}>"

    @property
    def quality(self) -> int:
        """DQUALITY: a set of bits, 0 where the card is absent."""
        value = self.header.get("DQUALITY", 0)
        if isinstance(value, bool) or not isinstance(value, int):
            raise FrameError(f"{self.name}: DQUALITY is {value!r}, expected an integer; the header is damaged")
        return value

    @property
    def start(self) -> float:
        """Start of the exposure, spacecraft TDB, days in BTJD (TSTART of the primary header); NaN where absent."""
        return self._number(self._first_header, "TSTART")

    @property
    def stop(self) -> float:
        """End of the exposure, as `start`."""
        return self._number(self._first_header, "TSTOP")

    @property
    def time(self) -> float:
        """Middle of the exposure, as `start`."""
        return 0.5 * (self.start + self.stop)

    @property
    def barycorr(self) -> float:
        """Barycentric correction at the centre of the CCD in days (BARYCORR); NaN where absent."""
        return self._number(self.header, "BARYCORR")

    @property
    def exposure_s(self) -> float:
        """Seconds of light: EXPOSURE in days for TESS and Kepler, else EXPTIME in seconds; NaN where absent."""
        if self.header.get("TELESCOP", self.primary.get("TELESCOP")) in _MISSIONS:
            return self._number(self.header, "EXPOSURE") * _SECONDS_PER_DAY
        return self._number(self.header, "EXPTIME")

    @property
    def science(self) -> tuple[slice, slice]:
        """Rows and columns of the science pixels; the whole plane where the header does not tell."""
        n_row, n_col = self.image.shape
        return science_region(self.header, (n_row, n_col))

    @property
    def camera(self) -> int | None:
        """CAMERA, None where absent."""
        return self._identity("CAMERA")

    @property
    def ccd(self) -> int | None:
        """CCD, None where absent."""
        return self._identity("CCD")

    @property
    def _first_header(self) -> Mapping[str, Any]:
        return self.primary or self.header

    def _number(self, header: Mapping[str, Any], card: str) -> float:
        value = header.get(card)
        if value is None:
            return math.nan
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise FrameError(f"{self.name}: {card} is {value!r}, expected a number; the header is damaged")
        return float(value)

    def _identity(self, card: str) -> int | None:
        value = self.header.get(card, self.primary.get(card))
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise FrameError(f"{self.name}: {card} is {value!r}, expected an integer; the header is damaged")
        return value


def decode_frame(
    buffer: Any,
    *,
    index: int = 0,
    name: str = "frame",
    checksums: bool = False,
    out: NDArray[np.float32] | None = None,
) -> Frame:
    """Decode the first 2-D image of a FITS file.

    Parameters
    ----------
    buffer : bytes-like
        The file, or as much of it as holds the headers and the plane.
    index : int
        Place of the frame in its series.
    name : str
        What messages call it.
    checksums : bool
        Verify CHECKSUM and DATASUM cards of the HDUs that are there in full and tell in `Frame.note`; never refuses.
    out : ndarray of float32, shape (n_row, n_col), optional
        Where to put the plane, with contiguous rows; a new array by default.

    Returns
    -------
    Frame
        Pixels are ``BZERO + BSCALE * value`` as float32, BLANK as NaN. Float32 planes without scaling keep every bit.

    Raises
    ------
    FrameError
        Not FITS, compressed, truncated, no image; or a shape that differs from that of `out`.
    """
    plane = locate_image(buffer, name=name)
    return _decode(buffer, plane, index, name, checksums, out)


def read_frame(
    path: str | os.PathLike[str],
    *,
    index: int = 0,
    checksums: bool = False,
    out: NDArray[np.float32] | None = None,
) -> Frame:
    """Read a frame from a file; of an FFI only the headers and the calibrated plane, half the file.

    Parameters
    ----------
    path : path-like
        A FITS file on disk, not compressed.
    index, checksums, out
        As in `decode_frame`; with `checksums` the whole file is read.

    Returns
    -------
    Frame
        Its name is the file's, without folders.

    Raises
    ------
    FrameError
        As `decode_frame`.
    OSError
        The file cannot be opened or read.
    """
    name = Path(path).name
    with Path(path).open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        buffer = _read(file.fileno(), b"", size if checksums else plane_request(size), size)
        if len(buffer) < size:
            try:
                plane = locate_image(buffer, name=name, complete=False)
                needed = padded(plane.offset + plane.n_bytes)
            except FrameError:
                needed = size  # a header longer than the request, or no image where images of missions are
            if needed > len(buffer):
                buffer = _read(file.fileno(), buffer, needed, size)
    return decode_frame(buffer, index=index, name=name, checksums=checksums, out=out)


def _read(descriptor: int, head: bytes | bytearray, stop: int, size: int) -> bytearray:
    buffer = bytearray(min(stop, size))
    buffer[: len(head)] = head
    view = memoryview(buffer)
    filled = len(head)
    while filled < len(buffer):
        n = os.readv(descriptor, [view[filled:]])
        if n == 0:  # the file shrank since its size was asked for
            view.release()
            del buffer[filled:]
            break
        filled += n
    return buffer


def _decode(
    buffer: Any, plane: ImagePlane, index: int, name: str, checksums: bool, out: NDArray[np.float32] | None
) -> Frame:
    shape = (plane.n_row, plane.n_col)
    if out is None:
        out = np.empty(shape, np.float32)
    elif out.shape != shape:
        expected = f"{out.shape[0]}x{out.shape[1]}"
        raise FrameError(f"{name} is {shape[0]}x{shape[1]}, expected {expected}: leave out frames of another shape")
    scale = _scaling(plane.header, "BSCALE", 1.0, name)
    zero = _scaling(plane.header, "BZERO", 0.0, name)
    if plane.bitpix == -32 and scale == 1.0 and zero == 0.0:
        _core.decode_plane(buffer, plane.offset, out)
    else:
        _decode_scaled(buffer, plane, scale, zero, name, out)
    primary = {} if plane.primary is plane.header else plane.primary
    note = checksum_note(buffer, name=name) if checksums else ""
    return Frame(index, name, out, plane.header, primary, note)


def _scaling(header: Mapping[str, Any], card: str, default: float, name: str) -> float:
    value = header.get(card)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise FrameError(f"{name}: {card} is {value!r}, expected a finite number; the header is damaged")
    return float(value)


def _decode_scaled(
    buffer: Any, plane: ImagePlane, scale: float, zero: float, name: str, out: NDArray[np.float32]
) -> None:
    dtype = np.dtype(_RAW_DTYPES[plane.bitpix])
    raw = np.frombuffer(buffer, dtype, plane.n_row * plane.n_col, plane.offset).reshape(plane.n_row, plane.n_col)
    values = raw.astype(np.float64)
    if scale != 1.0:
        values *= scale
    if zero != 0.0:
        values += zero
    with np.errstate(over="ignore"):
        out[...] = values
    blank = plane.header.get("BLANK")
    if blank is not None and plane.bitpix > 0:
        if isinstance(blank, bool) or not isinstance(blank, int):
            raise FrameError(f"{name}: BLANK is {blank!r}, expected an integer; the header is damaged")
        out[raw == blank] = np.nan


def checksum_note(buffer: Any, *, name: str = "frame") -> str:
    """Verify the CHECKSUM and DATASUM cards of every HDU that `buffer` holds in full.

    Parameters
    ----------
    buffer : bytes-like
        A FITS file or its leading part.
    name : str
        What the note calls it.

    Returns
    -------
    str
        Empty when all cards that are there agree, else one line.

    Notes
    -----
    The sum is taken over the bytes as they are. astropy warns of many unaltered mission files whose sums are right so.

    References
    ----------
    FITS standard 4.0, appendix J (ASCII encoded checksum).
    """
    view = memoryview(buffer).cast("B")
    wrong = []
    for number, hdu in enumerate(iter_hdus(view, name=name)):
        start, stop = hdu.offset - hdu.header.n_bytes, hdu.offset + padded(hdu.n_bytes)
        if stop > len(view):
            break
        data_sum = _ones_complement_sum(view[hdu.offset : stop])
        stated = hdu.header.get("DATASUM")
        if stated is not None and str(stated).strip() not in ("", str(data_sum)):
            wrong.append(f"DATASUM of HDU{number}")
        stated = hdu.header.get("CHECKSUM")
        if stated is not None and str(stated).strip():
            total = data_sum + _ones_complement_sum(view[start : hdu.offset])
            if (total & 0xFFFFFFFF) + (total >> 32) not in (0, 0xFFFFFFFF):
                wrong.append(f"CHECKSUM of HDU{number}")
    return f"{name}: {', '.join(wrong)} does not agree with the bytes; the frame is used all the same" if wrong else ""


def _ones_complement_sum(block: memoryview) -> int:
    total = int(np.frombuffer(block, ">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total
