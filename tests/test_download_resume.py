"""Going on within a file: after a kill, on a changed object, on foreign bytes, with a server that cannot."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from fault_server import FaultServer

from starskope.synth.endpoint import Endpoint
from starskope.transfer.download import download
from starskope.transfer.manifest import read_manifest
from starskope.transfer.options import TransferOptions
from starskope.transfer.sidecar import Origin, Sidecar, Step, part_path, sidecar_path
from starskope.transfer.sums import StoredSum, crc64

BUCKET = "stpubdata"
KEY = "resume/object.bin"
URI = f"s3://{BUCKET}/{KEY}"
CONTENT = np.random.default_rng(21).bytes(600_000)
ETAG = hashlib.md5(CONTENT).hexdigest()
HALF = 250_000


@pytest.fixture(scope="module")
def _object(endpoint: Endpoint) -> None:
    endpoint.put(KEY, CONTENT)


def _begin(
    folder: Path, *, content: bytes = CONTENT, etag: str = ETAG, n_done: int = HALF, stored: StoredSum | None = None
) -> None:
    """Leave what a download that was killed in the middle leaves."""
    part = part_path(folder, URI)
    part.write_bytes(content[:n_done])
    os.truncate(part, len(content))
    journal = Sidecar(sidecar_path(folder, URI))
    journal.begin(Origin(URI, etag, len(content), stored))
    for stop in (1, n_done // 2, n_done):
        journal.note(Step(stop, crc64(content[:stop])))
    journal.close()


def _options(server: Endpoint | FaultServer, **changes: object) -> TransferOptions:
    settings = {"endpoint_url": server.url, "backoff_base_s": 0.01, "max_attempts": 2, **changes}
    return TransferOptions(**settings)  # type: ignore[arg-type]


def _crc32() -> StoredSum:
    import base64
    import zlib

    return StoredSum("crc32", base64.b64encode(zlib.crc32(CONTENT).to_bytes(4, "big")).decode())


@pytest.mark.usefixtures("_object")
@pytest.mark.parametrize("stored", [None, StoredSum("md5", ETAG), _crc32()], ids=["size", "md5", "crc32"])
def test_a_file_goes_on_where_it_stopped(endpoint: Endpoint, tmp_path: Path, stored: StoredSum | None) -> None:
    _begin(tmp_path, stored=stored)
    with FaultServer(endpoint.url) as proxy:
        report = download([URI], tmp_path, options=_options(proxy))
        (request,) = proxy.requests
        assert request.headers["range"] == f"bytes={HALF}-"
        assert request.headers["if-match"] == f'"{ETAG}"'
    assert report["status"].tolist() == ["downloaded"], report["error"][0]
    assert report["check"].tolist() == ["size" if stored is None else stored.name]
    assert (tmp_path / "object.bin").read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.parquet", "object.bin"]


@pytest.mark.usefixtures("_object")
@pytest.mark.parametrize("damaged_at", [0, HALF // 2 + 5, HALF + 5])
def test_only_bytes_that_still_sum_up_are_built_upon(endpoint: Endpoint, tmp_path: Path, damaged_at: int) -> None:
    _begin(tmp_path)
    with part_path(tmp_path, URI).open("r+b") as file:
        file.seek(damaged_at)
        file.write(b"\0\1\2\3")
    with FaultServer(endpoint.url) as proxy:
        report = download([URI], tmp_path, options=_options(proxy))
        good = {0: None, HALF // 2 + 5: f"bytes={HALF // 2}-", HALF + 5: f"bytes={HALF}-"}[damaged_at]
        # One byte is recorded by itself: where only that holds, it is gone on after it.
        assert [request.headers.get("range") for request in proxy.requests] == [good]
    assert report["status"].tolist() == ["downloaded"]
    assert (tmp_path / "object.bin").read_bytes() == CONTENT


@pytest.mark.usefixtures("_object")
@pytest.mark.parametrize("how", ["cut", "longer", "no journal", "no part", "link", "hard link", "foreign journal"])
def test_what_cannot_be_gone_on_with_is_begun_anew(endpoint: Endpoint, tmp_path: Path, how: str) -> None:
    _begin(tmp_path)
    part, journal = part_path(tmp_path, URI), sidecar_path(tmp_path, URI)
    other = tmp_path / "precious"
    other.write_bytes(b"x" * len(CONTENT))
    if how == "cut":
        os.truncate(part, 0)
    elif how == "longer":
        os.truncate(part, 2 * len(CONTENT))
    elif how == "no journal":
        journal.unlink()
    elif how == "no part":
        part.unlink()
    elif how == "link":
        part.unlink()
        part.symlink_to(other)
    elif how == "hard link":
        part.unlink()
        part.hardlink_to(other)
    else:
        journal.write_bytes(journal.read_bytes().replace(URI.encode(), b"s3://stpubdata/resume/another.x"))
    report = download([URI], tmp_path, options=_options(endpoint))
    assert report["status"].tolist() == ["downloaded"], report["error"][0]
    assert (tmp_path / "object.bin").read_bytes() == CONTENT
    assert other.read_bytes() == b"x" * len(CONTENT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.parquet", "object.bin", "precious"]


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])
def test_an_object_replaced_between_two_runs_is_never_a_mix(endpoint: Endpoint, tmp_path: Path, listed: bool) -> None:
    from astropy.table import Table

    key = "resume/replaced/object.bin"
    uri = f"s3://{BUCKET}/{key}"
    new = np.random.default_rng(22).bytes(len(CONTENT))
    endpoint.put(key, new)
    _begin(tmp_path)
    part_path(tmp_path, URI).rename(part_path(tmp_path, uri))
    journal = sidecar_path(tmp_path, URI)
    sidecar_path(tmp_path, uri).write_bytes(journal.read_bytes().replace(URI.encode(), uri.encode()))
    journal.unlink()
    etag = hashlib.md5(new).hexdigest()
    source = Table({"uri": [uri], "etag": [etag]}) if listed else [uri]
    report = download(source, tmp_path, options=_options(endpoint))
    assert report["status"].tolist() == ["downloaded"], report["error"][0]
    assert report["etag"].tolist() == [etag]
    assert (tmp_path / "object.bin").read_bytes() == new


@pytest.mark.usefixtures("_object")
def test_a_server_that_knows_no_ranges_sends_it_whole(endpoint: Endpoint, tmp_path: Path) -> None:
    import fault_server

    async def no_ranges(exchange: fault_server.Exchange) -> None:
        await exchange.send(await exchange.upstream(without=("range",)))

    _begin(tmp_path)
    with FaultServer(endpoint.url) as proxy:
        proxy.plan(no_ranges)
        report = download([URI], tmp_path, options=_options(proxy))
        assert "range" not in proxy.requests[-1].headers
    assert report["status"].tolist() == ["downloaded"], report["error"][0]
    assert (tmp_path / "object.bin").read_bytes() == CONTENT


@pytest.mark.usefixtures("_object")
@pytest.mark.parametrize("is_renamed", [True, False], ids=["renamed", "not renamed"])
def test_a_file_that_was_whole_but_not_recorded_moves_no_byte(
    endpoint: Endpoint, tmp_path: Path, is_renamed: bool
) -> None:
    _begin(tmp_path, n_done=len(CONTENT), stored=StoredSum("md5", ETAG))
    if is_renamed:
        part_path(tmp_path, URI).rename(tmp_path / "object.bin")
    with FaultServer(endpoint.url) as proxy:
        report = download([URI], tmp_path, options=_options(proxy))
        assert [request.headers.get("if-none-match") for request in proxy.requests] == [f'"{ETAG}"']
    assert report["status"].tolist() == ["present"]
    assert report["check"].tolist() == ["md5"]
    assert (tmp_path / "object.bin").read_bytes() == CONTENT
    assert read_manifest(tmp_path / "manifest.parquet")[URI].etag == ETAG
    assert not list(tmp_path.glob(".*"))


@pytest.mark.usefixtures("_object")
def test_a_foreign_file_under_the_name_is_not_taken_for_the_journals(endpoint: Endpoint, tmp_path: Path) -> None:
    _begin(tmp_path, n_done=len(CONTENT))
    part_path(tmp_path, URI).unlink()
    (tmp_path / "object.bin").write_bytes(CONTENT[::-1])
    report = download([URI], tmp_path, options=_options(endpoint))
    assert report["status"].tolist() == ["downloaded"]
    assert (tmp_path / "object.bin").read_bytes() == CONTENT


@pytest.mark.usefixtures("_object")
def test_old_parts_that_nobody_asks_for_are_removed_young_ones_stay(endpoint: Endpoint, tmp_path: Path) -> None:
    _begin(tmp_path)
    other = f"s3://{BUCKET}/download/none"
    download([other], tmp_path, options=_options(endpoint))
    assert part_path(tmp_path, URI).exists()
    for path in (part_path(tmp_path, URI), sidecar_path(tmp_path, URI)):
        os.utime(path, (1e9, 1e9))
    (tmp_path / ".manifest.parquet.123.part").write_bytes(b"torn")
    download([other], tmp_path, options=_options(endpoint))
    assert not list(tmp_path.glob(".*"))
