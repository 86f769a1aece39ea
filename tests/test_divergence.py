"""Contrastive divergence in the core: every instruction set, mixed precision, and data that are read block by block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import reference_rbm as reference
from tolerances import atol_mixed, atol_trained

from starskope import _core
from starskope.learn import draws, samples
from starskope.learn.likelihood import log_likelihood, log_partition
from starskope.learn.rbm import RBM
from starskope.learn.samples import Samples


@pytest.fixture(params=_core.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _core.isa()
    _core.use_isa(request.param)
    yield request.param
    _core.use_isa(before)


def patterns(n_row: int, n_visible: int, *, gaussian: bool = False) -> np.ndarray:
    """Rows with structure: a few patterns, noisy."""
    rng = np.random.default_rng([n_row, n_visible])
    rows = rng.integers(0, 2, (3, n_visible))[rng.integers(0, 3, n_row)]
    if gaussian:
        return (3.0 * rows + rng.normal(size=rows.shape)).astype(np.float32)
    return np.where(rng.random(rows.shape) < 0.1, 1 - rows, rows).astype(np.float32)


def parameters(rbm: RBM) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return rbm.weights_.astype(float), rbm.visible_bias_.astype(float), rbm.hidden_bias_.astype(float)


def trained_reference(x: np.ndarray, n_hidden: int, gaussian: bool, mixed: bool, **settings) -> reference.Reference:
    first, second = np.random.RandomState(5).randint(0, 2**32, size=2, dtype=np.uint32)
    machine = reference.Reference.begin(
        x.astype(float), n_hidden, (int(first), int(second)), gaussian=gaussian, centered=settings["centered"]
    )
    machine.mixed = mixed
    machine.train(x.astype(float), **settings)
    return machine


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("shape", [(40, 11, 7), (40, 1, 1), (36, 17, 33), (40, 70, 40)])
def test_every_instruction_set_follows_the_reference(isa: str, visible: str, persistent: bool, shape) -> None:
    n_row, n_visible, n_hidden = shape
    gaussian = visible == "gaussian"
    x = patterns(n_row, n_visible, gaussian=gaussian)
    settings = {"k": 2, "persistent": persistent, "centered": True, "learning_rate": 0.02, "batch_size": 20}
    rbm = RBM(n_hidden, visible=visible, n_epochs=3, random_state=5, **settings).fit(x)
    want = trained_reference(x, n_hidden, gaussian, mixed=False, n_epochs=3, **settings)
    near = atol_trained(6, max(1.0, np.abs(x).max()))
    for got, expected in zip(parameters(rbm), (want.weights, want.visible_bias, want.hidden_bias), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=near)


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("persistent", [False, True])
def test_mixed_precision_follows_its_own_reference(isa: str, visible: str, centered: bool, persistent: bool) -> None:
    gaussian = visible == "gaussian"
    x = patterns(60, 11, gaussian=gaussian)
    settings = {"k": 1, "persistent": persistent, "centered": centered, "learning_rate": 0.1, "batch_size": 20}
    rbm = RBM(7, visible=visible, n_epochs=4, random_state=5, precision="mixed", **settings).fit(x)
    want = trained_reference(x, 7, gaussian, mixed=True, n_epochs=4, **settings)
    other = trained_reference(x, 7, gaussian, mixed=False, n_epochs=4, **settings)
    near = atol_mixed(12, float(np.abs(x).max()), rate=0.1, n_row=20)
    assert np.abs(want.weights - other.weights).max() > 2 * near
    for got, expected in zip(parameters(rbm), (want.weights, want.visible_bias, want.hidden_bias), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=near)


@pytest.mark.parametrize("density", [0.0, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("mixed", [False, True])
def test_data_of_any_density_follow_the_reference(isa: str, density: float, mixed: bool) -> None:
    # Few words that are not zero take another road through the core than many; grey levels are no ones.
    rng = np.random.default_rng(9)
    x = (rng.uniform(0.2, 1.0, (60, 150)) * (rng.random((60, 150)) < density)).astype(np.float32)
    settings = {"k": 1, "persistent": False, "centered": True, "learning_rate": 0.02, "batch_size": 25}
    rbm = RBM(
        70, visible="bernoulli", n_epochs=2, random_state=5, precision="mixed" if mixed else "float32", **settings
    ).fit(x)
    want = trained_reference(x, 70, gaussian=False, mixed=mixed, n_epochs=2, **settings)
    near = atol_mixed(6, 1.0, rate=0.02, n_row=10) if mixed else atol_trained(6, 1.0)
    np.testing.assert_allclose(rbm.weights_, want.weights, rtol=0, atol=near)


@pytest.mark.parametrize("n_visible", [40, 2000])
def test_a_row_is_the_same_among_dense_rows_and_empty_ones(isa: str, n_visible: int) -> None:
    rng = np.random.default_rng(3)
    row = (rng.random((1, n_visible)) * (rng.random((1, n_visible)) < 0.2)).astype(np.float32)
    rbm = RBM.from_parameters(rng.normal(size=(n_visible, 30)), np.zeros(n_visible), np.zeros(30), visible="bernoulli")
    dense, empty = rng.uniform(0.1, 1.0, (90, n_visible)).astype(np.float32), np.zeros((90, n_visible), np.float32)
    one, other = (rbm.transform(np.concatenate([row, rest]))[0] for rest in (dense, empty))
    assert one.tobytes() == other.tobytes()
    assert np.abs(one - 0.5).max() > 0.01


@pytest.mark.parametrize("workers", [2, 5])
@pytest.mark.parametrize("precision", ["float32", "mixed"])
def test_workers_change_no_byte(isa: str, workers: int, precision: str) -> None:
    x = patterns(150, 300)
    settings = {"visible": "bernoulli", "n_epochs": 2, "batch_size": 40, "random_state": 1, "precision": precision}
    one, many = (RBM(200, workers=n, **settings).fit(x) for n in (1, workers))
    for a, b in zip(parameters(one), parameters(many), strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("shape", [(9, 5), (5, 9), (12, 1), (1, 12)])
def test_exact_partition_function(visible: str, shape) -> None:
    gaussian = visible == "gaussian"
    n_visible, n_hidden = shape
    x = patterns(100, n_visible, gaussian=gaussian)
    rbm = RBM(n_hidden, visible=visible, learning_rate=0.03, n_epochs=10, batch_size=10, random_state=0).fit(x)
    want = reference.log_partition(*parameters(rbm), gaussian=gaussian)
    assert log_partition(rbm) == pytest.approx(want, abs=2e-5)
    each = log_likelihood(rbm, x)
    assert each.mean() == pytest.approx(reference.log_likelihood(x, *parameters(rbm), gaussian=gaussian), abs=4e-5)


def test_too_many_states_are_refused() -> None:
    x = patterns(10, 30)
    with pytest.raises(ValueError, match="30 visible and 21 hidden units: expected at most 20"):
        log_partition(RBM(21, visible="bernoulli", n_epochs=0, random_state=0).fit(x))


class Chunked:
    """An array that gives ranges of rows and counts what it was asked for."""

    def __init__(self, x: np.ndarray) -> None:
        self.x, self.shape, self.dtype, self.chunks = x, x.shape, x.dtype, (16, *x.shape[1:])
        self.most = 0

    def __getitem__(self, rows: slice) -> np.ndarray:
        self.most = max(self.most, self.x[rows].shape[0])
        return self.x[rows]


def test_a_memory_map_that_fits_gives_the_bytes_of_the_array(tmp_path: Path) -> None:
    x = patterns(90, 20)
    stored = np.memmap(tmp_path / "x", np.float32, "w+", shape=x.shape)
    stored[:] = x
    readonly = np.memmap(tmp_path / "x", np.float32, "r", shape=x.shape)
    rbm = RBM(9, visible="bernoulli", n_epochs=2, batch_size=40, random_state=4)
    whole = parameters(rbm.fit(x))
    for source in (readonly, Chunked(x), Chunked(x.astype(">f8"))):
        for a, b in zip(parameters(rbm.fit(source)), whole, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def test_blocks_hold_every_row_once_in_whole_batches() -> None:
    x = np.arange(230, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    source = Chunked(x)
    rows = Samples(source, block_bytes=4 * 3 * 50)
    orders = []
    for epoch in range(2):
        blocks = list(rows.blocks(np.array([1, 2], np.uint32), epoch, 10))
        orders.append(np.concatenate([block[order, 0] for block, order in blocks]))
        np.testing.assert_array_equal(np.sort(orders[-1]), np.arange(230))
        assert all(order.size % 10 == 0 for _, order in blocks)
    assert source.most <= 50
    assert (orders[0] != orders[1]).mean() > 0.9
    np.testing.assert_allclose(rows.mean(), x.mean(axis=0))


def test_learning_block_by_block_reads_no_more_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_BLOCK_BYTES", 4 * 20 * 48)
    x = patterns(1000, 20)
    source = Chunked(x)
    rbm = RBM(9, visible="bernoulli", n_epochs=30, learning_rate=0.3, batch_size=12, random_state=4).fit(source)
    assert source.most <= 48
    whole = RBM(9, visible="bernoulli", n_epochs=30, learning_rate=0.3, batch_size=12, random_state=4).fit(x)
    # Another order of rows, so no equal weights; but no worse a machine.
    assert log_likelihood(rbm, x).mean() == pytest.approx(log_likelihood(whole, x).mean(), abs=0.3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: np.where(np.arange(20) == 3, np.nan, x), "NaN"),
        (lambda x: 7 * x, "values from 0 to 1"),
        (lambda x: x[:, 0], "2D array"),
        (lambda x: x[:0], "0 sample"),
    ],
)
def test_bad_values_in_a_streamed_array_are_refused(change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RBM(9, visible="bernoulli", n_epochs=1, random_state=4).fit(
            Chunked(change(patterns(64, 20)).astype(np.float32))
        )


def test_a_batch_larger_than_the_sample_takes_no_more_memory() -> None:
    x = patterns(30, 20)
    vast, whole = (RBM(9, visible="bernoulli", n_epochs=2, batch_size=n, random_state=4).fit(x) for n in (10**9, 30))
    assert vast.weights_.tobytes() == whole.weights_.tobytes()


def test_rows_of_a_range_stand_at_the_address_of_the_sample() -> None:
    seed = np.array([1, 2], np.uint32)
    words = reference.words((1, 2), int(draws.ORDER), 3, 0, 1, 100)[0]
    np.testing.assert_array_equal(draws.permutation(seed, 3, 40, first=60), np.argsort(words[60:], kind="stable"))


STATE = {"gaussian": False, "centered": False, "has_hidden_offset": False, "k": 1, "batch_size": 4}
RATES = {"learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.0, "offset_rate": 0.01, "seed": [1, 2]}


def core_state(**changes) -> dict:
    state = {
        "weights": np.zeros((6, 5), np.float32),
        **{name: np.zeros(6, np.float32) for name in ("visible_bias", "visible_offset")},
        **{name: np.zeros(5, np.float32) for name in ("hidden_bias", "hidden_offset")},
    }
    return {**state, **changes}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"weights": np.zeros((6, 5))}, ValueError, "weights: expected an array of float32"),
        ({"weights": None}, TypeError, "weights: expected an array"),
        ({"weights": np.zeros((6, 0), np.float32)}, ValueError, "n_hidden=0"),
        ({"weights": np.zeros((5, 6), np.float32).T}, ValueError, "weights: expected contiguous rows"),
        ({"visible_bias": np.zeros(5, np.float32)}, ValueError, "visible_bias: has 5 elements, expected 6"),
        ({"hidden_bias": np.broadcast_to(np.float32(0), 5)}, ValueError, "hidden_bias: expected .* writable"),
        ({"chains": np.zeros((3, 5), np.float32)}, ValueError, "chains: is 3 x 5, expected 4 x 5"),
    ],
)
def test_the_core_refuses_other_arrays(changes: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        _core.ContrastiveDivergence(core_state(**changes), **STATE, **RATES)


def test_the_core_refuses_rows_that_are_not_there() -> None:
    core = _core.ContrastiveDivergence(core_state(), **STATE, **RATES)
    x = np.zeros((3, 6), np.float32)
    x.setflags(write=False)
    core.learn(x, np.arange(3), 0, 0)
    with pytest.raises(ValueError, match="order: element 1 is 3, data has 3 rows"):
        core.learn(x, np.array([0, 3]), 0, 0)
    with pytest.raises(ValueError, match="order: expected an array of int64"):
        core.learn(x, np.arange(3, dtype=np.int32), 0, 0)
    with pytest.raises(ValueError, match="data: has 5 columns, expected 6"):
        core.learn(x[:, :5], np.arange(3), 0, 0)
