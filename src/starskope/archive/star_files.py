"""Which light-curve files the archive holds of some stars: Kepler, K2 and TESS.

Owns the search and its table. The bucket says what exists; the archive's database says which names it knows, and which
star has which number. Refuses to open files, and to look among the products of other makers (``hlsp_``).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import astropy.units as u
import numpy as np
from astropy.table import Table

from starskope.archive.answers import AnswerCache, open_cache
from starskope.archive.mast_targets import Target, light_curve_products, tic_numbers
from starskope.archive.notes import note
from starskope.archive.star_names import Star, read_stars
from starskope.archive.target_listing import list_light_curves, prefixes_of_keys, prefixes_of_targets
from starskope.errors import TransferError
from starskope.layout.keys import BUCKET, LightCurveKey
from starskope.layout.quarters import kepler_quarter
from starskope.transfer.client import open_client
from starskope.transfer.facade import run_sync
from starskope.transfer.listing import ObjectInfo
from starskope.transfer.options import TransferOptions

__all__ = ["MISSIONS", "find_light_curves", "find_light_curves_async"]

MISSIONS = ("kepler", "k2", "tess")
_CADENCES = ("long", "short", "fast")
_NUMBER_OF = {"kepler": "kic", "k2": "epic", "tess": "tic"}


def find_light_curves(
    stars: Table | str | int | Iterable[str | int],
    missions: str | Collection[str] = MISSIONS,
    *,
    cadence: str | Collection[str] | None = None,
    source: Literal["s3", "mast", "both"] = "s3",
    options: TransferOptions | None = None,
    bucket: str = BUCKET,
    cache: str | os.PathLike[str] | AnswerCache | None = None,
) -> Table:
    """Find the light-curve files that Kepler, K2 and TESS made of some stars.

    Parameters
    ----------
    stars : Table, str, int, or iterable of str and int
        A table with a column ``tic_id``, ``kic`` or ``epic`` (as `find_stars` gives), or names such as
        ``"TIC 25155310"``, ``"KIC 11804465"``, ``"EPIC 206089508"``; a number alone is of the TIC.
    missions : str or collection of str
        Of "kepler", "k2", "tess".
    cadence : str or collection of str, optional
        Of "long" (Kepler, K2: 30 min), "short" (Kepler, K2: 1 min; TESS: 2 min), "fast" (TESS: 20 s). Default: all.
    source : "s3", "mast" or "both"
        "s3" lists the folders of the stars: 1 request per star for Kepler, about 20 for K2, one per sector for TESS.
        "mast" asks the archive's database (a hundred stars at a time, at most 3 connections) and lists only the folders
        of what it names: the way for thousands of stars. It also finds a star's KIC number by its TIC number and the
        other way round; where the archive does not answer, the stars' folders are listed instead. "both" asks the
        archive and lists every folder, and so tells what either of them lacks.
    options : TransferOptions, optional
        Endpoint, retries, connections.
    bucket : str
        The archive's public bucket by default.
    cache : path or AnswerCache, optional
        Folder that remembers the answers of the archive for a week.

    Returns
    -------
    Table
        One row per star and file in the bucket, ordered by star, mission, time: ``star`` (row or place in `stars`),
        ``target`` (such as "KIC 11804465"), ``mission``, ``number``, ``cadence``, ``quarter``, ``campaign``, ``sector``
        (-1 where the mission counts otherwise), ``uri``, ``key``, ``size`` (bytes), ``etag``, ``in_archive`` (masked
        where the archive was not asked). It goes to `download` as it is. ``meta["notes"]`` says in words what was not
        searched or looks odd, ``meta["without"]`` names the stars without a file, ``meta["differences"]`` is a table of
        the files that only one of bucket and archive has: ``target``, ``key``, ``in_bucket``, ``in_archive``.

    Raises
    ------
    ValueError, TypeError
        For stars, missions or cadences that are none, or a search of too many requests.
    TransferError
        When the bucket cannot be read; when the archive alone fails, a note says so.

    Examples
    --------
    >>> import starskope as sk
    >>> files = sk.find_light_curves(["KIC 11804465", "TIC 25155310"])            # doctest: +SKIP
    >>> report = sk.download(files[files["mission"] == "kepler"], "curves/")      # doctest: +SKIP
    """
    return run_sync(
        find_light_curves_async(
            stars, missions, cadence=cadence, source=source, options=options, bucket=bucket, cache=cache
        )
    )


async def find_light_curves_async(
    stars: Table | str | int | Iterable[str | int],
    missions: str | Collection[str] = MISSIONS,
    *,
    cadence: str | Collection[str] | None = None,
    source: Literal["s3", "mast", "both"] = "s3",
    options: TransferOptions | None = None,
    bucket: str = BUCKET,
    cache: str | os.PathLike[str] | AnswerCache | None = None,
) -> Table:
    """Find light curves: `find_light_curves`, to be awaited."""
    if source not in ("s3", "mast", "both"):
        raise ValueError(f"source is {source!r}: expected 's3', 'mast' or 'both'")
    search = _Search(
        stars=read_stars(stars),
        missions=_of(missions, "missions", MISSIONS),
        cadences=_of(cadence or _CADENCES, "cadence", _CADENCES),
        options=options or TransferOptions(),
        bucket=bucket,
        cache=open_cache(cache),
    )
    if source != "s3":
        await search.ask_for_numbers()
        await search.ask_for_files()
    await search.list_bucket(only_named=source == "mast" and search.archive_answered)
    table = search.table(source)
    search.note_cache()
    return table


def _of(value: str | Collection[str], what: str, known: Sequence[str]) -> tuple[str, ...]:
    """Return the chosen words in the order of the known ones."""
    chosen = {value} if isinstance(value, str) else set(value)
    if not chosen or not chosen <= set(known):
        expected = ", ".join(repr(word) for word in known)
        raise ValueError(f"{what} is {value!r}: expected one or some of {expected}")
    return tuple(word for word in known if word in chosen)


@dataclass
class _Search:
    """One search and what it met, step by step."""

    stars: list[Star]
    missions: tuple[str, ...]
    cadences: tuple[str, ...]
    options: TransferOptions
    bucket: str
    cache: AnswerCache | None
    notes: list[str] = field(default_factory=list)
    named: dict[Target, set[LightCurveKey]] = field(default_factory=dict)
    there: dict[Target, dict[LightCurveKey, ObjectInfo]] = field(default_factory=dict)
    archive_answered: bool = False

    def targets(self) -> list[Target]:
        """Return what is to be searched, each once."""
        numbers = [(mission, getattr(star, _NUMBER_OF[mission])) for star in self.stars for mission in self.missions]
        return [Target(*one) for one in dict.fromkeys(numbers) if one[1]]

    async def ask_for_numbers(self) -> None:
        """Fill in KIC numbers by TIC numbers and the other way round, as far as the missions need them."""
        tic = [star.tic for star in self.stars if star.tic and not star.kic] if "kepler" in self.missions else []
        kic = [star.kic for star in self.stars if star.kic and not star.tic] if "tess" in self.missions else []
        try:
            rows = await tic_numbers(tic=tic, kic=kic, options=self.options, cache=self.cache)
        except TransferError as error:
            self.notes.append(f"{error}; numbers of other catalogues are those that were given")
            return
        kic_of = {row.tic: row.kic for row in rows if row.kic}
        tic_of = {row.kic: row.tic for row in rows if row.kic}
        self.stars = [
            replace(star, kic=star.kic or kic_of.get(star.tic, 0), tic=star.tic or tic_of.get(star.kic, 0))
            for star in self.stars
        ]

    async def ask_for_files(self) -> None:
        """Ask which files the archive knows."""
        try:
            named, refused = await light_curve_products(self.targets(), options=self.options, cache=self.cache)
        except TransferError as error:
            self.notes.append(f"{error}; the bucket was listed instead")
            return
        self.named, self.archive_answered = named, True
        note(self.notes, refused, "light curve(s) of the archive have names of no star of this search: left out")

    async def list_bucket(self, *, only_named: bool) -> None:
        """List the folders of the stars, or only of those files that the archive named."""
        targets = self.targets()
        if not targets:
            return
        async with open_client(self.options) as client:
            if only_named:
                prefixes = prefixes_of_keys(self.named)
            else:
                prefixes = await prefixes_of_targets(client, self.bucket, targets)
            self.there = await list_light_curves(client, self.bucket, prefixes)

    def note_cache(self) -> None:
        """Say how old the answers are that nobody asked for again."""
        if self.cache is not None and self.cache.n_used:
            since = f"{self.cache.oldest_used:%Y-%m-%d}"
            self.notes.append(f"answers of the archive since {since} were taken from {self.cache.folder}")

    def table(self, source: str) -> Table:
        """Return the result."""
        rows: list[tuple[Star, LightCurveKey, ObjectInfo, bool]] = []
        without = []
        for star in self.stars:
            n_before = len(rows)
            for mission in self.missions:
                target = Target(mission, getattr(star, _NUMBER_OF[mission]))
                files = self.there.get(target, {})
                for key in sorted(files, key=_by_time):
                    if key.cadence in self.cadences:
                        rows.append((star, key, files[key], key in self.named.get(target, ())))
            if len(rows) == n_before:
                without.append(star.label)
        self._note_stars(without)
        differences = self._differences()
        table = Table()
        table["star"] = np.array([star.row for star, *_ in rows], dtype=np.int64)
        table["target"] = np.array([_label(key) for _, key, *_ in rows], dtype=np.str_)
        table["mission"] = np.array([key.mission for _, key, *_ in rows], dtype=np.str_)
        table["number"] = np.array([key.target for _, key, *_ in rows], dtype=np.int64)
        table["cadence"] = np.array([key.cadence for _, key, *_ in rows], dtype=np.str_)
        for name in ("quarter", "campaign", "sector"):
            table[name] = np.array([_counted(key)[name] for _, key, *_ in rows], dtype=np.int32)
        table["uri"] = np.array([f"s3://{self.bucket}/{key.key}" for _, key, *_ in rows], dtype=np.str_)
        table["key"] = np.array([key.key for _, key, *_ in rows], dtype=np.str_)
        table["size"] = np.array([info.size for _, _, info, _ in rows], dtype=np.int64)
        table["etag"] = np.array([info.etag for _, _, info, _ in rows], dtype=np.str_)
        in_archive = np.array([named for *_, named in rows], dtype=bool)
        table["in_archive"] = np.ma.MaskedArray(in_archive, mask=np.full(len(rows), not self.archive_answered))
        table["size"].unit = u.byte
        table.meta.update({"source": source, "bucket": self.bucket, "notes": self.notes, "without": without})
        table.meta["differences"] = differences
        return table

    def _note_stars(self, without: Sequence[str]) -> None:
        for mission in self.missions:
            catalogue = _NUMBER_OF[mission]
            unknown = [star.label for star in self.stars if not getattr(star, catalogue)]
            what = f"star(s) have no known {catalogue.upper()} number and were not searched in {mission}"
            note(self.notes, unknown, what)
        note(self.notes, list(without), "star(s) have no light curve of these missions and cadences")

    def _differences(self) -> Table:
        """Return what only one of bucket and archive has, as far as both were asked; and note it."""
        rows: list[tuple[str, LightCurveKey, bool]] = []
        if self.archive_answered:
            for target in self.targets():
                there, named = self.there.get(target, {}).keys(), self.named.get(target, set())
                rows += [(_label(key), key, key in there) for key in sorted(there ^ named, key=_by_time)]
        rows = [row for row in rows if row[1].cadence in self.cadences]
        missing = [key.key for _, key, is_there in rows if not is_there]
        unknown = [key.key for _, key, is_there in rows if is_there]
        note(self.notes, missing, "light curve(s) of the archive are not in the bucket")
        note(self.notes, unknown, "light curve(s) in the bucket are unknown to the archive")
        table = Table()
        table["target"] = np.array([label for label, *_ in rows], dtype=np.str_)
        table["key"] = np.array([key.key for _, key, _ in rows], dtype=np.str_)
        table["in_bucket"] = np.array([is_there for *_, is_there in rows], dtype=bool)
        table["in_archive"] = np.array([not is_there for *_, is_there in rows], dtype=bool)
        return table


def _by_time(key: LightCurveKey) -> tuple[Any, ...]:
    return (key.sector, _counted(key)["campaign"], key.stamp, key.cadence, key.config)


def _label(key: LightCurveKey) -> str:
    return f"{_NUMBER_OF[key.mission].upper()} {key.target}"


def _counted(key: LightCurveKey) -> dict[str, int]:
    """Return quarter, campaign and sector of a file, -1 where its mission counts otherwise."""
    return {
        "quarter": kepler_quarter(key.stamp) if key.mission == "kepler" else -1,
        "campaign": key.campaign if key.mission == "k2" else -1,
        "sector": key.sector if key.mission == "tess" else -1,
    }
