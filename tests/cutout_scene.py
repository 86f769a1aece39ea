"""Two CCDs of a synthetic sector with a value of its own in every pixel, as frames and as cubes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from starskope.frames.cutout_set import Cutouts
from starskope.frames.wcs import TanSip
from starskope.synth import SectorConfig, SyntheticSector

SHAPE = (64, 72)
ARRAYS = ("flux", "flux_err", "time", "time_spacecraft", "quality", "ffi", "row0", "col0")
LEFT = 44  # collateral columns before the science pixels
CONFIG = SectorConfig(
    seed=3,
    ccd=4,
    n_row=SHAPE[0],
    n_col=SHAPE[1],
    n_frame=24,
    n_star=20,
    n_planet=0,
    n_binary=0,
    n_pulsator=0,
    n_rotator=0,
    n_flare=0,
    unique_pixels=True,
    no_wcs_frames=(12, 20),
)


@dataclass(frozen=True)
class Scene:
    """The sector on disk, laid out as the bucket is, and CCD 4 of it as numbers."""

    root: Path
    sector: SyntheticSector
    other: SyntheticSector

    @property
    def cube(self) -> Path:
        """The cube of CCD 4."""
        return self.root / self.sector.cube_key()

    @property
    def frames(self) -> list[Path]:
        """The frames of CCD 4."""
        return [self.root / key for key in self.sector.frame_keys()]

    def expected(self, result: Cutouts) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Flux and error of cutouts by the rule of the unique pixels."""
        height, width = self.sector.config.shape
        flux = np.full(result.flux.shape, np.nan, np.float32)
        for target, frame in np.ndindex(*result.flux.shape[:2]):
            where = (target, frame) if result.row0.ndim == 2 else target
            for r in range(result.flux.shape[2]):
                row = int(result.row0[where]) + r
                column = int(result.col0[where]) + np.arange(result.flux.shape[3])
                there = (0 <= row < height) & (column >= 0) & (column < width)
                flux[target, frame, r, there] = (1 + (frame * height + row) * width + column)[there]
        return flux, -flux


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """CCDs 4 and 3 of sector 1, frames and cubes."""
    root = tmp_path_factory.mktemp("cutouts")
    sectors = [SyntheticSector(CONFIG.replace(ccd=ccd)) for ccd in (4, 3)]
    for sector in sectors:
        sector.write(root, what=("ffi", "cube"))
    return Scene(root, *sectors)


def wcs_of(scene: Scene, frame: int = 13) -> TanSip:
    """World coordinates of a frame; 12, the middle one, has none, so 13 places the targets."""
    with fits.open(scene.frames[frame]) as hdus:
        return TanSip.from_header(hdus[1].header)


def sky(scene: Scene, rows: list[float], columns: list[float]) -> Table:
    ra, dec = wcs_of(scene).pixel_to_world(np.array(rows), np.array(columns) + LEFT)
    return Table({"ra": ra, "dec": dec, "tic_id": np.arange(len(rows)) + 100})


def spread(scene: Scene, n: int = 40, seed: int = 0) -> Table:
    rng = np.random.default_rng(seed)
    return sky(scene, rng.uniform(0, 63, n), rng.uniform(0, 71, n))


def same(one: Cutouts, other: Cutouts) -> None:
    for name in ARRAYS:
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


def check(scene: Scene, result: Cutouts) -> None:
    flux, flux_err = scene.expected(result)
    assert result.flux.tobytes() == flux.tobytes()
    np.testing.assert_array_equal(result.flux_err, flux_err)
    assert result.flux.flags.c_contiguous
