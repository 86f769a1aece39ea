"""What each command does: arguments to calls of the public functions, results to text or JSON lines.

Owns the wording of results and the plan that ``--dry-run`` shows. Refuses to parse arguments and to handle errors.
Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starskope.cli_find import index_of
from starskope.cli_output import check_bucket_for_output, send_outcomes, send_products
from starskope.cli_words import count, expand, say, say_json, tell
from starskope.progress import Progress

if TYPE_CHECKING:
    from starskope.framelist import CcdId
    from starskope.runconfig import RunConfig
    from starskope.transfer.options import TransferOptions

_SETTINGS = (
    *("sigma", "max_iters", "center", "tmag_max", "block_frames"),
    *("flatten_window", "period_min", "period_max", "n_candidates", "seed", "model"),
)


def download(arguments: Namespace) -> int:
    """Copy objects to a directory."""
    from starskope.transfer.download import download_rows

    *sources, dest = arguments.paths
    sources = expand(sources)
    if arguments.dry_run:
        return _show_plan(arguments, sources, "download")
    local = [source for source in sources if not source.startswith("s3://")]
    if local:
        raise ValueError(f"{local[0]} is no s3:// URI: download copies objects of a bucket, DEST comes last")
    source: Any = sources
    if not sources:
        of_manifest = arguments.sector is None and (arguments.verify or arguments.repair)
        source = None if of_manifest else _find_tables(arguments)
    with Progress(sys.stderr) as progress:
        n_done = n_bytes = 0
        is_begun = False

        def show(state: Any) -> None:
            nonlocal n_done, n_bytes, is_begun
            if not is_begun:
                progress.start("files", state.n_total)
                is_begun = True
            done = state.n_done + state.n_failed
            progress.advance(done - n_done, state.bytes_done - n_bytes)
            n_done, n_bytes = done, state.bytes_done

        rows = download_rows(
            source,
            dest,
            options=_options(arguments),
            progress=show,
            overwrite=arguments.overwrite,
            verify=arguments.verify,
            repair=arguments.repair,
            processes=arguments.processes,
        )
    failed = [row for row in rows if row.status == "failed"]
    for row in failed:
        tell(f"failed: {row.uri}: {row.error}")
    if arguments.json:
        for row in rows:
            words = {name: getattr(row, name) for name in ("uri", "status", "check", "etag", "crc64nvme", "error")}
            say_json({**words, "path": str(Path(dest) / row.path)})
    else:
        checks = Counter(row.check for row in rows if row.status != "failed")
        how = ", ".join(f"{n} by {'size only' if check == 'size' else check}" for check, n in checks.most_common())
        say(f"{len(rows) - len(failed)} of {len(rows)} files in {dest}; checked: {how or 'none'}; see manifest.parquet")
    return int(bool(failed))


def stack(arguments: Namespace) -> int:
    """Stack frames into one FITS image."""
    from starskope.frames.stack import stack as make

    *sources, out = arguments.paths
    sources = expand(sources)
    check_bucket_for_output(arguments, _options(arguments))
    if arguments.dry_run:
        return _show_plan(arguments, sources, "stack")
    _check_suffix(out, (".fits",))
    _spare_foreign(Path(out))
    frames, _ = _frames(arguments, sources)
    stacked = make(
        frames,
        method=arguments.method,
        sigma=arguments.sigma,
        max_iters=arguments.max_iters,
        center=arguments.center,
        workers=arguments.workers,
        options=_options(arguments),
        on_error="skip",
    )
    stacked.write(Path(out))
    if arguments.json:
        say_json({"out": str(out), "n_frame": stacked.n_frame, "shape": list(stacked.image.shape)})
    else:
        say(f"{count(stacked.n_frame, 'frame')} stacked in {out}")
    code = _tell_left_out(stacked.meta.get("left_out", {}).items())
    return max(code, send_products(arguments, _options(arguments), [Path(out)]))


def curves(arguments: Namespace) -> int:
    """Measure stars on every frame."""
    from starskope.curves.extract import light_curves

    *sources, out = arguments.paths
    sources = expand(sources)
    check_bucket_for_output(arguments, _options(arguments))
    if arguments.dry_run:
        return _show_plan(arguments, sources, "curves")
    _check_suffix(out, (".zarr", ".fits"))
    frames, ccd = _frames(arguments, sources)
    stars = _stars(arguments, ccd)
    measured = light_curves(frames, stars, options=_options(arguments), workers=arguments.workers)
    measured.write(Path(out))
    n_off = int((~(measured.flux == measured.flux).any(axis=0)).sum())  # NaN on every cadence
    if arguments.json:
        say_json({"out": str(out), "n_time": measured.n_time, "n_star": measured.n_star, "n_star_off": n_off})
    else:
        off = f"; {count(n_off, 'star')} never fully on the frames (NaN)" if n_off else ""
        say(f"{count(measured.n_star, 'light curve')} of {count(measured.n_time, 'cadence')} in {out}{off}")
    code = _tell_left_out((frame["frame"], frame["reason"]) for frame in measured.meta.get("left_out", ()))
    return max(code, send_products(arguments, _options(arguments), [Path(out)]))


def run(arguments: Namespace) -> int:
    """Run the main job."""
    from starskope.cli_outcome import tell_outcome
    from starskope.outcome import finished_run

    *sources, out = arguments.paths
    sources = expand(sources)
    check_bucket_for_output(arguments, _options(arguments))
    if arguments.dry_run:
        return _show_plan(arguments, sources, "run")
    config = _run_config(arguments, sources)
    outcomes = None if arguments.restart else finished_run(config, Path(out))
    if outcomes is None:
        from starskope.job import run as run_job

        with Progress(sys.stderr) as progress:
            outcomes = run_job(config, out, restart=arguments.restart, progress=progress).ccds
    for outcome in outcomes:
        tell_outcome(outcome, as_json=arguments.json)
    code = int(not all(outcome.ok for outcome in outcomes))
    return max(code, send_outcomes(arguments, _options(arguments), outcomes, Path(out)))


def demo(arguments: Namespace) -> int:
    """Run the job on a synthetic sector."""
    from starskope.cli_outcome import tell_outcome
    from starskope.demo import run_demo

    with Progress(sys.stderr) as progress:
        outcome, verification = run_demo(Path(arguments.dest), workers=arguments.workers, progress=progress)
    tell_outcome(outcome, as_json=arguments.json)
    for check in verification["checks"]:
        if arguments.json:
            say_json(check)
        else:
            mark = "passed" if check["passed"] else "FAILED"
            say(f"  {mark}: {check['name']}: {check['value']} (asked: {check['limit']})")
    return int(not all(check["passed"] for check in verification["checks"]))


def report(arguments: Namespace) -> int:
    """Draw the report page again."""
    from starskope.journal import write_atomic
    from starskope.report.page import rebuild_page

    out = Path(arguments.out)
    write_atomic(out / "report.html", rebuild_page(out).encode())
    if arguments.json:
        say_json({"report": str(out / "report.html")})
    else:
        say(str(out / "report.html"))
    return 0


def info(arguments: Namespace) -> int:
    """Tell what this installation is made of."""
    from starskope.installation import describe_installation

    facts = describe_installation()
    if arguments.json:
        say_json(facts)
    else:
        width = max(map(len, facts))
        for name, value in facts.items():
            say(f"{name:<{width}}  {value}")
    return 0


def _tell_left_out(frames: Iterable[tuple[str, str]]) -> int:
    """Name frames that are in no product, with the reason, and return the exit code."""
    code = 0
    for name, reason in frames:
        tell(f"left out: {reason if Path(name).name in reason else f'{name}: {reason}'}")
        code = 1
    return code


def _check_suffix(out: str, suffixes: tuple[str, ...]) -> None:
    if not out.endswith(suffixes):
        raise ValueError(f"OUT is {out}, expected a name that ends in {' or '.join(suffixes)}: it comes last")


def _spare_foreign(out: Path) -> None:
    """Refuse to write over a file that is no stack: without OUT, the last frame of ``*.fits`` would be it."""
    from starskope.errors import FrameError
    from starskope.layout.fits import parse_header

    if not out.exists():
        return
    try:
        with out.open("rb") as file:
            is_stack = "NFRAMES" in parse_header(file.read(1 << 20), name=out.name)
    except (FrameError, IsADirectoryError):
        is_stack = False
    if not is_stack:
        raise ValueError(f"{out} exists and is no stack: it is left alone; OUT comes last, choose another name")


def _options(arguments: Namespace) -> TransferOptions:
    from starskope.transfer.options import TransferOptions

    return TransferOptions(
        endpoint_url=arguments.endpoint_url,
        region=arguments.region,
        signed=True if arguments.signed else None,
        profile=arguments.profile,
        request_payer=arguments.request_payer,
        max_connections=arguments.connections,
        max_attempts=arguments.max_attempts,
        retry_seconds=arguments.retry_seconds,
        stall_timeout_s=arguments.stall_timeout,
        min_bytes_per_s=arguments.min_rate,
    )


def _run_config(arguments: Namespace, sources: Sequence[str]) -> RunConfig:
    from starskope.runconfig import RunConfig

    given = vars(arguments)
    settings = {name: given[name] for name in _SETTINGS if name in given}
    return RunConfig(
        sector=arguments.sector,
        camera=arguments.camera,
        ccd=arguments.ccd,
        frames=tuple(sources),
        catalog=given.get("stars"),
        source=arguments.source,
        bucket=arguments.bucket,
        workers=given.get("workers", 1),
        options=_options(arguments),
        **index_of(arguments),
        **settings,
    )


def _find_tables(arguments: Namespace) -> Any:
    from starskope.archive.ffis import find_ffis

    if arguments.sector is None:
        raise ValueError("no --sector given: name sector, camera and CCD (download also takes s3:// URIs)")
    camera, ccd = (None if value == "all" else value for value in (arguments.camera, arguments.ccd))
    where = {"options": _options(arguments), "bucket": arguments.bucket}
    table = find_ffis(arguments.sector, camera, ccd, arguments.source, **where, **index_of(arguments))
    for note in table.meta.get("notes", ()):
        tell(f"note: {note}")
    return table


def _frames(arguments: Namespace, sources: Sequence[str]) -> tuple[Any, CcdId]:
    """Return what `stack` and `light_curves` take, and the CCD that it belongs to."""
    from starskope.framelist import CcdId
    from starskope.runconfig import find_named

    config = _run_config(arguments, sources)
    if config.several:
        raise ValueError('"all" is for find, download and run: name one camera and one CCD here')
    if not sources:
        return _find_tables(arguments), CcdId(arguments.sector, arguments.camera, arguments.ccd)
    ((ccd, frames),) = find_named(config).items()
    for _, reason in frames.refused:
        tell(f"left out: {reason}")
    return frames.as_source(), ccd


def _stars(arguments: Namespace, ccd: CcdId) -> Any:
    from starskope.archive.stars import find_stars

    sector, camera, number = (part or None for part in ccd)
    return find_stars(
        sector,
        camera,
        number,
        arguments.tmag_max,
        arguments.stars,
        options=_options(arguments),
        bucket=arguments.bucket,
        cache=index_of(arguments)["cache"],
    )


def _show_plan(arguments: Namespace, sources: Sequence[str], purpose: str) -> int:
    from starskope.plan import make_plans

    for plan in make_plans(_run_config(arguments, sources), purpose):
        if arguments.json:
            say_json(plan.as_json())
        else:
            say(plan.describe())
    return 0
