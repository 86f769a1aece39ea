"""Conversation with the archive's database through astroquery: which FFIs it knows, which stars lie in a cone.

Owns politeness (at most three connections, growing waits with jitter after 429, 5xx and broken connections, Retry-After
obeyed, a pause between polls) and the proof that an answer is whole. Refuses to trust answers: names become keys only
through `FfiKey.parse`, and to move files: STScI hosts get questions, S3 gets the traffic.

``astroquery.mast.conf.server`` is honoured at every call, so that a loopback server can stand in.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from astropy.table import Table

from starskope.archive.gather import gather_limited
from starskope.errors import TransferError
from starskope.layout.keys import FfiKey
from starskope.transfer.options import TransferOptions
from starskope.transfer.pacing import backoff_s

__all__ = ["MAX_CONNECTIONS", "ffi_keys", "tic_rows"]

R = TypeVar("R")

MAX_CONNECTIONS = 3
"""Connections to the archive's own hosts: a predecessor that opened 200 had to be withdrawn."""

_SLOWER_THAN_S3 = 5.0
_POLL_PAUSE_S = 1.0
_MAX_RETRY_AFTER_S = 120.0
_TIMEOUT_S = (10.0, 90.0)  # to connect, to answer: long queries are polled, so no single answer takes longer
_DATA_URI = re.compile(r"mast:TESS/product/([A-Za-z0-9_.-]+)\Z")


class _Service:
    """A few astroquery objects of one kind, one connection each, handed to one question at a time."""

    def __init__(self, kind: str, options: TransferOptions) -> None:
        self._kind = kind
        self._options = options
        self._rng = random.Random()
        self._free: asyncio.Queue[Any] = asyncio.Queue()
        self._all: list[Any] = []
        self.server = ""

    def open(self) -> None:
        from astroquery import mast

        self.server = str(mast.conf.server).rstrip("/")
        columns: dict[str, Any] = {}
        for _ in range(MAX_CONNECTIONS):
            query = getattr(mast, self._kind)()
            # These are class attributes made from conf on import: give this object the present ones.
            portal = query._portal_api_connection
            portal.MAST_REQUEST_URL = f"{self.server}/api/v0/invoke"
            portal.COLUMNS_CONFIG_URL = f"{self.server}/portal/Mashup/Mashup.asmx/columnsconfig"
            portal.PAGESIZE, portal.TIMEOUT = mast.conf.pagesize, mast.conf.timeout
            portal._column_configs = columns
            _tame(portal._session)
            self._all.append(query)
            self._free.put_nowait(query)

    def close(self) -> None:
        for query in self._all:
            query._portal_api_connection._session.close()

    async def ask(self, what: str, question: Callable[[Any], R]) -> R:
        """Run a blocking question in a thread, again after failures that may pass; TransferError in the end."""
        query = await self._free.get()
        try:
            for n_failed in range(1, self._options.max_attempts + 1):
                try:
                    return await asyncio.to_thread(question, query)
                except Exception as error:
                    wait_s = self._wait(error, n_failed)
                    if wait_s is None or n_failed == self._options.max_attempts:
                        text = f"{type(error).__name__}: {error}".splitlines()[0][:300]
                        message = f"the archive at {self.server} did not answer for {what} ({n_failed} tries): {text}"
                        raise TransferError(message, {what: text}) from error
                await asyncio.sleep(wait_s)
            raise AssertionError("unreachable: max_attempts is at least 1")
        finally:
            self._free.put_nowait(query)

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
        if isinstance(error, _IncompleteError) and n_failed > 1:
            return None
        # A page of HTML with status 200 (maintenance) fails to parse: requests calls that JSONDecodeError.
        passing = (requests.RequestException, AstroqueryTimeout, TimeoutError, ConnectionError, _IncompleteError)
        return wait_s if isinstance(error, passing) else None


class _IncompleteError(Exception):
    """An answer said that it has more rows than it gave."""


def _tame(session: Any) -> None:
    """Give a session a time limit, one connection, and a pause after every "still executing"."""
    from requests.adapters import HTTPAdapter

    class Patient(HTTPAdapter):
        def send(self, request: Any, **kwargs: Any) -> Any:  # type: ignore[override]
            kwargs["timeout"] = kwargs.get("timeout") or _TIMEOUT_S
            return super().send(request, **kwargs)

    def pause(response: Any, *_args: Any, **_kwargs: Any) -> None:
        # astroquery asks again at once while a query runs; the archive deserves a breath between polls.
        if b'"EXECUTING"' in response.content[:400].replace(b" ", b""):
            time.sleep(_POLL_PAUSE_S)

    for scheme in ("http://", "https://"):
        session.mount(scheme, Patient(pool_connections=1, pool_maxsize=1))
    session.hooks["response"].append(pause)


