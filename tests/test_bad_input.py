"""What the world gets wrong: each case is one clear line that names the thing and the remedy, and loses nothing else.

The cases go through `starskope run` as a person meets them; formats alone are tested beside their rooms.
"""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import small_sector
from astropy.table import Table
from small_sector import environment, frame_files

from starskope.cli import main
from starskope.curves.container import LightCurves
from starskope.frames.decode import read_frame
from starskope.frames.stacked import Stack
from starskope.outcome import PRODUCTS
from starskope.synth.endpoint import Endpoint

sector_dir = small_sector.sector_dir  # the fixture
N_FRAME = 16
BAD = 9


@pytest.fixture
def frames(sector_dir: Path, tmp_path: Path) -> Path:
    """A folder of sixteen good frames, which each test spoils."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for path in frame_files(sector_dir)[22 : 22 + N_FRAME]:
        shutil.copy2(path, folder)
    return folder


@pytest.fixture(scope="module")
def catalog(sector_dir: Path) -> str:
    return str(sector_dir / "catalog.ecsv")


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: path.name)


def _replace_card(path: Path, name: str, card: str) -> None:
    """Overwrite every card of this name, in place."""
    content = bytearray(path.read_bytes())
    position = content.find(f"{name:<8}=".encode())
    assert position >= 0
    while position >= 0:
        content[position : position + 80] = f"{card:<80}".encode()
        position = content.find(f"{name:<8}=".encode(), position + 80)
    path.write_bytes(content)


def _blank(path: Path) -> None:
    """Fill the image plane with NaN."""
    frame = read_frame(path)
    content = bytearray(path.read_bytes())
    plane = frame.image.astype(">f4").tobytes()
    offset = content.find(plane)
    content[offset : offset + len(plane)] = np.full(frame.image.shape, np.nan, ">f4").tobytes()
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:30_000])


def _compress(path: Path) -> None:
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes(), 1))
    path.unlink()


def _copy_of_the_one_before(path: Path) -> None:
    before = _files(path.parent)[BAD - 1]
    shutil.copy(before, path)


def _other_shape(path: Path) -> None:
    from starskope.synth import SectorConfig, SyntheticSector

    smaller = SectorConfig(
        n_row=48, n_col=52, n_frame=1, n_star=20, n_planet=0, n_binary=0, n_pulsator=0, n_rotator=0, n_flare=0
    )
    path.write_bytes(SyntheticSector(smaller).ffi_bytes(0))


ONE_BAD_FRAME: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (_truncate, r"{name}.*truncated"),
    "zero bytes": (lambda path: path.write_bytes(b""), r"{name}.*empty"),
    "not FITS": (lambda path: path.write_bytes(b"<html>503 Slow Down</html>" * 4000), r"{name}.*not .*FITS"),
    "gz": (_compress, r"{name}\.gz.*gunzip"),
    "wrong BITPIX": (
        lambda path: _replace_card(path, "BITPIX", "BITPIX  =                  -99"),
        r"{name}.*BITPIX.*-99",
    ),
    "half the BITPIX": (
        lambda path: _replace_card(path, "BITPIX", "BITPIX  =                   16"),
        r"{name} has BITPIX = 16, expected -32: not a calibrated frame",
    ),
    "another shape": (_other_shape, r"{name} is 78x140 pixels, the others are 94x152"),
    "all NaN": (_blank, r"{name}.*every science pixel is NaN"),
    "duplicate": (_copy_of_the_one_before, r"{name} is a duplicate: same exposure as {before}"),
    "another CCD": (
        lambda path: _replace_card(path, "CCD", "CCD     =                    2"),
        r"{name} is of camera 1, CCD 2, the others are of camera 1, CCD 4",
    ),
    "damaged card": (
        lambda path: _replace_card(path, "TSTART", "TSTART  = 'yesterday'"),
        r"{name}.*TSTART is 'yesterday'",
    ),
}


@pytest.mark.parametrize("case", ONE_BAD_FRAME)
def test_one_bad_frame_is_left_out_named_and_loses_nothing_else(
    case: str, frames: Path, catalog: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, told = ONE_BAD_FRAME[case]
    files = _files(frames)
    bad, before = files[BAD], files[BAD - 1]
    good = [path.name for path in files if path != bad]
    spoil(bad)
    out = tmp_path / "out"
    assert main(["run", str(frames), str(out), "--stars", catalog, "--tmag-max", "14", "--block-frames", "8"]) == 1
    said = capsys.readouterr()
    pattern = told.format(name=bad.name.replace(".", r"\."), before=before.name)
    lines = [line for line in said.err.splitlines() if line.startswith("left out: ")]
    assert len(lines) == 1
    assert re.search(pattern, lines[0]), lines[0]
    assert "1 frame left out" in said.out
    rows = pyarrow.parquet.read_table(out / "manifest.parquet").to_pylist()
    assert len(rows) == N_FRAME
    (row,) = (row for row in rows if row["status"] == "left out")
    assert row["name"].startswith(bad.name)
    assert row["reason"] in lines[0]
    assert {row["name"] for row in rows if row["status"] in ("stacked", "flagged")} == set(good)
    assert bad.name in (out / "report.html").read_text()
    curves = LightCurves.read(out / "light_curves.zarr")
    assert curves.n_time == len(good)
    # Exactly what a run without that file gives.
    for path in frames.iterdir():
        if path.name.startswith(bad.name):
            path.unlink()
    alone = tmp_path / "alone"
    config = ["run", str(frames), str(alone), "--stars", catalog, "--tmag-max", "14", "--block-frames", "8"]
    assert main(config) == 0
    np.testing.assert_array_equal(LightCurves.read(alone / "light_curves.zarr").time, curves.time)
    assert np.nanmax(np.abs(LightCurves.read(alone / "light_curves.zarr").flux / curves.flux - 1)) < 1e-2


def _fail(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail, and return the one line that says why."""
    assert main(arguments) == code
    said = capsys.readouterr()
    assert said.out == ""
    lines = [line for line in said.err.splitlines() if line.startswith("starskope: ")]
    assert len(lines) == 1
    assert lines[0] == said.err.splitlines()[-1]
    return lines[0].removeprefix("starskope: ")


