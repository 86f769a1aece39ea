"""``RBM`` as an estimator: the conventions of scikit-learn, same bytes for any split, and what it refuses."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

import starskope as sk
from starskope.learn.rbm import RBM

# Bernoulli units take values from 0 to 1 alone; these checks give an estimator other numbers and want no error.
BEYOND_BITS = "gives values outside 0 to 1, which binary units refuse"


def bits(n_row: int = 130, n_visible: int = 20) -> np.ndarray:
    rng = np.random.default_rng([n_row, n_visible])
    patterns = rng.integers(0, 2, (4, n_visible))
    return np.abs(patterns[rng.integers(0, 4, n_row)] - (rng.random((n_row, n_visible)) < 0.1)).astype(np.float32)


def fitted_bytes(rbm: RBM) -> bytes:
    return rbm.weights_.tobytes() + rbm.visible_bias_.tobytes() + rbm.hidden_bias_.tobytes()


def test_it_is_a_public_name() -> None:
    assert sk.RBM is RBM


def test_scikit_learn_finds_nothing_to_complain_about() -> None:
    """All checks of `sklearn.utils.estimator_checks` on the default, Gaussian, machine; none is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(
            RBM(n_hidden=5, n_epochs=2, batch_size=16, random_state=0), on_skip=None, on_fail=None
        )
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert not failed
    assert sum(r["status"] == "passed" for r in results) > 30


def test_scikit_learn_complains_about_bernoulli_only_where_values_are_no_probabilities() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rbm = RBM(n_hidden=5, visible="bernoulli", n_epochs=2, batch_size=16, random_state=0)
        results = check_estimator(rbm, on_skip=None, on_fail=None)
    other = {
        r["check_name"]: r["exception"]
        for r in results
        if r["status"] == "failed" and "values from 0 to 1" not in f"{r['exception']} {r['exception'].__cause__}"
    }
    assert not other
    assert sum(r["status"] == "passed" for r in results) > 15


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("extra", [{}, {"persistent": True, "k": 2}, {"momentum": 0.5, "weight_decay": 0.01}])
@pytest.mark.parametrize("workers", [2, 3, -1])
def test_any_number_of_workers_gives_the_same_bytes(visible: str, extra: dict, workers: int) -> None:
    x = bits(70, 600)
    settings = {"n_hidden": 300, "visible": visible, "n_epochs": 2, "batch_size": 30, "random_state": 1, **extra}
    one, many = (RBM(workers=n, **settings).fit(x) for n in (1, workers))
    assert fitted_bytes(one) == fitted_bytes(many)
    wide = bits(300, 600)
    assert one.transform(wide).tobytes() == many.transform(wide).tobytes()
    assert one.free_energy(wide).tobytes() == many.free_energy(wide).tobytes()
    assert one.gibbs(wide, 2).tobytes() == many.gibbs(wide, 2).tobytes()


def test_threads_of_blas_do_not_change_the_bytes_and_get_their_setting_back() -> None:
    from threadpoolctl import threadpool_info, threadpool_limits

    x = bits(60, 400)
    rbm = RBM(n_hidden=300, visible="bernoulli", n_epochs=1, random_state=1)
    results = []
    for n in (1, 2):
        with threadpool_limits(n, user_api="blas"):
            before = threadpool_info()
            results.append(fitted_bytes(rbm.fit(x)))
            assert threadpool_info() == before
    assert results[0] == results[1]


def test_machines_in_several_threads_do_not_disturb_each_other() -> None:
    from concurrent.futures import ThreadPoolExecutor

    from threadpoolctl import threadpool_info

    def threads() -> list[int]:
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    x, before = bits(60, 400), threads()
    machines = [RBM(n_hidden=300, visible="bernoulli", n_epochs=n, random_state=n) for n in range(1, 7)]
    alone = [fitted_bytes(clone(machine).fit(x)) for machine in machines]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda machine: fitted_bytes(machine.fit(x)), machines))
    assert together == alone
    assert threads() == before


@pytest.mark.parametrize("extra", [{}, {"persistent": True}, {"momentum": 0.5}, {"centered": False}])
def test_fit_is_so_many_partial_fits(extra: dict) -> None:
    x = bits()
    whole = RBM(n_hidden=9, visible="bernoulli", n_epochs=3, batch_size=40, random_state=4, **extra).fit(x)
    parts = clone(whole)
    for _ in range(3):
        parts.partial_fit(x)
    assert fitted_bytes(whole) == fitted_bytes(parts)
    assert whole.n_epochs_seen_ == parts.n_epochs_seen_ == 3


def test_seeds_decide_and_fit_begins_anew() -> None:
    x = bits()
    rbm = RBM(n_hidden=9, visible="bernoulli", n_epochs=2, random_state=4)
    first = fitted_bytes(rbm.fit(x))
    assert fitted_bytes(rbm.fit(x)) == first
    assert fitted_bytes(rbm.set_params(random_state=5).fit(x)) != first
    unseeded = RBM(n_hidden=9, visible="bernoulli", n_epochs=1)
    assert fitted_bytes(unseeded.fit(x)) != fitted_bytes(unseeded.fit(x))


