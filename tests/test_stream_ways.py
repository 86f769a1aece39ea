"""Streams that end early, come as completed, arrive in pieces, or come from a web server: the frames are the same."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any

import fault_server as faults
import numpy as np
import pytest
import small_sector
from fault_server import FaultServer
from small_sector import config_for, frame_files, starskope
from test_stream import SIZE, SlowSource, collect, same, tiny_frame

from starskope.curves.extract import light_curves
from starskope.errors import FrameError, TransferError
from starskope.frames import decoding
from starskope.frames.decode import Frame, decode_frame, read_frame
from starskope.frames.pieces import PieceDecoder, decode_pieces
from starskope.frames.sources import FrameSource, Pieces
from starskope.frames.stack import Stack, stack
from starskope.frames.stream import stream, stream_frames
from starskope.job import run
from starskope.layout.fits import format_header
from starskope.synth.endpoint import Endpoint
from starskope.transfer.facade import run_sync
from starskope.transfer.options import TransferOptions

sector_dir = small_sector.sector_dir  # the fixture


async def _all(arriving: Any) -> list[Any]:
    async with aclosing(arriving):
        return [item async for item in arriving]


def test_as_completed_a_slow_frame_holds_nobody_back() -> None:
    n = 9
    source = SlowSource([SIZE] * n, [0.3] + [0.005] * (n - 1), {4: FrameError("damaged")})
    got = run_sync(_all(stream(source, range(n), bytes_in_flight=3 * SIZE, workers=2, as_completed=True)))
    indices = [index for index, _ in got]
    assert sorted(indices) == list(range(n))
    assert indices[-1] == 0
    assert source.most == 3
    for index, frame in got:
        if index == 4:
            assert isinstance(frame, FrameError)
        else:
            assert (frame.index, frame.image[0, 0]) == (index, index)


def test_as_completed_the_bound_counts_what_waits_for_its_reader() -> None:
    n = 10
    source = SlowSource([SIZE] * n, [0.001] * n)

    async def read() -> None:
        n_taken = 0
        async with aclosing(stream(source, range(n), bytes_in_flight=3 * SIZE, as_completed=True)) as arriving:
            async for _ in arriving:
                n_taken += 1
                await asyncio.sleep(0.02)
                assert len(source.finished) <= n_taken + 3

    run_sync(read())


def test_closing_waits_for_the_frame_that_is_being_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    at_work = threading.Event()
    busy: list[int] = []

    class Slow(PieceDecoder):
        def begin(self, head: bytes | memoryview) -> bool:
            return False  # as if its headers were longer: decoded at the end, in a thread

        def finish(self, pieces: list[bytes]) -> Frame:
            busy.append(1)
            at_work.set()
            time.sleep(0.2)
            busy.pop()
            return super().finish(pieces)

    monkeypatch.setattr(decoding, "PieceDecoder", Slow)
    source = SlowSource([SIZE] * 4, [0.0] * 4)

    async def read() -> None:
        reader = asyncio.create_task(_all(stream(source, range(4), workers=2)))
        while not at_work.is_set():
            await asyncio.sleep(0.005)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert not busy

    run_sync(read())


def test_the_public_generator_ends_with_its_client(sector_dir: Path) -> None:
    files = frame_files(sector_dir)[:6]

    async def read() -> list[int]:
        before = asyncio.all_tasks()
        async with aclosing(stream_frames(files, workers=2)) as coming:
            seen = []
            async for index, frame in coming:
                assert same(frame, read_frame(files[index]))
                seen.append(index)
                if index == 2:
                    break
        assert asyncio.all_tasks() == before
        return seen

    assert run_sync(read()) == [0, 1, 2]


class PieceSource(FrameSource):
    """One frame that comes in small pieces, the loop being free between them; what is told of its size is chosen."""

    def __init__(self, data: bytes, size: int | None, *, replaced_at: int | None = None) -> None:
        super().__init__(["a.fits"], [size])
        self.data, self.replaced_at = data, replaced_at

    def n_bytes(self, index: int) -> int:
        return self._sizes[index] or len(self.data) // 2

    async def _read_into(self, index: int, start: int, stop: int, into: Pieces) -> None:
        stop = min(stop, len(self.data))
        if start == 0:
            into.begin(stop)
        at = start
        while at < stop:
            if start == 0 and self.replaced_at is not None and at > self.replaced_at:
                at, self.replaced_at = 0, None
                into.begin(stop)
            piece = memoryview(bytearray(self.data[at : min(at + 7_001, stop)]))
            into.add(piece)
            at += len(piece)
            piece[:] = bytes(len(piece))  # it was lent
            await asyncio.sleep(0)


@pytest.mark.parametrize("replaced_at", [None, 30_000, 130_000])
@pytest.mark.parametrize("told", ["size", "nothing"])
@pytest.mark.parametrize("kind", ["plain", "long header", "damaged", "made up"])
def test_a_frame_decoded_while_it_comes_is_the_one_decoded_at_the_end(
    kind: str, told: str, replaced_at: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = [("SIMPLE", True, ""), ("BITPIX", -32, ""), ("NAXIS", 2, ""), ("NAXIS1", 301, ""), ("NAXIS2", 177, "")]
    cards += [(f"CARD{i}", i, "") for i in range(600 if kind == "long header" else 9)]
    if kind == "made up":
        cards[3] = ("NAXIS1", 2**40, "")
    if kind == "damaged":
        cards.append(("BSCALE", "twice", ""))
    data = format_header(cards) + np.arange(301 * 177, dtype=">f4").tobytes() + bytes(2880 - 301 * 177 * 4 % 2880)
    fed: list[int] = []

    class Watched(PieceDecoder):
        def feed(self, piece: bytes | memoryview) -> None:
            super().feed(piece)
            fed.append(len(piece))

    monkeypatch.setattr(decoding, "PieceDecoder", Watched)
    source = PieceSource(data, len(data) if told == "size" else None, replaced_at=replaced_at)
    [(_, got)] = run_sync(_all(stream(source, [0])))
    if kind in {"damaged", "made up"}:
        with pytest.raises(FrameError) as expected:
            decode_frame(data, name="a.fits")
        assert isinstance(got, FrameError)
        assert str(got) == str(expected.value)
    else:
        assert same(got, decode_frame(data, name="a.fits"))
    assert (len(fed) > 2) == (kind == "plain" and told == "size")


def scaled_frame() -> bytes:
    cards = [("SIMPLE", True, ""), ("BITPIX", 16, ""), ("NAXIS", 2, ""), ("NAXIS1", 37, ""), ("NAXIS2", 23, "")]
    cards += [("BZERO", 32768.0, ""), ("BSCALE", 0.5, ""), ("BLANK", -7, "")]
    data = np.random.default_rng(3).integers(-9, 9, (23, 37)).astype(">i2").tobytes()
    return format_header(cards) + data.ljust(2880, b"\0")


@pytest.mark.parametrize("n_cut", [0, 1, 5, 60])
@pytest.mark.parametrize("kind", ["ffi", "scaled", "tiny", "long header"])
def test_pieces_give_the_frame_of_the_whole(kind: str, n_cut: int, sector_dir: Path) -> None:
    data = {"ffi": frame_files(sector_dir)[0].read_bytes(), "scaled": scaled_frame(), "tiny": tiny_frame(4)}.get(kind)
    if data is None:
        cards = [("SIMPLE", True, ""), ("BITPIX", -32, ""), ("NAXIS", 2, ""), ("NAXIS1", 3, ""), ("NAXIS2", 2, "")]
        cards += [(f"CARD{i}", i, "") for i in range(600)]
        data = format_header(cards) + np.arange(6, dtype=">f4").tobytes().ljust(2880, b"\0")
    expected = decode_frame(data, index=3, name="a.fits")
    rng = np.random.default_rng(n_cut)
    for _ in range(8):
        cuts = [0, *sorted(rng.integers(0, len(data), n_cut).tolist()), len(data)]
        pieces = [data[a:b] for a, b in pairwise(cuts)]
        got = decode_pieces(pieces, index=3, name="a.fits")
        assert same(got, expected)
        assert (got.index, got.name, dict(got.primary)) == (3, "a.fits", dict(expected.primary))
        assert pieces == []


@pytest.mark.parametrize("stop", [0, 100, 2880, 2900, 5000, 30_000])
def test_damaged_pieces_raise_what_the_whole_raises(stop: int, sector_dir: Path) -> None:
    data = frame_files(sector_dir)[0].read_bytes()[:stop]
    with pytest.raises(FrameError) as expected:
        decode_frame(data, name="a.fits")
    with pytest.raises(FrameError) as got:
        decode_pieces([data[:70], data[70:]], name="a.fits")
    assert str(got.value) == str(expected.value)


@pytest.fixture
def web(endpoint: Endpoint, sector_dir: Path) -> Iterator[FaultServer]:
    endpoint.put_directory(sector_dir)
    with FaultServer(endpoint.url) as server:
        yield server


def addresses(web: FaultServer, sector_dir: Path, n: int) -> list[str]:
    return [f"{web.url}/stpubdata/{path.relative_to(sector_dir)}" for path in frame_files(sector_dir)[:n]]


def test_frames_from_a_web_server_are_those_of_files(web: FaultServer, sector_dir: Path) -> None:
    files = frame_files(sector_dir)[:5]
    for (index, frame), path in zip(run_sync(collect(addresses(web, sector_dir, 5))), files, strict=True):
        assert same(frame, read_frame(path, index=index))
    assert all("range" in request.headers for request in web.requests)


def test_a_stream_survives_faults_and_names_those_that_stay(web: FaultServer, sector_dir: Path) -> None:
    uris = addresses(web, sector_dir, 4)
    options = TransferOptions(max_attempts=3, stall_timeout_s=0.4, backoff_base_s=0.01)
    gone = Path(uris[1]).name
    web.plan(faults.early_close, 2, only=Path(uris[0]).name)
    web.plan(faults.reset, only=gone)
    got = run_sync(collect(uris, options=options))
    assert [isinstance(frame, Frame) for _, frame in got] == [True, False, True, True]
    assert isinstance(got[1][1], TransferError)
    assert gone in str(got[1][1])


def test_leaving_early_closes_the_connections(web: FaultServer, sector_dir: Path) -> None:
    uris = addresses(web, sector_dir, 8)
    for path in uris[3:]:
        web.plan(faults.stall, only=Path(path).name)

    async def read() -> float:
        before = asyncio.all_tasks()
        async with aclosing(stream_frames(uris, as_completed=True)) as coming:
            n_seen = 0
            async for _, frame in coming:
                assert isinstance(frame, Frame)
                n_seen += 1
                if n_seen == 3:
                    break
            began = time.monotonic()
        took = time.monotonic() - began
        assert asyncio.all_tasks() == before
        return took

    assert run_sync(read()) < 5.0  # the stalled requests have 15 s
    assert web.wait_closed()


def test_the_job_takes_web_addresses(web: FaultServer, sector_dir: Path, tmp_path: Path) -> None:
    n = 24
    files, uris = [str(path) for path in frame_files(sector_dir)[:n]], addresses(web, sector_dir, n)
    for name, frames in (("here", files), ("there", uris)):
        (outcome,) = run(config_for(sector_dir, frames=tuple(frames)), tmp_path / name).ccds
        assert outcome.ok
        assert outcome.n_frame == n
    here, there = tmp_path / "here", tmp_path / "there"
    assert Stack.read(here / "stack.fits").image.tobytes() == Stack.read(there / "stack.fits").image.tobytes()
    for name in ("candidates.ecsv", "feature_model.npz", "features.parquet"):
        assert (here / name).read_bytes() == (there / name).read_bytes(), name
    stored = [
        sorted(path.relative_to(out) for path in out.rglob("*.zarr/**/*") if path.is_file()) for out in (here, there)
    ]
    assert stored[0]
    assert stored[0] == stored[1]
    assert all((here / file).read_bytes() == (there / file).read_bytes() for file in stored[0])


def test_stack_and_curves_take_web_addresses(web: FaultServer, sector_dir: Path) -> None:
    from astropy.table import Table

    files, uris = frame_files(sector_dir)[:6], addresses(web, sector_dir, 6)
    here, there = stack(files, workers=2), stack(uris, workers=2)
    assert here.image.tobytes() == there.image.tobytes()
    assert here.count.tobytes() == there.count.tobytes()
    stars = Table.read(sector_dir / "catalog.ecsv", format="ascii.ecsv")[:20]
    curves = [light_curves(frames, stars, block_frames=3) for frames in (files, uris)]
    assert curves[0].flux.tobytes() == curves[1].flux.tobytes()
    assert curves[0].time.tobytes() == curves[1].time.tobytes()


def test_the_command_line_takes_web_addresses(web: FaultServer, sector_dir: Path, tmp_path: Path) -> None:
    files, uris = frame_files(sector_dir)[:4], addresses(web, sector_dir, 4)
    done = starskope("stack", *uris, tmp_path / "there.fits")
    assert done.returncode == 0, done.stderr
    done = starskope("stack", *files, tmp_path / "here.fits")
    assert done.returncode == 0, done.stderr
    here, there = (Stack.read(tmp_path / name) for name in ("here.fits", "there.fits"))
    assert here.image.tobytes() == there.image.tobytes()
    done = starskope("stack", "--dry-run", *uris, tmp_path / "there.fits")
    assert "in 4 requests" in done.stdout, done.stdout + done.stderr
