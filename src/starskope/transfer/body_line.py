"""A connection of asyncio in the hands of a thread, for as long as a body comes.

Owns the way beneath a transport: the socket, and the OpenSSL object that asyncio keeps between two buffers. It refuses
to know HTTP, and transports that lack a name it needs.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
from typing import Any

__all__ = ["Line", "TlsLine", "line_of"]

_NEEDED = ("_incoming", "_outgoing", "_ssl_reading_paused", "_sslobj", "_transport")


def line_of(transport: Any) -> Line | None:
    """Return the connection beneath a transport, or None where it cannot be had."""
    if transport.get_extra_info("ssl_object") is None:
        return Line(transport)
    under: Any = getattr(transport, "_ssl_protocol", None)
    is_known = all(hasattr(under, name) for name in _NEEDED)
    # TLS within the TLS of a proxy has no socket beneath it.
    if not is_known or under._transport is None or under._transport.get_extra_info("ssl_object") is not None:
        return None
    return TlsLine(transport)


class Line:
    """A connection without TLS.

    Parameters
    ----------
    transport : asyncio.Transport
        Of a loop that reads nothing ahead.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._socket: socket.socket | None = None

    def take_over(self) -> None:
        """Keep the loop away from what comes."""
        self._pause()
        # A descriptor of its own stays valid whatever becomes of the transport.
        self._socket = socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno()))
        self._socket.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def receive_into(self, view: memoryview, feed: memoryview) -> int | None:
        """Take what has come, in a thread; none at the end of the connection, None where all was taken already.

        Parameters
        ----------
        view : memoryview
            Where it goes.
        feed : memoryview
            Room for what must be deciphered first.
        """
        return self._receive(self._open_socket, view, feed)

    def wait(self) -> None:
        """Wait until something comes or the connection ends, in a thread."""
        self._poll.poll()

    def stop(self) -> None:
        """Wake the thread where it waits; the connection is of no further use."""
        with contextlib.suppress(OSError):
            self._open_socket.shutdown(socket.SHUT_RDWR)

    def let_go(self) -> None:
        """Undo `take_over`, but for the pause."""
        if self._socket is not None:
            self._socket.close()

    def give_back(self) -> bool:
        """Let the loop read again; False where the connection died or holds what the next answer would be read from."""
        if self._transport.is_closing() or self._holds_more():
            return False
        self._resume()
        return True

    @property
    def _open_socket(self) -> socket.socket:
        if self._socket is None:
            raise RuntimeError("a connection that was not taken over")
        return self._socket

    def _receive(self, open_socket: socket.socket, view: memoryview, feed: memoryview) -> int | None:
        return _take(open_socket, view)

    def _holds_more(self) -> bool:
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def _pause(self) -> None:
        self._transport.pause_reading()

    def _resume(self) -> None:
        self._transport.resume_reading()


class TlsLine(Line):
    """A connection with TLS as asyncio keeps it: an OpenSSL object between two buffers, beside the socket."""

    def __init__(self, transport: Any) -> None:
        super().__init__(transport)
        self._under = transport._ssl_protocol

    def _receive(self, open_socket: socket.socket, view: memoryview, feed: memoryview) -> int | None:
        under = self._under
        read, n_filled, n_wanted = under._sslobj.read, 0, len(view)
        while True:
            try:
                while n_filled < n_wanted and (n_bytes := read(n_wanted - n_filled, view[n_filled:])):
                    n_filled += n_bytes
                return n_filled
            except ssl.SSLWantReadError:
                pass
            if under._outgoing.pending:  # the answer to a change of keys
                open_socket.sendall(under._outgoing.read())
            n_fed = _take(open_socket, feed)
            if not n_fed:
                return n_filled or n_fed
            under._incoming.write(feed[:n_fed])

    def _holds_more(self) -> bool:
        return bool(self._under._incoming.pending or self._under._sslobj.pending()) or super()._holds_more()

    def _pause(self) -> None:
        super()._pause()
        # What asyncio may have scheduled goes by this mark, and would resume what is paused here.
        self._under._ssl_reading_paused = False
        self._under._transport.pause_reading()

    def _resume(self) -> None:
        self._under._ssl_reading_paused = False
        self._under._transport.resume_reading()
        super()._resume()


def _take(open_socket: socket.socket, view: memoryview) -> int | None:
    try:
        return open_socket.recv_into(view)
    except BlockingIOError:
        return None
