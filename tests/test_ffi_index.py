"""The index of FFIs on disk: what later runs need not list, what works without a network, and what damage does."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fault_server import FaultServer
from ffi_index_writer import folder_of, key_of

from starskope.archive.ffi_index import FfiIndex, Scope
from starskope.archive.ffis import find_ffis
from starskope.errors import FrameError, TransferError
from starskope.transfer.facade import run_sync
from starskope.transfer.options import TransferOptions

NOWHERE = TransferOptions(endpoint_url="http://127.0.0.1:9", max_attempts=1)
DAYS = (206, 207, 365)


@pytest.fixture
def bucket(request: pytest.FixtureRequest, endpoint) -> str:
    name = "index-" + request.node.name.replace("_", "-").replace("[", "-").replace("]", "")[5:50].strip("-").lower()
    for day in DAYS:
        for hour in (3, 12, 23):
            endpoint.put(key_of(day, hour).key, b"x" * (100 + hour), bucket=name)
    endpoint.put(key_of(206, 3, 1, 2).key, b"x", bucket=name)
    endpoint.put(key_of(206, 3).key.replace("ffic", "ffir"), b"raw", bucket=name)
    endpoint.put(key_of(206, 3).key.replace("-s_ffic.fits", ".txt"), b"other", bucket=name)
    return name


@pytest.fixture
def proxy(endpoint) -> Iterator[FaultServer]:
    with FaultServer(endpoint.url) as server:
        yield server


def asked(proxy: FaultServer) -> list[str]:
    """The prefixes that were listed since the last call."""
    prefixes = [request.target.split("prefix=")[1].split("&")[0].replace("%2F", "/") for request in proxy.requests]
    proxy.requests.clear()
    return prefixes


def test_later_runs_list_only_what_is_new(bucket, proxy, endpoint, tmp_path) -> None:
    options = TransferOptions(endpoint_url=proxy.url, backoff_base_s=0.001)
    index = FfiIndex(tmp_path / "ffis.parquet", settle_days=0)
    plain = find_ffis(1, 1, 1, options=options, bucket=bucket)
    asked(proxy)
    first = find_ffis(1, 1, 1, options=options, bucket=bucket, index=index)
    assert {f"tess/public/ffi/s0001/2018/{day}/1-1/" for day in DAYS} <= set(asked(proxy))
    again = find_ffis(1, 1, 1, options=options, bucket=bucket, index=index)
    assert sorted(asked(proxy)) == ["tess/public/ffi/s0001/", "tess/public/ffi/s0001/2018/"]
    for table in (first, again):
        assert table.as_array().tolist() == plain.as_array().tolist()
        assert table.dtype == plain.dtype
    assert [note for note in first.meta["notes"] if "raw" in note] == [
        note for note in again.meta["notes"] if "raw" in note
    ]
    endpoint.put(key_of(300, 5).key, b"new", bucket=bucket)
    grown = find_ffis(1, 1, 1, options=options, bucket=bucket, index=index)
    assert sorted(asked(proxy))[2:] == ["tess/public/ffi/s0001/2018/300/1-1/"]
    assert set(grown["key"]) - set(plain["key"]) == {key_of(300, 5).key}


def test_a_day_that_the_archive_wrote_lately_is_listed_again(bucket, proxy, endpoint, tmp_path) -> None:
    options = TransferOptions(endpoint_url=proxy.url, backoff_base_s=0.001)
    path = tmp_path / "ffis.parquet"
    find_ffis(1, 1, 1, options=options, bucket=bucket, index=path)
    late = key_of(206, 7)
    endpoint.put(late.key, b"late", bucket=bucket)
    assert late.key in find_ffis(1, 1, 1, options=options, bucket=bucket, index=path)["key"]


def test_without_a_network_the_index_answers(bucket, endpoint, tmp_path) -> None:
    path = tmp_path / "ffis.parquet"
    options = TransferOptions(endpoint_url=endpoint.url)
    online = find_ffis(1, 1, 1, options=options, bucket=bucket, index=path)
    before = path.read_bytes()
    # No endpoint is named, as offline nobody does; an attempt to reach AWS would fail the test in its sandbox.
    offline = find_ffis(1, 1, 1, bucket=bucket, index=path, offline=True)
    assert offline.as_array().tolist() == online.as_array().tolist()
    assert offline.meta["source"] == "index"
    notes = " | ".join(offline.meta["notes"])
    assert f"listed at {endpoint.url}" in notes
    assert "1 raw FFI(s)" in notes
    assert "1 object(s)" in notes
    every = find_ffis(1, bucket=bucket, index=path, offline=True, options=options)
    assert every["key"].tolist() == online["key"].tolist()
    assert any("knows nothing of 15 CCD(s) of sector 1: 1-2, 1-3" in note for note in every.meta["notes"])
    assert path.read_bytes() == before


def test_what_an_index_does_not_hold_is_said(bucket, endpoint, tmp_path) -> None:
    path = tmp_path / "ffis.parquet"
    options = TransferOptions(endpoint_url=endpoint.url)
    with pytest.raises(ValueError, match="empty or not there yet; run once without offline"):
        find_ffis(1, 1, 1, options=options, bucket=bucket, index=path, offline=True)
    find_ffis(1, 1, 1, options=options, bucket=bucket, index=path)
    with pytest.raises(ValueError, match=rf"holds no FFIs of sector 2, .*: it holds sector\(s\) 1 of s3://{bucket}"):
        find_ffis(2, 1, 1, options=options, bucket=bucket, index=path, offline=True)
    with pytest.raises(ValueError, match="holds no FFIs of sector 1, camera 4"):
        find_ffis(1, 4, 1, options=options, bucket=bucket, index=path, offline=True)
    with pytest.raises(ValueError, match=r"at http://127\.0\.0\.1:9: it holds"):
        find_ffis(1, 1, 1, options=NOWHERE, bucket=bucket, index=path, offline=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"offline": True}, "name one"),
        ({"refresh": True}, "name it with index="),
        ({"offline": True, "index": "i.parquet", "source": "mast"}, "without refresh or source"),
        ({"offline": True, "index": "i.parquet", "refresh": True}, "without refresh or source"),
        ({"index": "."}, "a folder: name a file in it"),
        ({"index": "no/such/i.parquet"}, "whose folder does not exist: make it first"),
    ],
)
def test_wrong_use_is_refused_before_any_request(arguments, words, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words):
        find_ffis(1, 1, 1, options=NOWHERE, **arguments)


def test_two_servers_of_one_bucket_do_not_mix(bucket, proxy, endpoint, tmp_path) -> None:
    index = FfiIndex(tmp_path / "ffis.parquet", settle_days=0)
    find_ffis(1, 1, 1, options=TransferOptions(endpoint_url=endpoint.url), bucket=bucket, index=index)
    find_ffis(1, 1, 1, options=TransferOptions(endpoint_url=proxy.url), bucket=bucket, index=index)
    assert len(asked(proxy)) >= 2 + len(DAYS)
    assert set(run_sync(index.known())) == {Scope(endpoint.url, bucket), Scope(proxy.url, bucket)}


def test_what_was_replaced_or_is_gone_is_noted_and_refreshed(bucket, endpoint, tmp_path) -> None:
    options = TransferOptions(endpoint_url=endpoint.url)
    path = tmp_path / "ffis.parquet"
    settled = FfiIndex(path, settle_days=0)
    find_ffis(1, 1, 1, options=options, bucket=bucket, index=settled)
    client = endpoint._s3(bucket)
    endpoint.put(key_of(206, 3).key, b"another content", bucket=bucket)
    client.delete_object(Bucket=bucket, Key=key_of(207, 3).key)
    for hour in (3, 12, 23):
        client.delete_object(Bucket=bucket, Key=key_of(365, hour).key)
    trusting = find_ffis(1, 1, 1, options=options, bucket=bucket, index=settled)
    assert len(trusting) == 6  # the folder that is gone is seen in any case
    assert any("1 day(s) of the index" in note and "refresh takes them out" in note for note in trusting.meta["notes"])
    assert len(find_ffis(1, 1, 1, options=options, bucket=bucket, index=settled, offline=True)) == 9
    fresh = find_ffis(1, 1, 1, options=options, bucket=bucket, index=settled, refresh=True)
    notes = " | ".join(fresh.meta["notes"])
    assert "1 FFI(s) of the index" in notes
    assert "1 FFI(s) were replaced in the bucket" in notes
    assert "were taken out of it" in notes
    plain = find_ffis(1, 1, 1, options=options, bucket=bucket)
    for table in (fresh, find_ffis(1, 1, 1, options=options, bucket=bucket, index=settled, offline=True)):
        assert table.as_array().tolist() == plain.as_array().tolist()


def test_damage_is_named_and_never_a_shorter_answer(bucket, endpoint, tmp_path) -> None:
    path = tmp_path / "ffis.parquet"
    options = TransferOptions(endpoint_url=endpoint.url)
    right = find_ffis(1, options=options, bucket=bucket, index=path).as_array().tolist()
    whole = path.read_bytes()
    rng = random.Random(5)
    damaged = [whole[: rng.randrange(len(whole))] for _ in range(40)] + [b"", b"PAR1PAR1", b"no parquet", whole + b"x"]
    for _ in range(300):
        place = rng.randrange(len(whole))
        damaged.append(whole[:place] + bytes([whole[place] ^ (1 << rng.randrange(8))]) + whole[place + 1 :])
    named = []
    for content in damaged:
        path.write_bytes(content)
        try:
            table = find_ffis(1, options=options, bucket=bucket, index=path, offline=True)
        except FrameError as error:
            named.append(str(error))
        else:
            assert table.as_array().tolist() == right
        assert path.read_bytes() == content
    assert all(str(path) in text for text in named)
    assert len(named) > 200  # the rest hit what nobody reads: statistics, names of the writer


def test_a_damaged_index_is_not_begun_anew(bucket, endpoint, tmp_path) -> None:
    path = tmp_path / "ffis.parquet"
    path.write_bytes(b"these were 40 sectors")
    with pytest.raises(FrameError, match="move it away, and the next run with --index lists again"):
        find_ffis(1, 1, 1, options=TransferOptions(endpoint_url=endpoint.url), bucket=bucket, index=path)
    assert path.read_bytes() == b"these were 40 sectors"
    pq.write_table(pa.table({"uri": ["s3://a/b"]}), path)
    with pytest.raises(FrameError, match="another Parquet file"):
        find_ffis(1, 1, 1, options=TransferOptions(endpoint_url=endpoint.url), bucket=bucket, index=path)


@pytest.mark.parametrize(
    "key",
    [
        "tess/public/ffi/s0001/2018/206/1-1/../../../../etc/passwd",
        "tess/public/ffi/s0001/2018/206/1-1/tess2018206002942-s0001-1-2-0120-s_ffic.fits",
        "tess/public/ffi/s0001/2018/206/1-1/tess2018206002942-s0001-1-1-0120-s_ffir.fits",
        "tess/public/ffi/s0001/evil/",
    ],
)
def test_an_index_that_somebody_else_wrote_is_checked_key_by_key(key, tmp_path) -> None:
    index = FfiIndex(tmp_path / "i.parquet")
    scope = Scope("AWS", "stpubdata")
    run_sync(index.extend(scope, [folder_of(1)]))
    table = pq.read_table(index.path)
    keys = table["key"].to_pylist()
    keys[-1] = key
    place = table.schema.get_field_index("key")
    pq.write_table(table.set_column(place, "key", pa.array(keys)), index.path)
    with pytest.raises(FrameError, match="it holds"):
        run_sync(index.read(scope, 1))


def test_a_full_disk_leaves_the_old_index(tmp_path) -> None:
    index = FfiIndex(tmp_path / "i.parquet")
    scope = Scope("AWS", "stpubdata")
    run_sync(index.extend(scope, [folder_of(1)]))
    before = index.path.read_bytes()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(OSError, match="could not be written"):
            run_sync(index.extend(scope, [folder_of(2, 20)]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert index.path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == [".i.parquet.lock", "i.parquet"]


def writer(path: Path, first: int, last: int) -> subprocess.Popen[str]:
    script = Path(__file__).with_name("ffi_index_writer.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(script), str(path), str(first), str(last)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)


def test_processes_that_extend_at_once_lose_nothing(tmp_path) -> None:
    path = tmp_path / "i.parquet"
    writers = [writer(path, 1 + 8 * i, 9 + 8 * i) for i in range(3)]
    for one in writers:
        one.communicate(timeout=120)
        assert one.returncode == 0
    known = run_sync(FfiIndex(path).known())
    assert sorted(known[Scope("AWS", "stpubdata")]) == list(range(1, 25))


def test_a_kill_at_any_moment_leaves_a_whole_index(tmp_path) -> None:
    path = tmp_path / "i.parquet"
    rng = random.Random(3)
    for attempt in range(4):
        with writer(path, 1, 9999) as process:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(rng.randrange(2, 6))]
            time.sleep(rng.random() * 0.02)
            process.send_signal(signal.SIGKILL)
            process.wait()
        n_done = int(said[-1])
        known = run_sync(FfiIndex(path).known())[Scope("AWS", "stpubdata")]
        assert set(known) >= set(range(1, n_done + 1)), attempt
        for sector in known:
            ((_, folder),) = run_sync(FfiIndex(path).read(Scope("AWS", "stpubdata"), sector)).items()
            assert len(folder.files) == 3


def test_a_process_that_holds_the_index_is_waited_for_and_then_named(tmp_path, monkeypatch) -> None:
    import fcntl

    from starskope.archive import ffi_index

    monkeypatch.setattr(ffi_index, "_LOCK_WAIT_S", 0.2)
    index = FfiIndex(tmp_path / "i.parquet")
    with (tmp_path / ".i.parquet.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TransferError, match="another process extends"):
            run_sync(index.extend(Scope("AWS", "stpubdata"), [folder_of(1)]))
    run_sync(index.extend(Scope("AWS", "stpubdata"), [folder_of(1)]))
