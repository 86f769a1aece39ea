"""Which cadences not to trust: the mission's flags, known bad intervals, and what the stars themselves say.

Owns the default bad bits of each mission, the table of intervals that no flag tells, and the judgement of a cadence by
all stars of a CCD at once. Refuses to drop cadences (the time axis stays whole, the flux becomes NaN) and to judge a
single star's outliers: a transit is one.

Sources: TESS Science Data Products Description Document (EXP-TESS-ARC-ICD-0014, table of cadence quality flags);
Kepler Archive Manual (KDMC-10008, table of SAP_QUALITY bits), whose bits K2 shares; TESS Data Release Notes (DRN) 1, 4,
5 and 18 for the intervals.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from starskope.curves.missions import PIPELINE_FLAG
from starskope.validation import integer_at_least

if TYPE_CHECKING:
    from starskope.curves.container import LightCurves

__all__ = [
    "BAD_BITS",
    "BAD_INTERVAL",
    "BAD_INTERVALS",
    "ENSEMBLE",
    "MOST_JUDGES",
    "BadInterval",
    "judges",
    "mask",
    "restless_cadences",
]

BAD_INTERVAL = 1 << 28
"""Quality bit of cadences that lie in a known bad interval; no mission uses it."""
ENSEMBLE = 1 << 29
"""Quality bit of cadences at which the stars of the set scatter too much; no mission uses it."""

_TESS = (
    1  # attitude tweak
    | 2  # safe mode
    | 4  # coarse pointing
    | 8  # Earth in a camera
    | 16  # argabrightening
    | 32  # momentum dump
    | 128  # manual exclude
    | 512  # impulsive outlier
    | 4096  # scattered light
    | 8192  # planet search exclude
    | 16384  # bad calibration
    | PIPELINE_FLAG  # what a community pipeline flags beside the mission
)
_KEPLER = (
    1  # attitude tweak
    | 2  # safe mode
    | 4  # coarse pointing
    | 8  # Earth point
    | 32  # reaction wheel desaturation
    | 64  # argabrightening across the detectors
    | 256  # manual exclude
    | 2048  # impulsive outlier
    | 4096  # argabrightening on this channel
    | 16384  # detector anomaly
    | 32768  # not in fine point
    | 65536  # no data
)
_THRUSTERS = 1048576  # K2's roll is reset by firing them every 6 h; the bit of possible firings is mostly a false alarm

BAD_BITS = {"TESS": _TESS, "Kepler": _KEPLER, "K2": _KEPLER | _THRUSTERS}
"""Mission to the bits that make a cadence unfit for a search.

