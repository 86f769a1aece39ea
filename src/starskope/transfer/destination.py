"""The directory that a download fills.

Owns who may write there, what an earlier, perhaps killed, download left, and the words for a disk that refuses. It
refuses to overwrite the file of another object unless told to.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from errno import EACCES, EAGAIN, EDQUOT, EFBIG, ENOSPC
from pathlib import Path

from starskope.durable import flush
from starskope.errors import TransferError
from starskope.transfer.manifest import MANIFEST_NAME, ManifestRow, write_manifest
from starskope.transfer.partfile import PART_PATTERN
from starskope.transfer.wanted import Wanted

__all__ = ["explain_disk", "hold_directory", "make_room", "record"]


@contextlib.contextmanager
def hold_directory(directory: Path) -> Iterator[None]:
    """Make the destination, keep other downloads out of it and clear what a killed one left."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(EACCES, os.strerror(EACCES))
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise TransferError(explain_disk(error, directory)) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Some file systems know no locks: there two downloads at once are the user's affair.
            if error.errno in (EACCES, EAGAIN):
                raise TransferError(f"another download writes into {directory}: wait for it") from error
        for left_over in directory.glob(PART_PATTERN):
            left_over.unlink(missing_ok=True)
        yield
    finally:
        os.close(descriptor)


def make_room(known: dict[str, ManifestRow], wanted: list[Wanted], directory: Path, *, overwrite: bool) -> None:
    """Refuse, or with `overwrite` forget, files of other objects under the names that are wanted now."""
    holders = {row.path.casefold(): row.uri for row in known.values() if row.status != "failed"}
    for one in wanted:
        holder = holders.get(one.name.casefold())
        if holder is not None and holder != str(one.uri):
            if not overwrite:
                raise ValueError(
                    f"{directory / one.name} holds {holder}: download {one.uri} elsewhere or with overwrite=True"
                )
            del known[holder]


def record(directory: Path, rows: list[ManifestRow]) -> None:
    """Write the manifest of the directory.

    Raises
    ------
    TransferError
        When the disk refuses.
    """
    # The names of the files must be on the disk before a record vouches for them.
    flush(directory)
    try:
        write_manifest(directory / MANIFEST_NAME, rows)
    except OSError as error:
        raise TransferError(explain_disk(error, directory)) from error


def explain_disk(error: OSError, directory: Path) -> str:
    """Return what a failed write means and what to do."""
    if error.errno in (ENOSPC, EDQUOT, EFBIG):
        remedy = "free space or choose another directory, then run again"
    else:
        remedy = "choose a directory that can be written"
    return f"cannot write into {directory} ({error.strerror}): {remedy}"
