"""The sums by which FITS tells damaged bytes: DATASUM and CHECKSUM.

Owns the one's complement sum of big-endian 32-bit words and its text. Refuses to judge files (``frames.checksums``).

References
----------
FITS standard 4.0, section 4.4.2.7 and appendix J.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["NO_CHECKSUM", "folded", "with_checksum", "word_sum"]

NO_CHECKSUM = "0" * 16
"""Value of the CHECKSUM card while the sum is taken."""
_ALL_ONES = 0xFFFFFFFF
# Characters between the digits and letters, which the checksum's text must not hold.
_EXCLUDED = frozenset(range(0x3A, 0x41)) | frozenset(range(0x5B, 0x61))


def word_sum(buffer: Any) -> int:
    """Return the one's complement sum of the big-endian 32-bit words of a buffer of whole words: its DATASUM."""
    return folded(int(np.frombuffer(buffer, ">u4").sum(dtype=np.uint64)))


def folded(total: int) -> int:
    """Carry what exceeds 32 bits around the end."""
    while total > _ALL_ONES:
        total = (total & _ALL_ONES) + (total >> 32)
    return total


def with_checksum(header: bytes, data_sum: int = 0) -> bytes:
    """Fill in the CHECKSUM card so that the words of header and data sum to all ones.

    Parameters
    ----------
    header : bytes
        Whole blocks; holds a CHECKSUM card of sixteen zeros (`NO_CHECKSUM`).
    data_sum : int
        Sum of the data's big-endian 32-bit words.
    """
    total = word_sum(header) + data_sum
    return header.replace(f"'{NO_CHECKSUM}'".encode(), b"'" + _encoded(~folded(total) & _ALL_ONES) + b"'", 1)


def _encoded(value: int) -> bytes:
    """Text of a complemented 32-bit sum."""
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
