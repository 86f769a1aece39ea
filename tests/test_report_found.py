"""The report on what was found: the right candidates, their numbers, a table that sorts, and text that stays text."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from PIL import Image
from product_folder import inputs, transiting, write_run, write_signals

from starskope.report.candidates import best_candidates
from starskope.report.evidence import gather
from starskope.report.folder import RunFolder
from starskope.report.html import document
from starskope.report.learned import most_unusual
from starskope.report.page import rebuild_page
from starskope.report.sorting import SCRIPT, Cell, sortable_table


def run_of(folder: Path) -> tuple[Path, Table]:
    stack, curves = transiting()
    frames = [{"name": f"f{k}", "time": t, "status": "stacked", "reason": ""} for k, t in enumerate(curves.time)]
    run = {**inputs()[3], "identity": {"flatten_window": 0.75, "period_min": 0.5, "period_max": None}}
    write_run(folder, stack, curves, frames, run)
    return folder, write_signals(folder, stack, curves, with_classes=True)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Table]:
    return run_of(tmp_path_factory.mktemp("found"))


@pytest.fixture(scope="module")
def page(found: tuple[Path, Table]) -> str:
    return rebuild_page(found[0])


def test_planet_binary_and_single_event_have_their_cards(page: str, found: tuple[Path, Table]) -> None:
    claims = found[1][found[1]["claim"]]
    assert {3, 5, 7} <= set(claims["star"])
    cards = dict(re.findall(r'<details id="candidate-(\d+)-0"[^>]*><summary>(.*?)</summary>', page))
    assert "TIC 9003, Tmag" in cards["3"]
    assert "planet-like" in cards["3"]
    assert "P = 1.9" in cards["3"]
    assert "binary" in cards["5"]
    assert "a single event" in cards["7"]
    assert "periods that coverage allows" in page


def test_headline_counts_are_those_of_the_table(page: str, found: tuple[Path, Table]) -> None:
    claims = found[1][found[1]["claim"]]
    single = int((claims["verdict"] == "single-event").sum())
    assert f"<b>{len(claims) - single}</b><span>transit candidates</span>" in page
    assert f"<b>{single}</b><span>single events</span>" in page


def test_every_picture_is_drawn_and_the_page_is_small(page: str) -> None:
    pictures = re.findall(r'alt="([^"]*)" src="data:image/png;base64,([A-Za-z0-9+/=]+)"', page)
    told = " ".join(text for text, _ in pictures)
    for words in (
        "events marked",
        "periodogram, folds and stamp",
        "filters of the stamps",
        "filters of the spectrograms",
    ):
        assert words in told
    assert "most unusual stars, by stamp" in told
    for _, raw in pictures:
        assert Image.open(io.BytesIO(base64.b64decode(raw))).width > 200
    assert len(page) < 2_000_000


def test_the_table_holds_every_claim_and_its_values(page: str, found: tuple[Path, Table]) -> None:
    claims = found[1][found[1]["claim"]]
    rows = re.findall(r'<tr data-kinds="claim ([^"]+)">(.*?)</tr>', page)
    assert len(rows) == len(claims)
    values = [re.findall(r'data-value="([^"]*)"', cells) for _, cells in rows]
    strength = [float(row[6]) for row in values]
    assert strength == sorted(strength, reverse=True)
    first = claims[np.argsort(-claims["snr"], kind="stable")]
    np.testing.assert_allclose(strength, first["snr"])
    planet = next(row for row in values if row[0] == "TIC 9003")
    assert float(planet[2]) == pytest.approx(1.9, rel=1e-3)
    single = next(row for row in values if row[1] == "single-event")
    assert single[2] == ""
    assert '<a href="#candidate-3-0">TIC 9003</a>' in page


def test_weak_candidates_stand_below_and_are_pale(page: str, found: tuple[Path, Table]) -> None:
    weak = page.count('<tr data-kinds="" class=weak>')
    assert 0 < weak <= 100
    assert page.index('<tr data-kinds="" class=weak>') > page.rindex('<tr data-kinds="claim')
    assert "not claimed" in page


def test_only_the_script_of_the_page_runs(page: str) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert script == SCRIPT
    assert not re.search(r"innerHTML|fetch|XMLHttp|eval|import\b|https?:|document\.write", script)
    assert not re.search(r"<[^>]+\son\w+=", page)


def test_the_same_products_give_the_same_page(page: str, found: tuple[Path, Table]) -> None:
    assert rebuild_page(found[0]) == page


def copy_of(found: tuple[Path, Table], folder: Path) -> tuple[Path, Table]:
    shutil.copytree(found[0], folder)
    return folder, found[1].copy()


def test_the_search_tells_what_the_light_upside_down_gave(found: tuple[Path, Table]) -> None:
    told = found[1].meta["inverted"]
    assert told["n_star"] == 40
    assert told["periodic"] == sorted(told["periodic"], reverse=True)
    assert 0 <= told["n_claim"] <= 2
    read = Table.read(found[0] / "candidates.ecsv", format="ascii.ecsv")
    assert read.meta["inverted"] == told


def test_inverted_counts_are_told_where_they_are_known(found: tuple[Path, Table], tmp_path: Path) -> None:
    folder, table = copy_of(found, tmp_path / "run")
    table.meta["inverted"] = {"n_star": 40, "periodic": [6.5, 5.25, 4.0], "single": [5.0], "n_claim": 2, "n_single": 1}
    table.write(folder / "candidates.ecsv", format="ascii.ecsv", overwrite=True)
    page = rebuild_page(folder)
    claims = table[table["claim"]]
    single = int((claims["verdict"] == "single-event").sum())
    assert "the curves upside down would give 2 periodic ones and 1 single events" in page
    assert f"as they are, they give {len(claims) - single} and {single}." in page
    assert "as they are and upside down" in page


def test_a_run_that_claims_nothing_says_so(found: tuple[Path, Table], tmp_path: Path) -> None:
    folder, table = copy_of(found, tmp_path / "run")
    table["claim"] = False
    table.write(folder / "candidates.ecsv", format="ascii.ecsv", overwrite=True)
    page = rebuild_page(folder)
    assert "No star passes: 40 were searched" in page
    assert "<b>0</b><span>transit candidates</span>" in page
    assert "<details id=" not in page
    assert "not claimed" in page


def test_stars_that_were_not_searched_are_named(found: tuple[Path, Table], tmp_path: Path) -> None:
    folder, _ = copy_of(found, tmp_path / "run")
    run = json.loads((folder / "run.json").read_text())
    run["stars_left_out"] = [{"first": 256, "last": 511, "reason": "MemoryError: <none>", "again": True}]
    (folder / "run.json").write_text(json.dumps(run))
    assert "Stars 256 to 511 were not searched: MemoryError: &lt;none&gt;." in rebuild_page(folder)


def test_a_run_that_did_not_search_says_why(tmp_path: Path) -> None:
    stack, curves, frames, run = inputs()
    run["no_search"] = "9 cadences: <spectra> and searches need 16 or more"
    page = rebuild_page(write_run(tmp_path / "run", stack, curves, frames, run))
    assert "None were looked for: 9 cadences: &lt;spectra&gt; and searches need 16 or more." in page
    assert "transit candidates</span>" not in page
    assert "What the machines look for" not in page


def test_nothing_from_a_catalogue_becomes_markup(tmp_path: Path) -> None:
    evil = "</td><img src=x onerror=alert(1)>"
    stack, curves = transiting()
    stars = curves.stars.copy()
    stars["name"] = [evil] * len(stars)
    stars.remove_column("tic_id")
    stars["star"] = [f'"{evil}{k}' for k in range(len(stars))]
    curves = replace(curves, stars=stars)
    frames = [{"name": evil, "time": t, "status": "stacked", "reason": evil} for t in curves.time]
    folder = write_run(tmp_path / "run", stack, curves, frames, inputs()[3])
    table = write_signals(folder, stack, curves, with_classes=True)
    table["periods_allowed"] = [evil] * len(table)
    table.write(folder / "candidates.ecsv", format="ascii.ecsv", overwrite=True)
    page = rebuild_page(folder)
    assert "<img src=x" not in page
    assert "onerror=alert(1)&gt;" in page
    assert "<b>planet" not in page
    assert "&lt;b&gt;planet&lt;/b&gt;" in page


def test_classes_are_counted_and_sorted_by_certainty(page: str) -> None:
    section = page[page.index("<h2>Classes</h2>") :]
    assert "By the given model: 20 &lt;b&gt;planet&lt;/b&gt;, 20 other" in section
    first = re.search(r'<tr data-kinds="class-0">(.*?)</tr>', section)
    assert first is not None
    assert re.findall(r'data-value="([^"]*)"', first[1])[0] == "TIC 9039"


def test_the_stars_shown_first_are_the_strongest_of_each_verdict() -> None:
    verdicts = ["binary"] * 6 + ["planet-like"] * 10 + ["single-event"] * 3 + ["ambiguous"] * 3
    n = len(verdicts)
    table = Table(
        {
            "star": np.arange(n),
            "rank": np.zeros(n, int),
            "snr": 1000.0 - np.arange(n),
            "verdict": verdicts,
            "same_as": [-1] * n,
        }
    )
    table["same_as"][6] = 0
    chosen = best_candidates(table)
    assert len(chosen) == 12
    assert [int(row["star"]) for row in chosen[:8]] == [7, 8, 9, 10, 11, 12, 13, 14]
    assert [row["verdict"] for row in chosen[8:]] == ["single-event", "single-event", "ambiguous", "ambiguous"]
    few = best_candidates(table[:5])
    assert [int(row["star"]) for row in few] == [0, 1, 2, 3, 4]


def test_evidence_is_what_the_search_saw(found: tuple[Path, Table]) -> None:
    folder = RunFolder(found[0])
    assert folder.candidates is not None
    row = next(row for row in folder.candidates if row["star"] == 3 and row["rank"] == 0)
    (evidence,) = gather(folder, [row])
    assert "BJD" in evidence.time_label
    phase = (evidence.time - evidence.t0 + 0.95) % 1.9 - 0.95
    inside = np.abs(phase) < 0.04
    assert np.nanmean(evidence.flat[inside]) == pytest.approx(1 - 0.006, abs=6e-4)
    spectrum = evidence.spectrum
    assert spectrum is not None
    highest = spectrum.period[np.argmax(spectrum.sde)]
    assert min(abs(highest / 1.9 - ratio) for ratio in (0.5, 1.0, 2.0)) < 0.01
    assert spectrum.sde.max() > 1.5 * spectrum.inverted.max()
    stamp = evidence.stamp
    assert stamp is not None
    assert stamp.radius == 2.5
    brightest = np.unravel_index(np.nanargmax(stamp.image), stamp.image.shape)
    nearest = np.hypot(*(np.vstack([[stamp.row, stamp.column], stamp.neighbours]) - brightest).T).min()
    assert nearest < 1.0


def test_stars_without_free_energy_are_not_unusual() -> None:
    assert most_unusual(np.array([1.0, np.nan, 9.0, 3.0, np.inf]), 2) == [2, 3]
    assert most_unusual(np.zeros(0)) == []


def test_cells_keep_values_apart_from_text() -> None:
    made = sortable_table(
        [("a <b>", "why", False), ("n", "", True)],
        [([Cell("x&y"), Cell("1,000", 1000.0)], ["k"], False), ([Cell("z"), Cell("", float("nan"))], [], True)],
        [("", "all"), ("k", "<k>")],
        caption='a "table"',
    )
    assert '<th scope="col" title="why">a &lt;b&gt;</th>' in made
    assert '<td data-value="x&amp;y">x&amp;y</td><td class=n data-value="1000.0">1,000</td>' in made
    assert '<td class=n data-value=""></td>' in made
    assert '<option value="k">&lt;k&gt;</option>' in made


def in_browser(path: Path, table: str, clicks: str) -> str:
    """Open a page with this table in Chromium, run ``clicks`` after the page's own script, return what stands then."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here to run the script of the page")
    path.write_text(document("table", [table], SCRIPT + clicks))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={path.parent}/profile"]
    done = subprocess.run([*command, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120)
    return done.stdout


def test_a_browser_sorts_and_filters_the_table(tmp_path: Path) -> None:
    values = [("a", 2.0, ["k"]), ("b", float("nan"), []), ("c", 10.0, ["k"]), ("d", -3.0, [])]
    rows = [([Cell(name), Cell(f"{value:g}", value)], kinds, False) for name, value, kinds in values]
    head = [("name", "", False), ("number", "", True)]
    table = sortable_table(head, rows, [("", "all"), ("k", "some")], caption="numbers")
    tell = 'document.title = [...document.querySelectorAll("tbody tr")].map(row => row.cells[0].textContent).join("");'
    number, name = (f'document.querySelectorAll("th button")[{i}].click();' for i in (1, 0))
    expected = {number: "cadb", number + number: "dacb", number + name: "abcd", name + name: "dcba"}
    for i, (clicks, order) in enumerate(expected.items()):
        shown = in_browser(tmp_path / f"{i}.html", table, clicks + tell)
        assert f"<title>{order}</title>" in shown
    assert shown.count(' aria-sort="descending"') == 1
    assert ' aria-sort="ascending"' not in shown
    choose = 'const s = document.querySelector("select"); s.value = "k"; s.dispatchEvent(new Event("change"));'
    shown = in_browser(tmp_path / "k.html", table, choose)
    assert "2 of 4 rows" in shown
    assert shown.count('hidden=""') == 2
