"""HTTP as the short way reads it: any cut of the bytes, nothing beyond what was declared, nothing without bound."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import loopback_tls
import pytest
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, HTTPClientError, SSLError
from hypothesis import given
from hypothesis import strategies as st

from starskope.transfer.checks import AnswerError
from starskope.transfer.wire import Reply, Wires

GOOD = b'HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nETag: "e"\r\nX-Odd:  a b \r\n\r\nhello'
REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _judge(status: int, headers: Mapping[str, str]) -> int:
    if status == 418:
        raise AnswerError("judged")
    return int(headers["content-length"])


async def _with_server(
    script: Script,
    play: Callable[[Wires, list[int]], Awaitable[Any]],
    tls: ssl.SSLContext | None = None,
    **changes: Any,
) -> Any:
    """Serve each connection with a script; `play` gets the wires and the count of connections."""
    accepted = [0]
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted[0] += 1
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    settings = {"connect_timeout_s": 5.0, "idle_timeout_s": 5.0, **changes}
    wires = Wires("127.0.0.1", port, settings.pop("context", None), f"http://127.0.0.1:{port}", **settings)
    try:
        async with asyncio.timeout(20):
            return await play(wires, accepted)
    finally:
        await wires.close()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def _saying(*answers: bytes, pieces: int = 10**6) -> Script:
    """Answer the requests of a connection in turn, in pieces, and then wait for the next."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            for start in range(0, len(answer), pieces):
                writer.write(answer[start : start + pieces])
                await writer.drain()
                await asyncio.sleep(0)
        await reader.read()

    return script


async def _get(wires: Wires, _: list[int]) -> Reply:
    return await wires.get(REQUEST, _judge)


@pytest.mark.parametrize("pieces", [1, 2, 3, 7, 50, 1000])
def test_an_answer_may_come_in_any_pieces(pieces: int) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    reply = asyncio.run(_with_server(_saying(interim + GOOD, pieces=pieces), _get))
    assert (reply.status, reply.body) == (206, b"hello")
    assert dict(reply.headers) == {"content-length": "5", "etag": '"e"', "x-odd": "a b"}


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 206 Partial\r\nContent-Length: 5\r\n folded\r\n\r\nhello",
        b"HTTP/1.1 206 Partial\r\nContent-Length : 5\r\n\r\nhello",
        b"HTTP/1.1 206 Partial\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 206 Partial\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 206 Partial\r\nContent-Length: 5\r\nX: a\0b\r\n\r\nhello",
        GOOD + b"and more",
        GOOD + GOOD,
        b"HTTP/1.1 206 Partial\r\nX-Long: " + b"x" * 70_000 + b"\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 206 Partial\r\n" + b"X: y\r\n" * 20_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + GOOD,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + GOOD,
    ],
    ids=lambda answer: answer[:40].decode("latin-1").encode("unicode_escape").decode(),
)
def test_what_is_not_the_http_of_a_ranged_get_is_refused(answer: bytes) -> None:
    async def play(wires: Wires, accepted: list[int]) -> None:
        with pytest.raises(HTTPClientError):
            await wires.get(REQUEST, _judge)

    asyncio.run(_with_server(_saying(answer), play))


