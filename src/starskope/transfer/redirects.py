"""Where an answer may come from: the server that was asked.

Owns the rule that no HTTP redirect is followed. aiohttp would follow one to any host, also from https to http, and with
the token of temporary credentials among the headers. It refuses nothing else: that a bucket lives in another region is
told by S3 in a header, and botocore then builds the other address itself, as it does for boto3.
"""

from __future__ import annotations

from typing import Any

from aiobotocore.httpsession import AIOHTTPSession

from starskope.transfer.checks import AnswerError

__all__ = ["OneProviderSession"]


class OneProviderSession(AIOHTTPSession):  # type: ignore[misc]
    """aiobotocore's HTTP session, for ``AioConfig(http_session_cls=...)``, that follows no redirect."""

    async def send(self, request: Any) -> Any:
        """Send a request; an answer that came by way of a redirect all the same is dropped."""
        response = await super().send(request)
        if response.raw.history:
            response.raw.close()
            raise AnswerError(f"{request.url.partition('?')[0]} was redirected: redirects are not followed")
        return response

    async def _get_session(self, proxy_url: str | None) -> Any:
        return _NotFollowing(await super()._get_session(proxy_url))


class _NotFollowing:
    """An aiohttp session as far as `AIOHTTPSession.send` uses it."""

    __slots__ = ("_session",)

    def __init__(self, session: Any) -> None:
        self._session = session

    def request(self, method: str, **arguments: Any) -> Any:
        return self._session.request(method, **{**arguments, "allow_redirects": False})
