"""Light curves as one FITS file.

Owns the layout: TIME (table: TIME, QUALITY), FLUX, FLUX_ERR, BACKGROUND (images of n_time rows x n_star columns),
OBSERVER and DIRECTION (images of three columns), STARS (table) and META (JSON as bytes: notes, and the star columns
with their units). Refuses files that others made. Every part carries checksums, verified on reading; no date is
written.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from starskope.curves.columns import column_specs, encode_column, table_from_specs
from starskope.errors import FrameError
from starskope.frames.checksums import checksum_note
from starskope.landing import replacing_file
from starskope.layout.fits import iter_hdus
from starskope.layout.header import parse_header

if TYPE_CHECKING:
    from starskope.curves.container import LightCurves

__all__ = ["FORMAT", "FORMAT_VERSION", "check_sums", "own_header", "read_fits", "time_cards", "write_fits"]

FORMAT = "STARSKOPE LIGHT CURVES"
FORMAT_VERSION = 1

# FITS name -> (attribute, axes, unit; None = that of the flux)
_IMAGES: dict[str, tuple[str, tuple[str, str], str | None]] = {
    "FLUX": ("flux", ("time", "star"), None),
    "FLUX_ERR": ("flux_err", ("time", "star"), None),
    "BACKGROUND": ("background", ("time", "star"), "electron.pixel-1.s-1"),
    "OBSERVER": ("observer", ("time", "xyz"), "s"),
    "DIRECTION": ("direction", ("star", "xyz"), ""),
}


def write_fits(curves: LightCurves, path: Path) -> None:
    """Write one file; what stands at ``path`` is replaced in one step."""
    specs = column_specs(curves.stars)
    whole = math.floor(curves.time_zero)
    primary = fits.PrimaryHDU()
    primary.header.extend(
        [
            ("FORMAT", FORMAT, "kind of this file"),
            ("FORMATV", FORMAT_VERSION, "version of the kind"),
            ("TELESCOP", curves.mission, "mission"),
            ("NTIME", curves.n_time, "number of cadences"),
            ("NSTAR", curves.n_star, "number of stars"),
            *time_cards(whole, curves.time_zero - whole, is_barycentric=curves.is_barycentric),
            ("EXPTIME", None if math.isnan(curves.exposure_s) else curves.exposure_s, "[s] light per cadence"),
        ]
    )
    times = np.zeros(curves.n_time, dtype=[("TIME", "f8"), ("QUALITY", "i4")])
    times["TIME"], times["QUALITY"] = curves.time, curves.quality
    table = fits.BinTableHDU(times, name="TIME")
    table.header["TUNIT1"] = "d"
    table.header.extend(time_cards(whole, curves.time_zero - whole, is_barycentric=curves.is_barycentric))
    parts = [primary, table]
    for name, (attribute, _, unit) in _IMAGES.items():
        values = getattr(curves, attribute)
        if values is not None:
            image = fits.ImageHDU(values if values.size else None, name=name)
            image.header["BUNIT"] = curves.flux_unit if unit is None else unit
            parts.append(image)
    encoded = {spec["key"]: encode_column(curves.stars[spec["name"]]) for spec in specs}
    dtype = [(key, values.dtype, values.shape[1:]) for key, values in encoded.items()]
    rows = np.zeros(curves.n_star, dtype=dtype)
    for key, values in encoded.items():
        rows[key] = values
    stars = fits.BinTableHDU(rows if dtype else None, name="STARS")
    for i, spec in enumerate(specs, start=1):
        if spec["unit"]:
            stars.header[f"TUNIT{i}"] = spec["unit"]
    notes = json.dumps({"meta": curves.meta, "columns": specs}, allow_nan=False).encode("ascii")
    parts += [stars, fits.ImageHDU(np.frombuffer(notes, dtype=np.uint8), name="META")]
    for part in parts:
        # The comments of checksum cards hold the date, unless told otherwise.
        part.add_checksum(when="of the header and data")
    with replacing_file(path) as temporary:
        fits.HDUList(parts).writeto(temporary, output_verify="exception")


def time_cards(whole: int, fraction: float, *, is_barycentric: bool) -> list[tuple[str, Any, str]]:
    """Return the cards that say what the times of a table are; ``whole`` and ``fraction`` make the Julian date of 0."""
    corrected = "barycentric correction applied" if is_barycentric else "no barycentric correction applied"
    return [
        ("TIMESYS", "TDB", "time scale"),
        ("TIMEUNIT", "d", "unit of times"),
        ("BJDREFI", whole, "integer part of the zero of TIME (Julian date)"),
        ("BJDREFF", fraction, "fraction of the zero of TIME"),
        ("TIMEREF", "SOLARSYSTEM" if is_barycentric else "LOCAL", corrected),
        ("TASSIGN", "SPACECRAFT", "where times are assigned"),
        ("TIMEPIXR", 0.5, "times are those of mid-exposure"),
    ]


def read_fits(path: Path, stars: slice | None = None) -> LightCurves:
    """Read a file that `write_fits` made, or some of its stars.

    Raises
    ------
    FrameError
        The file is damaged, newer, or no light-curve file of starskope.
    """
    from starskope.curves.container import LightCurves

    chosen = stars or slice(None)
    data = path.read_bytes()
    header = own_header(path, data, FORMAT, FORMAT_VERSION, "light curves")
    try:
        check_sums(path, data)
        with warnings.catch_warnings(), fits.HDUList.fromstring(data) as file:
            warnings.simplefilter("error")
            length = {"time": header["NTIME"], "star": header["NSTAR"], "xyz": 3}
            notes = json.loads(file["META"].data.tobytes())
            arrays: dict[str, Any] = {
                attribute: _image(file, name, tuple(length[axis] for axis in axes), axes, chosen)
                for name, (attribute, axes, _) in _IMAGES.items()
            }
            exposure_s = header["EXPTIME"]
            table = file["STARS"].data
            # The bare array under the table: astropy would decode text as ASCII.
            raw: Any = None if table is None else table.view(np.ndarray)
            columns = {
                spec["key"]: (raw[spec["key"]] if spec["kind"] == "text" else table.field(spec["key"]))[chosen]
                for spec in notes["columns"]
            }
            return LightCurves(
                np.asarray(file["TIME"].data["TIME"], np.float64),
                **arrays,
                stars=table_from_specs(notes["columns"], columns),
                quality=np.asarray(file["TIME"].data["QUALITY"], np.int32),
                time_zero=header["BJDREFI"] + header["BJDREFF"],
                exposure_s=math.nan if exposure_s is None else exposure_s,
                mission=header["TELESCOP"],
                meta=notes["meta"],
            )
    except (OSError, KeyError, TypeError, ValueError, IndexError, AttributeError, Warning) as error:
        raise FrameError(f"{path} is damaged ({error}): write the light curves again") from error


def own_header(path: Path, data: bytes, kind: str, version: int, what: str) -> Mapping[str, Any]:
    """Return the primary header of a file that this program wrote; FrameError for another kind or version."""
    header = parse_header(data, name=str(path))
    if header.get("FORMAT") != kind:
        raise FrameError(f"{path} is a FITS file, but no {what} that starskope wrote")
    if header.get("FORMATV") != version:
        raise FrameError(
            f"{path} has format version {header.get('FORMATV')}, this program reads {version}: update starskope"
        )
    return header


def check_sums(path: Path, data: bytes) -> None:
    """Raise ValueError unless every HDU has a checksum, and it agrees."""
    unsummed = [k for k, hdu in enumerate(iter_hdus(data, name=str(path))) if "CHECKSUM" not in hdu.header]
    if unsummed or checksum_note(data, name=str(path)):
        raise ValueError("its checksums do not agree with its bytes")


def _image(
    file: fits.HDUList, name: str, shape: tuple[int, ...], axes: tuple[str, str], stars: slice
) -> NDArray[Any] | None:
    if name not in file:
        return None
    data = file[name].data
    dtype = np.float64 if "xyz" in axes else np.float32
    values = np.zeros(shape, dtype) if data is None and 0 in shape else np.asarray(data, dtype)
    if values.shape != shape:
        raise ValueError(f"{name} has shape {values.shape}, the header announces {shape}")
    return np.ascontiguousarray(values[tuple(stars if axis == "star" else slice(None) for axis in axes)])
