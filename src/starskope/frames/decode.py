"""One frame from its bytes: the image plane in native float32 and what its headers say about it.

Owns `Frame` and the meaning of the header cards of a frame. Refuses the network (``frames.stream``), the encodings of
planes (``frames.planes``), the grammar of headers (``layout.fits``), and any judgement of quality (``frames.quality``).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope.errors import FrameError
from starskope.frames.checksums import checksum_note
from starskope.frames.planes import Encoding, PlaneFile
from starskope.layout.fits import ImagePlane, locate_image, science_region

__all__ = ["Frame", "checksum_note", "decode_frame", "frame_of", "read_frame"]

_SECONDS_PER_DAY = 86400.0
_MISSIONS = ("TESS", "Kepler")


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
    image = _plane_array(plane, name, out)
    Encoding.of(plane, name).decode(buffer, plane.offset, image)
    return frame_of(image, plane, index, name, checksum_note(buffer, name=name) if checksums else "")


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
        As in `decode_frame`; with `checksums` the whole file is read too.

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
    file = PlaneFile.find(path)
    image = _plane_array(file.plane, file.name, out)
    file.read_rows(0, file.plane.n_row, image)
    note = checksum_note(file.read_all(), name=file.name) if checksums else ""
    return frame_of(image, file.plane, index, file.name, note)


def _plane_array(plane: ImagePlane, name: str, out: NDArray[np.float32] | None) -> NDArray[np.float32]:
    shape = (plane.n_row, plane.n_col)
    if out is None:
        return np.empty(shape, np.float32)
    if out.shape != shape:
        expected = f"{out.shape[0]}x{out.shape[1]}"
        raise FrameError(f"{name} is {shape[0]}x{shape[1]}, expected {expected}: leave out frames of another shape")
    return out


def frame_of(image: NDArray[np.float32], plane: ImagePlane, index: int, name: str, note: str = "") -> Frame:
    """Put a decoded plane together with its headers."""
    primary: Mapping[str, Any] = {} if plane.primary is plane.header else plane.primary
    return Frame(index, name, image, plane.header, primary, note)
