"""Quarters of the Kepler mission by the stamp in a file's name.

Owns one table. Refuses other missions: K2 counts campaigns, TESS sectors, both in their names.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import timedelta

from starskope.layout.times import stamp_to_datetime

__all__ = ["kepler_quarter"]

# Stamps of the long-cadence files that end quarters 0 to 17. Source: Kepler Archive Manual (KDMC-10008), section 2.
_ENDS = (
    "2009131105131",
    "2009166043257",
    "2009259160929",
    "2009350155506",
    "2010078095331",
    "2010174085026",
    "2010265121752",
    "2010355172524",
    "2011073133259",
    "2011177032512",
    "2011271113734",
    "2012004120508",
    "2012088054726",
    "2012179063303",
    "2012277125453",
    "2013011073258",
    "2013098041711",
    "2013131215648",
)
_LATE = timedelta(hours=1)  # the last month of short cadence ends some minutes after its quarter


def kepler_quarter(stamp: str) -> int:
    """Return the quarter, 0 to 17, in which a Kepler light curve ends; -1 for a stamp after the mission.

    Parameters
    ----------
    stamp : str
        ``YYYYDOYhhmmss`` of the name. Months of short cadence, and quarters that a failed module cut short, end within
        the quarter.

    Examples
    --------
    >>> kepler_quarter("2009350155506"), kepler_quarter("2010009091648")
    (3, 4)
    """
    ends = [stamp_to_datetime(end) + _LATE for end in _ENDS]
    quarter = bisect_left(ends, stamp_to_datetime(stamp))
    return quarter if quarter < len(ends) else -1
