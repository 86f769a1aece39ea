"""A first look at one light curve.

Owns one small picture. Refuses pages and reports (``report``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from starskope.curves.container import LightCurves

__all__ = ["draw_star"]


def draw_star(curves: LightCurves, star: int, axes: Any = None) -> Any:
    """Draw flux against barycentric time where it is known, else against spacecraft time; flagged cadences pale."""
    if not -curves.n_star <= star < curves.n_star:
        raise IndexError(f"plot: star {star} of {curves.n_star}; give a position from 0 to {curves.n_star - 1}")
    if axes is None:
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(10, 3.5), layout="constrained")[1]
    barycentric = curves.observer is not None and curves.direction is not None
    time = curves.bjd(star) if barycentric else curves.time
    flux = curves.flux[:, star]
    good = curves.quality == 0
    if curves.flux_err is not None and np.isfinite(curves.flux_err[:, star]).any():
        error = np.where(good, curves.flux_err[:, star], np.nan)
        axes.errorbar(time, flux, yerr=error, fmt="none", ecolor="0.8", elinewidth=0.5, zorder=1)
    axes.plot(time[good], flux[good], ".", markersize=2.5, color="C0", label="unflagged")
    if not good.all():
        axes.plot(time[~good], flux[~good], ".", markersize=2.5, color="0.7", label="flagged")
        axes.legend(loc="best", frameon=False)
    label = next(
        (name for name in ("tic_id", "kepler_id", "epic_id", "gaia_id") if name in curves.stars.colnames), None
    )
    axes.set_title(f"star {star}" if label is None else f"{label} {curves.stars[label][star]}")
    axes.set_xlabel(f"{'BJD (TDB)' if barycentric else 'spacecraft time (TDB)'} - {curves.time_zero:.0f} [d]")
    axes.set_ylabel(f"flux [{curves.flux_unit}]" if curves.flux_unit else "relative flux")
    return axes
