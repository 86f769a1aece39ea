"""What a folder is as a bucket: its objects, their sums, and its ListObjectsV2 answers as files.

Pages hold 1,000 entries, with and without delimiter.

Source: Amazon S3 API Reference, ListObjectsV2. Keys are those that need no escaping in XML, so that
``encoding-type=url`` changes nothing.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from bisect import bisect_left
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

PAGE = 1_000
_KEY = re.compile(r"[A-Za-z0-9._/-]+")
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'


def stored_objects(root: Path) -> dict[str, os.stat_result]:
    """Every file below ``root/bucket`` as ``bucket/key``, in the order of S3; hidden files are none."""
    found = {}
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in names:
            path = Path(folder) / name
            said = path.relative_to(root).as_posix()
            if not name.startswith(".") and "/" in said:
                if not _KEY.fullmatch(said):
                    raise ValueError(f"a key here is made of A-Z a-z 0-9 . _ / -, got {said!r}")
                found[said] = path.stat()
    return dict(sorted(found.items()))


def etag_of(about: os.stat_result) -> str:
    """The ETag that nginx gives a file."""
    return f"{int(about.st_mtime):x}-{about.st_size:x}"


def sums_of(root: Path, objects: dict[str, os.stat_result], sum_of: Callable[[Path], str]) -> dict[str, str]:
    """Sum each file once, however many names it has."""
    known: dict[tuple[int, int], str] = {}
    for name, about in objects.items():
        if (about.st_dev, about.st_ino) not in known:
            known[about.st_dev, about.st_ino] = sum_of(root / name)
    return {name: known[about.st_dev, about.st_ino] for name, about in objects.items()}


def crc64_of(path: Path) -> str:
    """The CRC64NVME of a file in the notation of ``x-amz-checksum-crc64nvme``."""
    from awscrt import checksums

    value = 0
    with path.open("rb") as file:
        while piece := file.read(2**22):
            value = checksums.crc64nvme(piece, value)
    return base64.b64encode(value.to_bytes(8, "big")).decode()


def md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def write_listings(
    objects: dict[str, os.stat_result], etags: dict[str, str], folder: Path, prefixes: tuple[str, ...] = ()
) -> dict[str, str]:
    """Write every page of every listing; return the file name by the question that it answers.

    A question is ``/bucket|prefix|delimiter|token`` as a client may spell it: with ``/`` escaped or not.
    """
    asked: dict[str, str] = {}
    n_page = 0
    for bucket in sorted({name.split("/", 1)[0] for name in objects}):
        keys = {name[len(bucket) + 1 :]: about for name, about in objects.items() if name.startswith(f"{bucket}/")}
        names = sorted(keys)
        folders = {key[: at + 1] for key in keys for at, letter in enumerate(key) if letter == "/"}
        for prefix in sorted({"", *folders, *prefixes}):
            here = names[bisect_left(names, prefix) : bisect_left(names, prefix + "\x7f")]
            for delimiter in ("", "/"):
                entries = _entries({key: (keys[key], etags[f"{bucket}/{key}"]) for key in here}, prefix, delimiter)
                for number, first in enumerate(range(0, max(len(entries), 1), PAGE)):
                    is_last = first + PAGE >= len(entries)
                    page = _page(bucket, prefix, delimiter, entries[first : first + PAGE], number, is_last=is_last)
                    (folder / str(n_page)).write_text(page)
                    for spelled in _spellings(bucket, prefix, delimiter, f"page{number}" if number else ""):
                        asked[spelled] = str(n_page)
                    n_page += 1
    return asked


def _entries(keys: dict[str, tuple[os.stat_result, str]], prefix: str, delimiter: str) -> list[str]:
    """Contents and common prefixes in one order, as S3 counts and pages them."""
    entries: dict[str, str] = {}
    for key, (about, etag) in keys.items():
        rest = key[len(prefix) :]
        if delimiter and delimiter in rest:
            common = prefix + rest.split(delimiter, 1)[0] + delimiter
            entries.setdefault(common, f"<CommonPrefixes><Prefix>{common}</Prefix></CommonPrefixes>")
        else:
            time = datetime.fromtimestamp(int(about.st_mtime), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            entries[key] = (
                f"<Contents><Key>{key}</Key><LastModified>{time}</LastModified><ETag>&quot;{etag}&quot;"
                f"</ETag><Size>{about.st_size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            )
    return [entries[name] for name in sorted(entries)]


def _page(bucket: str, prefix: str, delimiter: str, entries: list[str], number: int, *, is_last: bool) -> str:
    said = f"<Name>{bucket}</Name><Prefix>{prefix}</Prefix><KeyCount>{len(entries)}</KeyCount><MaxKeys>{PAGE}</MaxKeys>"
    if delimiter:
        said += f"<Delimiter>{delimiter}</Delimiter>"
    if number:
        said += f"<ContinuationToken>page{number}</ContinuationToken>"
    said += f"<IsTruncated>{'false' if is_last else 'true'}</IsTruncated>"
    if not is_last:
        said += f"<NextContinuationToken>page{number + 1}</NextContinuationToken>"
    return f"{_HEAD}{said}{''.join(entries)}</ListBucketResult>"


def _spellings(bucket: str, prefix: str, delimiter: str, token: str) -> list[str]:
    return [
        f"/{bucket}{slash}|{said_prefix}|{said_delimiter}|{token}"
        for slash in ("", "/")
        for said_prefix in {prefix, quote(prefix, safe="")}
        for said_delimiter in {delimiter, quote(delimiter, safe="")}
    ]
