"""What lies on the disk against what the manifest says of it, without the network.

Owns the reading of files for their sums. It refuses to write, to fetch and to take a lock: an archive that is read-only
can be verified, also while others read it.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from starskope import parallel
from starskope.transfer.manifest import ManifestRow
from starskope.transfer.sums import crc64, crc64_text, running_sum

__all__ = ["VerifyStoppedError", "find_damage", "verify_rows"]

_STEP_BYTES = 2**20
# MD5 sums of so many files take little longer than one: see `starskope.transfer.sums.running_sum`.
_MD5_AT_ONCE = 8


class VerifyStoppedError(Exception):
    """Nobody waits for the answer any more."""


def find_damage(directory: Path, row: ManifestRow, stop: threading.Event | None = None) -> str:
    """Return what is wrong with a file, or nothing.

    Parameters
    ----------
    directory : pathlib.Path
        Of the manifest.
    row : ManifestRow
        What the file must be.
    stop : threading.Event, optional
        Set to end the reading.

    Returns
    -------
    str
        A clause for the user; empty when size and sum are those of the record.

    Raises
    ------
    VerifyStoppedError
        When `stop` is set.
    """
    if row.status == "failed":
        return f"never came whole: {row.error}" if row.error else "was never downloaded"
    try:
        descriptor = os.open(directory / row.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - opened without following a link
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return "is no regular file"
        if status.st_size != row.size:
            return f"has {status.st_size} bytes, {row.size} were recorded"
        has_md5 = _has_only_md5(row)
        if not has_md5 and not row.crc64nvme:
            return "has no sum in its record: repair fetches it again"
        buffer = memoryview(bytearray(_STEP_BYTES))
        value, md5 = 0, running_sum("md5")
        try:
            while n_read := file.readinto(buffer):
                if stop is not None and stop.is_set():
                    raise VerifyStoppedError
                if has_md5:
                    md5.update(buffer[:n_read])
                else:
                    value = crc64(buffer[:n_read], value)
        except OSError as error:
            return f"cannot be read ({error.strerror})"
    if has_md5:
        name, found, expected = "md5", md5.result(), row.etag
    else:
        name, found, expected = "crc64nvme", crc64_text(value), row.crc64nvme
    return "" if found == expected else f"is damaged on the disk: its {name} is {found}, {expected} was recorded"


def verify_rows(
    directory: Path,
    rows: Sequence[ManifestRow],
    note: Callable[[ManifestRow], None] | None = None,
    stop: threading.Event | None = None,
) -> list[ManifestRow]:
    """Hold files against their records, on all CPUs.

    Parameters
    ----------
    directory : pathlib.Path
        Of the manifest.
    rows : sequence of ManifestRow
        What to look at.
    note : callable, optional
        Called with each result, one at a time.
    stop : threading.Event, optional
        Set to end it; see `find_damage`.

    Returns
    -------
    list of ManifestRow
        In the order given; status ``verified``, or ``failed`` with what is wrong.
    """
    lock = threading.Lock()

    def look(start: int, _stop: int) -> ManifestRow:
        row = rows[start]
        damage = find_damage(directory, row, stop)
        result = replace(row, status="failed" if damage else "verified", error=damage)
        if note is not None:
            with lock:
                note(result)
        return result

    workers = parallel.available_cpus()
    if any(map(_has_only_md5, rows)):
        workers = max(workers, _MD5_AT_ONCE)
    return parallel.map_ranges(look, len(rows), 1, workers=workers)


def _has_only_md5(row: ManifestRow) -> bool:
    """Whether the record, of an older version, holds no sum that costs less."""
    return row.check == "md5" and not row.crc64nvme
