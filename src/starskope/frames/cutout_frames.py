"""Cutouts from whole frames: every plane is read once, whatever is cut from it.

Owns the list of frames as one axis in order of time, and filling arrays frame by frame. Refuses frames of several CCDs,
and the pixels of one frame (``cutout_planes``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from starskope.errors import FrameError, StarskopeError
from starskope.frames.cutout_axis import FrameAxis, make_axis
from starskope.frames.cutout_pixels import F32, I32, Filled, PixelSource
from starskope.frames.cutout_planes import cut_planes
from starskope.frames.cutout_tasks import Decoders, each_index, off_loop
from starskope.frames.sources import FrameSource
from starskope.layout.fits import FFI_LEAD, FFI_PLANE_REQUEST, locate_image
from starskope.transfer.options import TransferOptions

__all__ = ["FFI_BYTES", "PlanePixels"]

FFI_BYTES = 2 * FFI_PLANE_REQUEST
"""Bytes asked for of a frame: headers, image and uncertainty; a full FFI ends before."""


class PlanePixels(PixelSource):
    """Whole planes of frames."""

    kind = "ffi"

    def __init__(self, source: FrameSource, order: list[int], axis: FrameAxis, options: TransferOptions) -> None:
        self.location = source.locations[0].rpartition("/")[0]
        self.axis = axis
        self._source, self._order, self._options = source, order, options

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

        await each_index(read, source.n_frame, options.max_connections)
        for index, shape in enumerate(shapes):
            if shape != shapes[0]:
                raise FrameError(
                    f"{source.names[index]} is {shape[0]}x{shape[1]}, {source.names[0]} {shapes[0][0]}x{shapes[0][1]}: "
                    "cutouts need frames of one CCD"
                )
        order = _in_time(headers, source.names)
        headers = [headers[index] for index in order]
        columns = {
            card: np.array([_number(header, card) for header in headers])
            for card in ("TSTART", "TSTOP", "BARYCORR", "DQUALITY")
        }
        axis = await off_loop(
            make_axis,
            [source.names[index] for index in order],
            start=columns["TSTART"],
            stop=columns["TSTOP"],
            barycorr=columns["BARYCORR"],
            quality=columns["DQUALITY"],
            shape=shapes[0],
            cards=headers.__getitem__,
            primary=primaries[order[0]],
            what="the list",
        )
        return cls(source, order, axis, options)

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
        async with Decoders(workers) as decoders:

            async def one(index: int) -> None:
                try:
                    data = await source.read(self._order[index], 0, FFI_BYTES)
                    filled.n_request, filled.n_bytes = filled.n_request + 1, filled.n_bytes + len(data)
                    progress(len(data))
                    corner = (row0[:, index], col0[:, index]) if row0.ndim == 2 else (row0, col0)
                    await decoders.wait(
                        cut_planes,
                        data,
                        str(axis.names[index]),
                        axis.shape,
                        *corner,
                        flux[:, index],
                        flux_err[:, index],
                    )
                except (StarskopeError, OSError) as error:
                    if not skip:
                        raise
                    filled.lost_frames[index] = str(error)
                    flux[:, index] = flux_err[:, index] = np.nan

            await each_index(one, source.n_frame, n_parallel)
        return filled


def _in_time(headers: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[int]:
    """Return the order of frames in time; ValueError when they are of several CCDs or one comes twice."""
    ccds = Counter((header.get("CAMERA"), header.get("CCD")) for header in headers)
    if len(ccds) > 1:
        found = "; ".join(f"{n} of camera {camera}, CCD {ccd}" for (camera, ccd), n in sorted(ccds.items(), key=str))
        raise ValueError(f"the list holds frames of several CCDs: {found}; give those of one")
    repeated = [name for name, n in Counter(names).items() if n > 1]
    if repeated:
        raise ValueError(f"{len(repeated)} frame(s) come twice, the first {repeated[0]}: give each once")
    start = np.array([_number(header, "TSTART") for header in headers])
    order: list[int] = np.argsort(start, kind="stable").tolist()
    return order


def _number(header: Mapping[str, Any], card: str) -> float:
    value = header.get(card)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else np.nan
