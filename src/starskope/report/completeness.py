"""The picture of a completeness map: what fraction of planets is found, over period and size.

Owns the drawing. Refuses to count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from starskope.report.canvas import INK, Canvas, colour_map

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["draw_completeness"]

_LABELS = {"depth": ("depth (ppm)", 1e6), "radius": ("planet radius (Earth radii)", 1.0)}


def draw_completeness(cells: Table, *, over: str) -> bytes:
    """Draw the cells with the percentage found and its one-sigma limits in each, as the bytes of a PNG.

    Parameters
    ----------
    cells : astropy.table.Table
        Of `starskope.completeness.map_of`.
    over : {"depth", "radius"}
        What the sizes are.
    """
    label, scale = _LABELS[over]
    period = np.unique([*cells["period_low"], *cells["period_high"]])
    size = scale * np.unique([*cells["size_low"], *cells["size_high"]])
    n_period, n_size = period.size - 1, size.size - 1
    found = np.asarray(cells["recovered"], np.float64).reshape(n_period, n_size).T
    low, high = (np.asarray(cells[f"recovered_{end}"]).reshape(n_period, n_size).T for end in ("low", "high"))
    canvas = Canvas(max(5.2, 1.8 + 0.85 * n_period), max(3.4, 1.2 + 0.55 * n_size), left=0.85, right=0.3, top=0.4)
    with canvas as figure:
        axes = figure.add_subplot()
        shown = axes.pcolormesh(period, size, found, cmap=colour_map("viridis"), vmin=0.0, vmax=1.0)
        axes.set(xscale="log", yscale="log", xlabel="period (days)", ylabel=label)
        for ticks, values in ((axes.xaxis, period), (axes.yaxis, size)):
            ticks.set_ticks(values, labels=[f"{value:.3g}" if value < 1000 else f"{value:,.0f}" for value in values])
            ticks.set_ticks([], minor=True)
        for i, j in np.ndindex(n_size, n_period):
            ink = INK if found[i, j] > 0.55 else "white"
            x, y = np.sqrt(period[j] * period[j + 1]), np.sqrt(size[i] * size[i + 1])
            limits = f"{100 * low[i, j]:.0f} to {100 * high[i, j]:.0f}"
            for text, lift, points in ((f"{100 * found[i, j]:.0f}", 4, 9.0), (limits, -7, 6.5)):
                style = {"ha": "center", "va": "center", "color": ink, "fontsize": points}
                axes.annotate(text, (x, y), (0, lift), textcoords="offset points", **style)
        n = int(np.sum(cells["n"]))
        axes.set_title(f"% of {n:,} injected planets found at their period; below, the 68 % interval")
        bar = figure.colorbar(shown, ax=axes, pad=0.02)
        bar.set_label("fraction found")
        bar.outline.set_visible(False)
        return canvas.png()
