"""Contrastive divergence: the state that training moves in a restricted Boltzmann machine, and what it says of data.

Owns `Machine` (weights, biases, offsets, velocities, persistent chains), where it begins, and how threads share its
training. Refuses files, validation, the interface of estimators, and arithmetic: products, unit types and update rule
are fused in the core.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope import _core
from starskope.learn import draws
from starskope.learn.samples import Samples
from starskope.parallel import map_ranges

__all__ = ["DivergedError", "Machine", "Settings", "initial_machine"]

F32 = NDArray[np.float32]

OFFSET_RATE = 0.01
"""How far the offsets of the centred gradient move toward the means of each batch (Melchior et al. 2016, section 4)."""

HIDDEN_BIAS = -1.0
"""Where hidden units begin under the centred gradient, 27 % on: it keeps their mean where it is. From 0 the
likelihood ends as high, but units that are rarely on tell classes apart better (digits 0.94 against 0.90). The plain
gradient turns them off by itself."""

_ROWS = 1024
"""Rows that a thread takes at a time when a whole sample is sent through."""
_OPERATIONS = 4e10
"""Of one call of the core, some tenths of a second: between calls Ctrl-C is heard."""


class DivergedError(ValueError):
    """Weights that left all bounds."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"the weights left all bounds in epoch {epoch}")
        self.epoch = epoch


@dataclass(frozen=True)
class Settings:
    """What training needs to know; names as in `starskope.learn.rbm.RBM`."""

    gaussian: bool
    k: int
    persistent: bool
    centered: bool
    learning_rate: float
    batch_size: int
    momentum: float
    weight_decay: float
    workers: int
    mixed: bool = False


