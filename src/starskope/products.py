"""From blocks of frames to stack, light curves and manifest, in the working folder of the job.

Owns what a block file of frames holds and how these blocks are joined. Refuses to touch the network, to judge frames
and to search the light curves; what stands under a final name is the business of `starskope.publishing`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from starskope.curves.zarr_arrays import STARS_PER_CHUNK
from starskope.errors import FrameError
from starskope.framelist import FrameList
from starskope.frames.stacked import Stack, combine, kept_cards
from starskope.journal import Journal, publish
from starskope.outcome import LeftOut
from starskope.parallel import map_ranges, ranges
from starskope.progress import Progress
from starskope.runconfig import RunConfig

if TYPE_CHECKING:
    from astropy.table import Table

    from starskope.curves.container import LightCurves
    from starskope.frames.reduce import BlockProduct
    from starskope.frames.wcs import TanSip

_PER_FRAME = ("index", "time", "start", "stop", "quality", "barycorr", "exposure_s", "used", "measured")
_PER_STAR = ("flux", "flux_err", "background")
PART_BYTES = 400_000_000
"""Of light curves that are held while they are written."""
_BAND_VALUES = 1 << 17  # A megabyte of float64: the sums of a band stay in the cache.


def block_arrays(product: BlockProduct | None, left_out: Sequence[LeftOut]) -> dict[str, NDArray[Any]]:
    """Return the named arrays of one block file.

    Parameters
    ----------
    product : BlockProduct or None
        What the frames of the block were reduced to; None when not one was good.
    left_out : sequence of LeftOut
        Frames of the block that were refused before.
    """
    arrays: dict[str, NDArray[Any]] = {
        "left_index": np.array([frame.index for frame in left_out], dtype=np.int64),
        "left_reason": np.array([frame.reason for frame in left_out], dtype=np.str_),
        "left_again": np.array([frame.again for frame in left_out], dtype=bool),
    }
    if product is not None:
        # Where the stars lay on each frame is in no product, and would be two fifths of a block of many small frames.
        arrays |= {name: array for name, array in product.arrays().items() if name not in {"row", "column"}}
        # As narrow as the frames of a block allow: three quarters of the plane, which is written, summed and read back.
        arrays["count"] = product.count.astype(np.min_scalar_type(len(product.index)))
        arrays["n_used"] = np.array(product.n_used)
        arrays["reason"] = np.array(product.reasons, dtype=np.str_)
        arrays["note"] = np.array(product.notes, dtype=np.str_)
        arrays["header"] = np.array(json.dumps(kept_cards(product.header)))
    return arrays


def refused_by(product: BlockProduct) -> list[tuple[int, str]]:
    """Return number and reason of the frames that the reduction neither stacked nor measured."""
    refused = np.flatnonzero(~product.used & ~product.measured)
    return [(int(product.index[k]), product.reasons[k]) for k in refused]


def stored_exposures(journal: Journal, numbers: set[int]) -> dict[tuple[float, float], int]:
    """Return start and stop of every exposure in the given finished blocks, with the index of its frame."""
    exposures: dict[tuple[float, float], int] = {}
    for number in sorted(numbers):
        with journal.block(number) as block:
            if "index" in block:
                times = zip(block["start"].tolist(), block["stop"].tolist(), block["index"].tolist(), strict=True)
                for start, stop, index in times:
                    exposures.setdefault((start, stop), index)
    return exposures


def stored_stars(journal: Journal) -> Table | None:
    """Return the stars of the job as an earlier start of it chose them, None when none has."""
    from astropy.table import Table

    path = journal.folder / "stars.ecsv"
    return Table.read(path, format="ascii.ecsv") if path.exists() and journal.note("stars") == 1 else None


def store_stars(journal: Journal, found: Table, wcs: TanSip, science: tuple[slice, slice], config: RunConfig) -> Table:
    """Keep the stars that fall on the science pixels, and return them as every later start will read them.

    Raises
    ------
    ValueError
        No star falls there.
    """
    from astropy.table import Table

    row, column = wcs.world_to_pixel(np.asarray(found["ra"], float), np.asarray(found["dec"], float))
    rows, columns = science
    inside = (row >= rows.start - 0.5) & (row < rows.stop - 0.5)
    inside &= (column >= columns.start - 0.5) & (column < columns.stop - 0.5)
    if not inside.any():
        ra, dec = wcs.pixel_to_world((rows.start + rows.stop - 1) / 2, (columns.start + columns.stop - 1) / 2)
        source = "the TESS Input Catalog" if config.catalog is None else f"catalogue {config.catalog}"
        raise ValueError(
            f"none of the {len(found)} stars of {source} to Tmag {config.tmag_max:g} falls on this CCD, centred on "
            f"RA {float(ra):.4f}, Dec {float(dec):.4f}: give another catalogue or a fainter --tmag-max"
        )
    path = journal.folder / "stars.ecsv"
    temporary = path.with_suffix(".part")
    found[inside].write(temporary, format="ascii.ecsv", overwrite=True)
    publish(temporary, path)
    journal.set_note("n_catalog", len(found))
    journal.set_note("stars", 1)
    return Table.read(path, format="ascii.ecsv")


class _Blocks(Sequence[Stack]):
    """Some rows of the stacks of all blocks, read one at a time: together they may not fit in memory."""

    def __init__(
        self, journal: Journal, about: Sequence[tuple[int, int, dict[str, Any]]], meta: Mapping[str, Any], rows: slice
    ) -> None:
        self._journal, self._about, self._meta, self._rows = journal, about, meta, rows

    def __len__(self) -> int:
        return len(self._about)

    def __getitem__(self, place: Any) -> Any:
        number, n_used, header = self._about[place]
        names = ("image", "count", "std", "background_image")
        image, count, std, background = (self._journal.rows(number, name, self._rows) for name in names)
        return Stack(image, count.astype(np.int32), std, background, header, n_used, dict(self._meta))


def _stacked(journal: Journal, numbers: Sequence[int], meta: Mapping[str, Any], workers: int) -> Stack:
    """Combine the stacks of all blocks, a band of rows at a time."""
    about = []
    for number in numbers:
        with journal.block(number) as block:
            n_used = int(block["n_used"])
            if n_used:
                about.append((number, n_used, json.loads(str(block["header"]))))
    n_row, n_col = journal.shape(about[0][0], "image")
    bands = map_ranges(
        lambda start, stop: combine(_Blocks(journal, about, meta, slice(start, stop))),
        n_row,
        max(1, _BAND_VALUES // n_col),
        workers,
    )
    names = ("image", "count", "std", "background")
    image, count, std, background = (np.concatenate([getattr(band, name) for band in bands]) for name in names)
    return Stack(image, count, std, background, bands[0].header, bands[0].n_frame, bands[0].meta)


def _join(journal: Journal, numbers: Sequence[int], names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Join arrays of the blocks along time; each is read once, to its place, for together they may be large."""
    counts = []
    for number in numbers:
        with journal.block(number) as block:
            counts.append(len(block["index"]))
    stops = np.cumsum(counts)
    joined: dict[str, NDArray[Any]] = {}
    for number, count, stop in zip(numbers, counts, stops, strict=True):
        with journal.block(number) as block:
            for name in names:
                part = block[name]
                if part.dtype.kind == "U":
                    joined[name] = np.concatenate([joined.get(name, part[:0]), part])
                    continue
                if name not in joined:
                    joined[name] = np.empty((int(stops[-1]), *part.shape[1:]), part.dtype)
                joined[name][stop - count : stop] = part
    return joined


