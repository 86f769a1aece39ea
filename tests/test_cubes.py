"""Cubes: found by name, opened by their ends, and refused when the ends do not fit together."""

from __future__ import annotations

import asyncio
from pathlib import Path

import fault_server as faults
import numpy as np
import pytest
from astropy.io import fits
from cutout_scene import Scene, scene
from fault_server import FaultServer

from starskope.archive.cube_frames import CubeFrames
from starskope.archive.cubes import Cube, find_cubes, open_cube
from starskope.errors import FrameError, TransferError
from starskope.frames.cutouts import cutouts, cutouts_each
from starskope.frames.wcs import TanSip
from starskope.layout.cube import CubeLayout
from starskope.transfer.facade import run_sync
from starskope.transfer.options import TransferOptions

__all__ = ["scene"]

BUCKET = "stpubdata-cubes"


async def _frames(location: object, options: TransferOptions | None = None) -> tuple[Cube, CubeFrames]:
    async with open_cube(location, options=options) as cube:
        return cube, await cube.frames()


def frames_of(location: object, options: TransferOptions | None = None) -> tuple[Cube, CubeFrames]:
    return run_sync(_frames(location, options))


def changed(scene: Scene, tmp_path: Path, change) -> Path:
    """A copy of the cube with something done to its HDUs."""
    path = tmp_path / scene.cube.name
    with fits.open(scene.cube) as hdus:
        change(hdus).writeto(path)
    return path


@pytest.fixture(scope="module")
def bucket(scene: Scene, endpoint) -> TransferOptions:
    for sector in (scene.sector, scene.other):
        endpoint.put(sector.cube_key(), (scene.root / sector.cube_key()).read_bytes(), bucket=BUCKET)
    folder = scene.sector.cube_key().rpartition("/")[0]
    for junk in ("tess-s0001-1-4-cube.fits.bak", "tess-s0001-9-9-cube.fits", "tess-s0001-1-4-cube.fits/x", "../x"):
        endpoint.put(f"{folder}/{junk}", b"junk", bucket=BUCKET)
    return TransferOptions(endpoint_url=endpoint.url)


# --- finding --------------------------------------------------------------------------------------------------------
def test_cubes_are_found_by_their_names_and_nothing_else_is(scene: Scene, bucket: TransferOptions) -> None:
    table = find_cubes(1, options=bucket, bucket=BUCKET)
    assert table["ccd"].tolist() == [3, 4]
    assert table["uri"].tolist() == [f"s3://{BUCKET}/{s.cube_key()}" for s in (scene.other, scene.sector)]
    assert table["size"][1] == scene.cube.stat().st_size
    assert len(table["etag"][0]) == 32
    assert find_cubes(1, 1, 4, options=bucket, bucket=BUCKET)["ccd"].tolist() == [4]
    assert len(find_cubes(1, 2, options=bucket, bucket=BUCKET)) == 0
    assert len(find_cubes(2, options=bucket, bucket=BUCKET)) == 0
    with pytest.raises(ValueError, match="ccd is 5"):
        find_cubes(1, 1, 5, options=bucket, bucket=BUCKET)


# --- reading --------------------------------------------------------------------------------------------------------
def test_the_table_of_frames_is_that_of_astropy(scene: Scene, bucket: TransferOptions) -> None:
    truth = fits.getdata(scene.cube, 2)
    for location in (scene.cube, f"s3://{BUCKET}/{scene.sector.cube_key()}"):
        cube, frames = frames_of(location, bucket)
        assert frames.n_frame == len(truth) == 24
        assert frames.names.tolist() == truth["FFI_FILE"].tolist()
        for name in ("TSTART", "BARYCORR", "DQUALITY", "CRVAL1", "A_2_0"):
            np.testing.assert_array_equal(frames.number(name), truth[name].astype(float))
        assert np.isnan(frames.number("NO_SUCH")).all()
        assert np.isnan(frames.number("CTYPE1")).all()
        assert cube.size == scene.cube.stat().st_size
        assert cube.primary["CAMERA"] == 1


def test_the_cards_of_a_frame_are_those_of_its_file(scene: Scene) -> None:
    async def some() -> list:
        async with open_cube(scene.cube) as cube:
            frames = await cube.frames()
            return [(frames.cards(frame), await cube.cards(frame)) for frame in (0, 12, 23)]

    for number, (cards, alone) in zip((0, 12, 23), run_sync(some()), strict=True):
        assert cards == alone
        header = fits.getheader(scene.frames[number], 1)
        for name in ("TSTART", "BARYCORR", "DQUALITY", "CAMERA", "CRVAL1", "CTYPE1", "A_2_0", "SCIROWE", "TELESCOP"):
            assert cards.get(name) == header.get(name), name
    assert "CTYPE1" not in run_sync(some())[1][0]  # frame 12 has no world coordinates


