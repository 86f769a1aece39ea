"""One aiobotocore client per run.

Owns how the client is configured: unsigned unless credentials are asked for, as many pooled connections as requests in
flight, retries switched off in botocore because ``ranged`` and ``listing`` own them, TLS always verified, redirects not
followed. It refuses to show credentials: nothing here is logged, and ``repr`` names the endpoint alone.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache, cached_property
from typing import Any
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore import UNSIGNED
from botocore.exceptions import BotoCoreError
from botocore.loaders import create_loader
from botocore.utils import parse_timestamp

from starskope.errors import TransferError
from starskope.transfer.body_thread import Turns
from starskope.transfer.connections import connections_class
from starskope.transfer.options import TransferOptions
from starskope.transfer.pacing import Pace
from starskope.transfer.quickread import QuickReads

__all__ = ["Client", "is_loopback", "open_client"]

# Beside the requests that go through a gate, for those that are outside of it.
_SPARE_CONNECTIONS = 4


@dataclass(eq=False)
class Client:
    """An open client: of S3, made by `open_client`, or of web servers, made by `transfer.web`.

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

    Attributes
    ----------
    pace : Pace
        The gate that every request goes through: ``async with client.pace.slot() as slot:``.
    quick : QuickReads
        The short way of small ranges.
    """

    s3: Any = field(repr=False)
    options: TransferOptions = field(repr=False)
    endpoint: str
    rng: random.Random = field(default_factory=random.Random, repr=False)
    pace: Pace = field(init=False, repr=False)
    quick: QuickReads = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.pace = Pace(self.options, urlsplit(self.endpoint).hostname or "", _affordable_connections())
        self.quick = QuickReads(self.s3, self.options)

    @cached_property
    def turns(self) -> Turns:
        """The turns at the CPU of the bodies that come."""
        return Turns(self.options.busy_bodies)

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
    arguments["http_session_cls"] = connections_class(options.max_answer_bytes, options.step_bytes)
    config = AioConfig(
        signature_version=None if options.is_signed else UNSIGNED,
        max_pool_connections=min(options.max_connections, _affordable_connections()) + _SPARE_CONNECTIONS,
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
        session = AioSession(profile=options.profile)
        session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
        session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_timestamp)
        creator = session.create_client("s3", region_name=options.region, endpoint_url=endpoint_url, config=config)
        s3 = await creator.__aenter__()
    except (BotoCoreError, ValueError) as error:
        raise TransferError(f"cannot open an S3 client for {endpoint_url or 'AWS'}: {error}") from error
    client = Client(s3, options, str(s3.meta.endpoint_url))
    try:
        yield client
    finally:
        await client.quick.close()
        await s3.close()


@cache
def _loader(data_path: str | None) -> Any:
    """Return the reader of botocore's descriptions of services: shared, each client after the first opens in 10 ms."""
    loader = create_loader(data_path)
    # Else it looks into the folders of all 400 services, twice.
    loader.list_available_services = lambda type_name: ["s3"]
    return loader


def _timestamp(text: Any) -> datetime:
    """Read a date of S3's XML (ISO 8601) or headers (RFC 9110); botocore's own reader takes 60 us for each."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            date = read(text)
        except (TypeError, ValueError):
            continue
        if date.tzinfo is not None:
            return date
    other: datetime = parse_timestamp(text)
    return other


def _affordable_connections() -> int:
    """Return half of the files that this process may open, so that the other half is left to its files."""
    try:
        import resource
    except ImportError:
        return 256  # no such limit where the module is missing, but what select() takes is
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**16 if soft == resource.RLIM_INFINITY else max(1, soft // 2)


def is_loopback(url: str) -> bool:
    """Return whether an address is this machine's own."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
