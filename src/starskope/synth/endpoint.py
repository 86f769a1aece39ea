"""An S3 server on loopback, filled with objects that anyone may read.

Owns the life of moto's server in a process of its own: start, fill, stop. The demo and the tests read from it exactly
as they would from the public bucket. It refuses to listen anywhere but on 127.0.0.1, to outlive its parent, and to use
anybody's credentials: its own puts are signed with the invented ones below, which open nothing else.
"""

from __future__ import annotations

import importlib.util
import os
import re
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from starskope.errors import StarskopeError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Endpoint"]

HOST = "127.0.0.1"
DEFAULT_BUCKET = "stpubdata"
N_PUT_WORKERS = 4  # the server is one Python process: more threads only queue
_READY = "starskope endpoint port "
_INVENTED_KEY_ID = "starskope-embedded-endpoint"
_INVENTED_SECRET = "opens-nothing-but-the-loopback-server"  # noqa: S105


class Endpoint:
    """moto's S3 server in its own process on 127.0.0.1, on a port that the system picks.

    Parameters
    ----------
    start_timeout_s : float, optional
        How long the server may take until it listens.

    Attributes
    ----------
    url : str
        ``http://127.0.0.1:PORT`` while the endpoint runs.

    Raises
    ------
    StarskopeError
        When moto is not installed or the server does not come up.

    Notes
    -----
    Objects live in the memory of the server and vanish with it. The child watches a pipe from its parent and ends when
    that closes, so a parent that is killed leaves no server behind.

    Examples
    --------
    >>> from starskope.synth.endpoint import Endpoint
    >>> with Endpoint() as endpoint:
    ...     _ = endpoint.put("tess/hello.txt", b"hello")
    ...     endpoint.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(self, *, start_timeout_s: float = 60.0) -> None:
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._client: Any = None
        self._buckets: set[str] = set()

    @property
    def url(self) -> str:
        """Address to give as ``endpoint_url``."""
        if self._process is None:
            raise StarskopeError("the endpoint does not run: use it as `with Endpoint() as endpoint:`")
        return f"http://{HOST}:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and return when it listens."""
        _require_moto()
        if self._process is not None:
            raise StarskopeError(f"the endpoint already runs at {self.url}")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOTO_"))}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        command = [sys.executable, "-c", "from starskope.synth.endpoint import _serve; _serve()"]
        self._process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, env=environment
        )
        try:
            self._port = self._await_port(self._process)
        except BaseException:
            self.stop()
            raise

    def _await_port(self, process: subprocess.Popen[bytes]) -> int:
        """Return the port that the child prints once it listens."""
        deadline = time.monotonic() + self._start_timeout_s
        said = b""
        while process.stdout is not None and (left_s := deadline - time.monotonic()) > 0:
            if not select.select([process.stdout], [], [], left_s)[0]:
                break
            piece = process.stdout.read(4096)
            said += piece
            if match := re.search(_READY.encode() + rb"(\d+)\n", said):
                return int(match[1])
            if not piece:
                break
        process.kill()
        complaint = process.stderr.read().decode(errors="replace").strip().splitlines() if process.stderr else []
        why = complaint[-1] if complaint else "it said nothing"
        raise StarskopeError(f"the S3 server did not start within {self._start_timeout_s:g} s: {why}")

    def stop(self) -> None:
        """End the server; safe to call twice."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
        process, self._process, self._port = self._process, None, 0
        self._buckets.clear()
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def put(self, key: str, data: bytes, bucket: str = DEFAULT_BUCKET, *, acl: str = "public-read") -> str:
        """Store one object, by default such that anyone may read it.

        Parameters
        ----------
        key : str
            Full key.
        data : bytes
            Content. botocore adds a CRC32, which the server keeps and gives back.
        bucket : str, optional
            Made when missing.
        acl : str, optional
            "private" makes the server refuse unsigned reads.

        Returns
        -------
        str
            The ETag without quotes: the MD5 of the content.
        """
        client = self._s3(bucket)
        answer = client.put_object(Bucket=bucket, Key=key, Body=data, ACL=acl)
        return str(answer["ETag"]).strip('"')

    def put_directory(self, root: str | Path, bucket: str = DEFAULT_BUCKET, *, prefix: str = "") -> int:
        """Store every file below a directory under its path relative to that directory.

        Parameters
        ----------
        root : path
            Directory whose layout is that of the bucket.
        bucket : str, optional
            Made when missing.
        prefix : str, optional
            Only files whose key starts with this.

        Returns
        -------
        int
            How many objects were stored.
        """
        root = Path(root)
        if not root.is_dir():
            raise ValueError(f"root must be a directory, got {root}")
        files = [(path.relative_to(root).as_posix(), path) for path in sorted(root.rglob("*")) if path.is_file()]
        files = [(key, path) for key, path in files if key.startswith(prefix)]
        self._s3(bucket)

        def put_file(item: tuple[str, Path]) -> None:
            self.put(item[0], item[1].read_bytes(), bucket)

        with ThreadPoolExecutor(N_PUT_WORKERS) as pool:
            list(pool.map(put_file, files))
        return len(files)

    def _s3(self, bucket: str) -> Any:
        """Return the boto3 client of this endpoint after making sure that the bucket exists."""
        if self._client is None:
            import boto3
            from botocore.config import Config

            # proxies={}: a proxy of the environment has no business between us and loopback.
            self._client = boto3.session.Session().client(
                "s3",
                endpoint_url=self.url,
                region_name="us-east-1",
                aws_access_key_id=_INVENTED_KEY_ID,
                aws_secret_access_key=_INVENTED_SECRET,
                config=Config(max_pool_connections=N_PUT_WORKERS * 2, proxies={}, retries={"total_max_attempts": 3}),
            )
        if bucket not in self._buckets:
            self._client.create_bucket(Bucket=bucket)
            self._buckets.add(bucket)
        return self._client


def _require_moto() -> None:
    missing = [name for name in ("moto", "flask", "flask_cors", "boto3") if importlib.util.find_spec(name) is None]
    if missing:
        raise StarskopeError(
            f"the embedded S3 server needs {', '.join(missing)}: install it with pip install 'starskope[demo]'"
        )


def _serve() -> None:
    """Run the server in this process until standard input closes. Called in the child only."""
    import logging
    import warnings

    # The parent decides when to stop; Ctrl-C in the terminal reaches the whole process group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import ThreadedWSGIServer

    class QuietHandler(MotoRequestHandler):  # type: ignore[misc]
        disable_nagle_algorithm = True  # else small answers wait 40 ms for a delayed acknowledgement

        def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    class WatchfulServer(ThreadedWSGIServer):
        def service_actions(self) -> None:
            """End with the parent; called between requests and every half second."""
            # The pipe carries nothing: it turns readable when the parent, killed or not, lets go of its end.
            if select.select([sys.stdin], [], [], 0)[0]:
                os._exit(0)

    server = WatchfulServer(HOST, 0, DomainDispatcherApplication(create_backend_app), handler=QuietHandler)
    sys.stdout.write(f"{_READY}{server.server_port}\n")
    sys.stdout.flush()
    # Nobody reads the pipes from here on: a full one would block the server.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())
    server.serve_forever()
