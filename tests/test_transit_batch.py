"""What needs the whole batch, and what is said of a candidate: false alarms, shared signals, claims, verdicts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table
from transit_curves import dip, half_hours, quiet

from starskope.curves.container import LightCurves
from starskope.search.batch import conclude
from starskope.search.block import search_block
from starskope.search.candidate import PERIODIC, SINGLE, Candidate
from starskope.search.candidate_table import ranges_text
from starskope.search.false_alarm import PERIODIC_PRIOR, false_alarm_probability
from starskope.search.settings import SearchSettings
from starskope.search.shared_signals import shared_signals
from starskope.search.transits import search_transits
from starskope.search.verdict import passes, radius_in_jupiters, verdict

PLANET = Candidate(
    kind=PERIODIC,
    period=3.0,
    t0=1.0,
    duration=0.1,
    depth=0.01,
    depth_err=0.0005,
    snr=20.0,
    sde=15.0,
    n_transits=8.0,
    n_consistent=8.0,
    steadiness=0.95,
    odd_even=0.0,
    odd_even_err=0.001,
    secondary=0.0005,
    secondary_err=0.0005,
    n_secondary=8.0,
    bump=2.0,
    sine_ratio=5.0,
    flat_bottom=0.7,
    flat_bottom_max=0.8,
    score=20.0,
)


@pytest.mark.parametrize(
    ("changes", "radius", "expected"),
    [
        ({}, 1.0, "planet-like"),
        ({}, np.nan, "planet-like"),
        ({"odd_even": 0.002, "odd_even_err": 0.0003}, 1.0, "binary"),
        ({"odd_even": -0.002, "odd_even_err": 0.0003}, 1.0, "binary"),
        ({"odd_even": 0.002, "odd_even_err": 0.0005}, 1.0, "ambiguous"),
        ({"odd_even": 0.0005, "odd_even_err": 0.00005}, 1.0, "ambiguous"),
        ({"secondary": 0.002, "secondary_err": 0.0003}, 1.0, "binary"),
        ({"secondary": 0.002, "secondary_err": 0.0003, "n_secondary": 1.0}, 1.0, "ambiguous"),
        ({"secondary": 0.0009, "secondary_err": 0.00001}, 1.0, "planet-like"),
        ({"secondary": 0.002, "secondary_err": 0.00045}, 1.0, "ambiguous"),
        ({"flat_bottom_max": 0.2}, 1.0, "ambiguous"),
        ({}, 2.3, "binary"),
        ({"depth": 0.1}, np.nan, "ambiguous"),
        ({"depth": 0.1}, 0.35, "planet-like"),
        ({"n_transits": 2.0}, 1.0, "single-event"),
        ({"kind": SINGLE}, 1.0, "single-event"),
        ({"kind": 0.0}, 1.0, "ambiguous"),
    ],
)
def test_verdicts(changes, radius, expected) -> None:
    assert verdict(replace(PLANET, **changes), radius) == expected


def test_a_radius_is_in_jupiters() -> None:
    # Jupiter takes 1.0 % of the light of the Sun.
    assert radius_in_jupiters(0.01056, 1.0) == pytest.approx(1.0, rel=1e-3)
    assert np.isnan(radius_in_jupiters(-0.1, 1.0))
    assert np.isnan(radius_in_jupiters(0.01, np.nan))


@pytest.mark.parametrize(
    "changes",
    [
        {"snr": 6.9},
        {"sde": 5.4},
        {"n_consistent": 4.0},
        {"steadiness": 0.4},
        {"sine_ratio": 1.2},
        {"bump": 14.0},
        {"same_orbit": 1.0},
        {"n_transits": 2.0, "n_consistent": 2.0, "snr": 11.9, "bump": 0.0},
        {"n_transits": 1.0, "n_consistent": 1.0},
        {"snr": np.nan},
        {"kind": SINGLE, "snr": 11.9, "contrast": 9.0},
        {"kind": SINGLE, "contrast": 1.4},
        {"kind": 0.0},
    ],
)
def test_every_test_of_a_claim_can_fail(changes) -> None:
    assert passes(PLANET, SearchSettings())
    assert passes(replace(PLANET, kind=SINGLE, contrast=2.0), SearchSettings())
    assert not passes(replace(PLANET, **changes), SearchSettings())


def test_false_alarms_follow_the_inverted_scores() -> None:
    rng = np.random.default_rng(1)
    noise = PERIODIC_PRIOR[0] + PERIODIC_PRIOR[1] * rng.gumbel(size=4000)
    scores = PERIODIC_PRIOR[0] - PERIODIC_PRIOR[1] * np.log(-np.log([0.9, 0.99, 0.999]))
    found = false_alarm_probability(scores, noise, np.zeros(4000, bool), PERIODIC_PRIOR)
    assert found == pytest.approx([0.1, 0.01, 0.001], rel=0.3)
    assert (np.diff(false_alarm_probability(np.arange(3.0, 30.0), noise, noise > 9, PERIODIC_PRIOR)) <= 0).all()
    louder = false_alarm_probability(scores, 1.5 * noise, np.zeros(4000, bool), PERIODIC_PRIOR)
    assert (louder > 5 * found).all()


def test_one_file_has_false_alarms_of_its_own() -> None:
    for inverted in ([], [4.5], [np.nan], [8.0]):
        found = false_alarm_probability(
            np.array([4.5, 7.0, 300.0, 1e6, np.nan]), np.array(inverted), np.ones(len(inverted), bool), PERIODIC_PRIOR
        )
        assert found[0] > 0.3
        assert 0 < found[3] <= found[2] < found[1] < 0.01
        assert np.isnan(found[4])


def test_inverted_candidates_that_would_be_claimed_count_from_the_second_on() -> None:
    inverted = np.full(999, 4.6)
    counts = np.zeros(999, bool)
    inverted[:3] = (20.0, 30.0, 40.0)
    quiet_batch = false_alarm_probability(np.array([25.0]), inverted, counts, PERIODIC_PRIOR)
    assert quiet_batch[0] < 1e-10
    counts[:3] = True
    counted = false_alarm_probability(np.array([45.0, 35.0, 25.0, 15.0]), inverted, counts, PERIODIC_PRIOR)
    assert (counted[:2] < 1e-10).all()
    assert counted[2:] == pytest.approx([1 / 1000, 2 / 1000])


def test_a_shared_signal_names_the_star_that_loses_most_light() -> None:
    depths = [0.001, 0.02, 0.0005, 0.01]
    found = [replace(PLANET, depth=depth, t0=1.0 + 0.01 * i) for i, depth in enumerate(depths)]
    found.append(replace(PLANET, t0=2.5))
    found.append(replace(PLANET, period=3.2))
    found.append(replace(PLANET, period=6.0005, t0=4.0))
    brightness = np.array([100.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    same_as, crowded = shared_signals(np.arange(7), found, np.ones(7, bool), brightness)
    assert list(same_as) == [-1, 0, 0, 0, -1, -1, 0]
    assert not crowded.any()
    assert list(shared_signals(np.arange(7), found, np.zeros(7, bool), brightness)[0]) == [-1] * 7


def test_two_planets_of_one_star_share_nothing() -> None:
    same_as, _ = shared_signals(np.array([4, 4]), [PLANET, PLANET], np.ones(2, bool), np.ones(5))
    assert list(same_as) == [-1, -1]


def test_what_many_stars_share_is_the_detectors() -> None:
    found = [replace(PLANET, depth=0.01 + 0.001 * i) for i in range(7)]
    same_as, crowded = shared_signals(np.arange(7), found, np.ones(7, bool), np.ones(7))
    assert list(same_as) == [6] * 6 + [-1]
    assert list(crowded) == [True] * 6 + [False]
    lone = [replace(one, kind=SINGLE, period=np.nan) for one in found]
    assert list(shared_signals(np.arange(7), lone, np.ones(7, bool), np.ones(7))[0]) == [6] * 6 + [-1]


def test_a_neighbour_in_the_light_of_a_binary_is_ambiguous() -> None:
    time = half_hours()
    eclipses = dip(time, 2.7, 1325.7, 0.15) + 0.5 * dip(time, 2.7, 1327.05, 0.15)
    flux = quiet(time, 4)
    flux[:, 1] -= 0.1 * eclipses
    flux[:, 3] -= 0.004 * eclipses
    stars = Table({"tic_id": [1, 2, 3, 4], "median_flux": [50.0, 1000.0, 70.0, 900.0]})
    first = search_transits(LightCurves(time, flux, stars))
    first = first[first["rank"] == 0]
    assert list(first["claim"]) == [False, True, False, True]
    assert list(first["same_as"]) == [-1, -1, -1, 1]
    assert list(first["verdict"][first["claim"]]) == ["binary", "ambiguous"]


def test_blocks_join_in_order_and_must_be_of_these_stars() -> None:
    time = half_hours()
    flux = quiet(time, 5)
    flux[:, 3] -= 2e-3 * dip(time, 3.3, 1326.7, 0.14)
    settings = SearchSettings()
    blocks = [search_block(LightCurves(time, flux[:, part]), settings) for part in (slice(0, 2), slice(2, 5))]
    joined = conclude(blocks, Table({"tic_id": [7, 8, 9, 10, 11]}), settings)
    whole = search_transits(flux, time=time)
    assert list(joined["star"]) == list(whole["star"])
    assert joined["snr"] == pytest.approx(whole["snr"], nan_ok=True)
    assert list(joined["tic_id"][joined["claim"]]) == [10]
    assert joined.meta["inverted"]["n_star"] == 5
    assert joined.meta["inverted"]["n_claim"] == 0
    with pytest.raises(ValueError, match="4 rows for 5"):
        conclude(blocks, Table({"tic_id": [7, 8, 9, 10]}), settings)


def test_ranges_are_written_short() -> None:
    ranges = np.array([[7.6, 7.6], [15.2, 16.13], [25.0, np.inf], [np.nan, np.nan]])
    assert ranges_text(ranges) == "7.6, 15.2-16.13, >25"
    assert ranges_text(np.full((3, 2), np.nan)) == ""
