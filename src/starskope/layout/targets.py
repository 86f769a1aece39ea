"""S3 key grammar of single targets: light curves and target pixels of TESS, Kepler and K2.

Owns the three missions' names and folders, both ways, exactly. Refuses names of other makers (community products carry
``hlsp_`` and follow no one grammar) and to say what exists (``archive``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from starskope.layout.times import stamp_to_datetime

__all__ = ["LightCurveKey", "TargetPixelKey", "target_prefix"]

_PATTERNS = {
    "tess": re.compile(
        r"tess(?P<stamp>[0-9]{13})-s(?P<sector>[0-9]{4})-(?P<target>[0-9]{16})-(?P<config>[0-9]{4})-"
        r"(?:s_(?P<product>lc|tp)|a_fast-(?P<fast>lc|tp))\.fits\Z"
    ),
    "kepler": re.compile(
        r"kplr(?P<target>[0-9]{9})-(?P<stamp>[0-9]{13})_(?:(?P<lc>[ls])lc\.fits|(?P<tp>[ls])pd-targ\.fits\.gz)\Z"
    ),
    "k2": re.compile(
        r"ktwo(?P<target>[0-9]{9})-c(?P<campaign>[0-9]{2,3})_(?:(?P<lc>[ls])lc\.fits|(?P<tp>[ls])pd-targ\.fits\.gz)\Z"
    ),
}


@dataclass(frozen=True)
class TargetKey:
    """What light-curve and target-pixel keys share; use `LightCurveKey` or `TargetPixelKey`.

    Attributes
    ----------
    mission : "tess", "kepler" or "k2"
    target : int
        TIC, KIC or EPIC number.
    cadence : "long", "short" or "fast"
        Kepler, K2: 30 min or 1 min. TESS: short = 2 min, fast = 20 s.
    stamp : str
        TESS and Kepler: ``YYYYDOYhhmmss``; start of the sector, or end of the quarter. ``""`` for K2.
    sector, config : int
        TESS only, else 0.
    campaign : int
        K2 only, else 0; split campaigns count 91, 92, 101, 102, 111, 112.
    """

    product: ClassVar[str]

    mission: Literal["tess", "kepler", "k2"]
    target: int
    cadence: Literal["long", "short", "fast"]
    stamp: str = ""
    sector: int = 0
    config: int = 0
    campaign: int = 0

    def __post_init__(self) -> None:
        if self.mission not in _PATTERNS:
            raise ValueError(f"mission is {self.mission!r}: expected 'tess', 'kepler' or 'k2'")
        tess, k2 = self.mission == "tess", self.mission == "k2"
        if self.cadence not in (("short", "fast") if tess else ("long", "short")):
            expected = "'short' or 'fast'" if tess else "'long' or 'short'"
            raise ValueError(f"cadence is {self.cadence!r}: expected {expected} for {self.mission}")
        highest = 10**16 if tess else 10**9
        if not 0 <= self.target < highest:
            raise ValueError(f"target is {self.target}: expected 0 to {highest - 1} for {self.mission}")
        if not k2:
            stamp_to_datetime(self.stamp)
        ranges = (("sector", tess, 1, 9999), ("config", tess, 0, 9999), ("campaign", k2, 0, 999))
        for what, used, lowest, most in ranges:
            value = getattr(self, what)
            if not (lowest <= value <= most if used else value == 0):
                expected = f"{lowest} to {most}" if used else "0"
                raise ValueError(f"{what} is {value}: expected {expected} for {self.mission}")
        if k2 and self.stamp:
            raise ValueError(f"stamp is {self.stamp!r}: K2 names carry none")

    @classmethod
    def parse(cls, key: str) -> Self:
        """Read a key or file name of this product; the folders, where given, must belong to the name.

        Raises
        ------
        ValueError
            For anything else, including keys of the other product.
        """
        name = key.rpartition("/")[2]
        for mission, pattern in _PATTERNS.items():
            found = pattern.match(name)
            if not found:
                continue
            try:
                parsed = cls._from_fields(mission, found.groupdict())
            except ValueError as error:
                raise ValueError(f"{key!r} is no {cls._what()} key: {error}") from None
            if key in (parsed.name, parsed.key):
                return parsed
        raise ValueError(f"{key!r} is no {cls._what()} key of TESS, Kepler or K2")

    @classmethod
    def _what(cls) -> str:
        return "light-curve" if cls.product == "lc" else "target-pixel"

    @classmethod
    def _from_fields(cls, mission: str, fields: dict[str, str | None]) -> Self:
        target = int(fields["target"] or "")
        if mission == "tess":
            product = fields["product"] or fields["fast"]
            if product != cls.product:
                raise ValueError(f"it is of the other product, {product!r}")
            return cls(
                "tess",
                target,
                "fast" if fields["fast"] else "short",
                stamp=fields["stamp"] or "",
                sector=int(fields["sector"] or ""),
                config=int(fields["config"] or ""),
            )
        letter = fields[cls.product]
        if letter is None:
            raise ValueError("it is of the other product")
        cadence: Literal["long", "short"] = "long" if letter == "l" else "short"
        if mission == "kepler":
            return cls("kepler", target, cadence, stamp=fields["stamp"] or "")
        return cls("k2", target, cadence, campaign=int(fields["campaign"] or ""))

    @property
    def name(self) -> str:
        """The file name."""
        if self.mission == "tess":
            ending = f"a_fast-{self.product}" if self.cadence == "fast" else f"s_{self.product}"
            return f"tess{self.stamp}-s{self.sector:04d}-{self.target:016d}-{self.config:04d}-{ending}.fits"
        letter = self.cadence[0]
        ending = f"{letter}lc.fits" if self.product == "lc" else f"{letter}pd-targ.fits.gz"
        if self.mission == "kepler":
            return f"kplr{self.target:09d}-{self.stamp}_{ending}"
        return f"ktwo{self.target:09d}-c{self.campaign:02d}_{ending}"

    @property
    def key(self) -> str:
        """The S3 key."""
        return self.folder + self.name

    @property
    def folder(self) -> str:
        """The S3 prefix, ending in ``/``, that holds this target's files of this product."""
        whole = target_prefix(self.mission, self.target, self.product, sector=self.sector, campaign=self.campaign)
        return whole[: whole.rindex("/") + 1]


