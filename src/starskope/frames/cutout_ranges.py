"""From rectangles of pixels to ranges of a cube's bytes, and from bytes to cutouts.

Owns the arithmetic between places on the frame, series in the file and values in the arrays, for targets that stay and
for targets that move. Pure: refuses to read, to decide what to read at once (``transfer.planning``) and where targets
are (``frames.cutout_places``). Pixels that lie off the frame have no bytes; their values are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from starskope.layout.cube import CubeLayout
from starskope.transfer.planning import Plan

__all__ = ["Fanout", "Piece", "PixelRanges", "moving_ranges", "static_ranges"]

I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
F32 = NDArray[np.float32]
Piece = tuple[int, bytes]
"""Part of a plan, and the bytes of the read that it lies in."""

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


class Fanout:
    """Hands what reads bring to the targets that want it, each value once for each.

    Parameters
    ----------
    plan : Plan
    wanted : PixelRanges
        What the plan was made of.
    layout : CubeLayout
    row0, col0 : (n_target,) or (n_target, n_frame) int32
    flux, flux_err : (n_target, n_frame, n_row, n_col) float32
        Written by `decode`; every bit as it stands in the file.
    most_kept : int
        Bytes that may wait for the rest of their targets.

    Notes
    -----
    The rows of a target are decoded together, since each touches nearly every cache line of the result: as they come,
    they take four times as long. Reads come nearly in order of the file, so what waits is about as many rows of pixels
    as a cutout has.
    """

    def __init__(
        self,
        plan: Plan,
        wanted: PixelRanges,
        layout: CubeLayout,
        row0: I32,
        col0: I32,
        flux: F32,
        flux_err: F32,
        *,
        most_kept: int,
    ) -> None:
        self._plan, self._layout = plan, layout
        self._row0, self._col0, self._flux, self._flux_err = row0, col0, flux, flux_err
        self._most_kept = most_kept
        self.target_of_part = wanted.target[plan.part_range]
        read = np.repeat(np.arange(plan.n_read), np.diff(plan.first_part))
        self._value = ((plan.part_start - layout.data_offset) // _VALUE).tolist()
        self._n_value = ((plan.part_stop - plan.part_start) // _VALUE).tolist()
        self._place = ((plan.part_start - plan.reads[read, 0]) // _VALUE).tolist()
        self._missing = np.bincount(self.target_of_part, minlength=len(row0)).tolist()
        self._waiting: dict[int, list[Piece]] = {}
        self._n_kept = 0

    def take(self, read: int, data: bytes) -> list[Piece]:
        """Take the bytes of a read; returns the pieces that `decode` may have now."""
        parts = self._plan.parts_of(read)
        pieces = [(part, data) for part in range(parts.start, parts.stop)]
        if self._row0.ndim == 2:
            return pieces
        ready: list[Piece] = []
        for piece, target in zip(pieces, self.target_of_part[parts].tolist(), strict=True):
            n_bytes = self._n_value[piece[0]] * _VALUE
            waiting = self._waiting.setdefault(target, [])
            waiting.append(piece)
            self._n_kept += n_bytes
            self._missing[target] -= 1
            if not self._missing[target]:
                ready += self._release(target)
        while self._n_kept > self._most_kept and self._waiting:
            ready += self._release(next(iter(self._waiting)))
        return ready

    def rest(self) -> list[Piece]:
        """Return what still waits, for rows that will never come."""
        return [piece for target in list(self._waiting) for piece in self._release(target)]

    def _release(self, target: int) -> list[Piece]:
        pieces = self._waiting.pop(target)
        self._n_kept -= sum(self._n_value[part] for part, _ in pieces) * _VALUE
        return pieces

    def decode(self, pieces: Sequence[Piece]) -> None:
        """Put values into the arrays; for threads: pieces of different calls touch different values."""
        if self._row0.ndim == 2:
            self._decode_moving(pieces)
            return
        for target, group in groupby(pieces, key=lambda piece: int(self.target_of_part[piece[0]])):
            of_target = sorted(group, key=lambda piece: self._value[piece[0]])
            rows, columns = self._inside(target)
            n_value = sum(self._n_value[part] for part, _ in of_target)
            if n_value == len(rows) * len(columns) * self._layout.n_frame:
                self._decode_whole(target, of_target, rows, columns)
            else:
                self._decode_parts(target, of_target)

    def _inside(self, target: int) -> tuple[range, range]:
        """Rows and columns of a cutout that lie on the frame."""
        first, n_row = int(self._row0[target]), self._flux.shape[2]
        left, n_col = int(self._col0[target]), self._flux.shape[3]
        rows = range(max(0, -first), min(n_row, self._layout.n_row - first))
        return rows, range(max(0, -left), min(n_col, self._layout.n_col - left))

    def _decode_whole(self, target: int, pieces: Sequence[Piece], rows: range, columns: range) -> None:
        shape = len(rows), len(columns), self._layout.n_frame, 2
        values = np.frombuffer(b"".join([self._bytes(piece) for piece in pieces]), ">f4").reshape(shape)
        place = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
        self._flux[target][:, *place] = values[..., 0].transpose(2, 0, 1)
        self._flux_err[target][:, *place] = values[..., 1].transpose(2, 0, 1)

    def _decode_parts(self, target: int, pieces: Sequence[Piece]) -> None:
        n_frame, width = self._layout.n_frame, self._layout.n_col
        for piece in pieces:
            row, column = divmod(self._value[piece[0]] // n_frame, width)
            series = np.frombuffer(self._bytes(piece), ">f4").reshape(-1, n_frame, 2)
            r, c = row - int(self._row0[target]), column - int(self._col0[target])
            self._flux[target, :, r, c : c + len(series)] = series[:, :, 0].T
            self._flux_err[target, :, r, c : c + len(series)] = series[:, :, 1].T

    def _bytes(self, piece: Piece) -> memoryview:
        part, data = piece
        start = self._place[part] * _VALUE
        return memoryview(data)[start : start + self._n_value[part] * _VALUE]

    def _decode_moving(self, pieces: Sequence[Piece]) -> None:
        """Each piece is one pixel during some frames: gather all of one read at once."""
        n_frame, width = self._layout.n_frame, self._layout.n_col
        for _, group in groupby(pieces, key=lambda piece: id(piece[1])):
            of_read = list(group)
            data, parts = of_read[0][1], np.array([part for part, _ in of_read], np.int64)
            n_value = np.array([self._n_value[part] for part in parts], np.int64)
            owner = parts.repeat(n_value)
            step = np.arange(len(owner)) - np.repeat(np.cumsum(n_value) - n_value, n_value)
            number = np.array([self._value[part] for part in parts], np.int64).repeat(n_value) + step
            source = np.array([self._place[part] for part in parts], np.int64).repeat(n_value) + step
            pixel, frame = number // n_frame, number % n_frame
            target = self.target_of_part[owner]
            r, c = pixel // width - self._row0[target, frame], pixel % width - self._col0[target, frame]
            values = np.frombuffer(data, ">f4").reshape(-1, 2)
            self._flux[target, frame, r, c] = values[source, 0]
            self._flux_err[target, frame, r, c] = values[source, 1]
