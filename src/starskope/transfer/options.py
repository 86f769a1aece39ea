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
_COUNTS = (
    "max_connections",
    "min_connections",
    "start_connections",
    "max_objects",
    "busy_bodies",
    "max_attempts",
    "max_lost",
    "renew_bytes",
    "max_answer_bytes",
    "bytes_in_flight",
    "step_bytes",
    "write_bytes",
    "max_listed_keys",
)
_POSITIVE = (
    "pace_increase",
    "stall_timeout_s",
    "retry_seconds",
    "connect_timeout_s",
    "idle_timeout_s",
    "hedge_max_s",
    "assumed_bytes_per_s",
)
_NOT_NEGATIVE = (
    "assumed_latency_s",
    "backoff_base_s",
    "backoff_max_s",
    "min_bytes_per_s",
    "max_replaced",
    "small_read_bytes",
    "hedge_min_s",
)
_FRACTIONS = ("pace_decrease", "hedge_quantile", "hedge_share")


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
        Most requests in flight to one host. A client uses at most half the files that the process may open.
    min_connections, start_connections : int
        Fewest, and how many at first. The number rises with every success while more are wanted, and falls when the
        server says 503 SlowDown or 429.
    host_limits : tuple of (str, int)
        Domain and most requests in flight to each host in it, below `max_connections`. STScI's own servers are small.
    pace_increase : float
        Requests in flight gained per round of successes, after the first fall; until then each success brings one.
    pace_decrease : float
        Factor of a fall.
    max_objects : int
        Objects that one download moves at the same time.
    busy_bodies : int
        Of these, how many are received and deciphered at the same moment. More than a few threads wait for each other
        rather than work: under TLS, Python's lock changes hands every 16 KiB.
    max_attempts : int
        Tries per object or range, the first included.
    retry_seconds : float
        Seconds without progress that an object or range may cost over all its tries, waits included.
    renew_bytes : int
        A try that brought so many bytes before it broke is forgiven: it counts neither as try nor in seconds.
    max_replaced : int
        Extra tries when an answer has another ETag than the one asked for, which a cache on the way may cause once.
    max_lost : int
        Objects or ranges whose tries may run out, one after the other without a success between, before the rest is
        not tried: the server is gone.
    stall_timeout_s : float
        A connection without one byte for so long counts as stalled.
    min_bytes_per_s : float
        A connection slower than this, averaged over `stall_timeout_s`, counts as stalled too. There is no limit on the
        time of a transfer as a whole.
    connect_timeout_s : float
        How long a connection may take to open.
    idle_timeout_s : float
        How long an unused connection is kept; S3 closes them after some seconds.
    backoff_base_s, backoff_max_s : float
        The wait before try ``n + 1`` is uniform between 0 and ``min(backoff_max_s, backoff_base_s * 2**n)``.
    small_read_bytes : int
        Ranges up to this size are read whole, past most of botocore's machinery, and may be hedged; 0 for none.
    hedge_share : float
        Share of the small reads that may be asked for a second time when they are late; 0 for none.
    hedge_quantile : float
        A small read is late when it takes longer than this share of the latest ones took.
    hedge_min_s, hedge_max_s : float
        Bounds on that time; the upper one holds until enough reads were timed.
    max_answer_bytes : int
        A listing's page or an error longer than this is refused, so that no server can fill the memory.
    bytes_in_flight : int
        Bytes that a stream may hold in memory ahead of its reader.
    step_bytes : int
        Bytes taken from a connection in one step.
    direct_bytes : int
        Bodies from this size on, of files and of frames, are received by threads of their own; 0 for all of them.
    write_bytes : int
        Bytes gathered before they go to the disk in one call.
    max_listed_keys : int
        A listing, or all listings of one search, longer than this is refused, so that no server can fill the memory.
        A whole sector has up to 400,000.
    assumed_latency_s, assumed_bytes_per_s : float
        Time to the first byte of an answer, and speed of the whole line, by which cutouts choose between a cube and
        whole frames and which gaps they read over; they change times, never results.

    Raises
    ------
    ValueError
        For a value out of range, an endpoint that is no http(s) address, or options that contradict each other.

    Notes
    -----
    With the defaults a fault that never ends is given up within 70 s: 45 s without progress, and at most what was left
    of a try (18 s) and of a wait.
    """

    endpoint_url: str | None = None
    region: str = "us-east-1"
    signed: bool | None = None
    profile: str | None = None
    request_payer: bool = False
    max_connections: int = 256
    min_connections: int = 2
    start_connections: int = 32
    host_limits: tuple[tuple[str, int], ...] = (("stsci.edu", 3),)
    pace_increase: float = 1.0
    pace_decrease: float = 0.5
    max_objects: int = 8
    busy_bodies: int = 2
    max_attempts: int = 5
    retry_seconds: float = 45.0
    renew_bytes: int = 64 * 2**20
    max_replaced: int = 2
    max_lost: int = 8
    stall_timeout_s: float = 15.0
    min_bytes_per_s: float = 1000.0
    connect_timeout_s: float = 10.0
    idle_timeout_s: float = 5.0
    backoff_base_s: float = 0.2
    backoff_max_s: float = 10.0
    small_read_bytes: int = 2**21
    hedge_share: float = 0.02
    hedge_quantile: float = 0.99
    hedge_min_s: float = 0.05
    hedge_max_s: float = 2.0
    max_answer_bytes: int = 32 * 2**20
    bytes_in_flight: int = 256 * 2**20
    step_bytes: int = 2**18
    direct_bytes: int = 2**20
    write_bytes: int = 2**19
    max_listed_keys: int = 1_000_000
    assumed_latency_s: float = 0.05
    assumed_bytes_per_s: float = 1e8

    def __post_init__(self) -> None:
        for name in (*_COUNTS, *_POSITIVE):
            if not (_is_number(value := getattr(self, name)) and value > 0):
                raise ValueError(f"TransferOptions.{name} must be a number above 0, got {value!r}")
        for name in _COUNTS:
            if getattr(self, name) % 1:
                raise ValueError(f"TransferOptions.{name} must be a whole number, got {getattr(self, name)!r}")
        for name in _NOT_NEGATIVE:
            if not (_is_number(value := getattr(self, name)) and value >= 0):
                raise ValueError(f"TransferOptions.{name} must not be negative, got {value!r}")
        for name in _FRACTIONS:
            if not (_is_number(value := getattr(self, name)) and 0 <= value < 1):
                raise ValueError(f"TransferOptions.{name} must be a fraction from 0 to below 1, got {value!r}")
        self._check_hosts()
        if self.signed is False and self.profile is not None:
            raise ValueError(f"profile={self.profile!r} contradicts signed=False: drop one")
        if self.request_payer and not self.is_signed:
            raise ValueError("request_payer=True needs signed requests: add signed=True or a profile")
        if self.endpoint_url is not None:
            check_endpoint(self.endpoint_url, "endpoint_url")

    def _check_hosts(self) -> None:
        for entry in self.host_limits:
            match entry:
                case (str() as domain, int() as most) if domain.strip(".") and most >= 1 and most is not True:
                    continue
            raise ValueError(f"TransferOptions.host_limits holds {entry!r}: expected (domain, connections from 1 on)")

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


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
