"""Folded light curves on native arrays: boxes around known epochs, event by event and at every phase.

Owns the inner loops of refinement and vetting, in Numba so that they can be edited by those who use them; every
function takes the valid points of one star: times (days, increasing), flux with its level subtracted (dips negative),
weights (inverse variances, any scale). Refuses missing points, thresholds and decisions.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["box_around", "event_sums", "phase_sums", "ramp"]

F64 = NDArray[np.float64]


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _near_window(
    time: F64, flux: F64, weight: F64, frequencies: F64, epoch: float, half_window: float, mean: float
) -> tuple[F64, F64, F64]:
    """Offsets from the epoch, weights and weighted fluxes of the points that fall into the window at any frequency."""
    n = time.size
    lowest, highest = np.min(frequencies), np.max(frequencies)
    middle = 0.5 * (lowest + highest)
    reach = half_window * highest + 1e-9
    if reach >= 0.5:
        return time - epoch, weight, weight * (flux - mean)
    is_near = np.empty(n, np.bool_)
    for i in range(n):
        from_epoch = time[i] - epoch
        turns = from_epoch * middle
        # Turns between the frequency in the middle and the others.
        is_near[i] = abs(turns - np.floor(turns + 0.5)) <= reach + abs(from_epoch) * (highest - middle)
    offset, w, y = np.empty(n + 1), np.empty(n + 1), np.empty(n + 1)
    m = 0
    for i in range(n):
        offset[m], w[m], y[m] = time[i] - epoch, weight[i], weight[i] * (flux[i] - mean)
        m += int(is_near[i])
    return offset[:m], w[:m], y[:m]


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _may_be_better(w_before: F64, w_after: F64, y_before: F64, y_after: F64, total_w: float, best: float) -> bool:
    """Say whether a box between two rows of running sums may beat the best: without branches, so in vectors."""
    found = 0
    for i in range(w_before.size):
        y_in, w_in = y_after[i] - y_before[i], w_after[i] - w_before[i]
        found |= int((y_in < 0.0) & (y_in * y_in * total_w > best * (w_in * (total_w - w_in))))
    return found != 0


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def box_around(
    time: F64,
    flux: F64,
    weight: F64,
    frequencies: F64,
    epoch: float,
    half_window: float,
    n_cell: int,
    least: int,
    most: int,
) -> tuple[float, int, int, int]:
    """Find the best box near a known epoch, over trial frequencies, mid-transit times and durations.

    Parameters
    ----------
    time, flux, weight : (n,) float64
    frequencies : (n_frequency,) float64
        1/day.
    epoch : float
        Near the middle of the times: period and mid-transit are then hardly correlated.
    half_window : float
        Boxes lie within ``epoch +- half_window`` (days), at most half the period.
    n_cell : int
        Cells of equal width across the window; a box holds whole cells.
    least, most : int
        Cells per box.

    Returns
    -------
    gain, i_frequency, first, n : float, int, int, int
        ``gain = depth**2 w_in w_out / (w_in + w_out)``, twice the gain in log-likelihood where weights are inverse
        variances; the box holds ``n`` cells from ``first``. Gain 0 where no dip was found.
    """
    total_w = 0.0
    total_y = 0.0
    for i in range(time.size):
        total_w += weight[i]
        total_y += weight[i] * flux[i]
    mean = total_y / total_w if total_w > 0.0 else 0.0
    offset, w_near, y_near = _near_window(time, flux, weight, frequencies, epoch, half_window, mean)
    per_cell = n_cell / (2.0 * half_window)
    cell = np.empty(offset.size, np.int32)
    # One more cell takes what lies outside the window.
    w = np.empty(n_cell + 2)
    y = np.empty(n_cell + 2)
    best = 0.0
    best_frequency, best_first, best_n = 0, 0, least
    for j in range(frequencies.size):
        w[:] = 0.0
        y[:] = 0.0
        f = frequencies[j]
        period = 1.0 / f
        # No branch, no sum: in vectors.
        for i in range(offset.size):
            turns = offset[i] * f
            here = (turns - np.floor(turns + 0.5)) * period
            inside = (here >= -half_window) & (here < half_window)
            cell[i] = np.int32(min((here + half_window) * per_cell, n_cell - 1.0) if inside else n_cell)
        for i in range(offset.size):
            w[cell[i] + 1] += w_near[i]
            y[cell[i] + 1] += y_near[i]
        for c in range(n_cell):
            w[c + 1] += w[c]
            y[c + 1] += y[c]
        for n in range(least, min(most, n_cell) + 1):
            if not _may_be_better(
                w[: n_cell - n + 1], w[n : n_cell + 1], y[: n_cell - n + 1], y[n : n_cell + 1], total_w, best
            ):
                continue
            for first in range(n_cell - n + 1):
                y_in = y[first + n] - y[first]
                if y_in >= 0.0:
                    continue
                # With the mean taken out depth is -y_in W / (w_in w_out); no division until a box is the best.
                w_in = w[first + n] - w[first]
                w_out = total_w - w_in
                if w_in <= 0.0 or w_out <= 0.0 or y_in * y_in * total_w <= best * (w_in * w_out):
                    continue
                best = y_in * y_in * total_w / (w_in * w_out)
                best_frequency, best_first, best_n = j, first, n
    return best, best_frequency, best_first, best_n


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def ramp(x: float, outer: float, inner: float) -> float:
    """Integrate a trapezoid of depth 1, flat to ``inner`` and ending at ``outer``, from 0 to ``x``."""
    a = min(abs(x), outer)
    area = min(a, inner)
    if a > inner:
        area += (a - inner) - 0.5 * (a - inner) ** 2 / (outer - inner)
    return area if x >= 0.0 else -area


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def event_sums(
    time: F64,
    flux: F64,
    weight: F64,
    period: float,
    t0: float,
    duration: float,
    length: float,
    bottom: float,
    smear: float,
) -> tuple[int, F64, F64, F64, F64]:
    """Return sums over every event that the times reach, against the shape of the dip.

    Parameters
    ----------
    length, bottom, smear : float
        Trapezoid ``m`` in units of ``duration``: whole length, flat part of it (below 1), exposure; 1 at its middle,
        seen through the exposure. Length 0 = a box.

    Returns
    -------
    first : int
        Number of the first event: its mid-transit is ``t0 + first * period``.
    count : (n_event,) float64
        Points within half a duration of each mid-transit.
    wm, wmm, wmy : (n_event,) float64
        ``sum w m``, ``sum w m**2``, ``sum w m y``: the depth is ``-wmy / wmm``.
    """
    if time.size == 0:
        return 0, np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0)
    first = int(np.floor((time[0] - t0) / period + 0.5))
    last = int(np.floor((time[-1] - t0) / period + 0.5))
    n_event = last - first + 1
    count, wm, wmm, wmy = np.zeros(n_event), np.zeros(n_event), np.zeros(n_event), np.zeros(n_event)
    outer = 0.5 * length
    inner = outer * bottom
    peak = 2.0 * ramp(0.5 * smear, outer, inner) if length > 0.0 else 1.0
    reach = min(max(0.5, outer + 0.5 * smear) * duration, 0.5 * period)
    number, offset = np.empty(time.size), np.empty(time.size)
    for i in range(time.size):
        number[i] = np.floor((time[i] - t0) / period + 0.5)
        offset[i] = time[i] - t0 - number[i] * period
    for i in range(time.size):
        if abs(offset[i]) >= reach:
            continue
        k = int(number[i])
        x = offset[i] / duration
        inside = abs(x) < 0.5
        if inside:
            count[k - first] += 1.0
        if length > 0.0:
            m = (ramp(x + 0.5 * smear, outer, inner) - ramp(x - 0.5 * smear, outer, inner)) / peak
        else:
            m = 1.0 if inside else 0.0
        wm[k - first] += weight[i] * m
        wmm[k - first] += weight[i] * m * m
        wmy[k - first] += weight[i] * m * flux[i]
    return first, count, wm, wmm, wmy


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def phase_sums(time: F64, flux: F64, weight: F64, period: float, t0: float, n_cell: int, n_box: int) -> tuple[F64, F64]:
    """Return sums of the folded light curve in a box that slides over all phases in steps of one cell.

    Parameters
    ----------
    n_cell : int
        Cells of the period; cell 0 begins at ``t0``.
    n_box : int
        Cells per box, below ``n_cell``.

    Returns
    -------
    weight, weighted_flux : (n_cell,) float64
        Of the box that begins with each cell.
    """
    w = np.zeros(n_cell)
    y = np.zeros(n_cell)
    cell = np.empty(time.size, np.int32)
    for i in range(time.size):
        turns = (time[i] - t0) / period
        cell[i] = np.int32(min((turns - np.floor(turns)) * n_cell, n_cell - 1.0))
    for i in range(time.size):
        w[cell[i]] += weight[i]
        y[cell[i]] += weight[i] * flux[i]
    box_w = np.zeros(n_cell)
    box_y = np.zeros(n_cell)
    for c in range(n_cell):
        for k in range(n_box):
            at = c + k if c + k < n_cell else c + k - n_cell
            box_w[c] += w[at]
            box_y[c] += y[at]
    return box_w, box_y
