"""Target pixel files: one FITS file per target, as lightkurve and astrocut users open them.

Owns the layout of the table, the names of files and how thousands are written: one block of rows is filled again for
each target, since what differs between files is a third of their bytes. Refuses headers (``frames.target_pixel_cards``)
and reading (``frames.target_pixels_read``).

Columns are those of the mission's files, in their order. RAW_CNTS is null, FLUX_BKG and FLUX_BKG_ERR are zero (no
background was taken off a frame), POS_CORR1 and POS_CORR2 are zero (not measured). TIME is barycentric for the place of
the target, TIMECORR what was added to the time at the spacecraft. Files of moving targets have further columns: RAWX
and RAWY, the first column and row of the cutout in each frame (1-based), RA and DEC, where the target was; and no world
coordinates, which would hold for one frame.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from starskope.durable import flush
from starskope.frames.cutout_set import Cutouts
from starskope.frames.cutout_wcs import fit_linear
from starskope.frames.target_pixel_cards import HeaderSet
from starskope.frames.target_pixel_values import target_values
from starskope.layout.datasum import with_checksum, word_sum
from starskope.layout.header import padded
from starskope.parallel import map_ranges, resolve_workers

__all__ = [
    "ENDING",
    "cadence_numbers",
    "discard_unfinished",
    "file_names",
    "find_files",
    "labels",
    "write_files",
]

ENDING = "_starskope.fits"
NOWHERE = -(2**30) + 1
"""RAWX and RAWY of a frame for which the ephemeris has no place."""
_PER_TASK = 16
_MOST_TABLE_BYTES = 1 << 30
_UNSAFE = re.compile(r"[^A-Za-z0-9+._-]+")
_NAME = re.compile(
    rf"tess-s(?P<sector>[0-9]{{4}})-[0-9]-[0-9]_(?P<label>.+)_(?P<size>[0-9]+x[0-9]+){re.escape(ENDING)}"
)

_PART = re.compile(rf"\.tess-s.*{re.escape(ENDING)}\.(?P<pid>[0-9]{{1,9}})\.part")

# Name, format (# = once per pixel), unit, display, null.
_COLUMNS: tuple[tuple[str, str, str, str, int | None], ...] = (
    ("TIME", "D", "BJD - 2457000, days", "D14.7", None),
    ("TIMECORR", "E", "d", "E14.7", None),
    ("CADENCENO", "J", "", "I10", None),
    ("RAW_CNTS", "#J", "count", "I8", -1),
    ("FLUX", "#E", "e-/s", "E14.7", None),
    ("FLUX_ERR", "#E", "e-/s", "E14.7", None),
    ("FLUX_BKG", "#E", "e-/s", "E14.7", None),
    ("FLUX_BKG_ERR", "#E", "e-/s", "E14.7", None),
    ("QUALITY", "J", "", "B16.16", None),
    ("POS_CORR1", "E", "pixel", "E14.7", None),
    ("POS_CORR2", "E", "pixel", "E14.7", None),
    ("FFI_FILE", "A", "", "", None),
)
_OF_MOVING: tuple[tuple[str, str, str, str, int | None], ...] = (
    ("RAWX", "J", "pixel", "I10", NOWHERE),
    ("RAWY", "J", "pixel", "I10", NOWHERE),
    ("RA", "D", "deg", "D14.7", None),
    ("DEC", "D", "deg", "D14.7", None),
)
_CODES = {"D": ">f8", "E": ">f4", "J": ">i4"}


class _Rows(threading.local):
    """The table of each thread, made when it first writes."""

    table: NDArray[Any] | None = None


class _Writer:
    """Files of one set; `file` may be called from several threads."""

    def __init__(self, cutouts: Cutouts) -> None:
        self._cutouts = cutouts
        columns = [*_COLUMNS, *(_OF_MOVING if cutouts.is_moving else ())]
        n_pixel = cutouts.shape[0] * cutouts.shape[1]
        self._width = max(4, -(-max((len(name) for name in cutouts.ffi), default=0) // 4) * 4)
        self._dtype = np.dtype([(name, *self._field(code, n_pixel)) for name, code, *_ in columns])
        described = [
            (name, f"{self._width}A" if code == "A" else code.replace("#", str(n_pixel)), *rest)
            for name, code, *rest in columns
        ]
        self._headers = HeaderSet(cutouts, described, self._dtype.itemsize)  # type: ignore[arg-type]
        self._fit = None
        if cutouts.wcs is not None and not cutouts.is_moving:
            self._fit = fit_linear(cutouts.wcs, cutouts.row0, cutouts.col0, cutouts.shape)
        self._edge, self._collateral = cutouts.edge, cutouts.collateral
        self._rows = _Rows()

    @property
    def n_bytes(self) -> int:
        """Bytes of the table of one file."""
        return self._cutouts.n_time * self._dtype.itemsize

    def _field(self, code: str, n_pixel: int) -> tuple[Any, ...]:
        if code == "A":
            return (f"S{self._width}",)
        return (_CODES[code[-1]], (n_pixel,)) if code[0] == "#" else (_CODES[code],)

    def file(self, index: int) -> list[Any]:
        """Return the pieces of one file; the table is valid until this thread asks for the next file."""
        cutouts, table = self._cutouts, self._table()
        n_time, n_pixel = cutouts.n_time, cutouts.shape[0] * cutouts.shape[1]
        table["TIME"] = cutouts.time[index]
        table["TIMECORR"] = cutouts.time[index] - cutouts.time_spacecraft
        table["FLUX"] = cutouts.flux[index].reshape(n_time, n_pixel)
        table["FLUX_ERR"] = cutouts.flux_err[index].reshape(n_time, n_pixel)
        if cutouts.path_ra is not None and cutouts.path_dec is not None:
            table["RAWX"], table["RAWY"] = cutouts.col0[index] + 1, cutouts.row0[index] + 1
            table["RA"], table["DEC"] = cutouts.path_ra[index], cutouts.path_dec[index]
        aperture = cutouts.on_frame(index).astype(">i4").tobytes()
        values = target_values(cutouts, index, self._fit, self._edge, self._collateral)
        body = memoryview(table.view(np.uint8).data)
        return [
            _header(self._headers.primary, values, 0),
            *_unit(self._headers.pixels, values, body),
            *_unit(self._headers.aperture, values, aperture),
        ]

    def _table(self) -> NDArray[Any]:
        if self._rows.table is None:
            cutouts = self._cutouts
            table = np.zeros(cutouts.n_time, self._dtype)
            table["RAW_CNTS"] = -1
            table["CADENCENO"] = cadence_numbers(cutouts)
            table["QUALITY"] = cutouts.quality
            table["FFI_FILE"] = np.char.encode(cutouts.ffi, "ascii") if cutouts.n_time else b""
            self._rows.table = table
        return self._rows.table


def _unit(template: Any, values: dict[str, Any], body: Any) -> list[Any]:
    n_bytes = len(body)
    padding = bytes(padded(n_bytes) - n_bytes)
    # Padding of zeros adds nothing to the sum, but completes a last word.
    total = word_sum(body) if n_bytes % 4 == 0 else word_sum(bytes(body) + padding)
    return [_header(template, values, total), body, padding]


def _header(template: Any, values: dict[str, Any], total: int) -> bytes:
    return with_checksum(template.fill({**values, "DATASUM": str(total)}), total)


def cadence_numbers(cutouts: Cutouts) -> NDArray[np.int32]:
    """Return (n_time,) numbers of the frames: FFIINDEX of the first, 0 where it is not known; one more per cadence.

    A gap shows so; the archive's cubes carry no numbers of their own.
    """
    first = cutouts.primary.get("FFIINDEX")
    start = int(first) if isinstance(first, int | np.integer) else 0
    times = cutouts.time_spacecraft
    known = np.flatnonzero(np.isfinite(times))
    numbers = np.arange(cutouts.n_time, dtype=np.int64)
    if known.size > 1:
        steps = np.diff(times[known])
        step = float(np.median(steps))
        if step > 0:
            numbers[known] = np.rint((times[known] - times[known[0]]) / step).astype(np.int64) + known[0]
    return (start + numbers).astype(np.int32)


def labels(targets: Table) -> list[str]:
    """Return one word per target for the names of files: the TIC number, else the name, else the place.

    Of a name letters, digits and ``+-.`` are kept; a word that comes again is numbered.
    """
    taken: dict[str, int] = {}
    words = []
    for row in range(len(targets)):
        word = _word(targets, row)
        # File systems that take capital and small letters for the same must not lose a target.
        taken[word.lower()] = number = taken.get(word.lower(), 0) + 1
        words.append(f"{word}_{number}" if number > 1 else word)
    return words


def file_names(cutouts: Cutouts) -> list[str]:
    """Return the name of each target's file, by the column ``label`` where there is one, else by `labels`."""
    start = f"tess-s{cutouts.sector:04d}-{cutouts.camera}-{cutouts.ccd}"
    size = f"{cutouts.shape[0]}x{cutouts.shape[1]}"
    there = "label" in cutouts.targets.colnames
    words = [_safe(str(word)) for word in cutouts.targets["label"]] if there else labels(cutouts.targets)
    return [f"{start}_{word}_{size}{ENDING}" for word in words]


