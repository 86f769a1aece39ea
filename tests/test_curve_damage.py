"""Stores of light curves that are damaged, foreign, interrupted or newer are refused, each with its reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from stored_curves import make_curves

from starskope.curves.container import LightCurves
from starskope.curves.fits_store import read_fits
from starskope.errors import FrameError


def test_nothing_there_and_an_interrupted_replacement_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no light curves here: .*c\.zarr"):
        LightCurves.read(tmp_path / "c.zarr")
    make_curves().write(tmp_path / "c.zarr").rename(tmp_path / ".c.zarr.old")
    with pytest.raises(FileNotFoundError, match=r"an interrupted write left the old one as .c.zarr.old"):
        LightCurves.read(tmp_path / "c.zarr")
    with pytest.raises(ValueError, match="list of paths is empty"):
        LightCurves.read([])
    with pytest.raises(TypeError, match="give a slice"):
        LightCurves.read(tmp_path / "c.zarr", stars=[1, 2])
    with pytest.raises(ValueError, match="runs backwards"):
        LightCurves.read(tmp_path / "c.zarr", stars=slice(None, None, -1))


def test_a_column_of_text_objects_in_a_foreign_store_is_refused(tmp_path: Path) -> None:
    import zarr

    path = make_curves().write(tmp_path / "c.zarr")
    shutil.rmtree(path / "stars" / "name")
    zarr.open_group(path / "stars", mode="r+").create_array("name", shape=(300,), dtype="string")
    with pytest.raises(FrameError, match=r"'name' is damaged .dtype .* is not a number"):
        LightCurves.read(path)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _edit(path: Path, change) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: _remove(p / "zarr.json"), "folder without zarr.json"),
        (lambda p: (p / "zarr.json").write_text("{"), "describes no readable group"),
        (lambda p: (p / "zarr.json").write_text("[]"), "describes no readable group"),
        (lambda p: _edit(p / "zarr.json", lambda d: d["attributes"].pop("format")), "not of light curves"),
        (
            lambda p: _edit(p / "zarr.json", lambda d: d["attributes"].update(format_version=2)),
            "format version 2.*update",
        ),
        (lambda p: _edit(p / "zarr.json", lambda d: d["attributes"].pop("time_zero")), "is damaged"),
        (lambda p: _remove(p / "flux"), "array 'flux' is damaged .it is missing"),
        (lambda p: _remove(p / "background"), "array 'background' is damaged .it is missing"),
        (lambda p: _remove(p / "stars"), "is damaged"),
        (lambda p: _remove(p / "stars" / "ra"), "array 'ra' is damaged .it is missing"),
        (lambda p: _remove(p / "flux" / "c" / "0" / "1"), "'flux' is damaged .1 of 2 chunks are missing"),
        (lambda p: _remove(p / "time" / "c" / "0"), "'time' is damaged .1 of 1 chunks are missing"),
        (lambda p: (p / "flux" / "zarr.json").write_text("{}"), "'flux' is damaged"),
        (lambda p: _edit(p / "flux" / "zarr.json", lambda d: d.update(data_type="float64")), "instead of float32"),
        (lambda p: _edit(p / "flux" / "zarr.json", lambda d: d.update(shape=[29, 300])), "is damaged"),
    ],
)
def test_a_damaged_zarr_store_is_refused(tmp_path: Path, damage, message) -> None:
    path = make_curves().write(tmp_path / "c.zarr")
    damage(path)
    with pytest.raises(FrameError, match=message) as caught:
        LightCurves.read(path)
    assert "c.zarr" in str(caught.value)


def test_one_flipped_bit_of_a_fits_file_is_noticed(tmp_path: Path) -> None:
    path = make_curves(n_star=8).write(tmp_path / "c.fits")
    good, rng = path.read_bytes(), np.random.default_rng(2)
    for _ in range(200):
        bad = bytearray(good)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        path.write_bytes(bad)
        with pytest.raises(FrameError, match=r"c\.fits"):
            LightCurves.read(path)


def test_one_flipped_bit_of_a_chunk_of_a_zarr_store_is_noticed(tmp_path: Path) -> None:
    path, rng = make_curves(n_star=8).write(tmp_path / "c.zarr"), np.random.default_rng(2)
    chunks = [p for p in sorted(path.rglob("*")) if p.is_file() and "c" in p.relative_to(path).parts]
    assert len(chunks) == 7 + 9
    for chunk in chunks:
        good = chunk.read_bytes()
        for _ in range(6):
            bad = bytearray(good)
            bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
            chunk.write_bytes(bad)
            with pytest.raises(FrameError, match=r"c\.zarr: array .* is damaged"):
                LightCurves.read(path)
        chunk.write_bytes(good)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.write_bytes(b""), "is empty"),
        (lambda p: p.write_bytes(b"hello world"), "has no column of time .*; its columns are hello, world"),
        (lambda p: p.write_bytes(b"\x7fELF\x00"), "is neither FITS, nor Zarr, nor text"),
        (lambda p: p.write_bytes(p.read_bytes()[:20_000]), "is damaged"),
        (lambda p: p.write_bytes(p.read_bytes()[:2880]), "is damaged"),
        (
            lambda p: fits.PrimaryHDU(np.zeros((3, 3))).writeto(p, overwrite=True),
            "holds no light curve known here .found: no table.",
        ),
    ],
)
def test_a_damaged_or_foreign_fits_file_is_refused(tmp_path: Path, damage, message) -> None:
    path = make_curves().write(tmp_path / "c.fits")
    damage(path)
    with pytest.raises(FrameError, match=message) as caught:
        LightCurves.read(path)
    assert "c.fits" in str(caught.value)


def test_a_newer_fits_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = make_curves().write(tmp_path / "c.fits")
    with fits.open(path, mode="update") as file:
        file[0].header["FORMATV"] = 2
        file[0].add_checksum()
    with pytest.raises(FrameError, match="format version 2, this program reads 1: update starskope"):
        LightCurves.read(path)


def test_a_mission_file_is_not_taken_for_ours(data_dir: Path) -> None:
    name = "tess2019198215352-s0014-0000000424865156-0150-s_lc.fits"
    with pytest.raises(FrameError, match="no light curves that starskope wrote"):
        read_fits(data_dir / "lightcurves" / name)
