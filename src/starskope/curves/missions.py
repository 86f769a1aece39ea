"""What the makers of light curves call things: columns of flux, errors, times and flags, and cards of stars.

Owns the table of choices, one row per maker's convention; adding a product means adding a row. Refuses names of files:
the columns that a table has decide. Refuses bytes (``mission_fits``) and to judge flags (``masks``).

References
----------
SPOC and Kepler: TESS Science Data Products Description Document (EXP-TESS-ARC-ICD-0014) and Kepler Archive Manual
(KDMC-10008). K2SFF: Vanderburg & Johnson 2014 (2014PASP..126..948V). TGLC: Han & Brandt 2023 (2023AJ....165...71H).
QLP: Huang et al. 2020 (2020RNAAS...4..204H). EVEREST: Luger et al. 2018 (2018AJ....156...99L).
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

__all__ = [
    "FLAG_COLUMNS",
    "PIPELINE_FLAG",
    "PRODUCTS",
    "TIME_COLUMNS",
    "FluxColumn",
    "Product",
    "cards_of_star",
    "exposure_s",
    "mission_of",
    "product_of",
    "star_cards",
]

PIPELINE_FLAG = 1 << 27
"""Bit of ``quality`` for a cadence that the maker of a community product flags himself (TGLC_flags, QLP aside)."""

SECONDS_PER_DAY = 86400.0

THRUSTER_FIRING = 1 << 20
"""The bit of Kepler's and K2's flags for a thruster firing; K2SFF tells it as MOVING."""

TIME_COLUMNS = ("TIME", "T", "BTJD", "TBJD", "BKJD", "BJD")


@dataclass(frozen=True)
class FluxColumn:
    """A column of flux, the column of its errors, and the card that holds one error for all cadences."""

    flux: str
    error: str = ""
    error_card: str = ""


@dataclass(frozen=True)
class Product:
    """One maker's convention.

    Attributes
    ----------
    name : str
        For ``meta["product"]``.
    choices : tuple of FluxColumn
        The best first; the first that is usable is taken.
    needs : tuple of str
        A table with all of these columns is such a product.
    """

    name: str
    choices: tuple[FluxColumn, ...]
    needs: tuple[str, ...]


# The first row that fits counts, so that the special stand before the general.
PRODUCTS = (
    Product("K2SFF", (FluxColumn("FCOR"), FluxColumn("FRAW")), ("T", "FCOR", "MOVING")),
    Product(
        "TGLC",
        (FluxColumn("CAL_APER_FLUX", error_card="CAPE_ERR"), FluxColumn("CAL_PSF_FLUX", error_card="CPSF_ERR")),
        ("TIME", "CAL_APER_FLUX"),
    ),
    Product(
        "pipeline",
        (FluxColumn("PDCSAP_FLUX", "PDCSAP_FLUX_ERR"), FluxColumn("SAP_FLUX", "SAP_FLUX_ERR")),
        ("TIME", "PDCSAP_FLUX"),
    ),
    Product(
        "QLP",
        (
            FluxColumn("DET_FLUX", "DET_FLUX_ERR"),
            FluxColumn("KSPSAP_FLUX", "KSPSAP_FLUX_ERR"),
            FluxColumn("SAP_FLUX"),
        ),
        ("TIME", "SAP_FLUX", "ORBITID"),
    ),
    Product("EVEREST", (FluxColumn("FCOR", "FRAW_ERR"), FluxColumn("FLUX", "FRAW_ERR")), ("TIME", "FLUX", "FRAW_ERR")),
    Product("aperture sums", (FluxColumn("SAP_FLUX", "SAP_FLUX_ERR"),), ("TIME", "SAP_FLUX")),
    Product("table", (FluxColumn("FLUX", "FLUX_ERR"),), ("TIME", "FLUX")),
)

# Column -> (bits of it that count, place to shift them to); several columns are OR-ed.
FLAG_COLUMNS: Mapping[str, tuple[int, int]] = {
    "QUALITY": (0x7FFFFFF, 0),
    "SAP_QUALITY": (0x7FFFFFF, 0),
    # 16 bits: the highest arrives as a sign.
    "TESS_FLAGS": (0xFFFF, 0),
    "TGLC_FLAGS": (1, PIPELINE_FLAG.bit_length() - 1),
    "MOVING": (1, THRUSTER_FIRING.bit_length() - 1),
}

# Card -> (column of the star table, unit, description)
_STAR_CARDS = {
    "RA_OBJ": ("ra", "deg", "right ascension, ICRS"),
    "DEC_OBJ": ("dec", "deg", "declination, ICRS"),
    "TESSMAG": ("tmag", "mag", "TESS magnitude"),
    "KEPMAG": ("kepmag", "mag", "Kepler magnitude"),
    "TEFF": ("teff", "K", "effective temperature"),
    "LOGG": ("logg", "dex(cm/s2)", "surface gravity"),
    "RADIUS": ("rad", "solRad", "stellar radius"),
}


def product_of(columns: Container[str]) -> Product | None:
    """Return the convention that a table with these columns follows, or None."""
    return next((product for product in PRODUCTS if all(name in columns for name in product.needs)), None)


def mission_of(header: Mapping[str, Any]) -> str:
    """Return "TESS", "Kepler" or "K2" as the cards say, else the telescope's own name, ``""`` where none is named."""
    words = [str(header.get(card) or "").strip() for card in ("MISSION", "TELESCOP")]
    if words[0].upper() == "K2" or str(header.get("OBJECT") or "").startswith("EPIC"):
        return "K2"
    for word in words:
        if word.upper() in {"TESS", "KEPLER"}:
            return {"TESS": "TESS", "KEPLER": "Kepler"}[word.upper()]
    return words[1]


