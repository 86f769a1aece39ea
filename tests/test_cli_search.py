"""``starskope search``: what it takes, what it tells and where, and the exit code when something is wrong."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from starskope.cli import main
from starskope.curves.container import LightCurves
from starskope.layout.observer import earth_path, unit_vectors

PERIOD, T0, DEPTH = 3.1, 1501.3, 0.01
KEYS = {"period_days", "t0_bjd", "duration_days", "depth_ppm", "snr", "sde", "n_transits", "verdict"}


def light(seed: int, depth: float = DEPTH, n_time: int = 1000, period: float = PERIOD):
    rng = np.random.default_rng(seed)
    time = 1500.0 + np.arange(n_time) / 48
    flux = 1 + 1e-3 * rng.normal(size=n_time)
    flux[np.abs((time - T0 + period / 2) % period - period / 2) < 0.06] -= depth
    return time, flux


def write_text(path: Path, seed: int, head: str = "btjd,flux", **options) -> Path:
    rows = [f"{t:.8f},{f:.8f}" for t, f in zip(*light(seed, **options), strict=True)]
    path.write_text("\n".join([head, *rows] if head else rows))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stars with a planet, one without, one file that is no light curve, and one that is of no interest."""
    place = tmp_path_factory.mktemp("curves")
    write_text(place / "TIC 1001.csv", 1)
    write_text(place / "TIC 1002.csv", 2, depth=0.0)
    write_text(place / "TIC 1003.csv", 3)
    (place / "TIC 1004.csv").write_text("btjd,magnitude\n1,2\n")
    (place / "notes.md").write_text("hello")
    return place


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, list[dict], str]:
    code = main(["search", *map(str, words), "--json"])
    said = capsys.readouterr()
    return code, [json.loads(line) for line in said.out.splitlines()], said.err


def assert_planet(record: dict, target: str) -> None:
    assert record["target"] == target
    best = record["candidates"][0]
    assert set(best) >= KEYS
    assert best["period_days"] == pytest.approx(PERIOD, rel=0.002)
    phase = (best["t0_bjd"] - 2457000.0 - T0) / PERIOD
    assert abs(phase - round(phase)) * PERIOD < 0.02
    assert best["depth_ppm"] == pytest.approx(1e6 * DEPTH, rel=0.1)
    assert best["n_transits"] >= 6
    assert best["verdict"] == "planet-like"


# --- what it takes and tells ------------------------------------------------------------------------------------------


