"""The pixel response function over the field: MAST's measured ones or an analytic stand-in, ready for rendering.

Owns reading, making and arranging PRFs. Refuses to draw stars (`render`).

A PRF is the light that a pixel at some offset from the star receives, pixel integration included: 117 x 117 values,
nine per pixel, on a 5 x 5 grid over the field. Between samples and between grid points it is interpolated linearly, as
the mission's own documentation prescribes; each sampling is scaled to sum to 1, so that a star keeps its flux wherever
it falls.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from starskope.errors import FrameError

__all__ = ["N_GRID", "STAMP", "analytic_prfs", "load_prfs", "phase_stamps"]

N_GRID = 5
OVERSAMPLE = 9
N_PIXEL = 13
SIZE = OVERSAMPLE * N_PIXEL
STAMP = N_PIXEL + 1
"""Side of a stamp: 13 pixels and one more, since the star may sit anywhere between samples."""
_FINE = 3


def load_prfs(folder: str | Path) -> NDArray[np.float64]:
    """Read the 25 PRF files of one CCD, as MAST names them: ``...-prf-1-4-row0001-col0045.fits``.

    Returns
    -------
    (5, 5, 117, 117) float64
        Grid row, grid column, row, column.

    Raises
    ------
    ValueError
        When the folder does not hold a 5 x 5 grid.
    FrameError
        When a file has another shape.
    """
    from astropy.io import fits

    paths = sorted(Path(folder).glob("*-prf-*-row*-col*.fits"))
    places = [(path.stem.rpartition("-row")[2].partition("-col")[0], path.stem.rpartition("-col")[2]) for path in paths]
    rows, columns = sorted({place[0] for place in places}), sorted({place[1] for place in places})
    if len(paths) != N_GRID**2 or len(rows) != N_GRID or len(columns) != N_GRID:
        raise ValueError(
            f"{folder} holds {len(paths)} PRF files: expected the 25 of one CCD, five rows by five columns"
        )
    prfs = np.empty((N_GRID, N_GRID, SIZE, SIZE))
    for path, (row, column) in zip(paths, places, strict=True):
        data = fits.getdata(path)
        if data.shape != (SIZE, SIZE):
            raise FrameError(f"{path} is {data.shape}: expected a PRF of {SIZE} x {SIZE}; download it again")
        prfs[rows.index(row), columns.index(column)] = data
    return prfs


def analytic_prfs() -> NDArray[np.float64]:
    """Return a PRF grid like TESS's: a Gaussian core, wider and radially stretched off the axis, and a Moffat halo.

    Returns
    -------
    (5, 5, 117, 117) float64
        The axis lies at one corner of the field, as the camera's does.
    """
    side = SIZE * _FINE
    offset = (np.arange(side) - (side - 1) / 2) / (OVERSAMPLE * _FINE)
    y, x = offset[:, None], offset[None, :]
    prfs = np.empty((N_GRID, N_GRID, SIZE, SIZE))
    for i in range(N_GRID):
        for j in range(N_GRID):
            down, right = i / (N_GRID - 1), j / (N_GRID - 1)
            radius = np.hypot(down, right) / np.sqrt(2)
            angle = np.arctan2(down, right + 1e-9)
            along, across = 0.66 + 0.30 * radius**2, 0.66 + 0.08 * radius**2
            u = x * np.cos(angle) + y * np.sin(angle)
            v = y * np.cos(angle) - x * np.sin(angle)
            core = np.exp(-0.5 * ((u / along) ** 2 + (v / across) ** 2)) / (2 * np.pi * along * across)
            halo = (1 + (x * x + y * y) / 1.6**2) ** -2.5 * 1.5 / (np.pi * 1.6**2)
            # The box of one pixel's width is the pixel integration.
            light = uniform_filter(0.88 * core + 0.12 * halo, size=OVERSAMPLE * _FINE, mode="constant")
            prfs[i, j] = light[_FINE // 2 :: _FINE, _FINE // 2 :: _FINE]
    return prfs


def phase_stamps(prfs: NDArray[np.float64]) -> NDArray[np.float32]:
    """Arrange PRFs so that drawing a star is a weighted sum of contiguous stamps.

    Parameters
    ----------
    prfs : (5, 5, 117, 117) float64

    Returns
    -------
    (5, 5, 10, 10, 14, 14) float32
        Grid row, grid column, row phase, column phase, pixel row, pixel column: stamp ``[k, l]`` holds the samples
        ``9 (i - 1) + k``, ``9 (j - 1) + l`` and sums to 1. Phase 9 is phase 0 one pixel on.
    """
    padded = np.zeros((*prfs.shape[:2], SIZE + 2 * OVERSAMPLE, SIZE + 2 * OVERSAMPLE))
    padded[:, :, OVERSAMPLE:-OVERSAMPLE, OVERSAMPLE:-OVERSAMPLE] = prfs
    n_phase = OVERSAMPLE + 1
    stamps = np.empty((*prfs.shape[:2], n_phase, n_phase, STAMP, STAMP))
    for k in range(n_phase):
        for m in range(n_phase):
            span = OVERSAMPLE * (STAMP - 1) + 1
            stamps[:, :, k, m] = padded[:, :, k : k + span : OVERSAMPLE, m : m + span : OVERSAMPLE]
    stamps /= stamps.sum(axis=(-2, -1), keepdims=True)
    return np.ascontiguousarray(stamps, dtype=np.float32)
