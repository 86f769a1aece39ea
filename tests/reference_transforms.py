"""Discrete Fourier transforms from their definition in extended precision (80 bits or more where the machine has them).

Owns the answers that transforms in float64 are held against. Refuses speed: one sum per element, split by factors of
the length only so that long ones end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def roots(n: int) -> NDArray[np.clongdouble]:
    """Return ``exp(-2 pi i j / n)`` for j from 0 to n - 1."""
    turn = 2 * np.arctan2(np.longdouble(0), np.longdouble(-1))
    angle = turn * np.arange(n) / np.longdouble(n)
    return np.asarray(np.cos(angle) - 1j * np.sin(angle), np.clongdouble)


def transform(x: NDArray[Any]) -> NDArray[np.clongdouble]:
    """Return ``sum over j of x[j] exp(-2 pi i j k / n)`` for all k; x (n, n_series)."""
    return _transform(x.astype(np.clongdouble))


def _transform(x: NDArray[np.clongdouble]) -> NDArray[np.clongdouble]:
    n = len(x)
    factor = next((p for p in range(2, int(n**0.5) + 1) if n % p == 0), n)
    turns, k = roots(n), np.arange(n)
    out = np.zeros_like(x)
    if factor == n:
        for j in range(n):
            out += turns[j * k % n, np.newaxis] * x[j]
        return out
    for r in range(factor):
        out += turns[r * k % n, np.newaxis] * _transform(x[r::factor])[k % (n // factor)]
    return out
