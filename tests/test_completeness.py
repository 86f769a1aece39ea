"""Planets put into the light curves of a run: deep ones are found, hopeless ones are not, and errors are honest."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from starskope.cli import main
from starskope.completeness import STATUS, InjectionGrid, draw_planets, interval, map_of
from starskope.curves.container import LightCurves
from starskope.injections import PRODUCTS, FinishedRun, measure_completeness
from starskope.journal import Journal
from starskope.progress import Progress
from starskope.search.batch import conclude
from starskope.search.block import search_block
from starskope.search.false_alarm import NoiseScores, false_alarm_probability
from starskope.search.settings import SearchSettings
from starskope.signals import levelled
from starskope.synth.injection import noise_curves, with_planet
from starskope.synth.planets import Planet, separation_at

WINDOW = 0.75
N_STAR = 300
SETTINGS = SearchSettings(period_max=8.0)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run leaves of stars with white noise of 500 ppm, one of which has a planet of its own."""
    out = tmp_path_factory.mktemp("run")
    noise = noise_curves(N_STAR, 5, n_time=1000)
    flux = 1.0 + (noise.flux - 1.0) * (5e-4 / np.asarray(noise.stars["white"])).astype(np.float32)
    stars = Table({"tic_id": np.arange(1, N_STAR + 1), "rad": np.full(N_STAR, 1.0), "mass": np.full(N_STAR, 1.0)})
    stars["rad"][200:] = np.nan
    curves = LightCurves(noise.time, 1000.0 * flux, stars=stars, exposure_s=1425.6)
    own = Planet.of_depth(0.02, 2.0, float(noise.time[0]) + 0.7, separation_at(2.0), 0.1)
    lit = with_planet(curves.select(stars=[17]), [own]).flux
    curves.flux[:, 17:18] = lit
    curves.flux[:, 40] = np.nan  # a star that was never measured
    curves.write(out / "light_curves.zarr")
    read = LightCurves.read(out / "light_curves.zarr").mask()
    blocks = [
        search_block(levelled(read.select(stars=slice(first, first + 256))).flatten(WINDOW), SETTINGS)
        for first in range(0, N_STAR, 256)
    ]
    conclude(blocks, stars, SETTINGS).write(out / "candidates.ecsv", format="ascii.ecsv")
    identity = {"flatten_window": WINDOW, "period_min": 0.5, "period_max": 8.0, "n_candidates": 3}
    (out / "run.json").write_text(json.dumps({"identity": identity, "counts": {"n_star": N_STAR}}))
    return out


def grid_of(**changes: object) -> InjectionGrid:
    given = {"period_min": 0.8, "period_max": 5.0, "n_period": 2, "n_size": 2, "n_per_cell": 12}
    return InjectionGrid(**(given | {"size_min": 1e-5, "size_max": 2e-2} | changes))


