"""Which FFIs lie in the bucket: one chain of LIST requests per day and CCD, many at a time.

Owns the walk (sector, years, days, CCDs) and what of it enters: names that are FFI keys in every character, in the
folder that belongs to them. What else lies there is counted, a few names are kept for a note. Days that an index knows
for good are not asked for again. Refuses to hold more than a server may make it hold, and to write anything.
"""

from __future__ import annotations

import asyncio
import re
from bisect import insort
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from starskope.errors import TransferError
from starskope.layout.keys import FFI_ROOT, FfiKey, ffi_prefix
from starskope.layout.sectors import likely_days
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
    The walk has three levels (years, days, the days of one CCD), four for several CCDs; within each as many requests
    go out at a time as the pace of the client allows. The number of a sector tells its days well enough to ask for
    them at once, before the upper levels have answered: so one CCD mostly takes one round trip and half a dozen
    requests more. The upper levels decide alone what is there. ``max_listed_keys`` bounds all listings together.
    """
    known = known or {}
    listing = Listing()
    budget = ListingBudget(client.options.max_listed_keys)
    root = ffi_prefix(sector)
    folder_name = f"{camera}-{ccd}/" if camera is not None and ccd is not None else ""
    begun: dict[str, asyncio.Task[Any]] = {}

    def begin(prefix: str, pattern: re.Pattern[str] | None) -> asyncio.Task[Any]:
        """List a prefix unless that is under way: the folders below it that fit, or its files."""
        if prefix not in begun:
            if pattern is not None:
                work: Any = _matching(client, bucket, prefix, pattern, listing.ignored, budget)
            else:
                infos = list_objects(client, bucket, prefix, budget=budget)
                work = _read_folder(prefix, sector, infos, listing.ignored)
            begun[prefix] = asyncio.create_task(work)
        return begun[prefix]

    async def below(prefixes: list[str], pattern: re.Pattern[str]) -> list[str]:
        tasks = [begin(prefix, pattern) for prefix in prefixes]
        return sorted(chain.from_iterable([await task for task in tasks]))

    try:
        begin(root, _YEAR_FOLDER)
        likely = likely_days(sector) if max_days is None else []
        for year in dict.fromkeys(year for year, _ in likely):
            begin(f"{root}{year}/", _DAY_FOLDER)
        for year, day in () if known else likely:
            begin(f"{root}{year}/{day:03d}/{folder_name}", None if folder_name else _CCD_FOLDER)
        days = await below(await below([root], _YEAR_FOLDER), _DAY_FOLDER)
        if len(days) > _MAX_DAYS:
            where = f"s3://{bucket}/{root}"
            text = f"it has {len(days)} days, a sector has about 27: check endpoint and bucket"
            raise TransferError(f"cannot list {where}: {text}", {where: text})
        days = days[:max_days]
        if folder_name:
            ends = [f"{day}{folder_name}" for day in days]
        else:
            ends = [end for end in await below(days, _CCD_FOLDER) if is_of_ccd(end, camera, ccd)]
        settled = {end for end in ends if end in known and known[end].is_settled(settle_days)}
        listing.fresh = set(ends) - settled
        tasks = {end: begin(end, None) for end in ends if end in listing.fresh}
        listing.folders = [known[end] if end in settled else await tasks[end] for end in ends]
    finally:
        for task in begun.values():
            task.cancel()
        await asyncio.gather(*begun.values(), return_exceptions=True)
    listing.ignored.add_nameless(sum(known[end].n_other for end in settled))
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
