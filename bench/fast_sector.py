"""One CCD-sector at 200 s cadence, whole: 12,000 small frames, 50,000 stars, to hold the limit of memory.

Owns that one run: ``python bench/fast_sector.py [FOLDER]`` draws some dozens of planes, serves 12,000 frames with
headers of their own, runs the job, holds the counts of the products and prints time and peak. It takes about an hour of
CPU time and 40 GB of disk, so it is no row of the table.

Refuses to judge the time: frames of 512 x 512 pixels are no full-size ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from astropy.table import Table
from child_cost import peak_of_tree
from long_sector import LongSector
from spliced_server import SplicedServer

from starskope.curves.container import LightCurves
from starskope.synth import SectorConfig

LIMIT_MB = 2000.0


def main() -> int:
    parser = argparse.ArgumentParser(description="one CCD-sector at 200 s cadence")
    parser.add_argument("folder", nargs="?", type=Path, help="where there is room; default: a temporary one")
    parser.add_argument("--frames", type=int, default=12_000)
    parser.add_argument("--stars", type=int, default=50_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="fast-sector-") as folder:
        return run(Path(folder), asked.frames, asked.stars)


def run(folder: Path, n_frame: int, n_star: int) -> int:
    """Run the job; return 1 when it took too much memory."""
    config = SectorConfig(
        n_row=512, n_col=512, n_frame=n_frame, cadence_s=200.0, n_star=n_star, n_planet=40, tmag_max=13.5, sector=56
    )
    sector = LongSector(config, n_calm=24, n_event=2)
    objects = sector.write(folder / "planes")
    sector.catalog.write(folder / "stars.ecsv", format="ascii.ecsv")
    out = folder / "out"
    with SplicedServer(objects) as server:
        command = [sys.executable, "-m", "starskope", "run", "--sector", "56", "--camera", "1", "--ccd", "4"]
        command += ["--stars", str(folder / "stars.ecsv"), "--tmag-max", "13.6", "--endpoint-url", server.url]
        began = time.perf_counter()
        peak = peak_of_tree([*command, "--workers", "-1", str(out)])
        took = time.perf_counter() - began
    told = json.loads((out / "run.json").read_text())
    counts = told["counts"]
    if (counts["n_frame"], counts["n_star"]) != (n_frame, n_star):
        raise RuntimeError(f"{counts} instead of {n_frame} frames and {n_star} stars")
    light = LightCurves.read(out / "light_curves.zarr", stars=slice(n_star - 1, n_star))
    if light.n_time != n_frame or len(Table.read(out / "features.parquet")) != n_star:
        raise RuntimeError(f"the products hold other than {n_frame} cadences or {n_star} stars")
    steps = "; ".join(f"{step} {seconds:.1f} s" for step, seconds in told["timings_s"].items())
    own = told["peak_memory_bytes"] / 1e6
    print(f"{counts}\n{took:.0f} s: {steps}\npeak {peak:.0f} MB of all processes, {own:.0f} MB of the job alone")
    return int(peak > LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())
