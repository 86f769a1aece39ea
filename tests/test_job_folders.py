"""The folder of a job that searches: unfinished, interrupted, full, of another search or version, and what is left."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_sector
from small_sector import CROWDED, assert_same_products, config_for, environment, frame_files

from starskope import publishing
from starskope.cli import main
from starskope.curves.container import LightCurves
from starskope.estimates import disk_bytes
from starskope.job import run, run_async
from starskope.journal import Journal
from starskope.outcome import SIGNAL_PRODUCTS
from starskope.runconfig import program_version
from starskope.starblocks import StarBlocks

crowded_dir = small_sector.crowded_dir  # the fixtures
undisturbed = small_sector.crowded_run


def test_another_search_in_an_unfinished_folder_is_refused(
    crowded_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("starskope.job.conclude_signals", full)
        with pytest.raises(OSError, match="No space left"):
            run(config_for(crowded_dir), tmp_path)
    with Journal(tmp_path) as journal:
        assert journal.finished("stars") == {0: True, 1: True, 2: True}
    with pytest.raises(ValueError, match=r"holds another run, with other seed \(0 there, 1 now\)"):
        run(config_for(crowded_dir, seed=1), tmp_path)
    (outcome,) = run(config_for(crowded_dir), tmp_path).ccds
    assert outcome.ok


def test_the_estimate_of_the_disk_holds(
    undisturbed: Path, crowded_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured where it is largest: all blocks and all products stand side by side."""
    publish, sizes = publishing.publish_products, []

    def measured(journal: Journal, *arguments: object) -> object:
        sizes.append(sum(path.stat().st_size for path in journal.folder.rglob("*") if path.is_file()))
        return publish(journal, *arguments)

    monkeypatch.setattr("starskope.job.publish_products", measured)
    run(config_for(crowded_dir), tmp_path)
    told = disk_bytes(CROWDED.n_frame, 8, CROWDED.shape, CROWDED.n_star)
    assert sizes[0] <= told <= 4 * sizes[0]


def test_an_interrupt_among_the_stars_keeps_what_was_finished(
    undisturbed: Path, crowded_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block that is being made when the interrupt comes is made to its end: nobody writes after the run."""
    under_way: list[int] = []
    measure = StarBlocks.measure

    async def interrupted() -> None:
        task = asyncio.create_task(run_async(config_for(crowded_dir, workers=1), tmp_path))

        def told(blocks: StarBlocks, numbers: list[int]) -> None:
            under_way.extend(numbers)
            if numbers == [1]:
                loop.call_soon_threadsafe(task.cancel)
            measure(blocks, numbers)

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(StarBlocks, "measure", told)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(interrupted())
    assert under_way == [0, 1]
    with Journal(tmp_path) as journal:
        assert journal.finished("stars") == {0: True, 1: True}
    monkeypatch.setattr(StarBlocks, "measure", measure)
    run(config_for(crowded_dir), tmp_path)
    assert_same_products(tmp_path, undisturbed)


_STAGES = {
    "blocks of stars": "starskope.starblocks.StarBlocks.measure",
    "conclusions": "starskope.job.conclude_signals",
    "publishing": "starskope.job.publish_products",
}


@pytest.mark.parametrize("stage", _STAGES)
def test_a_disk_that_gets_full_on_the_way_costs_nothing_that_was_finished(
    stage: str, undisturbed: Path, crowded_dir: Path, tmp_path: Path
) -> None:
    """From a stage on the kernel refuses files beyond a size, as a full disk or a quota would."""
    owner, _, name = _STAGES[stage].rpartition(".")
    script = f"""
import pydoc, resource, sys
from starskope import publishing
from starskope.cli import main
from starskope.conclusions import conclude_signals
import starskope.job
owner, name = pydoc.locate({owner!r}), {name!r}
stage = getattr(owner, name)
def limited(*arguments, **settings):
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))
    return stage(*arguments, **settings)
