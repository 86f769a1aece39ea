"""Planes in memory that is used again."""

from __future__ import annotations

import gc

import numpy as np

from starskope.frames.plane_pool import PlanePool


def _address(plane: np.ndarray) -> int:
    return int(plane.ctypes.data)


def test_the_memory_of_a_plane_is_used_again_when_its_last_view_is_gone() -> None:
    pool = PlanePool(10 * 4 * 1000)
    plane = pool.plane(20, 50)
    assert (plane.shape, plane.dtype, plane.flags.writeable) == ((20, 50), np.dtype(np.float32), True)
    assert _address(plane) % 64 == 0
    plane[:] = 7.0
    first = _address(plane)
    view = plane[3:5, ::2]
    del plane
    assert _address(pool.plane(20, 50)) != first, "a view is still there"
    kept = view.copy()
    np.testing.assert_array_equal(view, kept)
    del view
    gc.collect()
    addresses = [_address(pool.plane(20, 50)) for _ in range(4)]
    assert first in addresses


def test_no_more_memory_is_kept_than_allowed_and_none_of_other_sizes() -> None:
    pool = PlanePool(3 * 4 * 1000)
    held = [pool.plane(10, 100) for _ in range(8)]
    assert len({_address(plane) for plane in held}) == 8
    held.clear()
    assert len(pool._free) == 3
    other = pool.plane(10, 99)
    assert len(pool._free) == 0
    odd = pool.plane(10, 100)
    del other
    assert len(pool._free) == 0, "of a size that is no longer asked for"
    del odd
    assert len(pool._free) == 1


def test_arrays_outlive_their_pool() -> None:
    plane = PlanePool(0).plane(3, 4)
    plane[:] = 2.0
    gc.collect()
    assert plane.sum() == 24.0


def test_memory_of_another_size_is_never_lent() -> None:
    """What a thread that makes planes of another size gives back between two steps of this one."""
    pool = PlanePool(2**20)
    pool.plane(30, 50)
    other = np.empty(100, np.uint8)
    pool._free.append(other)
    plane = pool.plane(30, 50)
    assert plane.shape == (30, 50)
    assert not np.shares_memory(plane, other)
