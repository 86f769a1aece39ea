"""``LightCurves``: many stars on one shared time axis.

Owns the container, its barycentric times and a first plot; its other methods are functions of the modules it names.
Refuses pixels; the formats on disk stand in ``zarr_store``, ``fits_store``, ``mission_fits`` and ``text``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from starskope.curves import arranging, detrending, masks, shapes
from starskope.curves.columns import plain_json, star_table

__all__ = ["LightCurves"]

SECONDS_PER_DAY = 86400.0


@dataclass(frozen=True, init=False, eq=False, repr=False)
class LightCurves:
    """Light curves of ``n_star`` stars at the same ``n_time`` moments.

    Arrays of the right dtype and layout are kept as they are, without a copy; others are converted. Nothing can be
    assigned to the object: methods return new ones, which may share arrays with it.

    Parameters
    ----------
    time : (n_time,) float64
        Mid-exposure times in days since ``time_zero``, TDB, *at the spacecraft*, or barycentric where
        ``meta["time_reference"]`` is "barycentre" (files of one star); strictly increasing. See `bjd`.
    flux : (n_time, n_star) float32
        In ``meta["flux_unit"]``; NaN = missing.
    stars : astropy.table.Table, optional
        One row per star, in the order of the columns of ``flux``; default: a column ``star`` that counts.
    flux_err : (n_time, n_star) float32, optional
        One-sigma errors in the unit of ``flux``; NaN = not known.
    quality : (n_time,) int32, optional
        Bit flags of the mission, 0 = good; default: zeros.
    observer : (n_time, 3) float64, optional
        The spacecraft from the solar system's barycentre, ICRS axes, light-seconds.
    direction : (n_star, 3) float64, optional
        Unit vectors to the stars, ICRS axes; a row of NaN where the place of a star is not known.
    background : (n_time, n_star) float32, optional
        Sky per pixel at the star, electrons per second; NaN = missing.
    time_zero : float
        Julian date (TDB) of time 0: 2457000 for TESS (BTJD), 2454833 for Kepler and K2 (BKJD).
    exposure_s : float
        Seconds of light in one cadence; NaN = not known.
    mission : str
        "TESS", "Kepler", "K2" or another name.
    meta : mapping, optional
        Notes: JSON values. ``flux_unit`` is a unit that astropy reads.

    Raises
    ------
    ValueError, TypeError
        Shapes, dtypes or the order of the times do not fit; the message names the value and the remedy.

    Examples
    --------
    >>> import numpy as np
    >>> from starskope.curves.container import LightCurves
    >>> curves = LightCurves(np.arange(4.0), np.array([[10.0, 8], [12, 8], [8, np.nan], [10, 8]]))
    >>> curves.normalize().flux[:, 0]
    array([1. , 1.2, 0.8, 1. ], dtype=float32)
    """

    time: NDArray[np.float64]
    flux: NDArray[np.float32]
    stars: Table
    flux_err: NDArray[np.float32] | None
    quality: NDArray[np.int32]
    observer: NDArray[np.float64] | None
    direction: NDArray[np.float64] | None
    background: NDArray[np.float32] | None
    time_zero: float
    exposure_s: float
    mission: str
    meta: dict[str, Any]

    def __init__(
        self,
        time: ArrayLike,
        flux: ArrayLike,
        stars: Table | None = None,
        *,
        flux_err: ArrayLike | None = None,
        quality: ArrayLike | None = None,
        observer: ArrayLike | None = None,
        direction: ArrayLike | None = None,
        background: ArrayLike | None = None,
        time_zero: float = 2457000.0,
        exposure_s: float = math.nan,
        mission: str = "TESS",
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        if not math.isfinite(time_zero):
            raise ValueError(f"time_zero is {time_zero}; give the Julian date of time 0, such as 2457000.0")
        if exposure_s < 0 or math.isinf(exposure_s):
            raise ValueError(f"exposure_s is {exposure_s}; give seconds of light per cadence, or NaN when not known")
        times = shapes.increasing_times(time)
        matrix = shapes.flux_matrix("flux", flux, times.size)
        shape = matrix.shape
        fields: dict[str, Any] = {
            "time": times,
            "flux": matrix,
            "stars": star_table(stars, shape[1]),
            "flux_err": None if flux_err is None else shapes.error_matrix(flux_err, *shape),
            "quality": shapes.quality_flags(quality, times.size),
            "observer": None if observer is None else shapes.observer_path(observer, times.size),
            "direction": None if direction is None else shapes.directions(direction, shape[1]),
            "background": None if background is None else shapes.flux_matrix("background", background, *shape),
            "time_zero": float(time_zero),
            "exposure_s": float(exposure_s),
            "mission": str(mission),
            "meta": plain_json(dict(meta or {})),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def n_time(self) -> int:
        """Number of cadences."""
        return int(self.flux.shape[0])

    @property
    def n_star(self) -> int:
        """Number of stars."""
        return int(self.flux.shape[1])

    @property
    def flux_unit(self) -> str:
        """Unit of ``flux`` and ``flux_err`` as text that astropy reads; empty when it is a ratio or not known."""
        return str(self.meta.get("flux_unit") or "")

    @property
    def is_barycentric(self) -> bool:
        """Whether ``time`` already is that of the solar system's barycentre, as in most files of single stars."""
        return self.meta.get("time_reference") == "barycentre"

    def __repr__(self) -> str:
        if self.n_time:
            where = "barycentric" if self.is_barycentric else "at the spacecraft"
            span = f"{self.time[0]:.4f} to {self.time[-1]:.4f} d after JD {self.time_zero:.1f} TDB {where}"
        else:
            span = "no cadence"
        missing = 100.0 * np.count_nonzero(np.isnan(self.flux)) / max(1, self.flux.size)
        optional = ("flux_err", "observer", "direction", "background")
        has = ", ".join(name for name in optional if getattr(self, name) is not None) or "flux only"
        flagged = np.count_nonzero(self.quality)
        return (
            f"<LightCurves {self.mission}: {self.n_time} cadences x {self.n_star} stars; {span}; "
            f"exposure {self.exposure_s:.4g} s; flux in {self.flux_unit or 'relative units'}; "
            f"{flagged} cadences flagged, {missing:.3g} % missing; {has}>"
        )

    def bjd(self, star: int) -> NDArray[np.float64]:
        """Barycentric mid-exposure times of one star, BJD (TDB), in days since ``time_zero``.

        Parameters
        ----------
        star : int
            Position of the star, a column of ``flux``.

        Returns
        -------
        (n_time,) float64

        Raises
        ------
        ValueError
            The observer's path or the star's direction is not known.
        IndexError
            There is no such star.

        Notes
        -----
        ``time + observer . direction / 86400``: the light travel time to the barycentre (Roemer delay), as the pipeline
        of the mission corrects it. Shapiro delay (below 0.12 ms) and the curvature of the wave front
        (1.2 ms for a star at 1 parsec, 0.12 ms at 10) are left out. Times that are barycentric already come back.
        """
        if self.is_barycentric:
            if not -self.n_star <= star < self.n_star:
                raise IndexError(f"star {star} of {self.n_star}: give a position from 0 to {self.n_star - 1}")
            return self.time
        if self.observer is None or self.direction is None:
            missing = "observer" if self.observer is None else "direction"
            raise ValueError(f"these light curves hold no {missing}: give {missing}= (see starskope.layout.observer)")
        if not -self.n_star <= star < self.n_star:
            raise IndexError(f"star {star} of {self.n_star}: give a position from 0 to {self.n_star - 1}")
        delay_s = (self.observer * self.direction[star]).sum(axis=1)
        barycentric: NDArray[np.float64] = self.time + delay_s / SECONDS_PER_DAY
        return barycentric

    normalize = arranging.normalize
    bin = arranging.bin_cadences
    select = arranging.select
    mask = masks.mask
    trend = detrending.trend
    flatten = detrending.flatten

    def write(self, path: str | Path) -> Path:
        """Write everything to ``*.zarr`` (a Zarr v3 group) or ``*.fits``; what stood there before is replaced.

        The data are written under a temporary name beside, flushed to disk and renamed. The same light curves give the
        same bytes, NaN payloads included.

        Returns
        -------
        Path
            ``path``.

        Raises
        ------
        ValueError
            The name ends otherwise, or something else than light curves stands in the place of a Zarr store.
        OSError
            The disk is full, or the folder is missing or not writable.
        """
        from starskope.curves import files

        return files.write(self, Path(path))

    @classmethod
    def read(
        cls, paths: str | Path | Sequence[str | Path], *, stars: slice | None = None, time_zero: float | None = None
    ) -> LightCurves:
        """Read light curves that `write` has written, or those of one star that a mission or an archive made.

        Parameters
        ----------
        paths : path or sequence of paths
            Zarr stores and FITS files of `write`; light curves and target pixels of TESS, Kepler and K2, K2SFF, TGLC
            and their like (FITS, also gzipped); text with columns time, flux and error. Several must share one time
            axis; their stars are put side by side in the order given.
        stars : slice, optional
            Read these stars of each file only; of a Zarr store only their chunks are read.
        time_zero : float, optional
            Julian date (TDB) of time 0, for files that do not tell (text without a header); the others keep theirs.

        Raises
        ------
        FileNotFoundError
            Nothing is there.
        FrameError
            A file is damaged, holds no light curves in a format known here, or times in another unit than days, or
            does not tell the zero of its times.
        ValueError
            Several files have different time axes or columns.

        Notes
        -----
        Of a mission's file ``meta`` tells what was taken: ``product``, ``flux_column`` (PDCSAP_FLUX where it has at
        least half of the points of SAP_FLUX), ``time_zero_from``, ``rows`` (dropped or moved rows) and ``notes``.
        Rows without a time are dropped, those out of order sorted, and of several of one time the first is kept.
        """
        from starskope.curves import files

        return files.read(paths, stars=stars, time_zero=time_zero)

    def to_lightkurve(self, star: int) -> Any:
        """Return one star as a light curve of lightkurve, see `lightkurve_exchange.to_lightkurve`."""
        from starskope.curves.lightkurve_exchange import to_lightkurve

        return to_lightkurve(self, star)

    @classmethod
    def from_lightkurve(cls, curve: Any) -> LightCurves:
        """Return a light curve of lightkurve as one star, see `lightkurve_exchange.from_lightkurve`."""
        from starskope.curves.lightkurve_exchange import from_lightkurve

        return from_lightkurve(curve)

    def plot(self, star: int = 0, *, axes: Any = None) -> Any:
        """Draw one star, flagged cadences pale; returns the matplotlib axes."""
        from starskope.curves.drawing import draw_star

        return draw_star(self, star, axes)
