"""Run the program on files that are written here, and hold its checksums against those of the Python interface.

python check.py PROGRAM
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
from astropy.io import fits

import starskope as sk

SHAPE = (18, 23)
N_TIME = 58


def write_frames(folder: Path) -> list[Path]:
    """Write frames with noise, a variable pixel, outliers and missing values."""
    random = np.random.default_rng(20181025)
    cube = random.normal(150.0, 3.0, (N_TIME, *SHAPE))
    cube[:, 5, 7] += 20.0 * np.sin(2.0 * np.pi * np.arange(N_TIME) / 8.0)
    cube[random.random(cube.shape) < 0.02] += 900.0
    cube[3, 4, 5] = np.nan
    paths = []
    for i, plane in enumerate(cube.astype(np.float32)):
        path = folder / f"frame{i:03d}.fits"
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(plane)]).writeto(path)
        paths.append(path)
    return paths


def expected(paths: list[Path]) -> dict[str, int]:
    """Return the checksums of what Python computes from the same files."""
    stack = sk.stack([str(path) for path in paths])
    cube = np.stack([fits.getdata(path, 1).astype(np.float32) for path in paths]).reshape(N_TIME, -1)
    results = {
        "image": stack.image,
        "std": stack.std,
        "count": stack.count,
        "power": sk.power_spectrum(cube, cadence=1.0).power,
        "lomb_scargle": sk.lomb_scargle(cube, cadence=1.0).power,
    }
    return {name: zlib.crc32(np.ascontiguousarray(array)) for name, array in results.items()}


def main() -> int:
    """Compare, print both where they differ, and return the exit code."""
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        paths = write_frames(Path(folder))
        with fits.open(paths[0]) as hdus:
            offset = hdus[1].fileinfo()["datLoc"]
        command = [program, *map(str, (offset, *SHAPE)), *map(str, paths)]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
        refused = subprocess.run([program, "1000000", "1", "1", str(paths[0])], capture_output=True, text=True)
        wanted = expected(paths)
    found = {name: int(crc, 16) for name, crc in (line.split() for line in ran.stdout.splitlines())}
    for name in wanted:
        verdict = "same" if wanted[name] == found[name] else "DIFFERENT"
        print(f"{name:14} {wanted[name]:08x} {found[name]:08x} {verdict}")
    # An error of the library reaches the program as an exception.
    thrown = refused.returncode == 1 and "do not hold a plane" in refused.stderr
    print(ran.stderr.strip(), "| bad offset:", refused.stderr.strip().splitlines()[-1])
    return 0 if found == wanted and len(wanted) == 5 and thrown else 1


if __name__ == "__main__":
    sys.exit(main())
