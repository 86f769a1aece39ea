"""The noise that a circular aperture must have, from the truth alone.

Owns apertures laid by subsampling pixels and the sum of the variances in them. Refuses ``frames.photometry``, of which
this is the measure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from starskope.synth.detector import read_variance
from starskope.synth.scene import Scene

__all__ = ["aperture_weights", "expected_scatter"]

_SUBSAMPLE = 25
_N_SAMPLE_FRAMES = 9


def aperture_weights(
    shape: tuple[int, int], row: float, column: float, radius: float
) -> tuple[tuple[slice, slice], NDArray[np.float64]]:
    """Return the window around a circle and how much of each pixel lies inside, from 25 x 25 points per pixel."""
    low = [max(int(np.floor(centre - radius - 0.5)), 0) for centre in (row, column)]
    high = [min(int(np.ceil(centre + radius + 0.5)) + 1, n) for centre, n in zip((row, column), shape, strict=True)]
    step = (np.arange(_SUBSAMPLE) + 0.5) / _SUBSAMPLE - 0.5
    y = np.arange(low[0], high[0])[:, None] + step - row
    x = np.arange(low[1], high[1])[:, None] + step - column
    inside = y[:, :, None, None] ** 2 + x[None, None] ** 2 <= radius**2
    window = slice(low[0], high[0]), slice(low[1], high[1])
    return window, np.asarray(inside.mean(axis=(1, 3)), np.float64)


def expected_scatter(
    scene: Scene, radius: NDArray[np.float64], stars: NDArray[np.int64], frames: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the noise that apertures must have, and how much of their light comes from other stars.

    Parameters
    ----------
    scene : Scene
    radius : (n,) float64
        Pixels, one per star.
    stars : (n,) int64
        Rows of the truth table.
    frames : (n_frame,) int64
        Frames over which the median is taken; up to nine of them are computed.

    Returns
    -------
    scatter : (n,) float64
        Standard deviation per frame over the aperture's flux: photon noise of all light in it, background included, and
        read noise of all readouts. The noise of estimating the background is not in it. Inf where the aperture leaves
        the science pixels or touches saturated ones.
    foreign : (n,) float64
        Light of other stars in the aperture over the star's own.
    """
    config = scene.config
    rows, cols = config.science
    frames = frames[np.unique(np.linspace(0, len(frames) - 1, _N_SAMPLE_FRAMES).astype(int))]
    noise = read_variance(config).astype(np.float64)
    saturated = scene.saturated_pixels()
    flux = np.asarray(scene.stars["flux"], np.float64)
    scatter, foreign = np.full((len(frames), len(stars)), np.inf), np.full(len(stars), np.inf)
    middle = len(frames) // 2
    for k, frame in enumerate(frames):
        expected = scene.noise_free(int(frame)).astype(np.float64)
        light = scene.stars_only(int(frame), flux).astype(np.float64)
        row, column = scene.positions(int(frame))
        for n, star in enumerate(stars):
            reach = radius[n] + 0.5
            if not (rows.start <= row[star] - reach and row[star] + reach < rows.stop - 1):
                continue
            if not (cols.start <= column[star] - reach and column[star] + reach < cols.stop - 1):
                continue
            window, weight = aperture_weights(config.shape, row[star], column[star], radius[n])
            if (saturated[window] & (weight > 0)).any():
                continue
            variance = expected[window] / config.exposure_s + noise[window[1]]
            collected = (weight * light[window]).sum()
            scatter[k, n] = np.sqrt((weight**2 * variance).sum()) / collected
            if k == middle:
                alone = np.zeros_like(flux)
                alone[star] = flux[star]
                own = (weight * scene.stars_only(int(frame), alone)[window]).sum()
                foreign[n] = collected / own - 1
    return np.asarray(np.median(scatter, axis=0)), foreign
