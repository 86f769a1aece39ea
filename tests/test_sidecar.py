"""The journal of an unfinished file: what holds is gone on with, nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from starskope.transfer.sidecar import Origin, Sidecar, Step, part_path, sidecar_path, steps_that_hold
from starskope.transfer.sums import StoredSum, crc64

CONTENT = np.random.default_rng(12).bytes(10_000)
ORIGIN = Origin("s3://bucket/key,\n'é", "e-5", len(CONTENT), StoredSum("crc32", "AAAA=="))
STEPS = [Step(stop, crc64(CONTENT[:stop])) for stop in (1, 4_000, 4_001, 9_999)]


@pytest.fixture
def sidecar(tmp_path: Path) -> Sidecar:
    journal = Sidecar(tmp_path / ".starskope-x.jsonl")
    journal.begin(ORIGIN)
    for step in STEPS:
        journal.note(step)
    journal.close()
    return journal


def test_what_was_said_is_read_back(sidecar: Sidecar) -> None:
    assert sidecar.read() == (ORIGIN, STEPS)
    sidecar.begin(Origin("s3://b/k", "e", 0, None))
    sidecar.close()
    assert sidecar.read() == (Origin("s3://b/k", "e", 0, None), [])


def test_a_torn_journal_counts_as_far_as_it_is_whole(sidecar: Sidecar) -> None:
    whole = sidecar.path.read_bytes()
    lines = whole.splitlines(keepends=True)
    starts = np.cumsum([len(line) for line in lines])
    for length in range(len(whole)):
        sidecar.path.write_bytes(whole[:length])
        n_step = int((starts <= length).sum()) - 1
        assert sidecar.read() == (None if n_step < 0 else (ORIGIN, STEPS[:n_step]))


@pytest.mark.parametrize(
    "line",
    [
        b"[9,1]\n",
        b"[10001,1]\n",
        b"[9999,-1]\n",
        b"[9999]\n",
        b"{}\n",
        b"9\n",
        b"\xff\n",
        b"[9999.0,1]\n",
        b"[true,1]\n",
    ],
)
def test_nonsense_ends_the_journal(sidecar: Sidecar, line: bytes) -> None:
    lines = sidecar.path.read_bytes().splitlines(keepends=True)
    sidecar.path.write_bytes(b"".join([*lines[:3], line, *lines[3:]]))
    assert sidecar.read() == (ORIGIN, STEPS[:2])


def test_a_foreign_or_missing_journal_is_none(sidecar: Sidecar, tmp_path: Path) -> None:
    for content in (
        b"",
        b"\n",
        b"[]\n",
        b"null\n",
        b'{"version":2}\n',
        b'{"version":1}\n',
        b"\x00" * 100,
        b"[" * 100_000,
    ):
        sidecar.path.write_bytes(content)
        assert sidecar.read() is None
    sidecar.path.unlink()
    assert sidecar.read() is None
    sidecar.path.symlink_to(tmp_path / "elsewhere")
    assert sidecar.read() is None
    sidecar.path.unlink()
    os.mkfifo(sidecar.path)
    assert sidecar.read() is None
    sidecar.path.unlink()
    sidecar.path.mkdir()
    assert sidecar.read() is None


def test_going_on_drops_what_did_not_hold(sidecar: Sidecar) -> None:
    assert sidecar.read() == (ORIGIN, STEPS)
    sidecar.resume(2)
    sidecar.note(Step(5_000, 7))
    sidecar.close()
    assert sidecar.read() == (ORIGIN, [*STEPS[:2], Step(5_000, 7)])


def test_steps_hold_while_the_bytes_are_those_recorded(tmp_path: Path) -> None:
    path = tmp_path / "part"
    for damaged_at, n_good in ((None, 4), (0, 0), (3_999, 1), (4_000, 2), (9_998, 3), (9_999, 4)):
        content = bytearray(CONTENT)
        if damaged_at is not None:
            content[damaged_at] ^= 1
        path.write_bytes(content)
        with path.open("rb") as file:
            held = list(steps_that_hold(file.fileno(), STEPS))
        assert [step for step, _ in held] == STEPS[:n_good]
        assert b"".join(data for _, data in held) == CONTENT[: STEPS[n_good - 1].stop if n_good else 0]
    os.truncate(path, 4_000)
    with path.open("rb") as file:
        assert len(list(steps_that_hold(file.fileno(), STEPS))) == 2


def test_names_depend_on_the_address_alone(tmp_path: Path) -> None:
    names = {part_path(tmp_path, uri).name for uri in ("s3://b/k", "s3://b/K", "s3://b/é", "s3://b/\ud800")}
    assert len(names) == 4
    assert part_path(tmp_path, "s3://b/k").with_suffix(".jsonl") == sidecar_path(tmp_path, "s3://b/k")
