"""Light curves that hold what a careless store loses, and how two of them are compared bit for bit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from astropy.table import Table

from starskope.curves.container import LightCurves

ARRAYS = ("time", "flux", "flux_err", "quality", "observer", "direction", "background")


def make_curves(n_time=30, n_star=300, **changes) -> LightCurves:
    rng = np.random.default_rng(11)
    flux = rng.normal(100.0, 3.0, (n_time, n_star)).astype(np.float32)
    flux[rng.random(flux.shape) < 0.05] = np.nan
    if flux.size:
        # Bits that a careless conversion loses: another NaN, a negative zero, a subnormal; and a star without light.
        flux.view(np.uint32).ravel()[:3] = [0x7FC12345, 0x80000000, 0x00000001][: flux.size]
        flux[:, -1] = np.nan
    vectors = rng.normal(size=(n_star, 3))
    stars = Table(
        {
            "tic_id": 2**60 + np.arange(n_star),
            "ra": rng.uniform(0, 360, n_star),
            "RA": rng.uniform(0, 360, n_star),
            "tmag": rng.uniform(7, 13, n_star).astype(np.float32),
            "logg": np.where(rng.random(n_star) < 0.3, np.nan, 4.0),
            "name": [f"ø Star {i}" for i in range(n_star)],
            "known": rng.random(n_star) < 0.5,
            "proper motion / yr": rng.normal(size=(n_star, 2)),
            "empty": ["" for _ in range(n_star)],
        }
    )
    if n_star:
        stars["ra"].unit, stars["tmag"].unit, stars["logg"].unit = "deg", "mag", "dex(cm/s2)"
        stars["ra"].description = "right ascension, ICRS"
    given = {
        "time": 1325.0 + np.sort(rng.uniform(0, 27, n_time)),
        "flux": flux,
        "stars": stars,
        "flux_err": rng.uniform(0.5, 4.0, flux.shape),
        "quality": rng.integers(-(2**31), 2**31, n_time),
        "observer": rng.normal(0, 300.0, (n_time, 3)),
        "direction": vectors / np.linalg.norm(vectors, axis=1)[:, None],
        "background": rng.normal(20, 1, flux.shape),
        "exposure_s": 1425.6,
        "meta": {
            "flux_unit": "electron / s",
            "left_out": [{"frame": "ø", "reason": "x"}],
            "none": None,
            "n": 3,
            "f": 0.1,
        },
    }
    return LightCurves(**(given | changes))


def assert_same_bits(one: LightCurves, other: LightCurves) -> None:
    for name in ARRAYS:
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None), name
        if a is not None:
            assert (a.dtype, a.shape) == (b.dtype, b.shape), name
            assert a.tobytes() == b.tobytes(), name
            assert b.flags.c_contiguous
    assert one.stars.colnames == other.stars.colnames
    for name in one.stars.colnames:
        a, b = one.stars[name], other.stars[name]
        assert (a.dtype, a.shape, a.unit, a.description) == (b.dtype, b.shape, b.unit, b.description), name
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), name
    for name in ("time_zero", "mission", "meta"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.exposure_s == other.exposure_s or (math.isnan(one.exposure_s) and math.isnan(other.exposure_s))


def tree_bytes(path: Path) -> dict[str, bytes]:
    if path.is_file():
        return {"": path.read_bytes()}
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}
