"""`starskope download`: any key, verify, repair, processes, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from starskope.cli import main
from starskope.synth.endpoint import Endpoint

BUCKET = "stpubdata"
CONTENTS = {
    name: np.random.default_rng(len(name)).bytes(50_000) for name in ("a.txt", "frame_ffic.fits", "cube.fits.gz")
}
URIS = [f"s3://{BUCKET}/any/key/{name}" for name in CONTENTS]


@pytest.fixture
def where(endpoint: Endpoint) -> list[str]:
    for name, content in CONTENTS.items():
        endpoint.put(f"any/key/{name}", content)
    return ["--endpoint-url", endpoint.url]


def _rows(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_any_key_is_copied_verified_and_repaired(
    where: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "files")
    assert main(["download", *URIS, folder, *where, "--processes", "2"]) == 0
    assert capsys.readouterr().out == f"3 of 3 files in {folder}; checked: 3 by crc32; see manifest.parquet\n"
    for name, content in CONTENTS.items():
        assert (tmp_path / "files" / name).read_bytes() == content
    assert main(["download", folder, "--verify", "--json"]) == 0
    rows = _rows(capsys)
    assert [row["status"] for row in rows] == ["verified"] * 3
    assert all(len(row["crc64nvme"]) == 12 for row in rows)

    (tmp_path / "files" / "a.txt").write_bytes(CONTENTS["a.txt"][::-1])
    assert main(["download", folder, "--verify", "--json"]) == 1
    captured = capsys.readouterr()
    assert [json.loads(line)["status"] for line in captured.out.splitlines()] == ["failed", "verified", "verified"]
    assert "failed: s3://stpubdata/any/key/a.txt: is damaged on the disk: its crc64nvme is" in captured.err
    assert main(["download", folder, "--repair", "--json", *where]) == 0
    assert [row["status"] for row in _rows(capsys)] == ["downloaded", "verified", "verified"]
    assert (tmp_path / "files" / "a.txt").read_bytes() == CONTENTS["a.txt"]


def test_wrong_use_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, complaint in (
        (["--verify"], "manifest.parquet lists nothing: name what to download, or the right directory"),
        (["--repair", "--overwrite"], "choose one"),
        ([URIS[0], "--processes", "0"], "processes=0: expected 1 or more"),
        ([], "no --sector given"),
    ):
        operands = [word for word in words if not word.startswith("-") and word != "0"]
        rest = [word for word in words if word not in operands]
        assert main(["download", *operands, str(tmp_path), *rest]) == 2
        assert complaint in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
