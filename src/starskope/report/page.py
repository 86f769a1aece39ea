"""The report page: one HTML file with everything in it, readable without a network.

Owns the order of the sections and the headline numbers. Refuses everything else: sections stand in modules of their
own, the products are read by `starskope.report.folder`.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np

from starskope.report.candidates import candidate_sections
from starskope.report.folder import RunFolder
from starskope.report.helper import PARTS, PageHelper
from starskope.report.html import document, section, table, tiles
from starskope.report.observed import verification_section
from starskope.report.sorting import SCRIPT

__all__ = ["rebuild_page"]


def rebuild_page(folder: Path, helper: PageHelper | None = None) -> str:
    """Read the products of a run and return its report as one HTML text.

    Parameters
    ----------
    folder : Path
        Output folder: ``run.json``, ``manifest.parquet``, ``stack.fits``, ``light_curves.zarr`` and, where the run
        searched, ``candidates.ecsv``, ``spectra.zarr``, ``features.parquet`` and ``feature_model.npz``.
    helper : PageHelper, optional
        Makes some of the sections meanwhile; the page is the same.

    Raises
    ------
    ValueError
        `folder` holds no finished run.
    FrameError
        A product is damaged.

    Notes
    -----
    Deterministic for the same products and library versions. Light curves are read as a sample and star by star, so
    memory does not grow with the field.
    """
    products = RunFolder(folder)
    run = products.run
    title = str(run["title"])
    settings = [(name, value) for group in ("identity", "versions") for name, value in run[group].items()]
    timings = [(name, f"{seconds:.2f} s") for name, seconds in run["timings_s"].items()]
    candidates = candidate_sections(products)
    learned, observed = (
        PARTS[part](products) if helper is None else helper.answer(part, products) for part in ("learned", "observed")
    )
    body = [
        f"<header><h1>{escape(title)}</h1><p>{escape(str(run.get('summary', '')))}</p></header>",
        _headline(products, observed["noise_ratio"]),
        verification_section(run["verification"]) if run.get("verification") else "",
        candidates,
        learned["html"],
        observed["html"],
        section("Where the time went", table(("step", "time"), timings)),
        section("Configuration", table(("what", "value"), settings)),
        f"<footer>starskope {escape(str(run['versions'].get('starskope', '')))}</footer>",
    ]
    return document(title, body, SCRIPT)


def _headline(products: RunFolder, noise_ratio: float) -> str:
    frames, run = products.frames, products.run
    n_left_out = sum(frame["status"] == "left out" for frame in frames)
    n_stacked = sum(frame["status"] == "stacked" for frame in frames)
    entries = [
        (f"{n_stacked:,}", f"of {len(frames):,} frames stacked", False),
        (f"{n_left_out:,}", "frames left out", n_left_out > 0),
        (f"{len(products.stars):,}", "light curves", False),
        (f"{products.sample.n_time:,}", "cadences each", False),
    ]
    if products.candidates is not None:
        claims = products.candidates[np.asarray(products.candidates["claim"], bool)]
        single = int((np.asarray(claims["verdict"]) == "single-event").sum())
        entries.append((f"{len(claims) - single:,}", "transit candidates", False))
        entries.append((f"{single:,}", "single events", False))
    entries.append((f"{noise_ratio:.2f}" if np.isfinite(noise_ratio) else "unknown", "scatter / expected noise", False))
    entries.append((f"{sum(run['timings_s'].values()):.1f} s", "from start to page", False))
    return tiles(entries)
