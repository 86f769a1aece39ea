"""Restricted Boltzmann machines a second time: plain float64 NumPy, and enumeration where that is possible.

Owns Philox-4x32-10 from its paper, contrastive divergence draw for draw, and exact sums over all states of small
machines. The centred gradient is written as Melchior et al. (2016) state it, by moving the offsets of a centred energy,
which is another road than that of the code under test.

Refuses speed, and refuses to look at the code under test: nothing here imports ``starskope``.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F64 = NDArray[np.float64]
    Words = NDArray[np.uint64]

WEIGHTS, CHAINS, GIBBS, ORDER = (0xFFFFFFFF - i for i in range(4))
OFFSET_RATE = 0.01


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Return the four output words of each counter (..., 4), Philox-4x32 with ten rounds."""
    c = counter.astype(np.uint64)
    low = np.uint64(0xFFFFFFFF)
    k0, k1 = key
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[..., 0], np.uint64(0xCD9E8D57) * c[..., 2]
        c = np.stack(
            [
                (p1 >> np.uint64(32)) ^ c[..., 1] ^ np.uint64(k0),
                p1 & low,
                (p0 >> np.uint64(32)) ^ c[..., 3] ^ np.uint64(k1),
                p0 & low,
            ],
            axis=-1,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def words(seed: tuple[int, int], epoch: int, batch: int, draw: int, n_row: int, n_unit: int) -> Words:
    """Return the random words (n_row, n_unit) of one layer of one batch."""
    n_block = -(-n_unit // 4)
    counter = np.zeros((n_row, n_block, 4), np.uint64)
    counter[..., 0] = (draw << 20) + np.arange(n_block)
    counter[..., 1] = np.arange(n_row)[:, None]
    counter[..., 2], counter[..., 3] = batch, epoch
    return philox(counter, seed).reshape(n_row, -1)[:, :n_unit]


def uniform(random: Words) -> F64:
    """Return numbers from [0, 1) of 24 bits."""
    return (random >> np.uint64(8)) * 2.0**-24


def normal(random: Words) -> F64:
    """Return standard normal numbers by Box and Muller; words 2i and 2i+1 make numbers 2i and 2i+1."""
    first = ((random[..., 0::2] >> np.uint64(8)) + 1.0) * 2.0**-24
    angle = 2.0 * math.pi * uniform(random[..., 1::2])
    radius = np.sqrt(-2.0 * np.log(first))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(random.shape)


def bfloat16(x: F64) -> F64:
    """Round to 8 significant bits, ties to even."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.rint(mantissa * 256.0) / 256.0, exponent)


def sigmoid(x: F64) -> F64:
    """Return 1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + np.exp(-x))


@dataclass
class Reference:
    """A machine of the plain energy, trained in float64 with the random numbers of an address."""

    weights: F64
    visible_bias: F64
    hidden_bias: F64
    seed: tuple[int, int]
    gaussian: bool
    mixed: bool = False

    @classmethod
    def begin(cls, x: F64, n_hidden: int, seed: tuple[int, int], *, gaussian: bool, centered: bool) -> Reference:
        n_visible = x.shape[1]
        random = words(seed, WEIGHTS, 0, 0, n_visible, n_hidden + n_hidden % 2)
        mean = np.clip(x.mean(axis=0), 0.01, 0.99)
        return cls(
            0.01 * normal(random)[:, :n_hidden],
            x.mean(axis=0) if gaussian else np.log(mean / (1.0 - mean)),
            np.full(n_hidden, -1.0 if centered else 0.0),
            seed,
            gaussian,
        )

    def rounded(self, x: F64) -> F64:
        """Return what enters a product: in mixed precision the nearest bfloat16."""
        return bfloat16(x) if self.mixed else x

    def up(self, visible: F64) -> F64:
        return sigmoid(visible @ self.rounded(self.weights) + self.hidden_bias)

    def draw_visible(self, hidden: F64, epoch: int, batch: int, draw: int) -> F64:
        n_row, n_visible = hidden.shape[0], self.weights.shape[0]
        mean = hidden @ self.rounded(self.weights).T + self.visible_bias
        if self.gaussian:
            noise = normal(words(self.seed, epoch, batch, draw, n_row, n_visible + n_visible % 2))[:, :n_visible]
            return self.rounded(mean + noise)
        return (uniform(words(self.seed, epoch, batch, draw, n_row, n_visible)) < sigmoid(mean)).astype(float)

    def draw_hidden(self, visible: F64, epoch: int, batch: int, draw: int) -> F64:
        random = words(self.seed, epoch, batch, draw, visible.shape[0], self.weights.shape[1])
        return (uniform(random) < self.up(visible)).astype(float)

    def train(
        self,
        x: F64,
        *,
        n_epochs: int,
        batch_size: int,
        learning_rate: float,
        k: int,
        persistent: bool,
        centered: bool,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        """Train by CD-k, or PCD-k with ``batch_size`` chains.

        Momentum and weight decay belong to the plain parameters, so they are written for the plain gradient only.
        """
        assert not (centered and (momentum or weight_decay))
        n_hidden = self.weights.shape[1]
        chains = (words(self.seed, CHAINS, 0, 0, batch_size, n_hidden) >> np.uint64(31)).astype(float)
        visible_offset, hidden_offset = x.mean(axis=0), None
        velocity = [np.zeros_like(p) for p in (self.weights, self.visible_bias, self.hidden_bias)]
        for epoch in range(n_epochs):
            order = np.argsort(words(self.seed, ORDER, epoch, 0, 1, x.shape[0])[0], kind="stable")
            for batch, start in enumerate(range(0, x.shape[0], batch_size)):
                data = self.rounded(x[order[start : start + batch_size]])
                data_hidden = self.rounded(self.up(data))
                state = chains if persistent else self.draw_hidden(data, epoch, batch, 0)
                for i in range(k):
                    visible = self.draw_visible(state, epoch, batch, 2 * i + 1)
                    state = self.draw_hidden(visible, epoch, batch, 2 * i + 2)
                chains = state
                hidden = self.rounded(self.up(visible))
                if not centered:
                    gradient = [
                        data.T @ data_hidden / len(data)
                        - visible.T @ hidden / len(visible)
                        - weight_decay * self.weights,
                        data.mean(axis=0) - visible.mean(axis=0),
                        data_hidden.mean(axis=0) - hidden.mean(axis=0),
                    ]
                    parameters = (self.weights, self.visible_bias, self.hidden_bias)
                    for own, speed, slope in zip(parameters, velocity, gradient, strict=True):
                        speed[...] = momentum * speed + learning_rate * slope
                        own[...] = own + speed
                    continue
                if hidden_offset is None:
                    hidden_offset = data_hidden.mean(axis=0)
                visible_offset = (1 - OFFSET_RATE) * visible_offset + OFFSET_RATE * data.mean(axis=0)
                hidden_offset = (1 - OFFSET_RATE) * hidden_offset + OFFSET_RATE * data_hidden.mean(axis=0)
                # The centred energy -(v - mu).b' - c'.(h - lambda) - (v - mu).W.(h - lambda) has these biases:
                centred_b = self.visible_bias + self.weights @ hidden_offset
                centred_c = self.hidden_bias + self.weights.T @ visible_offset
                self.weights = self.weights + learning_rate * (
                    (data - visible_offset).T @ (data_hidden - hidden_offset) / len(data)
                    - (visible - visible_offset).T @ (hidden - hidden_offset) / len(visible)
                )
                centred_b += learning_rate * (data.mean(axis=0) - visible.mean(axis=0))
                centred_c += learning_rate * (data_hidden.mean(axis=0) - hidden.mean(axis=0))
                self.visible_bias = centred_b - self.weights @ hidden_offset
                self.hidden_bias = centred_c - self.weights.T @ visible_offset


@functools.cache
def states(n: int) -> F64:
    """Return all 2^n states of n bits."""
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)))


