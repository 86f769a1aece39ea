"""Whole objects to files: checks, records, second runs, names, full disks."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import MaskedColumn, QTable, Table
from fault_server import FaultServer

from starskope.errors import FrameError, TransferError
from starskope.synth.endpoint import Endpoint
from starskope.transfer.download import Progress, download
from starskope.transfer.manifest import ManifestRow, read_manifest, write_manifest
from starskope.transfer.options import TransferOptions
from starskope.transfer.wanted import read_source

BUCKET = "stpubdata"
SIZES = {"empty.bin": 0, "one.bin": 1, "odd.bin": 4_194_305, "big.bin": 9_000_001, "small.bin": 70_000}


@pytest.fixture(scope="module")
def contents(endpoint: Endpoint) -> dict[str, bytes]:
    rng = np.random.default_rng(3)
    made = {f"download/{name}": rng.bytes(size) for name, size in SIZES.items()}
    for key, content in made.items():
        endpoint.put(key, content)
    return made


def _uris(contents: dict[str, bytes]) -> list[str]:
    return [f"s3://{BUCKET}/{key}" for key in contents]


def _source(contents: dict[str, bytes]) -> Table:
    etags = [hashlib.md5(content).hexdigest() for content in contents.values()]
    return Table({"uri": _uris(contents), "size": [len(c) for c in contents.values()], "etag": etags})


def _options(server: Endpoint | FaultServer, **changes: object) -> TransferOptions:
    settings = {"endpoint_url": server.url, "backoff_base_s": 0.01, "max_attempts": 2, **changes}
    return TransferOptions(**settings)  # type: ignore[arg-type]


def _files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.mark.parametrize("step_bytes", [1_000, 2**18, 2**23])
def test_every_byte_arrives(endpoint: Endpoint, contents: dict[str, bytes], tmp_path: Path, step_bytes: int) -> None:
    report = download(_uris(contents), tmp_path / "new" / "folder", options=_options(endpoint, step_bytes=step_bytes))
    assert report["status"].tolist() == ["downloaded"] * len(contents)
    assert report["check"].tolist() == ["crc32"] * len(contents)
    assert report["size"].tolist() == list(SIZES.values())
    assert str(report["size"].unit) == "byte"
    for content, path, etag in zip(contents.values(), report["path"], report["etag"], strict=True):
        assert Path(path).read_bytes() == content
        assert etag == hashlib.md5(content).hexdigest()
    assert _files(tmp_path / "new" / "folder") == {*SIZES, "manifest.parquet"}


def test_the_record_says_what_the_table_says(endpoint: Endpoint, contents: dict[str, bytes], tmp_path: Path) -> None:
    report = download([*_uris(contents), f"s3://{BUCKET}/download/none"], tmp_path, options=_options(endpoint))
    stored = pq.read_table(tmp_path / "manifest.parquet").to_pylist()
    assert {row["uri"]: row["status"] for row in stored} == dict(zip(report["uri"], report["status"], strict=True))
    assert [row["error"] for row in stored if row["status"] == "failed"] == [report["error"][-1]]
    assert {row["path"] for row in stored} == {*SIZES, "none"}


@pytest.mark.parametrize("knows_etags", [True, False], ids=["table", "addresses"])
def test_a_second_run_moves_no_body(
    endpoint: Endpoint, contents: dict[str, bytes], tmp_path: Path, knows_etags: bool
) -> None:
    source = _source(contents) if knows_etags else _uris(contents)
    download(source, tmp_path, options=_options(endpoint))
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.bin")}
    with FaultServer(endpoint.url) as proxy:
        steps: list[Progress] = []
        report = download(source, tmp_path, options=_options(proxy), progress=steps.append)
        assert report["status"].tolist() == ["present"] * len(contents)
        assert report["check"].tolist() == ["crc32"] * len(contents)
        assert len(proxy.requests) == (0 if knows_etags else len(contents))
        assert all("if-none-match" in request.headers for request in proxy.requests)
        assert steps[-1].bytes_done == 0
        assert steps[-1].n_done == len(contents)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.bin")} == before


def test_what_is_missing_cut_or_replaced_is_fetched_again(endpoint: Endpoint, tmp_path: Path) -> None:
    keys = [f"again/{index}.bin" for index in range(4)]
    for key in keys:
        endpoint.put(key, key.encode() * 999)
    uris = [f"s3://{BUCKET}/{key}" for key in keys]
    download(uris, tmp_path, options=_options(endpoint))
    (tmp_path / "0.bin").unlink()
    os.truncate(tmp_path / "1.bin", 10)
    endpoint.put(keys[2], b"replaced".ljust(len(keys[2]) * 999))
    report = download(uris, tmp_path, options=_options(endpoint))
    assert report["status"].tolist() == ["downloaded", "downloaded", "downloaded", "present"]
    assert (tmp_path / "0.bin").read_bytes() == keys[0].encode() * 999
    assert (tmp_path / "1.bin").read_bytes() == keys[1].encode() * 999
    assert (tmp_path / "2.bin").read_bytes().startswith(b"replaced ")
    report = download(uris, tmp_path, options=_options(endpoint), overwrite=True)
    assert report["status"].tolist() == ["downloaded"] * 4


def test_a_failed_refresh_keeps_the_record_of_the_whole_older_file(
    endpoint: Endpoint, contents: dict[str, bytes], tmp_path: Path
) -> None:
    uri = f"s3://{BUCKET}/download/small.bin"
    download([uri], tmp_path, options=_options(endpoint))
    report = download([uri], tmp_path, options=TransferOptions(endpoint_url="http://127.0.0.1:9", max_attempts=1))
    assert report["status"].tolist() == ["failed"]
    assert "cannot connect to http://127.0.0.1:9" in report["error"][0]
    assert download([uri], tmp_path, options=_options(endpoint))["status"].tolist() == ["present"]


def test_records_of_other_files_stay(endpoint: Endpoint, contents: dict[str, bytes], tmp_path: Path) -> None:
    uris = _uris(contents)
    download(uris[:2], tmp_path, options=_options(endpoint))
    download(uris[2:3], tmp_path, options=_options(endpoint))
    assert set(read_manifest(tmp_path / "manifest.parquet")) == set(uris[:3])


def test_a_wrong_size_in_the_source_is_refused(endpoint: Endpoint, contents: dict[str, bytes], tmp_path: Path) -> None:
    source = _source(contents)[4:]
    source["size"] = [69_999]
    report = download(source, tmp_path, options=_options(endpoint))
    assert report["error"][0].startswith("the object has 70000 bytes, expected 69999")
    assert _files(tmp_path) == {"manifest.parquet"}


def test_progress_is_told_and_its_errors_are_the_callers(
    endpoint: Endpoint, contents: dict[str, bytes], tmp_path: Path
) -> None:
    steps: list[Progress] = []
    download(_source(contents), tmp_path, options=_options(endpoint), progress=steps.append)
    total = sum(SIZES.values())
    assert steps[-1] == Progress(len(SIZES), 0, len(SIZES), total, total)
    assert [step.bytes_done for step in steps] == sorted(step.bytes_done for step in steps)

    def refuse(step: Progress) -> None:
        raise ZeroDivisionError("the bar broke")

    with pytest.raises(ZeroDivisionError, match="the bar broke"):
        download(_source(contents), tmp_path, options=_options(endpoint), progress=refuse, overwrite=True)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("uris", "words"),
    [
        (["s3://b1b/a/x.fits", "s3://b1b/b/x.fits"], "would both be stored as 'x.fits'"),
        (["s3://b1b/a/x.fits", "s3://b1b/a/X.fits"], "would both be stored as 'X.fits'"),
        (["s3://b1b/a/.."], "begins with a dot"),
        (["s3://b1b/a/"], "names no file"),
        (["s3://b1b/manifest.parquet"], "would overwrite the record"),
        (["http://b1b/x"], "expected an address like s3://bucket/key"),
    ],
)
def test_unsafe_sources_are_refused_before_anything_is_touched(uris: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        download(uris, tmp_path / "new", options=TransferOptions(endpoint_url="http://127.0.0.1:9"))
    assert not (tmp_path / "new").exists()


def test_a_file_of_another_object_is_not_taken_for_this_one(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.put("one/same.bin", b"first")
    endpoint.put("two/same.bin", b"other")
    download([f"s3://{BUCKET}/one/same.bin"], tmp_path, options=_options(endpoint))
    with pytest.raises(ValueError, match=r"holds s3://stpubdata/one/same.bin: download .* elsewhere"):
        download([f"s3://{BUCKET}/two/same.bin"], tmp_path, options=_options(endpoint))
    download([f"s3://{BUCKET}/two/same.bin"], tmp_path, options=_options(endpoint), overwrite=True)
    assert (tmp_path / "same.bin").read_bytes() == b"other"
    assert list(read_manifest(tmp_path / "manifest.parquet")) == [f"s3://{BUCKET}/two/same.bin"]


def test_sources_of_every_kind_are_read() -> None:
    uris = ["s3://bucket/a/1.fits", "s3://bucket/a/2.fits"]
    masked = Table({"uri": uris, "size": MaskedColumn([5, 0], mask=[False, True], dtype="int64"), "etag": ['"e"', ""]})
    assert [(one.size, one.etag) for one in read_source(masked)] == [(5, "e"), (None, None)]
    quantity = QTable({"uri": uris, "size": np.array([5, 6])}, units={"size": "byte"})
    assert [one.size for one in read_source(quantity)] == [5, 6]
    assert [one.name for one in read_source(iter(uris))] == ["1.fits", "2.fits"]
    assert [str(one.uri) for one in read_source(uris + uris)] == uris
    with pytest.raises(ValueError, match="needs a column 'uri', it has key"):
        read_source(Table({"key": uris}))
    with pytest.raises(TypeError, match="got one string"):
        read_source(uris[0])
    with pytest.raises(TypeError, match="got int"):
        read_source(5)


def test_nothing_to_do_is_an_empty_table(endpoint: Endpoint, tmp_path: Path) -> None:
    report = download([], tmp_path, options=_options(endpoint))
    assert len(report) == 0
    assert report.colnames == ["uri", "path", "size", "etag", "check", "status", "error", "crc64nvme"]


def test_a_full_disk_is_named_and_spares_what_fits(
    endpoint: Endpoint, contents: dict[str, bytes], tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        report = download(_uris(contents), tmp_path, options=_options(endpoint))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    failed = [Path(row["path"]).name for row in report if row["status"] == "failed"]
    assert failed == ["odd.bin", "big.bin"]
    assert f"cannot write into {tmp_path} (File too large): free space" in report["error"][2]
    assert _files(tmp_path) == {"empty.bin", "one.bin", "small.bin", "manifest.parquet"}
    assert set(download(_uris(contents), tmp_path, options=_options(endpoint))["status"]) == {"downloaded", "present"}


def test_a_destination_that_is_a_file_is_named(endpoint: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TransferError, match=r"cannot write into .*file .File exists.: choose a directory"):
        download([f"s3://{BUCKET}/x"], tmp_path / "file", options=_options(endpoint))


def test_two_downloads_do_not_share_a_directory(endpoint: Endpoint, contents: dict[str, bytes], tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(TransferError, match="another download writes into"):
            download(_uris(contents), tmp_path, options=_options(endpoint))
    finally:
        os.close(descriptor)


def test_a_foreign_manifest_is_named_not_overwritten(
    endpoint: Endpoint, contents: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "manifest.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(FrameError, match=r"manifest.parquet is not a manifest of starskope .*move it away"):
        download(_uris(contents), tmp_path, options=_options(endpoint))
    assert (tmp_path / "manifest.parquet").read_bytes() == b"PAR1 not really"


def test_a_manifest_is_written_without_pandas(tmp_path: Path) -> None:
    code = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from starskope.transfer.manifest import ManifestRow, read_manifest, write_manifest
        path = Path({str(tmp_path)!r}) / "manifest.parquet"
        rows = [ManifestRow(f"s3://b/{{i}}", str(i), i) for i in range(1000)]
        write_manifest(path, rows)
        assert list(read_manifest(path).values()) == rows
        assert "pandas" not in sys.modules
    """)
    subprocess.run([sys.executable, "-c", code], check=True)


