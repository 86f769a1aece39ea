"""Options, addresses, waits and checks as pure functions, and ranged reads against the endpoint."""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fault_server import FaultServer
from hypothesis import given
from hypothesis import strategies as st

from starskope.errors import TransferError
from starskope.synth.endpoint import Endpoint
from starskope.transfer.checks import AnswerError, check_extent
from starskope.transfer.client import open_client
from starskope.transfer.facade import run_sync
from starskope.transfer.options import TransferOptions
from starskope.transfer.ranged import RangeRead, read_range
from starskope.transfer.uris import S3Uri, local_name

BUCKET = "stpubdata"
CONTENT = np.random.default_rng(1).bytes(300_000)


@pytest.fixture(scope="module")
def key(endpoint: Endpoint) -> str:
    endpoint.put("transfer/frame.fits", CONTENT)
    return "transfer/frame.fits"


def _read(options: TransferOptions, key: str, start: int, stop: int, bucket: str = BUCKET) -> RangeRead:
    async def read() -> RangeRead:
        async with open_client(options) as client:
            return await read_range(client, S3Uri(bucket, key), start, stop)

    return run_sync(read())


@pytest.mark.parametrize("span", [(0, 1), (0, 300_000), (299_999, 300_000), (2_880, 177_000)])
def test_a_range_is_those_bytes(endpoint: Endpoint, key: str, span: tuple[int, int]) -> None:
    read = _read(TransferOptions(endpoint_url=endpoint.url), key, *span)
    assert read.data == CONTENT[slice(*span)]
    assert (read.etag, read.object_size) == (hashlib.md5(CONTENT).hexdigest(), 300_000)
    assert type(read.data) is bytes


def test_a_range_ends_where_the_object_does(endpoint: Endpoint, key: str) -> None:
    options = TransferOptions(endpoint_url=endpoint.url)
    assert _read(options, key, 0, 17_786_880).data == CONTENT
    assert _read(options, key, 299_000, 10**9).data == CONTENT[299_000:]
    with pytest.raises(TransferError, match=r"lies beyond the end of the object .416 InvalidRange."):
        _read(options, key, 300_000, 300_001)


@pytest.mark.parametrize("span", [(5, 5), (7, 3), (-1, 3)])
def test_empty_and_negative_ranges_are_refused(endpoint: Endpoint, key: str, span: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"start={span[0]}, stop={span[1]}"):
        _read(TransferOptions(endpoint_url=endpoint.url), key, *span)


