"""The background of one frame against known surfaces: stars, gaps, collateral pixels, moving light, uneven boxes."""

from __future__ import annotations

import numpy as np
import pytest

from starskope.frames.background import Background, estimate_background, fit_background
from starskope.frames.photometry import measure

NOISE = 0.5


def surface(n_row: int, n_col: int, phase: float = 0.0) -> np.ndarray:
    """A tilt and a wide glow whose centre moves with the phase, e-/s."""
    y, x = np.mgrid[0:n_row, 0:n_col] / max(n_row, n_col)
    return 100 + 40 * x + 80 * np.exp(-((x - phase) ** 2 + (y - 0.3) ** 2) / 0.3)


def starry(level: np.ndarray, seed: int = 1, per_star: int = 90) -> np.ndarray:
    """Gaussian stars with a steep magnitude distribution, and noise."""
    rng = np.random.default_rng(seed)
    n_row, n_col = level.shape
    n_star = level.size // per_star
    flux = np.minimum(150.0 * rng.uniform(size=n_star) ** -1.2, 3e5)
    row, column = rng.integers(0, n_row, n_star), rng.integers(0, n_col, n_star)
    image = level + rng.normal(0, NOISE, level.shape)
    step = np.arange(-5, 6)
    stamp = np.exp(-(step[:, None] ** 2 + step**2) / (2 * 0.9**2)) / (2 * np.pi * 0.9**2)
    for r, c, f in zip(row, column, flux, strict=True):
        rows, columns = slice(max(r - 5, 0), r + 6), slice(max(c - 5, 0), c + 6)
        part = image[rows, columns]
        part += f * stamp[max(5 - r, 0) :, max(5 - c, 0) :][: part.shape[0], : part.shape[1]]
    return image.astype(np.float32)


@pytest.mark.parametrize("phase", [0.0, 0.5, 1.0])
def test_follows_moving_light_under_stars(phase: float) -> None:
    truth = surface(256, 256, phase)
    off = estimate_background(starry(truth)) - truth
    # Light of unresolved stars belongs to the median sky, everywhere alike; what remains is the error of shape.
    assert 0 <= np.median(off) < 1.0
    assert np.std(off) < 0.6
    assert np.abs(off - np.median(off)).max() < 4.0


def test_steady_stars_cancel_between_frames_whose_light_moved() -> None:
    """What matters for a light curve: the change of the background in time, not the confusion that never changes."""
    first, second = surface(256, 256, 0.2), surface(256, 256, 0.35)
    stars = starry(np.zeros((256, 256)), seed=3) - np.random.default_rng(3).normal(0, 0, (256, 256))
    change = estimate_background((first + stars).astype(np.float32)) - estimate_background(
        (second + stars).astype(np.float32)
    )
    assert np.std(change - (first - second)) < 0.4


def test_steep_light_counts_no_more_stars_as_sky() -> None:
    """A gradient widens the clip of a box: taken in one pass the levels rise by 2 e-/s under this light."""
    glow = 0.8 * np.arange(256.0)[:, None] + surface(256, 256, 0.4)
    stars = starry(np.zeros((256, 256)), per_star=40)
    change = estimate_background((stars + glow).astype(np.float32)) - estimate_background(stars) - glow
    assert abs(np.median(change)) < 0.3
    assert np.std(change) < 0.6


def test_a_smooth_surface_free_of_noise_is_met() -> None:
    y, x = np.mgrid[0:256, 0:256] / 256
    truth = 50 + 10 * x + 5 * y + 8 * x * y
    background = estimate_background(truth.astype(np.float32), box=32)
    # The median of a tilted box is its centre up to the box's own cross term, 8 / 8**2 / 4 over the box.
    np.testing.assert_allclose(background, truth, atol=8 / 64 / 4)


@pytest.mark.parametrize(("shape", "box"), [((256, 256), 32), ((100, 333), 30), ((70, 41), 24), ((23, 57), None)])
def test_a_constant_stays_constant_for_any_shape(shape: tuple[int, int], box: int | None) -> None:
    background = estimate_background(np.full(shape, 7.25, np.float32), box=box)
    np.testing.assert_allclose(background, 7.25, rtol=1e-6)