def test_manifests_round_trip_and_are_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    rows = [ManifestRow("s3://b/k,\n'é", "k", 2**40, "e-5", "size", "downloaded"), ManifestRow("s3://b/l", "l")]
    write_manifest(path, rows)
    assert list(read_manifest(path).values()) == rows
    write_manifest(path, [])
    assert read_manifest(path) == {}
    assert _files(tmp_path) == {"manifest.parquet"}


def test_a_killed_download_leaves_no_partial_file_and_is_continued(endpoint: Endpoint, tmp_path: Path) -> None:
    names = [f"killed/{index:02d}.bin" for index in range(6)]
    content = np.random.default_rng(5).bytes(2_000_000)
    for name in names:
        endpoint.put(name, content)
    uris = [f"s3://{BUCKET}/{name}" for name in names]
    with FaultServer(endpoint.url) as proxy:
        import fault_server

        async def slow_start(exchange: fault_server.Exchange) -> None:
            await asyncio.sleep(0.02 * len(proxy.requests))
            is_late = exchange.request.target.endswith(("4.bin", "5.bin"))
            await (fault_server.stall if is_late else fault_server.good)(exchange)

        proxy.plan(slow_start)
        code = textwrap.dedent(f"""
            from starskope.transfer.download import download
            from starskope.transfer.options import TransferOptions
            download({uris!r}, {str(tmp_path)!r}, options=TransferOptions(endpoint_url={proxy.url!r}))
        """)
        with subprocess.Popen([sys.executable, "-c", code]) as process:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None:
                if len(list(tmp_path.glob("0*.bin"))) == 4 and len(list(tmp_path.glob(".starskope-*.part"))) == 2:
                    break
                time.sleep(0.01)
            assert process.poll() is None
            process.kill()
    assert all(path.read_bytes() == content for path in tmp_path.glob("0*.bin"))
    report = download(uris, tmp_path, options=_options(endpoint))
    assert "failed" not in report["status"]
    assert all((tmp_path / f"{index:02d}.bin").read_bytes() == content for index in range(6))
    assert not list(tmp_path.glob(".*"))