@dataclass
class Machine:
    """A restricted Boltzmann machine: its parameters, all float32, and what training carries from batch to batch.

    Attributes
    ----------
    weights : (n_visible, n_hidden)
    visible_bias : (n_visible,)
    hidden_bias : (n_hidden,)
        Of the plain energy, whatever gradient is used.
    visible_offset, hidden_offset : (n_visible,), (n_hidden,)
        Means around which the gradient is centred; the plain gradient leaves them alone.
    chains : (batch_size, n_hidden), optional
        Hidden states of the persistent chains.
    """

    seed: NDArray[np.uint32]
    weights: F32
    visible_bias: F32
    hidden_bias: F32
    visible_offset: F32
    hidden_offset: F32
    chains: F32 | None = None
    velocities: tuple[F32, F32, F32] | None = None
    epoch: int = 0
    has_hidden_offset: bool = False

    def hidden(self, x: F32, workers: int) -> F32:
        """Probabilities of the hidden units (n_row, n_hidden); a row's do not depend on the other rows."""
        out = np.empty((x.shape[0], self.weights.shape[1]), np.float32)

        def rows(start: int, stop: int) -> None:
            _core.hidden_probabilities(x[start:stop], *self._parameters(), out[start:stop])

        map_ranges(rows, x.shape[0], _ROWS, workers)
        return out

    def free_energy(self, x: F32, gaussian: bool, workers: int) -> NDArray[np.float64]:
        """Free energy (n_row,) of the visible units' states."""
        out = np.empty(x.shape[0])

        def rows(start: int, stop: int) -> None:
            _core.free_energy(x[start:stop], *self._parameters(), gaussian=gaussian, out=out[start:stop])

        map_ranges(rows, x.shape[0], _ROWS, workers)
        return out

    def gibbs(self, x: F32, n_steps: int, seed: NDArray[np.uint32], gaussian: bool, workers: int) -> F32:
        """Visible states (n_row, n_visible) after ``n_steps`` steps from ``x``."""
        out = np.empty_like(x)
        words = [int(word) for word in seed]

        def rows(start: int, stop: int) -> None:
            _core.gibbs(
                x[start:stop],
                *self._parameters(),
                gaussian=gaussian,
                n_steps=n_steps,
                seed=words,
                first_row=start,
                out=out[start:stop],
            )

        map_ranges(rows, x.shape[0], _ROWS, workers)
        return out

    def suit(self, settings: Settings) -> None:
        """Make or drop what these settings carry from batch to batch, and keep what is there already."""
        if not settings.persistent:
            self.chains = None
        elif self.chains is None or self.chains.shape[0] != settings.batch_size:
            where = draws.address(self.seed, int(draws.CHAINS), 0, 0)
            coins = draws.bits(where, settings.batch_size, self.weights.shape[1]) >> np.uint32(31)
            self.chains = coins.astype(np.float32)
        if not settings.momentum:
            self.velocities = None
        elif self.velocities is None:
            self.velocities = (
                np.zeros_like(self.weights),
                np.zeros_like(self.visible_bias),
                np.zeros_like(self.hidden_bias),
            )

    def learn(self, samples: Samples, settings: Settings, n_epochs: int) -> None:
        """Move the parameters along the gradient of every batch for so many epochs.

        Raises
        ------
        DivergedError
            The weights left all bounds; the machine is then as it was before.
        """
        self.suit(settings)
        # Memory goes with the batch, and none is larger than the sample; persistent chains are as many as asked for.
        batch_size = settings.batch_size if settings.persistent else min(settings.batch_size, max(1, samples.n_row))
        core = _core.ContrastiveDivergence(
            self._state(),
            gaussian=settings.gaussian,
            mixed=settings.mixed,
            centered=settings.centered,
            has_hidden_offset=self.has_hidden_offset,
            k=settings.k,
            batch_size=batch_size,
            learning_rate=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            offset_rate=OFFSET_RATE,
            seed=[int(word) for word in self.seed],
        )
        operations = 2.0 * (2 * settings.k + 3) * batch_size * self.weights.size
        step = batch_size * max(1, int(_OPERATIONS / operations))
        for epoch in range(self.epoch, self.epoch + n_epochs):
            batch = 0
            for rows, order in samples.blocks(self.seed, epoch, batch_size):
                for start in range(0, order.size, step):
                    some = order[start : start + step]
                    _learn(core, rows, some, epoch, batch, settings.workers)
                    batch += -(-some.size // batch_size)
            if not core.finite():
                raise DivergedError(epoch + 1)
        core.store(self._state())
        self.epoch += n_epochs
        self.has_hidden_offset |= settings.centered and n_epochs > 0

    def _parameters(self) -> tuple[F32, F32, F32]:
        return self.weights, self.visible_bias, self.hidden_bias

    def _state(self) -> dict[str, Any]:
        velocities = self.velocities if self.velocities is not None else (None, None, None)
        return {
            "weights": self.weights,
            "visible_bias": self.visible_bias,
            "hidden_bias": self.hidden_bias,
            "visible_offset": self.visible_offset,
            "hidden_offset": self.hidden_offset,
            "chains": self.chains,
            **dict(zip(("weight_velocity", "visible_velocity", "hidden_velocity"), velocities, strict=True)),
        }


def _learn(
    core: _core.ContrastiveDivergence, rows: F32, order: NDArray[np.int64], epoch: int, first_batch: int, workers: int
) -> None:
    """Learn from some batches: one thread leads, the others take tiles of whatever it does."""
    if workers == 1:
        core.learn(rows, order, epoch, first_batch)
        return
    core.admit()

    def part(start: int, stop: int) -> None:
        if start > 0:
            core.help()
            return
        try:
            core.learn(rows, order, epoch, first_batch)
        finally:
            core.release()

    map_ranges(part, workers, 1, workers)


def initial_machine(mean: NDArray[np.float64], n_hidden: int, seed: NDArray[np.uint32], settings: Settings) -> Machine:
    """Return a machine before its first step, for data of this mean (n_visible,).

    Weights are normal with standard deviation 0.01, the visible biases alone reproduce the mean (Hinton 2012,
    doi:10.1007/978-3-642-35289-8_32), the hidden biases are 0, or `HIDDEN_BIAS` for the centred gradient.
    """
    n_visible = mean.size
    weights = np.empty((n_visible, n_hidden), np.float32)
    _core.first_weights(weights, deviation=0.01, seed=[int(word) for word in seed], first_row=0)
    offset = mean.astype(np.float32)
    inside = np.clip(offset.astype(np.float64), 0.01, 0.99)
    return Machine(
        seed=seed,
        weights=weights,
        visible_bias=offset.copy() if settings.gaussian else np.log(inside / (1.0 - inside)).astype(np.float32),
        hidden_bias=np.full(n_hidden, HIDDEN_BIAS if settings.centered else 0.0, np.float32),
        visible_offset=offset,
        hidden_offset=np.zeros(n_hidden, np.float32),
    )
