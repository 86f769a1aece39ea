"""``--output s3://...``: products of a command go to a bucket, and its exit code tells whether they are whole there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import small_sector
import upload_scene
from small_sector import CONFIG, frame_files, starskope
from upload_scene import BUCKET, CREDENTIALS, SECRET, local, stored

from starskope.cli import main
from starskope.synth.endpoint import Endpoint

sector_dir = small_sector.sector_dir  # the fixture


_credentials = upload_scene.credentials  # the fixtures
server = upload_scene.server


def _to(server: Endpoint, prefix: str) -> list[str]:
    return ["--output", f"s3://{BUCKET}/{prefix}", "--output-endpoint-url", server.url]


def test_a_stack_and_curves_are_sent(
    server: Endpoint, sector_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(path) for path in frame_files(sector_dir)[24:32]]
    made = tmp_path / "made"
    made.mkdir()
    assert main(["stack", *files, str(made / "stack.fits"), *_to(server, "cli/")]) == 0
    assert f"1 of 1 file in s3://{BUCKET}/cli/, each checked" in capsys.readouterr().out
    stars = ["--stars", str(sector_dir / "catalog.ecsv"), "--tmag-max", "14"]
    command = ["curves", *files, str(made / "c.zarr"), *stars, *_to(server, "cli"), "--json"]
    assert main(command) == 0
    measured, sent = map(json.loads, capsys.readouterr().out.splitlines())
    assert measured["n_star"] == CONFIG.n_star
    assert (sent["output"], sent["n_failed"], sent["n_present"]) == (f"s3://{BUCKET}/cli", 0, 0)
    assert stored(server, "cli/") == local(made, "cli")
    assert sent["n_file"] == len(local(made, "cli")) - 1


def test_a_run_is_sent_and_a_second_run_sends_nothing(server: Endpoint, sector_dir: Path, tmp_path: Path) -> None:
    catalog = sector_dir / "catalog.ecsv"
    run = ("run", sector_dir / "tess", tmp_path / "out", "--stars", catalog, "--tmag-max", 14, *_to(server, "job"))
    first = starskope(*run)
    assert first.returncode == 0, first.stderr
    assert stored(server, "job/") == local(tmp_path / "out", "job")
    n_file = len(local(tmp_path / "out", "job"))
    assert f"{n_file - 1} of {n_file - 1} files in s3://{BUCKET}/job, each checked" in first.stdout
    second = starskope(*run, "--json")
    assert second.returncode == 0, second.stderr
    _, products, last = map(json.loads, second.stdout.splitlines())
    assert (products["n_present"], last["n_present"]) == (n_file - 1, 1)
    for text in (first.stdout, first.stderr, second.stdout, second.stderr):
        assert SECRET not in text
        assert CREDENTIALS["AWS_ACCESS_KEY_ID"] not in text
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()


def test_a_bucket_that_is_missing_is_told_before_the_work(
    server: Endpoint, sector_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(path) for path in frame_files(sector_dir)[24:26]]
    where = ["--output", "s3://nobody-made-this/x", "--output-endpoint-url", server.url]
    for command, out in (("stack", "stack.fits"), ("curves", "c.zarr"), ("run", "out")):
        assert main([command, *files, str(tmp_path / out), *where]) == 1
        said = capsys.readouterr()
        assert "no bucket 'nobody-made-this'" in said.err
        assert not said.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--output", "out/products"], "expected an address like s3://bucket/prefix"),
        (["--output", "s3://b/../c"], "bucket is 'b'"),
        (["--output", "s3://bucket/../c"], "may hold no empty part, '.' or '..'"),
        (["--output-profile", "mine"], "--output-profile needs --output"),
        (["--output", "s3://bucket/x", "--output-endpoint-url", "ftp://x"], "must start with http:// or https://"),
    ],
)
def test_wrong_use_ends_with_2(
    words: list[str], told: str, sector_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(path) for path in frame_files(sector_dir)[24:26]]
    assert main(["stack", *files, str(tmp_path / "stack.fits"), *words]) == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_dry_run_asks_no_bucket(sector_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(path) for path in frame_files(sector_dir)[24:26]]
    words = ["--output", "s3://bucket/x", "--output-endpoint-url", "http://127.0.0.1:9", "--dry-run"]
    assert main(["stack", *files, str(tmp_path / "stack.fits"), *words]) == 0
    assert "the products would be sent to s3://bucket/x/" in capsys.readouterr().err


def test_a_server_that_dies_after_the_work_leaves_the_product_and_code_1(
    sector_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from starskope.frames.stacked import Stack

    with Endpoint() as mortal:
        mortal.put("made", b"", bucket=BUCKET)
        write = Stack.write

        def write_and_die(self: Stack, path: Path) -> None:
            write(self, path)
            mortal.stop()

        monkeypatch.setattr(Stack, "write", write_and_die)
        files = [str(path) for path in frame_files(sector_dir)[24:32]]
        where = ["--output", f"s3://{BUCKET}/x", "--output-endpoint-url", mortal.url]
        assert main(["stack", *files, str(tmp_path / "stack.fits"), *where]) == 1
    said = capsys.readouterr()
    assert "8 frames stacked in" in said.out
    assert "not sent: cannot write to" in said.err
    assert "the same command sends it" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["stack.fits"]
