"""How probable a restricted Boltzmann machine holds data: the logarithm of its partition function, and of p(x).

Owns exact sums over all states of the smaller layer. Refuses estimates where there are too many states, and training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from starskope import _core
from starskope.learn.rbm import RBM
from starskope.parallel import map_ranges, resolve_workers

__all__ = ["MAX_UNITS", "log_likelihood", "log_partition"]

MAX_UNITS = 20
"""Units of the layer that is enumerated, at most: a million states."""
_STATES = 1 << 13


def log_partition(rbm: RBM) -> float:
    """Return ln Z by enumeration of the hidden states, or of the visible ones where these are binary and fewer.

    Parameters
    ----------
    rbm : RBM
        Fitted, of at most ``MAX_UNITS`` hidden units, or bernoulli visible ones.

    Returns
    -------
    float
        With p(x) = exp(-F(x)) / Z for the F of `RBM.free_energy`. Sums over units are float32, those over states
        float64: good to 1e-6 of the largest free energy.

    Raises
    ------
    ValueError
        Too many units on both sides.

    Notes
    -----
    Each state of a layer leaves a sum over the other that factors: for binary units the free energy with the layers
    changed about, for Gaussian visible ones ``(2 pi)^(n/2) exp(c.h + b.W h + |W h|^2 / 2)``. Costs 2^n times a row of
    `RBM.free_energy`: 16 hidden units and 784 visible ones take a tenth of a second.
    """
    check_is_fitted(rbm)
    weights, b, c = rbm.weights_, rbm.visible_bias_, rbm.hidden_bias_
    n_visible, n_hidden = weights.shape
    gaussian = rbm.visible == "gaussian"
    by_hidden = n_hidden <= n_visible or gaussian
    n_unit = n_hidden if by_hidden else n_visible
    if n_unit > MAX_UNITS:
        fewer = "hidden units" if by_hidden else "units of a kind"
        raise ValueError(f"{n_visible} visible and {n_hidden} hidden units: expected at most {MAX_UNITS} {fewer}")
    if gaussian:
        exponents = [_gaussian(states, weights, b, c) for states in _states(n_unit)]
        constant: float = 0.5 * n_visible * math.log(2.0 * math.pi)
        return constant + _log_sum_exp(exponents)
    parameters = (np.ascontiguousarray(weights.T), c, b) if by_hidden else (weights, b, c)
    blocks = list(_states(n_unit))
    energies = [np.empty(states.shape[0]) for states in blocks]

    def sum_out(first: int, last: int) -> None:
        for i in range(first, last):
            _core.free_energy(blocks[i], *parameters, gaussian=False, out=energies[i])

    map_ranges(sum_out, len(blocks), 1, resolve_workers(rbm.workers))
    return _log_sum_exp([-energy for energy in energies])


def log_likelihood(rbm: RBM, x: ArrayLike) -> NDArray[np.float64]:
    """Return ln p of each row of ``x`` (n_sample, n_visible), exactly; a density for gaussian visible units.

    Errors are those of `log_partition` and `RBM.free_energy`.
    """
    return rbm.score_samples(x) - log_partition(rbm)


def _states(n_unit: int) -> Iterator[NDArray[np.float32]]:
    """Yield all states of so many bits, some thousand at a time, (n, n_unit)."""
    for start in range(0, 1 << n_unit, _STATES):
        numbers = np.arange(start, min(start + _STATES, 1 << n_unit))
        yield ((numbers[:, None] >> np.arange(n_unit)) & 1).astype(np.float32)


def _gaussian(
    states: NDArray[np.float32], weights: NDArray[np.float32], b: NDArray[np.float32], c: NDArray[np.float32]
) -> NDArray[np.float64]:
    hidden, w = states.astype(np.float64), weights.astype(np.float64)
    squares = np.einsum("ni,ij,nj->n", hidden, w.T @ w, hidden, optimize=True)
    exponents: NDArray[np.float64] = hidden @ (c.astype(np.float64) + b.astype(np.float64) @ w) + 0.5 * squares
    return exponents


def _log_sum_exp(parts: list[NDArray[np.float64]]) -> float:
    highest = max(float(part.max()) for part in parts)
    total = sum(float(np.exp(part - highest).sum()) for part in parts)
    return highest + math.log(total)
