"""What a finished run would have found: planets put into its light curves, searched as it searched.

Owns the grid, the draws, the judgement of every planet and the counts with their errors. Refuses to change the run, to
search in any other way than it did, and to draw or to write (`starskope.injections` does). What is put in goes through
mask, levelling and search with the star's own noise; it does not go through pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from starskope.curves.container import LightCurves
from starskope.search.block import search_block
from starskope.search.block_result import BlockSearch
from starskope.search.candidate import PERIODIC, SINGLE
from starskope.search.false_alarm import NoiseScores
from starskope.search.grids import DENSITIES
from starskope.search.settings import SearchSettings
from starskope.search.verdict import passes
from starskope.signals import levelled
from starskope.synth.injection import with_planet
from starskope.synth.planets import EARTHS_PER_SUN, Planet, separation_at
from starskope.validation import choice, integer_at_least, positive

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["STATUS", "InjectionGrid", "Judge", "draw_planets", "interval", "judge_block", "map_of", "stellar"]

F64 = NDArray[np.float64]

STATUS = ("missed", "recovered", "alias", "single-event")
"""What becomes of a planet, by number: claimed at its period, at a harmonic of it, or as a single event."""
HARMONICS = (2.0, 3.0, 0.5, 1.0 / 3.0)
PERIOD_TOLERANCE = 0.005
LEAST_TOLERANCE_DAYS = 0.03
LARGEST_IMPACT = 0.9
LARGEST_DEPTH = 0.25
LARGEST_RADIUS = 40.0
MOST_PLANETS = 1_000_000
ONE_SIGMA = 0.6826894921370859


@dataclass(frozen=True)
class InjectionGrid:
    """Cells of period and size, even in the logarithm, and how many planets go into each.

    Parameters
    ----------
    period_min, period_max : float
        Days.
    size_min, size_max : float
        By `over`: depth at mid-transit as a fraction of the light, or radius in those of the Earth.
    n_period, n_size : int
        Cells.
    n_per_cell : int
        Planets in each.
    over : {"depth", "radius"}
        What the second axis is. Radii need stars whose own are known.
    seed : int

    Raises
    ------
    ValueError, TypeError
        Limits out of order or out of range.
    """

    period_min: float
    period_max: float
    size_min: float = 3e-4
    size_max: float = 3e-2
    n_period: int = 6
    n_size: int = 6
    n_per_cell: int = 20
    over: Literal["depth", "radius"] = "depth"
    seed: int = 0

    def __post_init__(self) -> None:
        choice(self.over, "over", ("depth", "radius"))
        for axis, low, high in (
            ("period", self.period_min, self.period_max),
            (self.over, self.size_min, self.size_max),
        ):
            if positive(high, f"largest {axis}") <= positive(low, f"smallest {axis}"):
                raise ValueError(f"{axis} from {low:g} to {high:g}: expected the first below the second")
        most = LARGEST_DEPTH if self.over == "depth" else LARGEST_RADIUS
        if self.size_max > most:
            raise ValueError(f"largest {self.over} is {self.size_max:g}: expected up to {most:g}, no planet is larger")
        for name in ("n_period", "n_size", "n_per_cell"):
            integer_at_least(getattr(self, name), name, 1)
        integer_at_least(self.seed, "seed", 0)
        if self.n_planet > MOST_PLANETS:
            raise ValueError(f"{self.n_planet} planets: expected up to {MOST_PLANETS}; take fewer per cell")

    @property
    def n_planet(self) -> int:
        """Number of planets in all cells."""
        return self.n_period * self.n_size * self.n_per_cell

    @property
    def period_edges(self) -> F64:
        """Edges of the cells (n_period + 1,), days."""
        return np.geomspace(self.period_min, self.period_max, self.n_period + 1)

    @property
    def size_edges(self) -> F64:
        """Edges of the cells (n_size + 1,)."""
        return np.geomspace(self.size_min, self.size_max, self.n_size + 1)

    def as_json(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return asdict(self)


def draw_planets(grid: InjectionGrid, stars: Table, hosts: NDArray[np.intp], start: float) -> Table:
    """Draw the planets of all cells, and a star for each.

    Parameters
    ----------
    grid : InjectionGrid
    stars : astropy.table.Table
        All stars of the run; ``rad`` (solar radii) and ``mass`` give densities, else that of the Sun is taken.
    hosts : (n,) intp
        Stars that may be drawn, each as likely as the others.
    start : float
        First time, days; every first transit comes within a period of it.

    Returns
    -------
    astropy.table.Table
        One row per planet, ordered by star: ``star``, ``cell_period``, ``cell_size``, ``period``, ``t0``, ``depth``,
        ``radius_ratio``, ``radius`` (Earths, NaN where the star's is not known), ``separation``, ``impact``,
        ``duration``.

    Notes
    -----
    Each planet has random numbers of its own, by seed, cell and number: more planets per cell leave those that were
    drawn before as they are. Impact parameters are even from 0 to 0.9; densities are held to 0.1 to 10 Suns.
    """
    from astropy.table import Table

    rad, density = stellar(stars)
    rows = []
    for i, j in np.ndindex(grid.n_period, grid.n_size):
        for k in range(grid.n_per_cell):
            rng = np.random.default_rng([grid.seed, i, j, k])
            period = _between(rng, grid.period_edges[i : i + 2])
            size = _between(rng, grid.size_edges[j : j + 2])
            star = int(hosts[rng.integers(hosts.size)])
            impact = float(rng.uniform(0.0, LARGEST_IMPACT))
            t0 = start + period * float(rng.uniform())
            separation = separation_at(period, density[star])
            if grid.over == "depth":
                planet = Planet.of_depth(size, period, t0, separation, impact)
            else:
                planet = Planet(period, t0, size / EARTHS_PER_SUN / rad[star], separation, impact)
            depth = float(planet.dip(np.array([t0]))[0])
            ratio = planet.radius_ratio
            radius = ratio * rad[star] * EARTHS_PER_SUN
            rows.append((star, i, j, period, t0, depth, ratio, radius, separation, impact, planet.duration))
    rows.sort(key=lambda row: row[:1])  # stable: of one star in the order of the cells
    names = ("star", "cell_period", "cell_size", "period", "t0", "depth", "radius_ratio", "radius", "separation")
    return Table(rows=rows, names=(*names, "impact", "duration"), units=dict.fromkeys(("period", "duration"), "d"))


def _between(rng: np.random.Generator, edges: F64) -> float:
    return float(np.exp(rng.uniform(*np.log(edges))))


def stellar(stars: Table) -> tuple[F64, F64]:
    """Return radius (solar, NaN = not known) and mean density (solar) of every star."""

    def column(name: str) -> F64:
        if name not in stars.colnames:
            return np.full(len(stars), np.nan)
        return np.ma.filled(np.ma.asarray(stars[name], np.float64), np.nan)

    rad, mass = (np.where(values > 0, values, np.nan) for values in (column("rad"), column("mass")))
    return rad, np.clip(np.nan_to_num(mass / rad**3, nan=1.0), *DENSITIES)


@dataclass(frozen=True)
class Judge:
    """How the run searched and what it took for noise.

    Attributes
    ----------
    settings : SearchSettings
    flatten_window : float
        Days.
    noise : dict of float to NoiseScores
        By kind of candidate.
    """

    settings: SearchSettings
    flatten_window: float
    noise: Mapping[float, NoiseScores]

    @classmethod
    def of_run(cls, settings: SearchSettings, flatten_window: float, told: Mapping[str, Any]) -> Judge:
        """Take what the table of candidates of a run tells in its ``meta``."""
        kinds = {PERIODIC: "periodic", SINGLE: "single"}
        noise = {kind: NoiseScores.from_json(told["noise"][name]) for kind, name in kinds.items()}
        return cls(settings, flatten_window, noise)

    def claims(self, kind: float, score: float) -> bool:
        """Say whether noise as in this run is unlikely enough to have given a score."""
        return bool(self.noise[kind].probability(np.array([score]))[0] <= self.settings.false_alarm_max)


def judge_block(curves: LightCurves, planets: Table, judge: Judge) -> dict[str, NDArray[Any]]:
    """Put one planet into each light curve, search them, and say what became of it.

    Parameters
    ----------
    curves : LightCurves
        As they were measured, one column per row of `planets`, the mask of the CCD in the flags.
    planets : astropy.table.Table
        Rows of `draw_planets`.
    judge : Judge

    Returns
    -------
    dict of (n,) arrays
        ``status`` (index into `STATUS`), and ``found_period`` (days), ``found_snr`` and ``found_sde`` of the claim that
        decided, of the strongest candidate where none did.
    """
    injected = with_planet(curves, [_planet(row) for row in planets])
    flat = levelled(injected).flatten(judge.flatten_window)
    found = search_block(flat, judge.settings)
    told = [_judge_star(found, star, row, judge) for star, row in enumerate(planets)]
    status, period, snr, sde = zip(*told, strict=True)
    numbers = {"found_period": period, "found_snr": snr, "found_sde": sde}
    return {"status": np.array(status, np.int8), **{name: np.array(v, np.float64) for name, v in numbers.items()}}


def _planet(row: Any) -> Planet:
    return Planet(*(float(row[name]) for name in ("period", "t0", "radius_ratio", "separation", "impact")))


def _judge_star(found: BlockSearch, star: int, planet: Any, judge: Judge) -> tuple[int, float, float, float]:
    first = found.candidate(star, 0)
    best = (STATUS.index("missed"), first.period, first.snr, first.sde)
    for rank in range(found.values["kind"].shape[1]):
        candidate = found.candidate(star, rank)
        if candidate.kind not in judge.noise or not passes(candidate, judge.settings):
            continue
        if not judge.claims(candidate.kind, candidate.score):
            continue
        status = _status(candidate.kind == PERIODIC, candidate.period, candidate.t0, planet)
        told = (STATUS.index(status), candidate.period, candidate.snr, candidate.sde)
        if status == "recovered":
            return told
        best = told if status != "missed" else best
    return best


def _status(is_periodic: bool, period: float, t0: float, planet: Any) -> str:
    """Say what an ephemeris is to a planet: its epoch must hit a transit, or where a shorter period puts one."""
    true, epoch = float(planet["period"]), float(planet["t0"])
    tolerance = max(0.5 * float(planet["duration"]), LEAST_TOLERANCE_DAYS)

    def hits(step: float) -> bool:
        offset = (t0 - epoch) / step
        return abs(offset - round(offset)) * step <= tolerance

    if not is_periodic or not math.isfinite(period):
        return "single-event" if hits(true) else "missed"
    if abs(period / true - 1.0) <= PERIOD_TOLERANCE and hits(true):
        return "recovered"
    near = any(abs(period / (ratio * true) - 1.0) <= PERIOD_TOLERANCE for ratio in HARMONICS)
    return "alias" if near and hits(min(period, true)) else "missed"


def interval(n_found: int, n: int) -> tuple[float, float]:
    """Return the limits of a fraction whose one-sigma (68.3 %) interval holds it at least that often.

    Notes
    -----
    Clopper & Pearson's: each limit is the fraction that gives a count as extreme in half of the rest. It is right for 0
    of n too, where the error is not 0.

    References
    ----------
    Clopper & Pearson 1934, Biometrika 26, 404, doi:10.1093/biomet/26.4.404

    Examples
    --------
    >>> low, high = interval(0, 20)
    >>> low, round(high, 3)
    (0.0, 0.088)
    """
    from scipy.special import betaincinv

    tail = 0.5 * (1.0 - ONE_SIGMA)
    low = 0.0 if n_found == 0 else float(betaincinv(n_found, n - n_found + 1, tail))
    high = 1.0 if n_found == n else float(betaincinv(n_found + 1, n - n_found, 1.0 - tail))
    return low, high


def map_of(grid: InjectionGrid, planets: Table, status: NDArray[np.int8]) -> Table:
    """Count what was found in every cell.

    Returns
    -------
    astropy.table.Table
        One row per cell: ``period_low``, ``period_high`` (days), ``size_low``, ``size_high``, ``n``, ``n_recovered``,
        ``n_alias``, ``n_single``, ``recovered`` (fraction at the right period), ``recovered_low`` and
        ``recovered_high`` (its one-sigma interval, `interval`).
    """
    from astropy.table import Table

    rows = []
    where = np.asarray(planets["cell_period"]), np.asarray(planets["cell_size"])
    for i, j in np.ndindex(grid.n_period, grid.n_size):
        here = status[(where[0] == i) & (where[1] == j)]
        counts = [int(np.count_nonzero(here == k)) for k in range(len(STATUS))]
        limits = *map(float, grid.period_edges[i : i + 2]), *map(float, grid.size_edges[j : j + 2])
        rows.append((*limits, here.size, *counts[1:], counts[1] / here.size, *interval(counts[1], here.size)))
    names = ("period_low", "period_high", "size_low", "size_high", "n", "n_recovered", "n_alias", "n_single")
    table = Table(rows=rows, names=(*names, "recovered", "recovered_low", "recovered_high"))
    for name in ("period_low", "period_high"):
        table[name].unit = "d"
    return table
