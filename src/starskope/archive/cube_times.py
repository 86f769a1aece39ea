"""When the frames of a cube were taken, also where the cube's table tells it badly.

Owns the choice between two columns. Cubes that the archive made in 2020 keep TSTART and TSTOP as float32, which near
BTJD 1816 is 10.5 seconds apart: cutouts of them have mid-times that step by 1798.2 and 1803.5 s. The same rows hold
DATE-OBS and DATE-END as text with milliseconds. Refuses barycentric corrections (``layout.observer``).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope.archive.cube_frames import CubeFrames
from starskope.layout.times import btjd_from_datetime

__all__ = ["exposure_times"]

F64 = NDArray[np.float64]

# A date and a number of one moment; float32 rounds the number by up to 5.3 s before BTJD 2048, 10.6 s after it.
_MOST_APART_S = 12.0


def exposure_times(frames: CubeFrames) -> tuple[F64, F64]:
    """Return start and stop of every frame, (n_frame,) float64 each, BTJD (TDB), NaN where they are not known.

    They are those of the images' headers: barycentric for the middle of the CCD. TSTART and TSTOP where the table holds
    them in double precision; else DATE-OBS and DATE-END, good to a millisecond, where they agree with the rounded
    numbers; else these.
    """
    return _moments(frames, "TSTART", "DATE-OBS"), _moments(frames, "TSTOP", "DATE-END")


def _moments(frames: CubeFrames, number: str, date: str) -> F64:
    moments = frames.number(number)
    column = frames.columns.get(number)
    if column is None or column.dtype != np.float32 or date not in frames.columns:
        return moments
    told = np.array([_btjd(text) for text in frames.columns[date].tolist()])
    with np.errstate(invalid="ignore"):
        agree = np.abs(told - moments) * 86400.0 <= _MOST_APART_S
    return np.where(agree, told, moments)


def _btjd(text: Any) -> float:
    try:
        moment = datetime.fromisoformat(text.decode("ascii").strip())
        return btjd_from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (AttributeError, ValueError, OverflowError):
        return float("nan")
