"""One object and a client that has learned the short way to it: what the tests of small ranges share."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from fault_server import FaultServer

from starskope.errors import TransferError
from starskope.synth.endpoint import Endpoint
from starskope.transfer.client import Client, open_client
from starskope.transfer.options import TransferOptions
from starskope.transfer.ranged import RangeRead, read_range
from starskope.transfer.ranges import read_ranges
from starskope.transfer.uris import S3Uri

BUCKET = "stpubdata"
CONTENT = np.random.default_rng(11).bytes(200_000)
ETAG = hashlib.md5(CONTENT).hexdigest()
URI = S3Uri(BUCKET, "quick/frame-1_a~b.fits")
PLAIN = S3Uri(BUCKET, "quick/frame.fits")  # as nginx has it


@pytest.fixture(scope="module", autouse=True)
def objects(endpoint: Endpoint) -> None:
    endpoint.put(URI.key, CONTENT)


@pytest.fixture
def proxy(endpoint: Endpoint) -> Iterator[FaultServer]:
    with FaultServer(endpoint.url) as server:
        yield server
        assert server.wait_closed(), "a connection was left open"
    gc.collect()


@asynccontextmanager
async def ready(server: Any, uri: S3Uri = URI, **changes: Any) -> AsyncIterator[Client]:
    """A client that has learned the short way."""
    options: dict[str, Any] = {"max_attempts": 4, "stall_timeout_s": 0.8, "backoff_base_s": 0.01, **changes}
    async with open_client(TransferOptions(endpoint_url=server.url, **options)) as client:
        await read_range(client, uri, 0, 1)
        assert client.quick.knows(uri, 1) == (options.get("small_read_bytes") != 0)
        yield client


async def collect(client: Client, requests: Any, **named: Any) -> dict[int, RangeRead | TransferError]:
    found: dict[int, RangeRead | TransferError] = {}
    async for index, result in read_ranges(client, requests, **named):
        assert index not in found
        found[index] = result
    return found
