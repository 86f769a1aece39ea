"""The light between the stars: zodiacal light and scattered light that moves over the CCD.

Owns the background of each frame as a short sum of products of a row and a column profile, so that a plane costs a few
multiplications per pixel and any pixel's truth follows from two vectors. Refuses stars and noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from starskope.synth.config import SectorConfig, random_generator
from starskope.synth.spacecraft import Timeline

__all__ = ["Background"]

_LEAST_WIDTH = 110.0


@dataclass(frozen=True)
class _Patch:
    """Scattered light from one body: a Gaussian that crosses the field."""

    peak: float
    when: float
    duration: float
    start: tuple[float, float]
    path: tuple[float, float]


class Background:
    """Background of the frames of one CCD.

    Parameters
    ----------
    config : SectorConfig
    timeline : Timeline

    Notes
    -----
    Zodiacal light: a plane that falls by a tenth across the field and drifts by 3 % over the sector. Scattered light:
    Earth's, which rises towards both ends of each orbit while its patch crosses the field, and the Moon's, weaker and
    slower. Patches are 0.45 of the field wide and never narrower than 110 pixels: scattered light has no finer
    structure.
    """

    def __init__(self, config: SectorConfig, timeline: Timeline) -> None:
        self._config, self._timeline = config, timeline
        rng = random_generator(config, "background")
        tilt = rng.uniform(-0.05, 0.05, 2)
        y, x = (np.linspace(-1, 1, n) for n in (config.n_row, config.n_col))
        self._zodi_row = np.stack([1 + tilt[0] * y, np.ones_like(y)])
        self._zodi_col = np.stack([np.ones_like(x), tilt[1] * x])
        self._row, self._col = np.arange(config.n_row) / config.n_row, np.arange(config.n_col) / config.n_col
        self._width = tuple(max(0.45, _LEAST_WIDTH / n) for n in (config.n_row, config.n_col))
        corner = rng.uniform(-0.2, 0.2, (3, 2))
        # Phase within an orbit at which each patch is brightest; 0 and 1 are perigee.
        self._patches = (
            _Patch(1.0, 0.0, 0.12, (corner[0, 0], corner[0, 1] + 0.2), (0.9, 0.5)),
            _Patch(1.0, 1.0, 0.16, (1.0 + corner[1, 0], 0.1), (-0.7, 0.8)),
            _Patch(0.25, 0.55, 0.25, (0.3, 1.0 + corner[2, 1]), (0.4, -0.9)),
        )

    def profiles(self, frame: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return row and column profiles whose products sum to the background in e-/s.

        Returns
        -------
        (5, n_row), (5, n_col) float32
        """
        config, timeline = self._config, self._timeline
        span = max(float(timeline.time[-1] - timeline.time[0]), 1e-9)
        level = config.zodiacal_e_s * (1 + 0.03 * ((timeline.time[frame] - timeline.time[0]) / span - 0.5))
        rows, cols = [*(level * self._zodi_row)], [*self._zodi_col]
        phase = float(timeline.segment_phase[frame])
        for patch in self._patches:
            strength = config.scattered_e_s * patch.peak * np.exp(-0.5 * ((phase - patch.when) / patch.duration) ** 2)
            travelled = phase - patch.when
            y = self._row - patch.start[0] - patch.path[0] * travelled
            x = self._col - patch.start[1] - patch.path[1] * travelled
            rows.append(strength * np.exp(-0.5 * (y / self._width[0]) ** 2))
            cols.append(np.exp(-0.5 * (x / self._width[1]) ** 2))
        return np.asarray(rows, np.float32), np.asarray(cols, np.float32)

    def image(self, frame: int) -> NDArray[np.float64]:
        """Return the background of the science pixels, (n_row, n_col) float64, e-/s."""
        rows, cols = self.profiles(frame)
        return np.asarray(rows.astype(np.float64).T @ cols.astype(np.float64))
