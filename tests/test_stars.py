"""Star catalogues: every format, alias and unit, epochs against astropy, clear words for bad files."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import astropy.units as u
import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from starskope.archive.catalog import moved_to_epoch, standard_columns
from starskope.archive.footprint import separation
from starskope.archive.stars import find_stars, sector_epoch

ROWS = {
    "tic_id": np.array([11, 12, 13, 14], dtype=np.int64),
    "ra": np.array([10.0, 10.5, 359.9, 20.0]),
    "dec": np.array([-5.0, -5.2, 0.1, 60.0]),
    "tmag": np.array([8.0, 12.0, 13.5, 10.0]),
    "teff": np.array([5000.0, np.nan, 4000.0, 6000.0]),
}


def catalogue(**changes) -> Table:
    return Table({**ROWS, **changes})


def write(table: Table, path: Path) -> Path:
    if path.name.endswith(".csv.gz"):
        plain = path.with_suffix("")
        table.write(plain, format="ascii.csv")
        path.write_bytes(gzip.compress(plain.read_bytes()))
    elif path.suffix == ".ecsv":
        table.write(path, format="ascii.ecsv")
    elif path.suffix == ".csv":
        table.write(path, format="ascii.csv", comment="# made by hand")
    elif path.suffix == ".parquet":
        parquet.write_table(pa.table({name: table[name].tolist() for name in table.colnames}), path)
    else:
        table.write(path, format="fits")
    return path


@pytest.mark.parametrize("suffix", [".ecsv", ".csv", ".csv.gz", ".parquet", ".fits"])
def test_every_format_gives_the_same_stars(tmp_path: Path, suffix: str) -> None:
    stars = find_stars(catalog=write(catalogue(Kind=["a", "b", "c", "d"]), tmp_path / f"stars{suffix}"), tmag_max=None)
    for name, values in ROWS.items():
        np.testing.assert_array_equal(stars[name], values, err_msg=name)
        assert not np.ma.is_masked(stars[name])
    assert stars["tic_id"].dtype == np.int64
    assert stars.colnames[:10] == ["tic_id", "ra", "dec", "tmag", "teff", "logg", "rad", "mass", "pmra", "pmdec"]
    assert [str(kind) for kind in stars["kind"]] == ["a", "b", "c", "d"]
    assert [str(stars[name].unit) for name in ("ra", "tmag", "teff", "rad", "pmra")] == [
        "deg",
        "mag",
        "K",
        "solRad",
        "mas / yr",
    ]
    assert np.isnan(stars["mass"]).all()


def test_a_real_tic_table_is_read(data_dir: Path) -> None:
    stars = find_stars(catalog=data_dir / "catalogs" / "tglc_ticentries.csv.gz", tmag_max=13)
    assert len(stars) > 10
    first = stars[stars["tic_id"] == 1227555][0]
    assert (first["tmag"], first["teff"], first["rad"], first["mass"]) == (12.5991, 6407.0, 1.68217, 1.29)
    assert (first["pmra"], first["ra"]) == (-14.2149, 137.225947173)
    assert stars["tmag"].max() <= 13


def test_a_real_table_of_candidates_is_read_with_its_repeated_stars(data_dir: Path) -> None:
    path = data_dir / "catalogs" / "toi.csv.gz"
    stars = find_stars(catalog=path, tmag_max=None)
    assert len(set(stars["tic_id"])) == len(stars) > 5000
    assert 50365310 in stars["tic_id"]
    assert any("repeat a star" in note for note in stars.meta["notes"])


@pytest.mark.parametrize(
    "names",
    [
        ("ID", "RA", "DEC", "Tmag"),
        ("TICID", "RAJ2000", "DEJ2000", "TESSmag"),
        ("tid", "ra", "dec", "st_tmag"),
        (" tic ", "RA_ICRS", "DE_ICRS", "tess_mag"),
    ],
)
def test_the_fields_own_column_names_are_known(names) -> None:
    table = Table([ROWS[name] for name in ("tic_id", "ra", "dec", "tmag")], names=names)
    np.testing.assert_array_equal(find_stars(catalog=table, tmag_max=None)["tic_id"], ROWS["tic_id"])


def test_the_tic_number_is_preferred_to_a_plain_id() -> None:
    stars = find_stars(catalog=catalogue(id=[1, 2, 3, 4]), tmag_max=None)
    np.testing.assert_array_equal(stars["tic_id"], ROWS["tic_id"])


@pytest.mark.parametrize("numbers", [["11", "TIC 12", " 13", "TIC14"], [11.0, 12.0, 13.0, 14.0]])
def test_tic_numbers_in_other_clothes_are_understood(numbers) -> None:
    np.testing.assert_array_equal(
        find_stars(catalog=catalogue(tic_id=numbers), tmag_max=None)["tic_id"], ROWS["tic_id"]
    )


def test_units_are_converted() -> None:
    table = QTable(catalogue())
    table["ra"] = (ROWS["ra"] * u.deg).to(u.rad)
    table["dec"] = (ROWS["dec"] * u.deg).to(u.arcsec)
    table["pmra"] = np.full(4, 0.5) * u.arcsec / u.yr
    table["rad"] = np.full(4, 695700.0) * u.km
    table["logg"] = np.full(4, 4.4) * u.cm / u.s**2
    stars = find_stars(catalog=table, tmag_max=None)
    np.testing.assert_allclose(stars["ra"], ROWS["ra"], atol=1e-12)
    np.testing.assert_allclose(stars["dec"], ROWS["dec"], atol=1e-12)
    np.testing.assert_allclose(stars["pmra"], 500.0)
    np.testing.assert_allclose(stars["rad"], 1.0)
    np.testing.assert_allclose(stars["logg"], 4.4)


def test_units_of_a_parquet_file_of_astropy_are_kept(tmp_path: Path) -> None:
    description = "datatype: [{name: ra, datatype: float64, unit: rad}]\nmeta: {epoch: 2016.0}"
    columns = {name: values.tolist() for name, values in ROWS.items()}
    columns["ra"] = np.radians(ROWS["ra"]).tolist()
    columns["teff"] = [5000.0, None, 4000.0, 6000.0]
    arrow = pa.table(columns).replace_schema_metadata({"table_meta_yaml": description})
    parquet.write_table(arrow, tmp_path / "stars.parquet")
    stars = find_stars(catalog=tmp_path / "stars.parquet", tmag_max=None)
    np.testing.assert_allclose(stars["ra"], ROWS["ra"], rtol=1e-14)
    np.testing.assert_array_equal(stars["teff"], ROWS["teff"])
    assert stars.meta["epoch"] == 2016.0


def test_masked_and_unknown_rows_are_left_out_and_noted() -> None:
    table = catalogue(tmag=MaskedColumn(ROWS["tmag"], mask=[False, True, False, False]))
    table["ra"][2] = np.nan
    stars = find_stars(catalog=table, tmag_max=None)
    assert stars["tic_id"].tolist() == [11, 14]
    assert any("2 row(s)" in note for note in stars.meta["notes"])


def test_other_columns_come_without_masks_and_objects() -> None:
    table = catalogue(
        Number=MaskedColumn([1, 2, 3, 4], mask=[0, 1, 0, 0]),
        Name=MaskedColumn(["a", "b", "c", "d"], mask=[0, 0, 1, 0]),
        Thing=np.array(["x", None, 3, "y"], dtype=object),
        Whole=np.arange(4),
    )
    stars = find_stars(catalog=table, tmag_max=None)
    np.testing.assert_array_equal(stars["number"], [1, np.nan, 3, 4])
    assert stars["name"].tolist() == ["a", "b", "", "d"]
    assert stars["thing"].tolist() == ["x", "", "3", "y"]
    assert stars["whole"].dtype == np.arange(4).dtype
    assert not stars.has_masked_columns


def test_repeated_stars_count_once_the_first_time() -> None:
    table = catalogue(tic_id=[11, 12, 11, 14])
    stars = find_stars(catalog=table, tmag_max=None)
    assert stars["tic_id"].tolist() == [11, 12, 14]
    assert stars["tmag"][0] == 8.0
    assert any("1 row(s)" in note and "repeat" in note for note in stars.meta["notes"])


def test_magnitude_and_field_cut() -> None:
    assert find_stars(catalog=catalogue(), tmag_max=12)["tic_id"].tolist() == [11, 12, 14]
    near = find_stars(catalog=catalogue(), tmag_max=13, footprint=((10.0, -5.0), 1.0))
    assert near["tic_id"].tolist() == [11, 12]
    square = [(9.9, -5.1), (10.1, -5.1), (10.1, -4.9), (9.9, -4.9)]
    assert find_stars(catalog=catalogue(), footprint=square)["tic_id"].tolist() == [11]
    assert find_stars(catalog=catalogue(), footprint=square, margin_deg=0.5)["tic_id"].tolist() == [11, 12]


def test_the_callers_table_is_not_touched() -> None:
    table = catalogue(pmra=[100.0] * 4, pmdec=[100.0] * 4)
    before = table.copy()
    find_stars(1, catalog=table, tmag_max=None)
    assert table.colnames == before.colnames
    assert np.all(table["ra"] == before["ra"])
    assert table.meta == before.meta


@given(st.floats(0, 360), st.floats(-89, 89), st.floats(-11000, 11000), st.floats(-11000, 11000), st.floats(1990, 2030))
@settings(max_examples=50, deadline=None)
def test_stars_move_as_astropy_moves_them(ra, dec, pmra, pmdec, epoch) -> None:
    table, _ = standard_columns(
        Table({"tic_id": [1], "ra": [ra], "dec": [dec], "tmag": [9.0], "pmra": [pmra], "pmdec": [pmdec]}), "t"
    )
    moved = moved_to_epoch(table, epoch)
    there = SkyCoord(
        ra * u.deg,
        dec * u.deg,
        pm_ra_cosdec=pmra * u.mas / u.yr,
        pm_dec=pmdec * u.mas / u.yr,
        distance=10 * u.pc,
        radial_velocity=0 * u.km / u.s,
        obstime=Time(2000.0, format="jyear", scale="tdb"),
    ).apply_space_motion(new_obstime=Time(epoch, format="jyear", scale="tdb"))
    off = separation(np.asarray(moved["ra"]), np.asarray(moved["dec"]), there.ra.deg, there.dec.deg)[0]
    assert off * 3600 < 2e-3
    assert moved.meta["epoch"] == epoch


def test_stars_written_and_read_again_are_not_moved_twice(tmp_path: Path) -> None:
    table = catalogue(pmra=[1000.0] * 4, pmdec=[1000.0] * 4)
    once = find_stars(1, catalog=table, tmag_max=None)
    once.write(tmp_path / "once.ecsv")
    twice = find_stars(1, catalog=tmp_path / "once.ecsv", tmag_max=None)
    assert np.all(once["dec"] != table["dec"])
    np.testing.assert_array_equal(twice["dec"], once["dec"])
    assert twice.meta["epoch"] == once.meta["epoch"] == sector_epoch(1)


@pytest.mark.parametrize("where", ["column", "meta"])
def test_a_catalogues_own_epoch_is_taken(where: str) -> None:
    table = catalogue(pmra=[0.0] * 4, pmdec=[3.6e6] * 4)
    if where == "column":
        table["ref_epoch"] = [2015.5] * 4
    else:
        table.meta["epoch"] = 2015.5
    stars = find_stars(1, catalog=table[:1], tmag_max=None)
    # A degree a year along a meridian, on the tangent line that stars move on.
    expected = -5.0 + math.degrees(math.atan(math.radians(sector_epoch(1) - 2015.5)))
    assert stars["dec"][0] == pytest.approx(expected, abs=1e-9)
    assert find_stars(catalog=table, tmag_max=None).meta["epoch"] == 2015.5


@pytest.mark.parametrize(
    ("sector", "start"), [(1, "2018-07-25"), (27, "2020-07-05"), (56, "2022-09-01"), (66, "2023-06-02")]
)
def test_the_epoch_of_a_sector_is_near_its_middle(sector, start) -> None:
    assert abs(sector_epoch(sector) - Time(start).jyear - 13.7 / 365.25) < 0.03


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        ("id,ra\n1,2\n", "a.csv", "lacks dec .* its columns are: id, ra"),
        ("", "a.csv", "cannot be read as its suffix says: it holds no lines"),
        ("tic_id,ra,dec,tmag\n", "a.csv", r"no stars: catalogue .* has 0 row\(s\)"),
        ("tic_id,ra,dec,tmag\n1,07h29m,3,4\n", "a.csv", "column 'ra' must hold numbers, found '07h29m'"),
        ("tic_id,ra,dec,tmag\nKIC 5,1,3,4\n", "a.csv", "must hold TIC numbers, found 'KIC 5'"),
        ("tic_id,ra,dec,tmag\n1.5,1,3,4\n", "a.csv", "whole TIC numbers"),
        ("tic_id,ra,dec,tmag\n-7,1,3,4\n", "a.csv", "found -7"),
        ("tic_id,ra,dec,tmag\n1,1,95,4\n", "a.csv", "dec = 95"),
        ("tic_id,ra,dec,tmag\n1,1,5,14\n", "a.csv", r"1 row\(s\), 0 with tmag <= 13; raise tmag_max"),
        ("tic_id,ra,dec,tmag,ref_epoch\n1,1,5,4,J2000\n", "a.csv", "must hold numbers"),
        ("tic_id,ra,dec,tmag\n1,1,5,4\n", "a.txt", "suffix that says nothing: expected '.ecsv'"),
        ("not a table", "a.fits", "cannot be read as its suffix says"),
        ("not a table", "a.parquet", "cannot be read as its suffix says"),
        ("not a table", "a.ecsv", "cannot be read as its suffix says"),
        ("not a table", "a.csv.gz", "cannot be read as its suffix says"),
    ],
)
def test_a_bad_catalogue_gets_one_clear_line(tmp_path: Path, content, name, words) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match=words) as caught:
        find_stars(catalog=path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_catalogue_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.csv' does not exist"):
        find_stars(catalog=tmp_path / "gone.csv")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "needs sector, camera and ccd, or footprint=, or catalog="),
        ({"sector": 1}, "needs sector, camera and ccd"),
        ({"sector": 1, "camera": 7, "ccd": 1}, "camera is 7"),
        ({"tmag_max": None, "sector": 1, "camera": 1, "ccd": 1}, "1.7 billion stars"),
        ({"tmag_max": math.nan}, "tmag_max is nan"),
        ({"footprint": [(1, 2), (3, 4)]}, "three or more"),
        ({"footprint": ((1, 2), -1)}, "radius is -1"),
        ({"footprint": ((1, 99), 1)}, "no set of positions"),
        ({"footprint": "1-1"}, "three or more"),
        ({"footprint": [(0, 0), (120, 0), (240, 0)]}, "spread over the sky"),
        ({"catalog": "x.csv", "footprint": 5}, "footprint is 5"),
    ],
)
def test_contradicting_arguments_are_refused(arguments, words) -> None:
    with pytest.raises(ValueError, match=words):
        find_stars(**arguments)
