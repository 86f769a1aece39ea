"""How cost grows with the size of the work, over three decades: bench/scaling.png and the slopes beside its curves.

    python bench/scaling.py

Owns the plot and nothing else: each point is the best of three calls on one thread, through the functions that users
call. Refuses rivals and bounds: those are rows of the table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

import starskope as sk
from starskope.search.box import BoxSearch

OUT = Path(__file__).resolve().with_name("scaling.png")
CADENCE = 1 / 48
ROUNDS = 3
INK = ("#1f4e79", "#b5532a", "#3c7a57", "#7a4b94")


@dataclass
class Curve:
    """One kind of work: its sizes, a maker of the call for a size, and what its cost should be proportional to."""

    name: str
    sizes: Sequence[int]
    call: Callable[[int], Callable[[], Any]]
    law: Callable[[NDArray[np.float64]], NDArray[np.float64]] = lambda n: n
    seconds: list[float] = field(default_factory=list)

    def run(self) -> None:
        for size in self.sizes:
            work = self.call(size)
            work()
            self.seconds.append(min(_clock(work) for _ in range(ROUNDS)))

    def slope(self) -> float:
        """Return the exponent of cost against the law, of the upper two decades: 1 is the law itself."""
        n, seconds = self.law(np.array(self.sizes, dtype=np.float64)), np.array(self.seconds)
        upper = np.array(self.sizes) >= max(self.sizes) / 100
        return float(np.polyfit(np.log(n[upper]), np.log(seconds[upper]), 1)[0])


def _clock(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _series(n_time: int, n_star: int) -> NDArray[np.float32]:
    return np.random.default_rng(n_time + n_star).normal(1.0, 1e-3, (n_time, n_star)).astype(np.float32)


def _stack(n_pixel: int) -> Callable[[], Any]:
    frames = np.random.default_rng(1).normal(100.0, 5.0, (128, 1, n_pixel)).astype(np.float32)
    return lambda: sk.stack(frames)


def _spectra(n_time: int, n_star: int) -> Callable[[], Any]:
    flux = _series(n_time, n_star)
    return lambda: sk.power_spectrum(flux, cadence=CADENCE)


def _lomb_scargle(n_star: int) -> Callable[[], Any]:
    flux = _series(1282, n_star)
    flux[600:660] = np.nan
    return lambda: sk.lomb_scargle(flux, cadence=CADENCE)


def _box(n_star: int, n_period: int) -> Callable[[], Any]:
    search = BoxSearch(CADENCE * np.arange(1282.0), _series(1282, n_star), None, durations=[0.08, 0.16, 0.3])
    periods = 1.0 / np.linspace(1.0 / 13.0, 2.0, n_period)
    return lambda: search.periodogram(periods, details=False)


def n_log_n(n: NDArray[np.float64]) -> NDArray[np.float64]:
    return n * np.log2(n)


def decades(low: int, high: int) -> list[int]:
    """Return sizes from low to high, three per decade."""
    return [round(low * 10 ** (i / 3)) for i in range(1 + round(3 * np.log10(high / low)))]


PANELS: dict[str, list[Curve]] = {
    "pixels": [Curve("sigma clip of 128 frames", decades(1000, 1_000_000), _stack)],
    "stars": [
        Curve("power spectra, 1,282 cadences", decades(32, 32_000), lambda n: _spectra(1282, n)),
        Curve("Lomb-Scargle, 1,222 points", decades(32, 32_000), _lomb_scargle),
        Curve("box search, 1,000 periods", decades(32, 32_000), lambda n: _box(n, 1000)),
    ],
    "periods": [Curve("box search, 256 stars of 1,282 points", decades(50, 50_000), lambda n: _box(256, n))],
    "cadences": [
        Curve("power spectra, 256 stars, 2$^k$", [1 << k for k in range(7, 18)], lambda n: _spectra(n, 256), n_log_n),
        Curve("... 5 x 2$^k$ + 2", [5 * (1 << k) + 2 for k in range(5, 15)], lambda n: _spectra(n, 256), n_log_n),
    ],
}


def main() -> None:
    """Run every curve, print its slope and write the plot."""
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(2, 2, figsize=(9, 7), layout="constrained")
    for axis, (unit, curves) in zip(axes.flat, PANELS.items(), strict=True):
        for curve, ink in zip(curves, INK, strict=False):
            curve.run()
            sizes, law = np.array(curve.sizes), curve.law(np.array(curve.sizes, dtype=np.float64))
            label = f"{curve.name}: exponent {curve.slope():.2f}"
            axis.loglog(sizes, curve.seconds, "o-", color=ink, ms=4, lw=1.2, label=label)
            axis.loglog(sizes, curve.seconds[-1] * law / law[-1], ":", color=ink, lw=1)
            print(f"{unit}: {label}; {curve.seconds[-1]:.3g} s for {sizes[-1]}")
        law_name = "n log n" if curves[0].law is n_log_n else "n"
        axis.set(xlabel=unit, ylabel="seconds, one thread", title=f"dotted: proportional to {law_name}")
        axis.legend(frameon=False, loc="upper left")
        low, high = axis.get_ylim()
        axis.set_ylim(low, high * 20)
    figure.savefig(OUT, dpi=110)


if __name__ == "__main__":
    main()
