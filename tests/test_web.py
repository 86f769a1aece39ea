"""Files read from web servers without S3: bytes, faults, the pinned version, certificates, redirects."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import fault_server as faults
import numpy as np
import pytest
from fault_server import Exchange, Fault, FaultServer
from nginx_server import Nginx, find_nginx

from starskope.errors import TransferError
from starskope.synth.endpoint import Endpoint
from starskope.transfer.facade import run_sync
from starskope.transfer.options import TransferOptions
from starskope.transfer.ranged import RangeRead, read_range
from starskope.transfer.web import open_clients
from starskope.transfer.weburi import parse_uri

CONTENT = np.random.default_rng(8).bytes(1_500_000)
START, STOP = 2_880, 1_200_000
KEY = "web/frame.fits"
needs_nginx = pytest.mark.skipif(find_nginx() is None, reason="nginx is not installed")


@pytest.fixture(scope="module")
def files(endpoint: Endpoint) -> str:
    """Address of a server that offers `KEY` without being asked in S3's way."""
    endpoint.put(KEY, CONTENT)
    return f"{endpoint.url}/stpubdata"


@pytest.fixture
def proxy(endpoint: Endpoint, files: str) -> Iterator[FaultServer]:
    with FaultServer(endpoint.url) as server:
        yield server
        assert server.wait_closed(), "a connection was left open"


def options(**changes: object) -> TransferOptions:
    settings: dict[str, object] = {"max_attempts": 4, "stall_timeout_s": 0.4, "backoff_base_s": 0.01}
    return TransferOptions(**{**settings, **changes})  # type: ignore[arg-type]


def read(address: str, start: int = START, stop: int = STOP, etag: str | None = None, **changes: object) -> RangeRead:
    async def one() -> RangeRead:
        uri = parse_uri(address)
        async with open_clients([uri], options(**changes)) as client_of:
            return await read_range(client_of(uri), uri, start, stop, etag=etag)

    return run_sync(one())


def at(proxy: FaultServer) -> str:
    return f"{proxy.url}/stpubdata/{KEY}"


FAULTS = [
    (faults.reset, "the connection broke"),
    (faults.early_close, "the connection broke"),
    (faults.close_at_once, "the connection broke"),
    (faults.stall, "stalled: no byte for 0.4 s"),
    (faults.stall_before_head, "stalled: no byte for 0.4 s"),
    (faults.slow_down, "503 SlowDown"),
    (faults.internal_error, "the server answered 500"),
    (faults.range_ignored, "ignored the range"),
    (faults.short_length, "Content-Length is"),
    (faults.wrong_content_range, "the answer says"),
    (faults.no_content_range, "Content-Range"),
    (faults.garbage, "names neither ETag nor Last-Modified"),
    (faults.redirect_loop, "redirects without end"),
    (faults.not_http, "does not speak HTTP"),
]


def _name(value: object) -> str:
    return getattr(value, "__name__", "")


def test_a_range_of_a_file(files: str) -> None:
    got = read(f"{files}/{KEY}")
    assert got.data == CONTENT[START:STOP]
    assert got.object_size == len(CONTENT)
    assert read(f"{files}/{KEY}", 1_499_000, 2_000_000).data == CONTENT[1_499_000:]
    assert read(f"{files}/{KEY}", 0, 10).data == CONTENT[:10]


@pytest.mark.parametrize(("fault", "words"), FAULTS, ids=_name)
def test_a_fault_that_happens_twice_ends_with_the_right_bytes(proxy: FaultServer, fault: Fault, words: str) -> None:
    proxy.plan(fault, 2)
    assert read(at(proxy)).data == CONTENT[START:STOP]


@pytest.mark.parametrize(("fault", "words"), FAULTS, ids=_name)
def test_a_fault_that_stays_ends_with_its_name(proxy: FaultServer, fault: Fault, words: str) -> None:
    proxy.plan(fault)
    with pytest.raises(TransferError, match=words) as caught:
        read(at(proxy))
    assert list(caught.value.causes) == [at(proxy)]


@pytest.mark.parametrize(
    ("key", "words"), [("web/gone.fits", r"no such file at http://127.0.0.1:\d+ \(404\): check the address")]
)
def test_what_cannot_help_is_not_tried_again(proxy: FaultServer, key: str, words: str) -> None:
    with pytest.raises(TransferError, match=words):
        read(f"{proxy.url}/stpubdata/{key}")
    assert len(proxy.requests) == 1


