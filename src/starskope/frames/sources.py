"""Where frames come from: files, folders, objects of a bucket, files on web servers.

Owns what counts as a list of frames, and reading no more of each than header and plane. Refuses to decode and to look
ahead (``frames.stream``), and to cache: a frame read twice is fetched twice.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from starskope import parallel
from starskope.errors import FrameError
from starskope.layout.fits import FFI_PLANE_REQUEST, locate_image, padded, plane_request
from starskope.transfer.checks import Extent
from starskope.transfer.client import Client
from starskope.transfer.options import TransferOptions
from starskope.transfer.ranged import fetch
from starskope.transfer.uris import S3Uri
from starskope.transfer.web import open_clients
from starskope.transfer.weburi import is_remote, parse_uri

__all__ = ["FrameSource", "open_source"]

_SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fits.fz")
_STEP_BYTES = 1 << 20


class FrameSource(ABC):
    """A numbered list of frames that can be fetched; made by `open_source`.

    Attributes
    ----------
    names : tuple of str
        File name of each frame, without folders.
    locations : tuple of str
        Path or address of each frame.
    ignored : tuple of str
        Files of a folder that are no FITS files by name.
    """

    def __init__(self, locations: Sequence[str], sizes: Sequence[int | None], ignored: Sequence[str] = ()) -> None:
        self.locations = tuple(locations)
        self.names = tuple(location.rsplit("/", 1)[-1] for location in self.locations)
        self.ignored = tuple(ignored)
        self._sizes = list(sizes)

    @property
    def n_frame(self) -> int:
        """Number of frames."""
        return len(self.locations)

    def n_bytes(self, index: int) -> int:
        """Bytes that `fetch` will ask for first; those of a full FFI where the size is unknown."""
        size = self._sizes[index]
        return FFI_PLANE_REQUEST if size is None else plane_request(size)

    async def read(self, index: int, start: int, stop: int) -> bytes:
        """Read bytes ``start`` to ``stop - 1`` of a frame; where the frame ends before `stop`, so do the bytes.

        Raises
        ------
        TransferError
            The object could not be read, or is not the one that an earlier read of it met.
        OSError
            The file could not be read.
        """
        return _joined(await self._pieces(index, start, stop))

    async def fetch(self, index: int) -> bytes:
        """Read the leading bytes of a frame that hold its headers and its image plane; raises as `read`."""
        return _joined(await self.gather(index))

    async def gather(self, index: int) -> list[bytes]:
        """Read what `fetch` reads and leave it in the pieces in which it came, which saves a copy; raises as `read`."""
        request = self.n_bytes(index)
        if request == 0:
            return []
        pieces = await self._pieces(index, 0, request)
        n_come = sum(map(len, pieces))
        size = self._sizes[index]
        if n_come < request or (size is not None and request >= size):
            return pieces
        needed = self._needed(pieces, index, size or request)
        if needed > n_come:
            pieces += await self._pieces(index, n_come, needed)
        return pieces

    def _needed(self, pieces: list[bytes], index: int, otherwise: int) -> int:
        """Return where the plane ends, as the headers say."""
        try:
            plane = locate_image(pieces[0], name=self.names[index], complete=False)
        except FrameError:
            try:
                plane = locate_image(_joined(pieces), name=self.names[index], complete=False)
            except FrameError:
                return otherwise  # a header longer than the request, or no image where missions put it
        return padded(plane.offset + plane.n_bytes)

    @abstractmethod
    async def _pieces(self, index: int, start: int, stop: int) -> list[bytes]:
        """Read a range, in any number of pieces."""


class _FileSource(FrameSource):
    async def _pieces(self, index: int, start: int, stop: int) -> list[bytes]:
        return await asyncio.wrap_future(parallel.submit(_read_file, self.locations[index], start, stop))


class _ObjectSource(FrameSource):
    def __init__(
        self,
        client_of: Callable[[S3Uri], Client],
        uris: Sequence[S3Uri],
        sizes: Sequence[int | None],
        etags: Sequence[str | None],
    ) -> None:
        super().__init__([str(uri) for uri in uris], sizes)
        self._client_of = client_of
        self._uris = tuple(uris)
        self._etags = list(etags)

    async def _pieces(self, index: int, start: int, stop: int) -> list[bytes]:
        uri, sink = self._uris[index], _Pieces()
        extent = await fetch(self._client_of(uri), uri, start, stop, sink, etag=self._etags[index])
        self._etags[index], self._sizes[index] = extent.etag, extent.object_size
        return sink.pieces


class _Pieces:
    """Keep a range in memory as it comes; a `Sink` of ``transfer.ranged``."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    async def begin(self, extent: Extent) -> None:
        """Nothing to prepare."""

    async def write(self, chunk: bytes) -> None:
        self.pieces.append(chunk)

    async def restart(self) -> None:
        self.pieces.clear()