def test_momentum_of_zero_skips_work_and_nothing_else() -> None:
    """The path without velocities against one whose momentum is too small to be felt."""
    x = bits()
    settings = {"n_hidden": 9, "visible": "bernoulli", "learning_rate": 0.1, "random_state": 4}
    without, tiny = RBM(**settings).fit(x), RBM(momentum=1e-30, **settings).fit(x)
    np.testing.assert_allclose(tiny.weights_, without.weights_, rtol=0, atol=1e-6)


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_a_row_does_not_depend_on_the_other_rows(visible: str) -> None:
    x = bits(333, 50)
    rbm = RBM(n_hidden=40, visible=visible, n_epochs=2, random_state=0).fit(x)
    hidden, energy = rbm.transform(x), rbm.free_energy(x)
    order = np.random.default_rng(0).permutation(len(x))
    assert rbm.transform(x[order]).tobytes() == hidden[order].tobytes()
    assert rbm.free_energy(x[order]).tobytes() == energy[order].tobytes()
    for rows in (slice(0, 1), slice(100, 229), slice(332, 333)):
        assert rbm.transform(x[rows]).tobytes() == hidden[rows].tobytes()
        assert rbm.free_energy(x[rows]).tobytes() == energy[rows].tobytes()


def test_gibbs_draws_the_same_again_and_other_states_for_another_key() -> None:
    x = bits()
    rbm = RBM(n_hidden=9, visible="bernoulli", n_epochs=5, learning_rate=0.1, random_state=0).fit(x)
    one = rbm.gibbs(x, 3)
    assert one.dtype == np.float32
    assert set(np.unique(one)) == {0.0, 1.0}
    assert one.tobytes() == rbm.gibbs(x, 3).tobytes()
    assert one.tobytes() != rbm.gibbs(x, 3, random_state=1).tobytes()


def test_parameters_make_a_machine_again() -> None:
    x = bits()
    rbm = RBM(n_hidden=9, visible="bernoulli", n_epochs=2, random_state=0).fit(x)
    again = RBM.from_parameters(rbm.weights_, rbm.visible_bias_, rbm.hidden_bias_, visible="bernoulli")
    assert again.transform(x).tobytes() == rbm.transform(x).tobytes()
    assert again.n_features_in_ == 20
    again.partial_fit(x)
    assert fitted_bytes(again) != fitted_bytes(rbm)


def test_settings_may_change_between_partial_fits() -> None:
    x = bits()
    rbm = RBM(n_hidden=9, visible="bernoulli", random_state=0).partial_fit(x)
    for change in ({"persistent": True}, {"batch_size": 7}, {"momentum": 0.9}, {"persistent": False, "momentum": 0.0}):
        rbm.set_params(**change).partial_fit(x)
    assert rbm.n_epochs_seen_ == 5
    with pytest.raises(ValueError, match=r"n_hidden=10: the machine has 9"):
        rbm.set_params(n_hidden=10).partial_fit(x)


def test_it_carries_the_names_of_features() -> None:
    names = RBM(n_hidden=3, visible="bernoulli", n_epochs=1, random_state=0).fit(bits()).get_feature_names_out()
    assert list(names) == ["rbm0", "rbm1", "rbm2"]


@pytest.mark.parametrize(
    ("parameter", "value", "message"),
    [
        ("n_hidden", 0, "n_hidden=0: expected 1 or more"),
        ("n_hidden", 2.0, "n_hidden=2.0: expected an integer"),
        ("visible", "poisson", "visible='poisson': expected one of 'gaussian', 'bernoulli'"),
        ("k", 0, "k=0: expected 1 or more"),
        ("k", 3000, "k=3000: expected at most 2047"),
        ("learning_rate", 0.0, "learning_rate=0.0: expected a number above 0"),
        ("learning_rate", float("nan"), "learning_rate=nan: expected a finite number"),
        ("batch_size", 0, "batch_size=0: expected 1 or more"),
        ("n_epochs", -1, "n_epochs=-1: expected 0 or more"),
        ("momentum", 1.0, "momentum=1.0: expected a number from 0 to below 1"),
        ("weight_decay", -0.1, "weight_decay=-0.1: expected 0 or more"),
        ("precision", "half", "precision='half': expected one of 'float32', 'mixed'"),
        ("workers", 0, "workers=0: expected 1 or more"),
    ],
)
def test_parameters_out_of_range_are_named(parameter: str, value: object, message: str) -> None:
    settings = {"visible": "bernoulli", parameter: value}
    with pytest.raises((ValueError, TypeError), match=message.replace("(", r"\(")):
        RBM(**settings).fit(bits())


def test_data_that_do_not_fit_are_refused() -> None:
    x = bits()
    rbm = RBM(n_hidden=3, visible="bernoulli", n_epochs=1, random_state=0)
    with pytest.raises(NotFittedError):
        rbm.transform(x)
    with pytest.raises(ValueError, match="NaN"):
        rbm.fit(np.where(np.arange(20) == 3, np.nan, x))
    with pytest.raises(ValueError, match="infinity"):
        RBM(n_hidden=3, n_epochs=1, random_state=0).fit(1e39 * x.astype(np.float64))
    with pytest.raises(ValueError, match=r"values from 0 to 1, these go from 0 to 7: scale them"):
        rbm.fit(7 * x)
    with pytest.raises(ValueError, match=r"0 sample"):
        rbm.fit(x[:0])
    with pytest.raises(ValueError, match=r"expecting 20 features"):
        rbm.fit(x).transform(x[:, :19])
    assert RBM(n_hidden=3, n_epochs=1, random_state=0).fit(x[:1]).transform(x).shape == (130, 3)


def test_learning_that_runs_away_is_an_error_and_no_nan() -> None:
    x = 1000.0 * np.random.default_rng(0).normal(size=(200, 10))
    with pytest.raises(
        ValueError, match=r"learning_rate=5.0: the weights left all bounds in epoch \d+; take a smaller"
    ):
        RBM(n_hidden=5, learning_rate=5.0, n_epochs=50, random_state=0).fit(x)
