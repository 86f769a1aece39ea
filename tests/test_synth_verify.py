"""The checks against the truth: a right reduction passes, and each wrong one is told."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from starskope.synth import SectorConfig, SyntheticSector, check_light_curves, check_stack
from starskope.synth.aperture_noise import aperture_weights, expected_scatter
from starskope.synth.verify import check_transits, flattened, robust_std

CONFIG = SectorConfig(
    seed=2, n_row=72, n_col=64, n_frame=96, n_star=70, n_planet=3, n_binary=2, n_pulsator=2, n_rotator=2, n_flare=2,
    min_per_bin=6, jitter_px=0.001, drift_px=0.0, dva_px=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def sector() -> SyntheticSector:
    return SyntheticSector(CONFIG)


@pytest.fixture(scope="module")
def used(sector: SyntheticSector) -> np.ndarray:
    return ~(sector.timeline.dump | sector.timeline.episode)


@pytest.fixture(scope="module")
def stacked(sector: SyntheticSector, used: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean of the frames minus their true background, as the plainest reduction makes it."""
    planes = []
    background = np.zeros(CONFIG.shape)
    for frame in np.flatnonzero(used):
        sky = np.zeros(CONFIG.shape)
        sky[CONFIG.science] = sector.background.image(frame)
        planes.append(sector.planes(frame)[0] - sky)
        background += sky / used.sum()
    cube = np.array(planes)
    return cube.mean(axis=0), background, cube.std(axis=0), np.full(CONFIG.shape, len(cube))


@pytest.fixture(scope="module")
def curves(sector: SyntheticSector) -> SimpleNamespace:
    """Light curves with just the noise that apertures of 2.5 pixels must have."""
    rng = np.random.default_rng(8)
    stars = sector.catalog()
    radius = np.full(len(stars), 2.5)
    scatter, _ = expected_scatter(sector, radius, np.arange(len(stars)), np.arange(CONFIG.n_frame))
    noise = np.where(np.isfinite(scatter), scatter, 0) * rng.standard_normal((CONFIG.n_frame, len(stars)))
    stars["aperture_radius"] = radius
    flux = (sector.relative_flux + noise) * np.asarray(sector.stars["flux"])
    return SimpleNamespace(time=sector.timeline.time, flux=flux, quality=sector.timeline.quality, stars=stars)


def test_a_right_stack_passes(sector: SyntheticSector, stacked: tuple[np.ndarray, ...], used: np.ndarray) -> None:
    found = check_stack(*stacked, used, sector)
    assert 0.9 < found["robust_std"] < 1.1
    assert abs(found["median"]) < 0.1
    assert found["fraction"] > 0.6
    assert found["n_empty"] == 0
    science = check_stack(*(plane[CONFIG.science] for plane in stacked), np.flatnonzero(used), sector)
    assert science == found


def test_wrong_stacks_are_told(sector: SyntheticSector, stacked: tuple[np.ndarray, ...], used: np.ndarray) -> None:
    image, background, std, count = stacked
    assert check_stack(image + 0.05, background, std, count, used, sector)["median"] > 0.5
    assert check_stack(image, background, 0.5 * std, count, used, sector)["robust_std"] > 1.6
    assert check_stack(image, None, std, count, used, sector)["median"] < -100
    assert check_stack(np.roll(image, 1, axis=1), background, std, count, used, sector)["robust_std"] > 5
    assert check_stack(image, background, std, count, [0, 1, 2], sector)["robust_std"] > 1.5
    holed = image.copy()
    holed[3, 50:54] = np.nan
    assert check_stack(holed, background, std, count, used, sector)["n_empty"] == 4


def test_stacks_of_another_shape_or_of_nothing_are_refused(sector: SyntheticSector, used: np.ndarray) -> None:
    plane = np.ones((10, 10), np.float32)
    with pytest.raises(ValueError, match=r"a stack of \(10, 10\): expected the full plane \(102, 152\)"):
        check_stack(plane, None, plane, plane, used, sector)
    with pytest.raises(ValueError, match="holds no frame"):
        check_stack(plane, None, plane, plane, np.zeros(96, bool), sector)


