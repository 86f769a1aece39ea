"""Signal-to-noise spectra of the stars of a block, of dips and of brightenings, whichever way of searching is cheaper.

Owns the choice between the exact batch search and the long one, which follows from the times and the periods alone: a
star's spectrum does not depend on how many stars are searched with it. Refuses to look at peaks (`block`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from starskope.compiled import compiled
from starskope.search.box import BoxSearch
from starskope.search.box_scan import BoxScan
from starskope.search.grids import duration_limits
from starskope.search.refine import LONGEST_DUTY
from starskope.search.settings import Grid

__all__ = ["LONG", "BoxSpectra"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

LONG = 100_000_000
"""Points times periods from which stretches of time are folded: a full batch costs 5 ms per star there and one star
alone half a second, either way of the other 0.03 s; a sector of half-hour points has 8 million."""


_TILE = 32
"""Periods and stars that are turned around at a time: the first cache holds both sides."""


class BoxSpectra:
    """Spectra of stars on one time axis.

    Parameters
    ----------
    time, flux, flux_err : (n_time,), (n_time, n_star), (n_time, n_star) or None
        As of `starskope.search.box.BoxSearch`.
    grid : Grid
    workers : int
        Threads; any number gives the same bytes.

    Notes
    -----
    Exact spectra of all stars are made at once and kept, 8 bytes per period and star. Long ones are made star by star
    as they are asked for, so that a block of stars with 400,000 periods takes no gigabytes.
    """

    def __init__(self, time: F64, flux: F32, flux_err: F32 | None, grid: Grid, workers: int = 1) -> None:
        self._grid, self._workers = grid, workers
        self._limits = duration_limits(grid.periods, cadence=grid.cadence)
        self._kept: tuple[F32, F32] | None = None
        self._stars: tuple[F64, F32, F32 | None] = (time, flux, flux_err)
        if time.size * grid.periods.size < LONG:
            search = BoxSearch(time, flux, flux_err, durations=grid.durations, max_duty_cycle=LONGEST_DUTY)
            found = search.periodogram(grid.periods, limits=self._limits, inverted=True, details=False, workers=workers)
            self._kept = (_snr(found.power), _snr(_kept(found.inverted_power)))

    def of(self, star: int) -> tuple[F32, F32]:
        """Return the signal-to-noise ratio of the best dip and of the best brightening of a star, (n_period,) each.

        0 where nothing could be measured.
        """
        if self._kept is not None:
            return self._kept[0][star], self._kept[1][star]
        time, flux, flux_err = self._stars
        scan = BoxScan(
            time,
            flux[:, star : star + 1],
            None if flux_err is None else flux_err[:, star : star + 1],
            durations=self._grid.durations,
            max_duty_cycle=LONGEST_DUTY,
        )
        found = scan.spectrum(self._grid.periods, limits=self._limits, inverted=True, workers=self._workers)
        return _snr(found[0])[0], _snr(_kept(found[1]))[0]


def _kept(power: F32 | None) -> F32:
    if power is None:
        raise ValueError("the box search kept no inverted spectrum")
    return power


@compiled(error_model="numpy")
def _snr(power: F32) -> F32:
    """Signal-to-noise ratios (n_star, n_period) from gains in log-likelihood (n_period, n_star), NaN as 0."""
    n_period, n_star = power.shape
    out = np.empty((n_star, n_period), np.float32)
    for first in range(0, n_period, _TILE):
        for first_star in range(0, n_star, _TILE):
            for i in range(first, min(first + _TILE, n_period)):
                for star in range(first_star, min(first_star + _TILE, n_star)):
                    gain = power[i, star]
                    out[star, i] = np.sqrt(np.float32(2.0) * gain) if gain > 0 else np.float32(0.0)
    return out
