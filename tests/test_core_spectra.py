"""Transforms, power spectra and spectrograms of the core against sums from their definition, by instruction set."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest
import reference_spectra as reference
from numpy.typing import NDArray
from tolerances import rtol_transform

from starskope import _core

F32 = NDArray[np.float32]
# 2 x 641, 2 x 3 x 13 x 41, a power of two, 3 x 5^2 x 157; primes with and without a smooth neighbour; a prime squared.
LENGTHS = [641, 1009, 1282, 1543, 2309, 3198, 4096, 4489, 11775]


@pytest.fixture(params=_core.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _core.isa()
    _core.use_isa(request.param)
    yield request.param
    _core.use_isa(before)


def noise(n_time: int, n_series: int, seed: int = 0) -> F32:
    return np.random.default_rng([n_time, n_series, seed]).normal(size=(n_time, n_series)).astype(np.float32)


def hann(n: int) -> F32:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)).astype(np.float32)


def rfft(x: F32, n_fft: int) -> NDArray[np.complex128]:
    out = np.empty((n_fft // 2 + 1, x.shape[1]), np.complex64)
    _core.rfft(x, out, n_fft)
    return out.astype(np.complex128)


def power(x: F32, window: F32 | None, n_fft: int) -> F32:
    out = np.full((n_fft // 2 + 1, x.shape[1]), -7.0, np.float32)
    _core.power_spectrum(x, out, window, n_fft)
    return out


@cache
def expected_transform(n: int, n_series: int) -> NDArray[np.complex128]:
    return reference.transform(noise(n, n_series), n)


def error(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Largest relative L2 error of any series."""
    return float(np.max(np.linalg.norm(found - expected, axis=0) / np.linalg.norm(expected, axis=0)))


def power_error(found: F32, expected: NDArray[np.float64]) -> float:
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    known = ~np.isnan(expected[0])
    return error(np.sqrt(found[:, known].astype(np.float64)), np.sqrt(expected[:, known]))


def test_every_length_to_300(isa: str) -> None:
    for n in range(1, 301):
        assert error(rfft(noise(n, 19), n), expected_transform(n, 19)) < rtol_transform(n), n


@pytest.mark.parametrize("n", LENGTHS)
def test_long_lengths(isa: str, n: int) -> None:
    assert error(rfft(noise(n, 5), n), expected_transform(n, 5)) < rtol_transform(n)


@pytest.mark.parametrize(
    ("n_time", "n_fft"), [(1, 7), (40, 200), (41, 82), (61, 305), (100, 128), (97, 300), (641, 1923)]
)
def test_padding(isa: str, n_time: int, n_fft: int) -> None:
    x, window = noise(n_time, 70), hann(n_time) + np.float32(0.1)
    assert error(rfft(x, n_fft), reference.transform(x, n_fft)) < rtol_transform(n_fft)
    if n_time > 1:
        assert power_error(power(x, window, n_fft), reference.power(x, window, n_fft)) < rtol_transform(n_fft)