def test_stars_that_vary_are_left_out(sector: SyntheticSector) -> None:
    mask = sector.variable_pixels()
    row, column = sector.positions(0)
    kinds = np.asarray(sector.stars["kind"])
    for star in np.flatnonzero((kinds == "binary") | (kinds == "planet")):
        assert mask[round(float(row[star])), round(float(column[star]))]
    assert 0.02 < mask[CONFIG.science].mean() < 0.5


def test_apertures_cover_their_area() -> None:
    rng = np.random.default_rng(1)
    for row, column, radius in rng.uniform((8, 8, 0.8), (12, 12, 4), (30, 3)):
        window, weight = aperture_weights((40, 40), row, column, radius)
        assert weight.sum() == pytest.approx(np.pi * radius**2, rel=0.01)
        y, x = np.mgrid[window]
        assert (weight * y).sum() / weight.sum() == pytest.approx(row, abs=0.03)
        assert (weight * x).sum() / weight.sum() == pytest.approx(column, abs=0.03)


def test_expected_scatter_is_the_scatter_of_frames(sector: SyntheticSector) -> None:
    """Draw the noise of one frame many times and sum it in the apertures."""
    stars = np.arange(8, 30)
    radius = np.full(len(stars), 2.0)
    scatter, foreign = expected_scatter(sector, radius, stars, np.array([20]))
    known = np.isfinite(scatter) & (foreign < 0.3)
    assert known.sum() > 6
    row, column = sector.positions(20)
    expected = sector.noise_free(20).astype(np.float64)
    sky = sector.background.image(20)
    noise = np.array([sector.planes(frame)[0] - sector.noise_free(frame) for frame in range(96)])
    for n in np.flatnonzero(known):
        window, weight = aperture_weights(CONFIG.shape, row[stars[n]], column[stars[n]], 2.0)
        light = (weight * (expected[window] - sky[window[0], slice(window[1].start - 44, window[1].stop - 44)])).sum()
        assert robust_std((noise[:, *window] * weight).sum(axis=(1, 2))) / light == pytest.approx(scatter[n], rel=0.35)


def test_right_noise_has_a_ratio_of_one_and_more_noise_a_higher(
    sector: SyntheticSector, curves: SimpleNamespace
) -> None:
    table = check_light_curves(curves, sector)
    assert table.colnames == ["tmag_low", "tmag_high", "n_star", "measured", "expected", "ratio"]
    filled = table[table["n_star"] > 1]
    assert len(filled) >= 4
    assert np.all(np.abs(filled["ratio"] - 1) < 0.2)
    assert np.all(np.diff(filled["expected"]) > 0)
    rng = np.random.default_rng(3)
    level = np.asarray(sector.stars["flux"])
    more = SimpleNamespace(**vars(curves))
    scatter, _ = expected_scatter(sector, np.full(70, 2.5), np.arange(70), np.arange(96))
    extra = np.where(np.isfinite(scatter), scatter, 0) * rng.standard_normal(curves.flux.shape)
    more.flux = curves.flux + 1.5 * extra * level
    assert np.all(check_light_curves(more, sector)[table["n_star"] > 1]["ratio"] > 1.4)


def test_flagged_cadences_do_not_count(sector: SyntheticSector, curves: SimpleNamespace) -> None:
    spoilt = SimpleNamespace(**vars(curves))
    spoilt.quality = np.where(np.arange(CONFIG.n_frame) % 2, 0, 128)
    spoilt.flux = np.where(spoilt.quality[:, None] != 0, 5 * curves.flux, curves.flux)
    clean, left = check_light_curves(curves, sector), check_light_curves(spoilt, sector)
    some = clean["n_star"] > 1
    np.testing.assert_allclose(left["ratio"][some], clean["ratio"][some], rtol=0.3)
    spoilt.quality = np.zeros(CONFIG.n_frame, int)
    assert np.all(check_light_curves(spoilt, sector)["ratio"][some] > 10)


