"""Small ranges at full speed: one GET past most of botocore's machinery.

Owns the short way of one request: the address and headers that botocore itself made for the bucket are kept, and only
range, ETag and signature are new. The checks of the answer are those of every other read. It refuses to try twice,
and to guess: where the short way does not know, or the server says anything but 200 or 206, the caller goes the long
way, which botocore's own ``get_object`` is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from botocore.exceptions import ClientError
from multidict import CIMultiDict
from yarl import URL

from starskope.transfer.checks import AnswerError, Extent, check_extent
from starskope.transfer.connections import Connections, fresh_connection, read_bounded
from starskope.transfer.hedging import Latency
from starskope.transfer.options import TransferOptions
from starskope.transfer.signing import Signing, learn_signing
from starskope.transfer.uris import S3Uri

__all__ = ["LongWayError", "QuickReads"]

# Keys whose spelling in an address nobody disputes; the others go the long way.
_PLAIN_KEY = re.compile(r"(?!.*(?:^|/)\.{0,2}(?:/|$))[A-Za-z0-9_.~/-]+")
_OF_ONE_REQUEST = frozenset(
    {"range", "if-match", "x-amz-checksum-mode", "authorization", "x-amz-date", "x-amz-security-token"}
    | {"x-amz-content-sha256", "amz-sdk-invocation-id", "amz-sdk-request", "host", "connection"}
)
_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,60})</Code>")
_PLAIN_ETAG = re.compile(r"[!#-~]+")
_ERROR_BYTES = 2**16
_MAX_URLS = 4096
# Answers after which botocore must have its say: redirects to another region, signatures that went out of date.
_ASK_BOTOCORE = frozenset({301, 302, 303, 307, 308, 400, 401, 403})
_noted: ContextVar[list[Any] | None] = ContextVar("starskope_noted", default=None)


class LongWayError(Exception):
    """A request cannot go the short way; no word about the server."""


@dataclass
class _Address:
    """What botocore made of one bucket."""

    prefix: str
    headers: dict[str, str] = field(repr=False)
    proxy: dict[str, Any] = field(repr=False)
    signing: Signing | None = field(repr=False)
    content: str = field(repr=False)
    urls: dict[str, URL] = field(default_factory=dict, repr=False)

    def url(self, key: str) -> URL:
        url = self.urls.get(key)
        if url is None:
            if len(self.urls) >= _MAX_URLS:
                self.urls.clear()
            url = self.urls[key] = URL(self.prefix + _quoted(key), encoded=True)
        return url


class QuickReads:
    """The short way of one client.

    Parameters
    ----------
    s3 : aiobotocore client
        Whose requests are learned from.
    options : TransferOptions
        ``small_read_bytes`` and the ``hedge_*`` options.
    """

    def __init__(self, s3: Any, options: TransferOptions) -> None:
        self.latency = Latency(options)
        self._most = options.small_read_bytes
        self._addresses: dict[str, _Address | None] = {}
        self._signer = getattr(s3, "_request_signer", None)
        connections = getattr(getattr(s3, "_endpoint", None), "http_session", None)
        self._connections = connections if isinstance(connections, Connections) else None
        if self._connections is not None:
            s3.meta.events.register("before-send.s3.GetObject", _take_note)

    def knows(self, uri: S3Uri, n_bytes: int) -> bool:
        """Return whether a range of an object can go the short way."""
        return (
            n_bytes <= self._most
            and self._addresses.get(uri.bucket) is not None
            and _PLAIN_KEY.fullmatch(uri.key) is not None
        )

    def wants(self, uri: S3Uri) -> bool:
        """Return whether a request to this bucket, made by botocore, would teach anything."""
        return self._connections is not None and self._most > 0 and uri.bucket not in self._addresses

    @contextmanager
    def watching(self) -> Iterator[list[Any]]:
        """Collect the requests that botocore sends in this block."""
        requests: list[Any] = []
        token = _noted.set(requests)
        try:
            yield requests
        finally:
            _noted.reset(token)

    async def learn(self, uri: S3Uri, requests: list[Any]) -> None:
        """Learn the address of a bucket from a request for one of its objects that was answered well."""
        if not requests or _PLAIN_KEY.fullmatch(uri.key) is None or self._connections is None:
            return
        request = requests[-1]
        url, tail = str(request.url), _quoted(uri.key)
        sent = {name.lower(): _text(value) for name, value in request.headers.items()}
        signing = None
        is_known = url.endswith("/" + tail) and not urlsplit(url).query and request.method == "GET"
        if is_known and "authorization" in sent:
            with suppress(AttributeError, KeyError, TypeError):  # a botocore with other insides: the long way, then
                signing = await learn_signing(self._signer, url, sent)
            is_known = signing is not None
        if not is_known:
            self._addresses[uri.bucket] = None
            return
        _, proxy = await self._connections.session_for(url)
        kept = {name: value for name, value in sent.items() if name not in _OF_ONE_REQUEST}
        kept["accept-encoding"] = "identity"  # as aiobotocore says: bytes of the object, not of a packed copy
        content = sent.get("x-amz-content-sha256", "")
        self._addresses[uri.bucket] = _Address(url.removesuffix(tail), kept, proxy, signing, content)

    async def read(
        self, uri: S3Uri, start: int, stop: int, etag: str | None, *, fresh: bool = False
    ) -> tuple[bytes, Extent]:
        """Ask once for bytes ``start`` to ``stop - 1``.

        Raises
        ------
        LongWayError
            When botocore should ask instead.
        AnswerError, ClientError, aiohttp.ClientError
            As `starskope.transfer.faults.explain` reads them.
        """
        address = self._addresses.get(uri.bucket)
        if address is None or self._connections is None or not (etag is None or _PLAIN_ETAG.fullmatch(etag)):
            raise LongWayError
        headers = await _headers(address, uri.key, start, stop, etag)
        if fresh:
            with fresh_connection():
                session, _ = await self._connections.session_for(address.prefix)
        else:
            session, _ = await self._connections.session_for(address.prefix)
        response = await session.get(address.url(uri.key), headers=headers, allow_redirects=False, **address.proxy)
        try:
            status = response.status
            if status not in (200, 206):
                await self._refuse(uri, status, response)
            extent = check_extent(status, response.headers, start, stop, etag)
            data = await response.read()
        except BaseException:
            response.close()  # drops the connection; one that was read to its end has gone back by itself
            raise
        if len(data) != extent.stop - extent.start:
            raise AnswerError(f"the body has {len(data)} bytes, expected {extent.stop - extent.start}")
        return data, extent

    async def _refuse(self, uri: S3Uri, status: int, response: Any) -> None:
        if status in _ASK_BOTOCORE:
            self._addresses.pop(uri.bucket, None)
            raise LongWayError
        body = await read_bounded(response.content, _ERROR_BYTES)
        found = _CODE.search(body)
        code = str(status) if found is None else found[1].decode("ascii")
        raise ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")


async def _headers(address: _Address, key: str, start: int, stop: int, etag: str | None) -> CIMultiDict[str]:
    own = {"range": f"bytes={start}-{stop - 1}"}
    if etag is not None:
        own["if-match"] = f'"{etag}"'
    headers = CIMultiDict(address.headers)
    headers.update(own)
    if address.signing is not None:
        signed = {name: value for name, value in address.headers.items() if name.startswith("x-amz-")}
        path = address.url(key).raw_path
        headers.update(await address.signing.headers(path, {**signed, **own}, address.content))
    return headers


def _take_note(request: Any, **_: Any) -> None:
    """Keep a request of botocore that somebody wants to learn from; never answer it."""
    requests = _noted.get()
    if requests is not None:
        requests.append(request)


def _quoted(key: str) -> str:
    return quote(key, safe="/~")


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
