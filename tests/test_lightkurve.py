"""lightkurve: there and back without a changed bit; its own reading of a file against ours; clear words without it."""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table
from astropy.time import Time
from astropy.utils.masked import Masked

from starskope.curves.container import LightCurves
from starskope.errors import FrameError, StarskopeError
from starskope.layout.observer import unit_vectors


@pytest.fixture(scope="module")
def lightkurve():
    if importlib.util.find_spec("lightkurve") is None:
        pytest.skip("lightkurve is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own optional parts
        import lightkurve
    return lightkurve


def make_curves(**changes) -> LightCurves:
    rng = np.random.default_rng(4)
    flux = rng.normal(100, 1, (50, 3)).astype(np.float32)
    flux[7, 1] = np.nan
    given = {
        "time": 1325.0 + np.sort(rng.uniform(0, 27, 50)),
        "flux": flux,
        "stars": Table({"tic_id": [7, 8, 9], "tmag": [9.0, np.nan, 11.0], "ra": [1.0, 2, 3], "dec": [4.0, 5, 6]}),
        "flux_err": rng.uniform(0.5, 1, (50, 3)),
        "quality": rng.integers(0, 2**20, 50),
        "exposure_s": 1425.6,
        "meta": {"flux_unit": "electron / s", "time_reference": "barycentre", "sector": 3},
    }
    return LightCurves(**(given | changes))


NAMES = [
    "target_s0003.fits",
    "kplr011442793-2009350155506_llc.fits",
    "koi/10848459.fits",
    "hlsp_k2sff_k2_lightcurve_201367065-c01_kepler_v1_llc.fits",
    "hlsp_tglc_tess_ffi_gaiaid-5707485527450614656-s0008-cam2-ccd4_tess_v2_llc.fits",
    "EPIC201367065.csv",
]


def assert_round_trip(curves: LightCurves, star: int, again: LightCurves) -> None:
    for name in ("time", "quality"):
        assert getattr(again, name).tobytes() == getattr(curves, name).tobytes()
    np.testing.assert_array_equal(again.flux[:, 0], curves.flux[:, star])
    assert (again.flux_err is None) == (curves.flux_err is None)
    if curves.flux_err is not None:
        np.testing.assert_array_equal(again.flux_err[:, 0], curves.flux_err[:, star])
    for name in ("time_zero", "mission", "flux_unit", "is_barycentric"):
        assert getattr(again, name) == getattr(curves, name), name
    assert again.exposure_s == curves.exposure_s or (np.isnan(again.exposure_s) and np.isnan(curves.exposure_s))
    for name in again.stars.colnames:
        assert name == "name" or again.stars[name][0] == curves.stars[name][star]
    known = [n for n in curves.stars.colnames if curves.stars[n][star] == curves.stars[n][star]]
    assert set(known) <= set(again.stars.colnames)


@pytest.mark.parametrize("name", NAMES)
def test_real_light_curves_survive_the_way_there_and_back(lightkurve, data_dir: Path, name: str) -> None:
    curves = LightCurves.read(data_dir / "lightcurves" / name)
    there = curves.to_lightkurve(0)
    assert isinstance(there, lightkurve.LightCurve)
    assert_round_trip(curves, 0, LightCurves.from_lightkurve(there))


@pytest.mark.parametrize("star", [0, 1, 2, -1])
@pytest.mark.parametrize(
    "changes",
    [{}, {"flux_err": None}, {"time_zero": 2454833.0, "mission": "Kepler"}, {"meta": {"time_reference": "barycentre"}}],
)
def test_one_star_of_many_survives(lightkurve, star: int, changes) -> None:
    curves = make_curves(**changes)
    if curves.mission == "Kepler":
        curves.stars.rename_column("tic_id", "kepler_id")
    assert_round_trip(curves, star, LightCurves.from_lightkurve(curves.to_lightkurve(star)))


def test_a_zero_that_lightkurve_has_no_name_for_becomes_julian_dates(lightkurve) -> None:
    curves = make_curves(time_zero=2450000.0)
    there = curves.to_lightkurve(0)
    assert there.time.format == "jd"
    again = LightCurves.from_lightkurve(there)
    assert again.time_zero == 2457000.0
    np.testing.assert_allclose(again.time, curves.time - 7000.0, rtol=0, atol=1e-9)


def test_times_are_barycentric_where_they_can_be_and_the_card_says_which(lightkurve) -> None:
    curves = make_curves(meta={"flux_unit": ""})
    local = curves.to_lightkurve(1)
    assert local.meta["TIMEREF"] == "LOCAL"
    assert not LightCurves.from_lightkurve(local).is_barycentric
    known = replace(
        curves, observer=np.tile([400.0, 100.0, 50.0], (50, 1)), direction=unit_vectors([1.0, 2, 3], [4.0, 5, 6])
    )
    there = known.to_lightkurve(1)
    assert there.meta["TIMEREF"] == "SOLARSYSTEM"
    np.testing.assert_array_equal(there.time.value, known.bjd(1))
    with pytest.raises(IndexError, match="star 3 of 3"):
        curves.to_lightkurve(3)


def test_their_reading_of_a_file_is_ours(lightkurve, data_dir: Path) -> None:
    path = data_dir / "lightcurves" / "target_s0001.fits"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = LightCurves.from_lightkurve(lightkurve.read(path, quality_bitmask="none"))
    ours = LightCurves.read(path)
    np.testing.assert_array_equal(theirs.time, ours.time)
    np.testing.assert_array_equal(theirs.flux, ours.flux)
    np.testing.assert_array_equal(theirs.quality, ours.quality)
    for name in ("tic_id", "ra", "tmag", "teff", "rad"):
        assert theirs.stars[name][0] == ours.stars[name][0]
    assert theirs.exposure_s == ours.exposure_s


def test_what_is_masked_unsorted_or_repeated_is_put_in_order(lightkurve) -> None:
    curve = lightkurve.LightCurve(
        time=Time([1502.0, 1500.0, 1501.0, 1500.0], format="btjd", scale="tdb"),
        flux=Masked([3.0, 1.0, 9.0, 8.0] * u.electron / u.s, mask=[False, False, True, False]),
    )
    curves = LightCurves.from_lightkurve(curve)
    np.testing.assert_array_equal(curves.time, [1500, 1501, 1502])
    np.testing.assert_array_equal(curves.flux[:, 0], [1, np.nan, 3])
    assert curves.meta["rows"] == {"repeated": 1, "out_of_order": 2}
    assert curves.flux_err is None


def test_what_is_no_light_curve_is_refused(lightkurve) -> None:
    with pytest.raises(TypeError, match=r"expected a lightkurve\.LightCurve, got ndarray"):
        LightCurves.from_lightkurve(np.zeros(3))
    flat = lightkurve.LightCurve(time=np.arange(1500.0, 1510.0, 0.02), flux=np.ones(500))
    with pytest.raises(FrameError, match="they look like days of a mission: BTJD"):
        LightCurves.from_lightkurve(flat)
    whole = lightkurve.LightCurve(time=2457000 + np.arange(1500.0, 1510.0, 0.02), flux=np.ones(500))
    assert LightCurves.from_lightkurve(whole).time[0] == 1500.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folded = whole.fold(period=2.0)
    with pytest.raises(TypeError, match="FoldedLightCurve is folded: its phase is no time"):
        LightCurves.from_lightkurve(folded)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StarskopeError, match=r"needs lightkurve: install it with pip install 'starskope\[interop\]'"):
        make_curves().to_lightkurve(0)


def test_a_star_that_is_no_position_is_told(lightkurve) -> None:
    with pytest.raises(TypeError, match="star is 'a'; give its position"):
        make_curves().to_lightkurve("a")
