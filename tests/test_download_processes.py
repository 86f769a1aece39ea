"""Several processes for one download: the same files, whoever dies; and when more of them pay."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import fault_server
import numpy as np
import pytest
from fault_server import FaultServer

from starskope import parallel
from starskope.synth.endpoint import Endpoint
from starskope.transfer import run
from starskope.transfer.crew import Job, key_from_line, key_to_line, pays
from starskope.transfer.download import Progress, download
from starskope.transfer.manifest import ManifestRow
from starskope.transfer.options import TransferOptions
from starskope.transfer.uris import S3Uri
from starskope.transfer.wanted import Wanted

BUCKET = "stpubdata"
N_OBJECT = 24
CONTENTS = {f"{index:02d}.bin": np.random.default_rng(index).bytes(300_000 + index) for index in range(N_OBJECT)}
URIS = [f"s3://{BUCKET}/processes/{name}" for name in CONTENTS]

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to find the helpers")


@pytest.fixture(scope="module", autouse=True)
def _objects(endpoint: Endpoint) -> None:
    for name, content in CONTENTS.items():
        endpoint.put(f"processes/{name}", content)


def _options(server: Endpoint | FaultServer, **changes: object) -> TransferOptions:
    return TransferOptions(endpoint_url=server.url, backoff_base_s=0.01, **changes)  # type: ignore[arg-type]


def _helpers(parent: int) -> list[int]:
    """The processes that help `parent`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == parent and b"starskope.transfer.helper" in words and fields[0] != "Z":
            found.append(int(folder.name))
    return found


async def _slowly(exchange: fault_server.Exchange) -> None:
    """Pass an answer on over a quarter of a second, so that there is time for something to happen."""
    await asyncio.sleep(0.25)
    await fault_server.good(exchange)


def _assert_whole(folder: Path) -> None:
    for name, content in CONTENTS.items():
        assert (folder / name).read_bytes() == content
    assert sorted(path.name for path in folder.iterdir()) == [*CONTENTS, "manifest.parquet"]


def test_helpers_share_the_work_and_leave(endpoint: Endpoint, tmp_path: Path) -> None:
    steps: list[Progress] = []
    with FaultServer(endpoint.url) as proxy:
        proxy.plan(_slowly)
        options = _options(proxy, max_objects=3)
        began = time.monotonic()
        report = download(URIS, tmp_path, options=options, processes=3, progress=steps.append)
        seconds = time.monotonic() - began
        assert len(proxy.requests) == N_OBJECT
    assert report["status"].tolist() == ["downloaded"] * N_OBJECT
    assert report["uri"].tolist() == URIS
    total = sum(map(len, CONTENTS.values()))
    assert steps[-1] == Progress(N_OBJECT, 0, N_OBJECT, total, None)
    _assert_whole(tmp_path)
    assert not _helpers(os.getpid())
    assert seconds < 60


def test_a_second_run_of_several_processes_moves_no_body(endpoint: Endpoint, tmp_path: Path) -> None:
    download(URIS, tmp_path, options=_options(endpoint))
    with FaultServer(endpoint.url) as proxy:
        proxy.plan(_slowly)
        report = download(URIS, tmp_path, options=_options(proxy, max_objects=2), processes=2)
        assert all("if-none-match" in request.headers for request in proxy.requests)
    assert report["status"].tolist() == ["present"] * N_OBJECT


def test_the_keys_of_a_killed_helper_are_done_by_others(endpoint: Endpoint, tmp_path: Path) -> None:
    with FaultServer(endpoint.url) as proxy:
        proxy.plan(_slowly)
        killed: list[int] = []

        def kill_one(step: Progress) -> None:
            helpers = _helpers(os.getpid())
            if step.n_done > 2 and not killed and len(helpers) == 2:
                killed.append(helpers[0])
                os.kill(helpers[0], signal.SIGKILL)

        report = download(URIS, tmp_path, options=_options(proxy, max_objects=3), processes=3, progress=kill_one)
    assert killed
    assert set(report["status"].tolist()) <= {"downloaded", "present"}, report["error"]
    _assert_whole(tmp_path)
    assert not _helpers(os.getpid())


def test_a_failed_object_of_a_helper_is_told(endpoint: Endpoint, tmp_path: Path) -> None:
    missing = [f"s3://{BUCKET}/processes/none{index}" for index in range(8)]
    report = download([*URIS[:8], *missing], tmp_path, options=_options(endpoint, max_objects=2), processes=2)
    assert report["status"].tolist() == ["downloaded"] * 8 + ["failed"] * 8
    assert all("no such object" in error for error in report["error"][8:])


