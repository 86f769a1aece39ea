"""Planets of any period and size before a star of given density, as the dips that they take out of its light.

Owns the orbit, the limb-darkened dip and its duration. Refuses light curves and noise (`injection`), and any wish about
which planets there are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["EARTHS_PER_SUN", "Planet", "separation_at"]

F64 = NDArray[np.float64]

EARTHS_PER_SUN = 109.1
"""Radius of the Sun in those of the Earth (IAU 2015 nominal values)."""
_LIMB_DARKENING = [0.35, 0.2]
_SEPARATION_OF_A_DAY = 4.208
"""Semi-major axis of a one-day orbit around the Sun in its radii."""
_SHORT_EXPOSURE = 0.002
_MARGIN_DAYS = 0.1


def separation_at(period: float, density: float = 1.0) -> float:
    """Return the semi-major axis in stellar radii by Kepler's third law; ``density`` in that of the Sun, days."""
    return _SEPARATION_OF_A_DAY * math.cbrt(density * period * period)


@dataclass(frozen=True)
class Planet:
    """A planet on a circular orbit.

    Attributes
    ----------
    period, t0 : float
        Days; t0 is a mid-transit.
    radius_ratio : float
        Planet over star.
    separation : float
        Semi-major axis in stellar radii.
    impact : float
        Distance of the transit from the middle of the star in stellar radii, 0 to below 1.
    """

    period: float
    t0: float
    radius_ratio: float
    separation: float
    impact: float

    @classmethod
    def of_depth(cls, depth: float, period: float, t0: float, separation: float, impact: float) -> Self:
        """Return the planet that takes this part of the light at mid-transit, 0 to 0.5.

        Notes
        -----
        The dip grows as the square of the radius but for the limb: five steps of that rule end within 1e-6.
        """
        planet = cls(period, t0, math.sqrt(depth), separation, impact)
        for _ in range(5):
            there = float(planet.dip(np.array([t0]))[0])
            planet = replace(planet, radius_ratio=planet.radius_ratio * math.sqrt(depth / there))
        return planet

    @property
    def duration(self) -> float:
        """Days from first to last contact."""
        chord = math.sqrt((1.0 + self.radius_ratio) ** 2 - self.impact**2)
        tilt = math.sqrt(1.0 - (self.impact / self.separation) ** 2)
        return self.period / math.pi * math.asin(min(1.0, chord / (self.separation * tilt)))

    def dip(self, time: F64, exposure_days: float = 0.0) -> F64:
        """Return the part of the light that is missing.

        Parameters
        ----------
        time : (n_time,) float64
            Days.
        exposure_days : float
            Over which light is averaged.

        Raises
        ------
        ValueError
            batman, which computes it, is not installed.
        """
        try:
            import batman
        except ModuleNotFoundError:
            raise ValueError("planets need batman-package: pip install 'starskope[demo]'") from None
        missing = np.zeros_like(time)
        phase = (time - self.t0) / self.period
        near = np.abs(phase - np.rint(phase)) * self.period <= 0.5 * self.duration + exposure_days + _MARGIN_DAYS
        if not near.any():
            return missing
        shape = batman.TransitParams()
        shape.t0, shape.per, shape.rp, shape.a = self.t0, self.period, self.radius_ratio, self.separation
        shape.inc = math.degrees(math.acos(self.impact / self.separation))
        shape.ecc, shape.w, shape.limb_dark, shape.u = 0.0, 90.0, "quadratic", _LIMB_DARKENING
        sampling = {"supersample_factor": 7, "exp_time": exposure_days} if exposure_days > _SHORT_EXPOSURE else {}
        model = batman.TransitModel(shape, np.ascontiguousarray(time[near]), **sampling)
        missing[near] = 1.0 - model.light_curve(shape)
        return missing
