"""Slow, obvious float64 answers for Lomb-Scargle periodograms, spectrograms and power spectra at any times.

Owns the oracles that the spectra of `starskope.search` are held against. Each takes one series; NaN = missing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]


def lomb_scargle_by_fits(time: ArrayLike, y: ArrayLike, weights: ArrayLike, frequency: ArrayLike) -> F64:
    """Fit ``c``, then ``c + a cos + b sin``, by weighted least squares; return 1 - chi2 / chi2 of the first."""
    t, y, w = (np.asarray(values, dtype=np.float64) for values in (time, y, weights))
    there = np.isfinite(y) & (w > 0)
    t, y, root = t[there], y[there], np.sqrt(w[there])

    def chi2(columns: list[F64]) -> float:
        design = np.stack(columns, axis=1) * root[:, np.newaxis]
        # At Nyquist the sine is rounding error: such a column is none.
        solution = np.linalg.lstsq(design, y * root, rcond=1e-9)[0]
        return float(np.sum((y * root - design @ solution) ** 2))

    ones = np.ones_like(t)
    flat = chi2([ones])
    powers = []
    for each in np.atleast_1d(np.asarray(frequency, dtype=np.float64)):
        angle = 2 * np.pi * each * (t - t[0])
        powers.append(1.0 - chi2([ones, np.cos(angle), np.sin(angle)]) / flat)
    return np.array(powers)


def lomb_scargle_by_astropy(time: ArrayLike, y: ArrayLike, errors: ArrayLike | None, frequency: F64) -> F64:
    """Let astropy compute sine by sine ('cython'); its 'fast' method interpolates and is off by up to 0.1 here."""
    from astropy.timeseries import LombScargle

    t, y = np.asarray(time, dtype=np.float64), np.asarray(y, dtype=np.float64)
    there = np.isfinite(y)
    if errors is None:
        return LombScargle(t[there], y[there]).power(frequency, method="cython")
    sigma = np.asarray(errors, dtype=np.float64)
    there &= np.isfinite(sigma) & (sigma > 0)
    return LombScargle(t[there], y[there], sigma[there]).power(frequency, method="cython")


def power_at_times(place: ArrayLike, x: ArrayLike, window: ArrayLike, n_fft: int) -> F64:
    """Sum term by term: power of samples at any places, in cadences, on the rows of a transform of length ``n_fft``."""
    place, x, window = (np.asarray(values, dtype=np.float64) for values in (place, x, window))
    there = np.isfinite(x)
    k = np.arange(n_fft // 2 + 1)
    if not there.any():
        return np.full(k.size, np.nan)
    centred = (x[there] - x[there].mean()) * window[there]
    sums = np.exp(-2j * np.pi * np.outer(k, place[there]) / n_fft) @ centred
    scale = np.full(k.size, 4.0)
    scale[0] = 1.0
    if n_fft % 2 == 0:
        scale[-1] = 1.0
    return scale * np.abs(sums) ** 2 / window[there].sum() ** 2


def spectrogram_by_scipy(x: ArrayLike, window: ArrayLike, segment: int, step: int) -> F64:
    """Let SciPy's ShortTimeFFT do it; (n_segment, segment // 2 + 1). It knows no missing points."""
    from scipy.signal import ShortTimeFFT

    x, window = np.asarray(x, dtype=np.float64), np.asarray(window, dtype=np.float64)
    n_segment = 1 + (x.size - segment) // step
    transform = ShortTimeFFT(window, hop=step, fs=1.0, fft_mode="onesided", scale_to=None, phase_shift=None)
    # Its slices are centred: an offset of half a window lets slice 0 begin with the first sample.
    sums = transform.stft_detrend(x, "constant", p0=0, p1=n_segment, k_offset=segment // 2)
    scale = np.full(segment // 2 + 1, 4.0)
    scale[0] = 1.0
    if segment % 2 == 0:
        scale[-1] = 1.0
    return (scale[:, np.newaxis] * np.abs(sums) ** 2 / window.sum() ** 2).T
