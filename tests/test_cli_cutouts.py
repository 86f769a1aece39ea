"""``starskope cutouts``: what is written, said and returned, through a kill and with targets off the CCD."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from cutout_scene import Scene, scene
from upload_scene import BUCKET, CREDENTIALS, local, stored

from starskope.cli import main
from starskope.frames.checksums import checksum_note
from starskope.frames.cutout_set import Cutouts
from starskope.frames.wcs import TanSip
from starskope.synth.endpoint import Endpoint

__all__ = ["scene"]

LEFT = 44


@pytest.fixture
def targets(scene: Scene, tmp_path: Path) -> Path:
    """Four stars of CCD 4 and one of another sky."""
    with fits.open(scene.frames[13]) as hdus:
        wcs = TanSip.from_header(hdus[1].header)
    ra, dec = wcs.pixel_to_world(np.array([30.2, 1.2, 40.3, 12.2]), np.array([33.7, 12.3, 50.4, 50.3]) + LEFT)
    path = tmp_path / "stars.csv"
    Table({"tic_id": [1, 2, 3, 4, 5], "ra": [*ra, 10.0], "dec": [*dec, 5.0]}).write(path)
    return path


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_folder_gets_a_file_per_target_and_a_list(scene: Scene, targets: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["cutouts", str(targets), str(out), "--uri", str(scene.cube), "--json"]
    assert main(arguments) == 1
    said = lines(capsys.readouterr().out)
    assert [row["status"] for row in said] == ["written"] * 4 + ["failed"]
    assert [row["label"] for row in said] == [f"tic{number}" for number in range(1, 6)]
    assert [row.get("edge") for row in said] == [False, True, False, False, None]
    files = sorted(out.glob("*_starskope.fits"))
    assert len(files) == 4
    assert not [checksum_note(path.read_bytes()) for path in files if checksum_note(path.read_bytes())]
    result = Cutouts.read(out)
    flux, _ = scene.expected(result)
    np.testing.assert_array_equal(result.flux, flux)
    index = Table.read(out / "cutouts.ecsv")
    assert index["status"].tolist() == ["written"] * 4 + ["failed"]
    assert "camera 1, CCD 4" in str(index["reason"][4])
    assert index["ccd"].tolist() == [4, 4, 4, 4, 0]
    assert {path.name for path in out.iterdir()} == {path.name for path in files} | {"cutouts.ecsv"}


def test_what_is_there_is_not_read_again(scene: Scene, targets: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["cutouts", str(targets), str(out), "--uri", str(scene.cube), "--json", "--size", "5x7"]
    main(arguments)
    first = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.glob("*.fits")}
    (out / "tess-s0001-1-4_tic3_5x7_starskope.fits").unlink()
    capsys.readouterr()
    assert main(arguments) == 1
    said = {row["label"]: row for row in lines(capsys.readouterr().out)}
    assert [said[f"tic{k}"]["status"] for k in range(1, 6)] == ["present", "present", "written", "present", "failed"]
    assert said["tic2"]["edge"] is True
    again = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.glob("*.fits")}
    assert {name for name in first if first[name] != again[name]} == {"tess-s0001-1-4_tic3_5x7_starskope.fits"}
    assert all(first[name][0] == again[name][0] for name in first)
    # Another size is another cutout; --overwrite cuts all again.
    assert main([*arguments[:-1], "7x5"]) == 1
    assert len(list(out.glob("*.fits"))) == 8
    assert main([*arguments, "--overwrite"]) == 1
    assert all((out / name).stat().st_mtime_ns > stamp for name, (_, stamp) in again.items())


def test_a_rerun_with_nothing_left_but_what_failed_is_no_wrong_use(scene: Scene, targets: Path, tmp_path: Path) -> None:
    arguments = ["cutouts", str(targets), str(tmp_path / "out"), "--uri", str(scene.cube)]
    assert main(arguments) == 1
    assert main(arguments) == 1
    good = tmp_path / "good.csv"
    Table.read(targets)[:4].write(good)
    arguments[1] = str(good)
    assert main(arguments) == 0


def test_batches_make_the_same_files(scene: Scene, targets: Path, tmp_path: Path) -> None:
    for name, more in (("one", []), ("many", ["--batch-mb", "1", "--size", "61"])):
        main(["cutouts", str(targets), str(tmp_path / name), "--uri", str(scene.cube), "--size", "61", *more])
    trees = [{p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "many")]
    assert len(trees[0]) == 5
    assert trees[0] == trees[1]


def test_a_store_holds_all_targets_and_what_failed(scene: Scene, targets: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "cuts.zarr"
    arguments = ["cutouts", str(targets), str(out), "--uri", str(scene.cube), "--batch-mb", "1", "--size", "51"]
    assert main(arguments) == 1
    assert "4 of 5 targets" in capsys.readouterr().out
    result = Cutouts.read(out)
    assert sorted(result.targets["tic_id"]) == [1, 2, 3, 4]
    assert result.failed["target"].tolist() == [4]
    flux, _ = scene.expected(result)
    np.testing.assert_array_equal(result.flux, flux)
    assert main(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 1


def test_two_ccds_go_to_one_folder_but_not_to_one_store(
    scene: Scene, targets: Path, tmp_path: Path, endpoint: Endpoint, capsys
) -> None:
    for sector in (scene.sector, scene.other):
        endpoint.put(sector.cube_key(), (scene.root / sector.cube_key()).read_bytes(), bucket="cutouts-cli")
    middle = scene.other.wcs_cards(13)
    stars = Table.read(targets)
    stars.add_row((6, float(middle["CRVAL1"]), float(middle["CRVAL2"])))
    stars.write(targets, overwrite=True)
    where = ["--sector", "1", "--bucket", "cutouts-cli", "--endpoint-url", endpoint.url, "--source", "cube", "--json"]
    out = tmp_path / "out"
    code = main(["cutouts", str(targets), str(out), *where])
    said = {row["label"]: row for row in lines(capsys.readouterr().out)}
    assert code == 1
    assert said["tic1"]["ccd"] == 4
    if said["tic6"]["status"] == "written":
        assert said["tic6"]["ccd"] == 3
        assert main(["cutouts", str(targets), str(tmp_path / "x.zarr"), *where]) == 2
        assert "a store holds one CCD" in capsys.readouterr().err
    assert main(["cutouts", str(targets), str(tmp_path / "y.zarr"), *where, "--camera", "1", "--ccd", "4"]) == 1
    assert Cutouts.read(tmp_path / "y.zarr").n_target == 4


def test_targets_in_motion_become_files(scene: Scene, tmp_path: Path, capsys) -> None:
    nodes = scene.sector.timeline.time[[0, 8, 16, 23]]
    with fits.open(scene.frames[13]) as hdus:
        wcs = TanSip.from_header(hdus[1].header)
    ra, dec = wcs.pixel_to_world(np.linspace(10, 50, 4), np.linspace(10, 60, 4) + LEFT)
    path = tmp_path / "orbit.csv"
    Table({"name": ["2018 AB"] * 4, "time": nodes, "ra": ra, "dec": dec}).write(path)
    assert main(["cutouts", str(path), str(tmp_path / "out"), "--uri", str(scene.cube), "--size", "5"]) == 0
    result = Cutouts.read(tmp_path / "out")
    assert result.is_moving
    flux, _ = scene.expected(result)
    np.testing.assert_array_equal(result.flux, flux)
    assert np.ptp(result.row0[0]) > 30


def test_a_dry_run_writes_nothing_and_tells_the_cost(scene: Scene, targets: Path, tmp_path: Path, capsys) -> None:
    arguments = ["cutouts", str(targets), str(tmp_path / "out"), "--uri", str(scene.cube), "--dry-run"]
    assert main([*arguments, "--json"]) == 0
    answer = capsys.readouterr()
    (plan,) = lines(answer.out)
    assert (plan["n_target"], plan["n_time"], plan["source"]) == (4, 24, "cube")
    assert plan["n_bytes"] >= 4 * 11 * 5 * 24 * 8
    assert "1 of 5 targets" in answer.err
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("4 targets x 24 frames", "request", "memory", "disk"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["1,2", "out"], "either --sector, or --uri"),
        (["1,2", "out", "--uri", "x.fits", "--sector", "1"], "either --sector, or --uri"),
        (["1,2", "no/such/folder/out", "--uri", "x.fits"], "does not exist: make it first"),
        (["x,y", "out", "--uri", "x.fits"], "names no target"),
        (["nothing.csv", "out", "--uri", "x.fits"], "nothing.csv"),
        (["1,2", "out", "--uri", "x.fits", "--batch-mb", "0"], "--batch-mb"),
        (["out", "--uri", "x.fits"], "no targets"),
    ],
)
def test_wrong_use_is_told_before_anything_is_read(arguments, words, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["cutouts", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", ["0", "11x", "a", "3x4x5", "-1"])
def test_a_size_that_is_none_is_told(size: str, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["cutouts", "1,2", "out", "--uri", "x.fits", "--size", size])
    assert stop.value.code == 2
    assert "size" in capsys.readouterr().err


def many_targets(scene: Scene, path: Path, n: int = 120) -> Path:
    with fits.open(scene.frames[13]) as hdus:
        wcs = TanSip.from_header(hdus[1].header)
    rng = np.random.default_rng(8)
    ra, dec = wcs.pixel_to_world(rng.uniform(0, 63, n), rng.uniform(0, 71, n) + LEFT)
    Table({"tic_id": np.arange(n) + 1, "ra": ra, "dec": dec}).write(path)
    return path


def run_apart(arguments: list[str], **keywords: Any) -> subprocess.Popen[bytes]:
    """Run the command in a process of its own."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-m", "starskope", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **keywords,
    )


