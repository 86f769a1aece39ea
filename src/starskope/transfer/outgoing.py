"""Which local files go to which keys of a bucket.

Owns the grammar of a destination ``s3://bucket/prefix`` and the walk over files and folders. It refuses to follow links
inside a folder, to send what is no regular file, and to give two files one key: all of that is found before the first
byte is sent.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starskope.transfer.uris import MAX_KEY_BYTES, S3Uri, check_bucket

__all__ = ["Destination", "Outgoing", "find_outgoing"]


@dataclass(frozen=True)
class Destination:
    """Where products go.

    Parameters
    ----------
    bucket : str
        Name of the bucket.
    prefix : str
        Empty, or what every key begins with; ends in a slash.
    """

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, text: Any) -> Destination:
        """Read ``s3://bucket`` or ``s3://bucket/prefix``; a slash at the end changes nothing.

        Raises
        ------
        ValueError
            When the text is something else, or a prefix that other tools could not address: with an empty part, ``.``
            or ``..`` between its slashes, or a control character.

        Examples
        --------
        >>> Destination.parse("s3://mine/tess/s0001")
        Destination(bucket='mine', prefix='tess/s0001/')
        """
        text = str(text)
        if not text.startswith("s3://"):
            raise ValueError(f"the destination is {text!r}: expected an address like s3://bucket/prefix")
        bucket, _, prefix = text.removeprefix("s3://").partition("/")
        check_bucket(bucket)
        prefix = prefix.removesuffix("/")
        if prefix and any(part in {"", ".", ".."} for part in prefix.split("/")):
            raise ValueError(f"the destination is {text!r}: its prefix may hold no empty part, '.' or '..'")
        if not prefix.isprintable():
            raise ValueError(f"the destination is {text!r}: its prefix holds a character that cannot be printed")
        return cls(bucket, f"{prefix}/" if prefix else "")

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


@dataclass(frozen=True)
class Outgoing:
    """One file to send.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    uri : S3Uri
        Where it goes.
    size : int
        Bytes, when it was found.
    """

    path: Path
    uri: S3Uri
    size: int


def find_outgoing(paths: Iterable[str | os.PathLike[str]], destination: Destination) -> list[Outgoing]:
    """Turn files and folders into objects to write.

    Parameters
    ----------
    paths : iterable of path
        A file goes to ``prefix/name``; a folder, such as a Zarr store, with everything below it to ``prefix/name/...``.
    destination : Destination
        Bucket and prefix.

    Returns
    -------
    list of Outgoing
        In the order of `paths`; within a folder sorted by key.

    Raises
    ------
    TypeError
        For one path instead of several.
    FileNotFoundError
        For a path that does not exist.
    ValueError
        For a link or special file, a name that is no key, or two files with one key.
    """
    if isinstance(paths, str | bytes | os.PathLike):
        raise TypeError(f"paths must be a list of files and folders, got one: write [{os.fspath(paths)!r}]")
    found: list[Outgoing] = []
    taken: dict[str, Path] = {}
    for path in map(Path, paths):
        whole = path.absolute()  # "." has no name of its own
        for file, size in _files(path):
            relative = file.relative_to(path).as_posix() if file != path else ""
            key = destination.prefix + "/".join(part for part in (whole.name, relative) if part)
            other = taken.setdefault(key, file)
            if other is not file:
                raise ValueError(f"{other} and {file} would both be sent to s3://{destination.bucket}/{key}")
            found.append(Outgoing(file, _uri(destination.bucket, key, file), size))
    return found


def _files(path: Path) -> Iterator[tuple[Path, int]]:
    """Yield the regular files at or below a path, with their sizes."""
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        yield path, _regular(path, status)
        return
    for folder, folders, names in os.walk(path, onerror=_raise):
        folders.sort()
        for name in [*folders, *sorted(names)]:
            inner = Path(folder, name)
            status = inner.lstat()
            if stat.S_ISLNK(status.st_mode):
                raise ValueError(f"{inner} is a link, which is not followed inside a folder: name its target instead")
            if name not in folders:
                yield inner, _regular(inner, status)


def _regular(path: Path, status: os.stat_result) -> int:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is neither a file nor a folder: it cannot be sent")
    return status.st_size


def _uri(bucket: str, key: str, path: Path) -> S3Uri:
    try:
        n_bytes = len(key.encode("utf-8"))
    except UnicodeEncodeError:
        raise ValueError(f"{os.fsencode(path)!r} is no name in UTF-8 and so no key: rename it") from None
    if n_bytes > MAX_KEY_BYTES:
        raise ValueError(f"{path} would get a key of {n_bytes} bytes, S3 allows {MAX_KEY_BYTES}: shorten the prefix")
    return S3Uri(bucket, key)


def _raise(error: OSError) -> None:
    raise error
