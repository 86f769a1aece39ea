"""Which full frame images of a CCD exist: found by listing the bucket, by asking the archive, or in an index on disk.

Owns the search and its table. FFI keys are listed, never built: the configuration number changes and frames are
missing. How the bucket is walked stands in ``archive.ffi_listing``, what later runs need not list in
``archive.ffi_index``. Refuses to read the images and to choose between duplicates (``frames`` does, and says so).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from astropy.table import Table

from starskope.archive.ffi_listing import NameSample, list_sectors
from starskope.archive.ffi_lookup import find_offline, list_with_index, open_index
from starskope.archive.ffi_table import differences_table, ffi_table, tell_left_out
from starskope.archive.notes import note, runs
from starskope.layout.keys import BUCKET, check_ccd, ffi_prefix
from starskope.transfer.client import Client, open_client
from starskope.transfer.facade import run_sync
from starskope.transfer.options import TransferOptions

if TYPE_CHECKING:
    from starskope.archive.answers import AnswerCache
    from starskope.archive.ffi_index import FfiIndex

__all__ = ["find_ffis", "find_ffis_async"]


def find_ffis(
    sector: int,
    camera: int | None = None,
    ccd: int | None = None,
    source: Literal["s3", "mast"] = "s3",
    *,
    options: TransferOptions | None = None,
    bucket: str = BUCKET,
    index: str | os.PathLike[str] | FfiIndex | None = None,
    offline: bool = False,
    refresh: bool = False,
    cache: str | os.PathLike[str] | AnswerCache | None = None,
) -> Table:
    """Find the calibrated FFIs of one CCD of one sector, or of several CCDs.

    Parameters
    ----------
    sector : int
        From 1.
    camera, ccd : int, optional
        1 to 4; None for all of them.
    source : "s3" or "mast"
        List the bucket (three round trips for a CCD), or ask the archive's database through astroquery for the names
        and list the bucket for sizes and ETags (a minute or more; at most 3 connections to the archive).
    options : TransferOptions, optional
        Endpoint, retries, connections.
    bucket : str
        The archive's public bucket by default.
    index : path or FfiIndex, optional
        A Parquet file that remembers what was listed, made where it is missing, and extended. Days that it knows are
        not listed again, unless the archive had written there in the week before they were listed.
    offline : bool
        Ask nobody: give what the index holds.
    refresh : bool
        List every day again and put that in the place of what the index holds.
    cache : path or AnswerCache, optional
        Folder that remembers the answers of the archive (``source="mast"``) for a week.

    Returns
    -------
    Table
        One row per FFI, ordered by camera, CCD, then start: ``uri`` (s3://...), ``key``, ``sector``, ``camera``,
        ``ccd``, ``config``, ``stamp`` (as in the name), ``start`` (ISO, UTC), ``start_btjd`` (float64, spacecraft TDB
        days since JD 2457000.0, cut to whole seconds as the stamp is), ``size`` (bytes), ``etag``. ``meta["notes"]``
        says in words what was left out or looks odd; ``meta["duplicates"]`` lists keys that share CCD and stamp with an
        earlier row; ``meta["differences"]`` is, for ``source="mast"``, a table of the keys that only one of bucket and
        archive has: ``key``, ``in_bucket``, ``in_archive``.

    Raises
    ------
    ValueError
        When sector, camera, ccd or source is out of range, or nothing was found (the text says what was looked for,
        where, and which sectors are there).
    TransferError
        When the bucket or the archive cannot be read.
    FrameError
        When the index is damaged. It is left as it is.

    Examples
    --------
    >>> import starskope as sk
    >>> ffis = sk.find_ffis(sector=1, camera=1, ccd=1, index="ffis.parquet")          # doctest: +SKIP
    >>> ffis["start_btjd"][0]                                                         # doctest: +SKIP
    1325.3130923
    """
    return run_sync(
        find_ffis_async(
            sector,
            camera,
            ccd,
            source,
            options=options,
            bucket=bucket,
            index=index,
            offline=offline,
            refresh=refresh,
            cache=cache,
        )
    )


async def find_ffis_async(
    sector: int,
    camera: int | None = None,
    ccd: int | None = None,
    source: Literal["s3", "mast"] = "s3",
    *,
    options: TransferOptions | None = None,
    bucket: str = BUCKET,
    index: str | os.PathLike[str] | FfiIndex | None = None,
    offline: bool = False,
    refresh: bool = False,
    cache: str | os.PathLike[str] | AnswerCache | None = None,
) -> Table:
    """Find FFIs: `find_ffis`, to be awaited."""
    check_ccd(sector, camera, ccd)
    if source not in ("s3", "mast"):
        raise ValueError(f"source is {source!r}: expected 's3' (list the bucket) or 'mast' (ask the archive)")
    if offline and (index is None or source == "mast" or refresh):
        raise ValueError("offline=True gives what index= holds: name one, without refresh or source='mast'")
    if refresh and index is None:
        raise ValueError("refresh=True lists an index again: name it with index=")
    options = options or TransferOptions()
    kept = None if index is None else open_index(index)
    if offline and kept is not None:
        return await find_offline(kept, options, bucket, sector, camera, ccd)
    notes: list[str] = []
    differences: Table | None = None
    async with open_client(options) as client:
        if source == "mast":
            from starskope.archive.mast import ffi_keys

            named, refused = await ffi_keys(sector, camera, ccd, options=options, cache=cache)
            note(notes, refused, "product(s) of the archive are no FFI of this search and were left out")
        listing = await list_with_index(client, kept, bucket, sector, camera, ccd, notes, refresh=refresh)
        tell_left_out(notes, listing, bucket)
        found = listing.found
        if source == "mast":
            there = {key for key, _ in found}
            note(notes, sorted(key.key for key in named - there), "FFI(s) of the archive are not in the bucket")
            note(notes, sorted(key.key for key in there - named), "FFI(s) in the bucket are unknown to the archive")
            differences = differences_table(there, named)
            found = [(key, info) for key, info in found if key in named]
        if not found:
            raise ValueError(await _nothing_found(client, bucket, sector, camera, ccd, source, listing.ignored, notes))
    table = ffi_table(found, bucket, source, notes)
    if differences is not None:
        table.meta["differences"] = differences
    return table


async def _nothing_found(
    client: Client,
    bucket: str,
    sector: int,
    camera: int | None,
    ccd: int | None,
    source: str,
    ignored: NameSample,
    notes: Sequence[str],
) -> str:
    what = f"no calibrated FFIs of sector {sector}, camera {camera or 'any'}, CCD {ccd or 'any'}"
    where = f"under s3://{bucket}/{ffi_prefix(sector)} at {client.endpoint}"
    if source == "mast":
        return f"{what}: neither the archive nor the bucket has them {where} ({'; '.join(notes) or 'both are empty'})"
    if ignored.n:
        example = f", such as {ignored.first[0]!r}" if ignored.first else ""
        return f"{what} {where}, but {ignored.n} other object(s){example}"
    sectors = await list_sectors(client, bucket)
    if not sectors:
        return f"{what} {where}: there are no FFIs of any sector; check endpoint and bucket"
    if sector in sectors:
        return f"{what} {where}, though the sector is there; check camera and CCD"
    return f"{what} {where}; sectors there: {runs(sectors)}"
