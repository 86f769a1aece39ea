"""One page of ListObjectsV2, read from its XML.

Owns what a page may hold and how its XML is read: one pass of expat that builds no tree, so that an answer of a few
megabytes costs memory for its entries alone, and 5-10 times less time than botocore's parser, whose result it equals.
It refuses document types and entities, pages of more entries than any server gives, and to ask for a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus
from xml.parsers import expat

from starskope.transfer.checks import AnswerError, plain_etag

__all__ = ["ObjectInfo", "Page", "page_of_answer", "parse_page"]

MAX_ENTRIES = 10_000
"""Ten times what S3 puts on a page; other servers go up to a few thousand."""
_MAX_DEPTH = 16  # S3 has four: expat keeps a record of every element that is open
_MAX_ELEMENTS = 20 * MAX_ENTRIES
_OBJECT_PARTS = frozenset({"Key", "Size", "ETag", "LastModified"})


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a listing.

    Parameters
    ----------
    key : str
        Full key.
    size : int
        Bytes.
    etag : str
        Without quotes; empty when the server gave none.
    last_modified : datetime.datetime or None
        UTC.
    """

    key: str
    size: int
    etag: str
    last_modified: datetime | None


@dataclass
class Page:
    """What one answer of ListObjectsV2 says.

    Parameters
    ----------
    objects : list of ObjectInfo
        In the server's order.
    prefixes : list of str
        "Directories", each ending in the delimiter.
    is_truncated : bool
        Whether the listing goes on.
    token : str
        Where it goes on; empty when the server did not say.
    """

    objects: list[ObjectInfo] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    is_truncated: bool = False
    token: str = ""


def parse_page(data: bytes) -> Page:
    """Read the XML of a page.

    Parameters
    ----------
    data : bytes
        The whole body.

    Returns
    -------
    Page
        Keys and prefixes decoded where the answer says that they are URL-encoded.

    Raises
    ------
    AnswerError
        When it is no XML, no listing, holds a document type, or more entries than a page can have.

    References
    ----------
    Amazon S3 API Reference, ListObjectsV2.
    """
    return _Reader().read(data)


def page_of_answer(answer: Mapping[str, Any]) -> Page:
    """Return the page of an answer that botocore has parsed: what `parse_page` must equal."""
    if "Name" not in answer or "IsTruncated" not in answer:
        raise AnswerError("the answer is not an S3 listing: is the endpoint right?")
    page = Page(is_truncated=bool(answer["IsTruncated"]), token=answer.get("NextContinuationToken") or "")
    for entry in answer.get("Contents", ()):
        modified = entry.get("LastModified")
        etag = plain_etag(entry.get("ETag", ""))
        size = int(entry.get("Size", -1))
        page.objects.append(ObjectInfo(entry.get("Key", ""), size, etag, modified and modified.astimezone(UTC)))
    page.prefixes.extend(entry.get("Prefix", "") for entry in answer.get("CommonPrefixes", ()))
    return page


class _Reader:
    """Handlers of one parse: the element path is two deep at most where anything is wanted."""

    def __init__(self) -> None:
        self._depth = 0
        self._n_element = 0
        self._group = ""  # the child of the root that is open
        self._text: list[str] = []
        self._entry: dict[str, str] = {}
        self._head: dict[str, str] = {}
        self._objects: list[dict[str, str]] = []
        self._prefixes: list[str] = []
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text.append
        self._parser.StartDoctypeDeclHandler = self._refuse

    def read(self, data: bytes) -> Page:
        try:
            self._parser.Parse(data, True)
        except (expat.ExpatError, ValueError) as error:
            raise AnswerError("the answer is not S3's XML: is the endpoint right?") from error
        finally:
            # The bound methods and the parser hold each other: pages should go with their last user.
            self._parser.StartElementHandler = self._parser.EndElementHandler = None
            self._parser.CharacterDataHandler = self._parser.StartDoctypeDeclHandler = None
        if "Name" not in self._head or "IsTruncated" not in self._head:
            raise AnswerError("the answer is not an S3 listing: is the endpoint right?")
        decode = unquote_plus if self._head.get("EncodingType") == "url" else str
        page = Page(
            prefixes=[decode(prefix) for prefix in self._prefixes],
            is_truncated=self._head["IsTruncated"].strip().lower() == "true",
            token=self._head.get("NextContinuationToken", ""),
        )
        for entry in self._objects:
            etag = plain_etag(entry.get("ETag", ""))
            modified = _time(entry.get("LastModified", ""))
            page.objects.append(ObjectInfo(decode(entry.get("Key", "")), _size(entry), etag, modified))
        return page

    def _start(self, name: str, _: dict[str, str]) -> None:
        depth = self._depth
        self._depth = depth + 1
        self._n_element += 1
        if depth >= _MAX_DEPTH or self._n_element > _MAX_ELEMENTS:
            raise AnswerError("the answer nests deeper, or holds more elements, than an S3 listing")
        self._text.clear()
        if depth == 1:
            self._group = name
        elif depth == 0 and name.rpartition(":")[2] != "ListBucketResult":
            raise AnswerError("the answer is not an S3 listing: is the endpoint right?")

    def _end(self, name: str) -> None:
        depth = self._depth = self._depth - 1
        text = "".join(self._text)
        self._text.clear()
        if depth == 1:
            self._close(name, text)
        elif depth == 2:
            if self._group == "Contents" and name in _OBJECT_PARTS:
                self._entry[name] = text
            elif self._group == "CommonPrefixes" and name == "Prefix":
                self._prefixes.append(text)

    def _close(self, name: str, text: str) -> None:
        if name == "Contents":
            self._objects.append(self._entry)
            self._entry = {}
        elif name != "CommonPrefixes" and len(self._head) < 64:  # S3 has a dozen
            self._head.setdefault(name, text)
        if len(self._objects) + len(self._prefixes) > MAX_ENTRIES:
            raise AnswerError(f"a page of the listing holds more than {MAX_ENTRIES} entries")

    def _refuse(self, *_: object) -> None:
        raise AnswerError("the answer holds a document type, which no S3 listing has")


def _size(entry: Mapping[str, str]) -> int:
    text = entry.get("Size", "").strip()
    # More digits than an int64 has name no size; and int() of a long text takes its square in time.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