def _parts(n_frame: int, n_star: int) -> list[slice]:
    """Split the stars so that the light curves of some, and a copy in order of time, take little memory."""
    chunk = max(1, PART_BYTES // (12 * n_frame * STARS_PER_CHUNK)) * STARS_PER_CHUNK
    return [slice(start, stop) for start, stop in ranges(n_star, chunk)]


def _columns(journal: Journal, numbers: Sequence[int], name: str, chosen: slice) -> NDArray[np.float32]:
    """Join some columns of the blocks along time."""
    return np.concatenate([journal.columns(number, name, chosen) for number in numbers])


def _manifest(
    frames: FrameList, measured: Mapping[str, NDArray[Any]], left_out: Sequence[LeftOut]
) -> list[dict[str, Any]]:
    """Return one row per entry found: what it is, where it came from, what became of it."""
    rows: list[dict[str, Any]] = []
    place = {int(index): k for k, index in enumerate(measured["index"])}
    refused = {frame.index: frame.reason for frame in left_out}
    for index, name in enumerate(frames.names):
        row: dict[str, Any] = {"name": name, "uri": frames.uris[index], "size": frames.sizes[index]}
        row["tag"] = frames.tags[index]
        k = place.get(index)
        if index in refused:
            row |= {"status": "left out", "reason": refused[index], "note": ""}
        else:
            status = "stacked" if measured["used"][k] else "flagged"
            row |= {"status": status, "reason": str(measured["reason"][k]), "note": str(measured["note"][k])}
        for column in ("time", "start", "stop", "barycorr", "exposure_s"):
            row[column] = float("nan") if k is None else float(measured[column][k])
        row["quality"] = 0 if k is None else int(measured["quality"][k])
        rows.append(row)
    for uri, reason in frames.refused:
        blank = dict.fromkeys(("time", "start", "stop", "barycorr", "exposure_s"), float("nan"))
        name = uri.rsplit("/", 1)[-1]
        row = {"name": name, "uri": uri, "size": -1, "tag": "", "status": "left out", "reason": reason, "note": ""}
        rows.append({**row, **blank, "quality": 0})
    return rows


@dataclass(frozen=True)
class Assembled:
    """What stands in the working folder after the blocks of frames were joined.

    Attributes
    ----------
    n_used, n_star : int
        Frames in the stack, light curves.
    left_out : tuple of LeftOut
        Frames in no product.
    science : tuple of slice
        Rows and columns of the science pixels.
    complete : bool
        Whether no frame is worth another try.
    """

    n_used: int
    n_star: int
    left_out: tuple[LeftOut, ...]
    science: tuple[slice, slice]
    complete: bool

    @property
    def science_limits(self) -> list[list[int]]:
        """First and last-but-one row and column of the science pixels, for JSON."""
        return [[part.start, part.stop] for part in self.science]


def assemble_products(
    journal: Journal, config: RunConfig, frames: FrameList, stars: Table, progress: Progress
) -> Assembled:
    """Join the blocks of frames: stack, light curves and manifest, in the working folder.

    Raises
    ------
    FrameError
        Not one frame may enter the stack.
    """
    from starskope.curves.assembly import assemble, with_radius
    from starskope.curves.zarr_store import write_zarr_parts
    from starskope.frames.targets import Targets
    from starskope.frames.wcs import TanSip
    from starskope.layout.fits import science_region
    from starskope.layout.observer import ccd_centre

    complete = journal.finished()
    filled = []
    left_out = [LeftOut(-1, uri.rsplit("/", 1)[-1], reason) for uri, reason in frames.refused]
    for number in sorted(complete):
        with journal.block(number) as block:
            if "index" in block:
                filled.append(number)
            parts = (block[f"left_{name}"].tolist() for name in ("index", "reason", "again"))
            left_out += [LeftOut(i, frames.names[i], reason, again) for i, reason, again in zip(*parts, strict=True)]
    measured = _join(journal, filled, (*_PER_FRAME, "reason", "note"))
    for k in np.flatnonzero(~measured["used"] & ~measured["measured"]):
        index = int(measured["index"][k])
        left_out.append(LeftOut(index, frames.names[index], str(measured["reason"][k])))
    left_out.sort()
    rows = _manifest(frames, measured, left_out)
    if not measured["used"].any():
        reasons = Counter(row["reason"] for row in rows).most_common(3)
        told = "; ".join(f"{n} x {reason}" for reason, n in reasons)
        raise FrameError(f"none of the {len(frames)} frames may enter the stack ({told}): choose another CCD or sector")
    progress.note("joining the blocks")
    stacking = {"method": "sigma_clip", "sigma": config.sigma, "max_iters": config.max_iters, "center": config.center}
    stack = _stacked(journal, filled, stacking, config.workers)
    science = science_region(stack.header, stack.image.shape)
    kept = np.flatnonzero(measured["measured"])
    exposure = measured["exposure_s"][kept]
    not_stacked = [{"frame": row["name"], "reason": row["reason"]} for row in rows if row["status"] == "flagged"]
    described = with_radius(stars, Targets.from_table(stars))

    def curves_of(chosen: slice) -> LightCurves:
        flux, flux_err, background = (_rows(_columns(journal, filled, name, chosen), kept) for name in _PER_STAR)
        curves = assemble(
            described[chosen],
            time=measured["time"][kept],
            flux=flux,
            flux_err=flux_err,
            background=background,
            quality=measured["quality"][kept],
            barycorr=measured["barycorr"][kept],
            names=[frames.names[index] for index in measured["index"][kept]],
            wcs=TanSip.from_header(stack.header),
            centre=ccd_centre(stack.header, stack.image.shape),
            exposure_s=float(np.median(exposure[np.isfinite(exposure)])) if np.isfinite(exposure).any() else math.nan,
            left_out=[{"frame": frame.name, "reason": frame.reason} for frame in left_out],
        )
        curves.meta["not_stacked"] = not_stacked
        return curves

    work = journal.folder

    def write_curves() -> None:
        curves_by_part = map(curves_of, _parts(len(measured["time"]), len(stars)))
        write_zarr_parts(curves_by_part, described, work / "light_curves.zarr")

    def write_others() -> None:
        stack.write(work / "stack.fits")
        write_manifest(work / "manifest.parquet", rows)

    writing = (write_curves, write_others)
    map_ranges(lambda k, _: writing[k](), len(writing), 1, config.workers)
    return Assembled(int(measured["used"].sum()), len(stars), tuple(left_out), science, all(complete.values()))


def _rows(values: NDArray[np.float32], kept: NDArray[np.intp]) -> NDArray[np.float32]:
    """Rows of an array; the array itself where all are kept, for it may be large."""
    return values if kept.size == values.shape[0] else values[kept]


def write_manifest(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows of a manifest as Parquet."""
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path, compression="zstd")
