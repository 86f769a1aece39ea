"""How the archive's database is asked through astroquery: politely, patiently, and never the same thing twice.

Owns politeness (at most three connections of this process, growing waits with jitter after 429, 5xx and broken
connections, Retry-After obeyed, a pause between polls), the proof that an answer is whole, and the way through the
cache. Refuses to know what is asked (``archive.mast``, ``archive.mast_targets``) and to move files: STScI hosts get
questions, S3 gets the traffic.

``astroquery.mast.conf.server`` is honoured at every call, so that a loopback server can stand in.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from astropy.table import Table

from starskope.archive.answers import AnswerCache, open_cache
from starskope.errors import TransferError
from starskope.transfer.options import TransferOptions
from starskope.transfer.pacing import backoff_s

__all__ = ["MAX_CONNECTIONS", "IncompleteError", "Service", "open_service", "whole_rows"]

MAX_CONNECTIONS = 3
"""Connections of this process to the archive's own hosts: a predecessor that opened 200 had to be withdrawn."""

_PERMITS = threading.BoundedSemaphore(MAX_CONNECTIONS)
_PERMIT_PAUSE_S = 0.05
_SLOWER_THAN_S3 = 5.0
_POLL_PAUSE_S = 1.0
_MAX_RETRY_AFTER_S = 120.0
_TIMEOUT_S = (10.0, 90.0)  # to connect, to answer: long queries are polled, so no single answer takes longer
_MAX_ANSWER_BYTES = 2**28  # a page of 50,000 stars of the TIC has half as many
_STEP = 1 << 20


class IncompleteError(Exception):
    """An answer said that it has more rows than it gave."""


class _TooLongError(Exception):
    """An answer would fill the memory; asking again would not help."""


class Service:
    """A few astroquery objects of one kind, one connection each, handed to one question at a time."""

    def __init__(self, kind: str, options: TransferOptions, cache: AnswerCache | None) -> None:
        self._kind = kind
        self._options = options
        self._cache = cache
        self._rng = random.Random()
        self._free: asyncio.Queue[Any] = asyncio.Queue()
        self._all: list[Any] = []
        self._columns: dict[str, Any] = {}
        self._n_promised = 0
        self.server = _server()

    def close(self) -> None:
        """Close the connections and give others their turn."""
        for query in self._all:
            query._portal_api_connection._session.close()
        for _ in range(self._n_promised):
            _PERMITS.release()
        self._n_promised = 0

    async def ask(self, what: str, question: Callable[[Any], Table], *, key: Mapping[str, Any] | None = None) -> Table:
        """Run a blocking question in a thread, again after failures that may pass.

        Parameters
        ----------
        what : str
            For messages.
        question : callable
            Given an astroquery object, asks and returns the rows.
        key : mapping, optional
            What makes the question another one, as JSON values; with it the answer may come from the cache.

        Raises
        ------
        TransferError
            In the end.
        """
        asked = None if key is None else {"server": self.server, "kind": self._kind, **key}
        if self._cache is not None and asked is not None:
            known = await asyncio.to_thread(self._cache.get, asked)
            if known is not None:
                return known
        query = await self._take()
        try:
            table = await self._ask(what, question, query)
        finally:
            self._free.put_nowait(query)
        if self._cache is not None and asked is not None:
            await asyncio.to_thread(self._cache.put, asked, table)
        return table

    async def _ask(self, what: str, question: Callable[[Any], Table], query: Any) -> Table:
        n_most = self._options.max_attempts
        for n_failed in range(1, n_most + 1):
            try:
                return await asyncio.to_thread(question, query)
            except Exception as error:
                wait_s = self._wait(error, n_failed)
                if wait_s is None or n_failed == n_most:
                    text = f"{type(error).__name__}: {error}".splitlines()[0][:300]
                    message = f"the archive at {self.server} did not answer for {what} ({n_failed} tries): {text}"
                    raise TransferError(message, {what: text}) from error
            await asyncio.sleep(wait_s)
        raise AssertionError("unreachable: max_attempts is at least 1")

    async def _take(self) -> Any:
        """Return an object that nobody uses; a new one where this process may still open a connection."""
        if self._free.empty():
            may_open = _PERMITS.acquire(blocking=False)
            while not (may_open or self._n_promised):
                # Others hold all connections. They never wait for one while they hold one, so this ends.
                await asyncio.sleep(_PERMIT_PAUSE_S)
                may_open = _PERMITS.acquire(blocking=False)
            if may_open:
                self._n_promised += 1
                query = await asyncio.to_thread(self._open)
                self._all.append(query)
                return query
        return await self._free.get()

    def _open(self) -> Any:
        from astroquery import mast

        query = getattr(mast, self._kind)()
        # These are class attributes made from conf on import: give this object the present ones.
        portal = query._portal_api_connection
        portal.MAST_REQUEST_URL = f"{self.server}/api/v0/invoke"
        portal.COLUMNS_CONFIG_URL = f"{self.server}/portal/Mashup/Mashup.asmx/columnsconfig"
        portal.PAGESIZE, portal.TIMEOUT = mast.conf.pagesize, mast.conf.timeout
        portal._column_configs = self._columns
        _tame(portal._session)
        return query

    def _wait(self, error: Exception, n_failed: int) -> float | None:
        """Return seconds to wait before the next try; None when trying again cannot help."""
        import requests
        from astroquery.exceptions import TimeoutError as AstroqueryTimeout

        base_s = self._options.backoff_base_s * _SLOWER_THAN_S3
        wait_s = backoff_s(n_failed, base_s, self._options.backoff_max_s * _SLOWER_THAN_S3, self._rng)
        if isinstance(error, requests.HTTPError):
            response = error.response
            if response is None or (response.status_code != 429 and response.status_code < 500):
                return None
            after = response.headers.get("Retry-After", "")
            return max(wait_s, min(float(after), _MAX_RETRY_AFTER_S)) if after.isdigit() else wait_s
        if isinstance(error, IncompleteError) and n_failed > 1:
            return None
        # A page of HTML with status 200 (maintenance) fails to parse: requests calls that JSONDecodeError.
        passing = (requests.RequestException, AstroqueryTimeout, TimeoutError, ConnectionError, IncompleteError)
        return wait_s if isinstance(error, passing) else None