@asynccontextmanager
async def open_source(frames: Any, options: TransferOptions | None = None) -> AsyncIterator[FrameSource]:
    """Open a list of frames.

    Parameters
    ----------
    frames : path, sequence of paths or of ``s3://`` or ``https://`` addresses, or Table
        A folder stands for the FITS files in and below it, sorted by name. A table needs a column ``uri``; ``size`` and
        ``etag`` are used where they are there.
    options : TransferOptions, optional
        How to reach the servers; unused for files.

    Yields
    ------
    FrameSource

    Raises
    ------
    ValueError
        No frames, or files and objects mixed.
    TypeError
        Something that names no frames.
    FileNotFoundError
        A folder or file named alone does not exist.
    """
    listing = _listed(frames)
    locations = listing.locations
    if not locations:
        raise ValueError("there are no frames: the list is empty")
    n_remote = sum(map(is_remote, locations))
    if n_remote == 0:
        yield _FileSource(locations, [_file_size(location) for location in locations], listing.ignored)
        return
    if n_remote < len(locations):
        local = next(location for location in locations if not is_remote(location))
        raise ValueError(f"frames mix remote ones with files such as {local!r}: give one kind")
    uris = [parse_uri(location) for location in locations]
    async with open_clients(uris, options) as client_of:
        unknown: list[None] = [None] * len(uris)
        yield _ObjectSource(client_of, uris, listing.sizes or unknown, listing.etags or unknown)


@dataclass
class _Listing:
    """What was found behind whatever names frames."""

    locations: list[str]
    sizes: list[int | None] | None = None
    etags: list[str | None] | None = None
    ignored: list[str] = field(default_factory=list)


def _listed(frames: Any) -> _Listing:
    if isinstance(frames, str | os.PathLike):
        text = os.fspath(frames)
        if is_remote(str(text)):
            return _Listing([str(text)])
        path = Path(text)
        if path.is_dir():
            return _folder(path)
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist: give a folder, FITS files, s3:// or https:// addresses")
        return _Listing([str(path)])
    names = getattr(frames, "colnames", None)
    if names is not None:
        if "uri" not in names:
            raise ValueError(f"the table of frames has no column 'uri', only {', '.join(names) or 'none'}")
        return _Listing(
            [str(uri) for uri in frames["uri"]],
            [_known_size(size) for size in frames["size"]] if "size" in names else None,
            [_known_text(etag) for etag in frames["etag"]] if "etag" in names else None,
        )
    if not isinstance(frames, Iterable) or hasattr(frames, "ndim"):
        kind = type(frames).__name__
        raise TypeError(f"frames is a {kind}; expected paths, a folder, addresses or a table with column 'uri'")
    locations = []
    for frame in frames:
        if not isinstance(frame, str | os.PathLike):
            raise TypeError(f"frames holds {frame!r}; expected paths, s3:// or https:// addresses")
        locations.append(str(frame))
    return _Listing(locations)


def _folder(path: Path) -> _Listing:
    """List the FITS files in and below a folder by name, which is in time for mission files."""
    found: list[Path] = []
    ignored: list[Path] = []
    for folder, below, names in os.walk(path):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in names:
            if not name.startswith("."):
                (found if name.lower().endswith(_SUFFIXES) else ignored).append(Path(folder) / name)
    if not found:
        raise ValueError(f"there are no frames: {path} holds no file that ends in .fits, .fit or .fts")
    in_time = sorted(found, key=lambda file: (file.name, str(file)))
    return _Listing([str(file) for file in in_time], ignored=sorted(str(file.relative_to(path)) for file in ignored))


def _known_size(size: Any) -> int | None:
    # Masked values are no integers.
    return int(size) if isinstance(size, int | np.integer) and size >= 0 else None


def _known_text(text: Any) -> str | None:
    return str(text) if isinstance(text, str) and text else None


def _file_size(location: str) -> int | None:
    try:
        return Path(location).stat().st_size
    except OSError:
        return None  # told when the file is read


def _read_file(location: str, start: int, stop: int) -> list[bytes]:
    with Path(location).open("rb", buffering=0) as file:
        file.seek(start)
        pieces = []
        while start < stop:
            piece = file.read(min(stop - start, _STEP_BYTES))
            if not piece:
                break
            pieces.append(piece)
            start += len(piece)
    return pieces


def _joined(pieces: Sequence[bytes]) -> bytes:
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
