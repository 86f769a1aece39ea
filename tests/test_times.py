"""Time scales: equal to astropy to 10 us, true to the real frame, and back again."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from astropy.time import Time
from astropy.utils import iers
from hypothesis import given
from hypothesis import strategies as st

from starskope.layout.fits import parse_header
from starskope.layout.times import (
    BKJD_ZERO,
    BTJD_ZERO,
    TIME_ZERO,
    btjd_from_datetime,
    btjd_from_stamp,
    datetime_from_btjd,
    datetime_to_stamp,
    stamp_to_datetime,
    tai_minus_utc,
)

# Up to 2026 astropy's own table of leap seconds holds; beyond it remarks on dubious years.
moments = st.datetimes(datetime(1972, 1, 2), datetime(2026, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))


@given(moments)
def test_tdb_equals_astropys(moment) -> None:
    with iers.conf.set_temp("auto_download", False):
        tdb = Time(moment, scale="utc").tdb
    expected = (tdb.jd1 - BTJD_ZERO) + tdb.jd2
    assert abs(btjd_from_datetime(moment) - expected) * 86400 < 2e-5


@given(moments)
def test_there_and_back(moment) -> None:
    assert abs(datetime_from_btjd(btjd_from_datetime(moment)) - moment) <= timedelta(microseconds=2)


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)))
def test_stamps_go_round(moment) -> None:
    whole = moment.replace(microsecond=0, tzinfo=UTC)
    stamp = datetime_to_stamp(moment.replace(tzinfo=UTC))
    assert len(stamp) == 13
    assert stamp_to_datetime(stamp) == whole


def test_the_stamp_of_the_real_frame_is_its_primary_start(data_dir: Path) -> None:
    path = data_dir / "ffi" / "tess2018206192942-s0001-1-4-0120-s_ffic.fits"
    primary = parse_header(path.read_bytes())
    observed = datetime.fromisoformat(primary["DATE-OBS"])
    assert primary["DATE-OBS"] == "2018-07-25T19:29:42.708Z"
    # DATE-OBS is cut to milliseconds, the stamp to seconds.
    assert 0 <= (primary["TSTART"] - btjd_from_datetime(observed)) * 86400 < 1.05e-3
    assert datetime_to_stamp(observed) == path.name[4:17]
    assert 0 <= (primary["TSTART"] - btjd_from_stamp(path.name[4:17])) * 86400 < 1


def test_leap_seconds_step_where_they_should() -> None:
    start = datetime(2017, 1, 1, tzinfo=UTC)
    assert tai_minus_utc(start) == 37
    assert tai_minus_utc(start - timedelta(microseconds=1)) == 36
    assert tai_minus_utc(datetime(1972, 1, 1, tzinfo=UTC)) == 10
    before, after = btjd_from_datetime(start - timedelta(seconds=1)), btjd_from_datetime(start)
    assert (after - before) * 86400 == pytest.approx(2.0, abs=1e-4)
    assert datetime_from_btjd(after) == start
    assert datetime_from_btjd(before) == start - timedelta(seconds=1)


def test_zones_are_honoured_and_their_absence_refused() -> None:
    utc = datetime(2018, 7, 25, 19, 29, 42, tzinfo=UTC)
    there = utc.astimezone(timezone(timedelta(hours=-7)))
    assert btjd_from_datetime(there) == btjd_from_datetime(utc)
    assert datetime_to_stamp(there) == "2018206192942"
    for function in (btjd_from_datetime, datetime_to_stamp, tai_minus_utc):
        with pytest.raises(ValueError, match="no time zone"):
            function(datetime(2018, 7, 25))


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        "2018206",
        "2018000192942",
        "2018366192942",
        "2018206242942",
        "2018206196042",
        "2018206192960",
        "0000001000000",
        "20182061929420",
        "2018206192942\n",
        "２018206192942",
        "9999366000000",
    ],
)
def test_impossible_stamps_are_refused(stamp) -> None:
    with pytest.raises(ValueError, match="expected YYYYDOYhhmmss"):
        stamp_to_datetime(stamp)
    with pytest.raises(ValueError):
        btjd_from_stamp(stamp)


def test_the_last_day_of_a_leap_year_exists() -> None:
    assert stamp_to_datetime("2020366235959") == datetime(2020, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize("btjd", [math.nan, math.inf, -1e9, 1e9, -20000.0])
def test_times_out_of_range_are_refused(btjd) -> None:
    with pytest.raises(ValueError):
        datetime_from_btjd(btjd)


def test_a_date_before_leap_seconds_is_refused() -> None:
    with pytest.raises(ValueError, match="before 1972"):
        btjd_from_datetime(datetime(1971, 12, 31, tzinfo=UTC))


def test_zero_points() -> None:
    assert TIME_ZERO == {"tess": 2457000.0, "kepler": 2454833.0, "k2": 2454833.0}
    assert BTJD_ZERO - BKJD_ZERO == 2167.0
