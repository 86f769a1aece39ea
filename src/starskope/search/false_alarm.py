"""How often the noise of a star gives such a score: false-alarm probabilities from the light upside down.

Owns the tail of the best scores and the count of inverted candidates that would be claimed. Refuses to set a limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["PERIODIC_PRIOR", "SINGLE_PRIOR", "NoiseScores", "false_alarm_probability"]

F64 = NDArray[np.float64]

PERIODIC_PRIOR, SINGLE_PRIOR = (4.54, 0.28), (3.55, 0.285)
"""Location and scale of the Gumbel distributions that the best inverted boxes and events of 5,120 noise curves follow:
1,282 points of half an hour, flattened; half of them with red noise of 0.05 to 1 d, 0.2 to 1.5 times the white."""
PRIOR_WEIGHT = 20.0
LEAST_SCALE = 0.7
"""Part of the prior's scale below which no batch may go: scores of the same noise cannot be that equal."""
DEEPEST_TAIL = 500.0
"""Scales above the location beyond which probabilities are all 1e-217: none shall be 0."""


def false_alarm_probability(scores: F64, inverted: F64, counts: NDArray[np.bool_], prior: tuple[float, float]) -> F64:
    """Probability that the noise of a star gives a score at least as high.

    Parameters
    ----------
    scores : (n,) float64
    inverted : (n_star,) float64
        Best score of every star's inverted light; NaN is left out.
    counts : (n_star,) bool
        Whether that inverted box would be claimed.
    prior : (location, scale)
        Of a Gumbel distribution that noise follows; it counts as `PRIOR_WEIGHT` stars do.

    Returns
    -------
    (n,) float64

    Notes
    -----
    The larger of two numbers. One is the tail of a Gumbel distribution (the best of many trials) through the median and
    the upper quartile of the inverted scores, which a quarter of variable stars cannot move; the prior helps few stars,
    so that one file has a probability too. The other is the part of the stars, one left out, whose inverted box is as
    high and would be claimed: what the batch has that no distribution of noise foresees; one star alone is no measure.
    """
    return NoiseScores.of(inverted, counts, prior).probability(scores)


@dataclass(frozen=True, eq=False)
class NoiseScores:
    """What the inverted light of a batch says about scores that its noise gives: enough to judge further curves of it.

    Attributes
    ----------
    location, scale : float
        Of the Gumbel distribution.
    rivals : (n,) float64
        Scores of the inverted boxes that would be claimed, ascending.
    n_star : int
        Stars with a score.
    """

    location: float
    scale: float
    rivals: F64
    n_star: int

    @classmethod
    def of(cls, inverted: F64, counts: NDArray[np.bool_], prior: tuple[float, float]) -> Self:
        """Take the scores of a batch; parameters as those of `false_alarm_probability`."""
        known = np.isfinite(inverted)
        location, scale = _gumbel(inverted[known], prior)
        return cls(location, scale, np.sort(inverted[known & counts]), int(np.count_nonzero(known)))

    def probability(self, scores: F64) -> F64:
        """Return what `false_alarm_probability` returns for these scores (n,)."""
        tail = -np.expm1(-np.exp(-np.minimum((scores - self.location) / self.scale, DEEPEST_TAIL)))
        as_high = self.rivals.size - np.searchsorted(self.rivals, scores, side="left")
        counted = np.maximum(as_high - 1, 0) / (self.n_star + 1.0)
        return np.asarray(np.where(np.isfinite(scores), np.maximum(tail, counted), np.nan))

    def as_json(self) -> dict[str, Any]:
        """Return plain numbers, for a table's ``meta``."""
        gumbel = [self.location, self.scale]
        return {"gumbel": gumbel, "claimed": [float(score) for score in self.rivals], "n_star": self.n_star}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Take back what `as_json` gave."""
        location, scale = map(float, told["gumbel"])
        return cls(location, scale, np.asarray(told["claimed"], np.float64), int(told["n_star"]))


def _gumbel(seen: F64, prior: tuple[float, float]) -> tuple[float, float]:
    if seen.size == 0:
        return prior
    share = seen.size / (seen.size + PRIOR_WEIGHT)
    median, upper = np.quantile(seen, [0.5, 0.75])
    # The quantile p of a Gumbel distribution is location - scale ln(-ln p).
    scale = float(upper - median) / (math.log(math.log(2.0)) - math.log(-math.log(0.75)))
    location = float(median) + scale * math.log(math.log(2.0))
    scale = (1.0 - share) * prior[1] + share * scale
    return (1.0 - share) * prior[0] + share * location, max(scale, LEAST_SCALE * prior[1])
