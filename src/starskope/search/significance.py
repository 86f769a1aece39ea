"""How often noise alone gives a peak of a given height.

Owns the false-alarm probability of Lomb-Scargle periodograms. Refuses transit searches, whose noise is measured on the
inverted series of the batch, not computed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope.validation import choice

__all__ = ["METHODS", "false_alarm_probability"]

METHODS = ("baluev", "davies", "single")
"""How the chance is computed; `starskope.search.bootstrap` measures it."""


def false_alarm_probability(
    power: ArrayLike, n_point: ArrayLike, baseline_days: ArrayLike, frequency_max: float, method: str = "baluev"
) -> NDArray[np.float64]:
    """Chance that white noise peaks at ``power`` or above, anywhere up to ``frequency_max``.

    Parameters
    ----------
    power : array_like
        Standard normalisation, 0 to 1; floating mean. NaN gives NaN.
    n_point : array_like
        Points of the series.
    baseline_days : array_like
        ``sqrt(4 pi var(t))``, weighted.
    frequency_max : float
        Highest frequency, per day.
    method : "baluev", "davies" or "single"
        An approximation that is close below 0.1; a bound above it, which may exceed 1 (Davies 1987); or the chance at
        one frequency chosen beforehand.

    Returns
    -------
    ndarray of float64
        Broadcast of the first three; 1 for series of fewer than four points, of which a sine with a free mean takes
        all variance away.

    Raises
    ------
    ValueError
        Another method.

    Notes
    -----
    Baluev's eq. 6 with the Davies bound of his Appendix B for a statistic of ``1 - power`` under least squares with a
    free mean: ``FAP = 1 - (1 - s) exp(-tau)``, the bound ``s + tau``, with ``s = (1 - power)**((n - 3) / 2)`` and
    ``tau = gamma W (1 - power)**((n - 4) / 2) sqrt((n - 1) power / 2)``, ``W = frequency_max baseline``, ``gamma =
    sqrt(2 / (n - 1)) Gamma((n - 1) / 2) / Gamma((n - 2) / 2)``.

    References
    ----------
    Baluev 2008, MNRAS 385, 1279, doi:10.1111/j.1365-2966.2008.12689.x; Davies 1987, Biometrika 74, 33
    """
    from scipy.special import gammaln

    choice(method, "method", METHODS)
    z, n, baseline = np.broadcast_arrays(
        np.asarray(power, dtype=np.float64), np.asarray(n_point, dtype=np.float64), np.asarray(baseline_days, float)
    )
    z = np.clip(z, 0.0, 1.0)
    enough = n >= 4
    many = np.where(enough, n, 4.0)
    gamma = np.sqrt(2.0 / (many - 1.0)) * np.exp(gammaln(0.5 * (many - 1.0)) - gammaln(0.5 * (many - 2.0)))
    single = (1.0 - z) ** (0.5 * (many - 3.0))
    tau = gamma * frequency_max * baseline * (1.0 - z) ** (0.5 * (many - 4.0)) * np.sqrt(0.5 * (many - 1.0) * z)
    if method == "single":
        chance = single
    elif method == "davies":
        chance = single + tau
    else:
        # 1 - (1 - s) exp(-tau) without losing what is small against 1.
        chance = single - np.expm1(-tau) * (1.0 - single)
    return np.where(np.isnan(z), np.nan, np.where(enough, chance, 1.0))
