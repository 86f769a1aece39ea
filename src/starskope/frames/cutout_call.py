"""One call for cutouts, from checked arguments to sets of pixels.

Owns the order of work: which CCDs, whether their cube or their frames cost less, batches that fit in memory, filling,
and the record of every target that got no cutout. Refuses the public names (``frames.cutouts``), bytes
(``cutout_pixels``) and places (``cutout_places``).
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from starskope.frames.cutout_axis import FrameAxis
from starskope.frames.cutout_ccds import CcdPlace, assign, open_ccd, places_of
from starskope.frames.cutout_frames import FFI_BYTES
from starskope.frames.cutout_pixels import Filled, PixelSource
from starskope.frames.cutout_places import Wanted, corners, on_ccd
from starskope.frames.cutout_set import Cutouts, empty_failures
from starskope.frames.cutout_tasks import off_loop
from starskope.transfer.options import TransferOptions
from starskope.transfer.planning import CostModel, choose_source

__all__ = ["Call", "Job", "jobs_of", "opened", "sets_of"]

Rows = NDArray[np.int64]


@dataclass(eq=False)
class Call:
    """One call, checked."""

    wanted: Wanted
    shape: tuple[int, int]
    sector: int | None
    camera: int | None
    ccd: int | None
    source: str
    uri: Any
    bucket: str
    options: TransferOptions
    cost: CostModel
    workers: int
    skip: bool
    progress: Callable[[int, int], None] | None
    batch_bytes: int | None
    failed: dict[int, str] = field(default_factory=dict)
    placed: set[int] = field(default_factory=set)
    n_done: int = 0
    n_planned: int = 0

    def note(self, n_bytes: int) -> None:
        """Count bytes that came."""
        self.n_done += n_bytes
        if self.progress is not None:
            self.progress(self.n_done, max(self.n_planned, self.n_done))

    def failures(self) -> Table:
        """Return the table of targets without a cutout."""
        if not self.failed:
            return empty_failures()
        rows = sorted(self.failed)
        known = None if self.wanted.is_moving else (self.wanted.ra[rows], self.wanted.dec[rows])
        nowhere = np.full(len(rows), np.nan)
        return Table(
            {
                "target": np.array(rows, np.int64),
                "ra": nowhere if known is None else known[0],
                "dec": nowhere if known is None else known[1],
                "reason": np.array([self.failed[row] for row in rows], np.str_),
            }
        )


@dataclass(eq=False)
class Job:
    """The targets of one CCD and where their cutouts begin."""

    ccd: PixelSource
    rows: Rows
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    row0: NDArray[np.int32]
    col0: NDArray[np.int32]
    batches: list[Rows]

    @classmethod
    def make(cls, call: Call, ccd: PixelSource, rows: Rows) -> Job:
        """Place the targets; those that are off the CCD are told."""
        ra, dec, row, column = call.wanted.pixels(rows, ccd.axis)
        inside = on_ccd(row, column, ccd.axis.science)
        # A target that moves may be on several CCDs: missing one of them is no failure.
        call.placed.update(rows[inside].tolist())
        for k in np.flatnonzero(~inside):
            call.failed.setdefault(int(rows[k]), _why_off(row[k], column[k], ccd.axis))
        for number in call.placed & call.failed.keys():
            del call.failed[number]
        row0, col0 = corners(row[inside], column[inside], call.shape)
        n_row, n_col = call.shape
        each = 8 * ccd.axis.n_time * n_row * n_col
        n_target = int(inside.sum())
        n_batch = n_target if call.batch_bytes is None else max(1, call.batch_bytes // each)
        # Up the frame, so that batches share few pixels; within a batch in the order given.
        height = row0 if row0.ndim == 1 else np.where(row0 < 0, 0, row0).max(axis=1, initial=0)
        order = np.argsort(height, kind="stable") if n_batch < n_target else np.arange(n_target)
        batches = [np.sort(order[k : k + n_batch]) for k in range(0, n_target, max(1, n_batch))]
        return cls(ccd, rows[inside], ra[inside], dec[inside], row0, col0, batches)

    def cost(self, call: Call) -> tuple[int, int]:
        """Return requests and bytes over all batches."""
        costs = [self.ccd.cost(self.row0[batch], self.col0[batch], call.shape) for batch in self.batches]
        return sum(n for n, _ in costs), sum(n for _, n in costs)


@asynccontextmanager
async def opened(call: Call, place: CcdPlace, rows: Rows) -> AsyncIterator[Job]:
    """Open the cheaper source of a CCD and place the targets on it."""
    async with open_ccd(place, call.options, call.cost) as ccd:
        job = await off_loop(Job.make, call, ccd, rows)
        other = await _cheaper(call, place, ccd, job)
        if other is None:
            yield job
            return
    async with open_ccd(other, call.options, call.cost) as ccd:
        yield await off_loop(Job.make, call, ccd, rows)


async def sets_of(call: Call, *, one_ccd: bool = False) -> AsyncGenerator[Cutouts, None]:
    """Yield the cutouts of a call, batch by batch, CCD by CCD.

    Raises
    ------
    ValueError
        With `one_ccd`, when targets lie on several or on none; the text says which.
    """
    jobs = await jobs_of(call)
    if one_ccd and len(jobs) > 1:
        there = ", ".join(f"{len(rows)} on {place.label}" for place, rows in jobs)
        raise ValueError(
            f"targets lie on {len(jobs)} CCDs ({there}), whose frames differ: give camera and ccd, or take the cutouts "
            "CCD by CCD with cutouts_each(targets, put, ...)"
        )
    n_set = 0
    for place, rows in jobs:
        async with opened(call, place, rows) as job:
            if call.progress is not None:
                call.n_planned += (await off_loop(job.cost, call))[1]
            for batch in job.batches:
                yield await _filled(call, job, batch)
                n_set += 1
    if one_ccd and not n_set:
        number = min(call.failed)
        raise ValueError(
            f"none of the {call.wanted.n_target} targets lies on a CCD that was looked at; target {number}: "
            f"{call.failed[number]}"
        )


async def jobs_of(call: Call) -> list[tuple[CcdPlace, Rows]]:
    """Find the CCDs that have targets, and which; targets on none are told."""
    places = await places_of(
        call.uri, call.sector, call.camera, call.ccd, source=call.source, options=call.options, bucket=call.bucket
    )
    rows = np.arange(call.wanted.n_target, dtype=np.int64)
    if len(places) == 1:
        return [(places[0], rows)]
    jobs, nowhere = await assign(call.wanted, places, call.options)
    for row in nowhere.tolist():
        lost = not call.wanted.is_moving and not np.isfinite(call.wanted.ra[row])
        call.failed[row] = _NO_PLACE if lost else f"on none of the {len(places)} CCDs that are there"
    return jobs


async def _cheaper(call: Call, place: CcdPlace, ccd: PixelSource, job: Job) -> CcdPlace | None:
    """Return the frames of a CCD where they cost less than its cube."""
    if call.source != "auto" or ccd.kind != "cube" or call.sector is None or not job.batches:
        return None
    n_request, n_bytes = await off_loop(job.cost, call)
    cheaper = choose_source(
        len(job.rows),
        call.shape,
        ccd.axis.n_time,
        plane_bytes=FFI_BYTES,
        model=call.cost,
        cube_cost=(n_request, n_bytes),
        n_pass=len(job.batches),
    )
    if cheaper == "cube":
        return None
    try:
        places = await places_of(
            None, call.sector, place.camera, place.ccd, source="ffi", options=call.options, bucket=call.bucket
        )
    except ValueError:
        return None
    return places[0]


async def _filled(call: Call, job: Job, batch: Rows) -> Cutouts:
    axis, (n_row, n_col) = job.ccd.axis, call.shape
    shape = (len(batch), axis.n_time, n_row, n_col)
    _check_memory(shape)
    flux, flux_err = np.empty(shape, np.float32), np.empty(shape, np.float32)
    row0, col0 = job.row0[batch], job.col0[batch]
    done = await job.ccd.fill(row0, col0, flux, flux_err, workers=call.workers, skip=call.skip, progress=call.note)
    return _cutouts(call, job, batch, flux, flux_err, done)


def _cutouts(
    call: Call, job: Job, batch: Rows, flux: NDArray[np.float32], flux_err: NDArray[np.float32], done: Filled
) -> Cutouts:
    axis, numbers = job.ccd.axis, job.rows[batch]
    ra, dec = job.ra[batch], job.dec[batch]
    table = call.wanted.table[numbers]
    if call.wanted.is_moving:
        table["ra"], table["dec"] = ra[:, axis.reference], dec[:, axis.reference]
    result = Cutouts(
        flux=flux,
        flux_err=flux_err,
        time=axis.barycentric(ra, dec),
        time_spacecraft=axis.time_spacecraft,
        quality=axis.quality,
        ffi=axis.names,
        row0=job.row0[batch],
        col0=job.col0[batch],
        targets=table,
        wcs=axis.wcs,
        reference=axis.reference,
        header=dict(axis.cards(axis.reference)),
        primary=axis.primary,
        frame_shape=axis.shape,
        sector=axis.sector,
        camera=axis.camera,
        ccd=axis.ccd,
        path_ra=ra if call.wanted.is_moving else None,
        path_dec=dec if call.wanted.is_moving else None,
        meta={
            "source": job.ccd.kind,
            "location": job.ccd.location,
            "observer": axis.observer_from,
            "n_request": done.n_request,
            "n_bytes": done.n_bytes,
            "lost_frames": {str(axis.names[frame]): why for frame, why in sorted(done.lost_frames.items())},
        },
    )
    if not done.lost_targets:
        return result
    for place, why in done.lost_targets.items():
        call.failed[int(numbers[place])] = why
    kept = np.ones(len(batch), dtype=bool)
    kept[list(done.lost_targets)] = False
    return result.select(kept)


_NO_PLACE = "no position: ra and dec are not known"


def _why_off(row: Any, column: Any, axis: FrameAxis) -> str:
    ccd = f"camera {axis.camera}, CCD {axis.ccd}" if axis.camera else "this CCD"
    if np.ndim(row):
        return f"in no frame on the science pixels of {ccd}"
    if not np.isfinite(row):
        return f"too far from {ccd} to have a place on it, or no position"
    rows, columns = axis.science
    return (
        f"at row {row:.1f}, column {column:.1f} (0-based), off the science pixels of {ccd}: rows {rows.start} to "
        f"{rows.stop - 1}, columns {columns.start} to {columns.stop - 1}"
    )


def _check_memory(shape: tuple[int, ...]) -> None:
    needed = 8 * int(np.prod(shape, dtype=np.int64))
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return
    if needed > 0.9 * there:
        raise ValueError(
            f"cutouts of {shape[0]} targets in {shape[1]} frames need {needed / 1e9:.1f} GB, this machine has "
            f"{there / 1e9:.1f} GB of memory: take them in batches with cutouts_each, or fewer at a time"
        )