def test_a_padded_file_is_a_good_frame(frames: Path, catalog: str, tmp_path: Path) -> None:
    bad = _files(frames)[BAD]
    bad.write_bytes(bad.read_bytes() + bytes(2880))
    assert main(["run", str(frames), str(tmp_path / "out"), "--stars", catalog, "--tmag-max", "14"]) == 0
    assert LightCurves.read(tmp_path / "out" / "light_curves.zarr").n_time == N_FRAME


def test_a_stray_first_frame_does_not_speak_for_all(
    frames: Path, catalog: str, endpoint: Endpoint, tmp_path: Path
) -> None:
    """Sizes of bare URIs are unknown: the second and third frame outvote a first one of another shape."""
    _other_shape(_files(frames)[0])
    uris = []
    for path in _files(frames):
        endpoint.put(path.name, path.read_bytes(), bucket="stray")
        uris.append(f"s3://stray/{path.name}")
    where = ["--endpoint-url", endpoint.url, "--stars", catalog, "--tmag-max", "14"]
    assert main(["run", *uris, str(tmp_path / "out"), *where]) == 1
    assert Stack.read(tmp_path / "out" / "stack.fits").image.shape == (94, 152)
    rows = pyarrow.parquet.read_table(tmp_path / "out" / "manifest.parquet").to_pylist()
    assert [row["status"] for row in rows].count("left out") == 1
    assert rows[0]["reason"] == f"{rows[0]['name']} is 78x140 pixels, the others are 94x152"


def test_the_same_file_in_two_folders_counts_once(frames: Path, catalog: str, tmp_path: Path) -> None:
    (frames / "again").mkdir()
    shutil.copy2(_files(frames)[3], frames / "again")
    assert main(["run", str(frames), str(tmp_path / "out"), "--stars", catalog, "--tmag-max", "14"]) == 1
    rows = pyarrow.parquet.read_table(tmp_path / "out" / "manifest.parquet").to_pylist()
    (row,) = (row for row in rows if row["status"] == "left out")
    assert re.search(r"is a duplicate: .*frames/(again/)?tess.* has the same name", row["reason"])
    assert len(rows) == N_FRAME + 1


