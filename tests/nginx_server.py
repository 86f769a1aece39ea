"""nginx as a bucket that can only be read: the ceiling of plain GETs, http or https, and a home for hard links.

``root/bucket/key`` is an object. What nginx gives is its own: ranges (206, 416), ``ETag`` from time and size, and
``If-Match`` (412) also on ranges. Added by configuration: error answers in S3's XML, ListObjectsV2 as files made at the
start, and on demand the stored CRC64NVME of each object, sent for whole objects to those who ask for it as S3 does.

Not S3: no PUT, no HEAD of a bucket, no MD5 in the ETag, keys of ``A-Z a-z 0-9 . _ / -`` alone. Listings know the
prefixes that are directories (and those named in `prefixes`), pages of 1,000 and their tokens. Any other question
(`start-after`, `max-keys` below 1,000, a prefix that is no directory) is answered 501 rather than wrongly.
"""

from __future__ import annotations

import fcntl
import http.client
import os
import shutil
import socket
import ssl
import tempfile
from pathlib import Path
from typing import Self

import loopback_tls
from bucket_listing import crc64_of, etag_of, md5_of, stored_objects, sums_of, write_listings
from nginx_configuration import CONFIGURATION
from server_process import ServerProcess

HOST = "127.0.0.1"
_PROGRAMS = ("/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/local/nginx/sbin/nginx", "/opt/homebrew/bin/nginx")
# S3 chooses the suite itself, and takes AES-128 where the client can do it: without this every client had its own.
_SUITES = (
    "ssl_protocols TLSv1.2 TLSv1.3; ssl_prefer_server_ciphers on; ssl_ciphers ECDHE+AES128+AESGCM:ECDHE+AESGCM; "
    "ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256;"
)
_ERRORS = {403: "AccessDenied", 404: "NoSuchKey", 405: "MethodNotAllowed", 412: "PreconditionFailed"}
_ERRORS |= {416: "InvalidRange", 501: "NotImplemented"}


def find_nginx() -> str | None:
    """Where nginx is, or None; it often stands outside an ordinary user's PATH."""
    found = shutil.which("nginx")
    return found or next((path for path in _PROGRAMS if os.access(path, os.X_OK)), None)


class Nginx:
    """nginx on a free port of 127.0.0.1; use as a context manager.

    Parameters
    ----------
    root : path
        Holds one folder per bucket. Read at the start for listings and sums; bytes are read when asked for.
    tls : bool
        Speak https with a certificate from an authority of its own, `ca_file`.
    checksums : bool
        Give the CRC64NVME of each object; read once per file, however many names it has.
    md5_etags : bool
        Give the MD5 of each object as its ETag, as S3 does. nginx judges If-Match by its own ETag alone, so a request
        with a right If-Match is then answered through a second, inner server that does not see it.
    n_worker : int
        Processes of nginx.
    prefixes : tuple of str
        Prefixes that can be listed beside the directories.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        tls: bool = False,
        checksums: bool = False,
        md5_etags: bool = False,
        n_worker: int = 2,
        prefixes: tuple[str, ...] = (),
    ) -> None:
        self._root = Path(root).resolve()
        self._tls = tls
        self._checksums = checksums
        self._md5_etags = md5_etags
        self._n_worker = n_worker
        self._prefixes = prefixes
        self._process: ServerProcess | None = None
        self._state: tempfile.TemporaryDirectory[str] | None = None
        self.url = ""
        self.ca_file: Path | None = None

    def __enter__(self) -> Self:
        program = find_nginx()
        if program is None:
            raise RuntimeError("nginx is not installed: apt-get install nginx, or leave these tests out")
        self._state = tempfile.TemporaryDirectory(prefix="starskope-nginx-")
        state = Path(self._state.name)
        # nginx takes a listening socket that it finds in its environment, as when it replaces itself: no port is
        # picked that another program could take first.
        # Its number is above those that the shell between uses itself.
        with (
            socket.create_server((HOST, 0), backlog=512) as low,
            socket.socket(fileno=fcntl.fcntl(low.fileno(), fcntl.F_DUPFD_CLOEXEC, 10)) as listening,
        ):
            port = listening.getsockname()[1]
            # nginx does not look: of two workers that wake for one connection, the later would sleep in accept().
            listening.setblocking(False)
            (state / "nginx.conf").write_text(self._configuration(state, port))
            command = [program, "-p", str(state), "-c", str(state / "nginx.conf"), "-e", str(state / "error.log")]
            environment = {"NGINX": f"{listening.fileno()};"}
            try:
                self._process = ServerProcess(
                    command, state / "output.log", environment=environment, pass_fd=listening.fileno()
                )
            except BaseException:
                self._state.cleanup()
                raise
        self.url = f"{'https' if self._tls else 'http'}://{HOST}:{port}"
        try:
            self._process.await_ready(lambda: self._is_ready(port))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.stop()
        if self._state is not None:
            self._state.cleanup()

    def _is_ready(self, port: int) -> bool:
        if self.ca_file is not None:
            context = ssl.create_default_context(cafile=self.ca_file)
            connection = http.client.HTTPSConnection(HOST, port, timeout=2, context=context)
        else:
            connection = http.client.HTTPConnection(HOST, port, timeout=2)
        try:
            connection.request("GET", "/-/ready")
            return connection.getresponse().status == 204
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _configuration(self, state: Path, port: int) -> str:
        objects = stored_objects(self._root)
        for folder in ("list", "errors", "temp"):
            (state / folder).mkdir()
        for status, code in _ERRORS.items():
            body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>nginx</Message></Error>'
            (state / "errors" / f"{status}.xml").write_text(body)
        sums = sums_of(self._root, objects, crc64_of) if self._checksums else {}
        etags = sums_of(self._root, objects, md5_of) if self._md5_etags else {}
        given = etags or {name: etag_of(about) for name, about in objects.items()}
        pages = write_listings(objects, given, state / "list", self._prefixes)
        tls = ""
        if self._tls:
            self.ca_file, certificate, key = loopback_tls.issue(state)
            pair = f"ssl_certificate {certificate}; ssl_certificate_key {key};"
            tls = f"{pair} ssl_session_cache shared:tls:1m; {_SUITES}"
        return CONFIGURATION.format(
            user="user root root;" if os.geteuid() == 0 else "",  # else its workers may not read what root wrote
            n_worker=self._n_worker,
            state=state,
            root=self._root,
            listen=f"{HOST}:{port}{' ssl' if self._tls else ''}",
            tls=tls,
            pages="\n".join(f'"{question}" "{page}";' for question, page in pages.items()),
            sums="\n".join(f'"ENABLED||/{name}" "{value}";' for name, value in sums.items()),
            etags="\n".join(f'"/{name}" \'"{value}"\';' for name, value in etags.items()),
            etag="etag off; add_header ETag $md5_etag;" if self._md5_etags else "",
            errors=" ".join(f"error_page {status} /-/errors/{status}.xml;" for status in _ERRORS),
        )
