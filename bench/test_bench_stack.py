"""Sigma clip, median and mean of many frames, one thread each."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import harness
import numpy as np
import pytest
from astropy.stats import sigma_clipped_stats
from inputs import cube

from starskope import _core
from starskope.frames.moments import Moments
from starskope.frames.stack import clip_series

Compare = Callable[..., harness.Row]


def close(rival: str, ours: Any, theirs: Any) -> None:
    """Compare statistics: rivals sum float32 (2e-6 off at 1,282 frames), a value on a bound may fall on either side."""
    for a, b in zip(ours, theirs, strict=True):
        near = np.isclose(a, b, rtol=1e-5, equal_nan=True)
        assert near.mean() > 0.9999, (rival, float(near.mean()))


@pytest.mark.parametrize(("n_time", "n_pixel"), [(128, 65_536), (1282, 4_096)])
def test_sigma_clip(compare: Compare, n_time: int, n_pixel: int) -> None:
    data = cube(n_time, n_pixel)

    def ours() -> tuple[Any, Any]:
        got = clip_series(data, method="sigma_clip", sigma=3.0, max_iters=5, center="median", workers=1)
        return got.mean, got.std

    row = compare(
        f"sigma clip, {n_time} frames of {n_pixel} pixels, median centre, 5 iterations",
        ours,
        {"astropy sigma_clipped_stats": lambda: with_astropy(data, 5)},
        check=close,
        n_bytes=data.nbytes,
        rival_budget_s=2.0,
    )
    row.must("80x astropy", row.ratio("astropy sigma_clipped_stats") >= 80.0)
    row.aim("150x astropy", row.ratio("astropy sigma_clipped_stats") >= 150.0)


@pytest.mark.parametrize(("n_time", "n_pixel"), [(128, 65_536), (1282, 4_096)])
def test_sigma_clip_of_big_endian_frames(compare: Compare, n_time: int, n_pixel: int) -> None:
    data = cube(n_time, n_pixel)
    swapped = data.astype(">f4")
    row = compare(
        f"the same, {n_time} frames of {n_pixel} pixels, from big-endian bytes",
        lambda: clip_series(swapped).mean,
        {"ours from native arrays": lambda: clip_series(data).mean},
        check=lambda rival, a, b: np.testing.assert_array_equal(a.view("u4"), b.view("u4"), err_msg=rival),
        n_bytes=data.nbytes,
        rounds=15,
    )
    row.must("<= 1.25x its time", row.ratio("ours from native arrays") >= 1.0 / 1.25)
    row.aim("1.1x", row.ratio("ours from native arrays") >= 1.0 / 1.1)


def with_astropy(data: Any, max_iters: int) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mean, _, std = sigma_clipped_stats(data, sigma=3.0, maxiters=max_iters, cenfunc="median", stdfunc="std", axis=0)
    return mean, std


def test_one_iteration_of_sigma_clip(compare: Compare, session: harness.Session) -> None:
    """Compare with ccdproc, which clips once: its Combiner passes no number of iterations on."""
    data = cube(128, 65_536)
    ccdproc = session.optional("ccdproc")
    images = []
    if ccdproc:
        from astropy.nddata import CCDData

        images = [CCDData(row.reshape(64, -1), unit="electron / s") for row in data]

    def with_ccdproc() -> Any:
        combiner = ccdproc.Combiner(images, dtype=np.float32)  # type: ignore[union-attr]
        combiner.sigma_clipping(3.0, 3.0, func="median", dev_func="std")
        return np.asarray(combiner.average_combine().data).ravel()

    compare(
        "sigma clip, 128 frames of 65536 pixels, median centre, 1 iteration",
        lambda: clip_series(data, method="sigma_clip", sigma=3.0, max_iters=1, center="median", workers=1).mean,
        {"astropy sigma_clipped_stats": lambda: with_astropy(data, 1)[0], "ccdproc": with_ccdproc if ccdproc else None},
        check=lambda rival, a, b: close(rival, [a], [b]),
        n_bytes=data.nbytes,
        rival_budget_s=2.0,
    )


def test_median(compare: Compare, session: harness.Session) -> None:
    data = cube(128, 65_536)
    bottleneck = session.optional("bottleneck")
    row = compare(
        "median, 128 frames of 65536 pixels (with mean, std and count)",
        lambda: clip_series(data, method="median", workers=1).median,
        {
            "NumPy": lambda: np.median(data, axis=0),
            "bottleneck": (lambda: bottleneck.median(data, axis=0)) if bottleneck else None,
        },
        check=lambda rival, a, b: close(rival, [a], [b]),
        n_bytes=data.nbytes,
    )
    row.must("6x bottleneck", row.ratio("bottleneck") >= 6.0)
    row.aim("15x bottleneck", row.ratio("bottleneck") >= 15.0)


def test_median_with_gaps(compare: Compare, session: harness.Session) -> None:
    data = cube(128, 65_536, missing=0.01)
    bottleneck = session.optional("bottleneck")
    compare(
        "the same with 1 % missing",
        lambda: clip_series(data, method="median", workers=1).median,
        {
            "NumPy nanmedian": lambda: np.nanmedian(data, axis=0),
            "bottleneck nanmedian": (lambda: bottleneck.nanmedian(data, axis=0)) if bottleneck else None,
        },
        check=lambda rival, a, b: close(rival, [a], [b]),
        n_bytes=data.nbytes,
        rival_budget_s=2.0,
    )


def test_mean(compare: Compare, session: harness.Session) -> None:
    data = cube(128, 262_144)
    bottleneck = session.optional("bottleneck")

    def with_numpy() -> tuple[Any, Any]:
        return data.mean(axis=0, dtype=np.float64), data.std(axis=0, dtype=np.float64)

    def with_bottleneck() -> tuple[Any, Any]:
        return bottleneck.nanmean(data, axis=0), bottleneck.nanstd(data, axis=0)  # type: ignore[union-attr]

    def check(rival: str, ours: Any, theirs: Any) -> None:
        # bottleneck sums float32 in a row: its last digits are its own.
        loose = 1e-3 if rival == "bottleneck" else 2e-6
        for a, b in zip((ours.mean, ours.std), theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=loose, err_msg=rival)

    compare(
        "mean, std and count, 128 frames of 262144 pixels, NaN-aware",
        lambda: clip_series(data, method="mean", workers=1),
        {"NumPy mean and std, not NaN-aware": with_numpy, "bottleneck": with_bottleneck if bottleneck else None},
        check=check,
        n_bytes=data.nbytes,
        rival_budget_s=2.0,
    )


def test_moments_of_a_stream(compare: Compare) -> None:
    """Add blocks of 32 frames to an accumulator, against copying the same bytes: the work that a stream leaves."""
    data = cube(128, 262_144)
    copied = np.empty_like(data)
    blocks = [data[first : first + 32] for first in range(0, len(data), 32)]
    expected = clip_series(data, method="mean")

    def ours() -> Moments:
        moments = Moments(data.shape[1:])
        for block in blocks:
            moments.add(block)
        return moments

    def check(_: str, made: Moments, __: Any) -> None:
        np.testing.assert_allclose(made.mean, expected.mean, rtol=1e-6)
        np.testing.assert_allclose(made.std, expected.std, rtol=1e-6)

    row = compare(
        "mean and variance, streaming, 128 frames of 262144 pixels in blocks of 32, NaN-aware",
        ours,
        {"memory copy": lambda: np.copyto(copied, data)},
        check=check,
        n_bytes=data.nbytes,
        rounds=11,
    )
    row.must(">= 50 % of its bandwidth", row.ratio("memory copy") >= 0.5)
    row.aim("80 %", row.ratio("memory copy") >= 0.8)


def test_mean_alone(compare: Compare) -> None:
    data = cube(128, 262_144)
    mean = np.empty(data.shape[1], np.float32)

    def ours() -> Any:
        _core.clip(data, sigma_low=np.inf, sigma_high=np.inf, max_iters=0, center="mean", mean=mean)
        return mean

    compare(
        "mean alone, 128 frames of 262144 pixels, NaN-aware (the core's function)",
        ours,
        {
            "NumPy mean, float32 sums, not NaN-aware": lambda: data.mean(axis=0),
            "NumPy mean, float64 sums, not NaN-aware": lambda: data.mean(axis=0, dtype=np.float64),
            "NumPy nanmean": lambda: np.nanmean(data, axis=0),
        },
        check=lambda rival, a, b: close(rival, [a], [b]),
        n_bytes=data.nbytes,
    )


def test_sigma_clip_on_all_cpus(compare: Compare) -> None:
    data = cube(128, 262_144)
    one = clip_series(data, workers=1)
    row = compare(
        "sigma clip, 128 frames of 262144 pixels, all CPUs",
        lambda: clip_series(data, workers=-1),
        {"ours on one thread": lambda: clip_series(data, workers=1)},
        check=lambda rival, a, b: np.testing.assert_array_equal(a.mean.view("u4"), b.mean.view("u4"), err_msg=rival),
        n_bytes=data.nbytes,
        threads="all",
    )
    assert one.mean.tobytes() == clip_series(data, workers=-1).mean.tobytes()
    row.must("1.8x one thread", row.ratio("ours on one thread") >= 1.8)
    row.notes.append("same bytes")
