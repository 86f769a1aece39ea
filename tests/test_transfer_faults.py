"""Reads and downloads through a proxy that misbehaves: right bytes when the fault goes away, a clear error when not."""

from __future__ import annotations

import asyncio
import gc
import hashlib
from collections.abc import Iterator
from pathlib import Path

import fault_server as faults
import numpy as np
import pytest
from fault_server import Exchange, Fault, FaultServer

from starskope.errors import TransferError
from starskope.synth.endpoint import Endpoint
from starskope.transfer.client import open_client
from starskope.transfer.download import download, download_async
from starskope.transfer.facade import run_sync
from starskope.transfer.listing import list_objects
from starskope.transfer.options import TransferOptions
from starskope.transfer.ranged import RangeRead, read_range
from starskope.transfer.uris import S3Uri

BUCKET = "stpubdata"
MAX_ATTEMPTS = 4
CONTENT = np.random.default_rng(7).bytes(1_500_000)
START, STOP = 2_880, 1_200_000

# Fault, words of the complaint when it stays.
TRANSPORT = [
    (faults.reset, "the connection broke"),
    (faults.early_close, "the connection broke"),
    (faults.close_at_once, "the connection broke"),
    (faults.stall, "stalled: no byte for 0.4 s"),
    (faults.stall_before_head, "stalled: no byte for 0.4 s"),
    (faults.slow_down, "503 SlowDown"),
    (faults.internal_error, "the server answered 500"),
    (faults.wrong_content_range, "the answer says"),
    (faults.no_content_range, "Content-Range"),
    (faults.garbage, "is the endpoint right?"),
    (faults.foreign_xml, "is the endpoint right?"),
    (faults.not_http, "does not speak HTTP"),
]
RANGE_ONLY = [(faults.range_ignored, "ignored the range"), (faults.short_length, "Content-Length is")]
WHOLE_ONLY = [(faults.flipped_bit, "damaged on the way"), (faults.short_length, "damaged on the way")]


def _name(value: object) -> str:
    return getattr(value, "__name__", "")


@pytest.fixture(scope="module")
def key(endpoint: Endpoint) -> str:
    key = "faults/frame.fits"
    endpoint.put(key, CONTENT)
    return key


@pytest.fixture
def proxy(endpoint: Endpoint) -> Iterator[FaultServer]:
    with FaultServer(endpoint.url) as server:
        yield server
        assert server.wait_closed(), "a connection was left open"
    gc.collect()  # an unclosed transport would complain here, inside the test that left it


def _options(proxy: FaultServer, **changes: object) -> TransferOptions:
    settings: dict[str, object] = {
        "endpoint_url": proxy.url,
        "max_attempts": MAX_ATTEMPTS,
        "stall_timeout_s": 0.4,
        "backoff_base_s": 0.01,
    }
    return TransferOptions(**{**settings, **changes})  # type: ignore[arg-type]


def _read(proxy: FaultServer, key: str, start: int = START, stop: int = STOP, etag: str | None = None) -> RangeRead:
    async def read() -> RangeRead:
        async with open_client(_options(proxy)) as client:
            return await read_range(client, S3Uri(BUCKET, key), start, stop, etag=etag)

    return run_sync(read())


def _files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize(("fault", "words"), TRANSPORT + RANGE_ONLY, ids=_name)
def test_a_range_comes_right_after_two_faults(proxy: FaultServer, key: str, fault: Fault, words: str) -> None:
    plan = proxy.plan(fault, 2)
    assert _read(proxy, key).data == CONTENT[START:STOP]
    assert plan.applied == 2


@pytest.mark.parametrize(("fault", "words"), TRANSPORT + RANGE_ONLY, ids=_name)
def test_a_range_is_refused_when_the_fault_stays(proxy: FaultServer, key: str, fault: Fault, words: str) -> None:
    plan = proxy.plan(fault)
    with pytest.raises(TransferError) as caught:
        _read(proxy, key)
    assert words in str(caught.value)
    assert f"after {MAX_ATTEMPTS} tries" in str(caught.value)
    assert list(caught.value.causes) == [f"s3://{BUCKET}/{key}"]
    assert plan.applied >= MAX_ATTEMPTS


@pytest.mark.parametrize(("fault", "words"), TRANSPORT + WHOLE_ONLY, ids=_name)
def test_a_download_comes_right_after_two_faults(
    proxy: FaultServer, key: str, tmp_path: Path, fault: Fault, words: str
) -> None:
    plan = proxy.plan(fault, 2)
    report = download([f"s3://{BUCKET}/{key}"], tmp_path, options=_options(proxy))
    assert report["status"].tolist() == ["downloaded"], report["error"][0]
    assert report["check"].tolist() == ["crc32"]
    assert (tmp_path / "frame.fits").read_bytes() == CONTENT
    assert _files(tmp_path) == ["frame.fits", "manifest.parquet"]
    assert plan.applied == 2


