"""The journal: blocks that survive, blocks that do not count, and who may write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from starskope.journal import Journal, WorkInProgressError, publish, write_atomic

ARRAYS = {"flux": np.arange(6, dtype=np.float32).reshape(2, 3), "reason": np.array(["", "too bright"])}


def test_a_block_comes_back_as_it_was_written(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.write(3, ARRAYS, complete=True)
        journal.set_note("identity", {"tmag_max": 13.0})
    with Journal(tmp_path) as journal:
        assert journal.finished() == {3: True}
        assert journal.note("identity") == {"tmag_max": 13.0}
        assert journal.note("other") is None
        with journal.block(3) as block:
            for name, array in ARRAYS.items():
                assert block[name].dtype == array.dtype
                np.testing.assert_array_equal(block[name], array)


@pytest.mark.parametrize("columns", [slice(0, 3), slice(1, 2), slice(2, 9), slice(0, 0)])
def test_some_columns_of_a_block_can_be_read_alone(tmp_path: Path, columns: slice) -> None:
    with Journal(tmp_path) as journal:
        journal.write(3, {"before": np.arange(5), **ARRAYS}, complete=True)
        read = journal.columns(3, "flux", columns)
    np.testing.assert_array_equal(read, ARRAYS["flux"][:, columns])
    assert read.dtype == np.float32
    assert read.flags.writeable


@pytest.mark.parametrize("rows", [slice(0, 2), slice(1, 2), slice(1, 9), slice(0, 0)])
def test_some_rows_of_a_block_can_be_read_alone(tmp_path: Path, rows: slice) -> None:
    with Journal(tmp_path) as journal:
        journal.write(3, {"before": np.arange(5), **ARRAYS}, complete=True)
        assert journal.shape(3, "flux") == (2, 3)
        read = journal.rows(3, "flux", rows)
        np.testing.assert_array_equal(read, ARRAYS["flux"][rows])
        assert read.dtype == np.float32
        # A block that is made again has its arrays in other places.
        journal.write(3, {"before": np.arange(500), "flux": 2 * ARRAYS["flux"]}, complete=True)
        np.testing.assert_array_equal(journal.rows(3, "flux", rows), 2 * ARRAYS["flux"][rows])


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with Journal(tmp_path / name) as journal:
            journal.write(0, ARRAYS, complete=True)
    first, second = (tmp_path / name / ".work" / "block-00000.npz" for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        _flip_a_bit,
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        lambda path: path.rename(path.with_suffix(".part")),
    ],
    ids=["altered", "cut short", "emptied", "missing", "never renamed"],
)
def test_a_damaged_block_does_not_count(tmp_path: Path, damage) -> None:
    with Journal(tmp_path) as journal:
        journal.write(0, ARRAYS, complete=True)
        journal.write(1, ARRAYS, complete=True)
    damage(tmp_path / ".work" / "block-00001.npz")
    with Journal(tmp_path) as journal:
        assert journal.finished() == {0: True}
        journal.write(1, ARRAYS, complete=False)
        assert journal.finished() == {0: True, 1: False}


def test_a_file_without_a_commit_does_not_count(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.write(0, ARRAYS, complete=True)
    work = tmp_path / ".work"
    (work / "block-00001.npz").write_bytes((work / "block-00000.npz").read_bytes())
    with Journal(tmp_path) as journal:
        assert journal.finished() == {0: True}


@pytest.mark.parametrize("content", [b"no database" * 500, b""], ids=["garbage", "empty"])
def test_a_damaged_journal_begins_again(tmp_path: Path, content: bytes) -> None:
    with Journal(tmp_path) as journal:
        journal.write(0, ARRAYS, complete=True)
    (tmp_path / ".work" / "journal.sqlite").write_bytes(content)
    with Journal(tmp_path) as journal:
        assert journal.finished() == {}
        journal.write(0, ARRAYS, complete=True)
        assert journal.finished() == {0: True}


def test_another_process_is_kept_out_and_let_in_after_a_kill(tmp_path: Path) -> None:
    hold = (
        "import pathlib; from starskope.journal import Journal;"
        f"journal = Journal(pathlib.Path({str(tmp_path)!r})); print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment()
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(WorkInProgressError, match=r"another run is working in .*: wait for it, or choose another"):
            Journal(tmp_path)
        holder.kill()
    with Journal(tmp_path) as journal:
        journal.write(0, ARRAYS, complete=True)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def test_objects_are_refused(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal, pytest.raises(TypeError, match=r"block 0: array 'x' holds Python objects"):
        journal.write(0, {"x": np.array([{}], dtype=object)}, complete=True)


def test_forget_drops_blocks_and_notes(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.write(0, ARRAYS, complete=True)
        journal.set_note("identity", 1)
        (journal.folder / "light_curves.zarr").mkdir()
        journal.forget()
        assert journal.finished() == {}
        assert journal.note("identity") is None
        assert not (journal.folder / "light_curves.zarr").exists()
        assert not list(journal.folder.glob("block-*"))
        journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_blocks_of_frames_and_of_stars_are_counted_apart(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.write(0, ARRAYS, complete=True)
        journal.write(0, {"power": ARRAYS["flux"]}, complete=False, kind="stars")
        journal.write(1, ARRAYS, complete=True, kind="stars")
    _flip_a_bit(tmp_path / ".work" / "stars-00001.npz")
    with Journal(tmp_path) as journal:
        assert journal.finished() == {0: True}
        assert journal.finished("stars") == {0: False}
        with journal.block(0, "stars") as block:
            assert list(block) == ["power"]
        journal.forget("stars")
        assert journal.finished("stars") == {}
        assert journal.finished() == {0: True}
        assert sorted(path.name for path in journal.folder.glob("*.npz")) == ["block-00000.npz"]


def test_the_digest_tells_whether_a_block_was_made_again(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        empty = journal.digest()
        journal.write(0, ARRAYS, complete=True)
        one = journal.digest()
        journal.write(0, ARRAYS, complete=True)
        assert journal.digest() == one != empty
        journal.write(0, {"flux": ARRAYS["flux"] + 1}, complete=True)
        assert journal.digest() != one
    with Journal(tmp_path) as journal:
        assert journal.digest("stars") == empty


def test_write_atomic_leaves_the_old_content_when_the_new_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_atomic(path, b"old")
    # The shell's limit on file sizes makes the kernel refuse the write, as a full disk would.
    script = (
        "import pathlib, resource; from starskope.journal import write_atomic;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        f"write_atomic(pathlib.Path({str(path)!r}), b'x' * 5000)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=_environment())
    assert "File too large" in done.stderr
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_publish_replaces_a_folder(tmp_path: Path) -> None:
    for name, content in (("new", b"2"), ("old", b"1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "c").write_bytes(content)
    publish(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "c").read_bytes() == b"2"
    assert not (tmp_path / "new").exists()
