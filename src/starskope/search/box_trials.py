"""What the box search tries, as the core takes it: errors, durations, periods, and the durations of each period.

Owns these checks, which both ways of searching share. Refuses to choose (`grids`) and to search.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope.validation import as_float32, as_float64

__all__ = ["Limits", "checked_durations", "checked_errors", "checked_periods", "duration_windows"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
Limits = tuple[ArrayLike, ArrayLike]


def checked_errors(flux_err: ArrayLike | None, n_time: int, n_star: int) -> F32 | None:
    """Return errors above 0, NaN = the point is missing: (n_time, n_star), (n_time, 1) or (1, n_star)."""
    if flux_err is None:
        return None
    errors = as_float32(flux_err, "flux_err", (1, 2))
    if errors.ndim == 1:
        errors = errors[:, None]
    if errors.shape not in {(n_time, n_star), (n_time, 1), (1, n_star)}:
        raise ValueError(
            f"flux_err has shape {np.shape(flux_err)}; expected ({n_time}, {n_star}), ({n_time},) or (1, {n_star})"
        )
    if (errors <= 0.0).any():
        i, star = np.argwhere(errors <= 0.0)[0]
        raise ValueError(f"flux_err[{i}, {star}] = {errors[i, star]}: errors are above 0; NaN leaves a point out")
    return errors


def checked_durations(durations: ArrayLike) -> F64:
    """Return durations in days, shortest first."""
    trial = as_float64(durations, "durations", 1)
    if not trial.size or not (np.isfinite(trial) & (trial > 0.0)).all() or not (np.diff(trial) > 0.0).all():
        raise ValueError(f"durations={trial}: expected one or more, in days, above 0 and increasing")
    return trial


def checked_periods(periods: ArrayLike) -> F64:
    """Return periods in days, in any order."""
    trial = as_float64(periods, "periods", 1)
    if (bad := np.flatnonzero(~(np.isfinite(trial) & (trial > 0.0)))).size:
        raise ValueError(f"periods[{bad[0]}]={trial[bad[0]]}: expected days above 0")
    return trial


def duration_windows(durations: F64, periods: F64, max_duty_cycle: float, limits: Limits | None) -> tuple[I32, I32]:
    """Return which durations each period tries: ``first <= k < last``.

    Parameters
    ----------
    durations, periods : (n_duration,), (n_period,) float64
        Checked.
    max_duty_cycle : float
        A duration longer than this part of a period is not tried there.
    limits : (shortest, longest), optional
        Two arrays ``(n_period,)`` in days. Where no duration lies between, the one that is nearest in ratio stands in.
    """
    first = np.zeros(periods.size, np.int32)
    last = np.searchsorted(durations, max_duty_cycle * periods, side="right").astype(np.int32)
    if limits is None:
        return first, last
    low, high = (as_float64(limit, "limits", 1) for limit in limits)
    if low.shape != periods.shape or high.shape != periods.shape or not ((low > 0.0) & (low <= high)).all():
        raise ValueError(f"limits: expected shortest <= longest, above 0, each of shape {periods.shape}")
    begin = np.searchsorted(durations, low * (1.0 - 1e-9), side="left")
    above = np.searchsorted(durations, high * (1.0 + 1e-9), side="right")
    edges = np.sqrt(durations[1:] * durations[:-1])
    begin = np.where(above <= begin, np.searchsorted(edges, np.sqrt(low * high)), begin)
    return begin.astype(np.int32), np.minimum(last, np.maximum(above, begin + 1)).astype(np.int32)
