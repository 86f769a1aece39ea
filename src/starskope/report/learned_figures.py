"""The pictures of what was learned, each as the bytes of a PNG.

Owns how filters and unusual stars are drawn. Refuses to choose them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from starskope.report.candidate_figures import draw_stamp
from starskope.report.canvas import BLUE, GREY, Canvas, colour_map

if TYPE_CHECKING:
    from starskope.report.evidence import Stamp
    from starskope.search.spectra import Spectrogram

__all__ = ["UnusualStar", "draw_filters", "draw_unusual"]

_DECADES = 5.0


@dataclass(frozen=True, eq=False)
class UnusualStar:
    """A star to look at: title, light (n_time,), spectrogram and stamp where there are any."""

    title: str
    time: NDArray[np.float64]
    flux: NDArray[np.float32]
    spectrogram: Spectrogram | None
    stamp: Stamp | None


def draw_filters(weights: NDArray[np.float32], shape: tuple[int, int], n_column: int) -> bytes:
    """Draw what each hidden unit looks for, strongest first, all on one scale around zero.

    Parameters
    ----------
    weights : (n_visible, n_hidden) float32
    shape : (int, int)
        Rows and columns of a filter as a picture.
    n_column : int
        Pictures in a row.
    """
    order = np.argsort(-np.linalg.norm(weights, axis=0), kind="stable")
    n_hidden = order.size
    n_row = -(-n_hidden // n_column)
    gap = 2
    mosaic = np.full((n_row * (shape[0] + gap) - gap, n_column * (shape[1] + gap) - gap), np.nan, np.float32)
    for k, unit in enumerate(order):
        top, left = (k // n_column) * (shape[0] + gap), (k % n_column) * (shape[1] + gap)
        mosaic[top : top + shape[0], left : left + shape[1]] = weights[:, unit].reshape(shape)
    limit = float(np.nanpercentile(np.abs(mosaic), 99.5)) if n_hidden else 1.0
    width = 4.2
    height = float(np.clip(width * mosaic.shape[0] / mosaic.shape[1], 0.8, 6.0))
    canvas = Canvas(width, height, left=0.02, right=0.02, bottom=0.02, top=0.02)
    with canvas as figure:
        axes = figure.add_subplot()
        axes.imshow(
            mosaic,
            cmap=colour_map("RdBu_r").with_extremes(bad="white"),
            vmin=-limit or -1.0,
            vmax=limit or 1.0,
            interpolation="nearest",
            aspect="auto",
            origin="lower" if shape[0] == shape[1] else "upper",
        )
        axes.axis("off")
        return canvas.png()


def draw_unusual(stars: Sequence[UnusualStar], axis: str) -> bytes:
    """Draw stars below one another: light, spectrogram and stamp."""
    canvas = Canvas(8.6, 1.42 * len(stars) + 0.3, left=0.72, right=0.08, bottom=0.4, top=0.24)
    with canvas as figure:
        figure.subplots_adjust(hspace=0.42, wspace=0.2)
        grid = figure.add_gridspec(len(stars), 3, width_ratios=(3.0, 1.4, 0.62))
        for i, star in enumerate(stars):
            light = figure.add_subplot(grid[i, 0])
            light.plot(star.time, star.flux, ".", ms=1.8, color=BLUE)
            light.set_title(star.title, fontsize=8)
            light.ticklabel_format(axis="y", useOffset=False)
            light.tick_params(labelsize=7, labelbottom=i == len(stars) - 1)
            if i == len(stars) - 1:
                light.set_xlabel(axis, fontsize=8)
            if star.spectrogram is not None:
                _spectrogram(figure.add_subplot(grid[i, 1]), star.spectrogram, last=i == len(stars) - 1)
            if star.stamp is not None:
                stamp = figure.add_subplot(grid[i, 2])
                draw_stamp(stamp, star.stamp)
                stamp.set_title("")
        figure.supylabel("flux / median", fontsize=8, x=0.004, ha="left")
        return canvas.png()


def _spectrogram(axes: object, spectrogram: Spectrogram, *, last: bool) -> None:
    power = spectrogram.power[:, 1:, 0].T.astype(np.float64)
    known = power[np.isfinite(power) & (power > 0)]
    top = float(known.max()) if known.size else 1.0
    decades = np.log10(np.where(power > 0, power, np.nan) / top)
    first, final = float(spectrogram.time[0]), float(spectrogram.time[-1])
    extent = (first, final if final > first else first + 1.0, 0.0, float(spectrogram.frequency[-1]))
    axes.imshow(  # type: ignore[attr-defined]
        np.maximum(decades, -_DECADES),
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap=colour_map("magma"),
        vmin=-_DECADES,
        vmax=0.0,
        interpolation="nearest",
    )
    axes.set_ylabel("1/d", fontsize=7, labelpad=1, color=GREY)  # type: ignore[attr-defined]
    axes.tick_params(labelsize=6.5, labelbottom=last)  # type: ignore[attr-defined]
