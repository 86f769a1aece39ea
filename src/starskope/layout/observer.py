"""Where the telescope was: its path around the solar system's barycentre, and directions to stars.

Owns the observer's vector ``(n_time, 3)`` in light-seconds on ICRS axes, from Earth's ephemeris and the barycentric
corrections that TESS frames carry. Refuses Kepler and K2, which trail far behind Earth: take the times in their files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import erfa
import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope.errors import FrameError

__all__ = ["ccd_centre", "earth_path", "solve_observer", "unit_vectors"]

F64 = NDArray[np.float64]

SECONDS_PER_DAY = 86400.0
# IAU 2012 astronomical unit over the speed of light.
_FIRST_JD, _LAST_JD = 2_415_020.5, 2_488_069.5
_AU_LIGHT_S = 149_597_870_700.0 / 299_792_458.0
# TESS's apogee lies 1.26 light-seconds from Earth; a card further off than this is no card of TESS for this direction.
_MAX_FROM_EARTH_S = 5.0
# Cards hold 8 digits (about 10 us): along singular vectors weaker than this they say less than Earth's place does.
_WEAKEST_DIRECTION = 1e-4


def unit_vectors(ra: ArrayLike, dec: ArrayLike) -> F64:
    """Return the unit vectors of sky positions.

    Parameters
    ----------
    ra, dec : (n,) float64
        Degrees, ICRS; NaN = not known.

    Returns
    -------
    (n, 3) float64
        A row of NaN where either angle is NaN.
    """
    alpha, delta = np.radians(np.asarray(ra, np.float64)), np.radians(np.asarray(dec, np.float64))
    alpha, delta = np.broadcast_arrays(alpha, delta)
    vectors: F64 = np.stack(
        [
            np.cos(delta) * np.cos(alpha),
            np.cos(delta) * np.sin(alpha),
            np.where(np.isnan(alpha), np.nan, np.sin(delta)),
        ],
        axis=-1,
    )
    return np.atleast_2d(np.where(np.isnan(delta)[..., None], np.nan, vectors))


def ccd_centre(header: Mapping[str, Any], shape: tuple[int, int]) -> tuple[float, float]:
    """Row and column (0-based) of the pixel for which a frame's BARYCORR card holds.

    The cards BTC_PIX2 and BTC_PIX1 name it; without them it is the centre of SCIROWS to SCIROWE, SCCSA to SCCED, taken
    as the cards stand, so that a trimmed frame still gives the centre of its CCD; without these too, the centre of the
    plane.
    """
    try:
        return float(header["BTC_PIX2"]) - 1.0, float(header["BTC_PIX1"]) - 1.0
    except (KeyError, TypeError, ValueError):
        pass
    try:
        rows = float(header["SCIROWS"]), float(header["SCIROWE"])
        columns = float(header["SCCSA"]), float(header["SCCED"])
    except (KeyError, TypeError, ValueError):
        return (shape[0] - 1) / 2.0, (shape[1] - 1) / 2.0
    return sum(rows) / 2.0 - 1.0, sum(columns) / 2.0 - 1.0


def earth_path(time: ArrayLike, time_zero: float = 2457000.0) -> F64:
    """Path of Earth's centre from the barycentre of the solar system.

    Parameters
    ----------
    time : (n_time,) float64
        Days since ``time_zero``, TDB; NaN gives a row of NaN.
    time_zero : float
        Julian date of time 0.

    Returns
    -------
    (n_time, 3) float64
        Light-seconds, ICRS axes.

    Raises
    ------
    ValueError
        A time lies outside the years 1900 to 2100, where the ephemeris holds.

    Notes
    -----
    ERFA's ``epv00`` (the built-in ephemeris of astropy): within 5 km (20 us) of JPL's DE405. Nothing is downloaded.
    """
    days = np.atleast_1d(np.asarray(time, np.float64))
    known = np.isfinite(days)
    julian = days[known] + time_zero
    outside = (julian < _FIRST_JD) | (julian > _LAST_JD)
    if outside.any():
        worst = julian[outside][0]
        raise ValueError(
            f"time {worst - time_zero:.6g} after time zero {time_zero} is JD {worst:.1f}, outside 1900 to 2100: "
            "give days since time_zero (2457000 for TESS, 0 for full Julian dates)"
        )
    path = np.full((days.size, 3), np.nan)
    if julian.size:
        path[known] = erfa.epv00(time_zero, days[known])[1]["p"] * _AU_LIGHT_S
    return path


def solve_observer(
    time: ArrayLike, directions: ArrayLike, barycorr_days: ArrayLike, time_zero: float = 2457000.0
) -> F64:
    """Path of TESS: Earth's, with the smallest correction that meets the barycentric corrections of the frames.

    Parameters
    ----------
    time : (n_time,) float64
        Mid-exposure times at the spacecraft, TDB, days since ``time_zero``.
    directions : (n_ccd, 3) float64
        Unit vectors to the centres of the CCDs, see `ccd_centre`.
    barycorr_days : (n_time, n_ccd) float64
        BARYCORR cards in days; NaN = not known. A card more than 5 s off Earth's value cannot be TESS's and counts as
        NaN.
    time_zero : float
        Julian date of time 0.

    Returns
    -------
    (n_time, 3) float64
        Light-seconds, ICRS axes. Earth's path where no card is known.

    Raises
    ------
    ValueError
        Shapes do not fit together.
    FrameError
        Cards are there, but none agrees with Earth's path: directions or times belong to something else.

    Notes
    -----
    With ``D`` the directions whose cards ``b`` are known and ``e`` Earth's place, the result is
    ``e + pinv(D) (86400 b - D e)``: it meets up to three cards exactly, more in the least-squares sense, and stays
    with Earth where the cards say nothing. Cards are rounded to 8 digits (10 us). One CCD leaves the place across its
    line of sight unknown to about 1 s: right at its centre, wrong by up to 0.2 s at its corners, 8 degrees away.
    """
    times = np.atleast_1d(np.asarray(time, np.float64))
    pointing = np.atleast_2d(np.asarray(directions, np.float64))
    cards = np.asarray(barycorr_days, np.float64)
    if pointing.ndim != 2 or pointing.shape[1] != 3:
        raise ValueError(f"directions has shape {pointing.shape}; expected (n_ccd, 3): one unit vector per CCD")
    if cards.ndim == 1 and pointing.shape[0] == 1:
        cards = cards[:, None]
    if cards.shape != (times.size, pointing.shape[0]):
        raise ValueError(
            f"barycorr_days has shape {cards.shape}; expected ({times.size}, {pointing.shape[0]}): time by CCD"
        )
    path = earth_path(times, time_zero)
    residual = cards * SECONDS_PER_DAY - _along(path, pointing)
    given = np.isfinite(residual)
    usable = given & (np.abs(np.where(given, residual, 0.0)) <= _MAX_FROM_EARTH_S)
    if given.any() and not usable.any():
        nearest = np.min(np.abs(residual[given]))
        raise FrameError(
            f"all {np.count_nonzero(given)} BARYCORR cards differ from Earth's path by {nearest:.1f} s or more "
            f"(TESS stays within 1.3 s): check the directions of the CCDs and the times"
        )
    # One pseudo-inverse per pattern of known cards: there are few patterns, and the result depends on no order of work.
    residual = np.where(usable, residual, 0.0)
    patterns, which = np.unique(usable, axis=0, return_inverse=True)
    for k, pattern in enumerate(patterns):
        if pattern.any():
            rows = np.flatnonzero(which.ravel() == k)
            inverse = np.linalg.pinv(pointing[pattern], rcond=_WEAKEST_DIRECTION)
            path[rows] += _along(residual[np.ix_(rows, np.flatnonzero(pattern))], inverse)
    return path


def _along(vectors: F64, onto: F64) -> F64:
    """Scalar products (n, m) of vectors (n, k) and (m, k), summed in one order whatever n and the BLAS are."""
    products: F64 = (vectors[:, None, :] * onto[None, :, :]).sum(axis=-1)
    return products
