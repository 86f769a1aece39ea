"""Medians and other ranks of unsorted numbers, exactly and in about one pass.

Owns quickselect, and the short cut that looks only between two bounds where the rank is expected. Refuses NaN: callers
leave missing values out.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["mad_between", "median", "median_between", "ranked", "ranked_between"]

F64 = NDArray[np.float64]

MAD_TO_SIGMA = 1.4826
CENTRE_REACH = 0.3
"""Standard deviations around an expected median that are looked at first: four of its errors with 300 free numbers."""
SCATTER_REACH = 0.3
"""The same for the median deviation, as a fraction of it."""


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def ranked(values: F64, n: int, k: int) -> float:
    """Return the ``k``-th smallest (from 0) of the first ``n`` values, which are reordered around it."""
    low, high = 0, n - 1
    while high - low > 8:
        # The median of three as pivot: sorted input is as quick as any.
        a, b, c = values[low], values[(low + high) // 2], values[high]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            return float(values[k])
    for i in range(low + 1, high + 1):
        one = values[i]
        j = i
        while j > low and one < values[j - 1]:
            values[j] = values[j - 1]
            j -= 1
        values[j] = one
    return float(values[k])


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _middle(values: F64, n: int, first: int, second: int) -> float:
    """Mean of the values of two ranks, equal or next to each other; the first ``n`` values are reordered."""
    low: float = ranked(values, n, first)
    if first == second:
        return low
    high = float(values[second])
    for i in range(second + 1, n):
        high = min(high, values[i])
    return 0.5 * (low + high)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def median(values: F64, n: int) -> float:
    """Median of the first ``n`` values, which are reordered; NaN of none."""
    middle: float = _middle(values, n, (n - 1) // 2, n // 2) if n > 0 else np.nan
    return middle


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _gathered(values: F64, n: int, low: float, high: float, scratch: F64) -> tuple[int, int]:
    """Copy the values from ``low`` to ``high`` to ``scratch``; return how many lie below these, and how many these are.

    A store that the next one overwrites, instead of a branch that nobody can predict.
    """
    below, m = 0, 0
    for i in range(n):
        value = values[i]
        scratch[m] = value
        below += int(value < low)
        m += int((value >= low) & (value <= high))
    return below, m


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def ranked_between(values: F64, n: int, k: int, low: float, high: float, scratch: F64) -> float:
    """Return the ``k``-th smallest of the first ``n`` values, quickly where it lies from ``low`` to ``high``.

    ``scratch`` (n + 1 or more) is overwritten, the values stay as they are.
    """
    below, m = _gathered(values, n, low, high, scratch)
    if not below <= k < below + m:
        scratch[:n] = values[:n]
        below, m = 0, n
    value: float = ranked(scratch, m, k - below)
    return value


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def median_between(values: F64, n: int, low: float, high: float, scratch: F64) -> float:
    """Median of the first ``n`` values, quickly where it lies from ``low`` to ``high``; NaN of none."""
    if n == 0:
        return np.nan
    first, second = (n - 1) // 2, n // 2
    below, m = _gathered(values, n, low, high, scratch)
    if not (below <= first and second < below + m):
        scratch[:n] = values[:n]
        below, m = 0, n
    middle: float = _middle(scratch, m, first - below, second - below)
    return middle


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def mad_between(values: F64, n: int, centre: float, sigma: float, scratch: F64) -> tuple[float, float]:
    """Median of the first ``n`` values and their standard deviation from the median absolute deviation.

    Parameters
    ----------
    values : (n,) or more float64
        Overwritten by their absolute deviations.
    centre, sigma : float
        About what is expected, which only decides the time; NaN = nothing is.
    scratch : (n + 1,) or more float64
        Overwritten.
    """
    reach = CENTRE_REACH * sigma
    middle = median_between(values, n, centre - reach, centre + reach, scratch)
    for i in range(n):
        values[i] = abs(values[i] - middle)
    usual = sigma / MAD_TO_SIGMA
    low, high = (1.0 - SCATTER_REACH) * usual, (1.0 + SCATTER_REACH) * usual
    return middle, MAD_TO_SIGMA * median_between(values, n, low, high, scratch)