def star_cards(header: Mapping[str, Any], mission: str) -> dict[str, tuple[Any, str, str]]:
    """Return what the cards tell of the star: column name -> (value, unit, description).

    Numbers of a star come first; a magnitude, temperature, gravity or radius of zero is one that nobody filled in.
    """
    found: dict[str, tuple[Any, str, str]] = {}
    catalogue = {"TICID": ("tic_id", "TIC"), "GAIADR3": ("gaia_id", "Gaia DR3")}
    catalogue["KEPLERID"] = ("epic_id", "EPIC") if mission == "K2" else ("kepler_id", "KIC")
    name = str(header.get("OBJECT") or "").strip()
    for card, (column, prefix) in catalogue.items():
        number = _whole(header.get(card))
        if number is not None:
            found[column] = (number, "", f"{prefix} number")
            if name in {"", str(number)}:
                name = f"{prefix} {number}"
    if name:
        found["name"] = (name, "", "name of the star in its file")
    for card, (column, unit, description) in _STAR_CARDS.items():
        value = header.get(card)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if value != 0 or column in {"ra", "dec"}:
            found[column] = (float(value), unit, description)
    return found | _proper_motion(header, mission)


def _proper_motion(header: Mapping[str, Any], mission: str) -> dict[str, tuple[Any, str, str]]:
    """Return the columns of proper motion; Kepler and K2 count in arcsec per year, and write 0 for what they lack."""
    east, north = header.get("PMRA"), header.get("PMDEC")
    if not (_is_number(east) and _is_number(north) and (east or north)):
        return {}
    by = _mas_per_card(mission)
    return {
        "pmra": (by * float(east), "mas / yr", "proper motion in right ascension, with cos(dec)"),
        "pmdec": (by * float(north), "mas / yr", "proper motion in declination"),
    }


def _mas_per_card(mission: str) -> float:
    return 1000.0 if mission in {"Kepler", "K2"} else 1.0


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def cards_of_star(row: Mapping[str, Any], mission: str) -> dict[str, Any]:
    """Return a row of a star table as cards, what is not known left out: `star_cards` the other way."""
    cards: dict[str, Any] = {}
    numbers = {"tic_id": "TICID", "kepler_id": "KEPLERID", "epic_id": "KEPLERID", "gaia_id": "GAIADR3"}
    for column, card in (*numbers.items(), ("name", "OBJECT"), *((c[0], card) for card, c in _STAR_CARDS.items())):
        value = row.get(column)
        # NaN, -1 and "" stand for what is not known.
        if value is not None and value == value and value not in ("", -1):  # noqa: PLR0124
            cards[card] = value
    for column, card in (("pmra", "PMRA"), ("pmdec", "PMDEC")):
        if _is_number(value := row.get(column)):
            cards[card] = float(value) / _mas_per_card(mission)
    return cards


def exposure_s(header: Mapping[str, Any]) -> float:
    """Seconds of light per cadence: its length less dead time and what the clip of cosmic rays on board loses."""

    def number(card: str) -> float:
        value = header.get(card)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan

    light = number("TIMEDEL") * number("DEADC") * SECONDS_PER_DAY
    if not light > 0:
        light = number("INT_TIME") * number("NUM_FRM")
    return light if 0 < light < math.inf else math.nan


def _whole(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 < value < 2**63 else None
    text = str(value or "").strip()
    return int(text) if text.isdigit() and 0 < int(text) < 2**63 else None
