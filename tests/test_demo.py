"""The demonstration: what it must show, in the time and the memory that it may take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_sector import CONFIG, environment

from starskope.demo import run_demo, verify
from starskope.synth import SyntheticSector

MAX_JOB_S = 60.0
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
    # Two checks of the stack, one of the noise in each magnitude from 7 to 13.
    assert len(checks) == 2 + 6
    assert outcome["n_frame"] >= 400
    assert outcome["n_star"] >= 500
    told = json.loads((tmp_path / "demo" / "run.json").read_text())
    assert sum(told["timings_s"].values()) <= MAX_JOB_S
    assert usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) <= MAX_BYTES
