"""`starskope run` killed at random moments ends as if nobody had touched it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_sector
from small_sector import assert_same_products, environment, starskope

from starskope.curves.container import LightCurves
from starskope.frames.stacked import Stack

sector_dir = small_sector.sector_dir  # the fixture

N_KILLS = 10
# The moments differ from run to run of the test, and a failing one can be had again.
SEED = int(os.environ.get("STARSKOPE_KILL_SEED", random.SystemRandom().randrange(2**32)))


def _arguments(sector_dir: Path, out: Path) -> list[str]:
    catalog = sector_dir / "catalog.ecsv"
    given = ["run", sector_dir / "tess", out, "--stars", catalog, "--tmag-max", 14, "--block-frames", 8, "--workers", 2]
    return [str(argument) for argument in given]


def _run_and_kill(arguments: list[str], after_s: float) -> bool:
    """Start the command, SIGKILL it after a while, and tell whether that came before its end."""
    command = [sys.executable, "-m", "starskope", *arguments]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            process.wait(timeout=after_s)
        except subprocess.TimeoutExpired:
            process.kill()
            return True
        assert process.returncode == 0
        return False


def _assert_no_half_product(out: Path) -> None:
    """What stands under a final name is whole, and `run.json` stands only beside everything else."""
    if (out / "stack.fits").exists():
        assert Stack.read(out / "stack.fits").n_frame > 0
    if (out / "light_curves.zarr").exists():
        assert LightCurves.read(out / "light_curves.zarr").n_time > 0
    if (out / "run.json").exists():
        assert (out / "report.html").read_text().endswith("</html>\n")
        assert (out / "manifest.parquet").exists()


@pytest.mark.timeout(600)
def test_a_killed_run_ends_with_the_same_bytes(sector_dir: Path, tmp_path: Path) -> None:
    print(f"STARSKOPE_KILL_SEED={SEED}")  # pytest shows it when the test fails
    began = time.monotonic()
    assert starskope(*_arguments(sector_dir, tmp_path / "undisturbed")).returncode == 0
    duration_s = time.monotonic() - began
    moments = random.Random(SEED)
    n_killed, n_finished, out = 0, 0, tmp_path / "out-0"
    # A killed run is started again and killed again, until it gets through; then the next one begins from nothing.
    while n_killed < N_KILLS:
        if _run_and_kill(_arguments(sector_dir, out), duration_s * moments.uniform(0.25, 1.0)):
            n_killed += 1
            _assert_no_half_product(out)
        else:
            assert_same_products(out, tmp_path / "undisturbed")
            n_finished += 1
            out = tmp_path / f"out-{n_finished}"
    last = starskope(*_arguments(sector_dir, out))
    assert last.returncode == 0, last.stderr
    assert_same_products(out, tmp_path / "undisturbed")
    assert not (out / ".work").exists()


@pytest.mark.parametrize("n_block", [1, 4])
def test_a_kill_after_some_blocks_keeps_them(sector_dir: Path, tmp_path: Path, n_block: int) -> None:
    """Not by the clock: the kill comes when so many blocks are in the journal, and they are not made again."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "starskope", *_arguments(sector_dir, out)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while len(list(out.glob(".work/block-*.npz"))) < n_block and process.poll() is None:
            time.sleep(0.002)
        process.kill()
    blocks = {path: path.stat().st_ino for path in out.glob(".work/block-*.npz")}
    assert len(blocks) >= n_block
    again = starskope(*_arguments(sector_dir, out), "--json")
    assert again.returncode == 0, again.stderr
    # The first line of progress counts what was there already; a block whose commit the kill cut off is made again.
    kept = int(again.stderr.split("frames ", 1)[1].split("/", 1)[0])
    assert kept in (8 * len(blocks), 8 * (len(blocks) - 1))
    assert kept > 0 or n_block == 1
