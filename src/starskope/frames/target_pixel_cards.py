"""The headers of a target pixel file: which cards, in which order, and what is the same in all files of a set.

Owns the cards of the three HDUs as the mission's and astrocut's files have them, so that what reads those reads ours.
What stays the same in all files of a set is written once; what differs is filled in for each target. Refuses what is
known of a target (``frames.target_pixel_values``), pixels and files (``frames.target_pixels``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from starskope.frames.cutout_set import Cutouts
from starskope.frames.target_pixel_values import OF_STAR
from starskope.layout.cards import format_card
from starskope.layout.datasum import NO_CHECKSUM
from starskope.layout.header import padded
from starskope.layout.times import BTJD_ZERO

__all__ = ["CREATOR", "HeaderSet"]

CREATOR = "starskope TargetPixelFile"
"""lightkurve tells a target pixel file by the word in it."""
_ORIGIN = "starskope"
_UNKNOWN = object()

# Cards of the first frame's primary header that hold for the whole sector.
_INHERITED = (
    ("TIMVERSN", "OGIP memo number for file format"),
    ("TELESCOP", "telescope"),
    ("INSTRUME", "detector type"),
    ("DATA_REL", "data release version number"),
    ("ASTATE", "archive state F indicates single orbit processing"),
    ("SCCONFIG", "spacecraft configuration ID"),
    ("RADESYS", "reference frame of celestial coordinates"),
    ("FFIINDEX", "number of FFI cadence interval of first FFI"),
    ("EQUINOX", "equinox of celestial coordinate system"),
    ("CRMITEN", "spacecraft cosmic ray mitigation enabled"),
    ("CRBLKSZ", "[exposures] s/c cosmic ray mitigation block siz"),
    ("CRSPOC", "SPOC cosmic ray cleaning enabled"),
)
_FROM_FRAME = (
    ("BACKAPP", "background is subtracted"),
    ("DEADAPP", "deadtime applied"),
    ("DEADC", "deadtime correction"),
    ("EXPOSURE", "[d] time on source"),
    ("FRAMETIM", "[s] frame time [INT_TIME + READTIME]"),
    ("FXDOFF", "compression fixed offset"),
    *((f"GAIN{output}", f"[electrons/count] CCD output {output} gain") for output in "ABCD"),
    ("INT_TIME", "[s] photon accumulation time per frame"),
    ("LIVETIME", "[d] TELAPSE multiplied by DEADC"),
    *((f"MEANBLC{output}", f"[count] FSW mean black level CCD output {output}") for output in "ABCD"),
    ("NREADOUT", "number of read per cadence"),
    ("NUM_FRM", "number of frames per time stamp"),
    *((f"READNOI{output}", f"[electrons] read noise CCD output {output}") for output in "ABCD"),
    ("READTIME", "[s] readout time per frame"),
    ("TIERRELA", "[d] relative time error"),
    ("TIMEDEL", "[d] time resolution of data"),
    ("TIMEPIXR", "bin time beginning=0 middle=0.5 end=1"),
    ("VIGNAPP", "vignetting or collimator correction applied"),
)


@dataclass(frozen=True)
class _Of:
    """Stands in the list of cards where a target's own value goes."""

    name: str


class _Template:
    """A header whose cards are written once, but for those of each target."""

    def __init__(self, cards: Sequence[tuple[str, Any, str]]) -> None:
        self._text: list[str] = []
        self._open: list[tuple[int, str, str, str]] = []
        for keyword, value, comment in cards:
            if isinstance(value, _Of):
                self._open.append((len(self._text), keyword, value.name, comment))
                self._text.append("")
            else:
                self._text.append(format_card(keyword, value, comment))

    def fill(self, values: Mapping[str, Any]) -> bytes:
        """Return the header with the values of one target, END and padding included."""
        text = self._text.copy()
        for place, keyword, name, comment in self._open:
            text[place] = format_card(keyword, values[name], comment)
        joined = "".join(text) + "END".ljust(80)
        return joined.encode("ascii").ljust(padded(len(joined)))


