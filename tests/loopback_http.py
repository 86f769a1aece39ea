"""HTTP/1.1 as much of it as a proxy on loopback needs: heads, bodies that flow, kept connections to the server behind.

Owns the wire. It refuses to hold a body unless it is asked for whole (and then at most `MAX_HELD` bytes), and to judge
anything: what is passed on, and how it is spoiled, is told in ``fault_kinds``.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

MAX_HELD = 64 * 2**20
STEP = 2**18
_HEAD_LIMIT = 2**20
_BODILESS = (204, 304)


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: Body | None = field(default=None, repr=False)

    @property
    def is_listing(self) -> bool:
        """Whether it asks for names, in either version of the request."""
        asked = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        return not asked.keys().isdisjoint({"list-type", "prefix", "delimiter", "max-keys"})

    @property
    def start(self) -> int:
        """First byte asked for."""
        said = self.headers.get("range", "").removeprefix("bytes=").split("-")[0]
        return int(said) if said.isdigit() else 0


class Body:
    """What is still to come of a message: `n_left` bytes."""

    def __init__(self, reader: asyncio.StreamReader, n_bytes: int) -> None:
        self._reader = reader
        self.n_left = n_bytes

    async def step(self, n_bytes: int = STEP) -> bytes:
        """Return the next bytes, at most so many; none at the end."""
        chunk = await self._reader.read(min(n_bytes, STEP, self.n_left)) if self.n_left else b""
        if self.n_left and not chunk:
            raise asyncio.IncompleteReadError(b"", self.n_left)
        self.n_left -= len(chunk)
        return chunk


@dataclass
class Answer:
    """Status and headers (lower-case names), and a body that is either here or still flowing."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    flowing: Body | None = field(default=None, repr=False)

    def head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} Planned", *(f"{name}: {value}" for name, value in self.headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    @property
    def n_bytes(self) -> int:
        """Bytes of the body, sent or not."""
        return len(self.body) if self.flowing is None else self.flowing.n_left

    async def step(self, n_bytes: int = STEP) -> bytes:
        """Take the next bytes of the body, at most so many; none at the end."""
        if self.flowing is not None:
            return await self.flowing.step(n_bytes)
        chunk, self.body = self.body[:n_bytes], self.body[n_bytes:]
        return chunk

    async def hold(self) -> None:
        """Let the whole body come."""
        if self.n_bytes > MAX_HELD:
            raise ValueError(f"a body of {self.n_bytes} bytes is not held, only up to {MAX_HELD}")
        pieces = []
        while piece := await self.step():
            pieces.append(piece)
        self.body, self.flowing = b"".join(pieces), None


class Upstream:
    """One kept connection to the server behind; opened when it is needed."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)
        self._wire: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._last: Answer | None = None
        self._is_over = False  # the server said that it closes after its last answer

    async def ask(self, request: Request) -> Answer:
        """Send a request and return its answer, whose body still flows."""
        if self._is_over or (self._last is not None and self._last.flowing is not None and self._last.flowing.n_left):
            await self.close()  # also when nobody wanted the rest of its last answer
        is_kept = self._wire is not None
        try:
            return await self._ask(request)
        except (ConnectionError, asyncio.IncompleteReadError):
            await self.close()
            if not is_kept or request.body is not None:
                raise
        return await self._ask(request)  # the server behind had closed the idle connection

    async def _ask(self, request: Request) -> Answer:
        if self._wire is None:
            address = self._address
            self._wire = await asyncio.open_connection(address.hostname, address.port, limit=_HEAD_LIMIT)
        reader, writer = self._wire
        dropped = ("host", "connection", "expect", "proxy-connection")
        kept = {name: value for name, value in request.headers.items() if name not in dropped}
        lines = [f"{request.method} {request.target} HTTP/1.1", f"host: {self._address.netloc}"]
        lines += [f"{name}: {value}" for name, value in kept.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        if request.body is not None:
            while chunk := await request.body.step():
                writer.write(chunk)
                await writer.drain()
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        answer = Answer(int(head[0].split()[1]), read_headers(head[1:]))
        self._is_over = "close" in answer.headers.pop("connection", "").lower() or head[0].startswith("HTTP/1.0")
        if request.method == "HEAD" or answer.status in _BODILESS:
            return answer
        length = answer.headers.get("content-length")
        if length is not None:
            answer.flowing, self._last = Body(reader, int(length)), answer
        elif "chunked" in answer.headers.pop("transfer-encoding", ""):
            answer.body = await _read_chunked(reader)
        else:
            answer.body = await reader.read(MAX_HELD)
            await self.close()
        answer.headers.setdefault("content-length", str(len(answer.body)))
        return answer

    async def close(self) -> None:
        wire, self._wire, self._last, self._is_over = self._wire, None, None, False
        if wire is not None:
            wire[1].close()
            try:
                with contextlib.suppress(ConnectionError):
                    await wire[1].wait_closed()
            finally:
                wire[1].transport.abort()  # what the server behind never read keeps no socket open


async def _read_chunked(reader: asyncio.StreamReader) -> bytes:
    pieces: list[bytes] = []
    n_held = 0
    while n_bytes := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        n_held += n_bytes
        if n_held > MAX_HELD:
            raise ValueError(f"a body of more than {MAX_HELD} bytes is not held")
        pieces.append((await reader.readexactly(n_bytes + 2))[:-2])
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailers
    return b"".join(pieces)


async def read_request(reader: asyncio.StreamReader, begun: bytes = b"") -> Request | None:
    """Read the next request of a connection; None when the client has left."""
    try:
        head = (begun + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = head[0].split(" ", 2)
    request = Request(method, target, read_headers(head[1:]))
    if n_bytes := int(request.headers.get("content-length", 0)):
        request.body = Body(reader, n_bytes)
    return request


def read_headers(lines: list[str]) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {name.strip().lower(): value.strip() for name, value in pairs}
