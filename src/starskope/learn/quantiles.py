"""Quantiles over what is there: NaN is left out, and where nothing is there the answer is NaN without a warning.

Owns that one function. Refuses weights and other axes than the last.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["median", "quantiles"]


def quantiles(values: NDArray[np.float32], at: Sequence[float]) -> NDArray[np.float32]:
    """Return quantiles along the last axis, linear between neighbours.

    Parameters
    ----------
    values : (..., n) float32
        NaN = missing.
    at : sequence of float
        From 0 to 1.

    Returns
    -------
    (len(at), ...) float32
        NaN where no value is there.
    """
    ordered = np.sort(values, axis=-1)
    last = np.maximum((~np.isnan(ordered)).sum(axis=-1) - 1, 0)
    out = np.empty((len(at), *values.shape[:-1]), np.float32)
    for i, fraction in enumerate(at):
        place = fraction * last
        below = np.floor(place).astype(np.intp)
        above = np.minimum(below + 1, last)
        low = np.take_along_axis(ordered, below[..., None], axis=-1)[..., 0]
        high = np.take_along_axis(ordered, above[..., None], axis=-1)[..., 0]
        weight = (place - below).astype(np.float32)
        # Not high - low: of two neighbours that are equal and infinite that would be NaN.
        out[i] = np.where(weight == 0, low, (1 - weight) * low + weight * high)
    return out


def median(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median along the last axis; NaN where no value is there."""
    middle: NDArray[np.float32] = quantiles(values, (0.5,))[0]
    return middle
