"""A synthetic sector of one CCD as the archive would hold it: frames with noise, headers, keys, truth tables.

Owns what makes a scene into files. Refuses the layout of folders and cubes (`writing`, `cube`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table
from numpy.typing import NDArray

from starskope.layout.fits import Verbatim
from starskope.layout.keys import CubeKey, FfiKey
from starskope.synth import detector, ffi, header
from starskope.synth.config import SectorConfig
from starskope.synth.pointing import N_BLUR
from starskope.synth.scene import Scene
from starskope.synth.spacecraft import stamp_text, utc_text
from starskope.synth.writing import write_sector

__all__ = ["SyntheticSector"]

SPACECRAFT_CONFIG = 120


class SyntheticSector(Scene):
    """Frames of one CCD of one sector, with the truth behind them.

    Parameters
    ----------
    config : SectorConfig, optional

    Notes
    -----
    With ``unique_pixels`` a pixel of the calibrated plane is ``1 + (frame n_row + row) n_col + column`` of the full
    plane and the uncertainty its negative: any transposition shows, and the value tells where a pixel came from.

    Examples
    --------
    >>> SyntheticSector(SectorConfig(n_row=32, n_col=32, n_frame=2, n_star=80)).noise_free(0).shape
    (62, 120)
    """

    def __init__(self, config: SectorConfig | None = None) -> None:
        super().__init__(config)
        self._read_variance = detector.read_variance(self.config)
        self._offsets = header.draw_offsets(self.config)
        start, stop = self.timeline.start, self.timeline.stop
        self._dates = [utc_text(moments) for moments in (start, stop, start + self.barycorr, stop + self.barycorr)]

    def __repr__(self) -> str:
        c = self.config
        size = f"{c.n_frame} frames of {c.n_row} x {c.n_col}, {c.n_star} stars"
        return f"<SyntheticSector {c.sector}-{c.camera}-{c.ccd}: {size}>"

    def planes(self, frame: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the calibrated plane and its uncertainty as the file holds them, native order."""
        expected = self.noise_free(frame)
        if self.config.unique_pixels:
            return expected, -expected
        return detector.expose(self.config, frame, expected, self._read_variance)

    def header_values(self, frame: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the values of primary and image header that differ from the real file's, by keyword."""
        self._check(frame)
        start, stop = float(self.timeline.start[frame]), float(self.timeline.stop[frame])
        correction = float(self.barycorr[frame])
        dates = [moments[frame] for moments in self._dates]
        primary = {
            "TSTART": start,
            "TSTOP": stop,
            "DATE-OBS": dates[0],
            "DATE-END": dates[1],
            "SCCONFIG": SPACECRAFT_CONFIG,
            "FFIINDEX": int(self.timeline.ffi_index[frame]),
        }
        image = {
            **header.region_cards(self.config),
            **self.wcs_cards(frame),
            "TSTART": start + correction,
            "TSTOP": stop + correction,
            "DATE-OBS": dates[2],
            "DATE-END": dates[3],
            "BARYCORR": Verbatim(f"{correction:.7E}"),
            "DQUALITY": int(self.timeline.quality[frame]),
        }
        return primary, image

    def ffi_bytes(self, frame: int) -> bytes:
        """Return the file of a frame, as it lies on S3."""
        return self.ffi_from(frame, self.planes(frame))

    def ffi_from(self, frame: int, planes: tuple[NDArray[np.float32], NDArray[np.float32]]) -> bytes:
        """Return the file of a frame around planes made before."""
        primary, image = self.header_values(frame)
        offset = int(self._offsets[frame])
        calibrated = header.image_header(self.config, image, uncertainty=False, offset=offset)
        uncertainty = header.image_header(self.config, image, uncertainty=True, offset=offset)
        return ffi.assemble(header.primary_header(primary), (calibrated, uncertainty), planes)

    def ffi_key(self, frame: int) -> FfiKey:
        """Return the key of a frame."""
        self._check(frame)
        c = self.config
        return FfiKey(c.sector, c.camera, c.ccd, stamp_text(self._dates[0][frame]), SPACECRAFT_CONFIG, "ffic")

    def frame_keys(self) -> list[str]:
        """Return the S3 keys of all frames in order of time."""
        return [self.ffi_key(frame).key for frame in range(self.config.n_frame)]

    def cube_key(self) -> str:
        """Return the S3 key of the cube of these frames."""
        c = self.config
        return CubeKey(c.sector, c.camera, c.ccd).key

    @functools.cached_property
    def frame_truth(self) -> Table:
        """One row per frame: what was done to it."""
        t, p = self.timeline, self.pointing
        return Table(
            {
                "frame": np.arange(self.config.n_frame),
                "key": self.frame_keys(),
                "ffi_index": t.ffi_index,
                "start": t.start * u.d,
                "stop": t.stop * u.d,
                "time": t.time * u.d,
                "barycorr": self.barycorr * u.d,
                "observer": self.observer * u.s,
                "quality": t.quality,
                "dump": t.dump,
                "episode": t.episode,
                "has_wcs": self._offsets != header.NO_WCS_OFFSET,
                "data_offset": self._offsets * u.byte,
                "shift_row": p.shift_row * u.pix,
                "shift_column": p.shift_col * u.pix,
                "roll": p.roll * u.rad,
                "aberration": p.aberration,
                "blur": p.blur.reshape(-1, N_BLUR * 2).std(axis=1) * u.pix,
            }
        )

    def catalog(self) -> Table:
        """Return the stars as a catalogue gives them, brightest first; nothing of what they do."""
        return self.stars["tic_id", "ra", "dec", "tmag", "teff", "logg", "rad", "mass"].copy()

    def write(
        self,
        root: str | Path,
        what: Sequence[str] = ("ffi", "truth", "catalog"),
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Path]:
        """Write the sector into a folder; see `writing.write_sector`."""
        return write_sector(self, root, what, progress)
