"""Addresses of files on web servers: what is one, what could leak, where a redirect may lead."""

from __future__ import annotations

import pytest

from starskope.transfer.uris import S3Uri
from starskope.transfer.weburi import WebUri, is_remote, is_web, parse_uri

ADDRESS = "https://archive.stsci.edu/missions/tess/ffi/s0001/2018/206/1-1/tess2018206192942-s0001-1-1-0120-s_ffic.fits"
PRODUCT = (
    "https://mast.stsci.edu/api/v0.1/Download/file?uri=mast:TESS/product/tess2018206192942-s0001-1-1-0120-s_ffic.fits"
)
SECRET = "hunter2"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (ADDRESS, ADDRESS),
        (PRODUCT, PRODUCT),
        (PRODUCT.replace("mast:TESS/product/", "mast%3ATESS%2Fproduct%2F"), PRODUCT),
        ("HTTPS://Archive.STScI.edu:443/a.fits", "https://archive.stsci.edu/a.fits"),
        ("https://archive.stsci.edu:8443/a%20b.fits", "https://archive.stsci.edu:8443/a%20b.fits"),
        ("http://127.0.0.1:8080/bucket/a.fits", "http://127.0.0.1:8080/bucket/a.fits"),
        ("http://[::1]:80/a.fits", "http://[::1]/a.fits"),
        ("http://localhost/a.fits", "http://localhost/a.fits"),
    ],
)
def test_an_address_is_kept_in_one_form(text: str, canonical: str) -> None:
    uri = WebUri.parse(text)
    assert str(uri) == canonical
    assert WebUri.parse(str(uri)) == uri
    assert WebUri(uri.bucket, uri.key) == uri
    assert parse_uri(text) == uri
    assert is_remote(text)
    assert is_web(text)


def test_the_file_name_ends_every_form() -> None:
    for text in (ADDRESS, PRODUCT):
        assert str(WebUri.parse(text)).rsplit("/", 1)[-1] == "tess2018206192942-s0001-1-1-0120-s_ffic.fits"


def test_s3_addresses_stay_s3() -> None:
    uri = parse_uri("s3://stpubdata/a.fits")
    assert type(uri) is S3Uri
    assert is_remote(str(uri))
    assert not is_web(str(uri))
    assert not is_remote("data/a.fits")
    assert uri != WebUri("stpubdata", "a.fits")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"https://star:{SECRET}@archive.stsci.edu/a.fits", "user name or password"),
        (f"https://{SECRET}@archive.stsci.edu/a.fits", "user name or password"),
        (f"https://b.s3.amazonaws.com/a.fits?X-Amz-Signature={SECRET}", "could be a signature"),
        (f"https://mast.stsci.edu/file?uri=mast:a.fits&token={SECRET}", "could be a signature"),
        (f"https://mast.stsci.edu/a.fits#{SECRET}", "fragment"),
        (f"http://archive.stsci.edu/a.fits?{SECRET}", "is not encrypted"),
        (f"https:///{SECRET}", "names no host"),
        (f"https://host_{SECRET}!/a", "names no host"),
        (f"https://archive.stsci.edu:port/{SECRET}", "cannot be read"),
        (f"https://archive.stsci.edu/{SECRET}\r\nHost: evil", "control"),
        (f"https://archive.stsci.edu/{SECRET}\x00", "control"),
        ("https://archive.stsci.edu/sternwarte-köln.fits", "percent-encoded"),
        (f"https://archive.stsci.edu/{SECRET * 400}", "more than 2048"),
        ("https://archive.stsci.edu/missions/", "names a folder"),
        ("https://archive.stsci.edu", "names a folder"),
        ("https://[archive.stsci.edu/a", "cannot be read"),
        ("ftp://archive.stsci.edu/a.fits", "is not encrypted"),
    ],
)
def test_what_is_no_address_is_refused_without_showing_secrets(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        WebUri.parse(text)
    assert SECRET not in str(caught.value).replace("/" + SECRET, "")


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/elsewhere/a.fits", "https://archive.stsci.edu/elsewhere/a.fits"),
        ("b.fits", "https://archive.stsci.edu/missions/b.fits"),
        ("https://archive.stsci.edu/a.fits?session=1", "https://archive.stsci.edu/a.fits?session=1"),
        ("https://mast.stsci.edu/a.fits", "https://mast.stsci.edu/a.fits"),
    ],
)
def test_a_redirect_stays_with_its_provider(location: str, target: str) -> None:
    uri = WebUri.parse("https://archive.stsci.edu/missions/a.fits")
    assert uri.redirected(str(uri), location) == target


@pytest.mark.parametrize(
    ("origin", "location", "words"),
    [
        ("https://archive.stsci.edu/a", "https://evil.example/a", "another provider, evil.example"),
        ("https://archive.stsci.edu/a", "//evil.example/a", "another provider, evil.example"),
        ("https://archive.stsci.edu/a", "https://stsci.edu.evil.example/a", "another provider"),
        ("https://archive.stsci.edu/a", "https://notstsci.edu/a", "another provider"),
        ("https://archive.stsci.edu/a", "http://archive.stsci.edu/a", "not encrypted"),
        ("https://localhost/a", "http://localhost/a", "from https to http"),
        ("https://archive.stsci.edu/a", "https://127.0.0.1/a", "another provider, 127.0.0.1"),
        ("https://alice.github.io/a", "https://mallory.github.io/a", "another provider"),
        ("https://mine.s3.amazonaws.com/a", "https://yours.s3.amazonaws.com/a", "another provider"),
        ("https://archive.stsci.edu/a", "", "without saying where"),
        ("https://archive.stsci.edu/a", "file:///etc/passwd", "no https address"),
        ("https://archive.stsci.edu/a", f"https://u:{SECRET}@archive.stsci.edu/a", "user name or password"),
        ("https://archive.stsci.edu/a", "https://archive.stsci.edu/a\x00b", "no https address"),
    ],
)
def test_a_redirect_elsewhere_is_refused(origin: str, location: str, words: str) -> None:
    uri = WebUri.parse(origin)
    with pytest.raises(ValueError, match=words) as caught:
        uri.redirected(str(uri), location)
    assert SECRET not in str(caught.value)