def target_prefix(mission: str, target: int, product: str, *, sector: int = 0, campaign: int = 0) -> str:
    """Return the S3 prefix of one target's files: its folder, or for K2, where a thousand share one, its names in it.

    Parameters
    ----------
    mission : "tess", "kepler" or "k2"
    target : int
        TIC, KIC or EPIC number.
    product : "lc" or "tp"
        TESS keeps both in one folder.
    sector, campaign : int
        Of TESS, of K2.
    """
    if mission == "tess":
        tic = f"{target:016d}"
        return f"tess/public/tid/s{sector:04d}/{tic[:4]}/{tic[4:8]}/{tic[8:12]}/{tic[12:]}/"
    number = f"{target:09d}"
    branch = "lightcurves" if product == "lc" else "target_pixel_files"
    if mission == "kepler":
        return f"kepler/public/{branch}/{number[:4]}/{number}/"
    return f"k2/public/{branch}/c{campaign}/{number[:4]}00000/{number[4:6]}000/ktwo{number}-"


class LightCurveKey(TargetKey):
    """A light curve of one target: TESS ``_lc``, Kepler and K2 ``_llc`` and ``_slc``."""

    product: ClassVar[str] = "lc"


class TargetPixelKey(TargetKey):
    """The pixels around one target: TESS ``_tp``, Kepler and K2 ``_lpd-targ`` and ``_spd-targ``."""

    product: ClassVar[str] = "tp"
