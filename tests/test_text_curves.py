"""Light curves as text: what people write, and a clear line for what cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from starskope.curves.container import LightCurves
from starskope.errors import FrameError

TIME = 1500.0 + np.arange(50) / 48
ROWS = [f"{t:.9f},{1 + 0.001 * np.sin(t):.8f},0.0005" for t in TIME]
BODY = "\n".join(ROWS)


def read(folder: Path, text: str | bytes, name: str = "star.csv", **options) -> LightCurves:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return LightCurves.read(path, **options)


@pytest.mark.parametrize(
    ("text", "name", "zero", "mission"),
    [
        ("btjd,flux,flux_err\n" + BODY, "star.csv", 2457000.0, ""),
        ("BKJD,Flux,Error\n" + BODY, "star.csv", 2454833.0, ""),
        ("time [BTJD],flux,err\n" + BODY, "star.csv", 2457000.0, ""),
        ("BJD - 2454833,flux,err\n" + BODY, "star.csv", 2454833.0, ""),
        ("# days, BJD - 2457000\n" + BODY, "star.csv", 2457000.0, ""),
        ("# btjd,flux,err\n" + BODY, "star.csv", 2457000.0, ""),
        ("# TIC 25155310\n" + BODY, "star.csv", 2457000.0, "TESS"),
        (BODY, "kplr010666592.txt", 2454833.0, "Kepler"),
        (BODY, "epic_201367065_lc.csv", 2454833.0, "K2"),
        ("\ufefftime;flux;err\n" + BODY.replace(",", ";"), "TIC7000.csv", 2457000.0, "TESS"),
        ("time\tflux\terr\n" + BODY.replace(",", "\t"), "tic 7000.tsv", 2457000.0, "TESS"),
        ("# BTJD\n\n" + BODY.replace(",", "   ").replace("\n", "\r\n"), "a.dat", 2457000.0, ""),
    ],
)
def test_columns_separators_and_zeros(tmp_path: Path, text: str, name: str, zero: float, mission: str) -> None:
    curves = read(tmp_path, text, name)
    np.testing.assert_allclose(curves.time, TIME, atol=1e-9)
    np.testing.assert_allclose(curves.flux[:, 0], 1 + 0.001 * np.sin(TIME), rtol=1e-6)
    np.testing.assert_allclose(curves.flux_err, 0.0005)
    assert (curves.time_zero, curves.mission) == (zero, mission)
    assert curves.is_barycentric
    assert str(curves.stars["name"][0])


def test_columns_are_found_by_name_and_empty_cells_are_missing(tmp_path: Path) -> None:
    rows = ["quality,cadenceno,pdcsap_flux_err,time,sap_flux,pdcsap_flux"]
    rows += ["0,1,0.1,1500.0,8,10", "16,2,,1500.1,8,", "0,3,nan,1500.2,8,null", "128,4,0,1500.3,8,11"]
    curves = read(tmp_path, "\n".join(rows), "TIC 1234.csv")
    np.testing.assert_array_equal(curves.flux[:, 0], np.array([10, np.nan, np.nan, 11], np.float32))
    np.testing.assert_array_equal(curves.flux_err[:, 0], np.array([0.1, np.nan, np.nan, np.nan], np.float32))
    assert curves.quality.tolist() == [0, 16, 0, 128]
    assert curves.meta["flux_column"] == "pdcsap_flux"


def test_an_unknown_zero_is_asked_for_and_can_be_given(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match=r"star\.csv: the zero of its times is not known: name the column btjd"):
        read(tmp_path, "time,flux\n" + "\n".join(row.rsplit(",", 1)[0] for row in ROWS))
    curves = read(tmp_path, BODY, time_zero=2454833)
    assert curves.time_zero == 2454833.0
    assert curves.meta["time_zero_from"] == "time_zero="
    # What the text says counts more.
    assert read(tmp_path, "btjd,flux,e\n" + BODY, time_zero=2454833).time_zero == 2457000.0


def test_full_julian_dates_are_taken_under_their_name_only(tmp_path: Path) -> None:
    julian = "\n".join(f"{2457000 + t:.6f},1.0" for t in TIME)
    curves = read(tmp_path, "BJD_TDB,flux\n" + julian)
    assert curves.time_zero == 2457000.0
    np.testing.assert_allclose(curves.time, TIME, atol=1e-6)
    with pytest.raises(FrameError, match="they look like full Julian dates"):
        read(tmp_path, julian)
    with pytest.raises(FrameError, match="they look like full Julian dates"):
        read(tmp_path, "btjd,flux\n" + julian)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("btjd,flux\n" + "\n".join(f"{t * 86400},1" for t in TIME), "they look like seconds"),
        ("\n".join(f"{t + 56999.5},1" for t in TIME), "they look like modified Julian dates"),
        ("mjd,flux\n" + "\n".join(f"{t + 56999.5},1" for t in TIME), "its times are 'mjd', expected barycentric ones"),
        ("bjd,flux\n" + "\n".join(f"{t},1" for t in TIME), "they look like days of a mission: BTJD .* or BKJD"),
        ("btjd,flux,err\n1500,1,0.1\n1501,1,-0.1\n", r"line 3: error -0.1 is negative \(1 such lines\)"),
        ("btjd,flux\n1500,1\n1501,one\n", r"line 3, column 'flux': 'one' is no number"),
        ("1500,1\n1501,one\n", r"TIC 77\.csv, line 2, column 2: 'one' is no number"),
        ("btjd,flux\n1500,1\n1501\n", r"line 3 has 1 columns, expected 2 or more"),
        ("1500,1,0.1,5\n1501,1,0.1,5\n", "has 4 columns without names: expected time, flux and, optionally, error"),
        ("1500\n1501\n", "has 1 columns without names"),
        ("flux,err\n1,2\n", r"has no column of time \(time, btjd, bkjd, bjd\); its columns are flux, err"),
        ("time,magnitude\n1,2\n", r"has no column of flux .*; its columns are time, magnitude"),
        ("# nothing\n# at all\n", "holds comments and no numbers"),
        ("", r"is empty \(zero bytes\)"),
        (b"\xff\xfe\x00\x01binary", "is neither FITS, nor Zarr, nor text"),
        ("<!DOCTYPE html><html>", "is a server's HTML or XML answer"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path, text, message) -> None:
    with pytest.raises(FrameError, match=message) as caught:
        read(tmp_path, text, "TIC 77.csv")
    assert "TIC 77.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_out_of_order_repeated_or_without_time(tmp_path: Path) -> None:
    curves = read(tmp_path, "btjd,flux\n1502,3\n1500,1\n,9\n1501,2\n1500,8\n")
    assert curves.time.tolist() == [1500, 1501, 1502]
    assert curves.flux[:, 0].tolist() == [1, 2, 3]
    assert curves.meta["rows"] == {"without_time": 1, "repeated": 1, "out_of_order": 2}


@pytest.mark.parametrize(("text", "n"), [("btjd,flux\n", 0), ("btjd,flux\n1500,1\n", 1), ("1500,1\n", 1)])
def test_no_row_and_one_row_are_light_curves(tmp_path: Path, text: str, n: int) -> None:
    curves = read(tmp_path, text, "TIC 555.csv")
    assert (curves.n_time, curves.n_star) == (n, 1)
