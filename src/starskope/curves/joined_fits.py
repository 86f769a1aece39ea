"""Joined light curves as one FITS file.

Owns the layout: POINTS (table: TIME, FLUX, FLUX_ERR, QUALITY, SEGMENT, one row per cadence, segment after segment) and
META (JSON as bytes: what each segment knows of itself and of the star, and the table of matches). Refuses files that
others made. Both parts carry checksums, verified on reading; no date is written.
"""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from starskope.curves.columns import column_specs, encode_column, plain_json, table_from_specs
from starskope.curves.container import LightCurves
from starskope.curves.fits_store import check_sums, own_header, time_cards
from starskope.curves.joined import Joined
from starskope.errors import FrameError
from starskope.landing import replacing_file

__all__ = ["FORMAT", "FORMAT_VERSION", "is_joined", "read_joined", "write_joined"]

FORMAT = "STARSKOPE JOINED LIGHT CURVES"
FORMAT_VERSION = 1

_ROW = np.dtype([("TIME", "f8"), ("FLUX", "f4"), ("FLUX_ERR", "f4"), ("QUALITY", "i4"), ("SEGMENT", "i4")])


def is_joined(start: bytes) -> bool:
    """Tell whether the first block of a file names the format of this module."""
    return f"FORMAT  = '{FORMAT}".encode() in start


def write_joined(joined: Joined, path: Path) -> None:
    """Write one file; what stands at ``path`` is replaced in one step."""
    if path.suffix.lower() != ".fits":
        raise ValueError(f"{path.name}: joined light curves are written as FITS; let the name end in .fits")
    rows = np.zeros(joined.n_time, _ROW)
    errors = joined.flux_err
    rows["TIME"], rows["FLUX"], rows["SEGMENT"] = joined.bjd, joined.flux, joined.segment
    rows["FLUX_ERR"] = np.nan if errors is None else errors
    rows["QUALITY"] = np.concatenate([curves.quality for curves in joined.segments])
    whole = math.floor(joined.time_zero)
    primary = fits.PrimaryHDU()
    primary.header.extend(
        [
            ("FORMAT", FORMAT, "kind of this file"),
            ("FORMATV", FORMAT_VERSION, "version of the kind"),
            ("NSEGMENT", joined.n_segment, "number of segments"),
        ]
    )
    points = fits.BinTableHDU(rows, name="POINTS")
    points.header["TUNIT1"] = "d"
    points.header.extend(time_cards(whole, joined.time_zero - whole, is_barycentric=True))
    notes = {
        "segments": [
            {
                "mission": curves.mission,
                "exposure_s": plain_json(curves.exposure_s),
                "has_errors": curves.flux_err is not None,
                "stars": _table_notes(curves.stars),
                "meta": curves.meta,
            }
            for curves in joined.segments
        ],
        "matches": _table_notes(joined.matches),
    }
    text = np.frombuffer(json.dumps(notes, allow_nan=False).encode("ascii"), dtype=np.uint8)
    parts = [primary, points, fits.ImageHDU(text, name="META")]
    for part in parts:
        # The comments of checksum cards hold the date, unless told otherwise.
        part.add_checksum(when="of the header and data")
    with replacing_file(path) as temporary:
        fits.HDUList(parts).writeto(temporary, output_verify="exception")


def _table_notes(table: Table) -> dict[str, Any]:
    """Return a table of plain columns as JSON; NaN becomes null."""
    specs = column_specs(table)
    values = {spec["key"]: encode_column(table[spec["name"]]) for spec in specs}
    return {
        "columns": specs,
        "values": {
            key: plain_json([one.decode() for one in column.tolist()] if column.dtype.kind == "S" else column)
            for key, column in values.items()
        },
    }


def _table(notes: dict[str, Any]) -> Table:
    arrays: dict[str, Any] = {}
    for spec in notes["columns"]:
        values = notes["values"][spec["key"]]
        if spec["kind"] == "text":
            arrays[spec["key"]] = np.array([str(one).encode() for one in values])
        else:
            numbers = np.array(values, dtype=object)
            numbers[numbers == None] = math.nan  # noqa: E711
            arrays[spec["key"]] = numbers.astype(spec["kind"])
    return table_from_specs(notes["columns"], arrays)


def read_joined(path: Path) -> Joined:
    """Read a file that `write_joined` made.

    Raises
    ------
    FrameError
        The file is damaged, newer, or holds no joined light curves.
    """
    if not path.exists():
        raise FileNotFoundError(2, "no joined light curves here", str(path))
    data = path.read_bytes()
    own_header(path, data, FORMAT, FORMAT_VERSION, "joined light curves")
    try:
        check_sums(path, data)
        with warnings.catch_warnings(), fits.HDUList.fromstring(data) as file:
            warnings.simplefilter("error")
            cards = file["POINTS"].header
            rows = np.asarray(file["POINTS"].data.view(np.ndarray))
            notes = json.loads(file["META"].data.tobytes())
            zero = cards["BJDREFI"] + cards["BJDREFF"]
            segments = tuple(
                _segment(rows[rows["SEGMENT"] == i], known, zero) for i, known in enumerate(notes["segments"])
            )
            return Joined(segments, _table(notes["matches"]))
    except (OSError, KeyError, TypeError, ValueError, IndexError, AttributeError, Warning) as error:
        raise FrameError(f"{path} is damaged ({error}): join the light curves again") from error


def _segment(rows: np.ndarray[Any, Any], known: dict[str, Any], zero: float) -> LightCurves:
    exposure_s = known["exposure_s"]
    return LightCurves(
        rows["TIME"].astype(np.float64),
        rows["FLUX"].astype(np.float32)[:, None],
        _table(known["stars"]),
        flux_err=rows["FLUX_ERR"].astype(np.float32)[:, None] if known["has_errors"] else None,
        quality=rows["QUALITY"].astype(np.int32),
        time_zero=zero,
        exposure_s=math.nan if exposure_s is None else exposure_s,
        mission=known["mission"],
        meta=known["meta"],
    )
