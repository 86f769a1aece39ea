"""Memory of planes that is used again when nobody looks at them any more.

Owns when memory is free: when the last array on it is gone, as the interpreter counts. A fresh plane of an FFI costs
4,300 page faults and as much time as decoding it. Memory comes in whole pages from the system and goes back to it with
the pool: a heap would keep the planes of a job's frames until its end. Refuses to limit how many planes are in use
(``frames.stream``).
"""

from __future__ import annotations

import mmap
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PlanePool"]

_TYPE = "<f4" if sys.byteorder == "little" else ">f4"


class PlanePool:
    """Makes planes of one size after the other.

    Parameters
    ----------
    most_bytes : int
        Memory kept for planes to come; what is in use does not count.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._n_bytes = 0
        self._free: list[NDArray[np.uint8]] = []

    def plane(self, n_row: int, n_col: int) -> NDArray[np.float32]:
        """Return an uninitialised array (n_row, n_col), which may be kept for ever; called from any thread."""
        n_bytes = 4 * n_row * n_col
        if n_bytes != self._n_bytes:
            self._free.clear()
            self._n_bytes = n_bytes
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty(0, np.uint8)
        if memory.nbytes != n_bytes:  # none, or what another thread that makes planes of another size gave back
            memory = np.frombuffer(mmap.mmap(-1, n_bytes), np.uint8)
        return np.asarray(_Loan(self, memory, (n_row, n_col)))

    def take_back(self, memory: NDArray[np.uint8]) -> None:
        """Keep memory that is no longer in use; called from any thread."""
        if memory.nbytes == self._n_bytes and (len(self._free) + 1) * self._n_bytes <= self._most_bytes:
            self._free.append(memory)


class _Loan:
    """What an array holds on to while it, or a view of it, lives."""

    __slots__ = ("__array_interface__", "_memory", "_pool")

    def __init__(self, pool: PlanePool, memory: NDArray[np.uint8], shape: tuple[int, int]) -> None:
        self._pool, self._memory = pool, memory
        self.__array_interface__: dict[str, Any] = {
            "version": 3,
            "typestr": _TYPE,
            "shape": shape,
            "data": (memory.ctypes.data, False),
        }

    def __del__(self) -> None:
        self._pool.take_back(self._memory)
