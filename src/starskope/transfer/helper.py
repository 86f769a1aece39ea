"""A process that helps with a download: `python -m starskope.transfer.helper`, started by ``crew`` only.

Owns the other end of the lines that ``crew`` describes. It refuses to outlive its caller: when its standard input ends,
it stops, and what it had begun stays on the disk for whoever goes on.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from starskope.transfer.client import open_client
from starskope.transfer.crew import Job, key_from_line, outcome_to_line
from starskope.transfer.facade import run_sync
from starskope.transfer.objects import Bringer

__all__ = ["main"]

_MAX_LINE = 1 << 20
_TELL_EVERY_S = 0.1


def main() -> None:
    """Serve the process that started this one until it closes the pipe."""
    # The caller alone decides when to stop; a stray print must not end up among the lines.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lines_out = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        run_sync(_serve(lines_out))
    except* BrokenPipeError:
        pass  # nobody listens any more


async def _serve(lines_out: int) -> None:
    reader = asyncio.StreamReader(limit=_MAX_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    first = await reader.readline()
    if not first:
        return
    job = Job.parse(first)
    n_bytes = 0

    def note(n_more: int) -> None:
        nonlocal n_bytes
        n_bytes += n_more

    def say(line: bytes) -> None:
        while line:
            line = line[os.write(lines_out, line) :]

    async def tell_often() -> None:
        nonlocal n_bytes
        while True:
            await asyncio.sleep(_TELL_EVERY_S)
            if n_bytes:
                say(_line({"bytes": n_bytes}))
                n_bytes = 0

    async with open_client(job.options) as client:
        bringer = Bringer(
            client,
            Path(job.directory),
            job.options.max_objects,
            overwrite=job.overwrite,
            verify=job.verify,
            note=note,
        )

        async def one(line: bytes) -> None:
            nonlocal n_bytes
            index, wanted, known = key_from_line(line)
            outcome = await bringer.bring(wanted, known)
            say(_line({"bytes": n_bytes}) + outcome_to_line(index, outcome))
            n_bytes = 0

        async with asyncio.TaskGroup() as group:
            tasks = {group.create_task(tell_often())}
            say(_line({"ready": True}))
            while (line := await reader.readline()).endswith(b"\n"):
                task = group.create_task(one(line))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            for task in tasks:
                task.cancel()


def _line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


if __name__ == "__main__":
    main()
