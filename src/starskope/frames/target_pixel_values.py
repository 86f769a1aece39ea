"""What the headers of a target pixel file say of its target.

Owns the values: place, star, world coordinates, span of time. A value that is not known is None and stands as an
undefined card: zero is a brightness, a motion and a number too. Refuses cards and their order
(``frames.target_pixel_cards``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope.frames.cutout_set import Cutouts
from starskope.frames.cutout_wcs import LinearWcs

__all__ = ["OF_STAR", "target_values"]

# Keyword, column of the targets, comment.
OF_STAR = (
    ("PMRA", "pmra", "[mas/yr] RA proper motion"),
    ("PMDEC", "pmdec", "[mas/yr] Dec proper motion"),
    ("TESSMAG", "tmag", "[mag] TESS magnitude"),
    ("TEFF", "teff", "[K] Effective temperature"),
    ("LOGG", "logg", "[cm/s2] log10 surface gravity"),
    ("MH", "mh", "[log10([M/H])] metallicity"),
    ("RADIUS", "rad", "[solar radii] stellar radius"),
    ("TICID", "tic_id", "unique tess target identifier"),
)


def target_values(
    cutouts: Cutouts, index: int, fit: LinearWcs | None, edge: NDArray[np.bool_], collateral: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return what the open cards of one target hold, but for the sums; edge and collateral are those of the set."""
    targets = cutouts.targets
    half = _half_frame(cutouts)
    times = cutouts.time[index][np.isfinite(cutouts.time[index])]
    start, stop = (float(times[0]) - half, float(times[-1]) + half) if times.size else (None, None)
    values: dict[str, Any] = {
        "ra": _number(targets["ra"][index]),
        "dec": _number(targets["dec"][index]),
        "TSTART": start,
        "TSTOP": stop,
        "TELAPSE": None if start is None or stop is None else stop - start,
        "EDGE": bool(edge[index]),
        "COLLAT": bool(collateral[index]),
        "OBJECT": _name(cutouts, index),
    }
    for keyword, column, _ in OF_STAR:
        values[keyword] = _number(targets[column][index]) if column in targets.colnames else None
    if values["TICID"] is not None:
        values["TICID"] = int(values["TICID"]) if values["TICID"] > 0 else None
    if not cutouts.is_moving:
        values |= {"row": int(cutouts.row0[index]) + 1, "column": int(cutouts.col0[index]) + 1}
    if fit is not None:
        values |= {
            "CRPIX1": float(fit.crpix[index, 0]) + 1.0,
            "CRPIX2": float(fit.crpix[index, 1]) + 1.0,
            "CRVAL1": float(fit.crval[index, 0]),
            "CRVAL2": float(fit.crval[index, 1]),
            **{f"PC{i + 1}_{j + 1}": float(fit.cd[index, i, j]) for i in (0, 1) for j in (0, 1)},
            "WCS_MSEP": float(fit.separation[index]),
            "WCS_SIG": float(fit.scatter[index]),
        }
    return values


def _half_frame(cutouts: Cutouts) -> float:
    """Half the length of a frame in days: from its cards, else from the step of time."""
    length = cutouts.header.get("TIMEDEL")
    if isinstance(length, int | float) and np.isfinite(length) and length > 0:
        return float(length) / 2.0
    steps = np.diff(cutouts.time_spacecraft)
    return float(np.median(steps)) / 2.0 if steps.size else 0.0


def _name(cutouts: Cutouts, index: int) -> str:
    targets = cutouts.targets
    if "name" in targets.colnames:
        # Names come from users' tables and ephemerides: a card holds printable ASCII alone.
        text = str(targets["name"][index]).encode("ascii", "replace").decode()
        return "".join(letter if letter.isprintable() else "?" for letter in text)[:60]
    if "tic_id" in targets.colnames and (tic := _number(targets["tic_id"][index])) and tic > 0:
        return f"TIC {int(tic)}"
    return ""


def _number(value: Any) -> float | int | None:
    """Return the finite number in a table's cell, without its unit; None for what is masked, NaN or no number."""
    value = getattr(value, "value", value)
    if np.ma.is_masked(value):
        return None
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        return None
    return value
