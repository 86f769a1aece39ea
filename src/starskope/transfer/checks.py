"""What an answer must say before its bytes count, and what the bytes must sum to, as pure functions.

Owns the comparison of status, Content-Range, Content-Length and ETag with what was asked, and the choice of the hash
that a whole object can be held against. It refuses to repair: whoever reads decides whether to ask again.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["AnswerError", "Extent", "Hasher", "check_extent", "choose_hasher", "plain_etag"]

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")
_MD5_ETAG = re.compile(r"[0-9a-f]{32}")
_CHECKSUM_PREFIX = "x-amz-checksum-"


class AnswerError(Exception):
    """The server answered, but not what was asked."""


class ObjectChangedError(AnswerError):
    """The object is not the one that the earlier bytes came from."""


@dataclass(frozen=True)
class Extent:
    """The bytes that an accepted answer carries.

    Parameters
    ----------
    start, stop : int
        Half-open byte range within the object.
    object_size : int
        Bytes of the whole object.
    etag : str
        Without quotes.
    headers : mapping
        Lower-case names; used for stored checksums.
    """

    start: int
    stop: int
    object_size: int
    etag: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def plain_etag(etag: str) -> str:
    """Return an ETag without quotes and weakness mark."""
    return etag.strip().removeprefix("W/").strip('"')


def check_extent(
    status: int, headers: Mapping[str, str], start: int, stop: int | None, etag: str | None, size: int | None = None
) -> Extent:
    """Hold the head of an answer against the request.

    Parameters
    ----------
    status : int
        HTTP status.
    headers : mapping of str to str
        Lower-case names.
    start : int
        First byte asked for.
    stop : int or None
        One past the last byte asked for; None when everything from `start` on was asked for.
    etag : str or None
        ETag that the object must have.
    size : int or None
        Size that the object must have.

    Returns
    -------
    Extent
        A range that ends early only where the object does.

    Raises
    ------
    AnswerError
        When the answer is not exactly those bytes of exactly that object.

    Notes
    -----
    A server that ignores Range answers 200 with the whole object. That is accepted only when the whole object is what
    was asked for; to read on and cut would fetch 35 MB for 3 kB.
    """
    length = _whole_number(headers, "content-length")
    answer_etag = plain_etag(headers.get("etag", ""))
    if not answer_etag:
        raise AnswerError("the answer has no ETag, as every answer of S3 has: is the endpoint right?")
    if status == 206:
        extent = _partial_extent(headers, start, stop, length, answer_etag)
    elif status == 200:
        if start != 0 or (stop is not None and length > stop):
            wanted = f"{start}-{'' if stop is None else stop - 1}"
            raise AnswerError(f"the server ignored the range {wanted} and answered 200 with {length} bytes")
        extent = Extent(0, length, length, answer_etag, headers)
    else:
        raise AnswerError(f"the server answered {status} where 200 or 206 was expected")
    if etag is not None and answer_etag != plain_etag(etag):
        raise ObjectChangedError(f"the object changed: its ETag is {answer_etag}, expected {plain_etag(etag)}")
    if size is not None and extent.object_size != size:
        raise AnswerError(f"the object has {extent.object_size} bytes, expected {size}")
    return extent


def _partial_extent(headers: Mapping[str, str], start: int, stop: int | None, length: int, etag: str) -> Extent:
    text = headers.get("content-range", "")
    match = _CONTENT_RANGE.fullmatch(text.strip())
    if match is None:
        raise AnswerError(f"the answer is partial but its Content-Range is {text[:80]!r}")
    first, last, size = (int(group) for group in match.groups())
    expected_stop = size if stop is None else min(stop, size)
    if first != start or last + 1 != expected_stop:
        raise AnswerError(f"asked for bytes {start}-{expected_stop - 1}, the answer says {text[:80]!r}")
    if length != expected_stop - start:
        raise AnswerError(f"{text[:80]!r} are {expected_stop - start} bytes, but Content-Length is {length}")
    return Extent(first, expected_stop, size, etag, headers)


def _whole_number(headers: Mapping[str, str], name: str) -> int:
    text = headers.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise AnswerError(f"the answer's {name} is {text[:40]!r} where a number of bytes was expected")
    return int(text)


class Hasher(Protocol):
    """Sums bytes and compares with what the server stored."""

    name: str
    expected: str

    def update(self, data: bytes | memoryview) -> None:
        """Add bytes in order."""

    def result(self) -> str:
        """Return the sum in the notation of `expected`."""


class _Digest:
    def __init__(self, name: str, algorithm: str, expected: str, notation: str) -> None:
        self.name = name
        self.expected = expected
        self._hash = hashlib.new(algorithm, usedforsecurity=False)
        self._notation = notation

    def update(self, data: bytes | memoryview) -> None:
        self._hash.update(data)

    def result(self) -> str:
        if self._notation == "hex":
            return self._hash.hexdigest()
        return base64.b64encode(self._hash.digest()).decode("ascii")


class _Crc32:
    name = "crc32"

    def __init__(self, expected: str) -> None:
        self.expected = expected
        self._value = 0

    def update(self, data: bytes | memoryview) -> None:
        self._value = zlib.crc32(data, self._value)

    def result(self) -> str:
        return base64.b64encode(self._value.to_bytes(4, "big")).decode("ascii")


def choose_hasher(headers: Mapping[str, str], etag: str) -> Hasher | None:
    """Return the cheapest sum that the server offers for a whole object, or None.

    Parameters
    ----------
    headers : mapping of str to str
        Lower-case names of an answer to a GET of the whole object.
    etag : str
        An MD5 of the content when it is 32 hex digits (objects put in one part, without KMS encryption).

    Returns
    -------
    Hasher or None
        CRC32 (0.3 CPU s/GB), SHA-256 (0.56), SHA-1, else MD5 (1.33). A sum of sums (``-N`` at its end) covers parts
        whose limits are unknown here and does not count.
    """
    kind = headers.get(_CHECKSUM_PREFIX + "type", "FULL_OBJECT")
    if kind == "FULL_OBJECT":
        stored = {name: headers.get(_CHECKSUM_PREFIX + name, "") for name in ("crc32", "sha256", "sha1")}
        stored = {name: value for name, value in stored.items() if value and "-" not in value}
        if "crc32" in stored:
            return _Crc32(stored["crc32"])
        for name, value in stored.items():
            return _Digest(name, name, value, "base64")
    is_encrypted = "kms" in headers.get("x-amz-server-side-encryption", "")
    has_customer_key = "x-amz-server-side-encryption-customer-algorithm" in headers
    if _MD5_ETAG.fullmatch(plain_etag(etag)) and not is_encrypted and not has_customer_key:
        return _Digest("md5", "md5", plain_etag(etag), "hex")
    return None
