"""What stands in an output directory: whose it is, and whether it is finished.

Owns what became of a CCD, the claim of a job on its directory, and leaving no trace of an attempt that came to
nothing. Refuses to make products.
"""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starskope.framelist import CcdId
from starskope.journal import Journal, WorkInProgressError
from starskope.runconfig import RunConfig, describe_difference, find_named, identity

__all__ = [
    "FRAME_PRODUCTS",
    "PRODUCTS",
    "REPORT_PRODUCTS",
    "SIGNAL_PRODUCTS",
    "LeftOut",
    "LeftOutStars",
    "Outcome",
    "claim",
    "finished_outcome",
    "finished_run",
    "missing_folders",
    "read_outcome",
    "release_empty",
]

FRAME_PRODUCTS = ("stack.fits", "light_curves.zarr", "manifest.parquet")
SIGNAL_PRODUCTS = ("spectra.zarr", "candidates.ecsv", "feature_model.npz", "features.parquet")
"""Some of them only where there is something to make them of: ``run.json`` lists those that there are."""
REPORT_PRODUCTS = ("report.html", "run.json")
PRODUCTS = (*FRAME_PRODUCTS, *SIGNAL_PRODUCTS, *REPORT_PRODUCTS)
"""In the order in which they get their final names."""


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


@dataclass(frozen=True, order=True)
class LeftOutStars:
    """Neighbouring stars that have light curves, but neither spectra nor candidates.

    Attributes
    ----------
    first, last : int
        Columns of the light curves.
    reason : str
        Why.
    again : bool
        Whether trying again may help, as when memory ran out.
    """

    first: int
    last: int
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
    n_candidate, n_single_event : int
        Periodic and single events that are claimed.
    left_out : tuple of LeftOut
        Frames that are in no product, with the reason.
    stars_left_out : tuple of LeftOutStars
        Stars that were not searched, with the reason.
    no_search : str
        Why no star was searched, as with too few frames; empty when they were.
    no_classes : str
        Why there are no class probabilities although a model was given.
    already_done : bool
        An earlier run had finished: nothing was done now.
    timings_s : mapping
        Seconds per step.
    peak_memory_bytes : int
        Largest resident set of the process that made the products, whatever else it did; 0 = not known.
    error : str
        Why the CCD failed as a whole; empty when it did not.
    """

    ccd: CcdId
    path: Path
    n_frame: int = 0
    n_used: int = 0
    n_star: int = 0
    n_candidate: int = 0
    n_single_event: int = 0
    left_out: tuple[LeftOut, ...] = ()
    stars_left_out: tuple[LeftOutStars, ...] = ()
    no_search: str = ""
    no_classes: str = ""
    already_done: bool = False
    timings_s: Mapping[str, float] | None = None
    peak_memory_bytes: int = 0
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether every frame and every star was worked on, in every way that was asked for."""
        return not (self.error or self.left_out or self.stars_left_out or self.no_classes)


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
    _refuse_other(out, {name: there[name] for name in known if name in there}, known)
    if not run["complete"] or not all((out / name).exists() for name in run["products"]):
        return None
    _sweep(out)
    return read_outcome(run, out)


def _sweep(out: Path) -> None:
    """Remove the working folder of a run that was killed between its last product and its end."""
    if (out / ".work").exists():
        with contextlib.suppress(WorkInProgressError, OSError):  # Then it is somebody else's, or harmless.
            Journal(out).remove()


def read_outcome(run: Mapping[str, Any], out: Path) -> Outcome:
    """Return the outcome that the content of a ``run.json`` tells."""
    return Outcome(
        CcdId(**run["ccd"]),
        out,
        **run["counts"],
        left_out=tuple(LeftOut(**frame) for frame in run["left_out"]),
        stars_left_out=tuple(LeftOutStars(**stars) for stars in run["stars_left_out"]),
        no_search=run["no_search"],
        no_classes=run["no_classes"],
        already_done=True,
        peak_memory_bytes=run["peak_memory_bytes"],
    )


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
