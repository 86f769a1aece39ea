"""A full-width cube in seconds: headers and table as in the archive's, pixels only where targets are.

Owns the values of such a cube, which follow from row, column, frame and plane alone, so that any cutout can be checked
without the file. The rest of the file is a hole: it reads as zeros and takes no space on the disk. Refuses light: for
stars and noise there is `cube.CubeFile`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope.layout.cube import CubeLayout
from starskope.layout.fits import padded
from starskope.synth.cube import cube_lead, frame_table

if TYPE_CHECKING:
    from starskope.synth.sector import SyntheticSector

__all__ = ["pixel_values", "write_sparse_cube"]

# An odd number near 2**64 / golden ratio: consecutive counters get unlike bits (Knuth, vol. 3, section 6.4).
_MIX = np.uint64(0x9E3779B97F4A7C15)
_EXPONENT = np.uint32(0x42800000)


def pixel_values(rows: ArrayLike, columns: ArrayLike, n_frame: int, n_col: int) -> NDArray[np.float32]:
    """Return what the cube holds at some pixels.

    Parameters
    ----------
    rows, columns : (...) int
        0-based.
    n_frame, n_col : int
        Frames of the cube and columns of a frame.

    Returns
    -------
    (..., n_frame, 2) float32
        Flux and error, 64 to 128, as good as unique: 23 bits of a counter's product.
    """
    pixel = np.asarray(rows, np.int64) * n_col + np.asarray(columns, np.int64)
    counter = 2 * n_frame * pixel[..., None] + np.arange(1, 2 * n_frame + 1)
    mixed: NDArray[np.uint64] = counter.astype(np.uint64) * _MIX
    bits: NDArray[np.uint32] = (mixed >> np.uint64(41)).astype(np.uint32) | _EXPONENT
    return bits.view(np.float32).reshape(*pixel.shape, n_frame, 2)


def write_sparse_cube(
    sector: SyntheticSector, path: Path, row0: ArrayLike, col0: ArrayLike, shape: tuple[int, int]
) -> Path:
    """Write a cube whose pixels are there in some rectangles.

    Parameters
    ----------
    sector : SyntheticSector
        Gives size, headers and table; no frame is rendered.
    path : path
        Replaced where it is there.
    row0, col0 : (n,) int
        First row and column of each rectangle; what lies off the frame is left out.
    shape : (int, int)
        Rows and columns of them.

    Returns
    -------
    Path
    """
    config = sector.config
    (n_row, n_col), n_frame = config.shape, config.n_frame
    lead = cube_lead(sector)
    layout = CubeLayout(n_row, n_col, n_frame, len(lead))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(lead)
            file.truncate(len(lead) + padded(layout.n_bytes))
            file.seek(0, os.SEEK_END)
            file.write(frame_table(sector))
            for top, left in zip(np.asarray(row0).tolist(), np.asarray(col0).tolist(), strict=True):
                first, last = max(left, 0), min(left + shape[1], n_col)
                columns = np.arange(first, max(first, last))
                for row in range(max(top, 0), min(top + shape[0], n_row) if columns.size else 0):
                    file.seek(layout.offset(row, first, 0, 0))
                    file.write(pixel_values(row, columns, n_frame, n_col).astype(">f4").tobytes())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
