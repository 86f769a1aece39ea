"""Two CCDs of a synthetic sector with a value of its own in every pixel, as frames and as cubes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from starskope.frames.cutout_set import Cutouts
from starskope.synth import SectorConfig, SyntheticSector

SHAPE = (64, 72)
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
