"""One epoch of a restricted Boltzmann machine, and what its features are worth, beside scikit-learn."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import numpy as np
import pytest
from sklearn.neural_network import BernoulliRBM
from threadpoolctl import threadpool_limits

from starskope import _core
from starskope.learn.likelihood import log_likelihood
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


EPOCHS = [
    ("float32", False, 1),
    ("float32", False, -1),
    ("mixed", False, 1),
    ("mixed", False, -1),
    ("float32", True, 1),
]


@pytest.mark.parametrize(("precision", "persistent", "threads"), EPOCHS)
def test_rbm_epoch(
    compare: Compare, images: tuple[np.ndarray, np.ndarray, str], precision: Any, persistent: bool, threads: int
) -> None:
    train, test, source = images
    n_thread = len(os.sched_getaffinity(0)) if threads == -1 else 1
    errors: dict[str, float] = {}

    def ours(n_epochs: int = 1, workers: int = threads) -> RBM:
        # Plain gradient, as scikit-learn's machine, which has persistent chains.
        return RBM(
            N_HIDDEN,
            visible="bernoulli",
            persistent=persistent,
            centered=False,
            learning_rate=RATE,
            batch_size=BATCH,
            n_epochs=n_epochs,
            precision=precision,
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

    def check(rival: str, mine: RBM, theirs: Any) -> None:
        if rival == "ours on one thread":
            assert mine.weights_.tobytes() == theirs.weights_.tobytes()
            return
        if rival.startswith("five"):
            last = train[-BATCH:].astype(np.float64)
            np.testing.assert_allclose(theirs, last.T @ (last @ np.full((784, N_HIDDEN), 0.01)), rtol=1e-4)
            return
        # Other random numbers, so no equal weights; after some epochs both must have learned, and ours no less.
        errors[rival] = quality(scikit_learn(N_CHECKED), test)
        errors["ours"] = quality(ours(N_CHECKED), test)
        untrained = float(((test - train.mean(axis=0)) ** 2).mean())
        assert errors[rival] < 0.5 * untrained, (errors, untrained)
        assert errors["ours"] < 1.05 * errors[rival], errors
        assert np.abs(mine.weights_).max() > 0.05

    rivals: dict[str, Callable[[], Any]] = {
        "scikit-learn BernoulliRBM": scikit_learn,
        "five bare float32 NumPy products": products,
    }
    if threads == -1:
        rivals["ours on one thread"] = lambda: ours(workers=1)
    algorithm = "PCD-1" if persistent else "CD-1"
    row = compare(
        f"one RBM epoch ({algorithm}), {N_ROW} x 784, {N_HIDDEN} hidden, batch {BATCH}, {precision}, {source}",
        ours,
        rivals,
        check=check,
        rounds=5,
        rival_budget_s=6.0,
        threads="1" if threads == 1 else "all",
    )
    told = ", ".join(f"{name} {error:.4f}" for name, error in errors.items())
    row.notes.append(f"test reconstruction error after {N_CHECKED} epochs: {told}")
    learner = row.ratio("scikit-learn BernoulliRBM")
    if precision == "mixed":
        row.must("5x scikit-learn", learner >= 5)
        row.aim("8x scikit-learn", learner >= 8)
        row.notes.append("bfloat16 instructions" if _core.has_bfloat16() else "bfloat16 emulated")
    else:
        bare = row.ratio("five bare float32 NumPy products")
        row.must("3x scikit-learn", learner >= 3)
        row.aim("4.5x scikit-learn", learner >= 4.5)
        row.must("1.6x bare products", bare >= 1.6)
        row.aim("2.6x bare products", bare >= 2.6)
    if threads == -1:
        row.must("1.8x one thread", row.ratio("ours on one thread") >= 1.8)
        row.notes.append("same bytes")


def test_mixed_precision_learns_as_much(compare: Compare, images: tuple[np.ndarray, np.ndarray, str]) -> None:
    """Judge machines of 16 hidden units by their exact likelihood, mean of five seeds."""
    train, test, source = ((part > 0.5).astype(np.float32) if isinstance(part, np.ndarray) else part for part in images)
    likelihoods: dict[str, float] = {}

    def learn(precision: Any, n_seeds: int = 1) -> list[RBM]:
        machines = [
            RBM(16, visible="bernoulli", persistent=True, precision=precision, random_state=seed)
            for seed in range(n_seeds)
        ]
        for machine in machines:
            for epoch in range(30):
                # Ever smaller steps: at one rate seeds differ by a nat, which hides what precision does.
                machine.set_params(learning_rate=0.1 * (1 - epoch / 30)).partial_fit(train)
        return machines

    def check(rival: str, mine: list[RBM], theirs: list[RBM]) -> None:
        for precision in ("float32", "mixed"):
            each = [float(log_likelihood(machine, test).mean()) for machine in learn(precision, 5)]
            likelihoods[precision] = float(np.mean(each))
        assert abs(likelihoods["mixed"] - likelihoods["float32"]) < 0.5, likelihoods
        assert source != "MNIST" or min(likelihoods.values()) >= -150, likelihoods

    row = compare(
        f"30 epochs of centred PCD-1, {N_ROW} x 784, 16 hidden, mixed precision, {source} binarised at 0.5",
        lambda: learn("mixed"),
        {"ours in float32": lambda: learn("float32")},
        check=check,
        rounds=2,
    )
    told = ", ".join(f"{name} {value:.2f}" for name, value in likelihoods.items())
    row.notes.append(f"exact test log-likelihood in nats: {told}")
    row.must("within 0.5 nat of float32", abs(likelihoods["mixed"] - likelihoods["float32"]) < 0.5)
    row.must("-150 nats", source == "MNIST" and min(likelihoods.values()) >= -150)


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
