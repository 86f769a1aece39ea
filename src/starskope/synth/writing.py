"""Lay a synthetic sector out in a folder as the archive lays it out in its bucket.

Owns paths and atomic writing: every file appears under its final name complete or not at all. Refuses to make pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from astropy.table import Table, vstack

from starskope.synth.cube import CubeFile

if TYPE_CHECKING:
    from starskope.synth.sector import SyntheticSector

__all__ = ["PRODUCTS", "write_catalog", "write_sector"]

PRODUCTS = ("ffi", "cube", "truth", "catalog")


def write_sector(
    sector: SyntheticSector,
    root: str | Path,
    what: Sequence[str] = PRODUCTS,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write files of a sector under `root`.

    Parameters
    ----------
    sector : SyntheticSector
    root : path
        Made if it is not there. S3 keys become paths below it.
    what : sequence of str
        Of ``ffi`` (one file per frame), ``cube`` (as large as all frames), ``truth`` (``truth/stars-s0001-1-4.ecsv``
        and ``truth/frames-s0001-1-4.ecsv``) and ``catalog`` (``catalog.ecsv``; see `write_catalog` for several CCDs).
    progress : callable, optional
        Called with frames done and frames in all.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    ValueError
        For an unknown product.
    """
    unknown = sorted(set(what) - set(PRODUCTS))
    if unknown:
        raise ValueError(f"what={unknown[0]!r}: expected some of {', '.join(PRODUCTS)}")
    root = Path(root)
    written: list[Path] = []
    c = sector.config
    if "catalog" in what:
        written.append(write_catalog([sector], root / "catalog.ecsv"))
    if "truth" in what:
        for name, table in (("stars", sector.stars), ("frames", sector.frame_truth)):
            written.append(_write_table(table, root / "truth" / f"{name}-s{c.sector:04d}-{c.camera}-{c.ccd}.ecsv"))
    cube = CubeFile(sector, root / sector.cube_key()) if "cube" in what else None
    try:
        for frame in range(c.n_frame if cube or "ffi" in what else 0):
            planes = sector.planes(frame)
            if "ffi" in what:
                path = root / sector.ffi_key(frame).key
                _write_bytes(sector.ffi_from(frame, planes), path)
                written.append(path)
            if cube:
                cube.add(planes)
            if progress:
                progress(frame + 1, c.n_frame)
        if cube:
            written.append(cube.finish())
    finally:
        if cube:
            cube.discard()
    return written


def write_catalog(sectors: Iterable[SyntheticSector], path: str | Path) -> Path:
    """Write one catalogue of the stars of several CCDs as ECSV; no truth about their variation is in it."""
    return _write_table(
        vstack([sector.catalog() for sector in sectors], join_type="exact", metadata_conflicts="silent"), Path(path)
    )


def _write_table(table: Table, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    table.write(part, format="ascii.ecsv", overwrite=True)
    part.replace(path)
    return path


def _write_bytes(data: bytes, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
