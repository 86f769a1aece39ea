"""The command ``starskope cutouts``: targets in, target pixel files or a Zarr store out.

Owns its options, what is written where, which targets need not be cut again, and the wording of the result. Refuses to
read pixels (``frames.cutouts``) and to know formats (``frames.cutout_set``).

A folder gets one file per target and ``cutouts.ecsv``, one row per target asked for, with what became of it. A target
whose file is there is not read again, so the same command goes on where it was stopped.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starskope.cli_output import add_output, check_bucket_for_output, send_products
from starskope.cli_words import count, expand, say, say_json, tell
from starskope.progress import Progress, format_bytes, format_duration

if TYPE_CHECKING:
    from starskope.frames.cutout_set import Cutouts
    from starskope.frames.cutouts import CutoutPlan
    from starskope.transfer.options import TransferOptions

__all__ = ["add_cutouts", "cutouts"]

INDEX = "cutouts.ecsv"
_MB = 1_000_000
_TARGETS = "[TARGET ...] OUT"


def add_cutouts(
    add: Callable[..., ArgumentParser], add_ccd: Callable[[ArgumentParser], None], add_archive: Callable[..., None]
) -> ArgumentParser:
    """Add the command to the parser; the functions are those of `starskope.cli`."""
    command = add("cutouts", cutouts, "cut the pixels around targets out of all frames", _TARGETS)
    command.add_argument(
        "paths",
        nargs="+",
        metavar=_TARGETS,
        help="files with ra and dec or with ephemerides (time, ra, dec, name), RA,DEC in degrees, TIC numbers, or - "
        "for a list on standard input; then a folder for target pixel files, or OUT.zarr",
    )
    add_ccd(command)
    add_archive(command)
    # --source means another thing here than where FFIs are looked up.
    command.conflict_handler = "resolve"
    group = command.add_argument_group("what to cut")
    group.add_argument(
        "--source",
        choices=("auto", "cube", "ffi"),
        default="auto",
        help="read the archive's cubes or its frames (default: whichever takes less time)",
    )
    group.add_argument(
        "--uri", action="append", metavar="URI", help="a cube, or frames (again for each): s3://, https:// or files"
    )
    group.add_argument("--size", type=_size, default=(11, 11), metavar="N|ROWSxCOLUMNS", help="pixels (default: 11)")
    group.add_argument("--overwrite", action="store_true", help="cut again, and replace, what is there")
    group.add_argument(
        "--batch-mb", type=int, default=1000, metavar="MB", help="pixels held in memory, about twice (default: 1000)"
    )
    add_output(command)
    return command


def _size(text: str) -> tuple[int, int]:
    import argparse

    parts = text.lower().split("x")
    try:
        numbers = [int(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of pixels such as 11, or rows x columns, 11x21")
    return numbers[0], numbers[-1]


def cutouts(arguments: Namespace) -> int:
    """Cut targets out and write them."""
    from starskope.cli_commands import _options
    from starskope.frames.target_list import read_targets, rows_of

    *words, out = arguments.paths
    path, options = Path(out), _options(arguments)
    keywords = _checked(arguments, path, options)
    check_bucket_for_output(arguments, options)
    targets = read_targets(expand(words), epoch=_epoch(arguments), options=options)
    if arguments.dry_run:
        return _tell_plans(arguments, targets, keywords)
    work = _to_store if _is_store(path) else _to_folder
    written, records = work(arguments, path, targets, keywords)
    n_target, failed = len(rows_of(targets)), [record for record in records if record["status"] == "failed"]
    for record in failed:
        tell(f"failed: target {record['target']} ({record['label']}): {record.get('reason', 'not read')}")
    lacking = [record for record in records if record.get("n_lost")]
    if lacking:
        most = max(record["n_lost"] for record in lacking)
        tell(f"{count(len(lacking), 'cutout')} lack up to {count(most, 'frame')} that could not be read (NaN)")
    if arguments.json:
        for record in records:
            say_json(record)
    else:
        n_present = sum(record["status"] == "present" for record in records)
        n_edge = sum(record.get("edge", False) for record in records)
        notes = f", {n_present} of them there before" if n_present else ""
        notes += f"; {n_edge} cut at the edge of the frame (NaN, flagged)" if n_edge else ""
        say(f"{n_target - len(failed)} of {count(n_target, 'target')} in {out}{notes}")
    return max(int(bool(failed or lacking)), send_products(arguments, options, written))


def _checked(arguments: Namespace, out: Path, options: TransferOptions) -> dict[str, Any]:
    """Return the keywords of `starskope.cutouts` after refusing what could not be written or understood."""
    if (arguments.sector is None) == (arguments.uri is None):
        raise ValueError("give either --sector, or --uri with a cube or frames")
    if arguments.batch_mb < 1:
        raise ValueError(f"--batch-mb is {arguments.batch_mb}: expected 1 or more")
    if not out.parent.is_dir():
        raise ValueError(f"{out}: the folder {out.parent} does not exist: make it first")
    if _is_store(out) and out.exists() and not arguments.overwrite:
        raise ValueError(f"{out} exists: say --overwrite, or choose another name")
    if not _is_store(out) and out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: name a folder for target pixel files, or a name that ends in .zarr")
    keywords: dict[str, Any] = {"size": arguments.size, "source": arguments.source, "options": options, "workers": -1}
    camera, ccd = (None if value == "all" else value for value in (arguments.camera, arguments.ccd))
    if arguments.uri is not None:
        uri = arguments.uri[0] if len(arguments.uri) == 1 else arguments.uri
        return {**keywords, "uri": uri, "camera": camera, "ccd": ccd}
    return {**keywords, "sector": arguments.sector, "camera": camera, "ccd": ccd, "bucket": arguments.bucket}


def _is_store(path: Path) -> bool:
    return path.name.lower().endswith(".zarr")


def _epoch(arguments: Namespace) -> float | None:
    from starskope.archive.stars import sector_epoch

    return None if arguments.sector is None else sector_epoch(arguments.sector)


def _to_folder(
    arguments: Namespace, folder: Path, targets: Any, keywords: dict[str, Any]
) -> tuple[list[Path], list[dict[str, Any]]]:
    """Write a file for each target that has none, and the index; return all files and one record per target."""
    from starskope.frames.target_list import rows_of, select, write_index
    from starskope.frames.target_pixels import discard_unfinished, find_files, labels
    from starskope.frames.target_pixels_read import read_flags

    folder.mkdir(exist_ok=True)
    discard_unfinished(folder)
    names = labels(rows_of(targets))
    there = {} if arguments.overwrite else find_files(folder, arguments.sector, arguments.size)
    records: list[dict[str, Any]] = [
        {"target": row, "label": name, "status": "failed", "path": ""} for row, name in enumerate(names)
    ]
    for record in records:
        if path := there.get(record["label"]):
            flags = read_flags(folder / path)
            # A file that lacks frames is made again: the line may be better now.
            record.update({} if flags["n_lost"] else {"status": "present", "path": path, **flags})
    todo = [record["target"] for record in records if not record["path"]]

    def put(part: Cutouts) -> None:
        rows = [todo[row] for row in part.targets["target"]]
        part.targets["target"], part.targets["label"] = rows, [names[row] for row in rows]
        for index, path in enumerate(part.write(folder, overwrite=True, workers=-1)):
            records[rows[index]] |= {"status": "written", "path": path.name, **_found(part, index)}

    if todo:
        for failure in _cut(arguments, select(targets, todo), put, keywords):
            records[todo[failure["target"]]] |= {"reason": failure["reason"]}
    index = write_index(folder / INDEX, rows_of(targets), records)
    return [*(folder / record["path"] for record in records if record["path"]), index], records


def _to_store(
    arguments: Namespace, path: Path, targets: Any, keywords: dict[str, Any]
) -> tuple[list[Path], list[dict[str, Any]]]:
    """Write one store, which holds one CCD; return it and one record per target."""
    from starskope.frames.cutout_store import open_writer
    from starskope.frames.cutouts import plan_cutouts
    from starskope.frames.target_list import rows_of
    from starskope.frames.target_pixels import labels

    names = labels(rows_of(targets))
    records: list[dict[str, Any]] = [
        {"target": row, "label": name, "status": "failed", "path": ""} for row, name in enumerate(names)
    ]
    plans = plan_cutouts(targets, **keywords)
    if len(plans) > 1:
        where = ", ".join(f"{plan.n_target} on {plan.camera}-{plan.ccd}" for plan in plans)
        remedy = "name a folder, or give --camera and --ccd"
        raise ValueError(f"a store holds one CCD, the targets lie on {len(plans)} ({where}): {remedy}")
    with open_writer(path, overwrite=arguments.overwrite) as writer:

        def put(part: Cutouts) -> None:
            writer.add(part)
            for index, row in enumerate(part.targets["target"]):
                records[row] |= {"status": "written", "path": path.name, **_found(part, index)}

        failed = _cut(arguments, targets, put, keywords)
        for failure in failed:
            records[failure["target"]] |= {"reason": failure["reason"]}
        writer.add_failed(failed)
    return [path], records


def _found(part: Cutouts, index: int) -> dict[str, Any]:
    place = {name: getattr(part, name) for name in ("sector", "camera", "ccd")}
    flags = {"edge": bool(part.edge[index]), "collateral": bool(part.collateral[index])}
    return {**place, **flags, "n_lost": len(part.meta.get("lost_frames", ()))}


def _cut(arguments: Namespace, targets: Any, put: Callable[[Cutouts], None], keywords: dict[str, Any]) -> Any:
    """Cut out and hand on, with progress; return the table of what failed."""
    from starskope.frames.cutouts import cutouts_each

    with Progress(sys.stderr) as progress:
        n_done = n_planned = 0

        def show(done: int, planned: int) -> None:
            nonlocal n_done, n_planned
            if planned != n_planned:
                progress.start("MB", -(-planned // _MB), done=n_done // _MB)
                n_planned = planned
            progress.advance(done // _MB - n_done // _MB, done - n_done)
            n_done = done

        return cutouts_each(
            targets, put, batch_bytes=arguments.batch_mb * _MB, on_error="skip", progress=show, **keywords
        )


def _tell_plans(arguments: Namespace, targets: Any, keywords: dict[str, Any]) -> int:
    from dataclasses import asdict

    from starskope.frames.cutouts import plan_cutouts
    from starskope.frames.target_list import rows_of

    plans = plan_cutouts(targets, **{**keywords, "batch_bytes": arguments.batch_mb * _MB})
    for plan in plans:
        if arguments.json:
            say_json(asdict(plan))
        else:
            say(_described(plan, arguments))
    n_target, n_found = len(rows_of(targets)), sum(plan.n_target for plan in plans)
    if n_found < n_target:
        tell(f"{n_target - n_found} of {count(n_target, 'target')} lie on no CCD that was looked at")
    return 0


def _described(plan: CutoutPlan, arguments: Namespace) -> str:
    label = f"s{plan.sector:04d}-{plan.camera}-{plan.ccd}" if plan.sector else "frames"
    # A target pixel file has three columns of pixels beside flux and errors, which hold nothing.
    disk = plan.output_bytes if _is_store(Path(arguments.paths[-1])) else 2.5 * plan.output_bytes
    memory = min(plan.output_bytes, arguments.batch_mb * _MB) * 2
    return (
        f"{label}: {count(plan.n_target, 'target')} x {count(plan.n_time, 'frame')} from its "
        f"{'cube' if plan.source == 'cube' else 'frames'} {plan.location}: {count(plan.n_request, 'request')}, "
        f"{format_bytes(plan.n_bytes)}, about {format_duration(plan.seconds)}; memory {format_bytes(memory)}, "
        f"disk {format_bytes(disk)}"
    )
