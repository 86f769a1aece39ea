"""From rectangles of pixels to ranges of a cube's bytes, and from bytes to cutouts.

Owns the arithmetic between places on the frame, series in the file and values in the arrays, for targets that stay and
for targets that move. Pure: refuses to read, to decide what to read at once (``transfer.planning``) and where targets
are (``frames.cutout_places``). Pixels that lie off the frame have no bytes; their values are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from starskope.layout.cube import CubeLayout
from starskope.transfer.planning import Plan

__all__ = ["PixelRanges", "moving_ranges", "scatter", "static_ranges"]

I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
F32 = NDArray[np.float32]

_VALUE = 8  # bytes of one pixel of one frame: flux and error


@dataclass(frozen=True, eq=False)
class PixelRanges:
    """The bytes that targets need.

    Attributes
    ----------
    ranges : (n_range, 2) int64
        Half-open ranges of the cube's bytes; each lies within one row of pixels.
    target : (n_range,) int64
        Whose.
    """

    ranges: I64
    target: I64


def static_ranges(layout: CubeLayout, row0: I32, col0: I32, shape: tuple[int, int]) -> PixelRanges:
    """Return the ranges of cutouts that stay in their place: one for each row of pixels that lies on the frame.

    Parameters
    ----------
    layout : CubeLayout
    row0, col0 : (n_target,) int32
        First row and column, 0-based; may lie off the frame.
    shape : (int, int)
        Rows and columns of a cutout.
    """
    n_row, n_col = shape
    row = row0.astype(np.int64)[:, None] + np.arange(n_row)
    first = np.clip(col0.astype(np.int64), 0, layout.n_col)
    last = np.clip(col0.astype(np.int64) + n_col, 0, layout.n_col)
    there = (row >= 0) & (row < layout.n_row) & (last > first)[:, None]
    target, _ = np.nonzero(there)
    base = row[there] * layout.n_col
    series = layout.n_frame * _VALUE
    ranges = np.stack([base + first[target], base + last[target]], axis=1) * series + layout.data_offset
    return PixelRanges(ranges, target.astype(np.int64))


def moving_ranges(layout: CubeLayout, row0: I32, col0: I32, shape: tuple[int, int]) -> PixelRanges:
    """Return the ranges of cutouts that move: for each pixel, the frames during which it lies in the cutout.

    Parameters
    ----------
    layout : CubeLayout
    row0, col0 : (n_target, n_frame) int32
        As in `static_ranges`, for each frame.
    shape : (int, int)

    Notes
    -----
    Memory: 24 bytes per pixel and frame of one target, beside the result.
    """
    n_row, n_col = shape
    ranges: list[I64] = []
    owners: list[I64] = []
    frame = np.arange(layout.n_frame, dtype=np.int64)[:, None, None]
    for target in range(len(row0)):
        row = row0[target].astype(np.int64)[:, None, None] + np.arange(n_row)[:, None]
        column = col0[target].astype(np.int64)[:, None, None] + np.arange(n_col)
        there = (row >= 0) & (row < layout.n_row) & (column >= 0) & (column < layout.n_col)
        # Numbers of values in the file: consecutive ones are one pixel in consecutive frames.
        value = np.sort(((row * layout.n_col + column) * layout.n_frame + frame)[there])
        if not value.size:
            continue
        # Two pixels side by side would run on too; a range is to lie within one series.
        breaks = (np.diff(value) != 1) | (value[1:] % layout.n_frame == 0)
        start = value[np.concatenate([[True], breaks])]
        stop = value[np.concatenate([breaks, [True]])] + 1
        ranges.append(np.stack([start, stop], axis=1) * _VALUE + layout.data_offset)
        owners.append(np.full(len(start), target, np.int64))
    if not ranges:
        return PixelRanges(np.empty((0, 2), np.int64), np.empty(0, np.int64))
    return PixelRanges(np.concatenate(ranges), np.concatenate(owners))


def scatter(
    data: bytes,
    read: int,
    plan: Plan,
    wanted: PixelRanges,
    layout: CubeLayout,
    row0: I32,
    col0: I32,
    flux: F32,
    flux_err: F32,
) -> None:
    """Hand the values of one read to every target that wants them.

    Parameters
    ----------
    data : bytes
        Of ``plan.reads[read]``.
    read, plan, wanted, layout
        Which read of which plan for which ranges.
    row0, col0 : (n_target,) or (n_target, n_frame) int32
    flux, flux_err : (n_target, n_frame, n_row, n_col) float32
        Written; every bit as it stands in the file.
    """
    parts = plan.parts_of(read)
    target = wanted.target[plan.part_range[parts]]
    first = (plan.part_start[parts] - layout.data_offset) // _VALUE
    n_value = (plan.part_stop[parts] - plan.part_start[parts]) // _VALUE
    place = (plan.part_start[parts] - plan.reads[read, 0]) // _VALUE
    values = np.frombuffer(data, ">f4").reshape(-1, 2)
    if row0.ndim == 2:
        _scatter_moving(values, target, first, n_value, place, layout, row0, col0, flux, flux_err)
        return
    n_frame = layout.n_frame
    for i, start, n, at in zip(target.tolist(), first.tolist(), n_value.tolist(), place.tolist(), strict=True):
        row, column = divmod(start // n_frame, layout.n_col)
        n_col = n // n_frame
        series = values[at : at + n].reshape(n_col, n_frame, 2)
        r, c = row - int(row0[i]), column - int(col0[i])
        flux[i, :, r, c : c + n_col] = series[:, :, 0].T
        flux_err[i, :, r, c : c + n_col] = series[:, :, 1].T


def _scatter_moving(
    values: NDArray[np.float32],
    target: I64,
    first: I64,
    n_value: I64,
    place: I64,
    layout: CubeLayout,
    row0: I32,
    col0: I32,
    flux: F32,
    flux_err: F32,
) -> None:
    owner = np.repeat(np.arange(len(target)), n_value)
    step = np.arange(len(owner)) - np.repeat(np.cumsum(n_value) - n_value, n_value)
    number = first[owner] + step
    pixel, frame = number // layout.n_frame, number % layout.n_frame
    i = target[owner]
    r, c = pixel // layout.n_col - row0[i, frame], pixel % layout.n_col - col0[i, frame]
    source = place[owner] + step
    flux[i, frame, r, c] = values[source, 0]
    flux_err[i, frame, r, c] = values[source, 1]
