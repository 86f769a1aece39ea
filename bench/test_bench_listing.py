"""The keys of one CCD-sector: 1,282 FFIs over 27 days, among those of the other 15 CCDs, 50 ms away."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import harness
import pytest

from starskope.archive.ffi_index import FfiIndex
from starskope.archive.ffis import find_ffis
from starskope.layout.keys import FfiKey
from starskope.transfer.options import TransferOptions

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
nginx_server = pytest.importorskip("nginx_server")
latency_server = pytest.importorskip("latency_server")
pytestmark = pytest.mark.skipif(nginx_server.find_nginx() is None, reason="nginx is not installed")

Compare = Callable[..., harness.Row]
BUCKET = "stpubdata"
SECTOR = "tess/public/ffi/s0001/2018/"
N_FFI = 1282
N_THREAD = 32
LATENCY_S = 0.05
MUST_S = 0.5


def keys_of(camera: int, ccd: int) -> list[str]:
    first = datetime(2018, 7, 25, 1, 29, 42, tzinfo=UTC)
    starts = [first + timedelta(minutes=30 * i) for i in range(N_FFI)]
    return [FfiKey(1, camera, ccd, f"{start:%Y%j%H%M%S}", 120).key for start in starts]


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a sector of names on nginx, a round trip of 50 ms away."""
    root = tmp_path_factory.mktemp("sector")
    (root / BUCKET).mkdir()
    one = root / ".one"
    one.write_bytes(b"x")
    days = set()
    for ccd in range(16):
        for key in keys_of(1 + ccd // 4, 1 + ccd % 4):
            path = root / BUCKET / key
            if path.parent not in days:
                path.parent.mkdir(parents=True)
                days.add(path.parent)
            path.hardlink_to(one)
    assert len(days) == 27 * 16
    with nginx_server.Nginx(root) as server, latency_server.LatencyServer(server.url, LATENCY_S) as line:
        yield line.url


def test_listing(compare: Compare, session: harness.Session, far: str) -> None:
    expected = keys_of(1, 1)

    def ours() -> list[str]:
        table = find_ffis(1, 1, 1, options=TransferOptions(endpoint_url=far))
        return list(table["key"])

    def check(rival: str, mine: list[str], theirs: list[str]) -> None:
        assert mine == expected
        assert sorted(theirs) == expected, rival

    row = compare(
        f"list {N_FFI} FFIs of a CCD-sector, {1000 * LATENCY_S:g} ms away",
        ours,
        {
            "boto3, a day at a time": with_boto3(far, 1),
            f"boto3, {N_THREAD} threads": with_boto3(far, N_THREAD),
            "boto3, the sector in one": with_boto3(far, 0),
            "obstore": with_obstore(session, far),
            "s5cmd": with_s5cmd(far),
        },
        check=check,
        rounds=7,
        rival_budget_s=8.0,
        threads="all",
    )
    row.must(f"<= {MUST_S} s", row.ours.best <= MUST_S)
    row.notes.append("each makes its client first and opens its connections; rivals are told the year, ours finds it")


def test_listing_again(compare: Compare, session: harness.Session, far: str, workspace: Path) -> None:
    expected = keys_of(1, 1)
    index = FfiIndex(workspace / "ffis.parquet", settle_days=0)
    options = TransferOptions(endpoint_url=far)
    find_ffis(1, 1, 1, options=options, index=index)

    def check(rival: str, mine: list[str], theirs: list[str]) -> None:
        assert mine == theirs == expected, rival

    def offline() -> list[str]:
        return list(find_ffis(1, 1, 1, options=options, index=index, offline=True)["key"])

    compare(
        f"the same {N_FFI} FFIs from the index on disk, asking what is new",
        lambda: list(find_ffis(1, 1, 1, options=options, index=index)["key"]),
        {
            "ours without a network": lambda: list(
                find_ffis(1, 1, 1, options=options, index=index, offline=True)["key"]
            ),
            "ours without an index": lambda: list(find_ffis(1, 1, 1, options=options)["key"]),
        },
        check=check,
        threads="all",
    )


def with_boto3(url: str, n_thread: int) -> Callable[[], list[str]]:
    """By day in threads; with 0 threads the whole sector through one paginator."""
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(signature_version=UNSIGNED, max_pool_connections=max(1, n_thread))

    def run() -> list[str]:
        client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=config)
        pages = client.get_paginator("list_objects_v2")

        def keys(prefix: str) -> list[str]:
            return [
                item["Key"]
                for page in pages.paginate(Bucket=BUCKET, Prefix=prefix)
                for item in page.get("Contents", ())
            ]

        if not n_thread:
            return [key for key in keys(SECTOR) if "/1-1/" in key]
        days = [
            item["Prefix"]
            for page in pages.paginate(Bucket=BUCKET, Prefix=SECTOR, Delimiter="/")
            for item in page.get("CommonPrefixes", ())
        ]
        with ThreadPoolExecutor(n_thread) as pool:
            return [key for some in pool.map(keys, [f"{day}1-1/" for day in days]) for key in some]

    return run


def with_obstore(session: harness.Session, url: str) -> Callable[[], list[str]] | None:
    if session.optional("obstore") is None:
        return None
    import obstore
    from obstore.store import S3Store

    async def run() -> list[str]:
        store = S3Store(
            BUCKET,
            endpoint=url,
            region="us-east-1",
            skip_signature=True,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

        async def keys(prefix: str) -> list[str]:
            return [item["path"] async for batch in obstore.list(store, prefix) for item in batch]

        days = (await obstore.list_with_delimiter_async(store, SECTOR))["common_prefixes"]
        return [key for some in await asyncio.gather(*(keys(f"{day}/1-1/") for day in days)) for key in some]

    return lambda: asyncio.run(run())


def with_s5cmd(url: str) -> Callable[[], list[str]] | None:
    program = Path(sys.executable).with_name("s5cmd")
    pattern = f"s3://{BUCKET}/{SECTOR}*/1-1/*"
    command: list[Any] = [program, "--endpoint-url", url, "--no-sign-request", "ls", "--show-fullpath", pattern]

    def run() -> list[str]:
        # With a region given it does not ask for the bucket's, a question that nginx does not know.
        environment = {**os.environ, "AWS_REGION": "us-east-1"}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        return [line.strip().removeprefix(f"s3://{BUCKET}/") for line in done.stdout.splitlines()]

    return run if program.exists() else None