def test_no_credentials_and_no_compression_are_offered(
    proxy: FaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login star password hunter2\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    read(at(proxy))
    (request,) = proxy.requests
    assert request.headers["accept-encoding"] == "identity"
    assert not {"authorization", "cookie", "x-amz-date", "referer"} & set(request.headers)


def test_a_changed_etag_in_mid_file_never_gives_a_mix(proxy: FaultServer) -> None:
    proxy.plan(faults.changed_in_the_middle)
    with pytest.raises(TransferError):
        read(at(proxy))


@pytest.mark.parametrize("dropped", [(), ("etag",)], ids=["ETag", "Last-Modified alone"])
@needs_nginx
def test_a_file_replaced_between_two_reads_is_noticed(tmp_path: Path, dropped: tuple[str, ...]) -> None:
    path = tmp_path / "bucket" / "a.fits"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    with Nginx(tmp_path) as nginx, FaultServer(nginx.url, dropped_headers=dropped) as proxy:
        address = f"{proxy.url}/bucket/a.fits"
        first = read(address, 0, 1000)
        assert read(address, 1000, 2000, etag=first.etag).data == CONTENT[1000:2000]
        path.write_bytes(CONTENT[::-1])
        os.utime(path, (1_000_000_100, 1_000_000_100))
        with pytest.raises(TransferError, match="changed"):
            read(address, 1000, 2000, etag=first.etag)
        assert all(("if-unmodified-since" in request.headers) == bool(dropped) for request in proxy.requests[1:])
    assert first.etag.startswith("modified ") == bool(dropped)


async def weak(exchange: Exchange) -> None:
    answer = await exchange.open_upstream(without=("if-match",))
    answer.headers["etag"] = "W/" + answer.headers["etag"]
    await exchange.send(answer)


def test_a_weak_etag_is_compared_but_not_asked_for(endpoint: Endpoint, files: str) -> None:
    with FaultServer(endpoint.url, dropped_headers=("last-modified",)) as proxy:
        proxy.plan(weak)
        got = read(at(proxy))
        assert got.etag.startswith("weak ")
        assert read(at(proxy), 0, 100, etag=got.etag).data == CONTENT[:100]
        assert "if-match" not in proxy.requests[-1].headers
        with pytest.raises(TransferError, match="changed"):
            read(at(proxy), 0, 100, etag="weak 0123")


async def compressed(exchange: Exchange) -> None:
    answer = await exchange.open_upstream()
    answer.headers["content-encoding"] = "gzip"
    await exchange.send(answer)


def test_a_compressed_answer_is_refused(proxy: FaultServer) -> None:
    proxy.plan(compressed)
    with pytest.raises(TransferError, match="compressed the answer"):
        read(at(proxy))


def test_redirects_are_followed_within_the_provider_alone(proxy: FaultServer, endpoint: Endpoint) -> None:
    proxy.plan(faults.redirect_to(endpoint.url), 1)
    assert read(at(proxy)).data == CONTENT[START:STOP]
    for elsewhere in ("https://evil.example", "http://evil.example", "https://localhost", "ftp://127.0.0.1"):
        n_before = len(proxy.requests)
        proxy.plan(faults.redirect_to(elsewhere), 1)
        with pytest.raises(TransferError, match="redirects to"):
            read(at(proxy))
        assert len(proxy.requests) == n_before + 1


@needs_nginx
def test_https_is_read_when_its_authority_is_trusted_and_refused_at_once_when_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bucket" / "a.fits"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    with Nginx(tmp_path, tls=True) as nginx:
        monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
        with pytest.raises(TransferError, match=r"TLS with https://127.0.0.1:.* failed .*AWS_CA_BUNDLE") as caught:
            read(f"{nginx.url}/bucket/a.fits")
        assert "tries" not in str(caught.value)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(nginx.ca_file))
        assert read(f"{nginx.url}/bucket/a.fits").data == CONTENT[START:STOP]
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "gone.pem"))
        with pytest.raises(TransferError, match=r"certificates in .*gone.pem cannot be read"):
            read(f"{nginx.url}/bucket/a.fits")


def test_a_dead_server_and_a_mixed_list_are_named(files: str) -> None:
    with pytest.raises(TransferError, match=r"cannot connect to http://127\.0\.0\.1:9"):
        read("http://127.0.0.1:9/a.fits")

    async def mixed() -> None:
        async with open_clients([parse_uri("s3://stpubdata/a.fits"), parse_uri("https://archive.stsci.edu/a.fits")]):
            pass

    with pytest.raises(
        ValueError, match=r"s3://stpubdata/a.fits is in S3 and https://archive.stsci.edu/a.fits on a web"
    ):
        run_sync(mixed())
