"""Time scales of the missions: file-name stamps in UTC, mission days in TDB, and the leap seconds between them.

Owns the zero points, the stamp ``YYYYDOYhhmmss`` and UTC to TDB without astropy: a listing alone gives a time axis.
Refuses barycentric corrections (``layout.observer``; Kepler and K2 carry theirs in their files) and every download: the
leap seconds are the ones known when this was written, and none was announced since 2017.
"""

from __future__ import annotations

import bisect
import math
import re
from datetime import UTC, datetime, timedelta

__all__ = [
    "BKJD_ZERO",
    "BTJD_ZERO",
    "TIME_ZERO",
    "btjd_from_datetime",
    "btjd_from_stamp",
    "datetime_from_btjd",
    "datetime_to_stamp",
    "stamp_to_datetime",
    "tai_minus_utc",
    "tdb_minus_tt",
]

BTJD_ZERO = 2457000.0
"""Julian date (TDB) of BTJD 0: TESS."""
BKJD_ZERO = 2454833.0
"""Julian date (TDB) of BKJD 0: Kepler and K2."""
TIME_ZERO = {"tess": BTJD_ZERO, "kepler": BKJD_ZERO, "k2": BKJD_ZERO}

_BTJD_EPOCH = datetime(2014, 12, 8, 12, tzinfo=UTC)
_DAY_S = 86400.0
_TT_MINUS_TAI_S = 32.184
_J2000_BTJD = 2451545.0 - BTJD_ZERO
_STAMP = re.compile(r"([0-9]{4})([0-9]{3})([0-9]{2})([0-9]{2})([0-9]{2})\Z")

# IERS Bulletin C: TAI - UTC was 10 s from the first date on and grew by 1 s at each of the others.
_LEAPS = [
    datetime(year, month, 1, tzinfo=UTC)
    for year, month in (
        *((1972, 1), (1972, 7), (1973, 1), (1974, 1), (1975, 1), (1976, 1), (1977, 1), (1978, 1), (1979, 1), (1980, 1)),
        *((1981, 7), (1982, 7), (1983, 7), (1985, 7), (1988, 1), (1990, 1), (1991, 1), (1992, 7), (1993, 7), (1994, 7)),
        *((1996, 1), (1997, 7), (1999, 1), (2006, 1), (2009, 1), (2012, 7), (2015, 7), (2017, 1)),
    )
]


def stamp_to_datetime(stamp: str) -> datetime:
    """Return the UTC instant of a file-name stamp ``YYYYDOYhhmmss``.

    Parameters
    ----------
    stamp : str
        13 digits, day of year from 001.

    Raises
    ------
    ValueError
        For anything else, including a day, hour, minute or second that does not exist.
    """
    found = _STAMP.match(stamp)
    if found:
        year, day, hour, minute, second = map(int, found.groups())
        if year > 0 and day > 0 and hour < 24 and minute < 60 and second < 60:
            moment = _on_day(year, day, hour, minute, second)
            if moment is not None:
                return moment
    raise ValueError(f"time stamp {stamp!r}: expected YYYYDOYhhmmss, such as 2018206192942")


def _on_day(year: int, day: int, hour: int, minute: int, second: int) -> datetime | None:
    try:
        moment = datetime(year, 1, 1, hour, minute, second, tzinfo=UTC) + timedelta(days=day - 1)
    except OverflowError:
        return None
    return moment if moment.year == year else None


def datetime_to_stamp(moment: datetime) -> str:
    """Return the stamp ``YYYYDOYhhmmss`` of an instant, cut to whole seconds as the archive does.

    Raises ValueError for a datetime without time zone.
    """
    utc = _utc(moment)
    return f"{utc.year:04d}{utc.timetuple().tm_yday:03d}{utc:%H%M%S}"


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone: give a UTC datetime (tzinfo=datetime.UTC)")
    return moment.astimezone(UTC)


def tai_minus_utc(moment: datetime) -> int:
    """Return TAI - UTC in seconds at a UTC instant; ValueError before 1972, when UTC had no whole leap seconds."""
    n_leap = bisect.bisect_right(_LEAPS, _utc(moment))
    if n_leap == 0:
        raise ValueError(f"{moment.isoformat()} lies before 1972: UTC had no leap seconds yet")
    return 9 + n_leap


def tdb_minus_tt(btjd: float) -> float:
    """Return TDB - TT in seconds at the centre of Earth.

    Parameters
    ----------
    btjd : float
        Days since JD 2457000.0, TT or TDB.

    Returns
    -------
    float
        At most 1.7 ms in size; good to 10 us from 1600 to 2200.

    References
    ----------
    Kaplan 2005, USNO Circular 179, equation 2.6 (2005USNOC.179.....K), after Fairhead & Bretagnon 1990.
    """
    century = (btjd - _J2000_BTJD) / 36525.0
    return (
        0.001657 * math.sin(628.3076 * century + 6.2401)
        + 0.000022 * math.sin(575.3385 * century + 4.2970)
        + 0.000014 * math.sin(1256.6152 * century + 6.1969)
        + 0.000005 * math.sin(606.9777 * century + 4.0212)
        + 0.000005 * math.sin(52.9691 * century + 0.4444)
        + 0.000002 * math.sin(21.3299 * century + 5.5431)
        + 0.000010 * century * math.sin(628.3076 * century + 4.2490)
    )


def btjd_from_datetime(moment: datetime) -> float:
    """Return an instant as TDB days since JD 2457000.0 at the clock that made it: no light travel time is added.

    For the DATE-OBS of an FFI's primary header this is its TSTART, spacecraft time.

    Parameters
    ----------
    moment : datetime
        With a time zone; from 1972 on.

    Returns
    -------
    float
        Days, good to 10 us.
    """
    utc = _utc(moment)
    elapsed = utc - _BTJD_EPOCH
    offset_s = tai_minus_utc(utc) + _TT_MINUS_TAI_S
    day_s = elapsed.seconds + elapsed.microseconds * 1e-6
    offset_s += tdb_minus_tt(elapsed.days + (day_s + offset_s) / _DAY_S)
    return elapsed.days + (day_s + offset_s) / _DAY_S


def btjd_from_stamp(stamp: str) -> float:
    """Return the start of an exposure, in spacecraft TDB days since JD 2457000.0, from its file-name stamp.

    The stamp is cut to whole seconds, so the value is up to 1 s (1.16e-5 d) early; the header's TSTART is exact.
    """
    return btjd_from_datetime(stamp_to_datetime(stamp))


def datetime_from_btjd(btjd: float) -> datetime:
    """Return the UTC instant of TDB days since JD 2457000.0, rounded to microseconds: `btjd_from_datetime` undone.

    Raises
    ------
    ValueError
        For NaN, infinity, or a date outside 1972 to 9999.

    Notes
    -----
    An instant within an inserted leap second has no datetime; it maps to the first second after it.
    """
    if not math.isfinite(btjd):
        raise ValueError(f"time {btjd} is not a date: expected TDB days since JD 2457000.0")
    days = math.floor(btjd)
    day_s = (btjd - days) * _DAY_S - _TT_MINUS_TAI_S - tdb_minus_tt(btjd)
    try:
        tai = _BTJD_EPOCH + timedelta(days=days, microseconds=round(day_s * 1e6))
        # TAI - UTC is tabulated by UTC: the first guess can be late by one step, never by two.
        utc = tai - timedelta(seconds=tai_minus_utc(tai))
        return tai - timedelta(seconds=tai_minus_utc(utc))
    except OverflowError:
        raise ValueError(
            f"time {btjd} is outside the years 1972 to 9999: expected TDB days since JD 2457000.0"
        ) from None
