"""`starskope run` killed at random moments, from the first frame to the last product, ends as if untouched."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_sector
from astropy.table import Table
from small_sector import CROWDED, assert_same_products, environment, starskope

from starskope.curves.container import LightCurves
from starskope.frames.stacked import Stack
from starskope.learn.features import FeatureModel
from starskope.search.spectra import Spectra, Spectrogram

crowded_dir = small_sector.crowded_dir  # the fixture

N_KILLS = 10
# The moments differ from run to run of the test, and a failing one can be had again.
SEED = int(os.environ.get("STARSKOPE_KILL_SEED", random.SystemRandom().randrange(2**32)))


def _arguments(crowded_dir: Path, out: Path, workers: int = 2) -> list[str]:
    stars = ["--stars", crowded_dir / "catalog.ecsv", "--tmag-max", 14]
    given = ["run", crowded_dir / "tess", out, *stars, "--block-frames", 8, "--workers", workers]
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
    if (out / "spectra.zarr").exists():
        n_star = Spectra.read(out / "spectra.zarr", "lomb_scargle").n_star
        assert n_star == Spectrogram.read(out / "spectra.zarr").n_star > 0
    if (out / "candidates.ecsv").exists():
        assert len(Table.read(out / "candidates.ecsv", format="ascii.ecsv")) >= n_star
    if (out / "feature_model.npz").exists():
        assert FeatureModel.load(out / "feature_model.npz").image_rbm is not None
    if (out / "features.parquet").exists():
        assert len(Table.read(out / "features.parquet", format="parquet")) == n_star
    if (out / "run.json").exists():
        assert (out / "report.html").read_text().endswith("</html>\n")
        assert (out / "manifest.parquet").exists()


@pytest.mark.timeout(600)
def test_a_killed_run_ends_with_the_same_bytes(crowded_dir: Path, tmp_path: Path) -> None:
    print(f"STARSKOPE_KILL_SEED={SEED}")  # pytest shows it when the test fails
    assert starskope(*_arguments(crowded_dir, tmp_path / "undisturbed")).returncode == 0
    began = time.monotonic()  # Now that the kernels are compiled.
    assert starskope(*_arguments(crowded_dir, tmp_path / "again")).returncode == 0
    duration_s = time.monotonic() - began
    assert_same_products(tmp_path / "again", tmp_path / "undisturbed")
    moments = random.Random(SEED)
    n_killed, n_finished, out = 0, 0, tmp_path / "out-0"
    # A killed run is started again and killed again, until it gets through; then the next one begins from nothing.
    while n_killed < N_KILLS:
        if _run_and_kill(_arguments(crowded_dir, out), duration_s * moments.uniform(0.25, 1.0)):
            n_killed += 1
            _assert_no_half_product(out)
        else:
            assert_same_products(out, tmp_path / "undisturbed")
            n_finished += 1
            out = tmp_path / f"out-{n_finished}"
    last = starskope(*_arguments(crowded_dir, out))
    assert last.returncode == 0, last.stderr
    assert_same_products(out, tmp_path / "undisturbed")
    assert not (out / ".work").exists()


@pytest.mark.parametrize(("kind", "n_block"), [("block", 1), ("block", 4), ("stars", 1), ("stars", 3)])
def test_a_kill_after_some_blocks_keeps_them(crowded_dir: Path, tmp_path: Path, kind: str, n_block: int) -> None:
    """Not by the clock: the kill comes when so many blocks are in the journal, and they are not made again."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "starskope", *_arguments(crowded_dir, out, workers=1)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while len(list(out.glob(f".work/{kind}-*.npz"))) < n_block and process.poll() is None:
            time.sleep(0.002)
        process.kill()
    blocks = {path: path.stat().st_ino for path in out.glob(f".work/{kind}-*.npz")}
    assert len(blocks) >= n_block
    again = starskope(*_arguments(crowded_dir, out), "--json")
    assert again.returncode == 0, again.stderr
    # The first line of progress counts what was there already; a block whose commit the kill cut off is made again.
    task, sizes = {
        "block": ("frames", [8] * 5),
        "stars": ("stars searched", [256, 256, CROWDED.n_star - 512]),
    }[kind]
    kept = int(again.stderr.split(f"{task} ", 1)[1].split("/", 1)[0])
    assert kept in (sum(sizes[: len(blocks)]), sum(sizes[: len(blocks) - 1]))
    assert kept > 0 or n_block == 1
    if kind == "stars":
        assert f"frames {CROWDED.n_frame}/{CROWDED.n_frame}" in again.stderr
