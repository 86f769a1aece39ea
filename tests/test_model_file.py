"""Model files: back as they were, and every damage or malice refused before memory is taken for it."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from starskope.errors import FrameError
from starskope.learn import model_file
from starskope.learn.model_file import VERSION, read_model, write_model

KIND = "a kind"


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "weights": rng.normal(size=(30, 20)).astype(np.float32),
        "bias": rng.normal(size=20),
        "tree": np.arange(24, dtype=np.int32).reshape(2, 3, 4),
        "none": np.zeros((0, 3), np.float32),
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_model(tmp_path / "model.npz", KIND, arrays(), {"names": ["a", "b"], "n": 3, "x": 0.25})
    return tmp_path / "model.npz"


def npy(array: np.ndarray, **settings: object) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **settings)
    return buffer.getvalue()


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin1")


def about(**changes: object) -> bytes:
    return json.dumps({"kind": KIND, "version": VERSION, "about": {}} | changes).encode()


def archive(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def refused(path: Path, match: str) -> None:
    """The error names the file, and nothing large was allocated on the way to it."""
    tracemalloc.start()
    try:
        with pytest.raises(FrameError, match=match) as caught:
            read_model(path, KIND)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert peak < 30e6, f"{peak / 1e6:.0f} MB were allocated"


def test_a_model_comes_back(path: Path) -> None:
    got, notes = read_model(path, KIND)
    assert notes == {"names": ["a", "b"], "n": 3, "x": 0.25}
    for name, want in arrays().items():
        assert got[name].dtype == want.dtype
        np.testing.assert_array_equal(got[name], want)


def test_numpy_reads_it_without_pickle(path: Path) -> None:
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["weights"], arrays()["weights"])


def test_the_same_content_gives_the_same_bytes_and_replaces_what_was_there(path: Path) -> None:
    first = path.read_bytes()
    write_model(path, KIND, arrays(), {"x": 0.25, "names": ["a", "b"], "n": 3})
    assert path.read_bytes() == first
    assert [entry.name for entry in path.parent.iterdir()] == ["model.npz"]


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("../evil", np.zeros(3)),
        ("Upper", np.zeros(3)),
        ("objects", np.array([{}], object)),
        ("text", np.array(["a"])),
        ("deep", np.zeros((1, 1, 1, 1))),
        ("half", np.zeros(3, np.float16)),
    ],
)
def test_what_could_not_be_read_is_not_written(tmp_path: Path, name: str, array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="has no place in a model file"):
        write_model(tmp_path / "model.npz", KIND, {name: array}, {})
    with pytest.raises(ValueError, match="JSON"):
        write_model(tmp_path / "model.npz", KIND, {}, {"x": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_model(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_file, "flush", full)
    with pytest.raises(OSError, match="No space"):
        write_model(path, KIND, {}, {})
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["model.npz"]


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_model(tmp_path / "none.npz", KIND)


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x04\x95pickle", b"\x93NUMPY" + 200 * b"x", 1000 * b"\0"])
def test_what_is_no_zip_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.npz"
    path.write_bytes(content)
    refused(path, "not a whole model file")


def test_a_file_cut_anywhere_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for n in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:n])
        refused(path, "model")


def test_a_flipped_byte_is_refused_or_harmless(path: Path) -> None:
    """Checksums of the zip format cover every member; what they do not cover must not change an array."""
    whole = bytearray(path.read_bytes())
    n_refused = 0
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0x20
        path.write_bytes(damaged)
        try:
            got, _ = read_model(path, KIND)
        except FrameError:
            n_refused += 1
        else:
            for name in got:
                np.testing.assert_array_equal(got[name], arrays()[name])
    assert n_refused > 0.8 * len(whole) / 7


MEMBERS = {
    "pickled objects": ({"a.npy": npy(np.array([{}], object), allow_pickle=True)}, r"array 'a.npy' is of dtype \|O"),
    "text": ({"a.npy": npy(np.array(["a"]))}, "is of dtype <U1"),
    "structured": ({"a.npy": npy(np.zeros(3, [("x", "f4")]))}, "no readable header"),
    "big endian": ({"a.npy": npy(np.zeros(3, ">f4"))}, "is of dtype >f4"),
    "format 2.0": ({"a.npy": npy(np.zeros(3), version=(2, 0))}, "another format than 1.0"),
    "Fortran order": ({"a.npy": npy(np.asfortranarray(np.zeros((3, 4))))}, "is of dtype"),
    "many axes": ({"a.npy": npy(np.zeros((1, 1, 1, 1)))}, "has shape"),
    "a path": ({"../../evil.npy": npy(np.zeros(3))}, "has no place in a model file"),
    "an absolute path": ({"/tmp/evil.npy": npy(np.zeros(3))}, "has no place in a model file"),
    "code": ({"a.py": b"import os"}, "has no place in a model file"),
    "no array": ({"a.npy": b"hello"}, "no readable header"),
    "NaN": ({"a.npy": npy(np.array([1.0, np.nan]))}, "not finite"),
    "infinity": ({"a.npy": npy(np.array([1.0, -np.inf], np.float32))}, "not finite"),
    "too many bytes": ({"a.npy": npy(np.zeros(3)) + b"more"}, "does not fill its"),
    "too few bytes": ({"a.npy": npy(np.zeros(3))[:-1]}, "does not fill its"),
    "huge shape": (
        {"a.npy": header("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 1048576), }\n")},
        "does not fill its",
    ),
    "overflowing shape": (
        {"a.npy": header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({10**17}, 400, 0), }}\n") + bytes(8)},
        "does not fill its",
    ),
    "negative shape": (
        {"a.npy": header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -3), }\n") + bytes(24)},
        "no readable header",
    ),
    "code in the header": (
        {"a.npy": header("{'descr': __import__('os').system('false'), 'fortran_order': False, 'shape': (1,)}\n")},
        "no readable header",
    ),
    "an endless shape": (
        {"a.npy": header("{'descr': '<f8', 'fortran_order': False, 'shape': (" + 3000 * "1" + "x), }\n")},
        "no readable header",
    ),
    "a deep header": ({"a.npy": header("(" * 3000)}, "no readable header"),
    "a long header": ({"a.npy": header("{" + " " * 60_000 + "}")}, "no readable header"),
}


@pytest.mark.parametrize("case", MEMBERS)
def test_hostile_arrays_are_refused(tmp_path: Path, case: str) -> None:
    members, match = MEMBERS[case]
    refused(archive(tmp_path / "model.npz", {"about.json": about(), **members}), match)


ABOUT = {
    "missing": ({}, "no about.json"),
    "no JSON": ({"about.json": b"\x80\x04."}, "no JSON"),
    "bad text": ({"about.json": b"\xff\xfe{}"}, "JSON|whole"),
    "deep": ({"about.json": b"[" * 100_000}, "no JSON"),
    "a list": ({"about.json": b"[]"}, "does not tell"),
    "no notes": ({"about.json": about(about=[])}, "does not tell"),
    "another kind": ({"about.json": about(kind="other")}, "it holds 'other', expected 'a kind'"),
    "a later version": ({"about.json": about(version=VERSION + 1)}, "version 2 of the format"),
    "a version that is no number": ({"about.json": about(version="1")}, "version 1 of the format"),
}


@pytest.mark.parametrize("case", ABOUT)
def test_notes_that_do_not_fit_are_refused(tmp_path: Path, case: str) -> None:
    members, match = ABOUT[case]
    refused(archive(tmp_path / "model.npz", {**members, "a.npy": npy(np.zeros(3))}), match)


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    """600 MB of zeros in 600 kB, once told honestly and once with sizes that are too small."""
    path = tmp_path / "model.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("about.json", about())
        with file.open("a.npy", "w") as member:
            member.write(header("{'descr': '<f8', 'fortran_order': False, 'shape': (75000000,), }\n"))
            for _ in range(600):
                member.write(bytes(1_000_000))
    assert path.stat().st_size < 1e6
    refused(path, r"claims \d+ bytes, more than a model may have")
    content = bytearray(path.read_bytes())
    true, told = struct.pack("<I", zipfile.ZipFile(path).getinfo("a.npy").file_size), struct.pack("<I", 1000)
    assert content.count(true) >= 1
    path.write_bytes(content.replace(true, told))
    refused(path, "model")


def test_many_members_and_doubles_are_refused(tmp_path: Path) -> None:
    many = {f"a{i}.npy": npy(np.zeros(1)) for i in range(100)}
    refused(archive(tmp_path / "model.npz", {"about.json": about(), **many}), "101 members")
    with zipfile.ZipFile(tmp_path / "twice.npz", "w") as file:
        file.writestr("about.json", about())
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("about.json", about())
    refused(tmp_path / "twice.npz", "2 members, expected different ones")


def test_other_compressions_are_refused(tmp_path: Path) -> None:
    members = {"about.json": about(), "a.npy": npy(np.zeros(1000))}
    refused(archive(tmp_path / "model.npz", members, zipfile.ZIP_LZMA), "packed in another way")
