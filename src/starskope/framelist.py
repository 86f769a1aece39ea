"""The frames of one CCD: which there are, in which order, and how they are told apart.

Owns `CcdId`, `FrameList`, and how files, directories and URIs become lists of frames. Refuses to open a connection or
to read a pixel: names, sizes and times of modification are all it looks at.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from starskope.layout.keys import FfiKey
from starskope.transfer.weburi import is_remote, parse_uri

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["NO_CCD", "CcdId", "FrameList", "group_named", "labels", "scan_files"]


class CcdId(NamedTuple):
    """One CCD of one sector; zeros where the frames do not say."""

    sector: int
    camera: int
    ccd: int

    @property
    def label(self) -> str:
        """Name of its folder among several, such as ``s0001-1-4``."""
        return f"s{self.sector:04d}-{self.camera}-{self.ccd}"


NO_CCD = CcdId(0, 0, 0)
"""Of frames whose names tell nothing."""
_FITS_SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fits.fz")


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
        Path or address (``s3://``, ``https://``) of each.
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

    @property
    def span_days(self) -> float:
        """Days from the first frame to the last, as the names tell; NaN where they do not."""
        starts = self._starts()
        return (starts[-1] - starts[0]).total_seconds() / 86400.0 if starts else math.nan

    @property
    def cadence_days(self) -> float:
        """Median days from one frame to the next, as the names tell; NaN where they do not."""
        steps = sorted((later - earlier).total_seconds() for earlier, later in pairwise(self._starts()))
        return steps[len(steps) // 2] / 86400.0 if steps else math.nan

    def _starts(self) -> list[datetime]:
        """Return the times in the names; none at all where a name tells nothing."""
        try:
            return [FfiKey.parse(name.removesuffix(".gz").removesuffix(".fz")).start for name in self.names]
        except ValueError:
            return []

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


def group_named(paths: Sequence[str]) -> dict[CcdId, list[tuple[str, int, str]]]:
    """Return (uri, size, tag) of files, of those below directories and of URIs, grouped by the CCD in their names.

    Raises
    ------
    ValueError
        As `scan_files`.
    """
    entries = [(str(parse_uri(path)), -1, "") for path in paths if is_remote(path)]
    entries += scan_files([path for path in paths if not is_remote(path)])
    groups: dict[CcdId, list[tuple[str, int, str]]] = {}
    for entry in entries:
        groups.setdefault(_ccd_of(_base(entry[0])), []).append(entry)
    return groups


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
            raise ValueError(
                f"{path} does not exist: give FITS files, a directory of them, s3:// or https:// addresses"
            )
    unique = sorted({file.resolve(): file for file in files}.values())
    return [(str(file), (status := file.stat()).st_size, str(status.st_mtime_ns)) for file in unique]


def _base(uri: str) -> str:
    return uri.rsplit("/", 1)[-1]


def _ccd_of(name: str) -> CcdId:
    try:
        key = FfiKey.parse(name.removesuffix(".gz").removesuffix(".fz"))
    except ValueError:
        return NO_CCD
    return CcdId(key.sector, key.camera, key.ccd)


def labels(ccds: Iterable[CcdId]) -> str:
    """Return the labels of CCDs in order, for a message."""
    return ", ".join(ccd.label for ccd in sorted(ccds))
