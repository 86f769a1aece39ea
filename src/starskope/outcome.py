"""What stands in an output directory: whose it is, whether it is finished, and whether there is room for more.

Owns what became of a CCD, the claim of a job on its directory, and leaving no trace of an attempt that came to
nothing. Refuses to make products.
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starskope.framelist import CcdId, FrameList
from starskope.journal import Journal
from starskope.progress import format_bytes
from starskope.runconfig import RunConfig, describe_difference, find_named, identity

__all__ = [
    "PRODUCTS",
    "LeftOut",
    "Outcome",
    "check_space",
    "claim",
    "disk_bytes",
    "finished_outcome",
    "finished_run",
    "memory_bytes",
    "missing_folders",
    "read_outcome",
    "release_empty",
]

PRODUCTS = ("stack.fits", "light_curves.zarr", "manifest.parquet", "report.html", "run.json")


@dataclass(frozen=True, order=True)
class LeftOut:
    """A frame that is in no product.

    Attributes
    ----------
    index : int
        Its place among the frames; -1 when it is not even one of them.
    name, reason : str
        File name, and why.
    again : bool
        Whether trying again may help, as after a broken connection.
    """

    index: int
    name: str
    reason: str
    again: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one CCD.

    Attributes
    ----------
    ccd : CcdId
        Sector, camera and CCD as the names of the frames say.
    path : Path
        Directory of the products.
    n_frame, n_used, n_star : int
        Frames found, frames in the stack, light curves.
    left_out : tuple of LeftOut
        Frames that are in no product, with the reason.
    already_done : bool
        An earlier run had finished: nothing was done now.
    timings_s : mapping
        Seconds per step.
    error : str
        Why the CCD failed as a whole; empty when it did not.
    """

    ccd: CcdId
    path: Path
    n_frame: int = 0
    n_used: int = 0
    n_star: int = 0
    left_out: tuple[LeftOut, ...] = ()
    already_done: bool = False
    timings_s: Mapping[str, float] | None = None
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether every frame was worked on."""
        return not (self.error or self.left_out)


def finished_outcome(out: Path, known: Mapping[str, Any]) -> Outcome | None:
    """Return what ``run.json`` tells when `out` holds the finished products of this very job, else None.

    Only what `known` holds is compared: without a listing of the bucket the frames are not part of it.

    Raises
    ------
    ValueError
        The directory belongs to another configuration.
    """
    try:
        run = json.loads((out / "run.json").read_text())
        there = run["identity"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{out / 'run.json'} is not of this program: choose another directory") from None
    _refuse_other(out, {name: there.get(name) for name in known}, known)
    if not run["complete"] or not all((out / name).exists() for name in PRODUCTS):
        return None
    return read_outcome(run, out)


def read_outcome(run: Mapping[str, Any], out: Path) -> Outcome:
    """Return the outcome that the content of a ``run.json`` tells."""
    left_out = tuple(LeftOut(**frame) for frame in run["left_out"])
    return Outcome(CcdId(**run["ccd"]), out, **run["counts"], left_out=left_out, already_done=True)


def finished_run(config: RunConfig, out: Path) -> tuple[Outcome, ...] | None:
    """Return the outcomes when every CCD of the run stands finished in `out`, else None.

    Neither the network nor a numerical library is needed for that.

    Raises
    ------
    ValueError
        As `finished_outcome`, and as `find_named` when the files cannot be listed.
    """
    named = find_named(config) if config.frames else {}
    outcomes = []
    for ccd in named or config.asked_ccds():
        outcome = finished_outcome(config.folder(out, ccd), identity(config, ccd, named.get(ccd)))
        if outcome is None:
            return None
        outcomes.append(outcome)
    return tuple(outcomes)


def _refuse_other(out: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    if difference := describe_difference(there, here):
        raise ValueError(
            f"{out} holds another run, with other {difference}: "
            "choose another directory, or add --restart to replace what is there"
        )


def claim(journal: Journal, out: Path, known: Mapping[str, Any], *, restart: bool) -> None:
    """Make the journal that of the job with identity `known`, beginning again where that was asked for.

    Raises
    ------
    ValueError
        The directory belongs to another configuration, or to something else than a run.
    """
    if restart:
        (out / "run.json").unlink(missing_ok=True)  # From here on the old products no longer count as finished.
        journal.forget()
    there = journal.note("identity")
    if there is not None:
        _refuse_other(out, there, known)
        return
    standing = [name for name in PRODUCTS if (out / name).exists()]
    if standing and not (out / "run.json").exists() and not restart:
        raise ValueError(f"{out} holds {', '.join(standing)} of something else: choose another directory")
    journal.set_note("identity", dict(known))


def missing_folders(out: Path) -> list[Path]:
    """Return `out` and those above it that do not exist yet, innermost first.

    Raises
    ------
    NotADirectoryError
        Something else stands where a folder is needed.
    """
    created = []
    for folder in (out, *out.parents):
        if folder.is_dir():
            break
        if folder.exists():
            raise NotADirectoryError(errno.ENOTDIR, "is no directory", str(folder))
        created.append(folder)
    return created


def release_empty(journal: Journal, created: Sequence[Path]) -> None:
    """Release the journal; without a finished block in it, leave no trace of the attempt.

    Parameters
    ----------
    journal : Journal
        Of the job, whatever became of it.
    created : sequence of Path
        Folders that did not exist before the job, innermost first.
    """
    if journal.folder.exists():
        if journal.finished():
            journal.close()
            return
        journal.remove()
    for folder in created:
        try:
            folder.rmdir()
        except OSError:  # The products stand in it.
            break


def check_space(out: Path, frames: FrameList, block_frames: int, shape: tuple[int, int], n_star: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises
    ------
    OSError
        Too little room, with what is needed.
    """
    needed, free = disk_bytes(len(frames), block_frames, shape, n_star), shutil.disk_usage(out).free
    done = sum(path.stat().st_size for path in (out / ".work").glob("block-*.npz"))
    if free < needed - done:
        raise OSError(
            f"{out} has {format_bytes(free)} free, the run needs {format_bytes(needed - done)}: "
            "free some space or choose another directory"
        )


def disk_bytes(n_frame: int, block_frames: int, shape: tuple[int, int], n_star: int) -> int:
    """Bytes that a run needs at its largest: all blocks, and the products made of them."""
    planes = 16 * shape[0] * shape[1]
    curves = 12 * n_frame * n_star
    return (-(-n_frame // block_frames) + 1) * planes + 2 * curves + 4_000_000


def memory_bytes(block_frames: int, shape: tuple[int, int], bytes_in_flight: int) -> int:
    """Bytes that a run holds at its largest: a block of planes, as much as is in flight waiting for it, libraries."""
    return block_frames * 4 * shape[0] * shape[1] + 2 * bytes_in_flight + 300_000_000
