"""What lies on the disk against the manifest: verify looks, repair mends."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from fault_server import FaultServer

from starskope.synth.endpoint import Endpoint
from starskope.transfer import verify
from starskope.transfer.download import Progress, download, download_async
from starskope.transfer.options import TransferOptions

BUCKET = "stpubdata"
NAMES = [f"{index}.bin" for index in range(6)]
URIS = [f"s3://{BUCKET}/verify/{name}" for name in NAMES]
CONTENTS = [np.random.default_rng(index).bytes(200_000 + index) for index in range(len(NAMES))]
NOWHERE = TransferOptions(endpoint_url="http://127.0.0.1:9", max_attempts=1)


@pytest.fixture
def folder(endpoint: Endpoint, tmp_path: Path) -> Path:
    for name, content in zip(NAMES, CONTENTS, strict=True):
        endpoint.put(f"verify/{name}", content)
    download(URIS, tmp_path, options=TransferOptions(endpoint_url=endpoint.url))
    return tmp_path


def _damage(folder: Path) -> None:
    with (folder / "1.bin").open("r+b") as file:
        file.seek(150_000)
        byte = file.read(1)[0]
        file.seek(150_000)
        file.write(bytes([byte ^ 4]))
    os.truncate(folder / "2.bin", 100)
    (folder / "3.bin").unlink()
    (folder / "4.bin").unlink()
    (folder / "4.bin").symlink_to(folder / "0.bin")


def test_whole_files_are_verified_without_the_network(folder: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    steps: list[Progress] = []
    report = download(None, folder, options=NOWHERE, verify=True, progress=steps.append)
    assert report["status"].tolist() == ["verified"] * len(NAMES)
    assert report["uri"].tolist() == URIS
    assert steps[-1] == Progress(len(NAMES), 0, len(NAMES), 0, 0)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_read_only_folder_can_be_verified(folder: Path) -> None:
    folder.chmod(0o500)
    try:
        assert set(download(URIS[:2], folder, verify=True)["status"]) == {"verified"}
    finally:
        folder.chmod(0o700)


def test_every_damage_is_named(folder: Path) -> None:
    _damage(folder)
    report = download([*URIS, f"s3://{BUCKET}/verify/never"], folder, options=NOWHERE, verify=True)
    assert report["status"].tolist() == ["verified", *["failed"] * 4, "verified", "failed"]
    words = ["is damaged on the disk: its crc64nvme is", "has 100 bytes, 200002 were recorded"]
    words += ["No such file", "cannot be read", "", "was never downloaded"]
    for error, word in zip(report["error"][1:], words, strict=True):
        assert word in error
    assert not list(folder.glob(".*"))


def test_repair_fetches_what_is_wrong_and_nothing_else(folder: Path, endpoint: Endpoint) -> None:
    _damage(folder)
    kept = [(folder / name).stat().st_mtime_ns for name in ("0.bin", "5.bin")]
    with FaultServer(endpoint.url) as proxy:
        report = download(None, folder, options=TransferOptions(endpoint_url=proxy.url), repair=True)
        asked = sorted(request.target.split("?")[0].rsplit("/", 1)[1] for request in proxy.requests)
    assert asked == ["1.bin", "2.bin", "3.bin", "4.bin"]
    assert report["status"].tolist() == ["verified", *["downloaded"] * 4, "verified"]
    for name, content in zip(NAMES, CONTENTS, strict=True):
        assert (folder / name).read_bytes() == content
        assert not (folder / name).is_symlink()
    assert [(folder / name).stat().st_mtime_ns for name in ("0.bin", "5.bin")] == kept
    assert set(download(None, folder, verify=True)["status"]) == {"verified"}


def test_a_repair_without_a_server_says_so_and_forgets_the_damaged(folder: Path, endpoint: Endpoint) -> None:
    _damage(folder)
    report = download(None, folder, options=NOWHERE, repair=True)
    assert report["status"].tolist() == ["verified", *["failed"] * 4, "verified"]
    assert "cannot connect" in report["error"][1]
    # The record no longer vouches for the damaged ones: a plain run fetches them.
    report = download(URIS, folder, options=TransferOptions(endpoint_url=endpoint.url))
    assert report["status"].tolist() == ["present", *["downloaded"] * 4, "present"]


def test_a_manifest_of_an_older_version_is_read(folder: Path, endpoint: Endpoint) -> None:
    path = folder / "manifest.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["crc64nvme"]), path)
    report = download(None, folder, verify=True)
    assert set(report["status"]) == {"failed"}
    assert "has no sum in its record: repair fetches it again" in report["error"][0]
    options = TransferOptions(endpoint_url=endpoint.url)
    assert set(download(URIS, folder, options=options)["status"]) == {"present"}
    assert set(download(None, folder, options=options, repair=True)["status"]) == {"downloaded"}
    assert set(download(None, folder, verify=True)["status"]) == {"verified"}


def test_md5_verifies_where_only_it_was_recorded(folder: Path) -> None:
    import hashlib

    import pyarrow as pa

    path = folder / "manifest.parquet"
    table = pq.read_table(path).drop_columns(["crc64nvme"]).to_pydict()
    table["check"] = ["md5"] * len(NAMES)
    assert table["etag"] == [hashlib.md5(content).hexdigest() for content in CONTENTS]
    pq.write_table(pa.table(table), path)
    _damage(folder)
    assert download(None, folder, verify=True)["status"].tolist() == ["verified", *["failed"] * 4, "verified"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"overwrite": True, "verify": True}, "choose one"),
        ({"overwrite": True, "repair": True}, "choose one"),
        ({}, "only verify=True and repair=True"),
        ({"processes": 0}, "processes=0: expected 1 or more"),
    ],
)
def test_contradictions_are_refused(folder: Path, settings: dict[str, int], words: str) -> None:
    source = None if "processes" not in settings else URIS
    with pytest.raises(ValueError, match=words):
        download(source, folder, options=NOWHERE, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["verify", "repair"])
def test_a_folder_without_a_manifest_is_named(tmp_path: Path, mode: str) -> None:
    with pytest.raises(ValueError, match=r"manifest.parquet lists nothing"):
        download(None, tmp_path, options=NOWHERE, **{mode: True})  # type: ignore[arg-type]


def test_a_manifest_that_points_elsewhere_is_refused(folder: Path) -> None:
    import pyarrow as pa

    path = folder / "manifest.parquet"
    table = pq.read_table(path).to_pydict()
    table["path"][0] = "../precious"
    pq.write_table(pa.table(table), path)
    with pytest.raises(ValueError, match="it was changed by hand"):
        download(None, folder, options=NOWHERE, repair=True)


@pytest.mark.parametrize("mode", ["verify", "repair"])
def test_a_cancelled_verification_stops_reading(folder: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    reading = threading.Event()
    n_steps = 0

    def slowly(data: memoryview, value: int) -> int:
        nonlocal n_steps
        n_steps += 1
        reading.set()
        time.sleep(0.005)
        return value

    monkeypatch.setattr(verify, "_STEP_BYTES", 100)
    monkeypatch.setattr(verify, "crc64", slowly)

    async def cancel() -> None:
        task = asyncio.create_task(download_async(None, folder, options=NOWHERE, **{mode: True}))  # type: ignore[arg-type]
        await asyncio.to_thread(reading.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    began = time.monotonic()
    asyncio.run(cancel())  # waits for the threads
    assert time.monotonic() - began < 8, "the whole takes longer on any machine"
    assert 0 < n_steps < 6 * 2_000
