"""What the box search refuses, at the Python boundary and in the core."""

from __future__ import annotations

import threading
import time as clock
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from starskope import _core
from starskope.search.box import BoxSearch, box_periodogram

N_TIME, N_STAR = 40, 5
TIME = np.arange(float(N_TIME))
FLUX = np.random.default_rng(0).normal(1.0, 0.1, (N_TIME, N_STAR)).astype(np.float32)


def error(value: float, at: tuple[int, int] = (3, 2)) -> Any:
    errors = np.ones((N_TIME, N_STAR), np.float32)
    errors[at] = value
    return errors


@pytest.mark.parametrize(
    ("changes", "exception", "words"),
    [
        ({"time": TIME[::-1]}, ValueError, r"time\[1\] = 38.0 follows 39.0: sort"),
        ({"time": np.where(TIME == 7, 6.0, TIME)}, ValueError, r"time\[7\] = 6.0 repeats"),
        ({"time": np.where(TIME == 7, np.nan, TIME)}, ValueError, r"time\[7\] is nan"),
        ({"time": TIME[:-1]}, ValueError, r"flux has shape \(40, 5\); expected \(39, n_star\)"),
        ({"flux": FLUX[:, 0]}, ValueError, "flux: expected 2 axes"),
        ({"flux": FLUX.astype(complex)}, TypeError, "flux: expected an array of real numbers"),
        ({"flux_err": error(0.0)}, ValueError, r"flux_err\[3, 2\] = 0.0: errors are above 0; NaN leaves a point out"),
        ({"flux_err": error(-1.0)}, ValueError, r"flux_err\[3, 2\] = -1.0"),
        ({"flux_err": np.zeros(N_TIME)}, ValueError, r"flux_err\[0, 0\] = 0.0"),
        (
            {"flux_err": np.ones(N_STAR)},
            ValueError,
            r"flux_err has shape \(5,\); expected \(40, 5\), \(40,\) or \(1, 5\)",
        ),
        ({"flux_err": np.ones((2, N_STAR))}, ValueError, "flux_err has shape"),
        ({"flux_err": np.ones((1, 1, 1))}, ValueError, "flux_err: expected 1 or 2 axes"),
        ({"durations": []}, ValueError, "durations=.*one or more, in days, above 0 and increasing"),
        ({"durations": [0.0, 1.0]}, ValueError, "durations"),
        ({"durations": [2.0, 1.0]}, ValueError, "durations"),
        ({"durations": [1.0, np.inf]}, ValueError, "durations"),
        ({"durations": [1.0, np.nan]}, ValueError, "durations"),
        ({"oversample": 0}, ValueError, "oversample=0"),
        ({"oversample": 2.5}, TypeError, "oversample=2.5"),
        ({"objective": "power"}, ValueError, "objective='power': expected one of 'snr', 'likelihood'"),
        ({"max_duty_cycle": 0.0}, ValueError, "max_duty_cycle=0.0"),
        ({"periods": [5.0, 0.0]}, ValueError, r"periods\[1\]=0.0: expected days above 0"),
        ({"periods": [5.0, -2.0]}, ValueError, r"periods\[1\]=-2.0"),
        ({"periods": [np.nan]}, ValueError, r"periods\[0\]=nan"),
        ({"periods": [[5.0]]}, ValueError, "periods: expected 1 axes"),
        ({"periods": [1e9]}, ValueError, "period.*bins"),
        ({"workers": 0}, ValueError, "workers=0"),
    ],
)
def test_wrong_use_is_named(changes: dict[str, Any], exception: type[Exception], words: str) -> None:
    settings: dict[str, Any] = {"time": TIME, "flux": FLUX, "flux_err": None, "periods": [9.0], "durations": [1.0]}
    with pytest.raises(exception, match=words):
        box_periodogram(**{**settings, **changes})