def _program(folder: Path, url: str) -> subprocess.Popen[bytes]:
    code = textwrap.dedent(f"""
        from starskope.transfer.download import download
        from starskope.transfer.options import TransferOptions
        options = TransferOptions(endpoint_url={url!r}, max_objects=3)
        download({URIS!r}, {str(folder)!r}, options=options, processes=3)
    """)
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)


def _await_helpers(process: subprocess.Popen[bytes], folder: Path) -> list[int]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        helpers = _helpers(process.pid)
        if len(helpers) == 2 and len(list(folder.glob("*.bin"))) > 3:
            return helpers
        time.sleep(0.01)
    raise AssertionError(f"no helpers came: {process.poll()}")


def _await_gone(helpers: list[int]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{helper}/cmdline").exists() for helper in helpers):
            return
        time.sleep(0.01)
    raise AssertionError("a helper outlived its caller")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "SIGKILL"])
def test_no_helper_outlives_its_caller(endpoint: Endpoint, tmp_path: Path, number: int) -> None:
    with FaultServer(endpoint.url) as proxy:
        proxy.plan(_slowly)
        with _program(tmp_path, proxy.url) as process:
            helpers = _await_helpers(process, tmp_path)
            # They hold the folder too: no other run may begin before they have ended.
            held = [link.readlink() for link in Path(f"/proc/{helpers[0]}/fd").iterdir()]
            assert tmp_path in held
            process.send_signal(number)
            _, complaint = process.communicate(timeout=30)
        _await_gone(helpers)
        if number == signal.SIGINT:
            assert process.returncode == -signal.SIGINT
            assert b"KeyboardInterrupt" in complaint
            assert complaint.count(b"Traceback") == 1, complaint.decode()
        else:
            assert complaint == b""
    report = download(URIS, tmp_path, options=_options(endpoint), processes=2)
    assert set(report["status"].tolist()) <= {"downloaded", "present"}
    _assert_whole(tmp_path)


def test_helpers_come_by_themselves_when_they_pay(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, float, int]] = []

    def decide(busy: float, seconds_left: float, n_processes: int) -> bool:
        asked.append((busy, seconds_left, n_processes))
        return True

    monkeypatch.setattr(run, "pays", decide)
    monkeypatch.setattr(run, "_WATCH_EVERY_S", 0.05)
    monkeypatch.setattr(parallel, "available_cpus", lambda: 2)
    seen: set[int] = set()
    with FaultServer(endpoint.url) as proxy:
        proxy.plan(_slowly)
        report = download(
            URIS,
            tmp_path,
            options=_options(proxy, max_objects=1),
            progress=lambda _: seen.update(_helpers(os.getpid())),
        )
    ((busy, seconds_left, n_processes),) = asked
    assert busy > 0
    assert 0.2 < seconds_left < 600
    assert n_processes == 2
    assert len(seen) == 1
    assert report["status"].tolist() == ["downloaded"] * N_OBJECT
    _assert_whole(tmp_path)


def test_more_processes_only_where_they_pay() -> None:
    assert pays(0.95, 5.0, 2)
    assert pays(1.3, 10.0, 2)
    assert pays(1.3, 3.0, 16)
    assert not pays(0.95, 3.0, 2), "half of three seconds does not pay for a start"
    assert not pays(0.3, 1000.0, 16), "the line is the narrow place"
    assert not pays(1.9, 10.0, 2), "the CPUs are taken already"
    assert not pays(2.5, 1000.0, 2)
    assert not pays(1.0, 1000.0, 1)


def test_jobs_and_keys_pass_the_pipe_unchanged() -> None:
    options = TransferOptions(endpoint_url="http://127.0.0.1:9", profile="someone", max_objects=3)
    job = Job("/a/b é", options, overwrite=True, verify=False)
    assert Job.parse(job.to_line()) == job
    wanted = Wanted(S3Uri("bucket", "key\n'é"), "é", None, "e-5")
    for known in (None, ManifestRow("s3://bucket/é", "é", 5, "e", "md5", "present", "", "A=")):
        line = key_to_line(7, wanted, known)
        assert line.count(b"\n") == 1
        assert key_from_line(line) == (7, wanted, known)
