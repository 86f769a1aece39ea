"""Pixels around thousands of targets in one call: ``cutouts``.

Owns the call: which CCD each target is on, whether a cube or whole frames cost less, batches that fit in memory, and
telling of every target that got no cutout. Refuses to know bytes (``cutout_pixels``), places (``cutout_places``) and
files of results (``cutout_set``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, Unpack

from astropy.table import Table

from starskope import parallel
from starskope.frames.cutout_call import Call, jobs_of, opened, sets_of
from starskope.frames.cutout_places import cutout_shape, read_wanted
from starskope.frames.cutout_set import Cutouts
from starskope.frames.cutout_tasks import off_loop
from starskope.layout.keys import BUCKET
from starskope.transfer.facade import run_sync
from starskope.transfer.options import TransferOptions
from starskope.transfer.planning import CostModel
from starskope.validation import choice, integer_at_least

__all__ = [
    "CutoutPlan",
    "cutouts",
    "cutouts_async",
    "cutouts_each",
    "cutouts_each_async",
    "plan_cutouts",
    "plan_cutouts_async",
]

Source = Literal["auto", "cube", "ffi"]


class Keywords(TypedDict, total=False):
    """What `cutouts` takes by name, and its siblings with it."""

    sector: int | None
    camera: int | None
    ccd: int | None
    source: Source
    uri: Any
    bucket: str
    options: TransferOptions | None
    cost: CostModel | None
    workers: int
    on_error: Literal["raise", "skip"]
    progress: Callable[[int, int], None] | None


@dataclass(frozen=True)
class CutoutPlan:
    """What the cutouts of one CCD cost, before a pixel is read.

    Attributes
    ----------
    location : str
        Cube, or folder of the frames.
    source : "cube" or "ffi"
    sector, camera, ccd : int
        0 = not known.
    n_target, n_time : int
        Cutouts, and frames of each.
    n_request, n_bytes : int
        What will be read; headers and tables of frames, which the plan itself needs, are not counted.
    seconds : float
        By the assumed latency and bandwidth, see `CostModel`.
    output_bytes : int
        Flux and errors of all cutouts in memory.
    """

    location: str
    source: str
    sector: int
    camera: int
    ccd: int
    n_target: int
    n_time: int
    n_request: int
    n_bytes: int
    seconds: float
    output_bytes: int


def cutouts(
    targets: Any,
    size: int | tuple[int, int] = 11,
    *,
    sector: int | None = None,
    camera: int | None = None,
    ccd: int | None = None,
    source: Source = "auto",
    uri: Any = None,
    bucket: str = BUCKET,
    options: TransferOptions | None = None,
    cost: CostModel | None = None,
    workers: int = 1,
    on_error: Literal["raise", "skip"] = "raise",
    progress: Callable[[int, int], None] | None = None,
) -> Cutouts:
    """Cut the pixels around many targets out of all frames of a CCD.

    Parameters
    ----------
    targets : Table, mapping, SkyCoord, (n_target, 2) array_like, or Ephemerides
        Columns ``ra`` and ``dec`` in degrees (ICRS); other columns are kept. Targets that move: an ephemeris, see
        `starskope.frames.moving.Ephemerides.from_table`; each frame is then cut at the place of that moment, by the
        world coordinates of that frame.
    size : int or (int, int)
        Pixels a side, or rows and columns.
    sector : int, optional
        Where the archive is asked; needed unless `uri` is given.
    camera, ccd : int, optional
        1 to 4; None for whichever the targets are on.
    source : "auto", "cube" or "ffi"
        Read ranges of the archive's cube, or whole frames; "auto" takes what costs less time by `cost`, and frames
        where there is no cube yet. Both give the same bytes.
    uri : str, path, list or Table, optional
        A cube (``s3://``, ``https://`` or a file), a table from `find_cubes`, or frames: a folder, a list, or a table
        from `find_ffis`.
    bucket : str
        The archive's public bucket by default.
    options : TransferOptions, optional
    cost : CostModel, optional
        Latency and bandwidth by which gaps are read over and the source is chosen.
    workers : int
        Threads that decode; -1 for all CPUs.
    on_error : "raise" or "skip"
        What to do with pixels that cannot be had: raise, or tell: targets that lack some in `failed`, frames (NaN)
        in ``meta["lost_frames"]``.
    progress : callable, optional
        ``progress(n_bytes_done, n_bytes_planned)`` after each read, on the event loop: be brief.

    Returns
    -------
    Cutouts
        One row per target that lies on the CCD, in the order given; the others in `failed`, with reasons. Pixels off
        the frame are NaN and the cutout has `edge` set.

    Raises
    ------
    ValueError
        Bad arguments; no target on the CCD; targets on several CCDs (see `cutouts_each`); more pixels than memory.
    FrameError
        A cube or frame is damaged.
    TransferError, OSError
        Pixels cannot be read.

    Notes
    -----
    Ranges of all targets are joined before they are read, so no byte of the cube comes twice. A cutout of 11 x 11
    pixels of 1,282 frames is 1.24 MB.

    Examples
    --------
    >>> import starskope as sk
    >>> cuts = sk.cutouts([(315.4, -28.9)], size=11, sector=1)      # doctest: +SKIP
    >>> cuts.flux.shape                                             # doctest: +SKIP
    (1, 1282, 11, 11)
    """
    return run_sync(
        cutouts_async(
            targets,
            size,
            sector=sector,
            camera=camera,
            ccd=ccd,
            source=source,
            uri=uri,
            bucket=bucket,
            options=options,
            cost=cost,
            workers=workers,
            on_error=on_error,
            progress=progress,
        )
    )


async def cutouts_async(targets: Any, size: int | tuple[int, int] = 11, **keywords: Unpack[Keywords]) -> Cutouts:
    """Cut out pixels: `cutouts`, to be awaited."""
    call = _checked(targets, size, batch_bytes=None, **keywords)
    sets = []
    async with aclosing(sets_of(call, one_ccd=True)) as coming:
        async for part in coming:
            sets.append(part)
    result = sets[0] if len(sets) == 1 else Cutouts.concatenate(sets)
    result.failed = call.failures()
    return result


def cutouts_each(
    targets: Any,
    put: Callable[[Cutouts], Any],
    size: int | tuple[int, int] = 11,
    *,
    batch_bytes: int | None = 2**30,
    **keywords: Unpack[Keywords],
) -> Table:
    """Cut out pixels in batches, each handed on as it is complete: more targets than memory, or several CCDs.

    Parameters
    ----------
    targets, size
        As `cutouts` takes them, and all its keywords.
    put : callable
        Called with each batch, one at a time, in a thread of its own, while the next batch is read.
    batch_bytes : int or None
        Pixels of one batch; at least one target. Twice as many are in memory. None: one batch per CCD.

    Returns
    -------
    Table
        Targets that gave no cutout: ``target``, ``ra``, ``dec``, ``reason``.

    Notes
    -----
    No target on any CCD is no error here: the table tells. Batches come CCD by CCD. Within a CCD that needs several
    they run up the frame, so that few pixels are read twice; ``targets["target"]`` says which targets they hold.
    """
    return run_sync(cutouts_each_async(targets, put, size, batch_bytes=batch_bytes, **keywords))


async def cutouts_each_async(
    targets: Any,
    put: Callable[[Cutouts], Any],
    size: int | tuple[int, int] = 11,
    *,
    batch_bytes: int | None = 2**30,
    **keywords: Unpack[Keywords],
) -> Table:
    """Cut out pixels in batches: `cutouts_each`, to be awaited."""
    if batch_bytes is not None:
        integer_at_least(batch_bytes, "batch_bytes", 1)
    call = _checked(targets, size, batch_bytes=batch_bytes, **keywords)
    handing: asyncio.Future[Any] | None = None
    try:
        async with aclosing(sets_of(call)) as coming:
            async for part in coming:
                if handing is not None:
                    await asyncio.shield(handing)
                handing = asyncio.wrap_future(parallel.submit(put, part))
                del part
        if handing is not None:
            await asyncio.shield(handing)
    finally:
        if handing is not None and not handing.done():
            await asyncio.wait([handing])
    return call.failures()


def plan_cutouts(targets: Any, size: int | tuple[int, int] = 11, **keywords: Unpack[Keywords]) -> list[CutoutPlan]:
    """Tell what `cutouts` would read, per CCD, without reading pixels; takes the same arguments."""
    return run_sync(plan_cutouts_async(targets, size, **keywords))


async def plan_cutouts_async(
    targets: Any, size: int | tuple[int, int] = 11, *, batch_bytes: int | None = None, **keywords: Unpack[Keywords]
) -> list[CutoutPlan]:
    """Plan cutouts: `plan_cutouts`, to be awaited."""
    call = _checked(targets, size, batch_bytes=batch_bytes, **keywords)
    plans = []
    for place, rows in await jobs_of(call):
        async with opened(call, place, rows) as job:
            axis, (n_request, n_bytes) = job.ccd.axis, await off_loop(job.cost, call)
            plans.append(
                CutoutPlan(
                    location=job.ccd.location,
                    source=job.ccd.kind,
                    sector=axis.sector,
                    camera=axis.camera,
                    ccd=axis.ccd,
                    n_target=len(job.rows),
                    n_time=axis.n_time,
                    n_request=n_request,
                    n_bytes=n_bytes,
                    seconds=call.cost.seconds(n_request, n_bytes),
                    output_bytes=8 * len(job.rows) * axis.n_time * call.shape[0] * call.shape[1],
                )
            )
    return plans


def _checked(
    targets: Any, size: int | tuple[int, int], *, batch_bytes: int | None, **keywords: Unpack[Keywords]
) -> Call:
    unknown = sorted(set(keywords) - set(Keywords.__annotations__))
    if unknown:
        raise TypeError(f"cutouts take no argument {unknown[0]!r}; there are {', '.join(Keywords.__annotations__)}")
    source = choice(keywords.get("source", "auto"), "source", ("auto", "cube", "ffi"))
    on_error = choice(keywords.get("on_error", "raise"), "on_error", ("raise", "skip"))
    sector, camera, ccd, uri = (keywords.get(name) for name in ("sector", "camera", "ccd", "uri"))
    if (sector is None) == (uri is None):
        raise ValueError("give either sector= (the archive's cubes or frames) or uri= (a cube, or a list of frames)")
    if uri is not None and (camera is not None or ccd is not None):
        raise ValueError("camera and ccd go with sector=; a uri= is of one CCD")
    workers = keywords.get("workers", 1)
    parallel.resolve_workers(workers)
    options = keywords.get("options") or TransferOptions()
    return Call(
        wanted=read_wanted(targets),
        shape=cutout_shape(size),
        sector=keywords.get("sector"),
        camera=keywords.get("camera"),
        ccd=keywords.get("ccd"),
        source=source,
        uri=uri,
        bucket=keywords.get("bucket", BUCKET),
        options=options,
        cost=keywords.get("cost") or CostModel.from_options(options),
        workers=workers,
        skip=on_error == "skip",
        progress=keywords.get("progress"),
        batch_bytes=batch_bytes,
    )