def test_collateral_pixels_neither_count_nor_get_a_background() -> None:
    truth = surface(150, 170)
    image = starry(truth)
    image[:, :44] = 0.3
    image[128:] = np.nan
    science = (slice(0, 128), slice(44, 170))
    background = estimate_background(image, science)
    assert background.shape == image.shape
    assert background.dtype == np.float32
    assert np.isnan(background[:, :44]).all()
    assert np.isnan(background[128:]).all()
    np.testing.assert_array_equal(background[science], estimate_background(np.ascontiguousarray(image[science])))


def test_boxes_without_sky_are_told_by_their_neighbours() -> None:
    truth = surface(256, 256)
    image = starry(truth)
    image[64:128, 96:192] = np.nan
    image[224:, 224:] = np.nan
    off = estimate_background(image, box=32) - truth
    assert np.isfinite(off).all()
    assert np.abs(off).max() < 8.0


@pytest.mark.parametrize(("row", "column"), [(96, 96), (0, 128), (64, 224), (0, 0), (224, 0), (224, 224)])
def test_a_box_full_of_star_does_not_raise_the_sky(row: int, column: int) -> None:
    truth = surface(256, 256)
    image = starry(truth)
    image[row : row + 32, column : column + 32] += 5000.0
    # A corner is continued from what curves away beside it: off by 25, not by 5,000.
    assert np.abs(estimate_background(image, box=32) - truth).max() < 30.0


def test_nothing_to_measure() -> None:
    assert np.isnan(estimate_background(np.full((64, 64), np.nan, np.float32))).all()
    empty = fit_background(np.ones((8, 8), np.float32), (slice(0, 0), slice(0, 8)))
    assert np.isnan(empty.plane()).all()
    assert np.isnan(empty.at([1.0], [1.0])).all()
    with pytest.raises(ValueError, match="box = 3"):
        estimate_background(np.ones((64, 64), np.float32), box=3)


def test_values_at_stars_are_those_of_the_plane() -> None:
    image = starry(surface(150, 170))
    model = fit_background(image, (slice(0, 128), slice(44, 170)))
    rng = np.random.default_rng(2)
    row, column = rng.uniform(-5, 155, 300), rng.uniform(-5, 175, 300)
    row[0], column[1] = np.nan, np.inf
    expected = np.full(300, np.nan)
    for k in range(2, 300):
        r, c = round(row[k]), round(column[k])
        if 0 <= r < 150 and 0 <= c < 170:
            expected[k] = model.plane()[r, c]
    np.testing.assert_allclose(model.at(row, column), expected, rtol=1e-5)


def test_the_plane_is_linear_in_the_levels() -> None:
    science = (slice(0, 128), slice(0, 128))
    models = [fit_background(starry(surface(128, 128, p), seed=5), science) for p in (0.1, 0.4, 0.9)]
    together = Background((128, 128), science, np.mean([m.levels for m in models], axis=0)).plane()
    np.testing.assert_allclose(together, np.mean([m.plane() for m in models], axis=0), rtol=1e-6)


def test_apertures_take_the_surface_off_on_their_way() -> None:
    """The fused way gives the bytes of the two steps, on the science region and off it, with and without rings."""
    image = starry(surface(150, 170))
    image[30, 40] = np.nan
    rng = np.random.default_rng(2)
    row, column, radius = rng.uniform(-5, 155, 300), rng.uniform(-5, 175, 300), rng.uniform(0.5, 6, 300)
    row[0], column[1] = np.nan, np.inf
    about = {"exposure_s": 1425.6, "read_noise_e": 8.0, "n_read": 720}
    for science in ((slice(0, 128), slice(44, 170)), (slice(0, 150), slice(0, 170))):
        for model in (fit_background(image, science), fit_background(np.full_like(image, np.nan), science)):
            plane = model.subtracted_from(image, np.empty_like(image))
            for ring in (None, (3.0, 6.0)):
                want = measure(plane, model.at(row, column), row, column, radius, ring=ring, **about)
                got = measure(image, model, row, column, radius, ring=ring, **about)
                for name in ("flux", "flux_err", "background", "n_bad"):
                    np.testing.assert_array_equal(getattr(got, name), getattr(want, name), err_msg=name)
