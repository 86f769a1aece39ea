"""The pictures of a report, each as the bytes of a PNG.

Owns stretch, colour, axes and legends, drawn off screen so that the same arrays give the same picture. Refuses to
choose what is worth showing beyond the given arrays, and to know the page they stand on.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope.report.canvas import BLUE, GREY, INK, ORANGE, Canvas, colour_map, stretch_limits

__all__ = ["draw_curves", "draw_map", "draw_scatter", "draw_stack", "draw_timeline"]


def draw_stack(
    image: NDArray[np.float32], header: Mapping[str, Any] | None, *, stars: NDArray[np.float64] | None = None
) -> bytes:
    """Draw a stacked image with sky coordinates, stretched so that faint stars show beside bright ones.

    Parameters
    ----------
    image : (n_row, n_col) float32
        Electrons per second; NaN = no data, drawn grey.
    header : mapping, optional
        WCS cards of the image; without them the axes are pixels.
    stars : (n, 2) float64, optional
        Row and column of stars to mark.
    """
    from astropy.visualization import AsinhStretch, ImageNormalize

    low, high = stretch_limits(image, 2.0, 99.7)
    norm = ImageNormalize(vmin=low, vmax=high, stretch=AsinhStretch(0.04), clip=False)
    wcs = _sky(header)
    height = float(np.clip(7.4 * image.shape[0] / image.shape[1], 3.0, 8.4))
    canvas = Canvas(8.6, height, left=0.8)
    with canvas as figure, warnings.catch_warnings():
        # A colour scale that ends in the cells of bright stars is what is wanted here.
        warnings.simplefilter("ignore", RuntimeWarning)
        axes = figure.add_subplot(projection=wcs) if wcs is not None else figure.add_subplot()
        shown = axes.imshow(image, origin="lower", cmap=colour_map("magma"), norm=norm, interpolation="nearest")
        if stars is not None and len(stars):
            axes.plot(
                stars[:, 1],
                stars[:, 0],
                "o",
                mfc="none",
                mec="#7fd3ff",
                ms=7,
                mew=0.7,
                alpha=0.8,
                scalex=False,
                scaley=False,
            )
        if wcs is not None:
            axes.coords.grid(color="white", alpha=0.35, linestyle=":", linewidth=0.7)
            for name, coordinate in zip(("Right ascension", "Declination"), axes.coords, strict=True):
                coordinate.set_axislabel(name, minpad=0.5)
                coordinate.set_major_formatter("d.d" if name == "Declination" else "hh:mm")
                coordinate.set_ticklabel(size=8, exclude_overlapping=True)
        else:
            axes.set(xlabel="column", ylabel="row")
        bar = figure.colorbar(shown, ax=axes, shrink=0.85, pad=0.02, extend="both")
        bar.set_label("background-subtracted flux (e-/s), asinh scale")
        bar.outline.set_visible(False)
        return canvas.png()


def draw_map(image: NDArray[Any], label: str, *, colours: str = "viridis") -> bytes:
    """Draw a smooth plane such as a background or a coverage, in pixels, with its own linear scale."""
    low, high = stretch_limits(image, 0.5, 99.5)
    canvas = Canvas(4.2, float(np.clip(3.5 * image.shape[0] / image.shape[1], 2.2, 4.6)), right=0.35)
    with canvas as figure:
        axes = figure.add_subplot()
        shown = axes.imshow(
            image, origin="lower", cmap=colour_map(colours), vmin=low, vmax=high, interpolation="nearest"
        )
        axes.set(xlabel="column", ylabel="row")
        bar = figure.colorbar(shown, ax=axes, shrink=0.9, pad=0.02)
        bar.set_label(label)
        bar.outline.set_visible(False)
        return canvas.png()


def draw_scatter(
    tmag: NDArray[np.float64], measured: NDArray[np.float64], expected: NDArray[np.float64], label: str
) -> bytes:
    """Draw scatter against magnitude beside the expected noise.

    Parameters
    ----------
    tmag : (n_star,) float64
        TESS magnitudes; NaN where not known.
    measured, expected : (n_star,) float64
        Scatter and expected noise per cadence, as fractions of the flux; NaN where not known.
    label : str
        How the scatter was measured.
    """
    known = np.isfinite(tmag) & np.isfinite(measured) & np.isfinite(expected) & (measured > 0) & (expected > 0)
    tmag, measured, expected = tmag[known], measured[known] * 1e6, expected[known] * 1e6
    canvas = Canvas(8.6, 4.4)
    with canvas as figure:
        axes = figure.add_subplot()
        axes.plot(tmag, measured, "o", ms=2.6, color=BLUE, alpha=0.45, mew=0, label=f"{len(tmag)} stars, {label}")
        axes.plot(tmag, expected, ".", ms=1.6, color=ORANGE, alpha=0.35)
        centres, medians = _binned(tmag, measured)
        axes.plot(centres, medians, "s-", ms=4.5, lw=1.4, color=INK, label="median of the stars in half a magnitude")
        axes.plot(
            *_binned(tmag, expected),
            "-",
            lw=2.2,
            color=ORANGE,
            label="expected: photons, sky and read noise in the aperture",
        )
        axes.set(yscale="log", xlabel="TESS magnitude", ylabel="scatter per cadence (ppm)")
        if len(tmag):
            low, high = np.percentile(np.concatenate([measured, expected]), [0.5, 99.5])
            axes.set_ylim(low / 2, high * 2)
        axes.grid(alpha=0.25, which="both", lw=0.5)
        axes.legend(loc="upper left", fontsize=8)
        return canvas.png()


def _binned(tmag: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    cells = np.floor(tmag * 2)
    groups = [(cell, values[cells == cell]) for cell in np.unique(cells)]
    kept = [(float(cell) / 2 + 0.25, float(np.median(group))) for cell, group in groups if group.size >= 3]
    return [centre for centre, _ in kept], [median for _, median in kept]


def draw_curves(
    time: NDArray[np.float64], curves: Sequence[tuple[str, NDArray[Any]]], used: NDArray[np.bool_], axis: str
) -> bytes:
    """Draw a few light curves below one another.

    Parameters
    ----------
    time : (n_time,) float64
        Days.
    curves : sequence of (title, (n_time,) array)
        Flux over its median.
    used : (n_time,) bool
        False draws a cadence pale.
    axis : str
        Label of the time axis.
    """
    n_row = -(-len(curves) // 2)
    canvas = Canvas(8.6, 1.45 * n_row + 0.5, left=0.8, top=0.28)
    with canvas as figure:
        figure.subplots_adjust(hspace=0.32, wspace=0.18)
        grid = figure.subplots(n_row, 2, sharex=True, squeeze=False)
        for axes, (title, flux) in zip(grid.ravel(), curves, strict=False):
            axes.plot(time[~used], flux[~used], ".", ms=2, color=GREY, alpha=0.5)
            axes.plot(time[used], flux[used], ".", ms=2, color=BLUE)
            axes.set_title(title, fontsize=8)
            axes.ticklabel_format(axis="y", useOffset=False)
            shown = flux[used & np.isfinite(flux)]
            if shown.size:
                low, high = np.percentile(shown, [0.1, 99.9])
                margin = 0.25 * (high - low) + 1e-6
                axes.set_ylim(low - margin, high + margin)
        for axes in grid.ravel()[len(curves) :]:
            axes.set_visible(False)
        figure.supxlabel(axis, fontsize=9, y=0.01, va="bottom")
        figure.supylabel("flux / median", fontsize=9, x=0.008, ha="left")
        return canvas.png()


def draw_timeline(
    time: NDArray[np.float64], background: NDArray[np.float64], used: NDArray[np.bool_], axis: str
) -> bytes:
    """Draw the median sky under the stars against time, cadences kept out of the stack marked."""
    canvas = Canvas(8.6, 2.4)
    with canvas as figure:
        axes = figure.add_subplot()
        axes.plot(time[used], background[used], ".", ms=3, color=BLUE, label="in the stack")
        axes.plot(time[~used], background[~used], "x", ms=4, color=ORANGE, label="flagged: measured, not stacked")
        axes.set(xlabel=axis, ylabel="median sky (e-/s/pixel)")
        axes.grid(alpha=0.25, lw=0.5)
        axes.legend(loc="best", fontsize=8)
        return canvas.png()


def _sky(header: Mapping[str, Any] | None) -> Any:
    """Return an astropy WCS, None where the header has none."""
    if not header or "CRVAL1" not in header:
        return None
    from astropy.io import fits
    from astropy.wcs import WCS

    names = ("CTYPE", "CRPIX", "CRVAL", "CD", "CUNIT", "A_", "B_", "CDELT", "RADESYS", "LONPOLE", "LATPOLE")
    cards = fits.Header(
        [(name, value) for name, value in header.items() if name.startswith(names) and value is not None]
    )
    with warnings.catch_warnings():
        # Spacecraft headers carry cards that the library mends and tells of: nothing a reader could act on.
        warnings.simplefilter("ignore")
        return WCS(cards, naxis=2)