def test_of_a_cube_on_a_server_its_ends_alone_are_read(scene: Scene, endpoint, bucket: TransferOptions) -> None:
    with FaultServer(endpoint.url) as server:
        frames_of(f"s3://{BUCKET}/{scene.sector.cube_key()}", TransferOptions(endpoint_url=server.url))
        table = scene.cube.stat().st_size - CubeLayout(*scene.sector.config.shape, 24).n_bytes
        asked = [request.headers["range"].removeprefix("bytes=").split("-") for request in server.requests]
        read = sum(int(last) - int(first) + 1 for first, last in asked)
        assert read <= table + 8 * 5760
        assert read < 0.3 * scene.cube.stat().st_size


# --- damage ---------------------------------------------------------------------------------------------------------
def one_row_less(hdus):
    return fits.HDUList([*hdus[:2], fits.BinTableHDU(hdus[2].data[:-1])])


def no_table(hdus):
    return fits.HDUList([*hdus[:2], fits.ImageHDU(np.zeros((3, 3), np.int16))])


def no_names(hdus):
    columns = fits.ColDefs([column for column in hdus[2].columns if column.name != "FFI_FILE"])
    return fits.HDUList([*hdus[:2], fits.BinTableHDU.from_columns(columns)])


def no_coordinates(hdus):
    columns = fits.ColDefs([column for column in hdus[2].columns if not column.name.startswith(("CTYPE", "CRVAL"))])
    return fits.HDUList([*hdus[:2], fits.BinTableHDU.from_columns(columns)])


def with_column(name, value):
    def change(hdus):
        hdus[2].data[name][5] = value
        return hdus

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_column("DQUALITY", -4), "DQUALITY runs from -4"),
        (with_column("TSTART", 1e9), "no date"),
        (one_row_less, "holds 24 frames, its table 23 rows"),
        (no_table, "expected the table of its frames"),
        (no_names, "no column FFI_FILE"),
        (no_coordinates, "none of the 24 frames of .* has world coordinates"),
    ],
)
def test_a_table_that_does_not_fit_the_cube_is_refused(scene: Scene, tmp_path: Path, change, words) -> None:
    with pytest.raises(FrameError, match=words):
        cutouts([(10.0, 5.0)], 5, uri=changed(scene, tmp_path, change))


@pytest.mark.parametrize(
    ("cut", "words"), [(100, "truncated"), (4000, "truncated"), (5760, "truncated"), (100_000, "truncated")]
)
def test_a_cube_cut_short_at_its_head_is_refused(scene: Scene, tmp_path: Path, cut, words) -> None:
    path = tmp_path / "cube.fits"
    path.write_bytes(scene.cube.read_bytes()[:cut])
    with pytest.raises(FrameError, match=words):
        frames_of(path)


