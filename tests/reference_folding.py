"""Boxes around known epochs and sums by event and by phase, with plain loops (cpp/src/kernels/dips.cpp)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


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
    total_w = weight.sum()
    residual = weight * (flux - (weight * flux).sum() / total_w)
    best = 0.0
    best_frequency, best_first, best_n = 0, 0, least
    for j, f in enumerate(frequencies):
        turns = (time - epoch) * f
        here = (turns - np.floor(turns + 0.5)) / f
        inside = (here >= -half_window) & (here < half_window)
        cell = np.minimum((here[inside] + half_window) * (n_cell / (2.0 * half_window)), n_cell - 1.0).astype(int)
        w = np.append(0.0, np.cumsum(np.bincount(cell, weight[inside], n_cell)))
        y = np.append(0.0, np.cumsum(np.bincount(cell, residual[inside], n_cell)))
        for n in range(least, min(most, n_cell) + 1):
            y_in, w_in = y[n:] - y[:-n], w[n:] - w[:-n]
            fits = (y_in < 0.0) & (w_in > 0.0) & (w_in < total_w)
            gain = np.zeros(y_in.size)
            gain[fits] = y_in[fits] ** 2 * total_w / (w_in[fits] * (total_w - w_in[fits]))
            first = int(np.argmax(gain))
            if gain[first] > best:
                best, best_frequency, best_first, best_n = float(gain[first]), j, first, n
    return best, best_frequency, best_first, best_n


def ramp(x: float, outer: float, inner: float) -> float:
    """Integrate a trapezoid of depth 1, flat to ``inner`` and ending at ``outer``, from 0 to ``x``."""
    a = min(abs(x), outer)
    area = min(a, inner)
    if a > inner:
        area += (a - inner) - 0.5 * (a - inner) ** 2 / (outer - inner)
    return area if x >= 0.0 else -area


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
