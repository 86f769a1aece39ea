"""The command ``starskope search``: light-curve files in, transit candidates out.

Owns the options, the list of files, the order of results and their wording. Refuses to search and to judge
(``search``). Results go to standard output, everything else to standard error; one damaged file of many costs its own
line only.
"""

from __future__ import annotations

import math
import sys
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starskope.cli_words import TABLE_FORMATS, check_output, count, expand, say, say_json, tell, write_table
from starskope.progress import Progress

if TYPE_CHECKING:
    from astropy.table import Table

    from starskope.curves.container import LightCurves
    from starskope.curves.joined import Joined
    from starskope.search.settings import SearchSettings

__all__ = ["add_search", "search"]

_ENDINGS = (".fits", ".fits.gz", ".fit", ".csv", ".txt", ".tsv", ".dat", ".zarr")
FINEST_CADENCE = 120.0 / 86400.0
"""Days; faster cadences are averaged up to this before they are levelled: no transit needs them, and a window of 0.75 d
holds 3,240 points of 20 s, over which the biweight takes seconds per star."""
_HEADING = (
    f"{'target':<28} {'period d':>11} {'t0 BJD':>15} {'hours':>6} {'ppm':>8} {'SNR':>6} {'SDE':>6} {'n':>4}  "
    f"{'verdict':<12}  file"
)


@dataclass(frozen=True)
class _Found:
    """What became of one input: one record per star, rows for ``--output``, and what is to be told beside."""

    path: str
    records: Sequence[Mapping[str, Any]] = ()
    table: Table | None = None
    notes: tuple[str, ...] = ()
    error: str = ""


def add_search(add: Callable[..., ArgumentParser]) -> ArgumentParser:
    """Add the command to the parser; ``add`` is that of `starskope.cli`."""
    command = add("search", search, "search light curves for transits, and say what they look like", "FILE ...")
    command.add_argument(
        "paths",
        nargs="+",
        metavar="FILE",
        help="light curves or target pixels of TESS, Kepler, K2 (FITS), text (time, flux[, error]), .zarr or .fits of "
        "ours, what `starskope join` wrote, a directory of them, or - for a list on standard input",
    )
    command.add_argument("--period-min", type=float, default=0.5, metavar="DAYS", help="shortest period (default: 0.5)")
    command.add_argument(
        "--period-max", type=float, metavar="DAYS", help="longest period (default: half the span of each file)"
    )
    command.add_argument(
        "--window", type=float, default=0.75, metavar="DAYS", help="window that levels the curves first (default: 0.75)"
    )
    command.add_argument("--candidates", type=int, default=3, metavar="N", help="most candidates per star (default: 3)")
    command.add_argument(
        "--join", action="store_true", help="the files show one star: join them and search all of its light at once"
    )
    command.add_argument("--output", metavar="FILE", help="write all candidates there (.ecsv, .csv, .parquet)")
    return command


def search(arguments: Namespace) -> int:
    """Search every file by itself and tell what is claimed."""
    from starskope.parallel import resolve_workers
    from starskope.search.settings import SearchSettings
    from starskope.validation import finite, positive

    settings = SearchSettings(
        period_min=arguments.period_min, period_max=arguments.period_max, n_candidates=arguments.candidates
    )
    positive(arguments.window, "window")
    if arguments.time_zero is not None:
        finite(arguments.time_zero, "time_zero")
    if arguments.output:
        check_output(Path(arguments.output), TABLE_FORMATS)
    workers = resolve_workers(arguments.workers)
    paths = _inputs(arguments.paths)
    tables: list[Table] = []
    n_failed = n_star = n_claimed = 0
    wants_heading = not arguments.json

    with Progress(sys.stderr) as progress:
        progress.start("files", 1 if arguments.join else len(paths))

        def on_found(found: _Found) -> None:
            nonlocal n_failed, n_star, n_claimed, wants_heading
            progress.advance()
            for note in found.notes:
                progress.note(f"{found.path}: {note}")
            if found.error:
                n_failed += 1
                progress.note(f"failed: {found.error if found.path in found.error else f'{found.path}: {found.error}'}")
            n_star += len(found.records)
            n_claimed += sum(len(record["candidates"]) for record in found.records)
            if wants_heading and found.records:
                say(_HEADING)
                wants_heading = False
            _tell_records(found, as_json=arguments.json)
            if found.table is not None and arguments.output:
                tables.append(found.table)

        if arguments.join:
            on_found(_search_joined(paths, settings, arguments, workers))
        else:
            _each_in_order(
                lambda path, threads: _search_file(path, settings, arguments, threads), paths, workers, on_found
            )
    if arguments.output:
        from astropy.table import vstack

        if not tables:
            raise ValueError(f"nothing could be searched: {arguments.output} is not written")
        write_table(vstack(tables, metadata_conflicts="silent"), Path(arguments.output))
    summary = f"{count(n_star, 'star')} searched, {count(n_claimed, 'candidate')} claimed"
    asked = count(1, "star") if arguments.join else count(len(paths), "file")
    tell(summary + (f", {n_failed} of {asked} failed" if n_failed else ""))
    return int(n_failed > 0)


