"""One epoch of a large restricted Boltzmann machine with Gaussian units beside PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import harness
import numpy as np
import pytest

from starskope import _core
from starskope.learn.rbm import RBM

Compare = Callable[..., harness.Row]

N_ROW, N_VISIBLE, N_HIDDEN, BATCH, RATE = 10_000, 4_096, 1_024, 256, 3e-4


@pytest.fixture(scope="module")
def data() -> np.ndarray:
    """Rows of noise on a plane of eight dimensions, unit variance each."""
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(N_ROW, 8)).astype(np.float32) @ rng.normal(size=(8, N_VISIBLE)).astype(np.float32)
    return (plane / np.sqrt(8.0) + rng.standard_normal((N_ROW, N_VISIBLE), np.float32)).astype(np.float32) * 0.7


def torch_epoch(torch: Any, x: np.ndarray, half: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Train by CD-1 for an epoch, every operation in place that can be; bfloat16 products of float32 weights or not."""
    generator = torch.Generator().manual_seed(0)
    kind = torch.bfloat16 if half else torch.float32
    weights = 0.01 * torch.randn(N_VISIBLE, N_HIDDEN, generator=generator)
    b, c = torch.from_numpy(x.mean(axis=0)), torch.zeros(N_HIDDEN)
    order = torch.randperm(len(x), generator=generator)
    whole = torch.from_numpy(x)
    for start in range(0, len(x), BATCH):
        rows = whole[order[start : start + BATCH]]
        data, w, rate = rows.to(kind), weights.to(kind), RATE / len(rows)
        hidden = torch.sigmoid_((data @ w).float().add_(c))
        state = torch.bernoulli(hidden, generator=generator).to(kind)
        seen = (state @ w.T).float().add_(b).add_(torch.randn(rows.shape, generator=generator))
        model = seen.to(kind)
        again = torch.sigmoid_((model @ w).float().add_(c))
        if half:
            weights.add_(data.T @ hidden.to(kind), alpha=rate).sub_(model.T @ again.to(kind), alpha=rate)
        else:
            weights.addmm_(data.T, hidden, alpha=rate).addmm_(model.T, again, alpha=-rate)
        b.add_(rows.sum(0) - seen.sum(0), alpha=rate)
        c.add_(hidden.sum(0) - again.sum(0), alpha=rate)
    return weights.numpy(), b.numpy(), c.numpy()


def unexplained(x: np.ndarray, weights: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    """Mean squared distance of rows from what their hidden units say of them."""
    hidden = 1 / (1 + np.exp(-(x @ weights + c)))
    return float(((hidden @ weights.T + b - x) ** 2).mean())


@pytest.mark.parametrize("threads", [1, -1])
@pytest.mark.parametrize("precision", ["float32", "mixed"])
def test_gaussian_rbm_epoch(
    compare: Compare, session: harness.Session, data: np.ndarray, precision: Any, threads: int
) -> None:
    torch = session.optional("torch", "PyTorch")
    n_thread = len(os.sched_getaffinity(0)) if threads == -1 else 1
    rival = "PyTorch, bfloat16 products" if precision == "mixed" else "PyTorch"
    errors: dict[str, float] = {}

    def ours() -> RBM:
        return RBM(
            N_HIDDEN,
            centered=False,
            learning_rate=RATE,
            batch_size=BATCH,
            n_epochs=1,
            precision=precision,
            workers=threads,
            random_state=0,
        ).fit(data)

    def theirs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        torch.set_num_threads(n_thread)  # type: ignore[union-attr]
        return torch_epoch(torch, data, precision == "mixed")

    def check(rival: str, mine: RBM, other: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        # Other random numbers, so no equal weights; both must have learned, and equally much.
        some = data[:1000]
        errors["ours"] = unexplained(some, mine.weights_, mine.visible_bias_, mine.hidden_bias_)
        errors[rival] = unexplained(some, *other)
        assert max(errors.values()) < 0.99 * float(some.var()), (errors, some.var())
        assert abs(errors["ours"] / errors[rival] - 1) < 0.05, errors

    row = compare(
        f"one epoch (CD-1) of a Gaussian RBM, {N_ROW} x {N_VISIBLE}, {N_HIDDEN} hidden, batch {BATCH}, {precision}",
        ours,
        {rival: theirs if torch else None},
        check=check,
        rounds=1,
        rival_budget_s=10.0,
        threads="1" if threads == 1 else "all",
    )
    row.must("1.2x PyTorch", row.ratio(rival) >= 1.2)
    row.aim("3x PyTorch", row.ratio(rival) >= 3)
    operations = 10.0 * N_ROW * N_VISIBLE * N_HIDDEN
    row.notes.append(f"{operations / row.ours.best / 1e9:.0f} GFLOP/s")
    row.notes.append("mean squared distance: " + ", ".join(f"{name} {error:.3f}" for name, error in errors.items()))
    if precision == "mixed":
        row.notes.append("bfloat16 instructions" if _core.has_bfloat16() else "bfloat16 emulated")
