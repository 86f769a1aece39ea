"""The harness itself: a wrong answer fails, a missing rival is told, the README changes between its markers only."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import harness
import numpy as np
import pytest


def equal(rival: str, ours: Any, theirs: Any) -> None:
    np.testing.assert_array_equal(ours, theirs, err_msg=rival)


def test_another_answer_fails_before_a_clock_runs(benchmark: Any) -> None:
    session = harness.Session()
    with pytest.raises(AssertionError, match="liar"):
        session.compare(benchmark, "sum", lambda: 1 + 1, {"honest": lambda: 2, "liar": lambda: 3}, check=equal)
    assert session.rows == []
    benchmark.pedantic(int, rounds=1)


def test_ratios_and_rounds(benchmark: Any) -> None:
    session = harness.Session()
    prepared = []
    row = session.compare(
        benchmark,
        "sleep",
        lambda: time.sleep(0.002),
        {"three times as long": lambda: time.sleep(0.006), "absent": None},
        check=equal,
        rounds=5,
        setup=lambda: prepared.append(1),
    )
    assert len(row.ours.rounds) == len(row.rivals["three times as long"].rounds) == 5
    assert len(prepared) == 2 + 2 * 5
    assert 1.5 < row.ratio("three times as long") < 6.0
    assert "absent left out: no reason given" in row.notes
    assert row.ours.best <= row.ours.median


def test_a_rival_that_is_left_out_says_why(benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise RuntimeError("first line\nno such server")

    (tmp_path / "half_installed.py").write_text("import a_library_that_is_nowhere\n")
    (tmp_path / "broken.py").write_text("raise OSError('libbroken.so.7 is missing')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    session = harness.Session()
    assert session.optional("nowhere_at_all") is None
    assert session.optional("half_installed") is None
    assert session.optional("broken", "broken rival") is None
    row = session.compare(
        benchmark,
        "work",
        lambda: 2,
        {"nowhere_at_all fast": None, "half_installed": None, "broken rival": None, "failing": fail, "good": lambda: 2},
        check=equal,
    )
    assert row.notes == [
        "nowhere_at_all fast left out: not installed",
        "half_installed left out: does not import: No module named 'a_library_that_is_nowhere'",
        "broken rival left out: does not import: OSError: libbroken.so.7 is missing",
        "failing left out: failed: RuntimeError: no such server",
    ]
    assert list(row.rivals) == ["good"]
    assert session.missing["failing"] == "failed: RuntimeError: no such server"


def test_a_slow_rival_sits_out(benchmark: Any) -> None:
    row = harness.Session().compare(
        benchmark, "slow", int, {"slow": lambda: time.sleep(0.02)}, check=lambda *_: None, rounds=9, rival_budget_s=0.03
    )
    assert len(row.rivals["slow"].rounds) == 2


def test_the_readme_changes_between_its_markers_only(tmp_path: Path) -> None:
    session = harness.Session()
    row = session.record(harness.Row("work", harness.Timing([0.5, 0.25, 1.0]), {"rival": harness.Timing([1.0])}, 10**9))
    row.must("1 s", True)
    row.aim("10x rival", False)
    path = tmp_path / "README.md"
    path.write_text(f"before\n{harness.MARKERS[0]}\nold table\n{harness.MARKERS[1]}\nafter\n")
    session.update_readme(path)
    text = path.read_text()
    assert text.startswith(f"before\n{harness.MARKERS[0]}\n")
    assert text.endswith(f"{harness.MARKERS[1]}\nafter\n")
    assert "old table" not in text
    assert (
        "| work | 1 | 250 ms (500 ms), 4 GB/s | rival 1 s (**4x**) | must 1 s: met; aim 10x rival: not reached |"
        in text
    )
    session.missing["sep"] = "not there"
    with pytest.raises(ValueError, match="sep"):
        session.update_readme(path)
    assert path.read_text() == text
    path.write_text("no markers")
    with pytest.raises(ValueError, match="markers"):
        harness.Session().update_readme(path)


@pytest.mark.parametrize(("value", "text"), [(2.0, "2 s"), (0.0123, "12.3 ms"), (4.56e-5, "45.6 us"), (7e-9, "7 ns")])
def test_durations_read_well(value: float, text: str) -> None:
    assert harness.seconds(value) == text