@pytest.mark.parametrize(("fault", "words"), TRANSPORT + WHOLE_ONLY, ids=_name)
def test_a_download_leaves_nothing_when_the_fault_stays(
    proxy: FaultServer, key: str, tmp_path: Path, fault: Fault, words: str
) -> None:
    proxy.plan(fault)
    report = download([f"s3://{BUCKET}/{key}"], tmp_path, options=_options(proxy))
    assert report["status"].tolist() == ["failed"]
    assert words in report["error"][0]
    # What came and was recorded waits, hidden, for the next run.
    assert [name for name in _files(tmp_path) if not name.startswith(".starskope-")] == ["manifest.parquet"]


def test_one_bad_key_does_not_stop_the_others(proxy: FaultServer, endpoint: Endpoint, tmp_path: Path) -> None:
    keys = [f"many/{index:02d}.bin" for index in range(12)]
    for name in keys:
        endpoint.put(name, name.encode() * 1000)

    async def only_the_seventh(exchange: Exchange) -> None:
        await (faults.early_close if keys[7] in exchange.request.target else faults.good)(exchange)

    proxy.plan(only_the_seventh)
    uris = [f"s3://{BUCKET}/{name}" for name in [*keys, "many/absent.bin"]]
    report = download(uris, tmp_path, options=_options(proxy, max_objects=3))
    assert report["uri"].tolist() == uris
    assert [i for i, status in enumerate(report["status"]) if status != "downloaded"] == [7, 12]
    assert "404 NoSuchKey" in report["error"][12]
    for index in set(range(12)) - {7}:
        assert (tmp_path / f"{index:02d}.bin").read_bytes() == keys[index].encode() * 1000


def test_a_broken_body_is_continued_not_begun_anew(proxy: FaultServer, key: str) -> None:
    proxy.plan(faults.early_close, 1)
    _read(proxy, key)
    first, second = proxy.requests
    assert first.headers["range"] == f"bytes={START}-{STOP - 1}"
    begun = int(second.headers["range"].removeprefix("bytes=").split("-")[0])
    assert START < begun <= START + (STOP - START) // 2
    assert second.headers["range"].endswith(f"-{STOP - 1}")
    assert second.headers["if-match"] == f'"{hashlib.md5(CONTENT).hexdigest()}"'


def test_an_object_replaced_in_the_middle_is_never_mixed(
    proxy: FaultServer, endpoint: Endpoint, tmp_path: Path
) -> None:
    old, new = b"old " * 200_000, b"NEW!" * 150_000
    endpoint.put("faults/replaced.bin", old)

    async def replace_and_break(exchange: Exchange) -> None:
        await faults.early_close(exchange)
        await asyncio.to_thread(endpoint.put, "faults/replaced.bin", new)

    proxy.plan(replace_and_break, 1)
    report = download([f"s3://{BUCKET}/faults/replaced.bin"], tmp_path, options=_options(proxy))
    assert report["status"].tolist() == ["downloaded"], report["error"][0]
    assert (tmp_path / "replaced.bin").read_bytes() == new
    assert report["size"].tolist() == [len(new)]


def test_an_object_replaced_since_it_was_listed_is_refused(proxy: FaultServer, endpoint: Endpoint, key: str) -> None:
    endpoint.put("faults/fresh.bin", b"fresh" * 100)
    with pytest.raises(TransferError, match=r"changed since it was listed \(412 PreconditionFailed\): list again"):
        _read(proxy, "faults/fresh.bin", 0, 10, etag=hashlib.md5(b"stale").hexdigest())
    assert len(proxy.requests) == 1 + _options(proxy).max_replaced, "a cache may lie once or twice, not more"


def test_a_foreign_etag_in_the_middle_starts_the_key_again(proxy: FaultServer, key: str, tmp_path: Path) -> None:
    proxy.plan(faults.early_close, 1)
    proxy.plan(faults.other_etag, 1)
    report = download([f"s3://{BUCKET}/{key}"], tmp_path, options=_options(proxy))
    assert report["status"].tolist() == ["downloaded"], report["error"][0]
    assert (tmp_path / "frame.fits").read_bytes() == CONTENT
    assert "range" not in proxy.requests[-1].headers


def test_a_pinned_etag_survives_one_wrong_answer(proxy: FaultServer, key: str) -> None:
    etag = hashlib.md5(CONTENT).hexdigest()
    proxy.plan(faults.other_etag, 1)
    assert _read(proxy, key, etag=etag).data == CONTENT[START:STOP]
    proxy.plan(faults.other_etag)
    with pytest.raises(TransferError, match="the object changed: its ETag is 0000"):
        _read(proxy, key, etag=etag)


