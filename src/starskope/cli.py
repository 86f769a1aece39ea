"""The command line: `starskope find | download | stack | ... | run | inject | demo | report | info`.

Owns the arguments, the exit code (0 done, 1 some items failed, 2 wrong use) and the one line that an error becomes.
Refuses to do the work: each command stands in `starskope.cli_commands`.
"""

from __future__ import annotations

import argparse
import errno
import gc
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["main"]

DEBUG = "STARSKOPE_DEBUG"
# Importing makes some 100,000 objects that stay: looking through them again and again took a sixth of a short command.
_COLLECTED_EVERY = (100_000, 10, 10)
_FFI_HELP = "FITS files, a directory of them, s3:// or https:// addresses, or - for a list on standard input"
_PATIENCE = (
    ("--connections", int, "max_connections", "N", "most requests in flight to one host"),
    ("--max-attempts", int, "max_attempts", "N", "tries per object"),
    ("--retry-seconds", float, "retry_seconds", "S", "most seconds an object may wait"),
    ("--stall-timeout", float, "stall_timeout_s", "S", "seconds without a byte"),
    ("--min-rate", float, "min_bytes_per_s", "B", "slowest connection in bytes/s"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        What stands after ``starskope``; default: those of the process.
    """
    collected_every = gc.get_threshold()
    gc.set_threshold(*_COLLECTED_EVERY)
    try:
        return _run(_parse(arguments))
    finally:
        gc.set_threshold(*collected_every)
        if arguments is None:
            gc.disable()  # the process ends: all is given back at once


def _run(options: argparse.Namespace) -> int:
    try:
        return int(options.command(options))
    except KeyboardInterrupt:
        _complain("stopped: the same command goes on from here")
        return 130
    except BrokenPipeError:
        # The reader of our output has left; what Python would still flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        text, code = _explain(error)
        if isinstance(error, OSError) and options.command.__name__ == "run":
            text += "; finished blocks are kept"
        _complain(text)
        return code


def _complain(text: str) -> None:
    from starskope.progress import plain

    print(f"starskope: {plain(' '.join(text.split()))}", file=sys.stderr)


def _explain(error: Exception) -> tuple[str, int]:
    """Return the line for an exception, and the exit code."""
    from starskope.errors import StarskopeError, TransferError

    if isinstance(error, TransferError) and len(error.causes) > 1:
        return f"{error} ({len(error.causes)} objects)", 1
    if isinstance(error, StarskopeError):
        return str(error), 1
    if isinstance(error, ValueError | TypeError):
        return str(error), 2
    if isinstance(error, FileNotFoundError) and error.strerror != os.strerror(errno.ENOENT):
        # Our own words, remedy included: an input that was named and is not there.
        return f"{error.filename}: {error.strerror}" if error.filename else str(error), 2
    if isinstance(error, OSError):
        where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        # What another part of the program wrote names its own remedy.
        remedy = "" if "free s" in where else ": choose a place that can be written and has room"
        return f"{where}{remedy}", 1
    return f"{type(error).__name__}: {error}: this is a defect; set {DEBUG}=1 to see where, and report it", 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments; options may stand between FRAMES and OUT, which argparse alone does not allow."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options, later = _parser(words[0] if words else None).parse_known_args(words)
    unknown = [word for word in later if word.startswith("-") and word != "-"]
    if unknown or (later and "paths" not in options):
        options.parser.error(f"unrecognized arguments: {' '.join(unknown or later)}")
    if later:
        options.paths += later
    return options


class _Skipped:
    """Stands for the parser of a command that was not asked for: options of a dozen others take 30 ms to describe."""

    def add_argument(self, *_: Any, **__: Any) -> None:
        """Describe nothing."""

    def add_argument_group(self, *_: Any, **__: Any) -> _Skipped:
        """Describe nothing."""
        return self


def _parser(wanted: str | None = None) -> argparse.ArgumentParser:
    """Describe one command, or all where it is none that is known."""
    from starskope import cli_commands as commands
    from starskope import cli_cutouts, cli_find, cli_inject, cli_join, cli_learn, cli_output, cli_search, cli_spectra

    parser = argparse.ArgumentParser(
        prog="starskope",
        description="From TESS full frame images to stacks, light curves, transit candidates and learned features.",
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function: Callable[[argparse.Namespace], int], text: str, operands: str = "") -> Any:
        if wanted not in (None, name):
            return _Skipped()
        usage = f"starskope {name} [options] {operands}".rstrip()
        command = subparsers.add_parser(name, help=text, description=text, usage=usage)
        command.set_defaults(command=function, parser=command)
        command.add_argument("--json", action="store_true", help="one JSON object per line on standard output")
        return command

    cli_find.add_find(add, _add_ccd, _add_archive)

    download = add(
        "download",
        commands.download,
        "copy objects, verified; goes on where it was stopped",
        "[URI ...] DEST",
    )
    download.add_argument(
        "paths", nargs="+", metavar="[URI ...] DEST", help="s3:// URIs, or - for a list on standard input; then DEST"
    )
    _add_ccd(download)
    _add_archive(download)
    cli_find.add_index(download)
    download.add_argument("--overwrite", action="store_true", help="copy again what is there")
    download.add_argument(
        "--verify", action="store_true", help="copy nothing: hold what is in DEST against the sums in its manifest"
    )
    download.add_argument("--repair", action="store_true", help="verify, and copy again only what is missing or wrong")
    download.add_argument(
        "--processes", type=int, metavar="N", help="share the work (default: one per CPU where that is faster)"
    )

    stack = add("stack", commands.stack, "stack frames into one image", "[FRAMES ...] OUT.fits")
    stack.add_argument("paths", nargs="+", metavar="[FRAMES ...] OUT.fits", help=f"{_FFI_HELP}; then the file")
    _add_ccd(stack)
    _add_archive(stack)
    cli_find.add_index(stack)
    _add_workers(stack)
    cli_output.add_output(stack)
    _add_clip(stack)
    stack.add_argument("--method", default="sigma_clip", choices=("sigma_clip", "mean", "median"))

    curves = add("curves", commands.curves, "measure the stars of a catalogue on every frame", "[FRAMES ...] OUT")
    curves.add_argument("paths", nargs="+", metavar="[FRAMES ...] OUT", help=f"{_FFI_HELP}; then OUT.zarr or OUT.fits")
    _add_ccd(curves)
    _add_archive(curves)
    cli_find.add_index(curves)
    _add_workers(curves)
    _add_stars(curves)
    cli_output.add_output(curves)

    cli_cutouts.add_cutouts(add, _add_ccd, _add_archive)

    cli_join.add_join(add)
    for series in (cli_spectra.add_spectra(add), cli_search.add_search(add)):
        _add_workers(series)
        series.add_argument(
            "--time-zero", type=float, metavar="JD", help="Julian date of time 0, for files that do not tell (text)"
        )
    _add_workers(cli_inject.add_inject(add))
    cli_learn.add_learn(add)

    text = "the whole job: stack, light curves, spectra, candidates, features and report of one or several CCDs"
    run = add("run", commands.run, text, "[FRAMES ...] OUT")
    run.add_argument("paths", nargs="+", metavar="[FRAMES ...] OUT", help=f"{_FFI_HELP}; then the output directory")
    _add_ccd(run)
    _add_archive(run)
    cli_find.add_index(run)
    _add_workers(run)
    _add_stars(run)
    _add_clip(run)
    _add_signals(run)
    cli_output.add_output(run)
    run.add_argument("--block-frames", type=int, default=32, metavar="N", help="frames clipped together (default: 32)")
    run.add_argument("--restart", action="store_true", help="begin again in a directory that holds another run")

    demo = add(
        "demo", commands.demo, "run the job on a synthetic sector of known truth, from an S3 server in here", "[DEST]"
    )
    demo.add_argument("dest", nargs="?", default="demo", metavar="DEST", help="directory to write (default: demo)")
    _add_workers(demo)

    report = add("report", commands.report, "draw the report page of a finished run again", "OUT")
    report.add_argument("out", metavar="OUT", help="output directory of a run")

    add("info", commands.info, "tell versions, instruction set, threads and optional parts")
    return parser if subparsers.choices else _parser()


def _all_or_number(text: str) -> Any:
    if text == "all":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is neither a number from 1 to 4 nor "all"') from None


def _add_ccd(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("which CCD")
    group.add_argument("--sector", type=int, metavar="S", help="TESS sector, from 1; of files, which to take")
    group.add_argument("--camera", type=_all_or_number, metavar="1-4|all")
    group.add_argument("--ccd", type=_all_or_number, metavar="1-4|all")


def _add_archive(command: argparse.ArgumentParser, sources: Sequence[str] = ("s3", "mast")) -> None:
    from starskope.transfer.options import TransferOptions

    group = command.add_argument_group("archive and network")
    group.add_argument("--source", choices=sources, default="s3", help="how to search (default: s3)")
    group.add_argument("--bucket", default="stpubdata", metavar="NAME", help="default: stpubdata")
    group.add_argument(
        "--endpoint-url", metavar="URL", help="S3 server; default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, then AWS"
    )
    group.add_argument("--region", default="us-east-1", metavar="NAME")
    group.add_argument("--signed", action="store_true", help="sign requests with the credentials of the environment")
    group.add_argument("--profile", metavar="NAME", help="sign with this profile of the AWS configuration")
    group.add_argument("--request-payer", action="store_true", help="agree to pay for a requester-pays bucket")
    for flag, kind, name, metavar, text in _PATIENCE:
        default = getattr(TransferOptions, name)
        group.add_argument(flag, type=kind, default=default, metavar=metavar, help=f"{text} (default: {default:g})")
    group.add_argument("--dry-run", action="store_true", help="tell what would be read and written, and stop")


def _add_workers(command: argparse.ArgumentParser) -> None:
    command.add_argument("--workers", type=int, default=-1, metavar="N", help="compute threads (default: all CPUs)")


def _add_stars(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("stars")
    group.add_argument("--stars", metavar="FILE", help="catalogue (ECSV, CSV, Parquet, FITS); default: ask the TIC")
    group.add_argument("--tmag-max", type=float, default=13.0, metavar="MAG", help="faintest star (default: 13)")


def _add_signals(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("spectra, search and features")
    group.add_argument(
        "--flatten-window", type=float, default=0.75, metavar="D", help="days of the trend taken off (default: 0.75)"
    )
    group.add_argument("--period-min", type=float, default=0.5, metavar="D", help="shortest period (default: 0.5 days)")
    group.add_argument("--period-max", type=float, metavar="D", help="longest period (default: half the time covered)")
    group.add_argument(
        "--candidates", type=int, default=3, dest="n_candidates", metavar="N", help="most per star (default: 3)"
    )
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of the features that are learned (default: 0)")
    group.add_argument("--model", metavar="FILE", help="classifier from `starskope learn train`: adds probabilities")


def _add_clip(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("stack")
    group.add_argument("--sigma", type=float, default=3.0, metavar="X", help="clip at X standard deviations")
    group.add_argument("--max-iters", type=int, default=5, metavar="N", help="most rounds of clipping")
    group.add_argument("--center", choices=("median", "mean"), default="median")
