"""What the network says is not believed: names, promises, redirects, answers without end; and who may hear a key."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import fault_server as faults
import loopback_tls
import pytest
from fault_server import Exchange, FaultServer
from hypothesis import given
from hypothesis import strategies as st

from starskope.cli import main
from starskope.errors import TransferError
from starskope.synth.endpoint import Endpoint
from starskope.transfer.client import open_client
from starskope.transfer.download import download
from starskope.transfer.facade import run_sync
from starskope.transfer.listing import list_objects
from starskope.transfer.manifest import read_manifest
from starskope.transfer.options import TransferOptions
from starskope.transfer.ranged import read_range
from starskope.transfer.sidecar import part_path, sidecar_path
from starskope.transfer.upload import upload
from starskope.transfer.uris import S3Uri, local_name
from starskope.transfer.wanted import read_source

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


# --- names ---------------------------------------------------------------------------------------------------------
NAMES = {
    "parent": "a/..",
    "parent with slash": "a/../",
    "here": "a/.",
    "nothing": "a/",
    "NUL": "a/b\0.fits",
    "newline": "a/b\n.fits",
    "escape sequence": "a/\x1b[2Jb.fits",
    "escape sequence of one byte": "a/\x9b2Jb.fits",
    "right to left": "a/b\u202estif.exe",
    "zero width": "a/b\u200b.fits",
    "line separator": "a/b\u2028.fits",
    "other separator": "a/..\\..\\b.fits",
    "drive": "a/C:b.fits",
    "stream": "a/b.fits::$DATA",
    "device": "a/NUL",
    "device with ending": "a/com1.fits",
    "device of the console": "a/CONOUT$",
    "hidden": "a/.bashrc",
    "part file": "a/.starskope-0.part",
    "blank at the end": "a/b ",
    "too long": "a/" + "b" * 256,
    "half a character": "a/b\ud800.fits",
}


@pytest.mark.parametrize("key", NAMES.values(), ids=NAMES)
def test_names_that_are_no_file_of_the_destination_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be stored as a file|names a bucket but no key") as caught:
        read_source([f"s3://{BUCKET}/{key}"])
    assert str(caught.value).isprintable()


@given(st.text(min_size=1, max_size=40))
def test_any_key_is_refused_or_stays_where_it_belongs(key: str) -> None:
    name = ""
    with contextlib.suppress(ValueError):
        name = local_name(key)
    if name:
        here = Path("/some/where")
        assert Path(os.path.normpath(here / name)).parent == here
        assert name.isprintable()
        assert not name.startswith(".")
        name.encode()


@pytest.mark.parametrize(
    "pair",
    [("A.fits", "a.fits"), ("x/a.fits", "y/a.fits"), ("\u00e9.fits", "e\u0301.fits"), ("stra\u00dfe", "STRASSE")],
)
def test_two_objects_never_share_a_file(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="would both be stored as"):
        read_source([f"s3://{BUCKET}/{key}" for key in pair])


def test_a_later_download_does_not_take_the_file_of_another_object(server: Endpoint, tmp_path: Path) -> None:
    for key in ("trust/one/\u00e9.fits", "trust/two/e\u0301.fits", "trust/two/\u00c9.fits"):
        server.put(key, key.encode())
    download([f"s3://{BUCKET}/trust/one/\u00e9.fits"], tmp_path, options=_options(server))
    for key in ("trust/two/e\u0301.fits", "trust/two/\u00c9.fits"):
        with pytest.raises(ValueError, match="elsewhere or with overwrite=True"):
            download([f"s3://{BUCKET}/{key}"], tmp_path, options=_options(server))


@pytest.mark.parametrize("planted", ["file", "part", "journal", "manifest"])
def test_links_in_the_destination_are_not_followed(server: Endpoint, tmp_path: Path, planted: str) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "data"
    outside.write_bytes(b"mine")
    folder.mkdir()
    name = {
        "file": folder / "plain.fits",
        "part": part_path(folder, URI),
        "journal": sidecar_path(folder, URI),
        "manifest": folder / ".manifest.parquet.part",
    }[planted]
    name.symlink_to(outside)
    _whole(_options(server), folder)
    assert outside.read_bytes() == b"mine"
    assert (folder / "plain.fits").read_bytes() == CONTENT
    assert not (folder / "plain.fits").is_symlink()


@pytest.mark.parametrize("where", [part_path, sidecar_path])
def test_a_pipe_in_the_destination_does_not_hang(
    server: Endpoint, tmp_path: Path, where: Callable[[Path, str], Path]
) -> None:
    os.mkfifo(where(tmp_path, URI))
    _whole(_options(server), tmp_path)
    assert (tmp_path / "plain.fits").read_bytes() == CONTENT


def test_a_folder_in_the_place_of_a_file_fails_alone(server: Endpoint, tmp_path: Path) -> None:
    server.put("trust/other.fits", b"other")
    (tmp_path / "plain.fits").mkdir()
    report = download([URI, f"s3://{BUCKET}/trust/other.fits"], tmp_path, options=_options(server))
    assert report["status"].tolist() == ["failed", "downloaded"]
    assert (tmp_path / "other.fits").read_bytes() == b"other"


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


# --- the terminal --------------------------------------------------------------------------------------------------
def test_what_the_network_says_cannot_command_the_terminal(
    server: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key may hold escape sequences where it names folders."""
    key = "trust/\x1b]0;owned\x07\x1b[2J\u202e/none.fits"
    where = ["--endpoint-url", server.url, "--max-attempts", "1"]
    assert main(["download", f"s3://{BUCKET}/{key}", str(tmp_path), *where]) == 1
    said = capsys.readouterr()
    assert "none.fits" in said.err
    assert all(line.isprintable() for line in (said.out + said.err).splitlines())


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
