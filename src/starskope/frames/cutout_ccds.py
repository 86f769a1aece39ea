"""The CCDs that cutouts may come from: found in the archive or named by the caller, opened one at a time.

Owns the way from sector, camera, CCD or an address to open pixels, and which of several CCDs each target is on, told by
the world coordinates of one frame of each. Refuses pixels (``cutout_pixels``).
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope.archive.cubes import find_cubes_async, open_cube
from starskope.archive.ffis import find_ffis_async
from starskope.errors import FrameError
from starskope.frames.cutout_frames import PlanePixels
from starskope.frames.cutout_pixels import CubePixels, PixelSource
from starskope.frames.cutout_places import Wanted, on_ccd
from starskope.frames.cutout_tasks import each_index
from starskope.frames.sources import open_source
from starskope.frames.wcs import TanSip, has_wcs
from starskope.layout.fits import FFI_LEAD, locate_image, science_region
from starskope.layout.keys import CubeKey, check_ccd
from starskope.transfer.client import Client, open_client
from starskope.transfer.options import TransferOptions
from starskope.transfer.planning import CostModel
from starskope.transfer.weburi import is_remote

__all__ = ["CcdPlace", "assign", "open_ccd", "places_of"]

_MOST_GLANCES = 16
_N_MOMENTS = 1024  # at which a moving target is looked for: every 40 minutes of a sector


@dataclass(frozen=True, eq=False)
class CcdPlace:
    """Where the pixels of one CCD are.

    Attributes
    ----------
    frames : str, path, list or Table
        A cube's address, or whatever `open_source` takes.
    is_cube : bool
    etag : str or None
        Of the cube, where a listing told it.
    camera, ccd : int or None
    """

    frames: Any
    is_cube: bool
    etag: str | None = None
    camera: int | None = None
    ccd: int | None = None

    @property
    def label(self) -> str:
        """For messages."""
        return f"camera {self.camera}, CCD {self.ccd}"


async def places_of(
    uri: Any,
    sector: int | None,
    camera: int | None,
    ccd: int | None,
    *,
    source: str,
    options: TransferOptions,
    bucket: str,
) -> list[CcdPlace]:
    """Return the CCDs that a call names, at least one.

    Raises
    ------
    ValueError
        The archive has none, or the address does not suit the source.
    FileNotFoundError
        There is no such file or folder.
    TransferError
        The archive cannot be listed.
    """
    if uri is not None and (cubes := _cubes_in(uri)):
        if source == "ffi":
            raise ValueError("uri= is a table of cubes, source='ffi' wants frames: drop one")
        return cubes
    if uri is not None:
        return [CcdPlace(uri, _names_cube(uri, source))]
    if sector is None:
        raise ValueError("give sector= or uri=")
    check_ccd(sector, camera, ccd)
    if source != "ffi":
        cubes = await find_cubes_async(sector, camera, ccd, options=options, bucket=bucket)
        if len(cubes):
            return _cubes_in(cubes)
        if source == "cube":
            raise ValueError(
                f"no cube of sector {sector}, camera {camera or 'any'}, CCD {ccd or 'any'} in s3://{bucket}: cubes "
                "appear weeks after the frames; take source='ffi'"
            )
    frames = await find_ffis_async(sector, camera, ccd, options=options, bucket=bucket)
    pairs = sorted({(int(row["camera"]), int(row["ccd"])) for row in frames})
    return [
        CcdPlace(frames[(frames["camera"] == first) & (frames["ccd"] == second)], False, None, first, second)
        for first, second in pairs
    ]


def _cubes_in(table: Any) -> list[CcdPlace]:
    """Return the cubes of a table such as `find_cubes` gives; none where it holds anything else."""
    names = getattr(table, "colnames", ())
    if "uri" not in names:
        return []
    places = []
    for row in table:
        try:
            key = CubeKey.parse(str(row["uri"]).rpartition("/")[2])
        except ValueError:
            return []
        etag = str(row["etag"]) if "etag" in names else ""
        places.append(CcdPlace(str(row["uri"]), True, etag or None, key.camera, key.ccd))
    return places


def _names_cube(uri: Any, source: str) -> bool:
    """Whether an address is one of a cube rather than of frames: one file is a cube unless frames are asked for."""
    if isinstance(uri, str | os.PathLike) and not is_remote(os.fspath(uri)) and not Path(uri).exists():
        raise FileNotFoundError(errno.ENOENT, "no such cube or folder of frames", os.fspath(uri))
    is_one = isinstance(uri, str | os.PathLike) and (is_remote(os.fspath(uri)) or not Path(uri).is_dir())
    if source == "cube" and not is_one:
        raise ValueError(f"source='cube' needs the address of one cube, got {type(uri).__name__}")
    return is_one and source != "ffi"


@asynccontextmanager
async def open_ccd(place: CcdPlace, options: TransferOptions, model: CostModel) -> AsyncIterator[PixelSource]:
    """Open the pixels of a CCD, its table of frames read; errors as `open_cube` and `open_source`."""
    if place.is_cube:
        async with open_cube(place.frames, options=options, etag=place.etag) as cube:
            yield await CubePixels.open(cube, options, model)
        return
    async with open_source(place.frames, options) as source:
        yield await PlanePixels.open(source, options)


async def assign(
    wanted: Wanted, places: list[CcdPlace], options: TransferOptions
) -> tuple[list[tuple[CcdPlace, NDArray[np.int64]]], NDArray[np.int64]]:
    """Find the CCD of each target.

    Returns
    -------
    jobs : list of (CcdPlace, rows)
        CCDs with targets. A target stays on the first CCD that has it; one that moves is on each that it visits.
    nowhere : (n,) int64
        Targets on none.
    """
    left = np.ones(wanted.n_target, dtype=bool)
    jobs = []
    for place, (wcs, science) in zip(places, await _glances(places, options), strict=True):
        here = _visits(wanted, wcs, science)
        rows = np.flatnonzero(here if wanted.is_moving else here & left)
        left &= ~here
        if rows.size:
            jobs.append((place, rows.astype(np.int64)))
    return jobs, np.flatnonzero(left).astype(np.int64)


def _visits(wanted: Wanted, wcs: TanSip, science: tuple[slice, slice]) -> NDArray[np.bool_]:
    if wanted.paths is None:
        return on_ccd(*wcs.world_to_pixel(wanted.ra, wanted.dec), science)
    times = wanted.paths.times
    moments = np.linspace(min(time[0] for time in times), max(time[-1] for time in times), _N_MOMENTS)
    return on_ccd(*wcs.world_to_pixel(*wanted.paths.at(moments)), science)


async def _glances(places: list[CcdPlace], options: TransferOptions) -> list[tuple[TanSip, tuple[slice, slice]]]:
    """Glance at CCDs of the archive, all at a time."""
    seen: list[Any] = [None] * len(places)
    async with open_client(options) as client:

        async def look(index: int) -> None:
            seen[index] = await _glance(places[index], options, client)

        await each_index(look, len(places), len(places))
    return seen


async def _glance(place: CcdPlace, options: TransferOptions, client: Client) -> tuple[TanSip, tuple[slice, slice]]:
    """World coordinates and science pixels of a CCD by the fewest reads: the middle frame, or one soon after it."""
    if place.is_cube:
        async with open_cube(place.frames, client=client, etag=place.etag) as cube:
            n_frame, shape = cube.layout.n_frame, (cube.layout.n_row, cube.layout.n_col)
            for step in range(min(_MOST_GLANCES, n_frame)):
                cards = await cube.cards((n_frame // 2 + step) % n_frame)
                if has_wcs(cards):
                    return TanSip.from_header(cards), science_region(cards, shape)
    else:
        async with open_source(place.frames, options) as source:
            n_frame = source.n_frame
            for step in range(min(_MOST_GLANCES, n_frame)):
                index = (n_frame // 2 + step) % n_frame
                plane = locate_image(await source.read(index, 0, FFI_LEAD), name=source.names[index], complete=False)
                if has_wcs(plane.header):
                    return TanSip.from_header(plane.header), science_region(plane.header, (plane.n_row, plane.n_col))
    raise FrameError(f"none of {_MOST_GLANCES} frames of {place.label} has world coordinates: give camera and ccd")
