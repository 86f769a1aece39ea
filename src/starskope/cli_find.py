"""The command ``starskope find``: the frames of a CCD, or the light curves of stars, that the archive holds.

Owns its arguments, and those with which other commands take an index instead of a listing. Refuses to search
(``archive``).
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starskope.cli_words import TABLE_FORMATS, check_output, count, expand, say, say_json, tell, write_table
from starskope.progress import format_bytes

__all__ = ["add_find", "add_index", "find", "index_of"]

_FRAME_COLUMNS = ("uri", "size", "start", "start_btjd")
_STAR_COLUMNS = ("uri", "size", "target", "cadence")


def add_find(
    add: Callable[..., ArgumentParser], add_ccd: Callable[[ArgumentParser], None], add_archive: Callable[..., None]
) -> ArgumentParser:
    """Add the command to the parser; the functions are those of `starskope.cli`."""
    text = "list the full frame images of a CCD, or the light curves of stars, that the archive holds"
    command = add("find", find, text, "[STAR ...]")
    command.add_argument(
        "paths",
        nargs="*",
        metavar="STAR",
        help='such as "KIC 11804465", "EPIC 206089508", "TIC 25155310", or - for a list on standard input',
    )
    add_ccd(command)
    add_archive(command, sources=("s3", "mast", "both"))
    add_index(command)
    group = command.add_argument_group("light curves")
    group.add_argument(
        "--light-curves", action="store_true", help="of the stars on the CCD, unless STAR or --stars name some"
    )
    group.add_argument("--stars", metavar="FILE", help="table with a column tic_id, kic or epic")
    group.add_argument("--tmag-max", type=float, default=13.0, metavar="MAG", help="faintest star (default: 13)")
    group.add_argument(
        "--mission", action="append", choices=("kepler", "k2", "tess"), help="again for each (default: all three)"
    )
    group.add_argument("--cadence", action="append", choices=("long", "short", "fast"), help="again for each")
    command.add_argument("--output", metavar="FILE", help="write the table there (.ecsv, .csv, .parquet)")
    command.add_argument(
        "--differences", metavar="FILE", help="write what only one of bucket and archive has (--source mast or both)"
    )
    return command


def add_index(command: ArgumentParser) -> None:
    """Add the arguments with which a command remembers what the archive holds."""
    group = command.add_argument_group("what is known already")
    group.add_argument("--index", metavar="FILE", help="Parquet file of what was listed: only new days are listed")
    group.add_argument("--offline", action="store_true", help="list nothing: --index alone says which frames there are")
    group.add_argument("--refresh", action="store_true", help="list all days again and correct --index")
    group.add_argument("--cache", metavar="DIR", help="keep answers of the archive's database there for a week")


def index_of(arguments: Namespace) -> dict[str, Any]:
    """Return the arguments of `add_index` as `find_ffis` takes them."""
    given = vars(arguments)
    return {name: given.get(name, default) for name, default in _UNASKED.items()}


_UNASKED = {"index": None, "offline": False, "refresh": False, "cache": None}


def find(arguments: Namespace) -> int:
    """List frames or light curves."""
    for name in ("output", "differences"):
        if getattr(arguments, name):
            check_output(Path(getattr(arguments, name)), TABLE_FORMATS)
    of_stars = bool(arguments.paths or arguments.stars or arguments.light_curves)
    if arguments.differences and arguments.source == "s3":
        raise ValueError("--differences compares bucket and archive: add --source mast")
    return _find_light_curves(arguments) if of_stars else _find_frames(arguments)


def _find_frames(arguments: Namespace) -> int:
    from starskope.cli_commands import _find_tables, _show_plan

    if arguments.mission or arguments.cadence:
        raise ValueError("--mission and --cadence are for light curves: name stars, or add --light-curves")
    if arguments.dry_run:
        return _show_plan(arguments, [], "find")
    return _tell(arguments, _find_tables(arguments), _FRAME_COLUMNS, "frame")


def _find_light_curves(arguments: Namespace) -> int:
    from starskope.archive.star_files import MISSIONS, find_light_curves
    from starskope.cli_commands import _options

    if arguments.index or arguments.offline or arguments.refresh:
        raise ValueError("--index, --offline and --refresh are for frames: light curves are always asked for")
    stars = _read_stars(arguments)
    missions = arguments.mission or MISSIONS
    if arguments.dry_run:
        text = f"{count(len(stars), 'star')}: folders of {', '.join(missions)} would be listed; nothing else is read"
        say_json({"what": text, "n_star": len(stars)}) if arguments.json else say(text)
        return 0
    table = find_light_curves(
        stars,
        missions,
        cadence=arguments.cadence,
        source=arguments.source,
        options=_options(arguments),
        bucket=arguments.bucket,
        cache=arguments.cache,
    )
    for note in table.meta["notes"]:
        tell(f"note: {note}")
    return _tell(arguments, table, _STAR_COLUMNS, "light curve")


def _read_stars(arguments: Namespace) -> Any:
    """Return the stars that are meant: named, in a file, or on a CCD."""
    from starskope.archive.catalog import read_catalog
    from starskope.cli_commands import _options

    if arguments.paths and arguments.stars:
        raise ValueError("stars are both named and in --stars: give one of them")
    if arguments.paths:
        return expand(arguments.paths)
    if arguments.stars:
        return read_catalog(arguments.stars)
    ccd = (arguments.sector, arguments.camera, arguments.ccd)
    if None in ccd or "all" in ccd:
        raise ValueError("--light-curves needs stars: name some, give --stars FILE, or one sector, camera and CCD")
    from starskope.archive.stars import find_stars

    return find_stars(
        *ccd, arguments.tmag_max, options=_options(arguments), bucket=arguments.bucket, cache=arguments.cache
    )


def _tell(arguments: Namespace, table: Any, columns: tuple[str, ...], noun: str) -> int:
    """Write the table, and the differences where they were asked for."""
    if arguments.output:
        write_table(_plain(table), Path(arguments.output))
    if arguments.differences:
        write_table(table.meta["differences"], Path(arguments.differences))
    for row in table:
        if arguments.json:
            say_json({name: _json_value(row[name]) for name in table.colnames})
        elif not arguments.output:
            say("  ".join(str(row[name]) for name in columns))
    tell(f"{count(len(table), noun)}, {format_bytes(float(table['size'].sum()))}")
    return 0


def _json_value(value: Any) -> Any:
    """Return a value of a row as JSON knows it; None where it is masked."""
    import numpy as np

    return None if value is np.ma.masked else value.item() if isinstance(value, np.generic) else value


def _plain(table: Any) -> Any:
    """Return the table without the one in its metadata, which no format can hold."""
    plain = table.copy(copy_data=False)
    plain.meta.pop("differences", None)
    return plain
