"""The bytes of one full frame image: three headers, two big-endian planes, valid checksums.

Owns the file's assembly. Refuses to know where headers' values and pixels come from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope.compiled import compiled
from starskope.layout.datasum import with_checksum
from starskope.layout.fits import BLOCK, padded

__all__ = ["assemble", "big_endian"]


@compiled()
def _swap_and_sum(plane: NDArray[np.uint32], out: NDArray[np.uint32]) -> np.uint64:
    total = np.uint64(0)
    for row in range(plane.shape[0]):
        for col in range(plane.shape[1]):
            word = plane[row, col]
            total += np.uint64(word)
            out[row * plane.shape[1] + col] = (
                (word >> np.uint32(24))
                | ((word >> np.uint32(8)) & np.uint32(0xFF00))
                | ((word << np.uint32(8)) & np.uint32(0xFF0000))
                | (word << np.uint32(24))
            )
    return total


def big_endian(plane: NDArray[np.float32]) -> tuple[NDArray[np.uint32], int]:
    """Return the plane's big-endian words, flat and padded to FITS blocks, and their sum.

    Parameters
    ----------
    plane : (n_row, n_col) float32
        C-contiguous, native order.
    """
    words = np.zeros(padded(plane.size * 4) // 4, np.uint32)
    total = int(_swap_and_sum(plane.view(np.uint32), words))
    return words, total


def assemble(
    primary: bytes, headers: tuple[bytes, bytes], planes: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> bytes:
    """Return the file.

    Parameters
    ----------
    primary : bytes
        Primary header.
    headers : (bytes, bytes)
        Of the calibrated and the uncertainty plane, padded to blocks, with CHECKSUM cards of zeros.
    planes : two (n_row, n_col) float32
    """
    pieces: list[Any] = [with_checksum(primary)]
    for header, plane in zip(headers, planes, strict=True):
        words, total = big_endian(plane)
        if len(header) % BLOCK:
            raise ValueError(f"header of {len(header)} bytes: expected a multiple of {BLOCK}")
        pieces += [with_checksum(header, total), words]
    return b"".join(pieces)
