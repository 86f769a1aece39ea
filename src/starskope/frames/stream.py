"""Frames in index order from files or S3, fetched and decoded ahead of their reader.

Owns what counts as a list of frames, reading no more of each than header and plane, and the bound on bytes held ahead.
Decoding runs in the threads of `starskope.parallel`, off the event loop. Refuses to judge frames (a frame that cannot
be had is yielded as its exception, and the caller decides) and to cache: a frame fetched twice is read twice.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from starskope import parallel
from starskope.errors import FrameError, StarskopeError
from starskope.frames.decode import Frame, decode_frame
from starskope.layout.fits import FFI_PLANE_REQUEST, locate_image, padded, plane_request
from starskope.transfer.client import Client, open_client
from starskope.transfer.options import TransferOptions
from starskope.transfer.ranged import read_range
from starskope.transfer.uris import S3Uri

__all__ = ["Accumulator", "FrameSource", "fold", "open_source", "stream"]

Result_co = TypeVar("Result_co", covariant=True)

_SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fits.fz")


class FrameSource(ABC):
    """A numbered list of frames that can be fetched; made by `open_source`.

    Attributes
    ----------
    names : tuple of str
        File name of each frame, without folders.
    locations : tuple of str
        Path or S3 URI of each frame.
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

    async def fetch(self, index: int) -> bytes:
        """Read the leading bytes of a frame that hold its headers and its image plane.

        Raises
        ------
        TransferError
            The object could not be read.
        OSError
            The file could not be read.
        """
        request = self.n_bytes(index)
        if request == 0:
            return b""
        data = await self._read(index, 0, request)
        size = self._sizes[index]
        if len(data) < request or (size is not None and request >= size):
            return data
        try:
            plane = locate_image(data, name=self.names[index], complete=False)
            needed = padded(plane.offset + plane.n_bytes)
        except FrameError:
            needed = size or request  # a header longer than the request, or no image where missions put it
        if needed > len(data):
            data += await self._read(index, len(data), needed)
        return data

    @abstractmethod
    async def _read(self, index: int, start: int, stop: int) -> bytes:
        """Read a range; where the frame ends before `stop`, so do the bytes."""


class _FileSource(FrameSource):
    async def _read(self, index: int, start: int, stop: int) -> bytes:
        return await asyncio.wrap_future(parallel.submit(_read_file, self.locations[index], start, stop))


class _ObjectSource(FrameSource):
    def __init__(
        self, client: Client, uris: Sequence[S3Uri], sizes: Sequence[int | None], etags: Sequence[str | None]
    ) -> None:
        super().__init__([str(uri) for uri in uris], sizes)
        self._client = client
        self._uris = tuple(uris)
        self._etags = list(etags)

    async def _read(self, index: int, start: int, stop: int) -> bytes:
        got = await read_range(self._client, self._uris[index], start, stop, etag=self._etags[index])
        self._etags[index], self._sizes[index] = got.etag, got.object_size
        return got.data


