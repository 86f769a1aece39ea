"""One epoch of a restricted Boltzmann machine, and what its features are worth, beside scikit-learn."""

from __future__ import annotations

import gzip
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import numpy as np
import pytest
from sklearn.neural_network import BernoulliRBM
from threadpoolctl import threadpool_limits

from starskope.learn.rbm import RBM

Compare = Callable[..., harness.Row]

N_ROW, N_HIDDEN, BATCH, RATE = 10_000, 500, 100, 0.05
N_CHECKED = 10


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray, str]:
    """Training and test images (n, 784) from 0 to 1, and where they are from."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STARSKOPE_DATA", default)) / "mnist"
    if folder.is_dir():
        train, test = (_mnist(folder / f"{part}-images-idx3-ubyte.gz") for part in ("train", "t10k"))
        return train[:N_ROW], test[:1000], "MNIST"
    rng = np.random.default_rng(0)
    strokes = (rng.random((40, 784)) < 0.15).astype(np.float32)
    mixed = np.minimum((rng.random((N_ROW + 1000, 40)) < 0.1).astype(np.float32) @ strokes, 1.0)
    return mixed[:N_ROW], mixed[N_ROW:], "synthetic images, MNIST not found"


def _mnist(path: Path) -> np.ndarray:
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784).astype(np.float32) / np.float32(255)


def reconstruction(x: np.ndarray, hidden: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> float:
    """Mean squared distance of images from what their hidden units say of them."""
    return float(((1 / (1 + np.exp(-(hidden @ weights.T + bias))) - x) ** 2).mean())


def quality(model: Any, x: np.ndarray) -> float:
    if isinstance(model, BernoulliRBM):
        return reconstruction(x, model.transform(x), model.components_.T, model.intercept_visible_)
    return reconstruction(x, model.transform(x), model.weights_, model.visible_bias_)


def bare_products(x: np.ndarray) -> np.ndarray:
    """Make the five products of a step and nothing else, in float32 by NumPy."""
    weights = np.full((784, N_HIDDEN), 0.01, np.float32)
    hidden = np.full((BATCH, N_HIDDEN), 0.5, np.float32)
    for start in range(0, len(x), BATCH):
        batch = x[start : start + BATCH]
        up = batch @ weights
        down = hidden @ weights.T
        again = down @ weights
        statistics = batch.T @ up, down.T @ again
    return statistics[0]


@pytest.mark.parametrize("threads", [1, -1])
def test_rbm_epoch(compare: Compare, images: tuple[np.ndarray, np.ndarray, str], threads: int) -> None:
    train, test, source = images
    # Not among the rivals that `make bench` installs: the bare products, on which it stands too, are the harder rival.
    torch = importlib.import_module("torch") if threads == 1 and importlib.util.find_spec("torch") else None
    n_thread = len(os.sched_getaffinity(0)) if threads == -1 else 1
    errors: dict[str, float] = {}

    def ours(n_epochs: int = 1, workers: int = threads) -> RBM:
        # The algorithm of scikit-learn's machine: persistent chains, plain gradient.
        return RBM(
            N_HIDDEN,
            visible="bernoulli",
            persistent=True,
            centered=False,
            learning_rate=RATE,
            batch_size=BATCH,
            n_epochs=n_epochs,
            workers=workers,
            random_state=0,
        ).fit(train)

    def scikit_learn(n_epochs: int = 1) -> BernoulliRBM:
        with threadpool_limits(n_thread):
            machine = BernoulliRBM(N_HIDDEN, learning_rate=RATE, batch_size=BATCH, n_iter=n_epochs, random_state=0)
            return machine.fit(train)

    def products() -> np.ndarray:
        with threadpool_limits(n_thread):
            return bare_products(train)

    def with_torch(n_epochs: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        torch.set_num_threads(n_thread)  # type: ignore[union-attr]
        return torch_epochs(torch, train, n_epochs)

    def check(rival: str, mine: RBM, theirs: Any) -> None:
        if rival == "ours on one thread":
            assert mine.weights_.tobytes() == theirs.weights_.tobytes()
            return
        if rival.startswith("five"):
            last = train[-BATCH:].astype(np.float64)
            np.testing.assert_allclose(theirs, last.T @ (last @ np.full((784, N_HIDDEN), 0.01)), rtol=1e-4)
            return
        # Other random numbers, so no equal weights; after some epochs both must have learned, and ours no less.
        if rival == "PyTorch":
            weights, b, c = with_torch(N_CHECKED)
            errors[rival] = reconstruction(test, 1 / (1 + np.exp(-(test @ weights + c))), weights, b)
        else:
            errors[rival] = quality(scikit_learn(N_CHECKED), test)
        errors["ours"] = quality(ours(N_CHECKED), test)
        untrained = float(((test - train.mean(axis=0)) ** 2).mean())
        assert errors[rival] < 0.5 * untrained, (errors, untrained)
        assert errors["ours"] < 1.05 * errors[rival], errors
        assert np.abs(mine.weights_).max() > 0.05

    if threads == 1:
        rivals = {"scikit-learn BernoulliRBM": scikit_learn, **({"PyTorch": with_torch} if torch else {})}
    else:
        rivals = {"ours on one thread": lambda: ours(workers=1)}
    row = compare(
        f"one RBM epoch (PCD-1), {N_ROW} x 784, {N_HIDDEN} hidden, batch {BATCH}, {source}",
        ours,
        {**rivals, "five bare float32 NumPy products": products},
        check=check,
        rounds=5,
        rival_budget_s=6.0,
        threads="1" if threads == 1 else "all",
    )
    if threads == 1:
        told = ", ".join(f"{name} {error:.4f}" for name, error in errors.items())
        row.notes.append(f"test reconstruction error after {N_CHECKED} epochs: {told}")
        row.aim("4.5x scikit-learn", row.ratio("scikit-learn BernoulliRBM") >= 4.5)
    else:
        row.notes.append("same bytes")


def torch_epochs(torch: Any, x: np.ndarray, n_epochs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Train by PCD-1 in PyTorch, every operation in place that can be."""
    generator = torch.Generator().manual_seed(0)
    weights = 0.01 * torch.randn(x.shape[1], N_HIDDEN, generator=generator)
    b, c = torch.zeros(x.shape[1]), torch.zeros(N_HIDDEN)
    state = torch.zeros(BATCH, N_HIDDEN)
    rate = RATE / BATCH
    for start in list(range(0, len(x), BATCH)) * n_epochs:
        data = torch.from_numpy(x[start : start + BATCH])
        hidden = torch.sigmoid_(torch.addmm(c, data, weights))
        seen = torch.bernoulli(torch.sigmoid_(torch.addmm(b, state, weights.T)), generator=generator)
        again = torch.sigmoid_(torch.addmm(c, seen, weights))
        weights.addmm_(data.T, hidden, alpha=rate).addmm_(seen.T, again, alpha=-rate)
        b.add_(data.sum(0) - seen.sum(0), alpha=rate)
        c.add_(hidden.sum(0) - again.sum(0), alpha=rate)
        state = torch.bernoulli(again, generator=generator)
    return weights.numpy(), b.numpy(), c.numpy()


