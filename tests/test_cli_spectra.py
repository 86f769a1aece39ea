"""``starskope spectra``: one line per star, JSON on demand, and a store of all spectra."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

import starskope as sk
from starskope.cli import main

CADENCE = 1800.0 / 86400.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    time = 1325 + CADENCE * np.arange(500)
    flux = 1000 + 30 * np.sin(2 * np.pi * time[:, np.newaxis] / [1.7, 0.9]) + rng.normal(0, 3, (500, 2))
    flux = np.hstack([flux, np.full((500, 1), np.nan)])
    stars = Table({"tic_id": [11, 12, 13]})
    return sk.LightCurves(time, flux, stars).write(tmp_path / "curves.zarr")


def test_each_star_has_its_period(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spectra", str(file), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["target"] for line in lines] == ["TIC 11", "TIC 12", "TIC 13"]
    np.testing.assert_allclose([line["period_days"] for line in lines[:2]], [1.7, 0.9], rtol=0.02)
    assert all(line["false_alarm_probability"] < 1e-50 and line["method"] == "regular" for line in lines[:2])
    assert lines[2]["power"] is None
    assert set(lines[0]) == {
        *("input", "target", "mission", "period_days", "frequency_per_day", "power", "false_alarm_probability"),
        *("method", "n_frequency"),
    }


def test_lines_for_people_begin_with_the_strongest(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spectra", str(file), "--workers", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "white noise" in lines[0]
    assert lines[2].endswith("TIC 13: no power: too few points, or no variation")


def test_all_spectra_go_into_one_store(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "spectra.zarr"
    told = ["--output", str(out), "--window", "none", "--segment", "100", "--overlap", "20", "--oversample", "2"]
    assert main(["spectra", str(file), *told]) == 0
    flat = sk.LightCurves.read(file).mask().normalize()
    expected = sk.power_spectrum(flat, window=None)
    assert sk.Spectra.read(out, "power").power.tobytes() == expected.power.tobytes()
    assert sk.Spectra.read(out, "lomb_scargle").settings["oversample"] == 2
    assert sk.Spectrogram.read(out).power.shape == (6, 51, 3)


def test_flatten_takes_slow_changes_away(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spectra", str(file), "--json", "--flatten", "0.3"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["power"] < 0.5


def test_a_bad_file_of_many_is_told_and_the_others_done(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.fits"
    bad.write_bytes(b"not a FITS file")
    assert main(["spectra", str(bad), str(file), "--json"]) == 1
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 3
    assert "bad.fits" in told.err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--output", "spectra.fits"], "ends in .zarr"),
        (["--output", "spectra.zarr", "--window", "bell"], "window='bell'"),
        (["--output", "spectra.zarr", "--segment", "9999"], "the series has 500 cadences"),
        (["--oversample", "0"], "starskope: oversample=0: expected 1 or more"),
        (["--frequency-max", "-1"], "starskope: frequency_max=-1.0"),
        (["--flatten", "nan"], "starskope: flatten=nan"),
        (["--time-zero", "inf"], "starskope: time_zero=inf"),
        (["--workers", "0"], "starskope: workers=0"),
    ],
)
def test_wrong_use_is_told(
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["spectra", str(file), *more]) == 2
    assert told in capsys.readouterr().err


def test_text_is_read_with_the_zero_that_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "curve.csv"
    lines = [f"{1325 + CADENCE * i},{1 + 0.1 * np.sin(i / 5)}" for i in range(200)]
    file.write_text("\n".join(["time,flux", *lines]))
    assert main(["spectra", str(file)]) == 1
    assert "--time-zero" in capsys.readouterr().err
    assert main(["spectra", str(file), "--time-zero", "2457000"]) == 0


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spectra", str(tmp_path / "absent.fits")]) == 1
    assert capsys.readouterr().err == f"starskope: {tmp_path / 'absent.fits'}: no light curves here\n"


def test_real_files_have_their_periods(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Barycentric times of 2 min are no grid at Nyquist: nifty-ls does the work."""
    path = next((data_dir / "lightcurves").glob("tess2019198215352-s0014-0000000424865156*"))
    assert main(["spectra", str(path), "--json"]) == 0
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert line["method"] == "nifty-ls"
    assert line["target"] == "TIC 424865156"
    assert line["period_days"] == pytest.approx(2.204735 / 2, rel=0.01)
