"""The command ``starskope inject``: planets into the light curves of a finished run, and what of them is found.

Owns the options and the wording. Refuses to inject and to search (`starskope.injections`).
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from starskope.cli_words import count, say, say_json, tell
from starskope.progress import Progress

if TYPE_CHECKING:
    from starskope.completeness import InjectionGrid

__all__ = ["add_inject", "inject"]


def add_inject(add: Callable[..., ArgumentParser]) -> ArgumentParser:
    """Add the command to the parser; ``add`` is that of `starskope.cli`."""
    text = "put planets into the light curves of a finished run, and map which of them it would have found"
    command = add("inject", inject, text, "OUT")
    command.add_argument("out", metavar="OUT", help="output directory of `starskope run`")
    command.add_argument("--output", metavar="DIR", help="where the map goes (default: OUT/completeness)")
    group = command.add_argument_group("planets")
    option = group.add_argument
    option("--period-min", type=float, metavar="DAYS", help="default: the shortest that the run searched")
    option("--period-max", type=float, metavar="DAYS", help="default: the longest that the run searched")
    option("--depth-min", type=float, metavar="PPM", help="shallowest transit (default: 300)")
    option("--depth-max", type=float, metavar="PPM", help="deepest transit (default: 30000)")
    option("--radius-min", type=float, metavar="EARTHS", help="smallest planet: a map over radius instead of depth")
    option("--radius-max", type=float, metavar="EARTHS", help="largest planet")
    option("--cells", type=int, nargs=2, default=(6, 6), metavar=("P", "D"), help="of period and size (default: 6 6)")
    option("--per-cell", type=int, default=20, metavar="N", help="planets in each cell (default: 20)")
    option("--seed", type=int, default=0, metavar="N", help="of the draws (default: 0)")
    command.add_argument("--restart", action="store_true", help="begin again where another map, or this one, was made")
    return command


def inject(arguments: Namespace) -> int:
    """Measure the map, or tell the one that is there."""
    from starskope.injections import FinishedRun, measure_completeness

    run = FinishedRun(Path(arguments.out))
    grid = _grid(arguments, run.period_range())
    with Progress(sys.stderr) as progress:
        made = measure_completeness(
            run,
            grid,
            dest=Path(arguments.output) if arguments.output else None,
            workers=arguments.workers,
            restart=arguments.restart,
            progress=progress,
        )
    if arguments.json:
        for cell in made.told["cells"]:
            say_json(cell)
        return 0
    scale, unit = (1e6, "ppm") if grid.over == "depth" else (1.0, "Earths")
    say(f"{'period d':>17} {unit:>19} {'n':>5} {'found':>7}  68 % interval")
    for cell in made.told["cells"]:
        period = f"{cell['period_low']:.3g} to {cell['period_high']:.3g}"
        size = f"{scale * cell['size_low']:.4g} to {scale * cell['size_high']:.4g}"
        limits = f"{cell['recovered_low']:.2f} to {cell['recovered_high']:.2f}"
        say(f"{period:>17} {size:>19} {cell['n']:>5} {cell['recovered']:>7.2f}  {limits}")
    counts = made.told["counts"]
    tell(
        f"{count(made.told['n_planet'], 'planet')} before {count(made.told['n_star'], 'star')}: {counts['recovered']} "
        f"found at their period, {counts['alias']} at a multiple or a part of it, {counts['single-event']} as a single "
        f"event, {counts['missed']} missed"
    )
    return 0


def _grid(arguments: Namespace, searched: tuple[float, float]) -> InjectionGrid:
    from starskope.completeness import InjectionGrid

    given = {name: getattr(arguments, name) for name in ("depth_min", "depth_max", "radius_min", "radius_max")}
    by_radius = given["radius_min"] is not None or given["radius_max"] is not None
    if by_radius:
        if given["radius_min"] is None or given["radius_max"] is None:
            raise ValueError("a map over radius needs both --radius-min and --radius-max")
        if given["depth_min"] is not None or given["depth_max"] is not None:
            raise ValueError("give depths or radii, not both: a map has one axis of size")
        sizes = given["radius_min"], given["radius_max"]
    else:
        low = 300.0 if given["depth_min"] is None else given["depth_min"]
        high = 30_000.0 if given["depth_max"] is None else given["depth_max"]
        sizes = 1e-6 * low, 1e-6 * high
    return InjectionGrid(
        searched[0] if arguments.period_min is None else arguments.period_min,
        searched[1] if arguments.period_max is None else arguments.period_max,
        size_min=sizes[0],
        size_max=sizes[1],
        n_period=arguments.cells[0],
        n_size=arguments.cells[1],
        n_per_cell=arguments.per_cell,
        over="radius" if by_radius else "depth",
        seed=arguments.seed,
    )
