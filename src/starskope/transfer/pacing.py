"""How long to wait before trying again, as pure functions.

Owns the back-off law. It refuses to sleep: the caller does, so the law is tested without a clock.
"""

from __future__ import annotations

import random

__all__ = ["backoff_s"]


def backoff_s(n_failed: int, base_s: float, max_s: float, rng: random.Random) -> float:
    """Return a wait with full jitter: uniform in ``[0, min(max_s, base_s * 2**n_failed)]``.

    Parameters
    ----------
    n_failed : int
        Tries that failed so far, at least 1.
    base_s, max_s : float
        Scale and ceiling in seconds.
    rng : random.Random
        Source of the jitter.

    Returns
    -------
    float
        Seconds.

    Notes
    -----
    Full jitter spreads clients that failed together over the whole interval, which clears a throttled prefix sooner
    than equal or no jitter.

    References
    ----------
    M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog (2015).
    """
    if n_failed < 1:
        raise ValueError(f"n_failed must be at least 1, got {n_failed}")
    # The exponent is capped: a float overflows at 2**1024 and no wait needs that.
    return rng.uniform(0.0, min(max_s, base_s * 2.0 ** min(n_failed, 60)))
