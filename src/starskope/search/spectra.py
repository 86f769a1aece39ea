"""``Spectra`` and ``Spectrogram``: power of many stars on one axis of frequencies.

Owns the containers, what their numbers mean, and choosing, writing, reading and drawing them. Refuses to compute a
transform; the layout on disk stands in ``spectra_store``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from starskope.curves.columns import star_table
from starskope.search.significance import false_alarm_probability

__all__ = ["Spectra", "Spectrogram"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

NORMALIZATIONS = {
    "amplitude": "a sine of amplitude A has power A**2",
    "density": "power per unit of frequency: its integral is the variance",
    "standard": "fraction of the weighted variance that a sine takes away, 0 to 1",
}


@dataclass(frozen=True, eq=False, repr=False)
class Spectra:
    """Power against frequency of many stars.

    Attributes
    ----------
    power : (n_freq, n_star) float32
        In the sense of `normalization`; NaN where a star has too few points.
    frequency : (n_freq,) float64
        Per day, evenly spaced, ascending.
    stars : astropy.table.Table
        One row per star, in the order of the columns of `power`.
    normalization : str
        "amplitude": a sine of amplitude A on the grid has power A**2. "density": power per unit of frequency, whose
        integral is the variance. "standard" (Lomb-Scargle): the fraction of the
        weighted variance that a sine with a free mean takes away, 0 to 1.
    method : str
        "regular": times on a regular grid; "nifty-ls" or "finufft": that library, at the times as they are.
    cadence_days : float
        Distance of neighbouring cadences, the median one where times are irregular.
    phase_error : float
        Radians by which phases at the highest frequency are off because times were rounded to the grid.
    settings : mapping
        How it was made: JSON values.
    n_point : (n_star,) int64, optional
        Points of each star that took part; of Lomb-Scargle periodograms.
    baseline_days : (n_star,) float64, optional
        ``sqrt(4 pi var(t))`` of these points, weighted: the length that counts for false alarms, 1.02 times the span
        where points are spread evenly; of Lomb-Scargle periodograms.

    Examples
    --------
    >>> import numpy as np
    >>> import starskope as sk
    >>> time = np.arange(1000) / 48
    >>> spectra = sk.power_spectrum(3 * np.sin(2 * np.pi * 1.2 * time), cadence=1 / 48, window=None)
    >>> round(float(spectra.frequency[np.argmax(spectra.power[:, 0])]), 3), round(float(spectra.power.max()), 3)
    (1.2, 9.0)
    """

    power: F32
    frequency: F64
    stars: Table
    normalization: str
    method: str
    cadence_days: float
    phase_error: float
    settings: Mapping[str, Any]
    n_point: NDArray[np.int64] | None = None
    baseline_days: F64 | None = None

    def __post_init__(self) -> None:
        n_freq, n_star = _matrix("power", self.power, 2)
        _same("frequency", self.frequency, (n_freq,))
        for name in ("n_point", "baseline_days"):
            if getattr(self, name) is not None:
                _same(name, getattr(self, name), (n_star,))
        if self.normalization not in NORMALIZATIONS:
            raise ValueError(f"normalization={self.normalization!r}: expected one of {', '.join(NORMALIZATIONS)}")
        object.__setattr__(self, "stars", star_table(self.stars, n_star))

    @property
    def n_freq(self) -> int:
        """Number of frequencies."""
        return int(self.power.shape[0])

    @property
    def n_star(self) -> int:
        """Number of stars."""
        return int(self.power.shape[1])

    def __repr__(self) -> str:
        return (
            f"<Spectra: {self.n_freq} frequencies x {self.n_star} stars; {_span(self.frequency)}; "
            f"{self.normalization}: {NORMALIZATIONS[self.normalization]}; {self.method}, "
            f"cadence {self.cadence_days * 1440:.4g} min{_lost(self.power)}>"
        )

    def select(self, stars: ArrayLike | slice) -> Self:
        """Keep some stars: positions, a mask (n_star,) or a slice."""
        columns = _columns(stars, self.n_star)
        return replace(
            self,
            power=self.power[:, columns],
            stars=self.stars[columns],
            n_point=None if self.n_point is None else self.n_point[columns],
            baseline_days=None if self.baseline_days is None else self.baseline_days[columns],
        )

    def peaks(self) -> Table:
        """Return the highest peak of every star.

        Returns
        -------
        Table
            `frequency` (1/d), `period` (d), `power` and, for Lomb-Scargle, `false_alarm_probability`, one row per star,
            after the columns of `stars`; NaN for a star without power. The frequency is that of the grid; zero
            frequency is no peak.
        """
        from astropy import units

        first = 1 if self.n_freq and self.frequency[0] == 0 else 0
        power = np.where(np.isnan(self.power[first:]), -np.inf, self.power[first:])
        highest = np.full(self.n_star, np.nan)
        where = np.full(self.n_star, np.nan)
        if power.shape[0]:
            row = np.argmax(power, axis=0)
            highest = power[row, np.arange(self.n_star)].astype(np.float64)
            highest[np.isneginf(highest)] = np.nan
            where = np.where(np.isnan(highest), np.nan, self.frequency[first + row])
        table = self.stars.copy()
        table["frequency"] = where / units.day
        table["period"] = 1.0 / where * units.day
        table["power"] = highest
        if self.n_point is not None:
            table["false_alarm_probability"] = self.false_alarm_probability(highest)
        return table

    def false_alarm_probability(self, power: ArrayLike | None = None, *, method: str = "baluev") -> F64:
        """Chance that white noise gives any star a peak of this power anywhere in its periodogram.

        Parameters
        ----------
        power : array_like, optional
            Broadcasts with (n_star,); default: each star's highest.
        method : "baluev", "davies" or "single"
            Baluev's approximation, Davies's bound, or the chance at one frequency chosen beforehand.

        Returns
        -------
        (..., n_star) float64
            NaN for a star without power.

        Raises
        ------
        ValueError
            These are no Lomb-Scargle periodograms, or another method.

        Notes
        -----
        See `starskope.search.significance.false_alarm_probability`, and `starskope.search.bootstrap` for a chance that
        is measured on shuffled series. It holds for white noise of the given errors; a
        light curve with red noise has more and higher peaks than this tells.
        """
        if self.n_point is None or self.baseline_days is None:
            raise ValueError("false alarm probabilities are known for Lomb-Scargle only: use lomb_scargle")
        if power is None:
            highest = np.max(np.where(np.isnan(self.power), -1.0, self.power), axis=0, initial=-1.0)
            power = np.where(highest < 0, np.nan, highest)
        top = float(self.frequency[-1]) if self.n_freq else math.nan
        return false_alarm_probability(power, self.n_point, self.baseline_days, top, method)

    def plot(self, star: int = 0, *, axes: Any = None) -> Any:
        """Draw one star's spectrum; returns the matplotlib axes."""
        from starskope.search.spectra_drawing import draw_spectrum

        return draw_spectrum(self, star, axes)

    def write(self, path: str | Path) -> Path:
        """Write to ``*.zarr``; spectra that stand there are replaced, anything else is left alone.

        Raises
        ------
        ValueError
            The name ends otherwise, or something else stands there.
        OSError
            The disk is full, or the folder is missing or not writable.
        """
        from starskope.search.spectra_store import write

        return write({"lomb_scargle" if self.normalization == "standard" else "power": self}, Path(path))

    @classmethod
    def read(cls, path: str | Path, kind: str | None = None, *, stars: slice | None = None) -> Spectra:
        """Read spectra that `write` or a run has written.

        Parameters
        ----------
        path : path
            A store such as ``spectra.zarr``.
        kind : "power" or "lomb_scargle", optional
            Which spectra; need not be given where the store holds one of them only.
        stars : slice, optional
            Read these stars only: of the arrays, the chunks that hold them.

        Raises
        ------
        FileNotFoundError, FrameError, ValueError
            Nothing is there, it is damaged, or the store holds no such spectra.
        """
        from starskope.search.spectra_store import read

        return read(Path(path), cls, kind, stars)


