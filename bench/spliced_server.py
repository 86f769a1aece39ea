"""A bucket whose objects are spliced from parts of files: thousands of frames with headers of their own and few planes.

Owns GET and HEAD of objects, ranges, If-Match and ListObjectsV2, on loopback, each connection in a thread. Bytes go
from the page cache to the socket by ``sendfile``, as those of nginx do, so that the server is not what a client waits
for. nginx itself serves whole files only, and hard links of one frame would all say the same time.

Refuses to write, to sign, and to be seen from elsewhere.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from bucket_listing import write_listings
from server_process import ServerProcess

HOST = "127.0.0.1"
_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")
_MTIME = 1_536_000_000


@dataclass(frozen=True)
class Part:
    """Some bytes of a file."""

    path: str
    offset: int
    n_bytes: int


@dataclass(frozen=True)
class Spliced:
    """An object: its ETag and the parts that it is made of, in order."""

    etag: str
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        return sum(part.n_bytes for part in self.parts)

    def cut(self, n_bytes: int) -> Spliced:
        """Return the object that holds the first bytes of this one alone."""
        parts, left = [], n_bytes
        for part in self.parts:
            if left > 0:
                parts.append(Part(part.path, part.offset, min(part.n_bytes, left)))
                left -= part.n_bytes
        return Spliced(f"{self.etag}-{n_bytes:x}", tuple(parts))


class SplicedServer:
    """Serve objects, given as ``bucket/key``, from a process of its own; use as a context manager."""

    def __init__(self, objects: Mapping[str, Spliced]) -> None:
        self._objects = objects
        self._state: tempfile.TemporaryDirectory[str] | None = None
        self._process: ServerProcess | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self._state = tempfile.TemporaryDirectory(prefix="starskope-spliced-")
        state = Path(self._state.name)
        (state / "list").mkdir()
        told = {name: SimpleNamespace(st_mtime=_MTIME, st_size=one.size) for name, one in self._objects.items()}
        etags = {name: one.etag for name, one in self._objects.items()}
        pages = write_listings(told, etags, state / "list")  # type: ignore[arg-type]
        objects = {
            name: [one.etag, [[p.path, p.offset, p.n_bytes] for p in one.parts]] for name, one in self._objects.items()
        }
        (state / "served.json").write_text(json.dumps({"objects": objects, "pages": pages}))
        with socket.create_server((HOST, 0), backlog=512) as listening:
            port = listening.getsockname()[1]
            os.set_inheritable(listening.fileno(), True)
            command = [sys.executable, str(Path(__file__).resolve()), str(state), str(listening.fileno())]
            self._process = ServerProcess(command, state / "output.log", pass_fd=listening.fileno())
        self.url = f"http://{HOST}:{port}"
        try:
            self._process.await_ready(lambda: _is_ready(port))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.stop()
        if self._state is not None:
            self._state.cleanup()


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 404
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class _Bucket:
    """What is served, and how questions are answered."""

    def __init__(self, state: Path) -> None:
        told = json.loads((state / "served.json").read_text())
        self._state, self._pages, self._objects = state, told["pages"], told["objects"]
        self._buckets = {name.split("/", 1)[0] for name in self._objects}
        self._files: dict[str, int] = {}
        self._lock = threading.Lock()

    def converse(self, line: socket.socket) -> None:
        """Answer the requests of one connection until it ends."""
        rest = b""
        with line:
            try:
                while True:
                    while b"\r\n\r\n" not in rest:
                        piece = line.recv(65536)
                        if not piece:
                            return
                        rest += piece
                    head, rest = rest.split(b"\r\n\r\n", 1)
                    self._answer(line, head.decode("latin-1"))
            except OSError:
                return  # the client went away

    def _answer(self, line: socket.socket, head: str) -> None:
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ", 2)
        cards = {name.strip().lower(): value.strip() for name, _, value in (card.partition(":") for card in lines)}
        address = urlsplit(target)
        question = parse_qs(address.query, keep_blank_values=True)
        if "list-type" in question:
            self._list(line, unquote(address.path), {name: values[0] for name, values in question.items()})
            return
        found = self._objects.get(unquote(address.path).lstrip("/"))
        if method == "HEAD" and found is None and address.path.strip("/") in self._buckets:
            line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx-amz-bucket-region: us-east-1\r\n\r\n")
            return
        if found is None or method not in {"GET", "HEAD"}:
            _tell(line, "404 Not Found", "<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>", method)
            return
        etag, parts = found
        size = sum(n_bytes for _, _, n_bytes in parts)
        if cards.get("if-match", f'"{etag}"').strip('"') != etag:
            _tell(line, "412 Precondition Failed", "<Error><Code>PreconditionFailed</Code></Error>")
            return
        start, stop, status = 0, size, "200 OK"
        if asked := _RANGE.match(cards.get("range", "")):
            start, stop = int(asked[1]), min(int(asked[2] or size - 1) + 1, size)
            if start >= size:
                _tell(line, "416 Requested Range Not Satisfiable", "<Error><Code>InvalidRange</Code></Error>")
                return
            status = "206 Partial Content"
        answer = [f"HTTP/1.1 {status}", f"Content-Length: {stop - start}", f'ETag: "{etag}"', "Accept-Ranges: bytes"]
        answer += ["Content-Type: binary/octet-stream", "Last-Modified: Mon, 03 Sep 2018 18:40:00 GMT"]
        if asked:
            answer.append(f"Content-Range: bytes {start}-{stop - 1}/{size}")
        line.sendall("\r\n".join([*answer, "", ""]).encode(), socket.MSG_MORE if method == "GET" else 0)
        if method == "GET":
            self._send(line, parts, start, stop)

    def _send(self, line: socket.socket, parts: Sequence[tuple[str, int, int]], start: int, stop: int) -> None:
        at = 0
        for path, offset, n_bytes in parts:
            first, last = max(start - at, 0), min(stop - at, n_bytes)
            at += n_bytes
            file = self._file(path)
            while first < last:
                sent = os.sendfile(line.fileno(), file, offset + first, last - first)
                if not sent:
                    raise OSError(f"{path} is shorter than it was")
                first += sent

    def _file(self, path: str) -> int:
        with self._lock:
            if path not in self._files:
                self._files[path] = os.open(path, os.O_RDONLY)
            return self._files[path]

    def _list(self, line: socket.socket, path: str, asked: Mapping[str, str]) -> None:
        parts = [path, *(asked.get(name, "") for name in ("prefix", "delimiter", "continuation-token"))]
        page = self._pages.get("|".join(parts))
        if page is None or asked.get("max-keys", "1000") != "1000" or asked.get("start-after"):
            _tell(line, "501 Not Implemented", "<Error><Code>NotImplemented</Code></Error>")
        else:
            _tell(line, "200 OK", (self._state / "list" / page).read_text())


def _tell(line: socket.socket, status: str, text: str, method: str = "GET") -> None:
    body = text.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nContent-Type: application/xml\r\n\r\n"
    line.sendall(head.encode() + (body if method == "GET" else b""))


def serve(state: Path, listening: socket.socket) -> None:
    """Answer for ever."""
    bucket = _Bucket(state)
    while True:
        line, _ = listening.accept()
        threading.Thread(target=bucket.converse, args=(line,), daemon=True).start()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2])))
