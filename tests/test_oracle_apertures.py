"""Aperture sums of the core against analytic circle areas: positions, radii, edges, missing pixels, layouts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import reference
import tolerances
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from starskope import _core

F32 = NDArray[np.float32]


@dataclass
class Sums:
    total: NDArray[np.float64]
    area: NDArray[np.float64]
    n_bad: NDArray[np.int32]


def sums(image: F32, row: ArrayLike, column: ArrayLike, radius: ArrayLike) -> Sums:
    """Run the core on apertures given by any sequences."""
    y, x, r = (np.atleast_1d(np.ascontiguousarray(v, np.float64)) for v in (row, column, radius))
    out = Sums(np.full(y.shape, -7.0), np.full(y.shape, -7.0), np.full(y.shape, -7, np.int32))
    _core.aperture_sums(image, y, x, r, out.total, out.area, out.n_bad)
    return out


def agree(image: F32, row: ArrayLike, column: ArrayLike, radius: ArrayLike) -> None:
    """Assert that each aperture has the oracle's sum, area and count of unusable pixels."""
    got = sums(image, row, column, radius)
    apertures = zip(np.atleast_1d(row), np.atleast_1d(column), np.atleast_1d(radius), strict=True)
    for i, (y, x, r) in enumerate(apertures):
        want = reference.aperture_sum(image, float(y), float(x), float(r))
        where = f"row={y!r} column={x!r} radius={r!r}"
        n_pixel = math.ceil(2 * r + 2) ** 2
        assert math.isclose(got.area[i], want.area, rel_tol=0.0, abs_tol=tolerances.atol_area(r)), where
        if want.area > tolerances.atol_area(r):
            # An error of the area moves the sum by that much of the brightest pixel touched.
            peak = float(np.nanmax(np.where(np.isfinite(image), np.abs(image), 0.0)))
            atol = tolerances.atol_aperture(want.magnitude, n_pixel) + tolerances.atol_area(r) * peak
            assert math.isclose(got.total[i], want.total, rel_tol=0.0, abs_tol=atol), where
        # A pixel of which the circle holds less than rounding may count or not.
        assert abs(int(got.n_bad[i]) - (want.n_bad + want.n_off)) <= n_grazed(image.shape, y, x, r), where


def n_grazed(shape: tuple[int, ...], row: float, column: float, radius: float) -> int:
    """Count pixels whose common area with the circle is so small that rounding decides whether they are touched."""
    span = [range(math.floor(c - radius - 1), math.ceil(c + radius + 2)) for c in (row, column)]
    areas = [reference.overlap_area(row, column, radius, i, j) for i in span[0] for j in span[1]]
    edge = [
        abs(math.hypot(max(abs(i - row) - 0.5, 0.0), max(abs(j - column) - 0.5, 0.0)) - radius) < 1e-6
        for i in span[0]
        for j in span[1]
    ]
    return sum(0.0 < area < 1e-9 or near for area, near in zip(areas, edge, strict=True))


def field(n_row: int, n_col: int, seed: int = 0) -> F32:
    return np.random.default_rng(seed).normal(150.0, 40.0, size=(n_row, n_col)).astype(np.float32)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 15, 16, 17, 63, 64, 65, 257])
def test_every_number_of_apertures(n: int) -> None:
    rng = np.random.default_rng(n)
    agree(field(40, 53), rng.uniform(5, 34, n), rng.uniform(5, 47, n), rng.uniform(0.5, 4.5, n))


@pytest.mark.parametrize(
    "radius", [1e-3, 0.1, 0.49999, 0.5, 0.50001, math.sqrt(0.5), 1.0, 1.5, 2.0, 2.5, 3.7, 10.0, 25.0]
)
def test_every_kind_of_radius(radius: float) -> None:
    rng = np.random.default_rng(3)
    agree(field(80, 75), rng.uniform(0, 79, 25), rng.uniform(0, 74, 25), np.full(25, radius))


@pytest.mark.parametrize("row", [7.0, 7.5, 7.25, 7.0 + 1e-12, 7.5 - 1e-12])
@pytest.mark.parametrize("column", [9.0, 9.5, 9.0 - 1e-9])
@pytest.mark.parametrize("radius", [0.5, 1.0, 1.5, 2.5, math.sqrt(2.5)])
def test_circles_that_touch_pixel_edges_and_corners(row: float, column: float, radius: float) -> None:
    agree(field(16, 20), row, column, radius)


@pytest.mark.parametrize(
    ("row", "column"),
    [(0, 0), (-0.5, 5), (-1.2, 5), (5, -0.5), (9.5, 12.5), (9.4, 12.4), (-30, 5), (5, 500), (1e9, 0), (-1e300, 1e300)],
)
def test_circles_over_the_edge(row: float, column: float) -> None:
    image = field(10, 13)
    got = sums(image, row, column, 2.5)
    if max(abs(row), abs(column)) < 100:
        agree(image, row, column, 2.5)
    else:
        assert got.area[0] == 0.0
        assert not got.total[0] > 0.0


