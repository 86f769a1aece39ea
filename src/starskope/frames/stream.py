"""Frames fetched and decoded ahead of their reader, in order or as they are completed.

Owns the bound on bytes held ahead, the order, and a clean end: a stream that is closed or cancelled leaves no task, no
request and no thread at work behind. Planes are decoded where their bytes are received. Refuses
to judge frames (a frame that cannot be had is yielded as its exception, and the caller decides). What counts as a list
of frames is in ``frames.sources``, whose names are given out here too.

To look at frames as they come, from a folder, from S3 or from a web server::

    async for index, frame in stream_frames(find_ffis(1, 1, 4), as_completed=True):
        if isinstance(frame, Exception):
            ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

from starskope import parallel
from starskope.errors import StarskopeError
from starskope.frames.beside import beside
from starskope.frames.decode import Frame
from starskope.frames.decoding import Decoding
from starskope.frames.plane_pool import PlanePool
from starskope.frames.sources import FrameSource, open_source
from starskope.transfer.options import TransferOptions

__all__ = ["Accumulator", "FrameSource", "fold", "open_source", "stream", "stream_frames"]

Result_co = TypeVar("Result_co", covariant=True)
_IN_FLIGHT = 256 * 2**20
# Of small frames thousands would fit: the loop would begin them all before it handed over the first.
_MOST_AHEAD = 128


async def stream(
    source: FrameSource,
    indices: Iterable[int],
    *,
    bytes_in_flight: int = _IN_FLIGHT,
    bytes_held: int = 0,
    workers: int = 1,
    as_completed: bool = False,
) -> AsyncGenerator[tuple[int, Frame | Exception], None]:
    """Yield frames of an open source, fetching and decoding ahead.

    Parameters
    ----------
    source : FrameSource
    indices : iterable of int
        Which frames.
    bytes_in_flight : int
        Bound on the bytes requested and not yet handed over; one frame is always allowed. A frame counts as its
        request.
    bytes_held : int
        Of frames that the reader holds before it lets go of them together: so much more memory is used again.
    workers : int
        Frames decoded at the same time where that cannot be done while they come; -1 for the CPUs of this process.
    as_completed : bool
        Yield each frame as soon as it is there; default: in the order of `indices`, where one slow request holds back
        what came after it.

    Yields
    ------
    index : int
    frame : Frame or Exception
        `FrameError`, `TransferError` or `OSError` of a frame that cannot be had; anything else is raised.

    Notes
    -----
    Use ``contextlib.aclosing`` when leaving early: closing cancels the requests under way and waits for their end.

    No more than 128 frames are asked for ahead, however small they are.

    Every piece is decoded at once, in the thread that received it and still in its cache: that costs a tenth of
    receiving it, and less than handing it to another thread. Planes are made in memory that is used again when their
    reader lets go of them; no more of it than `bytes_in_flight` and `bytes_held` is kept.
    """
    if bytes_in_flight < 1:
        raise ValueError(f"bytes_in_flight = {bytes_in_flight}: expected at least 1")
    decoders = asyncio.Semaphore(parallel.resolve_workers(workers))
    pool = PlanePool(bytes_in_flight + bytes_held)

    async def produce(index: int) -> Frame | Exception:
        coming = Decoding(index, source.names[index], pool)
        try:
            await source.gather(index, coming)
            async with decoders:
                return await coming.frame()
        except (StarskopeError, OSError) as error:
            return error

    waiting: dict[asyncio.Task[Frame | Exception], tuple[int, int]] = {}
    held = 0
    coming = iter(indices)
    following = next(coming, None)
    try:
        while waiting or following is not None:
            while following is not None:
                cost = source.n_bytes(following)
                if waiting and (held + cost > bytes_in_flight or len(waiting) >= _MOST_AHEAD):
                    break
                waiting[asyncio.create_task(produce(following))] = following, cost
                held += cost
                following = next(coming, None)
            if as_completed:
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                task = next(task for task in waiting if task in done)
                del done
            else:
                task = next(iter(waiting))
            result = await task
            index, cost = waiting.pop(task)
            del task
            held -= cost
            yield index, result
            del result
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def stream_frames(
    frames: Any,
    *,
    options: TransferOptions | None = None,
    workers: int = 1,
    as_completed: bool = False,
) -> AsyncGenerator[tuple[int, Frame | Exception], None]:
    """Yield the frames of a list, a folder, a table, S3 or a web server, fetching and decoding ahead.

    Parameters
    ----------
    frames, options
        As `open_source` takes them; ``options.bytes_in_flight`` bounds the memory.
    workers, as_completed
        As `stream` takes them.

    Yields
    ------
    index : int
        Place in the list.
    frame : Frame or Exception
        As `stream` yields them.

    Notes
    -----
    Memory: ``options.bytes_in_flight``, one more plane per worker, and the frame that the caller holds.

    Examples
    --------
    >>> async def brightest(frames):
    ...     async with aclosing(stream_frames(frames, as_completed=True)) as coming:
    ...         return max([frame.image.max() async for _, frame in coming if isinstance(frame, Frame)])
    """
    options = options or TransferOptions()
    async with open_source(frames, options) as source:
        coming = stream(
            source,
            range(source.n_frame),
            bytes_in_flight=options.bytes_in_flight,
            workers=workers,
            as_completed=as_completed,
        )
        async with aclosing(coming):
            async for item in coming:
                yield item


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
    bytes_in_flight: int = _IN_FLIGHT,
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
                await beside(accumulator.put, index, frame)
        return await beside(accumulator.result)
