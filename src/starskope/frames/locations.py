"""What names frames: paths, folders, addresses, tables, and the locations that they stand for.

Owns what counts as a list of frames. Looks at names and columns alone and refuses to open anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from starskope.transfer.weburi import is_remote

__all__ = ["Locations", "locate"]

_SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fits.fz")


@dataclass
class Locations:
    """What was found behind whatever names frames.

    Attributes
    ----------
    texts : list of str
        Paths, or addresses.
    sizes, etags : list, optional
        As a table tells them; None where it does not.
    ignored : list of str
        Files of a folder that are no FITS files by name.
    """

    texts: list[str]
    sizes: list[int | None] | None = None
    etags: list[str | None] | None = None
    ignored: list[str] = field(default_factory=list)


def locate(frames: Any) -> Locations:
    """Find what `frames` names; raises as `starskope.frames.sources.open_source`."""
    if isinstance(frames, str | os.PathLike):
        text = os.fspath(frames)
        if is_remote(str(text)):
            return Locations([str(text)])
        path = Path(text)
        if path.is_dir():
            return _folder(path)
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist: give a folder, FITS files, s3:// or https:// addresses")
        return Locations([str(path)])
    names = getattr(frames, "colnames", None)
    if names is not None:
        if "uri" not in names:
            raise ValueError(f"the table of frames has no column 'uri', only {', '.join(names) or 'none'}")
        return Locations(
            [str(uri) for uri in frames["uri"]],
            [_known_size(size) for size in frames["size"]] if "size" in names else None,
            [_known_text(etag) for etag in frames["etag"]] if "etag" in names else None,
        )
    if not isinstance(frames, Iterable) or hasattr(frames, "ndim"):
        kind = type(frames).__name__
        raise TypeError(f"frames is a {kind}; expected paths, a folder, addresses or a table with column 'uri'")
    locations = []
    for frame in frames:
        if not isinstance(frame, str | os.PathLike):
            raise TypeError(f"frames holds {frame!r}; expected paths, s3:// or https:// addresses")
        locations.append(str(frame))
    return Locations(locations)


def _folder(path: Path) -> Locations:
    """List the FITS files in and below a folder by name, which is in time for mission files."""
    found: list[Path] = []
    ignored: list[Path] = []
    for folder, below, names in os.walk(path):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in names:
            if not name.startswith("."):
                (found if name.lower().endswith(_SUFFIXES) else ignored).append(Path(folder) / name)
    if not found:
        raise ValueError(f"there are no frames: {path} holds no file that ends in .fits, .fit or .fts")
    in_time = sorted(found, key=lambda file: (file.name, str(file)))
    return Locations([str(file) for file in in_time], ignored=sorted(str(file.relative_to(path)) for file in ignored))


def _known_size(size: Any) -> int | None:
    # Masked values are no integers.
    return int(size) if isinstance(size, int | np.integer) and size >= 0 else None


def _known_text(text: Any) -> str | None:
    return str(text) if isinstance(text, str) and text else None
