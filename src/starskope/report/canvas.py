"""A figure off screen that becomes the bytes of a PNG.

Owns size, margins, style, colours and the palette that keeps pictures small. Refuses to know what is drawn.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLUE", "GREEN", "GREY", "INK", "ORANGE", "Canvas", "colour_map", "stretch_limits"]

INK = "#1c2733"
BLUE = "#1f6fb2"
ORANGE = "#d9711a"
GREEN = "#2a8a57"
GREY = "#8b98a5"
_DPI = 110
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
}


class Canvas:
    """A figure that lives without a window and leaves nothing behind.

    Margins are given in inches: matplotlib's own layout engines cost as much as the drawing.
    """

    def __init__(
        self,
        width: float,
        height: float,
        *,
        left: float = 0.7,
        right: float = 0.12,
        bottom: float = 0.5,
        top: float = 0.12,
    ) -> None:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._style = mpl.rc_context(_STYLE)
        self._style.__enter__()
        self.figure = Figure(figsize=(width, height), dpi=_DPI)
        FigureCanvasAgg(self.figure)
        self.figure.subplots_adjust(left / width, bottom / height, 1.0 - right / width, 1.0 - top / height)

    def __enter__(self) -> Any:
        return self.figure

    def __exit__(self, *_: object) -> None:
        self._style.__exit__(None, None, None)

    def png(self) -> bytes:
        """Render in a palette of 255 colours: a third of the bytes, and no difference that an eye sees."""
        from PIL import Image

        canvas: Any = self.figure.canvas
        canvas.draw()
        pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
        reduced = pixels.quantize(255, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        buffer = io.BytesIO()
        reduced.save(buffer, format="png", optimize=True)
        return buffer.getvalue()


def stretch_limits(image: NDArray[Any], low: float, high: float) -> tuple[float, float]:
    """Percentiles of the finite pixels; (0, 1) where there are none."""
    finite = image[np.isfinite(image)]
    if not finite.size:
        return 0.0, 1.0
    below, above = (float(value) for value in np.percentile(finite, [low, high]))
    return below, above if above > below else below + 1.0


def colour_map(name: str) -> Any:
    """Return a colour map of matplotlib with grey for missing values."""
    import matplotlib as mpl

    return mpl.colormaps[name].with_extremes(bad="#c9d1d9")