@pytest.mark.parametrize("n", [1, 2, 5, 60, 61, 128, 641, 1282])
@pytest.mark.parametrize("n_series", [1, 31, 64, 65, 130])
def test_powers_of_series_with_gaps(isa: str, n: int, n_series: int) -> None:
    x = noise(n, n_series) * np.float32(0.01) + np.float32(1.0)
    hole = np.random.default_rng(n).random(x.shape)
    x[hole < 0.05], x[hole > 0.98] = np.nan, np.inf
    x[n // 2 : n // 2 + n // 10] = -np.inf
    x[:, 0] = np.nan
    if n_series > 2:
        x[n // 3 :, 1] = np.nan
    for window in (None, hann(n)):
        expected = reference.power(x, np.ones(n) if window is None else window, n)
        known = np.nansum(expected, axis=0) > 0  # a single point leaves nothing but its mean
        found = power(x, window, n)
        np.testing.assert_array_equal(found[:, ~known], expected[:, ~known].astype(np.float32))
        if known.any():
            assert power_error(found[:, known], expected[:, known]) < rtol_transform(n)


def test_a_sine_on_the_grid_has_its_amplitude_squared(isa: str) -> None:
    n, amplitude = 1282, 0.0123
    k = np.arange(0, n // 2 + 1, 7)
    phase = 2 * np.pi * (np.outer(np.arange(n), k) % n) / n
    x = (5.0 + amplitude * np.cos(phase)).astype(np.float32)
    for window in (None, hann(n)):
        found = power(x, window, n)
        for column, row in enumerate(k[1:-1], start=1):
            assert found[row, column] == pytest.approx(amplitude**2, rel=2e-4)  # float32 around 5.0
            assert found[:, column].argmax() == row
        assert found[:, 0].max() < 1e-12


def test_constant_series_have_no_power(isa: str) -> None:
    x = np.broadcast_to(np.float32([0.0, 1.0, -3.7e8, 1e-30, 0.1]), (60, 5)).copy()
    assert (power(x, None, 60) == 0).all()
    x[::7] = np.nan
    assert (power(x, hann(60), 120) == 0).all()
    neighbours = noise(60, 64)
    neighbours[:, 10:15] = x
    assert (power(neighbours, None, 60)[:, 10:15] == 0).all()


def test_faint_series_beside_bright_ones(isa: str) -> None:
    n = 1282
    size = np.float32(10.0) ** np.random.default_rng(3).uniform(-18, 18, 130).astype(np.float32)
    x = noise(n, 130) * size
    assert error(rfft(x, n), reference.transform(x, n)) < rtol_transform(n)
    assert power_error(power(x, hann(n), n), reference.power(x, hann(n), n)) < 2 * rtol_transform(n)


@pytest.mark.parametrize("n", [320, 641, 1282])
def test_series_that_some_rows_misjudge(isa: str, n: int) -> None:
    """Spikes between the rows from which the scatter is guessed, and a mean far from the first values."""
    x = noise(n, 128) * np.float32(1e-3) + np.float32(1.0)
    x[n // 2 + 7, ::5] += np.float32(1e6)
    x[: n // 2, 1::5] += np.float32(20.0)
    x[3 : n // 2 + 5, 2::5] = np.float32(1.0)
    assert power_error(power(x, hann(n), n), reference.power(x, hann(n), n)) < 2 * rtol_transform(n)
    odd = (0.3 + np.random.default_rng(0).random(n)).astype(np.float32)  # a window with no element near zero
    assert power_error(power(x, odd, n), reference.power(x, odd, n)) < 2 * rtol_transform(n)


def test_rows_that_share_sets_of_a_cache(isa: str) -> None:
    """Rows of a column 128 KiB apart are copied first, others are transformed as they come: with the same result."""
    n = 256
    far = np.zeros((n, 2048 + 16), np.float32)
    far[:, :64] = noise(n, 64)
    expected = reference.power(far[:, :64], hann(n), n)
    for x in (far[:, :64], np.ascontiguousarray(far[:, :2048])[:, :64]):
        out = np.empty((n // 2 + 1, 64), np.float32)
        _core.power_spectrum(x, out, hann(n), n)
        assert power_error(out, expected) < rtol_transform(n)


def test_a_large_mean_costs_nothing(isa: str) -> None:
    x = np.round(noise(1282, 7) * 64).astype(np.float32) / 64 + np.float32(2.0**17)
    assert power_error(power(x, hann(1282), 1282), reference.power(x, hann(1282), 1282)) < rtol_transform(1282)


def test_a_series_with_a_missing_point_has_no_transform(isa: str) -> None:
    x = noise(60, 40)
    x[17, 3], x[0, 20] = np.nan, np.inf
    found, whole = rfft(x, 60), np.delete(np.arange(40), [3, 20])
    assert np.isnan(found[:, [3, 20]]).all()
    assert error(found[:, whole], reference.transform(x[:, whole], 60)) < rtol_transform(60)


def test_power_is_conserved(isa: str) -> None:
    n = 3198
    x = noise(n, 33)
    total = 0.5 * power(x, None, n).astype(np.float64)  # a sine of amplitude A has the variance A**2 / 2
    total[[0, -1]] *= 2
    np.testing.assert_allclose(total.sum(axis=0), x.astype(np.float64).var(axis=0), rtol=1e-6)


@pytest.mark.parametrize("n", [128, 1282, 100])
def test_ranges_of_series_give_the_bytes_of_all(isa: str, n: int) -> None:
    x = noise(n, 200)
    x[n // 3, 70:90] = np.nan
    whole = power(x, hann(n), 3 * n)
    wide = np.full((whole.shape[0], 210), -7.0, np.float32)
    for start, stop in [(0, 64), (64, 192), (192, 200)]:
        _core.power_spectrum(x[:, start:stop], wide[:, start + 3 : stop + 3], hann(n), 3 * n)
    assert wide[:, 3:203].tobytes() == whole.tobytes()
    assert (wide[:, :3] == -7).all()
    assert (wide[:, 203:] == -7).all()


def test_the_input_is_not_written() -> None:
    x, window = noise(300, 70), hann(300)
    x[::13, 5] = np.nan
    before = x.tobytes()
    x.flags.writeable = window.flags.writeable = False
    power(x, window, 600)
    assert x.tobytes() == before


def test_instruction_sets_agree() -> None:
    answers, before = [], _core.isa()
    for name in _core.available_isas():
        _core.use_isa(name)
        answers.append(power(noise(1282, 100), hann(1282), 1282))
    _core.use_isa(before)
    for answer in answers[1:]:
        assert power_error(answer, answers[0].astype(np.float64)) < 2 * rtol_transform(1282)


def test_threads_that_meet_new_lengths_give_the_bytes_of_one() -> None:
    lengths = [701 + 2 * i for i in range(12)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: power(noise(n, 40), hann(n), n).tobytes(), lengths * 4))
    assert found == [power(noise(n, 40), hann(n), n).tobytes() for n in lengths] * 4


@pytest.mark.parametrize(("n_time", "segment", "step"), [(700, 128, 50), (256, 256, 1), (300, 1, 100), (500, 97, 97)])
def test_segments_are_power_spectra_of_their_rows(isa: str, n_time: int, segment: int, step: int) -> None:
    x, window = noise(n_time, 70), hann(segment) + np.float32(0.01)
    x[np.random.default_rng(1).random(x.shape) < 0.01] = np.nan
    x[:segment, 5] = np.nan
    n_segment, n_freq = 1 + (n_time - segment) // step, segment // 2 + 1
    wide = np.full((n_segment, n_freq, 80), -7.0, np.float32)
    _core.spectrogram(x, wide[:, :, 4:74], window, segment, step)
    for i in range(n_segment):
        rows = np.ascontiguousarray(x[i * step : i * step + segment])
        assert wide[i, :, 4:74].tobytes() == power(rows, window, segment).tobytes()
    assert (wide[:, :, :4] == -7).all()
    assert (wide[:, :, 74:] == -7).all()


def test_no_times_and_no_series() -> None:
    assert np.isnan(power(np.empty((0, 3), np.float32), None, 4)).all()
    assert np.isnan(power(np.ones((1, 3), np.float32), np.zeros(1, np.float32), 1)).all()
    assert (power(np.ones((1, 3), np.float32), None, 1) == 0).all()
    assert power(np.empty((5, 0), np.float32), None, 5).shape == (3, 0)


def good() -> dict[str, Any]:
    return {"data": noise(8, 3), "out": np.empty((5, 3), np.float32), "window": hann(8), "n_fft": 8}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_fft": 7}, "n_fft=7: cannot hold the 8 times"),
        ({"n_fft": 0}, "n_fft=0: expected 1 to"),
        ({"n_fft": 1 << 40}, "n_fft=1099511627776: expected 1 to"),
        ({"out": np.empty((4, 3), np.float32)}, "out: has shape 4 x 3, expected 5 x 3"),
        ({"out": np.empty((5, 3))}, "out: expected an array of float32"),
        ({"window": hann(7)}, "window: has 7 elements, expected 8"),
        ({"window": np.full(8, np.nan, np.float32)}, r"window\[0\]=nan: expected a finite number"),
        ({"data": noise(3, 8).T}, "data: expected contiguous rows"),
    ],
)
def test_other_sizes_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        _core.power_spectrum(**{**good(), **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"segment": 9}, "segment=9: the data have 8 times"),
        ({"step": 0}, "step=0: expected 1 to"),
        ({"out": np.empty((2, 3, 3), np.float32)}, r"out: has shape \(2, 3, 3\), expected \(3, 3, 3\)"),
        ({"out": np.empty((1, 9, 3), np.float32)}, r"out: has shape \(1, 9, 3\), expected \(3, 3, 3\)"),
        ({"out": np.empty((6, 3, 3), np.float32)[::2]}, "out: expected contiguous rows, those of all segments"),
        ({"window": hann(3)}, "window: has 3 elements, expected 4"),
    ],
)
def test_other_segments_are_refused(changes: dict[str, Any], words: str) -> None:
    settings = {"data": noise(8, 3), "out": np.empty((3, 3, 3), np.float32), "window": hann(4), "segment": 4, "step": 2}
    _core.spectrogram(**settings)
    with pytest.raises(ValueError, match=words):
        _core.spectrogram(**{**settings, **changes})
