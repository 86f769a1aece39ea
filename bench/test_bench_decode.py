"""From the bytes of an FFI to native pixels and cards."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import harness
import numpy as np
from astropy.io import fits
from inputs import N_BYTES_PLANE, FullFrame

from starskope import _core
from starskope.frames.decode import read_frame
from starskope.layout.fits import iter_hdus, parse_header

Compare = Callable[..., harness.Row]


def same_bits(rival: str, ours: Any, theirs: Any) -> None:
    np.testing.assert_array_equal(np.asarray(ours).view(np.uint32), np.asarray(theirs).view(np.uint32), err_msg=rival)


def test_decode_of_a_plane_in_memory(compare: Compare, full_frame: FullFrame) -> None:
    buffer, offset = full_frame.buffer, full_frame.plane_offset
    mine, other, swapped = (np.empty((2078, 2136), np.float32) for _ in range(3))
    big = np.frombuffer(buffer, ">f4", mine.size, offset).reshape(mine.shape)
    words = np.frombuffer(buffer, "u4", mine.size, offset).reshape(mine.shape)

    def ours() -> Any:
        _core.decode_plane(buffer, offset, mine)
        return mine

    def assign() -> Any:
        np.copyto(other, big)
        return other

    def byteswap() -> Any:
        np.copyto(swapped.view("u4"), words)
        swapped.view("u4").byteswap(inplace=True)
        return swapped

    compare(
        "decode one full-size plane, bytes in memory, no allocation",
        ours,
        {"NumPy copyto": assign, "NumPy byteswap": byteswap, "NumPy astype": lambda: big.astype(np.float32)},
        check=same_bits,
        n_bytes=N_BYTES_PLANE,
        rounds=40,
    )


def test_reading_an_ffi_file(compare: Compare, full_frame: FullFrame, session: harness.Session) -> None:
    path = full_frame.path
    fitsio = session.optional("fitsio")

    def with_astropy() -> Any:
        with fits.open(path, memmap=False) as hdus:
            return hdus[1].data.astype(np.float32)

    def with_fitsio() -> Any:
        return fitsio.read(str(path), ext=1).astype(np.float32, copy=False)  # type: ignore[union-attr]

    compare(
        "read one full-size FFI file: header and native plane",
        lambda: read_frame(path).image,
        {"astropy": with_astropy, "fitsio": with_fitsio if fitsio else None},
        check=same_bits,
        n_bytes=N_BYTES_PLANE,
        rounds=15,
    )


def test_parsing_a_header(compare: Compare, full_frame: FullFrame) -> None:
    hdu = list(iter_hdus(full_frame.buffer))[1]
    offset = hdu.offset - hdu.header.n_bytes
    text = full_frame.buffer[offset : hdu.offset].decode("ascii")

    def with_astropy() -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = fits.Header.fromstring(text)
            return {card.keyword: card.value for card in header.cards}

    def same_values(rival: str, ours: Any, theirs: Any) -> None:
        for keyword, value in theirs.items():
            if keyword in {"", "COMMENT", "HISTORY", "END"} or isinstance(value, fits.card.Undefined):
                continue
            assert ours[keyword] == value, (rival, keyword)

    compare(
        f"parse the {len(text) // 80} cards of an FFI's image header, every value",
        lambda: dict(parse_header(full_frame.buffer, offset)),
        {"astropy": with_astropy},
        check=same_values,
        rounds=15,
        calls=5,
    )
