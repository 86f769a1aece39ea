"""What the network says is not believed: names, promises, redirects, answers without end; and who may hear a key."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import fault_server as faults
import loopback_tls
import pytest
from fault_server import Exchange, FaultServer

from starskope.errors import TransferError
from starskope.synth.endpoint import Endpoint
from starskope.transfer.client import open_client
from starskope.transfer.download import download
from starskope.transfer.facade import run_sync
from starskope.transfer.listing import list_objects
from starskope.transfer.manifest import read_manifest
from starskope.transfer.options import TransferOptions
from starskope.transfer.ranged import read_range
from starskope.transfer.upload import upload
from starskope.transfer.uris import S3Uri

BUCKET = "stpubdata"
CONTENT = bytes(range(256)) * 400
KEY = "trust/plain.fits"
URI = f"s3://{BUCKET}/{KEY}"
MANY = 2**26
SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIANOBODYMAYSEE",
    "AWS_SECRET_ACCESS_KEY": "secret-that-nobody-may-see",
    "AWS_SESSION_TOKEN": "token-that-nobody-may-see",
}


@pytest.fixture(scope="module")
def server(endpoint: Endpoint) -> Endpoint:
    endpoint.put(KEY, CONTENT)
    return endpoint


@pytest.fixture
def proxy(server: Endpoint) -> Iterator[FaultServer]:
    with FaultServer(server.url) as running:
        yield running


def _options(server: Endpoint | FaultServer, **changes: object) -> TransferOptions:
    settings = {
        "endpoint_url": server.url,
        "backoff_base_s": 0.01,
        "max_attempts": 2,
        "stall_timeout_s": 3.0,
        **changes,
    }
    return TransferOptions(**settings)  # type: ignore[arg-type]


async def _listed(options: TransferOptions, prefix: str = "trust/") -> list[str]:
    async with open_client(options) as client:
        return [entry.key async for entry in list_objects(client, BUCKET, prefix)]


async def _read_small(options: TransferOptions, n_times: int = 3) -> bytes:
    async with open_client(options) as client:
        for _ in range(n_times):
            read = await read_range(client, S3Uri.parse(URI), 100, 200)
        return read.data


def _whole(options: TransferOptions, folder: Path) -> None:
    (row,) = download([URI], folder, options=options)
    if row["status"] == "failed":
        raise TransferError(row["error"])


# Every way in which this package asks a server for something.
ASKING: dict[str, Callable[[TransferOptions, Path], object]] = {
    "download": _whole,
    "small read": lambda options, folder: run_sync(_read_small(options)),
    "listing": lambda options, folder: run_sync(_listed(options)),
}


# --- listings ------------------------------------------------------------------------------------------------------
def _page(entries: str) -> Callable[[Exchange], Awaitable[None]]:
    body = (
        '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>'
        f"<Prefix>trust/</Prefix><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
    ).encode()

    async def answer(exchange: Exchange) -> None:
        await exchange.send(faults.Answer(200, {"content-length": str(len(body))}, body))

    return answer


def _entry(key: str, etag: str = "x", size: str = "1") -> str:
    return f"<Contents><Key>{key}</Key><ETag>{etag}</ETag><Size>{size}</Size></Contents>"


@pytest.mark.parametrize(
    "entries",
    [
        _entry("elsewhere/a.fits"),
        _entry("/etc/passwd"),
        _entry("trust/a.fits", size="-1"),
        _entry("trust/a.fits", size="9" * 5000),
        _entry("trust/" + "k" * 1100),
    ],
    ids=["other prefix", "absolute", "negative", "endless number", "longer than keys can be"],
)
def test_a_listing_that_cannot_be_one_is_refused(proxy: FaultServer, entries: str) -> None:
    proxy.plan(_page(entries), listings=True)
    with pytest.raises(TransferError, match="which was not asked for"):
        run_sync(_listed(_options(proxy)))


BILLION = '<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "body",
    [
        f"<?xml version='1.0'?>{BILLION}]><ListBucketResult><Name>&i;</Name></ListBucketResult>",
        "<?xml version='1.0'?><!DOCTYPE l [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><ListBucketResult>&x;</ListBucketResult>",
        "<ListBucketResult>" + "<a>" * 100_000,
    ],
    ids=["billion laughs", "a file of this machine", "deep"],
)
def test_xml_that_explodes_is_refused(proxy: FaultServer, body: str) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(faults.Answer(200, {"content-length": str(len(body))}, body.encode()))

    proxy.plan(answer, listings=True)
    with pytest.raises(TransferError, match="cannot list"):
        run_sync(_listed(_options(proxy)))


@pytest.mark.parametrize("etag", ["a\r\nx-injected: 1", "a\nb", "\u2028", "e" * 100_000, '"', "\x7f"])
def test_an_etag_that_is_none_cannot_break_a_download(server: Endpoint, tmp_path: Path, etag: str) -> None:
    """A table can hold whatever a listing said; the other objects must not suffer from it."""
    from astropy.table import Table

    server.put("trust/other.fits", b"other")
    source = Table({"uri": [URI, f"s3://{BUCKET}/trust/other.fits"], "etag": [etag, ""]})
    report = download(source, tmp_path, options=_options(server))
    assert report["status"][1] == "downloaded"
    assert (tmp_path / "other.fits").read_bytes() == b"other"


# --- redirects -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("what", ASKING)
def test_no_redirect_leads_to_another_server(
    server: Endpoint, proxy: FaultServer, tmp_path: Path, what: str, status: int
) -> None:
    with FaultServer(server.url) as elsewhere:

        async def redirect(exchange: Exchange) -> None:
            headers = {"location": elsewhere.url + exchange.request.target, "content-length": "0"}
            headers["x-amz-bucket-region"] = "evil.example.org/"
            await exchange.send(faults.Answer(status, headers))

        proxy.plan(redirect)
        proxy.plan(redirect, listings=True)
        with pytest.raises(TransferError, match=r"redirect|30\d|region"):
            ASKING[what](_options(proxy), tmp_path)
        assert not elsewhere.requests


def test_a_client_of_other_insides_follows_no_redirect_either(
    server: Endpoint, proxy: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version of aiobotocore may lack what this one is built upon; that must cost speed, not trust."""
    from starskope.transfer import connections

    monkeypatch.setattr(connections, "_NEEDED", ("no_such_name",))
    with FaultServer(server.url) as elsewhere:
        proxy.plan(faults.redirect_to(elsewhere.url))
        with pytest.raises(TransferError):
            _whole(_options(proxy), tmp_path)
        assert not (tmp_path / "plain.fits").exists()


