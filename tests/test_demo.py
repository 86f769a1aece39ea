"""The demonstration: what it must show, in the time and the memory that it may take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.table import Table
from small_sector import CONFIG, environment, starskope

from starskope.curves.container import LightCurves
from starskope.demo import check_candidates, run_demo, verify
from starskope.synth import SyntheticSector

MAX_JOB_S = 90.0
MAX_BYTES = 1.5e9


def test_a_small_sector_is_served_reduced_and_held_against_the_truth(tmp_path: Path) -> None:
    config = CONFIG.replace(seed=4, n_row=96, n_col=96, n_star=120)
    outcome, verification = run_demo(tmp_path, config=config, workers=2)
    assert outcome.ok
    assert outcome.n_star > 100
    told = json.loads((tmp_path / "run.json").read_text())
    assert told["verification"] == verification
    page = (tmp_path / "report.html").read_text()
    assert "Checked against the truth" in page
    assert all(check["name"] in page for check in verification["checks"] if "/" not in check["name"])
    assert not (tmp_path / ".work").exists()
    # With everything claimed, both checks of false claims fail.
    sector = SyntheticSector(config)
    curves = LightCurves.read(tmp_path / "light_curves.zarr").mask().normalize().flatten(window=0.75)
    candidates = Table.read(tmp_path / "candidates.ecsv", format="ascii.ecsv")
    everything = candidates.copy()
    everything["claim"], everything["same_as"] = True, -1
    everything["verdict"] = ["planet-like"] * len(everything)
    assert not any(check["passed"] for check in check_candidates(everything, curves, sector)[-2:])
    # The check can fail: against the truth of another sky nothing fits.
    other = verify(tmp_path, SyntheticSector(config.replace(zodiacal_e_s=3 * config.zodiacal_e_s)))
    assert not other["checks"][0]["passed"] or not other["checks"][1]["passed"]


@pytest.mark.timeout(600)
def test_the_demo_shows_what_it_promises(tmp_path: Path) -> None:
    """The command itself, in a process of its own, on the sector that a stranger gets."""
    process = starskope("demo", tmp_path / "demo", "--json", timeout=600)
    records = [json.loads(line) for line in process.stdout.splitlines()]
    assert records, process.stderr
    outcome, checks = records[0], records[1:]
    failed = [check for check in checks if not check["passed"]]
    assert not failed
    assert process.returncode == 0, process.stderr
    # Two checks of the stack, one of the noise in each magnitude from 7 to 13, four of the candidates.
    assert len(checks) == 2 + 6 + 4
    (told,) = [check["name"] for check in checks if check["name"].endswith("found")]
    assert int(told.split()[0]) >= 8  # planets that count
    assert outcome["n_frame"] >= 400
    assert outcome["n_star"] >= 500
    # With nothing claimed, both checks of the planets fail.
    curves = LightCurves.read(tmp_path / "demo" / "light_curves.zarr").mask().normalize().flatten(window=0.75)
    nothing = Table.read(tmp_path / "demo" / "candidates.ecsv", format="ascii.ecsv")
    nothing["claim"] = False
    assert not any(check["passed"] for check in check_candidates(nothing, curves, SyntheticSector())[:2])
    told = json.loads((tmp_path / "demo" / "run.json").read_text())
    assert 1e8 < told["peak_memory_bytes"] <= MAX_BYTES
    assert sum(told["timings_s"].values()) <= MAX_JOB_S


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system has no /proc/self/status")
def test_the_peak_of_memory_leaves_out_what_the_parent_held() -> None:
    """Linux counts it into ru_maxrss: a job started by a large process would seem large."""
    grown = 300_000_000
    peak = "from starskope.publishing import peak_memory; import numpy; numpy.ones({}); print(peak_memory())"
    parent = (
        "import subprocess, sys, numpy; held = numpy.ones(50_000_000);"
        "print(subprocess.run([sys.executable, '-c', sys.argv[1]], capture_output=True, text=True).stdout)"
    )
    told = [
        int(subprocess.run(command, capture_output=True, text=True, env=environment(), check=True).stdout)
        for command in (
            [sys.executable, "-c", parent, peak.format(1)],
            [sys.executable, "-c", peak.format(1)],
            [sys.executable, "-c", peak.format(grown // 8)],
        )
    ]
    assert told[0] == pytest.approx(told[1], rel=0.1)
    assert grown <= told[2] - told[1] + 1e7 <= grown + 2e7
