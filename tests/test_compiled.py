"""Functions are compiled where nothing can be kept, too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from numba import njit

import starskope.compiled
from starskope.compiled import compiled

SOURCE = """
def count_to(n):
    total = 0
    for i in range(n):
        total += i & 3
    return total
"""


def _unkeepable() -> Callable[[int], int]:
    """Return a function without a file: Numba finds no folder for it, as where nothing may be written to."""
    scope: dict[str, Callable[[int], int]] = {}
    exec(SOURCE, scope)
    return scope["count_to"]


def test_what_cannot_be_kept_is_compiled_all_the_same() -> None:
    with pytest.raises(RuntimeError, match="cannot cache"):
        njit(cache=True)(_unkeepable())
    count = compiled()(_unkeepable())
    assert count(1_000) == _unkeepable()(1_000)
    assert count.signatures  # type: ignore[attr-defined]
    assert count.targetoptions["nogil"]  # type: ignore[attr-defined]


def test_other_failures_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> Callable[..., object]:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(starskope.compiled, "njit", broken)
    with pytest.raises(RuntimeError, match="no compiler"):
        compiled()(_unkeepable())
