"""Moments that grow by frames: any partition, order and number of workers, gaps, byte orders, merging."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_oracle_clip import cube

import starskope as sk
from starskope import _core
from starskope.frames.moments import Moments


def exact(data: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    x = np.where(np.isfinite(data), data, np.nan).astype(np.longdouble)
    count = np.isfinite(data).sum(axis=0)
    mean = np.nansum(x, axis=0) / np.where(count > 0, count, np.nan)
    return (
        count,
        mean.astype(float),
        (np.nansum((x - mean) ** 2, axis=0) / np.where(count > 0, count, np.nan)).astype(float),
    )


def agree(made: Moments, data: NDArray[Any]) -> None:
    count, mean, variance = exact(data)
    np.testing.assert_array_equal(made.count, count)
    largest = float(np.abs(np.where(np.isfinite(data), data, 0.0)).max(initial=1e-30))
    np.testing.assert_allclose(made.mean, mean, rtol=0, atol=1e-14 * largest * max(1.0, len(data) ** 0.5))
    np.testing.assert_allclose(made.variance, variance, rtol=1e-10, atol=1e-13 * largest**2)
    np.testing.assert_array_equal(made.std, np.sqrt(made.variance))


@pytest.mark.parametrize("isa", _core.available_isas())
@pytest.mark.parametrize("n_series", [1, 7, 16, 17, 511, 512, 513, 1200])
def test_moments_are_the_exact_ones(isa: str, n_series: int) -> None:
    before = _core.isa()
    _core.use_isa(isa)
    try:
        for gaps, block in itertools.product(("none", "some", "many", "all", "inf"), (1, 3, 8, 40)):
            data = cube(40, n_series, gaps, offset=1e4)
            made = Moments((n_series,))
            for first in range(0, 40, block):
                made.add(data[first : first + block])
            agree(made, data)
    finally:
        _core.use_isa(before)


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 59), max_size=6, unique=True),
    order=st.randoms(use_true_random=False),
    gaps=st.sampled_from(["none", "some", "many"]),
    offset=st.sampled_from([0.0, 150.0, -1e6]),
)
def test_any_partition_in_any_order_merges_to_the_whole(cuts: list[int], order: Any, gaps: str, offset: float) -> None:
    data = cube(60, 21, gaps, offset=offset)
    edges = [0, *sorted(cuts), 60]
    parts = []
    for first, last in itertools.pairwise(edges):
        parts.append(Moments((21,)))
        parts[-1].add(data[first:last])
    order.shuffle(parts)
    whole = Moments((21,))
    for part in parts:
        whole.merge(part)
    agree(whole, data)


def test_byte_order_place_masks_and_workers_change_no_byte() -> None:
    data = cube(33, 9000, "some").reshape(33, 90, 100)
    expected = sk.Moments((90, 100))
    expected.add(data)
    mask = ~np.isfinite(data)
    for frames, options in (
        (data.astype(">f4"), {}),
        (list(data.astype(">f4")), {"workers": 3}),
        (np.where(mask, np.float32(7.0), data), {"mask": mask, "workers": 2}),
        (data.astype(np.float64), {"workers": -1}),
    ):
        made = sk.Moments((90, 100))
        made.add(frames, **options)
        for name in ("count", "mean", "variance"):
            assert getattr(made, name).tobytes() == getattr(expected, name).tobytes(), name


def test_an_outlier_that_comes_first_costs_no_digits() -> None:
    data = np.random.default_rng(5).normal(1.0, 1e-3, (300, 20)).astype(np.float32)
    data[0] = 1e4
    made = Moments((20,))
    for first in range(0, 300, 7):
        made.add(data[first : first + 7])
    agree(made, data)


def test_merging_with_itself_and_with_nothing() -> None:
    data = cube(9, 5)
    made = Moments((5,))
    made.add(data)
    mean, variance = made.mean, made.variance
    made.merge(Moments((5,)))
    made.merge(made)
    np.testing.assert_array_equal(made.count, 18)
    np.testing.assert_allclose(made.mean, mean, rtol=1e-15)
    np.testing.assert_allclose(made.variance, variance, rtol=1e-14)
    assert "18 values" in repr(made)


def test_nothing_added_is_no_data() -> None:
    made = Moments((2, 3))
    made.add(np.empty((0, 2, 3), np.float32))
    assert np.isnan(made.mean).all()
    assert np.isnan(made.std).all()
    assert (made.count == 0).all()


def test_other_shapes_are_refused() -> None:
    made = Moments((2, 3))
    with pytest.raises(ValueError, match=r"expected \(n_time, ...\) of frames of shape \(2, 3\).*add frame\[None\]"):
        made.add(np.ones((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"got \(3, 2\)"):
        made.add(np.ones((4, 3, 2), np.float32))
    with pytest.raises(ValueError, match="expected moments of frames of shape"):
        made.merge(Moments((6,)))
    with pytest.raises(TypeError, match="expected Moments, got int"):
        made.merge(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mask: expected bool"):
        made.add(np.ones((1, 2, 3)), mask=np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match="squares"):
        _core.add_frames(np.ones((1, 3), np.float32), np.zeros(3), np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match="mean"):
        _core.merge_moments(np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(2), np.zeros(3))
