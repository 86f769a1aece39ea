"""Where the archive's cubes lie, and reading one: its headers, its table of frames, and ranges of its pixels.

Owns the search for cubes, opening one from S3, a web server or a file, and the checks that hold before a pixel is
believed: the layout, the size that follows from it, one row per frame. A cube has 45 GB and more; its table is read
from its end, and nothing that was not asked for. Refuses to know targets (``frames.cutouts``).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from starskope import parallel
from starskope.archive.cube_bytes import FileRanges, ObjectRanges, Ranges
from starskope.archive.cube_frames import CubeFrames, most_table_bytes, one_row, table_header
from starskope.errors import FrameError, TransferError
from starskope.layout.cube import CUBE_LEAD, CubeLayout
from starskope.layout.fits import padded, parse_header
from starskope.layout.header import Header
from starskope.layout.keys import BUCKET, CubeKey, check_ccd
from starskope.transfer.client import Client, open_client
from starskope.transfer.facade import run_sync
from starskope.transfer.listing import list_objects
from starskope.transfer.options import TransferOptions
from starskope.transfer.ranged import read_range
from starskope.transfer.web import open_clients
from starskope.transfer.weburi import is_remote, parse_uri

__all__ = ["Cube", "find_cubes", "find_cubes_async", "open_cube"]

_CUBE_ROOT = "tess/public/mast/"
_LEAD = 8 * CUBE_LEAD  # real headers end at 5,760; a longer one costs no second request
_HEADER_STEP = 65_536
_TABLE_STEP = 2**20


def find_cubes(
    sector: int,
    camera: int | None = None,
    ccd: int | None = None,
    *,
    options: TransferOptions | None = None,
    bucket: str = BUCKET,
) -> Table:
    """Find the archive's cubes of a sector.

    Parameters
    ----------
    sector : int
        From 1.
    camera, ccd : int, optional
        1 to 4; None for all of them.
    options : TransferOptions, optional
    bucket : str

    Returns
    -------
    Table
        ``uri``, ``sector``, ``camera``, ``ccd``, ``size`` (bytes), ``etag``; ordered by camera and CCD. Without rows
        where there is none: cubes appear weeks after the frames.

    Raises
    ------
    ValueError
        A number out of its range.
    TransferError
        The bucket cannot be listed.
    """
    return run_sync(find_cubes_async(sector, camera, ccd, options=options, bucket=bucket))


async def find_cubes_async(
    sector: int,
    camera: int | None = None,
    ccd: int | None = None,
    *,
    options: TransferOptions | None = None,
    bucket: str = BUCKET,
) -> Table:
    """Find cubes: `find_cubes`, to be awaited."""
    check_ccd(sector, camera, ccd)
    prefix = f"{_CUBE_ROOT}tess-s{sector:04d}-" + (f"{camera}-" if camera else "")
    found = []
    async with open_client(options) as client:
        async for info in list_objects(client, bucket, prefix):
            try:
                key = CubeKey.parse(info.key)
            except ValueError:
                continue
            if key.key == info.key and key.sector == sector and camera in (None, key.camera) and ccd in (None, key.ccd):
                found.append((key, info))
    found.sort(key=lambda entry: entry[0])
    return Table(
        {
            "uri": np.array([f"s3://{bucket}/{info.key}" for _, info in found], np.str_),
            "sector": np.array([key.sector for key, _ in found], np.int32),
            "camera": np.array([key.camera for key, _ in found], np.int16),
            "ccd": np.array([key.ccd for key, _ in found], np.int16),
            "size": np.array([info.size for _, info in found], np.int64),
            "etag": np.array([info.etag for _, info in found], np.str_),
        }
    )


@dataclass(eq=False)
class Cube:
    """An open cube; made by `open_cube` only.

    Attributes
    ----------
    location : str
        Address or path.
    name : str
        File name, for messages.
    layout : CubeLayout
    primary : Header
        Cards of the primary header.
    size : int
        Bytes of the file.
    """

    location: str
    name: str
    layout: CubeLayout
    primary: Header = field(repr=False)
    size: int
    _ranges: Ranges = field(repr=False)

    @property
    def table_offset(self) -> int:
        """First byte after the pixels."""
        return self.layout.data_offset + padded(self.layout.n_bytes)

    async def frames(self) -> CubeFrames:
        """Read the table of frames: of 1,282 frames about 3 MB, in parallel ranges.

        Raises
        ------
        FrameError
            The table is missing, longer than the frames explain, or does not fit the cube.
        TransferError
            The bytes cannot be had.
        """
        n_bytes, most = self.size - self.table_offset, most_table_bytes(self.layout)
        if n_bytes > most:
            raise FrameError(
                f"{self.name} has {n_bytes} bytes after its pixels, expected a table of {self.layout.n_frame} frames "
                f"of at most {most}"
            )
        starts = np.arange(self.table_offset, self.size, _TABLE_STEP, dtype=np.int64)
        reads = np.stack([starts, np.minimum(starts + _TABLE_STEP, self.size)], axis=1)
        pieces: dict[int, bytes] = {}
        async for index, piece in self.read_many(reads, n_bytes):
            if isinstance(piece, TransferError):
                raise piece
            pieces[index] = piece
        return CubeFrames(b"".join(pieces[index] for index in range(len(reads))), self.layout, self.name)

    async def cards(self, frame: int) -> dict[str, Any]:
        """Read the cards of one frame without the rest of the table; errors as `frames`."""
        stop = min(self.size, self.table_offset + _HEADER_STEP)
        while True:
            lead = await self._ranges.read(self.table_offset, stop)
            try:
                hdu = table_header(lead, self.layout, self.name)
                break
            except FrameError:
                if stop == self.size or stop - self.table_offset > most_table_bytes(self.layout):
                    raise
                stop = min(self.size, stop + 4 * _HEADER_STEP)
        width = int(hdu.header["NAXIS1"])
        start = self.table_offset + hdu.offset + frame * width
        if start + width > self.size:
            raise FrameError(f"{self.name} is truncated within its table of frames; download it again")
        return dict(one_row(hdu, await self._ranges.read(start, start + width), self.name))

    def read_many(
        self, reads: NDArray[np.int64], bytes_in_flight: int
    ) -> AsyncGenerator[tuple[int, bytes | TransferError], None]:
        """Read many ranges, as they come.

        Parameters
        ----------
        reads : (n_read, 2) int64
            Half-open, within the file.
        bytes_in_flight : int
            Bound on what is asked for and not yet handed over; one read is always allowed.

        Yields
        ------
        index : int
        data : bytes or TransferError
            Exactly the bytes of ``reads[index]``, or why they could not be had.
        """
        return self._ranges.read_many(reads, bytes_in_flight)


@asynccontextmanager
async def open_cube(
    location: str | os.PathLike[str],
    *,
    options: TransferOptions | None = None,
    client: Client | None = None,
    etag: str | None = None,
) -> AsyncIterator[Cube]:
    """Open a cube and read its headers.

    Parameters
    ----------
    location : str or path
        ``s3://bucket/key``, ``https://host/path``, or a file.
    options : TransferOptions, optional
    client : Client, optional
        An open one for S3, instead of one of its own.
    etag : str, optional
        ETag that the object must have; else that of the first answer holds for all reads.

    Yields
    ------
    Cube

    Raises
    ------
    FrameError
        No cube, or shorter than its header says.
    TransferError, OSError
        It cannot be read.
    """
    text = os.fspath(location)
    name = text.rsplit("/", 1)[-1]
    if not is_remote(text):
        descriptor = os.open(text, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            size = os.fstat(descriptor).st_size
            lead = await asyncio.wrap_future(parallel.submit(os.pread, descriptor, _LEAD, 0))
            yield _cube(text, name, lead, size, FileRanges(descriptor, name))
        finally:
            os.close(descriptor)
        return
    uri = parse_uri(text)
    async with AsyncExitStack() as stack:
        if client is None:
            client = (await stack.enter_async_context(open_clients([uri], options)))(uri)
        got = await read_range(client, uri, 0, _LEAD, etag=etag)
        yield _cube(text, name, got.data, got.object_size, ObjectRanges(client, uri, got.etag, name))


def _cube(location: str, name: str, lead: bytes, size: int, ranges: Ranges) -> Cube:
    layout = CubeLayout.from_lead(lead, name=name)
    end = layout.data_offset + padded(layout.n_bytes)
    if end >= size:
        raise FrameError(f"{name} is truncated: its pixels and their table end after byte {end}, it has {size} bytes")
    return Cube(location, name, layout, parse_header(lead, name=name), size, ranges)
