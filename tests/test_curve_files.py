"""The stores of light curves: bit-equal round trips, the same bytes every time, safe replacement."""

from __future__ import annotations

import errno
import math
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from stored_curves import ARRAYS, assert_same_bits, make_curves, tree_bytes

from starskope import landing
from starskope.curves.container import LightCurves
from starskope.curves.zarr_store import write_zarr_parts
from starskope.errors import FrameError

ENDINGS = ["zarr", "fits"]


# --- round trip -----------------------------------------------------------------------------------------------------


def test_every_field_is_compared() -> None:
    compared = {*ARRAYS, "stars", "time_zero", "mission", "meta", "exposure_s"}
    assert {field.name for field in fields(LightCurves)} == compared


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"flux_err": None, "background": None, "observer": None, "direction": None, "quality": None},
        {"exposure_s": math.nan, "time_zero": 2454833.0, "mission": "Kepler", "meta": {}},
        {"time_zero": 2400000.5},
        {"stars": None},
        {"n_time": 0},
        {"n_star": 0},
        {"n_time": 0, "n_star": 0},
        {"n_star": 0, "stars": Table()},
        {"n_time": 1, "n_star": 1},
        {"n_star": 257},
    ],
    ids=[
        "all",
        "little",
        "kepler",
        "half-day zero",
        "no table",
        "no time",
        "no star",
        "nothing",
        "no column",
        "1x1",
        "257",
    ],
)
def test_what_is_written_is_read_bit_for_bit(tmp_path: Path, ending: str, changes) -> None:
    curves = make_curves(**changes)
    path = tmp_path / f"curves.{ending}"
    assert curves.write(path) == path
    assert_same_bits(curves, LightCurves.read(path))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_light_curves_give_the_same_bytes(tmp_path: Path, ending: str) -> None:
    first = make_curves().write(tmp_path / f"a.{ending}")
    # Another process, another time zone, another hour of the day: neither date nor hash seed nor host may leak in.
    code = "import sys; from stored_curves import make_curves; make_curves().write(sys.argv[1])"
    environment = os.environ | {"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7", "HOSTNAME": "elsewhere"}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    subprocess.run([sys.executable, "-c", code, tmp_path / f"b.{ending}"], env=environment, check=True)
    assert tree_bytes(first) == tree_bytes(tmp_path / f"b.{ending}")
    again = LightCurves.read(first).write(tmp_path / f"c.{ending}")
    assert tree_bytes(first) == tree_bytes(again)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("stars", [slice(250, 260), slice(None, None, 7), slice(5, 5)])
def test_some_stars_can_be_read_alone(tmp_path: Path, ending: str, stars: slice) -> None:
    curves = make_curves()
    assert_same_bits(curves.select(stars), LightCurves.read(curves.write(tmp_path / f"c.{ending}"), stars=stars))


def test_reading_some_stars_of_a_zarr_store_opens_their_chunks_only(tmp_path: Path) -> None:
    curves = make_curves()
    path = curves.write(tmp_path / "c.zarr")
    (path / "flux" / "c" / "0" / "1").write_bytes(b"damaged")
    assert_same_bits(curves.select(slice(0, 256)), LightCurves.read(path, stars=slice(0, 256)))
    with pytest.raises(FrameError, match="array 'flux' is damaged"):
        LightCurves.read(path)


def test_a_store_that_is_written_some_stars_at_a_time_has_the_same_bytes(tmp_path: Path) -> None:
    curves = make_curves(n_star=600, quality=np.zeros(30, np.int32))
    curves.write(tmp_path / "whole.zarr")
    parts = (curves.select(stars=slice(first, min(first + 256, 600))) for first in range(0, 600, 256))
    write_zarr_parts(parts, curves.stars, tmp_path / "parts.zarr")
    assert tree_bytes(tmp_path / "parts.zarr") == tree_bytes(tmp_path / "whole.zarr")
    assert_same_bits(LightCurves.read(tmp_path / "parts.zarr"), curves)


def test_the_stores_are_what_the_documents_say(tmp_path: Path) -> None:
    import zarr

    curves = make_curves(4, 300)
    group = zarr.open_group(curves.write(tmp_path / "c.zarr"), mode="r")
    assert group.metadata.zarr_format == 3
    assert group["flux"].chunks == (4, 256)
    assert group["flux"].metadata.dimension_names == ("time", "star")
    assert group["flux"].attrs["unit"] == "electron / s"
    assert group["stars/ra"].attrs["unit"] == "deg"
    assert dict(group.attrs)["time_scale"] == "TDB"
    assert {array.dtype.kind for _, array in group.members(max_depth=None) if hasattr(array, "dtype")} <= set("iufb")
    for text in tree_bytes(tmp_path / "c.zarr").values():
        assert b"starskope version" not in text

    with fits.open(curves.write(tmp_path / "c.fits")) as file:
        assert [hdu.name for hdu in file] == [
            *("PRIMARY", "TIME", "FLUX", "FLUX_ERR", "BACKGROUND", "OBSERVER", "DIRECTION", "STARS", "META"),
        ]
        assert file["FLUX"].shape == (4, 300)
        assert file["TIME"].columns.names == ["TIME", "QUALITY"]
        for hdu in (file[0], file["TIME"]):
            cards = {name: hdu.header[name] for name in ("TIMESYS", "BJDREFI", "BJDREFF", "TIMEREF", "TASSIGN")}
            assert cards == {
                "TIMESYS": "TDB",
                "BJDREFI": 2457000,
                "BJDREFF": 0.0,
                "TIMEREF": "LOCAL",
                "TASSIGN": "SPACECRAFT",
            }
        assert "DATE" not in file[0].header
    stars = Table.read(tmp_path / "c.fits", hdu="STARS", unit_parse_strict="silent")
    np.testing.assert_array_equal(stars["tic_id"], curves.stars["tic_id"])