@dataclass(frozen=True, eq=False, repr=False)
class Spectrogram:
    """Power against time and frequency of many stars.

    Attributes
    ----------
    power : (n_segment, n_freq, n_star) float32
        A sine of amplitude A on the grid has power A**2 in every segment; NaN where a segment has no point.
    time : (n_segment,) float64
        Middle of each segment, in days on the axis of the light curves, or from the first cadence of an array.
    frequency : (n_freq,) float64
        Per day, evenly spaced from 0.
    stars : astropy.table.Table
        One row per star.
    method : str
        "regular".
    cadence_days : float
        Distance of neighbouring cadences.
    phase_error : float
        Radians by which phases at the highest frequency are off within a segment because times were rounded to the
        grid.
    time_zero : float
        Julian date (TDB) of time 0; NaN = not known.
    settings : mapping
        How it was made: JSON values.
    """

    power: F32
    time: F64
    frequency: F64
    stars: Table
    method: str
    cadence_days: float
    phase_error: float
    time_zero: float
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        n_segment, n_freq, n_star = _matrix("power", self.power, 3)
        _same("time", self.time, (n_segment,))
        _same("frequency", self.frequency, (n_freq,))
        object.__setattr__(self, "stars", star_table(self.stars, n_star))

    @property
    def n_segment(self) -> int:
        """Number of segments."""
        return int(self.power.shape[0])

    @property
    def n_freq(self) -> int:
        """Number of frequencies."""
        return int(self.power.shape[1])

    @property
    def n_star(self) -> int:
        """Number of stars."""
        return int(self.power.shape[2])

    def __repr__(self) -> str:
        span = f"{self.time[0]:.4f} to {self.time[-1]:.4f} d" if self.n_segment else "no segment"
        return (
            f"<Spectrogram: {self.n_segment} segments x {self.n_freq} frequencies x {self.n_star} stars; {span}; "
            f"{_span(self.frequency)}; {NORMALIZATIONS['amplitude']}; cadence {self.cadence_days * 1440:.4g} min"
            f"{_lost(self.power)}>"
        )

    def select(self, stars: ArrayLike | slice) -> Self:
        """Keep some stars: positions, a mask (n_star,) or a slice."""
        columns = _columns(stars, self.n_star)
        return replace(self, power=self.power[:, :, columns], stars=self.stars[columns])

    def plot(self, star: int = 0, *, axes: Any = None) -> Any:
        """Draw one star's spectrogram; returns the matplotlib axes."""
        from starskope.search.spectra_drawing import draw_spectrogram

        return draw_spectrogram(self, star, axes)

    def write(self, path: str | Path) -> Path:
        """Write to ``*.zarr``, as `Spectra.write`."""
        from starskope.search.spectra_store import write

        return write({"spectrogram": self}, Path(path))

    @classmethod
    def read(cls, path: str | Path, *, stars: slice | None = None) -> Spectrogram:
        """Read the spectrograms of a store, as `Spectra.read`."""
        from starskope.search.spectra_store import read

        return read(Path(path), cls, "spectrogram", stars)


def _matrix(name: str, array: Any, n_axis: int) -> tuple[int, ...]:
    if not isinstance(array, np.ndarray) or array.ndim != n_axis or array.dtype != np.float32:
        told = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{name} is {told}; expected float32 of {n_axis} axes")
    return tuple(array.shape)


def _same(name: str, array: Any, shape: tuple[int, ...]) -> None:
    if np.shape(array) != shape:
        raise ValueError(f"{name} has shape {np.shape(array)}; expected {shape}, as power has it")


def _columns(stars: Any, n_star: int) -> NDArray[np.intp]:
    from starskope.curves.selection import star_positions

    return star_positions(stars, n_star)


def _span(frequency: F64) -> str:
    return f"{frequency[0]:.4g} to {frequency[-1]:.4g} per day" if frequency.size else "no frequency"


def _lost(power: F32) -> str:
    """Tell how many stars have no power at all."""
    if not power.size:
        return ""
    n_lost = int(np.count_nonzero(np.isnan(power).all(axis=tuple(range(power.ndim - 1)))))
    return f"; {n_lost} of them without power" if n_lost else ""
