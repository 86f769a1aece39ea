"""`clip_series`, the public form of the kernel: memory layouts, types, settings and symmetries."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tolerances
from numpy.typing import NDArray
from test_oracle_clip import GAPS, cube, kernel

from starskope.frames.clip import Clipped, clip_series

METHODS = ("mean", "median", "sigma_clip")


def value(clipped: Clipped, method: str) -> NDArray[np.float32]:
    """Give what a method is named for."""
    if method == "median":
        assert clipped.median is not None
        return clipped.median
    return clipped.mean


@pytest.mark.parametrize("center", ["mean", "median"])
@pytest.mark.parametrize("gaps", GAPS)
def test_the_public_function_is_the_kernel(center: str, gaps: str) -> None:
    data = cube(40, 6 * 23, gaps)
    settings = {"sigma": 2.5, "max_iters": 4, "center": center, "workers": 1}
    clipped = clip_series(data.reshape(40, 6, 23), method="sigma_clip", **settings)
    want = kernel(data, sigma_low=2.5, sigma_high=2.5, max_iters=4, center=center)
    assert clipped.mean.shape == clipped.std.shape == clipped.count.shape == (6, 23)
    assert clipped.mean.dtype == clipped.std.dtype == np.float32
    assert clipped.mean.tobytes() == want["mean"].tobytes()
    assert clipped.std.tobytes() == want["std"].tobytes()
    assert clipped.count.tobytes() == want["count"].tobytes()
    plain = kernel(data, sigma_low=math.inf, sigma_high=math.inf, max_iters=0, center="mean")
    for method in ("mean", "median"):
        got = clip_series(data, method=method, **settings)
        assert value(got, method).tobytes() == plain[method].tobytes()
        assert got.std.tobytes() == plain["std"].tobytes()
        assert got.count.tobytes() == plain["count"].tobytes()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(5, 0), (5, 0, 7), (5, 3, 0)])
def test_no_series_gives_empty_planes(method: str, shape: tuple[int, ...]) -> None:
    got = clip_series(np.empty(shape, np.float32), method=method, workers=1)
    assert got.mean.shape == got.std.shape == got.count.shape == shape[1:]


@pytest.mark.parametrize("method", METHODS)
def test_no_frames_is_the_callers_mistake_or_all_missing(method: str) -> None:
    try:
        got = clip_series(np.empty((0, 17), np.float32), method=method, workers=1)
    except ValueError as error:
        assert "0" in str(error) or "no frames" in str(error)  # noqa: PT017 - either is a right answer
    else:
        assert np.isnan(value(got, method)).all()
        assert (got.count == 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, -1e5, 123456.789, 1e-30, 3e30])
def test_a_constant_stays_whole(method: str, constant: float) -> None:
    data = np.full((100, 33), constant, np.float32)
    got = clip_series(data, method=method, sigma=3.0, max_iters=5, center="median", workers=1)
    assert (got.count == 100).all()
    np.testing.assert_array_equal(value(got, method), data[0])
    np.testing.assert_allclose(got.std, 0.0, atol=tolerances.rtol(np.float32, 100) * abs(constant))


@pytest.mark.parametrize("center", ["mean", "median"])
def test_a_value_on_the_bound_is_kept(center: str) -> None:
    data = np.tile(np.array([[-1.0], [1.0]], np.float32), (16, 20))
    got = clip_series(data, method="sigma_clip", sigma=1.0, max_iters=5, center=center, workers=1)
    assert (got.count == 32).all()
    assert (got.std == 1.0).all()


def test_signed_zero_and_subnormals() -> None:
    tiny = np.float32(1e-45)
    data = np.array([[0.0, tiny, -0.0], [-0.0, 3 * tiny, 0.0], [0.0, 2 * tiny, -0.0]], np.float32)
    got = clip_series(data, method="median", workers=1)
    np.testing.assert_array_equal(value(got, "median"), [0.0, 2 * tiny, 0.0])


@pytest.mark.parametrize("method", METHODS)
def test_memory_layouts_give_the_same_bytes(method: str) -> None:
    plain = cube(37, 131, "some")
    want = clip_series(plain, method=method, workers=1)
    unaligned_bytes = np.empty(plain.nbytes + 1, np.uint8)
    unaligned = unaligned_bytes[1:].view(np.float32).reshape(plain.shape)
    unaligned[...] = plain
    assert not unaligned.flags.aligned
    wide = np.full((74, 400), np.nan, np.float32)
    strided = wide[::2, 5 : 5 + 3 * 131 : 3]
    strided[...] = plain
    rows = wide[:37, 7 : 7 + 131]
    fortran = np.asfortranarray(plain)
    reversed_twice = plain[::-1, ::-1].copy()[::-1, ::-1]
    read_only = plain.copy()
    read_only.flags.writeable = False
    layouts = {"unaligned": unaligned, "strided": strided, "fortran": fortran, "reversed": reversed_twice}
    for name, layout in {**layouts, "read-only": read_only}.items():
        np.testing.assert_array_equal(layout, plain)
        got = clip_series(layout, method=method, workers=1)
        for field in ("mean", "std", "count"):
            assert getattr(got, field).tobytes() == getattr(want, field).tobytes(), (name, field)
    rows[...] = plain
    assert value(clip_series(rows, method=method, workers=1), method).tobytes() == value(want, method).tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_the_input_is_left_alone(method: str) -> None:
    data = cube(50, 70, "inf")
    before = data.tobytes()
    clip_series(data, method=method, workers=1)
    assert data.tobytes() == before


def test_big_endian_and_other_types_are_refused_or_right() -> None:
    data = cube(20, 33, "some")
    want = clip_series(data, method="sigma_clip", workers=1)
    for dtype in (">f4", "f8", "i2"):
        other: NDArray[Any] = np.nan_to_num(data).astype(dtype) if dtype == "i2" else data.astype(dtype)
        try:
            got = clip_series(other, method="sigma_clip", workers=1)
        except (TypeError, ValueError) as error:
            assert "float32" in str(error)  # noqa: PT017 - a refusal must say what was expected
        else:
            if dtype != "i2":
                assert got.mean.tobytes() == want.mean.tobytes()
            else:
                want_int = clip_series(other.astype(np.float32), method="sigma_clip", workers=1)
                assert got.mean.tobytes() == want_int.mean.tobytes()


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "mode"},
        {"sigma": -1.0},
        {"sigma": math.nan},
        {"max_iters": -1},
        {"center": "biweight"},
        {"workers": 0},
        {"workers": -2},
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, Any]) -> None:
    (name, value), *_ = wrong.items()
    with pytest.raises(ValueError) as caught:
        clip_series(cube(5, 5), **{"method": "sigma_clip", "workers": 1, **wrong})
    assert name in str(caught.value)
    assert str(value) in str(caught.value)


def test_the_order_of_series_does_not_matter() -> None:
    data = cube(64, 200, "some")
    order = np.random.default_rng(0).permutation(200)
    for method in METHODS:
        plain, shuffled = (clip_series(d, method=method, workers=1) for d in (data, data[:, order].copy()))
        assert value(plain, method)[order].tobytes() == value(shuffled, method).tobytes()
        assert plain.std[order].tobytes() == shuffled.std.tobytes()


def test_the_order_of_frames_does_not_matter_beyond_rounding() -> None:
    data = cube(100, 150, "some")
    shuffled = data[np.random.default_rng(0).permutation(100)].copy()
    for method in METHODS:
        a, b = (clip_series(d, method=method, workers=1) for d in (data, shuffled))
        np.testing.assert_array_equal(a.count, b.count)
        np.testing.assert_allclose(value(a, method), value(b, method), rtol=tolerances.rtol(np.float32, 100))
        np.testing.assert_allclose(a.std, b.std, rtol=1e-5)


def test_a_shift_moves_the_answer_and_a_scale_stretches_it() -> None:
    data = np.round(cube(100, 150, "some")).astype(np.float32)
    plain = clip_series(data, method="sigma_clip", workers=1)
    moved = clip_series(data + np.float32(4096.0), method="sigma_clip", workers=1)
    doubled = clip_series(data * np.float32(2.0), method="sigma_clip", workers=1)
    np.testing.assert_array_equal(moved.count, plain.count)
    np.testing.assert_allclose(moved.mean, plain.mean + 4096.0, rtol=tolerances.rtol(np.float32, 100))
    assert doubled.mean.tobytes() == (plain.mean * np.float32(2.0)).tobytes()
    assert doubled.std.tobytes() == (plain.std * np.float32(2.0)).tobytes()


def test_a_long_series_keeps_its_mean() -> None:
    data = np.full((20000, 17), 16777.216, np.float32)
    data[::2] += np.float32(0.5)
    got = clip_series(data, method="mean", workers=1)
    np.testing.assert_allclose(got.mean, data.mean(axis=0, dtype=np.float64), rtol=2e-7)
    np.testing.assert_allclose(got.std, data.std(axis=0, dtype=np.float64), rtol=1e-4)
