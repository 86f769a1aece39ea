"""From corners to bytes and back: any cube, any targets, any order of arrival give the values of NumPy's own slices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from starskope.frames.cutout_planes import cut_planes
from starskope.frames.cutout_ranges import Fanout, moving_ranges, static_ranges
from starskope.layout.cube import CubeLayout
from starskope.layout.fits import format_header
from starskope.transfer.planning import plan_ranges

OFFSET = 16


def made(n_row: int, n_col: int, n_frame: int) -> tuple[CubeLayout, bytes, NDArray[np.float32]]:
    """A cube of which no two values are equal, as bytes of a file and as an array."""
    values = np.arange(n_row * n_col * n_frame * 2, dtype=np.float32).reshape(n_row, n_col, n_frame, 2)
    return CubeLayout(n_row, n_col, n_frame, OFFSET), bytes(OFFSET) + values.astype(">f4").tobytes(), values


def sliced(values: NDArray[np.float32], row0: NDArray, col0: NDArray, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Cutouts (n_target, n_frame, n_row, n_col, 2) pixel by pixel."""
    n_frame = values.shape[2]
    out = np.full((len(row0), n_frame, *shape, 2), np.nan, np.float32)
    for target, frame, r, c in np.ndindex(*out.shape[:4]):
        row = (row0[target] if row0.ndim == 1 else row0[target, frame]) + r
        column = (col0[target] if col0.ndim == 1 else col0[target, frame]) + c
        if 0 <= row < values.shape[0] and 0 <= column < values.shape[1]:
            out[target, frame, r, c] = values[row, column, frame]
    return out


@st.composite
def scenes(draw, moving: bool):
    n_row, n_col, n_frame = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 5))
    shape = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    n_target = draw(st.integers(1, 5))
    size = (n_target, n_frame) if moving else (n_target,)
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    row0 = rng.integers(-shape[0] - 1, n_row + 2, size).astype(np.int32)
    col0 = rng.integers(-shape[1] - 1, n_col + 2, size).astype(np.int32)
    return (n_row, n_col, n_frame), shape, row0, col0, rng


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_value_arrives_where_it_belongs(moving: bool, data) -> None:
    dimensions, shape, row0, col0, rng = data.draw(scenes(moving))
    layout, file, values = made(*dimensions)
    wanted = (moving_ranges if moving else static_ranges)(layout, row0, col0, shape)
    series = 8 * layout.n_frame
    plan = plan_ranges(
        wanted.ranges,
        gap_bytes=data.draw(st.integers(0, 4 * series)),
        max_read_bytes=data.draw(st.none() | st.integers(1, 6 * series)),
        unit_bytes=series,
        origin=OFFSET,
    )
    flux, flux_err = np.full((2, len(row0), layout.n_frame, *shape), np.nan, np.float32)
    most_kept = data.draw(st.sampled_from([0, 3 * series, 10**9]))
    fanout = Fanout(plan, wanted, layout, row0, col0, flux, flux_err, most_kept=most_kept)
    pieces = []
    for read in rng.permutation(plan.n_read).tolist():
        start, stop = plan.reads[read].tolist()
        pieces += fanout.take(read, file[start:stop])
        if rng.random() < 0.5:
            fanout.decode(pieces)
            pieces = []
    fanout.decode(pieces)
    assert not fanout.rest()  # with every read there, nothing waits
    expected = sliced(values, row0, col0, shape)
    np.testing.assert_array_equal(flux, expected[..., 0])
    np.testing.assert_array_equal(flux_err, expected[..., 1])
    assert plan.n_union_bytes == 8 * len(
        {
            (row, column, frame)
            for target, frame, r, c in np.ndindex(*flux.shape)
            for row in [int(row0[target, frame] if moving else row0[target]) + r]
            for column in [int(col0[target, frame] if moving else col0[target]) + c]
            if 0 <= row < layout.n_row and 0 <= column < layout.n_col
        }
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_never_comes_leaves_its_pixels_alone(data) -> None:
    dimensions, shape, row0, col0, rng = data.draw(scenes(moving=False))
    layout, file, values = made(*dimensions)
    wanted = static_ranges(layout, row0, col0, shape)
    plan = plan_ranges(wanted.ranges, max_read_bytes=16 * layout.n_frame, unit_bytes=8 * layout.n_frame, origin=OFFSET)
    flux, flux_err = np.full((2, len(row0), layout.n_frame, *shape), np.nan, np.float32)
    fanout = Fanout(plan, wanted, layout, row0, col0, flux, flux_err, most_kept=10**9)
    lost = set()
    for read, (start, stop) in enumerate(plan.reads.tolist()):
        if rng.random() < 0.3:
            lost |= set(fanout.target_of_part[plan.parts_of(read)].tolist())
        else:
            fanout.decode(fanout.take(read, file[start:stop]))
    fanout.decode(fanout.rest())
    expected = sliced(values, row0, col0, shape)[..., 0]
    for target in range(len(row0)):
        if target in lost:
            there = np.isfinite(flux[target])
            np.testing.assert_array_equal(flux[target][there], expected[target][there])
        else:
            np.testing.assert_array_equal(flux[target], expected[target])


def test_bits_are_kept_whatever_they_mean() -> None:
    """Payloads of NaN, signed zeros and subnormal numbers are pixels as any other."""
    odd = np.array([0x7FC12345, 0xFFA00001, 0x80000000, 0x00000001, 0x7F800000, 0x3F800000])
    bits = np.resize(odd, 3 * 3 * 4 * 2).astype(">u4")  # resize makes it native
    layout = CubeLayout(3, 3, 4, 0)
    row0 = np.array([0], np.int32)
    wanted = static_ranges(layout, row0, row0, (3, 3))
    plan = plan_ranges(wanted.ranges)
    flux, flux_err = np.zeros((2, 1, 4, 3, 3), np.float32)
    fanout = Fanout(plan, wanted, layout, row0, row0, flux, flux_err, most_kept=10**9)
    fanout.decode(fanout.take(0, bits.tobytes()))
    cube = bits.reshape(3, 3, 4, 2).astype(np.uint32)
    np.testing.assert_array_equal(flux[0].view(np.uint32), cube[..., 0].transpose(2, 0, 1))
    np.testing.assert_array_equal(flux_err[0].view(np.uint32), cube[..., 1].transpose(2, 0, 1))


@given(st.integers(0, 10**6), st.integers(1, 7), st.integers(1, 7))
def test_a_frame_is_cut_as_numpy_slices_it(seed: int, n_row: int, n_col: int) -> None:
    rng = np.random.default_rng(seed)
    planes = rng.normal(size=(2, 6, 5)).astype(">f4")
    cards = [("XTENSION", "IMAGE"), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", 5), ("NAXIS2", 6)]
    cards += [("PCOUNT", 0), ("GCOUNT", 1)]
    file = format_header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)])
    for plane in planes:
        file += format_header(cards) + plane.tobytes().ljust(2880, b"\0")
    row0, col0 = rng.integers(-8, 9, (2, 4)).astype(np.int32)
    flux, flux_err = np.zeros((2, 4, n_row, n_col), np.float32)
    cut_planes(file, "frame", (6, 5), row0, col0, flux, flux_err)
    cube = np.moveaxis(planes, 0, -1)[:, :, None, :].astype(np.float32)
    expected = sliced(cube, row0, col0, (n_row, n_col))[:, 0]
    np.testing.assert_array_equal(flux, expected[..., 0])
    np.testing.assert_array_equal(flux_err, expected[..., 1])
