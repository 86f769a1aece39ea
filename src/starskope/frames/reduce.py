"""From a block of frames to its stack and the photometry of its stars: what the main job and `light_curves` share.

Owns the order of the steps (quality, background, world coordinates, apertures, clipped stack) and which frame serves as
reference for one without world coordinates. Pure: frames in, arrays out, nothing awaited, read or written, inputs left
as they are (unless they may be overwritten); the result depends on the frames and the settings alone, never on the
number of workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope.errors import FrameError
from starskope.frames import photometry, quality
from starskope.frames.background import Background, fit_background
from starskope.frames.block import BlockProduct, ReduceSettings
from starskope.frames.clip import clip_series
from starskope.frames.decode import Frame
from starskope.frames.pointing import Reference, excursions, make_guides, restless, solve_wcs
from starskope.frames.targets import Targets
from starskope.frames.wcs import TanSip, has_wcs
from starskope.parallel import map_ranges

__all__ = ["BlockProduct", "BlockReduction", "ReduceSettings", "Reference", "make_reference", "reduce_block"]

Image = NDArray[np.float32]

_MISSING = np.float32(np.nan)
NO_POSITIONS = "no photometry: neither the frame nor another one has a WCS that tells where its stars are"


@dataclass(eq=False)
class _Reduced:
    """What is known of a frame: the frame without its pixels, these less their background, and what came of it."""

    frame: Frame
    image: Image | None
    used: bool
    measured: bool
    reason: str
    note: str
    model: Background | None = None
    wcs: TanSip | None = None
    photographed: bool = False
    no_photometry: str = ""


def make_reference(frame: Frame, settings: ReduceSettings | None = None) -> Reference:
    """Measure a frame with world coordinates, as the reference of blocks in which no frame has them.

    Raises
    ------
    FrameError
        The frame has no usable world coordinates.
    """
    settings = settings or ReduceSettings()
    wcs = TanSip.from_header(frame.header)
    background = fit_background(frame.image, frame.science, box=settings.box)
    return make_guides(frame.index, frame.name, wcs, frame.image - background.plane(), frame.science)


def reduce_block(
    frames: Sequence[Frame],
    stars: Any = None,
    settings: ReduceSettings | None = None,
    reference: Reference | None = None,
    workers: int = 1,
    *,
    shape: tuple[int, int] | None = None,
) -> BlockProduct:
    """Reduce a block of frames.

    Parameters
    ----------
    frames : sequence of Frame
        In index order.
    stars, settings, reference, workers
        As `BlockReduction` takes them.
    shape : tuple of int, optional
        (n_row, n_col) of the series; without it that of most frames of the block.

    Returns
    -------
    BlockProduct

    Raises
    ------
    ValueError
        No frames; stars without positions or with too little to place them.

    Notes
    -----
    Memory: the frames, as much again for the subtracted frames, two planes per worker.
    """
    if not frames:
        raise ValueError("a block needs at least one frame")
    if shape is None:
        settings = settings or ReduceSettings()
        _, good, _ = quality.judge_frames(frames, excluded=settings.excluded, min_finite=settings.min_finite)
        whole = [frame.image.shape for frame, is_good in zip(frames, good, strict=True) if is_good]
        shape = (whole or [frames[0].image.shape])[0]
        shape = (shape[0], shape[1])
    block = BlockReduction(len(frames), stars, settings, reference, workers, shape=shape)
    map_ranges(lambda k, _stop: block.add(k, frames[k]), len(frames), 1, workers)
    return block.finish()


class BlockReduction:
    """A block of frames that is reduced while they come: each frame by itself, then what needs all of them.

    Parameters
    ----------
    n_frame : int
        Most frames of the block.
    stars : Table, optional
        Columns ``ra``, ``dec`` (degrees, ICRS) or ``row``, ``column`` (0-based pixels, the same on every frame), and
        ``tmag`` if known. Without it only the stack is made.
    settings : ReduceSettings, optional
    reference : Reference, optional
        Serves frames without world coordinates when no frame of the block has any; see `make_reference`.
    workers : int
        Threads; -1 for the CPUs of this process. Results have the same bytes for any number.
    shape : tuple of int
        (n_row, n_col) of the series.
    overwrite : bool
        Subtract the background where the pixels of a frame lie, and hold on to them until `finish`; new memory without
        it.

    Notes
    -----
    Background, subtraction and apertures of a frame follow each other while it is in the cache; a block at a time, the
    apertures would wait for memory. To write a subtracted frame elsewhere costs as much as to read it twice.
    """

    def __init__(
        self,
        n_frame: int,
        stars: Any = None,
        settings: ReduceSettings | None = None,
        reference: Reference | None = None,
        workers: int = 1,
        *,
        shape: tuple[int, int],
        overwrite: bool = False,
    ) -> None:
        self._settings = settings or ReduceSettings()
        self._targets = Targets.from_table(stars, self._settings.radius)
        self._reference, self._workers, self._shape = reference, workers, shape
        self._overwrite = overwrite
        self._near = self._targets.positions(reference.wcs) if reference is not None else None
        self._light = [np.full((n_frame, self._targets.n_star), np.nan, np.float32) for _ in range(5)]
        self._frames: dict[int, _Reduced] = {}

    def add(self, k: int, frame: Frame) -> None:
        """Reduce frame `k` of the block as far as that needs no other.

        Called from several threads at a time, once for each of the first places, which are in index order.
        """
        settings = self._settings
        used, measured, reasons = quality.judge_frames(
            [frame], shape=self._shape, excluded=settings.excluded, min_finite=settings.min_finite
        )
        bare = replace(frame, image=np.broadcast_to(_MISSING, frame.image.shape))
        self._frames[k] = one = _Reduced(bare, None, bool(used[0]), bool(measured[0]), reasons[0], frame.note)
        if not one.measured:
            return
        one.model = fit_background(frame.image, frame.science, box=settings.box)
        in_place = self._overwrite and frame.image.flags.writeable and frame.image.flags.c_contiguous
        one.image = one.model.subtracted_from(
            frame.image, frame.image if in_place else np.empty(self._shape, np.float32)
        )
        if has_wcs(frame.header):
            try:
                one.wcs = TanSip.from_header(frame.header)
            except FrameError as error:
                one.note = _joined(one.note, str(error))
        if one.wcs is not None:
            self._photograph(k)

    def finish(self) -> BlockProduct:
        """Do what needs all frames: world coordinates that are missing, restless frames, the clipped stack."""
        frames = [self._frames[k] for k in range(len(self._frames))]
        self._leave_out_repeated(frames)
        lacking = [k for k, one in enumerate(frames) if one.measured and one.wcs is None]
        if lacking:
            _borrow_coordinates(frames, lacking, self._reference, self._workers)
            map_ranges(lambda i, _stop: self._photograph(lacking[i]), len(lacking), 1, self._workers)
        used = np.array([one.used for one in frames])
        product = BlockProduct.measured_only(
            [one.frame for one in frames],
            self._targets.radius,
            used,
            np.array([one.photographed for one in frames]),
            [one.reason for one in frames],
            [one.note for one in frames],
            self._light,
        )
        if used.any():
            science = frames[int(np.argmax(used))].frame.science
            offsets = excursions([one.wcs for one in frames], used, science, product.time)
            for k in np.flatnonzero(restless(offsets, used, self._settings.max_offset_px)).tolist():
                used[k] = False
                product.reasons[k] = f"points {offsets[k]:.2f} pixels off its neighbours, without a flag"
        for k, one in enumerate(frames):
            if one.measured and self._targets.n_star:
                no_light = "" if one.photographed else NO_POSITIONS
                product.reasons[k] = one.no_photometry or product.reasons[k] or no_light
            if not used[k]:
                one.image = None  # flagged frames are measured, and stay out of the stack
        self._stack(product, frames)
        for one in frames:
            one.image = None
        return product

    def _leave_out_repeated(self, frames: Sequence[_Reduced]) -> None:
        """Take back the later one of two frames that start at the same time."""
        seen: dict[float, Frame] = {}
        for k, one in enumerate(frames):
            if not one.measured or not np.isfinite(one.frame.start):
                continue
            first = seen.setdefault(one.frame.start, one.frame)
            if first is not one.frame:
                one.used = one.measured = one.photographed = False
                one.reason = f"same start time as frame {first.index} ({first.name}): a duplicate"
                one.note, one.wcs, one.model, one.no_photometry = one.frame.note, None, None, ""
                one.image = None
                for values in self._light:
                    values[k] = np.nan

    def _photograph(self, k: int) -> None:
        """Measure the stars on a frame, if they can be placed."""
        one, targets = self._frames[k], self._targets
        placed = targets.positions(one.wcs, self._near) if targets.n_star else None
        if placed is None or one.model is None or one.image is None:
            return
        row, column = placed
        header = one.frame.header
        try:
            got = photometry.measure(
                one.image,
                one.model.at(row, column),
                row,
                column,
                targets.radius,
                exposure_s=one.frame.exposure_s,
                read_noise_e=photometry.read_noise(header, column),
                n_read=photometry.n_readout(header),
                ring=self._settings.ring,
            )
        except FrameError as error:  # a damaged card: its stack may use the pixels, its photometry has no errors
            one.no_photometry = f"no photometry: {error}"
            return
        one.photographed = True
        found: tuple[NDArray[Any], ...] = (got.flux, got.flux_err, got.background, row, column)
        for values, mine in zip(self._light, found, strict=True):
            values[k] = mine

    def _stack(self, product: BlockProduct, frames: Sequence[_Reduced]) -> None:
        settings, used = self._settings, product.used
        planes = [one.image for one in frames if one.image is not None]
        clipped = clip_series(
            planes or [np.full(self._shape, np.nan, np.float32)],
            method=settings.method,
            sigma=settings.sigma,
            max_iters=settings.max_iters,
            center=settings.center,
            workers=self._workers,
        )
        is_median = settings.method == "median" and clipped.median is not None
        product.image = clipped.median if is_median and clipped.median is not None else clipped.mean
        product.std, product.count = clipped.std, clipped.count
        models = [one.model for one, good in zip(frames, used, strict=True) if good]
        product.background_image = _mean_background(models, self._shape)
        product.n_used = int(used.sum())
        first = frames[int(np.argmax(used)) if used.any() else 0]
        product.header = _header(first.frame.header, first.wcs)


def _borrow_coordinates(
    frames: Sequence[_Reduced], missing: Sequence[int], reference: Reference | None, workers: int
) -> None:
    """Find the WCS of frames that have none: the nearest frame's of the block, else the reference's."""
    known = [k for k, one in enumerate(frames) if one.wcs is not None]
    # Flagged frames are the ones that smear: a neighbour without flags is the better reference, if there is one.
    steady = [k for k in known if frames[k].used] or known
    index = [one.frame.index for one in frames]
    nearest = {k: min(steady, key=lambda other: (abs(index[other] - index[k]), other)) for k in missing if steady}
    guides: dict[int, Reference] = {}
    sources = sorted(set(nearest.values()))

    def guide(start: int, _stop: int) -> None:
        k = sources[start]
        frame, wcs, image = frames[k].frame, frames[k].wcs, frames[k].image
        if wcs is not None and image is not None:
            guides[k] = make_guides(frame.index, frame.name, wcs, image, frame.science)

    map_ranges(guide, len(sources), 1, workers)

    def solve(start: int, _stop: int) -> None:
        k = missing[start]
        one = frames[k]
        source = guides[nearest[k]] if k in nearest else reference
        if source is None or one.image is None:
            one.note = _joined(one.note, "no WCS, and no frame to take one from")
            return
        one.wcs, note = solve_wcs(one.image, source)
        one.note = _joined(one.note, note)

    map_ranges(solve, len(missing), 1, workers)


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _mean_background(models: Sequence[Background | None], shape: tuple[int, int]) -> Image:
    """Mean of the planes of equally boxed models: surfaces are linear in their levels."""
    groups: dict[tuple[Any, ...], list[Background]] = {}
    for model in models:
        if model is not None and np.isfinite(model.levels).all():
            rows, columns = model.science
            key = (model.levels.shape, rows.start, rows.stop, columns.start, columns.stop)
            groups.setdefault(key, []).append(model)
    planes = [
        (len(group), Background(shape, group[0].science, np.mean([one.levels for one in group], axis=0)).plane())
        for group in groups.values()
    ]
    if len(planes) == 1:
        return planes[0][1]
    n_model = sum(n for n, _ in planes)
    mean = np.full(shape, np.nan if n_model == 0 else 0.0, dtype=np.float32)
    for n, plane in planes:
        mean += plane * np.float32(n / n_model)
    return mean


def _header(cards: Mapping[str, Any], wcs: TanSip | None) -> dict[str, Any]:
    header = dict(cards)
    if wcs is not None and not has_wcs(cards):
        header |= wcs.to_header()
    return header