def find_files(folder: Path, sector: int | None, shape: tuple[int, int]) -> dict[str, str]:
    """Return the names of files of a sector (None: any) and size that stand in a folder, by label."""
    names = (_NAME.fullmatch(entry.name) for entry in os.scandir(folder))
    size = f"{shape[0]}x{shape[1]}"
    return {
        found["label"]: found[0]
        for found in names
        if found and found["size"] == size and (sector is None or int(found["sector"]) == sector)
    }


def discard_unfinished(folder: Path) -> None:
    """Remove what killed writers left in a folder: hidden parts of files whose process runs no more on this machine."""
    for entry in list(os.scandir(folder)):
        found = _PART.fullmatch(entry.name)
        if found and not _runs(int(found["pid"])):
            Path(entry.path).unlink(missing_ok=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _word(targets: Table, row: int) -> str:
    columns = targets.colnames
    if "tic_id" in columns and not np.ma.is_masked(targets["tic_id"][row]) and targets["tic_id"][row] > 0:
        return f"tic{int(targets['tic_id'][row])}"
    if "name" in columns and (word := _safe(str(targets["name"][row]))):
        return word
    if not {"ra", "dec"} <= set(columns):
        return f"target{row}"
    ra, dec = (float(getattr(targets[name][row], "value", targets[name][row])) for name in ("ra", "dec"))
    return f"{ra:.6f}_{dec:.6f}"


def _safe(text: str) -> str:
    return _UNSAFE.sub("-", text).strip("-.")[:80]


def write_files(cutouts: Cutouts, folder: Path, *, overwrite: bool = False, workers: int = 1) -> list[Path]:
    """Write one file per target; see `Cutouts.write`.

    Files are flushed to the disk before they take their names; a run that is stopped leaves whole files only.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(
            errno.EEXIST, "is a file: name a folder for target pixel files, or a name ending in .zarr", str(folder)
        )
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in file_names(cutouts)]
    if not overwrite and (there := [path for path in paths if path.exists()]):
        reason = f"exists, as {len(there)} of {len(paths)} files do: say overwrite, or name another folder"
        raise FileExistsError(errno.EEXIST, reason, str(there[0]))
    writer = _Writer(cutouts)

    def write(start: int, stop: int) -> None:
        for index in range(start, stop):
            _write_file(paths[index], writer.file(index))

    # Every thread fills a table of its own, which for large cutouts is large.
    n_thread = min(resolve_workers(workers), max(1, _MOST_TABLE_BYTES // max(1, writer.n_bytes)))
    map_ranges(write, cutouts.n_target, _PER_TASK, n_thread)
    flush(folder)
    return paths


def _write_file(path: Path, pieces: list[Any]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb", buffering=0) as file:
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[file.write(view) :]
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        reason = f"target pixel file not written: {error.strerror or error}; free space or choose another folder"
        raise OSError(error.errno, reason, str(path)) from error
    finally:
        part.unlink(missing_ok=True)
