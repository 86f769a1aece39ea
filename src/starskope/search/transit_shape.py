"""The transit that fits folded points best at one impact parameter.

Owns the damped least squares over radius ratio, distance and middle, and the limb darkening that it holds fixed.
Refuses to choose among impact parameters (`transit_fit`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from starskope.compiled import compiled
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
    at, cost, normal = _descend(
        points.offset,
        points.flux,
        points.weight,
        period,
        impact,
        length,
        *moments,
        np.array([start.ratio, start.log_a, start.middle / length]),
    )
    if not (np.diag(normal) > 0).all():
        return None
    try:
        covariance = np.linalg.inv(normal)
    except np.linalg.LinAlgError:
        return None
    volume = float(np.linalg.det(covariance[:2, :2]))
    if not (volume > 0 and (np.diag(covariance) > 0).all()):
        return None
    variance = (float(covariance[0, 0]), float(covariance[1, 1]))
    return Shape(float(at[0]), float(at[1]), float(at[2] * length), cost, variance, math.sqrt(volume))


@compiled(error_model="numpy")
def _residual(
    offset: F64,
    flux: F64,
    weight: F64,
    period: float,
    impact: float,
    length: float,
    places: F64,
    shares: F64,
    at: F64,
) -> F64:
    """Weighted residuals (n,) of a transit; the level outside is free, and linear."""
    u1, u2 = LIMB_DARKENING
    depths: F64 = transit_depths(
        offset - at[2] * length, period, at[0], math.exp(at[1]), impact, u1, u2, places, shares
    )
    total, moment = 0.0, 0.0
    for i in range(flux.size):
        depths[i] += flux[i]
        total += weight[i]
        moment += weight[i] * depths[i]
    level = moment / total
    for i in range(flux.size):
        depths[i] = math.sqrt(weight[i]) * (depths[i] - level)
    return depths


@compiled(error_model="numpy")
def _solved(matrix: F64, right: F64) -> F64:
    """Solve three equations by Cramer's rule; NaN where they are singular."""
    a, b, c = matrix[0], matrix[1], matrix[2]
    bc0, bc1, bc2 = b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]
    determinant = a[0] * bc0 + a[1] * bc1 + a[2] * bc2
    out = np.full(3, np.nan)
    if determinant != 0.0:
        ca0, ca1, ca2 = c[1] * a[2] - c[2] * a[1], c[2] * a[0] - c[0] * a[2], c[0] * a[1] - c[1] * a[0]
        ab0, ab1, ab2 = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
        out[0] = (bc0 * right[0] + ca0 * right[1] + ab0 * right[2]) / determinant
        out[1] = (bc1 * right[0] + ca1 * right[1] + ab1 * right[2]) / determinant
        out[2] = (bc2 * right[0] + ca2 * right[1] + ab2 * right[2]) / determinant
    return out


@compiled(error_model="numpy")
def _descend(
    offset: F64,
    flux: F64,
    weight: F64,
    period: float,
    impact: float,
    length: float,
    places: F64,
    shares: F64,
    start: F64,
) -> tuple[F64, float, F64]:
    """Return where the sum of squares is least, that sum, and the normal matrix (3, 3) of the last step."""
    at = start.copy()
    now = _residual(offset, flux, weight, period, impact, length, places, shares, at)
    cost, damping = np.sum(now * now), 1e-3
    normal, gradient, most = np.zeros((3, 3)), np.zeros(3), np.zeros(3)
    slopes = np.zeros((3, now.size))
    for _ in range(N_ITERATION):
        for j in range(3):
            step = STEPS[j] * (at[0] if j == 0 else 1.0)
            moved = at.copy()
            moved[j] += step
            slopes[j] = (_residual(offset, flux, weight, period, impact, length, places, shares, moved) - now) / step
        for j in range(3):
            gradient[j] = np.sum(slopes[j] * now)
            for k in range(3):
                normal[j, k] = np.sum(slopes[j] * slopes[k])
        if not (normal[0, 0] > 0.0 and normal[1, 1] > 0.0 and normal[2, 2] > 0.0):
            break
        most[0], most[1], most[2] = 0.5 * at[0], 0.5, 0.2
        improved = False
        gained = 0.0
        for _ in range(6):
            damped = normal.copy()
            for j in range(3):
                damped[j, j] *= 1.0 + damping
            tried = at + np.minimum(np.maximum(_solved(damped, -gradient), -most), most)
            if 0.0 < tried[0] < LARGEST_RATIO and 0.0 < tried[1] < 7.0 and abs(tried[2]) < 0.5:
                there = _residual(offset, flux, weight, period, impact, length, places, shares, tried)
                its_cost = np.sum(there * there)
                if its_cost < cost:
                    improved = True
                    gained, cost, now, at = cost - its_cost, its_cost, there, tried
                    break
            damping *= 10.0
        if not improved:
            break
        damping = max(0.1 * damping, 1e-9)
        if gained < 1e-8 * cost:
            break
    return at, cost, normal
