"""The search of one star in stretches of time, point by point: which phase bin every point of every stretch falls into.

Slow and obvious. The boxes themselves are those of ``reference_box``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from reference_box import F64, Boxes, gains_of_bins

MOST_PARTS = 16
"""Parts of a stretch at most."""


def n_bins(period: float, bin_width: float) -> int:
    least = math.ceil(period / bin_width)
    step = max(16, 2 ** (least.bit_length() - 1) // 8)
    return step * math.ceil(least / step)


def bins_of(time: F64, frequency: float, n_bin: int) -> NDArray[np.int64]:
    """Return the phase bin of each of some increasing times, folded at just this frequency at the top."""
    parts = _parts(time, max(256, n_bin // 4))
    if len(parts) == 1:
        turns = (time - _middle(time)) * frequency
        return np.minimum(np.floor((turns - np.floor(turns)) * n_bin), n_bin - 1).astype(np.int64)
    bins = []
    for part in parts:
        turn = math.floor((_middle(part) - _middle(time)) * frequency * n_bin + 0.5)
        bins.append((bins_of(part, _near(frequency, part, n_bin), n_bin) + turn) % n_bin)
    return np.concatenate(bins)


def scanned_boxes(
    time: F64,
    flux: F64,
    error: F64 | None,
    period: float,
    lengths: list[int],
    bin_width: float,
    objective: str = "snr",
    since: float = 0.0,
) -> Boxes:
    """Try every box, as ``reference_box.all_boxes`` does, on these bins; times count from ``since``."""
    n_bin = n_bins(period, bin_width)
    weight = np.ones_like(flux) if error is None else 1.0 / error**2
    there = np.isfinite(flux) & np.isfinite(weight) & (weight > 0)
    bins = bins_of(time[there] - since, 1.0 / period, n_bin)
    return gains_of_bins(bins, n_bin, flux[there], weight[there], lengths, objective)


def _middle(time: F64) -> float:
    return 0.5 * float(time[0] + time[-1])


def _near(frequency: float, part: F64, n_bin: int) -> float:
    """The frequency nearest to this one at which the stretch is folded."""
    length = float(part[-1] - part[0])
    step = 1.0 / (length * n_bin) if length > 0 else 0.0
    return math.floor(frequency / step + 0.5) * step if step > 0 else 0.0


def _parts(time: F64, together: int) -> list[F64]:
    """Divide times into parts of equal width, without the empty ones; not at all where few are folded one by one."""
    n_part = min(MOST_PARTS, math.ceil(time.size / together))
    if n_part < 2:
        return [time]
    width = float(time[-1] - time[0]) / n_part
    edges = [float(time[0]) + k * width for k in range(1, n_part)]
    cuts = np.searchsorted(time, edges, side="left")
    return [part for part in np.split(time, cuts) if part.size]