Left in: cosmic rays that the mission has removed, Kepler's zero crossings and rolling bands, TESS's discontinuities
that were corrected and the stray light that is set by eye.
"""

LEAST_STARS = 20
"""Stars that an ensemble needs before its scatter says something of a cadence."""

MOST_JUDGES = 2000
"""Stars that judge cadences: more would sharpen nothing and cost memory."""
# Both must be exceeded: so many times the scatter of a usual cadence, and so many spreads of it above that.
_RESTLESS, _SPREADS = 1.5, 6.0
_WINDOW_DAYS, _GAP_DAYS = 0.75, 0.5


@dataclass(frozen=True)
class BadInterval:
    """Data that were taken but should not be searched: times in Julian days (TDB), ends included."""

    mission: str
    start_jd: float
    stop_jd: float
    why: str


def _tess(start: float, stop: float, why: str) -> BadInterval:
    return BadInterval("TESS", 2457000.0 + start, 2457000.0 + stop, why)


BAD_INTERVALS = (
    _tess(1347.2, 1349.5, "sector 1: pointing jitter, unflagged (DRN 1)"),
    _tess(1382.0, 1385.8966, "sector 3: tests of the attitude control (DRN 4)"),
    _tess(1406.2925, 1409.4, "sector 3: tests of the attitude control (DRN 4)"),
    _tess(1418.53, 1421.22, "sector 4: instrument reset (DRN 5)"),
    _tess(1665.2983, 1665.3500, "sector 13: star tracker upset, out of fine pointing (DRN 18)"),
)
"""Intervals that are bad for every star, whatever the flags say."""


def mask(
    curves: LightCurves, *, flags: int | None = None, bad_intervals: bool = True, ensemble: bool | None = None
) -> LightCurves:
    """Return light curves whose flux is NaN at every cadence that is not to be trusted.

    Parameters
    ----------
    curves : LightCurves
        The set; the ensemble is judged on all of its stars, so give a whole CCD where there is one.
    flags : int, optional
        Quality bits that are bad, 0 = none; default: those of the mission (`BAD_BITS`), every bit for a mission that is
        not known here.
    bad_intervals : bool
        Also leave out `BAD_INTERVALS` of the mission.
    ensemble : bool, optional
        Also leave out cadences at which the stars scatter; default: with 20 stars and more.

    Returns
    -------
    LightCurves
        All cadences, with `BAD_INTERVAL` and `ENSEMBLE` set in ``quality`` where these hold. Cadences that carry these
        bits already (an earlier mask) are left out again, whatever ``flags`` says.

    Raises
    ------
    ValueError
        ``ensemble=True`` with fewer than 20 stars, or negative ``flags``.
    """
    bits = BAD_BITS.get(curves.mission, (1 << 28) - 1) if flags is None else integer_at_least(flags, "flags", 0)
    if ensemble is None:
        ensemble = curves.n_star >= LEAST_STARS
    elif ensemble and curves.n_star < LEAST_STARS:
        raise ValueError(f"ensemble=True with {curves.n_star} stars: expected {LEAST_STARS} or more, or ensemble=False")
    quality = curves.quality.copy()
    if bad_intervals:
        jd = curves.time + curves.time_zero
        for interval in BAD_INTERVALS:
            if interval.mission == curves.mission:
                quality[(jd >= interval.start_jd) & (jd <= interval.stop_jd)] |= BAD_INTERVAL
    flux = curves.flux.copy()
    flux[(quality & (bits | BAD_INTERVAL | ENSEMBLE)) != 0] = np.nan
    if ensemble:
        restless = restless_cadences(curves.time, flux)
        quality[restless] |= ENSEMBLE
        flux[restless] = np.nan
    notes = {"flags": bits, "bad_intervals": bool(bad_intervals), "ensemble": bool(ensemble)}
    return replace(curves, flux=flux, quality=quality, meta={**curves.meta, "masked": notes})


def judges(n_star: int) -> slice:
    """Return which of so many stars judge the cadences: all, or every second, third, ... of more than 2,000."""
    return slice(None, None, max(1, -(-n_star // MOST_JUDGES)))


def restless_cadences(time: NDArray[np.float64], flux: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Find the cadences at which the stars of a set scatter more about their trends than they do at other times.

    Parameters
    ----------
    time : (n_time,) float64
        Days, strictly increasing.
    flux : (n_time, n_star) float32
        NaN = missing.

    Returns
    -------
    (n_time,) bool

    Notes
    -----
    A star's residual from its biweight trend is divided by the star's usual one (its median over time). The scatter of
    a cadence is the median of these over the stars, so that no few of them in eclipse move it; a shift that all stars
    share counts as scatter. A cadence is restless when its scatter exceeds 1.5 times the median over the cadences and
    lies more than 6 times their spread (1.4826 MAD) above it. Of more than 2,000 stars every second, third, ... judges.

    Within half a window of a gap the trend lags behind every slope; there the second difference of neighbouring
    cadences takes the place of the residual. It sees noise and steps, but no drift.
    """
    from starskope.curves.biweight import biweight  # numba: not for those who only read and write

    if flux.size == 0:
        return np.zeros(time.size, dtype=np.bool_)
    flux = flux[:, judges(flux.shape[1])]
    trend = biweight(time, flux, _WINDOW_DAYS, break_tolerance=_GAP_DAYS, edge_days=0.5 * _WINDOW_DAYS)
    scatter = _ensemble_scatter(np.abs(flux - trend))
    steps = _ensemble_scatter(np.abs(_second_differences(time, flux)))
    restless: NDArray[np.bool_] = np.where(np.isnan(scatter), _stands_out(steps), _stands_out(scatter))
    return restless


def _ensemble_scatter(residual: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median over the stars of absolute residuals (n_time, n_star), each in units of the star's own median."""
    usual = _finite_median(residual, axis=0)
    usual[~(usual > 0)] = np.nan
    return _finite_median(residual / usual, axis=1)


def _stands_out(scatter: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Find what exceeds the bulk; NaN does not. Done twice, for what stands out widens the scale of the first round."""
    outside = np.zeros(scatter.shape, dtype=np.bool_)
    for _ in range(2):
        bulk = np.where(outside, np.nan, scatter)
        usual = _finite_median(bulk, axis=0)
        spread = 1.4826 * _finite_median(np.abs(bulk - usual), axis=0)
        outside = scatter > np.maximum(_RESTLESS * usual, usual + _SPREADS * spread)
    return outside


def _second_differences(time: NDArray[np.float64], flux: NDArray[np.float32]) -> NDArray[np.float32]:
    """Flux less the mean of both neighbours, among the cadences that have any value; next to a gap the nearest one."""
    curved = np.full(flux.shape, np.nan, np.float32)
    rows = np.flatnonzero(np.isfinite(flux).any(axis=1))
    for part in np.split(rows, np.flatnonzero(np.diff(time[rows]) > _GAP_DAYS) + 1):
        if part.size >= 3:
            x = flux[part]
            curved[part[1:-1]] = x[1:-1] - np.float32(0.5) * (x[:-2] + x[2:])
            curved[part[[0, -1]]] = curved[part[[1, -2]]]
    return curved


def _finite_median(values: NDArray[Any], axis: int) -> NDArray[Any]:
    """Median along an axis without what is NaN; NaN where nothing is left, without a warning."""
    ordered = np.sort(values, axis=axis)
    n_value = np.count_nonzero(~np.isnan(ordered), axis=axis, keepdims=True)
    low, high = np.maximum(n_value - 1, 0) // 2, np.minimum(n_value // 2, ordered.shape[axis] - 1)
    picked = 0.5 * (np.take_along_axis(ordered, low, axis) + np.take_along_axis(ordered, high, axis))
    median: NDArray[Any] = np.squeeze(picked, axis=axis)
    return median
