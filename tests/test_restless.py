"""Frames that point off their neighbours without a flag: found, measured, and kept out of the stack."""

from __future__ import annotations

import numpy as np
import pytest

from starskope.frames.decode import decode_frame
from starskope.frames.pointing import excursions, restless
from starskope.frames.reduce import ReduceSettings, reduce_block
from starskope.frames.wcs import TanSip
from starskope.synth import SectorConfig, SyntheticSector

_SCIENCE = (slice(0, 100), slice(10, 90))


def _wcs() -> TanSip:
    return TanSip((80.0, -66.0), (50.0, 50.0), np.diag([-0.0057, 0.0057]))


def test_a_shift_is_told_in_pixels_from_the_path_of_the_steady() -> None:
    shifts = np.array([0.0, 0.0, 0.3, 0.0, 0.0, 0.0, -0.1, 0.0, 2.0])
    drift = 0.02 * np.arange(9)
    solutions = [_wcs().shifted(shift, 0.5 * shift) for shift in shifts + drift]
    steady = np.arange(9) < 8
    np.testing.assert_allclose(excursions(solutions, steady, _SCIENCE), np.abs(shifts) * np.hypot(1, 0.5), atol=1e-7)


def test_a_roll_about_the_centre_shows_at_the_corners() -> None:
    roll = 1e-3
    turn = [[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]]
    solutions = [*[_wcs()] * 6, _wcs().moved(turn, (49.5, 49.5), (0.0, 0.0))]
    corner = np.hypot(49.5, 39.5) * roll
    offsets = excursions(solutions, np.ones(7, dtype=bool), _SCIENCE)
    np.testing.assert_allclose(offsets, [*[0] * 6, corner], atol=1e-5)


def test_a_drift_over_a_gap_is_a_path_in_time() -> None:
    time = np.r_[0:6, 40:46].astype(float)
    solutions = [_wcs().shifted(0.01 * t, 0.0) for t in time]
    steady = np.ones(12, dtype=bool)
    np.testing.assert_allclose(excursions(solutions, steady, _SCIENCE, time), 0, atol=1e-7)
    assert excursions(solutions, steady, _SCIENCE).max() > 0.05
    unknown = np.where(time == 3, np.nan, time)
    assert np.isfinite(excursions(solutions, steady, _SCIENCE, unknown)).all()


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_a_few_frames_show_no_path(n: int) -> None:
    solutions = [_wcs().shifted(shift, 0.0) for shift in (0.0, 1.0, 0.0, 0.0)[:n]]
    steady = np.ones(n, dtype=bool)
    assert not restless(excursions(solutions, steady, _SCIENCE), steady, 0.05).any()


def test_a_path_that_bends_has_no_restless_frames_and_a_jump_on_it_is_one() -> None:
    steps = np.arange(32)
    bend = 0.0006 * (steps - 16.0) ** 2
    steady = np.ones(32, dtype=bool)
    offsets = excursions([_wcs().shifted(shift, 0.0) for shift in bend], steady, _SCIENCE)
    assert np.count_nonzero(offsets > 0.05) > 4
    assert not restless(offsets, steady, 0.05).any()
    jumped = bend + np.where(steps == 20, 1.0, 0.0)
    found = restless(excursions([_wcs().shifted(s, 0.0) for s in jumped], steady, _SCIENCE), steady, 0.05)
    assert np.flatnonzero(found).tolist() == [20]


def test_no_world_coordinates_is_no_verdict() -> None:
    assert np.isnan(excursions([None, None], np.ones(2, dtype=bool), _SCIENCE)).all()
    offsets = excursions([None, _wcs()], np.ones(2, dtype=bool), _SCIENCE)
    assert np.isnan(offsets[0])
    assert offsets[1] == 0.0


@pytest.fixture(scope="module")
def episode() -> tuple[SyntheticSector, range]:
    """A sector and the block of frames around its jitter episode."""
    sector = SyntheticSector(SectorConfig(n_row=96, n_col=96, n_frame=120, n_star=80))
    restless = np.flatnonzero(sector.frame_truth["episode"])
    assert restless.size > 3
    start = max(0, int(restless.mean()) - 16)
    return sector, range(start, start + 32)


def test_the_episode_of_a_sector_is_kept_out_of_the_stack_and_measured(episode) -> None:
    sector, block = episode
    frames = [decode_frame(sector.ffi_bytes(i), index=i, name=f"frame {i}") for i in block]
    product = reduce_block(frames, sector.catalog())
    truth = np.array(sector.frame_truth["episode"], dtype=bool)[list(block)]
    calm = ~truth & (product.quality == 0)
    assert product.used[calm].all()
    assert not product.used[truth].any()
    assert product.measured[truth].all()
    assert all(
        "pixels off its neighbours" in product.reasons[k] for k in np.flatnonzero(truth & (product.quality == 0))
    )
    assert np.isfinite(product.flux[truth]).any(axis=1).all()
    lenient = reduce_block(frames, None, ReduceSettings(max_offset_px=np.inf))
    assert lenient.used[truth & (product.quality == 0)].all()
