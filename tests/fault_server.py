"""An HTTP proxy on loopback that misbehaves on demand, in front of a real S3 server.

It keeps connections alive on both sides, lets bodies of any size flow through, and applies the planned fault to the
next answers; every other answer passes as it came. It is bounded: loopback only, at most `MAX_CONNECTIONS`, and stalls
end with the server. For timings use ``latency_server``, which runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
from dataclasses import dataclass, field

from fault_kinds import (
    Exchange,
    Fault,
    changed_in_the_middle,
    close_after_a_little,
    close_at_once,
    early_close,
    endless_xml,
    first_page_again,
    flipped_bit,
    foreign_xml,
    garbage,
    good,
    internal_error,
    no_content_range,
    not_http,
    other_etag,
    other_etag_then_close,
    other_range,
    range_ignored,
    redirect_loop,
    redirect_to,
    reset,
    short_length,
    slow_down,
    stall,
    stall_before_head,
    trickle,
    wrong_content_range,
)
from fault_plan import Plan
from loopback_http import Answer, Request, Upstream, read_request

__all__ = [
    "Answer",
    "Exchange",
    "Fault",
    "FaultServer",
    "Request",
    "changed_in_the_middle",
    "close_after_a_little",
    "close_at_once",
    "early_close",
    "endless_xml",
    "first_page_again",
    "flipped_bit",
    "foreign_xml",
    "garbage",
    "good",
    "internal_error",
    "no_content_range",
    "not_http",
    "other_etag",
    "other_etag_then_close",
    "other_range",
    "range_ignored",
    "redirect_loop",
    "redirect_to",
    "reset",
    "short_length",
    "slow_down",
    "stall",
    "stall_before_head",
    "trickle",
    "wrong_content_range",
]

MAX_CONNECTIONS = 1024


@dataclass(eq=False)
class FaultServer:
    """The proxy, in a thread of its own; use as a context manager.

    `latency_s` seconds pass before each answer begins, and once more when a connection opens: what a round trip costs.
    """

    upstream_url: str
    page_size: int | None = None
    dropped_headers: tuple[str, ...] = ()
    tls: ssl.SSLContext | None = None
    latency_s: float = 0.0
    requests: list[Request] = field(default_factory=list)
    n_open: int = 0
    n_accepted: int = 0
    n_bytes: int = 0  # of bodies, sent to clients
    url: str = ""
    _plans: list[Plan] = field(default_factory=list)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    def plan(
        self,
        fault: Fault,
        times: int | None = None,
        *,
        listings: bool = False,
        after: int = 0,
        only: str = "",
        of_each: bool = False,
    ) -> Plan:
        """Apply a fault to the next `times` object reads (or listings); None: to all that follow.

        The first `after` of them pass, those count alone whose target holds `only`, and with `of_each` every object is
        struck `times` times.
        """
        plan = Plan(fault, times, listings, after, only, of_each)
        self._plans.append(plan)
        return plan

    def __enter__(self) -> FaultServer:
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._thread.start()
        if not self._started.wait(10):
            raise RuntimeError("the fault server did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)
        self._loop.close()

    def wait_closed(self, timeout_s: float = 5.0) -> bool:
        """Wait until no client holds a connection."""
        deadline = time.monotonic() + timeout_s
        while self.n_open and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.n_open == 0

    def wait_requests(self, n: int, timeout_s: float = 10.0) -> bool:
        deadline = time.monotonic() + timeout_s
        while len(self.requests) < n and time.monotonic() < deadline:
            time.sleep(0.01)
        return len(self.requests) >= n

    async def until_stopped(self) -> None:
        await self._stopped.wait()

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, ssl=self.tls, limit=2**20)
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._started.set()
        # Not `async with`: its end would wait for kept connections, which clients hold as long as they like.
        await self._stopped.wait()
        self._loop.remove_reader(server.sockets[0].fileno())
        await asyncio.sleep(0.01)  # CPython leaks the connections that it accepted in the very step of `close`
        server.close()
        while True:
            await asyncio.sleep(0.01)  # a connection that was accepted last has its task only by now
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            if not tasks and not self._writers:
                return
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for writer in self._writers:
                writer.transport.abort()  # a task that is cancelled before its first step closes nothing itself
            self._writers.clear()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = asyncio.get_running_loop().create_task(self._connection(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_open += 1
        self.n_accepted += 1
        behind = Upstream(self.upstream_url)
        try:
            if self.n_open <= MAX_CONNECTIONS:
                await asyncio.sleep(self.latency_s)
                await self._exchanges(reader, writer, behind)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the server stops: nobody waits for this task's end to tell
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError, ssl.SSLError):
                await behind.close()
                await writer.wait_closed()
            writer.transport.abort()  # what a client that is gone has not read keeps no socket open
            self._writers.discard(writer)
            self.n_open -= 1

    async def _exchanges(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, behind: Upstream) -> None:
        begun: bytes | None = b""
        while begun is not None and (request := await read_request(reader, begun)) is not None:
            self.requests.append(request)
            exchange = Exchange(self, request, writer, behind)
            answering = asyncio.ensure_future(self._answer(exchange))
            try:
                begun = await _watch(reader, answering) if request.body is None else b""
                await asyncio.wait({answering})
            finally:
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)
            is_last = "close" in request.headers.get("connection", "")
            if answering.cancelled() or answering.exception() is not None or not exchange.is_whole or is_last:
                return

    async def _answer(self, exchange: Exchange) -> None:
        if "expect" in exchange.request.headers:
            exchange.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        fault = next((plan.fault for plan in self._plans if plan.takes(exchange.request)), good)
        await asyncio.sleep(self.latency_s)
        await fault(exchange)
        while exchange.request.body is not None and await exchange.request.body.step():
            pass  # what the fault did not ask for, so that the next request can be read


async def _watch(reader: asyncio.StreamReader, answering: asyncio.Future[None]) -> bytes | None:
    """Wait for an answer and for the client's leaving, which ends the answer; return None if it left.

    A stalled answer would else outlive its client. A byte that comes instead of the end of file begins the next
    request: the client had its answer before this task heard of it.
    """
    watching = asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        watching.cancel()
    (seen,) = await asyncio.gather(watching, return_exceptions=True)
    if isinstance(seen, asyncio.CancelledError):
        return b""
    if isinstance(seen, bytes) and seen:
        return seen
    answering.cancel()
    return None
