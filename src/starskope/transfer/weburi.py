"""Addresses of files on web servers, as pure functions.

Owns the grammar of ``https://host/path``, which addresses name something remote, and where a redirect may lead. Refuses
whatever could carry a secret into a record (user names, signatures in a query), plain ``http://`` to anything but this
machine, and folders, since a web server has no listing.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from starskope.transfer.uris import S3Uri

__all__ = ["WebUri", "is_remote", "is_web", "parse_uri"]

_SCHEMES = ("s3://", "https://", "http://")
_PRINTABLE = re.compile(r"[!-~]+")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.\-]*[a-z0-9])?|[0-9a-f:.]+")
# What MAST's download service takes: https://mast.stsci.edu/api/v0.1/Download/file?uri=mast:TESS/product/NAME
_PRODUCT = re.compile(r"uri=([A-Za-z0-9:/._+\-]+)")
_MAX_BYTES = 2048
# Archives whose hosts send one another's visitors on. Any other host may redirect to itself alone: that two names share
# their ending says nothing about who owns them.
_PROVIDERS = ("stsci.edu", "nasa.gov", "ipac.caltech.edu", "esa.int", "eso.org")


def is_remote(text: str) -> bool:
    """Whether a text is an address (S3 or web) rather than a path."""
    return text.lower().startswith(_SCHEMES)


def is_web(text: str) -> bool:
    """Whether a text is the address of a file on a web server."""
    return text.lower().startswith(_SCHEMES[1:])


def parse_uri(text: str) -> S3Uri:
    """Read ``s3://bucket/key`` or ``https://host/path``; ValueError for anything else."""
    return WebUri.parse(text) if is_web(str(text)) else S3Uri.parse(text)


@dataclass(frozen=True, order=True)
class WebUri(S3Uri):
    """One file on a web server, in the two parts by which this room knows any object.

    Parameters
    ----------
    bucket : str
        Scheme and host, with the port where it is not the usual one: ``https://archive.stsci.edu``.
    key : str
        Path, with the slash that it begins with, and a query where it has one.
    """

    @classmethod
    def parse(cls, text: str) -> WebUri:
        """Read ``https://host/path``.

        Raises
        ------
        ValueError
            When the text is something else; it is shown without what could be a secret.

        Examples
        --------
        >>> WebUri.parse("https://archive.stsci.edu/missions/tess/a_ffic.fits")
        WebUri(bucket='https://archive.stsci.edu', key='/missions/tess/a_ffic.fits')
        """
        parts = _split(str(text))
        shown = f"{parts.scheme}://{parts.hostname}{parts.path}"
        query = unquote(parts.query)
        if query and not _PRODUCT.fullmatch(query):
            raise ValueError(
                f"{shown} comes with a query, which could be a signature and would stand in every record: "
                "expected a plain path, or uri= alone as for MAST's downloads"
            )
        if (query or parts.path).endswith("/") or not parts.path.strip("/"):
            raise ValueError(f"{shown} names a folder, which a web server does not list: name the files")
        return cls(_origin(parts), f"{parts.path}?{query}" if query else parts.path)

    def __str__(self) -> str:
        return f"{self.bucket}{self.key}"

    @property
    def host(self) -> str:
        """Name or address of the server."""
        return urlsplit(self.bucket).hostname or ""

    def redirected(self, from_url: str, location: str) -> str:
        """Return the address that an answer sends its reader to.

        Parameters
        ----------
        from_url : str
            Address that was asked, which is this one or an earlier redirect.
        location : str
            Content of the Location field, not trusted.

        Raises
        ------
        ValueError
            When it leads away from the provider or from encryption; the text is a clause for the user.

        References
        ----------
        RFC 9110, 10.2.2 and 15.4.
        """
        if not location:
            raise ValueError("the server redirects without saying where to")
        try:
            target = urljoin(from_url, location)
            parts = _split(target)
        except ValueError as error:
            raise ValueError(f"the server redirects to what is no https address ({error})") from None
        if self.bucket.startswith("https:") and parts.scheme != "https":
            raise ValueError("the server redirects from https to http: refused")
        if not _same_provider(self.host, parts.hostname or ""):
            raise ValueError(f"the server redirects to another provider, {parts.hostname}: refused; name that address")
        return target


def _split(text: str) -> SplitResult:
    """Take an address apart and refuse what is none, showing nothing of it that could be a secret."""
    example = "expected an address like https://archive.stsci.edu/missions/tess/NAME_ffic.fits"
    if not _PRINTABLE.fullmatch(text) or len(text) > _MAX_BYTES:
        raise ValueError(
            f"a web address holds blanks, control or other characters than ASCII, or more than {_MAX_BYTES} of them: "
            f"{example}, with the rest percent-encoded"
        )
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError(f"a web address cannot be read: {example}") from None
    host = parts.hostname or ""
    if not _HOST.fullmatch(host):
        raise ValueError(f"a web address names no host: {example}")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"the address at {host} holds a user name or password: give one without")
    if parts.scheme not in ("https", "http") or (parts.scheme == "http" and not _is_loopback(host)):
        raise ValueError(f"{parts.scheme}://{host} is not encrypted: expected https:// (http:// for this machine only)")
    if parts.fragment:
        raise ValueError(f"the address at {host} holds a fragment (#): give it without")
    return parts


def _origin(parts: SplitResult) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    usual = parts.port in (None, 443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{host}" if usual else f"{parts.scheme}://{host}:{parts.port}"


def _same_provider(one: str, other: str) -> bool:
    if one == other:
        return True
    return any(all(f".{host}".endswith(f".{provider}") for host in (one, other)) for provider in _PROVIDERS)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
