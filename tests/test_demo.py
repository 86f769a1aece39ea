"""The demonstration: what it must show, in the time and the memory that it may take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.table import Table
from small_sector import CONFIG, environment

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
    command = [sys.executable, "-W", "error", "-m", "starskope", "demo", str(tmp_path / "demo"), "--json"]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = process.stdout.read().decode()
        noise = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    records = [json.loads(line) for line in said.splitlines()]
    assert records, noise
    outcome, checks = records[0], records[1:]
    failed = [check for check in checks if not check["passed"]]
    assert not failed
    assert process.returncode == 0, noise
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
    assert usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) <= MAX_BYTES
