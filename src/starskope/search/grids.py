"""Which periods and durations a transit search must try, from the times, the cadence and the density of stars.

Owns the spacing of trial periods, the set of trial durations and the window of durations that a period allows. Refuses
light curves: nothing here looks at a flux.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope.validation import as_float64, positive

__all__ = ["DENSITIES", "density_of", "duration_limits", "durations", "period_grid", "transit_duration"]

F64 = NDArray[np.float64]

DENSITIES = (0.1, 10.0)
"""Mean densities of the host stars that a search allows for, in that of the Sun: from evolved F stars to M dwarfs."""

# Gravitational constant times the mean density of the Sun, per day^2, from the nominal values of IAU 2015.
_G_RHO_SUN = 3.0 * 1.3271244e20 / (4.0 * math.pi * 6.957e8**3) * 86400.0**2


def transit_duration(period: ArrayLike, density: float = 1.0) -> F64:
    """Return how long a small planet's central transit lasts on a circular orbit.

    Parameters
    ----------
    period : array-like
        Days.
    density : float
        Mean density of the star over that of the Sun.

    Returns
    -------
    ndarray of float64
        Days.

    Notes
    -----
    ``D = (3 P / (pi^2 G rho))**(1/3)``: Kepler's third law gives ``a / R = (G rho P^2 / (3 pi))**(1/3)``, and to cross
    the star's diameter takes ``D = P / (pi a / R)``. The Earth before the Sun: 13.0 hours. A transit off the centre by
    ``b`` stellar radii is shorter by ``sqrt(1 - b^2)``.

    References
    ----------
    Seager & Mallen-Ornelas 2003, ApJ 585, 1038, doi:10.1086/346105.
    """
    return np.cbrt(as_float64(period, "period")) * _duration_at_one_day(density)


def _duration_at_one_day(density: float) -> float:
    return math.cbrt(3.0 / (math.pi**2 * _G_RHO_SUN * positive(density, "density")))


def density_of(period: float, a_rs: float) -> float:
    """Return the mean density of a star over that of the Sun, from the period (days) and distance (radii) of a planet.

    Kepler's third law: ``rho = 3 pi (a / R)**3 / (G P**2)``.
    """
    return 3.0 * math.pi * a_rs**3 / (_G_RHO_SUN * period**2)


def duration_limits(
    periods: ArrayLike, *, cadence: float = 0.0, densities: tuple[float, float] = DENSITIES
) -> tuple[F64, F64]:
    """Return the shortest and the longest transit to look for at each period.

    Parameters
    ----------
    periods : (n_period,) array-like
        Days.
    cadence : float
        Days from one cadence to the next; nothing shorter is looked for.
    densities : (low, high)
        Bounds of the stars' mean density over that of the Sun.

    Returns
    -------
    shortest, longest : (n_period,) float64
        Days, `transit_duration` at the highest and at the lowest density, neither below ``cadence``.
    """
    low, high = _density_range(densities)
    stretch = np.cbrt(as_float64(periods, "periods"))
    return (
        np.maximum(stretch * _duration_at_one_day(high), cadence),
        np.maximum(stretch * _duration_at_one_day(low), cadence),
    )


def durations(
    period_min: float,
    period_max: float,
    cadence: float,
    *,
    densities: tuple[float, float] = DENSITIES,
    step: float = 1.5,
) -> F64:
    """Return the trial durations of a search, shortest first.

    Parameters
    ----------
    period_min, period_max : float
        Range of trial periods, days.
    cadence : float
        Days from one cadence to the next: the shortest duration is never below it.
    densities : (low, high)
        Bounds of the stars' mean density over that of the Sun.
    step : float
        Largest ratio of neighbouring durations. A box that is longer or shorter than the transit by ``r`` finds
        ``r**-0.5`` of its signal-to-noise; with 1.5 that is at least 0.90.

    Returns
    -------
    (n_duration,) float64
        Days, in equal ratios from `transit_duration` of the densest star at ``period_min`` (or the cadence) to that
        of the least dense star at ``period_max``.

    Raises
    ------
    ValueError
        Periods out of order, or a cadence, density or step out of range.

    Examples
    --------
    >>> (durations(0.5, 13.5, 30 / 1440) * 24).round(2)
    array([0.67, 0.97, 1.42, 2.07, 3.01, 4.39, 6.39, 9.31])
    """
    shortest_period, longest_period = _period_range(period_min, period_max, equal=True)
    low, high = _density_range(densities)
    if not positive(step, "step") > 1.0:
        raise ValueError(f"step={step}: expected a ratio above 1")
    cadence = positive(cadence, "cadence")
    first = max(float(transit_duration(shortest_period, high)), cadence)
    last = max(float(transit_duration(longest_period, low)), first)
    n = 1 + math.ceil(math.log(last / first) / math.log(step) - 1e-9)
    return np.geomspace(first, last, n)


def period_grid(
    time: ArrayLike,
    *,
    period_min: float,
    period_max: float,
    duration_min: float = 0.0,
    densities: tuple[float, float] = DENSITIES,
    oversample: float = 3.0,
) -> F64:
    """Return trial periods so dense that no transit is smeared, and no denser.

    Parameters
    ----------
    time : (n_time,) array-like
        Days; only the first and the last matter.
    period_min, period_max : float
        Days. Both ends are in the grid.
    duration_min : float
        Days; the shortest duration that the search resolves, such as the cadence.
    densities : (low, high)
        Bounds of the stars' mean density over that of the Sun; the higher one decides.
    oversample : float
        Trial periods in the width of a transit's peak. From one trial to the next the last transit moves by ``1 /
        oversample`` of its duration against the first.

    Returns
    -------
    (n_period,) float64
        Days, increasing.

    Raises
    ------
    ValueError
        Fewer than two times, periods out of order or beyond the baseline.

    Notes
    -----
    Over the baseline ``T`` a step ``df`` of the frequency moves a transit by ``df T P``, which shall not exceed
    ``D(P) / oversample``. So ``df = D f / (T oversample)`` with ``D`` the duration at the highest density: uniform in
    ``f**(1/3)`` (Ofir 2014; Hippke & Heller 2019), and where ``D`` has reached ``duration_min`` uniform in ``log f``. A
    grid that is uniform in ``f`` needs the spacing of its longest period everywhere: four times as many trials over
    0.5-13.5 days. The number of trials grows in proportion to the baseline.

    References
    ----------
    Ofir 2014, A&A 561, A138, doi:10.1051/0004-6361/201220860. Hippke & Heller 2019, A&A 623, A39,
    doi:10.1051/0004-6361/201834672.

    Examples
    --------
    >>> period_grid(np.arange(0.0, 27.4, 1 / 48), period_min=0.5, period_max=13.5).size
    5900
    """
    times = as_float64(time, "time", 1)
    if times.size < 2 or not np.isfinite(times[[0, -1]]).all() or times[-1] <= times[0]:
        raise ValueError(f"time: expected two or more increasing times, got {times.size}")
    baseline = float(times[-1] - times[0])
    shortest, longest = _period_range(period_min, period_max)
    if shortest >= baseline:
        raise ValueError(
            f"period_min={period_min}: the times span {baseline:.6g} days, so no such period could be seen twice"
        )
    oversample = positive(oversample, "oversample")
    density = _density_range(densities)[1]
    if not duration_min >= 0.0 or math.isinf(duration_min):
        raise ValueError(f"duration_min={duration_min}: expected days, 0 or more")
    # D = scale f**(-1/3), or duration_min at frequencies above the knee. Trials are uniform in the integral of
    # df / (D f), which is 3 f**(1/3) / scale, then log(f / knee) / duration_min.
    scale = _duration_at_one_day(density)
    knee = (scale / duration_min) ** 3 if duration_min > 0.0 else math.inf
    at_knee = 3.0 * np.cbrt(knee) / scale

    def count(frequency: float) -> float:
        if frequency <= knee:
            return float(3.0 * np.cbrt(frequency) / scale)
        return float(at_knee + math.log(frequency / knee) / duration_min)

    low, high = count(1.0 / longest), count(1.0 / shortest)
    n = 1 + math.ceil((high - low) * baseline * oversample - 1e-9)
    counts = np.linspace(low, high, n)
    frequency = (counts * scale / 3.0) ** 3
    if math.isfinite(knee):
        beyond = counts > at_knee
        frequency[beyond] = knee * np.exp((counts[beyond] - at_knee) * duration_min)
    periods = 1.0 / frequency[::-1]
    periods[0], periods[-1] = shortest, longest
    return periods


def _period_range(period_min: float, period_max: float, *, equal: bool = False) -> tuple[float, float]:
    shortest, longest = positive(period_min, "period_min"), positive(period_max, "period_max")
    if shortest > longest or (shortest == longest and not equal):
        raise ValueError(f"period_min={period_min}: expected less than period_max={period_max}")
    return shortest, longest


def _density_range(densities: tuple[float, float]) -> tuple[float, float]:
    low, high = (positive(density, "densities") for density in densities)
    if low > high:
        raise ValueError(f"densities={densities}: expected the lower bound first")
    return low, high
