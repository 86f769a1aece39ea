"""Box least squares of many stars at once: the best box-shaped dip of every star at every trial period.

Owns the call of the core's kernel, its checks and the result. Refuses to choose periods and durations (``grids``), to
judge what a peak means, and to detrend: give it flattened light curves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope.curves.shapes import increasing_times
from starskope.parallel import map_ranges
from starskope.validation import as_float32, as_float64, choice, integer_at_least, positive

__all__ = ["BoxPeriodogram", "BoxSearch", "box_periodogram"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
Objective = Literal["snr", "likelihood"]


@dataclass(frozen=True, eq=False)
class BoxPeriodogram:
    """The best box of every star at every period.

    Arrays are ``(n_period, n_star)`` unless said otherwise. Where nothing dips, ``power`` and ``depth`` are 0, where
    nothing could be measured (no duration fits the period, a star has fewer than two points) they are NaN; in both cases
    there is no box, so ``duration_index`` and ``start`` are -1 and ``duration`` and ``t0`` NaN.
    """

    period: F64 = field(repr=False)
    """(n_period,) days."""
    durations: F64
    """(n_duration,) days: the trial durations, as whole numbers of bins."""
    power: F32 = field(repr=False)
    """Log-likelihood gain of the best box: with the objective "snr" ``depth**2 / (2 depth_err**2)`` over a constant, with
    "likelihood" astropy's ``w_in depth**2 / 2``. With ``flux_err=None`` in units of the flux squared (errors of 1)."""
    inverted_power: F32 | None = field(repr=False)
    """The same for the flux turned upside down, where asked for: what noise alone reaches."""
    depth_: F32 | None = field(repr=False)
    duration_index_: I32 | None = field(repr=False)
    start_: I32 | None = field(repr=False)
    weight: F64 = field(repr=False)
    """(n_star,) sum of ``flux_err**-2`` over the points of each star (their number with ``flux_err=None``)."""
    time0: float
    """The first time: phase 0 of every period."""
    bin_width: float
    """Days."""
    objective: Objective

    @property
    def depth(self) -> F32:
        """Mean flux out of the box less that in it, in the unit of the flux."""
        return self._detail(self.depth_)

    @property
    def duration_index(self) -> I32:
        """Which of ``durations``; -1 = no box."""
        return self._detail(self.duration_index_)

    @property
    def start(self) -> I32:
        """Phase bin in which the box begins, counted from ``time0``; -1 = no box."""
        return self._detail(self.start_)

    @property
    def duration(self) -> F32:
        """Days; NaN = no box."""
        return np.append(self.durations, np.nan).astype(np.float32)[self.duration_index]

    @property
    def t0(self) -> F64:
        """Middle of the box that begins in the first cycle, in ``[time0, time0 + period)``; NaN = no box."""
        middle = (
            self.start + 0.5 * np.append(self.durations / self.bin_width, np.nan)[self.duration_index]
        ) * self.bin_width
        return self.time0 + np.mod(middle, self.period[:, None])

    @property
    def snr(self) -> F32:
        """Depth over its error."""
        if self.objective == "snr":
            return np.sqrt(2.0 * self.power)
        # w_in = 2 power / depth**2, and the error of the depth is (1 / w_in + 1 / w_out)**0.5.
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(
                self.depth > 0.0, 2.0 * self.power / (self.depth.astype(np.float64) ** 2 * self.weight), 0.0
            )
        return np.sqrt(2.0 * self.power * (1.0 - share)).astype(np.float32)

    @property
    def depth_err(self) -> F32:
        """One-sigma error of ``depth`` from ``flux_err``; NaN = no box."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.depth / self.snr

    def _detail(self, array: NDArray[np.generic] | None):  # type: ignore[no-untyped-def]
        if array is None:
            raise ValueError("this search kept the power alone: search these periods again with details=True")
        return array


class BoxSearch:
    """Stars made ready for the box search, to be searched at any list of periods.

    Long grids are searched piece by piece, so that memory is bounded: each call of `periodogram` returns its own
    periods only. Results do not depend on the split.

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
        Days, increasing. Bins are ``durations[0] / oversample`` wide and every duration counts as the nearest whole
        number of bins.
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
        errors = _errors(flux_err, self.time.size, self.n_star)
        trial = as_float64(durations, "durations", 1)
        if not trial.size or not (np.isfinite(trial) & (trial > 0.0)).all() or not (np.diff(trial) > 0.0).all():
            raise ValueError(f"durations={trial}: expected one or more, in days, above 0 and increasing")
        self.oversample = integer_at_least(oversample, "oversample", 1)
        self.objective: Objective = choice(objective, "objective", ("snr", "likelihood"))
        self.max_duty_cycle = positive(max_duty_cycle, "max_duty_cycle")
        self.bin_width = float(trial[0]) / self.oversample
        self._trial = trial
        self._bins = np.floor(trial / self.bin_width + 0.5).astype(np.int32)
        self.time0 = float(self.time[0]) if self.time.size else 0.0
        self._y, self._w = _weighted(values, errors)
        self.weight = self._w.sum(axis=0)

    @property
    def durations(self) -> F64:
        """(n_duration,) days: the trial durations, as whole numbers of bins."""
        return self._bins * self.bin_width

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
            Keep depth, duration and epoch; without them the power alone takes a quarter of the memory.
        workers : int
            Threads; -1 = all CPUs. Any number gives the same bytes.

        Returns
        -------
        BoxPeriodogram
        """
        trial = as_float64(periods, "periods", 1)
        if (bad := np.flatnonzero(~(np.isfinite(trial) & (trial > 0.0)))).size:
            raise ValueError(f"periods[{bad[0]}]={trial[bad[0]]}: expected days above 0")
        shape = (trial.size, self.n_star)
        first, last = self._windows(trial, limits)
        power = np.empty(shape, np.float32)
        upside_down = np.empty(shape, np.float32) if inverted else None
        depth = np.empty(shape, np.float32) if details else None
        index = np.empty(shape, np.int32) if details else None
        start = np.empty(shape, np.int32) if details else None

        def search(begin: int, end: int) -> None:
            rows = slice(begin, end)
            got = _provisional(
                self.time - self.time0,
                self._y,
                self._w,
                trial[rows],
                self._bins,
                first[rows],
                last[rows],
                self.bin_width,
                self.objective == "likelihood",
            )
            power[rows] = got[0]
            for out, made in zip((depth, index, start), got[1:], strict=True):
                if out is not None:
                    out[rows] = made
            if upside_down is not None:
                upside_down[rows] = _provisional(
                    self.time - self.time0,
                    -self._y,
                    self._w,
                    trial[rows],
                    self._bins,
                    first[rows],
                    last[rows],
                    self.bin_width,
                    self.objective == "likelihood",
                )[0]

        map_ranges(search, trial.size, 64, workers)
        return BoxPeriodogram(
            period=trial,
            durations=self.durations,
            power=power,
            inverted_power=upside_down,
            depth_=depth,
            duration_index_=index,
            start_=start,
            weight=self.weight,
            time0=self.time0,
            bin_width=self.bin_width,
            objective=self.objective,
        )

    def _windows(self, periods: F64, limits: tuple[ArrayLike, ArrayLike] | None) -> tuple[I32, I32]:
        """Return which durations each period tries: ``first <= k < last``."""
        n_bin = np.ceil(periods / self.bin_width)
        last = np.searchsorted(self._trial, self.max_duty_cycle * periods, side="right")
        last = np.minimum(last, np.searchsorted(self._bins, n_bin, side="left"))
        first = np.zeros(periods.size, np.int32)
        if limits is not None:
            low, high = (as_float64(limit, "limits", 1) for limit in limits)
            if low.shape != periods.shape or high.shape != periods.shape or not (low <= high).all():
                raise ValueError(f"limits: expected shortest <= longest, each of shape {periods.shape}")
            first = np.searchsorted(self._trial, low * (1.0 - 1e-9), side="left").astype(np.int32)
            above = np.searchsorted(self._trial, high * (1.0 + 1e-9), side="right")
            # Between two durations the nearer one in ratio stands in.
            none = np.flatnonzero(above <= first)
            for i in none:
                nearest = int(np.argmin(np.abs(np.log(self._trial / np.sqrt(low[i] * high[i])))))
                first[i], above[i] = nearest, nearest + 1
            last = np.minimum(last, above)
        return first.astype(np.int32), last.astype(np.int32)


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


def _errors(flux_err: ArrayLike | None, n_time: int, n_star: int) -> F32 | None:
    if flux_err is None:
        return None
    errors = as_float32(flux_err, "flux_err", (1, 2))
    if errors.ndim == 1:
        errors = errors[:, None]
    if errors.shape not in {(n_time, n_star), (n_time, 1), (1, n_star)}:
        raise ValueError(
            f"flux_err has shape {np.shape(flux_err)}; expected ({n_time}, {n_star}), ({n_time},) or (1, {n_star})"
        )
    if (errors <= 0.0).any():
        i, star = np.argwhere(errors <= 0.0)[0]
        raise ValueError(f"flux_err[{i}, {star}] = {errors[i, star]}: errors are above 0; NaN leaves a point out")
    return errors


def _weighted(flux: F32, errors: F32 | None) -> tuple[F64, F64]:
    w = np.isfinite(flux).astype(np.float64)
    if errors is not None:
        with np.errstate(invalid="ignore"):
            inverse = 1.0 / errors.astype(np.float64) ** 2
        w = np.where((w > 0) & np.isfinite(inverse), inverse, 0.0)
    y = np.where(w > 0, flux, 0.0).astype(np.float64)
    total = w.sum(axis=0)
    mean = np.divide((w * y).sum(axis=0), total, out=np.zeros_like(total), where=total > 0)
    return w * (y - mean), w


@numba.njit(cache=True, nogil=True)
def _provisional(time, y, w, periods, bins, first, last, width, likelihood):  # type: ignore[no-untyped-def] # noqa: ANN
    n_time, n_star = y.shape
    power = np.full((periods.size, n_star), np.nan, np.float32)
    depth = np.full((periods.size, n_star), np.nan, np.float32)
    index = np.full((periods.size, n_star), -1, np.int32)
    start = np.full((periods.size, n_star), -1, np.int32)
    total = np.zeros(n_star)
    count = np.zeros(n_star)
    for i in range(n_time):
        total += w[i]
        count += w[i] > 0
    for p in range(periods.size):
        if last[p] <= first[p]:
            continue
        n_bin = int(np.ceil(periods[p] / width))
        n_more = bins[last[p] - 1]
        cy = np.zeros((n_bin + n_more + 1, n_star))
        cw = np.zeros((n_bin + n_more + 1, n_star))
        for i in range(n_time):
            phase = time[i] - periods[p] * np.floor(time[i] / periods[p])
            b = min(max(int(phase / width), 0), n_bin - 1)
            cy[b + 1] += y[i]
            cw[b + 1] += w[i]
        for b in range(n_bin):
            cy[b + 1] += cy[b]
            cw[b + 1] += cw[b]
        for b in range(n_more):
            cy[n_bin + b + 1] = cy[b + 1] + cy[n_bin]
            cw[n_bin + b + 1] = cw[b + 1] + cw[n_bin]
        for s in range(n_star):
            if count[s] < 2:
                continue
            best = 0.0
            depth[p, s] = 0.0
            for b in range(n_bin):
                for k in range(first[p], last[p]):
                    dip = cy[b, s] - cy[b + bins[k], s]
                    w_in = cw[b + bins[k], s] - cw[b, s]
                    w_out = total[s] - w_in
                    if dip <= 0.0 or w_in <= 1e-12 * total[s] or w_out <= 1e-12 * total[s]:
                        continue
                    value = 0.5 * dip * dip * total[s] / (w_in * w_out)
                    if likelihood:
                        value *= total[s] / w_out
                    if value > best:
                        best = value
                        depth[p, s] = dip * total[s] / (w_in * w_out)
                        index[p, s] = k
                        start[p, s] = b
            power[p, s] = best
    return power, depth, index, start