@pytest.fixture(scope="module")
def measured(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map with a hopeless row of cells (10 to 450 ppm in 1 mmag noise) and a deep one."""
    dest = tmp_path_factory.mktemp("map") / "completeness"
    measure_completeness(FinishedRun(run_folder), grid_of(), dest=dest)
    return dest


def test_deep_planets_are_found_and_hopeless_ones_are_not(run_folder: Path, tmp_path: Path) -> None:
    run = FinishedRun(run_folder)
    deep = measure_completeness(run, grid_of(size_min=8e-3, n_size=1), dest=tmp_path / "deep")
    assert deep.told["n_planet"] == 24
    assert (deep.cells["recovered"] >= 0.9).all(), deep.planets["period", "depth", "status", "found_period"]
    found = deep.planets[deep.planets["status"] == "recovered"]
    np.testing.assert_allclose(found["found_period"], found["period"], rtol=0.005)
    hopeless = measure_completeness(run, grid_of(size_max=3e-5, n_size=1), dest=tmp_path / "hopeless")
    assert (hopeless.cells["recovered"] == 0.0).all()
    assert (hopeless.cells["recovered_low"] == 0.0).all()
    assert (hopeless.cells["recovered_high"] > 0.1).all()


def test_products_tell_the_same(measured: Path) -> None:
    assert sorted(path.name for path in measured.iterdir()) == sorted(PRODUCTS)
    planets, cells = (Table.read(measured / name, format="ascii.ecsv") for name in PRODUCTS[:2])
    told = json.loads((measured / "completeness.json").read_text())
    assert len(planets) == told["n_planet"] == 48
    assert sum(told["counts"].values()) == 48
    assert [cell["n_recovered"] for cell in told["cells"]] == cells["n_recovered"].tolist()
    for cell in cells:
        inside = (planets["period"] >= cell["period_low"]) & (planets["period"] < cell["period_high"])
        inside &= (planets["depth"] >= cell["size_low"] * (1 - 1e-5)) & (
            planets["depth"] < cell["size_high"] * (1 + 1e-5)
        )
        assert inside.sum() == cell["n"] == 12
        assert (planets["status"][inside] == "recovered").sum() == cell["n_recovered"]
    assert (measured / "completeness.png").read_bytes().startswith(b"\x89PNG")


def test_no_planet_is_put_before_a_star_with_a_claim_or_without_light(run_folder: Path) -> None:
    run = FinishedRun(run_folder)
    claims = run.candidates[np.asarray(run.candidates["claim"], bool)]
    assert 17 in claims["star"]
    hosts = run.hosts(with_radius=False)
    assert not {17, 40} & set(hosts.tolist())
    assert hosts.size == N_STAR - 1 - len(set(claims["star"].tolist()))
    assert run.hosts(with_radius=True).max() < 200


def test_any_number_of_workers_and_a_restart_give_the_same_tables(
    run_folder: Path, measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starskope.injections.PLANETS_PER_BLOCK", 10)
    want = [(measured / name).read_bytes() for name in PRODUCTS]
    run = FinishedRun(run_folder)
    measure_completeness(run, grid_of(), dest=tmp_path / "eight", workers=8)
    assert [(tmp_path / "eight" / name).read_bytes() for name in PRODUCTS] == want

    class Stop(Progress):
        n_left = 2

        def advance(self, steps: int = 1, n_bytes: int = 0) -> None:
            self.n_left -= 1
            if self.n_left == 0:
                raise KeyboardInterrupt

    dest = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        measure_completeness(run, grid_of(), dest=dest, progress=Stop())
    assert not (dest / "completeness.json").exists()
    with pytest.raises(ValueError, match="unfinished work with other seed"):
        measure_completeness(run, grid_of(seed=1), dest=dest)
    with Journal(dest) as journal:
        assert len(journal.finished("stars")) == 2
    searched: list[int] = []
    from starskope import injections

    judge = injections.judge_block
    monkeypatch.setattr(injections, "judge_block", lambda *given: searched.append(len(given[1])) or judge(*given))
    measure_completeness(run, grid_of(), dest=dest)
    assert searched == [10, 10, 8]
    assert [(dest / name).read_bytes() for name in PRODUCTS] == want
    assert not (dest / ".work").exists()
    measure_completeness(run, grid_of(), dest=dest)
    assert searched == [10, 10, 8]  # what stands there is told again
    with pytest.raises(ValueError, match=r"a map with other seed \(0 there, 1 now\): use --restart"):
        measure_completeness(run, grid_of(seed=1), dest=dest)


def test_more_planets_leave_those_that_were_drawn(run_folder: Path) -> None:
    run = FinishedRun(run_folder)
    hosts = run.hosts(with_radius=False)
    few, many = (draw_planets(grid_of(n_per_cell=n), run.stars, hosts, 2000.0) for n in (3, 5))
    assert set(few["period"]) < set(many["period"])
    assert (np.diff(many["star"]) >= 0).all()
    other = draw_planets(grid_of(n_per_cell=3, seed=1), run.stars, hosts, 2000.0)
    assert not set(few["period"]) & set(other["period"])
    np.testing.assert_array_less(few["t0"] - 2000.0, few["period"])


def test_a_map_over_radius(run_folder: Path) -> None:
    run = FinishedRun(run_folder)
    grid = grid_of(over="radius", size_min=1.0, size_max=12.0)
    planets = draw_planets(grid, run.stars, run.hosts(with_radius=True), 2000.0)
    assert planets["star"].max() < 200
    assert 1.0 <= planets["radius"].min() < planets["radius"].max() <= 12.0
    np.testing.assert_allclose(planets["radius_ratio"] * 109.1, planets["radius"], rtol=1e-9)
    earth = (1 / 109.1) ** 2
    assert (planets["depth"] > earth).all()


def test_a_planet_takes_the_light_it_should() -> None:
    time = np.linspace(0.0, 6.0, 6001)
    planet = Planet.of_depth(0.01, 3.0, 1.0, separation_at(3.0), 0.4)
    dip = planet.dip(time)
    assert dip[1000] == pytest.approx(0.01, rel=1e-6)
    assert dip.max() == pytest.approx(0.01, rel=1e-3)
    inside = np.abs((time - 1.0 + 1.5) % 3.0 - 1.5) < 0.5 * planet.duration
    assert (dip[inside] > 0).mean() > 0.99
    assert not dip[~inside].any()
    # A central transit of a small planet before the Sun: half a chord's time at a day's period is 13 h / 365.25^(1/3).
    small = Planet(365.25, 0.0, 1e-4, separation_at(365.25), 0.0)
    assert small.duration * 24 == pytest.approx(13.0, abs=0.1)
    # Averaging over the exposure rounds the edges and keeps the area.
    smeared = planet.dip(time, 0.05)
    assert smeared.sum() == pytest.approx(dip.sum(), rel=2e-3)
    assert (smeared > 0).sum() > (dip > 0).sum()


def test_intervals_cover_as_often_as_they_say() -> None:
    rng = np.random.default_rng(3)
    for true in (0.02, 0.3, 0.9):
        limits = np.array([interval(int(k), 15) for k in rng.binomial(15, true, 4000)])
        assert np.mean((limits[:, 0] <= true) & (true <= limits[:, 1])) >= 0.67
    assert interval(0, 1)[0] == 0.0
    assert interval(20, 20)[1] == 1.0
    low, high = interval(10, 20)
    assert low == pytest.approx(1 - high)
    assert 0.5 * (high - low) == pytest.approx(math.sqrt(0.25 / 20), rel=0.2)


def test_cells_count_what_lies_in_them() -> None:
    grid = grid_of(n_per_cell=2)
    planets = Table({"cell_period": [0, 0, 0, 0, 1, 1, 1, 1], "cell_size": [0, 0, 1, 1, 0, 0, 1, 1]})
    status = np.array([0, 1, 1, 1, 2, 3, 0, 0], np.int8)
    cells = map_of(grid, planets, status)
    assert cells["n_recovered"].tolist() == [1, 2, 0, 0]
    assert cells["n_alias"].tolist() == [0, 0, 1, 0]
    assert cells["n_single"].tolist() == [0, 0, 1, 0]
    assert STATUS[1] == "recovered"


def test_noise_travels_with_the_table(run_folder: Path) -> None:
    inverted = np.random.default_rng(2).gumbel(4.5, 0.3, 400)
    counts = inverted > 5.2
    scores = np.array([3.0, 5.0, 5.5, 9.0, np.nan])
    noise = NoiseScores.from_json(json.loads(json.dumps(NoiseScores.of(inverted, counts, (4.54, 0.28)).as_json())))
    want = false_alarm_probability(scores, inverted, counts, (4.54, 0.28))
    np.testing.assert_array_equal(noise.probability(scores), want)
    table = Table.read(run_folder / "candidates.ecsv", format="ascii.ecsv")
    periodic = np.isfinite(table["period"]) & (table["n_transits"] >= 3)
    kept = NoiseScores.from_json(table.meta["inverted"]["noise"]["periodic"])
    np.testing.assert_allclose(
        kept.probability(np.asarray(table["snr"], float)[periodic]),
        table["false_alarm_probability"][periodic],
        rtol=1e-6,
    )


def test_the_command_tells_cells_and_goes_on(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["inject", str(run_folder), "--cells", "1", "2", "--per-cell", "4", "--period-max", "4"]
    words += ["--output", str(tmp_path / "map"), "--workers", "2"]
    assert main([*words, "--json"]) == 0
    said = capsys.readouterr()
    cells = [json.loads(line) for line in said.out.splitlines()]
    assert [cell["n"] for cell in cells] == [4, 4]
    assert cells[0]["size_low"] == pytest.approx(3e-4)
    assert "planets searched" in said.err
    assert main(words) == 0
    said = capsys.readouterr()
    assert "holds the map already" in said.err
    assert len(said.out.splitlines()) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--period-max", "30"], "the run searched 0.5 to 8 d"),
        (["--depth-min", "500", "--depth-max", "400"], "expected the first below the second"),
        (["--depth-max", "400000"], "expected up to 0.25"),
        (["--radius-min", "1"], "needs both --radius-min and --radius-max"),
        (["--radius-min", "1", "--radius-max", "9", "--depth-min", "100"], "not both"),
        (["--cells", "0", "3"], "n_period=0: expected 1 or more"),
        (["--per-cell", "1000000"], "take fewer per cell"),
        (["--depth-min", "nan"], "expected a finite number"),
    ],
)
def test_wrong_use_is_one_line(
    run_folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["inject", str(run_folder), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (run_folder / "completeness").exists()


def test_folders_without_a_searched_run_are_refused(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inject", str(tmp_path)]) == 2
    assert "holds no finished run" in capsys.readouterr().err
    copy = tmp_path / "copy"
    shutil.copytree(run_folder, copy)
    table = Table.read(copy / "candidates.ecsv", format="ascii.ecsv")
    del table.meta["inverted"]["noise"]
    table.write(copy / "candidates.ecsv", format="ascii.ecsv", overwrite=True)
    assert main(["inject", str(copy)]) == 2
    assert "kept no false-alarm statistics" in capsys.readouterr().err
    (copy / "candidates.ecsv").unlink()
    assert main(["inject", str(copy)]) == 2
    assert "did not search" in capsys.readouterr().err
