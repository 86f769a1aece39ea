"""One object to one file: is it there already, what must still come, is it right.

Owns the tries of one key, whatever process they run in. It refuses to know other keys and the manifest: who runs many
keys keeps those.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from starskope.errors import TransferError
from starskope.transfer.checks import ObjectChangedError, RangeIgnoredError, plain_etag
from starskope.transfer.client import Client
from starskope.transfer.destination import explain_disk
from starskope.transfer.faults import NETWORK_ERRORS
from starskope.transfer.manifest import ManifestRow
from starskope.transfer.pacing import backoff_s
from starskope.transfer.partfile import PartFile, SumError
from starskope.transfer.ranged import TriesExhaustedError, fetch
from starskope.transfer.verify import find_damage
from starskope.transfer.wanted import Wanted

__all__ = ["Bringer", "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What became of one object.

    Parameters
    ----------
    row : ManifestRow
        For the manifest and the user.
    blame : str
        Who failed: the ``network`` (object, server or line) or the ``disk``; empty when all went well.
    """

    row: ManifestRow
    blame: Literal["", "network", "disk"] = ""


class Bringer:
    """Brings objects into one directory with one client.

    Parameters
    ----------
    client : Client
        Open.
    directory : pathlib.Path
        Held by this run.
    n_objects : int
        Objects on the line at the same time; others may meanwhile be flushed to the disk.
    overwrite : bool
        Fetch also what is complete.
    verify : bool
        Believe no file to be complete whose bytes were not summed again.
    note : callable
        Called with the number of bytes of each step that came over the network.
    """

    def __init__(
        self,
        client: Client,
        directory: Path,
        n_objects: int,
        *,
        overwrite: bool,
        verify: bool,
        note: Callable[[int], None],
    ) -> None:
        self.client = client
        self.directory = directory
        self.n_tasks = 2 * n_objects
        self._overwrite = overwrite
        self._verify = verify
        self._note = note
        self._line = asyncio.Semaphore(n_objects)

    async def bring(self, wanted: Wanted, known: ManifestRow | None) -> Outcome:
        """Make sure that the file is there and right.

        Parameters
        ----------
        wanted : Wanted
            The object.
        known : ManifestRow or None
            What the manifest says of it.

        Returns
        -------
        Outcome
            A failure is told, not raised.
        """
        row = ManifestRow(uri=str(wanted.uri), path=wanted.name, size=-1 if wanted.size is None else wanted.size)
        complete = None if self._overwrite else await self._complete(wanted, known)
        if complete is not None:
            return Outcome(complete)
        part = PartFile(self.directory, row.uri, wanted.name, self.client.options.write_bytes, self._note)
        try:
            return Outcome(await self._fetch(wanted, part))
        except TransferError as error:
            return Outcome(replace(row, error=next(iter(error.causes.values()), str(error))), "network")
        except OSError as error:
            return Outcome(replace(row, error=explain_disk(error, self.directory)), "disk")
        finally:
            await part.leave()

    async def _complete(self, wanted: Wanted, known: ManifestRow | None) -> ManifestRow | None:
        """Return the row of an earlier run that still holds, or None."""
        if known is None or known.status == "failed" or known.path != wanted.name:
            return None
        path = self.directory / wanted.name
        if not path.is_file() or path.stat().st_size != known.size or wanted.size not in (None, known.size):
            return None
        if wanted.etag is not None and wanted.etag != known.etag:
            return None
        if self._verify:
            stop = threading.Event()
            try:
                if await asyncio.to_thread(find_damage, self.directory, known, stop):
                    return None
            finally:
                stop.set()
            return replace(known, status="verified", error="")
        if wanted.etag is None and not await self._is_unchanged(wanted, known.etag):
            return None
        return replace(known, status="present", error="")

    async def _fetch(self, wanted: Wanted, part: PartFile) -> ManifestRow:
        """Fetch one object; again from its start when its sum is wrong."""
        options = self.client.options
        if self._overwrite:
            await part.restart()
        else:
            await part.recover(wanted.etag, wanted.size)
        text = ""
        give_up = math.inf
        for n_failed in range(1, options.max_attempts + 1):
            async with self._line:
                came = await self._take(wanted, part)
            try:
                check = await part.commit()
            except SumError as error:
                text = f"{error} (after {n_failed} {'tries' if n_failed > 1 else 'try'})"
                await part.restart()
                # Damage shows at the end of a body: on a slow line every try costs minutes.
                give_up = min(give_up, time.monotonic() + options.retry_seconds)
            else:
                origin = part.origin
                if origin is None:
                    raise TransferError(f"{wanted.uri}: no answer was accepted")
                status = "downloaded" if came else "present"
                return ManifestRow(
                    str(wanted.uri), wanted.name, origin.size, origin.etag, check, status, "", part.crc64
                )
            if time.monotonic() > give_up:
                break
            if n_failed < options.max_attempts:
                wait_s = backoff_s(n_failed, options.backoff_base_s, options.backoff_max_s, self.client.rng)
                await asyncio.sleep(wait_s)
        raise TriesExhaustedError(f"cannot read {wanted.uri}: {text}", {str(wanted.uri): text})

    async def _take(self, wanted: Wanted, part: PartFile) -> bool:
        """Take the bytes that are still missing; tell whether any came."""
        origin = part.origin
        if origin is not None and part.is_whole:
            if wanted.etag is not None or await self._is_unchanged(wanted, origin.etag):
                return False
            await part.restart()
        elif origin is not None:
            try:
                start, etag, size = part.position, origin.etag, origin.size
                await fetch(self.client, wanted.uri, start, None, part, etag=etag, size=size)
            except TransferError as error:
                if not _must_start_anew(error):
                    raise
                await part.restart()
            else:
                return True
        await fetch(self.client, wanted.uri, 0, None, part, etag=wanted.etag, size=wanted.size)
        return True

    async def _is_unchanged(self, wanted: Wanted, etag: str) -> bool:
        """Ask whether the object still has this ETag; any doubt is a no, and the fetch that follows tells why."""
        arguments = {"Bucket": wanted.uri.bucket, "Key": wanted.uri.key, **self.client.request_arguments}
        try:
            answer = await self.client.s3.get_object(**arguments, IfNoneMatch=f'"{etag}"')
        except NETWORK_ERRORS as error:
            return _status(error) == 304
        with contextlib.closing(answer["Body"]):
            return plain_etag(str(answer.get("ETag", ""))) == etag


def _must_start_anew(error: TransferError) -> bool:
    """Whether the server cannot or will not go on with what an earlier run began, though it may serve the object."""
    cause = error.__cause__
    return isinstance(cause, ObjectChangedError | RangeIgnoredError) or _status(cause) in (412, 416)


def _status(error: BaseException | None) -> int:
    response = getattr(error, "response", None) or {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
