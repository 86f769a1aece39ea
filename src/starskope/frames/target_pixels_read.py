"""Reading target pixel files back: ours and astrocut's.

Owns which columns and cards make a cutout. Refuses light curves and other missions' files (``curves.pixels``), and
whole frames' world coordinates: a file holds a linear map of its own pixels, which stands in `Cutouts.wcs` where one
file is read, in pixels of the frame; of several files there is no one map.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from starskope.errors import FrameError
from starskope.frames.checksums import checksum_note
from starskope.frames.cutout_set import FRAME_SHAPE, Cutouts
from starskope.frames.target_pixel_cards import CREATOR
from starskope.frames.wcs import TanSip, has_wcs
from starskope.layout.bintable import BinaryTable
from starskope.layout.fits import iter_hdus
from starskope.layout.header import parse_header

__all__ = ["read_file", "read_files", "read_flags"]

_ENDINGS = ("_starskope.fits", "_astrocut.fits")
_MOST_HEADER_BYTES = 28_800
_MOST_ROW = 2**30
_NEEDED = ("TIME", "TIMECORR", "FLUX", "FLUX_ERR", "QUALITY")
_OF_STAR = {"TICID": "tic_id", "TESSMAG": "tmag", "TEFF": "teff", "LOGG": "logg", "RADIUS": "rad"}


def read_flags(path: Path) -> dict[str, Any]:
    """Return what the first header of a file tells of it.

    ``sector``, ``camera``, ``ccd``, ``edge``, ``collateral``, and ``n_lost``, the frames that could not be read.

    Raises
    ------
    FrameError
        It is no FITS file.
    """
    with path.open("rb") as file:
        primary = parse_header(file.read(_MOST_HEADER_BYTES), name=path.name)
    place = {name: _integer(primary.get(name.upper())) for name in ("sector", "camera", "ccd")}
    flags = {"edge": primary.get("EDGE") is True, "collateral": primary.get("COLLAT") is True}
    return {**place, **flags, "n_lost": _integer(primary.get("NLOST"))}


def read_files(path: Path) -> Cutouts:
    """Read one file, or all of a folder in the order of their names; see `Cutouts.read`."""
    if path.is_dir():
        paths = sorted(
            file for file in path.iterdir() if file.name.endswith(_ENDINGS) and not file.name.startswith(".")
        )
        if not paths:
            raise FrameError(f"{path} holds no target pixel files: expected names that end in {' or '.join(_ENDINGS)}")
    elif path.is_file():
        paths = [path]
    else:
        raise FileNotFoundError(errno.ENOENT, "no such file or folder of cutouts", str(path))
    parts = [read_file(file) for file in paths]
    for number, part in enumerate(parts):
        part.targets["target"] = [number]
        if len(parts) > 1:
            part.wcs = None
    try:
        return Cutouts.concatenate(parts)
    except ValueError as error:
        raise FrameError(f"{path} holds cutouts that do not belong together: {error}") from error


def read_file(path: Path) -> Cutouts:
    """Read one target pixel file.

    Raises
    ------
    FrameError
        Damaged, truncated, or no target pixel file of full frames.
    """
    try:
        return _read(path, path.read_bytes())
    except FrameError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FrameError(f"{path.name} is damaged ({error}); cut the target again") from error


def _read(path: Path, buffer: bytes) -> Cutouts:
    hdus = list(iter_hdus(buffer, name=path.name))
    if len(hdus) < 3 or hdus[1].header.get("XTENSION") != "BINTABLE" or hdus[2].header.get("EXTNAME") != "APERTURE":
        raise FrameError(f"{path.name} is no target pixel file: expected a table PIXELS and an image APERTURE")
    if hdus[2].offset + hdus[2].n_bytes > len(buffer):
        raise FrameError(f"{path.name} is truncated: its aperture ends after the file; cut the target again")
    # Sums of missions' files fail though nothing is wrong; ours do not.
    if hdus[0].header.get("CREATOR") == CREATOR and (note := checksum_note(buffer, name=path.name)):
        raise FrameError(f"{note.removesuffix('; used all the same')}; cut the target again")
    table = BinaryTable(buffer, hdus[1], name=path.name)
    missing = [name for name in _NEEDED if name not in table]
    if missing:
        raise FrameError(f"{path.name} is no target pixel file: it has no column {missing[0]}")
    flux, flux_err = (np.array(table[name], np.float32, order="C") for name in ("FLUX", "FLUX_ERR"))
    if flux.ndim != 3 or flux.shape != flux_err.shape:
        raise FrameError(f"{path.name}: FLUX has shape {flux.shape}, expected (time, rows, columns)")
    primary, header, aperture = (hdu.header for hdu in hdus[:3])
    time = np.asarray(table["TIME"], np.float64)
    moving = "RAWX" in table and "RAWY" in table
    row0, col0 = _corner(table, header, moving, path.name)
    wcs = None
    if not moving and has_wcs(aperture):
        wcs = TanSip.from_header(aperture).shifted(float(row0[0]), float(col0[0]))
    return Cutouts(
        flux[None],
        flux_err[None],
        time[None],
        time - np.asarray(table["TIMECORR"], np.float64),
        np.asarray(table["QUALITY"], np.int32),
        _names(table, len(time)),
        row0,
        col0,
        _target(primary),
        wcs=wcs,
        reference=_reference(header, table),
        header={key: header[key] for key in _frame_cards(header)},
        primary={key: primary[key] for key in ("DATE-OBS", "DATE-END", "FFIINDEX", "TELESCOP") if key in primary},
        frame_shape=FRAME_SHAPE,
        path_ra=np.asarray(table["RA"], np.float64)[None] if moving else None,
        path_dec=np.asarray(table["DEC"], np.float64)[None] if moving else None,
        sector=_integer(primary.get("SECTOR")),
        camera=_integer(primary.get("CAMERA")),
        ccd=_integer(primary.get("CCD")),
    )


def _corner(
    table: Mapping[str, NDArray[Any]], header: Mapping[str, Any], moving: bool, name: str
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    if moving:
        return (table["RAWY"] - 1).astype(np.int32)[None], (table["RAWX"] - 1).astype(np.int32)[None]
    column, row = header.get("1CRV5P"), header.get("2CRV5P")
    if (
        not isinstance(row, int | float)
        or not isinstance(column, int | float)
        or max(abs(row), abs(column)) > _MOST_ROW
    ):
        raise FrameError(f"{name} does not tell its place on the frame: the cards 1CRV5P and 2CRV5P are missing")
    return np.array([int(row) - 1], np.int32), np.array([int(column) - 1], np.int32)


def _names(table: Mapping[str, NDArray[Any]], n_time: int) -> NDArray[np.str_]:
    if "FFI_FILE" not in table:
        return np.full(n_time, "")
    values = np.asarray(table["FFI_FILE"])
    return np.char.strip(
        np.char.decode(values, "ascii", "replace") if values.dtype.kind == "S" else values.astype(np.str_)
    )


def _reference(header: Mapping[str, Any], table: Mapping[str, NDArray[Any]]) -> int:
    """Find the frame that WCS_FFI names; astrocut cuts the names of its column short."""
    name = str(header.get("WCS_FFI", ""))
    names = _names(table, 0) if "FFI_FILE" in table else np.empty(0, np.str_)
    found = [row for row, frame in enumerate(names.tolist()) if frame and name.startswith(frame)]
    return found[0] if found else 0


def _target(primary: Mapping[str, Any]) -> Table:
    place = [_float(primary.get(key)) for key in ("RA_OBJ", "DEC_OBJ")]
    row: dict[str, Any] = {"target": [0], "ra": [place[0]], "dec": [place[1]]}
    if (name := primary.get("OBJECT")) and isinstance(name, str):
        row["name"] = [name]
    for key, column in _OF_STAR.items():
        if key in primary and primary[key] is not None:
            row[column] = [_integer(primary[key])] if key == "TICID" else [_float(primary[key])]
    return Table(row)


def _frame_cards(header: Mapping[str, Any]) -> list[str]:
    """Cards that came from the frame: neither of the table's structure nor of its world coordinates."""
    start = list(header).index("INHERIT") + 1 if "INHERIT" in header else 0
    return [key for key in list(header)[start:] if header[key] is not None]


def _integer(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and value == value else 0  # noqa: PLR0124 - NaN is no number


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")
