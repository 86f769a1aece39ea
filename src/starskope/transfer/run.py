"""One download of many keys: who is next, who failed and why, the record of it all.

Owns the queue, the count of what is done, the manifest while it grows, and the choice of when other processes join. It
refuses to know how one object comes: that is the business of ``objects``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from starskope import parallel
from starskope.transfer.client import Client, open_client
from starskope.transfer.crew import Crew, Job, pays
from starskope.transfer.destination import record
from starskope.transfer.manifest import ManifestRow
from starskope.transfer.objects import Bringer, Outcome
from starskope.transfer.options import TransferOptions
from starskope.transfer.partfile import outlast
from starskope.transfer.sidecar import sidecar_path
from starskope.transfer.wanted import Wanted

__all__ = ["Progress", "ProgressCallback", "Run"]

_RECORD_EVERY_S = 2.0
_REPORT_EVERY_S = 0.1
_WATCH_EVERY_S = 0.5


@dataclass(frozen=True)
class Progress:
    """How far a download has come.

    Parameters
    ----------
    n_done, n_failed, n_total : int
        Objects that are complete, that failed, and all.
    bytes_done : int
        Bytes fetched in this run.
    bytes_total : int or None
        Bytes of all objects, None when the source did not tell their sizes.
    """

    n_done: int
    n_failed: int
    n_total: int
    bytes_done: int
    bytes_total: int | None


ProgressCallback = Callable[[Progress], None]


class Run:
    """One call of `starskope.transfer.download.download_async`.

    Parameters
    ----------
    wanted : list of Wanted
        What to bring.
    directory : pathlib.Path
        Destination, held.
    options : TransferOptions
        Of the whole run.
    known : dict of str to ManifestRow
        What the manifest says; grows.
    progress : callable or None
        Told how far it is.
    overwrite, verify : bool
        As `Bringer` takes them.
    processes : int or None
        How many share the work; None: as many as pay.
    lock : int
        Descriptor that holds the directory.
    """

    def __init__(
        self,
        wanted: list[Wanted],
        directory: Path,
        options: TransferOptions,
        known: dict[str, ManifestRow],
        progress: ProgressCallback | None,
        *,
        overwrite: bool,
        verify: bool,
        processes: int | None,
        lock: int,
    ) -> None:
        self.wanted = wanted
        self.directory = directory
        self.options = options
        self.known = known
        self._overwrite = overwrite
        self._verify = verify
        self._processes = processes
        self._lock = lock
        self._rows: list[ManifestRow | None] = [None] * len(wanted)
        self._todo = deque(range(len(wanted)))
        self._journals: list[Path] = []
        self._recording = asyncio.Lock()
        self._progress = progress
        sizes = [one.size for one in wanted if one.size is not None]
        self._bytes_total = sum(sizes) if len(sizes) == len(wanted) else None
        self._bytes_done = 0
        self._n_done = 0
        self._n_failed = 0
        self._n_refused = 0  # by the disk, in a row
        self._last_error = ""

    async def all(self) -> list[ManifestRow]:
        """Bring everything and return one row per object, in order."""
        n_most = min(self._processes or parallel.available_cpus(), max(len(self.wanted), 1))
        try:
            async with asyncio.TaskGroup() as group:
                beside = [group.create_task(self._record_often()), group.create_task(self._report_often())]
                async with open_client(self.options) as client, self._crew(n_most) as crew:
                    if self._processes is None:
                        beside.append(group.create_task(self._grow_when_it_pays(crew, n_most)))
                    else:
                        crew.grow(n_most - 1, self._lock)
                    while self._todo:
                        await self._work(client)
                        # Keys of a helper that died come back.
                        await crew.idle()
                for task in beside:
                    task.cancel()
        except ExceptionGroup as errors:
            raise _first(errors) from None
        finally:
            # Also when cancelled: what is finished must be known to the next run.
            last = asyncio.ensure_future(self._record())
            await outlast(last)
            if sys.exc_info()[0] is None:
                last.result()
        self._report()
        return [row for row in self._rows if row is not None]

    @asynccontextmanager
    async def _crew(self, n_most: int) -> AsyncIterator[Crew]:
        share = replace(
            self.options,
            max_objects=max(1, self.options.max_objects // n_most),
            max_connections=max(1, self.options.max_connections // n_most),
        )
        job = Job(str(self.directory.resolve()), share, self._overwrite, self._verify)
        crew = Crew(self._todo, job, self._key, self._keep, self._take_note)
        try:
            yield crew
        finally:
            await crew.stop()

    def _key(self, index: int) -> tuple[Wanted, ManifestRow | None]:
        wanted = self.wanted[index]
        return wanted, self.known.get(str(wanted.uri))

    async def _work(self, client: Client) -> None:
        """Bring what is to do with this process."""
        bringer = Bringer(
            client,
            self.directory,
            self.options.max_objects,
            overwrite=self._overwrite,
            verify=self._verify,
            note=self._take_note,
        )

        async def work() -> None:
            while self._todo:
                index = self._todo.popleft()
                if self._n_refused >= self.options.max_objects:
                    wanted = self.wanted[index]
                    why = f"not tried: {self._last_error}"
                    self._keep(index, Outcome(ManifestRow(str(wanted.uri), wanted.name, error=why), "disk"))
                else:
                    self._keep(index, await bringer.bring(*self._key(index)))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(bringer.n_tasks, len(self._todo))):
                group.create_task(work())

    def _keep(self, index: int, outcome: Outcome) -> None:
        row = self._rows[index] = outcome.row
        earlier = self.known.get(row.uri)
        self._n_refused = self._n_refused + 1 if outcome.blame == "disk" else 0
        if row.status == "failed":
            self._n_failed += 1
            if outcome.blame == "disk" and not self._last_error:
                self._last_error = row.error
            # An older version of the object still lies there whole: its record stands.
            if earlier is not None and earlier.status != "failed" and not self._verify:
                return
        else:
            self._n_done += 1
            self._journals.append(sidecar_path(self.directory, row.uri))
        self.known[row.uri] = row

    def _take_note(self, n_bytes: int) -> None:
        self._bytes_done += n_bytes

    async def _grow_when_it_pays(self, crew: Crew, n_most: int) -> None:
        """Let other processes join once this one is seen to be the narrow place."""
        began, cpu_s, n_bytes = time.monotonic(), time.process_time(), self._bytes_done
        while n_most > 1:
            await asyncio.sleep(_WATCH_EVERY_S)
            seconds = time.monotonic() - began
            rate = (self._bytes_done - n_bytes) / seconds
            n_left = len(self._todo)
            n_ended = self._n_done + self._n_failed
            if rate > 0 and n_left and n_ended:
                seconds_left = n_left * self._bytes_done / n_ended / rate
                if pays((time.process_time() - cpu_s) / seconds, seconds_left, n_most):
                    crew.grow(n_most - 1, self._lock)
                    return

    async def _report_often(self) -> None:
        while self._progress is not None:
            self._report()
            await asyncio.sleep(_REPORT_EVERY_S)

    def _report(self) -> None:
        if self._progress is not None:
            n_total = len(self.wanted)
            self._progress(Progress(self._n_done, self._n_failed, n_total, self._bytes_done, self._bytes_total))

    async def _record_often(self) -> None:
        took_s = 0.0
        while True:
            # A long manifest is written less often: the journals vouch for what it does not say yet.
            await asyncio.sleep(max(_RECORD_EVERY_S, 50 * took_s))
            began = time.monotonic()
            await self._record()
            took_s = time.monotonic() - began

    async def _record(self) -> None:
        async with self._recording:
            journals, self._journals = self._journals, []
            rows = sorted(self.known.values(), key=lambda row: row.path)
            writing = asyncio.ensure_future(asyncio.to_thread(record, self.directory, rows, journals))
            try:
                await asyncio.shield(writing)
            finally:
                await outlast(writing)


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    error: Exception = errors
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
