"""Cutouts from whole frames: the image and uncertainty planes of one FFI, cut at many places.

Owns finding the second plane and the gathering of pixels. Pure: bytes in, values into the arrays of the caller.
Refuses to read (``frames.cutout_pixels``).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from starskope.errors import FrameError
from starskope.frames.planes import Encoding
from starskope.layout.fits import ImagePlane, iter_hdus, locate_image

__all__ = ["cut_planes"]

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]


def cut_planes(data: bytes, name: str, shape: tuple[int, int], row0: I32, col0: I32, flux: F32, flux_err: F32) -> None:
    """Cut one frame.

    Parameters
    ----------
    data : bytes
        The file, or its leading bytes up to the end of the uncertainty plane.
    name : str
        What messages call it.
    shape : (int, int)
        Rows and columns that it must have.
    row0, col0 : (n_target,) int32
        First row and column, 0-based; may lie off the frame.
    flux, flux_err : (n_target, n_row, n_col) float32
        Written; NaN off the frame. Without an uncertainty plane of the same shape all of `flux_err` is NaN.

    Raises
    ------
    FrameError
        Damaged, truncated, or of another shape.
    """
    plane = locate_image(data, name=name)
    if (plane.n_row, plane.n_col) != shape:
        raise FrameError(f"{name} is {plane.n_row}x{plane.n_col}, expected {shape[0]}x{shape[1]}: leave it out")
    _gather(_decoded(data, plane, name), row0, col0, flux)
    second = _uncertainty(data, plane, name)
    if second is None:
        flux_err[...] = np.nan
    else:
        _gather(_decoded(data, second, name), row0, col0, flux_err)


def _uncertainty(data: bytes, plane: ImagePlane, name: str) -> ImagePlane | None:
    """Find the HDU after the image, if it is an image of the same shape; FrameError where the file ends within it."""
    hdu = next(islice(iter_hdus(data, name=name), plane.hdu + 1, None), None)
    if hdu is None:
        if plane.primary.get("NEXTEND") == 2:
            raise FrameError(f"{name} is truncated: it ends before its uncertainty plane; download it again")
        return None
    header = hdu.header
    shape = header.get("NAXIS2"), header.get("NAXIS1")
    if header.get("XTENSION") != "IMAGE" or header["NAXIS"] != 2 or shape != (plane.n_row, plane.n_col):
        return None
    if hdu.offset + hdu.n_bytes > len(data):
        raise FrameError(f"{name} is truncated within its uncertainty plane; download it again")
    return replace(
        plane, header=header, offset=hdu.offset, n_bytes=hdu.n_bytes, bitpix=header["BITPIX"], hdu=plane.hdu + 1
    )


def _decoded(data: bytes, plane: ImagePlane, name: str) -> F32:
    image = np.empty((plane.n_row, plane.n_col), np.float32)
    Encoding.of(plane, name).decode(data, plane.offset, image)
    return image


def _gather(image: F32, row0: I32, col0: I32, out: F32) -> None:
    n_row, n_col = out.shape[1:]
    rows = row0[:, None] + np.arange(n_row)
    columns = col0[:, None] + np.arange(n_col)
    inside = ((rows >= 0) & (rows < image.shape[0]))[:, :, None]
    inside = inside & ((columns >= 0) & (columns < image.shape[1]))[:, None, :]
    rows, columns = np.clip(rows, 0, image.shape[0] - 1), np.clip(columns, 0, image.shape[1] - 1)
    out[...] = image[rows[:, :, None], columns[:, None, :]]
    if not inside.all():
        out[~inside] = np.nan
