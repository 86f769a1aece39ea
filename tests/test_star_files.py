"""Light-curve files of Kepler, K2 and TESS: found by prefix in a real S3 server, and through the real astroquery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import astroquery.mast
import numpy as np
import pytest
from astropy.config import set_temp_cache
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from fault_server import FaultServer
from mast_server import MastServer

from starskope.archive import mast_service, target_listing
from starskope.archive.answers import AnswerCache
from starskope.archive.star_files import find_light_curves
from starskope.archive.star_names import read_stars
from starskope.errors import TransferError
from starskope.layout.keys import LightCurveKey, TargetPixelKey
from starskope.layout.quarters import kepler_quarter
from starskope.layout.targets import target_prefix
from starskope.transfer.options import TransferOptions

BUCKET = "star-files"
KEPLER = [
    "kplr011804465-2009131105131_llc.fits",
    "kplr011804465-2009166043257_llc.fits",
    "kplr011804465-2009201121230_slc.fits",
]
NEIGHBOUR = "kplr011804466-2009131105131_llc.fits"
K2 = ["ktwo206089508-c03_llc.fits", "ktwo206089508-c12_llc.fits", "ktwo206089508-c12_slc.fits"]
TESS = [
    "tess2019198215352-s0014-0000000424865156-0150-s_lc.fits",
    "tess2019226182529-s0015-0000000424865156-0151-s_lc.fits",
    "tess2021175071901-s0040-0000000424865156-0211-a_fast-lc.fits",
]
ALL = [*KEPLER, *K2, *TESS]
OTHERS = [
    "tess/public/tid/s0014/0000/0004/2486/5156/tess2019198215352-s0014-0000000424865156-0150-s_tp.fits",
    "tess/public/tid/s0014/0000/0004/2486/5156/tess2019199201929-s0014-s0014-0000000424865156-00235_dvt.fits",
    "kepler/public/lightcurves/0118/011804465/kplr011804465-2009131105131_llc.fits.md5",
    "kepler/public/lightcurves/0118/011804465/deep/kplr011804465-2009131105131_llc.fits",
    "kepler/public/lightcurves/0118/011804465/kplr011804466-2009131105131_llc.fits",
    "k2/public/lightcurves/c3/206000000/89000/ktwo206089509-c03_llc.fits",
]


@pytest.fixture(scope="module")
def filled(endpoint) -> str:
    for name in [*ALL, NEIGHBOUR]:
        endpoint.put(LightCurveKey.parse(name).key, name.encode(), bucket=BUCKET)
    for key in OTHERS:
        endpoint.put(key, b"other", bucket=BUCKET)
    return endpoint.url


@pytest.fixture
def options(filled) -> TransferOptions:
    return TransferOptions(endpoint_url=filled, backoff_base_s=0.001, backoff_max_s=0.002, max_attempts=2)


@pytest.fixture
def mast(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MastServer]:
    monkeypatch.setattr(mast_service, "_POLL_PAUSE_S", 0.01)
    (tmp_path / "astropy").mkdir()
    with (
        set_temp_cache(tmp_path / "astropy"),
        MastServer() as server,
        astroquery.mast.conf.set_temp("server", server.url),
    ):
        server.add_light_curves("kplr011804465", "1", KEPLER[:2])
        server.add_light_curves("kplr011804465", "2", KEPLER[2:], others=("kplr011804465_dvr.pdf",))
        server.add_light_curves("ktwo206089508", "3", K2)
        for i, name in enumerate(TESS):
            server.add_light_curves("424865156", str(10 + i), [name], others=(name.replace("_lc", "_tp"),))
        server.add_star(424865156, 292.2, 47.9, 10.0, KIC=10666592)
        server.add_star(26, 290.0, 49.0, 13.0, KIC=11804465)
        server.add_star(27, 290.0, 49.0, 13.0, KIC=11804465, disposition="DUPLICATE")
        yield server


def names(table: Table) -> list[str]:
    return [key.rpartition("/")[2] for key in table["key"]]


@pytest.mark.parametrize(
    ("stars", "expected"),
    [
        ("KIC 11804465", KEPLER),
        ("kplr011804465", KEPLER),
        ("EPIC 206089508", K2),
        ("ktwo206089508", K2),
        ("TIC 424865156", TESS),
        (424865156, TESS),
        (np.array([424865156]), TESS),
        (["KIC11804465", "epic-206089508", " tic_424865156 "], ALL),
        (Table({"kepid": [11804465], "epic": [206089508], "tic_id": [424865156]}), ALL),
        (Table({"kic": ["11804465"], "EPIC": [206089508.0], "TICID": ["TIC 424865156"]}), ALL),
    ],
)
def test_every_file_of_a_star_is_found_by_its_prefix(options, stars, expected) -> None:
    table = find_light_curves(stars, options=options, bucket=BUCKET)
    assert names(table) == expected
    for row in table:
        key = LightCurveKey.parse(row["key"])
        assert row["uri"] == f"s3://{BUCKET}/{key.key}"
        assert (row["mission"], row["number"], row["cadence"]) == (key.mission, key.target, key.cadence)
        assert row["size"] == len(key.name)
        assert len(row["etag"]) == 32
    assert table["in_archive"].mask.all()
    assert len(table.meta["differences"]) == 0


def test_quarters_campaigns_and_sectors_have_their_columns(options) -> None:
    table = find_light_curves(["KIC 11804465", "EPIC 206089508", 424865156], options=options, bucket=BUCKET)
    assert table["quarter"].tolist() == [0, 1, 2] + [-1] * 6
    assert table["campaign"].tolist() == [-1] * 3 + [3, 12, 12] + [-1] * 3
    assert table["sector"].tolist() == [-1] * 6 + [14, 15, 40]
    assert table["star"].tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert table["target"].tolist() == ["KIC 11804465"] * 3 + ["EPIC 206089508"] * 3 + ["TIC 424865156"] * 3
    assert str(table["size"].unit) == "byte"


def test_missions_and_cadences_choose(options) -> None:
    stars = Table({"kic": [11804465], "epic": [206089508], "tic": [424865156]})
    assert names(find_light_curves(stars, "kepler", options=options, bucket=BUCKET)) == KEPLER
    assert names(find_light_curves(stars, ("tess", "kepler"), options=options, bucket=BUCKET)) == [*KEPLER, *TESS]
    assert names(find_light_curves(stars, cadence="fast", options=options, bucket=BUCKET)) == TESS[2:]
    long_ones = find_light_curves(stars, cadence=["long"], options=options, bucket=BUCKET)
    assert names(long_ones) == [*KEPLER[:2], *K2[:2]]


def test_a_star_costs_as_many_requests_as_it_has_folders(filled) -> None:
    with FaultServer(filled) as proxy:
        options = TransferOptions(endpoint_url=proxy.url)
        find_light_curves("KIC 11804465", options=options, bucket=BUCKET)
        assert len(proxy.requests) == 1
        proxy.requests.clear()
        find_light_curves(["TIC 424865156"] * 5, options=options, bucket=BUCKET)
        assert len(proxy.requests) == 1 + 3
        proxy.requests.clear()
        find_light_curves("EPIC 206089508", options=options, bucket=BUCKET)
        assert len(proxy.requests) == 1 + 2


def test_stars_without_files_or_numbers_are_told(options) -> None:
    table = find_light_curves(["KIC 11804465", "KIC 999", "TIC 7"], options=options, bucket=BUCKET)
    assert names(table) == KEPLER
    assert table.meta["without"] == ["KIC 999", "TIC 7"]
    notes = " | ".join(table.meta["notes"])
    assert "2 star(s) have no light curve" in notes
    assert "1 star(s) have no known KIC number and were not searched in kepler: 'TIC 7'" in notes
    empty = find_light_curves("TIC 7", "kepler", options=options, bucket=BUCKET)
    assert len(empty) == 0
    assert empty.dtype == find_light_curves("KIC 999", "kepler", options=options, bucket=BUCKET).dtype


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("Kepler-90",), ValueError, "no name of the TIC, KIC or EPIC: expected 'TIC 25155310'"),
        (("11804465",), ValueError, "no name of the TIC, KIC or EPIC"),
        (("KIC 1234567890",), ValueError, "KIC numbers go from 1 to 999999999"),
        (("KIC 0",), ValueError, "KIC numbers go from 1"),
        ((-5,), ValueError, "TIC numbers go from 1"),
        (("KIC 1/../../etc",), ValueError, "no name"),
        ((3.5,), TypeError, "is a float"),
        (([True],), TypeError, "is a bool"),
        (([],), ValueError, "no stars given"),
        ((Table({"ra": [1.0]}),), ValueError, "has no column tic_id, kic or epic; there are 'ra'"),
        ((Table({"kic": ["x"]}),), ValueError, "column 'kic' of the table of stars holds 'x'"),
        ((Table({"kic": [0]}),), ValueError, "row 0 of the table of stars has no TIC, KIC or EPIC number"),
        (("KIC 1", "jwst"), ValueError, "missions is 'jwst': expected one or some of 'kepler', 'k2', 'tess'"),
        (("KIC 1", ()), ValueError, "missions is"),
    ],
)
def test_what_is_no_star_is_refused_before_any_request(arguments, error, words) -> None:
    with pytest.raises(error, match=words):
        find_light_curves(*arguments, options=TransferOptions(endpoint_url="http://127.0.0.1:9"))


def test_masked_numbers_count_as_unknown() -> None:
    table = Table({"tic_id": [5, 6], "kic": MaskedColumn([7, 8], mask=[False, True])})
    assert [(star.tic, star.kic) for star in read_stars(table)] == [(5, 7), (6, 0)]


def test_too_many_requests_are_refused_with_another_way(options, monkeypatch) -> None:
    monkeypatch.setattr(target_listing, "MAX_REQUESTS", 5)
    with pytest.raises(ValueError, match="would take 6 requests, more than 5: ask with source='mast'"):
        find_light_curves([1, 2], "tess", options=options, bucket=BUCKET)


def test_the_archive_and_the_bucket_are_compared(options, mast) -> None:
    gone = "kplr011804465-2009259160929_llc.fits"
    mast.add_light_curves("kplr011804465", "4", [gone])
    mast.products["2"] = []  # the archive forgets the short cadence
    table = find_light_curves("KIC 11804465", "kepler", source="both", options=options, bucket=BUCKET)
    assert names(table) == KEPLER
    assert table["in_archive"].tolist() == [True, True, False]
    differences = table.meta["differences"]
    assert [row["key"].rpartition("/")[2] for row in differences] == [KEPLER[2], gone]
    assert differences["in_bucket"].tolist() == [True, False]
    assert differences["in_archive"].tolist() == [False, True]
    notes = " | ".join(table.meta["notes"])
    assert "1 light curve(s) of the archive are not in the bucket" in notes
    assert "1 light curve(s) in the bucket are unknown to the archive" in notes


def test_the_archive_saves_requests_to_the_bucket(filled, mast) -> None:
    with FaultServer(filled) as proxy:
        options = TransferOptions(endpoint_url=proxy.url)
        stars = [424865156, *range(1000, 1300)]
        table = find_light_curves(stars, "tess", source="mast", options=options, bucket=BUCKET)
        assert names(table) == TESS
        assert len(proxy.requests) == 3
        assert table["in_archive"].all()
    services = [request["service"] for request in mast.invocations]
    assert sorted(services) == ["Mast.Caom.Filtered"] * 4 + ["Mast.Caom.Products"]
    assert mast.max_at_once <= mast_service.MAX_CONNECTIONS


def test_the_archive_knows_a_star_by_its_other_numbers(options, mast) -> None:
    by_tic = find_light_curves(26, ("kepler",), source="mast", options=options, bucket=BUCKET)
    assert names(by_tic) == KEPLER
    mast.add_light_curves("000000026", "30", [])
    by_kic = find_light_curves("KIC 10666592", ("tess", "kepler"), source="both", options=options, bucket=BUCKET)
    assert names(by_kic) == TESS


def test_where_the_archive_is_silent_the_bucket_is_listed(options, mast) -> None:
    mast.refusals.extend([(503, {})] * 50)
    table = find_light_curves(["KIC 11804465", 424865156], source="mast", options=options, bucket=BUCKET)
    assert names(table) == [*KEPLER, *TESS]
    assert table["in_archive"].mask.all()
    assert any("the bucket was listed instead" in note for note in table.meta["notes"])


def test_names_from_the_archive_are_not_trusted(options, mast) -> None:
    hostile = ["../../../etc/passwd_llc.fits", NEIGHBOUR, "kplr011804465-2009131105131_llc.fits\n", "x_llc.fits"]
    mast.add_light_curves("kplr011804465", "5", hostile)
    table = find_light_curves("KIC 11804465", "kepler", source="both", options=options, bucket=BUCKET)
    assert names(table) == KEPLER
    assert len(table.meta["differences"]) == 0
    assert any("3 light curve(s) of the archive have names of no star" in n for n in table.meta["notes"])


def test_answers_come_from_the_cache_until_they_are_old(options, mast, tmp_path) -> None:
    stars = ["KIC 11804465", 26, 424865156]
    first = find_light_curves(stars, source="both", options=options, bucket=BUCKET, cache=tmp_path / "answers")
    n_asked = len(mast.invocations)
    assert n_asked >= 4
    again = find_light_curves(stars, source="both", options=options, bucket=BUCKET, cache=tmp_path / "answers")
    assert len(mast.invocations) == n_asked
    assert again.as_array().tolist() == first.as_array().tolist()
    assert again.meta["notes"][:-1] == first.meta["notes"]
    assert "were taken from" in again.meta["notes"][-1]
    old = AnswerCache(tmp_path / "answers", max_age_days=1e-9)
    find_light_curves(stars, source="both", options=options, bucket=BUCKET, cache=old)
    assert len(mast.invocations) == 2 * n_asked


def test_the_bucket_must_answer(mast) -> None:
    wrong = TransferOptions(endpoint_url="http://127.0.0.1:9", max_attempts=1)
    with pytest.raises(TransferError, match=r"127\.0\.0\.1:9"):
        find_light_curves("KIC 1", options=wrong)


def test_prefixes_are_those_of_the_keys() -> None:
    for name in ALL:
        key = LightCurveKey.parse(name)
        prefix = target_prefix(key.mission, key.target, "lc", sector=key.sector, campaign=key.campaign)
        assert key.key.startswith(prefix)
        assert key.folder == key.key[: key.key.rindex("/") + 1]
    pixels = TargetPixelKey.parse("ktwo206089508-c03_lpd-targ.fits.gz")
    assert pixels.key.startswith(target_prefix("k2", pixels.target, "tp", campaign=3))


def test_quarters_are_those_in_the_headers(data_dir: Path) -> None:
    checked = 0
    for path in (data_dir / "lightcurves").rglob("kplr*.fits"):
        key = LightCurveKey.parse(path.name.removesuffix(".gz"))
        assert kepler_quarter(key.stamp) == fits.getval(path, "QUARTER")
        checked += 1
    assert checked >= 3
    assert kepler_quarter("2013131215648") == 17
    assert kepler_quarter("2014131215648") == -1
