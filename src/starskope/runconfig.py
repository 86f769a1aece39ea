"""What a run is asked to do, and what makes two runs the same run.

Owns `RunConfig` and its checks, the list of frames of one CCD, and the identity of a job: everything that changes
its results and nothing else (never workers, paths, endpoints or credentials). Refuses to open a connection or to
read a pixel.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from starskope.layout.keys import FfiKey
from starskope.parallel import resolve_workers
from starskope.transfer.options import TransferOptions
from starskope.transfer.uris import S3Uri

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["CcdId", "FrameList", "RunConfig", "describe_difference", "find_named", "identity", "program_version"]


class CcdId(NamedTuple):
    """One CCD of one sector; zeros where the frames do not say."""

    sector: int
    camera: int
    ccd: int

    @property
    def label(self) -> str:
        """Name of its folder among several, such as ``s0001-1-4``."""
        return f"s{self.sector:04d}-{self.camera}-{self.ccd}"


_NO_CCD = CcdId(0, 0, 0)
_FITS_SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fits.fz")


@dataclass(frozen=True)
class RunConfig:
    """What `starskope.run` does.

    Frames are found by sector, camera and CCD, or named in `frames`. Whatever changes the results belongs to the
    identity of the job; `workers`, `options` and `source` do not.

    Parameters
    ----------
    sector : int, optional
        TESS sector, from 1. Needed when `frames` is empty; otherwise it picks among the files.
    camera, ccd : int or "all", optional
        1 to 4 each, or every one of them.
    frames : tuple of str or path
        FITS files, directories of them (searched below too) or ``s3://`` URIs. Empty: the archive is searched.
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
        resolve_workers(self.workers)
        if not self.frames:
            missing = [name for name in ("sector", "camera", "ccd") if getattr(self, name) is None]
            if missing:
                raise ValueError(
                    f"no {', '.join(missing)} given: name sector, camera and CCD, or give files, a directory or URIs"
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

    def settings(self) -> dict[str, Any]:
        """Return the part of the identity that needs neither the network nor the frames; JSON values by name."""
        chosen: dict[str, Any] = {"tmag_max": float(self.tmag_max), "block_frames": int(self.block_frames)}
        chosen |= {"sigma": self.sigma, "max_iters": int(self.max_iters), "center": self.center}
        catalog = "TIC" if self.catalog is None else f"sha256 {_digest_file(Path(self.catalog))}"
        return {"starskope version": program_version(), "catalog": catalog, **chosen}


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


def _digest_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise ValueError(
            f"catalogue {path} does not exist: give a file, or none to ask the TESS Input Catalog"
        ) from None


@dataclass(frozen=True)
class FrameList:
    """The frames of one CCD in the order of their names, which is the order of time.

    Attributes
    ----------
    ccd : CcdId
        Which CCD, as the names say; zeros where they do not.
    names : tuple of str
        Base name of each frame.
    uris : tuple of str
        Path or ``s3://`` URI of each.
    sizes : tuple of int
        Bytes; -1 where unknown.
    tags : tuple of str
        What changes when the content does: ETag, or modification time of a file; empty where unknown.
    refused : tuple of (str, str)
        URI and reason of entries that are no frame of the list: raw images, and names that came before.
    """

    ccd: CcdId
    names: tuple[str, ...]
    uris: tuple[str, ...]
    sizes: tuple[int, ...]
    tags: tuple[str, ...]
    refused: tuple[tuple[str, str], ...] = ()

    @classmethod
    def build(cls, ccd: CcdId, entries: Iterable[tuple[str, int, str]]) -> FrameList:
        """Sort (uri, size, tag) entries by base name and leave out repeated names, keeping the first URI."""
        kept: dict[str, tuple[str, int, str]] = {}
        refused = []
        for uri, size, tag in sorted(entries, key=lambda entry: (_base(entry[0]), entry[0])):
            name = _base(uri)
            if name in kept:
                refused.append((uri, f"{name} is a duplicate: {kept[name][0]} has the same name"))
            elif name.endswith("_ffir.fits"):
                refused.append((uri, f"{name} is a raw image: only calibrated ones (_ffic.fits) are used"))
            else:
                kept[name] = (uri, size, tag)
        uris, sizes, tags = zip(*kept.values(), strict=True) if kept else ((), (), ())
        return cls(ccd, tuple(kept), uris, sizes, tags, tuple(refused))

    def as_source(self) -> list[str] | Table:
        """Return the frames as `starskope.frames.stream.open_source` takes them."""
        if not self.uris[0].startswith("s3://") or min(self.sizes) < 0:
            return list(self.uris)
        from astropy.table import Table

        return Table({"uri": list(self.uris), "size": list(self.sizes), "etag": list(self.tags)})

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_bytes(self) -> int:
        """Bytes of all frames whose size is known."""
        return sum(size for size in self.sizes if size > 0)

    def digest(self) -> str:
        """SHA-256 over names, sizes and tags: the same for the same frames wherever they lie."""
        text = "\n".join(f"{n}\t{s}\t{t}" for n, s, t in zip(self.names, self.sizes, self.tags, strict=True))
        return hashlib.sha256(text.encode()).hexdigest()

    def typical(self) -> list[int]:
        """Order the indices: those of the most common size first, each group in order.

        A frame of another shape or a broken one has another size, so the first good frame of this order speaks
        for all: its shape is the shape of the run.
        """
        common = Counter(self.sizes).most_common(1)[0][0] if self.sizes else 0
        return sorted(range(len(self)), key=lambda index: (self.sizes[index] != common, index))


def find_named(config: RunConfig) -> dict[CcdId, FrameList]:
    """List the frames that the configuration names, one list per CCD that it asks for.

    Frames whose names tell no CCD join the only other one, if there is one.

    Raises
    ------
    ValueError
        A path that does not exist, nothing that looks like FITS, or frames of several CCDs where one was asked for.
    """
    paths = [str(frame) for frame in config.frames]
    remote = [path for path in paths if path.startswith("s3://")]
    entries = [(str(S3Uri.parse(uri)), -1, "") for uri in remote]
    entries += scan_files([path for path in paths if path not in set(remote)])
    groups: dict[CcdId, list[tuple[str, int, str]]] = {}
    for entry in entries:
        groups.setdefault(_ccd_of(_base(entry[0])), []).append(entry)
    nameless = groups.pop(_NO_CCD, [])
    chosen = {ccd: group for ccd, group in sorted(groups.items()) if config.wants(ccd)}
    if not groups or (nameless and not chosen):
        chosen = {_NO_CCD: nameless}
    elif not chosen:
        raise ValueError(f"no frame is of the CCD asked for: there are {_labels(groups)}")
    elif len(chosen) > 1 and not config.several:
        raise ValueError(f"frames of several CCDs ({_labels(chosen)}): name one, or say --ccd all (and --camera all)")
    elif len(chosen) == 1 and nameless:
        next(iter(chosen.values())).extend(nameless)
    return {ccd: FrameList.build(ccd, group) for ccd, group in chosen.items()}


def scan_files(paths: Sequence[str]) -> list[tuple[str, int, str]]:
    """Return (path, bytes, modification time) of FITS files and of those below directories.

    Raises
    ------
    ValueError
        A path that does not exist, or a directory without FITS files.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            here = [p for p in path.rglob("*") if p.name.lower().endswith(_FITS_SUFFIXES) and p.is_file()]
            if not here:
                raise ValueError(f"no FITS files in {path}: expected names that end in {', '.join(_FITS_SUFFIXES)}")
            files += here
        elif path.exists():
            files.append(path)
        else:
            raise ValueError(f"{path} does not exist: give FITS files, a directory of them or s3:// URIs")
    unique = sorted({file.resolve(): file for file in files}.values())
    return [(str(file), (status := file.stat()).st_size, str(status.st_mtime_ns)) for file in unique]


def _base(uri: str) -> str:
    return uri.rsplit("/", 1)[-1]


def _ccd_of(name: str) -> CcdId:
    try:
        key = FfiKey.parse(name.removesuffix(".gz").removesuffix(".fz"))
    except ValueError:
        return _NO_CCD
    return CcdId(key.sector, key.camera, key.ccd)


def _labels(ccds: Iterable[CcdId]) -> str:
    return ", ".join(ccd.label for ccd in sorted(ccds))


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
    return ", ".join(f"{name} ({there.get(name, 'unset')} there, {here.get(name, 'unset')} now)" for name in names)
