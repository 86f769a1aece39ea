"""Which full frame images of a CCD exist: found by listing the bucket, or by asking the archive.

Owns the search and its table. FFI keys are listed, never built: the configuration number changes and frames are
missing. Only names that are FFI keys in every character enter the table; what else lies there is counted and noted.
Refuses to read the images and to choose between duplicates (``frames`` does, and says so).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import astropy.units as u
import numpy as np
from astropy.table import Table

from starskope.archive.gather import gather_limited
from starskope.layout.keys import BUCKET, FFI_ROOT, FfiKey, check_ccd, ffi_prefix
from starskope.layout.times import btjd_from_datetime
from starskope.transfer.client import Client, open_client
from starskope.transfer.facade import run_sync
from starskope.transfer.listing import ObjectInfo, list_objects, list_prefixes
from starskope.transfer.options import TransferOptions

__all__ = ["find_ffis", "find_ffis_async"]

_SECTOR_FOLDER = re.compile(r"s([0-9]{4})/\Z")
_YEAR_FOLDER = re.compile(r"[0-9]{4}/\Z")
_DAY_FOLDER = re.compile(r"[0-9]{3}/\Z")
_CCD_FOLDER = re.compile(r"([1-4])-([1-4])/\Z")
_MAX_NOTED = 5


@dataclass
class Listing:
    """What a search of the bucket met: calibrated FFIs, everything else by name, and a count of raw FFIs."""

    found: list[tuple[FfiKey, ObjectInfo]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    n_raw: int = 0


def find_ffis(
    sector: int,
    camera: int | None = None,
    ccd: int | None = None,
    source: Literal["s3", "mast"] = "s3",
    *,
    options: TransferOptions | None = None,
    bucket: str = BUCKET,
) -> Table:
    """Find the calibrated FFIs of one CCD of one sector, or of several CCDs.

    Parameters
    ----------
    sector : int
        From 1.
    camera, ccd : int, optional
        1 to 4; None for all of them.
    source : "s3" or "mast"
        List the bucket (~15 s for a CCD-sector of the real one), or ask the archive's database through astroquery for
        the names and list the bucket for sizes and ETags (a minute or more; at most 3 connections to the archive).
    options : TransferOptions, optional
        Endpoint, retries, connections.
    bucket : str
        The archive's public bucket by default.

    Returns
    -------
    Table
        One row per FFI, ordered by camera, CCD, then start: ``uri`` (s3://...), ``key``, ``sector``, ``camera``,
        ``ccd``, ``config``, ``stamp`` (as in the name), ``start`` (ISO, UTC), ``start_btjd`` (float64, spacecraft TDB
        days since JD 2457000.0, cut to whole seconds as the stamp is), ``size`` (bytes), ``etag``. ``meta["notes"]``
        says in words what was left out or looks odd; ``meta["duplicates"]`` lists keys that share CCD and stamp with an
        earlier row.

    Raises
    ------
    ValueError
        When sector, camera, ccd or source is out of range, or nothing was found (the text says what was looked for,
        where, and which sectors are there).
    TransferError
        When the bucket or the archive cannot be read.

    Examples
    --------
    >>> import starskope as sk
    >>> ffis = sk.find_ffis(sector=1, camera=1, ccd=1)          # doctest: +SKIP
    >>> ffis["start_btjd"][0]                                   # doctest: +SKIP
    1325.3130923
    """
    return run_sync(find_ffis_async(sector, camera, ccd, source, options=options, bucket=bucket))


async def find_ffis_async(
    sector: int,
    camera: int | None = None,
    ccd: int | None = None,
    source: Literal["s3", "mast"] = "s3",
    *,
    options: TransferOptions | None = None,
    bucket: str = BUCKET,
) -> Table:
    """Find FFIs: `find_ffis`, to be awaited."""
    check_ccd(sector, camera, ccd)
    if source not in ("s3", "mast"):
        raise ValueError(f"source is {source!r}: expected 's3' (list the bucket) or 'mast' (ask the archive)")
    options = options or TransferOptions()
    notes: list[str] = []
    async with open_client(options) as client:
        if source == "mast":
            from starskope.archive.mast import ffi_keys

            named, refused = await ffi_keys(sector, camera, ccd, options=options)
            _note(notes, refused, "product(s) of the archive are no FFI of this search and were left out")
        listing = await list_ffis(client, bucket, sector, camera, ccd)
        _note(notes, listing.ignored, f"object(s) in s3://{bucket} are no FFI of this search and were left out")
        if listing.n_raw:
            notes.append(f"{listing.n_raw} raw FFI(s) in s3://{bucket} were left out")
        found = listing.found
        if source == "mast":
            there = {key for key, _ in found}
            _note(notes, sorted(key.key for key in named - there), "FFI(s) of the archive are not in the bucket")
            _note(notes, sorted(key.key for key in there - named), "FFI(s) in the bucket are unknown to the archive")
            found = [(key, info) for key, info in found if key in named]
        if not found:
            raise ValueError(await _nothing_found(client, bucket, sector, camera, ccd, source, listing, notes))
    return _table(found, bucket, source, notes)


async def list_ffis(
    client: Client, bucket: str, sector: int, camera: int | None, ccd: int | None, *, max_days: int | None = None
) -> Listing:
    """List the calibrated FFIs of a sector, one chain of requests per day and CCD, many at a time.

    Parameters
    ----------
    client : Client
        From `transfer.client.open_client`.
    bucket : str
    sector : int
    camera, ccd : int or None
        None for all.
    max_days : int, optional
        Only the first days of the sector.

    Returns
    -------
    Listing
        `found` in key order; `ignored` names objects and folders that are something else.

    Raises
    ------
    TransferError
        When a listing fails.
    """
    listing = Listing()
    n_at_once = client.options.max_connections
    days: list[str] = []
    years = _folders(await list_prefixes(client, bucket, ffi_prefix(sector)), _YEAR_FOLDER, listing)
    for folders in await gather_limited(lambda year: list_prefixes(client, bucket, year), years, n_at_once):
        days += _folders(folders, _DAY_FOLDER, listing)
    days = sorted(days)[:max_days]
    if camera is not None and ccd is not None:
        ends = [f"{day}{camera}-{ccd}/" for day in days]
    else:
        ends = []
        for folders in await gather_limited(lambda day: list_prefixes(client, bucket, day), days, n_at_once):
            for folder in _folders(folders, _CCD_FOLDER, listing):
                here = _CCD_FOLDER.search(folder)
                if here and camera in (None, int(here[1])) and ccd in (None, int(here[2])):
                    ends.append(folder)

    async def list_one(prefix: str) -> list[ObjectInfo]:
        return [info async for info in list_objects(client, bucket, prefix)]

    for prefix, infos in zip(ends, await gather_limited(list_one, ends, n_at_once), strict=True):
        for info in infos:
            key = _accept(info.key, prefix)
            if key is None or key.sector != sector:
                listing.ignored.append(info.key)
            elif key.kind == "ffic":
                listing.found.append((key, info))
            else:
                listing.n_raw += 1
    listing.found.sort(key=lambda entry: entry[0])
    listing.ignored.sort()
    return listing


def _accept(text: str, prefix: str) -> FfiKey | None:
    try:
        key = FfiKey.parse(text)
    except ValueError:
        return None
    return key if text == key.key and text.startswith(prefix) else None


def _folders(prefixes: Iterable[str], pattern: re.Pattern[str], listing: Listing) -> list[str]:
    accepted = []
    for prefix in prefixes:
        last = prefix[prefix.rstrip("/").rfind("/") + 1 :]
        if pattern.match(last):
            accepted.append(prefix)
        else:
            listing.ignored.append(prefix)
    return accepted


def _note(notes: list[str], names: Sequence[str], what: str) -> None:
    if names:
        shown = ", ".join(repr(name)[:120] for name in names[:_MAX_NOTED])
        notes.append(f"{len(names)} {what}: {shown}{', ...' if len(names) > _MAX_NOTED else ''}")


def _table(found: Sequence[tuple[FfiKey, ObjectInfo]], bucket: str, source: str, notes: list[str]) -> Table:
    keys = [key for key, _ in found]
    texts = [info.key for _, info in found]
    starts = [key.start for key in keys]
    counts = Counter((key.camera, key.ccd, key.stamp) for key in keys)
    seen: set[tuple[int, int, str]] = set()
    duplicates = []
    for key in keys:
        place = (key.camera, key.ccd, key.stamp)
        if counts[place] > 1 and place in seen:
            duplicates.append(key.key)
        seen.add(place)
    _note(notes, duplicates, "FFI(s) have the stamp of another one of the same CCD; all are listed")
    empty = [key.key for key, info in found if info.size == 0]
    _note(notes, empty, "FFI(s) are empty objects")
    table = Table()
    table["uri"] = [f"s3://{bucket}/{text}" for text in texts]
    table["key"] = texts
    table["sector"] = np.array([key.sector for key in keys], dtype=np.int32)
    table["camera"] = np.array([key.camera for key in keys], dtype=np.int16)
    table["ccd"] = np.array([key.ccd for key in keys], dtype=np.int16)
    table["config"] = np.array([key.config for key in keys], dtype=np.int32)
    table["stamp"] = [key.stamp for key in keys]
    table["start"] = [f"{start:%Y-%m-%dT%H:%M:%S}" for start in starts]
    table["start_btjd"] = np.array([btjd_from_datetime(start) for start in starts], dtype=np.float64)
    table["size"] = np.array([info.size for _, info in found], dtype=np.int64)
    table["etag"] = [info.etag for _, info in found]
    table["start_btjd"].unit = u.day
    table["size"].unit = u.byte
    table.meta.update({"source": source, "bucket": bucket, "notes": notes, "duplicates": duplicates})
    return table


async def _nothing_found(
    client: Client,
    bucket: str,
    sector: int,
    camera: int | None,
    ccd: int | None,
    source: str,
    listing: Listing,
    notes: Sequence[str],
) -> str:
    what = f"no calibrated FFIs of sector {sector}, camera {camera or 'any'}, CCD {ccd or 'any'}"
    where = f"under s3://{bucket}/{ffi_prefix(sector)} at {client.endpoint}"
    if source == "mast":
        return f"{what}: neither the archive nor the bucket has them {where} ({'; '.join(notes) or 'both are empty'})"
    if listing.ignored:
        return f"{what} {where}, but {len(listing.ignored)} other object(s), such as {listing.ignored[0]!r}"
    folders = await list_prefixes(client, bucket, FFI_ROOT)
    sectors = sorted(int(found[1]) for folder in folders if (found := _SECTOR_FOLDER.search(folder)))
    if not sectors:
        return f"{what} {where}: there are no FFIs of any sector; check endpoint and bucket"
    if sector in sectors:
        return f"{what} {where}, though the sector is there; check camera and CCD"
    return f"{what} {where}; sectors there: {_runs(sectors)}"


def _runs(numbers: Sequence[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)
