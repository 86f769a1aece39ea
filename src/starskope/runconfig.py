"""What a run is asked to do, and what makes two runs the same run.

Owns `RunConfig` and its checks, and the identity of a job: everything that changes its results and nothing else
(never workers, paths, endpoints or credentials). Refuses to open a connection or to read a pixel.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from starskope.framelist import NO_CCD, CcdId, FrameList, group_named, labels
from starskope.parallel import resolve_workers
from starskope.transfer.options import TransferOptions

__all__ = ["RunConfig", "describe_difference", "find_named", "identity", "program_version", "refuse_long_periods"]


@dataclass(frozen=True)
class RunConfig:
    """What `starskope.run` does.

    Frames are found by sector, camera and CCD, or named in `frames`. Whatever changes the results belongs to the
    identity of the job; `workers`, `options`, `source`, `index` and `cache` do not.

    Parameters
    ----------
    sector : int, optional
        TESS sector, from 1. Needed when `frames` is empty; otherwise it picks among the files.
    camera, ccd : int or "all", optional
        1 to 4 each, or every one of them.
    frames : tuple of str or path
        FITS files, directories of them (searched below too), ``s3://`` or ``https://`` addresses. Empty: the archive is
        searched.
    catalog : str or path, optional
        Star catalogue (ECSV, CSV, Parquet or FITS). None: the TESS Input Catalog is asked.
    tmag_max : float
        Faintest star to measure, in TESS magnitudes.
    source : {"s3", "mast"}
        How the archive is searched.
    bucket : str
        Bucket that holds the frames.
    sigma : float
        Clip of the stack, in standard deviations of each pixel.
    max_iters : int
        Most rounds of clipping.
    center : {"median", "mean"}
        What the clip is measured from.
    block_frames : int
        Frames reduced together. Part of the identity: the clip is made block by block.
    flatten_window : float
        Days over which the light curves are levelled before the transit search.
    period_min, period_max : float
        Shortest and longest period searched, days. No longest: half the time from first to last cadence.
    n_candidates : int
        Most candidates kept per star.
    seed : int
        Of the random numbers with which features are learned.
    model : str or path, optional
        Classifier that ``starskope learn train`` has written; it adds class probabilities to the features.
    index : str or path, optional
        Parquet file that remembers which frames the archive holds (see `starskope.find_ffis`).
    offline : bool
        Look only there for frames.
    refresh : bool
        List all days again and correct `index`.
    cache : str or path, optional
        Folder where answers of the archive's database are kept for a week.
    workers : int
        Compute threads; -1 = the CPUs that this process may use. Any number gives the same bytes.
    options : TransferOptions
        Endpoint, credentials and pacing of the network.

    Raises
    ------
    ValueError, TypeError
        A value that cannot be meant, named with what was expected.

    Examples
    --------
    >>> RunConfig(sector=1, camera=1, ccd=4).tmag_max
    13.0
    """

    sector: int | None = None
    camera: int | Literal["all"] | None = None
    ccd: int | Literal["all"] | None = None
    frames: tuple[str | os.PathLike[str], ...] = ()
    catalog: str | os.PathLike[str] | None = None
    tmag_max: float = 13.0
    source: Literal["s3", "mast"] = "s3"
    bucket: str = "stpubdata"
    sigma: float = 3.0
    max_iters: int = 5
    center: Literal["median", "mean"] = "median"
    block_frames: int = 32
    flatten_window: float = 0.75
    period_min: float = 0.5
    period_max: float | None = None
    n_candidates: int = 3
    seed: int = 0
    model: str | os.PathLike[str] | None = None
    index: str | os.PathLike[str] | None = None
    offline: bool = False
    refresh: bool = False
    cache: str | os.PathLike[str] | None = None
    workers: int = 1
    options: TransferOptions = field(default_factory=TransferOptions)

    def __post_init__(self) -> None:
        if isinstance(self.frames, str | os.PathLike):
            object.__setattr__(self, "frames", (self.frames,))
        object.__setattr__(self, "frames", tuple(os.fspath(frame) for frame in self.frames))
        _check_number("sector", self.sector, 1, 9999, optional=True)
        for name in ("camera", "ccd"):
            if getattr(self, name) != "all":
                _check_number(name, getattr(self, name), 1, 4, optional=True, other=' or "all"')
        _check_number("max_iters", self.max_iters, 1, 1000)
        _check_number("block_frames", self.block_frames, 1, 4096)
        object.__setattr__(self, "sigma", float(self.sigma))
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise ValueError(f"sigma is {self.sigma}, expected a positive number of standard deviations")
        if not math.isfinite(self.tmag_max):
            raise ValueError(f"tmag_max is {self.tmag_max}, expected a TESS magnitude such as 13")
        if self.center not in ("median", "mean"):
            raise ValueError(f'center is {self.center!r}, expected "median" or "mean"')
        if self.source not in ("s3", "mast"):
            raise ValueError(f'source is {self.source!r}, expected "s3" or "mast"')
        if self.offline and self.index is None:
            raise ValueError("offline=True looks for frames in an index alone: name it with index=")
        self._check_search()
        resolve_workers(self.workers)
        if not self.frames:
            missing = [name for name in ("sector", "camera", "ccd") if getattr(self, name) is None]
            if missing:
                raise ValueError(
                    f"no {', '.join(missing)} given: name sector, camera and CCD, or give files, a directory or URIs"
                )

    def _check_search(self) -> None:
        _check_number("n_candidates", self.n_candidates, 1, 100)
        _check_number("seed", self.seed, 0, 2**32 - 1)
        for name in ("flatten_window", "period_min", "period_max"):
            value = getattr(self, name)
            if name == "period_max" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"{name} is {value!r}, expected a positive number of days")
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value}, expected a positive number of days")
            object.__setattr__(self, name, float(value))
        if self.period_max is not None and self.period_max <= self.period_min:
            raise ValueError(
                f"period_max is {self.period_max} and period_min {self.period_min}, "
                "expected a longest period above the shortest"
            )

    @property
    def several(self) -> bool:
        """Whether each CCD goes to a folder of its own."""
        return "all" in (self.camera, self.ccd)

    def folder(self, out: str | os.PathLike[str], ccd: CcdId) -> Path:
        """Return where the products of one CCD go."""
        return Path(out) / ccd.label if self.several else Path(out)

    def asked_ccds(self) -> list[CcdId]:
        """Every CCD that the archive is to be searched for, in order."""
        cameras = range(1, 5) if self.camera == "all" else [int(self.camera or 0)]
        ccds = range(1, 5) if self.ccd == "all" else [int(self.ccd or 0)]
        return [CcdId(self.sector or 0, camera, ccd) for camera in cameras for ccd in ccds]

    def wants(self, ccd: CcdId) -> bool:
        """Whether frames of this CCD are asked for; what is not said is not asked."""
        return (
            self.sector in (None, ccd.sector)
            and self.camera in (None, "all", ccd.camera)
            and self.ccd in (None, "all", ccd.ccd)
        )

    def archive(self) -> dict[str, Any]:
        """Return how `find_ffis` is to ask for frames, by the names of its arguments."""
        names = ("source", "options", "bucket", "index", "offline", "refresh", "cache")
        return {name: getattr(self, name) for name in names}

    def settings(self) -> dict[str, Any]:
        """Return the part of the identity that needs neither the network nor the frames; JSON values by name."""
        chosen: dict[str, Any] = {"tmag_max": float(self.tmag_max), "block_frames": int(self.block_frames)}
        chosen |= {"sigma": self.sigma, "max_iters": int(self.max_iters), "center": self.center}
        chosen |= {name: getattr(self, name) for name in ("flatten_window", "period_min", "period_max")}
        chosen |= {"n_candidates": int(self.n_candidates), "seed": int(self.seed)}
        remedy = "give a file, or none to ask the TESS Input Catalog"
        catalog = "TIC" if self.catalog is None else _digest_file("catalogue", self.catalog, remedy)
        remedy = "give a file that `starskope learn train` has written"
        model = "none" if self.model is None else _digest_file("model", self.model, remedy)
        return {"starskope version": program_version(), "catalog": catalog, "model": model, **chosen}


def refuse_long_periods(config: RunConfig, frames: FrameList) -> None:
    """Refuse to begin what would end without a search.

    Raises
    ------
    ValueError
        The names of the frames tell that they span less than the longest period.
    """
    if config.period_max is not None and config.period_max > frames.span_days:
        raise ValueError(
            f"period_max is {config.period_max:g} days, these {len(frames)} frames span {frames.span_days:.4g}: "
            f"search up to {0.5 * frames.span_days:.4g} (three transits), or leave it out"
        )


def program_version() -> str:
    """Return the version of this package; "unknown" when it runs from a tree that was never installed."""
    try:
        return metadata.version("starskope")
    except metadata.PackageNotFoundError:
        return "unknown"


def _check_number(name: str, value: Any, low: int, high: int, *, optional: bool = False, other: str = "") -> None:
    if optional and value is None:
        return
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is {value!r}, expected a whole number from {low} to {high}{other}")
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, expected {low} to {high}{other}")


def _digest_file(what: str, path: str | os.PathLike[str], remedy: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return f"sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}"
    except FileNotFoundError:
        raise ValueError(f"{what} {os.fspath(path)} does not exist: {remedy}") from None


def find_named(config: RunConfig) -> dict[CcdId, FrameList]:
    """List the frames that the configuration names, one list per CCD that it asks for.

    Frames whose names tell no CCD join the only other one, if there is one.

    Raises
    ------
    ValueError
        A path that does not exist, nothing that looks like FITS, or frames of several CCDs where one was asked for.
    """
    groups = group_named([str(frame) for frame in config.frames])
    nameless = groups.pop(NO_CCD, [])
    chosen = {ccd: group for ccd, group in sorted(groups.items()) if config.wants(ccd)}
    if not groups or (nameless and not chosen):
        chosen = {NO_CCD: nameless}
    elif not chosen:
        raise ValueError(f"no frame is of the CCD asked for: there are {labels(groups)}")
    elif len(chosen) > 1 and not config.several:
        raise ValueError(f"frames of several CCDs ({labels(chosen)}): name one, or say --ccd all (and --camera all)")
    elif len(chosen) == 1 and nameless:
        next(iter(chosen.values())).extend(nameless)
    return {ccd: FrameList.build(ccd, group) for ccd, group in chosen.items()}


def identity(config: RunConfig, ccd: CcdId, frames: FrameList | None, reduction: Any = None) -> dict[str, Any]:
    """Return everything that changes the results of a job, as JSON values by a name that a person understands.

    Parameters
    ----------
    config : RunConfig
        What was asked.
    ccd : CcdId
        Which CCD.
    frames : FrameList or None
        What was found; None before the archive was searched, and then not part of the result.
    reduction : dataclass, optional
        Settings of `starskope.frames.reduce.reduce_block`: those that are no part of `config` follow from the version.
    """
    known: dict[str, Any] = {"CCD": ccd.label, **config.settings()}
    if reduction is not None:
        # As JSON gives it back, where a tuple is a list.
        known |= json.loads(json.dumps({item.name: getattr(reduction, item.name) for item in fields(reduction)}))
    if frames is None:
        return known
    return {**known, "number of frames": len(frames), "frames": f"sha256 {frames.digest()}"}


def describe_difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Name what differs between two identities, empty when nothing does."""
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    unknown = [name for name in names if name not in there]
    told = [f"{name} ({there[name]} there, {here.get(name, 'unset')} now)" for name in names if name in there]
    if unknown:
        told.append(f"settings that the version which made it did not have ({', '.join(unknown)})")
    return ", ".join(told)