def _inputs(words: Iterable[str]) -> list[str]:
    """Return the files to search: those named, those of directories, those listed on standard input."""
    paths: list[str] = []
    for word in expand(words):
        path = Path(word)
        if path.is_dir() and not (path / "zarr.json").is_file():
            inside = sorted(str(entry) for entry in path.iterdir() if entry.name.lower().endswith(_ENDINGS))
            if not inside:
                raise ValueError(f"{path} holds no light curves: expected files that end in {', '.join(_ENDINGS)}")
            paths += inside
        else:
            paths.append(word)
    if not any(Path(path).exists() for path in paths):
        raise ValueError(f"{paths[0]} does not exist: give files, a directory of them, or - for a list")
    return paths


def _each_in_order(
    work: Callable[[str, int], _Found], paths: Sequence[str], workers: int, on_found: Callable[[_Found], None]
) -> None:
    """Work on several files at a time, and tell of each as soon as all before it are told.

    A file of one star keeps one thread busy, so threads are spread over files; a single file has them all.
    """
    from starskope.parallel import map_ranges

    threads = max(1, workers // len(paths))
    done: dict[int, _Found] = {}
    lock = threading.Lock()
    n_told = 0

    def one(start: int, _stop: int) -> None:
        nonlocal n_told
        found = work(paths[start], threads)
        with lock:
            done[start] = found
            while n_told in done:
                on_found(done.pop(n_told))
                n_told += 1

    map_ranges(one, len(paths), 1, workers)


def _search_file(path: str, settings: SearchSettings, arguments: Namespace, workers: int) -> _Found:
    from starskope.curves.container import LightCurves
    from starskope.curves.joined import Joined
    from starskope.curves.joined_fits import is_joined

    def read() -> LightCurves | Joined:
        with Path(path).open("rb") if Path(path).is_file() else nullcontext() as file:
            is_one_of_many = file is not None and is_joined(file.read(2880))
        return Joined.read(path) if is_one_of_many else LightCurves.read(path, time_zero=arguments.time_zero)

    return _search_input(path, read, settings, arguments, workers)


def _search_joined(paths: Sequence[str], settings: SearchSettings, arguments: Namespace, workers: int) -> _Found:
    """Search files of one star as one input: nothing is searched where one of them cannot be joined."""
    from starskope.curves.container import LightCurves
    from starskope.curves.joining import join

    def read() -> Joined:
        return join([LightCurves.read(path, time_zero=arguments.time_zero) for path in paths])

    return _search_input(" + ".join(paths), read, settings, arguments, workers)


def _search_input(
    path: str, read: Callable[[], LightCurves | Joined], settings: SearchSettings, arguments: Namespace, workers: int
) -> _Found:
    from starskope.errors import StarskopeError

    try:
        return _search_curves(path, read(), settings, arguments, workers)
    except FileNotFoundError as error:
        return _Found(path, error=f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except (StarskopeError, ValueError, TypeError, OSError) as error:
        return _Found(path, error=" ".join(str(error).split()))


def _search_curves(
    path: str, given: LightCurves | Joined, settings: SearchSettings, arguments: Namespace, workers: int
) -> _Found:
    import numpy as np

    from starskope.curves.joined import Joined
    from starskope.curves.selection import star_label
    from starskope.search.transits import search_transits

    # Of joined light curves the first segment names the star.
    curves = given.segments[0] if isinstance(given, Joined) else given
    mission = given.mission
    time = given.bjd if isinstance(given, Joined) else given.time
    notes = _notes(curves)
    span = float(time.max() - time.min()) if time.size > 1 else 0.0
    period_max = settings.period_max
    if period_max is not None and period_max > span:
        if span <= settings.period_min:
            raise ValueError(f"spans {span:.4g} d, less than the shortest period {settings.period_min:g} d")
        notes.append(f"searched up to {span:.5g} d, the span of its times, instead of {period_max:g} d")
        period_max = span
    if not np.isfinite(given.flux).any():
        raise ValueError(f"holds no measured flux ({curves.n_time} cadences, {curves.n_star} stars)")
    flat: Any
    if isinstance(given, Joined):
        flat = (
            given.mask()
            .each(lambda segment: _averaged(segment, notes))
            .flatten(window=arguments.window, workers=workers)
        )
    else:
        flat = _averaged(given.mask(), notes).normalize().flatten(window=arguments.window, workers=workers)
    table = search_transits(
        flat,
        period_min=settings.period_min,
        period_max=period_max,
        n_candidates=settings.n_candidates,
        workers=workers,
    )
    targets = [star_label(curves.stars, star) for star in range(curves.n_star)]
    candidates: list[list[dict[str, Any]]] = [[] for _ in targets]
    for row in table:
        if row["claim"]:
            candidates[int(row["star"])].append(_candidate(row, curves))
    records = [
        {"input": path, "target": target, "mission": mission, "candidates": claimed}
        for target, claimed in zip(targets, candidates, strict=True)
    ]
    table.add_column([path] * len(table), name="input", index=0)
    table.add_column([targets[int(star)] for star in table["star"]], name="target", index=1)
    table.add_column([mission] * len(table), name="mission", index=2)
    return _Found(path, records, table, tuple(notes))


def _averaged(curves: LightCurves, notes: list[str]) -> LightCurves:
    """Return light curves of cadences not much finer than two minutes."""
    import numpy as np

    step = float(np.median(np.diff(curves.time))) if curves.n_time > 1 else 0.0
    n_bin = int(FINEST_CADENCE * (1 + 1e-3) / step) if step > 0 else 1
    if n_bin <= 1:
        return curves
    notes.append(f"averaged over {n_bin} cadences of {86400 * step:.3g} s")
    return curves.bin(n_bin)


def _notes(curves: LightCurves) -> list[str]:
    """Return what reading has noticed and a person may want to know; rows without a time are everyday."""
    notes = [note for note in curves.meta.get("notes", ()) if isinstance(note, str)]
    rows = curves.meta.get("rows", {})
    if rows.get("repeated"):
        notes.append(f"{count(rows['repeated'], 'row')} dropped whose time another row has")
    if rows.get("out_of_order"):
        notes.append(f"rows sorted by time ({count(rows['out_of_order'], 'step')} backwards)")
    return notes


def _candidate(row: Any, curves: LightCurves) -> dict[str, Any]:
    names = row.colnames
    known = curves.is_barycentric or "t0_bjd" in names
    t0_bjd = float(row["t0_bjd"]) if "t0_bjd" in names else float(row["t0"]) + curves.time_zero
    record = {
        "rank": int(row["rank"]),
        "period_days": float(row["period"]),
        "t0_bjd": t0_bjd if known else math.nan,
        "duration_days": float(row["duration"]),
        "depth_ppm": 1e6 * float(row["depth"]),
        "snr": float(row["snr"]),
        "sde": float(row["sde"]),
        "n_transits": int(row["n_transits"]),
        "verdict": str(row["verdict"]),
        "false_alarm_probability": float(row["false_alarm_probability"]),
        "periods_allowed_days": str(row["periods_allowed"]),
    }
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in record.items()}


def _tell_records(found: _Found, *, as_json: bool) -> None:
    if as_json:
        for record in found.records:
            say_json(record)
        sys.stdout.flush()
        return
    for record in found.records:
        for candidate in record["candidates"]:
            say(_line(record["target"], candidate, found.path))
        # Of a store of thousands of stars only the claims are worth a line each.
        if not record["candidates"] and len(found.records) == 1:
            say(f"{record['target']:<28} {'nothing to claim':<76}  {Path(found.path).name}")


def _line(target: str, candidate: Mapping[str, Any], path: str) -> str:
    def number(name: str, form: str, scale: float = 1.0) -> str:
        value = candidate[name]
        return "-" if value is None else format(value * scale, form)

    return (
        f"{target:<28} {number('period_days', '.6f'):>11} {number('t0_bjd', '.5f'):>15} "
        f"{number('duration_days', '.2f', 24.0):>6} {number('depth_ppm', '.0f'):>8} {number('snr', '.1f'):>6} "
        f"{number('sde', '.1f'):>6} {candidate['n_transits']:>4}  {candidate['verdict']:<12}  "
        f"{Path(path).name}"
    )
