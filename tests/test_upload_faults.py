"""Uploads over a bad line: what heals, what ends in a clear error, and that a kill loses little."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import fault_server as faults
import pytest
import upload_scene
from fault_server import Exchange, FaultServer
from upload_scene import (
    BUCKET,
    CREDENTIALS,
    PART,
    SECRET,
    local,
    make_products,
    options_for,
    stored,
    tls_front,
    unfinished,
)

from starskope.errors import TransferError
from starskope.synth.endpoint import Endpoint
from starskope.transfer.options import TransferOptions
from starskope.transfer.upload import upload

SEND = """
import sys
from starskope.transfer.options import TransferOptions
from starskope.transfer.upload import upload
report = upload([sys.argv[2]], sys.argv[3], options=TransferOptions(endpoint_url=sys.argv[1], max_objects=2))
print(",".join(report["status"]))
"""


_credentials = upload_scene.credentials  # the fixtures
server = upload_scene.server


@pytest.fixture
def proxy(server: Endpoint) -> Iterator[FaultServer]:
    with FaultServer(server.url) as running:
        yield running


@pytest.fixture
def products(tmp_path: Path) -> Path:
    return make_products(tmp_path / "out")


async def flipped_on_the_way(exchange: Exchange) -> None:
    """Spoil what the client sends; a server that believes the client's sum stores it all the same."""
    body = exchange.request.body
    if body is not None:
        whole, step = body.n_left, body.step

        async def flip(n_bytes: int = 2**18) -> bytes:
            at = whole - body.n_left
            piece = bytearray(await step(n_bytes))
            if at <= whole // 2 < at + len(piece):
                piece[whole // 2 - at] ^= 4
            return bytes(piece)

        body.step = flip  # type: ignore[method-assign]
    await faults.good(exchange)


HEALING = {
    "503 twice": (faults.slow_down, 2),
    "500 once": (faults.internal_error, 1),
    "closed without a word": (faults.close_at_once, 1),
    "stalled": (faults.stall_before_head, 1),
    "no HTTP": (faults.not_http, 1),
    "one bit flipped on the way": (flipped_on_the_way, 1),
}


@pytest.mark.parametrize("name", HEALING)
@pytest.mark.parametrize("what", ["stack.fits", "c/1"])
def test_what_happens_once_or_twice_ends_with_right_bytes(
    server: Endpoint, proxy: FaultServer, products: Path, name: str, what: str
) -> None:
    fault, times = HEALING[name]
    plan = proxy.plan(fault, times, only=what)
    prefix = f"heal/{name.replace(' ', '-')}-{what.replace('/', '-')}"
    options = options_for(proxy, stall_timeout_s=1.0)
    report = upload([products / "stack.fits", products / "curves.zarr"], f"s3://{BUCKET}/{prefix}", options=options)
    assert plan.applied == times
    assert set(report["status"]) == {"uploaded"}, report["error"].tolist()
    assert stored(server, f"{prefix}/") == local(products, prefix)
    assert not [key for key in unfinished(server) if key.startswith(prefix)]


ENDLESS = {
    "503": (faults.slow_down, "503 SlowDown"),
    "closed without a word": (faults.close_at_once, "the connection broke"),
    "stalled": (faults.stall_before_head, "stalled: no byte for 1 s"),
    "one bit flipped on the way": (flipped_on_the_way, "what was stored is not what the file holds"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_never_stops_ends_in_a_clear_error(
    server: Endpoint, proxy: FaultServer, products: Path, name: str
) -> None:
    fault, words = ENDLESS[name]
    proxy.plan(fault, only="stack.fits")
    began = time.monotonic()
    options = options_for(proxy, stall_timeout_s=1.0, retry_seconds=3.0)
    paths = [products / "stack.fits", products / "curves.zarr"]
    report = upload(paths, f"s3://{BUCKET}/endless/{name.replace(' ', '-')}", options=options)
    assert time.monotonic() - began < 30
    assert [row["status"] for row in report] == ["failed", "uploaded", "uploaded", "uploaded"]
    assert words in report["error"][0]


def test_a_server_that_is_gone_is_not_asked_for_every_file(tmp_path: Path, proxy: FaultServer) -> None:
    for i in range(40):
        (tmp_path / f"{i:02d}").write_bytes(b"x")
    proxy.plan(faults.close_at_once, after=1)  # the bucket may be written, then nothing
    options = options_for(proxy, max_objects=4, max_lost=4, max_attempts=1)
    report = upload(sorted(tmp_path.iterdir()), f"s3://{BUCKET}/lost", options=options)
    assert set(report["status"]) == {"failed"}
    assert sum("not tried" in error for error in report["error"]) >= 30


def test_uploads_follow_no_redirect(server: Endpoint, proxy: FaultServer, products: Path) -> None:
    with FaultServer(server.url) as elsewhere:
        proxy.plan(faults.redirect_to(elsewhere.url), only="stack.fits")
        report = upload([products / "stack.fits"], f"s3://{BUCKET}/away", options=options_for(proxy))
        assert report["status"][0] == "failed"
        assert not elsewhere.requests


def test_without_credentials_the_remedy_is_named(
    server: Endpoint, products: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(TransferError, match="no credentials were found: set AWS_ACCESS_KEY_ID"):
        upload([products / "stack.fits"], f"s3://{BUCKET}/x", options=options_for(server))
    with pytest.raises(TransferError, match="nobody"):
        upload([products / "stack.fits"], f"s3://{BUCKET}/x", options=options_for(server, profile="nobody"))


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[Endpoint, dict[str, str]]]:
    """A server that checks signatures and rights, and the keys of somebody who may read alone."""
    import boto3

    with Endpoint() as running:
        running.put("made", b"", bucket=BUCKET)
        iam = boto3.client(
            "iam",
            endpoint_url=running.url,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="thing",
        )
        iam.create_user(UserName="reader")
        allowed = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=policy)
        keys = iam.create_access_key(UserName="reader")["AccessKey"]
        iam.close()
        ask = urllib.request.Request(
            f"{running.url}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"}
        )
        urllib.request.urlopen(ask).close()
        yield running, keys


def test_wrong_credentials_are_told_apart(
    guarded: tuple[Endpoint, dict[str, str]],
    products: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, keys = guarded
    caplog.set_level("DEBUG")
    told = []
    for key_id, secret, words in (
        (CREDENTIALS["AWS_ACCESS_KEY_ID"], SECRET, "the credentials are not accepted at .*InvalidAccessKeyId"),
        (keys["AccessKeyId"], SECRET, "the credentials are not accepted at .*SignatureDoesNotMatch"),
        (keys["AccessKeyId"], keys["SecretAccessKey"], "the credentials in use may not write there"),
    ):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        with pytest.raises(TransferError, match=words) as caught:
            upload([products / "stack.fits"], f"s3://{BUCKET}/x", options=options_for(server))
        told += [str(caught.value), repr(caught.value), str(caught.value.causes)]
    said = "\n".join([*told, caplog.text])
    for secret in (SECRET, keys["SecretAccessKey"]):
        assert secret not in said
    assert keys["AccessKeyId"] not in "\n".join(told)


def _start(server: Endpoint | FaultServer, folder: Path, goal: str) -> subprocess.Popen[str]:
    environment = {**os.environ, **CREDENTIALS, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SEND, server.url, str(folder), goal]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def big(tmp_path: Path) -> Path:
    folder = tmp_path / "store.zarr"
    folder.mkdir()
    for i in range(12):
        (folder / f"small{i:02d}").write_bytes(os.urandom(300_000))
    for i in range(3):
        (folder / f"zbig{i}").write_bytes(os.urandom(2 * PART + i))
    return folder


def _n_put(proxy: FaultServer) -> int:
    return sum(request.method == "PUT" for request in proxy.requests)


def test_a_killed_upload_goes_on_where_it_was(server: Endpoint, big: Path) -> None:
    n_bytes = sum(path.stat().st_size for path in big.iterdir())
    n_largest = max(path.stat().st_size for path in big.iterdir())
    sent = 0
    for n_until_killed in (4, 4, 4, None):
        with FaultServer(server.url, latency_s=0.02) as proxy:
            child = _start(proxy, big, f"s3://{BUCKET}/killed")
            if n_until_killed is not None:
                while child.poll() is None and _n_put(proxy) < n_until_killed:
                    time.sleep(0.005)
                child.send_signal(signal.SIGKILL)
            said, complaint = child.communicate(timeout=120)
            proxy.wait_closed()
            sent += sum(int(request.headers["content-length"]) for request in proxy.requests if request.method == "PUT")
    assert child.returncode == 0, complaint
    assert set(said.strip().split(",")) == {"present", "uploaded"}
    assert stored(server, "killed/") == local(big, "killed/store.zarr")
    assert not [key for key in unfinished(server) if key.startswith("killed/")]
    assert sent <= n_bytes + 3 * 2 * n_largest  # at each kill what was under way, in two files at most


def test_an_interrupt_gives_up_what_is_under_way(server: Endpoint, big: Path) -> None:
    with FaultServer(server.url, latency_s=0.05) as proxy:
        child = _start(proxy, big, f"s3://{BUCKET}/interrupted")
        while child.poll() is None and not any("partNumber" in request.target for request in proxy.requests):
            time.sleep(0.005)
        child.send_signal(signal.SIGINT)
        _, complaint = child.communicate(timeout=60)
        proxy.wait_closed()
    assert child.returncode != 0
    assert "KeyboardInterrupt" in complaint
    assert not [key for key in unfinished(server) if key.startswith("interrupted/")]


def test_two_uploads_run_side_by_side_in_one_process(server: Endpoint, products: Path) -> None:
    from starskope.transfer.upload import upload_async

    async def both() -> list[object]:
        goals = (f"s3://{BUCKET}/side/a", f"s3://{BUCKET}/side/b")
        return await asyncio.gather(
            *(upload_async([products / "stack.fits"], g, options=options_for(server)) for g in goals)
        )

    assert [report["status"][0] for report in asyncio.run(both())] == ["uploaded", "uploaded"]  # type: ignore[index]


def test_the_default_patience_is_below_90_s() -> None:
    """What a stalled server costs: tries times the time without a byte, and the longest waits between them."""
    from starskope.transfer.sender import n_attempts

    options = TransferOptions()
    n_tries = n_attempts(options)
    assert n_tries >= 3
    assert n_tries * options.stall_timeout_s + sum(2**i for i in range(n_tries - 1)) < 90


def test_uploads_over_tls(server: Endpoint, products: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over TLS botocore sends the sums of parts behind their bodies, in chunks: as it does to S3 itself."""
    with tls_front(server.url, tmp_path) as (url, ca_file):
        monkeypatch.setenv("AWS_CA_BUNDLE", str(ca_file))
        paths = [products / "stack.fits", products / "curves.zarr"]
        report = upload(paths, f"s3://{BUCKET}/tls", options=TransferOptions(endpoint_url=url))
    assert set(report["status"]) == {"uploaded"}, report["error"].tolist()
    assert set(report["check"]) == {"crc64nvme"}
    assert stored(server, "tls/") == local(products, "tls")
