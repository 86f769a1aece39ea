"""A frame in the pieces in which it came, and its plane decoded row by row while the rest is on its way.

Owns the rows that lie across the edges of pieces, and the memory of planes that come one after the other. A fast way of
`decode_frame`: wherever the plane is not where missions put it, or not whole, the joined pieces are decoded instead.
Refuses the network and the threads (``frames.decoding``).
"""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

from starskope.errors import FrameError
from starskope.frames.decode import Frame, decode_frame, frame_of
from starskope.frames.planes import decode_rows
from starskope.layout.fits import FFI_LEAD, ImagePlane, locate_image

__all__ = ["PieceDecoder", "decode_pieces"]

_OWN_PAGES = 1 << 20


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
        self._image = _new_plane(plane.n_row, plane.n_col)
        return True

    def _fill(self, pieces: list[bytes]) -> None:
        """Decode the rows that each piece holds whole, and those that lie on its edges from a copy."""
        plane = self._plane
        if plane is None:
            return
        row_bytes = abs(plane.bitpix) // 8 * plane.n_col
        pieces.reverse()
        while pieces and self._row < plane.n_row:
            piece = pieces.pop()
            begin = min(self._n_skip, len(piece))
            self._n_skip -= begin
            if self._torn:
                begin = min(len(piece), row_bytes - len(self._torn))
                self._torn += piece[:begin]
                if len(self._torn) < row_bytes:
                    continue
                self._decode(self._torn, 0, 1, plane)
            n_whole = min((len(piece) - begin) // row_bytes, plane.n_row - self._row)
            if n_whole:
                self._decode(piece, begin, n_whole, plane)
            begin += n_whole * row_bytes
            self._torn = piece[begin : begin + row_bytes]
        pieces.clear()

    def _decode(self, buffer: bytes, offset: int, n_row: int, plane: ImagePlane) -> None:
        decode_rows(buffer, offset, plane, self._name, self._image[self._row : self._row + n_row])
        self._row += n_row


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


def _new_plane(n_row: int, n_col: int) -> NDArray[np.float32]:
    """Return memory for a plane; of a large one in pages of its own, which go back to the system with it.

    What threads free stays with each of them otherwise, and a stream takes half as much again as its planes.
    """
    n_bytes = 4 * n_row * n_col
    if n_bytes < _OWN_PAGES or not hasattr(mmap, "MAP_PRIVATE"):
        return np.empty((n_row, n_col), np.float32)
    pages = mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)  # as NumPy asks for its own
    return np.frombuffer(pages, np.float32).reshape(n_row, n_col)