setattr(owner, name, limited)
sys.exit(main(sys.argv[1:]))
"""
    out = tmp_path / "out"
    where = ["run", crowded_dir / "tess", out, "--stars", crowded_dir / "catalog.ecsv", "--tmag-max", 14]
    arguments = [*map(str, where), "--block-frames", "8", "--workers", "2"]
    command = [sys.executable, "-W", "error", "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=120)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "finished blocks are kept" in done.stderr
    assert [path.name for path in out.iterdir()] == [".work"]
    with Journal(out) as journal:
        assert len(journal.finished()) == 5
        assert len(journal.finished("stars")) == (0 if stage == "blocks of stars" else 3)
    assert main(arguments) == 0
    assert_same_products(out, undisturbed)


def test_too_few_frames_give_light_curves_and_the_reason(crowded_dir: Path, tmp_path: Path) -> None:
    frames = tuple(frame_files(crowded_dir)[:6])
    out = tmp_path / "out"
    shutil.copytree(crowded_dir / "truth", out)  # something that is not ours stays
    (out / "spectra.zarr").mkdir()  # of another run, which this one replaces
    (outcome,) = run(config_for(crowded_dir, frames=frames), out, restart=True).ccds
    assert outcome.ok
    assert outcome.no_search == "6 cadences: spectra and searches need 16 or more"
    assert LightCurves.read(out / "light_curves.zarr").n_time == 6
    assert not [name for name in SIGNAL_PRODUCTS if (out / name).exists()]
    (again,) = run(config_for(crowded_dir, frames=frames), out).ccds
    assert again.already_done
    assert again.no_search == outcome.no_search


def test_the_folder_of_an_earlier_version_is_refused(undisturbed: Path, crowded_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path / "out")
    path = tmp_path / "out" / "run.json"
    told = json.loads(path.read_text())
    for name in ("model", "seed", "flatten_window", "period_min", "period_max", "n_candidates"):
        del told["identity"][name]
    del told["products"], told["no_search"], told["stars_left_out"]
    told["counts"] = {name: told["counts"][name] for name in ("n_frame", "n_used", "n_star")}
    path.write_text(json.dumps(told))
    message = r"with other settings that the version which made it did not have \(model, .*seed\).*--restart to replace"
    with pytest.raises(ValueError, match=message):
        run(config_for(crowded_dir), tmp_path / "out")


def test_the_unfinished_work_of_an_earlier_version_is_refused(crowded_dir: Path, tmp_path: Path) -> None:
    """Its journal has another table, and knows nothing of stars; nothing of it is lost by asking."""
    work = tmp_path / "out" / ".work"
    work.mkdir(parents=True)
    content = b"of an earlier version"
    (work / "block-00000.npz").write_bytes(content)
    identity = {"CCD": "s0001-1-4", "starskope version": program_version(), "tmag_max": 14.0}
    columns = "number INTEGER PRIMARY KEY, file TEXT, n_bytes INTEGER, sha256 TEXT, complete INTEGER"
    block = (0, "block-00000.npz", len(content), hashlib.sha256(content).hexdigest(), 1)
    with contextlib.closing(sqlite3.connect(work / "journal.sqlite")) as database, database:
        database.execute("CREATE TABLE note (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        database.execute("INSERT INTO note VALUES ('identity', ?)", (json.dumps(identity),))
        database.execute(f"CREATE TABLE block ({columns})")
        database.execute("INSERT INTO block VALUES (?, ?, ?, ?, ?)", block)
    with pytest.raises(ValueError, match=r"with other settings that the version which made it did not have"):
        run(config_for(crowded_dir), tmp_path / "out")
    with Journal(tmp_path / "out") as journal:
        assert journal.finished() == {0: True}
    (outcome,) = run(config_for(crowded_dir), tmp_path / "out", restart=True).ccds
    assert outcome.ok
    assert not work.exists()


def test_what_a_kill_after_the_last_product_left_is_swept(undisturbed: Path, crowded_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    with Journal(out) as journal:
        journal.write(0, {"index": np.arange(3)}, complete=True)
        (again,) = run(config_for(crowded_dir), out).ccds  # somebody holds it: it stays
        assert again.already_done
        assert journal.path(0).exists()
    (again,) = run(config_for(crowded_dir), out).ccds
    assert again.already_done
    assert not (out / ".work").exists()
