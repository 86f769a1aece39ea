"""``--output s3://bucket/prefix``: products that were made here go to a bucket as well.

Owns the options, the check before the work and the words after it. Refuses to send what is not finished, and to end a
command with code 0 before every file was found whole in the bucket.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starskope.cli_words import count, say, say_json, tell
from starskope.progress import Progress, format_bytes

if TYPE_CHECKING:
    from starskope.outcome import Outcome
    from starskope.transfer.options import TransferOptions

__all__ = ["add_output", "check_bucket_for_output", "send_outcomes", "send_products"]


def add_output(command: ArgumentParser) -> None:
    """Add the options to a command that makes products."""
    group = command.add_argument_group("products to a bucket")
    group.add_argument(
        "--output",
        metavar="S3-URI",
        help="send the products to s3://bucket/prefix too, each checked there; what lies there whole is not sent again",
    )
    group.add_argument("--output-endpoint-url", metavar="URL", help="S3 server; default: that of --endpoint-url")
    group.add_argument("--output-profile", metavar="NAME", help="AWS profile; default: --profile, then the environment")


def check_bucket_for_output(arguments: Namespace, options: TransferOptions) -> None:
    """Refuse a bucket that cannot be written before hours are spent on what it shall take.

    Raises
    ------
    ValueError
        The address is none.
    TransferError
        The bucket does not exist or may not be written.
    """
    if not arguments.output:
        given = [name for name in ("output_endpoint_url", "output_profile") if getattr(arguments, name)]
        if given:
            raise ValueError(f"--{given[0].replace('_', '-')} needs --output s3://bucket/prefix")
        return
    from starskope.transfer.outgoing import Destination

    destination = Destination.parse(arguments.output)
    if arguments.dry_run:
        tell(f"the products would be sent to {destination}")
        return
    from starskope.transfer.upload import check_destination

    check_destination(arguments.output, _options(arguments, options))


def send_outcomes(arguments: Namespace, options: TransferOptions, outcomes: Sequence[Outcome], out: Path) -> int:
    """Send the products of every CCD that has some, ``run.json`` last, and return the exit code."""
    code = 0
    for outcome in outcomes:
        if not arguments.output or outcome.error:
            continue
        names = json.loads((outcome.path / "run.json").read_text())["products"]
        within = outcome.path.relative_to(out).as_posix()
        where = arguments.output.rstrip("/") + ("" if within == "." else f"/{within}")
        first = [outcome.path / name for name in names if name != "run.json"]
        sent = _send(arguments, options, first, where)
        # Who finds it may rely on the rest.
        code = max(code, sent or _send(arguments, options, [outcome.path / "run.json"], where))
    return code


def send_products(arguments: Namespace, options: TransferOptions, paths: Sequence[Path]) -> int:
    """Send what a command has made, where that was asked for, and return the exit code."""
    return _send(arguments, options, paths, arguments.output) if arguments.output else 0


def _send(arguments: Namespace, options: TransferOptions, paths: Sequence[Path], where: str) -> int:
    from starskope.errors import TransferError
    from starskope.transfer.upload import upload

    with Progress(sys.stderr) as progress:
        n_done = n_bytes = 0

        def show(state: Any) -> None:
            nonlocal n_done, n_bytes
            if not n_done:
                progress.start("files sent", state.n_total)
            done = state.n_done + state.n_failed
            progress.advance(done - n_done, state.bytes_done - n_bytes)
            n_done, n_bytes = done, state.bytes_done

        try:
            table = upload(paths, where, options=_options(arguments, options), progress=show)
        except TransferError as error:
            tell(f"not sent: {error}; what was made stays here, the same command sends it")
            return 1
    failed = [row for row in table if row["status"] == "failed"]
    for row in failed:
        tell(f"not sent: {row['path']}: {row['error']}")
    n_present = int((table["status"] == "present").sum())
    size = int(table["size"].sum())
    if arguments.json:
        counts = {"n_file": len(table), "n_present": n_present, "n_failed": len(failed), "n_bytes": size}
        say_json({"output": where, **counts})
    else:
        before = f", {n_present} lay there before" if n_present else ""
        whole = f"{len(table) - len(failed)} of {count(len(table), 'file')} in {where}"
        say(f"{whole}, each checked ({format_bytes(size)}{before})")
    return int(bool(failed))


def _options(arguments: Namespace, options: TransferOptions) -> TransferOptions:
    """Return how the bucket is reached: like the archive, unless told otherwise; the archive's payer is not ours."""
    return replace(
        options,
        endpoint_url=arguments.output_endpoint_url or options.endpoint_url,
        profile=arguments.output_profile or options.profile,
        request_payer=False,
    )
