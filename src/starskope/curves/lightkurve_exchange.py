"""To lightkurve's objects and back.

Owns what becomes of times, units, flags and star numbers on the way; the library is the extra ``interop`` and is loaded
when it is asked for. Refuses folded curves: their phase is no time.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.table import Column, Table
from numpy.typing import NDArray

from starskope.curves.missions import cards_of_star, exposure_s, mission_of, star_cards
from starskope.curves.time_axis import check_days, in_order
from starskope.errors import StarskopeError
from starskope.layout.times import BKJD_ZERO, BTJD_ZERO

if TYPE_CHECKING:
    from starskope.curves.container import LightCurves

__all__ = ["from_lightkurve", "to_lightkurve"]

_FORMATS = {BTJD_ZERO: "btjd", BKJD_ZERO: "bkjd"}
_ZEROS = {name: zero for zero, name in _FORMATS.items()}


def to_lightkurve(curves: LightCurves, star: int) -> Any:
    """Return one star as an object of lightkurve.

    Parameters
    ----------
    star : int
        Position of the star, a column of ``flux``.

    Returns
    -------
    lightkurve.TessLightCurve, lightkurve.KeplerLightCurve or lightkurve.LightCurve
        Time in the mission's format (``btjd``, ``bkjd``, else ``jd``; TDB), barycentric where `bjd` is known; the
        card ``TIMEREF`` in its ``meta`` says which, as it stands in FITS files. Flux and errors in ``flux_unit``,
        all cadences with their flags in ``quality``, the numbers of the star table as cards (``TICID``, ``TEFF``...).

    Raises
    ------
    StarskopeError
        lightkurve is not installed.
    IndexError
        There is no such star.
    """
    library = _library()
    from astropy.time import Time

    if not hasattr(star, "__index__"):
        raise TypeError(f"star is {star!r}; give its position, a whole number")
    if not -curves.n_star <= star < curves.n_star:
        raise IndexError(f"star {star} of {curves.n_star}: give a position from 0 to {curves.n_star - 1}")
    knows_bjd = curves.is_barycentric or (curves.observer is not None and curves.direction is not None)
    days = curves.bjd(star) if knows_bjd else curves.time
    scale = _FORMATS.get(curves.time_zero)
    if scale is None:
        time = Time(np.full(days.size, curves.time_zero), days, format="jd", scale="tdb")
    else:
        time = Time(days, format=scale, scale="tdb")
    unit = u.Unit(curves.flux_unit)
    errors = curves.flux_err
    meta: dict[str, Any] = {"TIMEREF": "SOLARSYSTEM" if knows_bjd else "LOCAL", "TELESCOP": curves.mission}
    meta["MISSION"] = curves.mission
    stars = curves.stars
    row = {name: stars[name][star].item() for name in stars.colnames if stars[name].ndim == 1}
    meta |= cards_of_star(row, curves.mission)
    meta |= {card.upper(): curves.meta[card] for card in ("sector", "quarter", "campaign") if card in curves.meta}
    if not math.isnan(curves.exposure_s):
        meta |= {"INT_TIME": curves.exposure_s, "NUM_FRM": 1}
    if curves.meta.get("normalized"):
        meta["NORMALIZED"] = True
    label = str(row.get("name") or next((v for k, v in row.items() if k.endswith("_id")), f"star {star}"))
    meta |= {"LABEL": label, "TARGETID": next((v for k, v in row.items() if k.endswith("_id")), None)}
    meta |= {card: row[column] for card, column in (("RA", "ra"), ("DEC", "dec")) if column in row}
    kinds = {"TESS": library.TessLightCurve, "Kepler": library.KeplerLightCurve, "K2": library.KeplerLightCurve}
    return kinds.get(curves.mission, library.LightCurve)(
        time=time,
        flux=curves.flux[:, star] * unit,
        flux_err=None if errors is None else errors[:, star] * unit,
        data={"quality": curves.quality.copy()},
        meta=meta,
    )


def from_lightkurve(curve: Any) -> LightCurves:
    """Return an object of lightkurve as light curves of one star.

    Parameters
    ----------
    curve : lightkurve.LightCurve
        Its columns time, flux, flux_err and quality are taken.

    Returns
    -------
    LightCurves
        ``time_zero`` as its format says (``btjd``, ``bkjd``; ``jd`` is counted from the mission's zero). Barycentric
        unless ``meta["TIMEREF"]`` says LOCAL. Masked and infinite values are NaN. Rows without a time are dropped,
        others sorted, repeated times dropped: ``meta["rows"]`` counts.

    Raises
    ------
    TypeError
        No light curve of lightkurve, or a folded one.
    FrameError
        Times in another unit than their format says.
    """
    from astropy.time import Time

    from starskope.curves.container import LightCurves

    if not hasattr(curve, "flux") or not hasattr(curve, "time"):
        raise TypeError(f"from_lightkurve: expected a lightkurve.LightCurve, got {type(curve).__name__}")
    if not isinstance(curve.time, Time):
        raise TypeError(f"from_lightkurve: a {type(curve).__name__} is folded: its phase is no time; give it unfolded")
    cards: Mapping[str, Any] = {key: value for key, value in curve.meta.items() if isinstance(key, str)}
    mission = mission_of(cards)
    time = curve.time.tdb
    what = f"lightkurve object {cards.get('LABEL') or ''}".rstrip()
    if time.format in _ZEROS:
        zero = _ZEROS[time.format]
        days = _plain(time.value)
        check_days(days, zero, what)
    else:
        check_days(_plain(time.jd), 0.0, what)
        zero = BKJD_ZERO if mission in {"Kepler", "K2"} else BTJD_ZERO
        days = _plain((time.jd1 - zero) + time.jd2)
    rows, counts = in_order(days)
    flux, unit = _quantity(curve.flux)
    if flux.ndim != 1:
        raise TypeError(f"from_lightkurve: flux has shape {flux.shape}; give a light curve of one flux per time")
    errors = _quantity(curve.flux_err)[0] if "flux_err" in curve.colnames else np.full(flux.size, np.nan)
    quality = _plain(curve["quality"]) if "quality" in curve.colnames else np.zeros(flux.size)
    star = star_cards({**cards, "OBJECT": cards.get("OBJECT") or cards.get("LABEL")}, mission)
    columns = {
        name: Column([value], unit=unit_ or None, description=text) for name, (value, unit_, text) in star.items()
    }
    meta: dict[str, Any] = {"flux_unit": unit, "product": "lightkurve"}
    if str(cards.get("TIMEREF") or "SOLARSYSTEM").upper() != "LOCAL":
        meta["time_reference"] = "barycentre"
    if cards.get("NORMALIZED"):
        meta["normalized"] = "lightkurve"
    meta |= {
        card.lower(): cards[card] for card in ("SECTOR", "QUARTER", "CAMPAIGN") if isinstance(cards.get(card), int)
    }
    if counts:
        meta["rows"] = counts
    return LightCurves(
        days[rows],
        flux[rows, None],
        Table(columns) if columns else None,
        flux_err=np.where(errors >= 0, errors, np.nan)[rows, None] if np.isfinite(errors).any() else None,
        quality=np.nan_to_num(quality)[rows].astype(np.int64),
        time_zero=zero,
        exposure_s=exposure_s(cards),
        mission=mission,
        meta=meta,
    )


def _library() -> Any:
    if importlib.util.find_spec("lightkurve") is None:
        raise StarskopeError("to_lightkurve needs lightkurve: install it with pip install 'starskope[interop]'")
    with warnings.catch_warnings():
        # It warns of an optional part of its own that nothing here uses.
        warnings.simplefilter("ignore")
        import lightkurve
    return lightkurve


def _quantity(values: Any) -> tuple[NDArray[np.float64], str]:
    """Return plain float64 and the unit; masked and infinite values become NaN."""
    unit = getattr(values, "unit", None)
    plain = _plain(getattr(values, "value", values))
    return np.where(np.isfinite(plain), plain, np.nan), "" if unit is None else unit.to_string()


def _plain(values: Any) -> NDArray[np.float64]:
    """Return float64, NaN where masked, of an array, a Column or astropy's Masked arrays."""
    mask = np.asarray(getattr(values, "mask", False))
    data = getattr(values, "unmasked", None)
    plain = np.array(values if data is None else data, dtype=np.float64)
    if mask.any():
        plain[np.broadcast_to(mask, plain.shape)] = np.nan
    return plain
