"""Numbers that tell about a star without learning: of its light curve, its spectra and its transit candidate.

Owns which numbers these are, their names and units. Refuses to search or transform: it reads what `starskope.search`
found. A number that is not known is NaN.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from starskope.learn.inputs import LEAST_POWER
from starskope.learn.quantiles import median, quantiles

if TYPE_CHECKING:
    from astropy.table import Table

    from starskope.curves.container import LightCurves
    from starskope.search.spectra import Spectra

__all__ = ["CURVE", "SPECTRUM", "TRANSIT", "UNITS", "curve_numbers", "spectrum_numbers", "transit_numbers"]

Columns = dict[str, NDArray[np.float32]]

CURVE = ("curve_coverage", "curve_scatter", "curve_range", "curve_skew")
SPECTRUM = (
    "spectrum_period",
    "spectrum_ls_power",
    "spectrum_ls_false_alarm",
    "spectrum_peak",
    "spectrum_slope",
    "spectrum_floor",
    "spectrum_red",
)
_CANDIDATE = (
    "period",
    "duration",
    "depth",
    "snr",
    "sde",
    "n_transits",
    "odd_even",
    "secondary",
    "false_alarm_probability",
    "claim",
)
TRANSIT = (*(f"transit_{name}" for name in _CANDIDATE), "transit_n_claims")
UNITS = {"spectrum_period": "d", "transit_period": "d", "transit_duration": "d"}

_LEAST_FALSE_ALARM = 1e-30
_SIGMA_OF_STEPS = 1.4826 / np.sqrt(2.0)


def curve_numbers(curves: LightCurves) -> Columns:
    """Describe light curves.

    Parameters
    ----------
    curves : LightCurves
        Normalised, of ``n_star`` stars.

    Returns
    -------
    dict of (n_star,) float32
        ``curve_coverage``: fraction of cadences with light. ``curve_scatter``: log10 of the noise from cadence to
        cadence (1.48 times the median step / sqrt 2, of neighbours that are there). ``curve_range``: log10 of the
        distance of the 5th and 95th percentile. ``curve_skew``: -1 (dips) to 1 (flares), (p99 + p1 - 2 p50) / (p99 -
        p1).
    """
    flux = np.where(np.isfinite(curves.flux), curves.flux, np.float32(np.nan)).T
    p1, p5, p50, p95, p99 = quantiles(flux, (0.01, 0.05, 0.5, 0.95, 0.99))
    steps = median(np.abs(np.diff(flux, axis=1))) if flux.shape[1] > 1 else np.full(flux.shape[0], np.nan, np.float32)
    coverage = np.isfinite(flux).sum(axis=1) / max(1, flux.shape[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        skew = np.where(p99 > p1, (p99 + p1 - 2 * p50) / (p99 - p1), np.nan)
    columns: tuple[NDArray[Any], ...] = (
        coverage,
        _log(_SIGMA_OF_STEPS * steps),
        _log(p95 - p5),
        np.where(p99 > p1, skew, np.nan),
    )
    return {name: column.astype(np.float32) for name, column in zip(CURVE, columns, strict=True)}


def spectrum_numbers(power: Spectra, lomb_scargle: Spectra) -> Columns:
    """Describe spectra.

    Parameters
    ----------
    power, lomb_scargle : Spectra
        Of the same ``n_star`` stars.

    Returns
    -------
    dict of (n_star,) float32
        ``spectrum_period`` (days), ``spectrum_ls_power`` and ``spectrum_ls_false_alarm`` (log10, from -30): the highest
        peak of the Lomb-Scargle periodogram. Of the power spectrum P: ``spectrum_peak``: log10 of its maximum over its
        median; ``spectrum_slope``: d log10 P / d log10 frequency by least squares over binned frequencies;
        ``spectrum_floor``: log10 of the median P in the upper half of frequencies; ``spectrum_red``: log10 of the
        mean P in the lowest tenth over that floor.
    """
    peaks = lomb_scargle.peaks()
    nothing: NDArray[Any] = np.full(power.n_star, np.nan, np.float32)
    alarm = nothing
    if "false_alarm_probability" in peaks.colnames:
        alarm = _log(np.maximum(np.asarray(peaks["false_alarm_probability"], np.float64), _LEAST_FALSE_ALARM))
    values = power.power[1:] if power.n_freq and power.frequency[0] == 0 else power.power
    series = np.ascontiguousarray(np.where(values > LEAST_POWER, values, np.float32(np.nan)).T)
    n_freq = series.shape[1]
    floor, whole, low, highest, slope = nothing, nothing, nothing, nothing, nothing
    if n_freq >= 8:
        floor = median(series[:, n_freq // 2 :])
        low = _mean(series[:, : max(2, n_freq // 10)])
        whole, highest = quantiles(series, (0.5, 1.0))
        slope = _slope(series)
    columns: tuple[NDArray[Any], ...] = (
        np.asarray(peaks["period"], np.float64),
        np.asarray(peaks["power"], np.float64),
        alarm,
        _log(highest) - _log(whole),
        slope,
        _log(floor),
        _log(low) - _log(floor),
    )
    return {name: column.astype(np.float32) for name, column in zip(SPECTRUM, columns, strict=True)}


def transit_numbers(candidates: Table | None, first: int, n_star: int) -> Columns:
    """Take the first-ranked candidate of each star.

    Parameters
    ----------
    candidates : astropy.table.Table or None
        From `starskope.search.transits.search_transits`: columns ``star``, ``rank`` and those that are copied.
    first, n_star : int
        The stars ``first ... first + n_star`` of the column ``star`` are taken.

    Returns
    -------
    dict of (n_star,) float32
        ``transit_`` and the name of the column; ``transit_claim`` is 0 or 1, ``transit_n_claims`` counts the claimed
        rows of all ranks. NaN for a star without a row.
    """
    columns = {name: np.full(n_star, np.nan, np.float32) for name in TRANSIT}
    if candidates is None or not len(candidates):
        return columns
    missing = [name for name in ("star", "rank", *_CANDIDATE) if name not in candidates.colnames]
    if missing:
        raise ValueError(f"candidates has no column {', '.join(missing)}: give the table of search_transits")
    star = np.asarray(candidates["star"], np.int64) - first
    here = (star >= 0) & (star < n_star)
    leading = here & (np.asarray(candidates["rank"]) == 0)
    for name in _CANDIDATE:
        values = np.ma.filled(np.ma.asarray(candidates[name], np.float64), np.nan)
        columns[f"transit_{name}"][star[leading]] = values[leading]
    claims = columns["transit_n_claims"]
    claims[star[leading]] = 0
    np.add.at(claims, star[here], np.ma.filled(np.ma.asarray(candidates["claim"], np.float32), 0)[here])
    return columns


def _mean(series: NDArray[np.float32]) -> NDArray[np.float32]:
    there = ~np.isnan(series)
    total, count = np.where(there, series, 0).sum(axis=1, dtype=np.float64), there.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _slope(series: NDArray[np.float32]) -> NDArray[np.float32]:
    """Slope of log10 power against log10 frequency, over bins of equal width in log10 frequency."""
    n_freq = series.shape[1]
    edges = np.unique(np.rint(np.geomspace(1, n_freq + 1, 17)).astype(int)) - 1
    level = np.stack([_log(median(series[:, a:b])) for a, b in itertools.pairwise(edges)], axis=1)
    place = np.log10(0.5 * (edges[:-1] + edges[1:] + 1.0))
    there = ~np.isnan(level)
    count = there.sum(axis=1)
    x = np.where(there, place, 0.0)
    y = np.where(there, level, 0.0)
    n = np.maximum(count, 1)
    mean_x, mean_y = x.sum(axis=1) / n, y.sum(axis=1) / n
    deviation = np.where(there, place - mean_x[:, None], 0.0)
    spread = (deviation**2).sum(axis=1)
    slope = (deviation * (y - mean_y[:, None])).sum(axis=1) / np.where(spread > 0, spread, 1.0)
    return np.where(count >= 3, slope, np.nan).astype(np.float32)


def _log(values: NDArray[np.floating]) -> NDArray[np.float64]:
    positive = values > 0
    return np.where(positive, np.log10(np.where(positive, values, 1.0)), np.nan)
