"""One frame decoded while it comes.

Owns which bytes are kept (those before the headers are whole, and all of a frame whose plane is not where missions put
it) and the promise that nothing is at work once somebody has waited for the end. Refuses to fetch, and to know how
values are decoded (``frames.pieces``).
"""

from __future__ import annotations

from starskope.frames.beside import beside
from starskope.frames.decode import Frame
from starskope.frames.pieces import PieceDecoder
from starskope.frames.plane_pool import PlanePool
from starskope.frames.sources import Pieces
from starskope.layout.fits import FFI_LEAD

__all__ = ["Decoding"]


class Decoding(Pieces):
    """The pieces of one frame, decoded where they are received: in cache, and at once."""

    def __init__(self, index: int, name: str, pool: PlanePool) -> None:
        super().__init__()
        self._index, self._name, self._pool = index, name, pool
        self.begin(0)

    def begin(self, n_bytes: int) -> None:
        """Learn how much will come; a plane that was begun is forgotten."""
        super().begin(n_bytes)
        self._n_bytes = n_bytes
        self._decoder = PieceDecoder(n_bytes, index=self._index, name=self._name, pool=self._pool)
        self._is_regular: bool | None = None

    def add(self, piece: bytes | memoryview) -> None:
        """Take the next bytes."""
        if self._is_regular is None and self.n_come + len(piece) >= min(FFI_LEAD, self._n_bytes):
            self._look(piece)
        if self._is_regular:
            self.n_come += len(piece)
            self._decoder.feed(piece)
        else:
            super().add(piece)

    async def whole(self) -> list[bytes] | None:
        """Return all that came; None where the plane is being decoded."""
        return None if self._is_regular else self.held

    async def frame(self) -> Frame:
        """Return the frame, or decode it; raises as `decode_frame`."""
        if self._decoder.is_complete:
            return self._decoder.finish(self.held)
        return await beside(self._decoder.finish, self.held)

    def _look(self, piece: bytes | memoryview) -> None:
        """Find the plane, and decode what was held back until now."""
        self._is_regular = self._decoder.begin(b"".join([*self.held, piece]) if self.held else piece)
        if self._is_regular:
            for early in self.held:
                self._decoder.feed(early)
            self.held.clear()
