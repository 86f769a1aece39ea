"""One verified ranged read, the only way in which bytes of objects enter the package.

Owns the loop of tries: every answer's status, Content-Range, Content-Length and ETag are checked before its body is
taken, a broken body is continued where it broke from the same object (If-Match) on a new connection, and a connection
that stalls or trickles is dropped. It refuses to hand out fewer or other bytes than asked for, and to try for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from starskope.errors import TransferError
from starskope.transfer.body_thread import BodyThread, open_body_thread
from starskope.transfer.checks import AnswerError, Extent, ObjectChangedError, check_extent, plain_etag
from starskope.transfer.client import Client
from starskope.transfer.connections import drop_connection, fresh_connection
from starskope.transfer.faults import NETWORK_ERRORS, Fault, explain
from starskope.transfer.hedging import hedged
from starskope.transfer.pacing import backoff_s
from starskope.transfer.patience import Patience, Watch
from starskope.transfer.quickread import LongWayError
from starskope.transfer.uris import S3Uri

__all__ = ["RangeRead", "ReplacedError", "Sink", "StraightSink", "TriesExhaustedError", "fetch", "read_range"]


class TriesExhaustedError(TransferError):
    """Every try failed in a way that another might not have: the server or the line, rather than the request."""


class ReplacedError(TransferError):
    """The object is not, or no longer, the one whose ETag was asked for."""


@dataclass(frozen=True, slots=True)
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


@runtime_checkable
class StraightSink(Sink, Protocol):
    """A sink that can take large bodies in the thread that receives them."""

    async def straight(self) -> Callable[[memoryview], None]:
        """Return what takes the next bytes, in a thread, and is done with them when it returns."""

    def note(self, n_bytes: int) -> None:
        """Take note that so many bytes came, on the loop."""


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
        When the object is missing, refused, changed, or every try failed; ``causes`` has the URI as its key and
        ``__cause__`` is what the last try raised.

    Notes
    -----
    Ranges up to `small_read_bytes` go past botocore (`quickread`) and may be asked for twice where the server is late
    (`hedging`). What goes wrong there is a failed try like any other; the tries that follow are botocore's.
    """
    if not 0 <= start < stop:
        raise ValueError(f"a range needs 0 <= start < stop, got start={start}, stop={stop}")
    failed: BaseException | None = None
    began = asyncio.get_running_loop().time()
    if client.quick.knows(uri, stop - start):
        try:
            return await _read_quickly(client, uri, start, stop, None if etag is None else plain_etag(etag))
        except LongWayError:
            pass
        except NETWORK_ERRORS as error:
            failed = error
    sink = _Chunks()
    reading = _Reading(client, uri, start, stop, sink, etag, None)
    if failed is not None:
        await reading.judge(failed, 0, asyncio.get_running_loop().time() - began)
    extent = await reading.run()
    return RangeRead(
        sink.chunks[0] if len(sink.chunks) == 1 else b"".join(sink.chunks), extent.etag, extent.object_size
    )


async def _read_quickly(client: Client, uri: S3Uri, start: int, stop: int, etag: str | None) -> RangeRead:
    _refuse_if_gone(client, uri)
    quick = client.quick
    async with client.pace.slot() as slot:
        try:
            data, extent = await hedged(
                lambda again, took: quick.read(uri, start, stop, etag, fresh=again, took=took),
                quick.latency,
                slot.gate,
            )
        except NETWORK_ERRORS as error:
            if explain(error, client, uri.bucket, uri.key).is_throttle:
                slot.throttled()
            raise
        slot.succeeded()
    return RangeRead(data, extent.etag, extent.object_size)


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
    return await _Reading(client, uri, start, stop, sink, etag, size).run()


