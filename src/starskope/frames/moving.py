"""Targets that move: asteroids and comets by their ephemerides.

Owns ephemeris tables, what counts as one, and the place of a target at the time of a frame. Refuses to compute orbits:
positions come from an ephemeris service, as seen from the spacecraft (Horizons: observer ``@-95``; a position as seen
from Earth's centre is wrong by up to 30 arcseconds at half an astronomical unit).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from starskope.layout.times import BTJD_ZERO

__all__ = ["Ephemerides", "is_ephemeris"]

F64 = NDArray[np.float64]

_FIRST_JD = 2_400_000.0
_ID_COLUMNS = ("name", "target", "targetname", "designation", "tic_id")


def is_ephemeris(targets: Any) -> bool:
    """Whether a table gives places at times: columns ``time``, ``ra``, ``dec``, or ra and dec with two axes."""
    if isinstance(targets, Ephemerides):
        return True
    if not isinstance(targets, Table) or not {"ra", "dec"} <= set(targets.colnames):
        return False
    return targets["ra"].ndim == 2 or "time" in targets.colnames


@dataclass(frozen=True, eq=False)
class Ephemerides:
    """Where each of several targets was at some times.

    Attributes
    ----------
    names : tuple of str
        One per target.
    times : tuple of (n_node,) float64
        BTJD, TDB, at the spacecraft, ascending; one array per target.
    ra, dec : tuple of (n_node,) float64
        Degrees, ICRS, at these times.

    Raises
    ------
    ValueError
        Arrays do not fit together, times repeat, or a number is missing or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> path = Ephemerides(("Ceres",), (np.array([1325.0, 1326.0]),), (np.array([10.0, 10.2]),), (np.zeros(2),))
    >>> ra, dec = path.at([1325.5, 1330.0])
    >>> np.round(ra, 3)
    array([[10.1,  nan]])
    """

    names: tuple[str, ...]
    times: tuple[F64, ...]
    ra: tuple[F64, ...]
    dec: tuple[F64, ...]

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.times) == len(self.ra) == len(self.dec):
            raise ValueError("an ephemeris needs a name, times, ra and dec for each target: their numbers differ")
        for name, time, ra, dec in zip(self.names, self.times, self.ra, self.dec, strict=True):
            if not time.ndim == 1 or not time.shape == ra.shape == dec.shape:
                raise ValueError(
                    f"ephemeris of {name!r}: time, ra and dec have shapes {time.shape}, {ra.shape}, {dec.shape}"
                )
            if time.size < 2:
                raise ValueError(f"ephemeris of {name!r} has {time.size} time: expected 2 or more to move between")
            if not (np.isfinite(time).all() and np.isfinite(ra).all() and np.isfinite(dec).all()):
                raise ValueError(f"ephemeris of {name!r} holds values that are no numbers: leave these rows out")
            if (np.diff(time) <= 0).any():
                raise ValueError(f"ephemeris of {name!r}: the times do not ascend, or one comes twice")
            if np.abs(dec).max() > 90.0 or ra.min() < -360.0 or ra.max() > 360.0:
                raise ValueError(f"ephemeris of {name!r} leaves the sphere: expected degrees, dec from -90 to 90")

    @classmethod
    def from_table(cls, table: Table) -> Ephemerides:
        """Read a table: one row per target and time, or one row per target with times along a second axis.

        Parameters
        ----------
        table : Table
            Long form: ``time``, ``ra``, ``dec`` and, for several targets, one of ``name``, ``target``, ``designation``
            or ``tic_id``; rows in any order. Wide form: ``ra`` and ``dec`` (n_target, n_time) with a column ``time`` of
            that shape or ``meta["time"]`` (n_time,). Times are BTJD (TDB); Julian dates are told by their size. Angles
            are degrees unless the columns have units.

        Raises
        ------
        ValueError
            A column is missing, or the numbers make no ephemeris.
        """
        missing = [name for name in ("ra", "dec") if name not in table.colnames]
        if missing:
            raise ValueError(
                f"an ephemeris needs columns time, ra and dec; {missing[0]} is missing in {table.colnames}"
            )
        ra, dec = (_degrees(table[name]) for name in ("ra", "dec"))
        key = next((name for name in _ID_COLUMNS if name in table.colnames), None)
        if ra.ndim == 2:
            times = np.asarray(table["time"] if "time" in table.colnames else table.meta.get("time"), np.float64)
            if times.shape not in (ra.shape, ra.shape[1:]):
                raise ValueError(
                    f"ra has shape {ra.shape}: expected time of that shape, or meta['time'] {ra.shape[1:]}"
                )
            times = _btjd(np.broadcast_to(times, ra.shape))
            names = [str(value) for value in table[key]] if key else [f"target {i}" for i in range(len(table))]
            return cls(tuple(names), tuple(times), tuple(ra), tuple(dec))
        if "time" not in table.colnames:
            raise ValueError(f"an ephemeris needs columns time, ra and dec; found {', '.join(table.colnames)}")
        times = _btjd(np.ma.filled(np.ma.asarray(table["time"], np.float64), np.nan))
        labels = np.array([str(value) for value in table[key]] if key else ["target 0"] * len(table))
        # In the order in which the targets first appear.
        names = list(dict.fromkeys(labels.tolist()))
        picked: list[tuple[F64, F64, F64]] = []
        for name in names:
            rows = np.flatnonzero(labels == name)
            rows = rows[np.argsort(times[rows], kind="stable")]
            picked.append((times[rows], ra[rows], dec[rows]))
        return cls(tuple(names), *(tuple(column) for column in zip(*picked, strict=True)))

    @classmethod
    def joined(cls, parts: Sequence[Ephemerides]) -> Ephemerides:
        """Return the targets of several ephemerides, one after another."""
        return cls(
            tuple(name for part in parts for name in part.names),
            *(tuple(value for part in parts for value in getattr(part, what)) for what in ("times", "ra", "dec")),
        )

    @property
    def n_target(self) -> int:
        """Number of targets."""
        return len(self.names)

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> Ephemerides:
        """Return some of the targets."""
        columns = (self.names, self.times, self.ra, self.dec)
        return Ephemerides(*(tuple(column[row] for row in rows) for column in columns))  # type: ignore[arg-type]

    def at(self, time: ArrayLike) -> tuple[F64, F64]:
        """Where the targets are at some times.

        Parameters
        ----------
        time : (n_time,) array_like
            BTJD, TDB, at the spacecraft: the mid-times of frames.

        Returns
        -------
        ra, dec : (n_target, n_time) float64
            Degrees; NaN before the first and after the last time of a target's ephemeris: nothing is extrapolated.

        Notes
        -----
        Cubic splines through the unit vectors of the nodes. Steps of six hours give a main-belt asteroid to a
        thousandth of a TESS pixel.
        """
        from scipy.interpolate import CubicSpline

        moments = np.atleast_1d(np.asarray(time, np.float64))
        places = np.full((self.n_target, moments.size, 3), np.nan)
        for row, (nodes, ra, dec) in enumerate(zip(self.times, self.ra, self.dec, strict=True)):
            inside = (moments >= nodes[0]) & (moments <= nodes[-1])
            places[row, inside] = CubicSpline(nodes, _unit(ra, dec))(moments[inside])
        x, y, z = np.moveaxis(places, -1, 0)
        return np.mod(np.degrees(np.arctan2(y, x)), 360.0), np.degrees(np.arctan2(z, np.hypot(x, y)))


def _degrees(column: Any) -> F64:
    unit = getattr(column, "unit", None)
    if unit is not None and str(unit) not in ("deg", "degree", "degrees"):
        column = column.quantity.to_value("deg") if hasattr(column, "quantity") else column.to_value("deg")
    return np.ma.filled(np.ma.asarray(getattr(column, "value", column)).astype(np.float64), np.nan)


def _btjd(times: F64) -> F64:
    known = times[np.isfinite(times)]
    return times - BTJD_ZERO if known.size and known.min() > _FIRST_JD else np.array(times)


def _unit(ra: F64, dec: F64) -> F64:
    alpha, delta = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)], axis=-1)