def test_raw_images_are_left_out_by_name(frames: Path, catalog: str, tmp_path: Path) -> None:
    first = _files(frames)[0]
    shutil.copy(first, frames / first.name.replace("_ffic", "_ffir"))
    assert main(["run", str(frames), str(tmp_path / "out"), "--stars", catalog, "--tmag-max", "14"]) == 1
    assert (
        "is a raw image: only calibrated ones (_ffic.fits) are used" in (tmp_path / "out" / "report.html").read_text()
    )


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_truncate, r"none of the 16 frames can be used \(.*truncated.*\): choose another CCD"),
        (_blank, r"none of the 16 frames can be used \(14 x every science pixel is NaN; 2 x DQUALITY 32: .*\): choose"),
        (
            lambda path: _replace_card(path, "DQUALITY", "DQUALITY=                    4"),
            r"none of the 16 frames can be used \(16 x DQUALITY 4: coarse pointing\): choose another CCD",
        ),
    ],
    ids=["truncated", "all NaN", "all flagged"],
)
def test_nothing_but_bad_frames_ends_the_run(
    spoil: Callable[[Path], object],
    told: str,
    frames: Path,
    catalog: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for path in _files(frames):
        spoil(path)
    line = _fail(["run", str(frames), str(tmp_path / "a" / "out"), "--stars", catalog], 1, capsys)
    assert re.search(told, line)
    assert not (tmp_path / "a").exists()


def test_no_frames_at_the_prefix(endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    endpoint.put("tess/public/ffi/s0003/readme.txt", b"nothing", bucket="empty")
    where = ["--sector", "2", "--camera", "1", "--ccd", "1", "--endpoint-url", endpoint.url, "--bucket", "empty"]
    line = _fail(["run", *where, str(tmp_path / "out")], 2, capsys)
    assert (
        f"no calibrated FFIs of sector 2, camera 1, CCD 1 under s3://empty/tess/public/ffi/s0002/ at {endpoint.url}"
        in line
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("")
    line = _fail(["run", str(tmp_path), str(tmp_path / "out")], 2, capsys)
    assert line.startswith(f"no FITS files in {tmp_path}: expected names that end in .fits")
    line = _fail(["run", str(tmp_path / "gone"), str(tmp_path / "out")], 2, capsys)
    assert (
        line == f"{tmp_path / 'gone'} does not exist: give FITS files, a directory of them, s3:// or https:// addresses"
    )
    assert not (tmp_path / "out").exists()


def test_no_stars_in_the_field(frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = tmp_path / "elsewhere.csv"
    Table({"tic_id": [1, 2], "ra": [10.0, 11.0], "dec": [60.0, 61.0], "tmag": [9.0, 10.0]}).write(elsewhere)
    line = _fail(["run", str(frames), str(tmp_path / "out"), "--stars", str(elsewhere)], 2, capsys)
    told = r"none of the 2 stars of catalogue .*elsewhere.csv to Tmag 13 falls on this CCD, centred on "
    assert re.search(told + r"RA 3\d+\.\d+, Dec -2", line)
    assert line.endswith("give another catalogue or a fainter --tmag-max")
    assert not (tmp_path / "out").exists()


def test_a_target_off_the_ccd_is_counted_and_the_others_are_measured(
    frames: Path, catalog: str, tmp_path: Path
) -> None:
    stars = Table.read(catalog, format="ascii.ecsv")
    stars["dec"][0] += 40.0
    stars.write(tmp_path / "stars.ecsv")
    out = tmp_path / "out"
    assert main(["run", str(frames), str(out), "--stars", str(tmp_path / "stars.ecsv"), "--tmag-max", "14"]) == 0
    measured = LightCurves.read(out / "light_curves.zarr").stars["tic_id"].tolist()
    assert measured == stars["tic_id"][1:].tolist()
    assert '"stars_off_ccd": 1' in (out / "run.json").read_text()
    assert "1 star of the catalogue off the CCD" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, r"catalogue .*stars.ecsv does not exist: give a file, or none to ask the TESS Input Catalog"),
        (b"", r"stars.ecsv"),
        (b"a,b\n1,2\n", r"stars.ecsv"),
    ],
    ids=["missing", "empty", "other columns"],
)
def test_a_bad_catalogue(
    content: bytes | None, told: str, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "stars.ecsv"
    if content is not None:
        path.write_bytes(content)
    assert re.search(told, _fail(["run", str(frames), str(tmp_path / "out"), "--stars", str(path)], 2, capsys))
    assert not (tmp_path / "out").exists()


def test_target_pixels_are_no_frame(data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first image of a cutout is its aperture mask."""
    (cutout,) = (data_dir / "cutouts").glob("*.fits")
    line = _fail(["stack", str(cutout), str(tmp_path / "stack.fits")], 1, capsys)
    assert f"{cutout.name} holds target pixels or a cutout, expected a full frame image" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["curves", "run"])
def test_a_catalogue_that_is_not_there(
    command: str, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = _fail([command, str(frames), "--stars", "no.csv", str(tmp_path / "out.zarr")], 2, capsys)
    assert re.search(r"catalogue '?no\.csv'? does not exist", line)
    assert "has room" not in line
    assert not (tmp_path / "out.zarr").exists()


def test_an_output_that_is_a_file(
    frames: Path, catalog: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("mine")
    line = _fail(["run", str(frames), str(tmp_path / "out"), "--stars", catalog], 1, capsys)
    assert line.startswith(f"{tmp_path / 'out'}: is no directory: ")
    assert "choose a place that can be written and has room" in line
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that refuses even the superuser")
def test_an_output_that_cannot_be_written(frames: Path, catalog: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = _fail(["run", str(frames), "/proc/starskope", "--stars", catalog], 1, capsys)
    assert line.startswith("/proc/starskope")
    assert "choose a place that can be written and has room" in line


def _limited(arguments: list[str], n_bytes: int) -> subprocess.CompletedProcess[str]:
    """Run the command where the kernel refuses files larger than this, as a full disk or a quota would."""
    script = (
        "import resource, sys; from starskope.cli import main; import starskope.job, starskope.curves.zarr_store;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({n_bytes}, resource.RLIM_INFINITY)); sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-W", "error", "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=120)


def test_an_output_that_is_full_keeps_its_blocks_and_goes_on(frames: Path, catalog: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["run", str(frames), str(out), "--stars", catalog, "--tmag-max", "14", "--block-frames", "8"]
    # A block is larger than this: nothing is left of the attempt.
    done = _limited(arguments, 100_000)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(r"^starskope: .*File too large: choose a place .* has room", done.stderr, re.MULTILINE)
    assert not out.exists()
    # Here the blocks fit and the stack does not: they are kept, and the next start needs no frame again.
    done = _limited(arguments, 265_000)
    assert done.returncode == 1, done.stderr
    assert "finished blocks are kept" in done.stderr
    assert [path.name for path in out.iterdir()] == [".work"]
    assert not list(out.rglob("*.part"))
    assert main(arguments) == 0
    assert sorted(path.name for path in out.iterdir()) == sorted(PRODUCTS)


def test_refused_credentials(
    frames: Path,
    endpoint: Endpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = _files(frames)[0]
    endpoint.put(first.name, first.read_bytes(), bucket="private", acl="private")
    where = ["--endpoint-url", endpoint.url]
    line = _fail(["run", f"s3://private/{first.name}", str(tmp_path / "out"), *where], 1, capsys)
    assert first.name in line
    assert "403" in line
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    signed = [f"s3://private/{first.name}", str(tmp_path / "out"), *where, "--profile", "nobody"]
    line = _fail(["run", *signed], 1, capsys)
    assert "nobody" in line
    assert not (tmp_path / "out").exists()


def test_a_wrong_endpoint(frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--sector", "1", "--camera", "1", "--ccd", "4", "--endpoint-url", "http://127.0.0.1:9"]
    line = _fail(["run", *where, str(tmp_path / "out")], 1, capsys)
    assert "cannot connect to http://127.0.0.1:9" in line
    assert "is the endpoint right" in line
    assert not (tmp_path / "out").exists()


def test_an_output_of_another_configuration(
    frames: Path, catalog: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["run", str(frames), str(out), "--stars", catalog, "--tmag-max", "14"]) == 0
    capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    line = _fail(["run", str(frames), str(out), "--stars", catalog, "--tmag-max", "11"], 2, capsys)
    remedy = "choose another directory, or add --restart to replace what is there"
    assert line == f"{out} holds another run, with other tmag_max (14.0 there, 11.0 now): {remedy}"
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
