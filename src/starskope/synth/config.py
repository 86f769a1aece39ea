"""What a synthetic sector is made of: a frozen dataclass of numbers, and the random numbers that follow.

Owns sizes, rates and amplitudes with their checks. Refuses to compute anything of the sky or the detector.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["FULL_CCD", "SectorConfig", "random_generator"]

FULL_CCD = 2048
N_LEADING = 44
"""Collateral columns before the science columns: four outputs of eleven."""
N_COLLATERAL_COLUMNS = 88
N_COLLATERAL_ROWS = 30
LIGHT_FRACTION = 0.792
"""Light per cadence: 1.98 s of 2.00 s exposed, and one exposure in five lost to the on-board cosmic-ray clip."""
_SECTOR_1_START = 1325.313100604524
_SECTOR_DAYS = 27.4


@dataclasses.dataclass(frozen=True)
class SectorConfig:
    """Size, timing, population and imperfections of a synthetic sector of one CCD.

    Parameters
    ----------
    seed : int
        Same seed, same bytes.
    sector, camera, ccd : int
        Sector 1, camera 1, CCD 4 carries the real WCS coefficients; any other CCD is that one carried over the sky
        rigidly.
    n_row, n_col : int
        Science pixels; the plane is ``(n_row + 30, n_col + 88)``. A size below 2048 is the window in the middle of the
        CCD; the variation of the PRF and the velocity aberration over a whole CCD are squeezed into it.
    n_frame : int
        Frames that exist; the gap and missing frames come on top of them.
    cadence_s : float
        1800, 600 or 200 as in the mission.
    start_btjd : float, optional
        Spacecraft TSTART of the first frame, BTJD in TDB. Default: the real one for sector 1, steps of 27.4 d after it.
    gap_days : float, optional
        Mid-sector gap. Default: 1.1 d or 12 % of the observed time, whichever is shorter.
    n_missing : int
        Single frames missing besides the gap.
    n_star : int
        All stars; the kinds below are taken from them, the rest is quiet.
    n_planet, n_binary, n_pulsator, n_rotator, n_flare : int
        Stars with transiting planets, eclipsing binaries, pulsators, rotators, flare stars.
    tmag_min, tmag_max, tmag_slope : float
        Magnitudes follow dN/dm ~ 10**(slope m) between the limits; the brightest star lies at `tmag_min`.
    min_per_bin : int
        Least number of stars in each magnitude bin between Tmag 7 and 13 (as far as `n_star` allows).
    zodiacal_e_s, scattered_e_s : float
        Background, e-/s/pixel: mean of the zodiacal light; peak of the scattered light.
    cosmic_ray_rate : float
        Hits per science pixel and frame that the on-board clip let through.
    jitter_px, drift_px, dump_px, episode_px : float
        Frame-averaged pointing jitter (rms per axis), drift over an orbit, offsets in momentum dumps and in the
        unflagged episode.
    dva_px : float
        Differential velocity aberration: relative shift of opposite corners over the sector.
    full_well_e_s : float
        Saturation level of a pixel: 200,000 e- in 2 s.
    no_wcs_frames : tuple of int, optional
        Frames without WCS. Default: 1.4 %, at least three, when there are 40 frames or more; else none.
    header_offsets : tuple of (int, int), optional
        (frame, data offset of the calibrated plane) for frames whose offset is not 20160. Default: each of the
        mission's other offsets once when there are 40 frames or more.
    unique_pixels : bool
        Test mode: no two pixels of the sector share a value; see `SyntheticSector`.
    prf_dir : path, optional
        Folder with MAST's 25 PRF files of a CCD. Default: an analytic PRF.
    """

    seed: int = 1
    sector: int = 1
    camera: int = 1
    ccd: int = 4
    n_row: int = 256
    n_col: int = 256
    n_frame: int = 432
    cadence_s: float = 1800.0
    start_btjd: float | None = None
    gap_days: float | None = None
    n_missing: int = 2
    n_star: int = 720
    n_planet: int = 12
    n_binary: int = 12
    n_pulsator: int = 16
    n_rotator: int = 24
    n_flare: int = 12
    tmag_min: float = 5.0
    tmag_max: float = 13.5
    tmag_slope: float = 0.28
    min_per_bin: int = 10
    zodiacal_e_s: float = 110.0
    scattered_e_s: float = 150.0
    cosmic_ray_rate: float = 5e-5
    jitter_px: float = 0.007
    drift_px: float = 0.05
    dump_px: float = 0.25
    episode_px: float = 0.25
    dva_px: float = 0.15
    full_well_e_s: float = 1.0e5
    no_wcs_frames: tuple[int, ...] | None = None
    header_offsets: tuple[tuple[int, int], ...] | None = None
    unique_pixels: bool = False
    prf_dir: str | Path | None = None

    def __post_init__(self) -> None:
        for name in ("camera", "ccd"):
            if not 1 <= getattr(self, name) <= 4:
                raise ValueError(f"{name}={getattr(self, name)}: expected 1 to 4")
        for name, least in (("sector", 1), ("n_frame", 1), ("n_star", 1), ("seed", 0), ("n_missing", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)}: expected {least} or more")
        for name in ("n_row", "n_col"):
            if not 16 <= getattr(self, name) <= FULL_CCD:
                raise ValueError(f"{name}={getattr(self, name)}: expected 16 to {FULL_CCD} science pixels")
        if self.cadence_s not in (1800.0, 600.0, 200.0):
            raise ValueError(f"cadence_s={self.cadence_s}: expected 1800, 600 or 200, the cadences of the mission")
        n_variable = self.n_planet + self.n_binary + self.n_pulsator + self.n_rotator + self.n_flare
        if n_variable > self.n_star:
            raise ValueError(
                f"n_star={self.n_star} cannot hold {n_variable} variable stars: raise it or lower the counts of kinds"
            )
        if not self.tmag_min < self.tmag_max:
            raise ValueError(f"tmag_min={self.tmag_min}, tmag_max={self.tmag_max}: expected tmag_min below tmag_max")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the full plane."""
        return self.n_row + N_COLLATERAL_ROWS, self.n_col + N_COLLATERAL_COLUMNS

    @property
    def science(self) -> tuple[slice, slice]:
        """Science pixels of the full plane, 0-based."""
        return slice(0, self.n_row), slice(N_LEADING, N_LEADING + self.n_col)

    @property
    def cadence_days(self) -> float:
        """Cadence in days."""
        return self.cadence_s / 86400.0

    @property
    def exposure_s(self) -> float:
        """Seconds of light per frame: 1425.6 at 1800 s."""
        return self.cadence_s * LIGHT_FRACTION

    @property
    def n_readout(self) -> int:
        """Exposures that count in a frame, each with its read noise: 720 at 1800 s."""
        return round(self.cadence_s * 0.4)

    @property
    def first_start(self) -> float:
        """Spacecraft TSTART of the first cadence, BTJD."""
        if self.start_btjd is not None:
            return self.start_btjd
        return _SECTOR_1_START + (self.sector - 1) * _SECTOR_DAYS

    def replace(self, **changes: Any) -> SectorConfig:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)


_PURPOSES = ("timeline", "pointing", "stars", "variability", "background", "noise", "cosmic")
# Pointing and scattered light belong to the spacecraft and the camera: the CCDs of a sector share them.
_SHARED = frozenset({"timeline", "pointing"})


def random_generator(config: SectorConfig, purpose: str, frame: int = 0) -> np.random.Generator:
    """Return the counter-based generator of one purpose and frame: frame 7 is the same whether or not 0-6 were made."""
    ccd = 0 if purpose in _SHARED else config.ccd
    entropy = (config.seed, _PURPOSES.index(purpose), config.sector, config.camera, ccd, frame)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))
