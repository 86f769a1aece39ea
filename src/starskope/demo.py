"""The demonstration: a synthetic sector in an S3 server of its own, the main job against it, and the truth beside it.

Owns what is demonstrated and what is asked of the result. Refuses any shortcut: the job is the one that runs against
the real bucket, and knows nothing of the truth.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from astropy.table import Table

from starskope.curves.container import LightCurves
from starskope.frames.stacked import Stack
from starskope.job import RunConfig, run
from starskope.journal import write_atomic
from starskope.outcome import Outcome
from starskope.progress import Progress, format_duration
from starskope.report.page import rebuild_page
from starskope.synth import SectorConfig, SyntheticSector
from starskope.synth.endpoint import Endpoint
from starskope.synth.recovery import planets_in, recovered
from starskope.synth.verify import check_light_curves, check_stack
from starskope.transfer.options import TransferOptions

__all__ = ["run_demo", "verify"]

_MAX_SPREAD = 1.1
_MAX_MEDIAN = 0.1
_MAX_NOISE_RATIO = 1.3
_MIN_FOUND = 0.9
_MIN_AT_PERIOD = 0.85
_MAX_INVENTED = 0.005
_MAX_MISNAMED = 0.05


def run_demo(
    dest: Path, *, config: SectorConfig | None = None, workers: int = -1, progress: Progress | None = None
) -> tuple[Outcome, dict[str, Any]]:
    """Make the sector, serve it, run the job on it, and hold the products against the truth.

    Parameters
    ----------
    dest : Path
        Gets the products of the job, and ``sector/`` with frames, catalogue and truth.
    config : SectorConfig, optional
        Default: the demo's own, 440 frames of 256 x 256 pixels.
    workers : int
        Compute threads.
    progress : Progress, optional
        Where to tell what goes on.

    Returns
    -------
    outcome : Outcome
        Of the job.
    verification : dict
        `checks`: one mapping per check with `name`, `value`, `limit` and `passed`. It stands in ``run.json`` and in
        the report too.
    """
    progress = progress or Progress()
    sector = SyntheticSector(config)
    _write_sector(sector, dest / "sector", progress)
    where = sector.config
    with Endpoint() as endpoint:
        progress.note(f"serving the sector at {endpoint.url}")
        endpoint.put_directory(dest / "sector", prefix="tess/")
        job = RunConfig(
            sector=where.sector,
            camera=where.camera,
            ccd=where.ccd,
            catalog=dest / "sector" / "catalog.ecsv",
            tmag_max=where.tmag_max,
            workers=workers,
            options=TransferOptions(endpoint_url=endpoint.url),
        )
        (outcome,) = run(job, dest, progress=progress).ccds
    progress.note("holding stack, light curves and candidates against the truth")
    verification = verify(dest, sector)
    run_file = dest / "run.json"
    told = {**json.loads(run_file.read_text()), "verification": verification}
    write_atomic(run_file, json.dumps(told, indent=1).encode())
    write_atomic(dest / "report.html", rebuild_page(dest).encode())
    return outcome, verification


def _write_sector(sector: SyntheticSector, root: Path, progress: Progress) -> None:
    """Write the sector unless it stands there already, made by the same configuration."""
    stamp = root / "sector.json"
    made_by = json.dumps(asdict(sector.config), default=str, sort_keys=True)
    if stamp.exists() and stamp.read_text() == made_by:
        progress.note(f"{root} holds the synthetic sector already")
        return
    began = time.monotonic()
    progress.start("synthetic frames", sector.config.n_frame)
    sector.write(root, what=("ffi", "truth", "catalog"), progress=lambda done, total: progress.advance())
    progress.close()
    write_atomic(stamp, made_by.encode())
    progress.note(f"{sector.config.n_frame} frames made in {format_duration(time.monotonic() - began)}")


def verify(dest: Path, sector: SyntheticSector) -> dict[str, Any]:
    """Hold the products in `dest` against the truth of the sector; the limits are those that the project set itself.

    Returns
    -------
    dict
        `note`, and `checks`: mappings of `name`, `value`, `limit` (text) and `passed`.
    """
    stack = Stack.read(dest / "stack.fits")
    curves = LightCurves.read(dest / "light_curves.zarr")
    frames = pyarrow.parquet.read_table(dest / "manifest.parquet").to_pylist()
    status = {frame["name"]: frame["status"] for frame in frames}
    names = [key.rsplit("/", 1)[-1] for key in sector.frame_keys()]
    used = np.array([status.get(name) == "stacked" for name in names])
    pulls = check_stack(stack.image, stack.background, stack.std, stack.count, used, sector)
    checks = [
        _check("stack: spread of (stack + background - truth) / error", pulls["robust_std"], _MAX_SPREAD),
        _check("stack: |median| of the same", abs(pulls["median"]), _MAX_MEDIAN),
    ]
    seen = np.isfinite(curves.flux[curves.quality == 0]).any(axis=0)  # A star at the edge may never be measured.
    for row in check_light_curves(curves.select(stars=seen), sector):
        if row["n_star"]:
            name = f"scatter over expected noise, Tmag {row['tmag_low']:.0f}-{row['tmag_high']:.0f}"
            checks.append(_check(f"{name}, {row['n_star']} quiet isolated stars", row["ratio"], _MAX_NOISE_RATIO))
    if (dest / "candidates.ecsv").exists():
        window = json.loads((dest / "run.json").read_text())["identity"]["flatten_window"]
        candidates = Table.read(dest / "candidates.ecsv", format="ascii.ecsv")
        checks += check_candidates(candidates, curves.mask().normalize().flatten(window=window), sector)
    note = (
        f"Truth: the noise-free frames that were stacked, on {pulls['n_pixel']:,} pixels that are not saturated and "
        "hold no variable star; for the light curves the photon, sky and read noise of each aperture, the curve being "
        "divided by its running median over a day; for the candidates what each star does. A planet counts with three "
        "transits and a signal-to-noise ratio of 12: depth in the aperture over the scatter of the quiet cadences, "
        "times the square root of the cadences in transit. A claim that names the star whose light it is (same_as) is "
        "none on the quiet star."
    )
    return {"note": note, "checks": checks}


def check_candidates(candidates: Table, curves: LightCurves, sector: SyntheticSector) -> list[dict[str, Any]]:
    """Hold claims against what the stars do.

    Parameters
    ----------
    candidates : Table
        Of the job.
    curves : LightCurves
        As they were searched.
    sector : SyntheticSector
        The truth.

    Returns
    -------
    list of dict
        Checks, as `verify` returns them; those for which there is no star are left out.
    """
    planets = planets_in(curves, sector)
    counted = planets[planets["counts"]]
    kinds = dict(zip(sector.stars["tic_id"].tolist(), sector.stars["kind"].tolist(), strict=True))
    kind = np.array([kinds[int(tic)] for tic in candidates["tic_id"]])
    claimed = np.asarray(candidates["claim"], bool)
    invented = claimed & (kind == "quiet") & (np.asarray(candidates["same_as"]) < 0)
    misnamed = claimed & (kind == "binary") & (np.asarray(candidates["verdict"]) == "planet-like")
    checks = []
    if len(counted):
        found = recovered(candidates, counted)
        name = f"{len(counted)} planets of signal-to-noise 12 and more with three transits:"
        checks.append(_check_least(f"{name} found", float(np.mean(found["found"])), _MIN_FOUND))
        checks.append(
            _check_least(f"{name} found at the true period", float(np.mean(found["at_period"])), _MIN_AT_PERIOD)
        )
    for what, of, wrong, limit in (
        ("quiet stars: with a claim of their own", "quiet", invented, _MAX_INVENTED),
        ("binaries: called planet-like", "binary", misnamed, _MAX_MISNAMED),
    ):
        stars = np.unique(np.asarray(candidates["star"])[kind == of])
        if stars.size:
            share = np.unique(np.asarray(candidates["star"])[wrong]).size / stars.size
            checks.append(_check(f"{stars.size} {what}", share, limit))
    return checks


def _check(name: str, value: float, limit: float) -> dict[str, Any]:
    return {"name": name, "value": f"{value:.3f}", "limit": f"at most {limit:g}", "passed": bool(value <= limit)}


def _check_least(name: str, value: float, limit: float) -> dict[str, Any]:
    return {"name": name, "value": f"{value:.3f}", "limit": f"at least {limit:g}", "passed": bool(value >= limit)}
