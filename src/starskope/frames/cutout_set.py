"""Cutouts: the pixels around many targets of one CCD, on one axis of frames.

Owns the container, its checks, and what follows from its arrays alone: which pixels exist, which targets were cut at
the edge, one target of many, several sets in one. Refuses to read pixels from anywhere (``frames.cutouts``) and to know
file formats (``frames.cutout_store``, ``frames.target_pixels``).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from starskope.frames.wcs import TanSip
from starskope.layout.fits import science_region

__all__ = ["FRAME_SHAPE", "Cutouts", "empty_failures"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

FRAME_SHAPE = (2078, 2136)
"""Rows and columns of a full TESS frame, collateral pixels included."""


def empty_failures() -> Table:
    """Return a table of failed targets without rows: `Cutouts.failed` where nothing failed."""
    return Table(
        {
            "target": np.empty(0, np.int64),
            "ra": np.empty(0, np.float64),
            "dec": np.empty(0, np.float64),
            "reason": np.empty(0, "U1"),
        }
    )


@dataclass(eq=False, repr=False)
class Cutouts:
    """The pixels around targets of one CCD of one sector, all frames.

    Attributes
    ----------
    flux, flux_err : (n_target, n_time, n_row, n_col) float32
        Electrons per second; NaN = off the frame, or missing.
    time : (n_target, n_time) float64
        Mid-exposure, BTJD (days since JD 2457000, TDB) at the barycentre of the solar system, for each target's place.
    time_spacecraft : (n_time,) float64
        The same moments at the spacecraft.
    quality : (n_time,) int32
        DQUALITY of the frames; 0 = nothing wrong is known.
    ffi : (n_time,) str
        File name of each frame.
    row0, col0 : (n_target,) or (n_target, n_time) int32
        First row and column in the frame, 0-based, maybe negative; two axes for targets that move.
    targets : Table
        One row per cutout: ``target`` (row of the target in what was asked for), ``ra``, ``dec`` (degrees, ICRS; of a
        moving target at the frame of the WCS), and what else came with it, such as ``tic_id``, ``name``, ``tmag``.
    wcs : TanSip or None
        World coordinates of the whole frame `reference`, in pixels of the frame.
    reference : int
        The frame whose world coordinates and cards these are.
    header, primary : mapping
        Cards of the image of that frame, and of the primary header of the cube or of the first frame.
    frame_shape : (int, int)
        Rows and columns of the frame that was cut.
    sector, camera, ccd : int
        0 = not known.
    path_ra, path_dec : (n_target, n_time) float64 or None
        Where moving targets were, degrees.
    failed : Table
        Targets that gave no cutout: ``target``, ``ra``, ``dec``, ``reason``.
    meta : dict
        How the cutouts were made; plain values only.

    Raises
    ------
    ValueError, TypeError
        Shapes or dtypes do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.table import Table
    >>> pixels = np.ones((1, 3, 2, 2), np.float32)
    >>> Cutouts(pixels, pixels, np.zeros((1, 3)), np.zeros(3), np.zeros(3, np.int32), ["a", "b", "c"], np.array([-1]),
    ...         np.array([0]), Table({"target": [0], "ra": [10.0], "dec": [5.0]}))
    <Cutouts: 1 target, 3 frames of 2 x 2 pixels, 1 cut at the edge>
    """

    flux: F32
    flux_err: F32
    time: F64
    time_spacecraft: F64
    quality: I32
    ffi: NDArray[np.str_]
    row0: I32
    col0: I32
    targets: Table
    wcs: TanSip | None = None
    reference: int = 0
    header: Mapping[str, Any] = field(default_factory=dict)
    primary: Mapping[str, Any] = field(default_factory=dict)
    frame_shape: tuple[int, int] = FRAME_SHAPE
    sector: int = 0
    camera: int = 0
    ccd: int = 0
    path_ra: F64 | None = None
    path_dec: F64 | None = None
    failed: Table = field(default_factory=empty_failures)
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ffi = np.asarray(self.ffi, np.str_)
        self.quality = np.asarray(self.quality, np.int32)
        self.row0, self.col0 = (np.asarray(start, np.int32) for start in (self.row0, self.col0))
        self.time = np.asarray(self.time, np.float64)
        self.time_spacecraft = np.asarray(self.time_spacecraft, np.float64)
        for name in ("flux", "flux_err"):
            values = getattr(self, name)
            if values.dtype != np.float32 or values.ndim != 4 or not values.dtype.isnative:
                raise TypeError(
                    f"{name} is {values.dtype} of shape {values.shape}: expected native float32 "
                    "(n_target, n_time, n_row, n_col)"
                )
        n_target, n_time = self.flux.shape[:2]
        moving = self.row0.ndim == 2
        expected: dict[str, tuple[int, ...]] = {
            "flux_err": self.flux.shape,
            "time": (n_target, n_time),
            "time_spacecraft": (n_time,),
            "quality": (n_time,),
            "ffi": (n_time,),
            "row0": (n_target, n_time) if moving else (n_target,),
            "col0": (n_target, n_time) if moving else (n_target,),
        }
        if moving:
            expected |= {"path_ra": (n_target, n_time), "path_dec": (n_target, n_time)}
        for name, shape in expected.items():
            values = getattr(self, name)
            if values is None or values.shape != shape:
                raise ValueError(f"{name} has shape {getattr(values, 'shape', None)}: expected {shape}, as flux says")
        missing = [name for name in ("target", "ra", "dec") if name not in self.targets.colnames]
        if missing or len(self.targets) != n_target:
            raise ValueError(
                f"targets has {len(self.targets)} rows and columns {self.targets.colnames}: "
                f"expected {n_target} rows and target, ra, dec"
            )
        if n_time and not 0 <= self.reference < n_time:
            raise ValueError(f"reference is {self.reference}: expected a frame, 0 to {n_time - 1}")

    def __repr__(self) -> str:
        n_edge, n_failed = int(self.edge.sum()), len(self.failed)
        label = f" s{self.sector:04d}-{self.camera}-{self.ccd}" if self.sector else ""
        tail = f", {n_edge} cut at the edge" if n_edge else ""
        tail += f", {n_failed} failed" if n_failed else ""
        size = f"{self.n_time} frames of {self.shape[0]} x {self.shape[1]} pixels"
        return f"<Cutouts{label}: {self.n_target} target{'' if self.n_target == 1 else 's'}, {size}{tail}>"

    def __len__(self) -> int:
        return self.n_target

    @property
    def n_target(self) -> int:
        """Number of cutouts."""
        return int(self.flux.shape[0])

    @property
    def n_time(self) -> int:
        """Number of frames."""
        return int(self.flux.shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a cutout."""
        return int(self.flux.shape[2]), int(self.flux.shape[3])

    @property
    def is_moving(self) -> bool:
        """Whether each frame has its own place."""
        return self.row0.ndim == 2

    @property
    def edge(self) -> NDArray[np.bool_]:
        """(n_target,): some pixels lie off the frame, so they are NaN."""
        return self._leaves((0, self.frame_shape[0]), (0, self.frame_shape[1]))

    @property
    def collateral(self) -> NDArray[np.bool_]:
        """(n_target,): some pixels see no sky: off the frame, or of its collateral rows and columns."""
        rows, columns = science_region(self.header, self.frame_shape)
        return self._leaves((rows.start, rows.stop), (columns.start, columns.stop))

    def _leaves(self, rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.bool_]:
        n_row, n_col = self.shape
        out: NDArray[np.bool_] = (self.row0 < rows[0]) | (self.row0 + n_row > rows[1])
        out |= (self.col0 < columns[0]) | (self.col0 + n_col > columns[1])
        if not self.is_moving:
            return out
        # Frames for which an ephemeris has no place are cut nowhere.
        return np.asarray((out & np.isfinite(self.path_ra)).any(axis=1))  # type: ignore[arg-type]

    def on_frame(self, index: int) -> NDArray[np.bool_]:
        """Return (n_row, n_col) bool: which pixels of a cutout lie on the frame; of a moving target, on any."""
        n_row, n_col = self.shape
        rows = np.atleast_1d(self.row0[index])[:, None] + np.arange(n_row)
        columns = np.atleast_1d(self.col0[index])[:, None] + np.arange(n_col)
        inside_rows = (rows >= 0) & (rows < self.frame_shape[0])
        inside_columns = (columns >= 0) & (columns < self.frame_shape[1])
        return np.asarray((inside_rows[:, :, None] & inside_columns[:, None, :]).any(axis=0))

    def target(self, index: int) -> Cutouts:
        """Return one cutout as a set of one; its arrays are views."""
        if not -self.n_target <= index < self.n_target:
            raise IndexError(f"cutout {index} of {self.n_target}: expected 0 to {self.n_target - 1}")
        index %= self.n_target
        return self.select(slice(index, index + 1))

    def select(self, chosen: slice | NDArray[Any]) -> Cutouts:
        """Return some of the cutouts: a slice (views), a mask or indices; `failed` stays with the whole set."""
        paths = {name: getattr(self, name) for name in ("path_ra", "path_dec")}
        chosen_paths: dict[str, Any] = {name: None if path is None else path[chosen] for name, path in paths.items()}
        return dataclasses.replace(
            self,
            flux=self.flux[chosen],
            flux_err=self.flux_err[chosen],
            time=self.time[chosen],
            row0=self.row0[chosen],
            col0=self.col0[chosen],
            targets=self.targets[chosen],
            failed=empty_failures(),
            **chosen_paths,
        )

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = False, workers: int = 1) -> list[Path]:
        """Write one Zarr store (a name that ends in ``.zarr``), or a folder with one target pixel file per target.

        Every file, and a store as a whole, appears complete under its name or not at all.

        Parameters
        ----------
        path : path
            The folder of the files is made where it is not there; other files in it stay.
        overwrite : bool
            Replace a store, or target pixel files of the same names.
        workers : int
            Threads that write files; -1 for all CPUs. Any number gives the same bytes.

        Returns
        -------
        list of Path
            The store, or the files in the order of the targets.

        Raises
        ------
        FileExistsError
            Something stands there and `overwrite` is False.
        OSError
            The disk is full or cannot be written.
        """
        path = Path(path)
        if path.name.lower().endswith(".zarr"):
            from starskope.frames.cutout_store import write_store

            return [write_store([self], path, overwrite=overwrite)]
        from starskope.frames.target_pixels import write_files

        return write_files(self, path, overwrite=overwrite, workers=workers)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Cutouts:
        """Read a Zarr store that `write` made, a target pixel file of ours or of astrocut, or a folder of them.

        Raises
        ------
        FrameError
            What stands there is damaged or something else.
        FileNotFoundError
            Nothing stands there.
        """
        path = Path(path)
        if path.name.lower().endswith(".zarr") or (path / "zarr.json").is_file():
            from starskope.frames.cutout_store import read_store

            return read_store(path)
        from starskope.frames.target_pixels_read import read_files

        return read_files(path)

    @staticmethod
    def concatenate(parts: Sequence[Cutouts]) -> Cutouts:
        """Join sets of the same frames; failures are joined too.

        Raises
        ------
        ValueError
            They are of different frames, CCDs or sizes.
        """
        from astropy.table import vstack

        if not parts:
            raise ValueError("no cutouts to join: expected at least one set")
        first = parts[0]
        for i, part in enumerate(parts):
            if part.shape != first.shape or part.is_moving != first.is_moving:
                raise ValueError(
                    f"set {i} holds cutouts of {part.shape} pixels, set 0 of {first.shape}: join like sets"
                )
            if not np.array_equal(part.ffi, first.ffi):
                raise ValueError(f"set {i} is of other frames than set 0: write one output per CCD")
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("flux", "flux_err", "time", "row0", "col0")
        }
        paths: dict[str, Any] = {
            name: None if getattr(first, name) is None else np.concatenate([getattr(part, name) for part in parts])
            for name in ("path_ra", "path_dec")
        }
        return dataclasses.replace(
            first,
            **joined,
            **paths,
            targets=vstack([part.targets for part in parts], metadata_conflicts="silent"),
            failed=vstack([part.failed for part in parts], metadata_conflicts="silent"),
        )
