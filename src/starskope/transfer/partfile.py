"""A file that appears under its name only when it is whole, checked and on the disk.

Owns the hidden part file of one object and the journal beside it: preallocation, writes and sums in threads beside the
event loop, going on where a killed run stopped, fsync, rename. It refuses to build on bytes that were not recorded, or
that no longer sum to what was recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Callable, Sequence
from errno import EINVAL, ENOTSUP, EOPNOTSUPP
from pathlib import Path
from typing import Any

from starskope.transfer.checks import AnswerError, Extent
from starskope.transfer.sidecar import Origin, Sidecar, Step, part_path, sidecar_path, steps_that_hold
from starskope.transfer.sums import RunningSum, choose_sum, crc64, crc64_text, running_sum

__all__ = ["PartFile", "SumError", "outlast"]

_MAX_VECTOR = 1024  # IOV_MAX of Linux and macOS


class SumError(AnswerError):
    """The bytes are not those that the server stored."""


async def outlast(future: asyncio.Future[Any]) -> None:
    """Wait until a future has ended, however often this task is cancelled meanwhile; its own error is dropped.

    Raises
    ------
    asyncio.CancelledError
        At the end, when this task was cancelled while it waited.
    """
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError as error:
            cancelled = error
    if not future.cancelled():
        future.exception()  # looked at, so that the loop does not complain of an error that nobody saw
    if cancelled is not None:
        raise cancelled


class PartFile:
    """The `Sink` of one whole object.

    Parameters
    ----------
    directory : pathlib.Path
        Where the file goes.
    uri : str
        Of the object; names the part file.
    name : str
        Final name within `directory`.
    write_bytes : int
        Bytes gathered before they go to the disk.
    note : callable, optional
        Called with the number of bytes of each step that came over the network.

    Attributes
    ----------
    origin : Origin or None
        Which object the bytes belong to; None before the first accepted answer.
    position : int
        Bytes that are written and recorded.

    Notes
    -----
    One write is under way while the network fills the next; a file so holds at most ``2 * write_bytes`` in memory, and
    a kill loses no more. Writing and summing run in a thread, one after the other, so that the sum sees the bytes in
    order and a slow disk does not stop the other connections.
    """

    def __init__(
        self, directory: Path, uri: str, name: str, write_bytes: int, note: Callable[[int], None] | None = None
    ) -> None:
        self.path = directory / name
        self.part = part_path(directory, uri)
        self.origin: Origin | None = None
        self.position = 0
        self._uri = uri
        self._sidecar = Sidecar(sidecar_path(directory, uri))
        self._write_bytes = write_bytes
        self.note = note or (lambda n_bytes: None)
        self._descriptor = -1
        self._crc64 = 0
        self._sum: RunningSum | None = None
        self._chunks: list[bytes] = []
        self._n_gathered = 0
        self._writing: asyncio.Future[None] | None = None
        self._has_name = False

    @property
    def is_whole(self) -> bool:
        """Whether every byte of the object is written and recorded."""
        return self.origin is not None and self.position == self.origin.size

    @property
    def crc64(self) -> str:
        """CRC64NVME of the bytes so far, as S3 writes it."""
        return crc64_text(self._crc64)

    async def recover(self, etag: str | None, size: int | None) -> None:
        """Take up what an earlier run left of this object; what does not hold is removed.

        Parameters
        ----------
        etag, size : optional
            What the object must be.
        """
        await self._in_thread(lambda: self._recover(etag, size))

    async def begin(self, extent: Extent) -> None:
        """Open the file and give it its size at once, so that a full disk shows before the bytes come."""
        if self.origin is not None and 0 < self.position == extent.start:
            return
        await self.restart()
        stored = choose_sum(extent.headers, extent.etag)
        self._expect(Origin(self._uri, extent.etag, extent.object_size, stored))
        await self._in_thread(self._create)

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._chunks.append(chunk)
        self._n_gathered += len(chunk)
        self.note(len(chunk))
        if self._n_gathered >= self._write_bytes:
            await self._hand_over()

    async def straight(self) -> Callable[[memoryview], None]:
        """Return what sums, writes and records the next bytes, in the thread that calls it."""
        if self._n_gathered:
            await self._hand_over()
        await self._settle()
        return lambda view: self._put([view])

    async def restart(self) -> None:
        """Forget what came: the object was replaced or its sum is wrong."""
        await self._settle()
        self._chunks, self._n_gathered = [], 0
        await self._in_thread(self._drop)

    async def commit(self) -> str:
        """Check the sum, bring the file to the disk and give it its name.

        Returns
        -------
        str
            What the bytes were held against: name of the sum, or ``size``.

        Raises
        ------
        SumError
            When the sum differs; the file keeps its temporary name.
        OSError
            When the disk refuses.

        Notes
        -----
        The journal stays: until the manifest is written it alone vouches for the file.
        """
        if self._n_gathered:
            await self._hand_over()
        await self._settle()
        origin = self.origin
        if origin is None or not self.is_whole:
            raise SumError(f"{self.position} bytes came, expected {'some' if origin is None else origin.size}")
        if origin.stored is not None:
            found = self.crc64 if self._sum is None else self._sum.result()
            if found != origin.stored.value:
                name, value = origin.stored.name, origin.stored.value
                raise SumError(f"damaged on the way: its {name} is {found}, the server stored {value}")
        if not self._has_name:
            await self._in_thread(self._finish)
        return "size" if origin.stored is None else origin.stored.name

    async def leave(self) -> None:
        """Let go of the files: what is recorded stays for the next run; where that is nothing, nothing stays."""
        writing, self._writing = self._writing, None
        try:
            if writing is not None:
                # Even under cancellation the writer must end first: its descriptor may not be closed under it.
                await outlast(writing)
        finally:
            if self.position or self._has_name:
                self._close()
            else:
                self._drop()

    async def _hand_over(self) -> None:
        """Start writing what was gathered, once the write before has ended."""
        await self._settle()
        chunks, self._chunks, self._n_gathered = self._chunks, [], 0
        self._writing = asyncio.get_running_loop().run_in_executor(None, self._put, chunks)

    async def _settle(self) -> None:
        """Wait for the write that is under way and raise its error."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
            writing, self._writing = self._writing, None
            writing.result()

    async def _in_thread(self, function: Callable[[], Any]) -> None:
        await self._settle()
        self._writing = asyncio.get_running_loop().run_in_executor(None, function)
        await self._settle()

    def _expect(self, origin: Origin) -> None:
        self.origin = origin
        # The CRC64NVME is taken of every file: where the server stores it too, one pass serves both.
        needs_another = origin.stored is not None and origin.stored.name != "crc64nvme"
        self._sum = running_sum(origin.stored.name) if needs_another and origin.stored is not None else None

    def _recover(self, etag: str | None, size: int | None) -> None:
        left = self._sidecar.read()
        if left is not None:
            origin, steps = left
            is_this = origin.uri == self._uri and etag in (None, origin.etag) and size in (None, origin.size)
            if is_this and steps and self._reopen(origin, steps[-1].stop):
                self._expect(origin)
                n_good = 0
                for step, data in steps_that_hold(self._descriptor, steps):
                    if self._sum is not None:
                        self._sum.update(data)
                    self.position, self._crc64 = step.stop, step.crc64
                    n_good += 1
                if n_good and (self.is_whole or not self._has_name):
                    self._sidecar.resume(n_good)
                    return
        self._drop()

    def _reopen(self, origin: Origin, last: int) -> bool:
        """Open the part file or, when a run was killed between rename and record, the file itself."""
        flags = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            self._descriptor = os.open(self.part, os.O_RDWR | flags)
        except OSError:
            if last != origin.size:
                return False
            try:
                self._descriptor = os.open(self.path, os.O_RDONLY | flags)
            except OSError:
                return False
            self._has_name = True
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode) or (status.st_nlink != 1 and not self._has_name):
            return False
        if self._has_name:
            return status.st_size == origin.size
        if status.st_size != origin.size:
            self._allocate(origin.size)
        return True

    def _create(self) -> None:
        if self.origin is None:
            raise RuntimeError("a part file without an origin")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self.part, flags, 0o666)
        self._allocate(self.origin.size)
        self._sidecar.begin(self.origin)

    def _allocate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)
        if size and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self._descriptor, 0, size)
            except OSError as error:
                if error.errno not in (EINVAL, ENOTSUP, EOPNOTSUPP):
                    raise

    def _put(self, chunks: Sequence[bytes | memoryview]) -> None:
        value, stop = self._crc64, self.position
        for chunk in chunks:
            value = crc64(chunk, value)
            if self._sum is not None:
                self._sum.update(chunk)
        views = [memoryview(chunk) for chunk in chunks]
        while views:
            n_written = os.pwritev(self._descriptor, views[:_MAX_VECTOR], stop)
            stop += n_written
            while views and n_written >= len(views[0]):
                n_written -= len(views.pop(0))
            if n_written:
                views[0] = views[0][n_written:]
        self._sidecar.note(Step(stop, value))
        self._crc64, self.position = value, stop

    def _finish(self) -> None:
        try:
            os.fsync(self._descriptor)
        except OSError:
            # What the cache holds may not be what the disk holds: no later run may build on it.
            self._drop()
            raise
        self.part.replace(self.path)
        self._has_name = True
        self._close()

    def _close(self) -> None:
        self._sidecar.close()
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _drop(self) -> None:
        """Remove what was begun; a file that has its name stays."""
        self._close()
        self._sidecar.remove()
        self.part.unlink(missing_ok=True)
        self.origin, self.position, self._crc64, self._sum, self._has_name = None, 0, 0, None, False
