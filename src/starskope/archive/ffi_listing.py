"""Which FFIs lie in the bucket: one chain of LIST requests per day and CCD, many at a time.

Owns the walk (sector, years, days, CCDs) and what of it enters: names that are FFI keys in every character, in the
folder that belongs to them. What else lies there is counted, a few names are kept for a note. Days that an index knows
for good are not asked for again. Refuses to hold more than a server may make it hold, and to write anything.
"""

from __future__ import annotations

import re
from bisect import insort
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain

from starskope.archive.gather import gather_limited
from starskope.errors import TransferError
from starskope.layout.keys import FFI_ROOT, FfiKey, ffi_prefix
from starskope.transfer.client import Client
from starskope.transfer.listing import ListingBudget, ObjectInfo, list_objects, list_prefixes

__all__ = ["Folder", "Listing", "NameSample", "accept", "is_of_ccd", "list_ffis", "list_sectors", "sector_of_folder"]

_SECTOR_FOLDER = re.compile(r"s([0-9]{4})/\Z")
_YEAR_FOLDER = re.compile(r"[0-9]{4}/\Z")
_DAY_FOLDER = re.compile(r"[0-9]{3}/\Z")
_CCD_FOLDER = re.compile(r"([1-4])-([1-4])/\Z")
_FOLDER = re.compile(re.escape(FFI_ROOT) + r"s([0-9]{4})/[0-9]{4}/[0-9]{3}/[1-4]-[1-4]/\Z")
_MAX_DAYS = 400  # a sector takes a month: a bucket with more days per sector is not the archive's
_MAX_NAMES = 5


class NameSample:
    """A count of names with the first few of them, so that a note needs no memory that grows."""

    def __init__(self) -> None:
        self.n = 0
        self.first: list[str] = []
        """The first few names in the order of the alphabet, cut to 200 letters."""

    def add(self, name: str) -> None:
        """Count a name."""
        self.n += 1
        # Which come first must not hang on which answer came first.
        insort(self.first, name[:200])
        del self.first[_MAX_NAMES:]

    def add_nameless(self, n: int) -> None:
        """Count names that nobody remembers."""
        self.n += n


@dataclass(frozen=True)
class Folder:
    """What lay in the folder of one day of one CCD when it was listed.

    Parameters
    ----------
    prefix : str
        As in the bucket, ending in a slash.
    listed : datetime.datetime
        When, UTC.
    files : tuple of (FfiKey, ObjectInfo)
        The calibrated FFIs, in order.
    n_raw, n_other : int
        Raw FFIs, and objects that do not belong there.
    newest : datetime.datetime or None
        When the archive last wrote there, UTC; None when the server does not say, or the folder is empty.
    """

    prefix: str
    listed: datetime
    files: tuple[tuple[FfiKey, ObjectInfo], ...]
    n_raw: int = 0
    n_other: int = 0
    newest: datetime | None = None

    def is_settled(self, settle_days: float) -> bool:
        """Whether the archive had left the folder alone for so long when it was listed."""
        return self.newest is not None and (self.listed - self.newest).total_seconds() >= settle_days * 86400.0


@dataclass
class Listing:
    """What a search of the bucket met.

    Parameters
    ----------
    folders : list of Folder
        In order of their prefixes.
    fresh : set of str
        Prefixes that were listed just now; the others were known.
    gone : list of str
        Prefixes that were known and are not there any more.
    ignored : NameSample
        Objects and folders that are something else.
    """

    folders: list[Folder] = field(default_factory=list)
    fresh: set[str] = field(default_factory=set)
    gone: list[str] = field(default_factory=list)
    ignored: NameSample = field(default_factory=NameSample)

    @property
    def found(self) -> list[tuple[FfiKey, ObjectInfo]]:
        """The calibrated FFIs by camera, CCD and time."""
        return sorted((entry for folder in self.folders for entry in folder.files), key=lambda entry: entry[0])

    @property
    def n_raw(self) -> int:
        """How many raw FFIs there are."""
        return sum(folder.n_raw for folder in self.folders)


