"""Every knob of a transfer, with its default and its meaning, in one object.

Owns validation and the environment's say in the endpoint. It refuses to hold credentials: those stay with botocore's
providers, named at most by a profile.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["TransferOptions"]

_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_POSITIVE = (
    "max_connections",
    "max_attempts",
    "max_objects",
    "stall_timeout_s",
    "connect_timeout_s",
    "idle_timeout_s",
    "bytes_in_flight",
    "step_bytes",
    "write_bytes",
    "max_listed_keys",
)


@dataclass(frozen=True)
class TransferOptions:
    """How to reach S3 and how hard to try.

    Parameters
    ----------
    endpoint_url : str, optional
        ``http://`` or ``https://`` address of an S3 server. Without it AWS_ENDPOINT_URL_S3, then AWS_ENDPOINT_URL,
        then AWS itself.
    region : str
        Region of the bucket; ``stpubdata`` lives in us-east-1.
    signed : bool, optional
        Whether requests are signed. None: only when a profile is named, so that credentials which happen to lie in the
        environment are not used on public data.
    profile : str, optional
        Profile of the AWS configuration whose credentials sign the requests.
    request_payer : bool
        Agree to pay for requests to a requester-pays bucket; needs signed requests.
    max_connections : int
        Connections, and so requests in flight, of one client.
    max_objects : int
        Objects that one download moves at the same time.
    max_attempts : int
        Tries per request, the first included.
    stall_timeout_s : float
        A connection without one byte for so long counts as stalled.
    connect_timeout_s : float
        How long a connection may take to open.
    idle_timeout_s : float
        How long an unused connection is kept; S3 closes them after some seconds.
    backoff_base_s, backoff_max_s : float
        The wait before try ``n + 1`` is uniform between 0 and ``min(backoff_max_s, backoff_base_s * 2**n)``.
    bytes_in_flight : int
        Bytes that a stream may hold in memory ahead of its reader.
    step_bytes : int
        Bytes taken from a connection in one step.
    write_bytes : int
        Bytes gathered before they go to the disk in one call.
    max_listed_keys : int
        A listing longer than this is refused, so that no server can fill the memory.

    Raises
    ------
    ValueError
        For a value out of range, an endpoint that is no http(s) address, or options that contradict each other.
    """

    endpoint_url: str | None = None
    region: str = "us-east-1"
    signed: bool | None = None
    profile: str | None = None
    request_payer: bool = False
    max_connections: int = 32
    max_objects: int = 8
    max_attempts: int = 5
    stall_timeout_s: float = 15.0
    connect_timeout_s: float = 10.0
    idle_timeout_s: float = 5.0
    backoff_base_s: float = 0.2
    backoff_max_s: float = 10.0
    bytes_in_flight: int = 256 * 2**20
    step_bytes: int = 2**18
    write_bytes: int = 2**22
    max_listed_keys: int = 10_000_000

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ValueError(f"TransferOptions.{name} must be a number above 0, got {value!r}")
        for name in ("backoff_base_s", "backoff_max_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"TransferOptions.{name} must not be negative, got {getattr(self, name)!r}")
        if self.signed is False and self.profile is not None:
            raise ValueError(f"profile={self.profile!r} contradicts signed=False: drop one")
        if self.request_payer and not self.is_signed:
            raise ValueError("request_payer=True needs signed requests: add signed=True or a profile")
        if self.endpoint_url is not None:
            check_endpoint(self.endpoint_url, "endpoint_url")

    @property
    def is_signed(self) -> bool:
        """Whether requests carry a signature."""
        return self.profile is not None if self.signed is None else self.signed

    def resolve_endpoint(self) -> str | None:
        """Return the endpoint asked for here or in the environment; None means AWS.

        Raises
        ------
        ValueError
            When the environment names something that is no http(s) address.
        """
        if self.endpoint_url is not None:
            return self.endpoint_url
        for variable in _ENDPOINT_VARIABLES:
            if value := os.environ.get(variable):
                check_endpoint(value, variable)
                return value
        return None


def check_endpoint(url: str, source: str) -> None:
    """Refuse what is not a plain http(s) address.

    Parameters
    ----------
    url : str
        The address.
    source : str
        Where it came from, for the message.

    Raises
    ------
    ValueError
        Without the address where that holds a password.
    """
    remedy = "expected something like https://s3.amazonaws.com or http://127.0.0.1:9000"
    if not isinstance(url, str):
        raise ValueError(f"{source} must be a string, got {type(url).__name__}: {remedy}")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(f"{source} is not an address, got {url!r}: {remedy}") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{source} holds a user name or password: keep credentials in an AWS profile")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{source} must start with http:// or https:// and name a host, got {url!r}: {remedy}")
    if parts.query or parts.fragment:
        raise ValueError(f"{source} must not hold a query or fragment, got {url!r}: {remedy}")