def test_digits_example(compare: Compare) -> None:
    """Time the training of scikit-learn's digits example; the features must tell digits apart as well."""
    import sys

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from digits import BATCH_SIZE, LEARNING_RATE, N_EPOCHS, Digits
    from digits import N_HIDDEN as N_UNIT

    digits = Digits.load()
    accuracies: dict[str, float] = {}

    def ours() -> RBM:
        return RBM(
            N_UNIT,
            visible="bernoulli",
            persistent=True,
            centered=False,
            learning_rate=LEARNING_RATE,
            batch_size=BATCH_SIZE,
            n_epochs=N_EPOCHS,
            random_state=0,
        ).fit(digits.x_train)

    def scikit_learn() -> BernoulliRBM:
        with threadpool_limits(1):
            return BernoulliRBM(
                N_UNIT, learning_rate=LEARNING_RATE, batch_size=BATCH_SIZE, n_iter=N_EPOCHS, random_state=0
            ).fit(digits.x_train)

    def check(rival: str, mine: Any, theirs: Any) -> None:
        with threadpool_limits(1):
            for name, model in (("ours", mine), (rival, theirs)):
                accuracies[name] = digits.accuracy(model.transform(digits.x_train), model.transform(digits.x_test))
        assert accuracies["ours"] >= accuracies[rival] - digits.standard_error(accuracies[rival]), accuracies

    row = compare(
        f"digits example of scikit-learn: {N_EPOCHS} epochs, 7188 x 64, {N_UNIT} hidden, batch {BATCH_SIZE}",
        ours,
        {"scikit-learn BernoulliRBM": scikit_learn},
        check=check,
        rounds=3,
    )
    told = ", ".join(f"{name} {value:.3f}" for name, value in accuracies.items())
    row.notes.append(f"test accuracy of logistic regression on the features: {told}")
