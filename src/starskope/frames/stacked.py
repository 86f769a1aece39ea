"""The stacked image of many frames: the container, its picture, and blocks combined by weight.

Owns `Stack`, `combine` and which header cards an image of many frames may keep. Refuses to make stacks of frames
(``frames.stack``) and to lay out FITS files (``frames.stack_fits``).
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from numpy.typing import NDArray

from starskope import _core
from starskope.frames import stack_fits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Block", "Combiner", "Stack", "combine", "kept_cards"]

_WCS_CARD = re.compile(
    r"WCSAXES|(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA)[12]|(CD|PC)[12]_[12]|PV[12]_\d+|LONPOLE|LATPOLE|RADESYS|EQUINOX"
    r"|[AB]P?_ORDER|[AB]P?_\d_\d|[AB]_DMAX"
)
_OTHER_CARD = re.compile(
    r"TELESCOP|INSTRUME|CAMERA|CCD|SECTOR|CHANNEL|MODULE|OUTPUT|QUARTER|CAMPAIGN|FILTER|OBJECT|BUNIT"
    r"|SCIROW[SE]|SCC[SE][A-D]"
)


class Block(Protocol):
    """What `combine` takes: images of one shape with the number and the spread of the values behind each pixel."""

    @property
    def image(self) -> NDArray[np.float32]: ...  # noqa: D102
    @property
    def std(self) -> NDArray[np.float32]: ...  # noqa: D102
    @property
    def count(self) -> NDArray[np.int32]: ...  # noqa: D102


@dataclass(eq=False)
class Stack:
    """An image made of many frames.

    Attributes
    ----------
    image : ndarray of float32, shape (n_row, n_col)
        Mean (or median) of the values that survived, on the pixel grid and in the unit of the frames. NaN = no data.
    count : ndarray of int32, shape (n_row, n_col)
        How many survived.
    std : ndarray of float32, shape (n_row, n_col)
        Their population standard deviation; ``std / sqrt(count)`` is the error of a mean.
    background : ndarray of float32, shape (n_row, n_col), or None
        Mean of the backgrounds that were subtracted from the frames.
    header : dict
        Cards that hold for all frames: world coordinates, instrument, unit, science region.
    n_frame : int
        Frames used.
    meta : dict
        How it was made: ``method``, ``sigma``, ``max_iters``, ``center``, ``exact`` (False when blocks of frames were
        clipped on their own and combined), ``left_out`` (frame name to reason), ``notes``.
    rejected : ndarray of bool, shape (n_frame, n_row, n_col), or None
        Values that were there and were clipped, where that was asked for. Not written to files.
    """

    image: NDArray[np.float32]
    count: NDArray[np.int32]
    std: NDArray[np.float32]
    background: NDArray[np.float32] | None = None
    header: dict[str, Any] = field(default_factory=dict)
    n_frame: int = 0
    meta: dict[str, Any] = field(default_factory=dict)
    rejected: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        planes = {"count": self.count, "std": self.std, "background": self.background}
        for name, plane in planes.items():
            if plane is not None and plane.shape != self.image.shape:
                raise ValueError(f"{name}: expected shape {self.image.shape} like the image, got {plane.shape}")

    def __repr__(self) -> str:
        n_row, n_col = self.image.shape
        left_out = len(self.meta.get("left_out", ()))
        also = f", {left_out} left out" if left_out else ""
        return f"<Stack {n_row}x{n_col} of {self.n_frame} frames{also}, {self.meta.get('method', 'unknown method')}>"

    @cached_property
    def wcs(self) -> WCS | None:
        """World coordinates as an `astropy.wcs.WCS`, None where the frames had none; pixel x is the column."""
        if not str(self.header.get("CTYPE1", "")).startswith(("RA--", "DEC-")):
            return None
        cards = {card: value for card, value in self.header.items() if _WCS_CARD.fullmatch(card)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            return WCS(fits.Header(cards), naxis=2)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a FITS file: the image with its cards, then COUNT, STD, BACKGROUND and a table META.

        It appears under its name only when it is complete. Raises OSError when it cannot be written.
        """
        stack_fits.write(self, path)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Stack:
        """Read what `write` wrote. Raises FrameError for other files."""
        return cls(**stack_fits.read(path))

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Axes:
        """Draw the image on sky coordinates (on pixels where there are none), from its 1st to its 99.5th percentile.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        **kwargs
            To ``Axes.imshow``, for example ``vmin``, ``vmax``, ``cmap``.

        Returns
        -------
        Axes
        """
        if ax is None:
            from matplotlib import pyplot as plt

            projection = {} if self.wcs is None else {"projection": self.wcs}
            ax = plt.figure(figsize=(7.0, 6.0), layout="constrained").add_subplot(**projection)
            ax.set_xlabel("column" if self.wcs is None else "right ascension")
            ax.set_ylabel("row" if self.wcs is None else "declination")
        values = self.image[np.isfinite(self.image)]
        if values.size:
            low, high = np.percentile(values, [1.0, 99.5])
            kwargs.setdefault("vmin", float(low))
            kwargs.setdefault("vmax", float(high))
        kwargs.setdefault("cmap", "gray")
        drawn = ax.imshow(self.image, origin="lower", interpolation="nearest", **kwargs)
        ax.figure.colorbar(drawn, ax=ax, fraction=0.04, label=str(self.header.get("BUNIT", "flux")))
        ax.set_title(f"{self.n_frame} frames, {self.meta.get('method', 'stack')}".replace("_", " "))
        return ax


