"""The directory that a download fills.

Owns who may write there, what earlier, perhaps killed, downloads left, and the words for a disk that refuses. It
refuses to overwrite the file of another object unless told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import AsyncIterator, Iterable
from errno import EACCES, EAGAIN, EDQUOT, EFBIG, ENOSPC
from pathlib import Path

from starskope.durable import flush
from starskope.errors import TransferError
from starskope.transfer.manifest import MANIFEST_NAME, ManifestRow, write_manifest
from starskope.transfer.sidecar import part_path, sidecar_path
from starskope.transfer.uris import folded
from starskope.transfer.wanted import Wanted

__all__ = ["explain_disk", "hold_directory", "make_room", "record"]

# A killed download may have left processes that need a moment to notice; they hold the lock until they end.
_LOCK_PATIENCE_S = 3.0
_LOCK_PERIOD_S = 0.05
# What was begun and never asked for again is removed one day, not at once: the next run may ask for it.
_KEEP_BEGUN_S = 7 * 86400.0


@contextlib.asynccontextmanager
async def hold_directory(directory: Path, wanted: Iterable[Wanted]) -> AsyncIterator[int]:
    """Make the destination, keep other downloads out of it and clear what no later run can use.

    Yields
    ------
    int
        The descriptor that holds the lock; processes that inherit it hold it too.
    """
    try:
        descriptor = await asyncio.to_thread(_open, directory)
    except OSError as error:
        raise TransferError(explain_disk(error, directory)) from error
    try:
        await _lock(descriptor, directory)
        await asyncio.to_thread(_clear, directory, {str(one.uri) for one in wanted})
        yield descriptor
    finally:
        os.close(descriptor)


def _open(directory: Path) -> int:
    directory.mkdir(parents=True, exist_ok=True)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PermissionError(EACCES, os.strerror(EACCES))
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


async def _lock(descriptor: int, directory: Path) -> None:
    give_up = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Some file systems know no locks: there two downloads at once are the user's affair.
            if error.errno not in (EACCES, EAGAIN):
                return
            if time.monotonic() > give_up:
                raise TransferError(f"another download writes into {directory}: wait for it") from error
            await asyncio.sleep(_LOCK_PERIOD_S)
        else:
            return


def _clear(directory: Path, uris: set[str]) -> None:
    """Remove part files that nothing vouches for, and old ones that nobody asks for."""
    wanted = {path.name for uri in uris for path in (part_path(directory, uri), sidecar_path(directory, uri))}
    oldest = time.time() - _KEEP_BEGUN_S
    with contextlib.suppress(OSError):  # what cannot be removed does no harm: names of parts are never trusted
        for path in directory.glob(f".{MANIFEST_NAME}.*.part"):
            path.unlink(missing_ok=True)
        for path in directory.glob(".starskope-*"):
            is_orphan = path.suffix == ".part" and not path.with_suffix(".jsonl").exists()
            if is_orphan or (path.name not in wanted and path.lstat().st_mtime < oldest):
                path.unlink(missing_ok=True)


def make_room(known: dict[str, ManifestRow], wanted: list[Wanted], directory: Path, *, overwrite: bool) -> None:
    """Refuse, or with `overwrite` forget, files of other objects under the names that are wanted now."""
    holders = {folded(row.path): row.uri for row in known.values() if row.status != "failed"}
    for one in wanted:
        holder = holders.get(folded(one.name))
        if holder is not None and holder != str(one.uri):
            if not overwrite:
                raise ValueError(
                    f"{directory / one.name} holds {holder}: download {one.uri} elsewhere or with overwrite=True"
                )
            del known[holder]


def record(directory: Path, rows: list[ManifestRow], journals: list[Path]) -> None:
    """Write the manifest of the directory.

    Parameters
    ----------
    directory : pathlib.Path
        Held by this run.
    rows : list of ManifestRow
        All that it is to say.
    journals : list of pathlib.Path
        Of files that these rows vouch for from now on: removed once the manifest is on the disk.

    Raises
    ------
    TransferError
        When the disk refuses.
    """
    try:
        # The names of the files must be on the disk before a record vouches for them.
        flush(directory)
        write_manifest(directory / MANIFEST_NAME, rows)
        for journal in journals:
            journal.unlink(missing_ok=True)
    except OSError as error:
        raise TransferError(explain_disk(error, directory)) from error


def explain_disk(error: OSError, directory: Path) -> str:
    """Return what a failed write means and what to do."""
    if error.errno in (ENOSPC, EDQUOT, EFBIG):
        remedy = "free space or choose another directory, then run again"
    else:
        remedy = "choose a directory that can be written"
    return f"cannot write into {directory} ({error.strerror}): {remedy}"
