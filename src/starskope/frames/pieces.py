"""A frame in the pieces in which it came, and its plane decoded piece by piece while the rest is on its way.

Owns the values that lie across the edges of pieces. A fast way of `decode_frame`: wherever the plane is not where
missions put it, or not whole, the joined pieces are decoded instead. Refuses the network and the threads
(``frames.decoding``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from starskope.errors import FrameError
from starskope.frames.decode import Frame, decode_frame, frame_of
from starskope.frames.plane_pool import PlanePool
from starskope.frames.planes import Encoding
from starskope.layout.fits import FFI_LEAD, ImagePlane, locate_image

__all__ = ["PieceDecoder", "decode_pieces"]


class PieceDecoder:
    """Decodes one plane from pieces, each still in the cache into which it was received.

    Parameters
    ----------
    n_bytes : int
        Bytes that will come in all, from the start of the file.
    index, name
        As `decode_frame` takes them.
    pool : PlanePool, optional
        Where the memory of the plane comes from.
    """

    def __init__(self, n_bytes: int, *, index: int = 0, name: str = "frame", pool: PlanePool | None = None) -> None:
        self._n_bytes, self._index, self._name = n_bytes, index, name
        self._pool = pool or PlanePool(0)
        self._plane: ImagePlane | None = None
        self._image: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._values = self._image.reshape(1, -1)
        self._n_skip = self._n_done = 0
        self._torn = b""

    @property
    def is_complete(self) -> bool:
        """Whether every value was decoded."""
        return self._plane is not None and self._n_done == self._values.size

    def begin(self, head: bytes | memoryview) -> bool:
        """Find the plane, given the first `FFI_LEAD` bytes or all that will come; False where it is not there.

        The same bytes are to be fed afterwards.
        """
        try:
            plane = locate_image(head[:FFI_LEAD], name=self._name, complete=False)
            self._encoding = Encoding.of(plane, self._name)
        except FrameError:
            return False  # longer headers, no image where missions put it, or damage to be told with the whole at hand
        if plane.offset + plane.n_bytes > self._n_bytes:
            return False  # nor is memory taken for a plane that a damaged header makes up
        self._plane, self._n_skip = plane, plane.offset
        self._image = self._pool.plane(plane.n_row, plane.n_col)
        self._values = self._image.reshape(1, -1)
        return True

    def feed(self, piece: bytes | memoryview) -> None:
        """Decode the values that the next piece holds; it may change afterwards."""
        if self._plane is None or self._n_done == self._values.size:
            return
        at = min(self._n_skip, len(piece))
        self._n_skip -= at
        n_each = abs(self._plane.bitpix) // 8
        if self._torn:
            at = n_each - len(self._torn)
            torn = self._torn + bytes(piece[:at])
            self._torn = b""
            if len(torn) < n_each:
                self._torn = torn
                return
            self._decode(torn, 0, 1)
        n_value = min((len(piece) - at) // n_each, self._values.size - self._n_done)
        self._decode(piece, at, n_value)
        if self._n_done < self._values.size:
            self._torn = bytes(piece[at + n_value * n_each :])

    def finish(self, pieces: list[bytes]) -> Frame:
        """Return the frame; all its bytes are in `pieces` where none were fed.

        Raises
        ------
        FrameError
            As `decode_frame`.
        """
        if self._plane is None:
            whole = b"".join(pieces)
            pieces.clear()
            return decode_frame(whole, index=self._index, name=self._name)
        if not self.is_complete:
            raise FrameError(f"{self._name} is truncated: fewer bytes came than were announced; fetch it again")
        return frame_of(self._image, self._plane, self._index, self._name)

    def _decode(self, buffer: bytes | memoryview, offset: int, n_value: int) -> None:
        if n_value:
            self._encoding.decode(buffer, offset, self._values[:, self._n_done : self._n_done + n_value])
            self._n_done += n_value


def decode_pieces(pieces: list[bytes], *, index: int = 0, name: str = "frame") -> Frame:
    """Decode a frame from the pieces in which it came, without joining them.

    Parameters
    ----------
    pieces : list of bytes
        In order; emptied while it is worked on, so that planes are not held twice.
    index, name
        As in `decode_frame`.

    Returns
    -------
    Frame
        The one that `decode_frame` makes of the joined pieces.

    Raises
    ------
    FrameError
        As `decode_frame`.
    """
    decoder = PieceDecoder(sum(map(len, pieces)), index=index, name=name)
    head, n_head = b"", 0
    while len(head) < FFI_LEAD and n_head < len(pieces):
        head = head + pieces[n_head] if head else pieces[n_head]
        n_head += 1
    if decoder.begin(head):
        pieces.reverse()
        while pieces:
            decoder.feed(pieces.pop())
    return decoder.finish(pieces)
