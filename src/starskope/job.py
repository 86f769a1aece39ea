"""The main job: from the frames of one CCD to its stack, light curves, candidates and features, in one pass.

Owns the order of the work (find frames and stars, stream, reduce in fixed blocks, join, search in fixed blocks,
conclude, publish), and how a killed run goes on. Refuses to compute: pixels are reduced by `starskope.frames`, stars
searched by `starskope.starblocks`, products made by `starskope.products` and `starskope.conclusions`, blocks kept by
`starskope.journal`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from starskope.archive.ffis import find_ffis_async
from starskope.archive.field import footprint_from_wcs
from starskope.archive.footprint import Footprint
from starskope.archive.stars import find_stars_async
from starskope.arrivals import Arrivals
from starskope.conclusions import conclude_signals
from starskope.errors import FrameError, StarskopeError, TransferError
from starskope.estimates import check_space
from starskope.framelist import CcdId, FrameList
from starskope.frames.beside import beside
from starskope.frames.decode import Frame, decode_frame
from starskope.frames.quality import frame_quality
from starskope.frames.reduce import BlockProduct, BlockReduction, ReduceSettings, Reference, make_reference
from starskope.frames.stream import FrameSource, open_source, stream
from starskope.journal import Journal
from starskope.learning import load_classifier, refuse_other_cadence
from starskope.outcome import LeftOut, Outcome, claim, finished_outcome, missing_folders, release_empty
from starskope.parallel import resolve_workers, submit
from starskope.products import (
    assemble_products,
    block_arrays,
    refused_by,
    store_stars,
    stored_exposures,
    stored_stars,
)
from starskope.progress import Progress
from starskope.publishing import publish_products
from starskope.report.helper import PageHelper
from starskope.runconfig import RunConfig, find_named, identity, refuse_long_periods
from starskope.starblocks import StarBlocks
from starskope.transfer.facade import run_sync

if TYPE_CHECKING:
    import os

    from astropy.table import Table

    from starskope.learn.classify import StarClassifier

__all__ = ["RunConfig", "RunResult", "run", "run_async"]

_T = TypeVar("_T")
_P = ParamSpec("_P")
# A missing object or two must not decide the run, a dead server must not be asked a thousand times.
_N_REFERENCE_TRANSFERS = 3


async def _beside(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run blocking work in a thread, so that the downloads go on."""
    return await asyncio.wrap_future(submit(function, *args, **kwargs))


