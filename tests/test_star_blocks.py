"""Blocks of stars: the same bytes for any number of workers, kept in the journal, and one that fails costs no other."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from starskope import starblocks
from starskope.curves.container import LightCurves
from starskope.journal import Journal
from starskope.progress import Progress
from starskope.runconfig import RunConfig
from starskope.signals import measure_block, search_from, segment_length, spectra_from
from starskope.starblocks import STARS_PER_BLOCK, StarBlocks

N_TIME, N_STAR, CADENCE = 240, 600, 1 / 48
QUIET = Progress()


def light_curves(n_star: int = N_STAR, n_time: int = N_TIME, *, offset: float = 0.0) -> LightCurves:
    """White noise with gaps; star 3 turns, star 300 has transits, star 7 no light; cadences 100 to 104 are restless."""
    rng = np.random.default_rng(5)
    steps = np.arange(n_time)
    steps[60:] += 9
    time = 1325.3 + CADENCE * steps
    flux = 1000.0 * (1.0 + 1e-3 * rng.standard_normal((n_time, n_star)))
    if n_star > 300:
        flux[100:105] *= 1.0 + 0.02 * rng.standard_normal((5, n_star))
        flux[:, 3] *= 1.0 + 0.01 * np.sin(2 * np.pi * time / 1.7)
        flux[(time - 1325.5) % 1.1 < 0.09, 300] *= 0.98
        flux[:, 7] = np.nan
    flux[rng.random(flux.shape) < 0.01] = np.nan
    stars = Table({"tic_id": np.arange(n_star) + 1000, "ra": np.full(n_star, 60.0), "dec": np.full(n_star, -60.0)})
    return LightCurves(time, flux + offset, stars, flux_err=np.ones_like(flux), meta={"flux_unit": "electron / s"})


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    with Journal(tmp_path / "out") as opened:
        opened.write(0, {"index": np.arange(3)}, complete=True)
        light_curves().write(opened.folder / "light_curves.zarr")
        yield opened


def config(**changes: object) -> RunConfig:
    return RunConfig(frames=("x",), **changes)


def make_all(blocks: StarBlocks) -> list[list[int]]:
    groups = blocks.groups()
    for group in groups:
        blocks.measure(group)
    return groups


def digests(journal: Journal) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in journal.folder.glob("stars-*.npz")}


def test_any_number_of_workers_gives_the_same_bytes(journal: Journal) -> None:
    made = {}
    for workers in (1, 2, 7):
        journal.forget("stars")
        blocks = StarBlocks(journal, N_STAR, config(workers=workers), QUIET)
        assert make_all(blocks) == {1: [[0], [1], [2]], 2: [[0, 1, 2]], 7: [[0, 1, 2]]}[workers]
        made[workers] = digests(journal)
    assert sorted(made[1]) == ["stars-00000.npz", "stars-00001.npz", "stars-00002.npz"]
    assert made[1] == made[2] == made[7]


def test_finished_blocks_are_not_made_again_and_a_damaged_one_is(journal: Journal) -> None:
    make_all(StarBlocks(journal, N_STAR, config(), QUIET))
    first = digests(journal)
    places = {path: path.stat().st_ino for path in journal.folder.glob("stars-*.npz")}
    assert make_all(StarBlocks(journal, N_STAR, config(), QUIET)) == []
    damaged = journal.path(1, "stars")
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    out = journal.folder.parent
    journal.close()
    with Journal(out) as again:
        assert make_all(StarBlocks(again, N_STAR, config(), QUIET)) == [[1]]
        assert digests(again) == first
    kept = {path for path, place in places.items() if path.stat().st_ino == place}
    assert kept == set(places) - {damaged}


def test_other_frames_make_every_block_again(journal: Journal) -> None:
    make_all(StarBlocks(journal, N_STAR, config(), QUIET))
    first = digests(journal)
    journal.write(0, {"index": np.arange(4)}, complete=True)
    light_curves(offset=50.0).write(journal.folder / "light_curves.zarr")
    assert make_all(StarBlocks(journal, N_STAR, config(), QUIET)) == [[0], [1], [2]]
    assert digests(journal) != first


def test_the_mask_is_that_of_the_ccd_for_every_block(journal: Journal) -> None:
    """The last block has 88 stars; alone, or in company, it is masked by the scatter of all."""
    blocks = StarBlocks(journal, N_STAR, config(), QUIET)
    masks = [blocks.light_curves(number).quality for number in blocks.numbers]
    assert all(np.array_equal(mask, masks[0]) for mask in masks)
    assert np.flatnonzero(masks[0]).tolist() == [100, 101, 102, 103, 104]
    assert np.array_equal(masks[0], light_curves().mask().quality)
    make_all(blocks)
    for number in blocks.numbers:
        alone = measure_block(blocks.light_curves(number), config())
        with blocks.arrays(number) as kept:
            for name, array in alone.items():
                assert kept[name].tobytes() == array.tobytes(), name


def test_a_block_holds_spectra_with_the_rotation_and_a_search_with_the_transit(journal: Journal) -> None:
    blocks = StarBlocks(journal, N_STAR, config(), QUIET)
    make_all(blocks)
    stars = blocks.star_table()
    assert len(stars) == N_STAR
    with blocks.arrays(0) as arrays:
        spectra = spectra_from(arrays, stars[blocks.stars(0)])
    # A period of 1.7 d is more than twice the window that is flattened: it must be in the spectra all the same.
    assert float(spectra.lomb_scargle.peaks()["period"][3]) == pytest.approx(1.7, rel=0.05)
    assert np.isnan(spectra.power.power[:, 7]).all()
    assert spectra.spectrogram.settings["segment"] == segment_length(N_TIME) == 32
    assert spectra.lomb_scargle.stars["tic_id"].tolist() == list(range(1000, 1256))
    with blocks.arrays(1) as arrays:
        found = search_from(arrays).candidate(300 - STARS_PER_BLOCK, 0)
    assert found.period == pytest.approx(1.1, rel=0.02)
    assert found.depth == pytest.approx(0.02, rel=0.2)


def test_a_block_that_fails_costs_no_other_and_says_why(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(curves: LightCurves, *arguments: object, **settings: object) -> dict[str, np.ndarray]:
        if curves.stars["tic_id"][0] == 1256 and np.isfinite(curves.flux).any():
            raise ZeroDivisionError("of a star nobody thought of")
        return measure_block(curves, *arguments, **settings)

    monkeypatch.setattr(starblocks, "measure_block", failing)
    blocks = StarBlocks(journal, N_STAR, config(), QUIET)
    make_all(blocks)
    (left_out,) = blocks.left_out()
    assert (left_out.first, left_out.last, left_out.again) == (256, 511, False)
    assert left_out.reason == "ZeroDivisionError: of a star nobody thought of"
    with blocks.arrays(1) as arrays:
        spectra = spectra_from(arrays, blocks.star_table()[256:512])
        assert np.isnan(search_from(arrays).inverted).all()
    assert np.isnan(spectra.power.power).all()
    # Nothing but another program would make it otherwise: it counts as done.
    assert make_all(StarBlocks(journal, N_STAR, config(), QUIET)) == []


def test_a_block_for_which_memory_ran_out_is_tried_again(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(curves: LightCurves, *arguments: object, **settings: object) -> dict[str, np.ndarray]:
        if curves.stars["tic_id"][0] == 1512 and np.isfinite(curves.flux).any():
            raise MemoryError
        return measure_block(curves, *arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(starblocks, "measure_block", hungry)
        blocks = StarBlocks(journal, N_STAR, config(), QUIET)
        make_all(blocks)
        assert [(stars.first, stars.last, stars.again) for stars in blocks.left_out()] == [(512, 599, True)]
    blocks = StarBlocks(journal, N_STAR, config(), QUIET)
    assert make_all(blocks) == [[2]]
    assert blocks.left_out() == []


@pytest.mark.parametrize(
    ("n_time", "changes", "told"),
    [
        (1, {}, r"1 cadences: spectra and searches need 16 or more"),
        (15, {}, r"15 cadences: spectra and searches need 16 or more"),
        (240, {"period_max": 40.0}, r"period 40 d is longer than the light curves, which span 5\.\d+ d"),
    ],
)
def test_light_curves_that_hold_nothing_to_look_for(
    n_time: int, changes: dict[str, object], told: str, tmp_path: Path
) -> None:
    with Journal(tmp_path) as journal:
        journal.write(0, {"index": np.arange(3)}, complete=True)
        light_curves(5, n_time).write(journal.folder / "light_curves.zarr")
        blocks = StarBlocks(journal, 5, config(**changes), QUIET)
        assert make_all(blocks) == []
        assert len(blocks.numbers) == 0
        assert re.match(told, blocks.no_search)


@pytest.mark.parametrize(("n_time", "expected"), [(16, 16), (40, 16), (240, 32), (432, 64), (1282, 256), (12000, 256)])
def test_short_light_curves_have_short_segments(n_time: int, expected: int) -> None:
    assert segment_length(n_time) == expected