def kept_cards(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cards of one frame's header that hold for a stack of its series, in their order."""
    cards = {}
    for card in header:
        if _WCS_CARD.fullmatch(card) or _OTHER_CARD.fullmatch(card):
            value = header[card]
            if value is not None and not (isinstance(value, float) and not np.isfinite(value)):
                cards[card] = value
    return cards


def combine(blocks: Iterable[Block]) -> Stack:
    """Combine stacks of disjoint sets of frames, pixel by pixel.

    Parameters
    ----------
    blocks : iterable of Stack, or of anything with ``image``, ``std`` and ``count`` of shape (n_row, n_col)
        Taken one at a time, in order; ``background``, ``n_frame``, ``header`` and ``meta`` count where they are there.

    Returns
    -------
    Stack
        ``image`` is the mean weighted by ``count``, ``std`` the population standard deviation of all values together
        (within and between blocks), both exact for means; ``background`` the mean weighted by ``n_frame``, NaN where no
        block has one. Header and settings are those of the first block.

    Raises
    ------
    ValueError
        No blocks, other shapes, or a background in some blocks only.

    Notes
    -----
    Each block was clipped against its own centre and spread, so this is not the clip of all frames at once:
    ``meta["exact"]`` says so. Sums are float64 and merged block by block (Chan et al. 1983).
    """
    combiner = Combiner()
    for block in blocks:
        combiner.add(block)
    return combiner.result()


class Combiner:
    """What `combine` does, one block at a time; sums stay float64 between blocks."""

    def __init__(self) -> None:
        self.n_block = 0
        self._n_frame = 0
        self._count: NDArray[np.float64] = np.zeros((0, 0))
        self._mean: NDArray[np.float64] = np.zeros((0, 0))
        self._squares: NDArray[np.float64] = np.zeros((0, 0))
        self._background: NDArray[np.float64] | None = None
        self._background_weight: NDArray[np.float64] = np.zeros((0, 0))
        self._header: Mapping[str, Any] = {}
        self._meta: dict[str, Any] = {}

    def _start(self, first: Block) -> None:
        shape = first.image.shape
        self._count, self._mean, self._squares = (np.zeros(shape) for _ in range(3))
        if getattr(first, "background", None) is not None:
            self._background, self._background_weight = np.zeros(shape), np.zeros(shape)
        self._header = dict(getattr(first, "header", {}))
        self._meta = {"exact": True, **getattr(first, "meta", {}), "left_out": {}, "notes": []}

    def add(self, block: Block) -> None:
        """Take one more block."""
        if self.n_block == 0:
            self._start(block)
        shape = self._mean.shape
        if block.image.shape != shape:
            raise ValueError(f"block {self.n_block} is {block.image.shape}, the first {shape}: expected one shape")
        # What stands for pixels without values is not looked at.
        n, mean, std = (np.asarray(plane, np.float64).ravel() for plane in (block.count, block.image, block.std))
        count, means, squares = (sums.reshape(-1) for sums in (self._count, self._mean, self._squares))
        _core.merge_moments(count, means, squares, n, mean, n * std * std)
        n_frame = int(getattr(block, "n_frame", 0))
        self._add_background(getattr(block, "background", None), n_frame)
        meta = getattr(block, "meta", {})
        self._meta["left_out"].update(meta.get("left_out", {}))
        self._meta["notes"].extend(meta.get("notes", ()))
        self._n_frame += n_frame
        self.n_block += 1

    def _add_background(self, background: NDArray[np.float32] | None, n_frame: int) -> None:
        if (background is None) != (self._background is None):
            raise ValueError(f"block {self.n_block}: expected a background in every block or in none")
        if background is not None and self._background is not None:
            known = np.isfinite(background)
            weight = float(max(n_frame, 1))
            self._background += np.where(known, background, np.float64(0)) * weight
            self._background_weight += known * weight

    def result(self) -> Stack:
        """Return the stack of all blocks so far."""
        if self.n_block == 0:
            raise ValueError("blocks: expected at least one stack, got none")
        empty = self._count == 0
        variance = np.divide(self._squares, self._count, out=np.zeros(self._mean.shape), where=~empty)
        background = None
        if self._background is not None:
            weight = self._background_weight
            background = np.full(weight.shape, np.nan)
            np.divide(self._background, weight, out=background, where=weight > 0)
        return Stack(
            np.where(empty, np.nan, self._mean).astype(np.float32),
            self._count.astype(np.int32),
            np.where(empty, np.nan, np.sqrt(variance)).astype(np.float32),
            None if background is None else background.astype(np.float32),
            dict(self._header),
            self._n_frame,
            {**self._meta, "exact": self._meta["exact"] and self.n_block == 1},
        )
