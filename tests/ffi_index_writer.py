"""Extends an index of FFIs sector by sector, until it is done or killed: run by the tests in processes of its own."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from starskope.archive.ffi_index import FfiIndex, Scope
from starskope.archive.ffi_listing import Folder
from starskope.layout.keys import FfiKey
from starskope.transfer.facade import run_sync
from starskope.transfer.listing import ObjectInfo


def key_of(day: int, hour: int, camera: int = 1, ccd: int = 1, sector: int = 1) -> FfiKey:
    return FfiKey(sector, camera, ccd, f"2018{day:03d}{hour:02d}2942", 120)


def folder_of(sector: int, n_file: int = 3, day: int = 206) -> Folder:
    now = datetime.now(UTC)
    keys = [key_of(day, hour, sector=sector) for hour in range(n_file)]
    files = tuple((key, ObjectInfo(key.key, 7, f"etag{key.stamp}", now - timedelta(days=30))) for key in keys)
    prefix = keys[0].key[: keys[0].key.rindex("/") + 1]
    return Folder(prefix, now, files, newest=now - timedelta(days=30))


if __name__ == "__main__":
    index = FfiIndex(sys.argv[1])
    for sector in range(int(sys.argv[2]), int(sys.argv[3])):
        run_sync(index.extend(Scope("AWS", "stpubdata"), [folder_of(sector)]))
        print(sector, flush=True)
