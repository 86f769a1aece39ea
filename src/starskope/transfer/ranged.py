"""One verified ranged read, the only way in which bytes of objects enter the package.

Owns the loop of tries: every answer's status, Content-Range, Content-Length and ETag are checked before its body is
taken, a broken body is continued where it broke from the same object (If-Match), and a connection without a byte for
the stall limit is dropped. It refuses to hand out fewer or other bytes than asked for, and to try for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any, Protocol

from starskope.errors import TransferError
from starskope.transfer.checks import AnswerError, Extent, ObjectChangedError, check_extent, plain_etag
from starskope.transfer.client import Client
from starskope.transfer.faults import NETWORK_ERRORS, Fault, explain
from starskope.transfer.pacing import backoff_s
from starskope.transfer.uris import S3Uri

__all__ = ["RangeRead", "Sink", "TriesExhaustedError", "fetch", "read_range"]


class TriesExhaustedError(TransferError):
    """Every try failed in a way that another might not have: the server or the line, rather than the request."""


@dataclass(frozen=True)
class RangeRead:
    """Bytes of an object and what they belong to.

    Parameters
    ----------
    data : bytes
        Exactly the range asked for, cut only at the end of the object.
    etag : str
        Of the object, without quotes.
    object_size : int
        Bytes of the whole object.
    """

    data: bytes
    etag: str
    object_size: int

    def __repr__(self) -> str:
        return f"RangeRead({len(self.data)} of {self.object_size} bytes, etag={self.etag!r})"


class Sink(Protocol):
    """Where the bytes of one range go, in order."""

    async def begin(self, extent: Extent) -> None:
        """Take note of what will come. Called once per accepted object, and again after `restart`."""

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes."""

    async def restart(self) -> None:
        """Forget everything: the object was replaced, it comes again from its start."""


class _Chunks:
    """Keep a range in memory."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    async def begin(self, extent: Extent) -> None:
        """Nothing to prepare."""

    async def write(self, chunk: bytes) -> None:
        self.chunks.append(chunk)

    async def restart(self) -> None:
        self.chunks.clear()


@dataclass
class _State:
    """How far a range has come over its tries."""

    position: int
    etag: str | None
    extent: Extent | None = None


async def read_range(client: Client, uri: S3Uri, start: int, stop: int, *, etag: str | None = None) -> RangeRead:
    """Read bytes ``start`` to ``stop - 1`` of an object into memory.

    Parameters
    ----------
    client : Client
        From `open_client`.
    uri : S3Uri
        The object.
    start, stop : int
        Half-open range, ``0 <= start < stop``. Where the object ends before `stop`, so do the bytes.
    etag : str, optional
        ETag that the object must have; without it the first answer's is kept over the tries.

    Returns
    -------
    RangeRead
        The bytes, the ETag and the size of the whole object.

    Raises
    ------
    ValueError
        For an empty or negative range.
    TransferError
        When the object is missing, refused, changed, or every try failed; ``causes`` has the URI as its key.
    """
    if not 0 <= start < stop:
        raise ValueError(f"a range needs 0 <= start < stop, got start={start}, stop={stop}")
    sink = _Chunks()
    extent = await fetch(client, uri, start, stop, sink, etag=etag)
    return RangeRead(b"".join(sink.chunks), extent.etag, extent.object_size)


async def fetch(
    client: Client,
    uri: S3Uri,
    start: int,
    stop: int | None,
    sink: Sink,
    *,
    etag: str | None = None,
    size: int | None = None,
) -> Extent:
    """Stream a range of an object into a sink, trying again where that helps.

    Parameters
    ----------
    client : Client
        From `open_client`.
    uri : S3Uri
        The object.
    start : int
        First byte.
    stop : int or None
        One past the last byte; None reads to the end of the object.
    sink : Sink
        Takes the bytes in order, each once.
    etag, size : optional
        What the object must be.

    Returns
    -------
    Extent
        What was read, with the headers of the first accepted answer (stored checksums).

    Raises
    ------
    TransferError
        As `read_range`. Whatever the sink raises passes through.
    """
    state = _State(position=start, etag=None if etag is None else plain_etag(etag))
    causes: list[str] = []
    for n_failed in range(1, client.options.max_attempts + 1):
        try:
            await _try_once(client, uri, start, stop, sink, state, size)
        except NETWORK_ERRORS as error:
            fault = explain(error, client, uri.bucket, uri.key)
            replaced = fault.code == "PreconditionFailed" or isinstance(error, ObjectChangedError)
            if replaced and etag is None and state.extent is not None:
                # Nobody asked for the older object: what has come of it is dropped, the newer one is read.
                await sink.restart()
                state = _State(position=start, etag=None)
                fault = Fault("the object was replaced while it was read", retry=True)
        else:
            if state.extent is None:
                raise TransferError(f"{uri}: no answer was accepted")
            return state.extent
        causes.append(fault.text)
        if not fault.retry:
            raise TransferError(f"cannot read {uri}: {fault.text}", {str(uri): fault.text})
        if n_failed < client.options.max_attempts:
            options = client.options
            await asyncio.sleep(backoff_s(n_failed, options.backoff_base_s, options.backoff_max_s, client.rng))
    story = _story(causes)
    raise TriesExhaustedError(f"cannot read {uri}: {story}", {str(uri): story})


async def _try_once(
    client: Client, uri: S3Uri, start: int, stop: int | None, sink: Sink, state: _State, size: int | None
) -> None:
    """Ask for what is still missing and take it; `state` keeps what came even when this raises."""
    arguments: dict[str, Any] = {"Bucket": uri.bucket, "Key": uri.key, **client.request_arguments}
    end = stop if state.extent is None else state.extent.stop
    if state.extent is not None and state.position == state.extent.stop:
        return
    if state.position > 0 or end is not None:
        arguments["Range"] = f"bytes={state.position}-{'' if end is None else end - 1}"
    else:
        # Stored checksums come with a whole object only.
        arguments["ChecksumMode"] = "ENABLED"
    if state.etag is not None:
        arguments["IfMatch"] = f'"{state.etag}"'
    answer = await client.s3.get_object(**arguments)
    body = answer["Body"]
    try:
        head = answer["ResponseMetadata"]
        known_size = size if state.extent is None else state.extent.object_size
        extent = check_extent(head["HTTPStatusCode"], head["HTTPHeaders"], state.position, end, state.etag, known_size)
        if state.extent is None:
            await sink.begin(extent)
            state.extent, state.etag = extent, extent.etag
        # The stream beneath botocore's body: the body would sum a stored checksum on the loop, and only compare it at
        # an end of file that is never asked for here.
        await _take_body(body.raw_stream.content, sink, state, extent.stop, client.options.step_bytes)
    finally:
        # Closing a body that was read to its end gives the connection back; any other is dropped, not drained.
        with contextlib.suppress(*NETWORK_ERRORS):
            body.close()


async def _take_body(stream: Any, sink: Sink, state: _State, stop: int, step_bytes: int) -> None:
    while state.position < stop:
        chunk = await stream.read(min(step_bytes, stop - state.position))
        if not chunk:
            raise AnswerError(f"the body ended {stop - state.position} bytes early")
        state.position += len(chunk)
        await sink.write(chunk)


def _story(causes: list[str]) -> str:
    """Return the last cause, and how many tries there were when they differ."""
    distinct = list(dict.fromkeys(causes))
    tries = f"{len(causes)} tries" if len(causes) > 1 else "1 try"
    earlier = f" (earlier: {'; '.join(distinct[:-1])})" if len(distinct) > 1 else ""
    return f"{causes[-1]} after {tries}{earlier}"
