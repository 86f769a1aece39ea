"""What a candidate is allowed to claim, and what it is called.

Owns the thresholds' meaning and the four verdicts. Refuses to measure anything, and to know other stars (`batch`).
"""

from __future__ import annotations

import math

from starskope.search.candidate import PERIODIC, SINGLE, Candidate
from starskope.search.settings import SearchSettings

__all__ = ["VERDICTS", "passes", "radius_in_jupiters", "verdict"]

VERDICTS = ("planet-like", "binary", "ambiguous", "single-event")

LEAST_EVENTS = 3
BINARY_SIGMA, BINARY_FRACTION = 5.0, 0.1
BINARY_RADIUS = 2.2
"""Jupiter radii."""
JUPITERS_PER_SUN = 695700.0 / 71492.0
LARGEST_DEPTH = (BINARY_RADIUS / JUPITERS_PER_SUN) ** 2
"""5.1 %: deeper, and only a star smaller than the Sun has a planet; where its radius is not known nobody can tell."""


def passes(candidate: Candidate, settings: SearchSettings) -> bool:
    """Say whether a candidate stands out of its own star's noise; what the batch says comes after."""
    if candidate.kind == PERIODIC:
        few = candidate.n_transits < LEAST_EVENTS
        return (
            candidate.snr >= (settings.single_snr_min if few else settings.snr_min)
            and candidate.sde >= settings.sde_min
            and candidate.n_transits >= 2
            and candidate.n_consistent >= max(2, 0.6 * candidate.n_transits)
            and candidate.steadiness >= 0.5
            and candidate.sine_ratio >= 1.0
            and candidate.snr >= 1.5 * candidate.bump
        )
    if candidate.kind == SINGLE:
        return candidate.snr >= settings.single_snr_min and candidate.contrast >= 1.5
    return False


def verdict(candidate: Candidate, radius: float) -> str:
    """Return the name for a candidate.

    Parameters
    ----------
    candidate : Candidate
    radius : float
        Of the star in solar radii; NaN = not known.
    """
    if candidate.kind == SINGLE:
        return "single-event"
    if candidate.kind != PERIODIC:
        return "ambiguous"
    if candidate.n_transits < LEAST_EVENTS:
        return "single-event"
    if radius_in_jupiters(candidate.depth, radius) > BINARY_RADIUS or _two_kinds(candidate, BINARY_SIGMA):
        return "binary"
    if _two_kinds(candidate, 3.0) or candidate.flat_bottom_max < 0.35:
        return "ambiguous"
    if not math.isfinite(radius) and candidate.depth > LARGEST_DEPTH:
        return "ambiguous"
    return "planet-like"


def radius_in_jupiters(depth: float, radius: float) -> float:
    """Radius of a dark body that covers a fraction ``depth`` of a star of ``radius`` Suns; NaN where not known."""
    return math.sqrt(depth) * radius * JUPITERS_PER_SUN if depth > 0 and radius > 0 else math.nan


def _two_kinds(candidate: Candidate, sigma: float) -> bool:
    """Say whether a second kind of dip is seen: odd unlike even, or a secondary, beyond a tenth of the depth."""
    least = BINARY_FRACTION * candidate.depth
    odd_even = abs(candidate.odd_even)
    return (odd_even > least and odd_even >= sigma * candidate.odd_even_err) or (
        candidate.secondary > least and candidate.secondary >= sigma * candidate.secondary_err
    )
