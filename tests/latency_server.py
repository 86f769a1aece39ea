"""A round trip on loopback: a relay in a process of its own that lets answers begin late and then flow freely.

The first byte of an answer leaves `latency_s` after the last byte of the request came, and a connection waits as long
once when it opens; TLS, which it relays unread, so pays for each of its flights, as on a line. Bandwidth is not limited
and slow start is not imitated. For faults use ``fault_server``. Linux alone.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from server_process import ServerProcess

_RELAY = Path(__file__).with_name("latency_relay.py")
_READY = re.compile(r"relay port (\d+)\n")


class LatencyServer:
    """The relay before `upstream_url`; use as a context manager. `url` keeps the scheme of the server behind."""

    def __init__(self, upstream_url: str, latency_s: float = 0.05) -> None:
        self._upstream = urlsplit(upstream_url)
        self._latency_s = latency_s
        self._process: ServerProcess | None = None
        self._state: tempfile.TemporaryDirectory[str] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self._state = tempfile.TemporaryDirectory(prefix="starskope-latency-")
        address = [str(self._upstream.hostname), str(self._upstream.port), str(self._latency_s)]
        try:
            log = Path(self._state.name) / "output.log"
            self._process = ServerProcess([sys.executable, "-I", str(_RELAY), *address], log)
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
        if said := _READY.search(self._process.said()):
            self.url = f"{self._upstream.scheme}://127.0.0.1:{said[1]}"
        return bool(self.url)
