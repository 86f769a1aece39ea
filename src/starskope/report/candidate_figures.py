"""The pictures of candidates, each as the bytes of a PNG.

Owns how one candidate, and the counts of all, are drawn. Refuses to choose candidates and to compute what is drawn,
beyond phases and averages in phase.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from starskope.report.canvas import BLUE, GREEN, GREY, INK, ORANGE, Canvas, colour_map, stretch_limits

if TYPE_CHECKING:
    from starskope.report.evidence import Evidence, Stamp

__all__ = ["draw_inverted", "draw_light", "draw_panels", "draw_stamp"]

F64 = NDArray[np.float64]
_BINS_PER_DURATION = 4
_BOX = np.array([0, 0, 1, 1, 0, 0])


def draw_light(evidence: Evidence) -> bytes:
    """Draw the normalised and the levelled light curve, the events marked."""
    canvas = Canvas(8.6, 2.9, left=0.75, right=0.1, bottom=0.45, top=0.1)
    with canvas as figure:
        figure.subplots_adjust(hspace=0.12)
        above, below = figure.subplots(2, 1, sharex=True)
        for axes, flux, label in ((above, evidence.level, "flux / median"), (below, evidence.flat, "levelled")):
            axes.plot(evidence.time, flux, ".", ms=2, color=BLUE, rasterized=True)
            axes.set_ylabel(label, fontsize=8)
            axes.ticklabel_format(axis="y", useOffset=False)
            axes.tick_params(labelsize=7.5)
            axes.locator_params(axis="y", nbins=4)
            axes.set_ylim(*_flux_limits(flux, evidence.depth if axes is below else 0.0))
        for event in _events(evidence):
            below.axvline(event, ymax=0.07, color=ORANGE, lw=1.6)
        below.set_xlabel(evidence.time_label, fontsize=8)
        return canvas.png()


def draw_panels(evidence: Evidence) -> bytes:
    """Draw spectrum, fold, odd and even events, and stamp of a periodic candidate; of a single event a closer look."""
    canvas = Canvas(8.6, 2.45, left=0.55, right=0.1, bottom=0.45, top=0.28)
    periodic = np.isfinite(evidence.period)
    with canvas as figure:
        figure.subplots_adjust(wspace=0.34)
        grid = figure.add_gridspec(1, 4, width_ratios=(1.25, 1.25, 1.1, 0.85))
        if periodic:
            _spectrum(figure.add_subplot(grid[0]), evidence)
            _fold(figure.add_subplot(grid[1]), evidence)
            _odd_even(figure.add_subplot(grid[2]), evidence)
        else:
            _event(figure.add_subplot(grid[0]), evidence, evidence.level, "the event, not levelled")
            _event(figure.add_subplot(grid[1:3]), evidence, evidence.flat, "levelled")
        if evidence.stamp is not None:
            draw_stamp(figure.add_subplot(grid[3]), evidence.stamp)
        for axes in figure.axes:
            axes.tick_params(labelsize=7)
            if axes.yaxis.get_majorticklocs().size > 5:
                axes.locator_params(axis="y", nbins=4)
        return canvas.png()


def draw_inverted(upright: F64, inverted: F64, n_star: int, threshold: float) -> bytes:
    """Draw how many stars reach a signal-to-noise ratio, in their light and in their light upside down.

    Parameters
    ----------
    upright, inverted : (n,) float64
        Best values of the stars, the highest of them at least.
    n_star : int
        Stars searched.
    threshold : float
        Least signal-to-noise ratio of a claim.
    """
    canvas = Canvas(8.6, 3.0, top=0.15)
    with canvas as figure:
        axes = figure.add_subplot()
        for values, colour, label in ((upright, BLUE, "light curves"), (inverted, ORANGE, "the same, upside down")):
            ordered = np.sort(values[np.isfinite(values) & (values > 0)])[::-1]
            axes.step(ordered, np.arange(1, ordered.size + 1), where="post", color=colour, lw=1.8, label=label)
        axes.axvline(threshold, color=GREY, lw=1.2, ls="--", label="least of a claim")
        axes.set(xscale="log", yscale="log", xlabel="signal-to-noise ratio of the best box", ylabel="stars at or above")
        axes.set_ylim(0.8, max(2.0, 1.3 * n_star))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.25, which="both", lw=0.5)
        axes.legend(loc="upper right", fontsize=8)
        return canvas.png()


def draw_stamp(axes: Any, stamp: Stamp) -> None:
    """Draw the stack around a star, its aperture and its neighbours, into given axes."""
    low, high = stretch_limits(stamp.image, 5.0, 99.5)
    stretched = np.arcsinh(50.0 * (stamp.image - low) / (high - low))
    axes.imshow(stretched, origin="lower", cmap=colour_map("magma"), interpolation="nearest")
    angle = np.linspace(0.0, 2.0 * np.pi, 90)
    if np.isfinite(stamp.radius):
        axes.plot(
            stamp.column + stamp.radius * np.cos(angle),
            stamp.row + stamp.radius * np.sin(angle),
            color="#7fd3ff",
            lw=1.2,
        )
    axes.plot(stamp.column, stamp.row, "+", color="#7fd3ff", ms=6, mew=1)
    axes.plot(stamp.neighbours[:, 1], stamp.neighbours[:, 0], ".", color="#9df0b6", ms=4)
    axes.set(xlim=(-0.5, stamp.image.shape[1] - 0.5), ylim=(-0.5, stamp.image.shape[0] - 0.5), xticks=[], yticks=[])
    axes.set_title("stack, aperture", fontsize=8)


def _events(evidence: Evidence) -> F64:
    if not np.isfinite(evidence.period) or evidence.time.size == 0:
        return np.array([evidence.t0])
    first = np.ceil((evidence.time[0] - evidence.t0) / evidence.period)
    last = np.floor((evidence.time[-1] - evidence.t0) / evidence.period)
    return np.asarray(evidence.t0 + evidence.period * np.arange(first, last + 1))


def _flux_limits(flux: NDArray[Any], depth: float) -> tuple[float, float]:
    known = flux[np.isfinite(flux)].astype(np.float64)
    if not known.size:
        return 0.0, 2.0
    low, high = np.percentile(known, [0.05 if depth == 0 else 1.0, 99.8])
    if depth > 0:
        low = min(low, 1.0 - 1.25 * depth)
    margin = 0.08 * (high - low) + 1e-6
    return float(low - margin), float(high + margin)


def _spectrum(axes: Any, evidence: Evidence) -> None:
    axes.set_title("box periodogram (grey: upside down)", fontsize=7.5)
    axes.set_xlabel("period (d)", fontsize=8)
    axes.set_ylabel("detection efficiency", fontsize=8)
    if evidence.spectrum is None:
        return
    spectrum = evidence.spectrum
    axes.plot(spectrum.period, spectrum.inverted, color=GREY, lw=0.5)
    axes.plot(spectrum.period, spectrum.sde, color=INK, lw=0.6)
    top = float(np.nanmax(spectrum.sde, initial=1.0))
    for multiple, style in ((1.0, "-"), (0.5, ":"), (2.0, ":")):
        axes.axvline(multiple * evidence.period, color=ORANGE, lw=4.0 if multiple == 1.0 else 1.0, ls=style, alpha=0.35)
    low, high = float(spectrum.period.min()), float(spectrum.period.max())
    axes.set(xscale="log", xlim=(low, high), ylim=(-0.3 * top, 1.12 * top))
    ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100, 200) if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def _phase_days(evidence: Evidence) -> tuple[F64, NDArray[np.int64]]:
    """Days from the nearest event, and its number."""
    offset = evidence.time - evidence.t0
    number = np.rint(offset / evidence.period)
    return offset - number * evidence.period, number.astype(np.int64)


def _means(x: F64, flux: NDArray[Any], width: float) -> tuple[F64, F64]:
    """Mean flux in bins of a phase; bins of fewer than three points are left out."""
    known = np.isfinite(flux)
    place = np.floor(x[known] / width).astype(np.int64)
    if not place.size:
        return np.zeros(0), np.zeros(0)
    first = place.min()
    count = np.bincount(place - first)
    total = np.bincount(place - first, weights=flux[known].astype(np.float64))
    full = np.flatnonzero(count >= 3)
    return (full + first + 0.5) * width, total[full] / count[full]


def _fold(axes: Any, evidence: Evidence) -> None:
    """Fold over the whole period: a dip at another phase shows."""
    days, _ = _phase_days(evidence)
    phase = np.where(days < -0.25 * evidence.period, days + evidence.period, days) / evidence.period
    axes.plot(phase, evidence.flat, ".", ms=1.2, color=GREY, alpha=0.6)
    width = max(evidence.duration / _BINS_PER_DURATION / evidence.period, 0.004)
    axes.plot(*_means(phase, evidence.flat, width), ".", ms=3.2, color=BLUE)
    half = 0.5 * evidence.duration / evidence.period
    level, bottom = 1.0, 1.0 - evidence.depth
    axes.plot(
        [-0.25, -half, -half, half, half, 0.75], [level, level, bottom, bottom, level, level], color=ORANGE, lw=1.2
    )
    phase_of = float(evidence.candidate["secondary_phase"])
    if np.isfinite(phase_of) and abs(_significance(evidence, "secondary")) >= 3.0:
        at = phase_of if phase_of < 0.75 else phase_of - 1.0
        axes.axvline(at, ymax=0.08, color=GREEN, lw=2.0)
    axes.set(xlim=(-0.25, 0.75), ylim=_flux_limits(evidence.flat, evidence.depth))
    axes.set_xlabel("phase", fontsize=8)
    axes.set_title("fold, box" + (", deepest other dip" if axes.lines[-1].get_color() == GREEN else ""), fontsize=8)
    axes.ticklabel_format(axis="y", useOffset=False)


def _odd_even(axes: Any, evidence: Evidence) -> None:
    """Fold odd and even events side by side."""
    days, number = _phase_days(evidence)
    reach = min(2.5 * evidence.duration, 0.5 * evidence.period)
    near = np.abs(days) <= reach
    shift = 2.3 * reach
    for odd, colour in ((1, BLUE), (0, GREEN)):
        chosen = near & (np.abs(number) % 2 == odd)
        x = days[chosen] * 24.0 + (0.0 if odd else shift * 24.0)
        axes.plot(x, evidence.flat[chosen], ".", ms=1.5, color=GREY)
        axes.plot(
            *_means(x, evidence.flat[chosen], evidence.duration * 24.0 / _BINS_PER_DURATION), ".", ms=4, color=colour
        )
        centre = 0.0 if odd else shift * 24.0
        half = 12.0 * evidence.duration
        axes.plot(
            centre + np.array([-reach * 24, -half, -half, half, half, reach * 24]),
            1.0 - evidence.depth * _BOX,
            color=ORANGE,
            lw=1.0,
        )
    axes.set_xticks([0.0, shift * 24.0], ["odd", "even"])
    axes.set_ylim(*_flux_limits(evidence.flat, evidence.depth))
    axes.set_title(f"odd and even, {48 * reach:.3g} h each", fontsize=8)
    axes.ticklabel_format(axis="y", useOffset=False)


def _event(axes: Any, evidence: Evidence, flux: NDArray[Any], title: str) -> None:
    reach = max(4.0 * evidence.duration, 0.5)
    near = np.abs(evidence.time - evidence.t0) <= reach
    x = (evidence.time[near] - evidence.t0) * 24.0
    axes.plot(x, flux[near], ".", ms=3, color=BLUE)
    if flux is evidence.flat:
        half = 12.0 * evidence.duration
        axes.plot(
            [-reach * 24, -half, -half, half, half, reach * 24],
            1.0 - evidence.depth * _BOX,
            color=ORANGE,
            lw=1.2,
        )
    axes.set_xlabel("hours from mid-event", fontsize=8)
    axes.set_title(title, fontsize=8)
    axes.ticklabel_format(axis="y", useOffset=False)


def _significance(evidence: Evidence, name: str) -> float:
    error = float(evidence.candidate[f"{name}_err"])
    return float(evidence.candidate[name]) / error if error > 0 else 0.0
