"""The transit model against batman and geometry, and what the fit recovers, with errors that hold."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import starskope as sk
from starskope.search.candidate import PERIODIC, SINGLE, Candidate
from starskope.search.grids import density_of, transit_duration
from starskope.search.series import StarSeries
from starskope.search.transit_fit import fit_transit
from starskope.search.transit_model import covered_light, exposure_moments, transit_depths
from starskope.search.transit_shape import LIMB_DARKENING

F64 = NDArray[np.float64]


@pytest.mark.parametrize("ratio", [0.001, 0.01, 0.0776, 0.2, 0.4])
@pytest.mark.parametrize("impact", [0.0, 0.3, 0.9, 1.0, 1.05])
@pytest.mark.parametrize("limb", [(0.0, 0.0), (0.4, 0.25), (0.6, 0.1)])
def test_model_agrees_with_batman(ratio: float, impact: float, limb: tuple[float, float]) -> None:
    batman = pytest.importorskip("batman")
    given = batman.TransitParams()
    given.t0, given.per, given.rp, given.a, given.ecc, given.w = 0.0, 3.0, ratio, 8.0, 0.0, 90.0
    given.inc, given.u, given.limb_dark = math.degrees(math.acos(impact / 8.0)), list(limb), "quadratic"
    offset = np.linspace(-0.2, 0.2, 501)
    theirs = 1.0 - batman.TransitModel(given, offset).light_curve(given)
    ours = transit_depths(offset, 3.0, ratio, 8.0, impact, *limb, *exposure_moments(0.0, 0.1))
    # Where centre and edge coincide batman's integrals do not converge, and it says so.
    np.testing.assert_allclose(ours, theirs, atol=1e-7)


def test_uniform_discs_overlap_as_circles_do() -> None:
    for ratio in (0.05, 0.3, 1.2):
        for distance in np.linspace(0.0, 2.3, 47):
            if distance >= 1.0 + ratio:
                area = 0.0
            elif distance <= abs(1.0 - ratio) + 1e-12:
                area = math.pi * min(ratio, 1.0) ** 2
            else:
                a = math.acos((distance**2 + ratio**2 - 1.0) / (2.0 * distance * ratio))
                b = math.acos((distance**2 + 1.0 - ratio**2) / (2.0 * distance))
                kite = (
                    (-distance + ratio + 1) * (distance + ratio - 1) * (distance - ratio + 1) * (distance + ratio + 1)
                )
                area = ratio**2 * a + b - 0.5 * math.sqrt(kite)
            assert covered_light(float(distance), ratio, 0.0, 0.0) == pytest.approx(area / math.pi, abs=2e-7)


def test_exposure_averages_and_the_far_side_takes_nothing() -> None:
    offset = np.linspace(-1.5, 1.5, 301)
    instant = transit_depths(offset, 3.0, 0.1, 8.0, 0.2, 0.4, 0.2, *exposure_moments(0.0, 0.1))
    smeared = transit_depths(offset, 3.0, 0.1, 8.0, 0.2, 0.4, 0.2, *exposure_moments(0.05, 0.1))
    assert instant[np.abs(offset) > 0.75].max() == 0.0
    assert smeared.sum() == pytest.approx(instant.sum(), rel=1e-3)
    fine = transit_depths(np.linspace(-0.025, 0.025, 1001), 3.0, 0.1, 8.0, 0.2, 0.4, 0.2, *exposure_moments(0.0, 0.1))
    assert smeared[150] == pytest.approx(fine.mean(), rel=1e-4)


def observed(ratio: float, impact: float, sigma: float, seed: int, **changes: Any) -> tuple[StarSeries, Candidate]:
    """Give two sectors with a planet of this shape, and the candidate that a search would bring."""
    period, a_rs, cadence = 3.3, 8.5, 10.0 / 1440.0
    rng = np.random.default_rng(seed)
    time = np.concatenate([np.arange(0.0, 26.0, cadence), np.arange(730.0, 756.0, cadence)])
    epoch = 1.0 + 0.3 * rng.random()
    offset = time - epoch - period * np.rint((time - epoch) / period)
    dip = transit_depths(offset, period, ratio, a_rs, impact, *LIMB_DARKENING, *exposure_moments(cadence, 0.01))
    flux = sigma * rng.standard_normal(time.size) - dip
    length = math.asin(math.sqrt((1 + ratio) ** 2 - impact**2) / a_rs) * period / math.pi
    depth = float(dip[dip > 0.5 * dip.max()].mean())
    error = sigma / math.sqrt(np.count_nonzero(dip > 0.5 * dip.max()))
    near = Candidate(
        kind=PERIODIC, period=period + 1e-5, t0=epoch + 2e-3, duration=0.8 * length, length=1.25,
        depth=depth, depth_err=error, snr=depth / error, n_transits=16.0,
    )  # fmt: skip
    return StarSeries(time, flux, np.ones(time.size), cadence), replace(near, **changes)


@pytest.mark.parametrize(("ratio", "impact"), [(0.08, 0.1), (0.05, 0.6), (0.12, 0.85)])
def test_fit_recovers_a_planet_within_its_errors(ratio: float, impact: float) -> None:
    pulls = []
    for seed in range(8):
        found = fit_transit(*observed(ratio, impact, 4e-4, seed))
        epoch = 1.0 + 0.3 * np.random.default_rng(seed).random()
        pulls.append(
            [
                (found.rp_rs - ratio) / found.rp_rs_err,
                (found.a_rs - 8.5) / found.a_rs_err,
                (found.impact - impact) / found.impact_err,
                (found.period - 3.3) / found.period_err,
                (found.t0 - epoch) / found.t0_err,
            ]
        )
        assert found.rp_rs_err < 0.1 * ratio
        assert found.density == pytest.approx(density_of(found.period, found.a_rs), rel=1e-4)
        assert found.fit_chi2 == pytest.approx(1.0, abs=0.6)
    assert np.abs(pulls).max() < 4.0
    assert np.sqrt(np.mean(np.square(pulls))) == pytest.approx(1.0, abs=0.45)


def test_density_of_the_sun_from_the_earth() -> None:
    assert density_of(365.25, 215.03) == pytest.approx(1.0, rel=2e-3)
    period = 10.0
    chord = period / (math.pi * float(transit_duration(period)))
    assert density_of(period, chord) == pytest.approx(1.0, rel=1e-9)


def test_red_noise_widens_the_errors() -> None:
    series, candidate = observed(0.08, 0.3, 4e-4, 1)
    white = fit_transit(series, candidate)
    red = fit_transit(series, replace(candidate, depth_err=4.0 * candidate.depth_err, snr=0.25 * candidate.snr))
    assert red.rp_rs_err > 1.5 * white.rp_rs_err


@pytest.mark.parametrize(
    "changes",
    [
        {"snr": 14.0},
        {"kind": SINGLE},
        {"depth": -1e-3},
        {"snr": math.nan},
        {"duration": 1e-4},
        {"t0": 28.5, "period": 1e4},
    ],
)
def test_what_cannot_be_told_stays_nan(changes: dict[str, float]) -> None:
    series, candidate = observed(0.08, 0.3, 4e-4, 1, **changes)
    found = fit_transit(series, candidate)
    assert math.isnan(found.rp_rs)
    assert found.period == candidate.period


def test_table_of_candidates_carries_the_fit() -> None:
    series, _ = observed(0.08, 0.3, 4e-4, 2)
    columns = ("rp_rs", "a_rs", "impact", "density")
    strong = sk.search_transits(1.0 + series.flux, time=series.time, period_max=10.0)
    assert strong["rp_rs"][0] == pytest.approx(0.08, abs=4.0 * strong["rp_rs_err"][0])
    assert all(np.isfinite(strong[name][0]) and strong[f"{name}_err"][0] > 0 for name in columns)
    noise = sk.search_transits(
        1.0 + series.flux[::-1] * (np.abs(series.flux) < 1e-3), time=series.time, period_max=10.0
    )
    assert all(np.isnan(noise[name][0]) for name in columns if not noise["claim"][0])
