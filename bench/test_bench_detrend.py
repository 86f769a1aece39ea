"""The slow part of a set of light curves: a sliding biweight over 1,296 points."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import harness
import numpy as np
import pytest
from numpy.typing import NDArray

from starskope.curves.biweight import biweight

Compare = Callable[..., harness.Row]

CADENCE = 1.0 / 48.0
N_TIME, N_STAR, WINDOW = 1296, 64, 0.75


def stars(missing: float) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Make stars with waves and noise over a sector with the pause between its orbits."""
    rng = np.random.default_rng(31)
    step = np.arange(N_TIME)
    time = (step + 48 * (step >= N_TIME // 2)) * CADENCE
    waves = 0.01 * np.sin(2 * np.pi * time[:, None] / rng.uniform(2.0, 9.0, N_STAR))
    flux = (1.0 + waves + 1e-3 * rng.standard_normal((N_TIME, N_STAR))).astype(np.float32)
    flux[rng.random(flux.shape) < missing] = np.nan
    return time, flux


@pytest.mark.parametrize("missing", [0.0, 0.01])
def test_biweight(compare: Compare, session: harness.Session, missing: float) -> None:
    time, flux = stars(missing)
    wotan, numba = session.optional("wotan"), session.optional("numba")

    def with_wotan() -> Any:
        numba.set_num_threads(1)  # type: ignore[union-attr]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trends = [
                wotan.flatten(  # type: ignore[union-attr]
                    time, flux[:, star], WINDOW, method="biweight", break_tolerance=0.5, return_trend=True
                )[1]
                for star in range(N_STAR)
            ]
        return np.stack(trends, axis=1)

    def close(rival: str, mine: Any, theirs: Any) -> None:
        np.testing.assert_array_equal(np.isnan(mine), np.isnan(theirs), err_msg=rival)
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=3e-7, err_msg=rival)

    row = compare(
        f"biweight, {N_STAR} stars x {N_TIME} points, window {WINDOW} d, {missing:.0%} missing",
        lambda: biweight(time, flux, WINDOW),
        {"wotan": with_wotan if wotan else None},
        check=close,
        n_bytes=flux.nbytes,
    )
    per_star = row.ours.best / N_STAR * 1e3
    row.notes.append(f"{per_star:.3f} ms per star")
    row.must("<= 0.17 ms per star", per_star <= 0.17)
    if wotan:
        row.must("3x wotan", row.ratio("wotan") >= 3.0)
