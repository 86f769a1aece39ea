"""The oracle of the search of single stars against plain NumPy: boxes near an epoch, events, phases, noise, trends."""

from __future__ import annotations

import numpy as np
import pytest
from reference_events import box_means, split_noise
from reference_folding import box_around, event_sums, phase_sums
from reference_shape import smeared_trapezoid
from reference_single import distinct_peaks, matched_box, running_sums, unevenness

from starskope.search.detrended_spectrum import detrend, trend_bands


def _star(seed: int = 1, n: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    time = np.sort(rng.choice(np.arange(3 * n), n, replace=False)) / 48.0 + 5.0
    return time, 1e-3 * rng.standard_normal(n), rng.uniform(0.3, 2.0, n)


def test_the_box_near_an_epoch_is_the_best_of_all_boxes() -> None:
    time, flux, weight = _star()
    period, epoch, half, n_cell = 3.1, 14.2, 0.5, 20
    phase = (time - epoch) / period
    flux[np.abs((phase - np.round(phase)) * period - 0.1) < 0.12] -= 2e-3
    frequencies = 1.0 / np.array([2.9, 3.1, 3.3])
    gain, i, first, n = box_around(time, flux, weight, frequencies, epoch, half, n_cell, 2, 9)
    best = (0.0, 0, 0, 0)
    for j, f in enumerate(frequencies):
        turns = (time - epoch) * f
        cell = np.floor(((turns - np.floor(turns + 0.5)) / f + half) / (2 * half / n_cell))
        for width in range(2, 10):
            for start in range(n_cell - width + 1):
                inside = (cell >= start) & (cell < start + width)
                if not inside.any():
                    continue
                w_in, w_out = weight[inside].sum(), weight[~inside].sum()
                depth = np.average(flux[~inside], weights=weight[~inside]) - np.average(
                    flux[inside], weights=weight[inside]
                )
                if depth > 0 and depth**2 * w_in * w_out / (w_in + w_out) > best[0] * (1 + 1e-12):
                    best = (depth**2 * w_in * w_out / (w_in + w_out), j, start, width)
    assert i == 1
    assert (i, first, n) == best[1:]
    assert gain == pytest.approx(best[0], rel=1e-12)


@pytest.mark.parametrize("length", [0.0, 1.6])
def test_event_sums_are_the_sums_of_each_event(length: float) -> None:
    time, flux, weight = _star(2)
    first, count, wm, wmm, wmy = event_sums(time, flux, weight, 2.3, 7.0, 0.4, length, 0.5, 0.1)
    numbers = np.round((time - 7.0) / 2.3)
    assert first == numbers.min()
    assert count.size == numbers.max() - numbers.min() + 1
    for k in range(count.size):
        x = (time - 7.0 - (first + k) * 2.3) / 0.4
        model = smeared_trapezoid(x, 1.6, 0.5, 0.1) if length else (np.abs(x) < 0.5).astype(float)
        assert count[k] == np.count_nonzero(np.abs(x) < 0.5)
        expected = [(weight * model).sum(), (weight * model**2).sum(), (weight * model * flux).sum()]
        assert [wm[k], wmm[k], wmy[k]] == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_phase_sums_slide_over_the_end_of_the_period() -> None:
    time, flux, weight = _star(3)
    n_cell, n_box = 50, 4
    box_w, box_y = phase_sums(time, flux, weight, 1.7, 6.0, n_cell, n_box)
    cell = np.floor(((time - 6.0) / 1.7 % 1.0) * n_cell).astype(int)
    for c in (0, 7, 48, 49):
        inside = np.isin(cell, [(c + k) % n_cell for k in range(n_box)])
        assert box_w[c] == pytest.approx(weight[inside].sum())
        assert box_y[c] == pytest.approx((weight * flux)[inside].sum(), abs=1e-15)


def test_box_means_are_the_means_of_sliding_boxes() -> None:
    time, flux, weight = _star(4)
    mean, total = box_means(time, flux, weight, 0.3, 0.1)
    expected = []
    for b in range(int((time[-1] - time[0] - 0.3) / 0.1) + 1):
        start = time[0] + b * 0.1
        inside = (time >= start) & (time < start + 0.3)
        if inside.any():
            expected.append((np.average(flux[inside], weights=weight[inside]), weight[inside].sum()))
    assert mean == pytest.approx(np.array(expected)[:, 0], abs=1e-15)
    assert total == pytest.approx(np.array(expected)[:, 1])


@pytest.mark.parametrize(("red", "least", "most"), [(0.0, 0.0, 0.25), (1.0, 0.75, 1.25)])
def test_red_noise_is_what_white_noise_leaves(red: float, least: float, most: float) -> None:
    rng = np.random.default_rng(5)
    time = np.arange(6000) / 48.0
    # A level that holds for half a day is red for boxes of a quarter of a day.
    levels = red * np.repeat(rng.standard_normal(250), 24)
    flux = rng.standard_normal(6000) + levels
    white, left = split_noise(time, flux, np.ones(6000), 0.25)
    assert least <= left <= most
    assert white == pytest.approx(np.hypot(1.0, red), rel=0.1)


def test_a_trend_leaves_no_trace_and_a_peak_keeps_its_height() -> None:
    rng = np.random.default_rng(7)
    periods = np.geomspace(0.5, 13.0, 6000)
    spectrum = (3.0 + 2.0 * np.log(periods) + 0.5 * rng.standard_normal(periods.size)).astype(np.float32)
    spectrum[4000] += 10.0
    efficiency = detrend(spectrum, *trend_bands(periods))
    assert np.argmax(efficiency) == 4000
    assert efficiency[4000] == pytest.approx(20.0, abs=4.0)
    thirds = np.array_split(np.delete(efficiency, 4000), 3)
    assert [np.median(third) for third in thirds] == pytest.approx([0.0, 0.0, 0.0], abs=0.1)
    assert not detrend(np.ones(6000, np.float32), *trend_bands(periods)).any()


@pytest.mark.parametrize("n", [1, 2, 149, 150, 151, 301, 5000])
def test_bands_cover_the_grid(n: int) -> None:
    edges, centres = trend_bands(np.geomspace(0.5, 13.0, n) if n > 1 else np.array([2.0]))
    assert edges[0] == 0
    assert edges[-1] == n
    assert (np.diff(edges) > 0).all()
    assert ((centres >= edges[:-1]) & (centres < edges[1:])).all()


def test_peaks_are_not_flanks_of_each_other() -> None:
    periods = np.geomspace(0.5, 10.0, 4000)
    height = 10.0 * np.exp(-(((1 / periods - 1 / 2.0) / 0.004) ** 2)) + 6.0 * np.exp(
        -(((1 / periods - 1 / 5.0) / 0.004) ** 2)
    )
    peaks = distinct_peaks(height, periods, 27.0, 2)
    assert periods[peaks] == pytest.approx([2.0, 5.0], rel=2e-3)


def test_the_smeared_trapezoid_is_the_mean_over_the_exposure() -> None:
    def sharp(x: np.ndarray) -> np.ndarray:
        return np.clip((0.8 - np.abs(x)) / (0.8 - 0.8 * 0.4), 0.0, 1.0)

    x = np.linspace(-1.5, 1.5, 61)
    steps = (np.arange(2000) + 0.5) / 2000 - 0.5
    expected = sharp(x[:, None] + 0.3 * steps).mean(axis=1)
    assert smeared_trapezoid(x, 1.6, 0.4, 0.3) == pytest.approx(expected, abs=1e-5)
    # A V is seen less deep through the exposure: what is seen counts as 1.
    seen = np.clip(1.0 - np.abs(x[:, None] + 0.3 * steps) / 0.8, 0.0, 1.0).mean(axis=1)
    assert smeared_trapezoid(x, 1.6, 0.0, 0.3) == pytest.approx(seen / seen[30], abs=1e-5)


def test_the_matched_box_compares_with_its_flanks_and_keeps_off_gaps() -> None:
    cadence, duration = 1 / 48, 0.25
    time = np.arange(600) * cadence
    time = time[(time < 5.0) | (time > 5.5)]
    rng = np.random.default_rng(8)
    flux, weight = 1e-3 * rng.standard_normal(time.size), rng.uniform(0.5, 1.5, time.size)
    sums = running_sums(time, flux, weight, cadence)
    depth, clear, edges = matched_box(time, sums, duration, cadence)
    for i in (100, 150, 400):
        offset = time - time[i]
        inside = (offset >= -0.125 - 1e-9) & (offset < 0.125 - 1e-9)
        flanks = (offset >= -0.375 - 1e-9) & (offset < 0.375 - 1e-9) & ~inside
        expected = np.average(flux[flanks], weights=weight[flanks]) - np.average(flux[inside], weights=weight[inside])
        assert depth[i] == pytest.approx(expected, abs=1e-15)
        early, late = ((offset >= k * 0.125 - 1e-9) & (offset < (k + 1) * 0.125 - 1e-9) for k in (-1, 0))
        before, after = flanks & (offset < 0), flanks & (offset > 0)
        differences = [
            abs(np.average(flux[one], weights=weight[one]) - np.average(flux[other], weights=weight[other]))
            for one, other in ((early, late), (before, after))
        ]
        assert unevenness(sums, edges[i], i) == pytest.approx(max(differences), abs=1e-15)
    near_gap = (np.abs(time - 5.0) < 1.4 * duration) | (np.abs(time - 5.5) < 1.4 * duration)
    assert near_gap.any()
    assert not clear[near_gap].any()
    assert not clear[time < 1.4 * duration].any()
    assert clear[(time > 1.0) & (time < 4.0)].all()
    assert np.isfinite(depth[clear]).all()
    # Beside a gap the one flank that is there has to do.
    i = np.flatnonzero(time < 5.0)[-7]
    offset = time - time[i]
    inside = (offset >= -0.125 - 1e-9) & (offset < 0.125 - 1e-9)
    left = (offset >= -0.375 - 1e-9) & (offset < -0.125 - 1e-9)
    expected = np.average(flux[left], weights=weight[left]) - np.average(flux[inside], weights=weight[inside])
    assert depth[i] == pytest.approx(expected, abs=1e-15)
