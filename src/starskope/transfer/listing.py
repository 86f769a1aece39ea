"""What lies in a bucket: paged ListObjectsV2.

Owns the walk over pages and its defences: every key must lie under the prefix that was asked for, a continuation token
must not come twice, a page must not trickle, and a listing has a greatest length, which several listings can share.
How a page is read stands in ``listing_page``. It refuses to keep pages: keys are handed on as they come.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from botocore import handlers

from starskope.errors import TransferError
from starskope.transfer.checks import AnswerError
from starskope.transfer.client import Client
from starskope.transfer.faults import NETWORK_ERRORS, explain
from starskope.transfer.listing_page import ObjectInfo, Page, page_of_answer, parse_page
from starskope.transfer.pacing import backoff_s
from starskope.transfer.uris import MAX_KEY_BYTES, check_bucket

__all__ = ["ListingBudget", "ObjectInfo", "list_objects", "list_prefixes"]

_MAX_EMPTY_PAGES = 100
# S3 fills its pages with 1,000 entries. A server that gives a few at a time for ever would keep us for days.
_MAX_THIN_PAGES = 500
_THIN = 10
_PAGE = "starskope_page"
_THROTTLES = frozenset({"SlowDown", "Throttling", "ThrottlingException", "429", "503"})


class ListingBudget:
    """Entries that a set of listings may still hold, so that no server fills the memory.

    Parameters
    ----------
    max_entries : int
        Keys and "directories" of all listings together.
    """

    def __init__(self, max_entries: int) -> None:
        self.max_entries = max_entries
        self._n_left = max_entries

    def take(self, n_entries: int) -> bool:
        """Count entries; False when there are more than were allowed."""
        self._n_left -= n_entries
        return self._n_left >= 0


async def list_objects(
    client: Client, bucket: str, prefix: str, *, start_after: str | None = None, budget: ListingBudget | None = None
) -> AsyncIterator[ObjectInfo]:
    """List the objects under a prefix, page by page.

    Parameters
    ----------
    client : Client
        From `open_client`.
    bucket : str
        Name of the bucket.
    prefix : str
        Only keys that start with it.
    start_after : str, optional
        Only keys that sort after it.
    budget : ListingBudget, optional
        Shared with other listings; default: ``max_listed_keys`` of the options for this one.

    Yields
    ------
    ObjectInfo
        In the server's order, which is that of the UTF-8 bytes for S3.

    Raises
    ------
    ValueError
        When no bucket can have this name.
    TransferError
        When the bucket is missing or refused, the answer is not a listing, or every try failed.
    """
    async for page in _pages(client, bucket, prefix, delimiter=None, start_after=start_after, budget=budget):
        for entry in page.objects:
            yield entry


async def list_prefixes(
    client: Client, bucket: str, prefix: str, *, budget: ListingBudget | None = None
) -> AsyncIterator[str]:
    """List the "directories" directly under a prefix.

    Parameters
    ----------
    client : Client
        From `open_client`.
    bucket : str
        Name of the bucket.
    prefix : str
        Empty, or ending in a slash.
    budget : ListingBudget, optional
        As for `list_objects`.

    Yields
    ------
    str
        Full prefixes, each ending in a slash, in order.

    Raises
    ------
    TransferError
        As `list_objects`.
    """
    async for page in _pages(client, bucket, prefix, delimiter="/", start_after=None, budget=budget):
        for entry in page.prefixes:
            yield entry


async def _pages(
    client: Client,
    bucket: str,
    prefix: str,
    *,
    delimiter: str | None,
    start_after: str | None,
    budget: ListingBudget | None,
) -> AsyncIterator[Page]:
    check_bucket(bucket)
    budget = budget or ListingBudget(client.options.max_listed_keys)
    arguments: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, **client.request_arguments}
    if delimiter is not None:
        arguments["Delimiter"] = delimiter
    if start_after is not None:
        arguments["StartAfter"] = start_after
    # Tokens are as long as the server likes: what is kept of each is not.
    tokens: set[int] = set()
    n_empty = n_page = n_entry = 0
    _read_pages_ourselves(client.s3.meta.events)
    while True:
        page = await _one_page(client, bucket, prefix, arguments)
        n_here = len(page.objects) + len(page.prefixes)
        n_empty = 0 if n_here else n_empty + 1
        n_page += 1
        n_entry += n_here
        if not budget.take(n_here):
            limit = budget.max_entries
            raise _listing_error(bucket, prefix, f"more than {limit} keys: narrow the prefix or raise max_listed_keys")
        yield page
        if not page.is_truncated:
            return
        if not page.token:
            raise _listing_error(bucket, prefix, "the listing says that it goes on but not where")
        if (mark := hash(page.token)) in tokens or n_empty > _MAX_EMPTY_PAGES:
            raise _listing_error(bucket, prefix, "the listing runs in a circle: the server repeats its pages")
        if n_page >= _MAX_THIN_PAGES and n_entry < _THIN * n_page:
            raise _listing_error(bucket, prefix, f"its first {n_page} pages hold {n_entry} entries: no S3 does so")
        tokens.add(mark)
        arguments.pop("StartAfter", None)
        arguments["ContinuationToken"] = page.token


def _read_pages_ourselves(events: Any) -> None:
    """Have a client's pages read by `_read_page`; done again, it changes nothing."""
    # botocore builds a tree of every answer to see whether a success holds an error; `parse_page` sees that too, and
    # builds none. The name is not public: without it a hostile page costs some hundred megabytes.
    if (looks := getattr(handlers, "_handle_200_error", None)) is not None:
        events.unregister("before-parse.s3.*", looks)
    events.register("before-parse.s3.ListObjectsV2", _read_page, unique_id=_PAGE)


