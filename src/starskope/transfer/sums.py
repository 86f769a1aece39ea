"""What the bytes of an object must sum to, and the running sums that tell.

Owns the choice among the sums that a server stores and the notation of each. It refuses to read files or sockets, and
to take a sum of parts for a sum of the whole.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from starskope.transfer.checks import plain_etag

if TYPE_CHECKING:
    from starskope import _core

__all__ = ["RunningSum", "StoredSum", "choose_sum", "crc64", "crc64_text", "running_sum"]

_MD5_ETAG = re.compile(r"[0-9a-f]{32}")
_CHECKSUM_PREFIX = "x-amz-checksum-"
_N_CRC_BYTES = {"crc64nvme": 8, "crc32c": 4, "crc32": 4}
_DIGESTS = ("sha256", "sha1")


@dataclass(frozen=True)
class StoredSum:
    """What the server says that a whole object sums to.

    Parameters
    ----------
    name : str
        ``crc64nvme``, ``crc32c``, ``crc32``, ``sha256``, ``sha1`` or ``md5``.
    value : str
        As the server writes it: base 64, or hexadecimal digits for ``md5``.
    """

    name: str
    value: str


class RunningSum(Protocol):
    """A sum that grows with the bytes."""

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes in order."""

    def result(self) -> str:
        """Return the sum in the notation of `StoredSum.value`."""


def choose_sum(headers: Mapping[str, str], etag: str) -> StoredSum | None:
    """Return the cheapest sum that the server offers for a whole object, or None.

    Parameters
    ----------
    headers : mapping of str to str
        Lower-case names of an answer to a GET of the whole object with ``x-amz-checksum-mode: ENABLED``.
    etag : str
        An MD5 of the content when it is 32 hex digits (objects put in one part, without KMS encryption).

    Returns
    -------
    StoredSum or None
        In this order: CRC64NVME and CRC32C (0.04 CPU s/GB), CRC32, SHA-256 (0.56), SHA-1, MD5 (1.25, less
        where several run: see `running_sum`). A sum of sums (``-N`` at its end, or of type COMPOSITE) covers parts
        whose limits are unknown here and does not count.

    References
    ----------
    Amazon S3 User Guide, "Checking object integrity".
    """
    if headers.get(_CHECKSUM_PREFIX + "type", "FULL_OBJECT") == "FULL_OBJECT":
        for name in (*_N_CRC_BYTES, *_DIGESTS):
            value = headers.get(_CHECKSUM_PREFIX + name, "")
            if value and "-" not in value:
                return StoredSum(name, value)
    is_encrypted = "kms" in headers.get("x-amz-server-side-encryption", "")
    has_customer_key = "x-amz-server-side-encryption-customer-algorithm" in headers
    if _MD5_ETAG.fullmatch(plain_etag(etag)) and not is_encrypted and not has_customer_key:
        return StoredSum("md5", plain_etag(etag))
    return None


def running_sum(name: str) -> RunningSum:
    """Return an empty sum of this name.

    Raises
    ------
    ValueError
        For a name that `StoredSum` does not know.

    Notes
    -----
    MD5 sums that are added to at the same time, as by the threads of several bodies, hold back up to 1 MiB each and are
    computed side by side: 4 take 0.37 CPU s/GB with AVX-512, 8 take 0.19. MD5 is no use against adversaries here, so
    Pythons restricted to FIPS algorithms have it too.
    """
    if name in _N_CRC_BYTES:
        return _Crc(_crc_function(name), _N_CRC_BYTES[name])
    if name in _DIGESTS:
        return _Digest(name)
    if name == "md5":
        return _Md5()
    raise ValueError(f"{name!r} is no sum: expected one of {', '.join((*_N_CRC_BYTES, *_DIGESTS, 'md5'))}")


def crc64(data: bytes | bytearray | memoryview, value: int = 0) -> int:
    """Return the CRC64NVME of bytes that follow those which sum to `value`; releases the GIL."""
    return int(_crc_function("crc64nvme")(data, value))


def crc64_text(value: int) -> str:
    """Return a CRC64NVME as S3 writes it: 8 bytes, most significant first, in base 64.

    Examples
    --------
    >>> crc64_text(0xAE8B14860A799888)
    'rosUhgp5mIg='
    """
    return base64.b64encode(value.to_bytes(8, "big")).decode("ascii")


@functools.cache
def _crc_function(name: str) -> Callable[[Any, int], int]:
    from awscrt import checksums

    function: Callable[[Any, int], int] = getattr(checksums, name)
    return function


class _Crc:
    def __init__(self, function: Callable[[Any, int], int], n_bytes: int) -> None:
        self._function = function
        self._n_bytes = n_bytes
        self._value = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        self._value = self._function(data, self._value)

    def result(self) -> str:
        return base64.b64encode(self._value.to_bytes(self._n_bytes, "big")).decode("ascii")


class _Digest:
    def __init__(self, name: str) -> None:
        self._hash = hashlib.new(name, usedforsecurity=False)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        self._hash.update(data)

    def result(self) -> str:
        return base64.b64encode(self._hash.digest()).decode("ascii")


@functools.cache
def _md5_lanes() -> _core.Md5Lanes:
    from starskope import _core

    return _core.Md5Lanes()


if hasattr(os, "register_at_fork"):
    # The threads that were at work do not survive a fork.
    os.register_at_fork(after_in_child=_md5_lanes.cache_clear)


class _Md5:
    def __init__(self) -> None:
        from starskope import _core

        self._sum = _core.Md5(_md5_lanes())
        self.update = self._sum.update

    def result(self) -> str:
        return self._sum.digest().hex()
