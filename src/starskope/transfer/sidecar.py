"""What is known of an unfinished file: a small journal beside it.

Owns the lines of ``.starskope-*.jsonl``: first where the bytes come from, then one line for each step that reached the
part file. A line that a kill tore off does not count. It refuses to be believed: each step carries the sum of all bytes
up to its end, and `steps_that_hold` reads them again before anything is built upon them. So no line needs an fsync:
after a power cut a step whose bytes were lost does not hold.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from errno import ENOSPC
from hashlib import sha256
from pathlib import Path

from starskope.transfer.sums import StoredSum, crc64

__all__ = ["Origin", "Sidecar", "Step", "part_path", "sidecar_path", "steps_that_hold"]

_VERSION = 1
_STEM = ".starskope-"
_MAX_BYTES = 1 << 28


@dataclass(frozen=True)
class Origin:
    """Which object the bytes of a part file belong to.

    Parameters
    ----------
    uri : str
        ``s3://bucket/key``.
    etag : str
        Without quotes.
    size : int
        Bytes of the whole object.
    stored : StoredSum or None
        What the server says that it sums to.
    """

    uri: str
    etag: str
    size: int
    stored: StoredSum | None


@dataclass(frozen=True)
class Step:
    """Bytes 0 to ``stop - 1`` of the part file sum to `crc64` (CRC64NVME)."""

    stop: int
    crc64: int


def part_path(directory: Path, uri: str) -> Path:
    """Return the name under which an object grows; it depends on nothing else, so that any later run finds it."""
    return directory / f"{_stem(uri)}.part"


def sidecar_path(directory: Path, uri: str) -> Path:
    """Return the name of the journal beside `part_path`."""
    return directory / f"{_stem(uri)}.jsonl"


def _stem(uri: str) -> str:
    return _STEM + sha256(uri.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Sidecar:
    """The journal of one part file.

    Parameters
    ----------
    path : pathlib.Path
        From `sidecar_path`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        self._ends: list[int] = []

    def begin(self, origin: Origin) -> None:
        """Start anew, before the first byte of the object reaches the part file."""
        self.close()
        self.path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, 0o666)
        stored = None if origin.stored is None else [origin.stored.name, origin.stored.value]
        self._say({"version": _VERSION, "uri": origin.uri, "etag": origin.etag, "size": origin.size, "stored": stored})

    def read(self) -> tuple[Origin, list[Step]] | None:
        """Return what an earlier run left, or None where that is nothing or nonsense."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
                return None
            head, *lines = _read_exactly(descriptor, 0, status.st_size).splitlines(keepends=True) or [b""]
        finally:
            os.close(descriptor)
        origin = _parse_head(head)
        if origin is None:
            return None
        steps, self._ends = _parse_steps(lines, origin.size, len(head))
        return origin, steps

    def resume(self, n_steps: int) -> None:
        """Go on after the first `n_steps` of `read`; later lines are dropped."""
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        os.ftruncate(self._descriptor, self._ends[n_steps])

    def note(self, step: Step) -> None:
        """Record that all bytes up to here were written."""
        self._say([step.stop, step.crc64])

    def _say(self, value: object) -> None:
        line = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        if os.write(self._descriptor, line) != len(line):
            raise OSError(ENOSPC, os.strerror(ENOSPC))

    def close(self) -> None:
        """Let go of the file and leave it."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def remove(self) -> None:
        """Let go of the file and delete it."""
        self.close()
        self.path.unlink(missing_ok=True)


def _parse_head(line: bytes) -> Origin | None:
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        head = json.loads(line)
        if line.endswith(b"\n") and head["version"] == _VERSION:
            stored = None if head["stored"] is None else StoredSum(*map(str, head["stored"]))
            return Origin(str(head["uri"]), str(head["etag"]), int(head["size"]), stored)
    return None


def _parse_steps(lines: list[bytes], size: int, end: int) -> tuple[list[Step], list[int]]:
    """Return the steps up to the first line that is none, and where in the file each ends."""
    steps: list[Step] = []
    ends = [end]
    last = 0
    for line in lines:
        try:
            stop, value = json.loads(line)
        except (ValueError, TypeError, RecursionError):
            break
        is_step = type(stop) is int and type(value) is int and last < stop <= size and 0 <= value < 1 << 64
        if not (is_step and line.endswith(b"\n")):
            break
        steps.append(Step(stop, value))
        ends.append(ends[-1] + len(line))
        last = stop
    return steps, ends


def steps_that_hold(descriptor: int, steps: list[Step]) -> Iterator[tuple[Step, bytes]]:
    """Read a part file again and yield the steps whose bytes are still those that were recorded, with the bytes.

    Parameters
    ----------
    descriptor : int
        The part file.
    steps : list of Step
        From `Sidecar.read`.

    Yields
    ------
    tuple of Step and bytes
        In order, until the first step that does not hold.
    """
    start = value = 0
    for step in steps:
        data = _read_exactly(descriptor, start, step.stop - start)
        value = crc64(data, value)
        if len(data) != step.stop - start or value != step.crc64:
            return
        yield step, data
        start = step.stop


def _read_exactly(descriptor: int, start: int, n_bytes: int) -> bytes:
    chunks = []
    while n_bytes > 0 and (chunk := os.pread(descriptor, n_bytes, start)):
        chunks.append(chunk)
        start += len(chunk)
        n_bytes -= len(chunk)
    return b"".join(chunks)
