"""Box least squares of many stars at once: the best box-shaped dip of every star at every trial period.

Owns the call of the core's kernel, its checks and the result. Refuses to choose periods and durations (``grids``), to
judge what a peak means, and to detrend: give it flattened light curves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope import _core
from starskope.curves.shapes import increasing_times
from starskope.parallel import map_ranges
from starskope.search.box_result import BoxPeriodogram, Objective
from starskope.search.box_trials import checked_durations, checked_errors, checked_periods, duration_windows
from starskope.validation import as_float32, choice, integer_at_least, positive

__all__ = ["BoxPeriodogram", "BoxSearch", "box_periodogram"]

F64 = NDArray[np.float64]

# Periods per call of the core: enough to plan them together, few enough to share among workers.
_STEP = 64


class BoxSearch:
    """Stars made ready for the box search, to be searched at any list of periods.

    Long grids are searched piece by piece, so that memory is bounded: each call of `periodogram` returns its own
    periods only, and what it finds at a period does not depend on the others. A star's result does not depend on the
    other stars, save that times which no star has are left out: then they agree to rounding (1e-6).

    Parameters
    ----------
    time : (n_time,) float64
        Days, strictly increasing, regular or not.
    flux : (n_time, n_star) float32
        NaN and infinities are missing.
    flux_err : array-like, optional
        One-sigma errors above 0, NaN = the point is missing: of every point ``(n_time, n_star)``, of every time
        ``(n_time,)`` or ``(n_time, 1)``, or of every star ``(1, n_star)``. Default: errors of 1.
    durations : (n_duration,) array-like
        Days, increasing. At each period bins are as wide as the shortest duration tried there over ``oversample``, and
        every duration counts as the nearest whole number of bins.
    oversample : int
        Bins in the shortest duration.
    objective : {"snr", "likelihood"}
        What the best box has most of, as in astropy's ``BoxLeastSquares``: depth over its error, which is the
        log-likelihood gain over a constant, or ``w_in depth**2 / 2``, the gain over a constant held at the level out of
        transit, which favours long boxes.
    max_duty_cycle : float
        A duration longer than this part of a period is not tried there.

    Raises
    ------
    ValueError, TypeError
        Times that do not increase, errors that are 0 or negative, shapes that differ, durations out of order.

    Notes
    -----
    At each period points fall into phase bins that begin with the first time, computed as astropy computes them. Every
    box of whole bins from every bin is tried, also across the end of the period (where astropy's fast method loses a
    bin); only dips count. With weights ``w = flux_err**-2``, ``depth = y_out - y_in`` and ``depth_err**2 = 1 / w_in +
    1 / w_out``.

    The core holds flux and weights as integers scaled by each star, so that its sums are exact: any order of points,
    instruction set and number of workers gives the same bytes. Cost per star and period: one addition per point and
    ``n_bin * n_duration`` boxes, 16 stars at a time; what stars share (bins, common weights) is computed once. Stars
    that miss points of their own or have errors of their own take about twice as long. Memory: 4 bytes per point and
    star, 8 with errors per point, and 4 to 20 per period and star of one call.

    References
    ----------
    Kovacs, Zucker & Mazeh 2002, A&A 391, 369, doi:10.1051/0004-6361:20020802. Hartman & Bakos 2016, Astronomy and
    Computing 17, 1, doi:10.1016/j.ascom.2016.05.006.

    Examples
    --------
    >>> import numpy as np
    >>> time = np.arange(0.0, 27.0, 1 / 48)
    >>> flux = np.where(np.abs((time - 1.3) % 3.0) < 0.1, 0.99, 1.0).astype(np.float32)
    >>> search = BoxSearch(time, flux[:, None], durations=[0.1, 0.2])
    >>> found = search.periodogram([2.9, 3.0, 3.1])
    >>> int(found.power[:, 0].argmax()), round(float(found.depth[1, 0]), 4), round(float(found.t0[1, 0]), 2)
    (1, 0.01, 1.35)
    """

    def __init__(
        self,
        time: ArrayLike,
        flux: ArrayLike,
        flux_err: ArrayLike | None = None,
        *,
        durations: ArrayLike,
        oversample: int = 3,
        objective: Objective = "snr",
        max_duty_cycle: float = 0.25,
    ) -> None:
        self.time = increasing_times(time)
        values = as_float32(flux, "flux", 2)
        if values.shape[0] != self.time.size:
            raise ValueError(f"flux has shape {values.shape}; expected ({self.time.size}, n_star): one row per time")
        self.n_star = values.shape[1]
        errors = checked_errors(flux_err, self.time.size, self.n_star)
        self.oversample = integer_at_least(oversample, "oversample", 1)
        self.objective: Objective = choice(objective, "objective", ("snr", "likelihood"))
        self.max_duty_cycle = positive(max_duty_cycle, "max_duty_cycle")
        self.durations = checked_durations(durations)
        self.time0 = float(self.time[0]) if self.time.size else 0.0
        self._core = _core.BoxSearch(self.time, values, errors)
        self.weight: F64 = self._core.weight

    def periodogram(
        self,
        periods: ArrayLike,
        *,
        limits: tuple[ArrayLike, ArrayLike] | None = None,
        inverted: bool = False,
        details: bool = True,
        workers: int = 1,
    ) -> BoxPeriodogram:
        """Search these periods.

        Parameters
        ----------
        periods : (n_period,) array-like
            Days, above 0, in any order.
        limits : (shortest, longest), optional
            Two arrays ``(n_period,)`` in days, such as `grids.duration_limits` gives: at each period the durations
            between them are tried, and the nearest one where none lies between.
        inverted : bool
            Search the flux upside down as well (power only), which costs little beside.
        details : bool
            Keep depth, duration and epoch; the power alone takes a quarter of the memory.
        workers : int
            Threads; -1 = all CPUs. Any number gives the same bytes.

        Returns
        -------
        BoxPeriodogram

        Raises
        ------
        ValueError
            A period that is not above 0 or holds more than four million bins, limits out of order.
        """
        trial = checked_periods(periods)
        shape = (trial.size, self.n_star)
        first, last = duration_windows(self.durations, trial, self.max_duty_cycle, limits)
        power = np.empty(shape, np.float32)
        upside_down = np.empty(shape, np.float32) if inverted else None
        depth = np.empty(shape, np.float32) if details else None
        index = np.empty(shape, np.int32) if details else None
        start = np.empty(shape, np.int32) if details else None

        def search(begin: int, end: int) -> None:
            rows = slice(begin, end)
            self._core.run(
                trial[rows],
                duration=self.durations,
                oversample=self.oversample,
                first=first[rows],
                last=last[rows],
                likelihood=self.objective == "likelihood",
                power=power[rows],
                inverted=None if upside_down is None else upside_down[rows],
                depth=None if depth is None else depth[rows],
                index=None if index is None else index[rows],
                start=None if start is None else start[rows],
            )

        map_ranges(search, trial.size, _STEP, workers)
        return BoxPeriodogram(
            period=trial,
            durations=self.durations,
            bin_width=self.durations[np.minimum(first, self.durations.size - 1)] / self.oversample,
            power=power,
            inverted_power=upside_down,
            _depth=depth,
            _duration_index=index,
            _start=start,
            weight=self.weight,
            time0=self.time0,
            objective=self.objective,
        )


def box_periodogram(
    time: ArrayLike,
    flux: ArrayLike,
    flux_err: ArrayLike | None,
    periods: ArrayLike,
    durations: ArrayLike,
    *,
    oversample: int = 3,
    objective: Objective = "snr",
    max_duty_cycle: float = 0.25,
    limits: tuple[ArrayLike, ArrayLike] | None = None,
    inverted: bool = False,
    details: bool = True,
    workers: int = 1,
) -> BoxPeriodogram:
    """Search every star for its best box at every period: `BoxSearch` and `BoxSearch.periodogram` in one call."""
    search = BoxSearch(
        time,
        flux,
        flux_err,
        durations=durations,
        oversample=oversample,
        objective=objective,
        max_duty_cycle=max_duty_cycle,
    )
    return search.periodogram(periods, limits=limits, inverted=inverted, details=details, workers=workers)
