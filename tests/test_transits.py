"""``search_transits`` as it is called: what it finds, how it names it, and that only the star's own light matters."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table
from transit_curves import dip, half_hours, quiet

from starskope.curves.container import LightCurves
from starskope.search.block import BlockSearch, search_block
from starskope.search.transits import SearchSettings, search_transits

COLUMNS = (
    "star, rank, period, t0, duration, depth, depth_err, snr, sde, n_transits, odd_even, secondary, claim, verdict, "
    "false_alarm_probability, same_as"
)


def _same(one: Table, other: Table) -> bool:
    a, b = io.StringIO(), io.StringIO()
    one.write(a, format="ascii.ecsv")
    other.write(b, format="ascii.ecsv")
    return a.getvalue() == b.getvalue()


def test_a_planet_is_found_where_it_is() -> None:
    time = half_hours()
    flux = quiet(time, 2)
    flux[:, 1] -= 2e-3 * dip(time, 3.2789, 1326.7, 0.14)
    found = search_transits(flux, time=time)
    assert ", ".join(found.colnames[:16]) == COLUMNS
    assert found["period"].unit == u.d
    assert list(found["star"][found["rank"] == 0]) == [0, 1]
    planet = found[(found["star"] == 1) & (found["rank"] == 0)][0]
    assert planet["claim"]
    assert planet["verdict"] == "planet-like"
    assert planet["period"] == pytest.approx(3.2789, rel=5e-4)
    assert planet["t0"] == pytest.approx(1326.7, abs=0.01)
    assert planet["depth"] == pytest.approx(2e-3, rel=0.1)
    assert 0.08 < planet["duration"] < 0.16
    assert planet["n_transits"] == 8
    assert planet["snr"] == pytest.approx(planet["depth"] / planet["depth_err"])
    assert planet["false_alarm_probability"] < 1e-6
    assert planet["same_as"] == -1
    assert not found["claim"][found["star"] == 0].any()


def test_several_planets_come_out_one_by_one() -> None:
    time = half_hours()
    flux = quiet(time)[:, 0] - 4e-3 * dip(time, 2.313, 1325.9, 0.1) - 2e-3 * dip(time, 5.871, 1327.2, 0.15)
    found = search_transits(flux, time=time, n_candidates=3)
    assert list(found["rank"]) == [0, 1, 2]
    assert found["period"][:2] == pytest.approx([2.313, 5.871], rel=1e-3)
    assert list(found["claim"]) == [True, True, False]
    assert len(search_transits(flux, time=time, n_candidates=1)) == 1


def test_the_first_row_does_not_depend_on_how_many_are_wanted() -> None:
    time = half_hours()
    flux = quiet(time)[:, 0] - 4e-3 * dip(time, 2.313, 1325.9, 0.1)
    one, many = (search_transits(flux, time=time, n_candidates=n) for n in (1, 4))
    assert _same(one[:1], many[:1])


def test_one_dip_is_a_single_event_with_the_periods_that_are_left() -> None:
    time = half_hours()
    flux = quiet(time)[:, 0] - 5e-3 * dip(time, np.inf, 1345.03, 0.2)
    event = search_transits(flux, time=time)[0]
    assert event["claim"]
    assert event["verdict"] == "single-event"
    assert np.isnan(event["period"])
    assert event["t0"] == pytest.approx(1345.03, abs=0.03)
    assert event["n_transits"] == 1
    # 6.5 d before lies in the gap, 6.5 d after was seen; 20.03 d is the whole way back to the first point.
    assert event["period_least"] == pytest.approx(20.0, abs=0.2)
    assert event["periods_allowed"].startswith(">")


def test_two_dips_are_one_period_apart_or_a_fraction_that_hides_in_the_gap() -> None:
    time = half_hours()
    flux = quiet(time)[:, 0] - 5e-3 * (dip(time, np.inf, 1331.0, 0.2) + dip(time, np.inf, 1346.2, 0.2))
    event = search_transits(flux, time=time)[0]
    assert event["claim"]
    assert event["verdict"] == "single-event"
    assert event["n_transits"] == 2
    assert event["period"] == pytest.approx(15.2, abs=0.03)
    # Half of it falls into the gap, 1338.6; with a third and less of it other dips would have been seen.
    assert event["periods_allowed"] == "7.601, 15.2"


@pytest.mark.parametrize("where", [1338.0, 1339.1, 1325.02])
def test_no_single_event_beside_a_gap_or_an_end(where: float) -> None:
    time = half_hours()
    flux = quiet(time)[:, 0] - 5e-3 * dip(time, np.inf, where, 0.2)
    assert not search_transits(flux, time=time)["claim"].any()


def test_no_single_event_beside_a_momentum_dump() -> None:
    time = half_hours()
    flux = quiet(time) - 5e-3 * dip(time, np.inf, 1345.0, 0.2)[:, None]
    quality = np.where(np.abs(time - 1345.15) < 0.011, 32, 0)
    assert search_transits(LightCurves(time, flux))["claim"][0]
    assert not search_transits(LightCurves(time, flux, quality=quality))["claim"].any()


@pytest.mark.parametrize("secondary", [0.25, 0.6, 0.8])
@pytest.mark.parametrize("phase", [0.5, 0.37])
def test_two_kinds_of_eclipses_are_a_binary(secondary: float, phase: float) -> None:
    time = half_hours()
    period = 2.717
    flux = quiet(time)[:, 0] - 0.02 * (
        dip(time, period, 1325.7, 0.15) + secondary * dip(time, period, 1325.7 + phase * period, 0.15)
    )
    found = search_transits(flux, time=time)
    assert found["claim"][0]
    assert found["verdict"][0] == "binary"
    assert found["period"][0] == pytest.approx(period, rel=1e-3)
    assert found["secondary"][0] == pytest.approx(0.02 * secondary, rel=0.15)
    assert found["secondary_phase"][0] == pytest.approx(phase, abs=0.02) or found["secondary_phase"][
        0
    ] == pytest.approx(1 - phase, abs=0.02)
    assert "planet-like" not in list(found["verdict"][found["claim"]])


def test_a_shallow_secondary_leaves_a_planet_a_planet() -> None:
    time = half_hours()
    flux = quiet(time, sigma=1e-4)[:, 0] - 1e-2 * (dip(time, 2.2, 1325.7, 0.15) + 0.05 * dip(time, 2.2, 1326.8, 0.15))
    found = search_transits(flux, time=time)[0]
    assert found["verdict"] == "planet-like"
    assert found["secondary"] == pytest.approx(5e-4, rel=0.3)


def test_the_radius_of_the_star_tells_a_binary() -> None:
    time = half_hours()
    flux = quiet(time, 3) - 2e-2 * dip(time, 2.2, 1325.7, 0.15)[:, None]
    flux *= 1.0 + 1e-9 * np.arange(3)
    stars = Table({"tic_id": [11, 22, 33], "rad": [1.0, 3.0, np.nan]})
    found = search_transits(LightCurves(time, flux, stars))
    first = found[found["rank"] == 0]
    assert list(first["tic_id"]) == [11, 22, 33]
    # 1.4, 4.1 and an unknown number of Jupiters; all three share the signal, which only the first may own.
    assert first["verdict"][0] == "planet-like"
    alone = search_transits(LightCurves(time, flux[:, 1:2], stars[1:2]))
    assert alone["verdict"][0] == "binary"


@pytest.mark.parametrize("period", [1.7, 5.54])
def test_a_spotted_star_claims_nothing(period: float) -> None:
    time = half_hours()
    wave = 2e-2 * np.sin(2 * np.pi * time / period) + 8e-3 * np.sin(4 * np.pi * time / period + 1.0)
    curves = LightCurves(time, quiet(time) + wave[:, None]).flatten(window=0.75)
    assert not search_transits(curves)["claim"].any()


def test_flares_and_steps_claim_nothing() -> None:
    time = half_hours()
    flux = quiet(time, 2)
    for moment in (1327.3, 1331.1, 1343.6):
        flux[:, 0] += np.where(time > moment, 0.05 * np.exp(-(time - moment) / 0.05), 0.0)
    flux[:, 1] -= np.where(time > 1333.0, 2e-3, 0.0)
    curves = LightCurves(time, flux).flatten(window=0.75)
    assert not search_transits(curves)["claim"].any()


def test_a_star_does_not_know_the_others() -> None:
    time = half_hours()
    flux = quiet(time, 7).astype(np.float32)
    flux[:, 2] -= (2e-3 * dip(time, 3.3, 1326.7, 0.14)).astype(np.float32)
    flux[:, 5] -= (0.02 * dip(time, 1.3, 1326.0, 0.12)).astype(np.float32)
    flux[::7, 3] = np.nan
    settings = SearchSettings()
    whole = search_block(LightCurves(time, flux), settings).arrays()
    for stars in ([2], [5, 0], [3, 2, 6, 1]):
        part = search_block(LightCurves(time, flux[:, stars]), settings).arrays()
        for name, values in part.items():
            # The kernel leaves out times that no star of the block has, which moves the last digits.
            np.testing.assert_allclose(values, whole[name][stars], rtol=1e-6, atol=1e-9, err_msg=name)


def test_any_number_of_workers_gives_the_same_table() -> None:
    time = half_hours(20.0)
    flux = quiet(time, 300)
    flux[:, ::50] -= 2e-3 * dip(time, 3.3, 1326.7, 0.14)[:, None]
    assert _same(search_transits(flux, time=time, workers=1), search_transits(flux, time=time, workers=3))
    # One block shares its own stars out.
    few = flux[:, 30:105]
    assert _same(search_transits(few, time=time, workers=1), search_transits(few, time=time, workers=3))


def test_a_block_travels_as_plain_arrays(tmp_path) -> None:
    time = half_hours()
    flux = quiet(time, 3)
    flux[:, 1] -= 2e-3 * dip(time, 3.3, 1326.7, 0.14)
    block = search_block(LightCurves(time, flux), SearchSettings())
    np.savez(tmp_path / "block.npz", **block.arrays())
    with np.load(tmp_path / "block.npz", allow_pickle=False) as arrays:
        back = BlockSearch.from_arrays(arrays)
    assert all(back.arrays()[name].tobytes() == values.tobytes() for name, values in block.arrays().items())
    broken = block.arrays()
    del broken["snr"]
    with pytest.raises(ValueError, match="snr"):
        BlockSearch.from_arrays(broken)


def test_time_may_run_along_either_axis() -> None:
    time = half_hours()
    flux = quiet(time, 2)
    flux[:, 1] -= 2e-3 * dip(time, 3.3, 1326.7, 0.14)
    assert _same(search_transits(flux, time=time), search_transits(flux.T, time=time, axis=1))


def test_periods_and_epochs_are_barycentric_where_the_sky_is_known() -> None:
    time = half_hours()
    # 500 s towards a star at one end of the sector, 450 s at the other: the period on the shared axis is off by 2e-5.
    observer = np.zeros((time.size, 3))
    observer[:, 0] = np.linspace(500.0, 450.0, time.size)
    direction = np.array([[1.0, 0.0, 0.0]])
    bjd = time + observer[:, 0] / 86400.0
    flux = quiet(time, sigma=5e-5) - 1e-2 * dip(bjd, 1.5, 1326.0, 0.12)[:, None]
    known = search_transits(LightCurves(time, flux, observer=observer, direction=direction))[0]
    assert known["period"] == pytest.approx(1.5, abs=1e-5)
    assert known["t0_bjd"] == pytest.approx(2457000 + 1326.0, abs=5e-4)
    assert known["t0_bjd"] - 2457000 - known["t0"] == pytest.approx(498.1 / 86400, abs=5e-6)
    unknown = search_transits(LightCurves(time, flux))[0]
    assert np.isnan(unknown["t0_bjd"])
    assert unknown["period"] == pytest.approx(1.5 * (1 + 50 / 86400 / np.ptp(time)), abs=1e-5)


def test_fast_cadences_give_the_same_planet() -> None:
    time = 1325.0 + np.arange(0.0, 12.0, 2.0 / 1440.0)
    flux = quiet(time, sigma=1e-3)[:, 0] - 4e-3 * dip(time, 2.2047, 1326.1, 0.16)
    found = search_transits(flux, time=time)[0]
    assert found["claim"]
    assert found["period"] == pytest.approx(2.2047, abs=4 * found["period_err"])
    assert found["t0"] == pytest.approx(1326.1, abs=4 * found["t0_err"])
    assert found["period_err"] < 1e-3
    assert found["t0_err"] < 3e-3


def test_errors_weigh_points_and_only_their_ratios_count() -> None:
    time = half_hours()
    rng = np.random.default_rng(3)
    errors = np.where(rng.random(time.size) < 0.5, 2e-4, 4e-3)
    flux = 1.0 + errors * rng.standard_normal(time.size) - 1e-3 * dip(time, 3.3, 1326.7, 0.14)
    weighted = search_transits(flux, time=time, flux_err=errors)[0]
    assert weighted["claim"]
    assert weighted["period"] == pytest.approx(3.3, rel=1e-3)
    scaled = search_transits(flux, time=time, flux_err=64.0 * errors)[0]
    assert scaled["snr"] == pytest.approx(weighted["snr"], rel=1e-6)
    assert search_transits(flux, time=time)["snr"][0] < 0.6 * weighted["snr"]


def test_own_periods_replace_the_grid() -> None:
    time = half_hours()
    flux = quiet(time)[:, 0] - 2e-3 * dip(time, 3.3, 1326.7, 0.14)
    found = search_transits(flux, time=time, periods=1.0 / np.linspace(1 / 3.6, 1 / 3.0, 800))
    assert found["period"][0] == pytest.approx(3.3, rel=1e-3)
