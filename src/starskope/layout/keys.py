"""S3 key grammar of full frame images and cubes in the archive's public bucket: text to fields, and fields to text.

Owns what a key may look like; a name that does not fit exactly is refused, so nothing else from a listing or a table
ever becomes a path. Refuses to say what exists: configurations change and frames are missing, so FFI keys are listed
(``archive.ffis``), never built from a calendar. Keys of single targets are in ``layout.targets``; given out here too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from starskope.layout.targets import LightCurveKey, TargetPixelKey
from starskope.layout.times import stamp_to_datetime

__all__ = ["BUCKET", "FFI_ROOT", "CubeKey", "FfiKey", "LightCurveKey", "TargetPixelKey", "check_ccd", "ffi_prefix"]

BUCKET = "stpubdata"
"""The archive's public bucket (us-east-1, anonymous)."""
FFI_ROOT = "tess/public/ffi/"
"""Where the folders of the sectors lie."""

_MAX_SECTOR = 9999
_FFI_NAME = re.compile(
    r"tess(?P<stamp>[0-9]{13})-s(?P<sector>[0-9]{4})-(?P<camera>[1-4])-(?P<ccd>[1-4])-(?P<config>[0-9]{4})-s_(?P<kind>ffi[cr])\.fits\Z"
)
_CUBE_NAME = re.compile(r"tess-s(?P<sector>[0-9]{4})-(?P<camera>[1-4])-(?P<ccd>[1-4])-cube\.fits\Z")


def check_ccd(sector: int, camera: int | None = None, ccd: int | None = None) -> None:
    """Raise ValueError (TypeError for other types) unless sector is 1 to 9999 and camera and ccd are 1 to 4 or None."""
    for what, value, highest in (("sector", sector, _MAX_SECTOR), ("camera", camera, 4), ("ccd", ccd, 4)):
        if value is None and what != "sector":
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{what} is {value!r}: expected a whole number from 1 to {highest}")
        if not 1 <= value <= highest:
            raise ValueError(f"{what} is {value}: expected 1 to {highest}")


@dataclass(frozen=True, order=True, slots=True)
class FfiKey:
    """A TESS full frame image of one CCD and one exposure.

    Attributes
    ----------
    sector, camera, ccd : int
        1-9999, 1-4, 1-4.
    stamp : str
        Start of the exposure, UTC at the spacecraft, ``YYYYDOYhhmmss``: the primary header's DATE-OBS cut to seconds.
    config : int
        Spacecraft configuration (SCCONFIG), 0-9999.
    kind : "ffic" or "ffir"
        Calibrated or raw.
    """

    sector: int
    camera: int
    ccd: int
    stamp: str
    config: int
    kind: Literal["ffic", "ffir"] = "ffic"

    def __post_init__(self) -> None:
        stamp_to_datetime(self.stamp)
        check_ccd(self.sector, self.camera, self.ccd)
        if not 0 <= self.config <= 9999:
            raise ValueError(f"config is {self.config}: expected 0 to 9999")
        if self.kind not in ("ffic", "ffir"):
            raise ValueError(f"kind is {self.kind!r}: expected 'ffic' or 'ffir'")

    @classmethod
    def parse(cls, key: str) -> FfiKey:
        """Read an FFI key or file name; the folders, where given, must be the ones that belong to the name.

        Raises
        ------
        ValueError
            For anything else: another product, a folder of another CCD, ``..``, a URI.
        """
        found = _FFI_NAME.match(key.rpartition("/")[2])
        if found:
            try:
                parsed = cls(
                    stamp=found["stamp"],
                    sector=int(found["sector"]),
                    camera=int(found["camera"]),
                    ccd=int(found["ccd"]),
                    config=int(found["config"]),
                    kind="ffic" if found["kind"] == "ffic" else "ffir",
                )
            except ValueError as error:
                raise ValueError(f"{key!r} is no FFI key: {error}") from None
            if key in (parsed.name, parsed.key):
                return parsed
        example = "tess/public/ffi/s0001/2018/206/1-1/tess2018206192942-s0001-1-1-0120-s_ffic.fits"
        raise ValueError(f"{key!r} is no FFI key: expected one such as {example}, or its file name")

    @property
    def name(self) -> str:
        """The file name."""
        return f"tess{self.stamp}-s{self.sector:04d}-{self.camera}-{self.ccd}-{self.config:04d}-s_{self.kind}.fits"

    @property
    def key(self) -> str:
        """The S3 key."""
        folder = f"s{self.sector:04d}/{self.stamp[:4]}/{self.stamp[4:7]}/{self.camera}-{self.ccd}/"
        return f"{FFI_ROOT}{folder}{self.name}"

    @property
    def year(self) -> int:
        """Year of the start."""
        return int(self.stamp[:4])

    @property
    def day(self) -> int:
        """Day of the year of the start, from 1."""
        return int(self.stamp[4:7])

    @property
    def start(self) -> datetime:
        """Start of the exposure, UTC, cut to whole seconds."""
        return stamp_to_datetime(self.stamp)


def ffi_prefix(
    sector: int, year: int | None = None, day: int | None = None, camera: int | None = None, ccd: int | None = None
) -> str:
    """Return the S3 prefix, ending in ``/``, under which FFIs lie: of a sector, a year, a day, or one CCD on a day.

    Raises
    ------
    ValueError
        When a level is given without the one above it, or lies outside its range.
    """
    check_ccd(sector, camera, ccd)
    prefix = f"{FFI_ROOT}s{sector:04d}/"
    if year is None and day is None and camera is None and ccd is None:
        return prefix
    if year is None or (day is None and camera is not None) or (camera is None) != (ccd is None):
        raise ValueError("an FFI prefix grows level by level: year, then day, then camera with ccd")
    if not 1 <= year <= 9999:
        raise ValueError(f"year is {year}: expected four digits")
    prefix += f"{year:04d}/"
    if day is None:
        return prefix
    if not 1 <= day <= 366:
        raise ValueError(f"day is {day}: expected a day of the year, 1 to 366")
    prefix += f"{day:03d}/"
    return prefix if camera is None else f"{prefix}{camera}-{ccd}/"


@dataclass(frozen=True, order=True)
class CubeKey:
    """The archive's cube of one CCD of one sector: all its FFIs, time fastest (see ``layout.cube``)."""

    sector: int
    camera: int
    ccd: int

    def __post_init__(self) -> None:
        check_ccd(self.sector, self.camera, self.ccd)

    @classmethod
    def parse(cls, key: str) -> CubeKey:
        """Read a cube's key or file name; ValueError for anything else."""
        found = _CUBE_NAME.match(key.rpartition("/")[2])
        if found and int(found["sector"]) > 0:
            parsed = cls(int(found["sector"]), int(found["camera"]), int(found["ccd"]))
            if key in (parsed.name, parsed.key):
                return parsed
        raise ValueError(f"{key!r} is no cube key: expected one such as tess/public/mast/tess-s0001-1-1-cube.fits")

    @property
    def name(self) -> str:
        """The file name."""
        return f"tess-s{self.sector:04d}-{self.camera}-{self.ccd}-cube.fits"

    @property
    def key(self) -> str:
        """The S3 key."""
        return f"tess/public/mast/{self.name}"