@asynccontextmanager
async def _service(kind: str, options: TransferOptions) -> AsyncIterator[_Service]:
    service = _Service(kind, options)
    await asyncio.to_thread(service.open)
    try:
        yield service
    finally:
        service.close()


async def ffi_keys(
    sector: int, camera: int | None, ccd: int | None, *, options: TransferOptions | None = None
) -> tuple[set[FfiKey], list[str]]:
    """Ask the archive which calibrated FFIs exist.

    Parameters
    ----------
    sector : int
    camera, ccd : int or None
        None for all.
    options : TransferOptions, optional
        Attempts and back-off.

    Returns
    -------
    keys : set of FfiKey
    refused : list of str
        Product names that are no calibrated FFI of this search.

    Raises
    ------
    TransferError
        When the archive cannot be asked, refuses, or answers in pieces.

    Notes
    -----
    astroquery drops TESS FFI products from ``get_product_list`` when it is given a table of observations, since files
    of this size should not come from the archive's own servers; given ``obsid`` strings it returns them. Only names are
    taken.
    """
    options = options or TransferOptions()
    cameras = (camera,) if camera else range(1, 5)
    ccds = (ccd,) if ccd else range(1, 5)
    wanted = [f"tess-s{sector:04d}-{one}-{other}" for one in cameras for other in ccds]
    async with _service("ObservationsClass", options) as service:
        observations = await service.ask(
            f"sector {sector}", lambda query: _rows(query, query.query_criteria_async(obs_id=wanted))
        )
        if len(observations) == 0:
            return set(), []
        known = set(wanted)
        obsids = sorted({str(row["obsid"]) for row in observations if str(row["obs_id"]) in known})

        async def products_of(obsid: str) -> Table:
            return await service.ask(
                f"products of observation {obsid}", lambda query: _rows(query, query.get_product_list_async([obsid]))
            )

        answers = await gather_limited(products_of, obsids, MAX_CONNECTIONS)
    keys: set[FfiKey] = set()
    refused = []
    for products in answers:
        for product in products:
            if str(product["productSubGroupDescription"]) != "FFIC":
                continue
            uri = str(product["dataURI"])
            key = _key_of(uri)
            if key is None or key.sector != sector or (camera or key.camera, ccd or key.ccd) != (key.camera, key.ccd):
                refused.append(uri)
            else:
                keys.add(key)
    return keys, sorted(refused)


def _key_of(uri: str) -> FfiKey | None:
    found = _DATA_URI.match(uri)
    try:
        key = FfiKey.parse(found[1]) if found else None
    except ValueError:
        return None
    return key if key is not None and key.kind == "ffic" else None


def _rows(query: Any, responses: Sequence[Any]) -> Table:
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
        raise _IncompleteError(f"{n_row} of {n_expected} rows arrived")
    return query._portal_api_connection._parse_result(list(responses)) if n_row else Table()


async def tic_rows(
    cones: Sequence[tuple[float, float, float]],
    tmag_max: float,
    *,
    options: TransferOptions | None = None,
    split: Callable[[tuple[float, float, float]], Sequence[tuple[float, float, float]]] | None = None,
) -> list[Table]:
    """Ask for the stars of the TESS Input Catalog in cones, brighter than a magnitude.

    Parameters
    ----------
    cones : sequence of (ra, dec, radius)
        Degrees, ICRS.
    tmag_max : float
        Faintest TESS magnitude.
    options : TransferOptions, optional
        Attempts and back-off.
    split : callable, optional
        Smaller cones that cover a cone; used where an answer stays incomplete. Without it that is an error.

    Returns
    -------
    list of Table
        One per cone that has stars, columns as the archive names them; cones overlap, so stars repeat.

    Raises
    ------
    TransferError
        When the archive cannot be asked or gives fewer rows than it says it has, smaller cones included.
    """
    options = options or TransferOptions()

    async with _service("CatalogsClass", options) as service:

        async def one(cone: tuple[float, float, float], depth: int) -> list[Table]:
            ra, dec, radius = cone

            def question(query: Any) -> Table:
                from astropy.coordinates import SkyCoord

                responses = query.query_criteria_async(
                    catalog="Tic",
                    coordinates=SkyCoord(ra, dec, unit="deg"),
                    radius=radius,
                    Tmag=[-10.0, tmag_max],
                    objType="STAR",
                )
                return _rows(query, responses)

            try:
                table = await service.ask(f"TIC within {radius:.2f} deg of ({ra:.4f}, {dec:.4f})", question)
            except TransferError as error:
                if not isinstance(error.__cause__, _IncompleteError) or split is None or depth == 0:
                    raise
                # One after the other: a nested wait for connections could stand in its own way.
                return [rows for part in split(cone) for rows in await one(part, depth - 1)]
            return [table] if len(table) else []

        answers = await gather_limited(lambda cone: one(cone, 3), cones, MAX_CONNECTIONS)
    return [table for answer in answers for table in answer]
