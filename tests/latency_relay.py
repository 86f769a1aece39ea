"""The program that `latency_server.LatencyServer` runs: relay one loopback address, each answer late by a round trip.

``python latency_relay.py HOST PORT LATENCY_S`` prints ``relay port N`` and serves until it is ended. Two threads per
connection; bytes of answers stay in the kernel (splice), so that 1 GB/s costs little beside client and server.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import sys
import threading
import time
from collections.abc import Callable

PIPE_BYTES = 2**20


class Relay:
    """One connection: requests upward, answers downward."""

    def __init__(self, client: socket.socket, upstream: tuple[str, int], latency_s: float) -> None:
        self._client = client
        self._upstream = upstream
        self._latency_s = latency_s
        self._not_before = 0.0  # no byte of an answer leaves earlier (monotonic clock)

    def run(self) -> None:
        time.sleep(self._latency_s)
        with self._client, socket.create_connection(self._upstream) as server:
            for one in (self._client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            downward = threading.Thread(target=_pump, args=(self._down, server, self._client), daemon=True)
            downward.start()
            _pump(self._up, self._client, server)
            downward.join()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        while chunk := client.recv(2**18):
            self._not_before = time.monotonic() + self._latency_s
            server.sendall(chunk)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        read, write = os.pipe()
        try:
            with contextlib.suppress(OSError):
                fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            while n_held := os.splice(server.fileno(), write, PIPE_BYTES):
                left_s = self._not_before - time.monotonic()
                if left_s > 0:
                    time.sleep(left_s)
                while n_held:
                    n_held -= os.splice(read, client.fileno(), n_held)
        finally:
            os.close(read)
            os.close(write)


def _pump(move: Callable[[socket.socket, socket.socket], None], source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        move(source, sink)
    # The end of one direction is told to the other side, which then ends its own.
    for one, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
        with contextlib.suppress(OSError):
            one.shutdown(how)


def main(host: str, port: str, latency_s: str) -> None:
    threading.stack_size(2**18)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        sys.stdout.write(f"relay port {listening.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            client, _ = listening.accept()
            relay = Relay(client, (host, int(port)), float(latency_s))
            threading.Thread(target=relay.run, daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
