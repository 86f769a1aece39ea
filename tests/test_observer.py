"""The observer's path and barycentric times against astropy, the mission's corrections and a stated spacecraft."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from reference import barycentric_correction_s, earth_position
from tolerances import atol_barycentric_s

from starskope.curves.container import LightCurves
from starskope.errors import FrameError
from starskope.layout.observer import ccd_centre, earth_path, solve_observer, unit_vectors

DAY = 86400.0
# The farthest that TESS gets from Earth's centre: 376,000 km; 0.94 s was measured in real files.
TESS_FROM_EARTH_S = 1.3


def sector_times(n: int = 600) -> np.ndarray:
    return 1325.3 + np.arange(n) * 27.0 / n


def stated_path(time: np.ndarray) -> np.ndarray:
    """A spacecraft on a tilted ellipse around Earth, perigee 0.36 and apogee 1.25 light-seconds, period 13.7 d."""
    phase = 2 * math.pi * (time - 1325.0) / 13.7
    x, y = 0.445 + 0.805 * np.cos(phase), 0.67 * np.sin(phase)
    orbit = np.stack([0.6 * x - 0.5 * y, 0.7 * x + 0.6 * y, -0.38 * x + 0.62 * y], axis=1)
    return earth_path(time) + orbit


def card(days: np.ndarray) -> np.ndarray:
    """What a header keeps of a barycentric correction: 8 digits."""
    return np.array([float(f"{value:.7E}") for value in days.ravel()]).reshape(days.shape)


def test_unit_vectors_have_length_one_and_point_where_astropy_points() -> None:
    from astropy.coordinates import SkyCoord

    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 50), np.degrees(np.arcsin(rng.uniform(-1, 1, 50)))
    vectors = unit_vectors(ra, dec)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-15)
    np.testing.assert_allclose(vectors, SkyCoord(ra, dec, unit="deg").cartesian.xyz.value.T, rtol=0, atol=1e-15)
    assert unit_vectors(10.0, 20.0).shape == (1, 3)
    assert unit_vectors([], []).shape == (0, 3)
    assert np.isnan(unit_vectors([np.nan, 1, 1], [1, np.nan, 1])).all(axis=1).tolist() == [True, True, False]


def test_earth_lies_where_astropys_ephemeris_has_it() -> None:
    time = np.linspace(0.0, 4000.0, 300)
    np.testing.assert_allclose(earth_path(time), earth_position(2457000.0 + time), rtol=0, atol=atol_barycentric_s())
    assert earth_path(time, 2457000.0).tobytes() == earth_path(time).tobytes()
    np.testing.assert_allclose(earth_path(time + 2457000.0, 0.0), earth_path(time), rtol=0, atol=2e-6)
    assert np.isnan(earth_path([1400.0, np.nan])).all(axis=1).tolist() == [False, True]
    assert earth_path([]).shape == (0, 3)


@pytest.mark.parametrize("time", [2458325.0, -1e6, [1325.0, 1e5]])
def test_times_outside_the_ephemeris_are_refused(time) -> None:
    with pytest.raises(ValueError, match="outside 1900 to 2100: give days since time_zero"):
        earth_path(time)


def test_bjd_equals_astropys_light_travel_time_to_a_tenth_of_a_millisecond() -> None:
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time

    rng = np.random.default_rng(4)
    ra, dec = rng.uniform(0, 360, 12), np.degrees(np.arcsin(rng.uniform(-1, 1, 12)))
    time = sector_times(200)
    curves = LightCurves(time, np.zeros((200, 12)), observer=earth_path(time), direction=unit_vectors(ra, dec))
    # An observer at Earth's centre: its place needs no polar motion, so nothing is downloaded.
    centre = EarthLocation.from_geocentric(0.0, 0.0, 0.0, unit="m")
    moments = Time(np.full(200, 2457000.0), time, format="jd", scale="tdb", location=centre)
    for star in range(12):
        target = SkyCoord(ra[star], dec[star], unit="deg", frame="icrs")
        delay = moments.light_travel_time(target, "barycentric", ephemeris="builtin").to_value("s")
        assert np.ptp(delay) > 1.0
        np.testing.assert_allclose((curves.bjd(star) - time) * DAY, delay, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        "tess2019198215352-s0014-0000000424865156-0150-s_lc.fits",
        "tess2019226182529-s0015-0000000424865156-0151-s_lc.fits",
        "tess2021175071901-s0040-0000000424865156-0211-s_lc.fits",
    ],
)
def test_earths_path_gives_the_corrections_of_real_tess_light_curves(data_dir: Path, name: str) -> None:
    from astropy.io import fits

    with fits.open(data_dir / "lightcurves" / name) as file:
        table, header = file[1].data, file[0].header
        time, correction = table["TIME"].astype(np.float64), table["TIMECORR"].astype(np.float64)
        ra, dec = header["RA_OBJ"], header["DEC_OBJ"]
    known = np.isfinite(time) & np.isfinite(correction)
    assert known.sum() > 10_000
    spacecraft = time[known] - correction[known]
    curves = LightCurves(
        spacecraft,
        np.zeros((spacecraft.size, 1)),
        observer=earth_path(spacecraft),
        direction=unit_vectors(ra, dec),
    )
    difference_s = (curves.bjd(0) - time[known]) * DAY
    assert np.abs(difference_s).max() < TESS_FROM_EARTH_S
    # A degree beside the star, or three days late, the projection is off by more: the test can fail.
    for path, beside in ((earth_path(spacecraft), 1.0), (earth_path(spacecraft + 3.0), 0.0)):
        wrong = barycentric_correction_s(path, ra + beside, dec) - correction[known] * DAY
        assert np.abs(wrong).max() > TESS_FROM_EARTH_S


def real_frame(data_dir: Path) -> tuple[dict, dict, tuple[int, int]]:
    from astropy.io import fits

    with fits.open(data_dir / "ffi" / "tess2018206192942-s0001-1-4-0120-s_ffic.fits") as file:
        return dict(file[0].header), dict(file[1].header), file[1].shape


def test_the_card_of_a_real_frame_agrees_with_earth_and_is_met_exactly(data_dir: Path) -> None:
    from starskope.frames.wcs import TanSip

    primary, header, shape = real_frame(data_dir)
    row, column = ccd_centre(header, shape)
    # The frame was trimmed to 128 x 173: its centre is still that of the whole CCD.
    assert (row, column) == (1023.0, 1067.0)
    centre = unit_vectors(*TanSip.from_header(header).pixel_to_world(row, column))
    time = 0.5 * (primary["TSTART"] + primary["TSTOP"])
    earth_s = barycentric_correction_s(earth_path(time), *TanSip.from_header(header).pixel_to_world(row, column))
    assert abs(earth_s[0] - header["BARYCORR"] * DAY) < TESS_FROM_EARTH_S
    path = solve_observer([time], centre, [header["BARYCORR"]])
    assert (path @ centre[0])[0] == pytest.approx(header["BARYCORR"] * DAY, abs=1e-9)
    assert np.linalg.norm(path - earth_path(time)) == pytest.approx(
        abs(earth_s[0] - header["BARYCORR"] * DAY), abs=1e-9
    )
    # HDU1's TSTART is barycentric for the same pixel, to more digits than the card has.
    assert (path @ centre[0])[0] / DAY == pytest.approx(header["TSTART"] - primary["TSTART"], abs=1e-9)


def test_the_pixel_of_the_correction_falls_back_to_the_science_region_and_the_plane() -> None:
    cards = {"SCIROWS": 1, "SCIROWE": 2048, "SCCSA": 45, "SCCED": 2092}
    assert ccd_centre(cards | {"BTC_PIX1": 1068.0, "BTC_PIX2": 1024.0}, (128, 173)) == (1023.0, 1067.0)
    assert ccd_centre(cards, (128, 173)) == (1023.5, 1067.5)
    assert ccd_centre({"SCIROWS": None}, (101, 201)) == (50.0, 100.0)


def camera_centres(n_camera: int) -> np.ndarray:
    """Centres of the four CCDs of each camera: cameras 24 degrees apart along a meridian, CCDs at 6 degrees."""
    dec = np.array([-66.0 + 24 * k + o for k in range(n_camera) for o in (-6, -6, 6, 6)])
    ra = np.array([350.0 + o / math.cos(math.radians(d)) for d, o in zip(dec, [-6, 6, 6, -6] * n_camera, strict=True)])
    return unit_vectors(ra, dec)


def field(n: int = 400) -> np.ndarray:
    rng = np.random.default_rng(6)
    dec = rng.uniform(-78, 18, n)
    return unit_vectors(350.0 + rng.uniform(-12, 12, n) / np.cos(np.radians(dec)), dec)


def errors_s(path: np.ndarray, time: np.ndarray, stars: np.ndarray) -> np.ndarray:
    return np.abs((path - stated_path(time)) @ stars.T)


def test_one_card_is_met_exactly_with_the_smallest_correction() -> None:
    time, centre = sector_times(), camera_centres(1)[:1]
    cards = card(stated_path(time) @ centre.T / DAY)
    path = solve_observer(time, centre, cards)
    np.testing.assert_allclose(path @ centre.T / DAY, cards, rtol=0, atol=1e-14)
    correction = path - earth_path(time)
    along = correction @ centre[0]
    np.testing.assert_allclose(correction, along[:, None] * centre[0], rtol=0, atol=1e-10)
    assert np.abs(along).max() > 0.3


def test_three_cards_of_three_cameras_place_the_whole_field() -> None:
    time, centres = sector_times(), camera_centres(4)[[0, 6, 13]]
    path = solve_observer(time, centres, card(stated_path(time) @ centres.T / DAY))
    assert errors_s(path, time, field()).max() < 50e-6
    assert errors_s(earth_path(time), time, field()).max() > 0.5


def test_sixteen_cards_place_the_whole_field() -> None:
    time, centres = sector_times(), camera_centres(4)
    path = solve_observer(time, centres, card(stated_path(time) @ centres.T / DAY))
    assert errors_s(path, time, field()).max() < 15e-6


def test_exact_cards_of_one_camera_give_the_spacecraft_back() -> None:
    time, centres = sector_times(), camera_centres(1)
    path = solve_observer(time, centres, stated_path(time) @ centres.T / DAY)
    np.testing.assert_allclose(path, stated_path(time), rtol=0, atol=1e-9)


def test_cards_that_are_missing_are_ignored_frame_by_frame() -> None:
    time, centres = sector_times(60), camera_centres(4)
    cards = card(stated_path(time) @ centres.T / DAY)
    holes = np.random.default_rng(7).random(cards.shape) < 0.5
    holes[0], holes[1] = True, np.arange(16) != 5
    holed = np.where(holes, np.nan, cards)
    path = solve_observer(time, centres, holed)
    for i in range(60):
        known = ~holes[i]
        alone = earth_path(time[i])
        if known.any():
            alone = solve_observer(time[i : i + 1], centres[known], cards[i : i + 1, known])
        np.testing.assert_array_equal(path[i], alone[0])
    np.testing.assert_array_equal(path[0], earth_path(time[0])[0])
    assert (path[1] @ centres[5]) / DAY == pytest.approx(cards[1, 5], abs=1e-14)


def test_without_any_card_the_observer_is_earth() -> None:
    time = sector_times(5)
    assert solve_observer(time, camera_centres(1), np.full((5, 4), np.nan)).tobytes() == earth_path(time).tobytes()


def test_two_cards_at_one_place_do_not_blow_up_the_rounding() -> None:
    time = sector_times()
    centre = camera_centres(1)[0]
    twin = unit_vectors(*(np.array([343.0]), np.array([-72.0])))[0]
    twin = centre + 1e-6 * (twin - centre)
    centres = np.stack([centre, twin / np.linalg.norm(twin)])
    path = solve_observer(time, centres, card(stated_path(time) @ centres.T / DAY))
    assert np.linalg.norm(path - earth_path(time), axis=1).max() < TESS_FROM_EARTH_S
    np.testing.assert_allclose(path @ centres.T, stated_path(time) @ centres.T, rtol=0, atol=2e-5)


def test_a_card_that_cannot_be_tess_counts_as_missing() -> None:
    time, centre = sector_times(6), camera_centres(1)[:1]
    cards = stated_path(time) @ centre.T / DAY
    damaged = cards.copy()
    damaged[2] += 60.0 / DAY
    path = solve_observer(time, centre, damaged)
    np.testing.assert_array_equal(path[2], earth_path(time)[2])
    np.testing.assert_array_equal(np.delete(path, 2, axis=0), np.delete(solve_observer(time, centre, cards), 2, axis=0))


def test_bad_input_is_named_with_the_remedy() -> None:
    time, centres = sector_times(3), camera_centres(1)
    with pytest.raises(ValueError, match=r"barycorr_days has shape \(3, 2\); expected \(3, 4\)"):
        solve_observer(time, centres, np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"directions has shape \(4, 2\)"):
        solve_observer(time, centres[:, :2], np.zeros((3, 4)))
    with pytest.raises(FrameError, match=r"all 3 BARYCORR cards differ from Earth's path by .* check the directions"):
        solve_observer(time, -centres[:1], stated_path(time) @ centres[:1].T / DAY)
