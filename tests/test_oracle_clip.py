"""The clip, median and mean kernels against the float64 oracle: sizes, gaps, ties, ranges and memory layouts."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import reference
import tolerances
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from starskope import _core

# Lanes are 4, 8 or 16 wide and tiles 64 to 256 series: one below, at and above each, and sizes that divide nothing.
N_SERIES = (1, 15, 16, 17, 63, 64, 65, 257)
N_TIME = (1, 2, 3, 5, 31, 32, 33, 100, 128, 129, 300)
GAPS = ("none", "some", "many", "all", "inf")


def cube(
    n_time: int, n_series: int, gaps: str = "none", offset: float = 150.0, scale: float = 12.0, seed: int = 0
) -> NDArray[np.float32]:
    """Frames of noise with cosmic rays, and the given kind of missing values."""
    rng = np.random.default_rng([n_time, n_series, GAPS.index(gaps), seed])
    data = rng.normal(offset, scale, size=(n_time, n_series))
    data[rng.random(data.shape) < 0.03] += 40.0 * scale
    if gaps in {"some", "inf"}:
        data[rng.random(data.shape) < 0.1] = np.nan
    if gaps == "many":
        data[rng.random(data.shape) < 0.9] = np.nan
    if gaps == "all":
        data[:, ::2] = np.nan
    if gaps == "inf":
        data[rng.random(data.shape) < 0.05] = np.inf
        data[rng.random(data.shape) < 0.05] = -np.inf
    return data.astype(np.float32)


def kernel(data: NDArray[np.float32], **settings: Any) -> dict[str, NDArray[Any]]:
    """Run the core on a time-major array and return all that it can tell."""
    n_series = data.shape[1]
    out: dict[str, NDArray[Any]] = {name: np.full(n_series, -7.0, np.float32) for name in ("mean", "median", "std")}
    out["count"] = np.full(n_series, -7, np.int32)
    outputs: dict[str, Any] = out
    _core.clip(data, **settings, **outputs)
    return out


def agree(
    data: NDArray[np.float32],
    *,
    sigma: tuple[float, float] = (3.0, 3.0),
    max_iters: int = 5,
    center: str = "median",
) -> int:
    """Assert that the kernel answers like the oracle; count the series that were too close to call."""
    got = kernel(data, sigma_low=sigma[0], sigma_high=sigma[1], max_iters=max_iters, center=center)
    want = reference.clip_series(
        data, sigma_low=sigma[0], sigma_high=sigma[1], max_iters=None if max_iters < 0 else max_iters, center=center
    )
    n_time = max(data.shape[0], 1)
    sure = want.margin > tolerances.clip_margin(n_time)
    np.testing.assert_array_equal(got["count"][sure], want.count[sure])
    for name in ("mean", "median", "std"):
        assert np.isnan(got[name][want.count == 0]).all()
    largest = np.where(np.isfinite(data), np.abs(data), 0.0).max(axis=0, initial=0.0)
    for i in np.flatnonzero(sure & (want.count > 0)):
        scale, std = float(largest[i]), float(want.std[i])
        mean_atol = tolerances.atol_mean(n_time, scale)
        median_atol = 0.0 if want.count[i] % 2 else tolerances.atol_mean(2, scale)
        for name, atol in (
            ("mean", mean_atol),
            ("median", median_atol),
            ("std", tolerances.atol_std(n_time, scale, std)),
        ):
            expected = float(getattr(want, name)[i])
            assert math.isclose(got[name][i], expected, rel_tol=0.0, abs_tol=atol), (i, name, scale, std)
    return int((~sure).sum())


@pytest.mark.parametrize("max_iters", [0, 5])
@pytest.mark.parametrize("n_series", N_SERIES)
def test_every_number_of_series(max_iters: int, n_series: int) -> None:
    for gaps in GAPS:
        assert agree(cube(33, n_series, gaps), max_iters=max_iters) <= 0.02 * n_series


@pytest.mark.parametrize("max_iters", [0, 5])
@pytest.mark.parametrize("n_time", N_TIME)
def test_every_number_of_frames(max_iters: int, n_time: int) -> None:
    for gaps in GAPS:
        assert agree(cube(n_time, 67, gaps), max_iters=max_iters) <= 2


@pytest.mark.parametrize("center", ["mean", "median"])
@pytest.mark.parametrize("sigma", [(3.0, 3.0), (1.5, 1.5), (1.0, 4.0), (4.0, 1.0), (math.inf, 2.0)])
@pytest.mark.parametrize("max_iters", [0, 1, 2, 50, -1])
def test_clip_settings(center: str, sigma: tuple[float, float], max_iters: int) -> None:
    for n_time, gaps in itertools.product((5, 100), GAPS):
        agree(cube(n_time, 47, gaps, seed=1), sigma=sigma, max_iters=max_iters, center=center)


@pytest.mark.parametrize("center", ["mean", "median"])
def test_ties(center: str) -> None:
    rng = np.random.default_rng(4)
    data = rng.integers(0, 4, size=(129, 200)).astype(np.float32)
    data[rng.random(data.shape) < 0.02] = 40.0
    for max_iters in (0, 5):
        assert agree(data, max_iters=max_iters, center=center) == 0


@pytest.mark.parametrize("max_iters", [0, 5])
def test_huge_dynamic_range_on_a_large_offset(max_iters: int) -> None:
    rng = np.random.default_rng(8)
    scales = np.geomspace(1e-3, 1e6, 120)
    data = (1e5 + rng.normal(size=(100, 120)) * scales).astype(np.float32)
    agree(data, max_iters=max_iters)


@pytest.mark.parametrize("max_iters", [0, 5])
@pytest.mark.parametrize("magnitude", [1e-38, 1e-20, 1e18, 1e37])
def test_squares_that_leave_float32_do_not_spoil_the_answer(max_iters: int, magnitude: float) -> None:
    data = (np.random.default_rng(1).normal(3.0, 1.0, size=(31, 40)) * magnitude).astype(np.float32)
    agree(data, max_iters=max_iters)


values = st.one_of(
    st.floats(-1e6, 1e6, width=32), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, 1e30, -1e30, 1e-40])
)


@settings(max_examples=150, deadline=None)
@given(
    data=hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 20)), elements=values),
    max_iters=st.sampled_from([0, 1, 5, -1]),
    sigma=st.sampled_from([1.0, 2.0, 3.0]),
    center=st.sampled_from(["mean", "median"]),
)
def test_any_values(data: NDArray[np.float32], max_iters: int, sigma: float, center: str) -> None:
    agree(data, sigma=(sigma, sigma), max_iters=max_iters, center=center)
