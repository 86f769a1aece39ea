"""SIGKILL at random moments of one download: right bytes in the end, and hardly any byte fetched twice."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from fault_server import Exchange, FaultServer

from starskope.synth.endpoint import Endpoint

BUCKET = "stpubdata"
N_OBJECT = 64
N_KILL = 20
SIZE = 400_000
PIECE = 2**14
CODE = """
import sys
from starskope.transfer.download import download
from starskope.transfer.options import TransferOptions
settings, uris, folder = eval(sys.argv[1]), sys.argv[3:], sys.argv[2]
report = download(uris, folder, options=TransferOptions(**settings))
failed = [row["error"] for row in report if row["status"] == "failed"]
sys.exit(failed[0] if failed else 0)
"""


def start(uris: Sequence[str], folder: Path, settings: dict[str, object]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CODE, repr(settings), str(folder), *uris], stderr=subprocess.PIPE)


def kill_at_random(
    uris: Sequence[str],
    folder: Path,
    settings: dict[str, object],
    n_fetched: Callable[[], int],
    n_total: int,
    rng: random.Random,
) -> list[int]:
    """Kill a download `N_KILL` times, each after a random share of the bytes, let it end; return when it was killed."""
    killed_at = []
    for _ in range(N_KILL):
        until = n_fetched() + rng.uniform(0, 1.6 * n_total / N_KILL)
        with start(uris, folder, settings) as process:
            deadline = time.monotonic() + 60
            while n_fetched() < until and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.001)
            process.kill()
            process.wait()
        killed_at.append(n_fetched())
    with start(uris, folder, settings) as process:
        _, complaint = process.communicate(timeout=120)
        assert process.returncode == 0, complaint.decode()
    return killed_at


async def _slowly(exchange: Exchange) -> None:
    """Send 16 KiB every few milliseconds, so that what is counted as sent was also received."""
    answer = await exchange.upstream()
    exchange.writer.write(answer.head())
    for start_ in range(0, len(answer.body), PIECE):
        piece = answer.body[start_ : start_ + PIECE]
        exchange.writer.write(piece)
        await exchange.writer.drain()
        exchange.server.n_bytes += len(piece)
        await asyncio.sleep(0.016)
    exchange.is_whole = True


@pytest.mark.timeout(300)
def test_twenty_kills_cost_less_than_a_tenth(endpoint: Endpoint, tmp_path: Path) -> None:
    contents = {f"{index:02d}.bin": np.random.default_rng(index).bytes(SIZE + index) for index in range(N_OBJECT)}
    for name, content in contents.items():
        endpoint.put(f"kill/{name}", content)
    uris = [f"s3://{BUCKET}/kill/{name}" for name in contents]
    total = sum(map(len, contents.values()))
    with FaultServer(endpoint.url) as proxy:
        proxy.plan(_slowly)
        # As many bytes under way, for their size, as a download of full frames has by default.
        settings = {"endpoint_url": proxy.url, "max_objects": 4, "write_bytes": PIECE, "step_bytes": PIECE}
        killed_at = kill_at_random(uris, tmp_path, settings, lambda: proxy.n_bytes, total, random.Random(5))
        n_fetched = proxy.n_bytes
    assert len({n // (total // 40) for n in killed_at}) > 5, "the kills are spread over the download"
    for name, content in contents.items():
        assert (tmp_path / name).read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == [*contents, "manifest.parquet"]
    assert total <= n_fetched <= 1.1 * total
