"""What went wrong, in words for the user, and whether another try can help.

Owns the translation of botocore's, aiohttp's and the checks' exceptions. It refuses to repeat anything that could hold
a credential: of a server's message only the error code is shown, of an address only the endpoint.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from dataclasses import dataclass

import aiohttp
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from starskope.transfer.checks import AnswerError
from starskope.transfer.client import Client
from starskope.transfer.patience import TooSlowError

__all__ = ["NETWORK_ERRORS", "Fault", "explain"]

# Everything that a request or its body can raise. OSError is not among them: the disk raises that too, and a broken
# connection comes as one of its two network branches.
NETWORK_ERRORS: tuple[type[BaseException], ...] = (
    boto.BotoCoreError,
    boto.ClientError,
    ResponseParserError,
    aiohttp.ClientError,
    aiohttp.http_exceptions.HttpProcessingError,
    asyncio.TimeoutError,
    ConnectionError,
    ssl.SSLError,
    AnswerError,
)
_RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_RETRY_CODES = frozenset(
    {"SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "InternalError", "ServiceUnavailable"}
)
_THROTTLE_STATUS = frozenset({429, 503})
_THROTTLE_CODES = frozenset({"SlowDown", "Throttling", "ThrottlingException"})
_LOST = (boto.ConnectionClosedError, boto.ResponseStreamingError, boto.IncompleteReadError, aiohttp.ClientError)


@dataclass(frozen=True)
class Fault:
    """One failed try.

    Parameters
    ----------
    text : str
        Clause for the user, without a full stop.
    retry : bool
        Whether the same request may succeed later.
    code : str
        The server's error code or HTTP status; empty when there was no answer.
    is_throttle : bool
        Whether the server, or the line by stalling, asks for fewer requests.
    """

    text: str
    retry: bool
    code: str = ""
    is_throttle: bool = False


def explain(error: BaseException, client: Client, bucket: str, key: str = "") -> Fault:
    """Translate an exception of a request.

    Parameters
    ----------
    error : exception
        One of `NETWORK_ERRORS`.
    client : Client
        Whose endpoint and signing the text names.
    bucket, key : str
        What was asked for; without a key, a listing.

    Returns
    -------
    Fault
        Cause, remedy and whether to try again.
    """
    if isinstance(error, boto.ClientError):
        return _explain_answer(error, client, bucket, key)
    if isinstance(error, AnswerError):
        # A line that is too slow for as many connections as share it asks for fewer, too.
        return Fault(str(error), retry=True, is_throttle=isinstance(error, TooSlowError))
    if isinstance(error, ResponseParserError):
        return Fault(f"the answer of {client.endpoint} is not S3's XML: is the endpoint right?", retry=True)
    return _explain_connection(error, client)


def _explain_connection(error: BaseException, client: Client) -> Fault:
    cause = _innermost(error)
    if isinstance(cause, AnswerError):
        return Fault(str(cause), retry=True)
    if isinstance(error, boto.ConnectTimeoutError | aiohttp.ConnectionTimeoutError):
        seconds = client.options.connect_timeout_s
        return Fault(f"no connection to {client.endpoint} within {seconds:g} s: is the endpoint right?", retry=True)
    if isinstance(error, boto.ReadTimeoutError | asyncio.TimeoutError):
        return Fault(f"stalled: no byte for {client.options.stall_timeout_s:g} s", retry=True, is_throttle=True)
    if isinstance(error, boto.SSLError | ssl.SSLError | aiohttp.ClientSSLError):
        is_refused = isinstance(cause, ssl.SSLCertVerificationError | aiohttp.ClientConnectorCertificateError)
        remedy = "check the address, or name the authority in AWS_CA_BUNDLE" if is_refused else "is the endpoint https?"
        return Fault(f"TLS with {client.endpoint} failed ({_first_line(cause)}): {remedy}", retry=not is_refused)
    if isinstance(error, boto.ProxyConnectionError):
        return Fault(f"the proxy does not answer ({_first_line(cause)}): check HTTPS_PROXY and NO_PROXY", retry=True)
    if isinstance(error, boto.EndpointConnectionError | aiohttp.ClientConnectorError):
        if getattr(cause, "errno", None) in (errno.EMFILE, errno.ENFILE):
            text = "this process may open no more files: lower max_connections or raise its limit (ulimit -n)"
            return Fault(text, retry=True, is_throttle=True)
        text = f"cannot connect to {client.endpoint} ({_first_line(cause)}): is the endpoint right and the server up?"
        return Fault(text, retry=True)
    if isinstance(cause, aiohttp.TooManyRedirects | aiohttp.InvalidURL):
        return Fault(f"{client.endpoint} redirects without end: is the endpoint right?", retry=False)
    if isinstance(error, (*_LOST, ConnectionError)):
        return Fault(f"the connection broke ({type(cause).__name__})", retry=True)
    if isinstance(error, boto.HTTPClientError):
        return Fault(f"{client.endpoint} does not speak HTTP as expected ({type(cause).__name__})", retry=True)
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        text = (
            "signed requests were asked for but no credentials were found: set AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY, name a profile, or leave signing off for a public bucket"
        )
        return Fault(text, retry=False)
    return Fault(f"{type(error).__name__}: {_first_line(error)}", retry=False)


def _explain_answer(error: boto.ClientError, client: Client, bucket: str, key: str) -> Fault:
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = str(error.response.get("Error", {}).get("Code", status))[:60]
    reply = str(status) if code == str(status) else f"{status} {code}"
    if status in _RETRY_STATUS or code in _RETRY_CODES:
        # botocore reports a success whose body is no XML as a bare 500.
        doubt = f" without S3's XML: is {client.endpoint} the right endpoint?" if reply == "500" else ""
        is_throttle = status in _THROTTLE_STATUS or code in _THROTTLE_CODES
        return Fault(f"the server answered {reply}{doubt}", retry=True, code=code, is_throttle=is_throttle)
    at = f"at {client.endpoint}"
    if status in (401, 403) and client.options.is_signed:
        text = (
            f"refused {at} ({reply}): the credentials in use may not read it; check the profile, "
            "leave signing off for a public bucket, or agree to pay with request_payer=True (--request-payer)"
        )
    elif status in (401, 403):
        text = (
            f"refused {at} ({reply}): not open to unsigned requests; ask for signed ones with signed=True "
            "(--signed) or a profile, or check the name (S3 also says 403 for a key that does not exist)"
        )
    elif code == "NoSuchBucket":
        text = f"no bucket {bucket!r} {at} ({reply}): check bucket and endpoint"
    elif status == 404:
        what = "object" if key else "bucket or prefix"
        text = f"no such {what} {at} ({reply}): list again, or check the endpoint"
    elif status == 412:
        text = f"it changed since it was listed ({reply}): list again"
    elif status == 416:
        text = f"the range lies beyond the end of the object ({reply})"
    elif 300 <= status < 400:
        text = (
            f"redirected {at} ({reply}), and redirects are not followed: is the endpoint right, "
            f"and does bucket {bucket!r} live in region {client.options.region}?"
        )
        # 301 is for good; the others may pass (RFC 9110, 15.4).
        return Fault(text, retry=status != 301, code=code)
    else:
        text = f"the server {at} answered {reply}"
    return Fault(text, retry=False, code="PreconditionFailed" if status == 412 else code)


def _innermost(error: BaseException) -> BaseException:
    """Return the exception that botocore wrapped."""
    inner = getattr(error, "kwargs", {}).get("error")
    return inner if isinstance(inner, BaseException) else error


def _first_line(error: BaseException) -> str:
    """Return an operating-system or TLS cause in one short line."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return str(error.os_error.strerror or type(error.os_error).__name__)[:120]
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ssl.SSLError):
        return str(error.strerror)[:120]
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
