"""When TESS observed a sector, as far as its number alone tells.

Owns one straight line. Refuses to be exact: what exists is listed (``archive.ffis``), times are read from frames.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["likely_days", "sector_epoch"]

# Sector 1 began in mid 2018 and a sector lasts two orbits of 13.7 days; extrapolated, sectors 27, 38, 56 and 66 come
# out within two days of their true middle, which moves the fastest star known by 0.003 pixel.
_SECTOR_1_MIDDLE = 2018.597
_SECTOR_YEARS = 27.3 / 365.25


def sector_epoch(sector: int) -> float:
    """Return the middle of a TESS sector in Julian years, within 0.02 years for the sectors flown so far."""
    return _SECTOR_1_MIDDLE + (sector - 1) * _SECTOR_YEARS


def likely_days(sector: int, half_width: int = 16) -> list[tuple[int, int]]:
    """Return (year, day of the year) around the middle of a sector, the likeliest first.

    Parameters
    ----------
    sector : int
        From 1.
    half_width : int
        Days on either side. A sector reaches 14; two more make up for the error of the middle.

    Examples
    --------
    >>> likely_days(1)[0]
    (2018, 219)
    """
    years = sector_epoch(sector) - 2000.0
    try:
        middle = datetime(2000, 1, 1, 12, tzinfo=UTC) + timedelta(days=365.25 * years)
        days = [middle + timedelta(days=step) for step in sorted(range(-half_width, half_width + 1), key=abs)]
    except OverflowError:  # no sector of our time
        return []
    return [(day.year, day.timetuple().tm_yday) for day in days]