def _server() -> str:
    from astroquery import mast

    return str(mast.conf.server).rstrip("/")


def _tame(session: Any) -> None:
    """Give a session a time limit, one connection, a bound on answers, and a pause after every "still executing"."""
    from requests.adapters import HTTPAdapter

    class Patient(HTTPAdapter):
        def send(self, request: Any, **kwargs: Any) -> Any:  # type: ignore[override]
            kwargs["timeout"] = kwargs.get("timeout") or _TIMEOUT_S
            response = super().send(request, **{**kwargs, "stream": True})
            # Read here, within bounds; what asks for the content later finds it.
            pieces, n_bytes = [], 0
            for piece in response.iter_content(_STEP):
                pieces.append(piece)
                n_bytes += len(piece)
                if n_bytes > _MAX_ANSWER_BYTES:
                    response.close()
                    raise _TooLongError(f"the answer is longer than {_MAX_ANSWER_BYTES} bytes")
            response._content = b"".join(pieces)
            return response

    def pause(response: Any, *_args: Any, **_kwargs: Any) -> None:
        # astroquery asks again at once while a query runs; the archive deserves a breath between polls.
        if b'"EXECUTING"' in response.content[:400].replace(b" ", b""):
            time.sleep(_POLL_PAUSE_S)

    for scheme in ("http://", "https://"):
        session.mount(scheme, Patient(pool_connections=1, pool_maxsize=1))
    session.hooks["response"].append(pause)


@asynccontextmanager
async def open_service(
    kind: str, options: TransferOptions, cache: str | os.PathLike[str] | AnswerCache | None = None
) -> AsyncIterator[Service]:
    """Give a service of an astroquery class (``ObservationsClass``, ``CatalogsClass``); closed at the end."""
    service = await asyncio.to_thread(Service, kind, options, open_cache(cache))
    try:
        yield service
    finally:
        service.close()


def whole_rows(query: Any, responses: Sequence[Any]) -> Table:
    """Return the rows of an answer after proving that none is missing; an empty table for none."""
    from astroquery.exceptions import RemoteServiceError

    n_row, n_expected = 0, 0
    for response in responses:
        answer = response.json()
        if answer.get("status") != "COMPLETE":
            raise RemoteServiceError(str(answer.get("msg") or f"status {answer.get('status')!r}")[:300])
        n_row += len(answer.get("data") or ())
        paging = answer.get("paging") or {}
        n_expected = max(n_expected, int(paging.get("rowsFiltered") or 0))
    if n_row < n_expected:
        raise IncompleteError(f"{n_row} of {n_expected} rows arrived")
    return query._portal_api_connection._parse_result(list(responses)) if n_row else Table()
