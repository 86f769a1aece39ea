"""HTTP/1.1 as far as one small GET needs it, over connections that are kept.

Owns the bytes of a request and its answer on the short way: a status line, headers, and a body whose length was
declared and accepted before it is read. It refuses everything else that HTTP allows (chunks, folded headers, bodies
that end with the connection, answers that nobody asked for): such a connection is dropped, and botocore asks instead.

References
----------
RFC 9112, sections 2 to 6 and 9.3 (connections that a server closed while they were idle).
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, HTTPClientError, SSLError

__all__ = ["Reply", "Wires"]

_STATUS = re.compile(rb"HTTP/1\.([01]) (\d{3})(?: [^\r\n]*)?")
_HEADERS = re.compile(r"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r\n)*")
_MAX_HEAD = 2**16
_MAX_INTERIM = 8

# Told status and headers; returns the length of body that is wanted, or raises.
Judge = Callable[[int, Mapping[str, str]], int]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that came whole.

    Parameters
    ----------
    status : int
        HTTP status.
    headers : mapping of str to str
        Lower-case names.
    body : bytes
        As long as the judge said.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wires:
    """The connections to one server.

    Parameters
    ----------
    host, port : str, int
        Where it listens.
    tls : ssl.SSLContext or None
        For https; verifies.
    endpoint : str
        Address, for messages.
    connect_timeout_s, idle_timeout_s : float
        How long a connection may take to open, and may lie unused.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        endpoint: str,
        *,
        connect_timeout_s: float,
        idle_timeout_s: float,
    ) -> None:
        self._host, self._port, self._tls, self._endpoint = host, port, tls, endpoint
        self._connect_timeout_s, self._idle_timeout_s = connect_timeout_s, idle_timeout_s
        self._idle: deque[tuple[float, _Wire]] = deque()
        self._open: set[_Wire] = set()

    async def get(
        self, request: bytes, judge: Judge, *, fresh: bool = False, took: Callable[[int], None] | None = None
    ) -> Reply:
        """Send a request and take its answer.

        Parameters
        ----------
        request : bytes
            Head of the request, with its empty line.
        judge : callable
            What it raises ends the connection and is raised here.
        fresh : bool
            Open a connection for this request alone.
        took : callable, optional
            Called with the number of bytes as they come.

        Raises
        ------
        ConnectionError
            The connection ended before the answer did.
        botocore.exceptions.HTTPClientError
            It could not be opened, or what came is not the HTTP that is read here.
        """
        wire = None if fresh else self._take()
        if wire is not None:
            try:
                return await self._ask(wire, request, judge, took, keep=True)
            except _StaleError:
                pass  # closed while it lay idle: the request was not read, and asking again is no second try
        return await self._ask(await self._connect(), request, judge, took, keep=not fresh)

    async def close(self) -> None:
        """Drop all connections."""
        wires = list(self._open)
        for wire in wires:
            wire.drop()
        await asyncio.gather(*(wire.lost for wire in wires))

    async def _ask(
        self, wire: _Wire, request: bytes, judge: Judge, took: Callable[[int], None] | None, *, keep: bool
    ) -> Reply:
        try:
            reply = await wire.ask(request, judge, took)
        except BaseException:
            wire.drop()
            raise
        if keep and wire.is_reusable:
            now = wire.loop.time()
            self._idle.append((now, wire))
            while self._idle[0][0] < now - self._idle_timeout_s:
                self._idle.popleft()[1].drop()
        else:
            wire.drop()
        return reply

    def _take(self) -> _Wire | None:
        while self._idle:
            since, wire = self._idle.pop()
            if wire.is_reusable and wire.loop.time() - since < self._idle_timeout_s:
                return wire
            wire.drop()
        return None

    async def _connect(self) -> _Wire:
        loop = asyncio.get_running_loop()
        named: dict[str, Any] = {}
        if self._tls is not None:
            named = {"ssl": self._tls, "server_hostname": self._host, "ssl_handshake_timeout": self._connect_timeout_s}
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                # Not with happy_eyeballs_delay: cancelled at the wrong moment, that forgets a socket in Python 3.11.
                _, wire = await loop.create_connection(lambda: _Wire(self._open), self._host, self._port, **named)
        except TimeoutError as error:
            raise ConnectTimeoutError(endpoint_url=self._endpoint, error=error) from error
        except ssl.SSLError as error:
            raise SSLError(endpoint_url=self._endpoint, error=error) from error
        except OSError as error:
            raise EndpointConnectionError(endpoint_url=self._endpoint, error=error) from error
        return wire


