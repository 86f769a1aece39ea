"""Where frames come from: files, folders, objects of a bucket, files on web servers.

Owns reading no more of each frame than header and plane. Refuses to decode and to look ahead (``frames.stream``), and
to cache: a frame read twice is fetched twice. What counts as a list of frames is in ``frames.locations``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starskope.errors import FrameError
from starskope.frames.beside import beside
from starskope.frames.locations import locate
from starskope.layout.fits import FFI_PLANE_REQUEST, locate_image, padded, plane_request
from starskope.transfer.checks import Extent
from starskope.transfer.client import Client
from starskope.transfer.options import TransferOptions
from starskope.transfer.ranged import fetch
from starskope.transfer.uris import S3Uri
from starskope.transfer.web import open_clients
from starskope.transfer.weburi import is_remote, parse_uri

__all__ = ["FrameSource", "Pieces", "open_source"]

_STEP_BYTES = 1 << 18  # stays in cache until it is decoded


class Pieces:
    """Bytes of a frame as they come.

    Attributes
    ----------
    held : list of bytes
        What came and was not taken away.
    n_come : int
        Bytes that came in all.
    """

    def __init__(self) -> None:
        self.held: list[bytes] = []
        self.n_come = 0

    def begin(self, n_bytes: int) -> None:
        """Learn that so many bytes come, from the start of the frame; whatever came before is void."""
        self.held.clear()
        self.n_come = 0

    def add(self, piece: bytes | memoryview) -> None:
        """Take the next bytes, in any thread; those of a memoryview are lent, and void when this returns."""
        self.held.append(bytes(piece))  # no copy of bytes
        self.n_come += len(piece)

    async def whole(self) -> list[bytes] | None:
        """Return all that came; None where some of it was not kept, which is only so when the plane is in it."""
        return self.held


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
        into = Pieces()
        await self._read_into(index, start, stop, into)
        return _joined(into.held)

    async def fetch(self, index: int) -> bytes:
        """Read the leading bytes of a frame that hold its headers and its image plane; raises as `read`."""
        into = Pieces()
        await self.gather(index, into)
        return _joined(into.held)

    async def gather(self, index: int, into: Pieces) -> None:
        """Read what `fetch` reads into pieces, which need not keep them; raises as `read`."""
        request = self.n_bytes(index)
        if request == 0:
            return
        await self._read_into(index, 0, request, into)
        size = self._sizes[index]
        if into.n_come < request or (size is not None and request >= size):
            return
        pieces = await into.whole()
        if pieces is None:
            return
        needed = self._needed(pieces, index, size or request)
        if needed > into.n_come:
            await self._read_into(index, into.n_come, needed, into)

    def _needed(self, pieces: list[bytes], index: int, otherwise: int) -> int:
        """Return where the plane ends, as the headers say."""
        for head in (pieces[0], _joined(pieces)):
            try:
                plane = locate_image(head, name=self.names[index], complete=False)
            except FrameError:
                continue
            return padded(plane.offset + plane.n_bytes)
        return otherwise  # a header longer than the request, or no image where missions put it

    @abstractmethod
    async def _read_into(self, index: int, start: int, stop: int, into: Pieces) -> None:
        """Read a range; one from the start of the frame is announced with ``into.begin``."""


class _FileSource(FrameSource):
    async def _read_into(self, index: int, start: int, stop: int, into: Pieces) -> None:
        if start == 0:
            into.begin(stop)
        await beside(_read_file, self.locations[index], start, stop, into)


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

    async def _read_into(self, index: int, start: int, stop: int, into: Pieces) -> None:
        uri = self._uris[index]
        extent = await fetch(self._client_of(uri), uri, start, stop, _Sink(into), etag=self._etags[index])
        self._etags[index], self._sizes[index] = extent.etag, extent.object_size


class _Sink:
    """Hands what ``transfer.ranged`` reads on to pieces."""

    def __init__(self, into: Pieces) -> None:
        self._into = into

    async def begin(self, extent: Extent) -> None:
        if extent.start == 0:
            self._into.begin(extent.stop)

    async def straight(self) -> Callable[[memoryview], None]:
        return self._into.add

    def note(self, n_bytes: int) -> None:
        """Nobody counts."""

    async def write(self, chunk: bytes | bytearray) -> None:
        self._into.add(bytes(chunk))  # no copy of bytes, and others are not asked for

    async def restart(self) -> None:
        self._into.begin(0)


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
    found = locate(frames)
    locations = found.texts
    if not locations:
        raise ValueError("there are no frames: the list is empty")
    n_remote = sum(map(is_remote, locations))
    if n_remote == 0:
        yield _FileSource(locations, [_file_size(location) for location in locations], found.ignored)
        return
    if n_remote < len(locations):
        local = next(location for location in locations if not is_remote(location))
        raise ValueError(f"frames mix remote ones with files such as {local!r}: give one kind")
    uris = [parse_uri(location) for location in locations]
    async with open_clients(uris, options) as client_of:
        unknown: list[None] = [None] * len(uris)
        yield _ObjectSource(client_of, uris, found.sizes or unknown, found.etags or unknown)


def _file_size(location: str) -> int | None:
    try:
        return Path(location).stat().st_size
    except OSError:
        return None  # told when the file is read


def _read_file(location: str, start: int, stop: int, into: Pieces) -> None:
    buffer = memoryview(bytearray(min(_STEP_BYTES, stop - start)))
    with Path(location).open("rb", buffering=0) as file:
        file.seek(start)
        while start < stop:
            n_come = file.readinto(buffer[: stop - start])
            if not n_come:
                return
            into.add(buffer[:n_come])
            start += n_come


def _joined(pieces: Sequence[bytes]) -> bytes:
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
