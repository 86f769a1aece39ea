"""``starskope inject``: the completeness of a finished run, block by block, and what is written of it.

Owns the reading of the run, the stars that may be drawn, the blocks in their journal (a stopped command goes on there),
and the products under their names. Refuses to judge a planet (`starskope.completeness`) and to touch the
run's own files.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from starskope.completeness import STATUS, InjectionGrid, Judge, draw_planets, judge_block, map_of, stellar
from starskope.curves.container import LightCurves
from starskope.curves.masks import judges
from starskope.curves.zarr_arrays import STARS_PER_CHUNK, get_stars, open_store
from starskope.journal import Journal, publish
from starskope.parallel import map_ranges, ranges
from starskope.progress import Progress
from starskope.report.completeness import draw_completeness
from starskope.runconfig import describe_difference, program_version
from starskope.search.settings import SearchSettings

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["PRODUCTS", "Completeness", "FinishedRun", "measure_completeness"]

PRODUCTS = ("injections.ecsv", "completeness.ecsv", "completeness.png", "completeness.json")
"""In the order in which they get their final names; the last tells that all are there."""
PLANETS_PER_BLOCK = 128
LEAST_SEEN = 0.5
"""Part of the cadences without flags at which a star must have been measured."""
_TOLD = "completeness.json"


@dataclass(frozen=True)
class Completeness:
    """What a run would have found.

    Attributes
    ----------
    planets : astropy.table.Table
        One row per planet: what was drawn, ``status``, and the claim that decided.
    cells : astropy.table.Table
        See `starskope.completeness.map_of`.
    told : dict
        What ``completeness.json`` holds.
    """

    planets: Table
    cells: Table
    told: dict[str, Any]


class FinishedRun:
    """Light curves, stars and settings of a finished run.

    Parameters
    ----------
    out : Path
        Its output directory.

    Raises
    ------
    ValueError
        No finished run, one that did not search, or one of a version that did not tell what it took for noise.
    """

    def __init__(self, out: Path) -> None:
        from astropy.table import Table

        try:
            self.told: dict[str, Any] = json.loads((out / "run.json").read_text())
        except FileNotFoundError:
            remedy = "give the OUT of `starskope run`, one CCD of several"
            raise ValueError(f"{out} holds no finished run (run.json is missing): {remedy}") from None
        self.out = out
        self.store = out / "light_curves.zarr"
        candidates = out / "candidates.ecsv"
        if not candidates.is_file():
            reason = self.told.get("no_search") or "candidates.ecsv is missing"
            raise ValueError(f"the run in {out} did not search its light curves: {reason}")
        self.candidates: Table = Table.read(candidates, format="ascii.ecsv")
        known = self.told["identity"]
        self.settings = SearchSettings(
            period_min=known["period_min"], period_max=known["period_max"], n_candidates=known["n_candidates"]
        )
        inverted = self.candidates.meta.get("inverted", {})
        if "noise" not in inverted:
            raise ValueError(
                f"the run in {out} was made by a version that kept no false-alarm statistics: "
                "run it again with --restart"
            )
        self.judge = Judge.of_run(self.settings, float(known["flatten_window"]), inverted)
        self.stars: Table = get_stars(self.store, open_store(self.store, "light curves"), "light curves")
        sample = LightCurves.read(self.store, stars=judges(len(self.stars))).mask()
        self.quality, self.time = sample.quality, sample.time

    def period_range(self) -> tuple[float, float]:
        """Return the shortest and longest period that the run searched."""
        grid = self.settings.grid(self.time)
        if grid is None:
            raise ValueError("the light curves are too short for any period that the run searched")
        return float(grid.periods.min()), float(grid.periods.max())

    def chunk(self, number: int) -> LightCurves:
        """Read neighbouring stars as they were measured, with the mask of the CCD in their flags."""
        start = number * STARS_PER_CHUNK
        read = LightCurves.read(self.store, stars=slice(start, min(start + STARS_PER_CHUNK, len(self.stars))))
        return replace(read, quality=self.quality)

    def hosts(self, *, with_radius: bool) -> NDArray[np.intp]:
        """Return the stars that planets may be put before: measured, without a claim of their own.

        Raises
        ------
        ValueError
            There is none.
        """
        claimed = np.unique(np.asarray(self.candidates["star"])[np.asarray(self.candidates["claim"], bool)])
        fit = np.ones(len(self.stars), bool)
        fit[claimed] = False
        if with_radius:
            fit &= np.isfinite(stellar(self.stars)[0])
        good = self.quality == 0
        for number, (start, stop) in enumerate(ranges(len(self.stars), STARS_PER_CHUNK)):
            seen = np.isfinite(self.chunk(number).flux[good]).mean(axis=0)
            fit[start:stop] &= seen >= LEAST_SEEN
        if not fit.any():
            what = "with a known radius (column rad), " if with_radius else ""
            raise ValueError(f"no star {what}measured at half of the good cadences and without a claim of its own")
        return np.flatnonzero(fit)

    def of_planets(self, planets: Table) -> LightCurves:
        """Read the light curves of the stars of these planets, one column per row; rows are ordered by star."""
        stars = np.asarray(planets["star"])
        parts = []
        for number in np.unique(stars // STARS_PER_CHUNK).tolist():
            here = stars[stars // STARS_PER_CHUNK == number] - number * STARS_PER_CHUNK
            parts.append(self.chunk(number).select(stars=here))
        return side_by_side(parts)


def side_by_side(parts: list[LightCurves]) -> LightCurves:
    """Join light curves of one time axis and one kind."""
    from astropy.table import vstack

    first = parts[0]

    def joined(name: str, axis: int) -> Any:
        arrays = [getattr(part, name) for part in parts]
        return None if arrays[0] is None else np.concatenate(arrays, axis=axis)

    return replace(
        first,
        flux=joined("flux", 1),
        flux_err=joined("flux_err", 1),
        background=None,
        direction=joined("direction", 0),
        stars=vstack([part.stars for part in parts], metadata_conflicts="silent"),
    )


def measure_completeness(
    run: FinishedRun,
    grid: InjectionGrid | None = None,
    *,
    dest: Path | None = None,
    workers: int = 1,
    restart: bool = False,
    progress: Progress | None = None,
) -> Completeness:
    """Put planets into the light curves of a finished run, search them as it did, and map what is found.

    Parameters
    ----------
    run : FinishedRun
        Left as it is.
    grid : InjectionGrid, optional
        Default: six by six cells over the periods that the run searched and depths of 300 to 30,000 ppm, 20 each.
    dest : Path, optional
        Where `PRODUCTS` go; default ``completeness`` in the folder of the run. Killed at any moment, the
        same call goes on there.
    workers : int
        Compute threads; any number gives the same tables.
    restart : bool
        Begin again where another grid, or the same, was measured.
    progress : Progress, optional

    Returns
    -------
    Completeness

    Raises
    ------
    ValueError
        A grid beyond the periods that were searched; another one in `dest`; no star to put planets before.
    OSError
        The disk is full; finished blocks are kept.
    """
    progress = progress or Progress()
    low, high = run.period_range()
    grid = grid or InjectionGrid(low, high)
    if grid.period_min < low * (1 - 1e-6) or grid.period_max > high * (1 + 1e-6):
        raise ValueError(
            f"periods from {grid.period_min:g} to {grid.period_max:g} d: the run searched {low:.4g} to {high:.6g} d, "
            "and finds nothing beyond: stay within"
        )
    dest = dest or run.out / "completeness"
    identity = _identity(run, grid)
    if not restart and (done := _finished(dest, identity)) is not None:
        progress.note(f"{dest} holds the map already")
        return done
    with Journal(dest) as journal:
        before = journal.note("identity")
        if restart or (before is not None and before != identity):
            if not restart:
                raise ValueError(
                    f"{dest} holds unfinished work with other {describe_difference(before, identity)}: "
                    "use --restart, or another --output"
                )
            journal.forget()
        journal.set_note("identity", identity)
        progress.note("drawing planets")
        planets = draw_planets(grid, run.stars, run.hosts(with_radius=grid.over == "radius"), float(run.time[0]))
        _measure(journal, run, planets, workers, progress)
        made = _conclude(journal, run, grid, planets, identity)
        _publish(journal, made, grid, dest)
        journal.remove()
    return made


def _identity(run: FinishedRun, grid: InjectionGrid) -> dict[str, Any]:
    """Return what decides about the result, as JSON values by names that a person understands."""
    of_run = json.dumps({name: run.told.get(name) for name in ("identity", "counts")}, sort_keys=True)
    return {"starskope version": program_version(), "run": of_run, **grid.as_json()}


def _finished(dest: Path, identity: Mapping[str, Any]) -> Completeness | None:
    from astropy.table import Table

    try:
        told = json.loads((dest / _TOLD).read_text())
    except FileNotFoundError:
        return None
    if told["identity"] != identity:
        raise ValueError(
            f"{dest} holds a map with other {describe_difference(told['identity'], identity)}: "
            "use --restart, or another --output"
        )
    planets, cells = (Table.read(dest / name, format="ascii.ecsv") for name in PRODUCTS[:2])
    return Completeness(planets, cells, told)


def _measure(journal: Journal, run: FinishedRun, planets: Table, workers: int, progress: Progress) -> None:
    blocks = list(ranges(len(planets), PLANETS_PER_BLOCK))
    finished = journal.finished("stars")
    pending = [number for number in range(len(blocks)) if number not in finished]
    n_left = sum(blocks[number][1] - blocks[number][0] for number in pending)
    progress.start("planets searched", len(planets), done=len(planets) - n_left)
    lock = threading.Lock()

    def make(first: int, _last: int) -> None:
        number = pending[first]
        rows = planets[slice(*blocks[number])]
        arrays = judge_block(run.of_planets(rows), rows, run.judge)
        with lock:
            journal.write(number, arrays, complete=True, kind="stars")
            progress.advance(len(rows))

    map_ranges(make, len(pending), 1, workers)
    progress.close()


def _conclude(
    journal: Journal, run: FinishedRun, grid: InjectionGrid, planets: Table, identity: dict[str, Any]
) -> Completeness:
    parts: list[dict[str, NDArray[Any]]] = []
    for number in range(-(-len(planets) // PLANETS_PER_BLOCK)):
        with journal.block(number, "stars") as arrays:
            parts.append({name: arrays[name] for name in ("status", "found_period", "found_snr", "found_sde")})
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    planets = planets.copy()
    planets["status"] = np.array(STATUS)[joined["status"]]
    for name in ("found_period", "found_snr", "found_sde"):
        planets[name] = joined[name]
    for name in ("tic_id", "tmag"):
        if name in run.stars.colnames:
            planets[name] = run.stars[name][np.asarray(planets["star"])]
    cells = map_of(grid, planets, joined["status"])
    counts = {status: int(np.count_nonzero(joined["status"] == k)) for k, status in enumerate(STATUS)}
    told = {
        "identity": identity,
        "n_planet": len(planets),
        "n_star": len(np.unique(planets["star"])),
        "counts": counts,
        "period_edges_days": grid.period_edges.tolist(),
        f"{grid.over}_edges": grid.size_edges.tolist(),
        "search": {**asdict(run.settings), "flatten_window": run.judge.flatten_window},
        "cells": [dict(zip(cells.colnames, row.as_void().tolist(), strict=True)) for row in cells],
    }
    return Completeness(planets, cells, told)


def _publish(journal: Journal, made: Completeness, grid: InjectionGrid, dest: Path) -> None:
    """Write all products in the working folder, then give them their names; the old JSON goes first."""
    folder = journal.folder
    made.planets.write(folder / PRODUCTS[0], format="ascii.ecsv", overwrite=True)
    made.cells.write(folder / PRODUCTS[1], format="ascii.ecsv", overwrite=True)
    (folder / PRODUCTS[2]).write_bytes(draw_completeness(made.cells, over=grid.over))
    (folder / PRODUCTS[3]).write_text(json.dumps(made.told, indent=1))
    (dest / _TOLD).unlink(missing_ok=True)
    for name in PRODUCTS:
        publish(folder / name, dest / name)
