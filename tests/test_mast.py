"""The archive's database through the real astroquery, against a server on loopback that speaks its JSON."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from astropy.config import set_temp_cache
from mast_server import MastServer

from starskope.archive import mast_service
from starskope.archive.ffis import find_ffis
from starskope.archive.mast import ffi_keys, tic_rows
from starskope.archive.mast_service import MAX_CONNECTIONS
from starskope.archive.stars import find_stars
from starskope.errors import TransferError
from starskope.layout.keys import FfiKey
from starskope.transfer.facade import run_sync
from starskope.transfer.options import TransferOptions

QUICK = TransferOptions(backoff_base_s=0.001, backoff_max_s=0.002)
KEYS = [
    f"tess/public/ffi/s0001/2018/206/1-1/tess2018206{hour:02d}2942-s0001-1-1-0120-s_ffic.fits" for hour in range(12)
]
FIELD = [(10.0, 0.0), (14.0, 0.0), (14.0, 4.0), (10.0, 4.0)]


@pytest.fixture
def mast(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MastServer]:
    import astroquery.mast

    monkeypatch.setattr(mast_service, "_POLL_PAUSE_S", 0.01)
    cache = tmp_path / "cache"
    cache.mkdir()
    with set_temp_cache(cache), MastServer() as server, astroquery.mast.conf.set_temp("server", server.url):
        yield server
    assert not list(cache.rglob("*.pickle")), "answers of the archive must not go to the disk"


def add_field(server: MastServer, n_star: int = 300) -> None:
    rng = np.random.default_rng(1)
    for index in range(n_star):
        server.add_star(
            1000 + index, 9 + 6 * rng.random(), -1 + 6 * rng.random(), 8 + 8 * rng.random(), Teff=5000.0 + index
        )


def test_ffi_products_are_found_although_astroquery_drops_them_from_tables(mast: MastServer) -> None:
    mast.add_ccd(1, 1, 1, "60825369", KEYS)
    mast.add_ccd(1, 1, 1, "60825369", ["tess2018206192942-s0001-1-1-0120-s_ffir.fits"], kind="FFIR")
    mast.add_ccd(1, 1, 2, "60825370", ["tess2018206192942-s0001-1-2-0120-s_ffic.fits"])
    keys, refused = run_sync(ffi_keys(1, 1, 1, options=QUICK))
    assert sorted(key.key for key in keys) == KEYS
    assert refused == []
    assert [request["service"] for request in mast.invocations] == ["Mast.Caom.Filtered", "Mast.Caom.Products"]
    both, _ = run_sync(ffi_keys(1, 1, None, options=QUICK))
    assert len(both) == len(KEYS) + 1

    from astroquery.mast import ObservationsClass

    query = ObservationsClass()
    query._portal_api_connection.MAST_REQUEST_URL = f"{mast.url}/api/v0/invoke"
    query._portal_api_connection.COLUMNS_CONFIG_URL = f"{mast.url}/portal/Mashup/Mashup.asmx/columnsconfig"
    table = query.query_criteria(obs_id="tess-s0001-1-1")
    with pytest.raises(Exception, match="no associated products"):
        query.get_product_list(table)
    query._session.close()


def test_an_observation_that_the_archive_does_not_know_gives_no_keys(mast: MastServer) -> None:
    assert run_sync(ffi_keys(9, 1, 1, options=QUICK)) == (set(), [])


def test_names_from_the_archive_become_keys_only_when_they_are_keys(mast: MastServer) -> None:
    hostile = [
        "mast:TESS/product/../../etc/passwd",
        "mast:TESS/product/tess2018206192942-s0001-1-2-0120-s_ffic.fits",
        "mast:TESS/product/tess2018206192942-s0002-1-1-0120-s_ffic.fits",
        "mast:TESS/product/tess2018206192942-s0001-1-1-0120-s_ffir.fits",
        "mast:HLSP/tica/tess2018206192942-s0001-1-1-0120-s_ffic.fits",
        "mast:TESS/product/tess2018206192942-s0001-1-1-0120-s_ffic.fits\n",
        "file:///etc/passwd",
    ]
    mast.add_ccd(1, 1, 1, "1", [KEYS[0], *(uri if uri.startswith("mast:") else f"mast:{uri}" for uri in hostile)])
    keys, refused = run_sync(ffi_keys(1, 1, 1, options=QUICK))
    assert keys == {FfiKey.parse(KEYS[0])}
    assert len(refused) == len(hostile)


def test_find_ffis_joins_the_archives_names_with_the_buckets_sizes(mast: MastServer, endpoint) -> None:
    bucket = "mast-joins"
    for key in KEYS[:6]:
        endpoint.put(key, b"x" * 100, bucket=bucket)
    mast.add_ccd(1, 1, 1, "60825369", [*KEYS[1:8], "mast:TESS/product/readme.fits"])
    options = TransferOptions(endpoint_url=endpoint.url, backoff_base_s=0.001)
    table = find_ffis(1, 1, 1, source="mast", options=options, bucket=bucket)
    assert table["key"].tolist() == KEYS[1:6]
    assert set(table["size"]) == {100}
    assert all(len(etag) == 32 for etag in table["etag"])
    notes = " | ".join(table.meta["notes"])
    assert "1 product(s) of the archive are no FFI" in notes
    assert "2 FFI(s) of the archive are not in the bucket" in notes
    assert "1 FFI(s) in the bucket are unknown to the archive" in notes
    with pytest.raises(ValueError, match="neither the archive nor the bucket"):
        find_ffis(7, 1, 1, source="mast", options=options, bucket=bucket)


def test_busy_answers_polls_and_maintenance_pages_are_waited_out(mast: MastServer) -> None:
    mast.add_ccd(1, 1, 1, "1", KEYS)
    mast.refusals.extend([(503, {}), (429, {"Retry-After": "0"})])
    mast.pages_of_html = 1
    mast.polls = 2
    keys, _ = run_sync(ffi_keys(1, 1, 1, options=QUICK))
    assert len(keys) == len(KEYS)
    assert len(mast.invocations) == 2 + 1 + 2 + 2


def test_retry_after_is_obeyed(mast: MastServer) -> None:
    import time

    mast.add_ccd(1, 1, 1, "1", KEYS)
    mast.refusals.append((429, {"Retry-After": "1"}))
    start = time.monotonic()
    run_sync(ffi_keys(1, 1, 1, options=QUICK))
    assert time.monotonic() - start >= 1.0


def test_a_refusal_that_stays_ends_in_one_clear_error(mast: MastServer) -> None:
    mast.refusals.extend([(503, {})] * 50)
    with pytest.raises(TransferError, match=r"did not answer for sector 1 \(5 tries\).*503") as caught:
        run_sync(ffi_keys(1, 1, 1, options=QUICK))
    assert mast.url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(caught.value.causes) == ["sector 1"]


def test_a_refusal_that_no_patience_mends_is_not_repeated(mast: MastServer) -> None:
    mast.refusals.append((404, {}))
    with pytest.raises(TransferError, match=r"\(1 tries\).*404"):
        run_sync(ffi_keys(1, 1, 1, options=QUICK))
    mast.error = "Invalid query: no such column"
    with pytest.raises(TransferError, match="no such column"):
        run_sync(ffi_keys(1, 1, 1, options=QUICK))


def test_a_server_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import astroquery.mast

    with MastServer() as server:
        gone = server.url
    with (
        astroquery.mast.conf.set_temp("server", gone),
        pytest.raises(TransferError, match="did not answer") as caught,
    ):
        run_sync(ffi_keys(1, 1, 1, options=TransferOptions(max_attempts=2, backoff_base_s=0.001)))
    assert gone in str(caught.value)


def test_stars_of_a_field_equal_a_search_by_hand(mast: MastServer) -> None:
    add_field(mast)
    mast.add_star(1, 12.0, 2.0, 5.0, disposition="DUPLICATE")
    mast.add_star(2, 12.0, 2.0, 5.0, disposition="ARTIFACT")
    mast.add_star(3, 12.0, 2.0, 5.0, objType="EXTENDED")
    mast.add_star(4, 12.0, 2.0, 5.0, disposition="SPLIT", pmRA=1000.0, pmDEC=-2000.0)
    stars = find_stars(1, 1, 1, tmag_max=12, footprint=FIELD, options=QUICK)
    # Both edges of the patch along the parallels are great circles: at 4 degrees they bow out by 2.5 arcsec, which no
    # star of this field is near enough to notice.
    by_hand = [s["ID"] for s in mast.stars[:300] if 10 < s["ra"] < 14 and 0 < s["dec"] < 4 and s["Tmag"] <= 12]
    assert len(by_hand) > 30
    assert stars["tic_id"].tolist() == sorted([4, *by_hand])
    assert stars["tic_id"].dtype == np.int64
    assert stars["teff"][stars["tic_id"] == by_hand[0]][0] == 5000.0 + by_hand[0] - 1000
    assert np.isnan(stars["rad"]).all()
    years = stars.meta["epoch"] - 2000.0
    assert 18.5 < years < 18.7
    moved = stars[stars["tic_id"] == 4][0]
    assert moved["dec"] == pytest.approx(2.0 - 2 * years / 3600, abs=1e-7)
    assert moved["ra"] == pytest.approx(12.0 + years / 3600 / np.cos(np.radians(2.0)), abs=1e-6)
    assert str(stars["pmra"].unit) == "mas / yr"


def test_the_archive_never_sees_more_than_three_connections(mast: MastServer) -> None:
    add_field(mast)
    mast.answer_s = 0.05
    find_stars(tmag_max=12, footprint=FIELD, options=QUICK)
    assert len(mast.invocations) == 9
    assert 2 <= mast.max_at_once <= MAX_CONNECTIONS == 3
    assert mast.n_connections <= MAX_CONNECTIONS


def test_pages_are_joined(mast: MastServer) -> None:
    import astroquery.mast

    add_field(mast)
    with astroquery.mast.conf.set_temp("pagesize", 7):
        (rows,) = run_sync(tic_rows([(12.0, 2.0, 2.0)], 14.0, options=QUICK))
    assert len(rows) > 14
    assert {request["page"] for request in mast.invocations} == set(range(1, -(-len(rows) // 7) + 1))


def test_rows_that_the_archive_cuts_off_are_fetched_in_smaller_cones(mast: MastServer) -> None:
    add_field(mast)
    whole = find_stars(tmag_max=15, footprint=FIELD, options=QUICK)
    n_whole = len(mast.invocations)
    mast.max_rows = 12
    in_parts = find_stars(tmag_max=15, footprint=FIELD, options=QUICK)
    assert len(mast.invocations) > 2 * n_whole
    assert in_parts["tic_id"].tolist() == whole["tic_id"].tolist()


def test_rows_that_stay_cut_off_are_an_error_not_a_short_table(mast: MastServer) -> None:
    add_field(mast)
    mast.max_rows = 0
    with pytest.raises(TransferError, match=r"0 of \d+ rows arrived"):
        find_stars(tmag_max=15, footprint=FIELD, options=QUICK)


def test_an_empty_field_is_said_to_be_empty(mast: MastServer) -> None:
    with pytest.raises(ValueError, match=r"no stars: the TIC has 0 row\(s\)"):
        find_stars(tmag_max=12, footprint=((200.0, 50.0), 1.0), options=QUICK)


def test_answers_are_kept_for_frames_and_stars_too(mast: MastServer, endpoint, tmp_path) -> None:
    bucket = "mast-cache"
    for key in KEYS[:6]:
        endpoint.put(key, b"x" * 100, bucket=bucket)
    mast.add_ccd(1, 1, 1, "60825369", KEYS[1:8])
    add_field(mast)
    options = TransferOptions(endpoint_url=endpoint.url, backoff_base_s=0.001)

    def ask() -> tuple[list, list]:
        ffis = find_ffis(1, 1, 1, source="mast", options=options, bucket=bucket, cache=tmp_path / "answers")
        assert ffis.meta["differences"]["in_bucket"].tolist() == [True, False, False]
        assert [row["key"] for row in ffis.meta["differences"]] == [KEYS[0], *KEYS[6:8]]
        stars = find_stars(1, 1, 1, tmag_max=12, footprint=FIELD, options=options, cache=tmp_path / "answers")
        return ffis.as_array().tolist(), stars.as_array().tolist()

    first = ask()
    n_asked = len(mast.invocations)
    assert str(ask()) == str(first)
    assert len(mast.invocations) == n_asked


def test_searches_at_the_same_time_share_the_three_connections(mast: MastServer) -> None:
    from concurrent.futures import ThreadPoolExecutor

    add_field(mast)
    mast.add_ccd(1, 1, 1, "1", KEYS)
    mast.answer_s = 0.05

    def one(i: int) -> int:
        if i % 2:
            return len(run_sync(ffi_keys(1, 1, 1, options=QUICK))[0])
        return len(find_stars(tmag_max=12, footprint=FIELD, options=QUICK))

    with ThreadPoolExecutor(6) as pool:
        numbers = list(pool.map(one, range(6)))
    assert set(numbers[1::2]) == {len(KEYS)}
    assert len(set(numbers[::2])) == 1
    assert 2 <= mast.max_at_once <= MAX_CONNECTIONS
    assert mast.max_open <= MAX_CONNECTIONS


def test_a_failed_search_gives_its_connections_back(mast: MastServer) -> None:
    for _ in range(2 * MAX_CONNECTIONS):
        mast.refusals.append((404, {}))
        with pytest.raises(TransferError):
            run_sync(ffi_keys(1, 1, 1, options=QUICK))
    mast.add_ccd(1, 1, 1, "1", KEYS)
    assert len(run_sync(ffi_keys(1, 1, 1, options=QUICK))[0]) == len(KEYS)


def test_an_answer_that_would_fill_the_memory_is_left(mast: MastServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mast_service, "_MAX_ANSWER_BYTES", 100_000)
    mast.error = "x" * 1_000_000
    with pytest.raises(TransferError, match=r"\(1 tries\).*longer than 100000 bytes"):
        run_sync(ffi_keys(1, 1, 1, options=QUICK))
