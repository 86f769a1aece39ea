"""Streams of frames: what names them, what is read of each, order, bounds, failures, and ending early."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from starskope.errors import FrameError, TransferError
from starskope.frames.decode import Frame, read_frame
from starskope.frames.sources import Pieces
from starskope.frames.stream import FrameSource, fold, open_source, stream
from starskope.layout.fits import format_header
from starskope.synth import SectorConfig, SyntheticSector
from starskope.transfer.facade import run_sync
from starskope.transfer.options import TransferOptions

N_FRAME = 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stream")
    # 560 KB planes: a whole file is above the size under which small files are read whole.
    sector = SyntheticSector(
        SectorConfig(seed=2, n_row=370, n_col=300, n_frame=N_FRAME, n_star=90, header_offsets=((3, 31680), (4, 14400)))
    )
    sector.write(root, what=("ffi",))
    return root


@pytest.fixture(scope="module")
def paths(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*_ffic.fits"), key=lambda path: path.name)


async def collect(frames: Any, indices: Any = None, **named: Any) -> list[tuple[int, Frame | Exception]]:
    options = named.pop("options", None)
    async with open_source(frames, options) as source:
        chosen = range(source.n_frame) if indices is None else indices
        async with aclosing(stream(source, chosen, **named)) as arriving:
            return [item async for item in arriving]


def same(one: Frame, other: Frame) -> bool:
    return one.image.tobytes() == other.image.tobytes() and dict(one.header) == dict(other.header)


class SlowSource(FrameSource):
    """Frames of known sizes that come in any order, and count who is under way."""

    def __init__(self, sizes: list[int], delays: list[float], broken: dict[int, Exception] | None = None) -> None:
        super().__init__([f"frame{i}.fits" for i in range(len(sizes))], sizes)
        self.delays, self.broken = delays, broken or {}
        self.under_way: set[int] = set()
        self.finished: list[int] = []
        self.most = 0
        self.cancelled: list[int] = []

    async def _read_into(self, index: int, start: int, stop: int, into: Pieces) -> None:
        self.under_way.add(index)
        self.most = max(self.most, len(self.under_way))
        try:
            await asyncio.sleep(self.delays[index])
            if index in self.broken:
                raise self.broken[index]
            self.finished.append(index)
        except asyncio.CancelledError:
            self.cancelled.append(index)
            raise
        finally:
            self.under_way.discard(index)
        into.begin(stop)
        into.add(tiny_frame(index)[start:stop])


def tiny_frame(value: int) -> bytes:
    cards = [("SIMPLE", True, ""), ("BITPIX", -32, ""), ("NAXIS", 2, ""), ("NAXIS1", 3, ""), ("NAXIS2", 2, "")]
    data = np.full((2, 3), value, ">f4").tobytes()
    return format_header(cards) + data.ljust(2880, b"\0")


SIZE = 5760


def test_files_come_in_order_with_the_pixels_of_read_frame(paths: list[Path]) -> None:
    got = run_sync(collect([str(path) for path in paths], workers=3))
    assert [index for index, _ in got] == list(range(N_FRAME))
    for (index, frame), path in zip(got, paths, strict=True):
        assert isinstance(frame, Frame)
        assert (frame.index, frame.name) == (index, path.name)
        assert same(frame, read_frame(path, index=index))


def test_only_header_and_plane_are_read(paths: list[Path]) -> None:
    async def sizes() -> list[tuple[int, int]]:
        async with open_source(paths) as source:
            return [(len(await source.fetch(i)), paths[i].stat().st_size) for i in range(source.n_frame)]

    for read, whole in run_sync(sizes()):
        assert read < 0.56 * whole


def test_a_frame_that_needs_more_than_the_first_request_gets_it(tmp_path: Path) -> None:
    """An image in the primary HDU of a file without uncertainties fills it: half of it does not hold the plane."""
    cards = [("SIMPLE", True, ""), ("BITPIX", -32, ""), ("NAXIS", 2, ""), ("NAXIS1", 900, ""), ("NAXIS2", 600, "")]
    data = np.arange(540_000, dtype=">f4").tobytes()
    path = tmp_path / "plain.fits"
    path.write_bytes(format_header(cards) + data.ljust(-(-len(data) // 2880) * 2880, b"\0"))
    [(_, frame)] = run_sync(collect(path))
    np.testing.assert_array_equal(frame.image.ravel(), np.arange(540_000, dtype=np.float32))


def test_objects_give_the_bytes_of_files(endpoint: Any, folder: Path, paths: list[Path]) -> None:
    endpoint.put_directory(folder)
    uris = [f"s3://stpubdata/{path.relative_to(folder)}" for path in paths]
    options = TransferOptions(endpoint_url=endpoint.url)
    table = Table({"uri": uris, "size": [path.stat().st_size for path in paths]})
    patchy = Table({"uri": uris})
    patchy["size"] = MaskedColumn([1] * N_FRAME, mask=[True] * N_FRAME)
    for frames in (table, patchy, uris):
        for (_, frame), path in zip(run_sync(collect(frames, options=options)), paths, strict=True):
            assert same(frame, read_frame(path))


def test_a_missing_object_and_a_wrong_etag_are_theirs_alone(endpoint: Any, folder: Path, paths: list[Path]) -> None:
    endpoint.put_directory(folder)
    uris = [f"s3://stpubdata/{path.relative_to(folder)}" for path in paths[:4]]
    uris[1] += ".gone"
    table = Table({"uri": uris, "etag": ["", "", "0123456789abcdef0123456789abcdef", ""]})
    got = run_sync(collect(table, options=TransferOptions(endpoint_url=endpoint.url, max_attempts=1)))
    assert [type(frame) for _, frame in got][::3] == [Frame, Frame]
    assert isinstance(got[1][1], TransferError)
    assert isinstance(got[2][1], TransferError)
    assert ".gone" in str(got[1][1])


def test_order_holds_whatever_arrives_first_and_bytes_stay_bounded() -> None:
    n = 12
    source = SlowSource([SIZE] * n, [0.012 if i % 3 == 0 else 0.001 for i in range(n)])

    async def run() -> list[int]:
        seen = []
        async with aclosing(stream(source, range(n), bytes_in_flight=3 * SIZE + 5, workers=2)) as arriving:
            async for index, frame in arriving:
                assert frame.image[0, 0] == index
                seen.append(index)
                await asyncio.sleep(0.002)
                ahead = max(source.finished, default=0) - index
                assert ahead <= 3
        return seen

    assert run_sync(run()) == list(range(n))
    assert source.finished != sorted(source.finished)
    assert source.most == 3


def test_one_frame_is_allowed_however_small_the_bound() -> None:
    source = SlowSource([SIZE] * 3, [0.0] * 3)
    got = run_sync(_all(stream(source, [2, 0, 1], bytes_in_flight=1)))
    assert [index for index, _ in got] == [2, 0, 1]
    with pytest.raises(ValueError, match="bytes_in_flight = 0"):
        run_sync(_all(stream(source, [0], bytes_in_flight=0)))


async def _all(arriving: Any) -> list[Any]:
    return [item async for item in arriving]


def test_a_broken_frame_is_yielded_and_a_defect_raised() -> None:
    source = SlowSource([SIZE] * 4, [0.0] * 4, {1: OSError("no such disk"), 2: FrameError("damaged")})
    got = run_sync(_all(stream(source, range(4))))
    assert [type(frame) for _, frame in got] == [Frame, OSError, FrameError, Frame]
    source.broken = {1: ZeroDivisionError("a defect")}
    with pytest.raises(ZeroDivisionError):
        run_sync(_all(stream(source, range(4))))
    assert not source.under_way


@pytest.mark.parametrize("how", ["close", "cancel"])
def test_ending_early_leaves_no_task(how: str) -> None:
    source = SlowSource([SIZE] * 8, [0.001] + [30.0] * 7)

    async def run() -> int:
        before = len(asyncio.all_tasks())

        async def read() -> None:
            async with aclosing(stream(source, range(8))) as arriving:
                async for _ in arriving:
                    if how == "close":
                        break

        reader = asyncio.create_task(read())
        await asyncio.sleep(0.05)
        if how == "cancel":
            reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        return len(asyncio.all_tasks()) - before

    assert run_sync(run()) == 0
    assert sorted(source.cancelled) == list(range(1, 8))


def test_a_folder_gives_its_fits_files_by_name_and_tells_of_others(tmp_path: Path) -> None:
    for name in (
        "b/tess2.fits",
        "a/tess3.FITS",
        "tess1.fit",
        "notes.txt",
        ".hidden.fits",
        "manifest.parquet",
        "z.fits.gz",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(tiny_frame(1))

    async def look() -> tuple[tuple[str, ...], tuple[str, ...]]:
        async with open_source(tmp_path) as source:
            return source.names, source.ignored

    names, ignored = run_sync(look())
    assert names == ("tess1.fit", "tess2.fits", "tess3.FITS", "z.fits.gz")
    assert ignored == ("manifest.parquet", "notes.txt")


@pytest.mark.parametrize(
    ("frames", "error", "text"),
    [
        ([], ValueError, "the list is empty"),
        (Table({"key": ["a"]}), ValueError, "no column 'uri', only key"),
        (["a.fits", "s3://stpubdata/b.fits"], ValueError, "mix remote ones with files such as 'a.fits'"),
        (["s3://stpubdata"], ValueError, "s3://stpubdata"),
        ("/no/such/place", FileNotFoundError, "/no/such/place does not exist"),
        (["s3://stpubdata/a.fits", "https://archive.stsci.edu/b.fits"], ValueError, "is in S3 and https"),
        (["http://archive.stsci.edu/b.fits"], ValueError, "is not encrypted"),
        (7, TypeError, "frames is a int"),
        (np.zeros((2, 3, 3)), TypeError, "frames is a ndarray"),
        ([1, 2], TypeError, "frames holds 1"),
    ],
)
def test_what_names_no_frames_is_refused(frames: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        run_sync(collect(frames))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no file that ends in"):
        run_sync(collect(tmp_path))


@pytest.mark.parametrize(
    ("content", "text"), [(b"", "empty|0 bytes|no bytes"), (tiny_frame(1)[:2890], "truncated|ends")]
)
def test_damaged_files_become_frame_errors(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "bad.fits"
    path.write_bytes(content)
    [(_, got)] = run_sync(collect([path]))
    assert isinstance(got, FrameError)
    assert "bad.fits" in str(got)
    assert re.search(text, str(got))
    [(_, gone)] = run_sync(collect([tmp_path / "gone.fits"]))
    assert isinstance(gone, OSError)


class Totals:
    """Adds up frames; fails on the index it is told."""

    def __init__(self, fail: int | None = None) -> None:
        self.fail, self.total, self.order, self.names = fail, 0.0, [], ()

    def begin(self, names: tuple[str, ...]) -> None:
        self.names = names

    def put(self, index: int, frame: Frame | Exception) -> None:
        if index == self.fail:
            raise RuntimeError("full")
        self.order.append(index)
        self.total += float(frame.image.sum()) if isinstance(frame, Frame) else 0.0

    def result(self) -> float:
        return self.total


def test_fold_hands_over_every_frame_in_order(paths: list[Path]) -> None:
    totals = Totals()
    expected = sum(float(read_frame(path).image.sum()) for path in paths)
    assert run_sync(fold(paths, totals, workers=2)) == expected
    assert totals.order == list(range(N_FRAME))
    assert len(totals.names) == N_FRAME
    with pytest.raises(RuntimeError, match="full"):
        run_sync(fold(paths, Totals(fail=2)))