def test_a_killed_command_goes_on_where_it_was(scene: Scene, tmp_path: Path) -> None:
    stars = many_targets(scene, tmp_path / "stars.csv")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    common = ["--uri", str(scene.cube), "--size", "31", "--batch-mb", "1"]
    assert main(["cutouts", str(stars), str(whole), *common]) == 0
    for _ in range(3):
        n_before = len(list(killed.glob("tess*")))
        process = run_apart(["cutouts", str(stars), str(killed), *common])
        deadline = time.monotonic() + 60
        while len(list(killed.glob("tess*"))) < n_before + 10 and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        process.communicate()
    stamps = {path.name: path.stat().st_mtime_ns for path in killed.glob("tess*")}
    assert len(stamps) >= 10
    assert main(["cutouts", str(stars), str(killed), *common]) == 0
    assert all((killed / name).stat().st_mtime_ns == stamp for name, stamp in stamps.items())
    for path in whole.glob("tess*"):
        assert (killed / path.name).read_bytes() == path.read_bytes(), path.name
    assert not list(killed.glob(".*"))


def test_a_full_disk_ends_with_a_clear_word_and_the_same_command_goes_on(scene: Scene, tmp_path: Path) -> None:
    stars = many_targets(scene, tmp_path / "stars.csv", 8)
    out = tmp_path / "out"
    arguments = ["cutouts", str(stars), str(out), "--uri", str(scene.cube), "--size", "31"]

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    process = run_apart(arguments, preexec_fn=small_files)
    said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 1
    assert "target pixel file not written" in said
    assert "Traceback" not in said
    assert not list(out.glob("*.fits"))
    assert main(arguments) == 0
    assert len(list(out.glob("*.fits"))) == 8


