"""The table of FFIs that a search ends with, and its notes.

Owns its columns and what they are called. Refuses to search.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import astropy.units as u
import numpy as np
from astropy.table import Table

from starskope.archive.ffi_listing import Listing
from starskope.archive.notes import note
from starskope.layout.keys import FfiKey
from starskope.layout.times import btjd_from_datetime
from starskope.transfer.listing import ObjectInfo

__all__ = ["differences_table", "ffi_table", "tell_left_out"]


def tell_left_out(notes: list[str], listing: Listing, bucket: str) -> None:
    """Note what lay in the bucket beside the FFIs."""
    ignored = listing.ignored
    note(notes, ignored.first, f"object(s) in s3://{bucket} are no FFI of this search and were left out", n=ignored.n)
    if listing.n_raw:
        notes.append(f"{listing.n_raw} raw FFI(s) in s3://{bucket} were left out")


def differences_table(there: set[FfiKey], named: set[FfiKey]) -> Table:
    """Return the keys that only one of bucket and archive has."""
    keys = sorted(there ^ named)
    table = Table()
    table["key"] = np.array([key.key for key in keys], dtype=np.str_)
    table["in_bucket"] = np.array([key in there for key in keys], dtype=bool)
    table["in_archive"] = np.array([key in named for key in keys], dtype=bool)
    return table


def ffi_table(found: Sequence[tuple[FfiKey, ObjectInfo]], bucket: str, source: str, notes: list[str]) -> Table:
    """Return the table of `find_ffis`; what looks odd goes to the notes, which become part of it."""
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
    note(notes, duplicates, "FFI(s) have the stamp of another one of the same CCD; all are listed")
    empty = [key.key for key, info in found if info.size == 0]
    note(notes, empty, "FFI(s) are empty objects")
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
