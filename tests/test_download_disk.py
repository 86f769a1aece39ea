"""A disk that fills up: a clear error, whole files only, and the next run goes on."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from errno import EIO, EOPNOTSUPP
from pathlib import Path

import numpy as np
import pytest
from fault_server import FaultServer

from starskope.errors import TransferError
from starskope.synth.endpoint import Endpoint
from starskope.transfer.download import download
from starskope.transfer.options import TransferOptions

BUCKET = "stpubdata"
CONTENTS = {f"{index}.bin": np.random.default_rng(index).bytes(1_000_000) for index in range(12)}
URIS = [f"s3://{BUCKET}/disk/{name}" for name in CONTENTS]


@pytest.fixture(scope="module", autouse=True)
def _objects(endpoint: Endpoint) -> None:
    for name, content in CONTENTS.items():
        endpoint.put(f"disk/{name}", content)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 3.5 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3500k", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system of its own can be mounted here (needs root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _options(server: Endpoint | FaultServer, **changes: object) -> TransferOptions:
    return TransferOptions(endpoint_url=server.url, backoff_base_s=0.01, **changes)  # type: ignore[arg-type]


def _whole(folder: Path) -> set[str]:
    found = {path.name for path in folder.glob("*.bin")}
    assert all((folder / name).read_bytes() == CONTENTS[name] for name in found)
    return found


@pytest.mark.parametrize("preallocates", [True, False], ids=["before the write", "at the write"])
def test_a_full_disk_is_named_and_gone_on_with(
    endpoint: Endpoint, small_disk: Path, monkeypatch: pytest.MonkeyPatch, preallocates: bool
) -> None:
    if not preallocates:

        def refuse(*_: object) -> None:
            raise OSError(EOPNOTSUPP, os.strerror(EOPNOTSUPP))

        monkeypatch.setattr(os, "posix_fallocate", refuse)
    with FaultServer(endpoint.url) as proxy:
        # One after the other, in steps: without preallocation the fourth ends in the middle.
        options = _options(proxy, max_objects=1, write_bytes=50_000, step_bytes=50_000)
        words = f"cannot write into {small_disk} (No space left on device): free space or choose another directory"
        if preallocates:
            report = download(URIS, small_disk, options=options)
            failed = [row for row in report if row["status"] == "failed"]
            assert len(failed) == len(URIS) - 3
            assert all(words in row["error"] for row in failed)
        else:
            # Filled to the last byte, it has no room for the manifest either.
            with pytest.raises(TransferError, match=re.escape(words)):
                download(URIS, small_disk, options=options)
        assert len(_whole(small_disk)) == 3
        assert len(proxy.requests) <= 3 + 4, "a full disk is not tried with every object"
        subprocess.run(["mount", "-o", "remount,size=30m", small_disk], check=True)
        n_fetched = proxy.n_bytes
        report = download(URIS, small_disk, options=options)
        n_fetched = proxy.n_bytes - n_fetched
    assert set(report["status"]) == {"downloaded", "present"}
    assert _whole(small_disk) == set(CONTENTS)
    assert not list(small_disk.glob(".*"))
    if not preallocates:
        assert n_fetched < 8_700_000, "what had come of the fourth is not fetched again"


def test_an_error_of_the_disk_at_the_last_moment_leaves_nothing_to_build_on(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def fail_on_parts(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".part" and not failed:
            failed.append(descriptor)
            raise OSError(EIO, os.strerror(EIO))
        real(descriptor)

    failed: list[int] = []
    monkeypatch.setattr(os, "fsync", fail_on_parts)
    report = download(URIS[:1], tmp_path, options=_options(endpoint))
    assert report["status"].tolist() == ["failed"]
    assert "Input/output error" in report["error"][0]
    assert not list(tmp_path.glob("*.bin"))
    assert not list(tmp_path.glob(".*"))
    assert download(URIS[:1], tmp_path, options=_options(endpoint))["status"].tolist() == ["downloaded"]


def test_a_directory_under_the_name_is_told(endpoint: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "0.bin").mkdir()
    report = download(URIS[:2], tmp_path, options=_options(endpoint))
    assert report["status"].tolist() == ["failed", "downloaded"]
    assert f"cannot write into {tmp_path} (Is a directory)" in report["error"][0]
    assert (tmp_path / "0.bin").is_dir()
