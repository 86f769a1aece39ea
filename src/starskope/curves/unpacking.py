"""Files that arrive compressed, and how large a file of light curves may be.

Owns gzip with a bound, so that no small file unpacks to more memory than there is. Refuses other compressions.
"""

from __future__ import annotations

import zlib

from starskope.errors import FrameError

__all__ = ["MOST_BYTES", "unzipped"]

MOST_BYTES = 1 << 31
"""Kepler's short-cadence target pixels of a bright star reach some hundred megabytes; nothing known comes near this."""


def unzipped(data: bytes, what: str) -> bytes:
    """Return the bytes of a gzip file, of which there may be `MOST_BYTES` and no more.

    Raises FrameError where the stream is damaged, ends early or unpacks to more.
    """
    members: list[bytes] = []
    room = MOST_BYTES
    # Block compressors write one member after another.
    while data:
        machine = zlib.decompressobj(wbits=31)
        try:
            members.append(machine.decompress(data, room + 1))
        except zlib.error as error:
            raise FrameError(f"{what} is damaged ({error}): download it again") from error
        room -= len(members[-1])
        if room < 0:
            raise FrameError(f"{what} unpacks to more than {MOST_BYTES / 1e9:.3g} GB, which no light curve needs")
        if not machine.eof:
            raise FrameError(f"{what} is truncated: its gzip stream has no end; download it again")
        # Zeros may pad the end.
        data = machine.unused_data.lstrip(b"\x00")
    return members[0] if len(members) == 1 else b"".join(members)
