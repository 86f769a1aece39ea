"""The embedded S3 server: what it serves, whom it refuses, and that it never outlives its parent."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.machinery import ModuleSpec
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from starskope.errors import StarskopeError
from starskope.synth.endpoint import Endpoint


def _get(url: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers=headers or {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def _listens(url: str) -> bool:
    address = urlsplit(url)
    with contextlib.suppress(OSError), socket.create_connection((str(address.hostname), int(address.port or 0)), 1):
        return True
    return False


def test_anyone_may_read_what_was_put(endpoint: Endpoint) -> None:
    etag = endpoint.put("endpoint/a b+ü.txt", b"starlight")
    assert etag == hashlib.md5(b"starlight").hexdigest()
    url = f"{endpoint.url}/stpubdata/endpoint/a%20b%2B%C3%BC.txt"
    assert _get(url) == (200, b"starlight")
    assert _get(url, {"Range": "bytes=4-8"}) == (206, b"light")


def test_private_objects_are_refused_unsigned(endpoint: Endpoint) -> None:
    endpoint.put("endpoint/private.txt", b"secret", acl="private")
    status, body = _get(f"{endpoint.url}/stpubdata/endpoint/private.txt")
    assert status == 403
    assert b"secret" not in body


def test_a_directory_becomes_keys(endpoint: Endpoint, tmp_path: Path) -> None:
    files = {"tess/a/1.bin": b"one", "tess/b/2.bin": b"two", "truth/stars.ecsv": b"three", "tess/empty": b""}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert endpoint.put_directory(tmp_path, "directory-bucket", prefix="tess/") == 3
    for name, content in files.items():
        status, body = _get(f"{endpoint.url}/directory-bucket/{name}")
        assert (status, body if status == 200 else b"") == ((200, content) if name.startswith("tess/") else (404, b""))


def test_a_missing_directory_is_named(endpoint: Endpoint, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"root must be a directory, got .*nowhere"):
        endpoint.put_directory(tmp_path / "nowhere")


def test_it_listens_on_loopback_only_and_stops() -> None:
    with Endpoint() as running:
        url = running.url
        assert urlsplit(url).hostname == "127.0.0.1"
        with pytest.raises(StarskopeError, match=r"already runs"):
            running.start()
    assert not _listens(url)
    with pytest.raises(StarskopeError, match=r"does not run"):
        _ = running.url
    running.stop()


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with Endpoint() as running:
        running.put("x", b"y")
        assert _get(f"{running.url}/stpubdata/x") == (200, b"y")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_it_dies_with_its_parent(how: signal.Signals) -> None:
    code = """
import time
from starskope.synth.endpoint import Endpoint
with Endpoint() as endpoint:
    print(endpoint.url, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        assert _listens(url)
        os.kill(parent.pid, how)
    deadline = time.monotonic() + 10
    while _listens(url) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _listens(url)


def test_without_moto_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def find_without_moto(name: str) -> ModuleSpec | None:
        return None if name == "moto" else find(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_without_moto)
    with pytest.raises(StarskopeError, match=r"needs moto: install it with pip install 'starskope\[demo\]'"):
        Endpoint().start()


def test_a_server_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "werkzeug").mkdir()
    (tmp_path / "werkzeug" / "__init__.py").write_text("raise RuntimeError('broken installation')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(StarskopeError, match=r"did not start within 60 s: RuntimeError: broken installation"):
        Endpoint().start()
