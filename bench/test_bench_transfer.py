"""24 objects of the size of an FFI from the embedded S3 endpoint to files."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import harness
import pytest
from inputs import FullFrame

from starskope.synth.endpoint import Endpoint
from starskope.transfer.download import download
from starskope.transfer.options import TransferOptions

Compare = Callable[..., harness.Row]
N_OBJECT = 24
BUCKET = "stpubdata"
PREFIX = "tess/public/bench/"
STEP = 4 << 20


@pytest.fixture(scope="module")
def digests(endpoint: Endpoint, full_frame: FullFrame) -> dict[str, str]:
    """Fill the server; return the sha256 of each object by its name."""
    out = {}
    for i in range(N_OBJECT):
        body = full_frame.buffer[:-8] + i.to_bytes(8, "big")
        name = f"frame{i:02d}_ffic.fits"
        endpoint.put(PREFIX + name, body, bucket=BUCKET)
        out[name] = hashlib.sha256(body).hexdigest()
    return out


def test_download(
    compare: Compare,
    session: harness.Session,
    endpoint: Endpoint,
    digests: dict[str, str],
    full_frame: FullFrame,
    workspace: Path,
) -> None:
    names = sorted(digests)
    folder = workspace / "downloads"

    def empty() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()

    def read(rival: str, *_: Any) -> None:
        for name in names:
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digests[name], (rival, name)

    def ours() -> None:
        options = TransferOptions(endpoint_url=endpoint.url)
        report = download([f"s3://{BUCKET}/{PREFIX}{name}" for name in names], folder, options=options)
        assert set(report["status"]) == {"downloaded"}

    rivals = {
        "s5cmd": with_s5cmd(endpoint.url, folder),
        "boto3": with_boto3(endpoint.url, folder, names),
        "obstore": with_obstore(session, endpoint.url, folder, names),
        "aiobotocore, plain": with_aiobotocore(endpoint.url, folder, names),
    }
    empty()
    ours()
    read("ours")
    row = compare(
        f"download {N_OBJECT} FFIs of 35.5 MB over loopback to files",
        ours,
        rivals,
        check=read,
        setup=empty,
        n_bytes=N_OBJECT * len(full_frame.buffer),
        rounds=3,
        rival_budget_s=12.0,
        threads="all",
    )
    row.aim("within 10 % of the fastest", min(map(row.ratio, row.rivals)) >= 0.9)
    row.notes.append("ours alone holds every byte against a checksum and fsyncs before it renames")
    shutil.rmtree(folder)


def with_s5cmd(url: str, folder: Path) -> Callable[[], None] | None:
    program = Path(sys.executable).with_name("s5cmd")
    source = f"s3://{BUCKET}/{PREFIX}*"
    command = [str(program), "--endpoint-url", url, "--no-sign-request", "cp", source, f"{folder}/"]
    return (lambda: _quietly(command)) if program.exists() else None


def _quietly(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def with_boto3(url: str, folder: Path, names: list[str]) -> Callable[[], None]:
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(signature_version=UNSIGNED, max_pool_connections=32)

    def run() -> None:
        client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=config)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: client.download_file(BUCKET, PREFIX + name, str(folder / name)), names))

    return run


def with_obstore(session: harness.Session, url: str, folder: Path, names: list[str]) -> Callable[[], None] | None:
    if session.optional("obstore") is None:
        return None
    import obstore
    from obstore.store import S3Store

    def run() -> None:
        store = S3Store(
            BUCKET,
            endpoint=url,
            region="us-east-1",
            skip_signature=True,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

        def one(name: str) -> None:
            with (folder / name).open("wb", buffering=0) as file:
                for chunk in obstore.get(store, PREFIX + name).stream(min_chunk_size=STEP):
                    file.write(chunk)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(one, names))

    return run


def with_aiobotocore(url: str, folder: Path, names: list[str]) -> Callable[[], None]:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session
    from botocore import UNSIGNED

    async def fetch_all() -> None:
        config = AioConfig(signature_version=UNSIGNED, max_pool_connections=32)
        async with get_session().create_client(
            "s3", endpoint_url=url, region_name="us-east-1", config=config
        ) as client:
            limit = asyncio.Semaphore(8)

            async def one(name: str) -> None:
                async with limit:
                    answer = await client.get_object(Bucket=BUCKET, Key=PREFIX + name)
                    async with answer["Body"] as body:
                        (folder / name).write_bytes(await body.read())

            await asyncio.gather(*map(one, names))

    return lambda: asyncio.run(fetch_all())
