"""Small ranges at full speed: one GET past most of botocore's machinery.

Owns the short way of one request: the address and headers that botocore itself made for the bucket are kept, and only
range, ETag and signature are new. The checks of the answer are those of every other read. It refuses to try twice,
and to guess: where the short way does not know, or the server says anything but 200 or 206, the caller goes the long
way, which botocore's own ``get_object`` is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlsplit

from botocore.exceptions import ClientError

from starskope.transfer.checks import AnswerError, Extent, check_extent
from starskope.transfer.connections import Connections
from starskope.transfer.hedging import Latency
from starskope.transfer.options import TransferOptions
from starskope.transfer.signing import Signing, learn_signing
from starskope.transfer.uris import S3Uri
from starskope.transfer.wire import Wires

__all__ = ["LongWayError", "QuickReads"]

# Keys whose spelling in an address nobody disputes; the others go the long way.
_PLAIN_KEY = re.compile(r"(?!.*(?:^|/)\.{0,2}(?:/|$))[A-Za-z0-9_.~/-]+")
_OF_ONE_REQUEST = frozenset(
    {"range", "if-match", "x-amz-checksum-mode", "authorization", "x-amz-date", "x-amz-security-token"}
    | {"x-amz-content-sha256", "amz-sdk-invocation-id", "amz-sdk-request", "host", "connection"}
)
_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,60})</Code>")
_PLAIN_ETAG = re.compile(r"[!#-~]+")
_PORTS = {"http": 80, "https": 443}
_ERROR_BYTES = 2**16
_HEADER_TEXT = re.compile(r"[\t -~\x80-\xff]*")
# Answers after which botocore must have its say: redirects to another region, signatures that went out of date.
_ASK_BOTOCORE = frozenset({301, 302, 303, 307, 308, 400, 401, 403})
_noted: ContextVar[list[Any] | None] = ContextVar("starskope_noted", default=None)


class LongWayError(Exception):
    """A request cannot go the short way; no word about the server."""


@dataclass
class _Address:
    """What botocore made of one bucket."""

    wires: Wires = field(repr=False)
    path: str
    host: str
    headers: dict[str, str] = field(repr=False)
    signing: Signing | None = field(repr=False)
    content: str = field(repr=False)

    def __post_init__(self) -> None:
        self.lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        self.signed = {name: value for name, value in self.headers.items() if name.startswith("x-amz-")}

    async def request(self, key: str, own: dict[str, str]) -> bytes:
        """Return the head of a GET with some headers of its own."""
        path = self.path + _quoted(key)
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {self.host}",
            *(f"{name}: {self.headers[name]}" for name in self.headers),
        ]
        if self.signing is not None:
            signed = {name: value for name, value in self.headers.items() if name.startswith("x-amz-")}
            own = {**own, **await self.signing.headers(path, {**signed, **own}, self.content)}
        lines += [f"{name}: {value}" for name, value in own.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class QuickReads:
    """The short way of one client.

    Parameters
    ----------
    s3 : aiobotocore client
        Whose requests are learned from.
    options : TransferOptions
        ``small_read_bytes``, the ``hedge_*`` options and the timeouts of connections.
    """

    def __init__(self, s3: Any, options: TransferOptions) -> None:
        self.latency = Latency(options)
        self._options = options
        self._addresses: dict[str, _Address | None] = {}
        self._wires: dict[tuple[str, str, int], Wires] = {}
        self._signer = getattr(s3, "_request_signer", None)
        connections = getattr(getattr(s3, "_endpoint", None), "http_session", None)
        self._connections = connections if isinstance(connections, Connections) else None
        if self._connections is not None:
            s3.meta.events.register("before-send.s3.GetObject", _take_note)

    def knows(self, uri: S3Uri, n_bytes: int) -> bool:
        """Return whether a range of an object can go the short way."""
        return (
            n_bytes <= self._options.small_read_bytes
            and self._addresses.get(uri.bucket) is not None
            and _PLAIN_KEY.fullmatch(uri.key) is not None
        )

    def wants(self, uri: S3Uri) -> bool:
        """Return whether a request to this bucket, made by botocore, would teach anything."""
        return (
            self._connections is not None
            and self._options.small_read_bytes > 0
            and uri.bucket not in self._addresses
            and _PLAIN_KEY.fullmatch(uri.key) is not None
        )

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
        if requests:
            # An aiobotocore or botocore of other insides means the long way, no more.
            with suppress(AttributeError, KeyError, TypeError, ValueError):
                self._addresses[uri.bucket] = None
                self._addresses[uri.bucket] = await self._address(uri.key, requests[-1])

    async def _address(self, key: str, request: Any) -> _Address | None:
        url, tail = str(request.url), _quoted(key)
        parts = urlsplit(url)
        sent = {name.lower(): _text(value) for name, value in request.headers.items()}
        kept = {name: value for name, value in sent.items() if name not in _OF_ONE_REQUEST}
        if (
            self._connections is None
            or request.method != "GET"
            or parts.query
            or not parts.path.endswith("/" + tail)
            or parts.scheme not in _PORTS
            or not parts.hostname
            or self._connections.has_proxy(url)
            or not all(_HEADER_TEXT.fullmatch(value) for value in kept.values())
        ):
            return None
        signing = None
        if "authorization" in sent:
            signing = await learn_signing(self._signer, url, sent)
            if signing is None:
                return None
        kept |= {"accept": "*/*", "accept-encoding": "identity"}  # bytes of the object, not of a packed copy
        default = _PORTS[parts.scheme]
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        host = name if parts.port in (None, default) else f"{name}:{parts.port}"
        wires = await self._server(parts.scheme, parts.hostname, parts.port or default, self._connections)
        content = sent.get("x-amz-content-sha256", "")
        return _Address(wires, parts.path.removesuffix(tail), host, kept, signing, content)

    async def _server(self, scheme: str, host: str, port: int, connections: Connections) -> Wires:
        place = (scheme, host, port)
        if place not in self._wires:
            tls = await connections.tls() if scheme == "https" else None
            self._wires.setdefault(
                place,
                Wires(
                    host,
                    port,
                    tls,
                    f"{scheme}://{host}:{port}",
                    connect_timeout_s=self._options.connect_timeout_s,
                    idle_timeout_s=self._options.idle_timeout_s,
                ),
            )
        return self._wires[place]

    async def read(
        self,
        uri: S3Uri,
        start: int,
        stop: int,
        etag: str | None,
        *,
        fresh: bool = False,
        took: Callable[[int], None] | None = None,
    ) -> tuple[bytes, Extent]:
        """Ask once for bytes ``start`` to ``stop - 1``; `fresh` and `took` as `Wires.get` has them.

        Raises
        ------
        LongWayError
            When botocore should ask instead.
        AnswerError, ConnectionError, botocore's exceptions
            As `starskope.transfer.faults.explain` reads them.
        """
        address = self._addresses.get(uri.bucket)
        if address is None or not (etag is None or _PLAIN_ETAG.fullmatch(etag)):
            raise LongWayError
        own = {"range": f"bytes={start}-{stop - 1}"}
        if etag is not None:
            own["if-match"] = f'"{etag}"'
        accepted: list[Extent] = []

        def judge(status: int, headers: Mapping[str, str]) -> int:
            if status in (200, 206):
                extent = check_extent(status, headers, start, stop, etag)
                accepted.append(extent)
                return extent.stop - extent.start
            if status in _ASK_BOTOCORE:
                raise LongWayError
            length = headers.get("content-length", "")
            if not (length.isascii() and length.isdigit() and len(length) < 8 and int(length) <= _ERROR_BYTES):
                raise AnswerError(f"the server answered {status} without a reason of readable length")
            return int(length)

        try:
            reply = await address.wires.get(await address.request(uri.key, own), judge, fresh=fresh, took=took)
        except LongWayError:
            self._addresses.pop(uri.bucket, None)
            raise
        if accepted:
            return reply.body, accepted[0]
        found = _CODE.search(reply.body)
        code = str(reply.status) if found is None else found[1].decode("ascii")
        raise ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": reply.status}}, "GetObject")

    async def close(self) -> None:
        """Drop the connections of the short way."""
        for wires in self._wires.values():
            await wires.close()


def _take_note(request: Any, **_: Any) -> None:
    """Keep a request of botocore that somebody wants to learn from; never answer it."""
    requests = _noted.get()
    if requests is not None:
        requests.append(request)


@lru_cache(maxsize=4096)
def _quoted(key: str) -> str:
    return quote(key, safe="/~")


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
