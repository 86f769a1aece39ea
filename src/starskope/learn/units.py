"""Unit types: from the sum that reaches a unit to its probability, its state and its share of the free energy.

Owns the sigmoid, the sampling that is fused with it, and the softplus; in float32, by polynomials that the compiler
turns into lanes. Refuses products of matrices and any knowledge of training.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from starskope.learn.draws import standard_normal, uniform_bits

__all__ = ["sample_bernoulli", "sample_gaussian", "sigmoid", "softplus_sums"]

_LIMIT = np.float32(80.0)
_LOG2E = np.float32(1.4426950408889634)
# ln 2 in two parts: the first has few digits, so that its product with a whole number is exact.
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(0.6931471805599453 - 0.693359375)
_C7, _C6, _C5, _C4, _C3 = (np.float32(1.0 / n) for n in (5040.0, 720.0, 120.0, 24.0, 6.0))
_HALF, _ONE, _ZERO = np.float32(0.5), np.float32(1.0), np.float32(0.0)
_TO_UNIT = np.float32(2.0**-24)
_EIGHT = np.uint32(8)


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _exp(x):  # type: ignore[no-untyped-def]
    """Return e^x in float32 for |x| <= 80, within 2e-7: 2^n times the Taylor series on |r| <= ln 2 / 2."""
    n = np.floor(x * _LOG2E + _HALF)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = ((((_C7 * r + _C6) * r + _C5) * r + _C4) * r + _C3) * r + _HALF
    scale = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    return (_ONE + r + p * r * r) * scale


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _sigmoid(x):  # type: ignore[no-untyped-def]
    return _ONE / (_ONE + _exp(-min(max(x, -_LIMIT), _LIMIT)))


@njit(cache=True, nogil=True, error_model="numpy")
def sigmoid(sums, bias, first, mean):  # type: ignore[no-untyped-def]
    """Write probabilities of binary units to ``mean``; arguments as of `sample_bernoulli`."""
    for row in range(sums.shape[0]):
        x = sums[row]
        p = mean[row, first : first + x.size]
        for unit in range(x.size):
            p[unit] = _sigmoid(x[unit] + bias[first + unit])


@njit(cache=True, nogil=True, error_model="numpy")
def sample_bernoulli(sums, bias, first, mean, state, where):  # type: ignore[no-untyped-def]
    """Write the probabilities of some binary units of a layer to ``mean`` and drawn states, 0 or 1, to ``state``.

    Parameters
    ----------
    sums : (n_row, n_some) float32
        What reaches these units, without bias. C-contiguous, as all here: other strides and arrays that share memory
        keep the compiler from using lanes.
    bias : (n_unit,) float32
        Of all units of the layer.
    first : int
        Number of the first of these units, a multiple of 4.
    mean, state : (n_row, n_unit) float32
        Of all units; these are overwritten.
    where : (5,) uint32
        The address of the draw, from `draws.address`.
    """
    # Two passes: in one loop with the draws the compiler gives up on lanes.
    sigmoid(sums, bias, first, mean)
    words = np.empty(sums.shape[1], np.uint32)
    for row in range(sums.shape[0]):
        uniform_bits(where, row, first, words)
        p, s = mean[row, first : first + words.size], state[row, first : first + words.size]
        for unit in range(words.size):
            s[unit] = np.float32(np.float32(np.int32(words[unit] >> _EIGHT)) * _TO_UNIT < p[unit])


@njit(cache=True, nogil=True, error_model="numpy")
def sample_gaussian(sums, bias, first, mean, state, where):  # type: ignore[no-untyped-def]
    """Write means and drawn states of Gaussian units of unit variance; arguments as of `sample_bernoulli`."""
    n_some = sums.shape[1]
    words = np.empty(n_some + n_some % 2, np.uint32)
    noise = np.empty(words.size, np.float32)
    for row in range(sums.shape[0]):
        uniform_bits(where, row, first, words)
        standard_normal(words, noise)
        for unit in range(n_some):
            mean[row, first + unit] = sums[row, unit] + bias[first + unit]
            state[row, first + unit] = mean[row, first + unit] + noise[unit]


@njit(cache=True, nogil=True, error_model="numpy")
def softplus_sums(sums, bias, total):  # type: ignore[no-untyped-def]
    """Write the sum over units of ``ln(1 + exp(sums + bias))`` of each row to ``total`` (n_row,) float64."""
    for row in range(sums.shape[0]):
        x = sums[row]
        whole = 0.0
        for unit in range(x.size):
            value = np.float64(x[unit]) + np.float64(bias[unit])
            whole += max(value, 0.0) + np.log1p(np.exp(-abs(value)))
        total[row] = whole
