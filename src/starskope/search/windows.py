"""Window functions, as SciPy names them.

Owns the one reading of ``window``. Refuses to define windows of its own, but for the usual one: SciPy's signals take
longer to import than many a search.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope.validation import as_float64

__all__ = ["window_label", "window_values"]

Window = str | tuple[Any, ...] | ArrayLike | None


def window_values(window: Window, n: int) -> NDArray[np.float32]:
    """Return a window of ``n`` values, its largest 1 in size.

    Parameters
    ----------
    window : str, tuple, array_like or None
        What `scipy.signal.get_window` takes (its periodic form: "hann", ("kaiser", 8.6), ...), or ``n`` values. None is
        no window: ones.
    n : int
        Length.

    Raises
    ------
    ValueError
        No such window, or values of another length, not finite, or that sum to zero.
    TypeError
        Values that are no real numbers.
    """
    if window is None:
        return np.ones(n, dtype=np.float32)
    if isinstance(window, str) and window == "hann" and n > 1:
        values = 0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, n + 1)[:-1])
    elif isinstance(window, str | tuple):
        from scipy.signal import get_window

        try:
            values = np.asarray(get_window(window, n, fftbins=True), dtype=np.float64)
        except (ValueError, TypeError) as error:
            raise ValueError(f"window={window!r}: {error}: expected a window of scipy.signal.get_window") from None
    else:
        values = as_float64(window, "window", 1)
        if values.shape != (n,):
            raise ValueError(f"window has shape {values.shape}; expected ({n},), one value per cadence")
    if not np.isfinite(values).all():
        raise ValueError("window holds NaN or infinite values: expected finite ones")
    if abs(values.sum()) <= 1e-6 * np.abs(values).sum() or not values.any():
        raise ValueError(f"window={window_label(window)} sums to zero over {n} cadences: power has no scale then")
    scaled: NDArray[np.float64] = values / np.abs(values).max()
    return scaled.astype(np.float32)


def window_label(window: Window) -> str:
    """Name a window in a result."""
    if window is None:
        return "none"
    return str(window) if isinstance(window, str | tuple) else "values given"
