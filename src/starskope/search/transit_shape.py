"""The transit that fits folded points best at one impact parameter.

Owns the damped least squares over radius ratio, distance and middle, and the limb darkening that it holds fixed.
Refuses to choose among impact parameters (`transit_fit`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from starskope.search.transit_model import transit_depths

__all__ = ["LARGEST_RATIO", "LIMB_DARKENING", "Points", "Shape", "fit_shape_at"]

F64 = NDArray[np.float64]

LIMB_DARKENING = (0.35, 0.25)
"""Quadratic coefficients between those of K and F dwarfs in the red bands of TESS and Kepler; 0.1 off in one of them
moves the radius ratio by one percent."""
LARGEST_RATIO = 0.6
N_ITERATION = 12
STEPS = np.array([1e-3, 1e-3, 1e-3])
"""Relative steps of the derivatives: radius ratio, log of the distance, transit lengths of the middle."""


class Points(NamedTuple):
    """Folded points in cells: days from the mid-transit, flux around 0, weights."""

    offset: F64
    flux: F64
    weight: F64


class Shape(NamedTuple):
    """The best transit at one impact parameter.

    ``cost`` is the sum of weighted squares; ``variance`` those of ratio and log distance, and ``volume`` the root of
    the determinant of their covariance, in units of a point's variance.
    """

    ratio: float
    log_a: float
    middle: float
    cost: float
    variance: tuple[float, float]
    volume: float


def fit_shape_at(
    points: Points, period: float, impact: float, start: Shape, length: float, moments: tuple[F64, F64]
) -> Shape | None:
    """Fit ratio, distance and middle at one impact parameter; None where no transit fits.

    Parameters
    ----------
    start : Shape
        Where to begin.
    length : float
        About the length of the transit, days: the unit of the middle.
    moments : (places, shares)
        Over which a point is averaged, see `transit_model.exposure_moments`.
    """
    at = np.array([start.ratio, start.log_a, start.middle / length])
    root = np.sqrt(points.weight)

    def residual(parameters: F64) -> F64:
        depths = transit_depths(
            points.offset - parameters[2] * length,
            period,
            parameters[0],
            math.exp(parameters[1]),
            impact,
            *LIMB_DARKENING,
            *moments,
        )
        # The level outside is free, and linear.
        rest = points.flux + depths
        return np.asarray(root * (rest - (points.weight @ rest) / points.weight.sum()))

    now = residual(at)
    cost, damping = float(now @ now), 1e-3
    jacobian = np.zeros((now.size, 3))
    for _ in range(N_ITERATION):
        steps = np.array([at[0] * STEPS[0], STEPS[1], STEPS[2]])
        for j in range(3):
            moved = at.copy()
            moved[j] += steps[j]
            jacobian[:, j] = (residual(moved) - now) / steps[j]
        normal, gradient = jacobian.T @ jacobian, jacobian.T @ now
        if not (np.diag(normal) > 0).all():
            return None
        improved = False
        for _ in range(6):
            change = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -gradient)
            tried = at + np.clip(change, [-0.5 * at[0], -0.5, -0.2], [0.5 * at[0], 0.5, 0.2])
            if 0.0 < tried[0] < LARGEST_RATIO and 0.0 < tried[1] < 7.0 and abs(tried[2]) < 0.5:
                there = residual(tried)
                if float(there @ there) < cost:
                    improved = True
                    break
            damping *= 10.0
        if not improved:
            break
        gained, cost, now, at = cost - float(there @ there), float(there @ there), there, tried
        damping = max(0.1 * damping, 1e-9)
        if gained < 1e-8 * cost:
            break
    try:
        covariance = np.linalg.inv(jacobian.T @ jacobian)
    except np.linalg.LinAlgError:
        return None
    volume = float(np.linalg.det(covariance[:2, :2]))
    if not (volume > 0 and (np.diag(covariance) > 0).all()):
        return None
    variance = (float(covariance[0, 0]), float(covariance[1, 1]))
    return Shape(float(at[0]), float(at[1]), float(at[2] * length), cost, variance, math.sqrt(volume))
