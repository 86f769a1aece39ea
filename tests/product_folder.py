"""Output folders of small runs for tests of the report: real products, made by the rooms that make them.

Owns `write_run` (what was observed) and `write_signals` (what was found in it).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from astropy.table import Table

from starskope.curves.container import LightCurves
from starskope.frames.stacked import Stack
from starskope.layout.observer import unit_vectors
from starskope.learn.columns import star_features
from starskope.learn.features import FeatureModel
from starskope.learn.inputs import spectrogram_rows, stamp_rows
from starskope.search.lombscargle import lomb_scargle
from starskope.search.power import power_spectrum
from starskope.search.segments import spectrogram
from starskope.search.spectra_store import SpectraBlock, write
from starskope.search.transits import search_transits

N_TIME, N_STAR, N_ROW, N_COL = 60, 12, 40, 50
WCS = {
    "CTYPE1": "RA---TAN-SIP",
    "CTYPE2": "DEC--TAN-SIP",
    "CRVAL1": 83.6,
    "CRVAL2": -69.3,
    "CRPIX1": 25.0,
    "CRPIX2": 20.0,
    "CD1_1": -0.0058,
    "CD1_2": 0.0,
    "CD2_1": 0.0,
    "CD2_2": 0.0058,
    "A_ORDER": 2,
    "B_ORDER": 2,
}


def inputs(seed: int = 3) -> tuple[Stack, LightCurves, list[dict[str, Any]], dict[str, Any]]:
    """Make what a run observes: noise on twelve stars."""
    generator = np.random.Generator(np.random.Philox(seed))
    image = generator.normal(0, 1, (N_ROW, N_COL)).astype(np.float32)
    image[5, 7] = np.nan
    count = np.full((N_ROW, N_COL), N_TIME, np.int32)
    stack = Stack(image, count, np.ones_like(image), image * 0 + 140, dict(WCS), N_TIME)
    level = 10.0 ** np.linspace(5, 3, N_STAR)
    flux = (level * (1 + 1e-3 * generator.normal(size=(N_TIME, N_STAR)))).astype(np.float32)
    stars = Table({"tic_id": np.arange(N_STAR), "tmag": np.linspace(7, 12, N_STAR)})
    time = 1325.0 + np.arange(N_TIME) / 48
    error = np.broadcast_to(level * 1e-3, flux.shape).astype(np.float32)
    curves = LightCurves(time, flux, stars, flux_err=error, background=flux * 0 + 140, quality=np.zeros(N_TIME, int))
    frames = [{"name": f"frame{k}.fits", "time": t, "status": "stacked", "reason": ""} for k, t in enumerate(time)]
    run = {
        "title": "Sector 1, camera 1, CCD 4",
        "summary": "60 frames",
        "science": [[0, N_ROW], [0, N_COL]],
        "identity": {"sigma": 3.0},
        "versions": {"starskope": "0.1.0"},
        "timings_s": {"find": 1.25, "reduce": 2.25},
    }
    return stack, curves, frames, run


def write_run(
    folder: Path, stack: Stack, curves: LightCurves, frames: list[dict[str, Any]], run: dict[str, Any]
) -> Path:
    """Write what was observed."""
    folder.mkdir(exist_ok=True)
    stack.write(folder / "stack.fits")
    curves.write(folder / "light_curves.zarr")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(frames), folder / "manifest.parquet")
    (folder / "run.json").write_text(json.dumps(run))
    return folder


def transiting(n_time: int = 700, n_star: int = 40, seed: int = 1) -> tuple[Stack, LightCurves]:
    """Make stars on a stack: star 3 has a planet, star 5 an eclipsing companion, star 7 transits once."""
    generator = np.random.Generator(np.random.Philox(seed))
    rows, columns = generator.uniform(8, N_ROW - 8, n_star), generator.uniform(8, N_COL - 8, n_star)
    y, x = np.mgrid[:N_ROW, :N_COL]
    image = generator.normal(0, 0.3, (N_ROW, N_COL)).astype(np.float32)
    for row, column in zip(rows, columns, strict=True):
        image += (300 * np.exp(-0.5 * ((y - row) ** 2 + (x - column) ** 2))).astype(np.float32)
    ra = WCS["CRVAL1"] + (columns + 1 - 25.0) * -0.0058 / np.cos(np.deg2rad(WCS["CRVAL2"]))
    dec = WCS["CRVAL2"] + (rows + 1 - 20.0) * 0.0058
    time = 1325.3 + np.arange(n_time) / 48
    light = 1 + 5e-4 * generator.normal(size=(n_time, n_star))

    def dip(star: int, period: float, t0: float, duration: float, depth: float) -> None:
        offset = (time - t0 + 0.5 * period) % period - 0.5 * period
        light[np.abs(offset) < 0.5 * duration, star] -= depth

    dip(3, 1.9, 1326.0, 0.13, 0.006)
    dip(5, 2.6, 1326.5, 0.15, 0.08)
    dip(5, 2.6, 1327.8, 0.15, 0.03)
    dip(7, 1000.0, 1332.1, 0.2, 0.02)
    stars = Table({"tic_id": np.arange(n_star) + 9000, "tmag": np.linspace(8, 12, n_star), "ra": ra, "dec": dec})
    stars["aperture_radius"] = 2.5
    path = np.zeros((n_time, 3))
    path[:, 0] = 490.0
    curves = LightCurves(
        time,
        1e4 * light,
        stars,
        flux_err=np.full(light.shape, 5.0),
        observer=path,
        direction=unit_vectors(ra, dec),
        exposure_s=1425.6,
    )
    stack = Stack(image, np.full(image.shape, n_time, np.int32), np.ones_like(image), image * 0, dict(WCS), n_time)
    return stack, curves


def write_signals(folder: Path, stack: Stack, curves: LightCurves, *, with_classes: bool = False) -> Table:
    """Search the light curves as a run does and write what it finds; return the candidates."""
    level = curves.mask().normalize()
    spectra = SpectraBlock(power_spectrum(level), lomb_scargle(level), spectrogram(level, segment=64, overlap=32))
    write(spectra.kinds(), folder / "spectra.zarr")
    candidates = search_transits(level.flatten(0.75))
    candidates.write(folder / "candidates.ecsv", format="ascii.ecsv", overwrite=True)
    columns = (np.asarray(curves.stars["ra"]) - WCS["CRVAL1"]) * np.cos(np.deg2rad(WCS["CRVAL2"])) / -0.0058 + 24.0
    stamps = stamp_rows(stack.image, (np.asarray(curves.stars["dec"]) - WCS["CRVAL2"]) / 0.0058 + 19.0, columns)
    model = FeatureModel.fit(spectrogram_rows(spectra.spectrogram.power), stamps, n_hidden=6)
    model.save(folder / "feature_model.npz")
    features = star_features(level, spectra, stamps, candidates, model)
    if with_classes:
        share = np.linspace(0.05, 0.95, len(features)).astype(np.float32)
        features["p_<b>planet</b>"], features["p_other"] = share, 1 - share
    features.write(folder / "features.parquet", format="parquet", overwrite=True)
    return candidates
