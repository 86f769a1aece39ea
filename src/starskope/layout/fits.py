"""The byte layout of a FITS file: where headers end, where the image plane begins, how much of a file holds it.

Owns the walk over header-data units, finding the image plane of a (partly read) file, the size of the one request that
holds it, and the science region of a TESS CCD. Pure: bytes in, values out. Refuses to open files, to decode pixels
(``frames.decode``), to verify CHECKSUM cards (those of unaltered mission files fail) and to guess: what is not FITS
raises ``FrameError`` with the remedy. Headers themselves are in ``layout.header``; their names are given out here too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from starskope.errors import FrameError
from starskope.layout.cards import Card, Verbatim
from starskope.layout.header import BLOCK, Header, format_header, padded, parse_header

__all__ = [
    "BLOCK",
    "FFI_LEAD",
    "FFI_PLANE_REQUEST",
    "Card",
    "Hdu",
    "Header",
    "ImagePlane",
    "Verbatim",
    "format_header",
    "iter_hdus",
    "locate_image",
    "padded",
    "parse_header",
    "plane_request",
    "science_region",
]

FFI_LEAD = 31_680
"""Leading bytes that hold both headers before the calibrated plane of every TESS FFI seen (4.48 million)."""

FFI_PLANE_REQUEST = 17_786_880
"""Leading bytes that hold headers and calibrated plane of every full TESS FFI: 31,680 and 2078 x 2136 float32."""

_FFI_PLANE = 17_755_200
_CALIBRATED = re.compile(r"CAMERA\.CCD \d\.\d cal")
_BITPIX = frozenset({8, 16, 32, 64, -32, -64})


@dataclass(frozen=True, eq=False)
class Hdu:
    """One header-data unit: its header, where its data start, and how many bytes they hold (without padding)."""

    header: Header
    offset: int
    n_bytes: int


def iter_hdus(buffer: Any, *, name: str = "the data") -> Iterator[Hdu]:
    """Yield the header-data units of a file; stops at its end or at trailing bytes that are no header.

    Data may reach beyond the buffer: only headers are read. Raises FrameError as `parse_header` does.
    """
    view = memoryview(buffer).cast("B")
    offset = 0
    while offset == 0 or bytes(view[offset : offset + 9]) == b"XTENSION=":
        header = parse_header(view, offset, name=name)
        offset += header.n_bytes
        n_bytes = _data_bytes(header, name)
        yield Hdu(header, offset, n_bytes)
        offset += padded(n_bytes)


def _data_bytes(header: Header, name: str) -> int:
    bitpix, n_axes = _integer(header, "BITPIX", name), _integer(header, "NAXIS", name)
    if bitpix not in _BITPIX:
        raise FrameError(f"{name} has BITPIX = {bitpix}: expected 8, 16, 32, 64, -32 or -64; the header is damaged")
    if not 0 <= n_axes <= 999:
        raise FrameError(f"{name} has NAXIS = {n_axes}: expected 0 to 999; the header is damaged")
    if n_axes == 0:
        return 0
    axes = [_integer(header, f"NAXIS{axis}", name) for axis in range(1, n_axes + 1)]
    if axes[0] == 0 and header.get("GROUPS") is True:
        axes = axes[1:]
    n_values = 1
    for axis, length in enumerate(axes, 1):
        if length < 0:
            raise FrameError(f"{name} has NAXIS{axis} = {length}: expected 0 or more; the header is damaged")
        n_values *= length
    extra = _integer(header, "PCOUNT", name) if "PCOUNT" in header else 0
    groups = _integer(header, "GCOUNT", name) if "GCOUNT" in header else 1
    if extra < 0 or groups < 0:
        raise FrameError(f"{name} has PCOUNT = {extra}, GCOUNT = {groups}: expected 0 or more; the header is damaged")
    return abs(bitpix) // 8 * groups * (extra + n_values)


def _integer(header: Header, keyword: str, name: str) -> int:
    value = header.get(keyword)
    if isinstance(value, bool) or not isinstance(value, int):
        found = "no such card" if keyword not in header else repr(value)
        raise FrameError(f"{name}: {keyword} must be an integer, found {found}; the header is damaged")
    return value


@dataclass(frozen=True, eq=False)
class ImagePlane:
    """Where the first 2-D image of a file lies.

    Attributes
    ----------
    header, primary : Header
        Cards of the image's HDU and of the primary HDU (the same object where the image is in the primary HDU).
    offset, n_bytes : int
        First byte of the plane and its length without padding; big-endian rows of `n_col` values.
    n_row, n_col : int
        NAXIS2 and NAXIS1.
    bitpix : int
        -32 for the float32 of calibrated FFIs.
    hdu : int
        Number of the HDU, 0 for the primary.
    """

    header: Header
    primary: Header
    offset: int
    n_row: int
    n_col: int
    bitpix: int
    n_bytes: int
    hdu: int


def locate_image(
    buffer: Any, *, name: str = "the data", bitpix: int | None = None, complete: bool = True
) -> ImagePlane:
    """Find the first 2-D image of a file: HDU1 of an FFI, HDU0 of a plain image.

    Parameters
    ----------
    buffer : bytes-like
        The file or its leading part (see `plane_request`).
    name : str
        What error messages call the data.
    bitpix : int, optional
        Refuse any other BITPIX; default: -32 for the calibrated plane of an FFI, else any.
    complete : bool
        Refuse a buffer that ends before the plane does; False to ask only where the plane lies.

    Returns
    -------
    ImagePlane

    Raises
    ------
    FrameError
        Not FITS, truncated, no 2-D image, empty axes, or another BITPIX; the text names `name` and the remedy.
    """
    view = memoryview(buffer).cast("B")
    primary: Header | None = None
    seen = []
    stop = 0
    for number, hdu in enumerate(iter_hdus(view, name=name)):
        header = hdu.header
        primary = header if primary is None else primary
        stop = hdu.offset + padded(hdu.n_bytes)
        kind = "IMAGE" if number == 0 else header.get("XTENSION")
        shape = "x".join(str(header[f"NAXIS{axis}"]) for axis in range(header["NAXIS"], 0, -1))
        seen.append(f"HDU{number} {kind} {shape or 'without data'}")
        if kind != "IMAGE" or header["NAXIS"] != 2:
            if header.get("ZIMAGE") is True:
                raise FrameError(
                    f"{name} holds a tile-compressed image, expected a plain one: decompress it first (funpack)"
                )
            continue
        n_row, n_col = header["NAXIS2"], header["NAXIS1"]
        if n_row == 0 or n_col == 0:
            raise FrameError(f"{name}: the image in HDU{number} is empty ({n_row} rows x {n_col} columns)")
        plane = ImagePlane(header, primary, hdu.offset, n_row, n_col, header["BITPIX"], hdu.n_bytes, number)
        # The width of a damaged header would be believed: pixels of halves of numbers, and nothing missing at the end.
        if bitpix is None and _CALIBRATED.fullmatch(str(header.get("EXTNAME", ""))):
            bitpix = -32
        if header.get("EXTNAME") == "APERTURE":
            raise FrameError(f"{name} holds target pixels or a cutout, expected a full frame image")
        if bitpix is not None and plane.bitpix != bitpix:
            raise FrameError(f"{name} has BITPIX = {plane.bitpix}, expected {bitpix}: not a calibrated frame")
        if complete and hdu.offset + hdu.n_bytes > len(view):
            raise FrameError(
                f"{name} is truncated: its {n_row}x{n_col} plane ends at byte {hdu.offset + hdu.n_bytes}, "
                f"{len(view)} bytes are there; download it again"
            )
        return plane
    if stop > len(view):
        raise FrameError(f"{name} is truncated: {len(view)} bytes end before the first 2-D image ({', '.join(seen)})")
    if len(seen) == 1 and stop == len(view) and primary is not None and primary.get("EXTEND") is True:
        raise FrameError(f"{name} is truncated: it ends after HDU0, which announces extensions; download it again")
    raise FrameError(f"{name} holds no 2-D image (NAXIS = 2), expected one: found {', '.join(seen)}")


def plane_request(size: int | None) -> int:
    """Return how many leading bytes of an FFI surely hold its headers and its calibrated plane.

    Parameters
    ----------
    size : int or None
        Size of the object, from a listing; None when unknown, taken as a full FFI.

    Returns
    -------
    int
        At most `size`. 17,786,880 for full FFIs, half the file, whichever of the seven header lengths it has. For
        smaller ones: the uncertainty plane is as long as the image, so image and lead end before
        (size + longest lead) / 2. Small files are read whole.

    Notes
    -----
    A foreign file (image in HDU0, an uncertainty plane of another shape) may need more: `locate_image` with
    ``complete=False`` tells where its plane ends.
    """
    if size is None:
        return FFI_PLANE_REQUEST
    if size < 0:
        raise ValueError(f"size is {size}: expected a number of bytes, 0 or more")
    if size <= 1 << 20:
        return size
    if 2 * _FFI_PLANE < size <= 2 * _FFI_PLANE + 2 * FFI_LEAD:
        return FFI_PLANE_REQUEST
    return min(size, padded((size + FFI_LEAD) // 2))


def science_region(header: Mapping[str, Any], shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return the science pixels of a CCD as 0-based row and column slices.

    Parameters
    ----------
    header : mapping
        Cards of the image HDU: SCIROWS, SCIROWE and SCCSA, SCCED (1-based, inclusive; outputs A to D lie side by side).
    shape : (n_row, n_col)
        Shape of the plane; the region is clipped to it, since trimmed frames keep the cards of the full CCD.

    Returns
    -------
    rows, columns : slice
        The whole plane where the cards are absent.

    Raises
    ------
    FrameError
        When the cards are no integers or leave no pixel.
    """
    slices = []
    for axis, first, last in ((0, "SCIROWS", "SCIROWE"), (1, "SCCSA", "SCCED")):
        length = shape[axis]
        start, stop = header.get(first), header.get(last)
        if start is None or stop is None:
            slices.append(slice(0, length))
            continue
        if not isinstance(start, int) or not isinstance(stop, int):
            raise FrameError(f"{first} = {start!r}, {last} = {stop!r}: expected integers; the header is damaged")
        region = slice(min(max(start - 1, 0), length), min(max(stop, 0), length))
        if region.start >= region.stop:
            raise FrameError(f"{first} = {start}, {last} = {stop} leave no science pixel on an axis of {length}")
        slices.append(region)
    return slices[0], slices[1]
