"""Rows of spectrograms and stamps, and quantiles that leave out what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from starskope.learn.inputs import SPECTROGRAM_SHAPE, frequency_bins, spectrogram_rows, stamp_rows
from starskope.learn.quantiles import median, quantiles


def noise_power(n_segment: int = 9, n_frequency: int = 129, n_star: int = 4) -> np.ndarray:
    rng = np.random.default_rng([n_segment, n_frequency, n_star])
    return rng.exponential(size=(n_segment, n_frequency, n_star)).astype(np.float32)


@pytest.mark.parametrize("n_frequency", [*range(2, 70), 129, 257, 1025, 4097])
def test_frequency_bins_cover_every_row_but_zero(n_frequency: int) -> None:
    bins = frequency_bins(n_frequency)
    assert len(bins) == SPECTROGRAM_SHAPE[1]
    assert all(low < high for low, high in bins)
    covered = sorted({row for low, high in bins for row in range(low, high)})
    assert covered == list(range(1, n_frequency))
    if n_frequency > SPECTROGRAM_SHAPE[1]:
        widths = np.array([high - low for low, high in bins])
        assert sum(widths) == n_frequency - 1
        assert widths[0] == 1 or n_frequency < 40
        assert (np.diff(widths) >= -1).all()


@pytest.mark.parametrize("n_segment", [1, 3, 8, 9, 94])
def test_a_tone_shows_in_its_bins_and_nowhere_else(n_segment: int) -> None:
    power = noise_power(n_segment)
    power[n_segment // 2 :, 5, 1] = 1e4
    rows = spectrogram_rows(power).reshape(4, *SPECTROGRAM_SHAPE)
    (bin_,) = [i for i, (low, high) in enumerate(frequency_bins(129)) if low <= 5 < high]
    assert rows.dtype == np.float32
    bright = rows[1] > 2.5
    assert set(np.flatnonzero(bright.any(axis=0))) == {bin_}
    assert bright[-3:, bin_].all()
    if n_segment > 1:
        assert not bright[0, bin_]
    assert (rows[[0, 2, 3]] < 2.5).all()


def test_spectrogram_rows_do_not_feel_the_level_of_a_star() -> None:
    power = noise_power()
    np.testing.assert_allclose(spectrogram_rows(1e-6 * power), spectrogram_rows(power), atol=1e-4)
    np.testing.assert_allclose(np.median(spectrogram_rows(power), axis=1), 0, atol=1e-6)


def test_missing_segments_take_the_star_s_own_median_and_missing_stars_stay_missing() -> None:
    power = noise_power()
    power[:, 10, :] *= 100
    whole = spectrogram_rows(power).reshape(4, *SPECTROGRAM_SHAPE)
    power[:4, :, 0] = 0.0
    power[:4, :, 1] = np.nan
    power[:, :, 2] = np.nan
    power[:, :, 3] = 1e-15  # the rounding of light that is constant
    rows = spectrogram_rows(power)
    assert np.isnan(rows[2:]).all()
    assert np.isfinite(rows[:2]).all()
    filled = rows.reshape(4, *SPECTROGRAM_SHAPE)[:2]
    np.testing.assert_allclose(filled[0, 0], np.median(filled[0, 3:], axis=0), atol=0.3)
    np.testing.assert_allclose(filled[:, 4:].mean(axis=(1, 2)), whole[:2, 4:].mean(axis=(1, 2)), atol=0.2)


@pytest.mark.parametrize("shape", [(3, 4), (0, 9, 2), (3, 1, 2)])
def test_what_is_no_spectrogram_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="power"):
        spectrogram_rows(np.ones(shape))
    assert spectrogram_rows(np.ones((3, 9, 0))).shape == (0, 256)


def picture() -> np.ndarray:
    """A value of its own in every pixel, so that any transposition or shift shows."""
    return np.arange(50.0 * 60).reshape(50, 60).astype(np.float32)


def test_stamps_are_cut_around_the_nearest_pixel() -> None:
    image = picture()
    stamp = stamp_rows(image, [20.4], [30.6], size=5).reshape(5, 5)
    cut = image[18:23, 29:34]
    y = (cut - np.median(cut)) / np.abs(cut - np.median(cut)).max()
    np.testing.assert_allclose(stamp, np.arcsinh(10 * y) / np.arcsinh(10), rtol=1e-5, atol=1e-6)


def test_stamps_are_scaled_by_the_star_itself() -> None:
    image = np.random.default_rng(0).normal(size=(60, 60)).astype(np.float32)
    image[30, 30] = 50.0
    one = stamp_rows(image, [30, 10], [30, 10])
    np.testing.assert_allclose(stamp_rows(1000 * image + 5000, [30, 10], [30, 10]), one, atol=2e-4)
    np.testing.assert_allclose(np.abs(one).max(axis=1), 1, rtol=1e-6)
    assert one.reshape(2, 11, 11)[0, 5, 5] == pytest.approx(1.0)


def test_stamps_at_edges_and_without_light() -> None:
    image = picture()
    image[40:, 40:] = np.nan
    image[:11, 40:51] = 7.0
    rows = [0, 49, -3, -6, 45, 5, np.nan, np.inf, 25, 1e30]
    columns = [0, 0, 5, 5, 50, 45, 5, 5, -1e9, 5]
    stamps = stamp_rows(image, rows, columns)
    missing = np.isnan(stamps).all(axis=1)
    np.testing.assert_array_equal(missing, [False, False, False, True, True, True, True, True, True, True])
    assert np.isfinite(stamps[~missing]).all()
    corner = stamps[0].reshape(11, 11)
    assert (corner[:5] == 0).all()
    assert (corner[:, :5] == 0).all()
    assert (corner[5:, 5:] != 0).sum() == 36
    assert np.isfinite(stamp_rows(np.where(np.eye(50, 60) > 0, np.inf, image), [10], [10])).all()


def test_wrong_stamps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"row has 2 stars, column 1"):
        stamp_rows(picture(), [1, 2], [3])
    with pytest.raises(ValueError, match=r"size=4: expected an odd number"):
        stamp_rows(picture(), [1], [3], size=4)
    with pytest.raises(ValueError, match=r"image: expected 2 axes"):
        stamp_rows(np.ones(5), [1], [3])


def test_quantiles_are_those_of_numpy_on_what_is_there() -> None:
    values = np.random.default_rng(0).normal(size=(7, 5, 31)).astype(np.float32)
    values[np.random.default_rng(1).random(values.shape) < 0.3] = np.nan
    values[2, 3] = np.nan
    values[2, 4, 1:] = np.nan
    at = (0.0, 0.05, 0.5, 0.77, 1.0)
    got = quantiles(values, at)
    for row in np.ndindex(7, 5):
        there = values[row][~np.isnan(values[row])]
        want = np.quantile(there, at) if there.size else np.full(5, np.nan)
        np.testing.assert_allclose(got[(slice(None), *row)], want, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(median(values), got[2])
