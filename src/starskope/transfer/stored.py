"""Whether an object of a bucket holds the bytes of a local file.

Owns the sums of a file and their comparison with what a server says of its object. It refuses to believe a size alone:
where the server stores no sum that can be compared, `compare` says so and the caller reads the object back.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starskope.transfer.checks import plain_etag
from starskope.transfer.sums import running_sum

__all__ = ["FileSums", "compare", "sum_file"]

_STEP_BYTES = 2**20
_MD5_ETAG = re.compile(r"[0-9a-f]{32}(-[0-9]{1,5})?")


@dataclass(frozen=True)
class FileSums:
    """What a file sums to.

    Parameters
    ----------
    size : int
        Bytes.
    crc64nvme : str
        The sum that S3 stores of any whole object, as it writes it.
    etag : str
        The ETag that S3 gives to these bytes where it encrypts them with no customer's key: their MD5, or for an
        object in parts the MD5 of the parts' MD5s and the number of parts.
    n_parts : int
        Parts in which it is sent; 0 for one request.
    """

    size: int
    crc64nvme: str
    etag: str
    n_parts: int = 0


def sum_file(path: Path, part_bytes: Callable[[int], int | None]) -> FileSums:
    """Read a file once and return its sums.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    part_bytes : callable
        Given the size of the file, the bytes of a part; None where it is sent in one request.

    Returns
    -------
    FileSums

    Raises
    ------
    OSError
        When it cannot be read.

    Notes
    -----
    Costs 1.4 CPU s/GB, nearly all of it the MD5: it tells a server that summed what arrived from one that stored the
    CRC of the request beside whatever arrived.
    """
    crc = running_sum("crc64nvme")
    parts: list[bytes] = []
    size = 0
    buffer = memoryview(bytearray(_STEP_BYTES))
    with path.open("rb", buffering=0) as file:
        each = part_bytes(os.fstat(file.fileno()).st_size)
        md5, n_here = hashlib.md5(usedforsecurity=False), 0
        while n_read := file.readinto(buffer if each is None else buffer[: min(each - n_here, _STEP_BYTES)]):
            crc.update(buffer[:n_read])
            md5.update(buffer[:n_read])
            size += n_read
            n_here += n_read
            if n_here == each:
                parts.append(md5.digest())
                md5, n_here = hashlib.md5(usedforsecurity=False), 0
    if each is None:
        return FileSums(size, crc.result(), md5.hexdigest())
    if n_here:
        parts.append(md5.digest())
    whole = hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()
    return FileSums(size, crc.result(), f"{whole}-{len(parts)}", len(parts))


def compare(sums: FileSums, head: Mapping[str, Any]) -> str | None:
    """Hold the sums of a file against the answer to a HeadObject with ``ChecksumMode=ENABLED``.

    Parameters
    ----------
    sums : FileSums
        Of the local file.
    head : mapping
        As boto3 gives it: ``ContentLength``, ``ETag``, ``ChecksumCRC64NVME``, ``ServerSideEncryption`` ...

    Returns
    -------
    str or None
        ``crc64nvme`` or ``md5`` when the object holds these bytes, empty when it holds others, and None when the
        server's sums cannot tell or contradict each other.

    Notes
    -----
    A CRC that agrees beside an ETag that looks like an MD5 and does not agree is such a contradiction: the server may
    have stored the CRC that it was sent without summing what arrived, or its ETag may be no MD5.
    """
    if int(head.get("ContentLength", -1)) != sums.size:
        return ""
    stored = str(head.get("ChecksumCRC64NVME", ""))
    if stored and stored != sums.crc64nvme:
        return ""
    etag = plain_etag(str(head.get("ETag", "")))
    if etag == sums.etag:
        return "crc64nvme" if stored else "md5"
    has_own_key = "kms" in str(head.get("ServerSideEncryption", "")) or "SSECustomerAlgorithm" in head
    contradicts = _MD5_ETAG.fullmatch(etag) is not None and not has_own_key
    return "crc64nvme" if stored and not contradicts else None
