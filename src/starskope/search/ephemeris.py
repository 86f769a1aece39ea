"""When a dip comes, how long it is and what shape it has: the small tuples that the loops of a search pass around.

Owns period, mid-transit, duration and the trapezoid, and the first event of an ephemeris. Refuses to fit any of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

__all__ = ["BOX", "DipShape", "Ephemeris", "Limits", "first_event"]


class Ephemeris(NamedTuple):
    """Period, mid-transit of the first event, duration: days."""

    period: float
    t0: float
    duration: float


class Limits(NamedTuple):
    """Limits of a search in days: periods, durations."""

    period_min: float
    period_max: float
    duration_min: float
    duration_max: float


class DipShape(NamedTuple):
    """A trapezoid in units of the box's duration; length 0 = the box itself.

    Attributes
    ----------
    length : float
        Whole length over the duration of the box.
    bottom : float
        Flat bottom over the whole length: 0 = V, 0.9 = box.
    bottom_max : float
        Largest ``bottom`` that the data allow.
    smear : float
        Exposure over the duration of the box.
    """

    length: float
    bottom: float
    bottom_max: float
    smear: float


BOX = DipShape(0.0, 1.0, 1.0, 0.0)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def first_event(t0: float, period: float, start: float) -> float:
    """First mid-transit at or after ``start``."""
    return float(t0 + period * np.ceil((start - t0) / period - 1e-9))
