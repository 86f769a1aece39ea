"""Power spectra against sums term by term and NumPy, their properties, and what callers may get wrong."""

from __future__ import annotations

import numpy as np
import pytest
import reference_periodograms as reference
import scipy.signal
from tolerances import atol_power

import starskope as sk
from starskope.search.cadence import fit_grid
from starskope.search.windows import window_values

CADENCE = 1800.0 / 86400.0


def noise(n_time: int, n_star: int, missing: float = 0.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([n_time, n_star, seed])
    x = rng.normal(1.0, 0.01, size=(n_time, n_star)).astype(np.float32)
    x[rng.random(x.shape) < missing] = np.nan
    return x


def held_against_sums(spectra: sk.Spectra, x: np.ndarray, window: object, n_fft: int, place: np.ndarray) -> None:
    values = window_values(window, int(spectra.settings["n_time"]))
    values = np.interp(place, np.arange(values.size), values)
    for star in range(x.shape[1]):
        expected = reference.power_at_times(place, x[:, star], values, n_fft)
        there = np.isfinite(x[:, star])
        spread = np.where(there, x[:, star] - np.nanmean(x[:, star]), 0.0)
        rms = 2 * np.linalg.norm(spread * values) / np.sum(values[there])
        tolerance = [atol_power(n_fft, a, rms) for a in np.sqrt(expected)]
        assert np.all(np.abs(spectra.power[:, star] - expected) <= tolerance), star


@pytest.mark.parametrize("n_time", [2, 3, 5, 16, 101, 640, 641])
@pytest.mark.parametrize("window", ["hann", None, ("kaiser", 8.6)])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_power_is_the_sum_term_by_term(n_time: int, window: object, missing: float) -> None:
    x = noise(n_time, 3, missing)
    x[0], x[-1] = 1.1, 0.8
    for oversample in (1, 3):
        spectra = sk.power_spectrum(x, cadence=CADENCE, window=window, oversample=oversample)
        n_fft = oversample * n_time
        assert spectra.power.shape == (n_fft // 2 + 1, 3)
        assert spectra.power.dtype == np.float32
        np.testing.assert_allclose(spectra.frequency, np.fft.rfftfreq(n_fft, CADENCE), rtol=1e-14)
        held_against_sums(spectra, x, window, n_fft, np.arange(n_time))


@pytest.mark.parametrize(("n_time", "k"), [(1000, 60), (999, 60), (1282, 3)])
@pytest.mark.parametrize("window", ["hann", None])
def test_a_sine_on_the_grid_has_its_amplitude_squared(n_time: int, k: int, window: str | None) -> None:
    sine = 7.0 + 0.5 * np.sin(2 * np.pi * k * np.arange(n_time) / n_time + 0.3)
    spectra = sk.power_spectrum(sine, cadence=CADENCE, window=window)
    assert spectra.power[k, 0] == pytest.approx(0.25, rel=1e-5)
    assert np.argmax(spectra.power[:, 0]) == k
    assert spectra.peaks()["period"][0] == pytest.approx(n_time * CADENCE / k, rel=1e-12)


def test_nyquist_and_zero_are_counted_once() -> None:
    spectra = sk.power_spectrum(1.0 + 0.5 * (-1.0) ** np.arange(64), cadence=CADENCE, window=None)
    assert spectra.power[-1, 0] == pytest.approx(0.25, rel=1e-6)
    assert spectra.power[0, 0] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("n_time", [1282, 1283])
def test_parseval(n_time: int) -> None:
    x = noise(n_time, 4)
    power = sk.power_spectrum(x, cadence=CADENCE, window=None).power.astype(np.float64)
    half = power / 2
    if n_time % 2 == 0:
        half[-1] = power[-1]
    np.testing.assert_allclose(half.sum(axis=0), x.astype(np.float64).var(axis=0), rtol=1e-5)


def test_amplitudes_scale_and_offsets_leave_no_trace() -> None:
    x = noise(500, 3)
    one = sk.power_spectrum(x, cadence=CADENCE).power
    np.testing.assert_allclose(sk.power_spectrum(4 * x, cadence=CADENCE).power, 16 * one, rtol=1e-6)
    # Powers of two and short fractions: float32 holds the sum exactly, so only the transform is asked.
    steps = np.round(1024 * x) / 1024
    moved = sk.power_spectrum(steps + 16, cadence=CADENCE).power
    np.testing.assert_allclose(moved, sk.power_spectrum(steps, cadence=CADENCE).power, rtol=1e-3, atol=1e-11)


def test_a_circular_shift_in_time_changes_no_power() -> None:
    x = noise(720, 3)
    shifted = sk.power_spectrum(np.roll(x, 111, axis=0), cadence=CADENCE, window=None).power
    np.testing.assert_allclose(shifted, sk.power_spectrum(x, cadence=CADENCE, window=None).power, rtol=1e-2, atol=1e-11)


def test_stars_do_not_feel_each_other() -> None:
    x = noise(333, 300, 0.05)
    x[:, 17] *= 1e6
    x[:, 44] = np.nan
    whole = sk.power_spectrum(x, cadence=CADENCE).power
    order = np.random.default_rng(5).permutation(300)
    permuted = sk.power_spectrum(x[:, order], cadence=CADENCE).power
    np.testing.assert_allclose(permuted, whole[:, order], rtol=1e-3, atol=1e-12)
    assert np.isnan(whole[:, 44]).all()
    assert np.isfinite(np.delete(whole, 44, axis=1)).all()


@pytest.mark.parametrize("n_star", [1, 255, 256, 257, 700])
def test_any_number_of_workers_gives_the_same_bytes(n_star: int) -> None:
    x = noise(217, n_star, 0.02)
    one = sk.power_spectrum(x, cadence=CADENCE, workers=1)
    for workers in (2, 3, 8, -1):
        assert sk.power_spectrum(x, cadence=CADENCE, workers=workers).power.tobytes() == one.power.tobytes()


def test_every_form_of_the_same_numbers_gives_the_same_bytes() -> None:
    x = (1000 * noise(301, 9)).round().astype(np.int32)
    expected = sk.power_spectrum(x.astype(np.float32), cadence=CADENCE).power.tobytes()
    wide = np.zeros((602, 27), np.float32)
    wide[::2, ::3] = x
    forms = {
        "integers": x,
        "float64": x.astype(np.float64),
        "big-endian": x.astype(">f4"),
        "strided": wide[::2, ::3],
        "Fortran order": np.asfortranarray(x.astype(np.float32)),
        "backwards": x[::-1].astype(np.float32)[::-1],
        "columns of a larger array": np.hstack([x, x]).astype(np.float32)[:, 9:],
        "list": x.tolist(),
        "masked": np.ma.MaskedArray(x.astype(np.float32), mask=np.zeros(x.shape, bool)),
    }
    for name, form in forms.items():
        assert sk.power_spectrum(form, cadence=CADENCE).power.tobytes() == expected, name
    assert sk.power_spectrum(x.T, cadence=CADENCE, axis=1).power.tobytes() == expected


def test_masked_and_infinite_values_are_missing() -> None:
    x = noise(200, 2)
    gone = x.copy()
    gone[[3, 50], 1] = np.nan
    expected = sk.power_spectrum(gone, cadence=CADENCE).power.tobytes()
    infinite = x.copy()
    infinite[[3, 50], 1] = np.inf, -np.inf
    assert sk.power_spectrum(infinite, cadence=CADENCE).power.tobytes() == expected
    masked = np.ma.MaskedArray(x, mask=np.isnan(gone))
    assert sk.power_spectrum(masked, cadence=CADENCE).power.tobytes() == expected


def test_the_input_is_left_as_it_is() -> None:
    x = noise(100, 3, 0.1)
    before = x.tobytes()
    sk.power_spectrum(x, cadence=CADENCE)
    assert x.tobytes() == before


def test_constant_and_empty_batches() -> None:
    constant = sk.power_spectrum(np.full((100, 2), 5.0), cadence=CADENCE)
    np.testing.assert_array_equal(constant.power, 0.0)
    none = sk.power_spectrum(np.empty((100, 0)), cadence=CADENCE)
    assert none.power.shape == (51, 0)
    assert len(none.peaks()) == 0
    lost = sk.power_spectrum(np.full((100, 2), np.nan), cadence=CADENCE)
    assert np.isnan(lost.power).all()
    assert np.isnan(lost.peaks()["period"]).all()
    assert "2 of them without power" in repr(lost)


def test_missing_rows_of_light_curves_are_gaps() -> None:
    x = noise(400, 3)
    kept = np.r_[0:150, 170:399]
    gaps = np.full_like(x[:399], np.nan)
    gaps[kept] = x[kept]
    spectra = sk.power_spectrum(sk.LightCurves(1325.0 + CADENCE * kept, x[kept]))
    assert spectra.method == "regular"
    assert spectra.power.tobytes() == sk.power_spectrum(gaps, cadence=CADENCE).power.tobytes()
    np.testing.assert_allclose(spectra.frequency, np.fft.rfftfreq(399, CADENCE), rtol=1e-9)


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_irregular_times_are_transformed_where_they_stand(missing: float) -> None:
    rng = np.random.default_rng(8)
    time = CADENCE * (np.arange(240) + 0.02 * np.sin(np.arange(240) / 40)) + 1325.0
    x = noise(240, 4, missing)
    x[:, 3] = np.nan
    spectra = sk.power_spectrum(sk.LightCurves(time, x), oversample=2, workers=2)
    assert spectra.method == "finufft"
    assert spectra.settings["n_time"] == 240
    grid = fit_grid(time)
    held_against_sums(spectra, x[:, :3], "hann", 480, (time - grid.start) / grid.cadence_days)
    assert np.isnan(spectra.power[:, 3]).all()
    random = np.sort(rng.uniform(0, 5, 300))
    assert sk.power_spectrum(sk.LightCurves(random, noise(300, 1))).method == "finufft"


def test_irregular_times_to_the_limit_agree_with_the_regular_transform() -> None:
    x = noise(300, 2)
    off = CADENCE * 0.9 * 0.01 / np.pi * np.where(np.arange(300) % 2, 1, -1)
    near = sk.power_spectrum(sk.LightCurves(CADENCE * np.arange(300) + off, x))
    assert near.method == "regular"
    assert 0.008 < near.phase_error < 0.01
    beyond = sk.power_spectrum(sk.LightCurves(CADENCE * np.arange(300) + 1.2 * off, x))
    assert beyond.method == "finufft"
    assert beyond.phase_error == 0.0
    assert np.abs(near.power - beyond.power).max() < 0.02 * near.power.max()


@pytest.mark.parametrize(
    ("x", "settings", "error", "told"),
    [
        (np.ones((9, 2)), {}, ValueError, "needs its cadence in days"),
        (np.ones((9, 2)), {"cadence": 1800}, ValueError, "looks like seconds"),
        (np.ones((9, 2)), {"cadence": -1}, ValueError, "above 0"),
        (np.ones((0, 2)), {"cadence": CADENCE}, ValueError, "0 cadences"),
        (np.ones((1, 2)), {"cadence": CADENCE}, ValueError, "1 cadences"),
        (np.ones((2, 1)), {"cadence": CADENCE, "axis": 1}, ValueError, "1 cadences"),
        (np.ones((4, 3, 2)), {"cadence": CADENCE}, ValueError, r"x.reshape\(n_time, -1\)"),
        (np.float32(3), {"cadence": CADENCE}, ValueError, "one or two axes"),
        (np.ones((9, 2), complex), {"cadence": CADENCE}, TypeError, "real numbers"),
        ([["a"], ["b"]], {"cadence": CADENCE}, TypeError, "real numbers"),
        ([[1.0], [1.0, 2.0]], {"cadence": CADENCE}, TypeError, "real numbers"),
        (np.ones((9, 2)), {"cadence": CADENCE, "axis": 2}, ValueError, "axis=2"),
        (np.ones((9, 2)), {"cadence": CADENCE, "oversample": 0}, ValueError, "oversample=0"),
        (np.ones((9, 2)), {"cadence": CADENCE, "oversample": 1.5}, TypeError, "integer"),
        (np.ones((9, 2)), {"cadence": CADENCE, "oversample": 10**9}, ValueError, "4500000001 frequencies: give less"),
        (np.ones((9, 2)), {"cadence": CADENCE, "workers": 0}, ValueError, "workers=0"),
        (np.ones((9, 2)), {"cadence": CADENCE, "window": "bell"}, ValueError, "window='bell'"),
        (np.ones((9, 2)), {"cadence": CADENCE, "window": np.ones(8)}, ValueError, r"shape \(8,\)"),
        (np.ones((9, 2)), {"cadence": CADENCE, "window": np.full(9, np.nan)}, ValueError, "NaN"),
        (np.ones((9, 2)), {"cadence": CADENCE, "window": np.arange(9.0) - 4}, ValueError, "sums to zero"),
        (np.ones((9, 2)), {"cadence": CADENCE, "window": ["a"] * 9}, TypeError, "window"),
    ],
)
def test_what_cannot_be_meant_is_refused(x: object, settings: dict, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        sk.power_spectrum(x, **settings)


def test_light_curves_tell_their_own_cadence() -> None:
    curves = sk.LightCurves(CADENCE * np.arange(20), noise(20, 2))
    with pytest.raises(ValueError, match="leave cadence= out"):
        sk.power_spectrum(curves, cadence=CADENCE)
    with pytest.raises(ValueError, match="leave axis= out"):
        sk.power_spectrum(curves, axis=1)
    with pytest.raises(ValueError, match="1 cadences"):
        sk.power_spectrum(curves.select(time=slice(0, 1)))
    with pytest.raises(TypeError, match="has a unit"):
        from astropy import units

        sk.power_spectrum(np.ones((9, 2)) * units.electron, cadence=CADENCE)


@pytest.mark.parametrize("n", [1, 2, 3, 16, 255, 256, 1282])
def test_the_usual_window_is_that_of_scipy(n: int) -> None:
    expected = scipy.signal.get_window("hann", n, fftbins=True)
    if expected.any():
        np.testing.assert_array_equal(window_values("hann", n), (expected / expected.max()).astype(np.float32))
