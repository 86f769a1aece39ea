"""Cutouts from an archive: found by sector or address, each target on its CCD, over S3 and from web servers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from cutout_scene import Scene, check, same, scene, sky, spread, wcs_of
from nginx_server import Nginx, find_nginx

from starskope.archive.cubes import find_cubes
from starskope.errors import TransferError
from starskope.frames.cutout_set import Cutouts
from starskope.frames.cutouts import cutouts, cutouts_async, cutouts_each, plan_cutouts
from starskope.frames.moving import Ephemerides
from starskope.frames.wcs import TanSip
from starskope.transfer.options import TransferOptions
from starskope.transfer.planning import CostModel

__all__ = ["scene"]


@pytest.fixture(scope="module")
def bucket(scene: Scene, endpoint) -> TransferOptions:
    endpoint.put_directory(scene.root, bucket="stpubdata-cutouts")
    return TransferOptions(endpoint_url=endpoint.url)


def test_the_archive_is_asked_by_sector(scene: Scene, bucket: TransferOptions) -> None:
    targets = spread(scene)
    expected = cutouts(targets, 5, uri=scene.cube)
    asked = {"options": bucket, "bucket": "stpubdata-cutouts", "sector": 1, "camera": 1, "ccd": 4}
    for source in ("auto", "cube", "ffi"):
        same(expected, cutouts(targets, 5, source=source, **asked))
    by_address = cutouts(targets, 5, uri=f"s3://stpubdata-cutouts/{scene.sector.cube_key()}", options=bucket)
    same(expected, by_address)


def test_frames_are_read_where_they_cost_less(scene: Scene, bucket: TransferOptions) -> None:
    asked = {"options": bucket, "bucket": "stpubdata-cutouts", "sector": 1, "camera": 1, "ccd": 4}
    # 24 requests for 24 frames; so many pixels apart that the cube needs more.
    no_gap = CostModel(latency_s=1.0, bandwidth=1e12, n_parallel=1)
    few, many = spread(scene, 2), spread(scene, 40)
    no_gap = CostModel(latency_s=1e-9, bandwidth=1e12, n_parallel=1, request_s=0.0)
    assert cutouts(few, 5, cost=no_gap, **asked).meta["source"] == "cube"
    (plan,) = plan_cutouts(many, 5, cost=no_gap, **asked)
    n_cube = plan_cutouts(many, 5, cost=no_gap, source="cube", **asked)[0].n_request
    assert (plan.source == "ffi") == (n_cube > 24 + 24 * 71_147_520 / 1e12 / 1e-9)
    # A line on which only bytes count: frames are never cheaper here. One on which only requests count: they are.
    requests = CostModel(latency_s=1.0, bandwidth=1e15, n_parallel=1, request_s=0.0)
    tight = TransferOptions(endpoint_url=bucket.endpoint_url, small_read_bytes=400)
    result = cutouts(many, 5, cost=requests, **(asked | {"options": tight}))
    assert result.meta["source"] == "ffi"
    same(result, cutouts(many, 5, uri=scene.cube))


def test_each_target_is_found_on_its_ccd(scene: Scene, bucket: TransferOptions) -> None:
    with fits.open(scene.root / scene.other.frame_keys()[13]) as hdus:
        wcs = TanSip.from_header(hdus[1].header)
    ra, dec = wcs.pixel_to_world(np.array([20.0, 40.0]), np.array([60.0, 70.0]))
    here = sky(scene, [30.0, 31.0], [30.0, 20.0])
    table = Table({"ra": [*here["ra"], *ra, 10.0], "dec": [*here["dec"], *dec, 80.0]})
    asked = {"options": bucket, "bucket": "stpubdata-cutouts", "sector": 1}
    with pytest.raises(ValueError, match=r"on 2 CCDs \(2 on camera 1, CCD 3, 2 on camera 1, CCD 4\)"):
        cutouts(table, 5, **asked)
    for source in ("cube", "ffi"):
        got: list[Cutouts] = []
        failed = cutouts_each(table, got.append, 5, source=source, **asked)
        assert {part.ccd: part.targets["target"].tolist() for part in got} == {3: [2, 3], 4: [0, 1]}
        assert failed["target"].tolist() == [4]
        assert "none of the 2 CCDs" in failed["reason"][0]
    cubes = find_cubes(1, options=bucket, bucket="stpubdata-cutouts")
    got = []
    cutouts_each(table, got.append, 5, uri=cubes, options=bucket)
    assert sorted((part.ccd, part.n_target) for part in got) == [(3, 2), (4, 2)]
    same(cutouts(table[:2], 5, uri=cubes, options=bucket), cutouts(table[:2], 5, uri=scene.cube))
    with pytest.raises(ValueError, match="a table of cubes"):
        cutouts(table[:2], 5, uri=cubes, source="ffi", options=bucket)
    only = cutouts(table[:2], 5, **asked)
    assert only.ccd == 4
    same(only, cutouts(table[:2], 5, uri=scene.cube))


def test_a_target_in_motion_is_cut_on_every_ccd_that_it_visits(scene: Scene, bucket: TransferOptions) -> None:
    with fits.open(scene.root / scene.other.frame_keys()[13]) as hdus:
        other = TanSip.from_header(hdus[1].header)
    time = scene.sector.timeline.time
    # A while in the middle of one CCD, then of the other; a second target stays on CCD 4, a third is nowhere.
    first, second = wcs_of(scene).pixel_to_world(30.0, 80.0), other.pixel_to_world(30.0, 80.0)
    nodes = np.array([time[0] - 1, time[8], time[10], time[-1] + 1])
    ra = np.array([first[0], first[0], second[0], second[0]])
    dec = np.array([first[1], first[1], second[1], second[1]])
    stay_ra, stay_dec = np.full(4, first[0]), np.full(4, first[1])
    paths = Ephemerides(
        ("both", "one", "none"),
        (nodes,) * 3,
        (ra, stay_ra, np.full(4, 10.0)),
        (dec, stay_dec, np.full(4, 80.0)),
    )
    got: list[Cutouts] = []
    failed = cutouts_each(paths, got.append, 5, options=bucket, bucket="stpubdata-cutouts", sector=1, source="cube")
    assert {part.ccd: part.targets["name"].tolist() for part in got} == {3: ["both"], 4: ["both", "one"]}
    assert failed["target"].tolist() == [2]


def test_a_sector_without_a_cube_is_read_from_frames_or_told(scene: Scene, endpoint) -> None:
    for path in scene.frames:
        endpoint.put(path.relative_to(scene.root).as_posix(), path.read_bytes(), bucket="stpubdata-frames")
    asked = {
        "options": TransferOptions(endpoint_url=endpoint.url),
        "bucket": "stpubdata-frames",
        "sector": 1,
        "camera": 1,
        "ccd": 4,
    }
    targets = spread(scene, 4)
    assert cutouts(targets, 5, **asked).meta["source"] == "ffi"
    with pytest.raises(ValueError, match="no cube of sector 1, camera 1, CCD 4"):
        cutouts(targets, 5, source="cube", **asked)


@pytest.mark.skipif(find_nginx() is None, reason="nginx is not installed: apt-get install nginx")
def test_web_servers_give_the_same_bytes(scene: Scene, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    for path in (scene.cube, *scene.frames):
        (folder / path.name).hardlink_to(path)
    targets = spread(scene, 12)
    expected = cutouts(targets, 5, uri=scene.cube)
    with Nginx(tmp_path, tls=True) as nginx:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(nginx.ca_file))
        site = f"{nginx.url}/archive/"
        same(expected, cutouts(targets, 5, uri=site + scene.cube.name))
        same(expected, cutouts(targets, 5, uri=[site + path.name for path in scene.frames], source="ffi"))


def test_awaited_and_cancelled_it_leaves_nothing_running(scene: Scene) -> None:
    async def run() -> None:
        result = await cutouts_async(spread(scene, 3), 5, uri=scene.cube)
        check(scene, result)
        task = asyncio.create_task(cutouts_async(spread(scene), 30, uri=scene.cube))
        await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_a_missing_object_is_a_transfer_error(bucket: TransferOptions) -> None:
    with pytest.raises(TransferError, match="no such object"):
        cutouts([(1.0, 2.0)], 5, uri="s3://stpubdata-cutouts/none-cube.fits", options=bucket)
