"""The connections beneath an S3 client.

Owns what aiobotocore's HTTP session leaves open: redirects are not followed (they could lead anywhere, with the
session token in the headers), cookies are not kept, a listing or an error has a greatest length, and a request that
failed is repeated on a connection of its own. It refuses to know S3.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession

from starskope.transfer.checks import AnswerError

__all__ = ["Connections", "connections_class", "drop_connection", "fresh_connection"]

# Names of aiobotocore that are not public; where one is missing the package works without most of what is added here.
_NEEDED = ("_create_connector", "_get_session", "close", "send")
_fresh: ContextVar[bool] = ContextVar("starskope_fresh", default=False)
_is_bulk: ContextVar[bool] = ContextVar("starskope_is_bulk", default=True)


@contextmanager
def fresh_connection() -> Iterator[None]:
    """Send the requests of this block on new connections, which are closed after their answer."""
    token = _fresh.set(True)
    try:
        yield
    finally:
        _fresh.reset(token)


class Connections(AIOHTTPSession):  # type: ignore[misc]
    """aiobotocore's HTTP session with firmer manners; see the module.

    Attributes
    ----------
    max_answer_bytes : int
        Greatest length of an answer that is read whole.
    step_bytes : int
        Bytes read ahead of the taker of a body.
    """

    max_answer_bytes: ClassVar[int] = 32 * 2**20
    step_bytes: ClassVar[int] = 2**18
    _connector_args: dict[str, Any]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._contexts: dict[str | None, Any] = {}

    async def send(self, request: Any) -> Any:
        """Send a request of botocore; an answer that is no object's body has a greatest length."""
        token = _is_bulk.set(bool(request.stream_output))
        try:
            return await super().send(request)
        finally:
            _is_bulk.reset(token)

    async def tls(self) -> ssl.SSLContext:
        """Return the context that verifies servers as aiobotocore does, AWS_CA_BUNDLE and profile heeded."""
        context, _ = await asyncio.to_thread(self._build_ssl_contexts, None)
        if not isinstance(context, ssl.SSLContext) or context.verify_mode != ssl.CERT_REQUIRED:
            raise TypeError("this aiobotocore makes no context that verifies")
        return context

    def has_proxy(self, url: str) -> bool:
        """Return whether requests to an address go through a proxy."""
        return bool(self._proxy_config.proxy_url_for(url))

    async def _get_session(self, proxy_url: str | None) -> Any:
        place = (proxy_url, _fresh.get())
        if place not in self._sessions:
            async with self._sessions_lock:
                if place not in self._sessions:
                    self._sessions[place] = await self._open(proxy_url, is_fresh=place[1])
        return self._sessions[place]

    def _build_ssl_contexts(self, proxy_url: str | None) -> Any:
        # Reading the certificates of the system takes longer than many a request: once is enough.
        if proxy_url not in self._contexts:
            self._contexts[proxy_url] = super()._build_ssl_contexts(proxy_url)
        return self._contexts[proxy_url]

    async def _open(self, proxy_url: str | None, *, is_fresh: bool) -> _Session:
        kept: dict[str, Any] = self._connector_args
        if is_fresh:
            self._connector_args = {
                **{name: value for name, value in kept.items() if name != "keepalive_timeout"},
                "force_close": True,
            }
        try:
            connector = await self._create_connector(proxy_url)
        finally:
            self._connector_args = kept
        session = aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            skip_auto_headers={"CONTENT-TYPE"},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=self.step_bytes,
        )
        return _Session(await self._exit_stack.enter_async_context(session), self.max_answer_bytes)


class Wary(AIOHTTPSession):  # type: ignore[misc]
    """aiobotocore's HTTP session of other insides than `Connections` needs: its redirects are at least not believed."""

    async def send(self, request: Any) -> Any:
        """Send a request of botocore and refuse an answer that came from elsewhere."""
        response = await super().send(request)
        if getattr(response.raw, "history", ()) or str(response.url).partition("?")[0] != request.url.partition("?")[0]:
            response.raw.close()
            raise AnswerError("the server redirects: redirects are not followed")
        return response


def drop_connection(response: Any) -> None:
    """Close the connection of an answer that was not to the question, also where aiohttp keeps it for the next one.

    What follows on it may be the answer after all, which the next question would take for its own.
    """
    protocol = getattr(response.content, "_protocol", None)
    if protocol is not None:
        protocol.close()


def connections_class(max_answer_bytes: int, step_bytes: int) -> type[AIOHTTPSession]:
    """Return the class to hand to aiobotocore; a plainer one where its version has other insides than this needs."""
    if not all(hasattr(AIOHTTPSession, name) for name in _NEEDED):
        return Wary
    settings = {"max_answer_bytes": max_answer_bytes, "step_bytes": step_bytes}
    return type("ConfiguredConnections", (Connections,), settings)


class _Session:
    """The one method of aiohttp's session that aiobotocore calls."""

    def __init__(self, plain: aiohttp.ClientSession, max_answer_bytes: int) -> None:
        self.plain = plain
        self._max_answer_bytes = max_answer_bytes

    async def request(self, method: str, **arguments: Any) -> aiohttp.ClientResponse:
        response = await self.plain.request(method, allow_redirects=False, **arguments)
        if response.status >= 300 or not _is_bulk.get():
            response.content = _Bounded(response.content, self._max_answer_bytes)
        return response


class _Bounded:
    """A body that may be read to its end only if that comes soon enough."""

    def __init__(self, stream: Any, most: int) -> None:
        self._stream = stream
        self._most = most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def read(self, n: int = -1) -> bytes:
        if n >= 0:
            got: bytes = await self._stream.read(n)
            return got
        return await read_bounded(self._stream, self._most)


async def read_bounded(stream: Any, most: int) -> bytes:
    """Read a body to its end.

    Raises
    ------
    AnswerError
        When it has more than `most` bytes.
    """
    chunks: list[bytes] = []
    left = most
    while chunk := await stream.readany():
        left -= len(chunk)
        if left < 0:
            raise AnswerError(f"the answer is longer than {most} bytes: is the endpoint right?")
        chunks.append(chunk)
    return b"".join(chunks)
