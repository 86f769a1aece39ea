"""Parts of the page that are made beside the run, in another process: drawing holds Python's lock.

Owns which parts these are, and both ends of the line to ``python -m starskope.report.helper``: a question and an answer
are a line of JSON each. Refuses to be needed: a part that the process did not make is made by who asks for it, and the
page has the same bytes.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from starskope.parallel import resolve_workers, spawn, submit_waiting
from starskope.report.folder import RunFolder
from starskope.report.learned import learned_sections
from starskope.report.noise import StarNoise
from starskope.report.observed import curves_sections, frames_section, stack_section

__all__ = ["PARTS", "PageHelper", "main"]

_NEEDED = ("science", "identity", "masked_quality")  # of run.json


def _observed(folder: RunFolder) -> dict[str, Any]:
    """Make the sections on stack, light curves and frames; and tell how noisy the light curves are."""
    noise = StarNoise.measure(folder.sample, folder.stacked)
    rows, columns = folder.run["science"]
    sections = [
        stack_section(folder.stack, (slice(*rows), slice(*columns))),
        curves_sections(folder.sample, noise, folder.stacked, len(folder.stars)),
        frames_section(folder.frames),
    ]
    return {"html": "".join(sections), "noise_ratio": noise.ratio}


def _learned(folder: RunFolder) -> dict[str, Any]:
    return {"html": learned_sections(folder)}


PARTS: Mapping[str, Callable[[RunFolder], dict[str, Any]]] = {"observed": _observed, "learned": _learned}
"""``observed`` needs what the frames gave; ``learned`` needs the features and the candidates too."""


class PageHelper:
    """The process that makes parts of the page; use as a context manager.

    Parameters
    ----------
    folder : Path
        Where the products stand, or will when a part is asked for that needs them.
    workers : int
        As `starskope.parallel.resolve_workers` takes it; with one, nothing is made beside.
    """

    def __init__(self, folder: Path, workers: int) -> None:
        self._folder, self._beside = folder, resolve_workers(workers) > 1
        self._asked: dict[str, Future[bytes]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: io.BufferedReader | None = None

    def __enter__(self) -> PageHelper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            with self._process as process:
                process.kill()
                wait(self._asked.values())  # nobody reads a pipe that is closed below

    def ask(self, part: str, run: Mapping[str, Any]) -> None:
        """Have a part made from now on, of a run that ``run.json`` tells of, or will."""
        if not self._beside:
            return
        with contextlib.suppress(OSError):
            if self._process is None or self._lines is None:
                self._process = spawn("starskope.report.helper")
                self._lines = io.BufferedReader(cast(io.FileIO, self._process.stdout))
            question = {
                "folder": str(self._folder),
                "part": part,
                "run": {name: run[name] for name in _NEEDED if name in run},
            }
            cast(io.FileIO, self._process.stdin).write(json.dumps(question).encode() + b"\n")
            # Read as it comes: a pipe holds no page, and the next part is not begun before it is taken.
            self._asked[part] = submit_waiting(self._lines.readline)

    def answer(self, part: str, folder: RunFolder) -> dict[str, Any]:
        """Wait for a part; one that was not asked for, or that failed there, is made here."""
        asked = self._asked.pop(part, None)
        line = asked.result() if asked is not None else b""
        made: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
        return made or PARTS[part](folder)


def main() -> None:
    """Answer the process that started this one until it closes the pipe."""
    # The caller alone decides when to stop; a stray print must not end up among the lines.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lines_out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    questions: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin.buffer:
            questions.put(line)
        os._exit(0)  # whatever is under way: nobody waits for it

    submit_waiting(listen)
    folder: RunFolder | None = None
    while True:
        asked = json.loads(questions.get())
        try:
            folder = folder or RunFolder(Path(asked["folder"]), {})
            folder.run |= asked["run"]
            made = PARTS[asked["part"]](folder)
        except Exception:  # whoever asked makes the part himself, and tells what is wrong
            made = {}
        lines_out.write(json.dumps(made).encode() + b"\n")
        lines_out.flush()


if __name__ == "__main__":
    main()