@asynccontextmanager
async def open_source(frames: Any, options: TransferOptions | None = None) -> AsyncIterator[FrameSource]:
    """Open a list of frames.

    Parameters
    ----------
    frames : path, sequence of paths or of ``s3://`` URIs, or Table
        A folder stands for the FITS files in and below it, sorted by name. A table needs a column ``uri``; ``size`` and
        ``etag`` are used where they are there.
    options : TransferOptions, optional
        How to reach S3; unused for files.

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
    n_object = sum(location.startswith("s3://") for location in locations)
    if n_object == 0:
        yield _FileSource(locations, [_file_size(location) for location in locations], listing.ignored)
        return
    if n_object < len(locations):
        local = next(location for location in locations if not location.startswith("s3://"))
        raise ValueError(f"frames mix S3 objects with files such as {local!r}: give one kind")
    uris = [S3Uri.parse(location) for location in locations]
    async with open_client(options) as client:
        unknown: list[None] = [None] * len(uris)
        yield _ObjectSource(client, uris, listing.sizes or unknown, listing.etags or unknown)


async def stream(
    source: FrameSource,
    indices: Iterable[int],
    *,
    bytes_in_flight: int = 256 * 2**20,
    workers: int = 1,
) -> AsyncGenerator[tuple[int, Frame | Exception], None]:
    """Yield frames in the order of `indices`, fetching and decoding ahead.

    Parameters
    ----------
    source : FrameSource
    indices : iterable of int
        Which frames.
    bytes_in_flight : int
        Bound on the bytes requested and not yet handed over; one frame is always allowed. A frame counts as its
        request, and is there twice while it is being decoded.
    workers : int
        Frames decoded at the same time; -1 for the CPUs of this process.

    Yields
    ------
    index : int
    frame : Frame or Exception
        `FrameError`, `TransferError` or `OSError` of a frame that cannot be had; anything else is raised.

    Notes
    -----
    Use ``contextlib.aclosing`` when leaving early: closing cancels the requests under way and waits for their end.
    """
    if bytes_in_flight < 1:
        raise ValueError(f"bytes_in_flight = {bytes_in_flight}: expected at least 1")
    decoders = asyncio.Semaphore(parallel.resolve_workers(workers))

    async def produce(index: int) -> Frame | Exception:
        try:
            data = await source.fetch(index)
            async with decoders:
                decoding = parallel.submit(decode_frame, data, index=index, name=source.names[index])
                del data
                return await asyncio.wrap_future(decoding)
        except (StarskopeError, OSError) as error:
            return error

    waiting: deque[tuple[int, int, asyncio.Task[Frame | Exception]]] = deque()
    held = 0
    coming = iter(indices)
    following = next(coming, None)
    try:
        while waiting or following is not None:
            while following is not None:
                cost = source.n_bytes(following)
                if waiting and held + cost > bytes_in_flight:
                    break
                waiting.append((following, cost, asyncio.create_task(produce(following))))
                held += cost
                following = next(coming, None)
            index, cost, task = waiting[0]
            result = await task
            waiting.popleft()
            del task
            held -= cost
            yield index, result
            del result
    finally:
        tasks = [task for _, _, task in waiting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Accumulator(Protocol[Result_co]):
    """What `fold` hands frames to; its methods may take long, and never run two at a time."""

    def begin(self, names: tuple[str, ...]) -> None:
        """Learn the location of every frame."""

    def put(self, index: int, frame: Frame | Exception) -> None:
        """Take frame ``index``, or the error that stands in its place."""

    def result(self) -> Result_co:
        """Return what came of all frames."""


async def fold(
    frames: Any,
    accumulator: Accumulator[Result_co],
    *,
    options: TransferOptions | None = None,
    bytes_in_flight: int = 256 * 2**20,
    workers: int = 1,
) -> Result_co:
    """Hand all frames to an accumulator, in their order and off the event loop, while the next ones are fetched.

    Parameters
    ----------
    frames, options
        As `open_source` takes them.
    accumulator : Accumulator
        An exception that it raises ends the stream and is raised here.
    bytes_in_flight, workers
        As `stream` takes them.

    Returns
    -------
    object
        What ``accumulator.result()`` returned.
    """
    async with open_source(frames, options) as source:
        accumulator.begin(source.locations)
        coming = stream(source, range(source.n_frame), bytes_in_flight=bytes_in_flight, workers=workers)
        async with aclosing(coming):
            async for index, frame in coming:
                await asyncio.wrap_future(parallel.submit(accumulator.put, index, frame))
        return await asyncio.wrap_future(parallel.submit(accumulator.result))


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
        if str(text).startswith("s3://"):
            return _Listing([str(text)])
        path = Path(text)
        if path.is_dir():
            return _folder(path)
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist: give a folder, FITS files or s3:// addresses")
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
        raise TypeError(f"frames is a {kind}; expected paths, a folder, s3:// addresses or a table with column 'uri'")
    locations = []
    for frame in frames:
        if not isinstance(frame, str | os.PathLike):
            raise TypeError(f"frames holds {frame!r}; expected paths or s3:// addresses")
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


def _read_file(location: str, start: int, stop: int) -> bytes:
    with Path(location).open("rb", buffering=0) as file:
        file.seek(start)
        pieces = []
        while start < stop:
            piece = file.read(stop - start)
            if not piece:
                break
            pieces.append(piece)
            start += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
