"""What the tests of uploads share: a server with a bucket, products as a run leaves them, and what the bucket holds."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import loopback_tls
import numpy as np
import pytest
from fault_server import FaultServer

from starskope.synth.endpoint import Endpoint
from starskope.transfer.options import TransferOptions

BUCKET = "products"
PART = 16 * 2**20
SECRET = "invented-secret-that-nobody-may-see"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIAINVENTED", "AWS_SECRET_ACCESS_KEY": SECRET}


def make_products(folder: Path) -> Path:
    """A file, and a store of several: one empty, one large enough for parts."""
    rng = np.random.default_rng(7)
    (folder / "curves.zarr" / "flux" / "c").mkdir(parents=True)
    (folder / "stack.fits").write_bytes(rng.bytes(100_000))
    (folder / "curves.zarr" / "zarr.json").write_bytes(b"{}")
    (folder / "curves.zarr" / "flux" / "c" / "0").write_bytes(b"")
    (folder / "curves.zarr" / "flux" / "c" / "1").write_bytes(rng.bytes(PART + 12_345))
    return folder


def options_for(server: Endpoint | FaultServer, **changes: object) -> TransferOptions:
    settings = {"endpoint_url": server.url, "backoff_base_s": 0.01, "max_attempts": 3, **changes}
    return TransferOptions(**settings)  # type: ignore[arg-type]


def stored(server: Endpoint, prefix: str) -> dict[str, bytes]:
    client = server._s3(BUCKET)
    keys = [entry["Key"] for entry in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", ())]
    return {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def unfinished(server: Endpoint) -> list[str]:
    """Keys of uploads in parts that were begun and neither ended nor given up."""
    return [upload["Key"] for upload in server._s3(BUCKET).list_multipart_uploads(Bucket=BUCKET).get("Uploads", ())]


def local(folder: Path, prefix: str) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {f"{prefix}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in files}


@contextmanager
def tls_front(upstream_url: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """TLS before a server that speaks none, bytes passed on unread; gives the address and the file of its authority."""
    ca_file, certificate, key = loopback_tls.issue(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    behind = urlsplit(upstream_url)
    running, started = asyncio.new_event_loop(), threading.Event()
    stop = asyncio.Event()
    address: list[str] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(2**16):
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(behind.hostname, behind.port)
        with suppress(asyncio.CancelledError):
            await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))
        for one in (writer, up_writer):
            one.close()

    async def serve() -> None:
        server = await asyncio.start_server(connect, "127.0.0.1", 0, ssl=context)
        address.append(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        started.set()
        await stop.wait()
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=running.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    if not started.wait(10):
        raise RuntimeError("the TLS front did not start")
    try:
        yield address[0], ca_file
    finally:
        running.call_soon_threadsafe(stop.set)
        thread.join(10)
        running.close()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def server(endpoint: Endpoint) -> Endpoint:
    endpoint.put("made", b"", bucket=BUCKET)
    return endpoint
