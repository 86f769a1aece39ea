"""Key grammar: what the archive writes is read, what is read is written, and nothing else gets through."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starskope.layout.keys import CubeKey, FfiKey, LightCurveKey, TargetPixelKey, ffi_prefix
from starskope.layout.sectors import likely_days
from starskope.layout.times import datetime_to_stamp

FFI = "tess/public/ffi/s0001/2018/206/1-1/tess2018206192942-s0001-1-1-0120-s_ffic.fits"

stamps = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).map(lambda t: datetime_to_stamp(t.replace(tzinfo=UTC)))
sectors, one_to_four, configs = st.integers(1, 9999), st.integers(1, 4), st.integers(0, 9999)
ffi_keys = st.builds(FfiKey, sectors, one_to_four, one_to_four, stamps, configs, st.sampled_from(["ffic", "ffir"]))
target_fields = st.one_of(
    st.builds(
        dict,
        mission=st.just("tess"),
        target=st.integers(0, 10**16 - 1),
        cadence=st.sampled_from(["short", "fast"]),
        stamp=stamps,
        sector=sectors,
        config=configs,
    ),
    st.builds(
        dict,
        mission=st.just("kepler"),
        target=st.integers(0, 10**9 - 1),
        cadence=st.sampled_from(["long", "short"]),
        stamp=stamps,
    ),
    st.builds(
        dict,
        mission=st.just("k2"),
        target=st.integers(0, 10**9 - 1),
        cadence=st.sampled_from(["long", "short"]),
        campaign=st.integers(0, 999),
    ),
)


def test_an_ffi_key_is_read_to_the_last_field() -> None:
    key = FfiKey.parse(FFI)
    assert key == FfiKey(1, 1, 1, "2018206192942", 120, "ffic")
    assert (key.year, key.day, key.start) == (2018, 206, datetime(2018, 7, 25, 19, 29, 42, tzinfo=UTC))
    assert key.key == FFI
    assert FfiKey.parse(key.name) == key
    assert FFI.startswith(ffi_prefix(1, 2018, 206, 1, 1))


@given(ffi_keys)
def test_ffi_keys_go_round(key) -> None:
    assert FfiKey.parse(key.key) == FfiKey.parse(key.name) == key
    assert key.key.isascii()
    assert ".." not in key.key


@given(ffi_keys, st.data())
def test_a_changed_character_is_refused_or_another_key(key, data) -> None:
    position = data.draw(st.integers(0, len(key.key) - 1))
    character = data.draw(st.characters())
    changed = key.key[:position] + character + key.key[position + 1 :]
    try:
        parsed = FfiKey.parse(changed)
    except ValueError:
        return
    assert parsed.key == changed


@given(st.text(max_size=200))
def test_any_text_is_refused_in_words(text) -> None:
    for kind in (FfiKey, CubeKey, LightCurveKey, TargetPixelKey):
        with pytest.raises(ValueError, match="is no"):
            kind.parse(text)


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "/" + FFI,
        "s3://stpubdata/" + FFI,
        FFI + "\n",
        FFI + "/",
        "../" + FFI,
        FFI.replace("1-1/", "1-2/"),
        FFI.replace("2018/206", "2018/207"),
        FFI.replace("/206/", "/206/../206/"),
        FFI.replace("s0001/", "s0002/"),
        FFI.replace("s0001", "s0000"),
        FFI.replace("2018206192942", "2018366192942").replace("/206/", "/366/"),
        FFI.replace("192942", "242942"),
        FFI.replace("1-1", "5-1"),
        FFI.replace(".fits", ".fits.gz"),
        FFI.replace("0120", "٠١٢٠"),
        FFI.upper(),
        FFI.rpartition("/")[2].replace("tess", "tess/.."),
        "\0" + FFI.rpartition("/")[2],
        "x/" + FFI.rpartition("/")[2],
    ],
)
def test_hostile_ffi_names_are_refused(hostile) -> None:
    with pytest.raises(ValueError, match="is no FFI key"):
        FfiKey.parse(hostile)


@pytest.mark.parametrize(
    "key",
    [
        "tess/public/tid/s0015/0000/0003/7542/2201/tess2019226182529-s0015-0000000375422201-0151-s_lc.fits",
        "kepler/public/lightcurves/0118/011804465/kplr011804465-2009131105131_llc.fits",
        "k2/public/lightcurves/c3/206000000/89000/ktwo206089508-c03_llc.fits",
    ],
)
def test_light_curve_keys_of_the_three_missions(key) -> None:
    parsed = LightCurveKey.parse(key)
    assert parsed.key == key
    assert LightCurveKey.parse(parsed.name) == parsed
    with pytest.raises(ValueError, match="is no target-pixel key"):
        TargetPixelKey.parse(key)


@pytest.mark.parametrize(
    "key",
    [
        "tess/public/tid/s0015/0000/0003/7542/2201/tess2019226182529-s0015-0000000375422201-0151-s_tp.fits",
        "kepler/public/target_pixel_files/0082/008264588/kplr008264588-2009131105131_lpd-targ.fits.gz",
        "k2/public/target_pixel_files/c91/221300000/12000/ktwo221312395-c91_lpd-targ.fits.gz",
    ],
)
def test_target_pixel_keys_of_the_three_missions(key) -> None:
    parsed = TargetPixelKey.parse(key)
    assert parsed.key == key
    with pytest.raises(ValueError, match="is no light-curve key"):
        LightCurveKey.parse(key)
    with pytest.raises(ValueError):
        TargetPixelKey.parse(key.replace("2", "3", 1))


@given(target_fields)
def test_target_keys_go_round(fields) -> None:
    for kind in (LightCurveKey, TargetPixelKey):
        key = kind(**fields)
        assert kind.parse(key.key) == kind.parse(key.name) == key
        assert key.key.startswith(key.folder)


def test_light_curve_and_pixel_keys_are_never_equal() -> None:
    fields = {"mission": "k2", "target": 1, "cadence": "long", "campaign": 3}
    assert LightCurveKey(**fields) != TargetPixelKey(**fields)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mission": "hst"}, "mission is 'hst'"),
        ({"cadence": "long"}, "expected 'short' or 'fast' for tess"),
        ({"target": -1}, "target is -1"),
        ({"sector": 0}, "sector is 0"),
        ({"campaign": 3}, "campaign is 3"),
        ({"stamp": "2019"}, "time stamp '2019'"),
    ],
)
def test_impossible_targets_are_refused(change, words) -> None:
    good = {"mission": "tess", "target": 1, "cadence": "short", "stamp": "2019226182529", "sector": 15, "config": 151}
    LightCurveKey(**good)
    with pytest.raises(ValueError, match=words):
        LightCurveKey(**{**good, **change})


@given(sectors, one_to_four, one_to_four)
def test_cube_keys_go_round(sector, camera, ccd) -> None:
    key = CubeKey(sector, camera, ccd)
    assert key.key == f"tess/public/mast/tess-s{sector:04d}-{camera}-{ccd}-cube.fits"
    assert CubeKey.parse(key.key) == CubeKey.parse(key.name) == key


def test_prefixes_grow_level_by_level() -> None:
    assert ffi_prefix(27) == "tess/public/ffi/s0027/"
    assert ffi_prefix(27, 2020) == "tess/public/ffi/s0027/2020/"
    assert ffi_prefix(27, 2020, 7) == "tess/public/ffi/s0027/2020/007/"
    for arguments in (
        {"day": 3},
        {"camera": 1, "ccd": 1},
        {"year": 2020, "day": 7, "camera": 1},
        {"year": 2020, "ccd": 1},
    ):
        with pytest.raises(ValueError, match="level by level"):
            ffi_prefix(27, **arguments)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((0,), ValueError),
        ((10000,), ValueError),
        ((True,), TypeError),
        (("1",), TypeError),
        ((1, 2018, 367), ValueError),
    ],
)
def test_prefixes_out_of_range_are_refused(arguments, error) -> None:
    with pytest.raises(error, match="expected"):
        ffi_prefix(*arguments)


@pytest.mark.parametrize(
    ("sector", "first", "last"),
    [
        (1, "2018-07-25", "2018-08-22"),
        (7, "2019-01-07", "2019-02-02"),
        (27, "2020-07-04", "2020-07-30"),
        (38, "2021-04-28", "2021-05-26"),
        (56, "2022-09-01", "2022-09-30"),
        (66, "2023-06-02", "2023-07-01"),
    ],
)
def test_the_days_of_a_sector_are_likely(sector: int, first: str, last: str) -> None:
    days = likely_days(sector)
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    flights = [start + timedelta(days=i) for i in range((end - start).days)]
    flown = {(day.year, day.timetuple().tm_yday) for day in flights}
    assert len(flown & set(days)) >= len(flown) - 2
    assert len(days) == 33