class HeaderSet:
    """The three headers of every target of a set.

    Parameters
    ----------
    cutouts : Cutouts
    columns : sequence of (name, format, unit, display, null)
        Of the table, in order; a column of pixels has ``[rows, columns]`` in its format as a repeat count.
    row_bytes : int
        Length of a row of the table.
    """

    def __init__(self, cutouts: Cutouts, columns: Sequence[tuple[str, str, str, str, int | None]], row_bytes: int):
        shared = _shared_cards(cutouts)
        lead = [
            ("SIMPLE", True, "conforms to FITS standard"),
            ("BITPIX", 8, "array data type"),
            ("NAXIS", 0, "number of array dimensions"),
            ("EXTEND", True, ""),
            ("NEXTEND", 2, "number of standard extensions"),
            ("EXTNAME", "PRIMARY", "name of extension"),
        ]
        self.primary = _Template([*lead, *shared, *_SUMS])
        self.pixels = _Template([*_table_cards(cutouts, columns, row_bytes), *shared, *_SUMS])
        self.aperture = _Template([*_aperture_cards(cutouts), *shared, *_SUMS])


_SUMS: tuple[tuple[str, Any, str], ...] = (
    ("CHECKSUM", NO_CHECKSUM, "HDU checksum"),
    ("DATASUM", _Of("DATASUM"), "data unit checksum"),
)


def _shared_cards(cutouts: Cutouts) -> list[tuple[str, Any, str]]:
    """Cards of the primary header that the extensions repeat, as INHERIT asks of readers that do not."""
    given = {key: cutouts.primary[key] for key in ("DATE-OBS", "DATE-END") if key in cutouts.primary}
    simulated = bool(cutouts.header.get("SIMDATA", cutouts.primary.get("SIMDATA", False)))
    return [
        ("EXTVER", 1, "extension version number (not format version)"),
        (
            "SIMDATA",
            simulated,
            "file is based on simulated data",
        ),
        ("ORIGIN", _ORIGIN, "institution responsible for creating this file"),
        ("TSTART", _Of("TSTART"), "observation start time in BTJD of first FFI"),
        ("TSTOP", _Of("TSTOP"), "observation stop time in BTJD of last FFI"),
        *((key, value, "as UTC calendar date at the spacecraft") for key, value in given.items()),
        ("CREATOR", CREATOR, "software used to produce this file"),
        ("PROCVER", _version(), "software version"),
        ("FILEVER", "1.0", "file format version"),
        *(
            (key, _plain(cutouts.primary[key]), comment)
            for key, comment in _INHERITED
            if _plain(cutouts.primary.get(key, _UNKNOWN)) is not _UNKNOWN
        ),
        ("SECTOR", cutouts.sector or None, "Observing sector"),
        ("CAMERA", cutouts.camera or None, "Camera number"),
        ("CCD", cutouts.ccd or None, "CCD chip number"),
        ("FFI_TYPE", "SPOC", "the FFI type used to make the cutouts"),
        ("RA_OBJ", _Of("ra"), "[deg] right ascension"),
        ("DEC_OBJ", _Of("dec"), "[deg] declination"),
        ("TIMEREF", "SOLARSYSTEM", "barycentric correction applied to times"),
        ("TASSIGN", "SPACECRAFT", "where time is assigned"),
        ("TIMESYS", "TDB", "time system is Barycentric Dynamical Time (TDB)"),
        ("BJDREFI", int(BTJD_ZERO), "integer part of BTJD reference date"),
        ("BJDREFF", 0.0, "fraction of the day in BTJD reference date"),
        ("TIMEUNIT", "d", "time unit for TIME, TSTART and TSTOP"),
        ("TELAPSE", _Of("TELAPSE"), "[d] TSTOP - TSTART"),
        ("OBJECT", _Of("OBJECT"), "string version of target id"),
        *((keyword, _Of(keyword), comment) for keyword, _, comment in OF_STAR),
        *([("MOVING", True, "every frame has its own place")] if cutouts.is_moving else []),
        ("EDGE", _Of("EDGE"), "some pixels lie off the frame and are NaN"),
        ("COLLAT", _Of("COLLAT"), "some pixels see no sky, EDGE included"),
        ("NLOST", len(cutouts.meta.get("lost_frames", ())), "frames that could not be read and are NaN"),
    ]


