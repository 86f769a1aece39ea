"""Cube layout: the bytes that offsets and ranges name are the values that astropy reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from starskope.errors import FrameError
from starskope.layout.cube import CUBE_LEAD, CubeLayout
from starskope.layout.fits import format_header

SHAPE = (6, 5, 4, 2)


@pytest.fixture(scope="module")
def cube_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cube") / "cube.fits"
    data = np.arange(np.prod(SHAPE), dtype=">f4").reshape(SHAPE)
    table = fits.BinTableHDU.from_columns([fits.Column("FFI_FILE", "10A", array=["a", "b", "c", "d"])])
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data), table]).writeto(path)
    return path


def test_every_offset_holds_the_value_that_astropy_reads(cube_file: Path) -> None:
    raw = cube_file.read_bytes()
    layout = CubeLayout.from_lead(raw[:CUBE_LEAD], name=cube_file.name)
    assert layout == CubeLayout(*SHAPE[:3], data_offset=5760)
    assert layout.n_bytes == 4 * np.prod(SHAPE)
    data = fits.getdata(cube_file, 1)
    for index in np.ndindex(SHAPE):
        assert np.frombuffer(raw, ">f4", 1, layout.offset(*index))[0] == data[index]


@given(st.data())
def test_ranges_of_a_cutout_hold_its_pixels_and_no_other(cube_file: Path, data) -> None:
    row0, col0 = data.draw(st.integers(0, SHAPE[0] - 1)), data.draw(st.integers(0, SHAPE[1] - 1))
    n_row, n_col = data.draw(st.integers(1, SHAPE[0] - row0)), data.draw(st.integers(1, SHAPE[1] - col0))
    raw = cube_file.read_bytes()
    ranges = CubeLayout.from_lead(raw).cutout_ranges(row0, col0, n_row, n_col)
    joined = b"".join(raw[start:stop] for start, stop in ranges)
    expected = fits.getdata(cube_file, 1)[row0 : row0 + n_row, col0 : col0 + n_col]
    assert joined == expected.astype(">f4").tobytes()
    assert len(ranges) == (1 if n_col == SHAPE[1] else n_row)


def test_a_real_cutout_costs_what_was_measured() -> None:
    ranges = CubeLayout(2078, 2136, 1282).cutout_ranges(1000, 1000, 11, 11)
    assert len(ranges) == 11
    assert sum(stop - start for start, stop in ranges) == 11 * 11 * 1282 * 8
    assert CubeLayout(2078, 2136, 1282).offset(3, 7, 11, 1) == 5760 + 4 * (((2136 * 3 + 7) * 1282 + 11) * 2 + 1)


@pytest.mark.parametrize(
    "corner", [(-1, 0, 2, 2), (0, -1, 2, 2), (5, 0, 2, 2), (0, 4, 2, 2), (0, 0, 7, 1), (0, 0, 1, 6)]
)
def test_a_cutout_past_the_edge_is_refused(corner) -> None:
    with pytest.raises(ValueError, match="leave the cube of 6 rows x 5 columns"):
        CubeLayout(*SHAPE[:3]).cutout_ranges(*corner)


def test_impossible_cubes_cutouts_and_indices_are_refused() -> None:
    with pytest.raises(ValueError, match="n_frame is 0"):
        CubeLayout(1, 1, 0)
    with pytest.raises(ValueError, match="data_offset is -1"):
        CubeLayout(1, 1, 1, -1)
    with pytest.raises(ValueError, match="1 or more of each"):
        CubeLayout(*SHAPE[:3]).cutout_ranges(0, 0, 0, 1)
    with pytest.raises(ValueError, match="plane is 2: expected 0 to 1"):
        CubeLayout(*SHAPE[:3]).offset(0, 0, 0, 2)


@pytest.mark.parametrize(
    ("axes", "bitpix", "words"),
    [
        ((2, 4, 5), -32, "is no cube"),
        ((3, 4, 5, 6), -32, "is no cube"),
        ((2, 4, 5, 6), 16, "BITPIX = 16"),
        ((2, 0, 5, 6), -32, "empty cube"),
    ],
)
def test_another_image_is_no_cube(axes, bitpix, words) -> None:
    cards = [("XTENSION", "IMAGE"), ("BITPIX", bitpix), ("NAXIS", len(axes))]
    cards += [(f"NAXIS{number}", length) for number, length in enumerate(axes, 1)]
    raw = format_header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0)]) + format_header(cards)
    with pytest.raises(FrameError, match=words):
        CubeLayout.from_lead(raw, name="cube.fits")


def test_a_lead_without_second_header_is_no_cube() -> None:
    with pytest.raises(FrameError, match=r"lead\.fits is no cube"):
        CubeLayout.from_lead(format_header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0)]), name="lead.fits")
