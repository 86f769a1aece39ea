"""Frames are received and decoded in threads: those of files come of it, whatever the line does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import fault_server as faults
import pytest
import small_sector
from fault_server import Fault, FaultServer
from loopback_tls import trusted_tls
from small_sector import frame_files
from test_stream import same

from starskope.errors import TransferError
from starskope.frames.decode import Frame, read_frame
from starskope.frames.stream import stream_frames
from starskope.synth.endpoint import Endpoint
from starskope.transfer import body_thread
from starskope.transfer.facade import run_sync
from starskope.transfer.options import TransferOptions

sector_dir = small_sector.sector_dir  # the fixture
N_FRAME = 6


@pytest.fixture(params=["s3", "web"])
def kind(request: pytest.FixtureRequest) -> str:
    """How the frames are addressed."""
    return str(request.param)


@pytest.fixture(params=["http", "https"])
def proxy(
    request: pytest.FixtureRequest,
    endpoint: Endpoint,
    sector_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[FaultServer]:
    endpoint.put_directory(sector_dir)
    tls = trusted_tls(tmp_path, monkeypatch) if request.param == "https" else None
    with FaultServer(endpoint.url, tls=tls) as server:
        yield server


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of the thread that received each body of its own."""
    seen: list[str] = []

    class Watched(body_thread.BodyThread):
        def _receive(self, *arguments: object) -> None:
            seen.append(threading.current_thread().name)
            super()._receive(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(body_thread, "BodyThread", Watched)
    return seen


def _uris(kind: str, proxy: FaultServer, sector_dir: Path) -> list[str]:
    base = "s3:/" if kind == "s3" else proxy.url
    return [f"{base}/stpubdata/{path.relative_to(sector_dir)}" for path in frame_files(sector_dir)[:N_FRAME]]


def _options(proxy: FaultServer, **changes: object) -> TransferOptions:
    settings = {"direct_bytes": 10_000, "write_bytes": 33_331, "max_attempts": 3, "stall_timeout_s": 0.5, **changes}
    return TransferOptions(endpoint_url=proxy.url, backoff_base_s=0.01, **settings)  # type: ignore[arg-type]


async def _all(uris: list[str], options: TransferOptions) -> list[tuple[int, Frame | Exception]]:
    async with aclosing(stream_frames(uris, options=options, as_completed=True)) as coming:
        return sorted([item async for item in coming], key=lambda item: item[0])


def _assert_right(got: list[tuple[int, Frame | Exception]], sector_dir: Path) -> None:
    for (index, frame), path in zip(got, frame_files(sector_dir)[:N_FRAME], strict=True):
        assert isinstance(frame, Frame), frame
        assert same(frame, read_frame(path, index=index))


def test_frames_are_those_of_files(kind: str, proxy: FaultServer, sector_dir: Path, threads: list[str]) -> None:
    uris = _uris(kind, proxy, sector_dir)
    _assert_right(run_sync(_all(uris, _options(proxy))), sector_dir)
    assert len(threads) == N_FRAME
    assert all(name.startswith("starskope-line") for name in threads)
    assert proxy.n_accepted <= N_FRAME
    # Small bodies are not worth a thread; they come through the loop, and are the same.
    threads.clear()
    _assert_right(run_sync(_all(uris, _options(proxy, direct_bytes=10**9))), sector_dir)
    assert not threads


FAULTS = [faults.early_close, faults.reset, faults.stall, faults.trickle, faults.close_after_a_little]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_that_passes_is_outlived_and_one_that_stays_is_told(
    kind: str, fault: Fault, proxy: FaultServer, sector_dir: Path, threads: list[str]
) -> None:
    uris = _uris(kind, proxy, sector_dir)
    name = Path(uris[2]).name
    passing = proxy.plan(fault, 1, only=name)
    _assert_right(run_sync(_all(uris, _options(proxy))), sector_dir)
    assert passing.applied == 1
    proxy.plan(fault, only=name)
    got = run_sync(_all(uris, _options(proxy)))
    assert [isinstance(frame, Frame) for _, frame in got] == [index != 2 for index in range(N_FRAME)]
    assert isinstance(got[2][1], TransferError)
    assert name in str(got[2][1])
    assert len(threads) >= 2 * N_FRAME
    assert proxy.wait_closed()


def test_a_frame_replaced_in_the_middle_is_never_a_mix(
    proxy: FaultServer, sector_dir: Path, endpoint: Endpoint, threads: list[str]
) -> None:
    uris = _uris("s3", proxy, sector_dir)
    older, newer = (path.read_bytes() for path in frame_files(sector_dir)[:2])
    key = uris[0].removeprefix("s3://stpubdata/")

    async def replace_and_break(exchange: faults.Exchange) -> None:
        await faults.early_close(exchange)
        await asyncio.to_thread(endpoint.put, key, newer)

    proxy.plan(replace_and_break, 1, only=Path(key).name)
    try:
        [(_, frame)] = run_sync(_all(uris[:1], _options(proxy)))
    finally:
        endpoint.put(key, older)
    assert isinstance(frame, Frame)
    assert (frame.image == read_frame(frame_files(sector_dir)[1]).image).all()
    assert len(threads) == 2


def test_leaving_early_leaves_no_thread_at_work(
    proxy: FaultServer, sector_dir: Path, threads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uris = _uris("s3", proxy, sector_dir)
    for uri in uris[1:]:
        proxy.plan(faults.stall, only=Path(uri).name)
    n_at_work = 0
    receive = body_thread.BodyThread._receive

    def counted(*arguments: object) -> None:
        nonlocal n_at_work
        n_at_work += 1
        try:
            receive(*arguments)  # type: ignore[arg-type]
        finally:
            n_at_work -= 1

    monkeypatch.setattr(body_thread.BodyThread, "_receive", counted)

    async def first() -> None:
        options = _options(proxy, stall_timeout_s=20.0)
        async with aclosing(stream_frames(uris, options=options, as_completed=True)) as coming:
            async for _, frame in coming:
                assert isinstance(frame, Frame)
                break
            while n_at_work < N_FRAME - 1:
                await asyncio.sleep(0.01)

    run_sync(asyncio.wait_for(first(), 10))
    assert n_at_work == 0
    assert proxy.wait_closed()
