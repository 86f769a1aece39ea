"""The command ``starskope join``: files of one star in, one file of all its light out.

Owns the options and the wording of the result. Refuses to decide what belongs together (``curves.joining``) and to
search (``starskope search`` reads the file).
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

from starskope.cli_words import check_output, count, expand, say, say_json, tell

__all__ = ["add_join", "join"]


def add_join(add: Callable[..., ArgumentParser]) -> None:
    """Add the command to the parser; ``add`` is that of `starskope.cli`."""
    text = "join light curves of one star from Kepler, K2 and TESS"
    command = add("join", join, text, "FILE ... -o OUT.fits")
    command.add_argument(
        "paths", nargs="+", metavar="FILE", help="light curves of one star, or - for a list on standard input"
    )
    command.add_argument("-o", "--output", required=True, metavar="OUT.fits", help="what to write")
    command.add_argument(
        "--match-arcsec",
        type=float,
        default=3.0,
        metavar="X",
        help="largest separation that proper motion does not explain (default: 3)",
    )
    command.add_argument(
        "--same-star", action="store_true", help="vouch for files that name neither a catalogue number nor a place"
    )


def join(arguments: Namespace) -> int:
    """Join the files, write them and tell what each adds."""
    from starskope.curves.joining import join as join_parts

    output = Path(arguments.output)
    check_output(output, (".fits",))
    joined = join_parts(expand(arguments.paths), match_arcsec=arguments.match_arcsec, same_star=arguments.same_star)
    joined.write(output)
    for matched, covered in zip(joined.matches, joined.coverage, strict=True):
        record = {
            "source": str(matched["source"]),
            "mission": str(covered["mission"]),
            "part": str(covered["part"]),
            "name": str(matched["name"]),
            "matched_by": str(matched["matched_by"]),
            "start_bjd": float(covered["start"]),
            "stop_bjd": float(covered["stop"]),
            "n_point": int(covered["n_point"]),
            "cadence_s": float(covered["cadence"]),
        }
        if arguments.json:
            say_json(record)
        else:
            say(
                f"{covered['mission']:<7} {covered['part']:<12} BJD {covered['start']:.4f} to {covered['stop']:.4f}  "
                f"{covered['n_point']:>7} points of {covered['cadence']:.4g} s  by {matched['matched_by']}  "
                f"{matched['source']}"
            )
    tell(f"{count(joined.n_segment, 'segment')} of one star in {output}: starskope search {output}")
    return 0
