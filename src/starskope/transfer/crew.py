"""Several processes for one download: who gets which keys, and what becomes of a process that dies.

Owns the processes that help the calling one, and the lines that pass between them. Each is handed a few keys at a time,
so that fast and slow ones end together. It refuses to lose a key: those of a process that ended before it reported come
back to the caller, together with what is on the disk of them.

A line is one JSON value. To a helper: a job, then keys. From it: ``{"ready": true}``, ``{"bytes": n}`` and outcomes.
The end of its standard input tells a helper to stop at once; so none outlives a caller that was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import IO, Any

from starskope import parallel
from starskope.transfer.manifest import ManifestRow
from starskope.transfer.objects import Outcome
from starskope.transfer.options import TransferOptions
from starskope.transfer.partfile import outlast
from starskope.transfer.uris import S3Uri
from starskope.transfer.wanted import Wanted

__all__ = ["Crew", "Job", "pays"]

_HELPER = "starskope.transfer.helper"
_MAX_LINE = 1 << 20
_STOP_S = 5.0
# What a process costs before it moves its first byte, and how busy one must be before another can be of use.
_START_S = 1.0
_BUSY = 0.75


@dataclass(frozen=True)
class Job:
    """What every process of a download must know.

    Parameters
    ----------
    directory : str
        Destination.
    options : TransferOptions
        Of each process: the connections and objects of the run are divided among them.
    overwrite, verify : bool
        As `starskope.transfer.objects.Bringer` takes them.
    """

    directory: str
    options: TransferOptions
    overwrite: bool
    verify: bool

    def to_line(self) -> bytes:
        """Return the first line that a helper reads."""
        return _line(asdict(self))

    @classmethod
    def parse(cls, line: bytes) -> Job:
        """Read the line back."""
        said = json.loads(line)
        # JSON knows lists only, where options hold tuples.
        options = {**said["options"], "host_limits": tuple((str(h), int(n)) for h, n in said["options"]["host_limits"])}
        return cls(**{**said, "options": TransferOptions(**options)})


def pays(busy: float, seconds_left: float, n_processes: int) -> bool:
    """Tell whether more processes shorten a download by more than they cost.

    Parameters
    ----------
    busy : float
        CPU seconds per second of the one process that works so far, over all its threads.
    seconds_left : float
        At the present rate.
    n_processes : int
        How many there would be, at most one per CPU.

    Notes
    -----
    A process that waits for the line or the disk most of the time gains nothing from a second one. Otherwise `n` of
    them on as many CPUs are ``n / busy`` times as fast, and each costs about a second of CPU to begin with: they must
    save twice that.
    """
    speedup = n_processes / max(busy, 1.0)
    return busy >= _BUSY and seconds_left * (1 - 1 / max(speedup, 1.0)) >= 2 * _START_S


def key_to_line(index: int, wanted: Wanted, known: ManifestRow | None) -> bytes:
    """Return the line that hands a key to a helper."""
    key = {"uri": [wanted.uri.bucket, wanted.uri.key], "name": wanted.name, "size": wanted.size, "etag": wanted.etag}
    return _line({"index": index, **key, "known": None if known is None else asdict(known)})


def key_from_line(line: bytes) -> tuple[int, Wanted, ManifestRow | None]:
    """Read the line back."""
    said = json.loads(line)
    known = None if said["known"] is None else ManifestRow(**said["known"])
    return said["index"], Wanted(S3Uri(*said["uri"]), said["name"], said["size"], said["etag"]), known


def outcome_to_line(index: int, outcome: Outcome) -> bytes:
    """Return the line that tells what became of a key."""
    return _line({"index": index, "row": asdict(outcome.row), "blame": outcome.blame})


def _line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


class Crew:
    """Helpers of one run.

    Parameters
    ----------
    todo : deque of int
        Keys not yet begun, shared with the caller: both take from its left.
    job : Job
        What the helpers are told.
    key : callable
        Wanted object and manifest row of an index.
    keep : callable
        Takes index and outcome.
    note : callable
        Takes numbers of bytes as they come.
    """

    def __init__(
        self,
        todo: deque[int],
        job: Job,
        key: Callable[[int], tuple[Wanted, ManifestRow | None]],
        keep: Callable[[int, Outcome], None],
        note: Callable[[int], None],
    ) -> None:
        self._todo = todo
        self._job = job
        self._key = key
        self._keep = keep
        self._note = note
        self._tasks: set[asyncio.Task[None]] = set()

    def grow(self, n_helpers: int, lock: int) -> None:
        """Start helpers, which hold the lock of the directory through the descriptor `lock`."""
        for _ in range(n_helpers):
            with contextlib.suppress(OSError):  # no room for a process: the caller goes on alone
                process = parallel.spawn(_HELPER, pass_fds=(lock,))
                self._tasks.add(asyncio.create_task(self._lead(process)))

    async def idle(self) -> None:
        """Wait until every helper has ended; the caller looks whether keys came back."""
        while self._tasks:
            done, self._tasks = self._tasks, set()
            await asyncio.wait(done)
            for task in done:
                task.result()

    async def stop(self) -> None:
        """End all helpers."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await outlast(asyncio.gather(*self._tasks, return_exceptions=True))

    async def _lead(self, process: subprocess.Popen[bytes]) -> None:
        """Hand keys to one helper until there are none, and take them back from one that dies."""
        given: set[int] = set()
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_MAX_LINE)
        to_helper = from_helper = None
        try:
            from_helper, _ = await loop.connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), _pipe(process.stdout)
            )
            to_helper, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, _pipe(process.stdin))
            to_helper.write(self._job.to_line())
            await self._talk(reader, to_helper, given)
        finally:
            # Put in front: what a dead helper had begun is gone on with before new keys are begun.
            self._todo.extendleft(sorted(given, reverse=True))
            if to_helper is not None and not to_helper.is_closing():
                to_helper.abort()
            await outlast(asyncio.ensure_future(asyncio.to_thread(_end, process)))
            if from_helper is not None:
                from_helper.close()

    async def _talk(self, reader: asyncio.StreamReader, to_helper: asyncio.WriteTransport, given: set[int]) -> None:
        n_ahead = self._job.options.max_objects + 2
        while line := await reader.readline():
            said = json.loads(line)
            if "bytes" in said:
                self._note(said["bytes"])
            elif "index" in said:
                given.discard(said["index"])
                self._keep(said["index"], Outcome(ManifestRow(**said["row"]), said["blame"]))
            # No more than fits into the pipe is ever under way, so nothing is gained by waiting for it to drain.
            while len(given) < n_ahead and self._todo:
                index = self._todo.popleft()
                given.add(index)
                to_helper.write(key_to_line(index, *self._key(index)))
            if not given:
                return


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RuntimeError("a helper without pipes")
    return pipe


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
