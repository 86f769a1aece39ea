"""What the CCD and its calibration make of light: noise, cosmic rays, saturation levels, collateral pixels.

Owns noise and its arithmetic: 1,425.6 s of light and 720 readouts per 1,800 s frame, read noise of the four outputs.
Refuses to draw the sky. Units are e-/s throughout, as in calibrated frames.

Photon noise is Gaussian with the variance of the noise-free image. A pixel collects more than 1e5 electrons per frame
from the zodiacal light alone, where the Poisson distribution differs from that by less than 0.2 % in skewness.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from starskope.compiled import compiled
from starskope.synth.config import N_LEADING, SectorConfig, random_generator

__all__ = ["COLLATERAL_E_S", "READ_NOISE_E", "expose", "output_columns", "read_variance"]

COLLATERAL_E_S = 0.285
"""Level of collateral pixels after calibration, as in the real frame."""
READ_NOISE_E = (10.057999610900879, 7.464599609375, 7.307999610900879, 9.168599128723145)
"""Electrons per 2 s exposure of the outputs A to D: READNOIA ... READNOID."""
_COSMIC_FAINT, _COSMIC_BRIGHT = 3.0, 300.0


def output_columns(config: SectorConfig) -> NDArray[np.int64]:
    """Return the first science column of the outputs A to D and the end of D, 0-based in the plane, (5,)."""
    return np.asarray([N_LEADING + config.n_col * k // 4 for k in range(5)])


def read_variance(config: SectorConfig) -> NDArray[np.float32]:
    """Return the read-noise variance of each column of the plane, (n_col_full,) float32, (e-/s)**2."""
    noise = np.empty(config.shape[1])
    edges = output_columns(config)
    for output, electrons in enumerate(READ_NOISE_E):
        noise[11 * output : 11 * output + 11] = electrons
        noise[edges[output] : edges[output + 1]] = electrons
        noise[edges[4] + 11 * output : edges[4] + 11 * output + 11] = electrons
    return (config.n_readout * noise**2 / config.exposure_s**2).astype(np.float32)


@compiled()
def _add_noise(
    expected: NDArray[np.float32],
    normal: NDArray[np.float32],
    variance: NDArray[np.float32],
    exposure_s: float,
    image: NDArray[np.float32],
    uncertainty: NDArray[np.float32],
) -> None:
    per_electron = np.float32(1.0 / exposure_s)
    for row in range(expected.shape[0]):
        for col in range(expected.shape[1]):
            level = expected[row, col]
            sigma = np.sqrt(max(level, np.float32(0)) * per_electron + variance[col])
            measured = level + sigma * normal[row, col]
            image[row, col] = measured
            uncertainty[row, col] = np.sqrt(max(measured, np.float32(0)) * per_electron + variance[col])


def expose(
    config: SectorConfig, frame: int, expected: NDArray[np.float32], variance: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the calibrated plane and its uncertainty.

    Parameters
    ----------
    expected : (n_row, n_col) float32
        Noise-free plane.
    variance : (n_col,) float32
        From `read_variance`.

    Returns
    -------
    image, uncertainty : (n_row, n_col) float32
        The uncertainty is the one that a pipeline can know: from the measured value.
    """
    image, uncertainty = np.empty_like(expected), np.empty_like(expected)
    normal = random_generator(config, "noise", frame).standard_normal(expected.shape, dtype=np.float32)
    _add_noise(expected, normal, variance, config.exposure_s, image, uncertainty)
    _cosmic_rays(config, frame, image)
    return image, uncertainty


def _cosmic_rays(config: SectorConfig, frame: int, image: NDArray[np.float32]) -> None:
    """Add the hits that the on-board clip missed: short tracks of one to four pixels."""
    rng = random_generator(config, "cosmic", frame)
    rows, cols = config.science
    for _ in range(rng.poisson(config.cosmic_ray_rate * config.n_row * config.n_col)):
        row, col = rng.uniform(rows.start, rows.stop), rng.uniform(cols.start, cols.stop)
        angle, length = rng.uniform(0, 2 * np.pi), rng.integers(1, 5)
        energy = np.exp(rng.uniform(np.log(_COSMIC_FAINT), np.log(_COSMIC_BRIGHT)))
        for step in range(length):
            i, j = int(row + step * np.sin(angle)), int(col + step * np.cos(angle))
            if rows.start <= i < rows.stop and cols.start <= j < cols.stop:
                image[i, j] += np.float32(energy / length)
