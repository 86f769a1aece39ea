"""Ranks and medians without sorting, against NumPy: any values, and any idea of what to expect."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from starskope.search.selection import mad_between, median, median_between, ranked, ranked_between

F64 = NDArray[np.float64]


def _values(kind: str, n: int) -> F64:
    rng = np.random.default_rng(n)
    return {
        "noise": rng.standard_normal(n),
        "equal": np.full(n, 0.25),
        "few": rng.integers(0, 3, n).astype(float),
        "rising": np.arange(n, dtype=float),
        "falling": -np.arange(n, dtype=float),
        "organ pipe": np.minimum(np.arange(n), n - np.arange(n)).astype(float),
        "outliers": np.where(rng.random(n) < 0.1, -np.inf, rng.standard_normal(n)),
    }[kind]


KINDS = ("noise", "equal", "few", "rising", "falling", "organ pipe", "outliers")


@pytest.mark.parametrize("kind", KINDS)
def test_ranks_are_those_of_sorted_values(kind: str) -> None:
    for n in (*range(1, 40), 100, 1283):
        values = _values(kind, n)
        ordered = np.sort(values)
        for k in {0, n // 3, (n - 1) // 2, n // 2, n - 1}:
            assert ranked(values.copy(), n, k) == ordered[k]
            for low, high in ((-0.1, 0.1), (0.2, 3.0), (np.nan, np.nan), (1.0, -1.0), (-np.inf, np.inf)):
                assert ranked_between(values, n, k, low, high, np.empty(n + 1)) == ordered[k]
        assert np.array_equal(np.sort(values), ordered)


@pytest.mark.parametrize("kind", KINDS)
def test_medians_are_those_of_numpy_whatever_was_expected(kind: str) -> None:
    for n in (*range(1, 40), 100, 1283):
        values = _values(kind, n)
        expected = np.median(values)
        assert median(values.copy(), n) == expected
        for low, high in ((-0.1, 0.1), (0.2, 3.0), (np.nan, np.nan), (expected, expected)):
            assert median_between(values, n, low, high, np.empty(n + 1)) == expected
        if np.isfinite(values).all():
            scatter = 1.4826 * np.median(np.abs(values - expected))
            for centre, sigma in ((0.0, 1.0), (np.nan, np.nan), (100.0, 1e-3), (expected, scatter)):
                assert mad_between(values.copy(), n, centre, sigma, np.empty(n + 1)) == (expected, scatter)


def test_nothing_has_no_median() -> None:
    none, scratch = np.zeros(0), np.zeros(1)
    assert np.isnan(median(none, 0))
    assert np.isnan(median_between(none, 0, 0.0, 1.0, scratch))
    assert np.isnan(mad_between(none, 0, 0.0, 1.0, scratch)[1])
