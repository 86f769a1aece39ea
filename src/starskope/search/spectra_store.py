"""Spectra of many stars as a Zarr v3 group: a run's ``spectra.zarr``, and what `Spectra.write` writes.

Owns the layout on disk: one group per kind (``power``, ``lomb_scargle``, ``spectrogram``) with its axes and its power
in chunks of all frequencies (and times) x 256 stars, beside the table ``stars``; and filling it block of stars by
block. Refuses pickle, object dtypes, and stores that others made. No date, host or version is written: the same
spectra give the same bytes.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from starskope.curves.columns import plain_json, star_table
from starskope.curves.zarr_arrays import (
    STARS_PER_CHUNK,
    create_array,
    get_array,
    get_stars,
    open_store,
    put_array,
    put_stars,
)
from starskope.durable import flush
from starskope.errors import FrameError
from starskope.landing import replacing_folder
from starskope.search.spectra import Spectra, Spectrogram

__all__ = ["FORMAT", "FORMAT_VERSION", "KINDS", "STARS_PER_CHUNK", "SpectraBlock", "SpectraStore", "read", "write"]

FORMAT = "starskope.spectra"
FORMAT_VERSION = 1
_WHAT = "spectra"

Kind = TypeVar("Kind", Spectra, Spectrogram)


@dataclass(frozen=True)
class _Layout:
    """How one kind lies on disk: arrays with axes, unit and dtype; those along ``star`` are filled by blocks."""

    holds: type[Spectra] | type[Spectrogram]
    shared: dict[str, tuple[str, str]]
    by_star: dict[str, tuple[tuple[str, ...], str]]
    notes: tuple[str, ...]


_FREQUENCY = {"frequency": ("frequency", "1 / d")}
_NOTES = ("method", "cadence_days", "phase_error", "settings")
_POWER: dict[str, tuple[tuple[str, ...], str]] = {"power": (("frequency", "star"), "float32")}
KINDS: dict[str, _Layout] = {
    "power": _Layout(Spectra, _FREQUENCY, _POWER, ("normalization", *_NOTES)),
    "lomb_scargle": _Layout(
        Spectra,
        _FREQUENCY,
        {**_POWER, "n_point": (("star",), "int64"), "baseline_days": (("star",), "float64")},
        ("normalization", *_NOTES),
    ),
    "spectrogram": _Layout(
        Spectrogram,
        {"time": ("segment", "d"), **_FREQUENCY},
        {"power": (("segment", "frequency", "star"), "float32")},
        ("time_zero", *_NOTES),
    ),
}


@dataclass(frozen=True, eq=False)
class SpectraBlock:
    """The three kinds of spectra of a block of stars.

    Attributes
    ----------
    power, lomb_scargle : Spectra
    spectrogram : Spectrogram
        All of the same stars.
    """

    power: Spectra
    lomb_scargle: Spectra
    spectrogram: Spectrogram

    def kinds(self) -> dict[str, Spectra | Spectrogram]:
        """Return the spectra by kind, as `write` and `SpectraStore` take them."""
        return {kind: getattr(self, kind) for kind in KINDS}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything but the stars as plain arrays, ``<kind>.<name>``, for a file without pickle."""
        arrays = {}
        for kind, spectra in self.kinds().items():
            layout = _layout(kind, spectra)
            for name in (*layout.shared, *layout.by_star):
                arrays[f"{kind}.{name}"] = np.asarray(getattr(spectra, name))
            arrays[f"{kind}.notes"] = np.array(json.dumps(_notes(spectra, layout)))
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], stars: Table) -> SpectraBlock:
        """Build the spectra of ``stars`` from what `arrays` has returned."""
        kinds = {}
        for kind, layout in KINDS.items():
            names = (*layout.shared, *layout.by_star)
            parts = {name: np.asarray(arrays[f"{kind}.{name}"]) for name in names}
            kinds[kind] = _built(layout, json.loads(str(arrays[f"{kind}.notes"])), {**parts, "stars": stars})
        return cls(**kinds)


