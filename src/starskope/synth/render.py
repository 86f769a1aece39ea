"""Light onto pixels: stars as stamps, the smooth background as a sum of products, charge that overflows.

Owns the Numba kernels that make the noise-free plane. Refuses noise (`detector`) and any knowledge of what a star is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from starskope.compiled import compiled

__all__ = ["add_background", "add_stars", "bleed"]

_HALF = 58
_OVERSAMPLE = 9


@compiled()
def add_stars(
    image: NDArray[np.float32],
    row_start: int,
    row_stop: int,
    col_start: int,
    col_stop: int,
    stamps: NDArray[np.float32],
    grid_row: NDArray[np.float64],
    grid_col: NDArray[np.float64],
    row: NDArray[np.float64],
    col: NDArray[np.float64],
    flux: NDArray[np.float64],
) -> None:
    """Add stars to a plane, each at its own sub-pixel position with the PRF of its place.

    Parameters
    ----------
    image : (n_row, n_col) float32
        Changed in place, inside the rows and columns given only: light beside the science pixels is not collected.
    stamps : (5, 5, 10, 10, 14, 14) float32
        From `prf.phase_stamps`.
    grid_row, grid_col : (n_star,) float64
        Place in the PRF grid, 0 to 4.
    row, col : (n_star,) float64
        0-based positions in the plane; pixel centres at integers.
    flux : (n_star,) float64
        e-/s.

    Notes
    -----
    16 stamps of 196 pixels per star: about 0.5 us.
    """
    n_grid, side = stamps.shape[0], stamps.shape[4]
    area = side * side
    table = stamps.reshape(n_grid * n_grid * 100, area)
    light = np.empty(area, np.float32)
    for star in range(row.size):
        if flux[star] == 0.0:
            continue
        first_row, first_col = (
            int(np.ceil(row[star] - _HALF / _OVERSAMPLE)),
            int(np.ceil(col[star] - _HALF / _OVERSAMPLE)),
        )
        if first_row > row_stop or first_col > col_stop or first_row + side < row_start or first_col + side < col_start:
            continue
        phase_row = _HALF + _OVERSAMPLE * (first_row - row[star])
        phase_col = _HALF + _OVERSAMPLE * (first_col - col[star])
        k, m = min(int(phase_row), _OVERSAMPLE - 1), min(int(phase_col), _OVERSAMPLE - 1)
        fk, fm = phase_row - k, phase_col - m
        g, h = min(int(grid_row[star]), n_grid - 2), min(int(grid_col[star]), n_grid - 2)
        fg, fh = grid_row[star] - g, grid_col[star] - h
        light[:] = np.float32(0)
        for corner in range(16):
            a, b, c, d = corner & 1, (corner >> 1) & 1, (corner >> 2) & 1, (corner >> 3) & 1
            weight = (fg if a else 1 - fg) * (fh if b else 1 - fh) * (fk if c else 1 - fk) * (fm if d else 1 - fm)
            scaled = np.float32(weight * flux[star])
            stamp = table[((g + a) * n_grid + h + b) * 100 + (k + c) * 10 + m + d]
            for pixel in range(area):
                light[pixel] += scaled * stamp[pixel]
        # Stamp pixel 0 is the one before the first whole sample.
        top, left = first_row - 1, first_col - 1
        for i in range(max(row_start - top, 0), min(row_stop - top, side)):
            for j in range(max(col_start - left, 0), min(col_stop - left, side)):
                image[top + i, left + j] += light[i * side + j]


@compiled()
def add_background(
    image: NDArray[np.float32],
    row_start: int,
    row_stop: int,
    col_start: int,
    col_stop: int,
    along_rows: NDArray[np.float32],
    along_cols: NDArray[np.float32],
) -> None:
    """Add ``sum_k along_rows[k, row] along_cols[k, col]`` to the science pixels.

    Parameters
    ----------
    image : (n_row, n_col) float32
        Changed in place.
    along_rows, along_cols : (n_term, n_science_row), (n_term, n_science_col) float32
    """
    for row in range(row_start, row_stop):
        line = image[row, col_start:col_stop]
        for term in range(along_rows.shape[0]):
            scale = along_rows[term, row - row_start]
            factor = along_cols[term]
            for col in range(line.size):
                line[col] += scale * factor[col]


@compiled()
def bleed(
    image: NDArray[np.float32],
    row_start: int,
    row_stop: int,
    col_start: int,
    col_stop: int,
    full_well: float,
    full: NDArray[np.bool_],
) -> int:
    """Let charge above the full well run along its column, half up and half down, until it finds room.

    Parameters
    ----------
    image : (n_row, n_col) float32
        Changed in place; what runs over the ends of a column is lost.
    full_well : float
        e-/s.
    full : (n_row, n_col) bool
        Set True where a pixel ends at the full well.

    Returns
    -------
    int
        Number of full pixels.
    """
    n_full = 0
    well = np.float32(full_well)
    over = np.zeros(image.shape[1], np.bool_)
    for row in range(row_start, row_stop):
        for col in range(col_start, col_stop):
            if image[row, col] > well:
                over[col] = True
    excess = np.empty(row_stop - row_start, np.float64)
    for col in range(col_start, col_stop):
        if not over[col]:
            continue
        for row in range(row_start, row_stop):
            excess[row - row_start] = max(image[row, col] - well, np.float32(0))
            image[row, col] = min(image[row, col], well)
        for upward in (True, False):
            carried = 0.0
            for step in range(row_stop - row_start):
                row = row_start + step if upward else row_stop - 1 - step
                carried += 0.5 * excess[row - row_start]
                moved = min(carried, np.float64(well - image[row, col]))
                if moved > 0.0:
                    image[row, col] = well if moved < carried else np.float32(image[row, col] + moved)
                    carried -= moved
        for row in range(row_start, row_stop):
            if image[row, col] >= well:
                full[row, col] = True
                n_full += 1
    return n_full
