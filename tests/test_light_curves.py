"""The container: what it accepts; choosing, normalising and barycentric times against their definitions."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table
from hypothesis import given, settings
from hypothesis import strategies as st
from made_curves import make_curves

from starskope.curves.container import LightCurves

# --- construction ---------------------------------------------------------------------------------------------------


def test_arrays_of_the_right_layout_are_kept_without_a_copy_and_others_are_converted() -> None:
    time, flux = np.arange(3.0), np.ones((3, 2), np.float32)
    kept = LightCurves(time, flux)
    assert kept.time is time
    assert kept.flux is flux
    converted = LightCurves([0, 1, 2], np.asfortranarray(np.ones((3, 2), ">f8")), quality=[True, False, True])
    assert converted.flux.dtype == np.float32
    assert converted.flux.flags.c_contiguous
    assert converted.time.dtype == np.float64
    assert converted.quality.dtype == np.int32
    assert converted.stars["star"].tolist() == [0, 1]


def test_masked_values_become_nan() -> None:
    masked = np.ma.masked_equal(np.array([[1.0, 2.0]]), 2.0)
    assert np.array_equal(LightCurves([0.0], masked).flux, np.array([[1.0, np.nan]]), equal_nan=True)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (1, 1), (1, 4)])
def test_empty_and_single_are_light_curves_too(shape: tuple[int, int]) -> None:
    curves = LightCurves(np.arange(shape[0], dtype=float), np.zeros(shape), flux_err=np.ones(shape))
    for result in (curves, curves.normalize(), curves.bin(n=2), curves.bin(width_days=0.5), curves.select(time=(0, 9))):
        assert result.n_star == shape[1]
        assert result.n_time <= shape[0]
        assert f"{shape[1]} stars" in repr(result)


def test_repr_tells_what_there_is() -> None:
    text = repr(make_curves())
    for piece in (
        "40 cadences x 300 stars",
        "1325.0000 to 1325.8125 d",
        "electron / s",
        "1426 s",
        "flux_err, observer",
    ):
        assert piece in text


def test_nothing_can_be_assigned() -> None:
    with pytest.raises(FrozenInstanceError):
        make_curves().flux = np.zeros((40, 300))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"time": [1.0, 3.0, 2.0]}, ValueError, r"time\[2\] = 2.0 follows 3.0: sort"),
        ({"time": [1.0, 2.0, 2.0]}, ValueError, r"time\[2\] = 2.0 repeats .* keep one"),
        ({"time": [1.0, np.nan, 2.0]}, ValueError, r"time\[1\] is nan \(1 of 3"),
        ({"time": [[1.0, 2.0, 3.0]]}, ValueError, r"time has shape \(1, 3\)"),
        ({"time": np.arange(3) * u.day}, TypeError, "time has a unit; give plain numbers"),
        ({"time": ["a", "b", "c"]}, TypeError, "time: expected an array of real numbers"),
        ({"flux": np.zeros((2, 3))}, ValueError, r"flux has shape \(2, 3\); expected \(3, n_star\)"),
        ({"flux": np.zeros(3)}, ValueError, r"flux has shape \(3,\)"),
        ({"flux": [[1, 2], [3, np.inf], [4, 5]]}, ValueError, r"flux\[1, 1\] is infinite .* NaN"),
        ({"flux": [[1, 2], [3, 1e39], [4, 5]]}, ValueError, r"flux\[1, 1\] is infinite in float32"),
        ({"flux": np.zeros((3, 2), complex)}, TypeError, "flux: expected an array of real numbers"),
        ({"flux_err": np.zeros((3, 1))}, ValueError, r"flux_err has shape \(3, 1\); expected \(3, 2\)"),
        ({"flux_err": -np.ones((3, 2))}, ValueError, r"flux_err\[0, 0\] = -1.0 is negative"),
        ({"background": np.zeros((2, 2))}, ValueError, r"background has shape \(2, 2\)"),
        ({"quality": [0, 0]}, ValueError, r"quality has shape \(2,\); expected \(3,\)"),
        ({"quality": [0.0, 0.0, 1.0]}, TypeError, "quality has dtype float64; give integer bit flags"),
        ({"quality": [0, 2**31, 0]}, ValueError, "quality holds 2147483648"),
        ({"observer": np.zeros((3, 2))}, ValueError, r"observer has shape \(3, 2\); expected \(3, 3\)"),
        ({"direction": np.zeros((3, 3))}, ValueError, r"direction has shape \(3, 3\); expected \(2, 3\)"),
        ({"direction": 2 * np.eye(3)[:2]}, ValueError, r"direction\[0\] has length 2: give unit vectors"),
        ({"stars": Table({"star": [1]})}, ValueError, "stars has 1 rows, but flux holds 2 stars"),
        ({"stars": [1, 2]}, TypeError, "stars is a list; give an astropy Table"),
        ({"stars": Table({"where": SkyCoord([1, 2], [3, 4], unit="deg")})}, TypeError, "'where' is a SkyCoord"),
        ({"stars": Table({"x": [{}, {}]})}, TypeError, "'x' holds Python objects"),
        ({"stars": Table({"x": [1j, 2j]})}, TypeError, "'x' has dtype complex128"),
        ({"stars": Table({"x": np.array([2**63, 1], np.uint64)})}, ValueError, "does not fit into int64"),
        ({"time_zero": math.nan}, ValueError, "time_zero is nan"),
        ({"exposure_s": -1.0}, ValueError, r"exposure_s is -1.0"),
        ({"meta": {"a": [1, {2, 3}]}}, TypeError, r"meta\['a'\]\[1\] is a set"),
    ],
)
def test_bad_input_is_named_with_the_remedy(change, error, message) -> None:
    with pytest.raises(error, match=message):
        LightCurves(**({"time": np.arange(3.0), "flux": np.zeros((3, 2))} | change))


def test_the_star_table_takes_one_plain_form_and_leaves_the_callers_alone() -> None:
    table = QTable({"ra": [1.0, 2.0] * u.deg})
    table["n"] = MaskedColumn(np.array([5, 6], np.int16), mask=[False, True])
    table["teff"] = MaskedColumn(np.array([5000, 6000], ">f4"), mask=[True, False], unit="K", description="warmth")
    table["name"] = MaskedColumn(["a", "bb"], mask=[False, True])
    table["text"] = np.array([b"x", "ø".encode()])
    table["ok"] = [True, False]
    stars = LightCurves([0.0], np.zeros((1, 2)), table).stars
    assert {name: stars[name].dtype.str for name in ("ra", "n", "teff", "ok")} == {
        "ra": "<f8",
        "n": "<i8",
        "teff": "<f4",
        "ok": "|b1",
    }
    assert stars["n"].tolist() == [5, -1]
    assert math.isnan(stars["teff"][0])
    assert (stars["ra"].unit, stars["teff"].unit, stars["teff"].description) == (u.deg, u.K, "warmth")
    assert stars["name"].tolist() == ["a", ""]
    assert stars["text"].tolist() == ["x", "ø"]
    stars["n"][0] = 99
    assert table["n"][0] == 5


def test_notes_become_json_values() -> None:
    meta = {"a": np.float32(2), "b": np.arange(2), "c": (1, None), "d": math.nan, "e": {"f": True}}
    assert LightCurves([], np.zeros((0, 0)), meta=meta).meta == {
        "a": 2.0,
        "b": [0, 1],
        "c": [1, None],
        "d": None,
        "e": {"f": True},
    }


# --- barycentric times ----------------------------------------------------------------------------------------------


def test_bjd_is_time_plus_the_projection_of_the_observer() -> None:
    curves = make_curves()
    for star in (0, 17, -1):
        x, y, z = curves.direction[star]
        expected = [
            t + math.fsum([x * a, y * b, z * c]) / 86400
            for t, (a, b, c) in zip(curves.time, curves.observer, strict=True)
        ]
        np.testing.assert_allclose(curves.bjd(star), expected, rtol=0, atol=1e-12)


def test_bjd_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="hold no observer"):
        make_curves(observer=None).bjd(0)
    with pytest.raises(ValueError, match="hold no direction"):
        make_curves(direction=None).bjd(0)
    with pytest.raises(IndexError, match="star 300 of 300"):
        make_curves().bjd(300)


# --- normalize ------------------------------------------------------------------------------------------------------


def test_normalize_divides_by_the_median_of_the_unflagged_cadences() -> None:
    curves = make_curves()
    result = curves.normalize()
    good = curves.quality == 0
    assert 0 < good.sum() < good.size
    for star in range(curves.n_star):
        values = curves.flux[good, star].astype(np.float64)
        median = np.median(values[np.isfinite(values)])
        assert result.stars["median_flux"][star] == median
        np.testing.assert_array_equal(result.flux[:, star], (curves.flux[:, star] / median).astype(np.float32))
        np.testing.assert_array_equal(result.flux_err[:, star], (curves.flux_err[:, star] / median).astype(np.float32))
    assert result.background is curves.background
    assert (result.flux_unit, curves.flux_unit) == ("", "electron / s")
    assert result.stars["median_flux"].unit == u.electron / u.s


def test_stars_without_a_usable_median_become_nan_without_a_warning() -> None:
    flux = np.ones((6, 5), np.float32)
    flux[:, 0] = np.nan
    flux[:, 1] = -1
    flux[:, 2] = 0
    flux[:3, 3] = np.nan
    flux[3:, 3] = 4
    result = make_curves(6, 5, flux=flux, quality=[0, 0, 0, 1, 1, 1]).normalize()
    assert np.isnan(result.flux[:, :3]).all()
    assert np.isnan(result.flux_err[:, :3]).all()
    # Star 3 has flagged cadences only: these then give its median.
    assert (result.flux[3:, 3:] == 1).all()
    medians = np.asarray(result.stars["median_flux"])
    np.testing.assert_array_equal(medians, [np.nan, -1, 0, 4, 1])


@given(scale=st.floats(1e-3, 1e6), n_time=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_normalize_forgets_the_scale(scale: float, n_time: int) -> None:
    curves = make_curves(n_time, 5)
    scaled = replace(curves, flux=curves.flux * np.float32(scale))
    np.testing.assert_allclose(scaled.normalize().flux, curves.normalize().flux, rtol=3e-7)


def test_normalize_twice_changes_nothing_more() -> None:
    once = make_curves().normalize()
    np.testing.assert_allclose(once.normalize().flux, once.flux, rtol=2e-7)


# --- select ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stars",
    [slice(5, 250, 3), [2, 0, -1], np.arange(300) % 7 == 0, 4, [], slice(0, 0)],
    ids=["slice", "positions", "mask", "one", "none", "empty"],
)
def test_stars_are_chosen_together_with_all_that_belongs_to_them(stars) -> None:
    curves = make_curves()
    expected = np.atleast_1d(np.arange(300)[stars if not isinstance(stars, list) else np.array(stars, dtype=int)])
    result = curves.select(stars)
    for name in ("flux", "flux_err", "background"):
        np.testing.assert_array_equal(getattr(result, name), getattr(curves, name)[:, expected])
    np.testing.assert_array_equal(result.direction, curves.direction[expected])
    assert result.stars["tic_id"].tolist() == curves.stars["tic_id"][expected].tolist()
    assert result.time.tobytes() == curves.time.tobytes()


def test_stars_are_chosen_by_catalogue_number() -> None:
    curves = make_curves()
    ids = [10_000_000_014, 10_000_000_000]
    np.testing.assert_array_equal(curves.select(ids=ids).flux, curves.flux[:, [2, 0]])
    with pytest.raises(ValueError, match="tic_id 5 is not among these 300 stars"):
        curves.select(ids=[5])
    with pytest.raises(ValueError, match="none of the columns tic_id"):
        make_curves(stars=Table({"x": np.zeros(300)})).select(ids=[1])
    with pytest.raises(ValueError, match="not both"):
        curves.select([1], ids=[5])


def test_cadences_are_chosen_by_mask_slice_span_and_flag() -> None:
    curves = make_curves()
    mask = np.arange(40) % 3 == 1
    span = (curves.time[5], curves.time[20])
    for chosen, expected in (
        (curves.select(time=mask), np.flatnonzero(mask)),
        (curves.select(time=slice(3, None, 2)), np.arange(3, 40, 2)),
        (curves.select(time=span), np.arange(5, 20)),
        (curves.select(time=(None, span[1])), np.arange(20)),
        (curves.select(quality=32), np.flatnonzero((curves.quality & 32) == 0)),
        (curves.select(quality=-1), np.flatnonzero(curves.quality == 0)),
        (curves.select(time=span, quality=128), 5 + np.flatnonzero((curves.quality[5:20] & 128) == 0)),
    ):
        np.testing.assert_array_equal(chosen.time, curves.time[expected])
        np.testing.assert_array_equal(chosen.flux, curves.flux[expected])
        np.testing.assert_array_equal(chosen.quality, curves.quality[expected])
        np.testing.assert_array_equal(chosen.observer, curves.observer[expected])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"stars": np.ones(7, bool)}, ValueError, r"mask of stars has shape \(7,\)"),
        ({"stars": [300]}, IndexError, "star 300 of 300"),
        ({"stars": [0.5]}, TypeError, "dtype float64"),
        ({"time": [1, 2]}, ValueError, "give a bool mask"),
        ({"time": np.ones(4, bool)}, ValueError, r"shape \(4,\)"),
        ({"time": (1, 2, 3)}, ValueError, "3 entries"),
        ({"time": slice(None, None, -1)}, ValueError, "backwards"),
    ],
)
def test_bad_selections_are_named(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        make_curves().select(**arguments)


def test_selecting_stars_commutes_with_binning_and_normalising() -> None:
    curves = make_curves(48, 270)
    chosen = [269, 3, 256]
    one = curves.bin(n=4).normalize().select(chosen)
    other = curves.select(chosen).bin(n=4).normalize()
    assert one.flux.tobytes() == other.flux.tobytes()
    assert one.flux_err.tobytes() == other.flux_err.tobytes()


# --- plot -----------------------------------------------------------------------------------------------------------


def test_plot_draws_every_point_at_its_barycentric_time() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    curves = make_curves()
    axes = curves.plot(3)
    good = curves.quality == 0
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), curves.bjd(3)[good])
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), curves.flux[~good, 3])
    assert "10000000021" in axes.get_title()
    assert "BJD" in axes.get_xlabel()
    assert make_curves(observer=None).plot(0, axes=axes) is axes
    with pytest.raises(IndexError, match="star 300 of 300"):
        curves.plot(300)
    plt.close("all")


@pytest.mark.parametrize("paths", [None, 5])
def test_paths_that_are_none_are_told(paths: object) -> None:
    with pytest.raises(TypeError, match="give a path or a list of paths"):
        LightCurves.read(paths)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a path is empty"):
        LightCurves.read("")
