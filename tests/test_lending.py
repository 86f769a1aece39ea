"""Bytes that are lent to their taker piece by piece, in the thread that receives them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import fault_server as faults
import numpy as np
import pytest
from fault_server import Fault, FaultServer
from loopback_tls import trusted_tls

from starskope.errors import TransferError
from starskope.synth.endpoint import Endpoint
from starskope.transfer import body_thread
from starskope.transfer.client import open_client
from starskope.transfer.facade import run_sync
from starskope.transfer.options import TransferOptions
from starskope.transfer.ranged import fetch
from starskope.transfer.uris import S3Uri

URI = S3Uri("stpubdata", "lent/large.bin")
CONTENT = np.random.default_rng(8).bytes(3_000_001)


@pytest.fixture(scope="module", autouse=True)
def _objects(endpoint: Endpoint) -> None:
    endpoint.put(URI.key, CONTENT)


class Taker:
    """A sink that is lent what comes, and spoils what it was lent."""

    def __init__(self, *, fails_at: int | None = None) -> None:
        self.data = bytearray()
        self.n_lent = self.most = 0
        self.fails_at = fails_at

    async def begin(self, extent: object) -> None: ...

    async def straight(self) -> Callable[[memoryview], None]:
        return self.take

    def note(self, n_bytes: int) -> None: ...

    def take(self, view: memoryview) -> None:
        if self.fails_at is not None and len(self.data) >= self.fails_at:
            raise MemoryError("no room")
        self.data += view
        self.n_lent += 1
        self.most = max(self.most, len(view))
        if not view.readonly:
            view[:] = bytes(len(view))

    async def write(self, chunk: bytes | bytearray) -> None:
        self.data += chunk

    async def restart(self) -> None:
        self.data.clear()


def _fetch(url: str, sinks: list[Taker], start: int = 0, **changes: object) -> None:
    settings = {"backoff_base_s": 0.01, "max_attempts": 3, "stall_timeout_s": 1.0, "write_bytes": 100_003, **changes}
    options = TransferOptions(endpoint_url=url, direct_bytes=0, **settings)  # type: ignore[arg-type]

    async def run() -> None:
        async with open_client(options) as client:
            await asyncio.gather(*(fetch(client, URI, start, len(CONTENT), sink) for sink in sinks))

    run_sync(run())


@pytest.mark.parametrize("start", [0, 1, len(CONTENT) - 1])
def test_many_bodies_come_at_a_time(endpoint: Endpoint, start: int) -> None:
    sinks = [Taker() for _ in range(5)]
    _fetch(endpoint.url, sinks, start)
    for sink in sinks:
        assert sink.data == CONTENT[start:]
        if start < 2:
            assert sink.n_lent > 20


def test_lent_bytes_over_tls(endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer(endpoint.url, tls=trusted_tls(tmp_path, monkeypatch)) as proxy:
        proxy.plan(faults.early_close, 1)
        sinks = [Taker() for _ in range(3)]
        _fetch(proxy.url, sinks)
    assert all(sink.data == CONTENT and sink.n_lent > 20 for sink in sinks)


@pytest.mark.parametrize(
    "fault",
    [faults.early_close, faults.reset, faults.stall, faults.trickle, faults.close_after_a_little],
    ids=lambda fault: fault.__name__,
)
def test_what_breaks_is_continued_where_it_broke(endpoint: Endpoint, fault: Fault) -> None:
    with FaultServer(endpoint.url) as proxy:
        proxy.plan(fault, 1)
        sink = Taker()
        _fetch(proxy.url, [sink])
        assert sink.data == CONTENT
        assert sink.n_lent > 10
        proxy.plan(fault, None)
        with pytest.raises(TransferError, match=r"large\.bin"):
            _fetch(proxy.url, [Taker()])
        assert proxy.wait_closed()


def test_connections_are_kept_after_lent_bodies(endpoint: Endpoint) -> None:
    async def run(url: str) -> None:
        async with open_client(TransferOptions(endpoint_url=url, direct_bytes=0)) as client:
            for _ in range(4):
                sink = Taker()
                await fetch(client, URI, 0, len(CONTENT), sink)
                assert sink.data == CONTENT

    with FaultServer(endpoint.url) as proxy:
        run_sync(run(proxy.url))
        assert proxy.n_accepted == 1


def test_what_the_taker_raises_is_raised_and_not_tried_again(endpoint: Endpoint) -> None:
    with FaultServer(endpoint.url) as proxy:
        with pytest.raises(MemoryError, match="no room"):
            _fetch(proxy.url, [Taker(fails_at=500_000)])
        assert len(proxy.requests) == 1
        assert proxy.wait_closed()


def test_without_a_name_that_it_needs_everything_is_written(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_thread, "_NEEDED", ("a_name_that_aiohttp_lacks",))
    sink = Taker()
    _fetch(endpoint.url, [sink])
    assert sink.data == CONTENT
    assert sink.n_lent == 0
