"""The main job: same bytes for any number of workers, blocks that are kept, directories of somebody else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import small_sector
from astropy.table import Table
from mast_server import MastServer
from small_sector import CONFIG, assert_same_products, config_for, frame_files

from starskope.curves.container import LightCurves
from starskope.errors import TransferError
from starskope.framelist import CcdId, FrameList
from starskope.frames.decode import read_frame
from starskope.frames.stacked import Stack
from starskope.frames.wcs import TanSip
from starskope.job import RunConfig, run
from starskope.journal import Journal
from starskope.synth import SectorConfig, SyntheticSector
from starskope.synth.endpoint import Endpoint
from starskope.synth.writing import write_catalog
from starskope.transfer.options import TransferOptions

sector_dir = small_sector.sector_dir  # the fixture

PRODUCTS = {
    *("stack.fits", "light_curves.zarr", "spectra.zarr", "candidates.ecsv", "feature_model.npz", "features.parquet"),
    *("manifest.parquet", "report.html", "run.json"),
}


@pytest.fixture(scope="module")
def undisturbed(sector_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("job") / "out"
    (outcome,) = run(config_for(sector_dir, workers=1), out).ccds
    assert outcome.ok
    assert outcome.ccd == CcdId(1, 1, 4)
    return out


def test_products_and_nothing_else_stand_in_the_end(undisturbed: Path) -> None:
    assert {path.name for path in undisturbed.iterdir()} == PRODUCTS


def test_the_products_hold_what_the_frames_hold(undisturbed: Path, sector_dir: Path) -> None:
    sector = SyntheticSector(CONFIG)
    stack, curves = Stack.read(undisturbed / "stack.fits"), LightCurves.read(undisturbed / "light_curves.zarr")
    manifest = pyarrow.parquet.read_table(undisturbed / "manifest.parquet").to_pylist()
    assert [row["name"] for row in manifest] == [path.name for path in frame_files(sector_dir)]
    stacked = np.array([row["status"] == "stacked" for row in manifest])
    assert stack.n_frame == stacked.sum()
    assert stack.image.shape == CONFIG.shape
    assert not stacked[np.asarray(sector.frame_truth["dump"])].any()
    assert curves.n_time == CONFIG.n_frame
    np.testing.assert_allclose(curves.time, np.asarray(sector.frame_truth["time"]), atol=1e-6)
    # Against what is true, not against the reduction: the flux of a bright isolated star within 5 %.
    rows = {int(tic): k for k, tic in enumerate(sector.stars["tic_id"])}
    truth = np.array([sector.stars["flux"][rows[int(tic)]] for tic in curves.stars["tic_id"]])
    measured = np.nanmedian(np.where(np.isnan(curves.flux).all(axis=0), 0, curves.flux), axis=0)
    assert np.median(np.abs(measured[:10] / truth[:10] - 1)) < 0.05


def test_one_worker_and_seven_give_the_same_bytes(undisturbed: Path, sector_dir: Path, tmp_path: Path) -> None:
    run(config_for(sector_dir, workers=7), tmp_path / "seven")
    assert_same_products(tmp_path / "seven", undisturbed)


def test_an_object_store_gives_the_same_as_files(
    undisturbed: Path,
    sector_dir: Path,
    endpoint: Endpoint,
    tmp_path: Path,
) -> None:
    endpoint.put_directory(sector_dir, bucket="job", prefix="tess/")
    options = TransferOptions(endpoint_url=endpoint.url, bytes_in_flight=300_000)
    asked = {"frames": (), "sector": 1, "camera": 1, "ccd": 4, "bucket": "job", "options": options}
    (outcome,) = run(config_for(sector_dir, **asked), tmp_path / "s3").ccds
    assert outcome.ok
    first, second = Stack.read(tmp_path / "s3" / "stack.fits"), Stack.read(undisturbed / "stack.fits")
    assert first.image.tobytes() == second.image.tobytes()
    flux = [LightCurves.read(out / "light_curves.zarr").flux.tobytes() for out in (tmp_path / "s3", undisturbed)]
    assert flux[0] == flux[1]
    # The journal is gone, and nothing is read again: the endpoint named here does not exist.
    dead = TransferOptions(endpoint_url="http://127.0.0.1:9", max_attempts=1)
    (again,) = run(config_for(sector_dir, **(asked | {"options": dead})), tmp_path / "s3").ccds
    assert again.already_done


def test_without_a_catalogue_the_tic_is_asked_once_for_the_field(
    undisturbed: Path, sector_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import astroquery.mast
    from astropy.config import set_temp_cache

    sector = SyntheticSector(CONFIG)
    (tmp_path / "cache").mkdir()
    with set_temp_cache(tmp_path / "cache"), MastServer() as mast:
        for star in sector.catalog():
            mast.add_star(int(star["tic_id"]), float(star["ra"]), float(star["dec"]), float(star["tmag"]))
        mast.add_star(5, float(star["ra"]), float(star["dec"]) + 3.0, 8.0)
        with astroquery.mast.conf.set_temp("server", mast.url):
            (outcome,) = run(config_for(sector_dir, catalog=None), tmp_path / "out").ccds
            n_asked = len(mast.invocations)
            (again,) = run(config_for(sector_dir, catalog=None), tmp_path / "out").ccds
        assert len(mast.invocations) == n_asked > 0
    assert outcome.ok
    assert again.already_done
    curves = [LightCurves.read(out / "light_curves.zarr") for out in (tmp_path / "out", undisturbed)]
    # The field may hold stars that lie between its outline and the pixels, never one that is far away.
    assert set(curves[0].stars["tic_id"]) == set(curves[1].stars["tic_id"])
    order = [np.argsort(curve.stars["tic_id"]) for curve in curves]
    np.testing.assert_allclose(curves[0].flux[:, order[0]], curves[1].flux[:, order[1]], rtol=1e-4, atol=0.1)


def test_a_finished_job_does_nothing(undisturbed: Path, sector_dir: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*")}
    (outcome,) = run(config_for(sector_dir, workers=2), undisturbed).ccds
    assert outcome.already_done
    assert (outcome.n_frame, outcome.n_star) == (
        CONFIG.n_frame,
        LightCurves.read(undisturbed / "light_curves.zarr").n_star,
    )
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*")} == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sigma": 4.0}, r"sigma \(3.0 there, 4.0 now\)"),
        ({"tmag_max": 12}, r"tmag_max \(14.0 there, 12.0 now\)"),
        ({"block_frames": 16}, r"block_frames \(8 there, 16 now\)"),
        ({"center": "mean"}, r"center \(median there, mean now\)"),
        ({"flatten_window": 1.5}, r"flatten_window \(0.75 there, 1.5 now\)"),
        ({"period_min": 1}, r"period_min \(0.5 there, 1.0 now\)"),
        ({"period_max": 3.0}, r"period_max \(None there, 3.0 now\)"),
        ({"n_candidates": 1}, r"n_candidates \(3 there, 1 now\)"),
        ({"seed": 7}, r"seed \(0 there, 7 now\)"),
    ],
)
def test_another_configuration_is_refused_with_its_name(
    undisturbed: Path,
    sector_dir: Path,
    change: dict[str, object],
    told: str,
) -> None:
    message = rf"holds another run, with other {told}: choose another directory, or add --restart"
    with pytest.raises(ValueError, match=message):
        run(config_for(sector_dir, **change), undisturbed)


def test_other_frames_are_another_configuration(undisturbed: Path, sector_dir: Path) -> None:
    fewer = tuple(frame_files(sector_dir)[:-1])
    with pytest.raises(ValueError, match=r"number of frames \(60 there, 59 now\)"):
        run(config_for(sector_dir, frames=fewer), undisturbed)


def test_another_catalogue_is_another_configuration(undisturbed: Path, sector_dir: Path, tmp_path: Path) -> None:
    other = tmp_path / "catalog.ecsv"
    other.write_text((sector_dir / "catalog.ecsv").read_text() + "\n")
    with pytest.raises(ValueError, match=r"with other catalog \(sha256"):
        run(config_for(sector_dir, catalog=other), undisturbed)


def test_restart_replaces_the_other_run(undisturbed: Path, sector_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    run(config_for(sector_dir, tmag_max=11), out, restart=True)
    assert json.loads((out / "run.json").read_text())["identity"]["tmag_max"] == 11.0
    assert (
        LightCurves.read(out / "light_curves.zarr").n_star < LightCurves.read(undisturbed / "light_curves.zarr").n_star
    )


def test_workers_paths_and_endpoints_are_no_part_of_the_identity(
    undisturbed: Path, sector_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(sector_dir, tmp_path / "moved")  # copytree keeps modification times
    options = TransferOptions(endpoint_url="http://127.0.0.1:9", max_connections=3)
    (outcome,) = run(config_for(tmp_path / "moved", workers=3, options=options), undisturbed).ccds
    assert outcome.already_done


def test_a_directory_in_use_is_refused(sector_dir: Path, tmp_path: Path) -> None:
    with Journal(tmp_path / "out"), pytest.raises(ValueError, match=r"another run is working in .*out: wait for it"):
        run(config_for(sector_dir), tmp_path / "out")


def test_products_of_something_else_are_not_overwritten(sector_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "stack.fits").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"holds stack.fits of something else: choose another directory"):
        run(config_for(sector_dir), tmp_path)
    assert (tmp_path / "stack.fits").read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["stack.fits"]


def test_several_ccds_go_to_folders_and_one_that_fails_stops_no_other(tmp_path: Path, endpoint: Endpoint) -> None:
    small = SectorConfig(
        seed=3, n_row=48, n_col=48, n_frame=6, n_star=30, n_planet=0, n_binary=0, n_pulsator=0, n_rotator=0, n_flare=0
    )
    sectors = [SyntheticSector(small.replace(camera=1, ccd=ccd)) for ccd in (1, 3)]
    for sector in sectors:
        sector.write(tmp_path / "sector", what=("ffi",))
    write_catalog(sectors, tmp_path / "catalog.ecsv")
    endpoint.put_directory(tmp_path / "sector", bucket="several", prefix="tess/")
    config = RunConfig(
        sector=1,
        camera=1,
        ccd="all",
        bucket="several",
        catalog=tmp_path / "catalog.ecsv",
        tmag_max=14,
        options=TransferOptions(endpoint_url=endpoint.url),
    )
    result = run(config, tmp_path / "out")
    assert result.exit_code == 1
    assert [outcome.ccd.label for outcome in result.ccds] == ["s0001-1-1", "s0001-1-2", "s0001-1-3", "s0001-1-4"]
    assert [bool(outcome.error) for outcome in result.ccds] == [False, True, False, True]
    assert "no calibrated FFIs of sector 1, camera 1, CCD 2" in result.ccds[1].error
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["s0001-1-1", "s0001-1-3"]
    stars = [
        LightCurves.read(tmp_path / "out" / f"s0001-1-{ccd}" / "light_curves.zarr").stars["tic_id"] for ccd in (1, 3)
    ]
    assert not set(stars[0]) & set(stars[1])


def test_a_directory_of_several_ccds_asks_which(tmp_path: Path, sector_dir: Path) -> None:
    first = frame_files(sector_dir)[0]
    for name in (first.name, first.name.replace("-1-4-", "-2-3-")):
        shutil.copy(first, tmp_path / name)
    with pytest.raises(
        ValueError, match=r"frames of several CCDs \(s0001-1-4, s0001-2-3\): name one, or say --ccd all"
    ):
        run(RunConfig(frames=(tmp_path,), catalog=sector_dir / "catalog.ecsv"), tmp_path / "out")
    with pytest.raises(ValueError, match=r"no frame is of the CCD asked for: there are s0001-1-4, s0001-2-3"):
        run(RunConfig(frames=(tmp_path,), ccd=1, catalog=sector_dir / "catalog.ecsv"), tmp_path / "out")


def test_frames_that_could_not_be_fetched_are_tried_again_by_the_next_run(
    undisturbed: Path,
    sector_dir: Path,
    endpoint: Endpoint,
    tmp_path: Path,
) -> None:
    files = frame_files(sector_dir)
    for file in files:
        endpoint.put(f"again/{file.name}", file.read_bytes(), bucket="again")
    private = 20
    endpoint.put(f"again/{files[private].name}", files[private].read_bytes(), bucket="again", acl="private")
    uris = tuple(f"s3://again/again/{file.name}" for file in files)
    options = TransferOptions(endpoint_url=endpoint.url, max_attempts=1)
    config = config_for(sector_dir, frames=uris, options=options)
    (outcome,) = run(config, tmp_path / "out").ccds
    assert [(frame.index, frame.again) for frame in outcome.left_out] == [(private, True)]
    assert files[private].name in outcome.left_out[0].reason
    assert (tmp_path / "out" / ".work").exists()
    endpoint.put(f"again/{files[private].name}", files[private].read_bytes(), bucket="again")
    (outcome,) = run(config, tmp_path / "out").ccds
    assert outcome.ok
    assert not outcome.already_done
    assert not (tmp_path / "out" / ".work").exists()
    first, second = Stack.read(tmp_path / "out" / "stack.fits"), Stack.read(undisturbed / "stack.fits")
    assert first.image.tobytes() == second.image.tobytes()


def test_a_server_that_refuses_everything_ends_the_run(sector_dir: Path, endpoint: Endpoint, tmp_path: Path) -> None:
    uris = []
    for file in frame_files(sector_dir)[:20]:
        endpoint.put(file.name, file.read_bytes(), bucket="closed", acl="private")
        uris.append(f"s3://closed/{file.name}")
    options = TransferOptions(endpoint_url=endpoint.url, max_attempts=1)
    with pytest.raises(TransferError) as caught:
        run(config_for(sector_dir, frames=tuple(uris), options=options), tmp_path / "out")
    assert "403" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_real_frame_goes_through_the_job(data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / "ffi" / "tess2018206192942-s0001-1-4-0120-s_ffic.fits"
    frame = read_frame(path)
    ra, dec = TanSip.from_header(frame.header).pixel_to_world([30.0, 60.0, 90.0], [80.0, 100.0, 120.0])
    Table({"tic_id": [1, 2, 3], "ra": ra, "dec": dec, "tmag": [10.0, 11.0, 12.0]}).write(tmp_path / "stars.ecsv")
    (outcome,) = run(RunConfig(frames=(path,), catalog=tmp_path / "stars.ecsv"), tmp_path / "out").ccds
    assert outcome.ok
    assert outcome.ccd == CcdId(1, 1, 4)
    stack = Stack.read(tmp_path / "out" / "stack.fits")
    # One frame, so the stack and what was subtracted are the pixels of the mission again; collateral ones are left out.
    assert stack.background is not None
    np.testing.assert_allclose((stack.image + stack.background)[frame.science], frame.image[frame.science], rtol=1e-5)
    assert (stack.count[frame.science] == 1).all()
    assert np.isnan(stack.image[:, :44]).all()
    curves = LightCurves.read(tmp_path / "out" / "light_curves.zarr")
    assert curves.time.tolist() == [frame.time]
    assert np.isfinite(curves.flux).all()


def test_frames_of_the_common_size_come_first() -> None:
    entries = [(f"/f/{name}", size, "") for name, size in (("a", 10), ("b", 20), ("c", 20), ("d", 30))]
    assert FrameList.build(CcdId(0, 0, 0), entries).typical() == [1, 2, 0, 3]


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({}, ValueError, r"no sector, camera, ccd given: name sector, camera and CCD, or give files"),
        ({"sector": 1, "camera": 5, "ccd": 1}, ValueError, r'camera is 5, expected 1 to 4 or "all"'),
        ({"sector": "one", "camera": 1, "ccd": 1}, TypeError, r"sector is 'one', expected a whole number"),
        ({"frames": ("x",), "sigma": 0}, ValueError, r"sigma is 0.0, expected a positive number"),
        ({"frames": ("x",), "sigma": float("nan")}, ValueError, r"sigma is nan"),
        ({"frames": ("x",), "workers": 0}, ValueError, r"workers=0: expected 1 or more"),
        ({"frames": ("x",), "block_frames": 0}, ValueError, r"block_frames is 0, expected 1 to 4096"),
        ({"frames": ("x",), "tmag_max": float("inf")}, ValueError, r"tmag_max is inf"),
        ({"frames": ("x",), "center": "mode"}, ValueError, r"center is 'mode', expected \"median\" or \"mean\""),
        ({"frames": ("x",), "period_min": 0}, ValueError, r"period_min is 0, expected a positive number of days"),
        ({"frames": ("x",), "period_max": float("inf")}, ValueError, r"period_max is inf, expected a positive number"),
        (
            {"frames": ("x",), "period_min": 3, "period_max": 2},
            ValueError,
            r"period_max is 2.0 and period_min 3.0, exp",
        ),
        (
            {"frames": ("x",), "flatten_window": "1 d"},
            TypeError,
            r"flatten_window is '1 d', expected a positive number",
        ),
        ({"frames": ("x",), "n_candidates": 0}, ValueError, r"n_candidates is 0, expected 1 to 100"),
        ({"frames": ("x",), "seed": -1}, ValueError, r"seed is -1, expected 0 to"),
        ({"frames": ("x",), "seed": 1.5}, TypeError, r"seed is 1.5, expected a whole number"),
        ({"frames": ("x",), "source": "ftp"}, ValueError, r"source is 'ftp', expected \"s3\" or \"mast\""),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(given: dict[str, object], error: type, told: str) -> None:
    with pytest.raises(error, match=told):
        RunConfig(**given)
