"""The stars of a synthetic field: places, magnitudes, physical properties, and what each of them does.

Owns the truth table. Refuses light curves (`variability`) and pixels (`render`).
"""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.table import Table
from numpy.typing import NDArray

from starskope.synth.config import SectorConfig, random_generator
from starskope.synth.sky import make_wcs
from starskope.synth.variability import eclipse_model

__all__ = ["ZERO_POINT", "flux_of", "make_stars", "measure_event"]

ZERO_POINT = 20.44
"""Tmag of 1 e-/s (TESS Instrument Handbook v0.1, section 4.1): Tmag 10 gives 15,000 e-/s."""
N_WAVE = 6
_EDGE = 2.5
_CANDIDATES = 12
_FIRST_TIC = 100_000_000
_HOUR = 1 / 24


def flux_of(tmag: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return e-/s of TESS magnitudes."""
    return np.asarray(10 ** (0.4 * (ZERO_POINT - tmag)))


def make_stars(config: SectorConfig, cards: dict[str, float | int | str], times: NDArray[np.float64]) -> Table:
    """Draw the population of a field.

    Parameters
    ----------
    config : SectorConfig
    cards : dict
        WCS cards at rest.
    times : (n_frame,) float64
        BTJD of the frames: epochs of transits, eclipses and flares are chosen so that they are seen.

    Returns
    -------
    Table
        One row per star, brightest first: `tic_id`, `ra`, `dec`, `tmag`, `flux` (e-/s), `kind`, `period`, `t0` (BTJD at
        the barycentre), `depth` (fraction at mid-event), `duration`, `rp_rs`, `a_rs`, `inc`, `u1`, `u2`, `flux_ratio`,
        `secondary_depth`, `teff`, `logg`, `rad`, `mass`, `row`, `column` (0-based at rest), `frequencies`,
        `amplitudes`, `phases` (n_star, 6; of flares: peak times BTJD, amplitudes, widths in days). NaN where a quantity
        does not belong to the kind.

    Notes
    -----
    Positions are a little more even than chance for stars brighter than Tmag 11 (each the loneliest of 12 draws): a
    small field then still has isolated stars of every magnitude.
    """
    rng = random_generator(config, "stars")
    n = config.n_star
    tmag = _magnitudes(config, rng)
    row, column = _places(config, tmag, rng)
    ra, dec = make_wcs(cards).all_pix2world(column, row, 0)
    teff = rng.uniform(3600, 7000, n)
    rad = (teff / 5772) ** 1.6 * rng.uniform(0.9, 1.3, n)
    mass = (teff / 5772) ** 1.3
    stars = Table(
        {
            "tic_id": _FIRST_TIC
            + (config.camera * 10 + config.ccd) * 1_000_000
            + rng.permutation(900_000)[:n].astype(np.int64),
            "ra": ra * u.deg,
            "dec": dec * u.deg,
            "tmag": tmag * u.mag,
            "flux": flux_of(tmag) * u.electron / u.s,
            "kind": np.full(n, "quiet", "U8"),
            "teff": teff * u.K,
            "logg": np.log10(27400 * mass / rad**2) * u.dex(u.cm / u.s**2),
            "rad": rad * u.R_sun,
            "mass": mass * u.M_sun,
            "row": row * u.pix,
            "column": column * u.pix,
        }
    )
    for name, unit in (
        ("period", u.d),
        ("t0", u.d),
        ("depth", None),
        ("duration", u.d),
        ("secondary_depth", None),
        ("flux_ratio", None),
    ):
        stars[name] = np.full(n, np.nan)
        stars[name].unit = unit
    for name in ("rp_rs", "a_rs", "inc", "u1", "u2"):
        stars[name] = np.full(n, np.nan)
    stars["inc"].unit = u.deg
    for name in ("frequencies", "amplitudes", "phases"):
        stars[name] = np.zeros((n, N_WAVE))
    _cast(config, stars, times, random_generator(config, "variability"))
    return stars


def _magnitudes(config: SectorConfig, rng: np.random.Generator) -> NDArray[np.float64]:
    slope = config.tmag_slope * np.log(10)
    reach = np.expm1(slope * (config.tmag_max - config.tmag_min))
    tmag = np.sort(config.tmag_min + np.log1p(rng.random(config.n_star) * reach) / slope)
    # Every field has one star at the bright limit, so that saturation and bleeding occur.
    tmag[0] = config.tmag_min
    # Top up thin bins with the faintest stars, as long as half of the population stays as drawn.
    spare = config.n_star // 2
    for low in range(7, 13):
        if not (config.tmag_min <= low and low + 1 <= config.tmag_max):
            continue
        lacking = min(config.min_per_bin - int(((tmag >= low) & (tmag < low + 1)).sum()), spare)
        if lacking > 0:
            tmag[-lacking:] = low + rng.random(lacking)
            tmag.sort()
            spare -= lacking
    return tmag


def _places(
    config: SectorConfig, tmag: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low = np.array([s.start for s in config.science]) - 0.5 + _EDGE
    high = np.array([s.stop for s in config.science]) - 0.5 - _EDGE
    place = rng.uniform(low, high, (len(tmag), 2))
    n_bright = int(np.searchsorted(tmag, 11.0))
    for star in range(1, n_bright):
        draws = rng.uniform(low, high, (_CANDIDATES, 2))
        distance = np.hypot(*(draws[:, None] - place[None, :star]).transpose(2, 0, 1)).min(axis=1)
        place[star] = draws[np.argmax(distance)]
    return place[:, 0], place[:, 1]


def _cast(config: SectorConfig, stars: Table, times: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Give out the parts; planets go to lone stars that are neither saturated nor too faint to show them."""
    tmag = np.asarray(stars["tmag"])
    # Brighter quiet stars are few and needed to judge the noise.
    candidate = (tmag > 9.0) & (tmag < 11.8)
    order = np.argsort(-_separation(config, stars, candidate), kind="stable")
    hosts = order[: config.n_planet]
    rest = np.setdiff1d(np.arange(config.n_star), hosts)
    suitable = rest[(tmag[rest] > 9.0) & (tmag[rest] < 12.8)]
    others = np.setdiff1d(rest, suitable)
    drawn = np.concatenate([rng.permutation(suitable), rng.permutation(others)])
    for star in hosts:
        _planet(stars, star, times, rng)
    start = 0
    for count, act in (
        (config.n_binary, _binary),
        (config.n_pulsator, _pulsator),
        (config.n_rotator, _rotator),
        (config.n_flare, _flare),
    ):
        for star in drawn[start : start + count]:
            act(stars, star, times, rng)
        start += count


def _separation(config: SectorConfig, stars: Table, candidate: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance to the edge or the nearest star with a twentieth of one's own light or more; 0 for no candidate."""
    row, column, flux = (np.asarray(stars[name]) for name in ("row", "column", "flux"))
    lonely = np.zeros(len(stars))
    for star in np.flatnonzero(candidate):
        near = np.hypot(row - row[star], column - column[star])
        near[(flux < 0.05 * flux[star])] = np.inf
        near[star] = np.inf
        lonely[star] = near.min()
    for position, span in ((row, config.science[0]), (column, config.science[1])):
        lonely = np.minimum(lonely, np.minimum(position - span.start, span.stop - 1 - position))
    return lonely


def _orbit(stars: Table, star: int, period: float, times: NDArray[np.float64], rng: np.random.Generator) -> None:
    density = float(stars["mass"][star]) / float(stars["rad"][star]) ** 3
    stars["period"][star] = period
    stars["t0"][star] = times[0] + period * rng.uniform(0.1, 0.9)
    stars["a_rs"][star] = 4.21 * density ** (1 / 3) * period ** (2 / 3)
    stars["u1"][star], stars["u2"][star] = rng.uniform(0.25, 0.45), rng.uniform(0.1, 0.3)


def measure_event(stars: Table, star: int) -> None:
    """Measure depth and duration of what was set up: the truth tables tell what is there, not what was meant."""
    row = stars[star]
    ratio = float(row["flux_ratio"]) if row["kind"] == "binary" else 0.0
    t0, period = float(row["t0"]), float(row["period"])
    moments = t0 + np.linspace(-0.25, 0.25, 20001) * period
    curve = eclipse_model(row, moments, "primary")
    inside = moments[curve < 1 - 1e-9]
    stars["depth"][star] = (1 - curve.min()) / (1 + ratio)
    stars["duration"][star] = inside[-1] - inside[0] if inside.size else 0.0
    if ratio:
        secondary = eclipse_model(row, moments + 0.5 * period, "secondary")
        stars["secondary_depth"][star] = (1 + ratio - secondary.min()) / (1 + ratio)


def _planet(stars: Table, star: int, times: NDArray[np.float64], rng: np.random.Generator) -> None:
    stars["kind"][star] = "planet"
    longest = max(min(0.3 * float(times[-1] - times[0]), 6.0), 0.9)
    _orbit(stars, star, float(np.exp(rng.uniform(np.log(0.8), np.log(longest)))), times, rng)
    stars["rp_rs"][star] = np.exp(rng.uniform(np.log(0.05), np.log(0.14)))
    stars["inc"][star] = np.rad2deg(np.arccos(rng.uniform(0, 0.6) / stars["a_rs"][star]))
    measure_event(stars, star)


def _binary(stars: Table, star: int, times: NDArray[np.float64], rng: np.random.Generator) -> None:
    stars["kind"][star] = "binary"
    _orbit(stars, star, float(rng.uniform(0.7, 3.5)), times, rng)
    stars["rp_rs"][star] = rng.uniform(0.3, 0.9)
    stars["flux_ratio"][star] = stars["rp_rs"][star] ** 2 * rng.uniform(0.1, 0.9)
    stars["inc"][star] = np.rad2deg(np.arccos(rng.uniform(0, 0.7) / stars["a_rs"][star]))
    measure_event(stars, star)


def _pulsator(stars: Table, star: int, times: NDArray[np.float64], rng: np.random.Generator) -> None:
    stars["kind"][star] = "pulsator"
    n_mode = rng.integers(2, N_WAVE + 1)
    stars["frequencies"][star, :n_mode] = rng.uniform(2, 18, n_mode)
    stars["amplitudes"][star, :n_mode] = np.sort(rng.uniform(1e-3, 2e-2, n_mode))[::-1]
    stars["phases"][star] = rng.random(N_WAVE)
    stars["period"][star] = 1 / stars["frequencies"][star, 0]


def _rotator(stars: Table, star: int, times: NDArray[np.float64], rng: np.random.Generator) -> None:
    stars["kind"][star] = "rotator"
    period = rng.uniform(0.8, 12)
    stars["frequencies"][star, :3] = np.array([1, 2, 3]) / period
    stars["amplitudes"][star, :3] = rng.uniform(3e-3, 2e-2) * np.array([1, 0.5, 0.15]) * rng.uniform(0.5, 1, 3)
    stars["phases"][star] = rng.random(N_WAVE)
    stars["period"][star] = period


def _flare(stars: Table, star: int, times: NDArray[np.float64], rng: np.random.Generator) -> None:
    stars["kind"][star] = "flare"
    n_flare = rng.integers(2, N_WAVE + 1)
    stars["frequencies"][star, :n_flare] = np.sort(rng.choice(times, n_flare)) + rng.uniform(-0.01, 0.01, n_flare)
    stars["amplitudes"][star, :n_flare] = np.exp(rng.uniform(np.log(0.02), np.log(0.6), n_flare))
    stars["phases"][star] = rng.uniform(0.4, 1.5, N_WAVE) * _HOUR