# --- answers without end -------------------------------------------------------------------------------------------
def _endless(head: str, piece: bytes) -> Callable[[Exchange], Awaitable[None]]:
    async def answer(exchange: Exchange) -> None:
        exchange.writer.write(head.replace("\n", "\r\n").encode())
        for _ in range(4 * MANY // len(piece)):
            exchange.writer.write(piece)
            await exchange.writer.drain()
            exchange.server.n_bytes += len(piece)

    return answer


PIECE = b"x" * 2**16
CHUNK = b"10000\r\n" + PIECE + b"\r\n"
SAID = 'ETag: "0"\nContent-Range: bytes 100-199/102400\nContent-Length: 100\n'
ENDLESS = {
    "error": _endless("HTTP/1.1 500 Oh\n\n", PIECE),
    "error in chunks": _endless("HTTP/1.1 403 Oh\nTransfer-Encoding: chunked\n\n", CHUNK),
    "refusal that says its length": _endless(f"HTTP/1.1 404 No\nContent-Length: {2**40}\n\n", PIECE),
    "header": _endless("HTTP/1.1 200 OK\nx-long: ", PIECE),
    "headers": _endless("HTTP/1.1 200 OK\n", b"".join(b"x-%d: y\r\n" % i for i in range(5000))),
    "two lengths": _endless(f"HTTP/1.1 206 OK\n{SAID}Transfer-Encoding: chunked\n\n", CHUNK),
    "whole in chunks": _endless('HTTP/1.1 200 OK\nETag: "0"\nTransfer-Encoding: chunked\n\n', CHUNK),
    "compressed": _endless('HTTP/1.1 200 OK\nETag: "0"\nContent-Encoding: gzip\n\n', b"\x1f\x8b" + b"\0" * 2**16),
}


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.parametrize("what", ASKING)
def test_an_answer_without_end_is_cut_off(proxy: FaultServer, tmp_path: Path, what: str, name: str) -> None:
    proxy.plan(ENDLESS[name])
    proxy.plan(ENDLESS[name], listings=True)
    with pytest.raises(TransferError):
        ASKING[what](_options(proxy, max_attempts=1), tmp_path)
    assert proxy.n_bytes < 2 * MANY  # the most that may be held, and what lies in buffers on the way
    assert not list(tmp_path.glob("*.fits"))


# --- TLS -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("what", [*ASKING, "upload"])
def test_a_certificate_of_nobody_is_refused(
    server: Endpoint, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    _, certificate, key = loopback_tls.issue(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    (tmp_path / "data").mkdir()
    with FaultServer(server.url, tls=context) as proxy:
        with pytest.raises(TransferError, match=r"TLS with https://.* failed"):
            if what == "upload":
                upload([certificate], "s3://mine/x", options=_options(proxy))
            else:
                ASKING[what](_options(proxy), tmp_path / "data")
        assert not proxy.requests  # nothing was said, let alone signed


# --- credentials ---------------------------------------------------------------------------------------------------
def test_credentials_stand_in_no_log_error_record_or_repr(
    server: Endpoint,
    proxy: FaultServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.INFO)
    options = _options(proxy, signed=True)
    proxy.plan(faults.slow_down, 1)
    report = download([URI, f"s3://{BUCKET}/trust/none"], tmp_path, options=options)
    assert any("token-that" in request.headers.get("x-amz-security-token", "") for request in proxy.requests)
    assert report["status"].tolist() == ["downloaded", "failed"]
    run_sync(_read_small(options))
    proxy.plan(faults.not_http)
    with pytest.raises(TransferError) as caught:
        run_sync(_read_small(options))

    async def shown() -> str:
        async with open_client(options) as client:
            return repr(client) + str(client)

    said = [caplog.text, str(report), repr(options), run_sync(shown()), repr(caught.value), str(caught.value.causes)]
    said += [str(row) for row in read_manifest(tmp_path / "manifest.parquet").values()]
    said += [path.read_bytes().decode("latin-1") for path in tmp_path.iterdir()]
    for secret in SECRETS.values():
        assert not [text for text in said if secret in text]


def test_the_secret_key_is_not_even_in_a_debug_log(
    server: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.DEBUG)
    server.put("made", b"", bucket="mine")
    (tmp_path / "file").write_bytes(b"x")
    upload([tmp_path / "file"], "s3://mine/x", options=_options(server))
    download([URI], tmp_path / "data", options=_options(server, signed=True))
    assert "botocore" in caplog.text
    assert SECRETS["AWS_SECRET_ACCESS_KEY"] not in caplog.text


def test_cancelled_waiting_leaves_no_task(server: Endpoint) -> None:
    async def leave() -> int:
        task = asyncio.ensure_future(_listed(_options(server)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return len(asyncio.all_tasks())

    assert asyncio.run(leave()) == 1


@pytest.mark.parametrize("what", [*ASKING, "upload"])
def test_the_password_of_a_proxy_is_not_told(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HTTPS_PROXY", "http://somebody:password-of-the-proxy@127.0.0.1:9")
    caplog.set_level(logging.INFO)
    options = TransferOptions(endpoint_url="https://s3.example.invalid", max_attempts=1)
    with pytest.raises(TransferError, match=r"proxy|connect") as caught:
        if what == "upload":
            upload([__file__], "s3://mine/x", options=options)
        else:
            ASKING[what](options, tmp_path)
    told = [
        str(caught.value),
        str(caught.value.causes),
        caplog.text,
        *map(str, read_manifest(tmp_path / "manifest.parquet")),
    ]
    assert "password" not in "".join(told)


@pytest.mark.parametrize("name", [*ENDLESS, "redirect"])
def test_the_short_way_of_small_reads_believes_no_more(server: Endpoint, proxy: FaultServer, name: str) -> None:
    """The first read of a bucket is botocore's; what it taught is used for the second."""
    with FaultServer(server.url) as elsewhere:
        fault = ENDLESS[name] if name in ENDLESS else faults.redirect_to(elsewhere.url)
        plan = proxy.plan(fault, after=1)
        with pytest.raises(TransferError):
            run_sync(_read_small(_options(proxy, max_attempts=1)))
        assert plan.applied
        assert proxy.n_bytes < 2 * MANY
        assert not elsewhere.requests
