"""What the box search finds: the best box of every star at every trial period.

Owns the arrays, what follows from them alone, and a first plot. Refuses to search (``box``) and to judge a peak.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["BoxPeriodogram", "Objective"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
Objective = Literal["snr", "likelihood"]

_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True, eq=False, repr=False)
class BoxPeriodogram:
    """The best box of every star at every period.

    Arrays are ``(n_period, n_star)`` unless said otherwise. Where nothing dips (a constant star), ``power`` and
    ``depth`` are 0; where nothing could be measured (no duration fits the period, a star has fewer than two points),
    NaN. In both cases there is no box: ``duration_index`` and ``start`` are -1, ``duration`` and ``t0`` NaN.
    """

    period: F64
    """(n_period,) days."""
    durations: F64
    """(n_duration,) days: the trial durations as they were given."""
    bin_width: F64
    """(n_period,) days: the shortest duration tried at each period over ``oversample``."""
    power: F32
    """Log-likelihood gain of the best box: with the objective "snr" ``depth**2 / (2 depth_err**2)``, with "likelihood"
    astropy's ``w_in depth**2 / 2``. With ``flux_err=None`` errors are 1, so its unit is that of the flux squared."""
    inverted_power: F32 | None
    """The same for the flux turned upside down, where asked for: what noise alone reaches."""
    _depth: F32 | None
    _duration_index: I32 | None
    _start: I32 | None
    weight: F64
    """(n_star,) sum of ``flux_err**-2`` over the points of each star (their number with ``flux_err=None``)."""
    time0: float
    """The first time: phase 0 of every period."""
    objective: Objective

    def __repr__(self) -> str:
        n_period, n_star = self.power.shape
        span = f", {self.period.min():.4g}-{self.period.max():.4g} d" if n_period else ""
        return (
            f"<BoxPeriodogram: {n_period} periods x {n_star} stars{span}, {self.durations.size} durations, "
            f"objective {self.objective!r}>"
        )

    @property
    def depth(self) -> F32:
        """Mean flux out of the box less that in it, in the unit of the flux."""
        return _kept(self._depth)

    @property
    def duration_index(self) -> I32:
        """Which of ``durations``; -1 = no box."""
        return _kept(self._duration_index)

    @property
    def start(self) -> I32:
        """Phase bin in which the box begins, counted from ``time0``; -1 = no box."""
        return _kept(self._start)

    @property
    def duration(self) -> F32:
        """Length of the box in days, a whole number of bins; NaN = no box."""
        return self._length().astype(np.float32)

    @property
    def t0(self) -> F64:
        """Middle of the box that begins in the first cycle, in ``[time0, time0 + period)``; NaN = no box."""
        middle: F64 = self.start * self.bin_width[:, None] + 0.5 * self._length()
        return self.time0 + np.mod(middle, self.period[:, None])

    def plot(self, star: int = 0, axes: Any = None) -> Any:
        """Draw the signal-to-noise ratio (or, for "likelihood", the power) of one star against the period.

        Parameters
        ----------
        star : int
            Column of the flux.
        axes : matplotlib axes, optional

        Returns
        -------
        matplotlib axes
        """
        if axes is None:
            from matplotlib import pyplot

            axes = pyplot.subplots()[1]
        order = np.argsort(self.period)
        values = self.snr if self.objective == "snr" else self.power
        axes.plot(self.period[order], values[order, star], lw=0.7, color="C0")
        axes.set_xscale("log")
        axes.set_xlabel("period [d]")
        axes.set_ylabel("depth / error" if self.objective == "snr" else "log-likelihood gain")
        axes.set_title(f"star {star}")
        return axes

    def _length(self) -> F64:
        chosen = np.append(self.durations, np.nan)[self.duration_index]
        return np.floor(chosen / self.bin_width[:, None] + 0.5) * self.bin_width[:, None]

    @property
    def snr(self) -> F32:
        """Depth over its error; 0 = no box."""
        if self.objective == "snr":
            root: F32 = np.sqrt(np.float32(2.0) * self.power)
            return root
        # Here power = w_in depth^2 / 2, and the square of the depth over its error is 2 power w_out / (w_in + w_out).
        with np.errstate(invalid="ignore", divide="ignore"):
            inside = 2.0 * self.power / self.depth.astype(np.float64) ** 2
        share = np.where(self.power > 0.0, inside / self.weight, 0.0)
        return np.sqrt(2.0 * self.power * (1.0 - share)).astype(np.float32)

    @property
    def depth_err(self) -> F32:
        """One-sigma error of ``depth`` from ``flux_err``; NaN = no box."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.depth / self.snr


def _kept(array: NDArray[_T] | None) -> NDArray[_T]:
    if array is None:
        raise ValueError("this search kept the power alone: search these periods again with details=True")
    return array
