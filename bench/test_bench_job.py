"""The whole job in a process of its own, the making of a synthetic FFI, and the cost of the import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import harness
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from child_cost import peak_of_tree
from inputs import FullFrame

from starskope.curves.container import LightCurves
from starskope.demo import check_candidates
from starskope.frames.stack import Stack
from starskope.search.spectra import Spectra
from starskope.synth import SectorConfig, SyntheticSector
from starskope.synth.endpoint import Endpoint

Compare = Callable[..., harness.Row]
BUCKET = "stpubdata"
HEAVY = ("astropy", "numba", "astroquery", "aiobotocore", "scipy", "zarr", "matplotlib", "pyarrow")


@pytest.fixture(scope="module")
def demo_sector(endpoint: Endpoint, workspace: Path) -> tuple[SyntheticSector, Path]:
    """Write the sector of `starskope demo` and serve it; return it and its catalogue."""
    sector = SyntheticSector(SectorConfig())
    root = workspace / "sector"
    sector.write(root, what=("ffi", "catalog"))
    endpoint.put_directory(root, BUCKET)
    return sector, root / "catalog.ecsv"


@pytest.mark.timeout(900)
def test_job(compare: Compare, endpoint: Endpoint, demo_sector: tuple[SyntheticSector, Path], workspace: Path) -> None:
    sector, catalog = demo_sector
    keys = sector.frame_keys()
    peaks: list[float] = []
    steps: dict[str, float] = {}

    def ours() -> Path:
        out = workspace / f"job-{len(peaks)}"
        about = [
            "--sector",
            "1",
            "--camera",
            "1",
            "--ccd",
            "4",
            "--stars",
            str(catalog),
            "--endpoint-url",
            endpoint.url,
        ]
        peaks.append(peak_of_tree([sys.executable, "-m", "starskope", "run", *about, "--workers", "-1", str(out)]))
        return out

    def check(rival: str, out: Path, n_theirs: int) -> None:
        assert n_theirs == len(keys), rival
        stack, curves = Stack.read(out / "stack.fits"), LightCurves.read(out / "light_curves.zarr")
        assert np.isfinite(stack.image[: sector.config.n_row, 44:-44]).mean() > 0.999
        assert stack.n_frame > 0.9 * len(keys)
        assert curves.n_time > 0.95 * len(keys)
        assert np.isfinite(curves.flux).mean() > 0.8
        steps.update(json.loads((out / "run.json").read_text())["timings_s"])
        candidates = Table.read(out / "candidates.ecsv", format="ascii.ecsv")
        checks = check_candidates(candidates, curves.mask().normalize().flatten(window=0.75), sector)
        assert len(checks) == 4
        assert all(each["passed"] for each in checks), checks
        assert Spectra.read(out / "spectra.zarr", "lomb_scargle").n_star == curves.n_star
        assert len(Table.read(out / "features.parquet", format="parquet")) == curves.n_star

    row = compare(
        f"the whole job, frames to candidates, on the demo sector: {len(keys)} frames of {sector.config.n_row} x "
        f"{sector.config.n_col}, {sector.config.n_star} stars; start of the process included",
        ours,
        {
            "boto3, the same objects to nothing": floor_boto3(endpoint.url, keys),
            "s5cmd, the same objects to nothing": floor_s5cmd(endpoint.url, keys),
        },
        check=check,
        rounds=2,
        threads="all",
    )
    row.must("90 s", row.ours.best <= 90.0)
    row.must(f"1.5 GB (peak {max(peaks):.0f} MB)", max(peaks) <= 1500.0)
    row.notes.append("the rivals are a floor: they fetch and compute nothing")
    row.notes.append("; ".join(f"{step} {seconds:.1f} s" for step, seconds in steps.items()))


def floor_boto3(url: str, keys: list[str]) -> Callable[[], int]:
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        config=Config(signature_version=UNSIGNED, max_pool_connections=32),
    )

    def run() -> int:
        with ThreadPoolExecutor(8) as pool:
            return sum(pool.map(lambda key: bool(client.get_object(Bucket=BUCKET, Key=key)["Body"].read()), keys))

    return run


def floor_s5cmd(url: str, keys: list[str]) -> Callable[[], int] | None:
    program = Path(sys.executable).with_name("s5cmd")
    commands = "".join(f"cat s3://{BUCKET}/{key}\n" for key in keys)

    def run() -> int:
        command = [str(program), "--endpoint-url", url, "--no-sign-request", "run"]
        subprocess.run(command, input=commands.encode(), check=True, stdout=subprocess.DEVNULL)
        return len(keys)

    return run if program.exists() else None


def test_synthetic_ffi(compare: Compare, full_frame: FullFrame, workspace: Path) -> None:
    sector = full_frame.sector
    planes = sector.planes(1)
    mine, theirs = workspace / "ours.fits", workspace / "astropy.fits"

    def with_astropy() -> None:
        hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(plane) for plane in planes)]
        fits.HDUList(hdus).writeto(theirs, overwrite=True)

    def check(rival: str, *_: Any) -> None:
        with fits.open(mine) as ours, fits.open(theirs) as other:
            for i in (1, 2):
                np.testing.assert_array_equal(ours[i].data, other[i].data, err_msg=rival)

    row = compare(
        "make and write one full-size synthetic FFI of 10,000 stars",
        lambda: mine.write_bytes(sector.ffi_bytes(1)),
        {"astropy, writing the ready planes only": with_astropy},
        check=check,
        rounds=7,
    )
    row.must("0.5 s", row.ours.median <= 0.5)


def test_import(session: harness.Session, benchmark: Any) -> None:
    """Import time of the package above NumPy's, in fresh processes."""
    code = f"""
import sys, time, numpy
begin = time.perf_counter()
import starskope
print(time.perf_counter() - begin, *(set({HEAVY!r}) & set(sys.modules)))
"""
    numpy_code = "import time; begin = time.perf_counter(); import numpy; print(time.perf_counter() - begin)"

    def fresh(text: str) -> list[str]:
        done = subprocess.run([sys.executable, "-c", text], check=True, capture_output=True, text=True, env=os.environ)
        return done.stdout.split()

    ours, numpy = [], []
    fresh(code)
    for _ in range(9):
        took, *heavy = fresh(code)
        assert not heavy, heavy
        ours.append(float(took))
        numpy.append(float(fresh(numpy_code)[0]))
    benchmark.pedantic(fresh, args=(code,), rounds=1)
    row = session.record(
        harness.Row(
            "import starskope, above import numpy", harness.Timing(ours), {"import numpy": harness.Timing(numpy)}
        )
    )
    row.must("0.03 s", row.ours.median <= 0.03)