class _Reading:
    """One range on its way, over all its tries."""

    def __init__(
        self, client: Client, uri: S3Uri, start: int, stop: int | None, sink: Sink, etag: str | None, size: int | None
    ) -> None:
        self.client, self.uri, self.sink, self.size = client, uri, sink, size
        self.start, self.stop = start, stop
        self.pinned = None if etag is None else plain_etag(etag)
        self.patience = Patience(client.options)
        self.causes: list[str] = []
        self._forget()

    def _forget(self) -> None:
        self.position = self.start
        self.etag = self.pinned
        self.extent: Extent | None = None

    async def run(self) -> Extent:
        """Try until the range is whole; the extent of the first accepted answer."""
        if not self.causes:
            _refuse_if_gone(self.client, self.uri)
        while True:
            position = self.position
            watch = Watch(self.client.options)
            try:
                with fresh_connection() if self.causes else contextlib.nullcontext():
                    await self._try(watch)
            except NETWORK_ERRORS as error:
                await self.judge(error, max(0, self.position - position), watch.idle_s())
            else:
                if self.extent is None:
                    raise TransferError(f"{self.uri}: no answer was accepted")
                return self.extent

    async def _try(self, watch: Watch) -> None:
        """Ask for what is still missing and take it; what came counts even when this raises."""
        async with self.client.pace.slot() as slot:
            try:
                async with watch:
                    await self._ask(watch)
            except NETWORK_ERRORS as error:
                if explain(error, self.client, self.uri.bucket, self.uri.key).is_throttle:
                    slot.throttled()
                raise
            slot.succeeded()

    async def _ask(self, watch: Watch) -> None:
        client, uri = self.client, self.uri
        arguments: dict[str, Any] = {"Bucket": uri.bucket, "Key": uri.key, **client.request_arguments}
        end = self.stop if self.extent is None else self.extent.stop
        if self.extent is not None and self.position == self.extent.stop:
            return
        if self.position > 0 or end is not None:
            arguments["Range"] = f"bytes={self.position}-{'' if end is None else end - 1}"
        else:
            # Stored checksums come with a whole object only.
            arguments["ChecksumMode"] = "ENABLED"
        if self.etag is not None:
            arguments["IfMatch"] = f'"{self.etag}"'
        with client.quick.watching() if client.quick.wants(uri) else contextlib.nullcontext() as requests:
            answer = await client.s3.get_object(**arguments)
        body = answer["Body"]
        try:
            head = answer["ResponseMetadata"]
            size = self.size if self.extent is None else self.extent.object_size
            try:
                extent = check_extent(head["HTTPStatusCode"], head["HTTPHeaders"], self.position, end, self.etag, size)
            except AnswerError:
                drop_connection(body.raw_stream)
                raise
            # The stream beneath botocore's body: the body would sum a stored checksum on the loop, and only compare it
            # at an end of file that is never asked for here.
            with self._thread_for(body.raw_stream, extent.stop) as thread:
                if requests is not None:
                    await client.quick.learn(uri, requests)
                if self.extent is None:
                    await self.sink.begin(extent)
                    self.extent, self.etag = extent, extent.etag
                await self._take(body.raw_stream, extent.stop, thread, watch)
        finally:
            # Closing a body that was read to its end gives the connection back; any other is dropped, not drained.
            with contextlib.suppress(*NETWORK_ERRORS):
                body.close()

    def _thread_for(self, response: Any, stop: int) -> contextlib.AbstractContextManager[BodyThread | None]:
        n_bytes = stop - self.position
        is_large = n_bytes >= self.client.options.direct_bytes
        thread = open_body_thread(response, n_bytes) if is_large and isinstance(self.sink, StraightSink) else None
        return contextlib.nullcontext() if thread is None else contextlib.closing(thread)

    async def _take(self, response: Any, stop: int, thread: BodyThread | None, watch: Watch) -> None:
        options = self.client.options
        if thread is not None and isinstance(self.sink, StraightSink):
            put = await self.sink.straight()
            try:
                await thread.pour(put, options.write_bytes, self.client.turns, watch, self.sink.note)
            finally:
                self.position += thread.n_put
            return
        stream = response.content
        if (enlarge := getattr(stream, "set_read_chunk_size", None)) is not None:
            enlarge(options.step_bytes)
        while self.position < stop:
            chunk = await stream.read(min(options.step_bytes, stop - self.position))
            if not chunk:
                raise AnswerError(f"the body ended {stop - self.position} bytes early")
            self.position += len(chunk)
            watch.took(len(chunk))
            watch.is_paused = True
            await self.sink.write(chunk)
            watch.is_paused = False

    async def judge(self, error: BaseException, n_bytes: int, idle_s: float) -> None:
        """Return when another try is due; raise when none can help."""
        options = self.client.options
        self.patience.failed(n_bytes, idle_s)
        fault = explain(error, self.client, self.uri.bucket, self.uri.key)
        is_other = fault.code == "PreconditionFailed" or isinstance(error, ObjectChangedError)
        if is_other and self.pinned is None and self.extent is not None:
            # Nobody asked for the older object: what has come of it is dropped, the newer one is read.
            await self.sink.restart()
            self._forget()
            fault = Fault("the object was replaced while it was read", retry=True)
        elif is_other and not self.patience.replaced():
            text = _story([*self.causes, fault.text])
            raise ReplacedError(f"cannot read {self.uri}: {text}", {str(self.uri): text}) from error
        elif is_other:
            fault = Fault(fault.text, retry=True)
        self.causes.append(fault.text)
        if not fault.retry:
            text = _story(self.causes)
            raise TransferError(f"cannot read {self.uri}: {text}", {str(self.uri): text}) from error
        if not self.patience.is_spent:
            wait_s = backoff_s(self.patience.n_failed, options.backoff_base_s, options.backoff_max_s, self.client.rng)
            self.patience.waited(wait_s)
            await asyncio.sleep(wait_s)
            return
        self.client.pace.gate().lost(asyncio.get_running_loop().time())
        story = _story(self.causes)
        raise TriesExhaustedError(f"cannot read {self.uri}: {story}", {str(self.uri): story}) from error


def _refuse_if_gone(client: Client, uri: S3Uri) -> None:
    """Do not ask a server that has failed many times running: the last of them was a moment ago."""
    gate = client.pace.gate()
    if gate.is_given_up(asyncio.get_running_loop().time()):
        text = f"not tried: {client.endpoint} failed {gate.n_lost} times in a row"
        raise TriesExhaustedError(f"cannot read {uri}: {text}", {str(uri): text})


def _story(causes: list[str]) -> str:
    """Return the last cause, and how many tries there were when they differ."""
    distinct = list(dict.fromkeys(causes))
    tries = f"{len(causes)} tries" if len(causes) > 1 else "1 try"
    earlier = f" (earlier: {'; '.join(distinct[:-1])})" if len(distinct) > 1 else ""
    return f"{causes[-1]} after {tries}{earlier}"