def free_energy(v: F64, weights: F64, b: F64, c: F64, *, gaussian: bool) -> F64:
    """Return F(v) = -ln sum_h exp(-E(v, h)) of each row of v, summing over all hidden states h with their energies."""
    own = 0.5 * ((v - b) ** 2).sum(axis=1) if gaussian else -v @ b
    hidden = states(c.size)
    energies = own[:, None] - hidden @ c - v @ weights @ hidden.T
    return -_logsumexp(-energies)


def log_partition(weights: F64, b: F64, c: F64, *, gaussian: bool) -> float:
    """Return ln Z by enumeration.

    Bernoulli: over all visible states. Gaussian: over all hidden states, each of which leaves a Gaussian integral,
    (2 pi)^(n/2) exp(c.h + b.W h + |W h|^2 / 2).
    """
    if gaussian:
        sums = states(c.size) @ weights.T
        exponents = states(c.size) @ c + sums @ b + 0.5 * (sums**2).sum(axis=1)
        return 0.5 * b.size * math.log(2 * math.pi) + float(_logsumexp(exponents))
    return float(_logsumexp(-free_energy(states(b.size), weights, b, c, gaussian=False)))


def log_likelihood(x: F64, weights: F64, b: F64, c: F64, *, gaussian: bool) -> float:
    """Return the mean ln p of the rows of ``x``."""
    mean = -free_energy(x, weights, b, c, gaussian=gaussian).mean()
    return float(mean) - log_partition(weights, b, c, gaussian=gaussian)


def gradient(x: F64, weights: F64, b: F64, c: F64, *, gaussian: bool) -> tuple[F64, F64, F64]:
    """Return the gradient of `log_likelihood` by weights, b and c, by central differences of the enumeration."""
    out = []
    for i, parameter in enumerate((weights, b, c)):
        slope = np.empty_like(parameter)
        for place in np.ndindex(parameter.shape):
            step = np.zeros_like(parameter)
            step[place] = 1e-5
            up, down = (
                log_likelihood(
                    x, *[p + sign * step if i == j else p for j, p in enumerate((weights, b, c))], gaussian=gaussian
                )
                for sign in (1, -1)
            )
            slope[place] = (up - down) / 2e-5
        out.append(slope)
    return out[0], out[1], out[2]


def _logsumexp(values: F64) -> F64:
    highest = values.max(axis=-1, keepdims=True)
    return highest[..., 0] + np.log(np.exp(values - highest).sum(axis=-1))
