"""Cube layout: the bytes that offsets and ranges name are the values that astropy reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

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
    assert CubeLayout(2078, 2136, 1282).offset(3, 7, 11, 1) == 5760 + 4 * (((2136 * 3 + 7) * 1282 + 11) * 2 + 1)


def test_impossible_cubes_and_indices_are_refused() -> None:
    with pytest.raises(ValueError, match="n_frame is 0"):
        CubeLayout(1, 1, 0)
    with pytest.raises(ValueError, match="data_offset is -1"):
        CubeLayout(1, 1, 1, -1)
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
