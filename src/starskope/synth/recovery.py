"""What a transit search should have found in a synthetic sector, and what it did find.

Owns the planets' signal-to-noise as the truth and the light curves give it, and the comparison with a table of
candidates. Refuses to search, and to know how the candidates came about: columns are all that is asked of them.
"""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.table import Table
from numpy.typing import NDArray

from starskope.curves.binning import cadence_days
from starskope.curves.container import LightCurves
from starskope.synth.aperture_noise import expected_scatter
from starskope.synth.scene import Scene
from starskope.synth.stars import measure_event

__all__ = ["HARMONICS", "planets_in", "recovered", "redraw_planets"]

F64 = NDArray[np.float64]

HARMONICS = (1.0, 2.0, 3.0, 1.0 / 2.0, 1.0 / 3.0)
"""Found over true period that count as found."""
PERIOD_TOLERANCE = 0.005
LEAST_SNR, LEAST_TRANSITS = 12.0, 3


def redraw_planets(
    scene: Scene, seed: int, *, period: tuple[float, float] = (0.6, 13.0), rp_rs: tuple[float, float] = (0.02, 0.1)
) -> None:
    """Give the planets of a fresh scene other periods and sizes, both even in the logarithm.

    The default population is there to be seen; this one reaches down to where a search fails.

    Parameters
    ----------
    scene : Scene
        Changed in place, before its first frame or light curve is made.
    seed : int
    period : (float, float)
        Days.
    rp_rs : (float, float)
        Radius over that of the star.

    Raises
    ------
    ValueError
        Light of the scene has been computed already.
    """
    if "relative_flux" in vars(scene):
        raise ValueError(f"{scene!r} has made light already: redraw the planets of a fresh scene")
    rng = np.random.default_rng([seed, scene.config.seed])
    stars, first = scene.stars, float(scene.timeline.time[0])
    for star in np.flatnonzero(stars["kind"] == "planet").tolist():
        days, size = (float(np.exp(rng.uniform(*np.log(limits)))) for limits in (period, rp_rs))
        stars["a_rs"][star] *= (days / stars["period"][star]) ** (2 / 3)
        stars["period"][star], stars["rp_rs"][star] = days, size
        stars["t0"][star] = first + days * rng.uniform(0.05, 0.95)
        stars["inc"][star] = np.rad2deg(np.arccos(rng.uniform(0, 0.7) / stars["a_rs"][star]))
        measure_event(stars, star)


def planets_in(curves: LightCurves, scene: Scene) -> Table:
    """Measure how well each planet of a scene could be seen in its light curve.

    Parameters
    ----------
    curves : LightCurves
        As they are searched: masked, normalised, flattened; stars carry ``tic_id`` and ``aperture_radius``.
    scene : Scene
        Where they come from.

    Returns
    -------
    astropy.table.Table
        One row per planet whose star was measured: ``star`` (column of the curves), ``tic_id``, ``tmag``, ``period``,
        ``t0`` (BTJD at the barycentre), ``duration``, ``depth`` (in the aperture, after the light of other stars),
        ``noise`` per cadence, ``n_point`` in transit, ``n_transit`` of which at least half of the cadences were seen,
        ``snr``, and ``counts``: SNR >= 12, three transits, and a period of at most half the baseline.

    Notes
    -----
    ``snr = depth / noise sqrt(n_point)``, with the depth at mid-transit and the noise 1.4826 MAD of the cadences out of
    transit.
    """
    truth = {int(tic): row for row, tic in enumerate(scene.stars["tic_id"])}
    columns = [
        star
        for star, tic in enumerate(curves.stars["tic_id"])
        if int(tic) in truth and scene.stars["kind"][truth[int(tic)]] == "planet"
    ]
    rows = np.array([truth[int(curves.stars["tic_id"][star])] for star in columns], np.int64)
    radius = np.asarray(curves.stars["aperture_radius"], np.float64)[columns]
    _, foreign = expected_scatter(scene, radius, rows, np.arange(scene.config.n_frame))
    baseline = float(curves.time[-1] - curves.time[0])
    cadence = cadence_days(curves.time)
    table = []
    for star, row, other in zip(columns, rows, foreign, strict=True):
        planet = scene.stars[int(row)]
        period, t0, duration = float(planet["period"]), float(planet["t0"]), float(planet["duration"])
        seen = np.isfinite(curves.flux[:, star])
        orbit = (curves.bjd(star)[seen] - t0) / period
        inside = np.abs(orbit - np.rint(orbit)) * period < 0.5 * duration
        flux = curves.flux[seen, star].astype(np.float64)
        noise, depth, snr = np.nan, float(planet["depth"]) / (1.0 + other), np.nan
        if (~inside).any():
            noise = 1.4826 * float(np.median(np.abs(flux[~inside] - np.median(flux[~inside]))))
            snr = depth / noise * np.sqrt(np.count_nonzero(inside)) if noise > 0 else np.nan
        _, n_point = np.unique(np.rint(orbit[inside]), return_counts=True)
        n_transit = int(np.count_nonzero(n_point >= 0.5 * duration / cadence))
        counts = snr >= LEAST_SNR and n_transit >= LEAST_TRANSITS and period <= 0.5 * baseline
        numbers = depth, noise, int(inside.sum()), n_transit, snr
        table.append((star, int(planet["tic_id"]), float(planet["tmag"]), period, t0, duration, *numbers, bool(counts)))
    names = ("star", "tic_id", "tmag", "period", "t0", "duration", "depth", "noise", "n_point", "n_transit", "snr")
    dtype = (int, int, float, float, float, float, float, float, int, int, float, bool)
    units = (None, None, u.mag, u.d, u.d, u.d, None, None, None, None, None, None)
    return Table(rows=table or None, names=(*names, "counts"), dtype=dtype, units=units)