async def _to_the_end(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run work that holds the journal in a thread; a cancellation waits for it, so that nobody writes after the end."""
    future = asyncio.wrap_future(submit(function, *args, **kwargs))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise


@dataclass(frozen=True)
class RunResult:
    """What became of every CCD of a run.

    Attributes
    ----------
    ccds : tuple of Outcome
        One per CCD, in order: `path`, `n_frame`, `n_used`, `n_star`, `left_out`, `error`.
    """

    ccds: tuple[Outcome, ...]

    @property
    def exit_code(self) -> int:
        """0 when every frame and star of every CCD was worked on, 1 when something is missing."""
        return int(not all(ccd.ok for ccd in self.ccds))


def run(
    config: RunConfig, out: str | os.PathLike[str], *, restart: bool = False, progress: Progress | None = None
) -> RunResult:
    """Make everything of one or several CCDs, from frames to candidates, going on where an earlier run was stopped.

    Parameters
    ----------
    config : RunConfig
        What to do.
    out : path
        Directory of the products: ``stack.fits``, ``light_curves.zarr``, ``spectra.zarr``, ``candidates.ecsv``,
        ``feature_model.npz``, ``features.parquet``, ``manifest.parquet``, ``report.html`` and ``run.json``; with
        ``"all"`` each CCD has a folder such as ``s0001-1-4`` in it.
    restart : bool
        Begin again in a directory that holds another run, replacing its products.
    progress : Progress, optional
        Where to tell what goes on; silent without.

    Returns
    -------
    RunResult
        One outcome per CCD. Frames and stars that could not be used are listed there and in the products.

    Raises
    ------
    ValueError
        `out` belongs to another configuration or to a run that is under way; the archive has no such frames; no
        star of the catalogue falls on the CCD.
    FrameError
        Not one frame can be used; the model is damaged.
    TransferError
        The server cannot be reached or refuses.
    OSError
        `out` cannot be written or is full.

    Notes
    -----
    Frames are reduced in blocks of ``config.block_frames`` by index while the next ones are downloaded, then stars are
    searched in blocks of 256. Memory: one block of planes and ``config.options.bytes_in_flight``, or 400 MB of
    light curves and a copy, or a block of stars per worker, whichever is more. Results depend on neither the number of
    workers nor on how often the run was stopped.

    Examples
    --------
    >>> import starskope
    >>> config = starskope.RunConfig(sector=1, camera=1, ccd=4, tmag_max=10)
    >>> starskope.run(config, "out/").exit_code  # doctest: +SKIP
    0
    """
    return run_sync(run_async(config, out, restart=restart, progress=progress))


async def run_async(
    config: RunConfig, out: str | os.PathLike[str], *, restart: bool = False, progress: Progress | None = None
) -> RunResult:
    """Await what `run` does."""
    progress = progress or Progress()
    named = await _beside(find_named, config) if config.frames else {}
    classifier = await _beside(load_classifier, config)
    outcomes = []
    for ccd in named or config.asked_ccds():
        folder = config.folder(out, ccd)
        try:
            frames = named.get(ccd)
            outcome = await _run_ccd(config, classifier, ccd, frames, folder, restart=restart, progress=progress)
        except (StarskopeError, ValueError, OSError) as error:
            if not config.several:
                raise
            outcome = Outcome(ccd, folder, error=str(error))
            progress.note(f"{ccd.label} failed: {error}")
        outcomes.append(outcome)
    return RunResult(tuple(outcomes))


async def list_frames_async(config: RunConfig, ccd: CcdId) -> FrameList:
    """Ask the archive for the frames of one CCD."""
    table = await find_ffis_async(*ccd, **config.archive())
    entries = zip(table["uri"].tolist(), table["size"].tolist(), table["etag"].tolist(), strict=True)
    return FrameList.build(ccd, ((uri, int(size), tag) for uri, size, tag in entries))


async def _run_ccd(
    config: RunConfig,
    classifier: StarClassifier | None,
    ccd: CcdId,
    frames: FrameList | None,
    out: Path,
    *,
    restart: bool,
    progress: Progress,
) -> Outcome:
    began = time.monotonic()
    reduction = ReduceSettings(sigma=config.sigma, max_iters=config.max_iters, center=config.center)
    if not restart:
        asked = await _beside(identity, config, ccd, frames)
        if finished := await _beside(finished_outcome, out, asked):
            return finished
    if frames is None:
        frames = await list_frames_async(config, ccd)
    known = await _beside(identity, config, ccd, frames, reduction)
    if not len(frames):
        raise FrameError(f"no calibrated frames among {len(frames.refused)}: {frames.refused[0][1]}")
    refuse_long_periods(config, frames)
    refuse_other_cadence(config, classifier, frames)
    created = await _beside(missing_folders, out)
    journal = await _beside(Journal, out)
    try:
        claim(journal, out, known, restart=restart)
        async with open_source(frames.as_source(), config.options) as source:
            work = _CcdRun(config, reduction, frames, source, journal, progress)
            timings = {"find": time.monotonic() - began}
            reference = await work.find_reference()
            stars = await work.find_stars(reference)
            timings["reference and stars"] = time.monotonic() - began - sum(timings.values())
            await _beside(check_space, out, work.frames, config.block_frames, work.shape, len(stars))
            await work.reduce(reference, stars)
            timings["stream and reduce"] = time.monotonic() - began - sum(timings.values())
        assembled = await _to_the_end(assemble_products, journal, config, frames, stars, progress)
        timings["join and write"] = time.monotonic() - began - sum(timings.values())
        blocks = await _to_the_end(StarBlocks, journal, len(stars), config, progress)
        for group in blocks.groups():
            await _to_the_end(blocks.measure, group)
        progress.close()
        timings["transform and search"] = time.monotonic() - began - sum(timings.values())
        with PageHelper(journal.folder, config.workers) as helper:
            helper.ask("observed", {"science": assembled.science_limits, "identity": known})
            found = await _to_the_end(conclude_signals, journal, blocks, config, classifier, timings, progress)
            done = assembled, found, timings, progress, helper
            return await _to_the_end(publish_products, journal, out, config, known, frames, *done)
    finally:
        await _beside(release_empty, journal, created)


class _CcdRun:
    """The part of a job that needs the open source: reference, stars, blocks."""

    def __init__(
        self,
        config: RunConfig,
        reduction: ReduceSettings,
        frames: FrameList,
        source: FrameSource,
        journal: Journal,
        progress: Progress,
    ) -> None:
        self.config, self.reduction, self.frames = config, reduction, frames
        self.source, self.journal, self.progress = source, journal, progress
        self.shape = (0, 0)
        self.science = (slice(0, 0), slice(0, 0))
        self.place: tuple[int | None, int | None] = (None, None)
        self.footprint: Footprint | None = None

    async def find_reference(self) -> Reference:
        """Read the frame that speaks for all: usable, with a WCS, and of a shape that two frames share.

        Frames of the common size come first; where sizes are unknown the second frame outvotes a stray first one.
        """
        chosen = self.journal.note("reference")
        frames: list[Frame] = []
        reasons: list[str] = []
        causes: dict[str, str] = {}
        for index in self.frames.typical() if chosen is None else [int(chosen)]:
            name = self.frames.names[index]
            try:
                frames.append(await _beside(decode_frame, await self.source.fetch(index), index=index, name=name))
            except TransferError as error:
                causes |= error.causes or {name: str(error)}
                if chosen is not None or len(causes) >= min(_N_REFERENCE_TRANSFERS, len(self.frames)):
                    raise
            except (FrameError, OSError) as error:
                reasons.append(str(error).removeprefix(f"{name}: "))
            if not frames:
                continue
            self.shape, n_alike = Counter(frame.image.shape for frame in frames).most_common(1)[0]
            if n_alike < 2 and chosen is None and len(frames) + len(reasons) + len(causes) < len(self.frames):
                continue
            for frame in [frame for frame in frames if frame.image.shape == self.shape]:
                frames.remove(frame)
                try:
                    usable, reason = frame_quality(frame)
                    if usable:
                        return await self._refer_to(frame)
                    reasons.append(reason)
                except FrameError as error:
                    reasons.append(str(error).removeprefix(f"{frame.name}: "))
        told = "; ".join(f"{n} x {reason}" for reason, n in Counter([*reasons, *causes.values()]).most_common(3))
        raise FrameError(
            f"none of the {len(self.frames)} frames can be used ({told}): "
            "choose another CCD, or calibrated full frame images"
        )

    async def _refer_to(self, frame: Frame) -> Reference:
        reference = await _beside(make_reference, frame)
        self.science = frame.science
        self.place = (frame.camera, frame.ccd)
        self.footprint = footprint_from_wcs(frame.header, self.shape)
        await _beside(self.journal.set_note, "reference", frame.index)
        return reference

    async def find_stars(self, reference: Reference) -> Table:
        """Return the stars on the CCD, asked for once per job and kept beside the blocks."""
        stars = await _beside(stored_stars, self.journal)
        if stars is None:
            ccd = self.frames.ccd
            found = await find_stars_async(
                ccd.sector or None,
                ccd.camera or None,
                ccd.ccd or None,
                tmag_max=self.config.tmag_max,
                catalog=self.config.catalog,
                footprint=self.footprint if self.config.catalog is None else None,
                options=self.config.options,
                cache=self.config.cache,
            )
            stars = await _beside(store_stars, self.journal, found, reference.wcs, self.science, self.config)
        return stars

    def _indices(self, number: int) -> range:
        start = number * self.config.block_frames
        return range(start, min(start + self.config.block_frames, len(self.frames)))

    async def reduce(self, reference: Reference, stars: Table) -> None:
        """Stream every frame of the unfinished blocks, reducing each while the next ones are downloaded."""
        n_block = -(-len(self.frames) // self.config.block_frames)
        finished = await _beside(self.journal.finished)
        pending = [number for number in range(n_block) if not finished.get(number)]
        wanted = [index for number in pending for index in self._indices(number)]
        exposures = await _beside(stored_exposures, self.journal, set(finished) - set(pending))
        arrivals = Arrivals(self.frames.names, self.shape, self.place, exposures, self.progress)
        self.progress.start("frames", len(self.frames), done=len(self.frames) - len(wanted))
        in_flight = self.config.options.bytes_in_flight
        held = 4 * self.shape[0] * self.shape[1] * min(self.config.block_frames, len(wanted))
        arriving = stream(self.source, wanted, bytes_in_flight=in_flight, bytes_held=held, workers=self.config.workers)
        reducing: list[asyncio.Task[None]] = []
        storing: asyncio.Task[None] | None = None
        # No more planes wait for a thread than there are threads; what follows them stays in flight.
        threads = asyncio.Semaphore(resolve_workers(self.config.workers))
        try:
            async with aclosing(arriving):
                for number in pending:
                    block = self._begin_block(reference, stars)
                    left_out: list[LeftOut] = []
                    for index in self._indices(number):
                        await threads.acquire()
                        arrived, item = await anext(arriving)
                        if arrived != index:
                            raise RuntimeError(f"frame {arrived} came where frame {index} was due")
                        good: list[Frame] = []
                        arrivals.sort(index, item, good, left_out)
                        del item
                        if good:
                            reducing.append(asyncio.create_task(_reduce(block, len(reducing), good, threads)))
                        else:
                            threads.release()
                    for task in reducing:
                        await task
                    # The planes are free again when this is done, and the next frames need not wait for the disk.
                    product = await beside(block.finish) if reducing else None
                    reducing.clear()
                    if storing is not None:
                        await storing
                    storing = asyncio.create_task(self._store(number, product, left_out, arrivals))
                if storing is not None:
                    await storing
        finally:
            unfinished = [*reducing, *([] if storing is None else [storing])]
            await asyncio.gather(*unfinished, return_exceptions=True)
            self.progress.close()

    def _begin_block(self, reference: Reference, stars: Table) -> BlockReduction:
        n_frame, workers = self.config.block_frames, self.config.workers
        return BlockReduction(n_frame, stars, self.reduction, reference, workers, shape=self.shape, overwrite=True)

    async def _store(
        self, number: int, product: BlockProduct | None, left_out: Sequence[LeftOut], arrivals: Arrivals
    ) -> None:
        if product is not None:
            for index, reason in refused_by(product):
                arrivals.tell(LeftOut(index, self.frames.names[index], reason))
        arrays = await _beside(block_arrays, product, left_out)
        complete = not any(frame.again for frame in left_out)
        await _beside(self.journal.write, number, arrays, complete=complete)


async def _reduce(block: BlockReduction, k: int, good: list[Frame], threads: asyncio.Semaphore) -> None:
    """Reduce the one frame in `good`, which is let go, and give its thread to the next."""
    try:
        await beside(block.add, k, good.pop())
    finally:
        threads.release()
