"""``Joined``: one star as several missions saw it, a segment per file.

Owns the container: segments of one star on one time scale, the table of how they were matched, what they cover, and
what is done to all segments alike. Refuses to decide whether files show one star (``joining``) and to put segments of
different cadences and noise on one grid: whoever searches them goes segment by segment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Column, Table
from numpy.typing import NDArray

from starskope.curves.binning import cadence_days
from starskope.curves.container import LightCurves

__all__ = ["Joined"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_PARTS = ("sector", "quarter", "campaign")


@dataclass(frozen=True, eq=False, repr=False)
class Joined:
    """Light curves of one star from several files and missions.

    `starskope.join` makes them. Arrays over all points (`bjd`, `flux`, `flux_err`, `segment`) run through the segments
    one after the other; segments of different missions may overlap in time.

    Parameters
    ----------
    segments : sequence of LightCurves
        Each with one star, barycentric times since one common zero, and relative flux; in the order of their first
        times.
    matches : astropy.table.Table
        One row per segment: ``segment, mission, part`` ("sector 14"), ``source, product, name``, catalogue numbers (-1
        = not known), ``ra, dec`` (deg), ``separation`` (arcsec, from the place of the first segment that has one, each
        moved to J2000) and ``matched_by``.

    Raises
    ------
    ValueError
        No segment, more than one star in one, times that are not barycentric or have different zeros, another order.
    """

    segments: tuple[LightCurves, ...]
    matches: Table

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", tuple(self.segments))
        if not self.segments:
            raise ValueError("joined light curves need at least one segment")
        if len(self.matches) != len(self.segments):
            raise ValueError(f"matches has {len(self.matches)} rows for {len(self.segments)} segments: give one each")
        first = -np.inf
        for i, curves in enumerate(self.segments):
            if curves.n_star != 1 or curves.n_time == 0:
                raise ValueError(f"segment {i} is {curves.n_time} x {curves.n_star}: expected one star and some times")
            if not curves.is_barycentric or curves.time_zero != self.segments[0].time_zero:
                raise ValueError(f"segment {i}: expected barycentric times since JD {self.segments[0].time_zero}")
            if curves.time[0] < first:
                raise ValueError(f"segment {i} begins before the one in front of it: order segments by first time")
            first = float(curves.time[0])

    @property
    def n_segment(self) -> int:
        """Number of segments."""
        return len(self.segments)

    @property
    def n_time(self) -> int:
        """Number of cadences of all segments."""
        return sum(curves.n_time for curves in self.segments)

    @property
    def mission(self) -> str:
        """The missions, in order of their first segments: "Kepler+TESS"."""
        return "+".join(dict.fromkeys(curves.mission for curves in self.segments))

    @property
    def time_zero(self) -> float:
        """Julian date (TDB) of time 0."""
        return self.segments[0].time_zero

    @property
    def bjd(self) -> F64:
        """Barycentric mid-exposure times (n_time,), days (TDB) since ``time_zero``."""
        return np.concatenate([curves.time for curves in self.segments])

    @property
    def flux(self) -> F32:
        """Relative flux (n_time,), NaN = missing."""
        return np.concatenate([curves.flux[:, 0] for curves in self.segments])

    @property
    def flux_err(self) -> F32 | None:
        """One-sigma errors (n_time,), NaN = not known; None where no segment has any."""
        if all(curves.flux_err is None for curves in self.segments):
            return None
        return np.concatenate(
            [
                np.full(curves.n_time, np.nan, np.float32) if curves.flux_err is None else curves.flux_err[:, 0]
                for curves in self.segments
            ]
        )

    @property
    def segment(self) -> NDArray[np.int32]:
        """Segment of each point (n_time,)."""
        return np.repeat(np.arange(self.n_segment, dtype=np.int32), [curves.n_time for curves in self.segments])

    @property
    def coverage(self) -> Table:
        """What the segments cover: one row each.

        Columns ``segment, mission, part``; ``start, stop`` of the measured points (BJD, TDB); ``n_cadence``,
        ``n_point`` (measured), ``cadence`` (seconds) and ``filled``, the fraction of the span that holds points.
        """
        rows = []
        for i, curves in enumerate(self.segments):
            measured = np.flatnonzero(np.isfinite(curves.flux[:, 0]))
            ends = curves.time[measured[[0, -1]]] if measured.size else np.full(2, np.nan)
            start, stop = (float(end) + curves.time_zero for end in ends)
            step = cadence_days(curves.time)
            n_place = round((stop - start) / step) + 1 if measured.size > 1 else measured.size
            rows.append(
                (
                    i,
                    curves.mission,
                    part_of(curves),
                    start,
                    stop,
                    curves.n_time,
                    measured.size,
                    86400.0 * step,
                    measured.size / n_place if n_place else 0.0,
                )
            )
        names = ("segment", "mission", "part", "start", "stop", "n_cadence", "n_point", "cadence", "filled")
        units = {"start": "d", "stop": "d", "cadence": "s"}
        columns = zip(*rows, strict=True)
        return Table(
            [Column(list(values), name=name, unit=units.get(name)) for name, values in zip(names, columns, strict=True)]
        )

    def mask(self, **options: Any) -> Joined:
        """Return the segments masked, each as `LightCurves.mask` does it."""
        return self.each(lambda curves: curves.mask(**options))

    def bin(self, n: int | None = None, *, width_days: float | None = None) -> Joined:
        """Return the segments binned, each as `LightCurves.bin` does it; bins reach over no edge of a segment."""
        return self.each(lambda curves: curves.bin(n, width_days=width_days))

    def flatten(self, window: float = 0.75, **options: Any) -> Joined:
        """Return the segments flattened, each as `LightCurves.flatten` does it: no trend reaches over an edge."""
        return self.each(lambda curves: curves.flatten(window, **options))

    def each(self, change: Callable[[LightCurves], LightCurves]) -> Joined:
        """Return joined light curves of the segments as ``change`` returns them."""
        return Joined(tuple(change(curves) for curves in self.segments), self.matches)

    def write(self, path: str | Path) -> Path:
        """Write everything to one FITS file, see `starskope.curves.joined_fits`; what stood there is replaced.

        Raises
        ------
        ValueError
            The name does not end in .fits.
        OSError
            The disk is full, or the folder is missing or not writable.
        """
        from starskope.curves.joined_fits import write_joined

        write_joined(self, Path(path))
        return Path(path)

    @classmethod
    def read(cls, path: str | Path) -> Joined:
        """Read what `write` has written.

        Raises
        ------
        FileNotFoundError
            Nothing is there.
        FrameError
            The file is damaged, or holds no joined light curves.
        """
        from starskope.curves.joined_fits import read_joined

        return read_joined(Path(path))

    def __repr__(self) -> str:
        coverage = self.coverage
        lines = [
            f"  {row['mission']} {row['part'] or '-'}: {row['start']:.4f} to {row['stop']:.4f} BJD, "
            f"{row['n_point']} points of {row['cadence']:.4g} s"
            for row in coverage
        ]
        name = next((str(name) for name in self.matches["name"] if name), "a star without a name")
        return "\n".join([f"<Joined {name}: {self.n_time} cadences in {self.n_segment} segments", *lines, ">"])


def part_of(curves: LightCurves) -> str:
    """Return which part of a mission a light curve is: "sector 14", "quarter 0"; empty where that is not known."""
    for name in _PARTS:
        if isinstance(number := curves.meta.get(name), int):
            return f"{name} {number}"
    return ""
