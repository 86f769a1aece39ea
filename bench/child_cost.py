"""What a command costs: wall time, memory, and the CPU time of its process and of all children that it waited for.

Owns the start of such a process and the sum over repeated runs with the start-up taken off. Refuses to know what runs.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LIMIT_S = 120


@dataclass(frozen=True)
class Cost:
    """Seconds of one run: on the clock, and on the CPUs in user and system mode; the largest resident set."""

    wall_s: float
    cpu_s: float
    peak_bytes: int = 0


def cost_of(command: Sequence[str], *, environment: Mapping[str, str], log: Path, limit_s: float = LIMIT_S) -> Cost:
    """Run a command to its end and return what it cost; RuntimeError when it fails or hangs."""
    with log.open("wb") as output:
        began = time.perf_counter()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=dict(environment))
        limit = threading.Timer(limit_s, child.kill)
        limit.start()
        peaks, ended = [0], threading.Event()
        watch = threading.Thread(target=_watch_peak, args=(child.pid, peaks, ended))
        watch.start()
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - began
    limit.cancel()
    ended.set()
    watch.join()
    child.returncode = os.waitstatus_to_exitcode(status)
    if wall_s >= limit_s:
        raise RuntimeError(f"{command[0]} did not end within {limit_s:g} s")
    if child.returncode:
        raise RuntimeError(f"{command[0]} ended with {child.returncode}: {log.read_text(errors='replace')[-2000:]}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, max(peaks))


def _watch_peak(pid: int, peaks: list[int], ended: threading.Event) -> None:
    """Read again and again what a process has held at most: ru_maxrss counts what we held when we started it."""
    while not ended.wait(0.02):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        peaks += [1024 * int(size) for size in re.findall(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)]


def peak_of_tree(command: Sequence[str]) -> float:
    """Run a command to its good end; return the largest resident set of its process tree in MB."""
    import psutil

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:
        watched, peak = psutil.Process(child.pid), 0
        while child.poll() is None:
            try:
                tree = [watched, *watched.children(recursive=True)]
                peak = max(peak, sum(process.memory_info().rss for process in tree))
            except psutil.NoSuchProcess:
                continue
            time.sleep(0.02)
        errors = child.stderr.read() if child.stderr else ""
    if child.returncode not in {0, 1}:
        raise RuntimeError(f"{command[0]} ended with {child.returncode}: {errors[-2000:]}")
    return peak / 1e6


@dataclass
class Slope:
    """Runs of one client with few and with many objects; what the difference cost is free of start-up."""

    few: list[Cost] = field(default_factory=list)
    many: list[Cost] = field(default_factory=list)

    def rounds(self, what: Callable[[Cost], float]) -> list[float]:
        """Return for each long run what it cost beyond the cheapest short one."""
        start = min(map(what, self.few))
        return [what(cost) - start for cost in self.many]
