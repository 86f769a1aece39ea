"""Transforms, power spectra and sine fits from their definitions: matrices of exact phases, all in float64.

Owns the answers that the kernels of spectra are held against, many series at once, on a regular cadence. Refuses fast
transforms: an element is the sum that defines it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
C128 = NDArray[np.complex128]


def transform(x: NDArray[np.floating], n_fft: int, rows: NDArray[np.int64] | None = None) -> C128:
    """Rows ``k`` (default 0 .. n_fft // 2) of ``sum over j of x[j] exp(-2 pi i j k / n_fft)``; x (n_time, n_series)."""
    rows = np.arange(n_fft // 2 + 1) if rows is None else rows
    roots = np.exp(-2j * np.pi * np.arange(n_fft) / n_fft)
    j = np.arange(x.shape[0])
    parts = [
        roots[np.outer(part, j) % n_fft] @ x.astype(np.float64) for part in np.array_split(rows, rows.size // 256 + 1)
    ]
    return np.concatenate(parts)


def power(x: NDArray[np.floating], window: NDArray[np.floating], n_fft: int) -> F64:
    """Power of every series so that a sine of amplitude A has A**2: its own mean, missing points 0, then the window."""
    there = np.isfinite(x)
    x, window = np.where(there, x, 0.0).astype(np.float64), window.astype(np.float64)[:, np.newaxis]
    count, gain = there.sum(axis=0), (there * window).sum(axis=0)
    known = (count > 0) & (gain != 0)
    centred = np.where(there, x - x.sum(axis=0) / np.maximum(count, 1), 0.0)
    scale = np.full(n_fft // 2 + 1, 4.0)
    scale[0] = 1.0
    if n_fft % 2 == 0:
        scale[-1] = 1.0
    found = scale[:, np.newaxis] * np.abs(transform(centred * window, n_fft)) ** 2
    return np.where(known, found / np.where(known, gain, 1.0) ** 2, np.nan)


def lomb_scargle(x: NDArray[np.floating], weights: NDArray[np.floating] | None, n_fft: int, n_freq: int) -> F64:
    """Part of the weighted variance that a sine with a free mean takes away, at ``k / n_fft`` per cadence, k from 1.

    Normal equations about the weighted means, solved along their principal axes; an axis a millionth as long as the
    other is none (at Nyquist the sine vanishes).
    """
    n_time, n_series = x.shape
    given = np.ones((n_time, 1)) if weights is None else weights.astype(np.float64).reshape(n_time, -1)
    given = np.broadcast_to(given, x.shape)
    phase = 2 * np.pi * (np.outer(np.arange(1, n_freq + 1), np.arange(n_time)) % n_fft) / n_fft
    found = np.full((n_freq, n_series), np.nan)
    for i in range(n_series):
        there = np.isfinite(x[:, i]) & np.isfinite(given[:, i]) & (given[:, i] > 0)
        y = x[there, i].astype(np.float64)
        if y.size < 4 or np.ptp(y) == 0:
            continue
        w = given[there, i] / given[there, i].sum()
        y = y - w @ y
        sines = np.stack([np.cos(phase[:, there]), np.sin(phase[:, there])])
        sines -= (sines @ w)[:, :, np.newaxis]
        moments = np.einsum("akj,bkj,j->kab", sines, sines, w)
        length, axis = np.linalg.eigh(moments)
        part = np.einsum("kab,ak->kb", axis, sines @ (w * y)) ** 2
        known = length > 1e-12 * length[:, 1:]
        found[:, i] = np.where(known, part / np.where(known, length, 1.0), 0.0).sum(axis=1) / (w @ y**2)
    return found