def test_columns_in_another_order_give_the_same_table(sector: SyntheticSector, curves: SimpleNamespace) -> None:
    order = np.random.default_rng(4).permutation(70)[:60]
    part = SimpleNamespace(
        time=curves.time[5:90], flux=curves.flux[5:90][:, order], quality=None, stars=curves.stars[order]
    )
    whole = SimpleNamespace(
        time=part.time, flux=curves.flux[5:90][:, np.sort(order)], quality=None, stars=curves.stars[np.sort(order)]
    )
    a, b = check_light_curves(part, sector), check_light_curves(whole, sector)
    np.testing.assert_allclose(a["ratio"], b["ratio"])
    assert a["n_star"].sum() <= 60


def test_foreign_curves_and_missing_radii_are_refused(sector: SyntheticSector, curves: SimpleNamespace) -> None:
    other = SimpleNamespace(**vars(curves))
    other.time = curves.time + 100
    with pytest.raises(ValueError, match="no unflagged cadence"):
        check_light_curves(other, sector)
    strangers = SimpleNamespace(**vars(curves))
    strangers.stars = curves.stars.copy()
    strangers.stars["tic_id"] += 900_000_000
    with pytest.raises(ValueError, match="no star"):
        check_light_curves(strangers, sector)
    bare = SimpleNamespace(**vars(curves))
    bare.stars = sector.catalog()
    with pytest.raises(ValueError, match="aperture_radius"):
        check_light_curves(bare, sector)
    assert len(check_light_curves(bare, sector, radius=np.full(70, 2.5))) == 6


def test_transits_are_recovered_and_lost_ones_told(sector: SyntheticSector, curves: SimpleNamespace) -> None:
    table = check_transits(curves, sector)
    assert sorted(table["kind"]) == ["binary", "binary", "planet", "planet", "planet"]
    seen = table[(table["n_cadence"] > 0) & (table["error"] < 0.3)]
    assert len(seen) >= 3
    assert np.all(np.abs(seen["recovered"] - 1) < np.maximum(5 * seen["error"], 0.05))
    silent = SimpleNamespace(**vars(curves))
    silent.flux = curves.flux / sector.relative_flux
    assert np.all(np.abs(check_transits(silent, sector)["recovered"][table["error"] < 0.3]) < 0.5)


def test_stars_without_any_value_are_left_out_in_silence(sector: SyntheticSector, curves: SimpleNamespace) -> None:
    holed = SimpleNamespace(**vars(curves))
    holed.flux = curves.flux.copy()
    table = check_light_curves(curves, sector)
    lost = np.flatnonzero((np.asarray(sector.stars["tmag"]) >= 12) & (np.asarray(sector.stars["tmag"]) < 13))
    holed.flux[:, lost] = np.nan
    found = check_light_curves(holed, sector)
    assert found["n_star"][-1] == 0 < table["n_star"][-1]
    assert np.isnan(found["ratio"][-1])
    np.testing.assert_array_equal(found["ratio"][:-1], table["ratio"][:-1])
    holed.flux[:] = np.nan
    assert check_light_curves(holed, sector)["n_star"].sum() == 0
    assert np.isnan(check_transits(holed, sector)["recovered"]).all()


def test_running_median_bridges_gaps() -> None:
    time = np.concatenate([np.arange(0, 3, 0.05), np.arange(5, 8, 0.05)])
    flux = np.where(time < 4, 10.0, 30.0)[:, None] * np.ones(2)
    flux[7, 1] = np.nan
    flat = flattened(time, flux)
    np.testing.assert_array_equal(flat[np.isfinite(flat)], 1)
    assert np.isnan(flat).sum() == 1


def test_running_median_takes_slow_trends_out() -> None:
    time = np.arange(0, 9, 1 / 48)
    flat = flattened(time, (1 + 0.02 * time)[:, None])
    inner = (time > 0.6) & (time < 8.4)
    np.testing.assert_allclose(flat[inner], 1, atol=3e-4)
