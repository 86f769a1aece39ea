"""When a dip comes and how long it is.

Owns period, mid-transit and duration, and the first event of an ephemeris. Refuses to fit any of them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["Ephemeris", "first_event"]


class Ephemeris(NamedTuple):
    """Period, mid-transit of the first event, duration: days."""

    period: float
    t0: float
    duration: float


def first_event(t0: float, period: float, start: float) -> float:
    """First mid-transit at or after ``start``."""
    return t0 + period * math.ceil((start - t0) / period - 1e-9)
