"""The report page: complete, self-contained, deterministic, and closed to what files and the network put into names."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from product_folder import N_STAR, N_TIME, inputs, write_run

from starskope.curves.container import LightCurves
from starskope.frames.stacked import Stack
from starskope.report.noise import StarNoise, medians, point_to_point
from starskope.report.page import rebuild_page


def page_of(folder: Path, *products: Any) -> str:
    return rebuild_page(write_run(folder, *products))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page_of(tmp_path_factory.mktemp("run"), *inputs())


def test_point_to_point_scatter_ignores_slow_changes_and_finds_the_noise() -> None:
    generator = np.random.Generator(np.random.Philox(5))
    time = np.linspace(0, 1, 20_000)[:, None]
    slow = 1 + 0.5 * np.sin(2 * np.pi * time)
    flux = (1000 * slow + generator.normal(0, [5.0, 20.0], (time.size, 2))).astype(np.float32)
    np.testing.assert_allclose(point_to_point(flux), [0.005, 0.020], rtol=0.05)


def test_stars_without_enough_data_have_no_noise() -> None:
    flux = np.full((30, 3), np.nan, np.float32)
    flux[:8, 0] = 1.0  # seven differences
    flux[:, 1] = -1.0
    assert np.isnan(point_to_point(flux)).all()


def test_medians_leave_out_what_is_missing() -> None:
    np.testing.assert_array_equal(medians(np.array([[1.0, np.nan], [3.0, np.nan], [np.inf, np.nan]])), [2.0, np.nan])


def test_noise_agrees_with_errors_that_are_true() -> None:
    _, curves, _, _ = inputs()
    noise = StarNoise.measure(curves, np.ones(N_TIME, bool))
    assert noise.ratio == pytest.approx(1.0, abs=0.1)
    np.testing.assert_allclose(noise.expected, 1e-3, rtol=1e-3)
    assert len(set(noise.examples())) == 6


def test_the_star_that_varies_is_shown_first() -> None:
    _, curves, _, _ = inputs()
    flux = curves.flux.copy()
    flux[:, 4] *= (1 + 0.1 * np.sin(np.arange(N_TIME) / 8)).astype(np.float32)
    assert StarNoise.measure(replace(curves, flux=flux), np.ones(N_TIME, bool)).examples()[0] == 4


def test_the_page_loads_nothing(page: str) -> None:
    references = re.findall(r"""(?:src|href|url|action)\s*[=(]\s*["']?([^"'\s>)]+)""", page)
    assert references
    assert all(reference.startswith("data:image/png;base64,") for reference in references)
    assert page.count("<script") == 1
    assert "http" not in re.sub(r"http-equiv", "", page)


def test_every_picture_is_a_png(page: str) -> None:
    pictures = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page)
    assert len(pictures) == 6  # stack, background, coverage, scatter, light curves, sky in time
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)


def test_headline_numbers(page: str) -> None:
    for number, text in (("60", "of 60 frames stacked"), ("0", "frames left out"), ("12", "light curves")):
        assert f"<b>{number}</b><span>{text}</span>" in page
    assert "<b>3.5 s</b><span>from start to page</span>" in page


def test_the_same_products_give_the_same_page(page: str, tmp_path: Path) -> None:
    assert page_of(tmp_path, *inputs()) == page


def test_names_and_reasons_are_escaped(tmp_path: Path) -> None:
    stack, curves, frames, run = inputs()
    evil = "<script>alert('x')</script>"
    frames.append({"name": evil, "time": float("nan"), "status": "left out", "reason": f'"{evil}'})
    frames.append({"name": "b.fits", "time": float("nan"), "status": "flagged", "reason": evil})
    run |= {"title": evil, "summary": evil, "identity": {evil: evil}, "versions": {"starskope": evil}}
    run["verification"] = {"note": evil, "checks": [{"name": evil, "value": evil, "limit": evil, "passed": False}]}
    page = page_of(tmp_path, stack, curves, frames, run)
    assert page.count("<script") == 1
    assert page.count("&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;") >= 10


def test_frames_left_out_are_listed_with_the_reason(tmp_path: Path) -> None:
    stack, curves, frames, run = inputs()
    frames.append({"name": "bad.fits", "time": float("nan"), "status": "left out", "reason": "truncated at byte 9"})
    frames += [{"name": f"dump{k}", "time": float("nan"), "status": "flagged", "reason": "dump"} for k in range(3)]
    page = page_of(tmp_path, stack, curves, frames, run)
    assert "<td class=name>bad.fits</td><td class=name>truncated at byte 9</td>" in page
    assert "<td class=name>3</td><td class=name>dump</td>" in page
    assert '<div class="tile warn"><b>1</b><span>frames left out</span></div>' in page


def test_reasons_that_differ_in_a_number_are_told_together(tmp_path: Path) -> None:
    stack, curves, frames, run = inputs()
    for offset in (0.11, 0.28, 0.2):
        reason = f"points {offset} pixels off its neighbours"
        frames.append({"name": "x", "time": float("nan"), "status": "flagged", "reason": reason})
    frames.append({"name": "x", "time": float("nan"), "status": "flagged", "reason": "DQUALITY 32: momentum dump"})
    page = page_of(tmp_path, stack, curves, frames, run)
    assert "<td class=name>3</td><td class=name>points 0.11 to 0.28 pixels off its neighbours</td>" in page
    assert "<td class=name>1</td><td class=name>DQUALITY 32: momentum dump</td>" in page


def test_a_long_list_is_cut_and_says_where_the_rest_is(tmp_path: Path) -> None:
    stack, curves, frames, run = inputs()
    frames += [{"name": f"bad{k}", "time": float("nan"), "status": "left out", "reason": "x"} for k in range(100)]
    assert "and 40 more: see manifest.parquet" in page_of(tmp_path, stack, curves, frames, run)


def test_failed_checks_are_marked(tmp_path: Path) -> None:
    stack, curves, frames, run = inputs()
    run["verification"] = {
        "note": "",
        "checks": [
            {"name": "spread", "value": "0.9", "limit": "at most 1.1", "passed": True},
            {"name": "noise", "value": "1.9", "limit": "at most 1.3", "passed": False},
        ],
    }
    page = page_of(tmp_path, stack, curves, frames, run)
    assert "<td class=good>passed" in page
    assert "<td class=bad>FAILED" in page


def test_poor_data_still_give_a_page(tmp_path: Path) -> None:
    """No sky coordinates, no background, one cadence, stars without magnitude or flux."""
    stack, curves, frames, run = inputs()
    bare = Stack(stack.image * np.nan, stack.count * 0, stack.std)
    flux = np.full((1, N_STAR), np.nan, np.float32)
    poor = LightCurves(curves.time[:1], flux, Table({"name": [str(k) for k in range(N_STAR)]}))
    page = page_of(tmp_path, bare, poor, frames[:1], run)
    assert "<b>unknown</b><span>scatter / expected noise</span>" in page
    assert "Too few cadences, or no magnitudes: nothing to compare." in page


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no finished run \(run.json is missing\): give the OUT"):
        rebuild_page(tmp_path)