def recovered(candidates: Table, planets: Table, *, time_zero: float = 2457000.0) -> Table:
    """Compare candidates with the planets that are there.

    Parameters
    ----------
    candidates : astropy.table.Table
        Of `search_transits` on the same light curves.
    planets : astropy.table.Table
        From `planets_in`.
    time_zero : float
        Julian date that counts as 0 in ``t0`` of the planets.

    Returns
    -------
    astropy.table.Table
        The planets with ``ratio`` of found to true period (of the claim that fits best, 0 = no claim fits), ``found``,
        ``at_period``, and what was said of the strongest candidate of the star: ``first_period``, ``first_snr``,
        ``first_sde``, ``first_claim``, ``verdict``, ``false_alarm_probability``.

    Notes
    -----
    A claim fits where its period is within 0.5 % of 1, 2, 3, 1/2 or 1/3 of the true one and its epoch within half a
    duration (or a cadence and a half) of a transit, or of a place between transits that its shorter period repeats.
    """
    result = planets.copy()
    said: dict[str, list[object]] = {name: [] for name in ("ratio", *_FIRST)}
    for planet in planets:
        rows = candidates[candidates["star"] == planet["star"]]
        said["ratio"].append(max((_fit(row, planet, time_zero) for row in rows), key=_preference, default=0.0))
        for name, source in _FIRST.items():
            said[name].append(rows[source][0])
    for name, values in said.items():
        result[name] = values
    result["found"] = np.asarray(result["ratio"], np.float64) > 0
    result["at_period"] = np.asarray(result["ratio"], np.float64) == 1.0
    return result


_FIRST = {
    "first_period": "period",
    "first_snr": "snr",
    "first_sde": "sde",
    "first_claim": "claim",
    "verdict": "verdict",
    "false_alarm_probability": "false_alarm_probability",
}


def _preference(ratio: float) -> int:
    """Rank ratios: the true period first, no fit last."""
    return -len(HARMONICS) if ratio == 0.0 else -HARMONICS.index(ratio)


def _fit(row: Table.Row, planet: Table.Row, time_zero: float) -> float:
    """Return which harmonic a claim is, 0 for none."""
    found, true = float(row["period"]), float(planet["period"])
    if not row["claim"] or not np.isfinite(found):
        return 0.0
    for ratio in HARMONICS:
        if abs(found / (ratio * true) - 1.0) <= PERIOD_TOLERANCE:
            bjd = float(row["t0_bjd"])
            epoch = bjd - time_zero if np.isfinite(bjd) else float(row["t0"])
            shorter = min(found, true)
            offset = (epoch - float(planet["t0"])) / shorter
            near = abs(offset - round(offset)) * shorter
            return ratio if near <= max(0.5 * float(planet["duration"]), 0.03) else 0.0
    return 0.0
