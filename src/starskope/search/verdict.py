"""What a candidate is allowed to claim, and what it is called.

Owns the thresholds' meaning and the four verdicts. Refuses to measure anything, and to know other stars (`batch`).

Calibration, of the whole chain (mask, normalise, flatten with a window of 0.75 d, search with the default grid):

- *Noise.* 5,120 curves of 1,282 half-hour points with 1 % missing and a gap of 1.1 d, half of them white, half with red
  noise of 0.05 to 1 d and 0.2 to 1.5 times the white. Best score of a curve: median 4.6, 99 % below 6.0, highest 6.9,
  the same upside down; detection efficiency (SDE): median 4.8, 99 % below 7.1, highest 9.6; best single event: median
  3.7, highest 5.6. None is claimed.
- *Planets* in such curves with a signal-to-noise ratio of 12 to 25 by white noise: score above 8.4 (white) and 7.3
  (red) for 99 %, SDE above 9. All of 384 are claimed at their period in white noise, 99 % in red; in four synthetic
  sectors 186 of 186, and the 34 quiet stars that are claimed there name the star whose light they share.
- *Real files.* Planets of Kepler, K2 and TESS score 9.8 to 330 with an SDE of 8 to 38. Light curves without planets,
  spotted stars among them, score up to 6.4 with an SDE up to 7; one full of unflagged jitter scores 3.2 at an SDE of
  8.9. So 7 for the score; the SDE of 5.5 only asks for a peak, for it knows neither red noise nor events.
- *Single events* on the same files, transits taken out: dips of up to 7.6 and bumps of up to 7.3, but 17 at the start
  of one K2 campaign. So 12, and half as much again as any other excursion of the star. The transit of HD 21749 b has
  24; one of Kepler-36 c in ten days of data has 9.9 and stays unclaimed.
- *Binaries* injected into real curves with a secondary of 10 sigma and a tenth of the primary or more: 98 % are not
  called planet-like; what is left are twins whose eclipses differ by less than their errors, found at half the period.
"""

from __future__ import annotations

import math

from starskope.search.candidate import PERIODIC, SINGLE, Candidate
from starskope.search.settings import SearchSettings

__all__ = ["LEAST_EVENTS", "VERDICTS", "passes", "radius_in_jupiters", "repeats", "verdict"]

VERDICTS = ("planet-like", "binary", "ambiguous", "single-event")

LEAST_EVENTS = 3
LEAST_CONSISTENT = 0.6
"""Part of the observed events that agree with the depth."""
LEAST_STEADINESS = 0.5
"""Part of the depth that must stay when the event that carries most of it is left out."""
LEAST_SINE_RATIO = 1.4
"""Gain of the box over that of any sine with its overtone that it may imitate. Such waves leave a box less than 1:
1,600 synthetic pulsators and spotted stars with amplitudes of up to 100 times the noise give three claims, two of them
ambiguous and one a single event. A box of the longest duty (0.16) has 1.6, planets in synthetic sectors 1.8 to 20."""
NO_WAVE = 60.0
"""Score that no wave reaches, for the boxes at its other phases scatter as much (25 among those stars): the eclipses of
a close binary do, and may be as wide and round as they are."""
LEAST_CONTRAST = 1.5
"""Signal-to-noise ratio over that of the highest bump at any phase, or, of a single event, of the next excursion."""
BINARY_SIGMA, BINARY_FRACTION = 5.0, 0.1
DOUBT_ODD_EVEN, DOUBT_SECONDARY = 3.0, 4.0
"""From here on a second kind of dip is possible, and the data cannot tell; the deepest of the many other phases reaches
three sigma by chance."""
LEAST_BOTTOM = 0.35
"""A dip whose flat bottom is certainly shorter than this part of it is V-shaped: a grazing body of any size."""
BINARY_RADIUS = 2.2
"""Jupiter radii."""
JUPITERS_PER_SUN = 695700.0 / 71492.0
LARGEST_DEPTH = (BINARY_RADIUS / JUPITERS_PER_SUN) ** 2
"""5.1 %: deeper, and only a star smaller than the Sun has a planet; where its radius is not known nobody can tell."""


def passes(candidate: Candidate, settings: SearchSettings) -> bool:
    """Say whether a candidate stands out of its own star's noise; what the batch says comes after."""
    if candidate.kind == PERIODIC:
        few = candidate.n_transits < LEAST_EVENTS
        return candidate.snr >= (settings.single_snr_min if few else settings.snr_min) and repeats(candidate, settings)
    if candidate.kind == SINGLE:
        return candidate.snr >= settings.single_snr_min and candidate.contrast >= LEAST_CONTRAST
    return False


def repeats(candidate: Candidate, settings: SearchSettings) -> bool:
    """Say whether a periodic candidate has what noise lacks, its signal-to-noise ratio apart."""
    return (
        candidate.sde >= settings.sde_min
        and not candidate.same_orbit
        and candidate.n_transits >= 2
        and candidate.n_consistent >= max(2, LEAST_CONSISTENT * candidate.n_transits)
        and candidate.steadiness >= LEAST_STEADINESS
        and (candidate.sine_ratio >= LEAST_SINE_RATIO or candidate.snr >= NO_WAVE)
        and candidate.snr >= LEAST_CONTRAST * candidate.bump
    )


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
    if radius_in_jupiters(candidate.depth, radius) > BINARY_RADIUS or _two_kinds(candidate, BINARY_SIGMA, BINARY_SIGMA):
        return "binary"
    uneven = abs(candidate.odd_even) >= BINARY_SIGMA * candidate.odd_even_err
    if uneven or _two_kinds(candidate, DOUBT_ODD_EVEN, DOUBT_SECONDARY) or candidate.flat_bottom_max < LEAST_BOTTOM:
        return "ambiguous"
    if not math.isfinite(radius) and candidate.depth > LARGEST_DEPTH:
        return "ambiguous"
    return "planet-like"


def radius_in_jupiters(depth: float, radius: float) -> float:
    """Radius of a dark body that covers a fraction ``depth`` of a star of ``radius`` Suns; NaN where not known."""
    return math.sqrt(depth) * radius * JUPITERS_PER_SUN if depth > 0 and radius > 0 else math.nan


def _two_kinds(candidate: Candidate, odd_even_sigma: float, secondary_sigma: float) -> bool:
    """Say whether a second kind of dip is seen: odd unlike even, or a secondary, beyond a tenth of the depth."""
    least = BINARY_FRACTION * candidate.depth
    odd_even = abs(candidate.odd_even)
    if odd_even > least and odd_even >= odd_even_sigma * candidate.odd_even_err:
        return True
    # One dip at another phase is a dip; two at the same phase are a secondary.
    is_repeated = candidate.n_secondary >= 2 or secondary_sigma < BINARY_SIGMA
    return (
        is_repeated and candidate.secondary > least and candidate.secondary >= secondary_sigma * candidate.secondary_err
    )
