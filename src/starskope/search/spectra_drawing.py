"""A first look at one spectrum or spectrogram.

Owns two small pictures. Refuses pages and reports (``report``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from starskope.curves.selection import ID_COLUMNS

if TYPE_CHECKING:
    from astropy.table import Table

    from starskope.search.spectra import Spectra, Spectrogram

__all__ = ["draw_spectrogram", "draw_spectrum"]


def draw_spectrum(spectra: Spectra, star: int, axes: Any = None) -> Any:
    """Draw power against frequency, the highest peak named by its period."""
    axes = _axes(axes, star, spectra.n_star)
    power = spectra.power[:, star]
    axes.plot(spectra.frequency, power, lw=0.7, color="C0")
    shown = np.where(np.isfinite(power) & (spectra.frequency > 0), power, -np.inf)
    if shown.size and np.isfinite(shown).any():
        peak = int(np.argmax(shown))
        period = 1.0 / spectra.frequency[peak]
        axes.plot(spectra.frequency[peak], power[peak], "o", ms=4, mfc="none", color="C1", label=f"{period:.5g} d")
        axes.legend(loc="best", frameon=False)
    axes.set_title(_name(spectra.stars, star))
    axes.set_xlabel("frequency [1/d]")
    unit = "amplitude squared" if spectra.normalization == "amplitude" else spectra.normalization
    axes.set_ylabel(f"power ({unit})")
    return axes


def draw_spectrogram(spectrogram: Spectrogram, star: int, axes: Any = None) -> Any:
    """Draw power against time and frequency on a logarithmic scale of six decades."""
    axes = _axes(axes, star, spectrogram.n_star)
    power = spectrogram.power[:, 1:, star].T.astype(np.float64)
    known = power[np.isfinite(power) & (power > 0)]
    top = float(known.max()) if known.size else 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        decades = np.log10(power / top)
    decades = np.where(np.isnan(power), np.nan, np.maximum(decades, -6.0))
    if decades.size:
        shown = axes.pcolormesh(
            _edges(spectrogram.time), _edges(spectrogram.frequency[1:]), decades, cmap="magma", vmin=-6, vmax=0
        )
        axes.figure.colorbar(shown, ax=axes, label="log10 power / highest")
    axes.set_title(_name(spectrogram.stars, star))
    axes.set_xlabel("time [d]" if np.isnan(spectrogram.time_zero) else f"time - {spectrogram.time_zero:.0f} [d]")
    axes.set_ylabel("frequency [1/d]")
    return axes


def draw_lags(lag: Any, correlation: Any, stars: Table, star: int, axes: Any = None) -> Any:
    """Draw correlation against lag."""
    axes = _axes(axes, star, len(stars))
    axes.plot(lag, correlation[:, star], lw=0.7, color="C0")
    axes.axhline(0.0, color="0.6", lw=0.6)
    axes.set_title(_name(stars, star))
    axes.set_xlabel("lag [d]")
    axes.set_ylabel("autocorrelation")
    return axes


def _edges(centres: Any) -> Any:
    step = centres[1] - centres[0] if centres.size > 1 else 1.0
    return np.append(centres, centres[-1] + step) - 0.5 * step


def _axes(axes: Any, star: int, n_star: int) -> Any:
    if not -n_star <= star < n_star:
        raise IndexError(f"plot: star {star} of {n_star}; give a position from 0 to {n_star - 1}")
    if axes is None:
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(10, 3.5), layout="constrained")[1]
    return axes


def _name(stars: Table, star: int) -> str:
    label = next((name for name in ID_COLUMNS if name in stars.colnames), None)
    return f"star {star}" if label is None else f"{label} {stars[label][star]}"
