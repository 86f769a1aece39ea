"""Which frames may enter a stack, and why the others may not.

Owns the meaning of DQUALITY and the checks that need the pixels or the other frames (nothing measured, another shape,
the same exposure twice). Refuses to repair or weigh frames: a frame is used or it is not, with one short reason.

The bits are those of the TESS Science Data Products Description Document (EXP-TESS-ARC-ICD-0014), Table 28; bit 16 was
added with sector 20.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from starskope.errors import FrameError

if TYPE_CHECKING:
    from starskope.frames.decode import Frame

__all__ = ["EXCLUDED", "QUALITY_BITS", "Verdict", "frame_quality", "judge_frames", "quality_names"]

QUALITY_BITS: dict[int, str] = {
    1: "attitude tweak",
    2: "safe mode",
    4: "coarse pointing",
    8: "Earth point",
    16: "argabrightening",
    32: "momentum dump",
    64: "cosmic ray in aperture",
    128: "manual exclude",
    256: "discontinuity corrected",
    512: "impulsive outlier",
    1024: "cosmic ray in collateral pixels",
    2048: "stray light",
    4096: "scattered light",
    8192: "planet search exclude",
    16384: "bad calibration",
    32768: "too few targets for error correction",
}
"""DQUALITY bit value to its name."""

EXCLUDED = 1 | 2 | 4 | 8 | 16 | 32 | 128 | 512 | 4096 | 16384
"""Bits that keep a frame out of the stack: those whose cadences the mission's own archive pages advise to drop.

Bit 2048 (stray light, set by eye) stays in: the moving background is measured per frame, and sigma clipping takes what
is left of it."""

_MIN_FINITE = 0.5

Verdict = tuple[bool, str]


def quality_names(quality: int) -> list[str]:
    """Names of the bits that are set, lowest first; unknown bits appear as ``bit 2**k``."""
    value = int(quality)
    if value < 0:
        raise FrameError(f"DQUALITY = {value}: a set of bits cannot be negative; the header is damaged")
    bits = [1 << k for k in range(value.bit_length()) if value >> k & 1]
    return [QUALITY_BITS.get(bit, f"bit {bit}") for bit in bits]


def frame_quality(frame: Frame, *, excluded: int = EXCLUDED, min_finite: float = _MIN_FINITE) -> Verdict:
    """Judge one frame by its flags and its pixels.

    Parameters
    ----------
    frame : Frame
    excluded : int
        DQUALITY bits that exclude a frame; 0 trusts every flagged frame.
    min_finite : float
        Least fraction of science pixels that hold a number.

    Returns
    -------
    usable : bool
    reason : str
        Empty for a usable frame.
    """
    flags = frame.quality & excluded
    if flags:
        return False, f"DQUALITY {frame.quality}: {', '.join(quality_names(flags))}"
    return _pixels(frame, min_finite)


def judge_frames(
    frames: Sequence[Frame],
    *,
    shape: tuple[int, int] | None = None,
    excluded: int = EXCLUDED,
    min_finite: float = _MIN_FINITE,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], list[str]]:
    """Judge the frames of one block together.

    Parameters
    ----------
    frames : sequence of Frame
        In index order.
    shape : tuple of int, optional
        (n_row, n_col) that a frame must have. Without it the most frequent shape, on a tie the earlier one.

    Returns
    -------
    used : ndarray, shape (n_frame,), bool
        May enter the stack.
    measurable : ndarray, shape (n_frame,), bool
        May be measured: a flagged frame may, a frame without pixels, of another shape or seen before may not.
    reasons : list of str
        Why a frame is not used; empty where it is.
    """
    if shape is None and frames:
        shape = Counter(frame.image.shape for frame in frames).most_common(1)[0][0]  # insertion order breaks ties
    used = np.zeros(len(frames), dtype=bool)
    measurable = np.zeros(len(frames), dtype=bool)
    reasons: list[str] = []
    seen: dict[float, Frame] = {}
    for i, frame in enumerate(frames):
        if frame.image.shape != shape:
            n_row, n_col = frame.image.shape
            reasons.append(f"{n_row}x{n_col} pixels where the others have {shape[0]}x{shape[1]}" if shape else "")
            continue
        try:
            measurable[i], reason = _pixels(frame, min_finite)
            start = frame.start
            first = seen.setdefault(start, frame) if measurable[i] and np.isfinite(start) else frame
            if first is not frame:
                measurable[i], reason = False, f"same start time as frame {first.index} ({first.name}): a duplicate"
            if measurable[i]:
                used[i], reason = frame_quality(frame, excluded=excluded, min_finite=0.0)
        except FrameError as error:  # a damaged card of one frame is that frame's alone
            measurable[i], used[i], reason = False, False, str(error)
        reasons.append(reason)
    return used, measurable, reasons


def _pixels(frame: Frame, min_finite: float) -> Verdict:
    science = frame.image[frame.science]
    if science.size == 0:
        return False, "no science pixels: SCIROWS/SCIROWE/SCCSA/SCCED lie outside the image"
    if min_finite <= 0.0:
        return True, ""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(science.sum()):  # half the time of counting, and the frame of a mission seldom lacks a pixel
            return True, ""
    finite = np.count_nonzero(np.isfinite(science)) / science.size
    if finite == 0.0:
        return False, "every science pixel is NaN"
    if finite < min_finite:
        return False, f"only {finite:.0%} of the science pixels hold a number"
    return True, ""
