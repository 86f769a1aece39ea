"""Times of frames from tables in double and in single precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from cutout_scene import Scene, scene

from starskope.frames.cutout_set import Cutouts
from starskope.frames.cutouts import cutouts

__all__ = ["scene"]


def old_cube(scene: Scene, path: Path, *, dates: str = "right") -> Path:
    """The cube as the archive made it in 2020: numbers of its table in single precision."""
    with fits.open(scene.cube) as hdus:
        table = hdus[2]
        columns = []
        for column in table.columns:
            values = table.data[column.name]
            if column.format == "D":
                columns.append(fits.Column(column.name, "E", array=values.astype(np.float32)))
            elif column.name in ("DATE-OBS", "DATE-END") and dates == "wrong":
                columns.append(fits.Column(column.name, "24A", array=np.full(len(values), "2030-01-01T00:00:00.000Z")))
            elif column.name in ("DATE-OBS", "DATE-END") and dates == "garbage":
                columns.append(fits.Column(column.name, "24A", array=np.full(len(values), "yesterday")))
            elif column.name in ("DATE-OBS", "DATE-END") and dates == "absent":
                continue
            else:
                columns.append(column)
        fits.HDUList([hdus[0], hdus[1], fits.BinTableHDU.from_columns(columns)]).writeto(path)
    return path


def middle(scene: Scene) -> list[tuple[float, float]]:
    cards = scene.sector.wcs_cards(13)
    return [(float(cards["CRVAL1"]), float(cards["CRVAL2"]))]


def test_times_rounded_to_single_precision_are_taken_from_the_dates(scene: Scene, tmp_path: Path) -> None:
    new = cutouts(middle(scene), 3, uri=scene.cube)
    old = cutouts(middle(scene), 3, uri=old_cube(scene, tmp_path / scene.cube.name))
    with fits.open(tmp_path / scene.cube.name) as hdus:
        rounded = (hdus[2].data["TSTART"].astype(float) + hdus[2].data["TSTOP"]) / 2 - hdus[2].data["BARYCORR"]
    error_s = 86400.0 * (rounded - new.time_spacecraft)
    assert np.abs(error_s).max() > 1.0, "single precision must hurt here, or this test shows nothing"
    # Dates are rounded to a millisecond, BARYCORR in single precision to 40 us.
    np.testing.assert_allclose(86400.0 * (old.time_spacecraft - new.time_spacecraft), 0.0, atol=1.1e-3)
    # CRVAL in single precision moves the target by thousandths of a pixel, and its time by nothing.
    np.testing.assert_allclose(86400.0 * (old.time - new.time), 0.0, atol=2e-3)
    assert old.flux.tobytes() == new.flux.tobytes()


@pytest.mark.parametrize("dates", ["wrong", "garbage", "absent"])
def test_dates_that_are_none_are_not_believed(scene: Scene, tmp_path: Path, dates: str) -> None:
    old = cutouts(middle(scene), 3, uri=old_cube(scene, tmp_path / scene.cube.name, dates=dates))
    new = cutouts(middle(scene), 3, uri=scene.cube)
    apart_s = 86400.0 * np.abs(old.time_spacecraft - new.time_spacecraft)
    assert 1.0 < apart_s.max() < 6.0


def test_the_real_cutout_shows_the_rounding(data_dir: Path) -> None:
    (path,) = (data_dir / "cutouts").glob("*_astrocut.fits")
    steps_s = 86400.0 * np.diff(Cutouts.read(path).time_spacecraft)
    near = steps_s[np.abs(steps_s - 1800.0) < 30.0]
    assert near.size > 1000
    # Float32 numbers near 1816 lie 2**-13 day apart, means of two of them half of that: 5.27 s.
    assert np.ptp(near) > 0.9 * 86400.0 * 2.0**-14
