"""Light curves of noise, with everything that the container can hold."""

from __future__ import annotations

import numpy as np
from astropy.table import Table

from starskope.curves.container import LightCurves


def make_curves(n_time=40, n_star=300, seed=1, **changes) -> LightCurves:
    rng = np.random.default_rng(seed)
    flux = rng.normal(100.0, 3.0, (n_time, n_star)).astype(np.float32)
    flux[rng.random(flux.shape) < 0.05] = np.nan
    errors = rng.uniform(0.5, 4.0, flux.shape).astype(np.float32)
    vectors = rng.normal(size=(n_star, 3))
    given = {
        "time": 1325.0 + np.arange(n_time) / 48,
        "flux": flux,
        "stars": Table({"tic_id": 10_000_000_000 + np.arange(n_star) * 7, "tmag": rng.uniform(7, 13, n_star)}),
        "flux_err": errors,
        "quality": rng.choice([0, 0, 0, 32, 128], n_time),
        "observer": rng.normal(0, 300.0, (n_time, 3)),
        "direction": vectors / np.linalg.norm(vectors, axis=1)[:, None],
        "background": rng.normal(20, 1, flux.shape),
        "exposure_s": 1425.6,
        "meta": {"flux_unit": "electron / s"},
    }
    return LightCurves(**(given | changes))
