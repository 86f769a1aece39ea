"""What a download is asked for, as a pure function of its input.

Owns the reading of tables and lists of addresses and the local name of each. It refuses sources in which two objects
would share one file, before a byte is fetched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from starskope.transfer.checks import plain_etag
from starskope.transfer.manifest import MANIFEST_NAME, ManifestRow
from starskope.transfer.uris import S3Uri, folded, local_name

__all__ = ["Wanted", "from_manifest", "read_source"]


@dataclass(frozen=True)
class Wanted:
    """One object to fetch.

    Parameters
    ----------
    uri : S3Uri
        Where it lies.
    name : str
        File name under the destination.
    size : int or None
        Bytes, when the source knows.
    etag : str or None
        Without quotes, when the source knows.
    """

    uri: S3Uri
    name: str
    size: int | None
    etag: str | None


def read_source(source: Any) -> list[Wanted]:
    """Turn the source of a download into objects with names.

    Parameters
    ----------
    source : astropy.table.Table or iterable of str
        A table with a column ``uri`` and, where known, ``size`` and ``etag``; or addresses ``s3://bucket/key``.

    Returns
    -------
    list of Wanted
        In the order of the source; an address that comes twice is kept once.

    Raises
    ------
    ValueError
        For an address that is none, a key without a safe file name, or two keys with one file name (names that
        differ only in case are one file on some systems).
    TypeError
        For a source that is neither.
    """
    found: dict[S3Uri, Wanted] = {}
    for text, size, etag in _entries(source):
        uri = S3Uri.parse(text)
        found.setdefault(uri, Wanted(uri, local_name(uri.key), size, etag))
    taken: dict[str, S3Uri] = {}
    for wanted in found.values():
        name = folded(wanted.name)
        if name == MANIFEST_NAME:
            raise ValueError(f"{wanted.uri} would overwrite the record of the download, {MANIFEST_NAME}")
        other = taken.setdefault(name, wanted.uri)
        if other != wanted.uri:
            raise ValueError(
                f"{other} and {wanted.uri} would both be stored as {wanted.name!r}: download them into two directories"
            )
    return list(found.values())


def from_manifest(known: Mapping[str, ManifestRow]) -> list[Wanted]:
    """Turn the rows of a manifest into what they ask for.

    Raises
    ------
    ValueError
        For a row that names no object, or a file that is not the object's own.

    Notes
    -----
    Size and ETag are those that a complete file has; an object that never came may have any.
    """
    found = []
    for row in known.values():
        uri = S3Uri.parse(row.uri)
        if row.path != local_name(uri.key):
            raise ValueError(f"the manifest stores {row.uri} as {row.path!r}: it was changed by hand; download by name")
        is_whole = row.status != "failed"
        found.append(Wanted(uri, row.path, row.size if is_whole else None, row.etag if is_whole else None))
    return found


def _entries(source: Any) -> Iterable[tuple[str, int | None, str | None]]:
    if isinstance(source, str | bytes):
        raise TypeError(f"expected a table or a list of s3:// addresses, got one string: write [{source!r}]")
    if hasattr(source, "colnames"):
        if "uri" not in source.colnames:
            raise ValueError(f"the table needs a column 'uri', it has {', '.join(source.colnames)}")
        uris = _values(source, "uri")
        sizes = _values(source, "size") if "size" in source.colnames else [None] * len(uris)
        etags = _values(source, "etag") if "etag" in source.colnames else [None] * len(uris)
        for uri, size, etag in zip(uris, sizes, etags, strict=True):
            yield (
                str(uri),
                None if size is None or size < 0 else int(size),
                None if etag is None else plain_etag(str(etag)) or None,
            )
        return
    if not isinstance(source, Iterable):
        raise TypeError(f"expected a table or a list of s3:// addresses, got {type(source).__name__}")
    for text in source:
        yield str(text), None, None


def _values(table: Any, name: str) -> list[Any]:
    """Return a column as plain values, None where masked; a unit (bytes) is dropped."""
    column = table[name]
    values: list[Any] = getattr(column, "value", column).tolist()
    return values
