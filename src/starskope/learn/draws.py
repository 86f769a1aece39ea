"""Random numbers that need no order: Philox-4x32-10, keyed by seed, epoch, batch, draw, row and unit.

Owns the generator and what a random number's address is. A number depends on its address alone, so any split of the
work over threads, and any restart, draws the same ones. Refuses a state: nothing here counts calls.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from starskope.compiled import compiled

__all__ = [
    "CHAINS",
    "GIBBS",
    "MAX_DRAWS",
    "MAX_UNITS",
    "ORDER",
    "WEIGHTS",
    "address",
    "bits",
    "permutation",
    "philox",
    "uniform_bits",
]

# Where an address has no epoch, one of these stands in its place; epochs of training count from 0.
WEIGHTS, CHAINS, GIBBS, ORDER = (np.uint32(0xFFFFFFFF - i) for i in range(4))

_BLOCK_BITS = 20
MAX_UNITS = 4 << _BLOCK_BITS
MAX_DRAWS = 1 << (32 - _BLOCK_BITS)

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_HIGH, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


@compiled(inline="always")
def philox(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """Turn a counter of four 32-bit words into four random ones.

    References
    ----------
    Salmon, Moraes, Dror & Shaw 2011, Parallel random numbers: as easy as 1, 2, 3, doi:10.1145/2063384.2063405.
    """
    # All in 64-bit words, of which the upper half stays empty: compilers keep the lanes as they are then.
    c0, c1, c2, c3, k0, k1 = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3), np.uint64(k0), np.uint64(k1)
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1 = (p1 >> _HIGH) ^ c1 ^ k0, p1 & _LOW
        c2, c3 = (p0 >> _HIGH) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return c0, c1, c2, c3


def address(seed: NDArray[np.uint32], epoch: int, batch: int, draw: int) -> NDArray[np.uint32]:
    """Return the part of an address that a whole batch shares.

    Parameters
    ----------
    seed : (2,) uint32
    epoch, batch : int
        From 0; ``epoch`` may be one of the constants of this module.
    draw : int
        Which layer of units within the batch, from 0 to ``MAX_DRAWS - 1``.

    Returns
    -------
    (5,) uint32
        Two words of key, then epoch, batch and the draw's place in the counter.
    """
    return np.array([seed[0], seed[1], epoch, batch, draw << _BLOCK_BITS], np.uint32)


@compiled()
def uniform_bits(where, row, first, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` with random words for the units ``first ... first + out.size`` of one row.

    Parameters
    ----------
    where : (5,) uint32
        From `address`.
    row : int
        Row within the batch.
    first : int
        First unit, a multiple of 4: unit u takes word u % 4 of the counter whose first word is u // 4.
    out : (n,) uint32
    """
    k0, k1, c3, c2 = where[0], where[1], where[2], where[3]
    c0, c1 = np.uint32(where[4] + np.uint32(first // 4)), np.uint32(row)
    whole = out.size // 4
    for block in range(whole):
        a, b, c, d = philox(np.uint32(c0 + np.uint32(block)), c1, c2, c3, k0, k1)
        out[4 * block], out[4 * block + 1], out[4 * block + 2], out[4 * block + 3] = a, b, c, d
    if out.size % 4:
        a, b, c, d = philox(np.uint32(c0 + np.uint32(whole)), c1, c2, c3, k0, k1)
        for i in range(4 * whole, out.size):
            out[i] = a
            a, b, c = b, c, d


def bits(where: NDArray[np.uint32], n_row: int, n_unit: int) -> NDArray[np.uint32]:
    """Return the random words (n_row, n_unit) of one address."""
    out = np.empty((n_row, n_unit), np.uint32)
    for row in range(n_row):
        uniform_bits(where, row, 0, out[row])
    return out


def permutation(seed: NDArray[np.uint32], epoch: int, n: int, *, first: int = 0, draw: int = 0) -> NDArray[np.intp]:
    """Return a random order of ``n`` rows for one epoch: rows sorted by a random word each, ties by their place.

    The words are those of the rows ``first ... first + n`` of a sample, ``first`` being a multiple of 4.
    """
    # Rows of the sample stand where units do, a page of them after the other.
    words = np.empty(n, np.uint32)
    where = address(seed, int(ORDER), epoch, draw)
    start = 0
    while start < n:
        page, place = divmod(first + start, MAX_UNITS)
        stop = min(n, start + MAX_UNITS - place)
        uniform_bits(where, page, place, words[start:stop])
        start = stop
    return np.argsort(words, kind="stable")