def test_a_small_image_inside_a_large_circle() -> None:
    image = field(3, 4)
    got = sums(image, 1.0, 1.5, 50.0)
    assert math.isclose(got.area[0], 12.0, abs_tol=tolerances.atol_area(50.0))
    assert math.isclose(got.total[0], image.sum(dtype=np.float64), rel_tol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_missing_pixels(bad: float) -> None:
    rng = np.random.default_rng(2)
    image = field(30, 31)
    image[rng.random(image.shape) < 0.1] = bad
    agree(image, rng.uniform(-1, 31, 150), rng.uniform(-1, 32, 150), rng.uniform(0.4, 4.0, 150))
    image[:] = bad
    got = sums(image, 15.0, 15.0, 2.0)
    assert got.area[0] == 0.0
    assert np.isnan(got.total[0])
    assert got.n_bad[0] == 21


@pytest.mark.parametrize("bad", [(np.nan, 5.0, 2.0), (5.0, np.nan, 2.0), (5.0, 5.0, np.nan), (np.inf, 5.0, 2.0)])
def test_a_star_without_position_has_no_sum(bad: tuple[float, float, float]) -> None:
    image = field(10, 11)
    row, column, radius = np.array([[5.0, 5.0, 2.0], bad, [6.0, 4.0, 1.0]]).T
    got = sums(image, row, column, radius)
    assert np.isnan(got.total[1])
    for i in (0, 2):
        assert got.total[i] == sums(image, row[i], column[i], radius[i]).total[0]


def test_images_of_odd_layout() -> None:
    rng = np.random.default_rng(6)
    row, column, radius = rng.uniform(0, 30, 40), rng.uniform(0, 40, 40), rng.uniform(0.5, 4, 40)
    plain = field(31, 41)
    want = sums(plain, row, column, radius)
    wide = np.full((31, 60), np.nan, np.float32)
    view = wide[:, 11 : 11 + 41]
    view[...] = plain
    frozen = plain.copy()
    frozen.flags.writeable = False
    for layout in (view, frozen):
        got = sums(layout, row, column, radius)
        assert got.total.tobytes() == want.total.tobytes()
        assert got.area.tobytes() == want.area.tobytes()
    for wrong in (
        plain.astype(">f4"),
        plain.astype(np.float64),
        plain[:, ::2],
        np.asfortranarray(plain),
        plain.ravel(),
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            sums(wrong, row, column, radius)
        assert "image" in str(caught.value)


def test_outputs_of_another_size_or_type_are_refused() -> None:
    image, one = field(5, 6), np.ones(3)
    outputs: dict[str, NDArray[Any]] = {"total": np.ones(3), "area": np.ones(3), "n_bad": np.ones(3, np.int32)}
    for name, wrong in [("total", np.ones(4)), ("area", np.ones(3, np.float32)), ("n_bad", np.ones(3, np.int64))]:
        with pytest.raises((TypeError, ValueError), match=name):
            _core.aperture_sums(image, one, one, one, **{**outputs, name: wrong})
    frozen = np.ones(3)
    frozen.flags.writeable = False
    with pytest.raises((TypeError, ValueError), match="total"):
        _core.aperture_sums(image, one, one, one, **{**outputs, "total": frozen})


def test_sums_are_linear_in_the_image() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 1000, size=(30, 30)).astype(np.float32)
    b = rng.integers(0, 1000, size=(30, 30)).astype(np.float32)
    row, column, radius = rng.uniform(3, 26, 60), rng.uniform(3, 26, 60), rng.uniform(0.5, 3.5, 60)
    both = sums(a + b, row, column, radius).total
    apart = sums(a, row, column, radius).total + sums(b, row, column, radius).total
    np.testing.assert_allclose(both, apart, rtol=tolerances.rtol(np.float32, 64))


def test_transposing_the_image_transposes_the_answer() -> None:
    image = field(25, 33)
    rng = np.random.default_rng(1)
    row, column, radius = rng.uniform(-1, 26, 80), rng.uniform(-1, 34, 80), rng.uniform(0.5, 4, 80)
    here = sums(image, row, column, radius)
    there = sums(np.ascontiguousarray(image.T), column, row, radius)
    np.testing.assert_allclose(here.area, there.area, rtol=0, atol=1e-6)
    np.testing.assert_allclose(here.total, there.total, rtol=1e-5, atol=1e-3)
    np.testing.assert_array_equal(here.n_bad, there.n_bad)


@settings(max_examples=200, deadline=None)
@given(row=st.floats(-3, 15), column=st.floats(-3, 19), radius=st.floats(0.01, 8.0))
def test_any_circle(row: float, column: float, radius: float) -> None:
    agree(field(12, 16), row, column, radius)