class SpectraStore:
    """A store that is being filled, block of stars by block.

    Every block that `put` has returned from is on the disk, so a killed run goes on with the next one; blocks may come
    in any order and from several threads. Nothing here has the final name: the caller renames the folder when all
    blocks are in.

    Parameters
    ----------
    folder : Path
        A store that `create` has made.

    Raises
    ------
    FrameError
        It is no such store.
    """

    def __init__(self, folder: Path) -> None:
        import zarr

        self._group = _open(folder)
        self.folder = folder
        # Not in the metadata, and an array keeps what was set when it was opened: a chunk of NaN alone is written too,
        # since one that is absent was lost.
        with zarr.config.set({"array.write_empty_chunks": True}):
            writable = zarr.open_group(folder, mode="r+", zarr_format=3)
            self._kinds = list(self._group.attrs["kinds"])
            self._arrays = {(kind, name): writable[kind][name] for kind in self._kinds for name in KINDS[kind].by_star}
        self._notes = {kind: dict(self._group[kind].attrs) for kind in self._kinds}
        self._axes = {(kind, name): self._group[kind][name][:] for kind in self._kinds for name in KINDS[kind].shared}

    @classmethod
    def create(cls, folder: Path, stars: Table, like: Mapping[str, Spectra | Spectrogram]) -> SpectraStore:
        """Make a store without powers for all ``stars``; what stands at ``folder`` is removed.

        Parameters
        ----------
        folder : Path
            Its parent must exist.
        stars : Table
            One row per star of the whole store.
        like : mapping of str to Spectra or Spectrogram
            Kind ("power", "lomb_scargle", "spectrogram") to the spectra of any block: they give axes and settings.
        """
        import zarr

        shutil.rmtree(folder, ignore_errors=True)
        attributes = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "kinds": list(like),
            "frequency_unit": "1 / d",
        }
        group = zarr.create_group(folder, zarr_format=3, attributes=attributes)
        for kind, spectra in like.items():
            layout = _layout(kind, spectra)
            part = group.create_group(kind, attributes=_notes(spectra, layout))
            for name, (axis, unit) in layout.shared.items():
                put_array(part, name, np.asarray(getattr(spectra, name)), (axis,), {"unit": unit})
            for name, (axes, dtype) in layout.by_star.items():
                shape = (*np.shape(getattr(spectra, name))[:-1], len(stars))
                create_array(part, name, shape, dtype, axes, {"unit": "d" if name == "baseline_days" else ""})
        put_stars(group, star_table(stars, len(stars)))
        return cls(folder)

    def put(self, start: int, spectra: Mapping[str, Spectra | Spectrogram]) -> None:
        """Write the spectra of the stars from position ``start`` on, and bring them to the disk.

        Parameters
        ----------
        start : int
            A multiple of 256.
        spectra : mapping of str to Spectra or Spectrogram
            Every kind of the store; 256 stars, fewer only at the end.

        Raises
        ------
        ValueError
            Another kind, other axes or settings, or stars that do not fill whole chunks.
        OSError
            The disk is full.
        """
        if set(spectra) != set(self._kinds):
            raise ValueError(f"put: {', '.join(spectra)} given; this store holds {self._kinds}")
        for kind, block in spectra.items():
            layout = _layout(kind, block)
            if self._notes[kind] != _notes(block, layout):
                raise ValueError(f"put: {kind} of stars from {start} was made otherwise than that of the store")
            for name in layout.shared:
                if not np.array_equal(self._axes[kind, name], getattr(block, name)):
                    raise ValueError(f"put: {kind} of stars from {start} has another {name} axis than the store")
            for name in layout.by_star:
                self._put(self._arrays[kind, name], start, np.asarray(getattr(block, name)))

    def _put(self, array: Any, start: int, values: NDArray[Any]) -> None:
        n_star, stop = array.shape[-1], start + values.shape[-1]
        if start % STARS_PER_CHUNK or stop > n_star or (stop % STARS_PER_CHUNK and stop != n_star):
            raise ValueError(
                f"put: stars {start} to {stop} of {n_star} fill no whole chunks: begin and end at multiples of "
                f"{STARS_PER_CHUNK}"
            )
        for first in range(start, stop, STARS_PER_CHUNK):
            last = min(first + STARS_PER_CHUNK, stop)
            array[..., first:last] = values[..., first - start : last - start]
            key = array.metadata.encode_chunk_key((*[0] * (values.ndim - 1), first // STARS_PER_CHUNK))
            chunk = self.folder / array.path / key
            if values.size:
                flush(chunk)
                flush(chunk.parent)


def write(spectra: Mapping[str, Spectra | Spectrogram], path: Path) -> Path:
    """Write a whole store to ``*.zarr``: temporary name, flush, rename; a store of spectra there is replaced.

    Parameters
    ----------
    spectra : mapping of str to Spectra or Spectrogram
        By kind, one or more; all of the same stars.
    path : Path
        Ends in ``.zarr``.

    Returns
    -------
    Path
        ``path``.
    """
    if path.suffix.lower() != ".zarr":
        raise ValueError(f"{path.name} names no format: let the name of spectra end in .zarr")
    if not spectra:
        raise ValueError(f"no spectra to write to {path.name}: give one kind or more of {', '.join(KINDS)}")
    stars = next(iter(spectra.values())).stars
    if any(len(each.stars) != len(stars) for each in spectra.values()):
        raise ValueError("the spectra to write are of different stars: write them one by one")
    with replacing_folder(path, _is_store, _WHAT) as part:
        store = SpectraStore.create(part, stars, spectra)
        for start in range(0, len(stars), STARS_PER_CHUNK):
            chosen = slice(start, start + STARS_PER_CHUNK)
            store.put(start, {kind: each.select(chosen) for kind, each in spectra.items()})
    return path


def read(path: Path, holds: type[Kind], kind: str | None = None, stars: slice | None = None) -> Kind:
    """Read one kind of spectra of a store, or some stars of it.

    Raises
    ------
    FileNotFoundError
        Nothing is there.
    FrameError
        It is something else, of a newer format, or damaged or incomplete.
    ValueError
        The store holds no such kind, or several and none was named.
    """
    if not path.exists():
        raise FileNotFoundError(2, "no spectra here", str(path))
    group = _open(path)
    present = [name for name in KINDS if name in group]
    if kind is None:
        fitting = [name for name in present if KINDS[name].holds is holds]
        if len(fitting) != 1:
            raise ValueError(f"{path} holds {', '.join(present) or 'nothing'}: say which, such as kind='lomb_scargle'")
        kind = fitting[0]
    if kind not in present or KINDS[kind].holds is not holds:
        raise ValueError(f"{path} holds no {kind!r} that is {holds.__name__}, but {', '.join(present) or 'nothing'}")
    layout, part = KINDS[kind], group[kind]
    chosen = stars or slice(None)
    try:
        parts: dict[str, Any] = {"stars": get_stars(path, group, _WHAT, chosen)}
        for name, (axis, _) in layout.shared.items():
            parts[name] = get_array(path, part, name, (axis,), _WHAT, dtype="float64")
        for name, (axes, dtype) in layout.by_star.items():
            parts[name] = get_array(path, part, name, axes, _WHAT, dtype=dtype, stars=chosen)
        built: Kind = _built(layout, part.attrs, parts)
        return built
    except FrameError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"{path} is damaged ({error}): write the spectra again") from error


def _layout(kind: str, spectra: Any) -> _Layout:
    layout = KINDS.get(kind)
    if layout is None or not isinstance(spectra, layout.holds):
        raise ValueError(f"{kind!r} is {type(spectra).__name__}: expected one of {', '.join(KINDS)} with its own kind")
    missing = [name for name in layout.by_star if getattr(spectra, name) is None]
    if missing:
        raise ValueError(f"{kind!r} lacks {', '.join(missing)}: give what lomb_scargle returns")
    return layout


def _notes(spectra: Any, layout: _Layout) -> dict[str, Any]:
    notes: dict[str, Any] = plain_json({name: getattr(spectra, name) for name in layout.notes})
    return notes


def _built(layout: _Layout, notes: Mapping[str, Any], parts: Mapping[str, Any]) -> Any:
    """Make a container of the kind; JSON has no NaN, so a number that is null was one."""
    known = {name: notes[name] for name in layout.notes}
    missing = {name: math.nan for name, value in known.items() if value is None}
    return layout.holds(**known | missing, **parts)


def _is_store(path: Path) -> bool:
    try:
        return bool(open_store(path, _WHAT).attrs.get("format") == FORMAT)
    except FrameError:
        return False


def _open(path: Path) -> Any:
    group = open_store(path, _WHAT)
    if group.attrs.get("format") != FORMAT:
        raise FrameError(f"{path} is a Zarr group, but not of spectra (format {group.attrs.get('format')!r})")
    version = group.attrs.get("format_version")
    if version != FORMAT_VERSION:
        raise FrameError(f"{path} has format version {version}, this program reads {FORMAT_VERSION}: update starskope")
    return group