def test_md5_sees_a_flipped_bit_where_no_checksum_is_stored(endpoint: Endpoint, key: str, tmp_path: Path) -> None:
    with FaultServer(endpoint.url, dropped_headers=("x-amz-checksum", "x-amz-sdk")) as proxy:
        proxy.plan(faults.flipped_bit, 1)
        report = download([f"s3://{BUCKET}/{key}"], tmp_path, options=_options(proxy))
        assert report["status"].tolist() == ["downloaded"], report["error"][0]
        assert report["check"].tolist() == ["md5"]
        assert len(proxy.requests) == 2
    assert (tmp_path / "frame.fits").read_bytes() == CONTENT


def test_a_dead_server_is_not_asked_for_every_key(proxy: FaultServer, tmp_path: Path) -> None:
    proxy.plan(faults.internal_error)
    uris = [f"s3://{BUCKET}/dead/{index:03d}.bin" for index in range(200)]
    report = download(uris, tmp_path, options=_options(proxy, max_objects=4, max_lost=4, max_attempts=2))
    assert set(report["status"].tolist()) == {"failed"}
    assert len(proxy.requests) <= 2 * (4 + 4)
    assert report["error"][199].startswith(f"not tried: {proxy.url} failed")


def _n_descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


@pytest.mark.parametrize("fault", [faults.stall, faults.stall_before_head], ids=_name)
def test_cancellation_leaves_no_file_and_no_connection(
    proxy: FaultServer, key: str, tmp_path: Path, fault: Fault
) -> None:
    proxy.plan(fault)

    async def cancel_in_the_middle() -> None:
        options = _options(proxy, stall_timeout_s=30.0)
        task = asyncio.create_task(download_async([f"s3://{BUCKET}/{key}"], tmp_path, options=options))
        async with asyncio.timeout(20):
            while not proxy.requests or (fault is faults.stall and not any(tmp_path.glob(".starskope-*"))):
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    n_before = _n_descriptors()
    asyncio.run(cancel_in_the_middle())
    assert [name for name in _files(tmp_path) if not name.startswith(".starskope-")] == ["manifest.parquet"]
    assert proxy.wait_closed()
    assert _n_descriptors() <= n_before


def test_many_small_reads_leave_nothing_behind(proxy: FaultServer, key: str) -> None:
    async def read_many() -> list[int]:
        counts = []
        async with open_client(_options(proxy, max_connections=4)) as client:
            for _ in range(3):
                reads = [read_range(client, S3Uri(BUCKET, key), 100 * i, 100 * i + 50) for i in range(20)]
                for i, read in enumerate(await asyncio.gather(*reads)):
                    assert read.data == CONTENT[100 * i : 100 * i + 50]
                counts.append(len(asyncio.all_tasks()))
        return counts

    counts = run_sync(read_many())
    assert counts[0] == counts[2]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (faults.garbage, "not an S3 listing: is the endpoint right?"),
        (faults.foreign_xml, "not an S3 listing: is the endpoint right?"),
        (faults.slow_down, "503 SlowDown"),
        (faults.close_at_once, "the connection broke"),
        (faults.early_close, "the connection broke"),
        (faults.stall, "stalled: no byte for 0.4 s"),
    ],
    ids=_name,
)
def test_listings_meet_the_same_faults(proxy: FaultServer, key: str, fault: Fault, words: str) -> None:
    async def keys() -> list[str]:
        async with open_client(_options(proxy)) as client:
            return [entry.key async for entry in list_objects(client, BUCKET, "faults/frame")]

    proxy.plan(fault, 2, listings=True)
    assert run_sync(keys()) == [key]
    proxy.plan(fault, listings=True)
    with pytest.raises(TransferError) as caught:
        run_sync(keys())
    assert words in str(caught.value)
    assert list(caught.value.causes) == [f"s3://{BUCKET}/faults/frame"]


def test_a_redirect_loop_ends(proxy: FaultServer, key: str) -> None:
    proxy.plan(faults.redirect_loop)
    with pytest.raises(TransferError, match=r"redirected at .* \(307\), and redirects are not followed"):
        _read(proxy, key)
    assert len(proxy.requests) <= MAX_ATTEMPTS * 3, "botocore may ask where the bucket lives"


@pytest.mark.parametrize("n_faults", [MAX_ATTEMPTS - 1, MAX_ATTEMPTS])
def test_the_budget_of_tries_is_exact(proxy: FaultServer, key: str, n_faults: int) -> None:
    proxy.plan(faults.slow_down, n_faults)
    if n_faults < MAX_ATTEMPTS:
        assert _read(proxy, key).data == CONTENT[START:STOP]
    else:
        with pytest.raises(TransferError):
            _read(proxy, key)
    assert len(proxy.requests) == MAX_ATTEMPTS
