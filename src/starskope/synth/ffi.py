"""The bytes of one full frame image: three headers, two big-endian planes, valid checksums.

Owns the file's assembly. Refuses to know where headers' values and pixels come from.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from starskope.layout.fits import BLOCK, padded

__all__ = ["assemble", "big_endian", "with_checksum"]

_ZEROS = b"'0000000000000000'"
_LIMIT = 0xFFFFFFFF
# Characters between the digits and letters, which the checksum's text must not hold.
_EXCLUDED = frozenset(range(0x3A, 0x41)) | frozenset(range(0x5B, 0x61))


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
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


def _folded(total: int) -> int:
    while total > _LIMIT:
        total = (total & _LIMIT) + (total >> 32)
    return total


def _encoded(value: int) -> bytes:
    """Text of a complemented 32-bit sum, FITS standard 4.0, appendix J."""
    text = bytearray(16)
    for byte in range(4):
        part = (value >> (24 - 8 * byte)) & 0xFF
        letters = [part // 4 + 0x30 + (part % 4 if k == 0 else 0) for k in range(4)]
        while any(letter in _EXCLUDED for letter in letters):
            for k in (0, 2):
                if letters[k] in _EXCLUDED or letters[k + 1] in _EXCLUDED:
                    letters[k] += 1
                    letters[k + 1] -= 1
        for k, letter in enumerate(letters):
            text[4 * k + byte] = letter
    return bytes(text[-1:] + text[:-1])


def with_checksum(header: bytes, data_sum: int = 0) -> bytes:
    """Fill in the CHECKSUM card so that the words of header and data sum to all ones.

    Parameters
    ----------
    header : bytes
        Holds a CHECKSUM card of sixteen zeros.
    data_sum : int
        Sum of the data's big-endian 32-bit words.
    """
    total = int(np.frombuffer(header, ">u4").sum(dtype=np.uint64)) + data_sum
    return header.replace(_ZEROS, b"'" + _encoded(~_folded(total) & _LIMIT) + b"'", 1)


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