def test_missing_objects_and_refused_reads_name_the_remedy(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint.put("transfer/private", b"x", acl="private")
    unsigned = TransferOptions(endpoint_url=endpoint.url)
    with pytest.raises(TransferError, match=rf"no such object at {endpoint.url} .404 NoSuchKey.: list again"):
        _read(unsigned, "transfer/absent", 0, 1)
    with pytest.raises(TransferError, match=r"403.*not open to unsigned requests; ask for signed ones") as caught:
        _read(unsigned, "transfer/private", 0, 1)
    assert list(caught.value.causes) == [f"s3://{BUCKET}/transfer/private"]


def test_credentials_are_used_only_when_asked_for_and_never_shown(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE00")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-words")
    endpoint.put("transfer/private", b"x", acl="private")
    with FaultServer(endpoint.url) as proxy:
        _read(TransferOptions(endpoint_url=proxy.url), key, 0, 1)
        assert "authorization" not in proxy.requests[-1].headers
        signed = TransferOptions(endpoint_url=proxy.url, signed=True, request_payer=True)
        assert _read(signed, "transfer/private", 0, 1).data == b"x"
        assert "authorization" in proxy.requests[-1].headers
        assert proxy.requests[-1].headers["x-amz-request-payer"] == "requester"
        with pytest.raises(TransferError) as caught:
            _read(signed, "transfer/absent", 0, 1)
    said = f"{caught.value!r} {caught.value.causes} {signed!r}"
    assert "AKIA" not in said
    assert "very-secret" not in said


def test_signing_without_credentials_is_named(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    with pytest.raises(TransferError, match=r"no credentials were found"):
        _read(TransferOptions(endpoint_url=endpoint.url, signed=True), key, 0, 1)
    with pytest.raises(TransferError, match=r"cannot open an S3 client .*profile .nobody. could not be found"):
        _read(TransferOptions(endpoint_url=endpoint.url, profile="nobody"), key, 0, 1)


def test_the_environment_names_the_endpoint(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint.url)
    assert _read(TransferOptions(), key, 0, 3).data == CONTENT[:3]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "ftp://elsewhere")
    with pytest.raises(ValueError, match=r"AWS_ENDPOINT_URL_S3 must start with http:// or https://.*got 'ftp://elsewh"):
        _read(TransferOptions(), key, 0, 3)


def test_tls_with_a_server_that_speaks_none_is_named(endpoint: Endpoint, key: str) -> None:
    address = endpoint.url.replace("http://", "https://")
    with pytest.raises(TransferError, match=rf"TLS with {address} failed|cannot connect to {address}|does not speak"):
        _read(TransferOptions(endpoint_url=address, max_attempts=2, backoff_base_s=0.01), key, 0, 3)


def _self_signed(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate that no authority knows, for 127.0.0.1."""
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, secret.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(secret, hashes.SHA256())
    )
    public = folder / "public.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = folder / "private.pem"
    private.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context


def test_an_unknown_certificate_is_refused_unless_its_authority_is_named(
    endpoint: Endpoint, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public, context = _self_signed(tmp_path)
    with FaultServer(endpoint.url, tls=context) as proxy:
        with pytest.raises(TransferError, match=rf"TLS with {proxy.url} failed .*authority in AWS_CA_BUNDLE"):
            _read(TransferOptions(endpoint_url=proxy.url), key, 0, 3)
        assert not proxy.requests, "nothing may be sent to a server that was not verified"
        monkeypatch.setenv("AWS_CA_BUNDLE", str(public))
        assert _read(TransferOptions(endpoint_url=proxy.url), key, 0, 3).data == CONTENT[:3]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"endpoint_url": "127.0.0.1:9000"}, "must start with http:// or https://"),
        ({"endpoint_url": "http://"}, "name a host"),
        ({"endpoint_url": "http://host:port"}, "is not an address"),
        ({"endpoint_url": "https://host/?x=1"}, "must not hold a query"),
        ({"max_connections": 0}, "max_connections must be a number above 0, got 0"),
        ({"stall_timeout_s": float("nan")}, "stall_timeout_s must be a number above 0, got nan"),
        ({"max_attempts": True}, "max_attempts must be a number above 0, got True"),
        ({"backoff_max_s": -1.0}, "backoff_max_s must not be negative"),
        ({"signed": False, "profile": "me"}, "contradicts signed=False"),
        ({"request_payer": True}, "request_payer=True needs signed requests"),
    ],
)
def test_bad_options_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TransferOptions(**settings)  # type: ignore[arg-type]


def test_a_password_in_an_endpoint_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match=r"holds a user name or password") as caught:
        TransferOptions(endpoint_url="https://me:hunter2@host")
    assert "hunter2" not in str(caught.value)


def test_addresses_round_trip() -> None:
    uri = S3Uri.parse("s3://stpubdata/tess/public/a b?c#d//e.fits")
    assert uri == S3Uri("stpubdata", "tess/public/a b?c#d//e.fits")
    assert S3Uri.parse(str(uri)) == uri
    for bad in ("", "stpubdata/x", "s3:/b/k", "s3://", "s3://bucket", "s3://bucket/", "s3://b!/k", "s3:///key"):
        with pytest.raises(ValueError, match=r"expected|names"):
            S3Uri.parse(bad)
    with pytest.raises(ValueError, match=r"longer than the 1024 bytes"):
        S3Uri.parse("s3://bucket/" + "k" * 1025)


@given(st.text())
def test_no_key_leaves_the_destination(key: str) -> None:
    try:
        name = local_name(key)
    except ValueError:
        return
    for flavour in (PurePosixPath, PureWindowsPath):
        path = flavour("dest") / name
        assert path.parent == flavour("dest")
        assert path.name == name
        assert not path.is_absolute()
    assert "\0" not in name
    assert not name.startswith(".")
    assert len(name.encode()) <= 255


@pytest.mark.parametrize(
    "key",
    ["", "a/", "a/.", "a/..", "..", "a/.hidden", "a/b\0c", "a/b\nc", "a\\..\\b", "c:evil", "NUL", "a/com1.fits", "x.",
     "x ", "a" * 256, "é" * 128, "\ud800"],
)  # fmt: skip
def test_unsafe_names_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be stored as a file"):
        local_name(key)


def _headers(first: int, last: int, size: int, length: int | None = None, etag: str = '"e"') -> dict[str, str]:
    n_bytes = last - first + 1 if length is None else length
    return {"content-range": f"bytes {first}-{last}/{size}", "content-length": str(n_bytes), "etag": etag}


@given(st.integers(1, 10**6), st.data())
def test_the_honest_answer_is_accepted_and_every_other_refused(size: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, size + 1000))
    last = min(stop, size) - 1
    extent = check_extent(206, _headers(start, last, size), start, stop, '"e"')
    assert (extent.start, extent.stop, extent.object_size, extent.etag) == (start, last + 1, size, "e")
    shift = data.draw(st.sampled_from([-3, -1, 1, 2]))
    lies = [
        _headers(start, last, size, length=max(0, last + 1 - start + shift)),
        _headers(start + shift, last + shift, size),
        _headers(start, last + shift, size),
        _headers(start, last, size, etag='"f"'),
        {**_headers(start, last, size), "content-range": ""},
        {**_headers(start, last, size), "content-length": "٣"},
    ]
    for lie in lies:
        with pytest.raises(AnswerError):
            check_extent(206, lie, start, stop, '"e"')
    with pytest.raises(AnswerError, match=r"bytes, expected"):
        check_extent(206, _headers(start, last, size), start, stop, None, size + 1)


def test_a_whole_answer_to_a_range_is_taken_only_when_it_is_what_was_asked() -> None:
    whole = {"content-length": "100", "etag": '"e"'}
    assert check_extent(200, whole, 0, 100, None).stop == 100
    assert check_extent(200, whole, 0, 500, None).stop == 100
    assert check_extent(200, whole, 0, None, "e").object_size == 100
    for start, stop in ((0, 99), (1, 100), (5, None)):
        with pytest.raises(AnswerError, match=r"ignored the range"):
            check_extent(200, whole, start, stop, None)
    with pytest.raises(AnswerError, match=r"answered 304"):
        check_extent(304, whole, 0, 100, None)
