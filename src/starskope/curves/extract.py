"""Light curves of chosen stars from frames: files, S3 objects, or arrays in memory.

Owns the drive through the frames (stream, fixed blocks, one reduction while the next block arrives) and what becomes of
frames that cannot be used. Refuses the arithmetic of pixels (``frames.reduce``) and any state on disk: what must
survive a kill is the main job's.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ParamSpec, TypeVar

from astropy.table import Table
from numpy.typing import ArrayLike

from starskope.curves.assembly import given_times, join_blocks
from starskope.curves.container import LightCurves
from starskope.curves.in_memory import measure_planes
from starskope.errors import FrameError, StarskopeError, TransferError
from starskope.frames.decode import Frame, decode_frame
from starskope.frames.quality import frame_quality
from starskope.frames.reduce import BlockProduct, ReduceSettings, Reference, make_reference, reduce_block
from starskope.frames.stream import FrameSource, open_source, stream
from starskope.frames.targets import Targets
from starskope.frames.wcs import TanSip, has_wcs
from starskope.parallel import resolve_workers, submit
from starskope.transfer.facade import run_sync
from starskope.transfer.options import TransferOptions
from starskope.validation import integer_at_least

__all__ = ["light_curves", "light_curves_async"]

# So many frames lost one after the other are a dead server, not missing objects.
_LOST_IN_A_ROW = 8

P = ParamSpec("P")
T = TypeVar("T")


def light_curves(
    frames: Any,
    stars: Table,
    *,
    options: TransferOptions | None = None,
    settings: ReduceSettings | None = None,
    workers: int = 1,
    block_frames: int = 32,
    time: ArrayLike | None = None,
    cadence: float | None = None,
    wcs: TanSip | Mapping[str, Any] | None = None,
    exposure_s: float = math.nan,
) -> LightCurves:
    """Measure stars on every frame.

    Parameters
    ----------
    frames : array (n_time, n_row, n_col), sequence of paths, folder, or Table
        Files and objects (a table from `find_ffis`, ``s3://`` or ``https://`` addresses) are streamed; of each frame
        the background is subtracted first. An array is summed as it is, NaN = missing: subtract the background before.
    stars : astropy.table.Table
        Columns ``ra``, ``dec`` (degrees, ICRS) or ``row``, ``column`` (0-based pixels, the same on every frame), and
        ``tmag``, which sets the aperture where `settings` does not.
    options : TransferOptions, optional
        How to reach S3.
    settings : ReduceSettings, optional
        ``settings.radius`` is the aperture of every star in pixels.
    workers : int
        Compute threads; -1 = the CPUs that this process may use. Any number gives the same bytes.
    block_frames : int
        Frames reduced together. A frame without world coordinates takes those of the nearest frame of its block.
    time : (n_frame,) float64, optional
        Mid-exposure times, days since JD 2457000 (TDB), instead of those in the headers. The observer is then not
        known.
    cadence : float, optional
        For frames without times: days from one to the next; the first is at 0.
    wcs : TanSip or header, optional
        World coordinates of an array.
    exposure_s : float
        Seconds of light per plane of an array; without it errors are not known.

    Returns
    -------
    LightCurves
        In electrons per second (an array: in its own unit), in order of time; the star table has ``aperture_radius``
        added. ``meta["left_out"]`` lists the frames that are missing and why, ``meta["notes"]`` what was noticed on
        others. A star is NaN where it is off the frame or a pixel of its aperture is missing. ``flux_err`` is photon
        and read noise.

    Raises
    ------
    ValueError, TypeError
        No stars, none of them on the frames, no positions, no times for an array.
    FrameError
        Not one frame could be used; the message names the first and why.
    TransferError
        Eight frames in a row could not be fetched, or none at all.

    Notes
    -----
    Memory: three blocks of frames (arriving, being reduced, and its copy without background). Frames go by fixed blocks
    of their numbers, so the result does not depend on the order of arrival.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.table import Table
    >>> cube = np.ones((3, 9, 9), dtype=np.float32)
    >>> star = Table({"row": [4.0], "column": [4.0]})
    >>> light_curves(cube, star, cadence=0.02, settings=ReduceSettings(radius=2.0)).flux.ravel().round(3)
    array([12.566, 12.566, 12.566], dtype=float32)
    """
    return run_sync(
        light_curves_async(
            frames,
            stars,
            options=options,
            settings=settings,
            workers=workers,
            block_frames=block_frames,
            time=time,
            cadence=cadence,
            wcs=wcs,
            exposure_s=exposure_s,
        )
    )


async def light_curves_async(
    frames: Any,
    stars: Table,
    *,
    options: TransferOptions | None = None,
    settings: ReduceSettings | None = None,
    workers: int = 1,
    block_frames: int = 32,
    time: ArrayLike | None = None,
    cadence: float | None = None,
    wcs: TanSip | Mapping[str, Any] | None = None,
    exposure_s: float = math.nan,
) -> LightCurves:
    """Measure stars on every frame; see `light_curves`."""
    settings, options = settings or ReduceSettings(), options or TransferOptions()
    resolve_workers(workers)
    integer_at_least(block_frames, "block_frames", 1)
    if not isinstance(stars, Table):
        raise TypeError(f"stars is a {type(stars).__name__}; give a Table with ra and dec, or row and column")
    if len(stars) == 0:
        raise ValueError("stars is empty: give at least one star, or search a fainter limit (find_stars(tmag_max=...))")
    targets = Targets.from_table(stars, settings.radius)
    if hasattr(frames, "ndim"):
        return await _beside(
            measure_planes,
            frames,
            stars,
            targets,
            time=time,
            cadence=cadence,
            wcs=wcs,
            exposure_s=exposure_s,
            workers=workers,
        )
    if wcs is not None or not math.isnan(exposure_s):
        raise ValueError("wcs= and exposure_s= belong to arrays; frames from files bring their own in their headers")
    async with open_source(frames, options) as source:
        times = given_times(time, cadence, source.n_frame)
        run = _Run(source, stars, settings, workers, options.bytes_in_flight)
        products = [product async for product in run.products(block_frames)]
    return await _beside(join_blocks, products, run.left_out, source.names, stars, targets, times)


class _Run:
    """One pass over the frames of a source."""

    def __init__(
        self, source: FrameSource, stars: Table, settings: ReduceSettings, workers: int, bytes_in_flight: int
    ) -> None:
        self.source, self.stars, self.settings = source, stars, settings
        self.workers, self.bytes_in_flight = workers, bytes_in_flight
        self.needs_wcs = not {"row", "column"} <= set(stars.colnames)
        self.shape: tuple[int, int] | None = None
        self.reference: Reference | None = None
        self.left_out: list[tuple[int, str]] = []
        self.lost: dict[str, str] = {}

    async def products(self, block_frames: int) -> AsyncIterator[BlockProduct]:
        """Yield the reduced blocks in order; one is reduced while the next arrives."""
        n_frame = self.source.n_frame
        arriving = stream(self.source, range(n_frame), bytes_in_flight=self.bytes_in_flight, workers=self.workers)
        reducing: asyncio.Task[BlockProduct] | None = None
        try:
            async with aclosing(arriving):
                for start in range(0, n_frame, block_frames):
                    block = [await anext(arriving) for _ in range(min(block_frames, n_frame - start))]
                    good = self._usable(block)
                    del block
                    if reducing is not None:
                        yield await reducing
                        reducing = None
                    if good:
                        reducing = asyncio.create_task(self._reduce(good))
                    del good
                if reducing is not None:
                    yield await reducing
        finally:
            if reducing is not None and not reducing.done():
                reducing.cancel()
                await asyncio.gather(reducing, return_exceptions=True)

    def _usable(self, block: Sequence[tuple[int, Frame | Exception]]) -> list[Frame]:
        """Keep the frames of a block and note the errors; most frames of the first block tell the shape of all."""
        arrived = [item for _, item in block if isinstance(item, Frame)]
        if self.shape is None and arrived:
            self.shape = Counter(frame.image.shape for frame in arrived).most_common(1)[0][0]
        good = []
        for index, item in block:
            if isinstance(item, TransferError):
                self.lost[self.source.locations[index]] = str(item)
            else:
                self.lost.clear()
            if len(self.lost) == min(_LOST_IN_A_ROW, self.source.n_frame):
                first = next(iter(self.lost.values()))
                raise TransferError(f"not one of {len(self.lost)} frames in a row could be fetched: {first}", self.lost)
            if isinstance(item, Exception):
                self.left_out.append((index, str(item)))
            else:
                good.append(item)
        return good

    async def _reduce(self, good: list[Frame]) -> BlockProduct:
        if self.needs_wcs and self.reference is None and not any(_places(frame) for frame in good):
            self.reference = await self._find_reference()
        return await _beside(
            reduce_block, good, self.stars, self.settings, self.reference, self.workers, shape=self.shape
        )

    async def _find_reference(self) -> Reference | None:
        """Look for the first frame that has world coordinates: rarely needed, so not before a block lacks them."""
        for index in range(self.source.n_frame):
            try:
                data = await self.source.fetch(index)
                frame = await _beside(decode_frame, data, index=index, name=self.source.names[index])
                if frame.image.shape == self.shape and _places(frame):
                    return await _beside(make_reference, frame, self.settings)
            except (StarskopeError, OSError):
                continue
        return None


async def _beside(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Compute off the event loop, so that frames go on arriving."""
    return await asyncio.wrap_future(submit(function, *arguments, **named))


def _places(frame: Frame) -> bool:
    """Whether a frame can tell where stars are."""
    try:
        return has_wcs(frame.header) and frame_quality(frame)[0] and TanSip.from_header(frame.header) is not None
    except FrameError:
        return False
