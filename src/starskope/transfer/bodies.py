"""The body of an answer, received into one buffer and lent to a taker on the loop.

Owns a short way past aiohttp's parser for bodies of known length: the kernel (or OpenSSL) writes into one large buffer,
where aiohttp makes an object of every 64 to 256 KiB and copies it again. It refuses every body that it does not know to
the last byte (chunked, compressed, without a length) and every version of aiohttp that lacks a name it needs: those
take aiohttp's own way, which it must equal. Bodies that go to files have a thread each, as have those of frames under
TLS: ``body_thread``.

While a body comes this way its connection speaks to `_Lender`; after the last byte it is given back to aiohttp, which
begins each answer with a new parser, and serves the next request.
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import ClientPayloadError

__all__ = ["Body", "Lending", "NothingMore", "drop_connection", "is_encrypted", "known_connection", "open_body"]

_NEEDED = ("_parser", "_reading_paused", "start_timeout")


class Body(Protocol):
    """What a body is taken from."""

    counts: bool

    async def read(self, n_bytes: int) -> bytes:
        """Return the next bytes, at most `n_bytes` where they are few; nothing at the end."""


class _Plain:
    """aiohttp's own way."""

    counts = False

    def __init__(self, stream: Any) -> None:
        self.read = stream.read


@dataclass(frozen=True)
class Lending:
    """All bytes pass through one buffer, which stays in cache.

    Parameters
    ----------
    take : callable
        Called on the loop with the next bytes, which are void when it returns; what it raises ends the body.
    buffer : memoryview
        Writable; serves any number of bodies of one loop, as what it receives is taken before the loop goes on.
    """

    take: Callable[[memoryview], None]
    buffer: memoryview


def known_connection(response: Any, needed: tuple[str, ...]) -> tuple[Any, Any] | None:
    """Return protocol and transport beneath an answer whose body comes as it is stored.

    None for one that is chunked or compressed, that is over, or whose protocol lacks a name in `needed`.
    """
    connection = response.connection
    protocol: Any = None if connection is None else connection.protocol
    transport: Any = None if connection is None else connection.transport
    is_plain = "transfer-encoding" not in response.headers and "content-encoding" not in response.headers
    if is_plain and transport is not None and all(hasattr(protocol, name) for name in needed):
        return protocol, transport
    return None


@contextmanager
def open_body(response: Any, n_bytes: int, took: Callable[[int], None], lending: Lending | None) -> Iterator[Body]:
    """Take the body of an answer, the short way if that is possible.

    Parameters
    ----------
    response : aiohttp.ClientResponse
        Whose head was read and checked.
    n_bytes : int
        Bytes that must come, all of them.
    took : callable
        Told of bytes as they come. Only the short way does so itself: see ``Body.counts``.
    lending : Lending or None
        Takes all bytes that come the short way; reading the body then waits for its end. None for aiohttp's own way.

    Yields
    ------
    Body
    """
    stream = response.content
    known = None if lending is None else known_connection(response, _NEEDED)
    if lending is None or known is None:
        yield _Plain(stream)
        return
    protocol, transport = known
    early = _drain(stream)
    if stream.is_eof() or protocol._reading_paused or stream.exception() is not None:
        yield _Early(early, stream)
        return
    receiver = _Lender(transport, protocol, early, n_bytes, lending, took)
    try:
        yield receiver
    finally:
        receiver.give_back(stream)


def drop_connection(response: Any) -> None:
    """Close the connection of an answer that was not to the question, also where aiohttp keeps it for the next one.

    What follows on it may be the answer after all, which the next question would take for its own.
    """
    protocol = getattr(response.content, "_protocol", None)
    if protocol is not None:
        protocol.close()


def is_encrypted(response: Any) -> bool:
    """Whether the body of an answer comes through TLS."""
    transport = getattr(response.connection, "transport", None)
    return transport is not None and transport.get_extra_info("ssl_object") is not None


def _drain(stream: Any) -> list[bytes]:
    """Return what aiohttp has received already; then its parser holds nothing."""
    chunks = []
    while stream.exception() is None and (chunk := stream.read_nowait()):
        chunks.append(chunk)
    return chunks


class _Early:
    """What was drained, then aiohttp's own way."""

    counts = False

    def __init__(self, chunks: list[bytes], stream: Any) -> None:
        self._chunks = deque(chunks)
        self._stream = stream

    async def read(self, n_bytes: int) -> bytes:
        if self._chunks:
            return self._chunks.popleft()
        data: bytes = await self._stream.read(n_bytes)
        return data


class _Lender(asyncio.BufferedProtocol):
    """The protocol of a connection while a body comes: each piece is taken before the next is received."""

    counts = True

    def __init__(
        self,
        transport: Any,
        protocol: Any,
        early: list[bytes],
        n_bytes: int,
        lending: Lending,
        took: Callable[[int], None],
    ) -> None:
        self._transport = transport
        self._protocol = protocol
        self._lending = lending
        self._took = took
        self._n_missing = n_bytes - sum(map(len, early))
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        for chunk in early:
            took(len(chunk))
            lending.take(memoryview(chunk))
        protocol.read_timeout = None  # the caller watches the bytes himself
        protocol.start_timeout()
        transport.set_protocol(self)
        if not self._n_missing:
            self._pause()

    def get_buffer(self, sizehint: int) -> memoryview:
        # Never more than what was asked for: what follows belongs to the next answer.
        return self._lending.buffer[: self._n_missing]

    def buffer_updated(self, nbytes: int) -> None:
        self._took(nbytes)
        self._n_missing -= nbytes
        try:
            self._lending.take(self._lending.buffer[:nbytes])
        except BaseException as error:  # raised where the body is waited for, whatever it is
            self._error = error
        if not self._n_missing or self._error is not None:
            self._pause()
            self._wake()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._n_missing and self._error is None:
            self._error = ClientPayloadError(f"{self._n_missing} bytes are missing")
        self._wake()
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def _pause(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def read(self, n_bytes: int) -> bytes:
        """Return nothing, when all has been taken."""
        while self._n_missing or self._error is not None:
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return b""

    def give_back(self, stream: Any) -> None:
        """Let aiohttp have the connection again; it keeps it only when the body came whole and nothing follows."""
        self._transport.set_protocol(self._protocol)
        is_whole = not self._n_missing and self._error is None and not self._transport.is_closing()
        if is_whole and not _is_readable(self._transport):
            self._protocol._parser = NothingMore()
            stream.feed_eof()
            self._transport.resume_reading()


class NothingMore:
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


def _is_readable(transport: Any) -> bool:
    """Whether bytes wait behind the body, which nobody asked for: the next answer would be read out of them."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))
