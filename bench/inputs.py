"""What the benchmarks run on: a full-size synthetic FFI, its stars, and cubes of noise with cosmic rays.

Owns the inputs alone, each from a fixed seed. Refuses to time anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from starskope.layout.fits import locate_image
from starskope.synth import SectorConfig, SyntheticSector

N_STAR = 10_000
N_BYTES_PLANE = 2078 * 2136 * 4


@dataclass
class FullFrame:
    """One full-size FFI: the file's bytes, the file, and what lies in it."""

    folder: Path

    @cached_property
    def sector(self) -> SyntheticSector:
        return SyntheticSector(SectorConfig(n_row=2048, n_col=2048, n_frame=3, n_star=N_STAR))

    @cached_property
    def buffer(self) -> bytes:
        return self.sector.ffi_bytes(0)

    @cached_property
    def path(self) -> Path:
        path = self.folder / "ffi.fits"
        path.write_bytes(self.buffer)
        return path

    @cached_property
    def plane_offset(self) -> int:
        return locate_image(self.buffer).offset

    @cached_property
    def plane(self) -> NDArray[np.float32]:
        raw = np.frombuffer(self.buffer, ">f4", 2078 * 2136, self.plane_offset)
        return raw.astype(np.float32).reshape(2078, 2136)

    @cached_property
    def sky(self) -> NDArray[np.float32]:
        """The science pixels alone (2048, 2048), with the background in them."""
        return np.ascontiguousarray(self.plane[:2048, 44:2092])

    @cached_property
    def apertures(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rows and columns of ``N_STAR`` circles that lie wholly on the science pixels."""
        rng = np.random.default_rng(2)
        return rng.uniform(5, 2042, N_STAR), rng.uniform(5, 2042, N_STAR)


def cube(n_time: int, n_pixel: int, missing: float = 0.0) -> NDArray[np.float32]:
    """Make frames of sky noise of which one value in a thousand is struck by a cosmic ray."""
    rng = np.random.default_rng([n_time, n_pixel])
    data = rng.normal(150.0, 3.0, size=(n_time, n_pixel)).astype(np.float32)
    data[rng.random(data.shape, np.float32) < 0.001] += np.float32(500.0)
    if missing:
        data[rng.random(data.shape, np.float32) < missing] = np.nan
    return data
