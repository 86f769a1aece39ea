"""Decoding of big-endian planes, bit for bit: sizes around the lanes, every offset, NaN payloads, kinds of buffer."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
from astropy.io import fits
from numpy.typing import NDArray

from starskope import _core
from starskope.frames.decode import decode_frame, read_frame


def plane_bytes(n: int, seed: int = 0) -> bytes:
    """Give any bits at all: every NaN payload, signalling ones too, infinities and subnormals occur."""
    words = np.random.default_rng([n, seed]).integers(0, 2**32, size=n, dtype=np.uint32)
    special = np.array([0x7F800001, 0xFFC12345, 0x7F800000, 0x00000001, 0x80000000, 0x7FBFFFFF], np.uint32)
    words[: special.size] = special[:n]
    return words.astype(">u4").tobytes()


def decode(buffer: Any, offset: int, n_row: int, n_col: int) -> NDArray[np.float32]:
    out = np.full((n_row, n_col), -7.0, np.float32)
    _core.decode_plane(buffer, offset, out)
    return out


def bits(plane: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(plane).tobytes()


@pytest.mark.parametrize("n_col", [1, 2, 3, 15, 16, 17, 63, 64, 65, 257, 2136])
@pytest.mark.parametrize("n_row", [1, 2, 7])
def test_every_width(n_row: int, n_col: int) -> None:
    raw = plane_bytes(n_row * n_col)
    assert bits(decode(raw, 0, n_row, n_col)) == bits(reference.decode_plane(raw, 0, n_row, n_col))


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
def test_no_pixels(shape: tuple[int, int]) -> None:
    assert decode(b"", 0, *shape).shape == shape


@pytest.mark.parametrize("offset", [*range(70), 2880, 20160])
def test_every_alignment(offset: int) -> None:
    raw = bytes(offset) + plane_bytes(5 * 33) + b"tail"
    assert bits(decode(raw, offset, 5, 33)) == bits(reference.decode_plane(raw, offset, 5, 33))


def test_every_kind_of_buffer(tmp_path: Path) -> None:
    raw = b"head" + plane_bytes(6 * 19)
    want = bits(reference.decode_plane(raw, 4, 6, 19))
    path = tmp_path / "plane.bin"
    path.write_bytes(raw)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert bits(decode(mapped, 4, 6, 19)) == want
    for buffer in (bytearray(raw), memoryview(raw), np.frombuffer(raw, np.uint8), memoryview(b"x" + raw)[1:]):
        assert bits(decode(buffer, 4, 6, 19)) == want


def test_rows_of_a_larger_array_are_written_and_nothing_else() -> None:
    raw = plane_bytes(4 * 9)
    wide = np.full((6, 20), 5.0, np.float32)
    _core.decode_plane(raw, 0, wide[1:5, 3:12])
    assert bits(wide[1:5, 3:12]) == bits(reference.decode_plane(raw, 0, 4, 9))
    wide[1:5, 3:12] = 5.0
    assert (wide == 5.0).all()


@pytest.mark.parametrize("offset", [1, 4, 10**9, 2**62, 2**63 - 1])
def test_a_short_buffer_is_refused_before_a_byte_is_read(offset: int) -> None:
    with pytest.raises((ValueError, OverflowError)):
        decode(plane_bytes(12), offset, 3, 4)


def test_a_negative_offset_is_refused() -> None:
    with pytest.raises((ValueError, TypeError, OverflowError)):
        decode(plane_bytes(12), -4, 3, 4)


OTHERS = (np.empty((3, 4), ">f4"), np.empty((3, 4)), np.empty(12, np.float32), np.empty((4, 3), np.float32).T)


@pytest.mark.parametrize("wrong", OTHERS)
def test_other_outputs_are_refused(wrong: NDArray[Any]) -> None:
    with pytest.raises((ValueError, TypeError), match="out"):
        _core.decode_plane(plane_bytes(12), 0, wrong)


def test_a_read_only_output_is_refused() -> None:
    out = np.zeros((3, 4), np.float32)
    out.flags.writeable = False
    with pytest.raises((ValueError, TypeError), match="out"):
        _core.decode_plane(plane_bytes(12), 0, out)
    assert (out == 0).all()


@pytest.mark.parametrize("name", ["tess2018206192942-s0001-1-4-0120-s_ffic.fits", "kplr-ffi_ch01_test_v1.fits"])
def test_real_frames_have_the_bits_that_astropy_reads(data_dir: Path, name: str) -> None:
    path = data_dir / "ffi" / name
    with fits.open(path, memmap=False) as hdus:
        image = next(hdu for hdu in hdus if hdu.data is not None)
        raw, header = image.data, image.header
        assert raw.dtype == np.dtype(">f4")
        for frame in (read_frame(path), decode_frame(path.read_bytes())):
            assert frame.image.dtype == np.float32
            assert frame.image.flags.c_contiguous
            assert bits(frame.image) == raw.astype(np.float32).tobytes()
            for keyword in ("CRVAL1", "CD1_1", "A_ORDER", "EXPOSURE", "TELESCOP", "CAMERA", "CHANNEL"):
                assert frame.header.get(keyword) == header.get(keyword), keyword
