"""A frame in the pieces in which it came, and its plane decoded row by row while the rest is on its way.

Owns the rows that lie across the edges of pieces. A fast way of `decode_frame`: wherever the plane is not where
missions put it, or not whole, the joined pieces are decoded instead. Refuses the network and the threads
(``frames.decoding``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from starskope.errors import FrameError
from starskope.frames.decode import Frame, decode_frame, frame_of
from starskope.frames.planes import decode_rows
from starskope.layout.fits import FFI_LEAD, ImagePlane, locate_image

__all__ = ["PieceDecoder", "decode_pieces"]

_STEP_BYTES = 1 << 20  # what is joined is still in the cache when its rows are decoded


class PieceDecoder:
    """Decodes one plane from pieces; its methods may take long, and never run two at a time.

    Parameters
    ----------
    n_bytes : int
        Bytes that will come in all, from the start of the file.
    index, name
        As `decode_frame` takes them.
    """

    def __init__(self, n_bytes: int, *, index: int = 0, name: str = "frame") -> None:
        self._n_bytes, self._index, self._name = n_bytes, index, name
        self._plane: ImagePlane | None = None
        self._image: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._n_skip = self._row = 0
        self._torn = b""

    def feed(self, pieces: list[bytes]) -> bool:
        """Decode the rows that the next pieces hold, and empty the list; False, and all as it was, where it cannot.

        The first call needs `FFI_LEAD` bytes, or all that will come.
        """
        if self._plane is None and not self._begin(pieces):
            return False
        self._fill(pieces)
        return True

    def finish(self, pieces: list[bytes]) -> Frame:
        """Return the frame, given what was not fed yet.

        Raises
        ------
        FrameError
            As `decode_frame`.
        """
        if not self.feed(pieces):
            whole = b"".join(pieces)
            pieces.clear()
            return decode_frame(whole, index=self._index, name=self._name)
        if self._plane is None or self._row < self._plane.n_row:
            raise FrameError(f"{self._name} is truncated: fewer bytes came than were announced; fetch it again")
        return frame_of(self._image, self._plane, self._index, self._name)

    def _begin(self, pieces: list[bytes]) -> bool:
        head, n_head = b"", 0
        while len(head) < FFI_LEAD and n_head < len(pieces):
            head = head + pieces[n_head] if head else pieces[n_head]
            n_head += 1
        try:
            plane = locate_image(head, name=self._name, complete=False)
        except FrameError:
            return False  # longer headers, or no image where missions put it
        if plane.offset + plane.n_bytes > self._n_bytes:
            return False  # nor is memory taken for a plane that a damaged header makes up
        self._plane, self._n_skip = plane, plane.offset
        self._image = np.empty((plane.n_row, plane.n_col), np.float32)
        return True

    def _fill(self, pieces: list[bytes]) -> None:
        """Decode the rows that the pieces hold whole, some pieces at a time, and keep the rest for the next."""
        plane = self._plane
        if plane is None:
            return
        row_bytes = abs(plane.bitpix) // 8 * plane.n_col
        pieces.reverse()
        while pieces:
            rows = [self._torn]
            n_bytes = len(self._torn)
            while pieces and n_bytes < _STEP_BYTES:
                rows.append(pieces.pop())
                n_bytes += len(rows[-1])
            buffer = b"".join(rows)
            begin = min(self._n_skip, n_bytes)
            self._n_skip -= begin
            n_row = min((n_bytes - begin) // row_bytes, plane.n_row - self._row)
            if n_row:
                decode_rows(buffer, begin, plane, self._name, self._image[self._row : self._row + n_row])
            self._row += n_row
            begin += n_row * row_bytes
            self._torn = buffer[begin:] if self._row < plane.n_row else b""


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
    return PieceDecoder(sum(map(len, pieces)), index=index, name=name).finish(pieces)
