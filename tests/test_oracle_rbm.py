"""The training of restricted Boltzmann machines against plain NumPy and against enumeration."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import reference_rbm as reference
from tolerances import atol_trained

from starskope import _core
from starskope.learn import draws
from starskope.learn.rbm import RBM
from starskope.learn.samples import describe

SEED = 5


def key(random_state: int) -> tuple[int, int]:
    first, second = np.random.RandomState(random_state).randint(0, 2**32, size=2, dtype=np.uint32)
    return int(first), int(second)


def data(n_row: int, n_visible: int, *, gaussian: bool) -> np.ndarray:
    """Rows with structure: a few patterns, noisy."""
    rng = np.random.default_rng([n_row, n_visible])
    patterns = rng.integers(0, 2, (3, n_visible)).astype(float)
    rows = patterns[rng.integers(0, 3, n_row)]
    if gaussian:
        return (3.0 * rows + rng.normal(size=rows.shape)).astype(np.float32).astype(float)
    return np.where(rng.random(rows.shape) < 0.1, 1 - rows, rows)


def parameters(rbm: RBM) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return rbm.weights_.astype(float), rbm.visible_bias_.astype(float), rbm.hidden_bias_.astype(float)


@pytest.mark.parametrize(
    ("counter", "key_", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_both_generators_give_the_known_answers_of_philox(counter, key_, expected) -> None:
    assert tuple(reference.philox(np.array(counter, np.uint64), key_)) == expected
    assert tuple(int(word) for word in draws.philox(*(np.uint32(word) for word in (*counter, *key_)))) == expected


@pytest.mark.parametrize("n_unit", [1, 2, 3, 4, 7, 64, 257])
def test_random_words_stand_at_their_address(n_unit: int) -> None:
    seed = np.array([7, 2**32 - 1], np.uint32)
    got = draws.bits(draws.address(seed, 3, 11, 2), 5, n_unit)
    np.testing.assert_array_equal(got, reference.words((7, 2**32 - 1), 3, 11, 2, 5, n_unit))


def test_a_tile_draws_what_the_whole_layer_draws() -> None:
    where = draws.address(np.array([1, 2], np.uint32), 0, 0, 0)
    whole, part = draws.bits(where, 3, 300), np.empty(44, np.uint32)
    draws.uniform_bits(where, 2, 256, part)
    np.testing.assert_array_equal(part, whole[2, 256:])


@pytest.mark.parametrize("n", [1, 5, 1000])
def test_each_epoch_takes_every_row_once_and_in_another_order(n: int) -> None:
    seed = np.array([1, 2], np.uint32)
    orders = [draws.permutation(seed, epoch, n) for epoch in range(2)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(n))
    assert n in {1, 5} or (orders[0] != orders[1]).mean() > 0.99


def test_drawn_numbers_are_uniform_and_normal() -> None:
    words = draws.bits(draws.address(np.array([3, 4], np.uint32), 0, 0, 0), 500, 400)
    noise = np.empty(words.shape, np.float32)
    _core.first_weights(noise, deviation=1.0, seed=[3, 4], first_row=0)
    counts = np.bincount((words >> np.uint32(27)).ravel(), minlength=32)
    expected = words.size / 32
    assert ((counts - expected) ** 2 / expected).sum() < 61.1  # chi-squared of 31 degrees of freedom at 0.1 %
    assert abs(noise.mean()) < 4 / np.sqrt(noise.size)
    assert abs(noise.std() - 1) < 4 / np.sqrt(2 * noise.size)
    assert abs((noise**4).mean() - 3) < 4 * np.sqrt(96 / noise.size)


@pytest.fixture(params=_core.available_isas())
def _isa(request: pytest.FixtureRequest) -> Iterator[None]:
    before = _core.isa()
    _core.use_isa(request.param)
    yield
    _core.use_isa(before)


@pytest.mark.usefixtures("_isa")
@pytest.mark.parametrize(("n_row", "n_unit"), [(1, 1), (16, 16), (37, 53), (5, 258)])
def test_first_weights_are_those_of_their_address(n_row: int, n_unit: int) -> None:
    random = reference.words((5, 6), int(draws.WEIGHTS), 0, 0, 3 + n_row, n_unit + n_unit % 2)
    framed = np.full((n_row, n_unit + 2), 7, np.float32)
    _core.first_weights(framed[:, 1:-1], deviation=0.5, seed=[5, 6], first_row=3)
    np.testing.assert_allclose(framed[:, 1:-1], 0.5 * reference.normal(random)[3:, :n_unit], rtol=0, atol=2e-6)
    assert (framed[:, [0, -1]] == 7).all()


@pytest.mark.usefixtures("_isa")
@pytest.mark.parametrize("n_feature", [1, 15, 16, 53])
def test_rows_are_described_in_one_pass(n_feature: int) -> None:
    x = np.random.default_rng(n_feature).normal(size=(2500, n_feature)).astype(np.float32)
    for at, worst in (((1100, n_feature - 1), np.float32(9)), ((3, 0), np.float32(-9))):
        x[at] = worst
    sums, low, high = describe(x)
    np.testing.assert_allclose(sums, x.sum(axis=0, dtype=float), rtol=0, atol=1e-10)
    assert (low, high) == (-9, 9)
    assert sums.tobytes() == describe(x, 3)[0].tobytes()
    for bad in (np.nan, np.inf, -np.inf):
        x[2000, n_feature // 2] = bad
        assert not np.isfinite(describe(x)[0]).all()


def test_what_cannot_be_described_or_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="sums"):
        _core.describe_rows(np.ones((3, 4), np.float32), np.empty(5))
    with pytest.raises(ValueError, match=r"deviation=.*above 0"):
        _core.first_weights(np.empty((3, 4), np.float32), deviation=np.nan, seed=[1, 2], first_row=0)


CASES = {
    "CD-1": {},
    "CD-3": {"k": 3},
    "PCD-1": {"persistent": True},
    "PCD-2": {"persistent": True, "k": 2},
    "plain CD-1": {"centered": False},
    "plain PCD-1": {"centered": False, "persistent": True},
    "plain CD-1, momentum, decay": {"centered": False, "momentum": 0.7, "weight_decay": 0.05},
}


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("case", CASES)
def test_training_follows_the_reference_draw_for_draw(visible: str, case: str) -> None:
    gaussian = visible == "gaussian"
    x = data(53, 11, gaussian=gaussian)
    rate = 0.1 if gaussian else 1.0
    settings = {"k": 1, "persistent": False, "centered": True, "learning_rate": rate, "batch_size": 20, **CASES[case]}
    rbm = RBM(7, visible=visible, n_epochs=6, random_state=SEED, **settings).fit(x)
    expected = reference.Reference.begin(x, 7, key(SEED), gaussian=gaussian, centered=settings["centered"])
    start = expected.weights.copy()
    expected.train(x, n_epochs=6, **settings)
    near = atol_trained(18, np.abs(x).max())
    for got, want in zip(parameters(rbm), (expected.weights, expected.visible_bias, expected.hidden_bias), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=near)
    assert np.abs(expected.weights - start).max() > 50 * near


def test_a_layer_wider_than_a_tile_follows_the_reference() -> None:
    x = data(30, 270, gaussian=False)
    settings = {"k": 1, "persistent": False, "centered": True, "learning_rate": 0.05, "batch_size": 30}
    rbm = RBM(300, visible="bernoulli", n_epochs=2, random_state=SEED, **settings).fit(x)
    expected = reference.Reference.begin(x, 300, key(SEED), gaussian=False, centered=True)
    expected.train(x, n_epochs=2, **settings)
    np.testing.assert_allclose(rbm.weights_, expected.weights, rtol=0, atol=atol_trained(2, 1.0))
    np.testing.assert_allclose(rbm.hidden_bias_, expected.hidden_bias, rtol=0, atol=270 * atol_trained(2, 1.0))


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("centered", [True, False])
def test_free_energy_is_the_sum_over_all_hidden_states(visible: str, centered: bool) -> None:
    gaussian = visible == "gaussian"
    x = data(40, 6, gaussian=gaussian)
    rbm = RBM(5, visible=visible, centered=centered, learning_rate=0.1, n_epochs=20, batch_size=10, random_state=0).fit(
        x
    )
    want = reference.free_energy(x, *parameters(rbm), gaussian=gaussian)
    np.testing.assert_allclose(rbm.free_energy(x), want, rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(rbm.score_samples(x), -rbm.free_energy(x))


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("centered", [True, False])
def test_the_exact_likelihood_rises(visible: str, persistent: bool, centered: bool) -> None:
    """It begins at the best machine without hidden units, and leaves it behind."""
    gaussian = visible == "gaussian"
    x = data(300, 8, gaussian=gaussian)
    rbm = RBM(
        6,
        visible=visible,
        persistent=persistent,
        centered=centered,
        learning_rate=0.01 if gaussian else 0.3,
        batch_size=20,
        random_state=2,
    )
    likelihoods = []
    for n in (0, 20, 40):
        rbm.set_params(n_epochs=n).fit(x)
        likelihoods.append(reference.log_likelihood(x, *parameters(rbm), gaussian=gaussian))
    assert likelihoods[0] < likelihoods[1] < likelihoods[2]
    assert likelihoods[2] - likelihoods[0] > 0.5


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("persistent", [False, True])
def test_long_chains_step_along_the_exact_gradient(visible: str, persistent: bool) -> None:
    """With many rows and many Gibbs steps the update of one batch is the gradient, up to noise of 1 / sqrt(rows)."""
    gaussian = visible == "gaussian"
    n_row, k, rate = 20_000, 60, 1e-3
    x = data(n_row, 5, gaussian=gaussian)
    rng = np.random.default_rng(4)
    before = tuple(rng.normal(size=shape).astype(np.float32).astype(float) for shape in ((5, 3), 5, 3))
    rbm = RBM.from_parameters(*before, visible=visible).set_params(
        k=k, learning_rate=rate, batch_size=n_row, centered=False, persistent=persistent, random_state=3
    )
    rbm.partial_fit(x)
    exact = reference.gradient(x, *before, gaussian=gaussian)
    steps = [(got - old) / rate for got, old in zip(parameters(rbm), before, strict=True)]
    # The standard error of a mean of products; a chain that stopped short would stay near the data, where it is zero.
    noise = 4 * max(1.0, x.std()) / np.sqrt(n_row)
    for step, want in zip(steps, exact, strict=True):
        np.testing.assert_allclose(step, want, rtol=0, atol=noise)
    assert np.abs(exact[0]).max() > 10 * noise


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_gibbs_sampling_reaches_the_exact_mean(visible: str) -> None:
    gaussian = visible == "gaussian"
    x = data(500, 6, gaussian=gaussian)
    rbm = RBM(4, visible=visible, learning_rate=0.05, batch_size=50, n_epochs=15, random_state=1).fit(x)
    weights, b, c = parameters(rbm)
    hidden = reference.states(4)
    if gaussian:
        sums = hidden @ weights.T
        exponents = hidden @ c + sums @ b + 0.5 * (sums**2).sum(axis=1)
        chance = np.exp(exponents - exponents.max())
        exact = chance @ (b + sums) / chance.sum()
    else:
        visible_states = reference.states(6)
        exponents = -reference.free_energy(visible_states, weights, b, c, gaussian=False)
        chance = np.exp(exponents - exponents.max())
        exact = chance @ visible_states / chance.sum()
    drawn = rbm.gibbs(np.repeat(x[:4], 1000, axis=0), n_steps=300)
    np.testing.assert_allclose(drawn.mean(axis=0), exact, atol=5 * drawn.std(axis=0).max() / np.sqrt(4000))
