"""Sigma clipping at every length and of every shape of series, on every instruction set, against the oracle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_oracle_clip import agree, kernel

from starskope import _core

LONG = (255, 256, 257, 300, 513, 1282, 1283)
SIGMAS = ((3.0, 3.0), (1.0, 4.0), (2.5, math.inf), (math.inf, 1.5), (0.4, 0.4))


def shapes(n_time: int, seed: int = 0) -> NDArray[np.float32]:
    """One series of each kind, as columns: what sorts, samples and searches may stumble over."""
    rng = np.random.default_rng([n_time, seed])
    noise = rng.normal(100.0, 3.0, (n_time, 18))
    noise[rng.random(n_time) < 0.05, 1] = np.nan
    noise[rng.random(n_time) < 0.9, 2] = np.nan
    noise[:, 3] = np.nan
    noise[: n_time // 2, 4] = np.inf
    noise[n_time // 2 :, 4] = -np.inf
    noise[rng.random(n_time) < 0.1, 5] = np.inf
    noise[:, 6] = -7.25
    noise[:, 7] = np.rint(noise[:, 7])
    noise[:, 8] = np.where(np.arange(n_time) % 2 == 0, 5.0, 6.0)  # the median lies between two of many
    noise[:, 9] = np.where(rng.random(n_time) < 0.5, -0.0, 0.0)
    noise[:, 10] = np.where(rng.random(n_time) < 0.4, -0.0, noise[:, 10] - 100.0)
    noise[rng.random(n_time) < 0.02, 11] += 1e7
    noise[rng.random(n_time) < 0.3, 12] -= 1e30
    noise[:, 13] = np.exp(rng.normal(0.0, 12.0, n_time)) * np.where(rng.random(n_time) < 0.5, -1.0, 1.0)
    noise[:, 14] += np.linspace(0.0, 500.0, n_time)
    noise[:, 15] = np.where(np.arange(n_time) * 64 % max(n_time, 1) < 64, 1e5, noise[:, 15])  # what a sample of 64 sees
    noise[:, 16] = np.where(rng.random(n_time) < 0.5, 3e38, -3e38)
    noise[:, 17] = np.where(np.arange(n_time) == n_time // 2, 1.0, np.nan)
    return noise.astype(np.float32)


@pytest.mark.parametrize("first", range(1, 301, 20))
def test_every_length(first: int) -> None:
    for n_time in range(first, first + 20):
        agree(shapes(n_time), max_iters=5)
        agree(shapes(n_time, 1), sigma=(1.5, 2.0), max_iters=-1)


@pytest.mark.parametrize("n_time", LONG)
@pytest.mark.parametrize("center", ["mean", "median"])
def test_every_setting(n_time: int, center: str) -> None:
    data = shapes(n_time, 2)
    for sigma in SIGMAS:
        for max_iters in (0, 1, 5, -1):
            agree(data, sigma=sigma, max_iters=max_iters, center=center)


@pytest.mark.parametrize("n_time", [*LONG, 128, 31])
@pytest.mark.parametrize("sigma", SIGMAS)
def test_instruction_sets_and_neighbours_change_no_bit(n_time: int, sigma: tuple[float, float]) -> None:
    data = shapes(n_time, 3)

    def answers(values: NDArray[np.float32]) -> dict[str, Any]:
        return kernel(values, sigma_low=sigma[0], sigma_high=sigma[1], max_iters=5, center="median")

    wide = np.concatenate([data, data[:, ::-1], *[data] * 13], axis=1)  # more than a tile, other neighbours
    expected, before = answers(data), _core.isa()
    try:
        for isa in _core.available_isas():
            _core.use_isa(isa)
            alone, beside = answers(data), answers(wide)
            for name, values in expected.items():
                assert alone[name].tobytes() == values.tobytes(), (isa, name)
                assert beside[name][18:36].tobytes() == values[::-1].tobytes(), (isa, name)
                assert beside[name][-18:].tobytes() == values.tobytes(), (isa, name)
    finally:
        _core.use_isa(before)
