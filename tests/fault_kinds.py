"""The ways in which the proxy of ``fault_server`` spoils an answer.

Each fault is a coroutine function of an `Exchange`. It decides about one answer alone and keeps nothing between
requests; how often it strikes is planned in the server.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

from loopback_http import MAX_HELD, Answer, Request, Upstream

if TYPE_CHECKING:
    from fault_server import FaultServer

OTHER_ETAG = '"00000000000000000000000000000000"'
TRICKLE_BYTES, TRICKLE_EVERY_S = 1, 0.1  # 10 bytes per second: never silent, never done
LITTLE = 1_000

Edit = Callable[[int, bytes], bytes]


@dataclass
class Exchange:
    """What a fault has to work with: one request, and the two connections between which it stands."""

    server: FaultServer
    request: Request
    writer: asyncio.StreamWriter
    behind: Upstream
    is_whole: bool = False  # an answer of the length it declares was sent: the connection may be kept

    async def open_upstream(self, *, without: tuple[str, ...] = ()) -> Answer:
        """Ask the server behind; the body of the answer still flows."""
        headers = {name: value for name, value in self.request.headers.items() if name not in without}
        target = self.request.target
        if self.server.page_size is not None and self.request.is_listing:
            target += f"&max-keys={self.server.page_size}"
        answer = await self.behind.ask(replace(self.request, target=target, headers=headers))
        for name in [name for name in answer.headers if name.startswith(self.server.dropped_headers or ("\0",))]:
            del answer.headers[name]
        return answer

    async def upstream(self, *, without: tuple[str, ...] = ()) -> Answer:
        """As `open_upstream`, with the body held."""
        answer = await self.open_upstream(without=without)
        await answer.hold()
        return answer

    async def send(self, answer: Answer, n_bytes: int | None = None, edit: Edit | None = None) -> None:
        """Pass an answer on: the first `n_bytes` of its body, each chunk at its offset through `edit`."""
        self.writer.write(answer.head())
        n_wanted = answer.n_bytes if n_bytes is None else min(n_bytes, answer.n_bytes)
        n_sent = 0
        while n_sent < n_wanted:
            piece = await answer.step(n_wanted - n_sent)
            self.writer.write(piece if edit is None else edit(n_sent, piece))
            await self.writer.drain()
            n_sent += len(piece)
            self.server.n_bytes += len(piece)
        await self.writer.drain()
        declared = int(answer.headers.get("content-length", -1))
        self.is_whole = n_sent == declared or (n_sent == 0 and self.request.method == "HEAD") or answer.status == 304


Fault = Callable[[Exchange], Awaitable[None]]


async def good(exchange: Exchange) -> None:
    await exchange.send(await exchange.open_upstream())


async def early_close(exchange: Exchange) -> None:
    answer = await exchange.open_upstream()
    await exchange.send(answer, answer.n_bytes // 2)


async def close_after_a_little(exchange: Exchange) -> None:
    """Progress that would take for ever: a hundredth, at most a thousand bytes, and the connection closes."""
    answer = await exchange.open_upstream()
    await exchange.send(answer, max(1, min(LITTLE, answer.n_bytes // 100)))


async def reset(exchange: Exchange) -> None:
    await early_close(exchange)
    await asyncio.sleep(0.05)  # let the first half arrive: a reset throws away what the peer has not read
    connection = exchange.writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exchange.writer.transport.abort()


async def close_at_once(exchange: Exchange) -> None:
    """Say nothing at all."""


async def stall(exchange: Exchange) -> None:
    await early_close(exchange)
    await exchange.server.until_stopped()


async def stall_before_head(exchange: Exchange) -> None:
    await exchange.server.until_stopped()


async def trickle(exchange: Exchange) -> None:
    """Half of the body, and from there on some bytes every moment: no silence, and no end."""
    answer = await exchange.open_upstream()
    await exchange.send(answer, answer.n_bytes // 2)
    while piece := await answer.step(TRICKLE_BYTES):
        exchange.writer.write(piece)
        await exchange.writer.drain()
        await asyncio.sleep(TRICKLE_EVERY_S)


async def slow_down(exchange: Exchange) -> None:
    body = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>"
    await exchange.send(Answer(503, {"content-length": str(len(body)), "content-type": "application/xml"}, body))


async def internal_error(exchange: Exchange) -> None:
    await exchange.send(Answer(500, {"content-length": "0"}))


async def range_ignored(exchange: Exchange) -> None:
    await exchange.send(await exchange.open_upstream(without=("range",)))


async def other_etag(exchange: Exchange) -> None:
    answer = await exchange.open_upstream(without=("if-match",))
    answer.headers["etag"] = OTHER_ETAG
    await exchange.send(answer)


async def other_etag_then_close(exchange: Exchange) -> None:
    """A wrong ETag on an answer that breaks: the rest of such an object does not exist."""
    answer = await exchange.open_upstream(without=("if-match",))
    answer.headers["etag"] = OTHER_ETAG
    await exchange.send(answer, answer.n_bytes // 2)


async def changed_in_the_middle(exchange: Exchange) -> None:
    """Break every first answer about an object; every second one comes from another object."""
    asked = [request.target for request in exchange.server.requests].count(exchange.request.target)
    await (early_close if asked % 2 else other_etag)(exchange)


async def wrong_content_range(exchange: Exchange) -> None:
    answer = await exchange.open_upstream()
    whole = answer.n_bytes
    said = answer.headers.get("content-range", f"bytes 0-{whole - 1}/{whole}")
    first, last, size = said.removeprefix("bytes ").replace("/", "-").split("-")
    answer.headers["content-range"] = f"bytes {int(first) + 1}-{int(last) + 1}/{int(size) + 1}"
    answer.status = 206
    await exchange.send(answer)


async def other_range(exchange: Exchange) -> None:
    """Answer with the bytes from one later on, and say so: right for what it says, not what was asked for."""
    start, _, last = exchange.request.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
    shifted = f"bytes={int(start) + 1}-{int(last) + 1 if last else ''}"
    exchange.request.headers["range"] = shifted
    await exchange.send(await exchange.open_upstream())


async def no_content_range(exchange: Exchange) -> None:
    answer = await exchange.open_upstream()
    answer.headers.pop("content-range", None)
    answer.status = 206
    await exchange.send(answer)


async def short_length(exchange: Exchange) -> None:
    answer = await exchange.open_upstream()
    n_bytes = max(answer.n_bytes - 1000, 0)
    answer.headers["content-length"] = str(n_bytes)
    await exchange.send(answer, n_bytes)


async def flipped_bit(exchange: Exchange) -> None:
    answer = await exchange.open_upstream()
    middle = answer.n_bytes // 2

    def flip(offset: int, chunk: bytes) -> bytes:
        at = middle - offset
        return chunk[:at] + bytes([chunk[at] ^ 4]) + chunk[at + 1 :] if 0 <= at < len(chunk) else chunk

    await exchange.send(answer, edit=flip)


async def garbage(exchange: Exchange) -> None:
    body = b"<html><body>Welcome to the hotel network<br></body>"
    await exchange.send(Answer(200, {"content-length": str(len(body)), "content-type": "text/html"}, body))


async def foreign_xml(exchange: Exchange) -> None:
    body = b"<?xml version='1.0'?><rss><channel><title>News</title></channel></rss>"
    await exchange.send(Answer(200, {"content-length": str(len(body)), "content-type": "application/xml"}, body))


async def endless_xml(exchange: Exchange) -> None:
    """A listing that never ends, as fast as the client takes it, up to `MAX_HELD` bytes."""
    exchange.writer.write(Answer(200, {"content-type": "application/xml"}).head())
    exchange.writer.write(b"<?xml version='1.0'?><ListBucketResult>")
    piece = b"<Contents><Key>tess/public/ffi/</Key><Size>1</Size></Contents>" * 4096
    for _ in range(MAX_HELD // len(piece)):
        exchange.writer.write(piece)
        await exchange.writer.drain()


async def not_http(exchange: Exchange) -> None:
    exchange.writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    await exchange.writer.drain()


async def redirect_loop(exchange: Exchange) -> None:
    await redirect_to(exchange.server.url)(exchange)


def redirect_to(url: str) -> Fault:
    """Send the client to the same key of another server."""

    async def redirect(exchange: Exchange) -> None:
        await exchange.send(Answer(307, {"location": url + exchange.request.target, "content-length": "0"}))

    return redirect


async def first_page_again(exchange: Exchange) -> None:
    target = urlsplit(exchange.request.target)
    query = {name: values[0] for name, values in parse_qs(target.query, keep_blank_values=True).items()}
    query.pop("continuation-token", None)
    exchange.request = Request("GET", f"{target.path}?{urlencode(query)}", exchange.request.headers)
    await good(exchange)
