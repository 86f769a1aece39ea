"""The command line: what each command prints, where, and with which exit code."""

from __future__ import annotations

import io
import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_sector
from astropy.table import Table
from small_sector import CONFIG, environment, frame_files, starskope

from starskope.cli import main
from starskope.curves.container import LightCurves
from starskope.frames.stacked import Stack
from starskope.progress import Progress, format_bytes, format_duration
from starskope.synth.endpoint import Endpoint

sector_dir = small_sector.sector_dir  # the fixture


@pytest.fixture(scope="module")
def served(endpoint: Endpoint, sector_dir: Path) -> list[str]:
    """Arguments that name the sector in the endpoint."""
    endpoint.put_directory(sector_dir, bucket="cli", prefix="tess/")
    where = ["--endpoint-url", endpoint.url, "--bucket", "cli"]
    return ["--sector", "1", "--camera", "1", "--ccd", "4", *where]


def test_find_prints_one_line_per_frame(served: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["find", *served]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert len(lines) == CONFIG.n_frame
    assert all(line.startswith("s3://cli/tess/public/ffi/s0001/2018/") for line in lines)
    assert re.fullmatch(r"60 frames, [\d.]+ MB", said.err.strip())


def test_find_speaks_json_and_writes_tables(
    served: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["find", *served, "--json", "--output", str(tmp_path / "ffis.csv")]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(records) == CONFIG.n_frame
    assert {"uri", "size", "etag", "sector", "start_btjd"} <= set(records[0])
    table = Table.read(tmp_path / "ffis.csv", format="ascii.csv")
    assert [record["uri"] for record in records] == table["uri"].tolist()
    before = (tmp_path / "ffis.csv").read_bytes()
    (tmp_path / ".ffis.csv.part").mkdir()  # the name under which the new table would grow
    assert main(["find", *served, "--output", str(tmp_path / "ffis.csv")]) == 1
    assert (tmp_path / "ffis.csv").read_bytes() == before
    assert main(["find", *served, "--output", str(tmp_path / "ffis.doc")]) == 2
    assert "--output is" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["find", "download", "stack", "curves", "run"])
def test_a_dry_run_tells_the_cost_and_moves_nothing(
    command: str, served: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = [] if command == "find" else [str(tmp_path / "out")]
    assert main([command, *served, "--dry-run", *out]) == 0
    told = capsys.readouterr().out
    if command == "find":
        assert "s3://cli/tess/public/ffi/s0001/ at http://127.0.0.1:" in told
    else:
        assert re.match(
            r"s0001-1-4: 60 objects, [\d.]+ MB in \d+ requests, about .* at 100 Mbit/s, .* at 1 Gbit/s; ", told
        )
        assert re.search(r"memory [\d.]+ [MG]B, disk [\d.]+ [kMG]B$", told.strip())
    assert list(tmp_path.iterdir()) == []
    assert main([command, *served, "--dry-run", "--json", *out]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["n_object"] == (-1 if command == "find" else 60)


def test_the_dry_run_of_a_download_counts_every_byte(
    served: list[str], sector_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["download", *served, "--dry-run", "--json", str(tmp_path / "out")]) == 0
    assert json.loads(capsys.readouterr().out)["n_byte"] == sum(path.stat().st_size for path in frame_files(sector_dir))


def test_download_from_a_list_on_standard_input(
    served: list[str],
    sector_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wanted = frame_files(sector_dir)[:3]
    uris = [f"s3://cli/{path.relative_to(sector_dir).as_posix()}" for path in wanted]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(uris) + "\n\n"))
    assert main(["download", "-", str(tmp_path / "data"), *served[-4:]]) == 0
    assert "3 of 3 files in" in capsys.readouterr().out
    for path in wanted:
        assert (tmp_path / "data" / path.name).read_bytes() == path.read_bytes()


def test_a_download_that_misses_one_object_says_which_and_exits_1(
    served: list[str], sector_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = f"s3://cli/{frame_files(sector_dir)[0].relative_to(sector_dir).as_posix()}"
    assert main(["download", there, "s3://cli/no/such.fits", str(tmp_path), *served[-4:]]) == 1
    said = capsys.readouterr()
    assert "failed: s3://cli/no/such.fits:" in said.err
    assert "1 of 2 files in" in said.out


def test_download_refuses_what_is_no_uri(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "a.fits", str(tmp_path)]) == 2
    assert "a.fits is no s3:// URI: download copies objects of a bucket, DEST comes last" in capsys.readouterr().err


def test_stack_and_curves_of_files(sector_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(path) for path in frame_files(sector_dir)[24:32]]
    assert main(["stack", *files, str(tmp_path / "stack.fits")]) == 0
    assert Stack.read(tmp_path / "stack.fits").n_frame == 8
    assert "8 frames stacked in" in capsys.readouterr().out
    catalog = str(sector_dir / "catalog.ecsv")
    assert main(["curves", *files, str(tmp_path / "c.zarr"), "--stars", catalog, "--tmag-max", "14", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    curves = LightCurves.read(tmp_path / "c.zarr")
    assert (record["n_time"], record["n_star"]) == (curves.n_time, curves.n_star) == (8, CONFIG.n_star)
    n_off = int(np.isnan(curves.flux).all(axis=0).sum())
    assert record["n_star_off"] == n_off < CONFIG.n_star / 2
    seen = curves.stars[int(np.isfinite(curves.flux).all(axis=0).argmax())]
    away = Table({"tic_id": [1, 2], "ra": [float(seen["ra"]), 10.0], "dec": [float(seen["dec"]), 80.0]})
    away["tmag"] = 10.0
    away.write(tmp_path / "away.csv")
    assert main(["curves", *files, str(tmp_path / "away.zarr"), "--stars", str(tmp_path / "away.csv")]) == 0
    assert "2 light curves of 8 cadences" in (said := capsys.readouterr().out)
    assert "1 star never fully on the frames" in said


@pytest.mark.parametrize("command", ["stack", "curves"])
def test_stack_and_curves_leave_a_bad_frame_out_and_say_so(
    command: str, sector_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = frame_files(sector_dir)[24:32]
    bad = tmp_path / files[3].name
    bad.write_bytes(files[3].read_bytes()[:30_000])
    paths = [str(bad if path.name == bad.name else path) for path in files]
    stars = ["--stars", str(sector_dir / "catalog.ecsv"), "--tmag-max", "14"] if command == "curves" else []
    assert main([command, *paths, str(tmp_path / "out.fits"), *stars]) == 1
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("left out: ")
    assert bad.name in line
    assert "truncated" in line
    assert "7 frames stacked" in said.out or "light curves of 7 cadences" in said.out


@pytest.mark.parametrize(("command", "suffix"), [("stack", r"\.fits"), ("curves", r"\.zarr or \.fits")])
def test_the_output_comes_last_and_says_its_format(
    command: str, suffix: str, sector_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(sector_dir / "tess"), str(sector_dir / "x")]) == 2
    assert re.search(rf"OUT is .*x, expected a name that ends in {suffix}: it comes last", capsys.readouterr().err)


def test_run_report_and_a_second_run(sector_dir: Path, tmp_path: Path) -> None:
    """In processes of their own, with warnings as errors, as a person would type it."""
    catalog = sector_dir / "catalog.ecsv"
    arguments = ("run", sector_dir / "tess", tmp_path / "out", "--stars", catalog, "--tmag-max", 14)
    first = starskope(*arguments, "--json")
    assert first.returncode == 0, first.stderr
    record = json.loads(first.stdout)
    assert record["ccd"] == "s0001-1-4"
    assert (record["n_frame"], record["n_star"], record["left_out"]) == (60, 60, [])
    assert first.stderr.startswith("frames 0/60\n")
    assert "\r" not in first.stderr
    before_s = _children_s()
    second = starskope(*arguments)
    assert _children_s() - before_s < 2.0  # seconds of CPU: the clock on the wall belongs to other tests too
    assert second.returncode == 0
    assert second.stdout.startswith(f"{tmp_path / 'out'} is finished: nothing to do (--restart would begin again)\n")
    page = (tmp_path / "out" / "report.html").read_text()
    (tmp_path / "out" / "report.html").unlink()
    third = starskope("report", tmp_path / "out")
    assert third.stdout.strip() == str(tmp_path / "out" / "report.html")
    # The page of the run was drawn before its own time was known: only the timings may differ.
    again = (tmp_path / "out" / "report.html").read_text()
    assert _without_timings(again) == _without_timings(page)


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _without_timings(page: str) -> str:
    return re.sub(r"<h2>Where the time went.*?</section>|<b>[\d.]+ s</b>", "", page, flags=re.DOTALL)


def test_info_tells_what_it_is_made_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    from starskope import _core

    assert facts["instruction set"].split()[0] == _core.isa()
    assert facts["instruction sets available"] == ", ".join(_core.available_isas())
    assert re.match(r"\d+ of \d+ CPUs", facts["threads"])
    assert {"starskope", "core compiler", "BLAS", "python", "numpy", "demo (S3 server in here)"} <= set(facts)
    assert main(["info"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(facts)


def test_info_says_how_to_get_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from starskope import installation

    monkeypatch.setattr(installation, "find_spec", lambda name: None if name == "moto" else object())
    facts = installation.describe_installation()
    assert facts["demo (S3 server in here)"] == "missing (moto): pip install 'starskope[demo]'"
    assert facts["demo (limb-darkened transits)"] == "present"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["run"], "the following arguments are required: [FRAMES ...] OUT"),
        (["run", "--camera", "left", "out"], "'left' is neither a number from 1 to 4 nor \"all\""),
    ],
)
def test_wrong_words_exit_2(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["run", "out"],
            "no sector, camera, ccd given: name sector, camera and CCD, or give files, a directory or URIs",
        ),
        (["find"], "no --sector given: name sector, camera and CCD"),
        (["run", "--sector", "1", "--camera", "7", "--ccd", "1", "out"], 'camera is 7, expected 1 to 4 or "all"'),
        (["find", "--sector", "1", "--endpoint-url", "ftp://x"], "must start with http:// or https://"),
        (["find", "--sector", "1", "--bucket", "my bucket"], "bucket is 'my bucket': expected 3 to 63 letters"),
        (["curves", ".", "--stars", "no.csv", "c.zarr"], "no FITS files in ."),
        (["stack", "--sector", "1", "--camera", "1", "--ccd", "all", "a.fits"], '"all" is for find, download and run'),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("starskope: ")
    assert told in line
    assert list(tmp_path.iterdir()) == []


def test_options_may_stand_between_the_frames_and_the_output(
    sector_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the tutorial types it: `starskope curves FRAMES --stars FILE OUT`."""
    first, second = map(str, frame_files(sector_dir)[24:26])
    catalog = str(sector_dir / "catalog.ecsv")
    assert main(["curves", first, "--stars", catalog, second, "--tmag-max", "14", str(tmp_path / "c.zarr")]) == 0
    assert "of 2 cadences in" in capsys.readouterr().out
    for words in (["stack", first, "--wrong", "x.fits"], ["info", "more"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2
        said = capsys.readouterr().err
        assert said.startswith(f"usage: starskope {words[0]} [options]")
        assert "unrecognized arguments" in said


def test_a_stack_without_a_name_spares_the_last_frame(
    sector_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`starskope stack *.fits`, the output forgotten; over a stack of its own it may write."""
    files = []
    for path in frame_files(sector_dir)[24:27]:
        files.append(tmp_path / path.name)
        files[-1].write_bytes(path.read_bytes())
    before = files[-1].read_bytes()
    assert main(["stack", *map(str, files)]) == 2
    assert "exists and is no stack: it is left alone; OUT comes last" in capsys.readouterr().err
    assert files[-1].read_bytes() == before
    for _ in range(2):
        assert main(["stack", *map(str, files), str(tmp_path / "stack.fits")]) == 0


@pytest.mark.parametrize("command", ["download", "stack", "run"])
def test_an_empty_list_on_standard_input_never_means_the_whole_ccd(
    command: str, served: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert main([command, *served, "-", str(tmp_path / "out.fits")]) == 2
    assert "- stands for a list on standard input, which is empty" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_debug_variable_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARSKOPE_DEBUG", "1")
    with pytest.raises(ValueError, match="no --sector given"):
        main(["find"])


def test_a_reader_that_leaves_early_causes_no_traceback(served: list[str]) -> None:
    command = [sys.executable, "-m", "starskope", "find", *served, "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert "Traceback" not in said
    assert "Exception" not in said


def test_help_of_every_command_names_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("find", "download", "stack", "curves", "run", "demo", "report", "info"):
        with pytest.raises(SystemExit) as caught:
            main([command, "--help"])
        assert caught.value.code == 0
        assert f"usage: starskope {command} [options]" in capsys.readouterr().out


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere() -> None:
    terminal, pipe = _Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        with Progress(stream) as progress:
            progress.start("frames", 3, done=1)
            progress.advance(n_bytes=1_000_000)
            progress.note("left out: \x1b]0;a\x07.fits")
            progress.advance()
    assert "\r\x1b[K[########" in terminal.getvalue()
    assert "\r\x1b[Kleft out: \\x1b]0;a\\x07.fits\n" in terminal.getvalue()
    lines = pipe.getvalue().splitlines()
    assert lines[0] == "frames 1/3"
    assert lines[1] == "left out: \\x1b]0;a\\x07.fits"
    assert re.match(r"frames 3/3, 1 MB at .*/s, 0\.0 s$", lines[2])


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.7, "1 min 0 s"), (125.2, "2 min 5 s"), (7260, "2 h 1 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(("n_bytes", "text"), [(0, "0 B"), (999, "999 B"), (17_786_880, "17.8 MB"), (5e13, "50 TB")])
def test_sizes(n_bytes: float, text: str) -> None:
    assert format_bytes(n_bytes) == text
