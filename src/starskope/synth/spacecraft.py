"""When frames are taken and where the spacecraft is then.

Owns the timeline (cadences, mid-sector gap, missing frames, momentum dumps, the unflagged episode), the stated path of
the spacecraft and the light-travel time along it. Refuses pixels: how the field moves is `pointing`.

The path: Earth from astropy's built-in ephemeris, plus a Kepler orbit of 13.7 d about Earth with perigee 17 and apogee
59 Earth radii (1.25 light-seconds), inclined by 37 degrees to the ecliptic, at perigee when the sector starts.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.coordinates import get_body_barycentric
from astropy.time import Time
from numpy.typing import NDArray

from starskope.synth.config import SectorConfig, random_generator

__all__ = ["DUMP_QUALITY", "Timeline", "barycentric_correction", "make_timeline", "spacecraft_path", "utc_text"]

BTJD_ZERO = 2457000
DUMP_QUALITY = 32
"""DQUALITY of a reaction-wheel desaturation."""
_FIRST_FFI_INDEX = 4697
_LIGHT_SECOND = 299792.458 * u.km
_ORBIT_DAYS = 13.7
_EARTH_RADIUS = 6378.137 / 299792.458
_SEMI_MAJOR = 38.0 * _EARTH_RADIUS
_ECCENTRICITY = 21.0 / 38.0
_INCLINATION, _NODE, _PERIGEE_ARGUMENT = np.deg2rad(37.0), np.deg2rad(60.0), np.deg2rad(250.0)
_OBLIQUITY = np.deg2rad(23.4392911)


@dataclass(frozen=True, eq=False)
class Timeline:
    """The frames of a sector in time; every array is (n_frame,).

    Attributes
    ----------
    cadence : int64
        Cadence number from the sector's start; gap and missing frames are skipped.
    ffi_index : int64
        FFIINDEX of the primary header.
    start, stop, time : float64
        Spacecraft TSTART, TSTOP and mid-exposure: BTJD days, TDB.
    quality : int32
        DQUALITY: 32 in momentum dumps, else 0.
    episode : bool
        Frames of the jitter episode, which no flag marks.
    segment_phase : float64
        0 to 1 along the orbit before the gap, and again along the one after it.
    """

    cadence: NDArray[np.int64]
    ffi_index: NDArray[np.int64]
    start: NDArray[np.float64]
    stop: NDArray[np.float64]
    time: NDArray[np.float64]
    quality: NDArray[np.int32]
    episode: NDArray[np.bool_]
    segment_phase: NDArray[np.float64]

    @property
    def dump(self) -> NDArray[np.bool_]:
        """Frames that hold a momentum dump."""
        return np.asarray(self.quality != 0)


def make_timeline(config: SectorConfig) -> Timeline:
    """Lay out the frames of a sector.

    Notes
    -----
    Momentum dumps come every 2.5 d, or four times when the sector is shorter than 10 d. The jitter episode starts at 72
    % of the frames and lasts six hours or 5 % of them, whichever is shorter. Sectors of fewer than 24 frames have none
    of these.
    """
    n_frame, eventful = config.n_frame, config.n_frame >= 24
    observed_days = n_frame * config.cadence_days
    gap_days = min(1.1, 0.12 * observed_days) if config.gap_days is None else config.gap_days
    n_gap = round(gap_days / config.cadence_days) if eventful or config.gap_days is not None else 0
    n_missing = config.n_missing if eventful else 0
    n_present = n_frame + n_missing
    first_half = max(n_present // 2, 1)
    cadence = np.arange(n_present)
    cadence[first_half:] += n_gap
    if n_missing:
        inner = np.setdiff1d(np.arange(1, n_present - 1), [first_half - 1, first_half])
        lost = random_generator(config, "timeline").choice(inner, n_missing, replace=False)
        cadence = np.delete(cadence, lost)
    start = np.asarray(config.first_start + cadence * config.cadence_days, np.float64)
    phase = np.where(
        cadence < first_half, cadence / first_half, (cadence - first_half - n_gap) / max(n_present - first_half, 1)
    )
    quality = np.zeros(n_frame, np.int32)
    episode = np.zeros(n_frame, bool)
    if eventful:
        every = min(2.5, observed_days / 4)
        days = (cadence + 0.5) * config.cadence_days
        for moment in np.arange(every / 2, days[-1], every):
            nearest = int(np.argmin(np.abs(days - moment)))
            if abs(days[nearest] - moment) < config.cadence_days:
                quality[nearest] = DUMP_QUALITY
        length = max(round(min(0.25 / config.cadence_days, 0.05 * n_frame)), 2)
        episode[np.flatnonzero((np.arange(n_frame) >= int(0.72 * n_frame)) & (quality == 0))[:length]] = True
    return Timeline(
        cadence=cadence,
        ffi_index=_FIRST_FFI_INDEX + cadence,
        start=start,
        stop=start + config.cadence_days,
        time=start + 0.5 * config.cadence_days,
        quality=quality,
        episode=episode,
        segment_phase=phase,
    )


def spacecraft_path(btjd: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the spacecraft's barycentric position.

    Parameters
    ----------
    btjd : (n,) float64
        BTJD, TDB.

    Returns
    -------
    (n, 3) float64
        Light-seconds, ICRS axes.
    """
    time = Time(np.full(len(btjd), float(BTJD_ZERO)), btjd, format="jd", scale="tdb")
    earth = get_body_barycentric("earth", time, ephemeris="builtin").xyz / _LIGHT_SECOND
    return np.asarray(earth.to_value(u.one).T + _orbit(btjd))


