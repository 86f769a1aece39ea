"""A foreign server program as a child that ends with its parent, even a killed one.

Owns start and end of such a child. Refuses to know what it serves.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# A shell first starts a watcher of standard input, a pipe from us, and then becomes the program: when the pipe closes
# because we stop or die, the watcher ends the program. Background jobs of a shell have no standard input, hence the 9.
_WATCHED = 'exec 9<&0; (cat <&9 >/dev/null; kill -TERM $$) >/dev/null 2>&1 & exec "$@" 9<&- </dev/null'


class ServerProcess:
    """The program `command`, its output in the file `log`; `await_ready` tells when it serves."""

    def __init__(
        self, command: Sequence[str], log: Path, *, environment: Mapping[str, str] | None = None, pass_fd: int = -1
    ) -> None:
        self.name = Path(command[0]).name
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHED, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environment or {})},
                pass_fds=() if pass_fd < 0 else (pass_fd,),
                process_group=0,  # Ctrl-C in the terminal is for the tests; they stop their servers
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def await_ready(self, is_ready: Callable[[], bool], timeout_s: float = 15.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.name} did not start: {self.said().strip()[-2000:] or 'it said nothing'}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the program the way a dead parent would; safe to call twice."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
