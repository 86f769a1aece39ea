"""Finding FFIs in a real S3 server on loopback: what is listed, what is refused, what is said when nothing is there."""

from __future__ import annotations

import numpy as np
import pytest

from starskope.archive.ffis import find_ffis
from starskope.errors import TransferError
from starskope.layout.keys import FfiKey
from starskope.layout.times import btjd_from_stamp
from starskope.transfer.options import TransferOptions

BUCKET = "ffi-listing"


def name_of(day: int, hour: int, camera: int = 1, ccd: int = 1, config: int = 120, sector: int = 1) -> FfiKey:
    return FfiKey(sector, camera, ccd, f"2018{day:03d}{hour:02d}2942", config)


KEYS = [name_of(day, hour) for day in (206, 207, 365) for hour in (23, 3, 12)]
OTHERS = [name_of(206, 3, camera, ccd) for camera, ccd in ((1, 2), (2, 1), (4, 4))]
HOSTILE = [
    "tess/public/ffi/s0001/2018/206/1-1/README.txt",
    "tess/public/ffi/s0001/2018/206/1-1/tess2018206192942-s0001-1-2-0120-s_ffic.fits",
    "tess/public/ffi/s0001/2018/206/1-1/tess2018207192942-s0001-1-1-0120-s_ffic.fits",
    "tess/public/ffi/s0001/2018/206/1-1/deeper/tess2018206192942-s0001-1-1-0120-s_ffic.fits",
    "tess/public/ffi/s0001/2018/206/1-1/tess2018206192942-s0001-1-1-0120-s_ffic.fits.gz",
    "tess/public/ffi/s0001/2018/999x/1-1/tess2018206192942-s0001-1-1-0120-s_ffic.fits",
]


@pytest.fixture(scope="module")
def options(endpoint) -> TransferOptions:
    for key in [*KEYS, *OTHERS, name_of(206, 3, sector=3), name_of(206, 3, sector=4)]:
        endpoint.put(key.key, b"x" * (100 + key.day), bucket=BUCKET)
    for key in HOSTILE:
        endpoint.put(key, b"hostile", bucket=BUCKET)
    endpoint.put(KEYS[0].key.replace("ffic", "ffir"), b"raw", bucket=BUCKET)
    return TransferOptions(endpoint_url=endpoint.url, backoff_base_s=0.001)


def test_one_ccd_is_listed_in_order_of_time(options) -> None:
    table = find_ffis(1, 1, 1, options=options, bucket=BUCKET)
    expected = sorted(KEYS, key=lambda key: key.stamp)
    assert table["key"].tolist() == [key.key for key in expected]
    assert table["uri"].tolist() == [f"s3://{BUCKET}/{key.key}" for key in expected]
    assert table["size"].tolist() == [100 + key.day for key in expected]
    assert table["size"].dtype == np.int64
    assert str(table["size"].unit) == "byte"
    assert all(len(etag) == 32 for etag in table["etag"])
    assert table["start"][0] == "2018-07-25T03:29:42"
    assert table["start_btjd"].tolist() == [btjd_from_stamp(key.stamp) for key in expected]
    assert str(table["start_btjd"].unit) == "d"
    assert np.all(np.diff(table["start_btjd"]) > 0)
    assert table.meta["duplicates"] == []


def test_what_is_no_ffi_is_counted_and_named_but_never_listed(options) -> None:
    table = find_ffis(1, 1, 1, options=options, bucket=BUCKET)
    assert not set(table["key"]) & set(HOSTILE)
    notes = " | ".join(table.meta["notes"])
    assert f"{len(HOSTILE)} object(s)" in notes
    assert "README.txt" in notes
    assert "1 raw FFI(s)" in notes


@pytest.mark.parametrize(
    ("camera", "ccd", "n_ffi"),
    [(None, None, len(KEYS) + len(OTHERS)), (1, None, len(KEYS) + 1), (None, 1, len(KEYS) + 1), (4, 4, 1)],
)
def test_several_ccds_are_listed_ccd_by_ccd(options, camera, ccd, n_ffi) -> None:
    table = find_ffis(1, camera, ccd, options=options, bucket=BUCKET)
    assert len(table) == n_ffi
    order = list(zip(table["camera"], table["ccd"], table["stamp"], strict=True))
    assert order == sorted(order)
    assert camera in (None, *set(table["camera"]))


def test_two_configurations_of_one_stamp_are_both_listed_and_noted(options, endpoint) -> None:
    bucket = "ffi-duplicates"
    twin = name_of(206, 3, config=121)
    for key in (*KEYS, twin):
        endpoint.put(key.key, b"x", bucket=bucket)
    endpoint.put(name_of(206, 4).key, b"", bucket=bucket)
    table = find_ffis(1, 1, 1, options=options, bucket=bucket)
    assert len(table) == len(KEYS) + 2
    assert table.meta["duplicates"] == [twin.key]
    assert any("empty objects" in note for note in table.meta["notes"])


def test_an_absent_sector_names_those_that_are_there(options, endpoint) -> None:
    with pytest.raises(ValueError, match="no calibrated FFIs of sector 2, camera 1, CCD 1") as caught:
        find_ffis(2, 1, 1, options=options, bucket=BUCKET)
    assert "sectors there: 1, 3-4" in str(caught.value)
    assert f"s3://{BUCKET}/tess/public/ffi/s0002/" in str(caught.value)
    assert endpoint.url in str(caught.value)


def test_an_absent_ccd_and_an_empty_bucket_get_their_own_words(options, endpoint) -> None:
    with pytest.raises(ValueError, match="the sector is there; check camera and CCD"):
        find_ffis(3, 2, 2, options=options, bucket=BUCKET)
    with pytest.raises(ValueError, match=r"but \d+ other object"):
        find_ffis(1, 3, 3, options=options, bucket=BUCKET)
    endpoint.put("other/thing", b"x", bucket="ffi-empty")
    with pytest.raises(ValueError, match="no FFIs of any sector; check endpoint and bucket"):
        find_ffis(1, 1, 1, options=options, bucket="ffi-empty")


def test_a_missing_bucket_and_a_wrong_endpoint_are_network_errors(options) -> None:
    with pytest.raises(TransferError, match="ffi-nowhere"):
        find_ffis(1, 1, 1, options=options, bucket="ffi-nowhere")
    wrong = TransferOptions(endpoint_url="http://127.0.0.1:9", max_attempts=1)
    with pytest.raises(TransferError, match=r"127\.0\.0\.1:9"):
        find_ffis(1, 1, 1, options=wrong, bucket=BUCKET)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((0, 1, 1), ValueError, "sector is 0: expected 1 to 9999"),
        ((1, 5, 1), ValueError, "camera is 5: expected 1 to 4"),
        ((1, 1, 0), ValueError, "ccd is 0: expected 1 to 4"),
        (("1", 1, 1), TypeError, "sector is '1'"),
        ((1, 1, 1, "ftp"), ValueError, "expected 's3'"),
    ],
)
def test_wrong_arguments_are_refused_before_any_request(arguments, error, words) -> None:
    with pytest.raises(error, match=words):
        find_ffis(*arguments, options=TransferOptions(endpoint_url="http://127.0.0.1:9"))
