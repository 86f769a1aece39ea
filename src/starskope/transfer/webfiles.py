"""The one verb of an S3 client that ranged reads use, spoken to plain web servers.

Owns the request for a range of a file over HTTPS: certificates verified against the same authorities as S3's, redirects
followed within the provider alone, no credentials, no cookies, no compression. What comes back has the shape of
``get_object``'s answer, so that tries, checks and pace stay those of ``ranged``. Refuses servers that name neither
ETag nor Last-Modified: two versions of a file could not be told apart.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from botocore import exceptions as boto
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies
from yarl import URL

from starskope.errors import TransferError
from starskope.transfer.checks import AnswerError
from starskope.transfer.options import TransferOptions
from starskope.transfer.weburi import WebUri

__all__ = ["WebFiles"]

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_MODIFIED, _WEAK = "modified ", "weak "
_CA_VARIABLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")


class _Body:
    """The body of an answer, as botocore wraps it."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.raw_stream = answer

    def close(self) -> None:
        self.raw_stream.close()


class WebFiles:
    """Files on web servers; made by `open_clients` only.

    Parameters
    ----------
    options : TransferOptions
        Patience and number of connections.
    """

    def __init__(self, options: TransferOptions) -> None:
        self._options = options
        self._session: aiohttp.ClientSession | None = None
        self._proxies: dict[str, dict[str, str]] = {}

    async def open(self) -> None:
        """Make the session; opens no connection."""
        options = self._options
        context = await asyncio.to_thread(_verifying_context)
        connector = aiohttp.TCPConnector(
            limit=options.max_connections, ssl=context, keepalive_timeout=options.idle_timeout_s
        )
        # trust_env stays off: it would send passwords out of ~/.netrc.
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(sock_connect=options.connect_timeout_s, sock_read=options.stall_timeout_s),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "starskope", "Accept": "*/*"},
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def get_object(
        self, *, Bucket: str, Key: str, Range: str = "", IfMatch: str = "", **_only_s3: str
    ) -> dict[str, Any]:
        """Ask for a file or a range of it, as the S3 client's method of this name; arguments of S3 alone are dropped.

        Raises
        ------
        TransferError
            Another try cannot help: there is no such file, it is refused, or the server cannot be trusted with it.
        AnswerError, botocore and network errors
            Another try may.
        """
        uri = WebUri(Bucket, Key)
        headers = {"Accept-Encoding": "identity", **_condition(IfMatch)}
        if Range:
            headers["Range"] = Range
        answer = await self._follow(uri, headers)
        try:
            _check_status(answer.status, uri)
            described = {name.lower(): value for name, value in answer.headers.items()}
            if described.get("content-encoding", "identity") != "identity":
                raise AnswerError(f"{uri.bucket} compressed the answer, although it was asked not to")
            described["etag"] = _validator(described, uri)
        except BaseException:
            answer.close()
            raise
        return {"Body": _Body(answer), "ResponseMetadata": {"HTTPStatusCode": answer.status, "HTTPHeaders": described}}

    async def _follow(self, uri: WebUri, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """Send a request and go where redirects of the same provider lead."""
        if self._session is None:
            raise RuntimeError("WebFiles.open was not awaited")
        url = str(uri)
        for _ in range(_MAX_REDIRECTS + 1):
            with _as_botocore(uri.bucket):
                answer = await self._session.get(
                    URL(url, encoded=True), headers=headers, allow_redirects=False, proxy=self._proxy_for(url)
                )
            if answer.status not in _REDIRECTS:
                return answer
            answer.close()
            try:
                url = uri.redirected(url, answer.headers.get("Location", ""))
            except ValueError as error:
                raise _hopeless(uri, str(error)) from None
        raise AnswerError(f"{uri.bucket} redirects without end: is the address right?")

    def _proxy_for(self, url: str) -> str | None:
        """Return the proxy that the environment names for an address; found out once per server."""
        parts = urlsplit(url)
        if parts.scheme == "http":
            return None  # nothing but this machine
        if parts.netloc not in self._proxies:
            self._proxies[parts.netloc] = get_environ_proxies(f"{parts.scheme}://{parts.netloc}")
        return self._proxies[parts.netloc].get(parts.scheme)


def _verifying_context() -> ssl.SSLContext:
    """Trust whom the S3 client trusts: the bundle of the environment, else the one that comes with it."""
    bundle = next((value for name in _CA_VARIABLES if (value := os.environ.get(name))), None) or get_cert_path(True)
    try:
        return ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise TransferError(f"the certificates in {bundle} cannot be read ({error}): check AWS_CA_BUNDLE") from error


def _condition(token: str) -> dict[str, str]:
    """Ask for that version alone; see `_validator`."""
    token = token.strip('"')
    if token.startswith(_MODIFIED):
        return {"If-Unmodified-Since": token.removeprefix(_MODIFIED)}
    return {} if not token or token.startswith(_WEAK) else {"If-Match": f'"{token}"'}


def _validator(headers: Mapping[str, str], uri: WebUri) -> str:
    """Return what tells this version of a file from another, in the place of S3's ETag.

    Notes
    -----
    If-Match compares strongly (RFC 9110, 13.1.1), so that a weak ETag never matches: Last-Modified, which has a
    resolution of a second, is preferred. Whatever it is, the answer is held against it, and the size of the file too.
    """
    etag, modified = headers.get("etag", ""), headers.get("last-modified", "")
    if etag and not etag.startswith("W/"):
        return etag
    if modified:
        return f'"{_MODIFIED}{modified}"'
    if etag:
        return f'"{_WEAK}{etag.removeprefix("W/").strip(chr(34))}"'
    raise AnswerError(
        f"{uri.bucket} names neither ETag nor Last-Modified, so that parts of two versions of the file could be mixed"
    )


def _check_status(status: int, uri: WebUri) -> None:
    """Turn a failure into what `ranged` tries again, or into the end of it."""
    if status in (200, 206):
        return
    if status in _AGAIN or status == 412:
        code = "SlowDown" if status in (429, 503) else "PreconditionFailed" if status == 412 else str(status)
        answer = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise boto.ClientError(answer, "GetObject")
    if status in (404, 410):
        raise _hopeless(uri, f"no such file at {uri.bucket} ({status}): check the address")
    if status in (401, 403, 407):
        raise _hopeless(uri, f"refused at {uri.bucket} ({status}): web addresses are read without signing in")
    if status == 416:
        raise _hopeless(uri, "the range lies beyond the end of the file (416)")
    raise _hopeless(uri, f"the server at {uri.bucket} answered {status}")


def _hopeless(uri: WebUri, text: str) -> TransferError:
    return TransferError(f"cannot read {uri}: {text}", {str(uri): text})


@contextmanager
def _as_botocore(origin: str) -> Iterator[None]:
    """Raise what the S3 client would raise, so that one place explains both."""
    try:
        yield
    except aiohttp.ClientSSLError as error:
        raise boto.SSLError(endpoint_url=origin, error=error) from error
    except (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError) as error:
        raise boto.ProxyConnectionError(proxy_url="", error=error) from error
    except aiohttp.ConnectionTimeoutError as error:
        raise boto.ConnectTimeoutError(endpoint_url=origin, error=error) from error
    except TimeoutError as error:
        raise boto.ReadTimeoutError(endpoint_url=origin, error=error) from error
    except aiohttp.ClientConnectorError as error:
        raise boto.EndpointConnectionError(endpoint_url=origin, error=error) from error
    except aiohttp.ClientConnectionError as error:
        raise boto.ConnectionClosedError(endpoint_url=origin, error=error, request=None) from error
    except (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError) as error:
        raise boto.HTTPClientError(error=error) from error