def test_a_file_that_lacks_frames_is_told_and_made_again(scene: Scene, targets: Path, tmp_path: Path, capsys) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    for path in scene.frames:
        (frames / path.name).write_bytes(path.read_bytes())
    victim = frames / scene.frames[5].name
    victim.write_bytes(victim.read_bytes()[:30_000])
    good = tmp_path / "good.csv"
    Table.read(targets)[:2].write(good)
    arguments = ["cutouts", str(good), str(tmp_path / "out"), "--uri", str(frames), "--json", "--size", "5"]
    assert main(arguments) == 1
    answer = capsys.readouterr()
    assert [row["n_lost"] for row in lines(answer.out)] == [1, 1]
    assert "could not be read" in answer.err
    result = Cutouts.read(tmp_path / "out")
    assert np.isnan(result.flux[0, 5]).all()
    assert np.isfinite(result.flux[0, 6]).all()
    store = ["cutouts", str(good), str(tmp_path / "x.zarr"), "--uri", str(frames), "--size", "5"]
    assert main(store) == 1
    assert list(Cutouts.read(tmp_path / "x.zarr").meta["lost_frames"]) == [victim.name]
    victim.write_bytes(scene.frames[5].read_bytes())
    capsys.readouterr()
    assert main(arguments) == 0
    assert [row["status"] for row in lines(capsys.readouterr().out)] == ["written", "written"]
    flux, _ = scene.expected(Cutouts.read(tmp_path / "out"))
    np.testing.assert_array_equal(Cutouts.read(tmp_path / "out").flux, flux)


def test_products_are_sent_to_a_bucket(scene: Scene, tmp_path: Path, endpoint: Endpoint, monkeypatch, capsys) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    endpoint.put("made", b"", bucket=BUCKET)
    stars = many_targets(scene, tmp_path / "stars.csv", 3)
    where = ["--output", f"s3://{BUCKET}/cuts", "--output-endpoint-url", endpoint.url]
    for out in ("out", "x.zarr"):
        assert main(["cutouts", str(stars), str(tmp_path / out), "--uri", str(scene.cube), *where]) == 0
    expected = local(tmp_path / "out", "cuts")
    expected |= {
        key.replace("cuts/", "cuts/x.zarr/", 1): body for key, body in local(tmp_path / "x.zarr", "cuts").items()
    }
    assert stored(endpoint, "cuts/") == expected
    assert "each checked" in capsys.readouterr().out
