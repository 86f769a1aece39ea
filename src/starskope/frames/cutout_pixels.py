"""Reading the pixels of cutouts: ranges of one cube, or whole planes of many frames.

Owns both ways from a list of corners to filled arrays, with reading and decoding side by side: bytes are decoded in the
threads of ``starskope.parallel`` as they come, and no more of them are held than the options allow. Both ways give the
same bytes. Refuses to place targets (``frames.cutout_places``) and to choose a way (``frames.cutouts``).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope import parallel
from starskope.archive.cubes import Cube
from starskope.errors import FrameError, StarskopeError, TransferError
from starskope.frames.cutout_axis import FrameAxis, make_axis
from starskope.frames.cutout_planes import cut_planes
from starskope.frames.cutout_ranges import Fanout, Piece, PixelRanges, moving_ranges, static_ranges
from starskope.frames.sources import FrameSource
from starskope.layout.fits import FFI_LEAD, FFI_PLANE_REQUEST, locate_image
from starskope.transfer.options import TransferOptions
from starskope.transfer.planning import CostModel, Plan, plan_ranges

__all__ = ["FFI_BYTES", "CubePixels", "Filled", "PixelSource", "PlanePixels"]

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

FFI_BYTES = 2 * FFI_PLANE_REQUEST
"""Bytes asked for of a frame: headers, image and uncertainty; a full FFI ends before."""
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
        frames = await cube.frames()
        axis = make_axis(
            frames.names,
            start=frames.number("TSTART"),
            stop=frames.number("TSTOP"),
            barycorr=frames.number("BARYCORR"),
            quality=frames.number("DQUALITY"),
            shape=(cube.layout.n_row, cube.layout.n_col),
            cards=frames.cards,
            primary=cube.primary,
            what=cube.name,
        )
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
        plan, wanted = self._plan(row0, col0, shape)
        _blank(row0, col0, self.axis.shape, flux, flux_err)
        filled = Filled(plan.n_read, plan.n_bytes)
        fanout = Fanout(
            plan, wanted, self._cube.layout, row0, col0, flux, flux_err, most_kept=self._options.bytes_in_flight
        )
        ready: list[Piece] = []
        held = 0
        async with _Decoders(workers) as decoders:
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


class PlanePixels(PixelSource):
    """Whole planes of frames."""

    kind = "ffi"

    def __init__(self, source: FrameSource, axis: FrameAxis, options: TransferOptions) -> None:
        self.location = source.locations[0].rpartition("/")[0]
        self.axis = axis
        self._source, self._options = source, options

    @classmethod
    async def open(cls, source: FrameSource, options: TransferOptions) -> PlanePixels:
        """Read the headers of all frames, 31,680 bytes of each."""
        headers: list[Mapping[str, Any]] = [{}] * source.n_frame
        primaries: list[Mapping[str, Any]] = [{}] * source.n_frame
        shapes: list[tuple[int, int]] = [(0, 0)] * source.n_frame

        async def read(index: int) -> None:
            lead = await source.read(index, 0, FFI_LEAD)
            plane = locate_image(lead, name=source.names[index], complete=False)
            headers[index], primaries[index] = plane.header, plane.primary
            shapes[index] = plane.n_row, plane.n_col

        await _all(read, source.n_frame, options.max_connections)
        for index, shape in enumerate(shapes):
            if shape != shapes[0]:
                raise FrameError(
                    f"{source.names[index]} is {shape[0]}x{shape[1]}, {source.names[0]} {shapes[0][0]}x{shapes[0][1]}: "
                    "cutouts need frames of one CCD"
                )
        columns = {
            card: np.array([_number(header, card) for header in headers])
            for card in ("TSTART", "TSTOP", "BARYCORR", "DQUALITY")
        }
        axis = make_axis(
            source.names,
            start=columns["TSTART"],
            stop=columns["TSTOP"],
            barycorr=columns["BARYCORR"],
            quality=columns["DQUALITY"],
            shape=shapes[0],
            cards=headers.__getitem__,
            primary=primaries[0],
            what="the list",
        )
        return cls(source, axis, options)

    def cost(self, row0: I32, col0: I32, shape: tuple[int, int]) -> tuple[int, int]:
        """Return requests and bytes: every frame whole, however many targets there are."""
        n_frame = self._source.n_frame
        n_row, n_col = self.axis.shape
        return n_frame, n_frame * min(FFI_BYTES, 2 * (FFI_LEAD + 4 * n_row * n_col))

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
        """Fill arrays from whole frames; arguments as `PixelSource.fill`."""
        filled = Filled()
        source, axis = self._source, self.axis
        each = self.cost(row0, col0, (flux.shape[2], flux.shape[3]))[1] // max(1, source.n_frame)
        n_parallel = max(1, min(self._options.max_connections, self._options.bytes_in_flight // each))
        async with _Decoders(workers) as decoders:

            async def one(index: int) -> None:
                try:
                    data = await source.read(index, 0, FFI_BYTES)
                    filled.n_request, filled.n_bytes = filled.n_request + 1, filled.n_bytes + len(data)
                    progress(len(data))
                    corner = (row0[:, index], col0[:, index]) if row0.ndim == 2 else (row0, col0)
                    await decoders.wait(
                        cut_planes, data, source.names[index], axis.shape, *corner, flux[:, index], flux_err[:, index]
                    )
                except (StarskopeError, OSError) as error:
                    if not skip:
                        raise
                    filled.lost_frames[index] = str(error)
                    flux[:, index] = flux_err[:, index] = np.nan

            await _all(one, source.n_frame, n_parallel)
        return filled


class _Decoders:
    """A bounded number of decoding tasks in the shared threads; leaving waits for them all."""

    def __init__(self, workers: int) -> None:
        self._n_most = parallel.resolve_workers(workers)
        self._running: set[asyncio.Future[None]] = set()
        self._slots = asyncio.Semaphore(self._n_most)

    async def __aenter__(self) -> _Decoders:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # A thread that still writes into the arrays must end before their owner hears of anything.
        results = await asyncio.gather(*self._running, return_exceptions=True)
        if kind is None:
            for result in results:
                if isinstance(result, BaseException):
                    raise result

    async def run(self, function: Callable[..., None], *arguments: Any) -> None:
        """Start a task; waits only while too many run, and raises what an earlier one raised."""
        while len(self._running) >= self._n_most:
            done, self._running = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        self._running.add(asyncio.wrap_future(parallel.submit(function, *arguments)))

    async def wait(self, function: Callable[..., None], *arguments: Any) -> None:
        """Run a task to its end."""
        async with self._slots:
            task = asyncio.wrap_future(parallel.submit(function, *arguments))
            self._running.add(task)
            try:
                await asyncio.shield(task)
            finally:
                if task.done():
                    self._running.discard(task)


async def _all(work: Callable[[int], Any], n_item: int, n_parallel: int) -> None:
    """Await ``work(0)`` to ``work(n_item - 1)``, at most so many at a time; the first failure cancels the rest."""
    coming = iter(range(n_item))

    async def worker() -> None:
        for index in coming:
            await work(index)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(n_parallel, n_item)):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _blank(row0: I32, col0: I32, frame: tuple[int, int], flux: F32, flux_err: F32) -> None:
    """Set every cutout that leaves the frame to NaN, before its pixels come."""
    n_row, n_col = flux.shape[2:]
    leaves = (row0 < 0) | (col0 < 0) | (row0 > frame[0] - n_row) | (col0 > frame[1] - n_col)
    for target in np.flatnonzero(leaves.any(axis=1) if leaves.ndim == 2 else leaves):
        flux[target] = flux_err[target] = np.nan


def _number(header: Mapping[str, Any], card: str) -> float:
    value = header.get(card)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else np.nan