def _table_cards(
    cutouts: Cutouts, columns: Sequence[tuple[str, str, str, str, int | None]], row_bytes: int
) -> list[tuple[str, Any, str]]:
    cards: list[tuple[str, Any, str]] = [
        ("XTENSION", "BINTABLE", "binary table extension"),
        ("BITPIX", 8, "array data type"),
        ("NAXIS", 2, "number of array dimensions"),
        ("NAXIS1", row_bytes, "length of dimension 1"),
        ("NAXIS2", cutouts.n_time, "length of dimension 2"),
        ("PCOUNT", 0, "number of group parameters"),
        ("GCOUNT", 1, "number of groups"),
        ("TFIELDS", len(columns), "number of table fields"),
    ]
    n_row, n_col = cutouts.shape
    for number, (name, code, unit, display, null) in enumerate(columns, 1):
        cards += [(f"TTYPE{number}", name, "column name"), (f"TFORM{number}", code, "column format")]
        cards += [(f"TUNIT{number}", unit, "unit")] if unit else []
        cards += [(f"TNULL{number}", null, "null value")] if null is not None else []
        cards += [(f"TDISP{number}", display, "display format")] if display else []
        if name in _PIXEL_COLUMNS:
            cards.append((f"TDIM{number}", f"({n_col}, {n_row})", "multi-dimensional array spec"))
            cards += [] if cutouts.is_moving else _column_wcs(number, cutouts.wcs is not None)
    cards += [("EXTNAME", "PIXELS", ""), ("INHERIT", True, "")]
    header = cutouts.header
    cards += [
        (key, _plain(header[key]), comment)
        for key, comment in _FROM_FRAME
        if _plain(header.get(key, _UNKNOWN)) is not _UNKNOWN
    ]
    if cutouts.wcs is not None and not cutouts.is_moving:
        cards.append(("WCS_FFI", str(cutouts.ffi[cutouts.reference]), "FFI used for cutout WCS"))
    return cards


_PIXEL_COLUMNS = frozenset({"RAW_CNTS", "FLUX", "FLUX_ERR", "FLUX_BKG", "FLUX_BKG_ERR"})


def _column_wcs(number: int, with_sky: bool) -> list[tuple[str, Any, str]]:
    n = number
    sky: list[tuple[str, Any, str]] = [
        (f"WCAX{n}", 2, "number of WCS axes"),
        (f"1CTYP{n}", "RA---TAN", "right ascension coordinate type"),
        (f"2CTYP{n}", "DEC--TAN", "declination coordinate type"),
        (f"1CRPX{n}", _Of("CRPIX1"), "[pixel] reference pixel along image axis 1"),
        (f"2CRPX{n}", _Of("CRPIX2"), "[pixel] reference pixel along image axis 2"),
        (f"1CRVL{n}", _Of("CRVAL1"), "[deg] right ascension at reference pixel"),
        (f"2CRVL{n}", _Of("CRVAL2"), "[deg] declination at reference pixel"),
        (f"1CUNI{n}", "deg", "physical unit in column dimension"),
        (f"2CUNI{n}", "deg", "physical unit in row dimension"),
        (f"1CDLT{n}", 1.0, "[deg] pixel scale in RA dimension"),
        (f"2CDLT{n}", 1.0, "[deg] pixel scale in DEC dimension"),
        (f"11PC{n}", _Of("PC1_1"), "Coordinate transformation matrix element"),
        (f"12PC{n}", _Of("PC1_2"), "Coordinate transformation matrix element"),
        (f"21PC{n}", _Of("PC2_1"), "Coordinate transformation matrix element"),
        (f"22PC{n}", _Of("PC2_2"), "Coordinate transformation matrix element"),
    ]
    physical: list[tuple[str, Any, str]] = [
        (f"WCSN{n}P", "PHYSICAL", "table column WCS name"),
        (f"WCAX{n}P", 2, "table column physical WCS dimensions"),
        (f"1CTY{n}P", "RAWX", "table column physical WCS axis 1 type, CCD col"),
        (f"2CTY{n}P", "RAWY", "table column physical WCS axis 2 type, CCD row"),
        (f"1CUN{n}P", "PIXEL", "table column physical WCS axis 1 unit"),
        (f"2CUN{n}P", "PIXEL", "table column physical WCS axis 2 unit"),
        (f"1CRV{n}P", _Of("column"), "table column physical WCS ax 1 ref value"),
        (f"2CRV{n}P", _Of("row"), "table column physical WCS ax 2 ref value"),
        (f"1CDL{n}P", 1.0, "table column physical WCS a1 step"),
        (f"2CDL{n}P", 1.0, "table column physical WCS a2 step"),
        (f"1CRP{n}P", 1, "table column physical WCS a1 reference"),
        (f"2CRP{n}P", 1, "table column physical WCS a2 reference"),
    ]
    return [*(sky if with_sky else []), *physical]


