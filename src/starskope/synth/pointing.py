"""How the field moves on the CCD: drift, jitter, momentum dumps, the unflagged episode, roll, velocity aberration.

Owns the motion of each frame as numbers: what the WCS of the frame carries (shift, roll, linear aberration), what it
does not (the quadratic rest of the aberration), and the blur of a restless frame. Refuses to move stars:
`sky.StarProjection` does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from starskope.synth.config import N_LEADING, SectorConfig, random_generator
from starskope.synth.spacecraft import Timeline

__all__ = ["N_BLUR", "Pointing", "make_pointing"]

N_BLUR = 5
"""Positions at which a restless frame is exposed; calm frames have one."""
_ROLL_DRIFT = 2e-5
_ROLL_JITTER = 2e-6
_REST_FRACTION = 0.08


@dataclass(frozen=True, eq=False)
class Pointing:
    """Motions relative to the reference WCS.

    Attributes
    ----------
    shift_row, shift_col : (n_frame,) float64
        Pixels by which all stars move.
    roll : (n_frame,) float64
        Radians.
    aberration : (n_frame,) float64
        Course of the velocity aberration, -0.5 to 0.5 over the sector.
    blur : (n_frame, N_BLUR, 2) float64
        Row and column offsets of the sub-exposures about the mean of a restless frame; zero in calm frames.
    matrix : (n_frame, 2, 2) float64
        Roll and linear aberration on focal-plane offsets (column, row).
    rest_px : float
        Largest shift by the quadratic rest of the aberration that the frames' WCS do not carry, pixels.
    """

    shift_row: NDArray[np.float64]
    shift_col: NDArray[np.float64]
    roll: NDArray[np.float64]
    aberration: NDArray[np.float64]
    blur: NDArray[np.float64]
    matrix: NDArray[np.float64]
    rest_px: float
    _centre: tuple[float, float]
    _half: tuple[float, float]

    def aberration_rest(
        self, frame: int, row: NDArray[np.float64], column: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the row and column shifts, pixels, of the quadratic rest at positions in the full plane."""
        y, x = (row - self._centre[0]) / self._half[0], (column - self._centre[1]) / self._half[1]
        scale = 2 * self.aberration[frame] * self.rest_px
        return scale * 0.5 * (x * x + y * y - 1) * 0.8, scale * 0.6 * x * y


def make_pointing(config: SectorConfig, timeline: Timeline) -> Pointing:
    """Draw the motions of a sector; all CCDs of a camera share them.

    Notes
    -----
    Calm frames: jitter of `jitter_px` rms per axis about a drift of `drift_px` along each orbit, quick after the gap
    and slow later. Dumps: 0.4 to 1.2 times `dump_px` in one frame. Episode: offsets of 0.4 to 1.2 times `episode_px`,
    another in each frame.
    """
    rng = random_generator(config, "pointing")
    n = config.n_frame
    settling = np.exp(-timeline.segment_phase / 0.15)
    late = timeline.cadence > timeline.cadence[0] + (timeline.cadence[-1] - timeline.cadence[0]) / 2
    side = np.where(late, -1.0, 1.0)
    jitter = rng.standard_normal((2, n)) * config.jitter_px
    offset = np.stack(
        [
            config.drift_px * (0.7 * (timeline.segment_phase - 0.5) - 0.3 * settling * side),
            config.drift_px * side * (0.5 * np.cos(np.pi * timeline.segment_phase) + 0.3 * settling),
        ]
    )
    roll = rng.standard_normal(n) * _ROLL_JITTER + _ROLL_DRIFT * (timeline.segment_phase - 0.5) * side
    restless = timeline.dump | timeline.episode
    angle = rng.uniform(0, 2 * np.pi, n)
    size = rng.uniform(0.4, 1.2, n) * np.where(timeline.dump, config.dump_px, config.episode_px) * restless
    offset += jitter + size * np.stack([np.sin(angle), np.cos(angle)])
    blur = rng.standard_normal((n, N_BLUR, 2)) * (0.6 * size)[:, None, None]
    blur -= blur.mean(axis=1, keepdims=True)
    span = timeline.time[-1] - timeline.time[0]
    aberration = (timeline.time - timeline.time[0]) / span - 0.5 if span else np.zeros(n)
    diagonal = np.hypot(config.n_row, config.n_col)
    stretch = config.dva_px / diagonal * np.array([[0.8, 0.3], [0.3, -0.6]])
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    return Pointing(
        shift_row=offset[0],
        shift_col=offset[1],
        roll=roll,
        aberration=aberration,
        blur=blur,
        matrix=roll[:, None, None] * turn + aberration[:, None, None] * stretch,
        rest_px=_REST_FRACTION * config.dva_px,
        _centre=(0.5 * (config.n_row - 1), N_LEADING + 0.5 * (config.n_col - 1)),
        _half=(0.5 * config.n_row, 0.5 * config.n_col),
    )
