"""Reading the pixels of cutouts from a cube, and what any source of their pixels has to do.

Owns the way from a list of corners to filled arrays by ranges of one cube, with reading and decoding side by side:
bytes are decoded in the threads of ``starskope.parallel`` as they come, and no more of them are held than the options
allow. Refuses whole frames (``cutout_frames``), to place targets (``cutout_places``) and to choose a source
(``cutout_call``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from starskope.archive.cube_frames import CubeFrames
from starskope.archive.cube_times import exposure_times
from starskope.archive.cubes import Cube
from starskope.errors import TransferError
from starskope.frames.cutout_axis import FrameAxis, make_axis
from starskope.frames.cutout_ranges import Fanout, Piece, PixelRanges, moving_ranges, static_ranges
from starskope.frames.cutout_tasks import Decoders, off_loop
from starskope.transfer.options import TransferOptions
from starskope.transfer.planning import CostModel, Plan, plan_ranges

__all__ = ["CubePixels", "Filled", "PixelSource"]

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

_DECODE_BYTES = 4 * 2**20  # reads handed to a thread together


@dataclass(eq=False)
class Filled:
    """What became of filling arrays.

    Attributes
    ----------
    n_request, n_bytes : int
        What was read.
    lost_targets : dict of int to str
        Targets (by their place in the arrays) some of whose pixels could not be had, and why.
    lost_frames : dict of int to str
        Frames that could not be had, NaN for every target.
    """

    n_request: int = 0
    n_bytes: int = 0
    lost_targets: dict[int, str] = field(default_factory=dict)
    lost_frames: dict[int, str] = field(default_factory=dict)


class PixelSource(ABC):
    """The pixels of one CCD, open for reading.

    Attributes
    ----------
    axis : FrameAxis
    kind : "cube" or "ffi"
    location : str
    """

    axis: FrameAxis
    kind: str
    location: str

    @abstractmethod
    def cost(self, row0: I32, col0: I32, shape: tuple[int, int]) -> tuple[int, int]:
        """Return requests and bytes that filling takes."""

    @abstractmethod
    async def fill(
        self,
        row0: I32,
        col0: I32,
        flux: F32,
        flux_err: F32,
        *,
        workers: int,
        skip: bool,
        progress: Callable[[int], None],
    ) -> Filled:
        """Fill arrays (n_target, n_time, n_row, n_col); pixels off the frame become NaN.

        Parameters
        ----------
        row0, col0 : (n_target,) or (n_target, n_time) int32
        workers : int
            Threads that decode.
        skip : bool
            Tell what cannot be had instead of raising it.
        progress : callable
            Told the bytes of each read.
        """


class CubePixels(PixelSource):
    """Ranges of a cube."""

    kind = "cube"

    def __init__(self, cube: Cube, axis: FrameAxis, options: TransferOptions, model: CostModel) -> None:
        self.location, self.axis = cube.location, axis
        self._cube, self._options, self._model = cube, options, model

    @classmethod
    async def open(cls, cube: Cube, options: TransferOptions, model: CostModel) -> CubePixels:
        """Read the table of frames; errors as `Cube.frames`, and FrameError without world coordinates."""
        axis = await off_loop(_axis_of, cube, await cube.frames())
        return cls(cube, axis, options, model)

    def _plan(self, row0: I32, col0: I32, shape: tuple[int, int]) -> tuple[Plan, PixelRanges]:
        layout = self._cube.layout
        wanted = (moving_ranges if row0.ndim == 2 else static_ranges)(layout, row0, col0, shape)
        plan = plan_ranges(
            wanted.ranges,
            gap_bytes=self._model.gap_bytes,
            max_read_bytes=self._options.small_read_bytes or self._options.step_bytes,
            unit_bytes=8 * layout.n_frame,
            origin=layout.data_offset,
        )
        return plan, wanted

    def cost(self, row0: I32, col0: I32, shape: tuple[int, int]) -> tuple[int, int]:
        """Return requests and bytes: the union of all ranges, and the gaps that cost less than a request."""
        plan, _ = self._plan(row0, col0, shape)
        return plan.n_read, plan.n_bytes

    async def fill(
        self,
        row0: I32,
        col0: I32,
        flux: F32,
        flux_err: F32,
        *,
        workers: int,
        skip: bool,
        progress: Callable[[int], None],
    ) -> Filled:
        """Fill arrays from ranges of the cube; arguments as `PixelSource.fill`."""
        shape = flux.shape[2], flux.shape[3]
        plan, wanted = await off_loop(self._plan, row0, col0, shape)
        _blank(row0, col0, self.axis.shape, flux, flux_err)
        filled = Filled(plan.n_read, plan.n_bytes)
        fanout = Fanout(
            plan, wanted, self._cube.layout, row0, col0, flux, flux_err, most_kept=self._options.bytes_in_flight
        )
        ready: list[Piece] = []
        held = 0
        async with Decoders(workers) as decoders:
            reads = self._cube.read_many(plan.reads, self._options.bytes_in_flight)
            async with aclosing(reads) as coming:
                async for index, got in coming:
                    if isinstance(got, TransferError):
                        if not skip:
                            raise got
                        for target in set(fanout.target_of_part[plan.parts_of(index)].tolist()):
                            filled.lost_targets.setdefault(target, str(got))
                        continue
                    ready += fanout.take(index, got)
                    held += len(got)
                    progress(len(got))
                    if held >= _DECODE_BYTES:
                        await decoders.run(fanout.decode, ready)
                        ready, held = [], 0
            await decoders.run(fanout.decode, ready + fanout.rest())
        for target in filled.lost_targets:
            flux[target] = flux_err[target] = np.nan
        return filled


def _axis_of(cube: Cube, frames: CubeFrames) -> FrameAxis:
    start, stop = exposure_times(frames)
    return make_axis(
        frames.names,
        start=start,
        stop=stop,
        barycorr=frames.number("BARYCORR"),
        quality=frames.number("DQUALITY"),
        shape=(cube.layout.n_row, cube.layout.n_col),
        cards=frames.cards,
        primary=cube.primary,
        what=cube.name,
    )


def _blank(row0: I32, col0: I32, frame: tuple[int, int], flux: F32, flux_err: F32) -> None:
    """Set every cutout that leaves the frame to NaN, before its pixels come."""
    n_row, n_col = flux.shape[2:]
    leaves = (row0 < 0) | (col0 < 0) | (row0 > frame[0] - n_row) | (col0 > frame[1] - n_col)
    for target in np.flatnonzero(leaves.any(axis=1) if leaves.ndim == 2 else leaves):
        flux[target] = flux_err[target] = np.nan
