"""The full-width cube with holes: what stands in it, and that it is a cube to others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from starskope.layout.cube import CubeLayout
from starskope.synth import SectorConfig, SyntheticSector
from starskope.synth.sparse_cube import pixel_values, write_sparse_cube

SHAPE = (5, 4)


@pytest.fixture(scope="module")
def sector() -> SyntheticSector:
    return SyntheticSector(SectorConfig(n_row=300, n_col=200, n_frame=30, n_star=80))


def test_pixels_are_where_they_belong_and_the_rest_is_a_hole(sector: SyntheticSector, tmp_path: Path) -> None:
    row0, col0 = np.array([0, 100, -2, 328]), np.array([0, 44, 10, 286])
    path = write_sparse_cube(sector, tmp_path / "cube.fits", row0, col0, SHAPE)
    with fits.open(path) as hdus:
        cube, names = hdus[1].data, hdus[2].data["FFI_FILE"].tolist()
        assert cube.shape == (330, 288, 30, 2)
        there = np.zeros(cube.shape[:2], bool)
        for top, left in zip(row0, col0, strict=True):
            there[max(top, 0) : top + SHAPE[0], left : left + SHAPE[1]] = True
        rows, columns = np.nonzero(there)
        np.testing.assert_array_equal(cube[rows, columns], pixel_values(rows, columns, 30, 288))
        assert not cube[~there].any()
        assert names == [sector.ffi_key(frame).name for frame in range(30)]
        assert hdus[0].header["SECTOR"] == 1
    assert CubeLayout.from_lead(path.read_bytes()[:5760]).data_offset == 5760
    assert path.stat().st_blocks * 512 < path.stat().st_size / 2


def test_no_two_values_of_a_pixel_or_its_neighbours_agree() -> None:
    values = pixel_values(np.arange(40)[:, None], np.arange(40), 64, 2136)
    assert values.shape == (40, 40, 64, 2)
    assert np.isfinite(values).all()
    assert ((values >= 64) & (values < 128)).all()
    # 205,000 draws from 8.4 million: by chance 1.2 % meet another; a transposition would show in nearly all.
    assert np.unique(values).size > 0.97 * values.size
    assert (values != pixel_values(np.arange(40), np.arange(40)[:, None], 64, 2136)).mean() > 0.97


def test_the_table_is_that_of_the_archive(sector: SyntheticSector, tmp_path: Path) -> None:
    path = write_sparse_cube(sector, tmp_path / "cube.fits", [], [], SHAPE)
    with fits.open(path) as hdus:
        table = hdus[2]
        assert len(table.data) == 30
        for frame in (0, 17):
            _, image = sector.header_values(frame)
            assert table.data["TSTART"][frame] == image["TSTART"]
            assert table.data["BARYCORR"][frame] == float(image["BARYCORR"])
            assert table.data["DQUALITY"][frame] == image["DQUALITY"]
        # The comment of each column's card stands as a card of the table, as the archive has it.
        assert table.header["BARYCORR"].startswith("[d]")
        assert table.header["TSTART"]
        assert not path.with_name("cube.fits.part").exists()
