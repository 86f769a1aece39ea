"""The checks that every array of a light-curve container passes.

Owns shapes, dtypes and order; each complaint names the value and the remedy. Refuses to repair: nothing is sorted,
dropped or filled here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope.validation import as_float32, as_float64

__all__ = ["directions", "error_matrix", "flux_matrix", "increasing_times", "observer_path", "quality_flags"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


def _plain(name: str, values: Any) -> Any:
    if hasattr(values, "to_value"):
        raise TypeError(f"{name} has a unit; give plain numbers ({name}.value) in the unit of the container")
    return values


def increasing_times(values: Any) -> F64:
    """Return times as (n_time,) float64, finite and strictly increasing."""
    time = as_float64(_plain("time", values), "time")
    if time.ndim != 1:
        raise ValueError(f"time has shape {time.shape}; give one value per cadence, shape (n_time,)")
    if (bad := np.flatnonzero(~np.isfinite(time))).size:
        raise ValueError(
            f"time[{bad[0]}] is {time[bad[0]]} ({bad.size} of {time.size} not finite): drop these cadences"
        )
    step = np.diff(time)
    if (bad := np.flatnonzero(step < 0)).size:
        i = bad[0] + 1
        raise ValueError(f"time[{i}] = {time[i]} follows {time[i - 1]}: sort the cadences (numpy.argsort)")
    if (bad := np.flatnonzero(step == 0)).size:
        i = bad[0] + 1
        raise ValueError(f"time[{i}] = {time[i]} repeats the one before ({bad.size} repeats): keep one cadence of each")
    return time


def flux_matrix(name: str, values: Any, n_time: int, n_star: int | None = None) -> F32:
    """Return (n_time, n_star) float32 without infinities."""
    matrix = as_float32(_plain(name, values), name)
    if matrix.ndim != 2 or matrix.shape[0] != n_time or n_star not in (None, matrix.shape[1]):
        expected = f"({n_time}, {'n_star' if n_star is None else n_star})"
        raise ValueError(f"{name} has shape {matrix.shape}; expected {expected}: one row per time, one column per star")
    infinite = np.isinf(matrix)
    if infinite.any():
        i, star = np.argwhere(infinite)[0]
        raise ValueError(
            f"{name}[{i}, {star}] is infinite in float32 ({np.count_nonzero(infinite)} such values): "
            f"set missing values to NaN"
        )
    return matrix


def error_matrix(values: Any, n_time: int, n_star: int) -> F32:
    """Return one-sigma errors (n_time, n_star) float32, none negative."""
    errors = flux_matrix("flux_err", values, n_time, n_star)
    negative = errors < 0
    if negative.any():
        i, star = np.argwhere(negative)[0]
        raise ValueError(f"flux_err[{i}, {star}] = {errors[i, star]} is negative: set errors that are not known to NaN")
    return errors


def quality_flags(values: Any, n_time: int) -> NDArray[np.int32]:
    """Return bit flags (n_time,) int32; ``None`` gives zeros."""
    if values is None:
        return np.zeros(n_time, dtype=np.int32)
    flags = np.asarray(values)
    if flags.dtype.kind not in "iub" and flags.size:
        raise TypeError(f"quality has dtype {flags.dtype}; give integer bit flags, one per cadence")
    if flags.shape != (n_time,):
        raise ValueError(f"quality has shape {flags.shape}; expected ({n_time},): one value per time")
    limits = np.iinfo(np.int32)
    if flags.size and (int(flags.max()) > limits.max or int(flags.min()) < limits.min):
        worst = flags.max() if int(flags.max()) > limits.max else flags.min()
        raise ValueError(f"quality holds {worst}, which does not fit into int32: keep the 31 low bits")
    return np.ascontiguousarray(flags, dtype=np.int32)


def observer_path(values: Any, n_time: int) -> F64:
    """Return the observer's path (n_time, 3) float64 in light-seconds."""
    path = as_float64(_plain("observer", values), "observer")
    if path.shape != (n_time, 3):
        raise ValueError(f"observer has shape {path.shape}; expected ({n_time}, 3): x, y, z in light-seconds per time")
    return path


def directions(values: Any, n_star: int) -> F64:
    """Return unit vectors (n_star, 3) float64; a row of NaN is a star of unknown place."""
    vectors = as_float64(_plain("direction", values), "direction")
    if vectors.shape != (n_star, 3):
        raise ValueError(f"direction has shape {vectors.shape}; expected ({n_star}, 3): one unit vector per star")
    length = np.sqrt(np.sum(vectors**2, axis=1))
    bad = np.flatnonzero(np.abs(length - 1.0) > 1e-6)
    if bad.size:
        raise ValueError(
            f"direction[{bad[0]}] has length {length[bad[0]]:.6g}: give unit vectors (observer.unit_vectors)"
        )
    return vectors
