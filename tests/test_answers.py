"""Answers of the archive on disk: the same table comes back, only the young and whole ones, and nothing that runs."""

from __future__ import annotations

import hashlib
import json
import os
import random
import stat
import threading
import time
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import MaskedColumn, Table
from astroquery.mast.discovery_portal import _json_to_table

from starskope.archive.answers import AnswerCache, open_cache

QUESTION = {"server": "https://mast.stsci.edu", "obs_id": ["tess-s0001-1-1"]}


def recorded(name: str) -> Table:
    """A table of the archive as astroquery makes it of its own recordings."""
    return _json_to_table(json.loads((resources.files("astroquery.mast.tests") / "data" / name).read_text()))


def same(one: Table, other: Table) -> bool:
    if one.colnames != other.colnames or len(one) != len(other):
        return False
    for name in one.colnames:
        left, right = np.ma.asarray(one[name]), np.ma.asarray(other[name])
        if not np.array_equal(np.ma.getmaskarray(left), np.ma.getmaskarray(right)):
            return False
        kind = left.dtype.kind
        if kind != right.dtype.kind or not np.array_equal(left.compressed(), right.compressed(), equal_nan=kind == "f"):
            return False
    return True


@pytest.mark.parametrize("name", ["tic.json", "products.json", "caom.json"])
def test_what_the_archive_said_comes_back_as_it_was(tmp_path, name) -> None:
    table = recorded(name)
    cache = AnswerCache(tmp_path / "cache")
    assert cache.get(QUESTION) is None
    cache.put(QUESTION, table)
    back = cache.get(QUESTION)
    assert back is not None
    assert same(back, table)
    assert len(table) > 3
    assert cache.n_used == 1
    assert cache.oldest_used is not None


def test_odd_tables_come_back_too(tmp_path) -> None:
    cache = AnswerCache(tmp_path)
    odd = Table(masked=True)
    odd["bool"] = MaskedColumn([True, False], mask=[False, True])
    odd["text"] = MaskedColumn(["", "\u00e9\n"], mask=[True, False])
    odd["none"] = MaskedColumn(["a", "b"], mask=[True, True])
    odd["int"] = MaskedColumn([2**53 + 1, -1], mask=[False, False])
    for i, table in enumerate((odd, Table(), odd[:0])):
        cache.put({"i": i}, table)
        back = cache.get({"i": i})
        assert back is not None
        assert same(back, table)
    with pytest.raises(TypeError, match="column 'o' of an answer"):
        cache.put(QUESTION, Table({"o": np.array([{}, []], dtype=object)}))


def test_another_question_has_another_answer(tmp_path) -> None:
    cache = AnswerCache(tmp_path)
    cache.put(QUESTION, Table({"a": [1]}))
    for other in ({**QUESTION, "server": "http://127.0.0.1"}, {**QUESTION, "more": 1}, {}):
        assert cache.get(other) is None
    cache.path_of(QUESTION).replace(cache.path_of({}))
    assert cache.get({}) is None, "a file under the wrong name is no answer"


def test_old_answers_are_not_used_and_go(tmp_path, monkeypatch) -> None:
    cache = AnswerCache(tmp_path, max_age_days=0.2 / 86400)
    cache.put(QUESTION, Table({"a": [1]}))
    assert cache.get(QUESTION) is not None
    time.sleep(0.25)
    assert cache.get(QUESTION) is None
    cache.put({"new": 1}, Table({"a": [1]}))
    assert [path.name for path in tmp_path.iterdir()] == [cache.path_of({"new": 1}).name]


def test_an_answer_from_the_future_is_not_used(tmp_path) -> None:
    cache = AnswerCache(tmp_path)
    cache.put(QUESTION, Table({"a": [1]}))
    path = cache.path_of(QUESTION)
    for asked, is_used in (("2999-01-01T00:00:00+00:00", False), (datetime.now(UTC).isoformat(), True)):
        table = pq.read_table(pa.BufferReader(path.read_bytes()[32:]))
        about = json.loads(table.schema.metadata[b"starskope answer"])
        about["asked"] = asked
        sink = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata({b"starskope answer": json.dumps(about)}), sink)
        content = sink.getvalue().to_pybytes()
        path.write_bytes(hashlib.sha256(content).digest() + content)
        assert (cache.get(QUESTION) is not None) is is_used


def test_damage_is_a_miss(tmp_path) -> None:
    cache = AnswerCache(tmp_path)
    table = recorded("tic.json")
    cache.put(QUESTION, table)
    path = cache.path_of(QUESTION)
    whole = path.read_bytes()
    rng = random.Random(1)
    n_miss = 0
    for i in range(300):
        place = rng.randrange(len(whole))
        flipped = whole[:place] + bytes([whole[place] ^ (1 << rng.randrange(8))]) + whole[place + 1 :]
        path.write_bytes(flipped if i % 3 else whole[:place])
        back = cache.get(QUESTION)
        n_miss += back is None
    assert n_miss == 300


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"PAR1", b"{}"])
def test_foreign_files_are_a_miss(tmp_path, content) -> None:
    cache = AnswerCache(tmp_path)
    cache.path_of(QUESTION).write_bytes(content)
    assert cache.get(QUESTION) is None
    pq.write_table(pa.table({"a": [1]}), cache.path_of(QUESTION))
    assert cache.get(QUESTION) is None
    cache.path_of(QUESTION).unlink()
    cache.path_of(QUESTION).mkdir()
    assert cache.get(QUESTION) is None


def test_the_folder_stays_small(tmp_path) -> None:
    rng = np.random.default_rng(1)
    cache = AnswerCache(tmp_path / "cache", max_bytes=200_000)
    for i in range(8):
        cache.put({"i": i}, Table({"a": rng.random(5_000)}))
        os.utime(cache.path_of({"i": i}), (time.time() - 100 + i,) * 2)
    assert cache.get({"i": 7}) is not None
    assert cache.get({"i": 0}) is None
    assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) <= 200_000


def test_only_its_owner_looks_into_a_new_folder(tmp_path) -> None:
    cache = AnswerCache(tmp_path / "a" / "b")
    cache.put(QUESTION, Table({"a": [1]}))
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert [path.suffix for path in (tmp_path / "a" / "b").iterdir()] == [".starskope"]


def test_many_writers_of_one_answer_leave_one_whole_file(tmp_path) -> None:
    table = recorded("tic.json")

    def write() -> None:
        cache = AnswerCache(tmp_path)
        for _ in range(10):
            cache.put(QUESTION, table)
            back = cache.get(QUESTION)
            assert back is not None
            assert same(back, table)

    failed: list[BaseException] = []

    def guarded() -> None:
        try:
            write()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_no_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="is no folder"):
        AnswerCache(tmp_path / "file")
    for wrong in ({"max_age_days": 0}, {"max_age_days": float("nan")}, {"max_bytes": -1}):
        with pytest.raises(ValueError, match="expected positive numbers"):
            AnswerCache(tmp_path, **wrong)
    assert open_cache(None) is None
    cache = AnswerCache(tmp_path)
    assert open_cache(cache) is cache
