"""The last step of a job: ``run.json``, the report, and the final name of every product.

Owns what ``run.json`` tells, and the order in which products appear: everything is whole and on the disk before the
first name changes, and ``run.json`` comes last. Refuses to compute: what is published here was made by
`starskope.products` and `starskope.conclusions`.
"""

from __future__ import annotations

import json
import platform
import re
import resource
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from starskope.conclusions import SignalSummary
from starskope.framelist import CcdId, FrameList
from starskope.journal import Journal, publish
from starskope.outcome import FRAME_PRODUCTS, PRODUCTS, REPORT_PRODUCTS, Outcome, read_outcome
from starskope.products import Assembled
from starskope.progress import Progress
from starskope.report.helper import PageHelper
from starskope.report.page import rebuild_page
from starskope.runconfig import RunConfig, program_version

__all__ = ["publish_products", "versions"]


def publish_products(
    journal: Journal,
    out: Path,
    config: RunConfig,
    known: Mapping[str, Any],
    frames: FrameList,
    assembled: Assembled,
    found: SignalSummary,
    timings: dict[str, float],
    progress: Progress,
    helper: PageHelper | None = None,
) -> Outcome:
    """Draw the report and give every product in the working folder its final name, ``run.json`` last.

    Parameters
    ----------
    journal : Journal
        Of the job; it ends here when nothing is worth another try.
    out : Path
        Output directory.
    config, known, frames
        What was asked, the identity of the job, and its frames.
    assembled, found
        What the frames and the light curves gave.
    timings : dict
        Seconds per step; that of the report is added.
    progress : Progress
        Where to tell what goes on.
    helper : PageHelper, optional
        That was asked before for what was observed.
    """
    made = {*FRAME_PRODUCTS, *found.products, *REPORT_PRODUCTS}
    n_star = assembled.n_star
    n_off_ccd = int(journal.note("n_catalog") or 0) - n_star
    work = journal.folder
    counts = {"n_frame": len(frames), "n_used": assembled.n_used, "n_star": n_star, **found.counts()}
    run = {
        "title": _title(frames.ccd),
        "summary": f"{len(frames)} frames, {n_star} stars to Tmag {config.tmag_max:g}{_off_ccd(n_off_ccd)}",
        "complete": assembled.complete and found.complete,
        "ccd": frames.ccd._asdict(),
        "counts": counts,
        "left_out": [asdict(frame) for frame in assembled.left_out],
        "stars_left_out": [asdict(stars) for stars in found.left_out],
        "no_search": found.no_search,
        "no_classes": found.no_classes,
        "stars_off_ccd": n_off_ccd,
        "masked_quality": found.quality,
        "science": assembled.science_limits,
        "identity": dict(known),
        "versions": versions(),
        "products": [name for name in PRODUCTS if name in made],
        "timings_s": timings,
        "peak_memory_bytes": 0,
    }
    for name in set(PRODUCTS) - made:
        _remove(work / name)  # Of an earlier start of this job.
    progress.note("drawing the report")
    began = time.monotonic()
    (work / "run.json").write_text(json.dumps(run, indent=1))
    if helper is not None and found.products:
        helper.ask("learned", run)
    page = rebuild_page(work, helper)
    timings["report"] = time.monotonic() - began
    run["peak_memory_bytes"] = peak_memory()
    (work / "report.html").write_text(page)
    (work / "run.json").write_text(json.dumps(run, indent=1))
    # Everything is on this disk by now: from here on names change, and `run.json` comes last.
    for name in PRODUCTS:
        if name in made:
            publish(work / name, out / name)
        else:
            _remove(out / name)  # Of another run, that this one replaces.
    if run["complete"]:
        journal.remove()
    return replace(read_outcome(run, out), already_done=False, timings_s=timings)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _off_ccd(n_star: int) -> str:
    return f", {n_star} star{'s' if n_star > 1 else ''} of the catalogue off the CCD" if n_star > 0 else ""


def peak_memory() -> int:
    """Return the largest resident set of this process so far, bytes.

    Linux counts into ``ru_maxrss`` what the parent held when it started this process (getrusage(2) does not say so;
    ``exec_mmap`` of the kernel does it), so there the peak is that of the address space: ``VmHWM`` of proc(5).
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return largest if sys.platform == "darwin" else 1024 * largest
    (largest_kib,) = re.findall(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    return 1024 * int(largest_kib)


def versions() -> dict[str, str]:
    """Return what the results were made with."""
    from starskope._core import isa

    libraries = {
        name: metadata.version(name) for name in ("numpy", "scipy", "astropy", "zarr", "numba", "scikit-learn")
    }
    here = {"starskope": program_version(), "instruction set": isa(), "python": platform.python_version()}
    return {**here, **libraries}


def _title(ccd: CcdId) -> str:
    return f"Sector {ccd.sector}, camera {ccd.camera}, CCD {ccd.ccd}" if ccd.sector else "Full frame images"
