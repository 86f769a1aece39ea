"""A page of a listing read from its XML: equal to botocore's reading, and within bounds whatever a server sends."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import fault_server as faults
import pytest
from fault_server import Exchange, FaultServer

from starskope.archive.ffis import find_ffis
from starskope.errors import TransferError
from starskope.transfer.checks import AnswerError
from starskope.transfer.client import open_client
from starskope.transfer.facade import run_sync
from starskope.transfer.listing import ListingBudget, list_objects, list_prefixes
from starskope.transfer.listing_page import MAX_ENTRIES, page_of_answer, parse_page
from starskope.transfer.options import TransferOptions

BUCKET = "listing-page"
KEYS = ["a&b <c>.fits", "a+b c%20d.fits", "folder/é ü.fits", "folder/\u2603.fits", "plain.fits", "x" * 300]


def listing(*entries: str, head: str = "<Name>b</Name><IsTruncated>false</IsTruncated>") -> bytes:
    return f'<?xml version="1.0"?><ListBucketResult>{head}{"".join(entries)}</ListBucketResult>'.encode()


def contents(key: str = "k", size: str = "1") -> str:
    return f"<Contents><Key>{key}</Key><Size>{size}</Size></Contents>"


@pytest.mark.parametrize("delimiter", [None, "/"])
def test_it_equals_what_botocore_reads(endpoint, delimiter) -> None:
    for key in KEYS:
        endpoint.put(key, key.encode(), bucket=BUCKET)

    async def both() -> tuple[object, object]:
        bodies = []
        async with open_client(TransferOptions(endpoint_url=endpoint.url)) as client:
            client.s3.meta.events.register(
                "before-parse.s3.ListObjectsV2", lambda response_dict, **_: bodies.append(response_dict["body"])
            )
            arguments = {"Bucket": BUCKET, **({"Delimiter": delimiter} if delimiter else {})}
            answer = await client.s3.list_objects_v2(**arguments)
        return page_of_answer(answer), parse_page(bodies[0])

    plain, fast = run_sync(both())
    assert fast == plain
    assert fast.objects
    assert all(entry.last_modified for entry in fast.objects)


def test_a_version_without_the_hook_reads_the_same(endpoint, monkeypatch) -> None:
    from starskope.transfer import listing as module

    for key in KEYS:
        endpoint.put(key, key.encode(), bucket=BUCKET)

    async def every() -> list[object]:
        async with open_client(TransferOptions(endpoint_url=endpoint.url)) as client:
            return [entry async for entry in list_objects(client, BUCKET, "")]

    fast = run_sync(every())
    monkeypatch.setattr(module, "_read_page", lambda **_: None)
    assert run_sync(every()) == fast


def test_nobody_else_builds_a_tree_of_a_page(endpoint, monkeypatch) -> None:
    from botocore import handlers

    endpoint.put("one", b"x", bucket=BUCKET)
    seen = []
    plain = handlers._looks_like_special_case_error
    monkeypatch.setattr(handlers, "_looks_like_special_case_error", lambda *a: seen.append(a[1]) or plain(*a))

    async def every() -> list[object]:
        async with open_client(TransferOptions(endpoint_url=endpoint.url)) as client:
            return [entry async for entry in list_objects(client, BUCKET, "")]

    assert run_sync(every())
    assert not seen


def test_a_page_of_s3_is_read_in_all_its_parts() -> None:
    entry = (
        "<Contents><Key>a%2Bb+c</Key><LastModified>2018-09-06T12:00:00.000Z</LastModified><ETag>&quot;0f-2&quot;</ETag>"
        "<Size>35553600</Size><StorageClass>STANDARD</StorageClass><Owner><ID>me</ID></Owner></Contents>"
    )
    head = (
        "<Name>b</Name><Prefix>p</Prefix><IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>"
        "<NextContinuationToken>1/&amp;=</NextContinuationToken>"
    )
    page = parse_page(listing(entry, "<CommonPrefixes><Prefix>p%2Fq/</Prefix></CommonPrefixes>", head=head))
    (info,) = page.objects
    assert (info.key, info.size, info.etag) == ("a+b c", 35553600, "0f-2")
    assert info.last_modified == datetime(2018, 9, 6, 12, tzinfo=UTC)
    assert page.prefixes == ["p/q/"]
    assert page.is_truncated
    assert page.token == "1/&="


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not S3's XML"),
        (b"<ListBucketResult>", "not S3's XML"),
        (b"<html><body>Welcome</body></html>", "not an S3 listing"),
        (b"<Error><Code>InternalError</Code></Error>", "not an S3 listing"),
        (b"<ListBucketResult><Name>b</Name></ListBucketResult>", "not an S3 listing"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><ListBucketResult><Name>&b;</Name></ListBucketResult>', "document type"),
        ("<!DOCTYPE a><ListBucketResult/>".encode("utf-16"), "document type"),
        (listing(*[contents()] * (MAX_ENTRIES + 1)), "more than 10000 entries"),
        (listing(*["<CommonPrefixes><Prefix>p</Prefix></CommonPrefixes>"] * (MAX_ENTRIES + 1)), "more than 10000"),
        (b"\x00\xff\xfe" * 1000, "not S3's XML"),
    ],
)
def test_what_is_no_page_is_refused(body, words) -> None:
    with pytest.raises(AnswerError, match=words):
        parse_page(body)


@pytest.mark.parametrize("size", ["", "-1", "1e3", "9" * 40, "\u0664", "0x10"])
def test_a_size_that_is_none_becomes_an_error_further_on(size) -> None:
    (info,) = parse_page(listing(contents(size=size))).objects
    assert info.size == -1


@pytest.mark.parametrize(
    "filler",
    [
        "<a/>",
        "<Contents/>",
        "<a>",
        "<CommonPrefixes><Prefix/>",
        "<Name>x</Name>",
        f"<Contents><{'y' * 200}/></Contents>",
    ],
)
def test_eight_megabytes_of_rubbish_cost_no_more_memory_than_they_weigh_a_few_times(filler) -> None:
    body = b"<ListBucketResult>" + filler.encode() * (8_000_000 // len(filler))
    tracemalloc.start()
    try:
        with pytest.raises(AnswerError):
            parse_page(body)
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


def test_listings_of_one_search_share_a_bound(endpoint) -> None:
    for i in range(12):
        endpoint.put(f"shared/{i % 3}/{i:02d}", b"x", bucket=BUCKET)

    async def three(limit: int) -> int:
        async with open_client(TransferOptions(endpoint_url=endpoint.url)) as client:
            budget = ListingBudget(limit)
            n = len([entry async for entry in list_prefixes(client, BUCKET, "shared/", budget=budget)])
            for i in range(3):
                n += len([entry async for entry in list_objects(client, BUCKET, f"shared/{i}/", budget=budget)])
            return n

    assert run_sync(three(15)) == 15
    with pytest.raises(TransferError, match="more than 14 keys"):
        run_sync(three(14))


@pytest.fixture
def proxy(endpoint) -> AsyncIterator[FaultServer]:
    endpoint.put("tess/public/ffi/s0001/2018/206/1-1/tess2018206192942-s0001-1-1-0120-s_ffic.fits", b"x", bucket=BUCKET)
    with FaultServer(endpoint.url) as server:
        yield server


def test_an_endless_page_is_left_after_its_greatest_length(proxy) -> None:
    proxy.plan(faults.endless_xml, listings=True)
    options = TransferOptions(endpoint_url=proxy.url, max_answer_bytes=100_000, max_attempts=2, backoff_base_s=0.001)
    with pytest.raises(TransferError, match="100000 bytes"):
        find_ffis(1, 1, 1, options=options, bucket=BUCKET)


def test_a_page_that_trickles_is_left(proxy) -> None:
    proxy.plan(faults.trickle, listings=True)
    options = TransferOptions(
        endpoint_url=proxy.url, stall_timeout_s=0.5, retry_seconds=1.0, max_attempts=2, backoff_base_s=0.001
    )
    with pytest.raises(TransferError, match="cannot list"):
        find_ffis(1, 1, 1, options=options, bucket=BUCKET)


def test_a_bucket_of_too_many_days_is_not_the_archives(proxy) -> None:
    async def many_days(exchange: Exchange) -> None:
        answer = await exchange.upstream()
        root = "tess/public/ffi/s0001/"
        if b"delimiter=%2F" in exchange.request.target.encode():
            here = root if exchange.request.target.count("2018") == 0 else f"{root}2018/"
            names = ["2018"] if here == root else [f"{day:03d}" for day in range(999)]
            entries = [f"<CommonPrefixes><Prefix>{here}{name}/</Prefix></CommonPrefixes>" for name in names]
            answer.body = listing(*entries)
            answer.headers["content-length"] = str(len(answer.body))
        await exchange.send(answer)

    proxy.plan(many_days, listings=True)
    with pytest.raises(TransferError, match="it has 999 days, a sector has about 27"):
        find_ffis(1, 1, 1, options=TransferOptions(endpoint_url=proxy.url), bucket=BUCKET)
    assert len(proxy.requests) <= 40


def test_a_listing_of_endless_thin_pages_is_left(proxy, monkeypatch) -> None:
    from starskope.transfer import listing as module

    monkeypatch.setattr(module, "_MAX_THIN_PAGES", 20)
    n_page = 0

    async def thin(exchange: Exchange) -> None:
        nonlocal n_page
        n_page += 1
        head = f"<Name>b</Name><IsTruncated>true</IsTruncated><NextContinuationToken>{n_page}</NextContinuationToken>"
        answer = await exchange.upstream()
        answer.body = listing(contents(f"thin/{n_page:06d}"), head=head)
        answer.headers["content-length"] = str(len(answer.body))
        await exchange.send(answer)

    proxy.plan(thin, listings=True)

    async def every() -> int:
        async with open_client(TransferOptions(endpoint_url=proxy.url)) as client:
            return len([entry async for entry in list_objects(client, BUCKET, "thin/")])

    with pytest.raises(TransferError, match="its first 20 pages hold 20 entries"):
        run_sync(every())


SHORT = {
    "max_connections": 4,
    "stall_timeout_s": 0.5,
    "retry_seconds": 3.0,
    "backoff_base_s": 0.005,
    "backoff_max_s": 0.02,
}
PASSING = [
    faults.reset,
    faults.early_close,
    faults.close_at_once,
    faults.stall,
    faults.stall_before_head,
    faults.trickle,
    faults.slow_down,
    faults.internal_error,
    faults.garbage,
    faults.foreign_xml,
    faults.not_http,
    faults.short_length,
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: fault.__name__)
def test_a_fault_that_passes_costs_a_try(proxy, fault) -> None:
    proxy.plan(fault, times=2, listings=True)
    table = find_ffis(1, 1, 1, options=TransferOptions(endpoint_url=proxy.url, **SHORT), bucket=BUCKET)
    assert len(table) == 1


@pytest.mark.parametrize("fault", [*PASSING, faults.redirect_loop], ids=lambda fault: fault.__name__)
def test_a_fault_that_stays_ends_in_one_clear_error(proxy, fault) -> None:
    proxy.plan(fault, listings=True)
    begin = time.monotonic()
    with pytest.raises(TransferError, match="cannot list s3://listing-page/tess/public/ffi/s0001/"):
        find_ffis(1, 1, 1, options=TransferOptions(endpoint_url=proxy.url, **SHORT), bucket=BUCKET)
    assert time.monotonic() - begin < 30