def run(search: Any, **changes: Any) -> None:
    settings: dict[str, Any] = {
        "period": np.array([5.0, 6.0]),
        "duration": np.array([1.0, 2.0]),
        "oversample": 2,
        "first": np.zeros(2, np.int32),
        "last": np.full(2, 2, np.int32),
        "likelihood": False,
        "power": np.empty((2, N_STAR), np.float32),
        **changes,
    }
    search.run(settings.pop("period"), **settings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"period": np.array([5.0, np.inf])}, r"period\[1\]=inf"),
        ({"period": np.array([5.0, -1.0])}, r"period\[1\]=-1"),
        ({"duration": np.array([2.0, 2.0])}, r"duration\[1\]=2"),
        ({"duration": np.array([1.0, np.nan])}, r"duration\[1\]=nan"),
        ({"duration": np.array([1.0, 2.0], np.float32)}, "duration: expected an array of float64"),
        ({"oversample": 0}, "oversample=0"),
        ({"first": np.array([0, -1], np.int32)}, r"first\[1\]=-1"),
        ({"last": np.array([3, 2], np.int32)}, r"last\[0\]=3: expected a range of 2 durations"),
        ({"last": np.zeros(3, np.int32)}, "last: has 3 elements, expected 2"),
        ({"power": np.empty((2, N_STAR + 1), np.float32)}, "power: 2 x 6 elements, expected 2 periods x 5 series"),
        ({"inverted": np.empty((3, N_STAR), np.float32)}, "inverted: 3 x 5 elements"),
        ({"index": np.empty((2, N_STAR), np.int64)}, "index: expected an array of int32"),
        ({"depth": np.empty((N_STAR, 2), np.float32).T}, "depth: expected contiguous rows"),
    ],
)
def test_the_core_refuses_what_does_not_fit(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        run(_core.BoxSearch(TIME, FLUX), **changes)


@pytest.mark.parametrize(
    ("time", "errors", "words"),
    [
        (TIME[::-1].copy(), None, r"time\[1\]=38"),
        (TIME[:-1], None, "time: has 39 elements, expected 40"),
        (TIME, error(0.0), r"error\[3\]=0.000000 of series 2"),
        (TIME, np.ones((2, N_STAR), np.float32), "error: 2 x 5 elements"),
        (TIME, np.ones((N_TIME, 2), np.float32), "error: 40 x 2 elements"),
    ],
)
def test_the_core_refuses_other_stars(time: Any, errors: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        _core.BoxSearch(time, FLUX, errors)


def test_a_range_of_durations_may_be_empty() -> None:
    power = np.zeros((2, N_STAR), np.float32)
    run(_core.BoxSearch(TIME, FLUX), last=np.array([0, 2], np.int32), power=power)
    assert np.isnan(power[0]).all()
    assert np.isfinite(power[1]).all()


def test_results_are_views_of_wider_arrays() -> None:
    wide = np.full((2, 20), 7.0, np.float32)
    run(_core.BoxSearch(TIME, FLUX), power=wide[:, 3 : 3 + N_STAR])
    alone = np.empty((2, N_STAR), np.float32)
    run(_core.BoxSearch(TIME, FLUX), power=alone)
    np.testing.assert_array_equal(wide[:, 3 : 3 + N_STAR], alone)
    assert (wide[:, :3] == 7.0).all()
    assert (wide[:, 3 + N_STAR :] == 7.0).all()


def test_a_prepared_search_keeps_its_stars() -> None:
    flux = FLUX.copy()
    search = BoxSearch(TIME, flux, durations=[1.0])
    before = search.periodogram([9.0]).power
    flux[:] = 0.0
    np.testing.assert_array_equal(search.periodogram([9.0]).power, before)
    np.testing.assert_array_equal(search.weight, np.full(N_STAR, N_TIME))


def test_eight_threads_at_one_search_give_the_bytes_of_one() -> None:
    search = BoxSearch(TIME, FLUX, durations=[1.0, 2.0])
    periods = np.linspace(4.0, 20.0, 200)

    def power(_: int) -> bytes:
        return search.periodogram(periods, inverted=True).power.tobytes()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(power, range(24))) == {power(0)}


def test_the_gil_is_released() -> None:
    rng = np.random.default_rng(1)
    time = np.arange(4000.0)
    search = _core.BoxSearch(time, rng.normal(size=(4000, 64)).astype(np.float32))
    n = 4000
    power = np.empty((n, 64), np.float32)
    inside, ticks = threading.Event(), [0]

    def work() -> None:
        inside.set()
        first, last = np.zeros(n, np.int32), np.full(n, 2, np.int32)
        run(search, period=np.linspace(30.0, 900.0, n), first=first, last=last, power=power)
        ticks.append(-1)

    worker = threading.Thread(target=work)
    worker.start()
    inside.wait(20)
    while worker.is_alive() and len(ticks) < 1000:
        ticks.append(1)
        clock.sleep(0.0002)
    worker.join()
    # With the GIL held this loop would have stood still until the call had ended.
    assert ticks.index(-1) > 10
