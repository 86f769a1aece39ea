"""Where the spacecraft is and where stars fall: against astropy, with the reduction's code nowhere near."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import EarthLocation, SkyCoord
from astropy.io import fits
from astropy.time import Time
from astropy.utils import iers

from starskope.synth import SectorConfig, SyntheticSector
from starskope.synth.scene import Scene
from starskope.synth.sky import make_wcs, pointing_terms, reference_cards, unit_vector
from starskope.synth.spacecraft import barycentric_correction, make_timeline, spacecraft_path, stamp_text, utc_text

FEW = {"n_star": 60, "n_planet": 1, "n_binary": 1, "n_pulsator": 1, "n_rotator": 1, "n_flare": 1}


@pytest.fixture(scope="module")
def full() -> Scene:
    return Scene(SectorConfig(n_row=2048, n_col=2048, n_frame=60, **FEW))


def test_light_travel_time_is_astropys_along_the_stated_path() -> None:
    btjd = np.linspace(1325.3, 1352.7, 25)
    target = SkyCoord(315.2, -29.1, unit="deg")
    direction = unit_vector(315.2, -29.1)
    with iers.conf.set_temp("auto_download", False):
        centre = EarthLocation.from_geocentric(0, 0, 0, unit=u.m)
        time = Time(2457000.0, btjd, format="jd", scale="tdb", location=centre)
        earth = time.light_travel_time(target, ephemeris="builtin").to_value(u.s)
    path = spacecraft_path(btjd)
    ours = barycentric_correction(path, direction) * 86400
    # What astropy cannot know is the orbit about Earth; at its centre nothing else may be left.
    from starskope.synth.spacecraft import _orbit

    orbit = _orbit(btjd)
    assert np.abs(ours - orbit @ direction - earth).max() < 1e-3
    distance = np.linalg.norm(orbit, axis=1)
    assert distance.max() < 1.3
    assert distance.max() / distance.min() > 3


def test_orbit_repeats_and_obeys_kepler() -> None:
    from starskope.synth.spacecraft import _orbit

    days = np.linspace(0, 13.7, 2001)
    place = _orbit(1325 + days)
    np.testing.assert_allclose(place[0], place[-1], atol=1e-6)
    swept = np.linalg.norm(np.cross(place[:-1], place[1:]), axis=1)
    np.testing.assert_allclose(swept, swept[0], rtol=2e-4)


def test_header_barycorr_is_that_of_its_pixel(full: Scene) -> None:
    sector = SyntheticSector(full.config)
    values = sector.header_values(10)[1]
    wcs = make_wcs(reference_cards(full.config))
    centre = wcs.all_pix2world(float(values["BTC_PIX1"]), float(values["BTC_PIX2"]), 1)
    expected = barycentric_correction(sector.observer[10], unit_vector(*centre))
    assert abs(float(values["BARYCORR"]) - expected) * 86400 < 1e-3
    corners = unit_vector(*wcs.all_pix2world([45.0, 2092.0, 2092.0, 45.0], [1.0, 1.0, 2048.0, 2048.0], 1))
    spread = (barycentric_correction(sector.observer[10], corners) - expected) * 86400
    assert 10 < spread.max() < 40
    assert -40 < spread.min() < -10


def test_times_are_those_of_the_real_file() -> None:
    assert stamp_text(utc_text(np.array([1325.313100604524]))[0]) == "2018206192942"
    real = Time(["2018-07-25T19:29:42.708", "2018-07-25T19:37:53.295"])
    ours = Time([text[:-1] for text in utc_text(np.array([1325.313100604524, 1325.318778691997]))])
    assert np.abs((ours - real).sec).max() < 1.1e-3


def test_reference_wcs_is_the_real_one(data_dir: Path) -> None:
    cards = reference_cards(SectorConfig(n_row=2048, n_col=2048))
    header = fits.getheader(data_dir / "ffi/tess2018206192942-s0001-1-4-0120-s_ffic.fits", 1)
    for key, value in cards.items():
        assert header[key] == value, key
    assert {key for key in header if key[:2] in ("A_", "B_", "CD") and key[-1] != "P"} - set(cards) == {
        "A_DMAX",
        "B_DMAX",
    }


def test_a_small_field_is_the_window_in_the_middle_of_the_ccd() -> None:
    small, full = SectorConfig(n_row=100, n_col=60), SectorConfig(n_row=2048, n_col=2048)
    row, column = np.array([0.0, 50.0, 99.0]), np.array([44.0, 70.0, 103.0])
    of_small = make_wcs(reference_cards(small)).all_pix2world(column, row, 0)
    of_full = make_wcs(reference_cards(full)).all_pix2world(column + 994, row + 974, 0)
    np.testing.assert_allclose(of_small, of_full, rtol=0, atol=1e-9)


def test_ccds_of_a_camera_lie_around_its_axis_and_keep_their_shape() -> None:
    axis = unit_vector(324.5670, -33.1730)
    sides, centres = [], []
    for ccd in (1, 2, 3, 4):
        wcs = make_wcs(reference_cards(SectorConfig(n_row=2048, n_col=2048, ccd=ccd)))
        corners = unit_vector(*wcs.all_pix2world([44.0, 2091.0, 2091.0, 44.0], [0.0, 0.0, 2047.0, 2047.0], 0))
        sides.append(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1))
        centres.append(corners.mean(axis=0))
        assert np.rad2deg(np.arccos((corners @ axis).max())) < 0.6
    np.testing.assert_allclose(sides, [sides[0]] * 4, rtol=1e-9)
    gaps = [np.linalg.norm(centres[a] - centres[b]) for a in range(4) for b in range(a)]
    assert min(gaps) > 0.15


@pytest.mark.parametrize("frame", [0, 8, 45, 59])
def test_positions_are_the_wcs_of_the_frame_but_for_the_stated_rest(full: Scene, frame: int) -> None:
    column, row = full.true_wcs(frame).all_world2pix(full.stars["ra"], full.stars["dec"], 0, tolerance=1e-9)
    true_row, true_column = full.positions(frame)
    rest_row, rest_column = full.pointing.aberration_rest(frame, full._projection.row, full._projection.column)
    assert np.abs(true_row - rest_row - row).max() < 1e-4
    assert np.abs(true_column - rest_column - column).max() < 1e-4
    assert max(np.abs(rest_row).max(), np.abs(rest_column).max()) <= full.pointing.rest_px == pytest.approx(0.012)


def test_shift_and_matrix_do_in_the_header_what_they_say() -> None:
    cards = reference_cards(SectorConfig(n_row=512, n_col=512))
    ra, dec = make_wcs(cards).all_pix2world([300.0], [200.0], 0)
    moved = make_wcs(pointing_terms(cards, 0.25, -0.5, np.zeros((2, 2)))).all_world2pix(ra, dec, 0)
    np.testing.assert_allclose(np.ravel(moved), [299.5, 200.25], atol=1e-6)


def test_motion_is_calm_but_for_dumps_and_the_episode() -> None:
    scene = Scene(SectorConfig(n_frame=432, **FEW))
    t, p = scene.timeline, scene.pointing
    calm = ~(t.dump | t.episode)
    offset = np.hypot(p.shift_row, p.shift_col)
    steps = np.stack([np.diff(p.shift_row), np.diff(p.shift_col)])[:, calm[1:] & calm[:-1] & (np.diff(t.cadence) == 1)]
    assert 0.005 < steps.std() / np.sqrt(2) < 0.01
    assert offset[calm].max() < 0.1
    assert np.all((offset[~calm] > 0.05) & (offset[~calm] < 0.4))
    assert np.all(t.quality[t.dump] == 32)
    assert np.all(t.quality[~t.dump] == 0)
    assert 3 <= t.episode.sum() * 0.5 <= 8
    assert np.all(p.blur[calm] == 0)
    assert np.all(p.blur[~calm].any(axis=(1, 2)))


def test_aberration_stretches_the_field_over_the_sector() -> None:
    scene = Scene(SectorConfig(n_row=2048, n_col=2048, n_frame=400, drift_px=0.0, jitter_px=0.0, **FEW))
    first, last = np.array(scene.positions(0)), np.array(scene.positions(399))
    moved = (last - first) - (last - first).mean(axis=1, keepdims=True)
    assert 0.05 < np.hypot(*moved).max() < 0.2


def test_ccds_of_a_camera_share_the_pointing_but_not_the_stars() -> None:
    one, other = (Scene(SectorConfig(n_frame=30, ccd=ccd, **FEW)) for ccd in (1, 2))
    np.testing.assert_array_equal(one.pointing.shift_row, other.pointing.shift_row)
    assert not set(one.stars["tic_id"]) & set(other.stars["tic_id"])
    assert np.abs(one.barycorr - other.barycorr).max() * 86400 > 5
    assert make_timeline(one.config).cadence.tolist() == other.timeline.cadence.tolist()
