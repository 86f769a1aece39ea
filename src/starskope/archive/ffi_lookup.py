"""A search for FFIs with the help of an index on disk: listing what it does not know, or asking it alone.

Owns what becomes of the difference between index and bucket. Refuses to walk the bucket (``archive.ffi_listing``) and
to read or write the file (``archive.ffi_index``).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from astropy.table import Table

from starskope.archive.ffi_listing import Listing, is_of_ccd, list_ffis
from starskope.archive.ffi_table import ffi_table, tell_left_out
from starskope.archive.notes import note, runs
from starskope.transfer.client import Client
from starskope.transfer.listing import ObjectInfo
from starskope.transfer.options import TransferOptions

if TYPE_CHECKING:
    from starskope.archive.ffi_index import FfiIndex, Scope

__all__ = ["find_offline", "list_with_index", "open_index"]


def open_index(index: str | os.PathLike[str] | FfiIndex) -> FfiIndex:
    """Return an index by its path."""
    from starskope.archive.ffi_index import FfiIndex  # pyarrow, which a plain search can do without

    return index if isinstance(index, FfiIndex) else FfiIndex(index)


def _scope(options: TransferOptions, bucket: str) -> Scope:
    from starskope.archive.ffi_index import Scope

    return Scope((options.resolve_endpoint() or "AWS").rstrip("/"), bucket)


async def list_with_index(
    client: Client,
    index: FfiIndex | None,
    bucket: str,
    sector: int,
    camera: int | None,
    ccd: int | None,
    notes: list[str],
    *,
    refresh: bool,
) -> Listing:
    """List the bucket, with what the index knows; extend the index by what it did not."""
    if index is None:
        return await list_ffis(client, bucket, sector, camera, ccd)
    scope = _scope(client.options, bucket)
    known = await index.read(scope, sector, camera, ccd)
    settled = {} if refresh else known
    listing = await list_ffis(client, bucket, sector, camera, ccd, known=settled, settle_days=index.settle_days)
    gone = sorted(known.keys() - {folder.prefix for folder in listing.folders})
    before = {key: info for folder in known.values() if folder.prefix in listing.fresh for key, info in folder.files}
    after = dict(entry for folder in listing.folders if folder.prefix in known for entry in folder.files)
    lost = sorted(key.key for key in before.keys() - after.keys())
    changed = sorted(key.key for key, old in before.items() if key in after and _differ(old, after[key]))
    note(notes, lost, f"FFI(s) of the index {index.path} are not in the bucket any more")
    note(notes, changed, f"FFI(s) were replaced in the bucket since the index {index.path} was written")
    fate = "and were taken out of it" if refresh else "(refresh takes them out)"
    note(notes, gone, f"day(s) of the index {index.path} are not in the bucket any more {fate}")
    fresh = [folder for folder in listing.folders if folder.prefix in listing.fresh]
    if fresh or (refresh and gone):
        await index.extend(scope, fresh, without=gone if refresh else ())
    return listing


def _differ(old: ObjectInfo, new: ObjectInfo) -> bool:
    return (old.size, old.etag) != (new.size, new.etag)


async def find_offline(
    index: FfiIndex, options: TransferOptions, bucket: str, sector: int, camera: int | None, ccd: int | None
) -> Table:
    """Return what the index holds, or say what it holds instead."""
    scope = _scope(options, bucket)
    notes: list[str] = []
    folders = await index.read(scope, sector, camera, ccd)
    if not folders:
        known = await index.known()
        others = [other for other in known if other.bucket == bucket and sector in known[other]]
        if scope not in known and len(others) == 1 and options.resolve_endpoint() is None:
            # Without a network nobody names an endpoint: the only one that the index knows is meant.
            folders = await index.read(others[0], sector, camera, ccd)
            notes.append(f"these FFIs were listed at {others[0].endpoint}")
        if not folders:
            what = f"sector {sector}, camera {camera or 'any'}, CCD {ccd or 'any'} of s3://{bucket} at {scope.endpoint}"
            raise ValueError(f"the index {index.path} holds no FFIs of {what}: {_describe(known)}")
    oldest = min(folder.listed for folder in folders.values())
    notes.append(f"not asked again: the bucket was listed on {oldest:%Y-%m-%d} or later")
    ccds = {(int(prefix[-4]), int(prefix[-2])) for prefix in folders}
    asked = {(a, b) for a in range(1, 5) for b in range(1, 5) if is_of_ccd(f"{a}-{b}/", camera, ccd)}
    missing = [f"{a}-{b}" for a, b in sorted(asked - ccds)]
    if missing:
        notes.append(f"the index knows nothing of {len(missing)} CCD(s) of sector {sector}: {', '.join(missing)}")
    listing = Listing(list(folders.values()))
    listing.ignored.add_nameless(sum(folder.n_other for folder in folders.values()))
    tell_left_out(notes, listing, bucket)
    if not listing.found:
        raise ValueError(f"the index {index.path} holds {len(folders)} day(s) of this search, none of them with an FFI")
    return ffi_table(listing.found, bucket, "index", notes)


def _describe(known: dict[Scope, dict[int, set[tuple[int, int]]]]) -> str:
    """Say what an index holds."""
    if not known:
        return "it is empty or not there yet; run once without offline to fill it"
    places = [
        f"sector(s) {runs(sorted(sectors))} of s3://{scope.bucket} at {scope.endpoint}"
        for scope, sectors in sorted(known.items())
    ]
    return f"it holds {'; '.join(places[:5])}"
