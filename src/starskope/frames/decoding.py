"""One frame decoded in a thread while it comes.

Owns the way of its bytes from the event loop to the threads of `starskope.parallel` and back, and the promise that
nothing is at work once somebody has waited for the end. Refuses to fetch, and to know how rows are decoded
(``frames.pieces``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

from starskope import parallel
from starskope.frames.decode import Frame
from starskope.frames.pieces import PieceDecoder
from starskope.frames.sources import Pieces

__all__ = ["Decoding", "Lane", "beside"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_BATCH_BYTES = 1 << 20
_MOST_BATCHES = 2


class Lane:
    """Where frames are decoded while they come: one batch at a time, which is faster than any line."""

    def __init__(self) -> None:
        self._job: Future[bool] | None = None

    @property
    def is_free(self) -> bool:
        """Whether a batch would begin at once."""
        return self._job is None or self._job.done()

    def submit(self, function: Callable[[list[bytes]], bool], pieces: list[bytes]) -> Future[bool]:
        """Begin a batch."""
        self._job = parallel.submit_brief(function, pieces)
        return self._job

    async def wait(self) -> None:
        """Wait for the end of the batch that is at work."""
        if self._job is not None and not self._job.done():
            await asyncio.wait([asyncio.wrap_future(self._job)])


class Decoding(Pieces):
    """The pieces of one frame, taken away and decoded batch by batch."""

    def __init__(self, index: int, name: str, lane: Lane) -> None:
        super().__init__()
        self._index, self._name, self._lane = index, name, lane
        self._job: tuple[PieceDecoder, Future[bool]] | None = None
        self.begin(0)

    def begin(self, n_bytes: int) -> None:
        """Learn how much will come; a plane that was begun is forgotten."""
        super().begin(n_bytes)
        self._decoder = PieceDecoder(n_bytes, index=self._index, name=self._name)
        self._batch: list[bytes] = []
        self._n_taken = 0
        self._is_regular = True

    def add(self, piece: bytes) -> None:
        """Take the next bytes, and hand a batch on when there is one."""
        super().add(piece)
        if self.n_come - self._n_taken >= _BATCH_BYTES:
            self._hand_over()

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be decoded that no more should be received."""
        return self._is_regular and self.n_come - self._n_taken >= _MOST_BATCHES * _BATCH_BYTES

    async def room(self) -> None:
        """Wait until no longer full."""
        while self.is_full:
            await self._lane.wait()
            self._hand_over()

    async def whole(self) -> list[bytes] | None:
        """Return all that came; None where the plane is being decoded."""
        await self.settle()
        self._collect()
        return None if self._n_taken and self._is_regular else self.held

    async def frame(self) -> Frame:
        """Decode what is left; raises as `decode_frame`."""
        await self.settle()
        self._collect()
        return await beside(self._decoder.finish, self.held)

    async def settle(self) -> None:
        """Wait until nothing is at work."""
        if self._job is not None and not self._job[1].done():
            await asyncio.wait([asyncio.wrap_future(self._job[1])])

    def _hand_over(self) -> None:
        if not (self._is_regular and self._lane.is_free):
            return
        self._collect()
        if self._is_regular:
            self._batch, self.held, self._n_taken = self.held, [], self.n_come
            self._job = self._decoder, self._lane.submit(self._decoder.feed, self._batch)

    def _collect(self) -> None:
        """Take back the last batch where the decoder could not use it: then the plane is decoded at the end."""
        job, self._job = self._job, None
        if job is not None and job[0] is self._decoder and not job[1].result():
            self.held = self._batch + self.held
            self._is_regular = False


async def beside(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Compute off the event loop; who is cancelled waits for what has begun: nothing is at work after the end."""
    work = parallel.submit(function, *args, **kwargs)
    waiting = asyncio.wrap_future(work)
    try:
        return await asyncio.shield(waiting)
    except asyncio.CancelledError:
        if not work.cancel():
            await asyncio.wait([waiting])
        raise
