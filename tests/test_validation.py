"""What callers may pass, and the words in which the rest is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from starskope import validation


def test_what_is_ready_is_passed_through_and_the_rest_converted() -> None:
    ready = np.zeros((3, 4), np.float32)
    assert validation.as_float32(ready, "x") is ready
    for other in (ready.astype(">f4"), ready.astype("f8"), ready[:, ::2], ready.T, [[1, 2]], np.zeros((2, 2), "u2")):
        made = validation.as_float32(other, "x")
        assert made.dtype == np.float32
        assert made.dtype.isnative
        assert made.flags.c_contiguous
        np.testing.assert_array_equal(made, np.asarray(other))
    assert validation.as_float64([1, 2], "x").dtype == np.float64


def test_masked_becomes_missing_and_too_large_infinite() -> None:
    made = validation.as_float32(np.ma.masked_equal([1, 2, 3], 2), "x")
    np.testing.assert_array_equal(made, [1, np.nan, 3])
    assert np.isposinf(validation.as_float32([1e300], "x")[0])


@pytest.mark.parametrize("wrong", [["a"], np.zeros(2, complex), np.zeros(2, bool), np.zeros(2, object), [[1], [2, 3]]])
def test_what_holds_no_real_numbers_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="flux: expected an array of real numbers"):
        validation.as_float32(wrong, "flux")


def test_axes_are_counted() -> None:
    with pytest.raises(ValueError, match=r"flux: expected 2 or 3 axes, got shape \(5,\)"):
        validation.as_float32(np.zeros(5), "flux", (2, 3))


def test_scalars() -> None:
    assert validation.positive(np.float32(2.5), "sigma") == 2.5
    assert validation.integer_at_least(np.int64(3), "n", 1) == 3
    assert validation.choice("mean", "method", ("mean", "median")) == "mean"
    for call, error, words in (
        (lambda: validation.positive(0, "sigma"), ValueError, "sigma=0: expected a number above 0"),
        (lambda: validation.finite(float("nan"), "dt"), ValueError, "dt=nan: expected a finite number"),
        (lambda: validation.finite("3", "dt"), TypeError, "dt='3': expected a number"),
        (lambda: validation.finite(None, "dt"), TypeError, "dt=None: expected a number"),
        (lambda: validation.finite(True, "dt"), TypeError, "dt=True"),
        (lambda: validation.integer_at_least(1.0, "n", 1), TypeError, "n=1.0: expected an integer"),
        (lambda: validation.integer_at_least(True, "n", 1), TypeError, "n=True"),
        (lambda: validation.integer_at_least(0, "n", 1), ValueError, "n=0: expected 1 or more"),
        (
            lambda: validation.choice("mode", "method", ("mean", "median")),
            ValueError,
            "expected one of 'mean', 'median'",
        ),
    ):
        with pytest.raises(error, match=words):
            call()
