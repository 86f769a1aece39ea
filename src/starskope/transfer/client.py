"""One aiobotocore client per run.

Owns how the client is configured: unsigned unless credentials are asked for, as many pooled connections as requests in
flight, retries switched off in botocore because ``ranged`` and ``listing`` own them, TLS always verified. It refuses
to show credentials: nothing here is logged, and ``repr`` names the endpoint alone.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore import UNSIGNED
from botocore.exceptions import BotoCoreError

from starskope.errors import TransferError
from starskope.transfer.options import TransferOptions

__all__ = ["Client", "is_loopback", "open_client"]


@dataclass(eq=False)
class Client:
    """An open S3 client; made by `open_client` only.

    Parameters
    ----------
    s3 : aiobotocore client
        The real client. Callers outside this room use `read_range`, `list_objects` and `download` instead.
    options : TransferOptions
        What it was opened with.
    endpoint : str
        Address of the server, for messages.
    rng : random.Random
        Jitter of the waits; has no influence on any result.
    """

    s3: Any = field(repr=False)
    options: TransferOptions = field(repr=False)
    endpoint: str
    rng: random.Random = field(default_factory=random.Random, repr=False)

    @property
    def request_arguments(self) -> dict[str, str]:
        """Arguments that every request of this client carries."""
        return {"RequestPayer": "requester"} if self.options.request_payer else {}


@asynccontextmanager
async def open_client(options: TransferOptions | None = None) -> AsyncIterator[Client]:
    """Open the client of a run and close its connections at the end.

    Parameters
    ----------
    options : TransferOptions, optional
        Default: unsigned, AWS or the endpoint of the environment.

    Yields
    ------
    Client
        For use in this event loop only.

    Raises
    ------
    TransferError
        When the profile does not exist or the AWS configuration cannot be read.

    Notes
    -----
    Opens no socket by itself: the first request does. Costs ~0.1 s, mostly botocore reading its service model.
    """
    options = options or TransferOptions()
    endpoint_url = options.resolve_endpoint()
    arguments: dict[str, Any] = {}
    if endpoint_url is not None and is_loopback(endpoint_url):
        arguments["proxies"] = {}  # a proxy of the environment has no business between us and loopback
    config = AioConfig(
        signature_version=None if options.is_signed else UNSIGNED,
        max_pool_connections=options.max_connections,
        connect_timeout=options.connect_timeout_s,
        read_timeout=options.stall_timeout_s,
        retries={"total_max_attempts": 1},
        connector_args={"keepalive_timeout": options.idle_timeout_s},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        user_agent_extra="starskope",
        **arguments,
    )
    try:
        creator = AioSession(profile=options.profile).create_client(
            "s3", region_name=options.region, endpoint_url=endpoint_url, config=config
        )
        s3 = await creator.__aenter__()
    except (BotoCoreError, ValueError) as error:
        raise TransferError(f"cannot open an S3 client for {endpoint_url or 'AWS'}: {error}") from error
    try:
        yield Client(s3=s3, options=options, endpoint=str(s3.meta.endpoint_url))
    finally:
        await s3.close()


def is_loopback(url: str) -> bool:
    """Return whether an address is this machine's own."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
