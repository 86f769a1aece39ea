"""Against astrocut, which makes the archive's cubes and cuts them: its cubes are read, and its pixels are ours."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from cutout_scene import Scene, scene

from starskope.frames.cutouts import cutouts
from starskope.frames.wcs import TanSip

__all__ = ["scene"]

pytestmark = pytest.mark.skipif(importlib.util.find_spec("astrocut") is None, reason="astrocut is not installed")


@pytest.fixture(scope="module")
def its_cube(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube that astrocut's factory, which makes those of the archive, has made of the frames."""
    path = tmp_path_factory.mktemp("astrocut") / scene.cube.name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from astrocut import CubeFactory

        CubeFactory().make_cube([str(frame) for frame in scene.frames], cube_file=str(path), verbose=False)
    return path


def places(scene: Scene, n: int) -> np.ndarray:
    rng = np.random.default_rng(8)
    wcs = TanSip.from_header(fits.getheader(scene.frames[13], 1))
    return np.stack(wcs.pixel_to_world(rng.uniform(0, 63, n), rng.uniform(44, 115, n)), axis=1)


def test_a_cube_of_astrocut_is_read_as_our_own(scene: Scene, its_cube: Path) -> None:
    targets = places(scene, 30)
    ours, its = cutouts(targets, 9, uri=scene.cube), cutouts(targets, 9, uri=its_cube)
    for name in ("flux", "flux_err", "time", "time_spacecraft", "quality", "ffi", "row0", "col0"):
        assert getattr(ours, name).tobytes() == getattr(its, name).tobytes(), name
    assert its.reference == 13  # frame 12, the middle one, has no world coordinates
    for card in ("TSTART", "CRVAL1", "CD1_1", "A_ORDER", "B_0_4", "CAMERA", "SCIROWE", "CTYPE1"):
        assert its.header[card] == ours.header[card]


@pytest.mark.parametrize("size", [10, 11])
def test_pixels_and_corners_are_those_of_astrocut(scene: Scene, its_cube: Path, size: int) -> None:
    from astrocut import TessCubeCutout

    targets = places(scene, 12)
    ours = cutouts(targets, size, uri=its_cube)
    for number, (ra, dec) in enumerate(targets):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tpf = TessCubeCutout(str(its_cube), SkyCoord(ra, dec, unit="deg"), size).tpf_cutouts[0]
        rows = tpf[1].data
        assert rows["FLUX"].astype(np.float32).tobytes() == ours.flux[number].tobytes()
        assert rows["FLUX_ERR"].astype(np.float32).tobytes() == ours.flux_err[number].tobytes()
        assert rows["QUALITY"].tolist() == ours.quality.tolist()
        # It keeps 38 characters of a name.
        assert [name[:38] for name in rows["FFI_FILE"]] == [name[:38] for name in ours.ffi.tolist()]
