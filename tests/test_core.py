"""The compiled core at its Python boundary: what it refuses, threads, and the GIL. The numbers: test_oracle_*.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from starskope import _core

CLIP: dict[str, Any] = {"sigma_low": 3.0, "sigma_high": 3.0, "max_iters": 5, "center": "median"}


def clipped(data: NDArray[np.float32], **changes: Any) -> dict[str, NDArray[Any]]:
    n = data.shape[1]
    out: dict[str, NDArray[Any]] = {name: np.empty(n, np.float32) for name in ("mean", "median", "std")}
    out["count"] = np.empty(n, np.int32)
    _core.clip(data, **{**CLIP, **out, **changes})
    return out


def same(a: dict[str, NDArray[Any]], b: dict[str, NDArray[Any]]) -> bool:
    return all(a[name].tobytes() == b[name].tobytes() for name in a)


@pytest.fixture
def data() -> NDArray[np.float32]:
    rng = np.random.default_rng(4)
    values = rng.normal(100.0, 5.0, (60, 500)).astype(np.float32)
    values[rng.random(values.shape) < 0.02] += 500.0
    values[rng.random(values.shape) < 0.02] = np.nan
    return values


def test_the_build_describes_itself() -> None:
    info = _core.build_info()
    assert set(info) == {"version", "compiler", "build_type", "flags", "isas"}
    assert _core.isa() in _core.available_isas()
    assert set(_core.available_isas()) <= set(info["isas"].split())
    assert "-ffast-math" not in info["flags"]


def test_a_range_of_columns_is_taken_as_it_is(data: NDArray[np.float32]) -> None:
    assert same(clipped(data[:, 100:237]), clipped(np.ascontiguousarray(data[:, 100:237])))
    assert same(clipped(data[5:40]), clipped(data[5:40].copy()))


def test_the_input_is_not_written(data: NDArray[np.float32]) -> None:
    before = data.tobytes()
    data.flags.writeable = False
    clipped(data)
    assert data.tobytes() == before


def test_outputs_are_optional(data: NDArray[np.float32]) -> None:
    everything = clipped(data)
    for name in everything:
        alone = np.empty_like(everything[name])
        _core.clip(data, **CLIP, **{name: alone})
        assert alone.tobytes() == everything[name].tobytes()
    _core.clip(data, **CLIP)


def test_no_times_and_no_series() -> None:
    nothing = clipped(np.empty((0, 3), np.float32))
    assert np.isnan(nothing["mean"]).all()
    assert np.isnan(nothing["std"]).all()
    assert (nothing["count"] == 0).all()
    assert clipped(np.empty((3, 0), np.float32))["mean"].shape == (0,)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ([[1.0]], TypeError, "data: expected arrays of float32 with 1 axis, .* got list"),
        (1.0, TypeError, "data: expected an array of float32 with 2 axes, or a list of arrays with 1, got float"),
        (np.zeros((3, 4)), ValueError, "got one of float64, shape"),
        (np.zeros(4, np.float32), ValueError, "2 axes"),
        (np.zeros((3, 4, 1), np.float32), ValueError, "2 axes"),
        (np.zeros((3, 8), np.float32)[:, ::2], ValueError, "contiguous rows"),
        (np.zeros((4, 3), np.float32).T, ValueError, "contiguous rows"),
    ],
)
def test_other_blocks_are_refused(value: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        _core.clip(value, **CLIP)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"mean": np.empty(4, np.float32)}, ValueError, "mean: has 4 elements, expected 500"),
        ({"mean": np.empty(500)}, ValueError, "mean: expected an array of float32"),
        (
            {"count": np.empty(500, np.int64)},
            ValueError,
            "count: expected an array of int32 with 1 axis in native byte order, got one of int64",
        ),
        ({"std": np.empty(1000, np.float32)[::2]}, ValueError, "std: expected contiguous"),
        ({"median": np.broadcast_to(np.float32(0), 500)}, ValueError, "median: expected .* writable"),
        ({"sigma_low": 0.0}, ValueError, "sigma_low=0"),
        ({"sigma_high": float("nan")}, ValueError, "sigma_high=nan"),
        ({"max_iters": -2}, ValueError, "max_iters=-2"),
        ({"center": "mode"}, ValueError, "center='mode': expected 'mean' or 'median'"),
    ],
)
def test_other_settings_are_refused(
    data: NDArray[np.float32], changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        clipped(data, **changes)


def test_eight_threads_at_once_give_the_bytes_of_one(data: NDArray[np.float32]) -> None:
    image = np.nan_to_num(data)
    n = 333
    rng = np.random.default_rng(1)
    row, column, radius = rng.uniform(0, 60, n), rng.uniform(0, 500, n), rng.uniform(0.5, 6, n)
    raw = image.astype(">f4").tobytes()

    def everything(_: int) -> tuple[bytes, ...]:
        out = clipped(data)
        total, area, bad = np.empty(n), np.empty(n), np.empty(n, np.int32)
        _core.aperture_sums(image, row, column, radius, total, area, bad)
        plane = np.empty_like(image)
        _core.decode_plane(raw, 0, plane)
        return (*(array.tobytes() for array in out.values()), total.tobytes(), area.tobytes(), plane.tobytes())

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(everything, range(24)))
    assert set(results) == {everything(0)}


def _long_calls() -> dict[str, Callable[[], None]]:
    rng = np.random.default_rng(2)
    block = rng.normal(0.0, 1.0, (2000, 4000)).astype(np.float32)
    image = rng.normal(0.0, 1.0, (600, 600)).astype(np.float32)
    n = 200_000
    where, radius = rng.uniform(50, 550, n), np.full(n, 5.0)
    sums = np.empty(n), np.empty(n), np.empty(n, np.int32)
    raw, plane = bytes(200_000_000), np.empty((5000, 10_000), np.float32)
    return {
        "clip": lambda: _core.clip(block, **CLIP, mean=np.empty(4000, np.float32)),
        "aperture_sums": lambda: _core.aperture_sums(image, where, where, radius, *sums),
        "decode_plane": lambda: _core.decode_plane(raw, 0, plane),
    }


@pytest.mark.parametrize("name", ["clip", "aperture_sums", "decode_plane"])
def test_the_gil_is_released(name: str) -> None:
    call = _long_calls()[name]
    inside = threading.Event()
    ticks: list[int] = []

    def work() -> None:
        inside.set()
        call()
        ticks.append(-1)

    worker = threading.Thread(target=work)
    worker.start()
    inside.wait(20)
    while worker.is_alive() and len(ticks) < 1000:
        ticks.append(1)
        time.sleep(0.0002)
    worker.join()
    # With the GIL held this loop would have stood still until the call had ended.
    assert ticks.index(-1) > 10
