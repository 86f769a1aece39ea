"""A synthetic sector of one CCD: the object that ties sky, spacecraft and detector together and knows the truth of each frame.

Owns orchestration and the truth tables. Refuses the layout of folders and cubes (`writing`, `cube`), and to use any code of the
reduction: what it says is what the reduction is measured against.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from starskope.layout.fits import Verbatim
from starskope.layout.keys import CubeKey, FfiKey
from starskope.synth import detector, ffi, header, prf, render
from starskope.synth.background import Background
from starskope.synth.config import N_LEADING, SectorConfig, random_generator
from starskope.synth.pointing import N_BLUR, make_pointing
from starskope.synth.sky import StarProjection, make_wcs, pointing_terms, reference_cards, unit_vector
from starskope.synth.spacecraft import barycentric_correction, make_timeline, spacecraft_path, stamp_text, utc_text
from starskope.synth.stars import make_stars
from starskope.synth.variability import relative_flux
from starskope.synth.writing import write_sector

__all__ = ["SyntheticSector"]

SPACECRAFT_CONFIG = 120
_LARGEST_EXACT = 2**24


class SyntheticSector:
    """Frames of one CCD of one sector, with the truth behind them.

    Parameters
    ----------
    config : SectorConfig, optional

    Attributes
    ----------
    stars : Table
        Truth of every star; see `stars.make_stars`.
    frame_truth : Table
        Truth of every frame: key, times, flags, pointing, header layout.
    timeline, pointing, background
        What they were made from.
    observer : (n_frame, 3) float64
        Spacecraft from the barycentre, light-seconds, ICRS, at mid-exposure.

    Raises
    ------
    ValueError
        With ``unique_pixels`` when the sector has more pixels than float32 has exact integers (2**24).

    Notes
    -----
    With ``unique_pixels`` a pixel of the calibrated plane is ``1 + (frame n_row + row) n_col + column`` of the full plane and the
    uncertainty its negative: any transposition or mix-up shows, and the value tells where a pixel came from.

    Examples
    --------
    >>> sector = SyntheticSector(SectorConfig(n_row=32, n_col=32, n_frame=2, n_star=20, n_planet=0, n_binary=0,
    ...                                       n_pulsator=0, n_rotator=0, n_flare=0))
    >>> sector.noise_free(0).shape
    (62, 120)
    """

    def __init__(self, config: SectorConfig | None = None) -> None:
        self.config = config = SectorConfig() if config is None else config
        n_pixel = config.n_frame * config.shape[0] * config.shape[1]
        if config.unique_pixels and n_pixel > _LARGEST_EXACT:
            raise ValueError(
                f"unique_pixels with {config.n_frame} frames of {config.shape[0]} x {config.shape[1]} needs {n_pixel} values: float32 "
                f"counts exactly to {_LARGEST_EXACT}; take fewer or smaller frames"
            )
        self.timeline = make_timeline(config)
        self.pointing = make_pointing(config, self.timeline)
        self.background = Background(config, self.timeline)
        self.observer = spacecraft_path(self.timeline.time)
        self._cards = reference_cards(config)
        btc = config.n_row // 2 - 1.0, N_LEADING + config.n_col // 2 - 1.0
        self.barycorr = barycentric_correction(
            self.observer, unit_vector(*make_wcs(self._cards).all_pix2world(btc[1], btc[0], 0))
        )
        self.stars = make_stars(config, self._cards, self.timeline.time + self.barycorr)
        self._projection = StarProjection(self._cards, np.asarray(self.stars["ra"]), np.asarray(self.stars["dec"]))
        self._flux = np.asarray(self.stars["flux"], np.float64)
        self._read_variance = detector.read_variance(config)
        self._full = np.zeros(config.shape, bool)
        self._offsets = self._header_offsets()
        self._dates = {
            "start": utc_text(self.timeline.start),
            "stop": utc_text(self.timeline.stop),
            "start_bary": utc_text(self.timeline.start + self.barycorr),
            "stop_bary": utc_text(self.timeline.stop + self.barycorr),
        }

    def __repr__(self) -> str:
        c = self.config
        return f"<SyntheticSector {c.sector}-{c.camera}-{c.ccd}: {c.n_frame} frames of {c.n_row} x {c.n_col}, {c.n_star} stars>"

    def __len__(self) -> int:
        return self.config.n_frame

    def _header_offsets(self) -> NDArray[np.int64]:
        config = self.config
        offsets = np.full(config.n_frame, header.STANDARD_OFFSET)
        many = config.n_frame >= 40
        drawn = random_generator(config, "timeline", 1).permutation(config.n_frame)
        n_bare = max(round(0.014 * config.n_frame), 3)
        bare = tuple(drawn[:n_bare]) if config.no_wcs_frames is None and many else config.no_wcs_frames or ()
        others = [
            offset for offset in header.DATA_OFFSETS if offset not in (header.STANDARD_OFFSET, header.NO_WCS_OFFSET)
        ]
        special = config.header_offsets
        if special is None:
            special = tuple(zip(drawn[n_bare:], others, strict=False)) if many else ()
        for frame, offset in (*special, *((frame, header.NO_WCS_OFFSET) for frame in bare)):
            if not 0 <= frame < config.n_frame or offset not in header.DATA_OFFSETS:
                raise ValueError(
                    f"frame {frame} with data offset {offset}: expected a frame below {config.n_frame} and one of {header.DATA_OFFSETS}"
                )
            offsets[frame] = offset
        return offsets

    def _check(self, frame: int) -> None:
        if not 0 <= frame < self.config.n_frame:
            raise IndexError(f"frame {frame}: this sector has frames 0 to {self.config.n_frame - 1}")

    @functools.cached_property
    def relative_flux(self) -> NDArray[np.float64]:
        """Flux of each star relative to its `flux`, (n_frame, n_star) float64, at its own barycentric times."""
        curves = np.ones((self.config.n_frame, self.config.n_star))
        direction = unit_vector(np.asarray(self.stars["ra"]), np.asarray(self.stars["dec"]))
        for star in np.flatnonzero(self.stars["kind"] != "quiet"):
            time = self.timeline.time + barycentric_correction(self.observer, direction[star])
            curves[:, star] = relative_flux(self.stars[star], time, self.config.cadence_days, self.config.first_start)
        return curves

    @functools.cached_property
    def _stamps(self) -> NDArray[np.float32]:
        folder = self.config.prf_dir
        return prf.phase_stamps(prf.analytic_prfs() if folder is None else prf.load_prfs(folder))

    @functools.cached_property
    def _grid(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Each star's place in the PRF grid, which spans the science pixels whatever their number."""
        rows, cols = self.config.science
        place = []
        for position, span in ((self._projection.row, rows), (self._projection.column, cols)):
            place.append(np.clip((position - span.start) / (span.stop - span.start - 1), 0, 1) * (prf.N_GRID - 1))
        return place[0], place[1]

    def positions(self, frame: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return true row and column of every star, 0-based in the full plane, (n_star,) float64 each."""
        self._check(frame)
        p = self.pointing
        row, column = self._projection.positions(p.shift_row[frame], p.shift_col[frame], p.matrix[frame])
        rest_row, rest_column = p.aberration_rest(frame, self._projection.row, self._projection.column)
        return row + rest_row, column + rest_column

    def _wcs_cards(self, frame: int) -> dict[str, Any]:
        p = self.pointing
        return pointing_terms(self._cards, float(p.shift_row[frame]), float(p.shift_col[frame]), p.matrix[frame])

    def true_wcs(self, frame: int) -> WCS:
        """Return the WCS of a frame, stripped frames included; true positions differ from it by ``pointing.rest_px`` at most."""
        self._check(frame)
        return make_wcs(self._wcs_cards(frame))

    def noise_free(self, frame: int) -> NDArray[np.float32]:
        """Return what the calibrated plane of a frame would be without noise and cosmic rays.

        Returns
        -------
        (n_row + 30, n_col + 88) float32
            e-/s: stars, background, saturation with its bleeding, collateral level.
        """
        self._check(frame)
        config = self.config
        if config.unique_pixels:
            first = 1 + frame * config.shape[0] * config.shape[1]
            return np.arange(first, first + config.shape[0] * config.shape[1], dtype=np.float32).reshape(config.shape)
        return self._expected(frame, np.zeros(config.shape, bool))

    def _expected(self, frame: int, full: NDArray[np.bool_]) -> NDArray[np.float32]:
        config = self.config
        image = np.zeros(config.shape, np.float32)
        rows, cols = config.science
        window = rows.start, rows.stop, cols.start, cols.stop
        render.add_background(image, *window, *self.background.profiles(frame))
        row, column = self.positions(frame)
        flux = self._flux * self.relative_flux[frame]
        blur = self.pointing.blur[frame]
        moves = blur if blur.any() else blur[:1]
        for down, right in moves:
            render.add_stars(image, *window, self._stamps, *self._grid, row + down, column + right, flux / len(moves))
        render.bleed(image, *window, config.full_well_e_s, full)
        image[:, : cols.start] = image[:, cols.stop :] = image[rows.stop :] = detector.COLLATERAL_E_S
        return image

    def planes(self, frame: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the calibrated plane and its uncertainty as the file holds them, native order."""
        expected = self.noise_free(frame)
        if self.config.unique_pixels:
            return expected, -expected
        return detector.expose(self.config, frame, expected, self._read_variance)

    def header_values(self, frame: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the values of primary and image header that differ from the real file's, by keyword."""
        t, dates, c = self.timeline, self._dates, self.config
        start, stop, correction = float(t.start[frame]), float(t.stop[frame]), float(self.barycorr[frame])
        primary = {
            "TSTART": start,
            "TSTOP": stop,
            "DATE-OBS": dates["start"][frame],
            "DATE-END": dates["stop"][frame],
            "SCCONFIG": SPACECRAFT_CONFIG,
            "FFIINDEX": int(t.ffi_index[frame]),
        }
        image = {
            **header.region_cards(c),
            **self._wcs_cards(frame),
            "TSTART": start + correction,
            "TSTOP": stop + correction,
            "DATE-OBS": dates["start_bary"][frame],
            "DATE-END": dates["stop_bary"][frame],
            "BARYCORR": Verbatim(f"{correction:.7E}"),
            "DQUALITY": int(t.quality[frame]),
        }
        return primary, image

    def ffi_bytes(self, frame: int) -> bytes:
        """Return the file of a frame, as it lies on S3."""
        self._check(frame)
        return self.ffi_from(frame, self.planes(frame))

    def ffi_from(self, frame: int, planes: tuple[NDArray[np.float32], NDArray[np.float32]]) -> bytes:
        """Return the file of a frame around planes made before."""
        primary, image = self.header_values(frame)
        offset = int(self._offsets[frame])
        headers = tuple(
            header.image_header(self.config, image, uncertainty=flag, offset=offset) for flag in (False, True)
        )
        return ffi.assemble(header.primary_header(primary), (headers[0], headers[1]), planes)

    def ffi_key(self, frame: int) -> FfiKey:
        """Return the key of a frame."""
        self._check(frame)
        c = self.config
        return FfiKey(c.sector, c.camera, c.ccd, stamp_text(self._dates["start"][frame]), SPACECRAFT_CONFIG, "ffic")

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
        """Return the stars as a catalogue gives them, brightest first: what `find_stars` reads, nothing of what they do."""
        return self.stars["tic_id", "ra", "dec", "tmag", "teff", "logg", "rad", "mass"].copy()

    def write(
        self,
        root: str | Path,
        what: Sequence[str] = ("ffi", "truth", "catalog"),
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Path]:
        """Write the sector into a folder; see `writing.write_sector`."""
        return write_sector(self, root, what, progress)

    def saturated_pixels(self) -> NDArray[np.bool_]:
        """Return the pixels of the full plane that are at the full well in any frame, bleeding included, (n_row, n_col) bool."""
        return self._saturated.copy()

    @functools.cached_property
    def _saturated(self) -> NDArray[np.bool_]:
        full = np.zeros(self.config.shape, bool)
        for frame in range(self.config.n_frame):
            self._expected(frame, full)
        return full
