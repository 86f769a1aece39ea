"""The short way of a body into its buffers equals aiohttp's own way, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import threading
import time
from pathlib import Path

import fault_server as faults
import numpy as np
import pytest
from astropy.table import Table
from fault_server import Exchange, Fault, FaultServer
from loopback_tls import trusted_tls

from starskope import parallel
from starskope.synth.endpoint import Endpoint
from starskope.transfer import body_thread
from starskope.transfer.body_line import Line
from starskope.transfer.download import download, download_async
from starskope.transfer.options import TransferOptions

BUCKET = "stpubdata"
NEVER = 10**9
SIZES = [1, 999, 65_536, 262_144, 262_145, 1_000_000, 3_000_001]
CONTENTS = {f"{size}.bin": np.random.default_rng(size).bytes(size) for size in SIZES}
URIS = [f"s3://{BUCKET}/bodies/{name}" for name in CONTENTS]
LARGEST = URIS[-1:]


@pytest.fixture(scope="module", autouse=True)
def _objects(endpoint: Endpoint) -> None:
    for name, content in CONTENTS.items():
        endpoint.put(f"bodies/{name}", content)


@pytest.fixture
def n_direct(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the bodies that came the short way."""
    sizes: list[int] = []

    class Counted(body_thread.BodyThread):
        def __init__(self, *arguments: object) -> None:
            sizes.append(arguments[3])  # type: ignore[arg-type]
            super().__init__(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(body_thread, "BodyThread", Counted)
    return sizes


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """What a server speaks TLS with; its authority is trusted."""
    return trusted_tls(tmp_path, monkeypatch)


def _options(server: Endpoint | FaultServer, direct_bytes: int, **changes: object) -> TransferOptions:
    settings = {"backoff_base_s": 0.01, "max_attempts": 3, "stall_timeout_s": 1.0, "write_bytes": 100_000, **changes}
    return TransferOptions(endpoint_url=server.url, direct_bytes=direct_bytes, **settings)  # type: ignore[arg-type]


def _assert_whole(folder: Path, uris: list[str]) -> None:
    for uri in uris:
        name = uri.rpartition("/")[2]
        assert (folder / name).read_bytes() == CONTENTS[name]


@pytest.mark.parametrize("direct_bytes", [0, NEVER], ids=["short", "plain"])
@pytest.mark.parametrize("chunk_bytes", [1_000, 99_999, 2**22])
def test_bodies_come_whole_and_connections_are_kept(
    endpoint: Endpoint, tmp_path: Path, n_direct: list[int], direct_bytes: int, chunk_bytes: int
) -> None:
    with FaultServer(endpoint.url) as proxy:
        options = _options(proxy, direct_bytes, max_objects=1, write_bytes=chunk_bytes)
        report = download(URIS * 2, tmp_path, options=options)
        assert report["status"].tolist() == ["downloaded"] * len(URIS), report["error"]
        assert proxy.n_accepted == 1, "one connection serves all"
    _assert_whole(tmp_path, URIS)
    assert bool(n_direct) == (direct_bytes == 0)


@pytest.mark.parametrize("direct_bytes", [0, NEVER], ids=["short", "plain"])
def test_bodies_come_whole_over_tls(
    endpoint: Endpoint, tmp_path: Path, n_direct: list[int], direct_bytes: int, tls: ssl.SSLContext
) -> None:
    folder = tmp_path / "files"
    with FaultServer(endpoint.url, tls=tls) as proxy:
        report = download(URIS, folder, options=_options(proxy, direct_bytes, max_objects=1))
        assert report["status"].tolist() == ["downloaded"] * len(URIS), report["error"]
        assert proxy.n_accepted == 1
        proxy.plan(faults.early_close, 2)
        report = download(URIS, folder, options=_options(proxy, direct_bytes), overwrite=True)
        assert report["status"].tolist() == ["downloaded"] * len(URIS), report["error"]
    _assert_whole(folder, URIS)
    assert bool(n_direct) == (direct_bytes == 0)


FAULTS = [
    faults.early_close,
    faults.reset,
    faults.stall,
    faults.trickle,
    faults.close_after_a_little,
    faults.flipped_bit,
    faults.changed_in_the_middle,
    faults.short_length,
]


@pytest.mark.parametrize(
    ("fault", "scheme"),
    [*((fault, "http") for fault in FAULTS), (faults.stall, "https"), (faults.reset, "https")],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_fault_ends_as_on_the_plain_way(
    endpoint: Endpoint, tmp_path: Path, n_direct: list[int], fault: Fault, scheme: str, tls: ssl.SSLContext
) -> None:
    told = {}
    for direct_bytes in (0, NEVER):
        for times in (1, None):
            folder = tmp_path / f"{direct_bytes}-{times}"
            n_direct.clear()
            with FaultServer(endpoint.url, tls=tls if scheme == "https" else None) as proxy:
                proxy.plan(fault, times)
                report = download(LARGEST, folder, options=_options(proxy, direct_bytes))
                assert proxy.wait_closed()
            assert bool(n_direct) == (direct_bytes == 0)
            row = report[0]
            told[direct_bytes, times] = (row["status"], row["error"][:12])
            if row["status"] == "downloaded":
                _assert_whole(folder, LARGEST)
            else:
                assert not list(folder.glob("*.bin"))
    for times in (1, None):
        assert told[0, times] == told[NEVER, times]
    assert told[0, 1][0] == "downloaded"
    assert told[0, None][0] == "failed"


def test_what_came_before_a_break_is_not_fetched_again(endpoint: Endpoint, tmp_path: Path) -> None:
    with FaultServer(endpoint.url) as proxy:
        proxy.plan(faults.early_close, 1)
        assert download(LARGEST, tmp_path, options=_options(proxy, 0))["status"].tolist() == ["downloaded"]
        first, second = proxy.requests
        assert "range" not in first.headers
        assert second.headers["range"].startswith(f"bytes={SIZES[-1] // 2}-")


def test_cancelled_no_thread_and_no_descriptor_stays(endpoint: Endpoint, tmp_path: Path) -> None:
    with FaultServer(endpoint.url) as proxy:
        proxy.plan(faults.stall)
        options = _options(proxy, 0, stall_timeout_s=60.0)

        async def cancel_in_mid_body() -> None:
            task = asyncio.create_task(download_async(LARGEST, tmp_path, options=options, processes=1))
            while not any(path.stat().st_size > 100_000 for path in tmp_path.glob(".starskope-*.part")):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
            assert any(thread.name.startswith("starskope-line") for thread in threading.enumerate())
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 10)

        asyncio.run(cancel_in_mid_body())
        assert proxy.wait_closed()
        n_open = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
        asyncio.run(cancel_in_mid_body())
        assert proxy.wait_closed()
        assert n_open == 0 or len(list(Path("/proc/self/fd").iterdir())) <= n_open
        assert all(parallel.submit_waiting(int).result(5) == 0 for _ in range(100)), "the threads are free again"
    assert download(LARGEST, tmp_path, options=_options(endpoint, 0))["status"].tolist() == ["downloaded"]
    _assert_whole(tmp_path, LARGEST)


def test_stray_bytes_after_a_body_never_reach_the_next_one(endpoint: Endpoint, tmp_path: Path) -> None:
    async def with_more(exchange: Exchange) -> None:
        answer = await exchange.upstream()
        exchange.writer.write(answer.head() + answer.body + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlies!")
        await exchange.writer.drain()
        exchange.is_whole = True

    # A server that sends two answers to one question is told from a good one by what each must be.
    etags = [hashlib.md5(content).hexdigest() for content in CONTENTS.values()]
    source = Table({"uri": URIS, "etag": etags})
    with FaultServer(endpoint.url) as proxy:
        proxy.plan(with_more)
        for direct_bytes in (0, 0, NEVER):
            options = _options(proxy, direct_bytes, max_objects=2, max_attempts=50, max_replaced=50, max_lost=100)
            report = download(source, tmp_path, options=options, overwrite=True)
            for uri, status in zip(URIS, report["status"], strict=True):
                if status == "downloaded":
                    _assert_whole(tmp_path, [uri])
            assert report["status"][-1] == "downloaded", report["error"][-1]


def test_without_a_name_that_it_needs_the_plain_way_is_taken(
    endpoint: Endpoint, tmp_path: Path, n_direct: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_thread, "_NEEDED", ("a_name_that_aiohttp_lacks",))
    assert set(download(URIS, tmp_path, options=_options(endpoint, 0))["status"]) == {"downloaded"}
    _assert_whole(tmp_path, URIS)
    assert not n_direct


@pytest.mark.parametrize("pinned", [True, False], ids=["listed", "not listed"])
def test_an_object_replaced_in_the_middle_is_never_a_mix(
    endpoint: Endpoint, tmp_path: Path, n_direct: list[int], pinned: bool
) -> None:
    old, new = (np.random.default_rng(seed).bytes(1_500_000) for seed in (31, 32))
    key = "bodies/replaced.bin"
    endpoint.put(key, old)

    async def replace_and_break(exchange: Exchange) -> None:
        await faults.early_close(exchange)
        await asyncio.to_thread(endpoint.put, key, new)

    uri = f"s3://{BUCKET}/{key}"
    source = Table({"uri": [uri], "etag": [hashlib.md5(old).hexdigest()]}) if pinned else [uri]
    with FaultServer(endpoint.url) as proxy:
        proxy.plan(replace_and_break, 1)
        report = download(source, tmp_path, options=_options(proxy, 0))
    assert n_direct
    if pinned:
        # The one that was asked for is gone: half of it is no file.
        assert report["status"].tolist() == ["failed"]
        assert "changed since it was listed" in report["error"][0]
        assert not (tmp_path / "replaced.bin").exists()
        report = download([uri], tmp_path, options=_options(endpoint, 0))
    assert report["status"].tolist() == ["downloaded"], report["error"]
    assert (tmp_path / "replaced.bin").read_bytes() == new


@pytest.mark.parametrize("n_busy", [1, 2])
def test_no_more_bodies_than_asked_for_are_received_at_once(
    endpoint: Endpoint, tmp_path: Path, n_direct: list[int], n_busy: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting, n_now, most = threading.Lock(), 0, 0
    receive_into = Line.receive_into

    def slowly(self: Line, view: memoryview, feed: memoryview) -> int | None:
        nonlocal n_now, most
        with counting:
            n_now += 1
            most = max(most, n_now)
        time.sleep(0.005)
        n_bytes = receive_into(self, view, feed)
        with counting:
            n_now -= 1
        return n_bytes

    monkeypatch.setattr(Line, "receive_into", slowly)
    report = download(URIS, tmp_path, options=_options(endpoint, 0, max_objects=len(URIS), busy_bodies=n_busy))
    assert set(report["status"]) == {"downloaded"}, report["error"]
    assert n_direct
    assert most == n_busy
    _assert_whole(tmp_path, URIS)
