"""Ranges of 2,880 bytes, one FITS block each, from one object on nginx: requests per second of one process."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import harness
import pytest

from starskope.transfer.client import Client, open_client
from starskope.transfer.options import TransferOptions
from starskope.transfer.ranges import RangeRequest, read_ranges
from starskope.transfer.uris import S3Uri

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
nginx_server = pytest.importorskip("nginx_server")
latency_server = pytest.importorskip("latency_server")
pytestmark = pytest.mark.skipif(nginx_server.find_nginx() is None, reason="nginx is not installed")

Compare = Callable[..., harness.Row]
Reader = Callable[[list[int]], list[bytes]]
BUCKET, KEY = "stpubdata", "tess/public/cube.fits"
URI = S3Uri(BUCKET, KEY)
N_BYTES = 2880
N_OBJECT = 11_000 * N_BYTES
IN_FLIGHT = {"http": 32, "https": 32, "50 ms away": 256}  # of the rivals: near a server more only queue
LATENCY_S = 0.05
N_READ, N_READ_FAR = 4000, 1500
INVENTED = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE00", "AWS_SECRET_ACCESS_KEY": "opens/nothing"}


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    root = tmp_path_factory.mktemp("bucket")
    data = os.urandom(N_OBJECT)
    (root / BUCKET / KEY).parent.mkdir(parents=True)
    (root / BUCKET / KEY).write_bytes(data)
    return root, data


@contextmanager
def _server(root: Path, way: str) -> Iterator[str]:
    """Nginx over http or https, or over http with latency; its address, and its authority in the environment."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        server = stack.enter_context(nginx_server.Nginx(root, tls=way == "https"))
        if server.ca_file is not None:
            patch.setenv("AWS_CA_BUNDLE", str(server.ca_file))
        for name, value in INVENTED.items():
            patch.setenv(name, value)
        yield (
            stack.enter_context(latency_server.LatencyServer(server.url, LATENCY_S)).url
            if way == "50 ms away"
            else server.url
        )


@pytest.mark.parametrize(
    ("way", "signed"),
    [("http", False), ("http", True), ("https", False), ("50 ms away", False), ("50 ms away", True)],
    ids=lambda value: value if isinstance(value, str) else "signed" if value else "unsigned",
)
def test_small_reads(
    compare: Compare, session: harness.Session, content: tuple[Path, bytes], way: str, signed: bool
) -> None:
    root, data = content
    n_read = N_READ_FAR if way == "50 ms away" else N_READ
    starts = [N_BYTES * (7 * i % 10_000) for i in range(n_read)]
    expected = [data[start : start + N_BYTES] for start in starts]
    n = IN_FLIGHT[way]
    with ExitStack() as stack:
        url = stack.enter_context(_server(root, way))
        readers = {
            "ours": stack.enter_context(_ours(url, signed)),
            "aiobotocore, get_object": stack.enter_context(_aiobotocore(url, signed, n)),
            f"boto3, {n} threads": stack.enter_context(_boto3(url, signed, n)),
            **{name: stack.enter_context(_obstore(session, url, signed, n, name)) for name in ("async", "threads")},
        }
        runs = {name: (lambda read=read: read(starts)) if read else None for name, read in readers.items()}
        renamed = {"async": "obstore, async", "threads": f"obstore, {n} threads"}
        row = compare(
            f"{n_read} ranges of 2,880 bytes, {way}, {'signed' if signed else 'unsigned'}",
            runs.pop("ours"),
            {renamed.get(name, name): run for name, run in runs.items()},
            check=lambda rival, mine, theirs: _check(rival, mine, theirs, expected),
            rounds=5,
            n_bytes=n_read * N_BYTES,
        )
        cpu_s = _cpu_s(lambda: readers["ours"](starts))
    rate = n_read / row.ours.best
    row.notes.append(f"ours {rate:,.0f}/s, {cpu_s / n_read * 1e6:.0f} us CPU each")
    if way == "http":
        must, aim = (2500, 5000) if signed else (5000, 10_000)
        row.must(f"{must:,}/s", rate >= must)
        row.aim(f"{aim:,}/s", rate >= aim)
    fastest = max((name for name in row.rivals), key=lambda name: 1 / row.rivals[name].best)
    row.notes.append(f"fastest rival: {fastest}, {row.ratio(fastest):.2g}x our time")


def _check(rival: str, mine: list[bytes], theirs: list[bytes], expected: list[bytes]) -> None:
    assert mine == expected, "ours"
    assert theirs == expected, rival


