"""What the CCD looks at: stars, background and motion of a sector, and the noise-free plane of each frame.

Owns the truth of light and place. Refuses noise, headers and files (`sector`), and any code of the reduction: what is
said here is what the reduction is measured against.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from starskope.synth import detector, prf, render
from starskope.synth.background import Background
from starskope.synth.config import N_LEADING, SectorConfig
from starskope.synth.pointing import make_pointing
from starskope.synth.sky import StarProjection, make_wcs, pointing_terms, reference_cards, unit_vector
from starskope.synth.spacecraft import barycentric_correction, make_timeline, spacecraft_path
from starskope.synth.stars import make_stars
from starskope.synth.variability import relative_flux

__all__ = ["Scene"]

_LARGEST_EXACT = 2**24


class Scene:
    """Stars, background and motion of one CCD in one sector.

    Parameters
    ----------
    config : SectorConfig, optional

    Attributes
    ----------
    stars : Table
        Truth of every star; see `stars.make_stars`.
    timeline, pointing, background
        What the frames are made from.
    observer : (n_frame, 3) float64
        Spacecraft from the barycentre at mid-exposure, light-seconds, ICRS.
    barycorr : (n_frame,) float64
        BARYCORR of the CCD's centre, days.

    Raises
    ------
    ValueError
        With ``unique_pixels`` when the sector has more pixels than float32 has exact integers (2**24).
    """

    def __init__(self, config: SectorConfig | None = None) -> None:
        self.config = config = SectorConfig() if config is None else config
        n_row, n_col = config.shape
        if config.unique_pixels and config.n_frame * n_row * n_col > _LARGEST_EXACT:
            raise ValueError(
                f"unique_pixels with {config.n_frame} frames of {n_row} x {n_col} needs "
                f"{config.n_frame * n_row * n_col} values: float32 counts exactly to {_LARGEST_EXACT}; "
                "take fewer or smaller frames"
            )
        self.timeline = make_timeline(config)
        self.pointing = make_pointing(config, self.timeline)
        self.background = Background(config, self.timeline)
        self.observer = spacecraft_path(self.timeline.time)
        self._cards = reference_cards(config)
        # The pixel of the cards BTC_PIX1 and BTC_PIX2.
        centre = make_wcs(self._cards).all_pix2world(N_LEADING + config.n_col // 2 - 1.0, config.n_row // 2 - 1.0, 0)
        self.barycorr = barycentric_correction(self.observer, unit_vector(*centre))
        self.stars = make_stars(config, self._cards, self.timeline.time + self.barycorr)
        self._projection = StarProjection(self._cards, np.asarray(self.stars["ra"]), np.asarray(self.stars["dec"]))
        self._flux = np.asarray(self.stars["flux"], np.float64)

    def __len__(self) -> int:
        return self.config.n_frame

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
        place = [
            np.clip((position - span.start) / (span.stop - span.start - 1), 0, 1) * (prf.N_GRID - 1)
            for position, span in zip((self._projection.row, self._projection.column), self.config.science, strict=True)
        ]
        return place[0], place[1]

    def positions(self, frame: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return true row and column of every star, 0-based in the full plane, (n_star,) float64 each."""
        self._check(frame)
        p = self.pointing
        row, column = self._projection.positions(p.shift_row[frame], p.shift_col[frame], p.matrix[frame])
        rest_row, rest_column = p.aberration_rest(frame, self._projection.row, self._projection.column)
        return row + rest_row, column + rest_column

    def wcs_cards(self, frame: int) -> dict[str, Any]:
        """Return the WCS cards of a frame, its pointing included."""
        self._check(frame)
        p = self.pointing
        return pointing_terms(self._cards, float(p.shift_row[frame]), float(p.shift_col[frame]), p.matrix[frame])

    def true_wcs(self, frame: int) -> WCS:
        """Return the WCS of a frame, whether or not its header has one.

        True positions differ from it by ``pointing.rest_px`` at most: the aberration's quadratic rest.
        """
        return make_wcs(self.wcs_cards(frame))

    def noise_free(self, frame: int) -> NDArray[np.float32]:
        """Return what the calibrated plane of a frame would be without noise and cosmic rays.

        Returns
        -------
        (n_row + 30, n_col + 88) float32
            e-/s: stars, background, saturation with its bleeding, collateral level.
        """
        self._check(frame)
        shape = self.config.shape
        if self.config.unique_pixels:
            n_pixel = shape[0] * shape[1]
            return np.arange(1 + frame * n_pixel, 1 + (frame + 1) * n_pixel, dtype=np.float32).reshape(shape)
        return self._expose(frame, np.zeros(shape, bool))

    def _expose(self, frame: int, full: NDArray[np.bool_]) -> NDArray[np.float32]:
        image = np.zeros(self.config.shape, np.float32)
        rows, cols = self.config.science
        window = rows.start, rows.stop, cols.start, cols.stop
        render.add_background(image, *window, *self.background.profiles(frame))
        self._add_stars(image, frame, self._flux * self.relative_flux[frame])
        render.bleed(image, *window, self.config.full_well_e_s, full)
        image[:, : cols.start] = image[:, cols.stop :] = image[rows.stop :] = detector.COLLATERAL_E_S
        return image

    def _add_stars(self, image: NDArray[np.float32], frame: int, flux: NDArray[np.float64]) -> None:
        rows, cols = self.config.science
        row, column = self.positions(frame)
        blur = self.pointing.blur[frame]
        moves = blur if blur.any() else blur[:1]
        for down, right in moves:
            render.add_stars(
                image, rows.start, rows.stop, cols.start, cols.stop, self._stamps, *self._grid,
                row + down, column + right, flux / len(moves),
            )  # fmt: skip

    def stars_only(self, frame: int, flux: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the plane of stars of other fluxes at their places of a frame, nothing else and nothing saturated.

        Parameters
        ----------
        frame : int
        flux : (n_star,) float64
            e-/s.
        """
        image = np.zeros(self.config.shape, np.float32)
        self._add_stars(image, frame, flux)
        return image

    def saturated_pixels(self) -> NDArray[np.bool_]:
        """Return where the full plane reaches the full well in any frame, bleeding included, (n_row, n_col) bool."""
        return self._saturated.copy()

    @functools.cached_property
    def _saturated(self) -> NDArray[np.bool_]:
        full = np.zeros(self.config.shape, bool)
        for frame in range(self.config.n_frame):
            self._expose(frame, full)
        return full

    def variable_pixels(self, least_e_s: float = 0.05) -> NDArray[np.bool_]:
        """Return where variable stars change a pixel by more than `least_e_s` at their peak, (n_row, n_col) bool."""
        change = self._flux * np.abs(self.relative_flux - 1).max(axis=0)
        return np.asarray(self.stars_only(self.config.n_frame // 2, change) > least_e_s)
