"""Masks: the mission's flags, known bad intervals, and cadences at which a whole CCD is restless."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from starskope.curves import masks
from starskope.curves.container import LightCurves

CADENCE = 1.0 / 48.0


def quiet(n_time: int = 400, n_star: int = 40, seed: int = 0, start: float = 1500.0, **fields) -> LightCurves:
    """Stars of all brightnesses with white noise and slow waves."""
    rng = np.random.default_rng(seed)
    time = start + CADENCE * np.arange(n_time)
    noise = 10 ** rng.uniform(-4, -2, n_star)
    waves = 0.01 * np.sin(time[:, None] * rng.uniform(0.3, 3.0, n_star))
    flux = rng.uniform(10, 1e4, n_star) * (1 + waves + noise * rng.standard_normal((n_time, n_star)))
    return LightCurves(time, flux.astype(np.float32), **fields)


@pytest.mark.parametrize("mission", ["TESS", "Kepler", "K2"])
def test_default_bits_are_left_out_and_no_others(mission: str) -> None:
    bits = [1 << k for k in range(22)]
    curves = quiet(30, 2, quality=np.array([*bits, *[0] * 8]), mission=mission)
    seen = np.isfinite(curves.mask().flux).all(axis=1)
    expected = [not bit & masks.BAD_BITS[mission] for bit in bits] + [True] * 8
    assert seen.tolist() == expected
    assert curves.mask().quality.tolist() == curves.quality.tolist()


def test_missions_differ_where_their_bits_mean_other_things() -> None:
    # 128 is TESS's manual exclude and Kepler's cosmic ray, 256 the other way round; K2 alone fires thrusters.
    assert masks.BAD_BITS["TESS"] & (128 | 256) == 128
    assert masks.BAD_BITS["Kepler"] & (128 | 256) == 256
    assert masks.BAD_BITS["K2"] ^ masks.BAD_BITS["Kepler"] == 1 << 20


def test_other_missions_trust_only_what_has_no_flag() -> None:
    curves = quiet(10, 1, quality=np.arange(10), mission="CHEOPS")
    assert np.isfinite(curves.mask().flux[:, 0]).tolist() == [True] + [False] * 9


def test_flags_of_ones_own() -> None:
    curves = quiet(8, 1, quality=np.arange(8))
    assert np.isfinite(curves.mask(flags=4).flux[:, 0]).tolist() == [True] * 4 + [False] * 4
    np.testing.assert_array_equal(curves.mask(flags=0).flux, curves.flux)


def test_a_mask_touches_flux_and_quality_alone() -> None:
    curves = quiet(50, 3, quality=np.arange(50) % 2, flux_err=np.ones((50, 3)))
    before = curves.flux.tobytes()
    masked = curves.mask()
    assert curves.flux.tobytes() == before
    np.testing.assert_array_equal(masked.time, curves.time)
    np.testing.assert_array_equal(masked.flux_err, curves.flux_err)
    assert masked.flux.shape == curves.flux.shape
    assert masked.meta["masked"] == {"flags": masks.BAD_BITS["TESS"], "bad_intervals": True, "ensemble": False}


def test_known_intervals_carry_their_bit() -> None:
    time = np.array([1347.1, 1347.3, 1349.4, 1349.6, 1384.0, 1400.0, 1408.0])
    curves = LightCurves(time, np.ones((7, 1)))
    masked = curves.mask()
    bad = [False, True, True, False, True, False, True]
    assert np.isnan(masked.flux[:, 0]).tolist() == bad
    assert ((masked.quality & masks.BAD_INTERVAL) != 0).tolist() == bad
    np.testing.assert_array_equal(curves.mask(bad_intervals=False).flux, curves.flux)
    shifted = LightCurves(time - 100, np.ones((7, 1)), time_zero=2457100.0)
    np.testing.assert_array_equal(shifted.mask().flux, masked.flux)
    kepler = LightCurves(time + 2457000.0 - 2454833.0, np.ones((7, 1)), time_zero=2454833.0, mission="Kepler")
    assert np.isfinite(kepler.mask().flux).all()


def test_the_table_is_in_order() -> None:
    for interval in masks.BAD_INTERVALS:
        assert interval.mission in masks.BAD_BITS
        assert interval.start_jd < interval.stop_jd < interval.start_jd + 10
        assert "DRN" in interval.why


@pytest.mark.parametrize("seed", range(5))
def test_quiet_ensembles_lose_next_to_nothing(seed: int) -> None:
    masked = quiet(seed=seed).mask()
    assert np.count_nonzero(masked.quality & masks.ENSEMBLE) <= 1


@pytest.mark.parametrize("n_star", [20, 64, 300])
def test_restless_cadences_are_found(n_star: int) -> None:
    curves = quiet(n_star=n_star)
    rng = np.random.default_rng(1)
    noise = np.nanmedian(np.abs(np.diff(curves.flux, axis=0)), axis=0)
    flux = curves.flux.copy()
    flux[100:160] += 5.0 * noise * rng.standard_normal((60, n_star)).astype(np.float32)  # jitter, as in sector 1
    flux[300] += 10.0 * noise  # one shift that all share
    restless = masks.restless_cadences(curves.time, flux)
    assert np.count_nonzero(restless[100:160]) >= 57
    assert restless[300]
    assert np.count_nonzero(restless) <= 64
    masked = LightCurves(curves.time, flux).mask()
    assert np.isnan(masked.flux[restless]).all()
    np.testing.assert_array_equal((masked.quality & masks.ENSEMBLE) != 0, restless)


def test_one_star_in_eclipse_moves_no_ensemble() -> None:
    curves = quiet()
    flux = curves.flux.copy()
    flux[150:160, :5] *= 0.5
    assert np.isfinite(LightCurves(curves.time, flux).mask().flux[150:160]).all()


def test_small_sets_have_no_ensemble() -> None:
    curves = quiet(n_star=19)
    assert not curves.mask().meta["masked"]["ensemble"]
    with pytest.raises(ValueError, match="19 stars: expected 20"):
        curves.mask(ensemble=True)
    with pytest.raises(ValueError, match="flags=-1"):
        curves.mask(flags=-1)


def test_masks_hold_when_repeated() -> None:
    curves = quiet(quality=(np.arange(400) % 50 == 7).astype(np.int32), start=1347.0)
    once = curves.mask()
    again = once.mask(flags=0, bad_intervals=False, ensemble=False)
    assert np.count_nonzero(once.quality & masks.BAD_INTERVAL) > 50
    np.testing.assert_array_equal(again.flux, once.flux)
    assert once.mask().flux.tobytes() == once.mask().flux.tobytes()


def test_sets_without_values() -> None:
    empty = LightCurves([], np.zeros((0, 30)))
    assert empty.mask().flux.shape == (0, 30)
    gone = LightCurves(1500 + CADENCE * np.arange(40), np.full((40, 25), np.nan))
    assert np.isnan(gone.mask().flux).all()
    assert not np.any(gone.mask().quality)
    still = LightCurves(1500 + CADENCE * np.arange(40), np.ones((40, 25)))
    assert np.isfinite(still.mask().flux).all()


def test_unflagged_jitter_of_sector_1_goes(data_dir: Path) -> None:
    path = next(data_dir.glob("lightcurves/hlsp_tglc*6399196263939178880-s0001*"))
    curves = LightCurves.read(path)
    time = curves.time
    jitter = (time > 1347.2) & (time < 1349.5)
    assert np.nanmin(curves.flux[jitter]) < 0.85 * np.nanmedian(curves.flux)
    masked = curves.mask()
    assert np.isnan(masked.flux[jitter]).all()
    kept = masked.normalize().flux
    assert np.nanmin(kept) > 0.97
    assert np.isfinite(kept).mean() > 0.85


def test_of_many_stars_some_judge() -> None:
    curves = quiet(60, 4100)
    curves.flux[20] *= 1.02
    every_third = masks.restless_cadences(curves.time, curves.flux[:, ::3])
    assert every_third[20]
    np.testing.assert_array_equal(masks.restless_cadences(curves.time, curves.flux), every_third)
