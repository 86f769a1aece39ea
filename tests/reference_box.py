"""The box search from its definition: every period, duration and first bin, each with a mask over the points.

Owns the answer that the kernel is measured against (Kovacs, Zucker & Mazeh 2002, A&A 391, 369; the two objectives of
astropy's ``BoxLeastSquares``). Refuses speed, and refuses to look at the code under test. Unlike astropy's ``fast``
method a box may run past the end of a period into its beginning with all of its points: that one overwrites the last
bin of every period with the first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


@dataclass
class Boxes:
    """Gain and depth of every box of one star at one period, (n_bin, n_duration); gain 0 where nothing dips."""

    gain: F64
    depth: F64


def bins_of(time: F64, period: float, bin_width: float) -> tuple[NDArray[np.int64], int]:
    """Return the phase bin of every time and the number of bins; phase 0 is the first time."""
    n_bin = math.ceil(period / bin_width)
    since = time - time[0]
    phase = since - period * np.floor(since / period)
    return np.clip(np.floor(phase / bin_width), 0, n_bin - 1).astype(np.int64), n_bin


def all_boxes(
    time: F64,
    flux: F64,
    error: F64 | None,
    period: float,
    lengths: list[int],
    bin_width: float,
    objective: str = "snr",
) -> Boxes:
    """Try every box; NaN and infinities are missing points, ``lengths`` are durations in bins.

    With weights ``w = error**-2`` and means inside and outside of the box: ``depth = y_out - y_in``, ``depth_err**2 =
    1 / w_in + 1 / w_out``; the gain is ``depth**2 / (2 depth_err**2)`` or, for "likelihood", ``w_in depth**2 / 2``.
    """
    bins, n_bin = bins_of(time, period, bin_width)
    weight = np.ones_like(flux) if error is None else 1.0 / error**2
    there = np.isfinite(flux) & np.isfinite(weight) & (weight > 0)
    bins, y, w = bins[there], flux[there], weight[there]
    return gains_of_bins(bins, n_bin, y, w, lengths, objective)


def gains_of_bins(
    bins: NDArray[np.int64], n_bin: int, y: F64, w: F64, lengths: list[int], objective: str = "snr"
) -> Boxes:
    """Try every box of points whose bins are known."""
    gain, depth = np.zeros((n_bin, len(lengths))), np.zeros((n_bin, len(lengths)))
    for k, length in enumerate(lengths):
        for start in range(n_bin):
            inside = (bins - start) % n_bin < length
            if inside.all() or not inside.any():
                continue
            w_in, w_out = w[inside].sum(), w[~inside].sum()
            d = np.sum(w[~inside] * y[~inside]) / w_out - np.sum(w[inside] * y[inside]) / w_in
            if d > 0:
                depth[start, k] = d
                gain[start, k] = 0.5 * d**2 * (w_in if objective == "likelihood" else w_in * w_out / (w_in + w_out))
    return Boxes(gain, depth)
