"""Targets as people name them: files, places, TIC numbers, ephemerides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import astroquery.mast
import numpy as np
import pytest
from astropy.table import Table
from mast_server import MastServer

from starskope.archive.tic import tic_stars
from starskope.errors import TransferError
from starskope.frames.moving import Ephemerides
from starskope.frames.target_list import read_targets, rows_of, select, write_index
from starskope.transfer.options import TransferOptions

QUICK = TransferOptions(max_attempts=2, backoff_base_s=0.001, backoff_max_s=0.002)


@pytest.fixture
def mast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MastServer]:
    from astropy.config import set_temp_cache

    cache = tmp_path / "astropy-cache"
    cache.mkdir()
    with set_temp_cache(cache), MastServer() as server, astroquery.mast.conf.set_temp("server", server.url):
        for number in range(1, 8):
            server.add_star(number * 100, 10.0 * number, -5.0, 9.0 + number, disposition=None, pmRA=1000.0, pmDEC=0.0)
        yield server


def test_places_are_read_with_and_without_signs() -> None:
    table = read_targets(["10.5,-20.25", "+359.5, 4e1", "1 2", "-0.5,0"])
    np.testing.assert_array_equal(table["ra"], [10.5, 359.5, 1.0, 359.5])
    np.testing.assert_array_equal(table["dec"], [-20.25, 40.0, 2.0, 0.0])


@pytest.mark.parametrize("word", ["400,0", "0,91", "ten,20", "10.5", "TIC", "1,2,3", "", "nan,0", "10,--20"])
def test_what_names_nothing_is_told(word: str) -> None:
    with pytest.raises(ValueError, match=r"names no target|no place on the sky"):
        read_targets([word])


@pytest.mark.parametrize("suffix", [".csv", ".ecsv", ".parquet", ".fits"])
def test_files_of_every_kind_keep_their_columns(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"targets{suffix}"
    formats = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".parquet": "parquet", ".fits": "fits"}
    table = Table({"RA": [1.0, 2.0], "Dec": [3.0, -4.0], "weight": [5, 6], "name": ["a", "b"]})
    table.write(path, format=formats[suffix])
    found = read_targets([str(path), "9,9"])
    np.testing.assert_array_equal(found["ra"], [1.0, 2.0, 9.0])
    np.testing.assert_array_equal(found["dec"], [3.0, -4.0, 9.0])
    assert found["weight"][:2].tolist() == [5, 6]
    assert found["name"][:2].tolist() == ["a", "b"]


def test_stars_with_motions_are_moved_to_the_sector(tmp_path: Path) -> None:
    path = tmp_path / "stars.csv"
    Table({"ID": [7], "ra": [0.0], "dec": [60.0], "Tmag": [9.0], "pmRA": [3600.0], "pmDEC": [-3600.0]}).write(path)
    still, moved = read_targets([str(path)]), read_targets([str(path)], epoch=2020.0)
    assert still["tic_id"].tolist() == moved["tic_id"].tolist() == [7]
    np.testing.assert_allclose(still["ra"], 0.0)
    # 3.6 arcseconds a year for twenty years are 0.02 degrees, along right ascension twice as many at 60 degrees.
    np.testing.assert_allclose(moved["ra"], 0.04, rtol=1e-3)
    np.testing.assert_allclose(moved["dec"], 59.98, atol=1e-4)


def test_a_star_without_a_magnitude_is_a_target_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "stars.csv"
    Table({"ID": [7, 8], "ra": [0.0, 1.0], "dec": [6.0, 7.0], "Tmag": [np.nan, 9.0]}).write(path)
    found = read_targets([str(path)], epoch=2020.0)
    assert found["tic_id"].tolist() == [7, 8]


def test_ephemerides_are_told_by_their_time(tmp_path: Path) -> None:
    path = tmp_path / "orbit.csv"
    Table(
        {"name": ["a", "b"] * 3, "BTJD": [1.0, 1.0, 2.0, 2.0, 3.0, 3.0], "ra": np.arange(6.0), "dec": np.zeros(6)}
    ).write(path)
    paths = read_targets([str(path)])
    assert isinstance(paths, Ephemerides)
    assert paths.names == ("a", "b")
    assert rows_of(paths)["name"].tolist() == ["a", "b"]
    assert rows_of(select(paths, [1]))["name"].tolist() == ["b"]
    with pytest.raises(ValueError, match="two calls"):
        read_targets([str(path), "1,2"])


def test_bad_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "stars.csv"
    Table({"x": [1.0], "dec": [2.0]}).write(path)
    with pytest.raises(ValueError, match=r"no column ra .* found x, dec"):
        read_targets([str(path)])
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv"):
        read_targets([str(tmp_path / "nothing.csv")])
    with pytest.raises(ValueError, match="no targets"):
        read_targets([])
    path.write_text("ra,dec\n")
    with pytest.raises(ValueError, match="the list is empty"):
        read_targets([str(path)])
    path.write_text("ra,dec\nten,2\n")
    with pytest.raises(ValueError, match="the column ra holds more than numbers"):
        read_targets([str(path)])


def test_numbers_are_looked_up_once_and_kept_in_order(mast: MastServer) -> None:
    table = read_targets(["TIC 300", "5,6", "tic100", "300"], options=QUICK)
    np.testing.assert_allclose(table["ra"], [30.0, 5.0, 10.0, 30.0])
    assert np.ma.filled(table["tic_id"], 0).tolist() == [300, 0, 100, 300]
    assert len([entry for entry in mast.invocations if "Tic" in entry["service"]]) == 1


def test_numbers_that_the_archive_does_not_know_are_told(mast: MastServer) -> None:
    with pytest.raises(ValueError, match="TIC 999 is not in the catalogue"):
        tic_stars([100, 999], options=QUICK)
    with pytest.raises(ValueError, match="none of 998"):
        tic_stars([998], options=QUICK)
    mast.refusals.extend([(500, {})] * 9)
    with pytest.raises(TransferError):
        tic_stars([100], options=QUICK)


def test_the_list_of_cutouts_names_what_became_of_each(tmp_path: Path) -> None:
    targets = Table({"ra": [1.0, 2.0], "dec": [3.0, 4.0], "tmag": [9.0, 10.0]})
    records = [
        {"label": "a", "status": "written", "path": "a.fits", "sector": 1, "camera": 2, "ccd": 3, "edge": True},
        {"label": "b", "status": "failed", "path": "", "reason": 'off, the "CCD"'},
    ]
    index = Table.read(write_index(tmp_path / "cutouts.ecsv", targets, records))
    assert index["status"].tolist() == ["written", "failed"]
    assert index["edge"].tolist() == [True, False]
    assert index["reason"][1] == 'off, the "CCD"'
    assert index["tmag"].tolist() == [9.0, 10.0]
