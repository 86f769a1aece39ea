"""The box search of years: hundreds of thousands of periods for one or a few stars, points folded in stretches of time.

Owns the call of the core's kernel for long grids. Refuses epochs and depths (who has found a peak folds all points
there again, see `refine.locate`), and to choose periods and durations (`grids`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope import _core
from starskope.curves.shapes import increasing_times
from starskope.parallel import map_ranges
from starskope.search.box_result import Objective
from starskope.search.box_trials import (
    Limits,
    checked_durations,
    checked_errors,
    checked_periods,
    duration_windows,
)
from starskope.validation import as_float32, choice, integer_at_least, positive

__all__ = ["OVERSAMPLE", "BoxScan"]

F32 = NDArray[np.float32]

OVERSAMPLE = 6
"""Bins in the shortest duration: twice those of the exact search, for phases are right to about a bin."""
_STEP = 8192
"""Periods per call of the core: neighbours share what is folded, the ends of a call are folded anew."""


class BoxScan:
    """Stars made ready for a long box search, to be searched at any list of periods.

    What it finds at a period depends neither on the other periods nor on other stars or workers.

    Parameters
    ----------
    time : (n_time,) float64
        Days, strictly increasing; gaps of years cost nothing.
    flux : (n_time, n_star) float32
        NaN and infinities are missing.
    flux_err : array-like, optional
        As of `starskope.search.box.BoxSearch`.
    durations : (n_duration,) array-like
        Days, increasing.
    oversample : int
        Bins in the shortest duration tried at a period, at least: their number is rounded up to a multiple of 16, and
        every duration counts as the nearest whole number of them.
    objective : {"snr", "likelihood"}
        As of `starskope.search.box.BoxSearch`.
    max_duty_cycle : float
        A duration longer than this part of a period is not tried there.

    Raises
    ------
    ValueError, TypeError
        Times that do not increase, errors that are 0 or negative, shapes that differ, durations out of order.

    Notes
    -----
    The times of a star are divided into up to 16 stretches, these again, until 256 points or fewer are left. Each
    stretch keeps its points summed in phase bins, at the multiple of ``1 / (n_bin length)`` that is next to the
    frequency asked for, so that the phase of no point is off by more than a quarter of a bin; a longer stretch adds up
    its parts, each turned by the phase between their middles, rounded to a bin. Only all times together are folded at
    every trial. This is the fast folding of Staelin (1969) and of fBLS with more than two parts per level, so that few
    roundings add up, and with parts that follow the points: a gap has none. A period costs ``n_bin`` additions per part
    and a few operations per bin and duration, 16 at a time, however many points there are.

    Against an exact fold with as many bins a box loses 2 to 4 % of its signal-to-noise ratio where it is as short as
    the shortest duration, less where it is longer. Memory: 16 bytes per point and star, and 4 to 64 MiB per worker.

    References
    ----------
    Shahaf, Zackay, Mazeh, Faigler & Ivashtenko 2022, MNRAS 513, 2732, doi:10.1093/mnras/stac960. Staelin 1969,
    Proc. IEEE 57, 724, doi:10.1109/PROC.1969.7051. Kovacs, Zucker & Mazeh 2002, A&A 391, 369,
    doi:10.1051/0004-6361:20020802.

    Examples
    --------
    >>> import numpy as np
    >>> time = np.concatenate([start + np.arange(0.0, 27.0, 1 / 48) for start in (0.0, 700.0, 1400.0)])
    >>> flux = np.where(np.abs((time - 1.3) % 3.0) < 0.1, 0.99, 1.0).astype(np.float32)
    >>> scan = BoxScan(time, flux[:, None], durations=[0.1, 0.2])
    >>> periods = 1.0 / np.arange(0.3, 0.4, 1e-5)
    >>> power, _ = scan.spectrum(periods)
    >>> round(float(periods[power[:, 0].argmax()]), 3)
    3.0
    """

    def __init__(
        self,
        time: ArrayLike,
        flux: ArrayLike,
        flux_err: ArrayLike | None = None,
        *,
        durations: ArrayLike,
        oversample: int = OVERSAMPLE,
        objective: Objective = "snr",
        max_duty_cycle: float = 0.25,
    ) -> None:
        times = increasing_times(time)
        values = as_float32(flux, "flux", 2)
        if values.shape[0] != times.size:
            raise ValueError(f"flux has shape {values.shape}; expected ({times.size}, n_star): one row per time")
        self.n_star = values.shape[1]
        errors = checked_errors(flux_err, times.size, self.n_star)
        self.durations = checked_durations(durations)
        self.oversample = integer_at_least(oversample, "oversample", 1)
        self.objective: Objective = choice(objective, "objective", ("snr", "likelihood"))
        self.max_duty_cycle = positive(max_duty_cycle, "max_duty_cycle")
        self._stars = [
            _core.BoxScan(
                times,
                np.ascontiguousarray(values[:, star : star + 1]),
                errors if errors is None or errors.shape[1] == 1 else np.ascontiguousarray(errors[:, star : star + 1]),
            )
            for star in range(self.n_star)
        ]

    def spectrum(
        self,
        periods: ArrayLike,
        *,
        limits: Limits | None = None,
        inverted: bool = False,
        workers: int = 1,
    ) -> tuple[F32, F32 | None]:
        """Search these periods.

        Parameters
        ----------
        periods : (n_period,) array-like
            Days, above 0; neighbours should be neighbours in frequency.
        limits : (shortest, longest), optional
            As of `starskope.search.box.BoxSearch.periodogram`.
        inverted : bool
            Search the flux upside down as well, which costs little beside.
        workers : int
            Threads; -1 = all CPUs. Any number gives the same bytes.

        Returns
        -------
        power, inverted_power : (n_period, n_star) float32
            Log-likelihood gain of the best dip and of the best brightening (None unless asked for), as
            `starskope.search.box_result.BoxPeriodogram` says: 0 where nothing dips, NaN where nothing could be
            measured.

        Raises
        ------
        ValueError
            A period that is not above 0 or holds more than four million bins, limits out of order.
        """
        trial = checked_periods(periods)
        first, last = duration_windows(self.durations, trial, self.max_duty_cycle, limits)
        # Stars one after the other in memory: each call of the core writes a piece of its own.
        power = np.empty((self.n_star, trial.size, 1), np.float32)
        upside_down = np.empty_like(power) if inverted else None
        n_piece = -(-trial.size // _STEP)

        def search(piece: int, _: int) -> None:
            star, k = divmod(piece, n_piece)
            rows = slice(k * _STEP, min((k + 1) * _STEP, trial.size))
            self._stars[star].run(
                trial[rows],
                duration=self.durations,
                oversample=self.oversample,
                first=first[rows],
                last=last[rows],
                likelihood=self.objective == "likelihood",
                power=power[star, rows],
                inverted=None if upside_down is None else upside_down[star, rows],
            )

        map_ranges(search, n_piece * self.n_star, 1, workers)
        return _time_major(power), None if upside_down is None else _time_major(upside_down)


def _time_major(values: F32) -> F32:
    return np.ascontiguousarray(values[:, :, 0].T)
