"""Light curves with known truth but without pixels: white and red noise, binaries and planets put into any curve.

Owns the noise and the binaries, each from a seed, and the putting in. Refuses pixels (`scene`) and searches; what a
pipeline makes of these curves is for others to measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from starskope.curves.container import LightCurves
from starskope.synth.planets import Planet

__all__ = ["Binary", "draw_binary", "eclipse_signals", "inject", "noise_curves", "with_planet"]

F64 = NDArray[np.float64]

_CADENCE = 1800.0 / 86400.0
_GAP_CADENCES = 53
_CONTACT = 0.75
"""Sum of the radii over the separation at periastron from which stars count as touching."""


def noise_curves(
    n_star: int,
    seed: int,
    *,
    n_time: int = 1282,
    missing: float = 0.01,
    correlation_days: tuple[float, float] = (0.05, 1.0),
    red_most: float = 1.0,
) -> LightCurves:
    """Make stars of white and red noise over a sector, with the pause between its orbits and nothing to find.

    Parameters
    ----------
    n_star, seed : int
    n_time : int
        Cadences of 30 min; the pause of 1.1 d comes on top of them, in the middle.
    missing : float
        Fraction of the points of each star that are NaN.
    correlation_days : (float, float)
        Limits of the correlation time of the red noise, even in the logarithm.
    red_most : float
        Largest amplitude of the red noise in units of the white one; even between 0 and this.

    Returns
    -------
    LightCurves
        ``stars`` tells ``white`` and ``red`` (fractions of the light) and ``correlation`` (days) of each.

    Notes
    -----
    Red noise is an Ornstein-Uhlenbeck process, stepped exactly: its covariance is ``red^2 exp(-|dt| / correlation)``.
    """
    rng = np.random.default_rng([seed, n_star, n_time])
    step = np.arange(n_time)
    time = 2000.0 + (step + _GAP_CADENCES * (step >= n_time // 2)) * _CADENCE
    white = np.exp(rng.uniform(np.log(1e-4), np.log(1e-2), n_star))
    red = white * rng.uniform(0.0, red_most, n_star)
    shortest, longest = np.log(correlation_days)
    correlation = np.exp(rng.uniform(shortest, longest, n_star))
    flux = white * rng.standard_normal((n_time, n_star))
    state = rng.standard_normal(n_star)
    for i in range(n_time):
        if i:
            decay = np.exp(-(time[i] - time[i - 1]) / correlation)
            state = decay * state + np.sqrt(1.0 - decay**2) * rng.standard_normal(n_star)
        flux[i] += red * state
    flux[rng.random(flux.shape) < missing] = np.nan
    curves = LightCurves(time, (1.0 + flux).astype(np.float32), exposure_s=1425.6)
    for name, values in (("white", white), ("red", red), ("correlation", correlation)):
        curves.stars[name] = values
    return curves


@dataclass(frozen=True)
class Binary:
    """Two stars that eclipse each other, in the light of a third.

    Attributes
    ----------
    period, t0 : float
        Days; t0 is the middle of the eclipse of the larger star.
    radius_ratio, surface_ratio : float
        Smaller over larger star; mean surface brightness of the smaller over that of the larger.
    separation : float
        Semi-major axis in radii of the larger star.
    inclination, eccentricity, periastron : float
        Degrees, -, degrees (of the larger star's eclipse as batman counts it).
    third_light : float
        Other light in the aperture, over that of the binary.
    """

    period: float
    t0: float
    radius_ratio: float
    surface_ratio: float
    separation: float
    inclination: float
    eccentricity: float
    periastron: float
    third_light: float

    def parts(self, time: F64, exposure_days: float = 0.0) -> tuple[F64, F64]:
        """Return how much of all light the two eclipses take away, (n_time,) each: of the larger star, of the smaller.

        Parameters
        ----------
        time : (n_time,) float64
            Days.
        exposure_days : float
            Over which light is averaged.
        """
        import batman

        shape = batman.TransitParams()
        shape.t0, shape.per, shape.rp = self.t0, self.period, self.radius_ratio
        shape.a, shape.inc = self.separation, self.inclination
        shape.ecc, shape.w = self.eccentricity, self.periastron
        shape.limb_dark, shape.u = "quadratic", [0.35, 0.2]
        light = self.radius_ratio**2 * self.surface_ratio
        shape.fp = light
        sampling = {"supersample_factor": 7, "exp_time": exposure_days} if exposure_days > 0.002 else {}
        model = batman.TransitModel(shape, time, **sampling)
        shape.t_secondary = model.get_t_secondary(shape)
        first = 1.0 - model.light_curve(shape)
        other = batman.TransitModel(shape, time, transittype="secondary", **sampling)
        second = 1.0 + light - other.light_curve(shape)
        whole = (1.0 + light) * (1.0 + self.third_light)
        return first / whole, second / whole


def draw_binary(rng: np.random.Generator, *, start: float, period: tuple[float, float], twin: bool = False) -> Binary:
    """Draw a detached eclipsing binary of main-sequence stars.

    Parameters
    ----------
    rng : Generator
    start : float
        Days; the first eclipse of the larger star comes within a period of it.
    period : (float, float)
        Limits in days, even in the logarithm.
    twin : bool
        Equal stars (within 2 % in mass) on a circular orbit: every eclipse is like the other.

    Notes
    -----
    Masses 0.6 to 1.5 Suns with ratios of 0.25 to 1, radii ~ mass^0.8, surface brightness ~ mass^2.2 (temperatures ~
    mass^0.55 in the band of TESS). Orbits are circular below 3 d and Rayleigh (0.25) above; the impact parameter is
    even up to grazing. Two of three have another star's light, a tenth to a thousand times their own.
    """
    while True:
        days = float(np.exp(rng.uniform(*np.log(period))))
        mass = rng.uniform(0.6, 1.5)
        ratio = rng.uniform(0.98, 1.0) if twin else rng.uniform(0.25, 1.0)
        radius = mass**0.8
        separation = 4.208 * (mass * (1 + ratio)) ** (1 / 3) / radius * days ** (2 / 3)
        eccentricity = 0.0 if twin or days < 3.0 else min(float(rng.rayleigh(0.25)), 0.7)
        small = min(ratio**0.8, 0.99)
        if (1.0 + small) / (separation * (1.0 - eccentricity)) > _CONTACT:
            continue
        impact = rng.uniform(0.0, 0.95 * (1.0 + small))
        third = float(np.exp(rng.uniform(np.log(0.1), np.log(1000.0)))) if rng.random() < 2 / 3 else 0.0
        return Binary(
            period=days,
            t0=start + days * float(rng.uniform(0.0, 1.0)),
            radius_ratio=small,
            surface_ratio=float(ratio**2.2),
            separation=float(separation),
            inclination=float(np.degrees(np.arccos(impact / separation))),
            eccentricity=eccentricity,
            periastron=float(rng.uniform(0.0, 360.0)),
            third_light=third,
        )


def inject(curves: LightCurves, binary: Binary, star: int = 0) -> LightCurves:
    """Return one star of a set as it would look with a binary in its aperture, at the times of the set as they are."""
    one = curves.select(stars=[star])
    first, second = binary.parts(one.time, _exposure_days(one))
    dimmed = one.flux[:, 0] * (1.0 - first - second)
    return replace(one, flux=dimmed[:, None].astype(np.float32), meta={**one.meta, "injected": binary.__dict__})


def with_planet(curves: LightCurves, planets: Sequence[Planet]) -> LightCurves:
    """Return light curves as they would be with a planet before each star.

    Parameters
    ----------
    curves : LightCurves
        As they were measured.
    planets : sequence of Planet
        One per star, transits on the star's own time axis: barycentric where it is known.

    Notes
    -----
    The light that the dip is taken from is the normalised light of the aperture: no light of other stars is set apart.
    """
    flux = curves.flux.copy()
    exposure = _exposure_days(curves)
    for star, planet in enumerate(planets):
        time = curves.bjd(star) if curves.observer is not None and curves.direction is not None else curves.time
        time = time if np.isfinite(time).all() else curves.time
        flux[:, star] *= (1.0 - planet.dip(time, exposure)).astype(np.float32)
    return replace(curves, flux=flux)


def eclipse_signals(
    curves: LightCurves, binary: Binary, noise: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Depth and signal-to-noise ratio of the deeper and of the shallower eclipse of a binary in a light curve.

    Parameters
    ----------
    curves : LightCurves
        One star; only which cadences it has matters.
    noise : float
        Scatter of a cadence as a fraction of the light.

    Returns
    -------
    (depth, snr), (depth, snr)
        Largest depth, and ``depth / noise sqrt(n)`` with n the cadences in eclipse.
    """
    both = []
    seen = np.isfinite(curves.flux[:, 0])
    for part in binary.parts(curves.time[seen], _exposure_days(curves)):
        depth = float(part.max(initial=0.0))
        n_point = int(np.count_nonzero(part > 1e-3 * depth)) if depth > 0 else 0
        both.append((depth, depth / noise * float(np.sqrt(n_point))))
    deeper, shallower = sorted(both, reverse=True)
    return deeper, shallower


def _exposure_days(curves: LightCurves) -> float:
    return float(curves.exposure_s) / 86400.0 if np.isfinite(curves.exposure_s) else 0.0