# --- several files --------------------------------------------------------------------------------------------------


def test_files_of_one_time_axis_are_put_side_by_side(tmp_path: Path) -> None:
    curves = make_curves()
    flagged = replace(curves.select(slice(100, 300)), quality=np.arange(30))
    paths = [curves.select(slice(0, 100)).write(tmp_path / "a.zarr"), flagged.write(tmp_path / "b.fits")]
    joined = LightCurves.read(paths)
    assert_same_bits(replace(curves, quality=curves.quality | np.arange(30)), joined)
    assert_same_bits(LightCurves.read([paths[0]]), LightCurves.read(str(paths[0])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time": np.arange(30.0)}, "different time axes"),
        ({"time_zero": 0.0}, "different time axes"),
        ({"mission": "K2"}, "has mission 'K2', .* 'TESS'"),
        ({"meta": {"flux_unit": "adu"}}, "has flux_unit 'adu'"),
        ({"stars": Table({"tic_id": np.arange(300)})}, "different star columns"),
        ({"observer": None}, "only one of .* holds observer"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(tmp_path: Path, change, message) -> None:
    curves = make_curves()
    paths = [curves.write(tmp_path / "a.zarr"), replace(curves, **change).write(tmp_path / "b.zarr")]
    with pytest.raises(ValueError, match=message):
        LightCurves.read(paths)


# --- replacing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_store_is_replaced_as_a_whole(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"c.{ending}"
    make_curves(n_star=600).write(path)
    smaller = make_curves(n_star=2, background=None)
    smaller.write(path)
    fresh = smaller.write(tmp_path / f"fresh.{ending}")
    assert tree_bytes(path) == tree_bytes(fresh)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([path.name, fresh.name])


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_a_killed_writer_left_is_cleared_by_the_next(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"c.{ending}"
    part = tmp_path / f".c.{ending}.part"
    if ending == "zarr":
        (part / "flux").mkdir(parents=True)
        (part / "flux" / "zarr.json").write_text("half")
        (tmp_path / ".c.zarr.old").mkdir()
    else:
        part.write_text("half")
    make_curves().write(path)
    assert_same_bits(make_curves(), LightCurves.read(path))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("step", ["flush", "rename"])
def test_a_writer_that_fails_leaves_the_old_data_and_no_litter(
    tmp_path: Path, ending: str, step: str, monkeypatch
) -> None:
    path = tmp_path / f"c.{ending}"
    make_curves().write(path)
    before = tree_bytes(path)

    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "some/inner/file")

    if step == "flush":
        monkeypatch.setattr(landing, "flush", no_space)
    else:
        rename = Path.rename

        def refuse_the_part(self: Path, target: Path) -> Path:
            return no_space() if self.name.endswith(".part") else rename(self, target)

        monkeypatch.setattr(Path, "rename", refuse_the_part)
        monkeypatch.setattr(Path, "replace", no_space)
    with pytest.raises(OSError, match=r"light curves could not be written \(No space left.*free space") as caught:
        make_curves(n_star=2).write(path)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    monkeypatch.undo()
    assert tree_bytes(path) == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    # A file-size limit stands in for a full disk: the kernel refuses the write in the middle of the flux.
    code = (
        "import resource, signal, sys; from stored_curves import make_curves; curves = make_curves(400, 1000)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "try: curves.write(sys.argv[1])\n"
        "except OSError as error: print(error)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    for ending in ENDINGS:
        path = tmp_path / f"c.{ending}"
        done = subprocess.run(
            [sys.executable, "-c", code, path], env=environment, check=True, capture_output=True, text=True
        )
        assert "light curves could not be written (" in done.stdout
        assert "free space or choose another folder" in done.stdout
        assert str(path) in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    import zarr

    mine = tmp_path / "photos.zarr"
    mine.mkdir()
    (mine / "holiday.jpg").write_bytes(b"sun")
    with pytest.raises(ValueError, match=r"photos.zarr exists and holds no light curves: it is left alone"):
        make_curves().write(mine)
    assert (mine / "holiday.jpg").read_bytes() == b"sun"
    zarr.create_group(tmp_path / "other.zarr", attributes={"format": "somebody's"})
    with pytest.raises(ValueError, match="left alone"):
        make_curves().write(tmp_path / "other.zarr")
    (tmp_path / "file.zarr").write_bytes(b"x")
    with pytest.raises(ValueError, match="left alone"):
        make_curves().write(tmp_path / "file.zarr")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_missing_folder_and_an_unknown_format_are_named(tmp_path: Path, ending: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"the folder does not exist: make it first.*nowhere"):
        make_curves().write(tmp_path / "nowhere" / f"c.{ending}")
    with pytest.raises(ValueError, match=r"c.csv names no format: let the name end in .zarr or .fits"):
        make_curves().write(tmp_path / "c.csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("ending", ENDINGS)
def test_an_unwritable_folder_is_named(tmp_path: Path, ending: str) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="light curves could not be written"):
        make_curves().write(folder / f"c.{ending}")
