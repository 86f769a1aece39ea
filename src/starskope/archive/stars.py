"""The stars of a field: from a catalogue file, or from the TESS Input Catalog.

Owns the search: which source, which patch of sky, which magnitudes, which epoch. Refuses to read formats itself
(``archive.catalog``) and to talk to the archive itself (``archive.mast``).
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table, vstack

from starskope.archive.answers import AnswerCache
from starskope.archive.catalog import moved_to_epoch, read_catalog, standard_columns
from starskope.archive.field import footprint_of_ccd_async
from starskope.archive.footprint import Cone, Footprint
from starskope.archive.mast import tic_rows
from starskope.layout.keys import BUCKET, check_ccd
from starskope.layout.sectors import sector_epoch
from starskope.transfer.facade import run_sync
from starskope.transfer.options import TransferOptions

__all__ = ["find_stars", "find_stars_async", "sector_epoch"]

_DROPPED = ("DUPLICATE", "ARTIFACT")
_TIC_COLUMNS = (
    "ID",
    "ra",
    "dec",
    "Tmag",
    "e_Tmag",
    "Teff",
    "logg",
    "rad",
    "mass",
    "pmRA",
    "pmDEC",
    "plx",
    "GAIA",
    "contratio",
)


def find_stars(
    sector: int | None = None,
    camera: int | None = None,
    ccd: int | None = None,
    tmag_max: float | None = 13,
    catalog: str | Path | Table | None = None,
    *,
    footprint: Any = None,
    margin_deg: float = 0.0,
    options: TransferOptions | None = None,
    bucket: str = BUCKET,
    cache: str | os.PathLike[str] | AnswerCache | None = None,
) -> Table:
    """Find the stars of a CCD.

    Parameters
    ----------
    sector, camera, ccd : int, optional
        Which CCD; sector alone is enough where `footprint` or `catalog` is given, and tells the epoch to move stars to.
    tmag_max : float or None
        Faintest TESS magnitude; None for no limit (catalogues only).
    catalog : path or Table, optional
        ECSV, CSV(.gz), Parquet or FITS instead of the TIC. Needs columns for TIC number, RA, Dec and TESS magnitude;
        the usual names are known, and an ``epoch`` in its metadata or a ``ref_epoch`` column (else J2000).
    footprint : Footprint, sequence of (ra, dec), or ((ra, dec), radius), optional
        Patch of sky in degrees. Default: for a catalogue all of it, for the TIC the field of the CCD, found from the
        header of one of its frames.
    margin_deg : float
        Stars at most so far outside the footprint count too.
    options : TransferOptions, optional
        Attempts, back-off and endpoint.
    bucket : str
        Where the CCD's frames are looked up.
    cache : path or AnswerCache, optional
        Folder that remembers the answers of the TIC for a week.

    Returns
    -------
    Table
        One row per star: ``tic_id`` int64, ``ra``, ``dec`` (deg, ICRS, at ``meta["epoch"]``), ``tmag``, ``teff``,
        ``logg``, ``rad``, ``mass``, ``pmra``, ``pmdec`` float64 with units, NaN = unknown, then the source's others.
        In the catalogue's order; from the TIC by tic_id. ``meta["notes"]`` says what was left out.

    Raises
    ------
    ValueError
        When arguments contradict each other, the catalogue cannot be read or lacks columns, or no star is left.
    FrameError
        When no frame of the CCD tells where it looks.
    TransferError
        When the archive or the bucket cannot be reached, or answers in pieces.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from starskope.archive.stars import find_stars
    >>> rows = Table({"ID": [7, 9], "RA": [10.0, 40.0], "DEC": [-5.0, -5.0], "Tmag": [9.1, 8.0]})
    >>> find_stars(catalog=rows, footprint=((10.0, -5.0), 1.0))["tic_id"].tolist()
    [7]
    """
    return run_sync(
        find_stars_async(
            sector,
            camera,
            ccd,
            tmag_max,
            catalog,
            footprint=footprint,
            margin_deg=margin_deg,
            options=options,
            bucket=bucket,
            cache=cache,
        )
    )


async def find_stars_async(
    sector: int | None = None,
    camera: int | None = None,
    ccd: int | None = None,
    tmag_max: float | None = 13,
    catalog: str | Path | Table | None = None,
    *,
    footprint: Any = None,
    margin_deg: float = 0.0,
    options: TransferOptions | None = None,
    bucket: str = BUCKET,
    cache: str | os.PathLike[str] | AnswerCache | None = None,
) -> Table:
    """Find stars: `find_stars`, to be awaited."""
    if sector is not None:
        check_ccd(sector, camera, ccd)
    if tmag_max is not None and not math.isfinite(tmag_max):
        raise ValueError(f"tmag_max is {tmag_max}: expected a magnitude such as 13, or None for no limit")
    patch = None if footprint is None else Footprint.of(footprint)
    if catalog is not None:
        name = "the catalogue table" if isinstance(catalog, Table) else f"catalogue {str(catalog)!r}"
        rows = catalog if isinstance(catalog, Table) else await asyncio.to_thread(read_catalog, catalog)
    else:
        if tmag_max is None:
            raise ValueError("tmag_max is None: the TIC holds 1.7 billion stars; give a magnitude such as 13")
        if patch is None:
            if sector is None or camera is None or ccd is None:
                raise ValueError("find_stars needs sector, camera and ccd, or footprint=, or catalog=")
            patch = await footprint_of_ccd_async(sector, camera, ccd, options=options, bucket=bucket)
        name = "the TIC"
        rows = await _ask_tic(patch, tmag_max, margin_deg, options, cache)
    stars, notes = standard_columns(rows, name)
    counts = [f"{len(rows)} row(s)"]
    if sector is not None:
        stars = moved_to_epoch(stars, sector_epoch(sector))
    if patch is not None:
        stars = stars[patch.contains(stars["ra"], stars["dec"], margin_deg)]
        counts.append(f"{len(stars)} in the field")
    if tmag_max is not None:
        stars = stars[np.asarray(stars["tmag"]) <= tmag_max]
        counts.append(f"{len(stars)} with tmag <= {tmag_max:g}")
    if len(stars) == 0:
        remedy = "raise tmag_max or check the field" if len(rows) else "check the field and the catalogue"
        raise ValueError(f"no stars: {name} has {', '.join(counts)}; {remedy}")
    stars.meta["notes"] = notes
    stars.meta["source"] = "tic" if catalog is None else name
    return stars


async def _ask_tic(
    patch: Footprint,
    tmag_max: float,
    margin_deg: float,
    options: TransferOptions | None,
    cache: str | os.PathLike[str] | AnswerCache | None,
) -> Table:
    cones = patch.cones(margin_deg=margin_deg)
    tables = await tic_rows(cones, tmag_max, options=options, split=_split_cone, cache=cache)
    if not tables:
        return Table({name: np.zeros(0) for name in _TIC_COLUMNS})
    kept = [table[[name for name in _TIC_COLUMNS if name in table.colnames]][_is_star(table)] for table in tables]
    rows = vstack(kept, join_type="outer", metadata_conflicts="silent")
    # Cones overlap: the same row comes several times, which is no remark worth.
    numbers = np.asarray([int(number) for number in rows["ID"]], dtype=np.int64)
    return rows[np.unique(numbers, return_index=True)[1]]


def _is_star(table: Table) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if "disposition" not in table.colnames:
        return np.ones(len(table), dtype=bool)
    return ~np.isin(np.ma.filled(np.ma.asarray(table["disposition"]), ""), _DROPPED)


def _split_cone(cone: Cone) -> Sequence[Cone]:
    """Return four cones that cover a cone: those around the quarters of the square about it."""
    ra, dec, radius = cone
    return Footprint.of(((ra, dec), radius)).square().cones(n_side=2)
