"""``join``: files of one star, from Kepler, K2 and TESS, put together.

Owns the checks that files show one star and none of its light twice, the common time scale, and each segment's own
level. Refuses to match catalogues (give it the files of one star), to mask, to detrend and to download.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Column, Table

from starskope.curves.container import LightCurves
from starskope.curves.joined import Joined, part_of
from starskope.layout.times import BTJD_ZERO
from starskope.validation import positive

__all__ = ["join"]

_IDS = ("tic_id", "kepler_id", "epic_id", "gaia_id")
_J2000 = 2451545.0
_FAR_DEGREES = 1.0


def join(parts: Sequence[LightCurves | str | Path], *, match_arcsec: float = 3.0, same_star: bool = False) -> Joined:
    """Join light curves of one star from several files and missions.

    Parameters
    ----------
    parts : sequence of paths or LightCurves
        Each of one star: what `LightCurves.read` reads, or light curves with barycentric times, or with the observer's
        path and the star's direction, from which these follow.
    match_arcsec : float
        Largest separation of the places in two files of one star, beyond what proper motion explains.
    same_star : bool
        Vouch for parts that name neither a catalogue number nor a place in common with the others. Parts that
        contradict each other are refused all the same.

    Returns
    -------
    Joined
        Segments in the order of their first times, each divided by its own median, on one time scale: barycentric,
        TDB, days since the zero that all parts have, or since JD 2457000 (BTJD) where they differ.

    Raises
    ------
    ValueError
        Parts of different stars, or that cannot be told to be of one star; two parts of one mission that cover the
        same time; a part of several stars, without flux, or without a way to barycentric times.
    TypeError
        ``parts`` is no sequence of paths or light curves.
    FileNotFoundError, FrameError
        A file is missing or damaged.

    Notes
    -----
    Two parts are of different stars if a catalogue numbers them differently, and of one star if one numbers them alike
    or their places agree. Catalogues give places at J2000 or at the time of observation and seldom say which, so a
    separation is the smallest along the star's path between the two; it has no path where no file tells its motion.

    Examples
    --------
    >>> import starskope as sk
    >>> joined = sk.join(["kplr010666592-2009131110544_slc.fits", "tess-s0014-424865156_lc.fits"])  # doctest: +SKIP
    >>> found = sk.search_transits(joined.mask().flatten())  # doctest: +SKIP
    """
    if isinstance(parts, str | Path | LightCurves) or not isinstance(parts, Iterable):
        raise TypeError(f"join: parts is a {type(parts).__name__}; give a list of paths or light curves")
    reach = positive(match_arcsec, "match_arcsec")
    given = list(parts)
    if not given:
        raise ValueError("join: the list of parts is empty; give at least one")
    named = [(_source(part, i), _read(part, i)) for i, part in enumerate(given)]
    zeros = {curves.time_zero for _, curves in named}
    zero = zeros.pop() if len(zeros) == 1 else BTJD_ZERO
    named = [(source, _levelled(_barycentric(curves, source), zero, source)) for source, curves in named]
    named.sort(key=lambda pair: (float(pair[1].time[0]), float(pair[1].time[-1]), pair[1].mission, pair[0]))
    sources, segments = [source for source, _ in named], [curves for _, curves in named]
    _refuse_light_twice(segments, sources)
    stars = [dict(zip(curves.stars.colnames, curves.stars[0], strict=True)) for curves in segments]
    years = max(0.0, (float(segments[-1].time[-1]) + zero - _J2000) / 365.25)
    matched_by = _match(stars, sources, reach, years, same_star=same_star)
    return Joined(tuple(segments), _match_table(segments, sources, stars, matched_by, years))


def _source(part: Any, i: int) -> str:
    if isinstance(part, LightCurves):
        return str(part.meta.get("file") or f"light curves {i}")
    return Path(part).name if isinstance(part, str | Path) else f"part {i}"


def _read(part: Any, i: int) -> LightCurves:
    if isinstance(part, LightCurves):
        return part
    if not isinstance(part, str | Path):
        raise TypeError(f"join: part {i} is a {type(part).__name__}; give a path or light curves")
    return LightCurves.read(part)


def _barycentric(curves: LightCurves, source: str) -> LightCurves:
    if curves.n_star != 1:
        raise ValueError(f"join: {source} holds {curves.n_star} stars; choose one: curves.select(stars=[0])")
    if curves.is_barycentric:
        return curves
    try:
        time = curves.bjd(0)
    except ValueError as error:
        raise ValueError(f"join: {source} has times at the spacecraft only: {error}") from None
    if not np.isfinite(time).all():
        raise ValueError(f"join: {source} has times at the spacecraft only: its star has no direction")
    return replace(curves, time=time, observer=None, meta={**curves.meta, "time_reference": "barycentre"})


def _levelled(curves: LightCurves, zero: float, source: str) -> LightCurves:
    """Return a segment of relative flux on the common time scale."""
    if not np.isfinite(curves.flux).any():
        raise ValueError(f"join: {source} holds no measured flux ({curves.n_time} cadences): leave it out")
    level = curves.normalize()
    if not np.isfinite(level.flux).any():
        raise ValueError(f"join: {source} has the median flux {float(level.stars['median_flux'][0]):g}: expected > 0")
    # Zeros are whole or half days: the difference is exact.
    return replace(level, time=level.time + (level.time_zero - zero), time_zero=zero)


def _refuse_light_twice(segments: Sequence[LightCurves], sources: Sequence[str]) -> None:
    for i, later in enumerate(segments):
        for before, source in zip(segments[:i], sources, strict=False):
            if later.mission == before.mission and later.time[0] <= before.time[-1]:
                raise ValueError(
                    f"join: {source} and {sources[i]} cover the same time of {later.mission or 'one mission'} "
                    f"({later.time[0]:.4f} to {min(later.time[-1], before.time[-1]):.4f} d since JD "
                    f"{later.time_zero:.1f}): the same light would count twice; give one of them"
                )


def _match(
    stars: Sequence[dict[str, Any]], sources: Sequence[str], reach: float, years: float, *, same_star: bool
) -> list[str]:
    """Return how each part was matched to those before it, or refuse."""
    how = ["first"] + [""] * (len(stars) - 1)
    linked = [i == 0 for i in range(len(stars))]
    pairs = [(i, j) for j in range(len(stars)) for i in range(j)]
    verdicts = {pair: _compare(stars[pair[0]], stars[pair[1]], reach, years) for pair in pairs}
    for (i, j), (same, reason) in verdicts.items():
        if same is False:
            raise ValueError(f"join: {sources[i]} and {sources[j]} show different stars: {reason}")
    progress = True
    while progress:
        progress = False
        for (i, j), (same, reason) in verdicts.items():
            if same and linked[i] != linked[j]:
                new = j if linked[i] else i
                linked[new], how[new], progress = True, reason, True
    for j, known in enumerate(linked):
        if not known and not same_star:
            raise ValueError(
                f"join: {sources[j]} names neither a catalogue number nor a place that {sources[0]} and those with it "
                "have too: give same_star=True if you know that they show one star"
            )
        how[j] = how[j] or "the caller's word"
    return how


def _compare(a: dict[str, Any], b: dict[str, Any], reach: float, years: float) -> tuple[bool | None, str]:
    """Say whether two rows are of one star, None = cannot be told, and by what."""
    alike = ""
    for name in _IDS:
        first, second = int(a.get(name, -1)), int(b.get(name, -1))
        if first > 0 and second > 0:
            if first != second:
                return False, f"{name} {first} and {second}"
            alike = alike or name
    separation = _separation(a, b, years)
    if alike:
        return True, alike
    if math.isnan(separation):
        return None, ""
    if separation > reach:
        moved = "beyond what its proper motion explains" if _motion(a) or _motion(b) else "apart"
        return False, f"they stand {_angle(separation)} {moved} (match_arcsec={reach:g})"
    return True, "place"


def _angle(arcsec: float) -> str:
    return f"{arcsec:.3g} arcsec" if arcsec < 3600 else f"{arcsec / 3600:.4g} degrees"


def _separation(a: dict[str, Any], b: dict[str, Any], years: float) -> float:
    """Smallest distance (arcsec) of place b from the path of a star at place a over so many years either way."""
    ra, dec = (np.radians([float(star.get(name, math.nan)) for star in (a, b)]) for name in ("ra", "dec"))
    if not (np.isfinite(ra).all() and np.isfinite(dec).all()):
        return math.nan
    half = np.sin(0.5 * (dec[1] - dec[0])) ** 2 + np.cos(dec[0]) * np.cos(dec[1]) * np.sin(0.5 * (ra[1] - ra[0])) ** 2
    apart = 2.0 * math.asin(min(1.0, math.sqrt(half)))
    motion = _motion(a) or _motion(b)
    if motion is None or math.degrees(apart) > _FAR_DEGREES:
        return math.degrees(apart) * 3600.0
    # On the tangent plane at a, where b stands in the direction of its bearing.
    east = math.cos(dec[1]) * math.sin(ra[1] - ra[0])
    north = math.cos(dec[0]) * math.sin(dec[1]) - math.sin(dec[0]) * math.cos(dec[1]) * math.cos(ra[1] - ra[0])
    along = np.array(motion) / 1000.0
    offset = np.array([east, north]) * (math.degrees(1.0) * 3600.0)
    time = float(np.clip(offset @ along / (along @ along), -years, years))
    return float(np.hypot(*(offset - time * along)))


def _motion(star: dict[str, Any]) -> tuple[float, float] | None:
    """Proper motion (east, north) in mas/yr, None where it is not known."""
    east, north = (float(star.get(name, math.nan)) for name in ("pmra", "pmdec"))
    return (east, north) if math.isfinite(east + north) and (east or north) else None


def _match_table(
    segments: Sequence[LightCurves],
    sources: Sequence[str],
    stars: Sequence[dict[str, Any]],
    matched_by: Sequence[str],
    years: float,
) -> Table:
    placed = next((star for star in stars if math.isfinite(float(star.get("ra", math.nan)))), {})
    table = Table()
    table["segment"] = np.arange(len(segments))
    table["mission"] = [curves.mission for curves in segments]
    table["part"] = [part_of(curves) for curves in segments]
    table["source"] = list(sources)
    table["product"] = [str(curves.meta.get("product") or "") for curves in segments]
    table["name"] = [str(star.get("name", "")) for star in stars]
    for name in _IDS:
        table[name] = np.array([int(star.get(name, -1)) for star in stars], np.int64)
    for name in ("ra", "dec"):
        table[name] = Column([float(star.get(name, math.nan)) for star in stars], unit="deg")
    table["separation"] = Column([_separation(placed, star, years) for star in stars], unit="arcsec")
    table["matched_by"] = list(matched_by)
    return table