class _StaleError(ConnectionError):
    """A kept connection ended before the first byte of the answer."""


class _Wire(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self, register: set[_Wire]) -> None:
        self.loop = asyncio.get_running_loop()
        self.is_reusable = True
        self.lost: asyncio.Future[None] = self.loop.create_future()
        self._register = register
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._n_asked = 0

    async def ask(self, request: bytes, judge: Judge, took: Callable[[int], None] | None) -> Reply:
        if self._transport is None or self._transport.is_closing():
            raise _StaleError("the connection was closed while it lay idle")
        self._n_asked += 1
        self._judge, self._took = judge, took
        self._head = b""
        self._n_interim = 0
        self._headers: Mapping[str, str] | None = None
        self._chunks: list[bytes] = []
        self._n_missing = 0
        self._waiter = self.loop.create_future()
        self._transport.write(request)
        return await self._waiter

    def drop(self) -> None:
        """End the connection at once."""
        self.is_reusable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            self._register.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_reusable = False
        self._register.discard(self)
        self.lost.set_result(None)
        if self._waiter is not None and not self._waiter.done():
            is_stale = self._n_asked > 1 and self._headers is None and not self._head and not self._n_interim
            text = "the connection ended before the answer did"
            self._waiter.set_exception(_StaleError(text) if is_stale else ConnectionAbortedError(text))

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():
            self.drop()  # nobody asked: whatever this is, it must not become the next answer
            return
        if self._took is not None:
            self._took(len(data))
        try:
            if self._headers is None:
                data = self._take_head(data)
            if self._headers is not None:
                self._take_body(data)
        except Exception as error:  # whatever the judge says, the waiter must hear of it
            self._waiter.set_exception(error)
            self.drop()

    def _take_head(self, data: bytes) -> bytes:
        """Read heads until one is no interim answer; return what follows it."""
        data = self._head + data if self._head else data
        while True:
            end = data.find(b"\r\n\r\n")
            if max(end, 0 if end >= 0 else len(data)) > _MAX_HEAD:
                raise _not_http("a head without end")
            if end < 0:
                # No need to wait for the end of what does not even begin as HTTP does.
                if len(data) >= 7 and not data.startswith(b"HTTP/1."):
                    raise _not_http("no status line")
                self._head = data
                return b""
            first, _, lines = data[: end + 2].partition(b"\r\n")
            match = _STATUS.fullmatch(first)
            if match is None:
                raise _not_http("no status line")
            status = int(match[2])
            data = data[end + 4 :]
            if status >= 200:
                break
            self._n_interim += 1
            if status == 101 or self._n_interim > _MAX_INTERIM:
                raise _not_http("interim answers without end")
        headers = _parse(lines)
        self.is_reusable = match[1] == b"1" and "close" not in headers.get("connection", "").lower()
        if "transfer-encoding" in headers:
            raise _not_http("chunks where a length was expected")
        self._n_missing = self._judge(status, headers)
        self._status, self._headers = status, headers
        return data

    def _take_body(self, data: bytes) -> None:
        self._n_missing -= len(data)
        if self._n_missing < 0:
            raise _not_http("more bytes than were declared")
        if data:
            self._chunks.append(data)
        if self._n_missing == 0 and self._waiter is not None and self._headers is not None:
            body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
            self._chunks = []
            self._waiter.set_result(Reply(self._status, self._headers, body))


def _parse(lines: bytes) -> dict[str, str]:
    text = lines.decode("latin-1")
    if _HEADERS.fullmatch(text) is None:
        raise _not_http("a header that is none")
    headers: dict[str, str] = {}
    for line in text.split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        if name in headers and headers[name] != value:
            if name in ("content-length", "content-range", "etag"):
                raise _not_http(f"two headers {name}")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers


def _not_http(what: str) -> HTTPClientError:
    return HTTPClientError(error=ValueError(what))