@given(st.binary(max_size=300), st.integers(1, 40))
def test_no_bytes_whatever_break_or_hang_the_reader(garbage: bytes, pieces: int) -> None:
    async def close_after(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for start in range(0, len(garbage), pieces):
            writer.write(garbage[start : start + pieces])
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def play(wires: Wires, accepted: list[int]) -> None:
        with pytest.raises((HTTPClientError, ConnectionError)):
            await wires.get(REQUEST, _judge)

    asyncio.run(_with_server(close_after, play))


@pytest.mark.parametrize("n_sent", [0, 5, 30, len(GOOD) - 1])
def test_an_answer_that_ends_early_is_an_error(n_sent: int) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(GOOD[:n_sent])
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def play(wires: Wires, accepted: list[int]) -> None:
        with pytest.raises(ConnectionError, match="ended before the answer did"):
            await wires.get(REQUEST, _judge)
        assert accepted == [1], "a connection that was new is not asked again in secret"

    asyncio.run(_with_server(cut, play))


def test_a_connection_is_kept_unless_told_otherwise() -> None:
    closing = GOOD.replace(b"ETag", b"Connection: close\r\nETag")

    async def play(wires: Wires, accepted: list[int]) -> list[int]:
        counts = []
        for fresh in (False, False, False, True, False):
            assert (await wires.get(REQUEST, _judge, fresh=fresh)).body == b"hello"
            counts.append(accepted[0])
        return counts

    assert asyncio.run(_with_server(_saying(*[GOOD] * 9), play)) == [1, 1, 1, 2, 2]
    assert asyncio.run(_with_server(_saying(*[closing] * 9), play)) == [1, 2, 3, 4, 5]
    old = [GOOD.replace(b"HTTP/1.1", b"HTTP/1.0")] * 9
    assert asyncio.run(_with_server(_saying(*old), play)) == [1, 2, 3, 4, 5]


def test_a_connection_that_was_closed_while_idle_costs_no_try() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(GOOD)
        await reader.readuntil(b"\r\n\r\n")  # closes just as the next request comes

    async def play(wires: Wires, accepted: list[int]) -> None:
        for n in range(1, 5):
            assert (await wires.get(REQUEST, _judge)).body == b"hello"
            assert accepted == [n]

    asyncio.run(_with_server(once, play))


def test_an_idle_connection_grows_too_old() -> None:
    async def play(wires: Wires, accepted: list[int]) -> None:
        await wires.get(REQUEST, _judge)
        await asyncio.sleep(0.2)
        await wires.get(REQUEST, _judge)
        assert accepted == [2]

    asyncio.run(_with_server(_saying(*[GOOD] * 3), play, idle_timeout_s=0.1))


def test_bytes_that_nobody_asked_for_end_the_connection() -> None:
    async def chatty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(GOOD)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(GOOD.replace(b"hello", b"EVIL!"))
        await writer.drain()
        await _saying(GOOD)(reader, writer)

    async def play(wires: Wires, accepted: list[int]) -> None:
        await wires.get(REQUEST, _judge)
        await asyncio.sleep(0.15)
        assert (await wires.get(REQUEST, _judge)).body == b"hello"
        assert accepted == [2]

    asyncio.run(_with_server(chatty, play))


def test_what_the_judge_says_is_raised_and_the_body_is_not_read() -> None:
    answer = b"HTTP/1.1 418 Teapot\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 10**6

    async def play(wires: Wires, accepted: list[int]) -> None:
        with pytest.raises(AnswerError, match="judged"):
            await wires.get(REQUEST, _judge)
        assert not wires._open or all(wire._transport.is_closing() for wire in wires._open)

    asyncio.run(_with_server(_saying(answer), play))


def test_cancellation_drops_the_connection() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def play(wires: Wires, accepted: list[int]) -> None:
        for delay in (0.0, 0.0, 0.05):
            task = asyncio.create_task(wires.get(REQUEST, _judge))
            await asyncio.sleep(delay)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await asyncio.sleep(0.05)
        assert not wires._open

    asyncio.run(_with_server(silent, play))


def test_connections_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    async def refused() -> None:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        wires = Wires("127.0.0.1", port, None, "http://x", connect_timeout_s=5.0, idle_timeout_s=5.0)
        with pytest.raises(EndpointConnectionError):
            await wires.get(REQUEST, _judge)

    asyncio.run(refused())
    authority, certificate, key = loopback_tls.issue(tmp_path)
    speaking = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    speaking.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=authority)
    reply = asyncio.run(_with_server(_saying(GOOD), _get, speaking, context=trusting))
    assert reply.body == b"hello"

    async def untrusted(wires: Wires, accepted: list[int]) -> None:
        with pytest.raises(SSLError, match="certificate"):
            await wires.get(REQUEST, _judge)

    asyncio.run(_with_server(_saying(GOOD), untrusted, speaking, context=ssl.create_default_context()))

    async def mute(wires: Wires, accepted: list[int]) -> None:
        with pytest.raises(ConnectTimeoutError):
            await wires.get(REQUEST, _judge)

    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    asyncio.run(_with_server(no_tls, mute, None, context=trusting, connect_timeout_s=0.3))
