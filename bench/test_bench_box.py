"""The box search beside astropy's: same periods, durations, bins and objective, one thread each.

astropy takes one star at a time, so it is timed on two of the thousand and its time is scaled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import harness
import numpy as np
import pytest
from astropy.timeseries import BoxLeastSquares
from numpy.typing import NDArray

from starskope.parallel import available_cpus
from starskope.search import grids
from starskope.search.box import BoxPeriodogram, box_periodogram

Compare = Callable[..., harness.Row]
F32 = NDArray[np.float32]

N_STAR, N_RIVAL = 1000, 2
CADENCE = 1 / 48
PERIODS = 1.0 / np.linspace(1.0 / 13.0, 2.0, 5000)
DURATIONS = np.array([0.08, 0.16, 0.3])
ASTROPY = "astropy BoxLeastSquares, fast"


def sector(missing: float = 0.0) -> tuple[NDArray[np.float64], F32, F32]:
    """Make a sector of 1,222 points with a gap; the stars that the rival searches have their first point."""
    rng = np.random.default_rng(3)
    time = np.delete(1325.3 + CADENCE * np.arange(1282), slice(600, 660))
    flux = rng.normal(1.0, 1e-3, (time.size, N_STAR)).astype(np.float32)
    error = rng.uniform(0.5e-3, 2e-3, flux.shape).astype(np.float32)
    gone = rng.random(flux.shape) < missing
    gone[0, :N_RIVAL] = False
    return time, np.where(gone, np.float32(np.nan), flux), error


def with_astropy(time: NDArray[np.float64], flux: F32, error: F32 | None, oversample: int) -> list[Any]:
    results = []
    for star in range(N_RIVAL):
        there = np.isfinite(flux[:, star])
        y = flux[there, star].astype(np.float64)
        dy = None if error is None else error[there, star].astype(np.float64)
        results.append(BoxLeastSquares(time[there], y, dy).power(PERIODS, DURATIONS, oversample=oversample))
    return results


def same_objective(oversample: int) -> Callable[[str, BoxPeriodogram, list[Any]], None]:
    """Compare to 1e-4 wherever neither best box touches the last bin or begins in the first two.

    astropy overwrites the last bin of every period with the first one and lets boxes begin behind the end.
    """
    width = DURATIONS[0] / oversample
    end = (np.ceil(PERIODS / width) - 1.0) * width - 1e-9

    def check(_: str, ours: BoxPeriodogram, theirs: list[Any]) -> None:
        for star, rival in enumerate(theirs):
            phase = np.mod(rival.transit_time - 0.5 * rival.duration - ours.time0, PERIODS)
            start = ours.start[:, star] * width
            inside = (phase + rival.duration <= end) & (phase > 1.001 * width)
            inside &= start + ours.duration[:, star] <= end
            assert inside.mean() > 0.6
            np.testing.assert_allclose(ours.power[inside, star], rival.power[inside], rtol=1e-4)

    return check


def per_star(row: harness.Row) -> harness.Row:
    """Scale the rival's time to as many stars as ours."""
    row.rivals[ASTROPY] = harness.Timing([t * N_STAR / N_RIVAL for t in row.rivals[ASTROPY].rounds])
    row.notes.append(f"{1e3 * row.ours.best / N_STAR:.3f} ms per star; astropy timed on {N_RIVAL} stars and scaled")
    return row


@pytest.mark.parametrize("oversample", [10, 3])
@pytest.mark.parametrize(
    ("weights", "must", "aim"),
    [
        ("equal errors", 50, 90),
        ("equal errors, 1 % missing per star", 25, 40),
        ("per-point errors", 25, 40),
        ("per-point errors, 1 % missing per star", 25, 40),
    ],
)
def test_box_search(compare: Compare, weights: str, must: int, aim: int, oversample: int) -> None:
    time, flux, error = sector(0.01 if "missing" in weights else 0.0)
    errors = error if "per-point" in weights else None

    def ours() -> BoxPeriodogram:
        return box_periodogram(
            time, flux, errors, PERIODS, DURATIONS, oversample=oversample, objective="likelihood", max_duty_cycle=1.0
        )

    row = compare(
        f"box search, {N_STAR} stars x {time.size} points, {PERIODS.size} periods x {DURATIONS.size} durations, "
        f"{oversample} bins in the shortest, {weights}",
        ours,
        {ASTROPY: lambda: with_astropy(time, flux, errors, oversample)},
        check=same_objective(oversample),
        rounds=3,
    )
    ratio = per_star(row).ratio(ASTROPY)
    row.must(f"{must}x astropy", ratio >= must)
    row.aim(f"{aim}x astropy", ratio >= aim)


def test_box_search_on_the_grid_of_a_search(compare: Compare) -> None:
    """The grid, durations and windows that a transit search uses, dips and brightenings, against astropy's dips."""
    time, flux, _ = sector()
    periods = grids.period_grid(time, period_min=0.5, period_max=13.0, duration_min=CADENCE)
    durations = grids.durations(0.5, 13.0, CADENCE)
    limits = grids.duration_limits(periods, cadence=CADENCE)

    def ours(workers: int = 1) -> BoxPeriodogram:
        return box_periodogram(
            time, flux, None, periods, durations, limits=limits, inverted=True, details=False, workers=workers
        )

    def theirs() -> list[Any]:
        # Its durations are the same at every period and must be shorter than the shortest.
        models = (BoxLeastSquares(time, flux[:, star].astype(np.float64)) for star in range(N_RIVAL))
        return [model.power(periods, durations[durations < periods[0]], oversample=3) for model in models]

    row = compare(
        f"the same on the grid of a transit search, {periods.size} periods, 0.5-13 days, {durations.size} durations in "
        "windows, upside down as well",
        ours,
        {ASTROPY: theirs},
        check=lambda *_: None,
        rounds=3,
    )
    per_star(row)
    row.notes.append("no common answer: astropy tries every duration at every period, and dips only")


def test_box_search_on_all_cpus(compare: Compare) -> None:
    time, flux, _ = sector()

    def search(workers: int) -> F32:
        return box_periodogram(time, flux, None, PERIODS, DURATIONS, workers=workers).power

    one = "ours on one thread"
    row = compare(
        f"box search, {N_STAR} stars, all CPUs",
        lambda: search(-1),
        {one: lambda: search(1)},
        check=lambda _, ours, theirs: np.testing.assert_array_equal(ours, theirs),
        rounds=3,
        threads="all",
    )
    row.notes.append(f"{available_cpus()} CPUs; same bytes")
    row.aim("1.8x one thread", row.ratio(one) >= 1.8)
