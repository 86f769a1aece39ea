"""One candidate as numbers: what the search measured, before the batch decides.

Owns the fields, in one place, and how they travel as plain arrays. Refuses thresholds.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

__all__ = ["NONE", "PERIODIC", "SINGLE", "Candidate", "field_names"]

NONE, PERIODIC, SINGLE = 0.0, 1.0, 2.0


@dataclass(frozen=True)
class Candidate:
    """Measurements of one candidate; NaN = not measured.

    Attributes
    ----------
    kind : float
        0 nothing, 1 periodic, 2 a single event (or two).
    period, t0, duration : float
        Days; ``t0`` is the mid-transit of the first event, on the time axis of the star (barycentric where known).
    depth, depth_err : float
        Fraction of the light; the error holds red noise and the scatter of the events.
    snr : float
        ``depth / depth_err``.
    sde : float
        Height of the spectrum above its trend, in its own scatter.
    n_transits : float
        Events that were observed.
    n_consistent : float
        Those among them that agree with the depth.
    steadiness : float
        Depth without the deepest event over depth with it.
    odd_even, odd_even_err : float
        Depth of the odd minus that of the even events, fraction of the light.
    secondary, secondary_err, secondary_phase : float
        Deepest dip at any other phase.
    n_secondary : float
        Events at that phase that were observed.
    bump : float
        Signal-to-noise ratio of the highest bump at any phase.
    sine_ratio : float
        Gain of the box, and of that at a significant secondary, over that of a sine and its overtone; NaN where the
        signal-to-noise ratio is too low for a claim.
    contrast : float
        Signal-to-noise ratio over that of the best inverted box or event of the same star.
    flat_bottom : float
        Length of the bottom over the whole length of a trapezoid; 0 = V.
    flat_bottom_max : float
        Largest value of it that the data allow.
    length : float
        Whole length of that trapezoid over the duration.
    score : float
        What false-alarm probabilities compare.
    period_least : float
        Shortest period that the coverage allows (single events).
    same_orbit : float
        1 where the period is a simple ratio of that of a stronger candidate of the star.
    period_err, t0_err : float
        One-sigma errors of the fitted ephemeris from the scatter of the points, days.
    rp_rs, a_rs, impact, density : float
        Radius of the planet, its distance and its impact parameter in radii of the star; density of the star in that
        of the Sun, for a circular orbit. NaN where the shape of the transit is lost in noise.
    rp_rs_err, a_rs_err, impact_err, density_err : float
        One-sigma errors, with what distance and impact parameter leave open between them.
    fit_chi2 : float
        Of that transit, per degree of freedom.
    """

    kind: float = NONE
    period: float = math.nan
    t0: float = math.nan
    duration: float = math.nan
    depth: float = math.nan
    depth_err: float = math.nan
    snr: float = math.nan
    sde: float = math.nan
    n_transits: float = 0.0
    n_consistent: float = 0.0
    steadiness: float = math.nan
    odd_even: float = math.nan
    odd_even_err: float = math.nan
    secondary: float = math.nan
    secondary_err: float = math.nan
    secondary_phase: float = math.nan
    n_secondary: float = math.nan
    bump: float = math.nan
    sine_ratio: float = math.nan
    contrast: float = math.nan
    flat_bottom: float = math.nan
    flat_bottom_max: float = math.nan
    length: float = math.nan
    score: float = math.nan
    period_least: float = math.nan
    same_orbit: float = 0.0
    period_err: float = math.nan
    t0_err: float = math.nan
    rp_rs: float = math.nan
    rp_rs_err: float = math.nan
    a_rs: float = math.nan
    a_rs_err: float = math.nan
    impact: float = math.nan
    impact_err: float = math.nan
    density: float = math.nan
    density_err: float = math.nan
    fit_chi2: float = math.nan


def field_names() -> list[str]:
    """Names of the fields in order."""
    return [field.name for field in dataclasses.fields(Candidate)]