def _cpu_s(run: Callable[[], Any]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def test_hundred_thousand_reads_leave_nothing(session: harness.Session, content: tuple[Path, bytes]) -> None:
    """Memory, descriptors and tasks after each tenth of 100,000 reads."""
    psutil = pytest.importorskip("psutil")
    root, data = content
    n_round, n_read = 10, 10_000
    states: list[tuple[int, int, int]] = []

    async def read(url: str) -> float:
        began = time.perf_counter()
        async with _open(url, signed=False) as client:
            for _ in range(n_round):
                requests = (RangeRequest(URI, N_BYTES * i, N_BYTES * (i + 1)) for i in range(n_read))
                async for index, result in read_ranges(client, requests):
                    assert result.data == data[N_BYTES * index : N_BYTES * (index + 1)]
                gc.collect()
                process = psutil.Process()
                states.append((process.memory_info().rss, process.num_fds(), len(asyncio.all_tasks())))
        return time.perf_counter() - began

    with _server(root, "http") as url:
        seconds = asyncio.run(read(url))
    memory, descriptors, tasks = zip(*states, strict=True)
    grown = memory[-1] - memory[1]
    assert grown < 8 * 2**20, memory
    assert max(descriptors) <= descriptors[0] + 64, descriptors
    assert set(tasks) == {1}
    row = session.record(harness.Row("100,000 ranges of 2,880 bytes, with checks", harness.Timing([seconds]), {}))
    row.must("memory, descriptors and tasks flat", True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    row.notes.append(
        f"resident {memory[1] >> 20} MiB after 20,000 reads, {memory[-1] >> 20} after 100,000 (peak of the"
    )
    row.notes[-1] += f" process {peak >> 10} MiB); descriptors {descriptors[1]} and {descriptors[-1]}, one task"


@asynccontextmanager
async def _open(url: str, *, signed: bool) -> AsyncIterator[Client]:
    async with open_client(TransferOptions(endpoint_url=url, signed=signed)) as client:
        yield client


@contextmanager
def _in_a_loop(opening: Any, read: Callable[[Any, list[int]], Awaitable[list[bytes]]]) -> Iterator[Reader]:
    """Keep an asynchronous client open between the rounds: opening it is no part of a read."""
    with asyncio.Runner() as runner:
        opened = runner.run(opening.__aenter__())
        try:
            yield lambda starts: runner.run(read(opened, starts))
        finally:
            runner.run(opening.__aexit__(None, None, None))


def _ours(url: str, signed: bool) -> Any:
    async def read(client: Client, starts: list[int]) -> list[bytes]:
        out = [b""] * len(starts)
        async for index, result in read_ranges(client, [RangeRequest(URI, at, at + N_BYTES) for at in starts]):
            out[index] = result.data
        return out

    return _in_a_loop(_open(url, signed=signed), read)


def _aiobotocore(url: str, signed: bool, n: int) -> Any:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session
    from botocore import UNSIGNED

    config = AioConfig(signature_version=None if signed else UNSIGNED, max_pool_connections=n)
    opening = get_session().create_client("s3", endpoint_url=url, region_name="us-east-1", config=config)

    async def read(client: Any, starts: list[int]) -> list[bytes]:
        async def one(at: int) -> bytes:
            answer = await client.get_object(Bucket=BUCKET, Key=KEY, Range=f"bytes={at}-{at + N_BYTES - 1}")
            async with answer["Body"] as body:
                return bytes(await body.read())

        return await _in_flight(one, starts, n)

    return _in_a_loop(opening, read)


async def _in_flight(one: Callable[[int], Awaitable[bytes]], starts: list[int], n: int) -> list[bytes]:
    out = [b""] * len(starts)
    queue = iter(enumerate(starts))

    async def work() -> None:
        for index, at in queue:
            out[index] = await one(at)

    await asyncio.gather(*(work() for _ in range(n)))
    return out


@contextmanager
def _boto3(url: str, signed: bool, n: int) -> Iterator[Reader]:
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(signature_version=None if signed else UNSIGNED, max_pool_connections=n)
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=config)

    def one(at: int) -> bytes:
        return client.get_object(Bucket=BUCKET, Key=KEY, Range=f"bytes={at}-{at + N_BYTES - 1}")["Body"].read()

    with ThreadPoolExecutor(n) as pool:
        yield lambda starts: list(pool.map(one, starts))
    client.close()


@contextmanager
def _obstore(session: harness.Session, url: str, signed: bool, n: int, way: str) -> Iterator[Reader | None]:
    if session.optional("obstore") is None:
        yield None
        return
    import obstore
    from obstore.store import S3Store

    client_options: dict[str, Any] = {"allow_http": True}
    if url.startswith("https"):
        client_options["allow_invalid_certificates"] = True  # it takes no authority from a file
    store = S3Store(
        BUCKET,
        endpoint=url,
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options=client_options,
        **({"access_key_id": "AKIAEXAMPLEEXAMPLE00", "secret_access_key": "opens/nothing"} if signed else {}),
        **({} if signed else {"skip_signature": True}),
    )
    if way == "async":

        async def one(at: int) -> bytes:
            return bytes(await obstore.get_range_async(store, KEY, start=at, end=at + N_BYTES))

        with asyncio.Runner() as runner:
            yield lambda starts: runner.run(_in_flight(one, starts, n))
    else:
        with ThreadPoolExecutor(n) as pool:
            yield lambda starts: list(
                pool.map(lambda at: bytes(obstore.get_range(store, KEY, start=at, end=at + N_BYTES)), starts)
            )
