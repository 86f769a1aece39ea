"""The body of an answer, received by a thread of its own into the buffer that goes on to the disk.

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
from collections.abc import Callable
from typing import Any

from aiohttp import ClientPayloadError

from starskope import parallel
from starskope.transfer.bodies import NothingMore, known_connection
from starskope.transfer.body_line import Line, line_of
from starskope.transfer.partfile import outlast
from starskope.transfer.patience import Watch

__all__ = ["BodyThread", "open_body_thread"]

_NEEDED = ("_parser", "_reading_paused", "read_timeout", "start_timeout")
_NOTE_EVERY_S = 0.1


def open_body_thread(response: Any, n_bytes: int) -> BodyThread | None:
    """Return the body of an answer for the short way, or None where only aiohttp's own way is open.

    Parameters
    ----------
    response : aiohttp.ClientResponse
        Whose head was read and checked.
    n_bytes : int
        Bytes that must come, all of them.
    """
    known = known_connection(response, _NEEDED)
    if known is None:
        return None
    protocol, transport = known
    # Loops of other kinds (Windows, uvloop) read ahead of what they hand out.
    if not isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop) or not parallel.can_wait():
        return None
    if response.content.exception() is not None or response.content.is_eof():
        return None
    line = line_of(transport)
    return None if line is None else BodyThread(response.content, protocol, line, n_bytes)


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

    async def pour(
        self, put: Callable[[memoryview], None], buffer_bytes: int, watch: Watch, note: Callable[[int], None]
    ) -> None:
        """Receive the body and hand it on, in order.

        Parameters
        ----------
        put : callable
            Takes the next bytes, in a thread. They are overwritten when it returns.
        buffer_bytes : int
            Size of the pieces, the last one of which may be shorter.
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
        self._protocol.read_timeout = None  # the watch looks after the bytes
        self._protocol.start_timeout()
        early: list[bytes] = []
        while chunk := self._stream.read_nowait():  # resumes a connection that aiohttp had paused, so it comes first
            early.append(chunk)
        buffer = memoryview(bytearray(min(buffer_bytes, self._n_missing)))
        self._line.take_over()
        n_noted = 0
        try:
            receiving = asyncio.wrap_future(parallel.submit_waiting(self._receive, early, buffer, put, watch))
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
        finally:
            self._line.let_go()
        if not self._protocol._reading_paused and self._line.give_back():
            self._protocol._parser = NothingMore()
            self._stream.feed_eof()

    def _receive(self, early: list[bytes], buffer: memoryview, put: Callable[[memoryview], None], watch: Watch) -> None:
        def hand_on() -> None:
            watch.is_paused = True
            put(buffer[: self._n_filled])
            watch.is_paused = False
            self.n_put += self._n_filled
            self._n_filled = 0

        def take(n_bytes: int) -> None:
            watch.took(n_bytes)
            self._n_came += n_bytes
            self._n_missing -= n_bytes
            self._n_filled += n_bytes
            if self._n_filled == len(buffer) or not self._n_missing:
                hand_on()

        for chunk in early:
            start = 0
            while start < len(chunk):
                n_bytes = min(len(chunk) - start, len(buffer) - self._n_filled)
                buffer[self._n_filled : self._n_filled + n_bytes] = chunk[start : start + n_bytes]
                start += n_bytes
                take(n_bytes)
        error: OSError | None = None
        while self._n_missing and not self._is_stopped:
            try:
                # Never more than what was asked for: what follows belongs to the next answer.
                n_bytes = self._line.receive_into(buffer[self._n_filled : self._n_filled + self._n_missing])
            except OSError as broken:
                error = broken
                break
            if not n_bytes:
                break
            take(n_bytes)
        if self._n_filled:
            hand_on()  # what came before the break is as good as any
        if self._n_missing:
            raise ClientPayloadError(f"{self._n_missing} bytes are missing") from error
