"""The body of an answer, received by a thread of its own, piece by piece into one buffer.

Owns a short way past the event loop and aiohttp's parser for bodies of known length: while the body comes, a thread
reads the socket (under TLS it feeds OpenSSL) into one buffer that stays in the cache of its CPU, and hands on each full
one. Receiving, summing and writing happen in one place and without the interpreter's lock, so that bodies come on all
CPUs. It refuses every body that it does not know to the last byte (chunked, compressed, without a length), and every
event loop and version of aiohttp or asyncio that lacks a name it needs: those take aiohttp's own way, which it must
equal.

A connection is paused before a thread touches it. After the last byte it is given back to aiohttp, which begins each
answer with a new parser, and serves the next request; a connection whose body did not come whole serves none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

from aiohttp import ClientPayloadError

from starskope import parallel
from starskope.transfer.body_line import Line, line_of
from starskope.transfer.partfile import outlast
from starskope.transfer.patience import Watch

__all__ = ["BodyThread", "Turns", "open_body_thread"]

_NEEDED = ("_parser", "_reading_paused", "read_timeout", "start_timeout")
_NOTE_EVERY_S = 0.1
# What OpenSSL is fed at once: much less costs system calls, much more falls out of the cache.
_FEED_BYTES = 2**18


def open_body_thread(response: Any, n_bytes: int) -> BodyThread | None:
    """Take the body of an answer from the event loop, or return None where only aiohttp's own way is open.

    To be called as soon as the head was judged: what the loop receives meanwhile costs several times as much.

    Parameters
    ----------
    response : aiohttp.ClientResponse
        Whose head was read and checked.
    n_bytes : int
        Bytes that must come, all of them.

    Returns
    -------
    BodyThread or None
        To be closed, whether or not it is poured.
    """
    known = _known_connection(response)
    if known is None:
        return None
    protocol, transport = known
    # Loops of other kinds (Windows, uvloop) read ahead of what they hand out.
    if not isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop) or not parallel.can_wait():
        return None
    if response.content.exception() is not None or response.content.is_eof() or transport.is_closing():
        return None
    line = line_of(transport)
    return None if line is None else BodyThread(response.content, protocol, line, n_bytes)


def _known_connection(response: Any) -> tuple[Any, Any] | None:
    """Return protocol and transport beneath an answer whose body comes as it is stored; None for any other."""
    connection = response.connection
    protocol: Any = None if connection is None else connection.protocol
    transport: Any = None if connection is None else connection.transport
    is_plain = "transfer-encoding" not in response.headers and "content-encoding" not in response.headers
    if is_plain and transport is not None and all(hasattr(protocol, name) for name in _NEEDED):
        return protocol, transport
    return None


class BodyThread:
    """A body on the short way; from `open_body_thread`.

    Parameters
    ----------
    stream : aiohttp.StreamReader
        Holds what came with the head.
    protocol : aiohttp's ResponseHandler
        Of the connection.
    line : Line
        The connection.
    n_bytes : int
        Bytes that must come.

    Attributes
    ----------
    n_put : int
        Bytes handed on so far.
    """

    def __init__(self, stream: Any, protocol: Any, line: Line, n_bytes: int) -> None:
        self.n_put = 0
        self._stream, self._protocol, self._line = stream, protocol, line
        self._n_missing = n_bytes
        self._n_came = self._n_filled = 0
        self._is_stopped = False
        protocol.read_timeout = None  # the watch looks after the bytes
        protocol.start_timeout()
        self._early: list[bytes] = []
        while chunk := stream.read_nowait():  # resumes a connection that aiohttp had paused, so it comes first
            self._early.append(chunk)
        line.take_over()

    def close(self) -> None:
        """Let go of the connection, which is of no further use unless `pour` gave it back."""
        self._line.let_go()

    async def pour(
        self,
        put: Callable[[memoryview], None],
        buffer_bytes: int,
        turns: Turns,
        watch: Watch,
        note: Callable[[int], None],
    ) -> None:
        """Receive the body and hand it on, in order.

        Parameters
        ----------
        put : callable
            Takes the next bytes, in a thread. They are overwritten when it returns.
        buffer_bytes : int
            Size of the pieces, the last one of which may be shorter.
        turns : Turns
            That this body shares with others.
        watch : Watch
            Told of bytes as they come.
        note : callable
            Called on the loop from time to time with the number of bytes that came since.

        Raises
        ------
        aiohttp.ClientPayloadError
            The connection broke; what came before that was handed on.

        Notes
        -----
        Whatever `put` raises passes through. Cancelled, it waits for the `put` that is under way.
        """
        buffer = memoryview(bytearray(min(buffer_bytes, self._n_missing)))
        n_noted = 0
        try:
            receiving = asyncio.wrap_future(parallel.submit_waiting(self._receive, buffer, put, turns, watch))
            while not receiving.done():
                await asyncio.wait({receiving}, timeout=_NOTE_EVERY_S)
                n_noted, n_new = self._n_came, self._n_came - n_noted
                note(n_new)
            receiving.result()
        except asyncio.CancelledError:
            self._is_stopped = True
            self._line.stop()
            await outlast(receiving)
            raise
        self._line.let_go()
        if not self._protocol._reading_paused and self._line.give_back():
            self._protocol._parser = _NothingMore()
            self._stream.feed_eof()

    def _receive(self, buffer: memoryview, put: Callable[[memoryview], None], turns: Turns, watch: Watch) -> None:
        def hand_on() -> None:
            watch.is_paused = True
            put(buffer[: self._n_filled])
            watch.is_paused = False
            self.n_put += self._n_filled
            self._n_filled = 0

        def took(n_bytes: int) -> None:
            watch.took(n_bytes)
            self._n_came += n_bytes
            self._n_missing -= n_bytes
            self._n_filled += n_bytes
            if self._n_filled == len(buffer) or not self._n_missing:
                hand_on()

        for chunk in self._early:
            start = 0
            while start < len(chunk):
                n_bytes = min(len(chunk) - start, len(buffer) - self._n_filled)
                buffer[self._n_filled : self._n_filled + n_bytes] = chunk[start : start + n_bytes]
                start += n_bytes
                took(n_bytes)
        error: OSError | None = None
        while self._n_missing and not self._is_stopped:
            # Never more than what was asked for: what follows belongs to the next answer.
            room = buffer[self._n_filled : self._n_filled + self._n_missing]
            try:
                with turns.take(watch) as feed:
                    n_taken = self._line.receive_into(room, feed)
                if n_taken is None:
                    self._line.wait()
                    continue
            except OSError as broken:
                error = broken
                break
            if not n_taken:
                break
            took(n_taken)  # without a turn: sums of several bodies at once cost less than one after the other
        if self._n_filled:
            hand_on()  # what came before the break is as good as any
        if self._n_missing:
            raise ClientPayloadError(f"{self._n_missing} bytes are missing") from error


class _NothingMore:
    """The parser of a connection that waits for its next request: whatever comes now makes it unfit."""

    def feed_data(self, data: bytes) -> None:
        """Refuse it."""
        raise ValueError(f"{len(data)} bytes came after the end of an answer")

    def feed_eof(self) -> None:
        """Accept that the server closed it."""

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""


class Turns:
    """A turn at the CPU for each of a few bodies, of all that come; see `TransferOptions.busy_bodies`.

    Parameters
    ----------
    n_busy : int
        Bodies that have their turn at the same time.
    """

    def __init__(self, n_busy: int) -> None:
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        for _ in range(n_busy):
            self._free.put(memoryview(bytearray(_FEED_BYTES)))

    @contextmanager
    def take(self, watch: Watch) -> Iterator[memoryview]:
        """Wait for a turn, in a thread, and have it; yields the memory that goes with it.

        The time is not the server's: what is waited for, or worked on, has come.
        """
        watch.is_paused = True
        feed = self._free.get()
        try:
            yield feed
        finally:
            self._free.put(feed)
            watch.is_paused = False