def test_a_cube_cut_short_anywhere_in_its_table_is_refused(scene: Scene, tmp_path: Path) -> None:
    data = scene.cube.read_bytes()
    end = 5760 + 8 * 24 * scene.sector.config.shape[0] * scene.sector.config.shape[1]
    path = tmp_path / "cube.fits"
    with fits.open(scene.cube) as hdus:
        last_row = hdus[2].fileinfo()["datLoc"] + hdus[2].data.nbytes
    for cut in (end, end + 5000, end + 40_000, last_row - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(FrameError, match="truncated"):
            frames_of(path)


def test_what_follows_the_table_without_end_is_refused(scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "cube.fits"
    path.write_bytes(scene.cube.read_bytes())
    with path.open("r+b") as file:
        file.truncate(10**12)  # a sparse file: a server may claim any size
    with pytest.raises(FrameError, match="expected a table of 24 frames"):
        frames_of(path)


def test_other_files_are_no_cubes(scene: Scene, tmp_path: Path) -> None:
    page = tmp_path / "page.fits"
    page.write_bytes(b"<html>" * 2000)
    for path, words in ((scene.frames[0], "is no cube"), (page, "HTML")):
        with pytest.raises(FrameError, match=words):
            frames_of(path)


def test_cards_and_times_that_are_missing_leave_gaps(scene: Scene, tmp_path: Path) -> None:
    path = changed(scene, tmp_path, with_column("BARYCORR", np.nan))
    with fits.open(path, mode="update") as hdus:
        hdus[2].data["TSTOP"][7] = np.nan
    wcs = TanSip.from_header(fits.getheader(scene.frames[13], 1))
    result = cutouts(np.stack(wcs.pixel_to_world([30.0], [80.0]), axis=1), 5, uri=path)
    assert np.flatnonzero(np.isnan(result.time[0])).tolist() == [5, 7]
    assert np.isfinite(result.flux).all()


def test_names_of_frames_are_text_of_seven_bits(scene: Scene, tmp_path: Path) -> None:
    data = bytearray(scene.cube.read_bytes())
    name = scene.frames[4].name.encode()
    data[data.rindex(name)] = 0xFF
    path = tmp_path / "cube.fits"
    path.write_bytes(data)
    names = frames_of(path)[1].names.tolist()
    assert names[4] == "\\xff" + name[1:].decode()
    assert all(text.isascii() for text in names)


# --- faults ---------------------------------------------------------------------------------------------------------
def test_a_range_that_is_lost_is_raised_or_costs_its_targets_alone(scene: Scene, endpoint, bucket) -> None:
    uri = f"s3://{BUCKET}/{scene.sector.cube_key()}"
    rng = np.random.default_rng(2)
    wcs = TanSip.from_header(fits.getheader(scene.frames[13], 1))
    targets = np.stack(wcs.pixel_to_world(rng.uniform(0, 63, 30), rng.uniform(44, 115, 30)), axis=1)
    whole = cutouts(targets, 5, uri=scene.cube)
    with FaultServer(endpoint.url) as server:
        options = TransferOptions(
            endpoint_url=server.url,
            max_attempts=2,
            backoff_base_s=0.01,
            max_connections=1,
            start_connections=1,
            min_connections=1,
            small_read_bytes=8 * 24 * 200,
            hedge_share=0.0,
        )
        server.plan(faults.slow_down, times=1, after=5)
        again = cutouts(targets, 5, uri=uri, options=options)
        assert again.flux.tobytes() == whole.flux.tobytes()
        server.plan(faults.internal_error, times=2, after=6)
        with pytest.raises(TransferError, match="500"):
            cutouts(targets, 5, uri=uri, options=options)
        server.plan(faults.internal_error, times=2, after=6)
        got = []
        failed = cutouts_each(targets, got.append, 5, uri=uri, options=options, on_error="skip")
    lost = failed["target"].tolist()
    assert 0 < len(lost) < 30
    assert all("500" in reason for reason in failed["reason"])
    kept = got[0].targets["target"].tolist()
    assert sorted(kept + lost) == list(range(30))
    assert got[0].flux.tobytes() == whole.flux[kept].tobytes()


def test_a_cube_replaced_while_it_is_read_is_never_mixed(scene: Scene, endpoint) -> None:
    """The new cube has the old one's shape and other values; the table was read from the old one."""
    key, data = scene.sector.cube_key(), scene.cube.read_bytes()
    other = bytearray(data)
    end = 5760 + 8 * 24 * scene.sector.config.shape[0] * scene.sector.config.shape[1]
    other[5760:end] = bytes(end - 5760)
    endpoint.put(key, data, bucket="stpubdata-replaced")

    async def replaced() -> None:
        options = TransferOptions(endpoint_url=endpoint.url)
        async with open_cube(f"s3://stpubdata-replaced/{key}", options=options) as cube:
            await cube.frames()
            endpoint.put(key, bytes(other), bucket="stpubdata-replaced")
            reads = np.array([[5760, 6760], [9000, 9100]])
            results = [got async for _, got in cube.read_many(reads, 2**20)]
            assert all(isinstance(got, TransferError) for got in results)
            assert "changed" in str(results[0])

    asyncio.run(replaced())


def test_a_file_replaced_while_it_is_read_is_still_the_old_one(scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "cube.fits"
    path.write_bytes(scene.cube.read_bytes())

    async def replaced() -> None:
        async with open_cube(path) as cube:
            fresh = tmp_path / "new"
            fresh.write_bytes(b"other")
            fresh.replace(path)
            got = [data async for _, data in cube.read_many(np.array([[5760, 6760]]), 2**20)]
            assert got == [scene.cube.read_bytes()[5760:6760]]

    asyncio.run(replaced())


def test_a_file_that_shrinks_while_it_is_read_is_told(scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "cube.fits"
    path.write_bytes(scene.cube.read_bytes())

    async def shrunk() -> None:
        async with open_cube(path) as cube:
            with path.open("r+b") as file:
                file.truncate(6000)
            async for _ in cube.read_many(np.array([[5760, 6760]]), 2**20):
                pass

    with pytest.raises(FrameError, match="became shorter"):
        asyncio.run(shrunk())
