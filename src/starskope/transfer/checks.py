"""What an answer must say before its bytes count, as a pure function.

Owns the comparison of status, Content-Range, Content-Length and ETag with what was asked. It refuses to repair: whoever
reads decides whether to ask again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["AnswerError", "Extent", "ObjectChangedError", "RangeIgnoredError", "check_extent", "plain_etag"]

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")


class AnswerError(Exception):
    """The server answered, but not what was asked."""


class ObjectChangedError(AnswerError):
    """The object is not the one that the earlier bytes came from."""


class RangeIgnoredError(AnswerError):
    """The server sends whole objects only."""


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
            raise RangeIgnoredError(f"the server ignored the range {wanted} and answered 200 with {length} bytes")
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
