"""The light of a synthetic sector: photons add up, noise is what it must be, stars do what the truth says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from starskope.synth import SectorConfig, SyntheticSector
from starskope.synth import prf as prf_module
from starskope.synth.background import Background
from starskope.synth.detector import COLLATERAL_E_S, READ_NOISE_E, output_columns, read_variance
from starskope.synth.prf import STAMP, analytic_prfs, load_prfs, phase_stamps
from starskope.synth.render import add_stars, bleed
from starskope.synth.scene import Scene
from starskope.synth.spacecraft import make_timeline
from starskope.synth.stars import flux_of
from starskope.synth.variability import flare_shape

CONFIG = SectorConfig(seed=3, n_row=96, n_col=80, n_frame=60, n_star=100, cosmic_ray_rate=0.0, min_per_bin=3)


@pytest.fixture(scope="module")
def sector() -> SyntheticSector:
    return SyntheticSector(CONFIG)


@pytest.fixture(scope="module")
def stamps() -> np.ndarray:
    return phase_stamps(analytic_prfs())


def drawn(stamps: np.ndarray, row: float, column: float, place: tuple[float, float] = (2.0, 2.0)) -> np.ndarray:
    image = np.zeros((40, 50), np.float32)
    one = [np.array([value], np.float64) for value in (*place, row, column, 1000.0)]
    add_stars(image, 0, 40, 0, 50, stamps, *one)
    return image


def test_zero_point_is_the_instruments() -> None:
    assert flux_of(np.array([10.0]))[0] == pytest.approx(1.5e4, rel=0.01)


def test_a_star_keeps_its_flux_wherever_it_falls(stamps: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    for row, column, down, right in rng.uniform((14, 14, 0, 0), (25, 35, 4, 4), (200, 4)):
        assert drawn(stamps, row, column, (down, right)).sum(dtype=np.float64) == pytest.approx(1000, rel=2e-6)


def test_a_star_at_the_edge_loses_what_falls_outside(stamps: np.ndarray) -> None:
    whole = drawn(stamps, 20.3, 25.6)
    cut = np.zeros_like(whole)
    one = [np.array([value]) for value in (2.0, 2.0, 20.3, 25.6, 1000.0)]
    add_stars(cut, 20, 40, 0, 26, stamps, *one)
    assert cut[:20].sum() == cut[:, 26:].sum() == 0
    np.testing.assert_array_equal(cut[20:, :26], whole[20:, :26])


@pytest.mark.parametrize("real", [False, True])
def test_rendering_is_linear_interpolation_of_the_prf(real: bool, request: pytest.FixtureRequest) -> None:
    prfs = load_prfs(request.getfixturevalue("data_dir") / "prf") if real else analytic_prfs()
    table = prfs[1, 3] * (81.0 / prfs[1, 3].sum())
    row, column = 20.37, 25.81
    image = drawn(phase_stamps(prfs), row, column, (1.0, 3.0))
    y, x = (58 + 9 * (np.arange(n) - centre) for n, centre in ((40, row), (50, column)))

    def weights(p: np.ndarray) -> np.ndarray:
        """Hat functions: (pixel, sample)."""
        return np.clip(1 - np.abs(p[:, None] - np.arange(117)), 0, None)

    # Each sampling is scaled to sum to one: the real PRFs' are, the analytic one lacks the little that its edge cuts.
    np.testing.assert_allclose(image, 1000 * weights(y) @ table @ weights(x).T, atol=0.3, rtol=0.01)


def test_prf_lies_where_the_star_is_and_moves_with_it(stamps: np.ndarray) -> None:
    y, x = np.mgrid[:40, :50]
    centres = []
    for row, column in ((20.0, 25.0), (20.5, 25.25), (19.6, 24.9)):
        image = drawn(stamps, row, column, (0.0, 0.0)).astype(np.float64)
        centres.append(((y * image).sum() / image.sum() - row, (x * image).sum() / image.sum() - column))
    np.testing.assert_allclose(centres, 0, atol=0.01)


def test_prf_changes_over_the_field(stamps: np.ndarray) -> None:
    near, far = drawn(stamps, 20, 25, (0, 0)), drawn(stamps, 20, 25, (4, 4))
    assert near.max() > 1.2 * far.max()
    between = drawn(stamps, 20, 25, (0.5, 0.0))
    np.testing.assert_allclose(between, 0.5 * (near + drawn(stamps, 20, 25, (1, 0))), atol=1e-3)


def test_real_prfs_are_read_into_their_places(data_dir: Path, tmp_path: Path) -> None:
    prfs = load_prfs(data_dir / "prf")
    corner = fits.getdata(data_dir / "prf/tess2018243163600-prf-1-4-row2048-col0045.fits")
    np.testing.assert_array_equal(prfs[4, 0], corner)
    assert phase_stamps(prfs).shape == (5, 5, 10, 10, STAMP, STAMP)
    with pytest.raises(ValueError, match="holds 0 PRF files"):
        load_prfs(tmp_path)
    for path in (data_dir / "prf").glob("*.fits"):
        (tmp_path / path.name).symlink_to(path)
    broken = tmp_path / path.name
    broken.unlink()
    fits.writeto(broken, np.zeros((3, 3)))
    with pytest.raises(prf_module.FrameError, match=r"\(3, 3\)"):
        load_prfs(tmp_path)


def test_photons_of_a_frame_add_up(sector: SyntheticSector) -> None:
    frame = 3
    image = sector.noise_free(frame)[CONFIG.science].astype(np.float64)
    light = image.sum() - sector.background.image(frame).sum()
    flux = np.asarray(sector.stars["flux"]) * sector.relative_flux[frame]
    row, column = sector.positions(frame)
    inner = (row > 8) & (row < 87) & (column > 52) & (column < 115)
    # Stars within eight pixels of the edge lose part of their light.
    assert flux[inner].sum() < light < flux.sum()
    whole = sector.stars_only(frame, np.where(inner, flux, 0.0)).sum(dtype=np.float64)
    assert whole == pytest.approx(flux[inner].sum(), rel=1e-5)


def test_bleeding_keeps_charge_and_fills_columns() -> None:
    image = np.full((60, 7), 10.0, np.float32)
    image[30, 3] = 1000.0
    image[31, 3] = 300.0
    full = np.zeros(image.shape, bool)
    before = image.sum(dtype=np.float64)
    n_full = bleed(image, 0, 60, 0, 7, 100.0, full)
    assert image.sum(dtype=np.float64) == pytest.approx(before, rel=1e-6)
    assert image.max() == 100.0
    assert full.sum() == n_full == (image >= 100).sum() > 10
    assert not full[:, [0, 1, 2, 4, 5, 6]].any()
    filled = np.flatnonzero(full[:, 3])
    assert np.all(np.diff(filled) == 1)
    assert abs(filled.mean() - 30.3) < 1.5
    # A saturated star near the end of its column loses charge over it.
    image[:] = 10
    image[1, 2] = 5000
    bleed(image, 0, 60, 0, 7, 100.0, full)
    assert image.sum(dtype=np.float64) < 60 * 7 * 10 + 4990


def test_the_brightest_star_saturates_and_the_mask_says_where(sector: SyntheticSector) -> None:
    mask = sector.saturated_pixels()
    frame = 5
    full = sector.noise_free(frame) >= CONFIG.full_well_e_s
    assert full.sum() > 5
    assert not (full & ~mask).any()
    row, column = (round(float(place[0])) for place in sector.positions(frame))
    assert mask[row, column]
    assert mask.mean() < 0.02


def test_background_moves_in_time_and_is_smooth(sector: SyntheticSector) -> None:
    frames = np.array([sector.background.image(frame) for frame in (0, 10, 29, 30, 45, 59)])
    assert np.ptp(frames.mean(axis=(1, 2))) > 30
    peaks = {tuple(np.unravel_index(image.argmax(), image.shape)) for image in frames}
    assert len(peaks) > 2
    assert frames.min() > 0.8 * CONFIG.zodiacal_e_s
    assert np.abs(np.diff(frames, n=2, axis=1)).max() < 0.05
    wide = Background(CONFIG.replace(n_row=2048, n_col=2048), make_timeline(CONFIG))
    assert wide.image(0).shape == (2048, 2048)


def test_collateral_pixels_stand_at_their_level(sector: SyntheticSector) -> None:
    collateral = np.ones(CONFIG.shape, bool)
    collateral[CONFIG.science] = False
    assert np.all(sector.noise_free(0)[collateral] == np.float32(COLLATERAL_E_S))
    image, uncertainty = sector.planes(0)
    noise = (image[collateral] - np.float32(COLLATERAL_E_S)) / uncertainty[collateral]
    assert noise.std() == pytest.approx(1, abs=0.03)
    assert abs(noise.mean()) < 0.05


def test_read_noise_follows_the_exposure_arithmetic_per_output() -> None:
    variance = read_variance(SectorConfig())
    edges = output_columns(SectorConfig())
    for output, electrons in enumerate(READ_NOISE_E):
        expected = 720 * electrons**2 / 1425.6**2
        assert variance[edges[output]] == variance[edges[output + 1] - 1] == pytest.approx(expected, rel=1e-6)
        assert variance[11 * output] == variance[-44 + 11 * output] == np.float32(expected)
    short = SectorConfig(cadence_s=200.0)
    assert (short.exposure_s, short.n_readout) == (pytest.approx(158.4), 80)


def test_residuals_have_the_noise_that_they_must_have(sector: SyntheticSector) -> None:
    frames = range(0, 60, 6)
    variance = read_variance(CONFIG)
    scores = []
    for frame in frames:
        image, uncertainty = sector.planes(frame)
        expected = sector.noise_free(frame)
        sigma = np.sqrt(expected / 1425.6 + variance)
        scores.append((image - expected)[CONFIG.science] / sigma[CONFIG.science])
        np.testing.assert_allclose(uncertainty[CONFIG.science], sigma[CONFIG.science], rtol=0.02)
    scores = np.array(scores, np.float64)
    n = scores.size
    assert abs(scores.mean()) < 4 / np.sqrt(n)
    assert abs(scores.std() - 1) < 4 / np.sqrt(2 * n)
    assert abs((np.abs(scores) > 2).mean() - 0.0455) < 0.004
    neighbours = [(scores[:, :, 1:] * scores[:, :, :-1]).mean(), (scores[:, 1:] * scores[:, :-1]).mean()]
    assert np.abs(neighbours).max() < 0.02


def test_cosmic_rays_are_few_positive_and_counted() -> None:
    config = CONFIG.replace(cosmic_ray_rate=2e-3, n_frame=12)
    hit, clean = SyntheticSector(config), SyntheticSector(config.replace(cosmic_ray_rate=0.0))
    change = np.array([hit.planes(frame)[0] - clean.planes(frame)[0] for frame in range(12)])
    assert change.min() >= 0
    n_pixel = (change > 0).sum() / (12 * 96 * 80)
    assert 1.5e-3 < n_pixel < 8e-3
    assert not change[:, 96:].any()
    assert 2 < change.max() < 301


def test_planets_show_the_depth_that_the_truth_tells() -> None:
    config = CONFIG.replace(n_frame=300, gap_days=0.0, n_missing=0)
    scene = Scene(config)
    planets = np.flatnonzero(scene.stars["kind"] == "planet")
    assert len(planets) == config.n_planet
    deep = 0
    for star in planets:
        flux = scene.relative_flux[:, star]
        depth = float(scene.stars["depth"][star])
        ratio = float(scene.stars["rp_rs"][star])
        # Limb darkening: at the middle deeper than the area ratio, near the limb shallower.
        assert 0.4 * ratio**2 < depth < 1.35 * ratio**2
        assert 1 - flux.min() <= depth * (1 + 1e-6)
        if float(scene.stars["duration"][star]) > 3 * config.cadence_days:
            assert 1 - flux.min() > 0.93 * depth
            deep += 1
        period, t0 = float(scene.stars["period"][star]), float(scene.stars["t0"][star])
        direction = np.deg2rad([float(scene.stars["ra"][star]), float(scene.stars["dec"][star])])
        vector = [
            np.cos(direction[1]) * np.cos(direction[0]),
            np.cos(direction[1]) * np.sin(direction[0]),
            np.sin(direction[1]),
        ]
        bjd = scene.timeline.time + scene.observer @ np.array(vector) / 86400
        phase = np.abs((bjd - t0 + 0.5 * period) % period - 0.5 * period)
        half = 0.5 * float(scene.stars["duration"][star]) + 0.5 * config.cadence_days
        assert np.all(flux[phase > half] == 1)
        assert np.all(flux[phase < half - config.cadence_days] < 1)
        assert len(np.unique(np.round((bjd[phase < half] - t0) / period))) >= 3
    assert deep >= 3


def test_transits_reach_the_pixels() -> None:
    config = CONFIG.replace(jitter_px=0.0, drift_px=0.0, dva_px=0.0, n_frame=120, zodiacal_e_s=0.0, scattered_e_s=0.0)
    scene = Scene(config)
    star = int(np.flatnonzero(scene.stars["kind"] == "planet")[0])
    calm = ~(scene.timeline.dump | scene.timeline.episode)
    frame = int(np.argmin(np.where(calm, scene.relative_flux[:, star], 2)))
    out = int(np.flatnonzero(calm & (scene.relative_flux[:, star] == 1))[0])
    row, column = (round(float(place[star])) for place in scene.positions(frame))
    window = slice(row - 1, row + 2), slice(column - 1, column + 2)
    flux = np.zeros(config.n_star)
    flux[star] = scene.stars["flux"][star]
    own = scene.stars_only(out, flux)[window].sum()
    lost = scene.noise_free(out)[window].sum() - scene.noise_free(frame)[window].sum()
    others = np.delete(np.arange(config.n_star), star)
    moved = np.abs(np.diff(scene.relative_flux[[out, frame]][:, others], axis=0)).max()
    assert lost / own == pytest.approx(1 - scene.relative_flux[frame, star], rel=0.02), moved


def test_binaries_have_two_eclipses_of_the_told_depths() -> None:
    scene = Scene(CONFIG.replace(n_frame=300))
    for star in np.flatnonzero(scene.stars["kind"] == "binary"):
        row = scene.stars[star]
        flux = scene.relative_flux[:, star]
        assert flux.max() == pytest.approx(1)
        assert 1 - flux.min() <= max(row["depth"], row["secondary_depth"]) * (1 + 1e-6)
        assert 0 < row["secondary_depth"] < 1
        assert row["depth"] > 0.01


def test_pulsators_rotators_and_flares_do_what_they_are_called() -> None:
    scene = Scene(CONFIG.replace(n_frame=300, gap_days=0.0, n_missing=0))
    kinds = np.asarray(scene.stars["kind"])
    assert np.all(scene.relative_flux[:, kinds == "quiet"] == 1)
    pulsator = int(np.flatnonzero(kinds == "pulsator")[0])
    signal = scene.relative_flux[:, pulsator] - 1
    power = np.abs(np.fft.rfft(signal * np.hanning(300))) ** 2
    peak = np.fft.rfftfreq(300, CONFIG.cadence_days)[power.argmax()]
    assert np.abs(scene.stars["frequencies"][pulsator] - peak).min() < 0.3
    flare = int(np.flatnonzero(kinds == "flare")[0])
    rise = scene.relative_flux[:, flare] - 1
    assert rise.max() > 0.003
    assert np.median(rise) < 0.1 * rise.max()
    rotator = scene.relative_flux[:, int(np.flatnonzero(kinds == "rotator")[0])]
    assert 1e-3 < np.ptp(rotator) < 0.1
    assert np.abs(np.diff(rotator)).max() < 0.3 * np.ptp(rotator)


def test_flare_template_peaks_at_one_with_unit_width() -> None:
    x = np.linspace(-3, 12, 150001)
    shape = flare_shape(x)
    assert shape.max() == pytest.approx(1, abs=0.01)
    above = x[shape > 0.5]
    assert np.ptp(above) == pytest.approx(1, abs=0.1)
    assert shape[x < -1].max() == 0
    assert shape[-1] < 0.02


def test_the_default_field_serves_the_checks_that_are_made_on_it() -> None:
    stars = SyntheticSector(SectorConfig(n_frame=30)).stars
    tmag, kind = np.asarray(stars["tmag"]), np.asarray(stars["kind"])
    assert np.all(np.diff(tmag) >= 0)
    assert (tmag < 13).sum() >= 500
    assert (kind == "planet").sum() >= 10
    for low in range(7, 13):
        assert ((tmag >= low) & (tmag < low + 1) & (kind == "quiet")).sum() >= 8
    assert len(set(stars["tic_id"])) == len(stars)
    rows, columns = SectorConfig().science
    assert np.all((stars["row"] > rows.start) & (stars["row"] < rows.stop - 1))
    assert np.all((stars["column"] > columns.start) & (stars["column"] < columns.stop - 1))


def test_restless_frames_are_blurred_and_keep_their_photons(sector: SyntheticSector) -> None:
    restless, calm = int(np.flatnonzero(sector.timeline.episode)[0]), 3
    flux = np.zeros(CONFIG.n_star)
    row, column = sector.positions(calm)
    star = int(np.argmin(np.hypot(row - 48, column - 84)))
    flux[star] = 1000
    sharp, soft = sector.stars_only(calm, flux), sector.stars_only(restless, flux)
    assert soft.sum(dtype=np.float64) == pytest.approx(sharp.sum(dtype=np.float64), rel=1e-5)
    assert not np.array_equal(sharp, soft)
