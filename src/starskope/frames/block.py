"""What reducing a block of frames takes and gives: settings and products.

Owns the meaning of every array of a product and how a failed frame looks in it (NaN rows, a reason). Refuses to compute
(``frames.reduce``) and to store (``job``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope.errors import FrameError
from starskope.frames import quality
from starskope.frames.clip import Center, Method
from starskope.frames.decode import Frame

__all__ = ["BlockProduct", "ReduceSettings"]

Array = NDArray[np.float64]
Image = NDArray[np.float32]


@dataclass(frozen=True)
class ReduceSettings:
    """How blocks are reduced.

    Parameters
    ----------
    excluded : int
        DQUALITY bits that keep a frame out of the stack (its photometry is kept, with its flags).
    min_finite : float
        Least fraction of science pixels that must hold a number.
    max_offset_px : float
        A frame that points further than this, and than 5 robust sigma of its block, from the path of the block,
        anywhere on the CCD, stays out of the stack: there the clip would cut the wings of its stars on one side only.
        Calm TESS frames stay within 0.02 pixel. Fewer than five frames without flags are not judged.
    box : int or None
        Side of the boxes of the background, pixels; None chooses by the size of the frame.
    radius : float or None
        Aperture radius of every star, pixels; None follows `photometry.aperture_radius`.
    ring : tuple of float or None
        Gap beyond the aperture and width, pixels, of the ring that tells what the background left around a star; None
        trusts the background alone.
    method, sigma, max_iters, center
        Of the stack, as in `starskope.stack`.
    """

    excluded: int = quality.EXCLUDED
    min_finite: float = 0.5
    max_offset_px: float = 0.05
    box: int | None = None
    radius: float | None = None
    ring: tuple[float, float] | None = (3.0, 6.0)
    method: Method = "sigma_clip"
    sigma: float | tuple[float, float] = 3.0
    max_iters: int | None = 5
    center: Center = "median"


@dataclass(eq=False)
class BlockProduct:
    """What one block of frames yields.

    Attributes
    ----------
    index : ndarray, shape (n,), int64
        Place of each frame in its series.
    names : list of str
    time, start, stop : ndarray, shape (n,), float64
        Spacecraft TDB, BTJD days; NaN where the frame does not tell.
    barycorr : ndarray, shape (n,), float64
        Barycentric correction at the centre of the CCD, days.
    exposure_s : ndarray, shape (n,), float64
        Seconds of light.
    quality : ndarray, shape (n,), int32
        DQUALITY.
    used : ndarray, shape (n,), bool
        Entered the stack.
    measured : ndarray, shape (n,), bool
        Gave photometry: flagged frames do, frames without pixels or positions, of another shape or seen before do not.
    reasons : list of str
        Why a frame is not in the stack or has no photometry; empty otherwise.
    notes : list of str
        What else was noticed: how a missing WCS was replaced, a failing CHECKSUM.
    flux, flux_err, background : ndarray, shape (n, n_star), float32
        e-/s, e-/s, and e-/s per pixel at the star; NaN = missing.
    row, column : ndarray, shape (n, n_star), float32
        Positions of the stars, 0-based pixels; NaN where the frame has none.
    radius : ndarray, shape (n_star,), float64
        Aperture radii, pixels.
    image, std : ndarray, shape (n_row, n_col), float32
        Mean of the background-subtracted values that survived clipping, and their population standard deviation; NaN =
        no data, collateral pixels included.
    count : ndarray, shape (n_row, n_col), int32
    background_image : ndarray, shape (n_row, n_col), float32
        Mean background of the frames used.
    n_used : int
    header : dict
        Image cards of the first frame used (of the first frame if none was), with world coordinates if any were found.
    """

    index: NDArray[np.int64]
    names: list[str]
    time: Array
    start: Array
    stop: Array
    barycorr: Array
    exposure_s: Array
    quality: NDArray[np.int32]
    used: NDArray[np.bool_]
    measured: NDArray[np.bool_]
    reasons: list[str]
    notes: list[str]
    flux: NDArray[np.float32]
    flux_err: NDArray[np.float32]
    background: NDArray[np.float32]
    row: NDArray[np.float32]
    column: NDArray[np.float32]
    radius: Array
    image: Image
    std: Image
    count: NDArray[np.int32]
    background_image: Image
    n_used: int = 0
    header: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        n_row, n_col = self.image.shape
        n, n_star = self.flux.shape
        return f"<BlockProduct {n} frames of {n_row}x{n_col}, {self.n_used} in the stack, {n_star} stars>"

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give the arrays by name, for storage."""
        return {item.name: value for item in fields(self) if isinstance(value := getattr(self, item.name), np.ndarray)}

    @classmethod
    def measured_only(
        cls,
        frames: Sequence[Frame],
        radius: Array,
        used: NDArray[np.bool_],
        measured: NDArray[np.bool_],
        reasons: list[str],
        notes: list[str],
        light: Sequence[Image],
    ) -> BlockProduct:
        """Make the product of frames that were judged and measured, without a stack.

        `light` has flux, error, background, row and column of the stars, one row per frame or more.
        """
        stars = [values[: len(frames)] for values in light]
        nothing = np.empty((0, 0), dtype=np.float32)
        return cls(
            index=np.array([frame.index for frame in frames], dtype=np.int64),
            names=[frame.name for frame in frames],
            time=_cards(frames, "time"),
            start=_cards(frames, "start"),
            stop=_cards(frames, "stop"),
            barycorr=_cards(frames, "barycorr"),
            exposure_s=_cards(frames, "exposure_s"),
            quality=np.nan_to_num(_cards(frames, "quality")).astype(np.int32),
            used=used,
            measured=measured,
            reasons=reasons,
            notes=notes,
            flux=stars[0],
            flux_err=stars[1],
            background=stars[2],
            row=stars[3],
            column=stars[4],
            radius=radius,
            image=nothing,
            std=nothing,
            count=np.empty((0, 0), dtype=np.int32),
            background_image=nothing,
        )


def _cards(frames: Sequence[Frame], name: str) -> Array:
    """One property of every frame; NaN where its card is damaged, which the reason of that frame tells."""
    values = np.empty(len(frames))
    for k, frame in enumerate(frames):
        try:
            values[k] = getattr(frame, name)
        except FrameError:
            values[k] = math.nan
    return values
