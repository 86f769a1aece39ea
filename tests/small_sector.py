"""Synthetic sectors small enough for many runs: 64 x 64 science pixels, written once per session.

One of 60 frames and 60 stars, and one of 40 frames and 600 stars, which are three blocks of a search.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from starskope.curves.container import LightCurves
from starskope.frames.stack import Stack
from starskope.job import RunConfig, run
from starskope.synth import SectorConfig, SyntheticSector

CONFIG = SectorConfig(
    seed=11, n_row=64, n_col=64, n_frame=60, n_star=60, n_planet=2, n_binary=1, n_pulsator=1, n_rotator=1, n_flare=1
)
CROWDED = CONFIG.replace(seed=12, n_frame=40, n_star=600)
PREFIX = "tess/public/ffi/s0001"


@pytest.fixture(scope="session")
def sector_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames under their keys, ``catalog.ecsv`` and ``truth/``."""
    root = tmp_path_factory.mktemp("sector")
    SyntheticSector(CONFIG).write(root, what=("ffi", "truth", "catalog"))
    return root


@pytest.fixture(scope="session")
def crowded_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `sector_dir`, with so many stars that they are searched in three blocks."""
    root = tmp_path_factory.mktemp("crowded")
    SyntheticSector(CROWDED).write(root, what=("ffi", "truth", "catalog"))
    return root


def config_for(root: Path, **changes: object) -> RunConfig:
    """What a run on a sector is asked, with changes."""
    given = {
        "frames": (root / "tess",),
        "catalog": root / "catalog.ecsv",
        "tmag_max": 14,
        "block_frames": 8,
        "workers": 2,
    }
    return RunConfig(**(given | changes))


@pytest.fixture(scope="session")
def crowded_run(crowded_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The products of a run on that sector, left alone by everybody."""
    out = tmp_path_factory.mktemp("signals") / "out"
    (outcome,) = run(config_for(crowded_dir), out).ccds
    assert outcome.ok
    return out


def environment() -> dict[str, str]:
    """The environment of a subprocess that imports this very package."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def starskope(*arguments: object, timeout: float = 120, **kwargs: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-W", "error", "-m", "starskope", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=timeout, **kwargs)


def frame_files(sector_dir: Path) -> list[Path]:
    """The frames in order of time."""
    return sorted(sector_dir.rglob("*_ffic.fits"), key=lambda path: path.name)


def assert_same_products(here: Path, there: Path, names: Sequence[str] | None = None) -> None:
    """Every array and table of two runs is the same, bit for bit; the DATE of the FITS file and timings aside."""
    first, second = Stack.read(here / "stack.fits"), Stack.read(there / "stack.fits")
    for name in ("image", "count", "std", "background"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes(), name
    assert (first.header, first.n_frame, first.meta) == (second.header, second.n_frame, second.meta)
    files = [
        sorted(p.relative_to(out) for p in out.rglob("*") if ".zarr" in str(p) and p.is_file()) for out in (here, there)
    ]
    assert files[0] == files[1]
    for file in files[0]:
        assert (here / file).read_bytes() == (there / file).read_bytes(), file
    curves = [LightCurves.read(out / "light_curves.zarr") for out in (here, there)]
    for name in ("time", "flux", "flux_err", "quality", "background", "observer", "direction"):
        assert getattr(curves[0], name).tobytes() == getattr(curves[1], name).tobytes(), name
    assert np.isfinite(curves[0].flux).any()
    for name in ("candidates.ecsv", "feature_model.npz", "features.parquet"):
        assert (here / name).read_bytes() == (there / name).read_bytes(), name
    manifests = [pyarrow.parquet.read_table(out / "manifest.parquet").drop_columns(["uri"]) for out in (here, there)]
    assert _rows(manifests[0]) == _rows(manifests[1])


def _rows(table: object) -> list[str]:
    return [repr(row) for row in table.to_pylist()]  # repr: NaN equals NaN