def _aperture_cards(cutouts: Cutouts) -> list[tuple[str, Any, str]]:
    cards: list[tuple[str, Any, str]] = [
        ("XTENSION", "IMAGE", "Image extension"),
        ("BITPIX", 32, "array data type"),
        ("NAXIS", 2, "number of array dimensions"),
        ("NAXIS1", cutouts.shape[1], ""),
        ("NAXIS2", cutouts.shape[0], ""),
        ("PCOUNT", 0, "number of parameters"),
        ("GCOUNT", 1, "number of groups"),
        ("EXTNAME", "APERTURE", ""),
    ]
    if cutouts.wcs is not None and not cutouts.is_moving:
        cards += [
            ("WCSAXES", 2, "Number of coordinate axes"),
            ("CRPIX1", _Of("CRPIX1"), "Pixel coordinate of reference point"),
            ("CRPIX2", _Of("CRPIX2"), "Pixel coordinate of reference point"),
            *(
                (f"PC{i}_{j}", _Of(f"PC{i}_{j}"), "Coordinate transformation matrix element")
                for i in (1, 2)
                for j in (1, 2)
            ),
            ("CDELT1", 1.0, "[deg] Coordinate increment at reference point"),
            ("CDELT2", 1.0, "[deg] Coordinate increment at reference point"),
            ("CUNIT1", "deg", "Units of coordinate increment and value"),
            ("CUNIT2", "deg", "Units of coordinate increment and value"),
            ("CTYPE1", "RA---TAN", "Right ascension, gnomonic projection"),
            ("CTYPE2", "DEC--TAN", "Declination, gnomonic projection"),
            ("CRVAL1", _Of("CRVAL1"), "[deg] Coordinate value at reference point"),
            ("CRVAL2", _Of("CRVAL2"), "[deg] Coordinate value at reference point"),
            ("LONPOLE", 180.0, "[deg] Native longitude of celestial pole"),
            ("LATPOLE", _Of("CRVAL2"), "[deg] Native latitude of celestial pole"),
        ]
    cards += [
        ("NPIXMISS", None, "Number of op. aperture pixels not collected"),
        ("NPIXSAP", None, "Number of pixels in optimal aperture"),
    ]
    if cutouts.wcs is not None and not cutouts.is_moving:
        cards += [
            ("WCS_MSEP", _Of("WCS_MSEP"), "[deg] Max offset between cutout WCS and FFI WCS"),
            ("WCS_SIG", _Of("WCS_SIG"), "[deg] Error measurement of cutout WCS fit"),
        ]
    return [*cards, ("INHERIT", True, "")]


def _plain(value: Any) -> Any:
    """Return a card's value as it can be written again; `_UNKNOWN` for NaN and what no card holds."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not np.isfinite(value):
        return _UNKNOWN
    return value if isinstance(value, str | bool | int | float) else _UNKNOWN


def _version() -> str | None:
    from importlib import metadata

    try:
        return metadata.version("starskope")
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return None
