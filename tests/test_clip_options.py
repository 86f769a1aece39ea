"""What a clip can be asked beside its limits: byte order, places, masks, weights, MAD, the map of what was rejected."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import tolerances
from astropy.io import fits
from astropy.stats import sigma_clip
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_oracle_clip import GAPS, cube

from starskope import _core
from starskope.frames.clip import Clipped, clip_series
from starskope.frames.stack import stack

METHODS = ("sigma_clip", "mean", "median")


def same(one: Clipped, two: Clipped) -> None:
    for name in ("mean", "std", "count", "median", "rejected"):
        a, b = getattr(one, name), getattr(two, name)
        assert (a is None) == (b is None), name
        assert a is None or a.tobytes() == b.tobytes(), name


@pytest.fixture(params=_core.available_isas())
def isa(request: pytest.FixtureRequest) -> Any:
    before = _core.isa()
    _core.use_isa(request.param)
    yield request.param
    _core.use_isa(before)


@pytest.mark.parametrize("n_time", [1, 2, 31, 128, 255, 256, 257, 300, 700])
@pytest.mark.parametrize("method", METHODS)
def test_big_endian_values_give_the_same_bytes_where_they_lie(isa: str, method: Any, n_time: int) -> None:
    for gaps in ("none", "some"):
        data = cube(n_time, 85, gaps)
        expected = clip_series(data, method=method, sigma=2.5, rejected=True)
        raw = b"x" + data.astype(">f4").tobytes()
        swapped = np.frombuffer(raw, np.uint8)[1:].view(">f4").reshape(data.shape)  # at an odd address, read only
        planes = [np.frombuffer(b"abc" + plane.astype(">f4").tobytes(), ">f4", offset=3) for plane in data]
        wide = np.full((n_time, 90), np.nan, ">f4")
        wide[:, 5:] = data
        for other in (swapped, planes, wide[:, 5:], list(data)):
            same(clip_series(other, method=method, sigma=2.5, rejected=True), expected)
        assert raw[1:] == data.astype(">f4").tobytes()


@pytest.mark.parametrize("n_time", [1, 3, 40, 128, 260, 641])
@pytest.mark.parametrize("method", METHODS)
def test_a_mask_is_the_same_as_missing_values(isa: str, method: Any, n_time: int) -> None:
    data = cube(n_time, 70, "some")
    mask = np.random.default_rng(n_time).random(data.shape) < 0.2
    mask[:, 3] = True
    holes = np.where(mask, np.float32(np.nan), data)
    for workers in (1, 3):
        same(
            clip_series(data, method=method, mask=mask, rejected=True, workers=workers),
            clip_series(holes, method=method, rejected=True),
        )


@pytest.mark.parametrize("n_time", [1, 2, 30, 128, 300])
@pytest.mark.parametrize("method", ["sigma_clip", "mean"])
@pytest.mark.parametrize("per_value", [False, True])
def test_weights_weigh_the_survivors_and_choose_none(isa: str, method: Any, n_time: int, per_value: bool) -> None:
    rng = np.random.default_rng(n_time)
    data = cube(n_time, 67, "some")
    weights = rng.uniform(0.1, 5.0, data.shape if per_value else n_time).astype(np.float32)
    weights[rng.random(weights.shape) < 0.1] = 0.0
    weights[rng.random(weights.shape) < 0.05] = np.nan
    full = weights if per_value else np.repeat(weights[:, None], 67, axis=1)
    usable = np.isfinite(full) & (full > 0)
    plain = reference.clip_series(
        np.where(usable, data, np.nan), max_iters=5 if method == "sigma_clip" else 0, sigma_low=3.0, sigma_high=3.0
    )
    got = clip_series(data, method=method, weights=weights, median=True, rejected=True)
    mean, std = reference.weighted(data, np.where(usable, full, 0.0), plain.keep)
    np.testing.assert_array_equal(got.count, plain.count)
    np.testing.assert_array_equal(got.rejected, np.isfinite(data) & usable & ~plain.keep)
    rtol = tolerances.rtol(np.float32, n_time)
    np.testing.assert_allclose(got.mean, mean, rtol=rtol)
    np.testing.assert_allclose(got.std, std, rtol=rtol, atol=600.0 * rtol)
    assert got.median is not None
    np.testing.assert_allclose(got.median, plain.median, rtol=rtol)


def test_equal_weights_change_nothing() -> None:
    data = cube(100, 33, "some")
    for weights in (np.full(100, 0.25), np.full(data.shape, 3.0)):
        got, plain = clip_series(data, weights=weights), clip_series(data)
        np.testing.assert_array_equal(got.count, plain.count)
        np.testing.assert_allclose(got.mean, plain.mean, rtol=1e-6)
        np.testing.assert_allclose(got.std, plain.std, rtol=1e-6)


@pytest.mark.parametrize("n_time", [1, 2, 3, 4, 5, 17, 128, 257, 1282])
@pytest.mark.parametrize("center", ["mean", "median"])
def test_mad_is_that_of_the_oracle(isa: str, center: Any, n_time: int) -> None:
    for gaps in GAPS:
        data = cube(n_time, 21, gaps)
        want = reference.clip_series(data, sigma_low=3.0, sigma_high=2.5, max_iters=5, center=center, scale="mad")
        got = clip_series(data, sigma=(3.0, 2.5), center=center, scale="mad", median=True, rejected=True)
        sure = want.margin > tolerances.clip_margin(n_time)
        assert sure.mean() > 0.85
        assert got.median is not None
        assert got.rejected is not None
        np.testing.assert_array_equal(got.count[sure], want.count[sure])
        np.testing.assert_allclose(got.median[sure], want.median[sure], rtol=1e-6)
        np.testing.assert_array_equal(got.rejected[:, sure], (np.isfinite(data) & ~want.keep)[:, sure])


def test_mad_is_that_of_astropy() -> None:
    data = cube(129, 40, "some")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        left = sigma_clip(data.astype(np.float64), sigma=3.0, maxiters=5, stdfunc="mad_std", axis=0)
    np.testing.assert_array_equal(clip_series(data, scale="mad").count, (~left.mask).sum(axis=0))


@pytest.mark.parametrize("n_time", [5, 128, 300])
@pytest.mark.parametrize("max_iters", [1, 5, None])
def test_the_map_of_what_was_rejected(n_time: int, max_iters: int | None) -> None:
    data = cube(n_time, 50, "inf")
    want = reference.clip_series(data, sigma_low=2.0, sigma_high=2.0, max_iters=max_iters)
    got = clip_series(data, sigma=2.0, max_iters=max_iters, rejected=True)
    sure = want.margin > tolerances.clip_margin(n_time)
    assert got.rejected is not None
    assert got.rejected.dtype == np.bool_
    np.testing.assert_array_equal(got.rejected[:, sure], (np.isfinite(data) & ~want.keep)[:, sure])
    np.testing.assert_array_equal(got.rejected.sum(axis=0) + got.count, np.isfinite(data).sum(axis=0))
    same(clip_series(data, sigma=2.0, max_iters=max_iters), Clipped(got.mean, got.std, got.count))
    np.testing.assert_allclose(got.variance, got.std.astype(np.float64) ** 2, rtol=1e-6)


LONG = st.sampled_from([256, 257, 300, 511, 1282])


@settings(max_examples=40, deadline=None)
@given(
    n_time=LONG,
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["integers", "two values", "steep", "far", "few", "shifted"]),
    sigma=st.sampled_from([0.5, 1.0, 2.0, 3.0]),
    center=st.sampled_from(["mean", "median"]),
)
def test_long_series_of_any_shape(n_time: int, seed: int, kind: str, sigma: float, center: str) -> None:
    rng = np.random.default_rng(seed)
    data = rng.normal(100.0, 3.0, (n_time, 18))
    if kind == "integers":
        data = np.rint(data / rng.choice([1.0, 3.0, 10.0]))
    elif kind == "two values":
        data = np.where(data < rng.normal(100.0, 4.0), 5.0, 6.0)
    elif kind == "steep":
        data = np.exp(rng.normal(0.0, 12.0, data.shape)) * np.where(rng.random(data.shape) < 0.5, -1.0, 1.0)
    elif kind == "far":
        data[rng.random(data.shape) < 0.4] += rng.choice([1e3, 1e20, -1e30])
    elif kind == "few":
        data[rng.random(data.shape) < rng.uniform(0.9, 1.0)] = np.nan
    else:
        data += np.linspace(0.0, 500.0, n_time)[:, None]
    data = data.astype(np.float32)
    got = clip_series(data, sigma=sigma, center=center, median=True)  # type: ignore[arg-type]
    want = reference.clip_series(data, sigma_low=sigma, sigma_high=sigma, max_iters=5, center=center)
    sure = want.margin > tolerances.clip_margin(n_time)
    np.testing.assert_array_equal(got.count[sure], want.count[sure])
    assert got.median is not None
    np.testing.assert_allclose(got.median[sure], want.median[sure], rtol=1e-6)
    plain = clip_series(data, method="median")
    np.testing.assert_array_equal(plain.median, reference.clip_series(data).median.astype(np.float32))
    for i in np.flatnonzero(sure & (want.count > 0)):
        largest = float(np.nanmax(np.where(np.isfinite(data[:, i]), np.abs(data[:, i]), 0.0)))
        assert math.isclose(got.mean[i], want.mean[i], rel_tol=0.0, abs_tol=tolerances.atol_mean(n_time, largest))


@pytest.mark.parametrize("n_time", [1282, 3198, 11_775])
@pytest.mark.parametrize("center", ["mean", "median"])
def test_the_lengths_of_sectors(isa: str, n_time: int, center: Any) -> None:
    for gaps in ("none", "some", "many"):
        data = cube(n_time, 19, gaps)
        got = clip_series(data, center=center, median=True)
        want = reference.clip_series(data, sigma_low=3.0, sigma_high=3.0, max_iters=5, center=center)
        sure = want.margin > tolerances.clip_margin(n_time)
        assert got.median is not None
        np.testing.assert_array_equal(got.count[sure], want.count[sure])
        np.testing.assert_array_equal(got.median[sure], want.median[sure].astype(np.float32))
        np.testing.assert_allclose(got.mean[sure], want.mean[sure], rtol=1e-6)
        np.testing.assert_allclose(got.std[sure], want.std[sure], rtol=1e-6)


def test_stacks_take_what_a_clip_takes(tmp_path: Path) -> None:
    frames = cube(12, 77, "some").reshape(12, 7, 11)
    rng = np.random.default_rng(2)
    mask, weights = rng.random(frames.shape) < 0.2, rng.uniform(0.5, 2.0, 12)
    expected = clip_series(frames, sigma=(2.0, 2.5), scale="mad", mask=mask, weights=weights, rejected=True)
    paths = []
    for index, plane in enumerate(frames):
        paths.append(tmp_path / f"{index:02d}.fits")
        fits.PrimaryHDU(plane).writeto(paths[-1])
    options: dict[str, Any] = {"scale": "mad", "mask": mask, "weights": weights, "rejected": True}
    for source in (frames, frames.astype(">f4"), paths):
        made = stack(source, sigma=2.0, sigma_high=2.5, max_bytes=1500, **options)
        np.testing.assert_array_equal(made.image, expected.mean)
        np.testing.assert_array_equal(made.count, expected.count)
        np.testing.assert_array_equal(made.rejected, expected.rejected)
        assert made.meta["scale"] == "mad"
    broken = tmp_path / "broken.fits"
    broken.write_bytes(b"no file")
    with_hole = [*paths[:3], broken, *paths[3:]]
    made = stack(
        with_hole,
        sigma=2.0,
        sigma_high=2.5,
        on_error="skip",
        scale="mad",
        mask=np.insert(mask, 3, True, axis=0),
        weights=np.insert(weights, 3, 99.0),
    )
    np.testing.assert_array_equal(made.image, expected.mean)


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"scale": "iqr"}, ValueError, "scale='iqr': expected one of 'std', 'mad'"),
        ({"mask": np.zeros((5, 3), bool)}, ValueError, r"mask: expected bool of shape \(5, 4\)"),
        ({"mask": np.zeros((5, 4))}, ValueError, "mask: expected bool"),
        ({"weights": np.ones(4)}, ValueError, r"weights: expected shape \(5,\) or \(5, 4\)"),
        ({"weights": -np.ones(5)}, ValueError, "weights: expected none below 0"),
        ({"weights": "heavy"}, TypeError, "weights: expected an array of real numbers"),
    ],
)
def test_other_options_are_refused(asked: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        clip_series(np.ones((5, 4), np.float32), **asked)


def test_options_of_single_frames_are_refused_where_frames_are_not_held() -> None:
    frames = np.ones((5, 4, 3), np.float32)
    with pytest.raises(ValueError, match="mask, rejected: expected no block_frames"):
        stack(frames, block_frames=2, mask=np.zeros(frames.shape, bool), rejected=True)
    with pytest.raises(ValueError, match="weights: expected files or an array, got a stream"):
        stack(["s3://bucket/a.fits"], weights=[1.0])
    with pytest.raises(ValueError, match=r"mask: expected shape \(5, 4, 3\)"):
        stack(frames, mask=np.zeros((5, 4), bool))


def test_the_core_refuses_rows_that_do_not_fit() -> None:
    out = np.empty(3, np.float32)
    good: dict[str, Any] = {"sigma_low": 3.0, "sigma_high": 3.0, "max_iters": 5, "center": "median", "mean": out}
    row = np.ones(3, np.float32)
    with pytest.raises(ValueError, match="row 1 has 4 values, the others 3"):
        _core.clip([row, np.ones(4, np.float32)], **good)
    with pytest.raises(ValueError, match="one byte order"):
        _core.clip([row, row.astype(">f4")], **good)
    with pytest.raises(ValueError, match="contiguous"):
        _core.clip([np.ones(6, np.float32)[::2]], **good)
    with pytest.raises(TypeError, match="a list of arrays"):
        _core.clip("row", **good)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mask: is 1 x 3, expected 2 x 3"):
        _core.clip([row, row], **good, mask=np.zeros((1, 3), np.uint8))
    with pytest.raises(ValueError, match="rejected"):
        _core.clip([row, row], **good, rejected=np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match="frame_weight"):
        _core.clip([row, row], **good, frame_weight=np.ones(3, np.float32))
    _core.clip([], **{**good, "mean": out[:0]})


def test_no_frames_give_no_data() -> None:
    got: NDArray[Any] = clip_series(np.empty((0, 4), ">f4"), rejected=True).count
    np.testing.assert_array_equal(got, 0)
