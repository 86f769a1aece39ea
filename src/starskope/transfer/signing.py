"""The Authorization header of one kind of request: a plain GET of an object.

Owns the text that Signature Version 4 signs for it. Keys, dates and the signature itself stay with botocore's signer,
whose answer for a request of the same kind is compared before this one is ever used. It refuses to keep credentials.

References
----------
"Signature Calculations for the Authorization Header", Amazon S3 API Reference.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth

__all__ = ["Signing", "learn_signing"]

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^/,]+/\d{8}/(?P<region>[^/,]+)/(?P<service>[^/,]+)/aws4_request, "
    r"SignedHeaders=(?P<names>[a-z0-9;-]+), Signature=[0-9a-f]{64}"
)
_DATE = "x-amz-date"
_TOKEN = "x-amz-security-token"  # noqa: S105
_CONTENT = "x-amz-content-sha256"
_VERSION = "s3v4"


@dataclass(frozen=True)
class Signing:
    """How requests to one bucket are signed.

    Parameters
    ----------
    signer : botocore request signer
        Knows the credentials, which it renews.
    region, service : str
        Scope of the signature.
    host : str
        As the Host header says it.
    """

    signer: Any = field(repr=False)
    region: str
    service: str
    host: str

    async def headers(self, path: str, sent: Mapping[str, str], content: str) -> dict[str, str]:
        """Return the headers that sign a GET.

        Parameters
        ----------
        path : str
            Path of the address, percent-encoded.
        sent : mapping of str to str
            Lower-case headers of the request that are to be signed.
        content : str
            SHA-256 of the empty body in hex, or what stands for it.
        """
        auth = await self.auth()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        signed = {"host": self.host, **sent, _CONTENT: content, _DATE: stamp}
        if auth.credentials.token:
            signed[_TOKEN] = auth.credentials.token
        out = {_CONTENT: content, _DATE: stamp, "Authorization": authorization(auth, path, signed, content, stamp)}
        if auth.credentials.token:
            out[_TOKEN] = auth.credentials.token
        return out

    async def auth(self) -> S3SigV4Auth:
        """Return botocore's signature with credentials that are valid now, whatever signer is installed for them."""
        chosen = await self.signer.get_auth_instance(self.service, self.region, _VERSION)
        return S3SigV4Auth(chosen.credentials, self.service, self.region)


def authorization(auth: S3SigV4Auth, path: str, signed: Mapping[str, str], content: str, stamp: str) -> str:
    """Return the Authorization header of a GET without query."""
    names = sorted(signed)
    lines = "".join(f"{name}:{' '.join(signed[name].split())}\n" for name in names)
    listed = ";".join(names)
    request = SimpleNamespace(context={"timestamp": stamp})
    text = auth.string_to_sign(request, f"GET\n{path}\n\n{lines}\n{listed}\n{content}")
    signature = auth.signature(text, request)
    return f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, SignedHeaders={listed}, Signature={signature}"


async def learn_signing(signer: Any, url: str, headers: Mapping[str, str]) -> Signing | None:
    """Learn from a request that botocore signed how to sign its like.

    Parameters
    ----------
    signer : botocore request signer
        That signed it.
    url : str
        Address of the request.
    headers : mapping of str to str
        Its headers, lower-case.

    Returns
    -------
    Signing or None
        None unless the signature of the same request, made here, is the same to the letter.
    """
    said = headers.get("authorization", "")
    match = _AUTHORIZATION.fullmatch(said)
    if match is None or _DATE not in headers or _CONTENT not in headers:
        return None
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    if parts.port not in (None, default):
        host = f"{host}:{parts.port}"
    host = headers.get("host", host)
    signing = Signing(signer, match["region"], match["service"], host)
    known = {**headers, "host": host}
    names = match["names"].split(";")
    if not all(name in known for name in names):
        return None
    signed = {name: known[name] for name in names}
    mine = authorization(await signing.auth(), parts.path, signed, headers[_CONTENT], headers[_DATE])
    return signing if mine == said else None
