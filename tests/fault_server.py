"""An HTTP proxy on loopback that misbehaves on demand, in front of a real S3 server.

It forwards each request to the upstream server, reads the whole answer and then passes it on as the planned fault
wants. It is bounded: loopback only, bodies up to 64 MiB, at most 64 connections, stalls end with the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

MAX_BODY = 64 * 2**20
MAX_CONNECTIONS = 64


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]

    @property
    def is_listing(self) -> bool:
        return "list-type" in parse_qs(urlsplit(self.target).query)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes = b""

    def head(self) -> bytes:
        headers = {**self.headers, "connection": "close"}
        lines = [f"HTTP/1.1 {self.status} Planned", *(f"{name}: {value}" for name, value in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass
class Exchange:
    """What a fault has to work with."""

    server: FaultServer
    request: Request
    writer: asyncio.StreamWriter

    async def upstream(self, *, without: tuple[str, ...] = ()) -> Answer:
        headers = {name: value for name, value in self.request.headers.items() if name not in without}
        return await self.server.ask_upstream(self.request.method, self.request.target, headers)

    async def send(self, answer: Answer, n_bytes: int | None = None) -> None:
        self.writer.write(answer.head() + answer.body[:n_bytes])
        await self.writer.drain()


Fault = Callable[[Exchange], Awaitable[None]]


async def good(exchange: Exchange) -> None:
    await exchange.send(await exchange.upstream())


async def reset(exchange: Exchange) -> None:
    answer = await exchange.upstream()
    await exchange.send(answer, len(answer.body) // 2)
    await asyncio.sleep(0.05)  # let the first half arrive: a reset throws away what the peer has not read
    connection = exchange.writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exchange.writer.transport.abort()


async def early_close(exchange: Exchange) -> None:
    answer = await exchange.upstream()
    await exchange.send(answer, len(answer.body) // 2)


async def close_at_once(exchange: Exchange) -> None:
    """Say nothing at all."""


async def stall(exchange: Exchange) -> None:
    answer = await exchange.upstream()
    await exchange.send(answer, len(answer.body) // 2)
    await exchange.server.until_stopped()


async def stall_before_head(exchange: Exchange) -> None:
    await exchange.server.until_stopped()


async def slow_down(exchange: Exchange) -> None:
    body = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>"
    await exchange.send(Answer(503, {"Content-Length": str(len(body)), "Content-Type": "application/xml"}, body))


async def internal_error(exchange: Exchange) -> None:
    await exchange.send(Answer(500, {"Content-Length": "0"}))


async def range_ignored(exchange: Exchange) -> None:
    await exchange.send(await exchange.upstream(without=("range",)))


async def other_etag(exchange: Exchange) -> None:
    answer = await exchange.upstream(without=("if-match",))
    answer.headers["etag"] = '"00000000000000000000000000000000"'
    await exchange.send(answer)


async def wrong_content_range(exchange: Exchange) -> None:
    answer = await exchange.upstream()
    whole = len(answer.body)
    said = answer.headers.get("content-range", f"bytes 0-{whole - 1}/{whole}")
    first, last, size = said.removeprefix("bytes ").replace("/", "-").split("-")
    answer.headers["content-range"] = f"bytes {int(first) + 1}-{int(last) + 1}/{int(size) + 1}"
    answer.status = 206
    await exchange.send(answer)


async def no_content_range(exchange: Exchange) -> None:
    answer = await exchange.upstream()
    answer.headers.pop("content-range", None)
    answer.status = 206
    await exchange.send(answer)


async def short_length(exchange: Exchange) -> None:
    answer = await exchange.upstream()
    answer.body = answer.body[:-1000]
    answer.headers["content-length"] = str(len(answer.body))
    await exchange.send(answer)


async def flipped_bit(exchange: Exchange) -> None:
    answer = await exchange.upstream()
    middle = len(answer.body) // 2
    answer.body = answer.body[:middle] + bytes([answer.body[middle] ^ 4]) + answer.body[middle + 1 :]
    await exchange.send(answer)


async def garbage(exchange: Exchange) -> None:
    body = b"<html><body>Welcome to the hotel network<br></body>"
    await exchange.send(Answer(200, {"Content-Length": str(len(body)), "Content-Type": "text/html"}, body))


async def foreign_xml(exchange: Exchange) -> None:
    body = b"<?xml version='1.0'?><rss><channel><title>News</title></channel></rss>"
    await exchange.send(Answer(200, {"Content-Length": str(len(body)), "Content-Type": "application/xml"}, body))


async def not_http(exchange: Exchange) -> None:
    exchange.writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    await exchange.writer.drain()


async def redirect_loop(exchange: Exchange) -> None:
    location = exchange.server.url + exchange.request.target
    await exchange.send(Answer(307, {"Location": location, "Content-Length": "0"}))


async def first_page_again(exchange: Exchange) -> None:
    target = urlsplit(exchange.request.target)
    query = {name: values[0] for name, values in parse_qs(target.query, keep_blank_values=True).items()}
    query.pop("continuation-token", None)
    request = Request("GET", f"{target.path}?{urlencode(query)}", exchange.request.headers)
    await good(Exchange(exchange.server, request, exchange.writer))


@dataclass
class _Plan:
    fault: Fault
    times: int | None
    listings: bool
    applied: int = 0


@dataclass(eq=False)
class FaultServer:
    """The proxy, in a thread of its own; use as a context manager."""

    upstream_url: str
    page_size: int | None = None
    dropped_headers: tuple[str, ...] = ()
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    n_open: int = 0
    url: str = ""
    _plans: list[_Plan] = field(default_factory=list)

    def plan(self, fault: Fault, times: int | None = None, *, listings: bool = False) -> _Plan:
        """Apply a fault to the next `times` object reads (or listings); None: to all that follow."""
        plan = _Plan(fault, times, listings)
        self._plans.append(plan)
        return plan

    def __enter__(self) -> FaultServer:
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._thread.start()
        if not self._started.wait(10):
            raise RuntimeError("the fault server did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)
        self._loop.close()

    def wait_closed(self, timeout_s: float = 5.0) -> bool:
        """Wait until no client holds a connection."""
        deadline = time.monotonic() + timeout_s
        while self.n_open and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.n_open == 0

    def wait_requests(self, n: int, timeout_s: float = 10.0) -> bool:
        deadline = time.monotonic() + timeout_s
        while len(self.requests) < n and time.monotonic() < deadline:
            time.sleep(0.01)
        return len(self.requests) >= n

    async def until_stopped(self) -> None:
        await self._stopped.wait()

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, ssl=self.tls)
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._started.set()
        async with server:
            await self._stopped.wait()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_open += 1
        try:
            if self.n_open > MAX_CONNECTIONS:
                return
            request = await _read_request(reader)
            if request is None:
                return
            self.requests.append(request)
            # A stalled exchange ends when the client gives up; its closing shows as end of file here.
            exchange = asyncio.ensure_future(self._choose(request)(Exchange(self, request, writer)))
            gone = asyncio.ensure_future(reader.read(1))
            try:
                await asyncio.wait({exchange, gone}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (exchange, gone):
                    task.cancel()
                await asyncio.gather(exchange, gone, return_exceptions=True)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()
            self.n_open -= 1

    def _choose(self, request: Request) -> Fault:
        for plan in self._plans:
            if plan.listings == request.is_listing and (plan.times is None or plan.applied < plan.times):
                plan.applied += 1
                return plan.fault
        return good

    async def ask_upstream(self, method: str, target: str, headers: dict[str, str]) -> Answer:
        address = urlsplit(self.upstream_url)
        if self.page_size is not None and "list-type" in target:
            target += f"&max-keys={self.page_size}"
        headers = {**headers, "host": address.netloc, "connection": "close"}
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            answer = Answer(int(head[0].split()[1]), _headers(head[1:]))
            length = answer.headers.get("content-length")
            if length is None:
                answer.body = await reader.read(MAX_BODY) if answer.status not in (204, 304) else b""
            else:
                answer.body = await reader.readexactly(min(int(length), MAX_BODY))
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        for name in list(answer.headers):
            if name.startswith(self.dropped_headers or ("\0",)):
                del answer.headers[name]
        answer.headers.setdefault("content-length", str(len(answer.body)))
        return answer


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = head[0].split(" ", 2)
    return Request(method, target, _headers(head[1:]))


def _headers(lines: list[str]) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {name.strip().lower(): value.strip() for name, value in pairs}
