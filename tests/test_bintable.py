"""Binary tables: every column as astropy decodes it, and nothing believed that the bytes do not hold."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from starskope.errors import FrameError
from starskope.layout.bintable import BinaryTable, image_values
from starskope.layout.fits import iter_hdus


def table_bytes(columns=None, **cards) -> bytes:
    rng = np.random.default_rng(1)
    n = 7
    hdu = fits.BinTableHDU.from_columns(
        columns
        or [
            fits.Column("bool", "L", array=rng.random(n) < 0.5),
            fits.Column("byte", "B", array=rng.integers(0, 255, n)),
            fits.Column("short", "I", array=rng.integers(-(2**15), 2**15, n)),
            fits.Column("unsigned", "I", array=rng.integers(0, 2**16, n).astype(np.uint16), bzero=32768),
            fits.Column("long", "J", array=rng.integers(-(2**31), 2**31, n)),
            fits.Column("huge", "K", array=rng.integers(-(2**62), 2**62, n)),
            fits.Column("float", "E", array=rng.normal(size=n), unit="e-/s"),
            fits.Column("Double", "D", array=rng.normal(size=n)),
            fits.Column("scaled", "D", array=rng.integers(0, 9, n) * 0.25 + 3.0, bscale=0.25, bzero=3.0),
            fits.Column("text", "5A", array=[f"ab{i}" for i in range(n)]),
            fits.Column("plane", "6E", dim="(3,2)", array=rng.normal(size=(n, 2, 3))),
            fits.Column("nothing", "0E", array=np.zeros((n, 0))),
            fits.Column("bits", "11X", array=rng.random((n, 11)) < 0.5),
            fits.Column("varying", "PJ()", array=np.array([np.arange(i) for i in range(n)], dtype=object)),
        ]
    )
    for keyword, value in cards.items():
        hdu.header[keyword] = value
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu, fits.ImageHDU(np.arange(6, dtype=np.int32).reshape(2, 3))]).writeto(buffer)
    return buffer.getvalue()


def read(data: bytes) -> BinaryTable:
    return BinaryTable(data, list(iter_hdus(data))[1], name="t.fits")


def test_columns_are_those_that_astropy_reads() -> None:
    data = table_bytes()
    table = read(data)
    with fits.open(io.BytesIO(data)) as file:
        expected = file[1].data
        for name in ("byte", "short", "unsigned", "long", "huge", "float", "Double", "scaled", "plane", "nothing"):
            values = table[name.lower()]
            np.testing.assert_array_equal(values, expected[name], err_msg=name)
            assert values.dtype.isnative
            assert values.flags.c_contiguous
    assert table["unsigned"].dtype == np.int64
    assert [text.decode() for text in table["text"]] == [f"ab{i}" for i in range(7)]
    assert table.unit("FLOAT") == "e-/s"
    assert table.cell_shape("plane") == (2, 3)
    assert len(table) == 14
    assert list(table)[7] == "Double"
    assert "DOUBLE" in table
    assert "no such" not in table


def test_columns_share_nothing_with_the_bytes() -> None:
    data = bytearray(table_bytes())
    values = read(data)["double"]
    before = values.copy()
    data[:] = bytes(len(data))
    np.testing.assert_array_equal(values, before)


def test_cells_of_varying_length_are_refused_when_asked_for() -> None:
    with pytest.raises(FrameError, match="varying has cells of varying length"):
        read(table_bytes())["varying"]


def test_a_table_of_no_rows_has_columns_of_no_values() -> None:
    table = read(
        table_bytes([fits.Column("TIME", "D", array=np.zeros(0)), fits.Column("FLUX", "E", array=np.zeros(0))])
    )
    assert table.n_row == 0
    assert table["TIME"].shape == (0,)
    assert table["FLUX"].dtype == np.float32


def test_the_image_beside_it() -> None:
    data = table_bytes()
    hdu = list(iter_hdus(data))[2]
    np.testing.assert_array_equal(image_values(data, hdu), np.arange(6).reshape(2, 3))
    with pytest.raises(FrameError, match="is truncated within image"):
        image_values(data[: hdu.offset + 4], hdu)


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"NAXIS2": 10**12}, "t.fits: table is truncated: 1000000000000 rows announced"),
        ({"NAXIS1": 99}, "has rows of 99 bytes .NAXIS1., its columns need"),
        ({"TFIELDS": 3}, "its columns need"),
        ({"TFIELDS": 10**9}, "TFIELDS = 1000000000: expected 0 to 999"),
        ({"TFORM2": "9999999999J"}, "its columns need|is no column format|too large"),
        ({"TFORM2": "Z"}, "TFORM2 = 'Z', which is no column format"),
        ({"TFORM2": ""}, "TFORM2 = '', which is no column format"),
        ({"TZERO4": "much"}, "TZERO4 is 'much', expected a number"),
    ],
)
def test_headers_that_lie_are_refused(cards, message) -> None:
    data = bytearray(table_bytes())
    for keyword, value in cards.items():
        start = data.index(f"{keyword:<8}=".encode())
        text = f"'{value}'" if isinstance(value, str) else f"{value:>20}"
        data[start : start + 80] = f"{keyword:<8}= {text}".ljust(80).encode()
    with pytest.raises(FrameError, match=message):
        read(bytes(data))


def test_random_damage_to_a_header_ends_in_a_clear_error_or_in_an_array(data_dir: Path) -> None:
    good = (data_dir / "lightcurves" / "koi" / "11401755.fits").read_bytes()
    rng = np.random.default_rng(3)
    n_refused = 0
    for _ in range(300):
        bad = bytearray(good)
        place = int(rng.integers(2880, 2 * 2880))
        bad[place] = int(rng.integers(32, 127))
        try:
            table = read(bytes(bad))
            for name in table:
                table[name]
        except FrameError:
            n_refused += 1
    assert 5 < n_refused < 295
