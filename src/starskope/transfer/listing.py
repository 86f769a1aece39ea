"""What lies in a bucket: paged ListObjectsV2.

Owns the walk over pages and its defences: every key must lie under the prefix that was asked for, a continuation token
must not come twice, and a listing has a greatest length. It refuses to keep pages: keys are handed on as they come.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starskope.errors import TransferError
from starskope.transfer.checks import AnswerError, plain_etag
from starskope.transfer.client import Client
from starskope.transfer.faults import NETWORK_ERRORS, explain
from starskope.transfer.pacing import backoff_s
from starskope.transfer.uris import check_bucket

__all__ = ["ObjectInfo", "list_objects", "list_prefixes"]

_MAX_EMPTY_PAGES = 100


@dataclass(frozen=True)
class ObjectInfo:
    """One object of a listing.

    Parameters
    ----------
    key : str
        Full key.
    size : int
        Bytes.
    etag : str
        Without quotes; empty when the server gave none.
    last_modified : datetime.datetime or None
        UTC.
    """

    key: str
    size: int
    etag: str
    last_modified: datetime | None


async def list_objects(
    client: Client, bucket: str, prefix: str, *, start_after: str | None = None
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
    async for page in _pages(client, bucket, prefix, delimiter=None, start_after=start_after):
        for entry in page.get("Contents", ()):
            yield ObjectInfo(
                key=entry["Key"],
                size=int(entry["Size"]),
                etag=plain_etag(entry.get("ETag", "")),
                last_modified=modified.astimezone(UTC) if (modified := entry.get("LastModified")) else None,
            )


async def list_prefixes(client: Client, bucket: str, prefix: str) -> list[str]:
    """List the "directories" directly under a prefix.

    Parameters
    ----------
    client : Client
        From `open_client`.
    bucket : str
        Name of the bucket.
    prefix : str
        Empty, or ending in a slash.

    Returns
    -------
    list of str
        Full prefixes, each ending in a slash, in order.

    Raises
    ------
    TransferError
        As `list_objects`.
    """
    prefixes: list[str] = []
    async for page in _pages(client, bucket, prefix, delimiter="/", start_after=None):
        prefixes.extend(entry["Prefix"] for entry in page.get("CommonPrefixes", ()))
    return prefixes


async def _pages(
    client: Client, bucket: str, prefix: str, *, delimiter: str | None, start_after: str | None
) -> AsyncIterator[dict[str, Any]]:
    check_bucket(bucket)
    arguments: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, **client.request_arguments}
    if delimiter is not None:
        arguments["Delimiter"] = delimiter
    if start_after is not None:
        arguments["StartAfter"] = start_after
    tokens: set[str] = set()
    n_keys = n_empty = 0
    while True:
        page = await _one_page(client, bucket, prefix, arguments)
        n_here = len(page.get("Contents", ())) + len(page.get("CommonPrefixes", ()))
        n_keys += n_here
        n_empty = 0 if n_here else n_empty + 1
        if n_keys > client.options.max_listed_keys:
            limit = client.options.max_listed_keys
            raise _listing_error(bucket, prefix, f"more than {limit} keys: narrow the prefix or raise max_listed_keys")
        yield page
        if not page.get("IsTruncated"):
            return
        token = page.get("NextContinuationToken")
        if not token:
            raise _listing_error(bucket, prefix, "the listing says that it goes on but not where")
        if token in tokens or n_empty > _MAX_EMPTY_PAGES:
            raise _listing_error(bucket, prefix, "the listing runs in a circle: the server repeats its pages")
        tokens.add(token)
        arguments.pop("StartAfter", None)
        arguments["ContinuationToken"] = token


async def _one_page(client: Client, bucket: str, prefix: str, arguments: dict[str, Any]) -> dict[str, Any]:
    options = client.options
    text = ""
    for n_failed in range(1, options.max_attempts + 1):
        try:
            page: dict[str, Any] = await client.s3.list_objects_v2(**arguments)
            _check_page(page, prefix)
        except NETWORK_ERRORS as error:
            fault = explain(error, client, bucket)
            text = fault.text
            if not fault.retry:
                raise _listing_error(bucket, prefix, text) from error
        else:
            return page
        if n_failed < options.max_attempts:
            await asyncio.sleep(backoff_s(n_failed, options.backoff_base_s, options.backoff_max_s, client.rng))
    raise _listing_error(bucket, prefix, f"{text} (after {options.max_attempts} tries)")


def _check_page(page: dict[str, Any], prefix: str) -> None:
    """Refuse an answer that parses but is no listing of this prefix."""
    if "Name" not in page or "IsTruncated" not in page:
        raise AnswerError("the answer is not an S3 listing: is the endpoint right?")
    for entry in page.get("Contents", ()):
        if not str(entry.get("Key", "")).startswith(prefix) or int(entry.get("Size", -1)) < 0:
            raise AnswerError(f"the listing holds {str(entry.get('Key', ''))[:200]!r}, which was not asked for")
    for entry in page.get("CommonPrefixes", ()):
        if not str(entry.get("Prefix", "")).startswith(prefix):
            raise AnswerError(f"the listing holds {str(entry.get('Prefix', ''))[:200]!r}, which was not asked for")


def _listing_error(bucket: str, prefix: str, text: str) -> TransferError:
    where = f"s3://{bucket}/{prefix}"
    return TransferError(f"cannot list {where}: {text}", {where: text})
