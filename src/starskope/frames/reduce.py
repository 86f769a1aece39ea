"""From a block of frames to its stack and the photometry of its stars: what the main job and `light_curves` share.

Owns the order of the steps (quality, background, world coordinates, apertures, clipped stack) and which frame serves as
reference for one without world coordinates. Pure: frames in, arrays out, nothing awaited, read or written, inputs left
as they are (frames that lie in the scratch array aside); the result depends on the frames and the settings alone, never
on the number of workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

__all__ = ["BlockProduct", "ReduceSettings", "Reference", "make_reference", "reduce_block"]

Image = NDArray[np.float32]

NO_POSITIONS = "no photometry: neither the frame nor another one has a WCS that tells where its stars are"


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
    scratch: Image | None = None,
) -> BlockProduct:
    """Reduce a block of frames.

    Parameters
    ----------
    frames : sequence of Frame
        In index order.
    stars : Table, optional
        Columns ``ra``, ``dec`` (degrees, ICRS) or ``row``, ``column`` (0-based pixels, the same on every frame), and
        ``tmag`` if known. Without it only the stack is made.
    settings : ReduceSettings, optional
    reference : Reference, optional
        Serves frames without world coordinates when no frame of the block has any; see `make_reference`.
    workers : int
        Threads; -1 for the CPUs of this process. Results have the same bytes for any number.
    shape : tuple of int, optional
        (n_row, n_col) of the series; without it that of most frames of the block.
    scratch : ndarray, shape (>= n_frame, n_row, n_col), float32, optional
        Where to put the background-subtracted frames; overwritten. Frame ``k`` may lie in ``scratch[k]``: it is then
        subtracted where it lies, and the block takes half the memory. A new array of that size without it.

    Returns
    -------
    BlockProduct

    Raises
    ------
    ValueError
        No frames; stars without positions or with too little to place them.

    Notes
    -----
    Memory: the frames, as much again for the subtracted frames unless they lie in `scratch`, two planes per worker.
    """
    if not frames:
        raise ValueError("a block needs at least one frame")
    settings = settings or ReduceSettings()
    targets = Targets.from_table(stars, settings.radius)
    used, measured, reasons = quality.judge_frames(
        frames, shape=shape, excluded=settings.excluded, min_finite=settings.min_finite
    )
    if shape is None:
        whole = [frame.image.shape for frame, good in zip(frames, measured, strict=True) if good] or [
            frames[0].image.shape
        ]
        shape = (whole[0][0], whole[0][1])
    cube = _cube(scratch, len(frames), shape)
    backgrounds: list[Background | None] = [None] * len(frames)

    def subtract(k: int, _stop: int) -> None:
        if measured[k]:
            backgrounds[k] = model = fit_background(frames[k].image, frames[k].science, box=settings.box)
            model.subtracted_from(frames[k].image, cube[k])
        else:
            cube[k] = np.nan

    map_ranges(subtract, len(frames), 1, workers)
    solutions, notes = _world_coordinates(frames, cube, used, measured, reference, workers)
    product = BlockProduct.empty(
        frames,
        targets.radius,
        used,
        measured.copy() if targets.n_star else np.zeros(len(frames), dtype=bool),
        reasons,
        notes,
    )
    if used.any():
        offsets = excursions(solutions, used, frames[int(np.argmax(used))].science, product.time)
        for k in np.flatnonzero(restless(offsets, used, settings.max_offset_px)):
            used[k] = False
            reasons[k] = f"points {offsets[k]:.2f} pixels off its neighbours, without a flag"

    def photograph(k: int, _stop: int) -> None:
        model = backgrounds[k]
        if measured[k] and model is not None:
            try:
                measurable = _measure(product, k, frames[k], cube[k], model, solutions[k], targets, settings.ring)
                product.reasons[k] = product.reasons[k] or ("" if measurable else NO_POSITIONS)
            except FrameError as error:  # a damaged card: its stack may use the pixels, its photometry has no errors
                measurable, product.reasons[k] = False, f"no photometry: {error}"
            product.measured[k] = measurable

    if targets.n_star:
        map_ranges(photograph, len(frames), 1, workers)
    for k in np.flatnonzero(~used & measured):
        cube[k] = np.nan  # flagged frames are measured, and stay out of the stack
    clipped = clip_series(
        cube,
        method=settings.method,
        sigma=settings.sigma,
        max_iters=settings.max_iters,
        center=settings.center,
        workers=workers,
    )
    is_median = settings.method == "median" and clipped.median is not None
    product.image = clipped.median if is_median and clipped.median is not None else clipped.mean
    product.std, product.count = clipped.std, clipped.count
    product.background_image = _mean_background(
        [model for model, good in zip(backgrounds, used, strict=True) if good], shape
    )
    product.n_used = int(used.sum())
    first = int(np.argmax(used)) if used.any() else 0
    product.header = _header(frames[first].header, solutions[first])
    return product


def _cube(scratch: Image | None, n_frame: int, shape: tuple[int, int]) -> Image:
    if scratch is None:
        return np.empty((n_frame, *shape), dtype=np.float32)
    if scratch.dtype != np.float32 or not scratch.flags.c_contiguous or scratch.shape[1:] != shape:
        raise ValueError(
            f"scratch has {scratch.dtype} {scratch.shape}, expected contiguous float32 (n, {shape[0]}, {shape[1]})"
        )
    if len(scratch) < n_frame:
        raise ValueError(f"scratch holds {len(scratch)} frames, the block has {n_frame}")
    return scratch[:n_frame]


def _world_coordinates(
    frames: Sequence[Frame],
    cube: Image,
    used: NDArray[np.bool_],
    measured: NDArray[np.bool_],
    reference: Reference | None,
    workers: int,
) -> tuple[list[TanSip | None], list[str]]:
    """Find the WCS of each measured frame: its own, else the nearest frame's of the block, else the reference's."""
    solutions: list[TanSip | None] = [None] * len(frames)
    notes = [frame.note for frame in frames]
    for k in np.flatnonzero(measured).tolist():
        if has_wcs(frames[k].header):
            try:
                solutions[k] = TanSip.from_header(frames[k].header)
            except FrameError as error:
                notes[k] = _joined(notes[k], str(error))
    known = [k for k, solution in enumerate(solutions) if solution is not None]
    # Flagged frames are the ones that smear: a neighbour without flags is the better reference, if there is one.
    steady = [k for k in known if used[k]] or known
    missing = [k for k in np.flatnonzero(measured).tolist() if solutions[k] is None]
    nearest = {
        k: min(steady, key=lambda other: (abs(frames[other].index - frames[k].index), other)) for k in missing if steady
    }
    guides: dict[int, Reference] = {}
    sources = sorted(set(nearest.values()))

    def guide(start: int, _stop: int) -> None:
        k = sources[start]
        wcs = solutions[k]
        if wcs is not None:
            guides[k] = make_guides(frames[k].index, frames[k].name, wcs, cube[k], frames[k].science)

    map_ranges(guide, len(sources), 1, workers)

    def solve(start: int, _stop: int) -> None:
        k = missing[start]
        source = guides[nearest[k]] if k in nearest else reference
        if source is None:
            notes[k] = _joined(notes[k], "no WCS, and no frame to take one from")
            return
        solutions[k], note = solve_wcs(cube[k], source)
        notes[k] = _joined(notes[k], note)

    map_ranges(solve, len(missing), 1, workers)
    return solutions, notes


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _measure(
    product: BlockProduct,
    k: int,
    frame: Frame,
    image: Image,
    model: Background,
    wcs: TanSip | None,
    targets: Targets,
    ring: tuple[float, float] | None,
) -> bool:
    """Fill row k of the product; False where the stars cannot be placed."""
    placed = targets.positions(wcs)
    if placed is None:
        return False
    row, column = placed
    got = photometry.measure(
        image,
        model.at(row, column),
        row,
        column,
        targets.radius,
        exposure_s=frame.exposure_s,
        read_noise_e=photometry.read_noise(frame.header, column),
        n_read=photometry.n_readout(frame.header),
        ring=ring,
    )
    product.flux[k], product.flux_err[k], product.background[k] = got.flux, got.flux_err, got.background
    product.row[k], product.column[k] = row, column
    return True


def _mean_background(models: Sequence[Background | None], shape: tuple[int, int]) -> Image:
    """Mean of the planes of equally boxed models: surfaces are linear in their levels."""
    groups: dict[tuple[Any, ...], list[Background]] = {}
    for model in models:
        if model is not None and np.isfinite(model.levels).all():
            rows, columns = model.science
            key = (model.levels.shape, rows.start, rows.stop, columns.start, columns.stop)
            groups.setdefault(key, []).append(model)
    n_model = sum(len(group) for group in groups.values())
    mean = np.full(shape, np.nan, dtype=np.float32)
    for number, group in enumerate(groups.values()):
        levels = np.mean([model.levels for model in group], axis=0)
        plane = Background(shape, group[0].science, levels).plane() * np.float32(len(group) / n_model)
        mean = plane if number == 0 else mean + plane
    return mean


def _header(cards: Mapping[str, Any], wcs: TanSip | None) -> dict[str, Any]:
    header = dict(cards)
    if wcs is not None and not has_wcs(cards):
        header |= wcs.to_header()
    return header
