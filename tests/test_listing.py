"""Paged listings against the real S3 semantics of the endpoint, and against servers that lie about pages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC

import fault_server as faults
import pytest
from fault_server import Exchange, FaultServer

from starskope.errors import TransferError
from starskope.synth.endpoint import Endpoint
from starskope.transfer.client import open_client
from starskope.transfer.facade import run_sync
from starskope.transfer.listing import ObjectInfo, list_objects, list_prefixes
from starskope.transfer.options import TransferOptions

BUCKET = "listing-bucket"
KEYS = sorted([f"ffi/s0001/{day:03d}/1-1/frame {i:02d}+é.fits" for day in (206, 207, 233) for i in range(8)])


@pytest.fixture(scope="module")
def filled(endpoint: Endpoint) -> Endpoint:
    for key in KEYS:
        endpoint.put(key, key.encode(), BUCKET)
    endpoint.put("other/file", b"", BUCKET)
    return endpoint


@pytest.fixture
def small_pages(filled: Endpoint) -> Iterator[FaultServer]:
    with FaultServer(filled.url, page_size=5) as proxy:
        yield proxy


def _list(
    url: str, prefix: str = "ffi/", *, bucket: str = BUCKET, start_after: str | None = None, **options: int
) -> list[ObjectInfo]:
    async def collect() -> list[ObjectInfo]:
        settings = TransferOptions(endpoint_url=url, backoff_base_s=0.01, **options)  # type: ignore[arg-type]
        async with open_client(settings) as client:
            return [entry async for entry in list_objects(client, bucket, prefix, start_after=start_after)]

    return run_sync(collect())


def _prefixes(url: str, prefix: str) -> list[str]:
    async def collect() -> list[str]:
        async with open_client(TransferOptions(endpoint_url=url)) as client:
            return [entry async for entry in list_prefixes(client, BUCKET, prefix)]

    return run_sync(collect())


def test_every_key_comes_once_in_order_with_size_and_etag(filled: Endpoint) -> None:
    found = _list(filled.url)
    assert [entry.key for entry in found] == KEYS
    for entry in found:
        assert entry.size == len(entry.key.encode())
        assert entry.etag == hashlib.md5(entry.key.encode()).hexdigest()
        assert entry.last_modified is not None
        assert entry.last_modified.tzinfo is UTC


def test_pages_are_walked_to_the_end(small_pages: FaultServer) -> None:
    assert [entry.key for entry in _list(small_pages.url)] == KEYS
    assert len(small_pages.requests) == -(-len(KEYS) // 5)
    assert _prefixes(small_pages.url, "ffi/s0001/") == [f"ffi/s0001/{day}/" for day in (206, 207, 233)]


def test_it_goes_on_after_a_key(small_pages: FaultServer) -> None:
    assert [entry.key for entry in _list(small_pages.url, start_after=KEYS[10])] == KEYS[11:]


def test_prefixes_are_the_directories_below(filled: Endpoint) -> None:
    assert _prefixes(filled.url, "") == ["ffi/", "other/"]
    assert _prefixes(filled.url, "ffi/s0001/206/1-1/") == []


def test_nothing_under_the_prefix_is_an_empty_listing(filled: Endpoint) -> None:
    assert _list(filled.url, "ffi/s9999/") == []


def test_a_missing_bucket_is_named(filled: Endpoint) -> None:
    with pytest.raises(TransferError, match=rf"no bucket 'no-such-bucket' at {filled.url} .404 NoSuchBucket.: check"):
        _list(filled.url, bucket="no-such-bucket")


def test_a_server_that_repeats_its_pages_is_left(small_pages: FaultServer) -> None:
    small_pages.plan(faults.first_page_again, listings=True)
    with pytest.raises(TransferError, match=r"runs in a circle: the server repeats its pages"):
        _list(small_pages.url)
    assert len(small_pages.requests) <= 3


def test_a_listing_has_a_greatest_length(small_pages: FaultServer) -> None:
    with pytest.raises(TransferError, match=r"more than 12 keys: narrow the prefix or raise max_listed_keys"):
        _list(small_pages.url, max_listed_keys=12)
    assert len(small_pages.requests) == 3


def test_keys_that_were_not_asked_for_are_refused(small_pages: FaultServer) -> None:
    async def another_prefix(exchange: Exchange) -> None:
        answer = await exchange.upstream()
        answer.body = answer.body.replace(b"<Key>ffi", b"<Key>etc")
        await exchange.send(answer)

    small_pages.plan(another_prefix, listings=True)
    with pytest.raises(TransferError, match=r"'etc/s0001.*', which was not asked for"):
        _list(small_pages.url, max_attempts=2)


def test_a_listing_that_goes_on_nowhere_is_refused(small_pages: FaultServer) -> None:
    async def no_token(exchange: Exchange) -> None:
        answer = await exchange.upstream()
        answer.body = answer.body.replace(b"NextContinuationToken", b"Nothing")
        answer.headers["content-length"] = str(len(answer.body))
        await exchange.send(answer)

    small_pages.plan(no_token, listings=True)
    with pytest.raises(TransferError, match=r"goes on but not where"):
        _list(small_pages.url)


def test_nobody_listens() -> None:
    with pytest.raises(
        TransferError, match=r"cannot connect to http://127.0.0.1:9 .*is the endpoint right and the serv"
    ):
        _list("http://127.0.0.1:9", max_attempts=2)
