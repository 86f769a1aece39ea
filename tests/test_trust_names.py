"""Names from the network: they stay in the destination, share no file, follow no link and command no terminal."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starskope.cli import main
from starskope.errors import TransferError
from starskope.synth.endpoint import Endpoint
from starskope.transfer.download import download
from starskope.transfer.options import TransferOptions
from starskope.transfer.sidecar import part_path, sidecar_path
from starskope.transfer.uris import local_name
from starskope.transfer.wanted import read_source

BUCKET = "stpubdata"
CONTENT = bytes(range(256)) * 400
KEY = "trust/plain.fits"
URI = f"s3://{BUCKET}/{KEY}"


@pytest.fixture(scope="module")
def server(endpoint: Endpoint) -> Endpoint:
    endpoint.put(KEY, CONTENT)
    return endpoint


def _options(server: Endpoint) -> TransferOptions:
    settings = {
        "endpoint_url": server.url,
        "backoff_base_s": 0.01,
        "max_attempts": 2,
        "stall_timeout_s": 3.0,
    }
    return TransferOptions(**settings)  # type: ignore[arg-type]


def _whole(options: TransferOptions, folder: Path) -> None:
    (row,) = download([URI], folder, options=options)
    if row["status"] == "failed":
        raise TransferError(row["error"])


NAMES = {
    "parent": "a/..",
    "parent with slash": "a/../",
    "here": "a/.",
    "nothing": "a/",
    "NUL": "a/b\0.fits",
    "newline": "a/b\n.fits",
    "escape sequence": "a/\x1b[2Jb.fits",
    "escape sequence of one byte": "a/\x9b2Jb.fits",
    "right to left": "a/b\u202estif.exe",
    "zero width": "a/b\u200b.fits",
    "line separator": "a/b\u2028.fits",
    "other separator": "a/..\\..\\b.fits",
    "drive": "a/C:b.fits",
    "stream": "a/b.fits::$DATA",
    "device": "a/NUL",
    "device with ending": "a/com1.fits",
    "device of the console": "a/CONOUT$",
    "hidden": "a/.bashrc",
    "part file": "a/.starskope-0.part",
    "blank at the end": "a/b ",
    "too long": "a/" + "b" * 256,
    "half a character": "a/b\ud800.fits",
}


@pytest.mark.parametrize("key", NAMES.values(), ids=NAMES)
def test_names_that_are_no_file_of_the_destination_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be stored as a file|names a bucket but no key") as caught:
        read_source([f"s3://{BUCKET}/{key}"])
    assert str(caught.value).isprintable()


@given(st.text(min_size=1, max_size=40))
def test_any_key_is_refused_or_stays_where_it_belongs(key: str) -> None:
    name = ""
    with contextlib.suppress(ValueError):
        name = local_name(key)
    if name:
        here = Path("/some/where")
        assert Path(os.path.normpath(here / name)).parent == here
        assert name.isprintable()
        assert not name.startswith(".")
        name.encode()


@pytest.mark.parametrize(
    "pair",
    [("A.fits", "a.fits"), ("x/a.fits", "y/a.fits"), ("\u00e9.fits", "e\u0301.fits"), ("stra\u00dfe", "STRASSE")],
)
def test_two_objects_never_share_a_file(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="would both be stored as"):
        read_source([f"s3://{BUCKET}/{key}" for key in pair])


def test_a_later_download_does_not_take_the_file_of_another_object(server: Endpoint, tmp_path: Path) -> None:
    for key in ("trust/one/\u00e9.fits", "trust/two/e\u0301.fits", "trust/two/\u00c9.fits"):
        server.put(key, key.encode())
    download([f"s3://{BUCKET}/trust/one/\u00e9.fits"], tmp_path, options=_options(server))
    for key in ("trust/two/e\u0301.fits", "trust/two/\u00c9.fits"):
        with pytest.raises(ValueError, match="elsewhere or with overwrite=True"):
            download([f"s3://{BUCKET}/{key}"], tmp_path, options=_options(server))


@pytest.mark.parametrize("planted", ["file", "part", "journal", "manifest"])
def test_links_in_the_destination_are_not_followed(server: Endpoint, tmp_path: Path, planted: str) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "data"
    outside.write_bytes(b"mine")
    folder.mkdir()
    name = {
        "file": folder / "plain.fits",
        "part": part_path(folder, URI),
        "journal": sidecar_path(folder, URI),
        "manifest": folder / ".manifest.parquet.part",
    }[planted]
    name.symlink_to(outside)
    _whole(_options(server), folder)
    assert outside.read_bytes() == b"mine"
    assert (folder / "plain.fits").read_bytes() == CONTENT
    assert not (folder / "plain.fits").is_symlink()


@pytest.mark.parametrize("where", [part_path, sidecar_path])
def test_a_pipe_in_the_destination_does_not_hang(
    server: Endpoint, tmp_path: Path, where: Callable[[Path, str], Path]
) -> None:
    os.mkfifo(where(tmp_path, URI))
    _whole(_options(server), tmp_path)
    assert (tmp_path / "plain.fits").read_bytes() == CONTENT


def test_a_folder_in_the_place_of_a_file_fails_alone(server: Endpoint, tmp_path: Path) -> None:
    server.put("trust/other.fits", b"other")
    (tmp_path / "plain.fits").mkdir()
    report = download([URI, f"s3://{BUCKET}/trust/other.fits"], tmp_path, options=_options(server))
    assert report["status"].tolist() == ["failed", "downloaded"]
    assert (tmp_path / "other.fits").read_bytes() == b"other"


def test_what_the_network_says_cannot_command_the_terminal(
    server: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key may hold escape sequences where it names folders."""
    key = "trust/\x1b]0;owned\x07\x1b[2J\u202e/none.fits"
    where = ["--endpoint-url", server.url, "--max-attempts", "1"]
    assert main(["download", f"s3://{BUCKET}/{key}", str(tmp_path), *where]) == 1
    said = capsys.readouterr()
    assert "none.fits" in said.err
    assert all(line.isprintable() for line in (said.out + said.err).splitlines())