async def list_ffis(
    client: Client,
    bucket: str,
    sector: int,
    camera: int | None,
    ccd: int | None,
    *,
    max_days: int | None = None,
    known: Mapping[str, Folder] | None = None,
    settle_days: float = 0.0,
) -> Listing:
    """List the calibrated FFIs of a sector.

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
    known : mapping of str to Folder, optional
        Folders of an index, of the CCDs asked for. Those that had settled are taken as they are.
    settle_days : float
        See `Folder.is_settled`.

    Returns
    -------
    Listing

    Raises
    ------
    TransferError
        When a listing fails, or is not what the archive's would be.

    Notes
    -----
    Three round trips (years, days, the days of one CCD), four for several CCDs; within each as many requests at a time
    as the pace of the client allows. ``max_listed_keys`` bounds all of them together.
    """
    known = known or {}
    listing = Listing()
    budget = ListingBudget(client.options.max_listed_keys)
    n_at_once = client.options.max_connections

    async def below(prefix: str, pattern: re.Pattern[str]) -> list[str]:
        return await _matching(client, bucket, prefix, pattern, listing.ignored, budget)

    years = await below(ffi_prefix(sector), _YEAR_FOLDER)
    days = sorted(chain(*await gather_limited(lambda year: below(year, _DAY_FOLDER), years, n_at_once)))
    if len(days) > _MAX_DAYS:
        where = f"s3://{bucket}/{ffi_prefix(sector)}"
        text = f"it has {len(days)} days, a sector has about 27: check endpoint and bucket"
        raise TransferError(f"cannot list {where}: {text}", {where: text})
    days = days[:max_days]
    if camera is not None and ccd is not None:
        ends = [f"{day}{camera}-{ccd}/" for day in days]
    else:
        every = chain(*await gather_limited(lambda day: below(day, _CCD_FOLDER), days, n_at_once))
        ends = [end for end in every if is_of_ccd(end, camera, ccd)]

    async def list_one(prefix: str) -> Folder:
        old = known.get(prefix)
        if old is not None and old.is_settled(settle_days):
            listing.ignored.add_nameless(old.n_other)
            return old
        listing.fresh.add(prefix)
        infos = list_objects(client, bucket, prefix, budget=budget)
        return await _read_folder(prefix, sector, infos, listing.ignored)

    listing.folders = await gather_limited(list_one, ends, n_at_once)
    listing.gone = sorted(known.keys() - set(ends))
    return listing


async def list_sectors(client: Client, bucket: str) -> list[int]:
    """Return the sectors that have a folder of FFIs."""
    folders = await _matching(client, bucket, FFI_ROOT, _SECTOR_FOLDER, NameSample())
    return sorted(int(folder[-5:-1]) for folder in folders)


def sector_of_folder(prefix: str) -> int | None:
    """Return the sector of the folder of one day of one CCD; None for any other text."""
    found = _FOLDER.match(prefix)
    return int(found[1]) if found else None


def is_of_ccd(prefix: str, camera: int | None, ccd: int | None) -> bool:
    """Whether the folder of a day is of one of the CCDs asked for."""
    return camera in (None, int(prefix[-4])) and ccd in (None, int(prefix[-2]))


def accept(text: str, prefix: str, sector: int) -> FfiKey | None:
    """Return the key in a text, when it is one in every character, of this sector, and in this folder."""
    try:
        key = FfiKey.parse(text)
    except ValueError:
        return None
    return key if text == key.key and text.startswith(prefix) and key.sector == sector else None


async def _matching(
    client: Client,
    bucket: str,
    parent: str,
    pattern: re.Pattern[str],
    ignored: NameSample,
    budget: ListingBudget | None = None,
) -> list[str]:
    """Return the folders directly below one whose names fit."""
    accepted: dict[str, None] = {}
    async for prefix in list_prefixes(client, bucket, parent, budget=budget):
        if pattern.match(prefix[len(parent) :]):
            accepted[prefix] = None
        else:
            ignored.add(prefix)
    return list(accepted)


async def _read_folder(prefix: str, sector: int, infos: AsyncIterator[ObjectInfo], ignored: NameSample) -> Folder:
    files: dict[FfiKey, ObjectInfo] = {}
    n_raw = n_other = 0
    newest: datetime | None = None
    listed = datetime.now(UTC)
    async for info in infos:
        if info.last_modified is not None:
            newest = max(newest or info.last_modified, info.last_modified)
        key = accept(info.key, prefix, sector)
        if key is None:
            n_other += 1
            ignored.add(info.key)
        elif key.kind == "ffic":
            files[key] = info
        else:
            n_raw += 1
    return Folder(prefix, listed, tuple(sorted(files.items(), key=_first)), n_raw, n_other, newest)


def _first(entry: tuple[FfiKey, ObjectInfo]) -> FfiKey:
    return entry[0]