def test_a_directory_gives_one_object_per_star_in_order_and_the_exit_code_of_its_worst_file(
    folder: Path, capsys
) -> None:
    code, records, notes = run(capsys, folder)
    assert code == 1
    assert [record["target"] for record in records] == ["TIC 1001", "TIC 1002", "TIC 1003"]
    assert [record["input"] for record in records] == [str(folder / f"TIC 100{i}.csv") for i in (1, 2, 3)]
    assert {record["mission"] for record in records} == {"TESS"}
    assert_planet(records[0], "TIC 1001")
    assert records[1]["candidates"] == []
    assert_planet(records[2], "TIC 1003")
    failed = [line for line in notes.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 1
    assert "TIC 1004.csv has no column of flux" in failed[0]
    assert "3 stars searched, 2 candidates claimed, 1 of 4 files failed" in notes


def test_the_bytes_do_not_depend_on_workers(folder: Path, tmp_path: Path, capsys) -> None:
    said = []
    for workers in (1, 2, 5):
        out = tmp_path / f"{workers}.ecsv"
        assert main(["search", str(folder), "--json", "--workers", str(workers), "--output", str(out)]) == 1
        said.append((capsys.readouterr().out, out.read_bytes()))
    assert said[0] == said[1] == said[2]


def test_a_list_on_standard_input(folder: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{folder / 'TIC 1003.csv'}\n\n{folder / 'TIC 1001.csv'}\n"))
    code, records, _ = run(capsys, "-")
    assert code == 0
    assert [record["target"] for record in records] == ["TIC 1003", "TIC 1001"]


@pytest.mark.parametrize("ending", ["zarr", "fits"])
def test_a_store_of_many_stars_is_searched_star_by_star(tmp_path: Path, capsys, ending: str) -> None:
    pairs = [light(seed, depth=DEPTH if seed in (3, 17) else 0.0, period=PERIOD + 0.01 * seed) for seed in range(24)]
    stars = Table({"tic_id": 5000 + np.arange(24), "name": [f"s{i}" for i in range(24)]})
    curves = LightCurves(pairs[0][0], np.stack([flux for _, flux in pairs], axis=1), stars)
    path = curves.write(tmp_path / f"c.{ending}")
    code, records, _ = run(capsys, path)
    assert code == 0
    assert [record["target"] for record in records] == [f"TIC {5000 + i}" for i in range(24)]
    claimed = {record["target"]: record["candidates"] for record in records if record["candidates"]}
    assert set(claimed) == {"TIC 5003", "TIC 5017"}
    assert claimed["TIC 5017"][0]["period_days"] == pytest.approx(PERIOD + 0.17, rel=0.002)
    # Spacecraft times of unknown path: no barycentric epoch is invented.
    assert claimed["TIC 5017"][0]["t0_bjd"] is None
    assert main(["search", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].split()[:3] == ["target", "period", "d"]


def test_epochs_of_spacecraft_times_are_told_at_the_barycentre(tmp_path: Path, capsys) -> None:
    time, flux = light(6, depth=0.04)
    place = unit_vectors([300.0], [-20.0])
    curves = LightCurves(time, flux[:, None], observer=earth_path(time), direction=place)
    _, (record,), _ = run(capsys, curves.write(tmp_path / "c.zarr"))
    best = record["candidates"][0]
    # The transits are regular at the spacecraft; at the barycentre they come earlier or later by up to 8 minutes.
    cycle = round((best["t0_bjd"] - 2457000.0 - T0) / PERIOD)
    delay = np.interp(T0 + cycle * PERIOD, time, curves.bjd(0) - time)
    assert best["t0_bjd"] - 2457000.0 == pytest.approx(T0 + cycle * PERIOD + delay, abs=0.0025)
    assert abs(delay) > 4e-3


def test_a_person_reads_a_table(folder: Path, capsys) -> None:
    assert main(["search", str(folder / "TIC 1001.csv"), str(folder / "TIC 1002.csv")]) == 0
    heading, planet, nothing = capsys.readouterr().out.splitlines()
    assert heading.split()[-2:] == ["verdict", "file"]
    assert planet.startswith("TIC 1001 ")
    assert "planet-like" in planet
    assert planet.endswith("TIC 1001.csv")
    assert "nothing to claim" in nothing
    assert heading.index("file") == planet.index("TIC 1001.csv") == nothing.index("TIC 1002.csv")


@pytest.mark.parametrize("ending", ["ecsv", "csv", "parquet"])
def test_all_candidates_go_to_a_table(folder: Path, tmp_path: Path, capsys, ending: str) -> None:
    out = tmp_path / f"found.{ending}"
    assert main(["search", str(folder / "TIC 1001.csv"), str(folder / "TIC 1002.csv"), "--output", str(out)]) == 0
    table = Table.read(out)
    assert set(map(str, table["target"])) == {"TIC 1001", "TIC 1002"}
    assert table["rank"][0] == 0
    assert str(table["claim"][0]) == "True"
    assert table["period"][0] == pytest.approx(PERIOD, rel=0.002)
    # Also what is not claimed, with its numbers.
    assert str(table["claim"][len(table) - 1]) == "False"


def test_standard_output_holds_json_lines_only(folder: Path) -> None:
    command = [sys.executable, "-m", "starskope", "search", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 1
    assert [set(json.loads(line)) for line in done.stdout.splitlines()] == 3 * [
        {"input", "target", "mission", "candidates"}
    ]
    assert "Warning" not in done.stderr
    assert "Traceback" not in done.stderr


def test_options_reach_the_search(folder: Path, capsys) -> None:
    star = folder / "TIC 1001.csv"
    _, (record,), notes = run(capsys, star, "--period-max", "2.9")
    assert all(c["period_days"] is None or c["period_days"] <= 2.9 for c in record["candidates"])
    _, (record,), notes = run(capsys, star, "--period-max", "40")
    assert_planet(record, "TIC 1001")
    assert "searched up to 20.8" in notes
    _, (record,), _ = run(capsys, star, "--period-min", "3.5", "--candidates", "1")
    assert len(record["candidates"]) <= 1
    assert all(c["period_days"] is None or c["period_days"] >= 3.5 for c in record["candidates"])


def test_cadences_faster_than_two_minutes_are_averaged_first(tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(1)
    time = 1500.0 + np.arange(40_000) * 20.0 / 86400.0
    flux = 1 + 3e-3 * rng.normal(size=time.size)
    flux[np.abs((time - T0 + 0.5) % 1.0 - 0.5) < 0.06] -= DEPTH
    rows = np.column_stack([time, flux])
    np.savetxt(tmp_path / "TIC 5.csv", rows, delimiter=",", header="btjd,flux")
    code, (record,), notes = run(capsys, tmp_path / "TIC 5.csv")
    assert code == 0
    assert "averaged over 6 cadences of 20 s" in notes
    assert record["candidates"][0]["period_days"] == pytest.approx(1.0, rel=0.002)
    assert record["candidates"][0]["n_transits"] >= 8


def test_a_zero_that_the_file_does_not_tell_can_be_told(tmp_path: Path, capsys) -> None:
    path = write_text(tmp_path / "star.csv", 1, head="")
    code, records, notes = run(capsys, path)
    assert (code, records) == (1, [])
    assert "the zero of its times is not known" in notes
    assert "--time-zero" in notes
    code, (record,), _ = run(capsys, path, "--time-zero", "2457000")
    assert code == 0
    assert_planet(record, "star")


# --- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.csv"], "nowhere.csv does not exist: give files, a directory of them, or - for a list"),
        (["{folder}", "--period-min", "-1"], "period_min=-1.0: expected a number above 0"),
        (["{folder}", "--period-min", "5", "--period-max", "2"], "expected period_min below period_max"),
        (["{folder}", "--candidates", "0"], "n_candidates=0: expected 1 or more"),
        (["{folder}", "--window", "nan"], "window=nan: expected a finite number"),
        (["{folder}", "--workers", "0"], "workers=0: expected 1 or more"),
        (["{folder}", "--time-zero", "inf"], "time_zero=inf: expected a finite number"),
        (["{folder}", "--output", "x.doc"], "--output is x.doc, expected a name that ends in .ecsv, .csv, .parquet"),
        (["{folder}", "--output", "no/where.ecsv"], "whose folder does not exist: make it first"),
        (["{empty}"], "holds no light curves: expected files that end in .fits"),
    ],
)
def test_wrong_use_ends_with_2_before_anything_is_searched(
    folder: Path, tmp_path: Path, capsys, words, message
) -> None:
    words = [word.format(folder=folder, empty=tmp_path) for word in words]
    assert main(["search", *words, "--json"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert len(said.err.splitlines()) == 1


def test_one_missing_file_of_several_costs_its_own_line(folder: Path, capsys) -> None:
    code, records, notes = run(capsys, "nowhere.csv", folder / "TIC 1001.csv")
    assert code == 1
    assert len(records) == 1
    assert "failed: nowhere.csv: no light curves here" in notes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda time, flux: (time[:0], flux[:0]), "holds no measured flux (0 cadences, 1 stars)"),
        (lambda time, flux: (time, np.full_like(flux, np.nan)), "holds no measured flux (1000 cadences, 1 stars)"),
        (lambda time, flux: (time * 86400, flux), "they look like seconds: divide by 86400"),
    ],
)
def test_files_that_hold_nothing_to_search_say_so(tmp_path: Path, capsys, make, message) -> None:
    time, flux = make(*light(1))
    (tmp_path / "s.csv").write_text(
        "\n".join(["btjd,flux", *(f"{t:.8f},{f:.8f}" for t, f in zip(time, flux, strict=True))])
    )
    code, records, notes = run(capsys, tmp_path / "s.csv")
    assert (code, records) == (1, [])
    assert message in notes


@pytest.mark.parametrize("n_time", [1, 2, 5])
@pytest.mark.parametrize("constant", [True, False])
def test_few_or_constant_points_claim_nothing(tmp_path: Path, capsys, n_time: int, constant: bool) -> None:
    time, flux = light(1, depth=0.0)
    rows = [f"{t:.8f},{1.0 if constant else f:.8f}" for t, f in list(zip(time, flux, strict=True))[:n_time]]
    (tmp_path / "s.csv").write_text("\n".join(["btjd,flux", *rows]))
    code, (record,), _ = run(capsys, tmp_path / "s.csv")
    assert (code, record["candidates"]) == (0, [])


def test_a_constant_light_curve_claims_nothing(tmp_path: Path, capsys) -> None:
    rows = [f"{t:.8f},5.0" for t in light(1)[0]]
    (tmp_path / "s.csv").write_text("\n".join(["btjd,flux", *rows]))
    code, (record,), _ = run(capsys, tmp_path / "s.csv")
    assert (code, record["candidates"]) == (0, [])


def test_help_names_the_command_and_its_options(capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["search", "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    for word in ("usage: starskope search [options] FILE ...", "--period-min", "--window", "--candidates", "--output"):
        assert word in said
