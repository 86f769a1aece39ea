"""`stack` and `combine` against the oracles: arrays, files of every BITPIX, blocks, orders, and real exposures."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import tolerances
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from starskope.frames.stack import Stack, clip_series, combine, stack

SHAPE = (9, 13)


def frames(n_time: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng([n_time, seed])
    data = rng.normal(150.0, 6.0, size=(n_time, *SHAPE))
    data[rng.random(data.shape) < 0.03] += 400.0
    data[rng.random(data.shape) < 0.05] = np.nan
    data[:, 4, 5] = np.nan
    return data.astype(np.float32)


def write(folder: Path, cube: NDArray[Any]) -> list[Path]:
    paths = []
    for i, plane in enumerate(cube):
        paths.append(folder / f"frame{i:03d}.fits")
        fits.PrimaryHDU(plane).writeto(paths[-1])
    return paths


def same(one: Stack, two: Stack) -> None:
    for name in ("image", "std", "count"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes(), name


@pytest.mark.parametrize("n_time", [1, 2, 3, 5, 33])
@pytest.mark.parametrize("method", ["mean", "median", "sigma_clip"])
def test_a_stack_is_the_oracle_pixel_by_pixel(n_time: int, method: Any) -> None:
    cube = frames(n_time)
    got = stack(cube, method, sigma=2.5)
    rounds = 5 if method == "sigma_clip" else 0
    want = reference.clip_series(cube, sigma_low=2.5, sigma_high=2.5, max_iters=rounds, center="median")
    assert (got.image.dtype, got.std.dtype, got.count.dtype) == (np.float32, np.float32, np.int32)
    assert got.n_frame == n_time
    np.testing.assert_array_equal(got.count, want.count)
    rtol = tolerances.rtol(np.float32, n_time)
    np.testing.assert_allclose(got.image, want.median if method == "median" else want.mean, rtol=rtol)
    np.testing.assert_allclose(got.std, want.std, rtol=rtol, atol=550.0 * rtol)
    assert np.isnan(got.image[4, 5])
    assert got.count[4, 5] == 0


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i2", ">i4", "u1", "u2"])
def test_files_of_every_kind_give_what_their_array_gives(tmp_path: Path, dtype: str) -> None:
    cube = np.nan_to_num(frames(7), nan=90.0).clip(0, 250).round().astype(dtype)
    files = write(tmp_path, cube)
    for path in files:
        with fits.open(path) as hdus:
            assert hdus[0].header["BITPIX"] in {-32, -64, 8, 16, 32}
    same(stack(files), stack(cube.astype(np.float32)))


def test_order_of_files_does_not_matter_beyond_rounding(tmp_path: Path) -> None:
    files = write(tmp_path, frames(20))
    plain = stack(files)
    for order in ([*reversed(files)], files[7:] + files[:7]):
        shuffled = stack(order)
        np.testing.assert_array_equal(shuffled.count, plain.count)
        np.testing.assert_allclose(shuffled.image, plain.image, rtol=tolerances.rtol(np.float32, 20))


@pytest.mark.parametrize("block_frames", [1, 2, 7, 19, 20, 64])
def test_blocks_are_clipped_alone_and_combined(tmp_path: Path, block_frames: int) -> None:
    cube = frames(20)
    got = stack(write(tmp_path, cube), sigma=2.0, block_frames=block_frames)
    parts = [
        reference.clip_series(cube[i : i + block_frames], sigma_low=2.0, sigma_high=2.0, max_iters=5, center="median")
        for i in range(0, 20, block_frames)
    ]
    mean, std, count = reference.combine(*([getattr(p, name) for p in parts] for name in ("mean", "std", "count")))
    np.testing.assert_array_equal(got.count, count)
    np.testing.assert_allclose(got.image, mean, rtol=2 * tolerances.rtol(np.float32, 20))
    np.testing.assert_allclose(got.std, std, rtol=1e-5, atol=1e-3)
    assert got.meta["exact"] is (block_frames >= 20)


def block(cube: NDArray[np.float32]) -> Stack:
    done = clip_series(cube, method="mean")
    return Stack(done.mean, done.count, done.std, n_frame=len(cube))


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(1, 29), max_size=5, unique=True), seed=st.integers(0, 5))
def test_combining_any_partition_gives_the_whole(cuts: list[int], seed: int) -> None:
    cube = frames(30, seed) + np.float32(1e5)
    edges = [0, *sorted(cuts), 30]
    got = combine([block(cube[i:j]) for i, j in itertools.pairwise(edges)])
    want = reference.clip_series(cube)
    np.testing.assert_array_equal(got.count, want.count)
    assert got.n_frame == 30
    # Means and spreads of the parts were stored as float32.
    np.testing.assert_allclose(got.image, want.mean, rtol=2 * tolerances.rtol(np.float32, 2))
    np.testing.assert_allclose(got.std, want.std, rtol=1e-3, atol=0.05)


def test_combine_leaves_a_single_block_as_it_was() -> None:
    one = block(frames(12))
    again = combine([one])
    for name in ("image", "std", "count"):
        np.testing.assert_array_equal(getattr(again, name), getattr(one, name))


def test_combine_is_associative_to_rounding() -> None:
    a, b, c = (block(frames(n, n)) for n in (3, 11, 6))
    left, right = combine([combine([a, b]), c]), combine([a, combine([b, c])])
    np.testing.assert_array_equal(left.count, right.count)
    np.testing.assert_allclose(left.image, right.image, rtol=tolerances.rtol(np.float32, 4))
    np.testing.assert_allclose(left.std, right.std, rtol=1e-5)


def test_five_real_exposures_are_clipped_as_astropy_clips_them(data_dir: Path) -> None:
    files = [data_dir / "images" / f"M13_blue_{i:04d}.fits" for i in range(1, 6)]
    clipped, plain = stack(files, sigma=1.5), stack(files, "mean")
    assert 7_238_400 - int(clipped.count.sum(dtype=np.int64)) == 3_119_056
    assert abs(float(clipped.image.mean(dtype=np.float64)) - 511.73665) < 1e-4
    weighted = float((clipped.image.astype(np.float64) * clipped.count).sum() / clipped.count.sum())
    assert abs(weighted - 511.67884) < 1e-4
    assert (plain.count == 5).all()
    total = np.rint(plain.image.astype(np.float64) * 5.0)
    assert (total.min(), total.max()) == (0.0, 3522.0)
    assert abs(float(total.mean()) - 2544.96438) < 1e-5
