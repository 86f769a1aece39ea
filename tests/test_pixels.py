"""Apertures of target pixels: whose light is summed, and what is done about the sky."""

from __future__ import annotations

import numpy as np
import pytest

from starskope.curves.pixels import choose_aperture, sum_pixels

SHAPE = (11, 9)


def scene(n_time: int = 30, seed: int = 2, sky: float = 200.0):
    """A target at row 5, column 4 that brightens, and a brighter neighbour at row 1, column 7 that does not."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]

    def star(r: float, c: float, flux: float):
        return flux * np.exp(-0.5 * ((row - r) ** 2 + (column - c) ** 2)) / (2 * np.pi)

    signal = 1.0 + 0.1 * np.linspace(0, 1, n_time)
    planes = signal[:, None, None] * star(5, 4, 5000.0) + star(1, 7, 20_000.0)
    skies = sky + 30.0 * np.sin(np.arange(n_time))
    planes += skies[:, None, None] + rng.normal(0, 1.0, planes.shape)
    return planes, signal, skies


def total(planes, bits=None, background=None, error=None, good=None, subtracted=False, target=None):
    return sum_pixels(
        planes.astype(np.float32),
        error,
        background,
        bits,
        is_background_subtracted=subtracted,
        is_good=np.ones(len(planes), bool) if good is None else good,
        target=target,
        what="t.fits",
    )


def test_the_optimal_aperture_of_the_maker_counts() -> None:
    planes, _, _ = scene()
    bits = np.ones(SHAPE, np.int64)
    bits[4:7, 3:6] |= 2
    sky = np.full(planes.shape, 3.0)
    summed = total(planes, bits, sky, np.full(planes.shape, 2.0), subtracted=True)
    np.testing.assert_allclose(summed.flux, planes[:, 4:7, 3:6].sum(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_allclose(summed.error, 6.0)
    np.testing.assert_allclose(summed.background, 3.0)
    assert summed.notes == ("optimal aperture of the pipeline, 9 pixels",)


def test_without_an_aperture_the_star_at_the_target_is_taken_not_the_brightest() -> None:
    planes, signal, skies = scene()
    summed = total(planes)
    mask, how = choose_aperture(np.median(planes, axis=0), None)
    assert mask[5, 4]
    assert not mask[1, 7]
    assert how == f"no aperture in the file: the target's peak summed, pixels: {mask.sum()}"
    # The sky comes out by itself, and the signal as it was put in.
    np.testing.assert_allclose(summed.background, skies, atol=3.0)
    assert np.corrcoef(summed.flux, signal)[0, 1] > 0.98
    assert np.median(summed.flux) == pytest.approx(5000 * 1.05, rel=0.1)
    neighbour, _ = choose_aperture(np.median(planes, axis=0), None, target=(1.0, 7.0))
    assert neighbour[1, 7]
    assert not neighbour[5, 4]


def test_cadences_that_are_flagged_do_not_choose_the_aperture() -> None:
    planes, _, _ = scene()
    good = np.arange(len(planes)) < 10
    planes[10:, 9:, :3] += 1e6
    mask = choose_aperture(np.median(planes[good], axis=0), None)[0]
    expected = planes[:, mask].sum(axis=1)
    summed = total(planes, good=good)
    np.testing.assert_allclose(summed.flux + mask.sum() * summed.background, expected, rtol=1e-5)
    assert not mask[9:, :3].any()


def test_only_pixels_that_were_collected_are_chosen() -> None:
    planes, _, _ = scene()
    bits = np.ones(SHAPE, np.int64)
    bits[5, 4] = 0
    mask, _ = choose_aperture(np.median(planes, axis=0), bits)
    assert not mask[5, 4]


def test_a_missing_pixel_of_the_aperture_makes_the_cadence_missing() -> None:
    planes, _, _ = scene()
    planes[7, 5, 4] = np.nan
    planes[9, 0, 0] = np.nan  # outside: does not matter
    summed = total(planes, error=np.ones(planes.shape))
    assert np.flatnonzero(np.isnan(summed.flux)).tolist() == [7]
    assert np.flatnonzero(np.isnan(summed.error)).tolist() == [7]


def test_a_pixel_that_was_never_measured_is_left_out_of_the_aperture() -> None:
    planes, _, _ = scene()
    bits = np.full(SHAPE, 1, np.int64)
    bits[4:7, 3:6] |= 2
    planes[:, 4, 3] = np.nan
    summed = total(planes, bits, np.ones(planes.shape), subtracted=True)
    assert np.isfinite(summed.flux).all()
    assert "8 pixels" in summed.notes[0]


@pytest.mark.parametrize("n_time", [0, 1, 3])
def test_few_and_no_cadences(n_time: int) -> None:
    summed = total(scene(max(n_time, 1))[0][:n_time])
    assert summed.flux.shape == (n_time,)


def test_nothing_measured_and_nothing_bright() -> None:
    nothing = total(np.full((4, *SHAPE), np.nan))
    assert np.isnan(nothing.flux).all()
    assert nothing.notes == ("no pixel was measured",)
    flat = np.zeros((4, *SHAPE))
    flat[:, 2, 3] = 1.0
    mask, _ = choose_aperture(np.median(flat, axis=0), None)
    assert mask.sum() == 1
    assert mask[2, 3]


def test_a_sky_that_the_maker_says_it_took_off_without_telling_it_is_measured() -> None:
    planes, _, skies = scene()
    summed = total(planes, background=np.zeros(planes.shape), subtracted=True)
    np.testing.assert_allclose(summed.background, skies, atol=3.0)
    small = total(planes[:, 4:7, 3:6][:, :1, :2])
    assert any("too few pixels are dark" in note for note in small.notes)
    assert small.background is None