def _orbit(btjd: NDArray[np.float64]) -> NDArray[np.float64]:
    mean = 2 * np.pi * (btjd - 1325.0) / _ORBIT_DAYS
    eccentric = mean + _ECCENTRICITY * np.sin(mean)
    for _ in range(12):
        eccentric -= (eccentric - _ECCENTRICITY * np.sin(eccentric) - mean) / (1 - _ECCENTRICITY * np.cos(eccentric))
    x = _SEMI_MAJOR * (np.cos(eccentric) - _ECCENTRICITY)
    y = _SEMI_MAJOR * np.sqrt(1 - _ECCENTRICITY**2) * np.sin(eccentric)
    rotation = _about_x(_OBLIQUITY) @ _about_z(_NODE) @ _about_x(_INCLINATION) @ _about_z(_PERIGEE_ARGUMENT)
    return np.asarray((rotation @ np.stack([x, y, np.zeros_like(x)])).T)


def _about_x(angle: float) -> NDArray[np.float64]:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _about_z(angle: float) -> NDArray[np.float64]:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def barycentric_correction(path: NDArray[np.float64], direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the light-travel time to the barycentre in days: BJD minus spacecraft time.

    Parameters
    ----------
    path : (n, 3) float64
        Light-seconds.
    direction : (3,) or (m, 3) float64
        Unit vectors.

    Returns
    -------
    (n,) or (n, m) float64
    """
    return np.asarray(path @ direction.T / 86400.0)


def utc_text(btjd: NDArray[np.float64]) -> list[str]:
    """Return UTC calendar dates as SPOC writes them, ``2018-07-25T19:29:42.708Z``, of BTJD (TDB)."""
    time = Time(np.full(len(btjd), float(BTJD_ZERO)), btjd, format="jd", scale="tdb", precision=3)
    return [f"{text}Z" for text in time.utc.isot]


def stamp_text(date: str) -> str:
    """Return the ``YYYYDOYhhmmss`` of a key from the DATE-OBS of the primary header; fractions of a second are cut."""
    moment = dt.datetime.fromisoformat(date.removesuffix("Z"))
    return moment.strftime("%Y%j%H%M%S")