def _read_page(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Read a page in place of botocore's parser, which builds a tree, dictionaries and slow times; errors stay its."""
    if response_dict["status_code"] == 200:
        customized_response_dict[_PAGE] = parse_page(response_dict["body"])
        response_dict["body"] = b""


async def _one_page(client: Client, bucket: str, prefix: str, arguments: dict[str, Any]) -> Page:
    options = client.options
    start_s = time.monotonic()
    n_failed = 0
    while True:
        async with client.pace.slot() as slot:
            try:
                # A page has no right to trickle: it is small. And a try must leave time for another.
                async with asyncio.timeout(max(options.stall_timeout_s, options.retry_seconds / 3)):
                    answer: dict[str, Any] = await client.s3.list_objects_v2(**arguments)
                page = answer.get(_PAGE) or page_of_answer(answer)
                _check_page(page, prefix)
            except NETWORK_ERRORS as error:
                fault = explain(error, client, bucket)
                if not fault.retry:
                    raise _listing_error(bucket, prefix, fault.text) from error
                if fault.code in _THROTTLES:
                    slot.throttled()
            else:
                slot.succeeded()
                return page
        n_failed += 1
        if n_failed >= options.max_attempts or time.monotonic() - start_s >= options.retry_seconds:
            tries = "1 try" if n_failed == 1 else f"{n_failed} tries"
            raise _listing_error(bucket, prefix, f"{fault.text} (after {tries})")
        await asyncio.sleep(backoff_s(n_failed, options.backoff_base_s, options.backoff_max_s, client.rng))


def _check_page(page: Page, prefix: str) -> None:
    """Refuse an answer that parses but is no listing of this prefix."""
    for entry in page.objects:
        if not entry.key.startswith(prefix) or entry.size < 0 or len(entry.key) > MAX_KEY_BYTES:
            raise AnswerError(f"the listing holds {entry.key[:200]!r}, which was not asked for")
    for text in page.prefixes:
        if not text.startswith(prefix) or len(text) > MAX_KEY_BYTES:
            raise AnswerError(f"the listing holds {text[:200]!r}, which was not asked for")


def _listing_error(bucket: str, prefix: str, text: str) -> TransferError:
    where = f"s3://{bucket}/{prefix}"
    return TransferError(f"cannot list {where}: {text}", {where: text})
