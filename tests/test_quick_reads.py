"""Small ranges on the short way: equal to botocore's own, signed alike, hedged, many at once, and leaving nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import fault_server as faults
import numpy as np
import pytest
import quick_scene
from fault_server import Exchange, Fault, FaultServer
from nginx_server import Nginx, find_nginx
from quick_scene import BUCKET, CONTENT, ETAG, URI, collect, ready

from starskope.errors import TransferError
from starskope.synth.endpoint import Endpoint
from starskope.transfer import quickread
from starskope.transfer.client import Client, open_client
from starskope.transfer.facade import run_sync
from starskope.transfer.options import TransferOptions
from starskope.transfer.ranged import RangeRead, ReplacedError, read_range
from starskope.transfer.ranges import RangeRequest
from starskope.transfer.uris import S3Uri

_objects = quick_scene.objects  # the fixtures
proxy = quick_scene.proxy


@pytest.mark.parametrize("etag", [None, ETAG, f'"{ETAG}"', "0" * 32], ids=["any", "right", "quoted", "wrong"])
def test_the_short_way_equals_botocores(endpoint: Endpoint, etag: str | None) -> None:
    rng = np.random.default_rng(5)
    edges = [(0, 1), (0, 200_000), (199_999, 1), (199_999, 50), (200_000, 1), (10**9, 5), (0, 10**6)]
    spans = edges + list(zip(rng.integers(0, 210_000, 20).tolist(), rng.integers(1, 30_000, 20).tolist(), strict=True))

    async def outcome(client: Client, start: int, stop: int) -> Any:
        try:
            return await read_range(client, URI, start, stop, etag=etag)
        except TransferError as error:
            return type(error), str(error)

    async def both() -> None:
        async with ready(endpoint) as quick, ready(endpoint, small_read_bytes=0) as plain:
            for start, n_bytes in spans:
                first, second = [await outcome(client, start, start + n_bytes) for client in (quick, plain)]
                assert first == second
                if etag != "0" * 32 and start < len(CONTENT):
                    assert first.data == CONTENT[start : start + n_bytes]

    run_sync(both())


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("etag", [None, ETAG])
def test_both_ways_send_the_same_request(
    proxy: FaultServer, monkeypatch: pytest.MonkeyPatch, signed: bool, etag: str | None
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE00")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret/+words")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token==")

    async def both() -> None:
        for changes in ({}, {"small_read_bytes": 0}):
            async with ready(proxy, signed=signed, request_payer=signed, **changes) as client:
                assert (await read_range(client, URI, 5, 17, etag=etag)).data == CONTENT[5:17]

    run_sync(both())
    quick, plain = proxy.requests[1], proxy.requests[3]
    for name in ("amz-sdk-invocation-id", "amz-sdk-request"):
        assert name not in quick.headers, "this request did not go the short way"
        del plain.headers[name]
    if signed:
        assert quick.headers["x-amz-security-token"] == "token=="
        assert quick.headers["x-amz-request-payer"] == "requester"
        for request in (quick, plain):
            date = request.headers.pop("x-amz-date")
            assert request.headers["authorization"].startswith(
                f"AWS4-HMAC-SHA256 Credential=AKIAEXAMPLEEXAMPLE00/{date[:8]}"
            )
            request.headers["authorization"] = "of its second"
    assert quick.target == plain.target
    assert quick.headers == plain.headers


def test_a_signer_that_is_not_understood_means_the_long_way(
    endpoint: Endpoint, proxy: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short way is taken only when its signature of botocore's own request is botocore's."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE00")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr("starskope.transfer.signing.authorization", lambda *_: "AWS4-HMAC-SHA256 something else")

    async def read() -> None:
        options = TransferOptions(endpoint_url=proxy.url, signed=True)
        async with open_client(options) as client:
            for _ in range(3):
                assert (await read_range(client, URI, 7, 9)).data == CONTENT[7:9]
                assert not client.quick.knows(URI, 2)

    run_sync(read())
    assert all("amz-sdk-request" in request.headers for request in proxy.requests)


@pytest.mark.parametrize("name", ["_create_connector", "_get_session"])
def test_an_aiobotocore_of_other_insides_is_used_as_it_is(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("starskope.transfer.connections._NEEDED", (name + "_gone",))

    async def read() -> bytes:
        async with open_client(TransferOptions(endpoint_url=endpoint.url)) as client:
            await read_range(client, URI, 0, 1)
            assert not client.quick.knows(URI, 1)
            return (await read_range(client, URI, 3, 30)).data

    assert run_sync(read()) == CONTENT[3:30]


@pytest.mark.parametrize(
    "key", ["quick/a b.bin", "quick/é+&?#.bin", "quick/./x", "quick/../x", "/quick/x", "quick//x", "quick/"]
)
def test_keys_of_disputed_spelling_go_the_long_way(endpoint: Endpoint, key: str) -> None:
    assert quickread._PLAIN_KEY.fullmatch(key) is None
    if "/." in key or key.startswith("/") or key.endswith("/"):
        return
    endpoint.put(key, key.encode() * 10)

    async def read() -> bytes:
        async with ready(endpoint) as client:
            return (await read_range(client, S3Uri(BUCKET, key), 0, 1000)).data

    assert run_sync(read()) == key.encode() * 10


def test_an_answer_that_botocore_must_judge_is_put_to_it(proxy: FaultServer, endpoint: Endpoint) -> None:
    endpoint.put("quick/private.bin", b"x", acl="private")

    async def read() -> None:
        async with ready(proxy) as client:
            with pytest.raises(TransferError, match=r"403.*not open to unsigned requests; ask for signed ones"):
                await read_range(client, S3Uri(BUCKET, "quick/private.bin"), 0, 1)
            with pytest.raises(TransferError, match=r"no such object .*404 NoSuchKey"):
                await read_range(client, S3Uri(BUCKET, "quick/absent.bin"), 0, 1)
            assert (await read_range(client, URI, 0, 4)).data == CONTENT[:4]

    run_sync(read())


FAULTS = [
    (faults.reset, "the connection broke"),
    (faults.early_close, "the connection broke"),
    (faults.close_at_once, "the connection broke"),
    (faults.stall, "stalled: no byte for 0.8 s"),
    (faults.stall_before_head, "stalled: no byte for 0.8 s"),
    (faults.trickle, "too slow:"),
    (faults.slow_down, "503 SlowDown"),
    (faults.internal_error, "the server answered 500"),
    (faults.wrong_content_range, "the answer says"),
    (faults.no_content_range, "Content-Range"),
    (faults.garbage, "is the endpoint right?"),
    (faults.not_http, "does not speak HTTP"),
    (faults.range_ignored, "ignored the range"),
    (faults.short_length, "Content-Length is"),
]


@pytest.mark.parametrize(("fault", "words"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_small_range_meets_the_same_faults(proxy: FaultServer, fault: Fault, words: str) -> None:
    async def read() -> None:
        async with ready(proxy, hedge_share=0.0) as client:
            plan = proxy.plan(fault, 2)
            assert (await read_range(client, URI, 1000, 9000)).data == CONTENT[1000:9000]
            assert plan.applied == 2
            plan = proxy.plan(fault)
            with pytest.raises(TransferError) as caught:
                await read_range(client, URI, 1000, 9000)
            assert words in str(caught.value)
            assert "after 4 tries" in str(caught.value)
            assert caught.value.__cause__ is not None

    run_sync(read())


def test_a_pinned_range_of_a_replaced_object_is_refused(proxy: FaultServer) -> None:
    async def read() -> None:
        async with ready(proxy) as client:
            proxy.plan(faults.other_etag, 1)
            assert (await read_range(client, URI, 0, 9, etag=ETAG)).data == CONTENT[:9]
            proxy.plan(faults.other_etag)
            with pytest.raises(ReplacedError, match="the object changed: its ETag is 0000"):
                await read_range(client, URI, 0, 9, etag=ETAG)
            assert len(proxy.requests) == 1 + 2 + 3

    run_sync(read())


def test_a_retry_goes_over_a_new_connection(proxy: FaultServer) -> None:
    async def read() -> None:
        async with ready(proxy) as client:
            for _ in range(3):
                await read_range(client, URI, 0, 9)
            assert proxy.n_accepted == 2, "one of botocore's, one of the short way"
            proxy.plan(faults.slow_down, 2)
            assert (await read_range(client, URI, 0, 9)).data == CONTENT[:9]
            assert proxy.n_accepted == 4, "two retries, two new connections, though the old ones are alive"
            await read_range(client, URI, 0, 9)
            assert proxy.n_accepted == 4

    run_sync(read())


def test_complaints_narrow_the_gate_and_successes_widen_it(proxy: FaultServer) -> None:
    async def read() -> None:
        requests = [RangeRequest(URI, i, i + 1) for i in range(200)]
        async with ready(proxy, start_connections=8, max_connections=32, backoff_base_s=0.0) as client:
            await collect(client, requests)
            assert client.pace.gate().width == 32
            proxy.plan(faults.slow_down, 4)
            found = await collect(client, requests)
            assert all(isinstance(result, RangeRead) for result in found.values())
            assert client.pace.gate().n_fallen >= 1
            assert client.pace.gate().n_busy == 0

    run_sync(read())


def test_a_slow_line_is_not_a_stalled_one(proxy: FaultServer) -> None:
    """100 kB/s over three times the limit of a stall: above the floor, and so read in one go."""

    async def slowly(exchange: Exchange) -> None:
        answer = await exchange.upstream()
        exchange.writer.write(answer.head())
        while piece := await answer.step(2000):
            exchange.writer.write(piece)
            await exchange.writer.drain()
            await asyncio.sleep(0.02)

    async def read() -> None:
        async with ready(proxy, hedge_share=0.0) as client:
            proxy.plan(slowly)
            assert (await read_range(client, URI, 0, 150_000)).data == CONTENT[:150_000]
            assert len(proxy.requests) == 2

    run_sync(read())


def test_the_short_way_verifies_the_server_as_the_long_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_nginx() is None:
        pytest.skip("nginx is not installed")
    uri = S3Uri(BUCKET, "quick/frame.fits")
    (tmp_path / BUCKET / "quick").mkdir(parents=True)
    (tmp_path / BUCKET / uri.key).write_bytes(CONTENT)

    async def read(address: str) -> None:
        async with open_client(TransferOptions(endpoint_url=address, max_attempts=1)) as client:
            await read_range(client, uri, 0, 1)
            assert client.quick.knows(uri, 10_000)
            assert (await read_range(client, uri, 500, 10_500)).data == CONTENT[500:10_500]
            # The same server under a certificate of somebody else: no byte may be sent.
            (wires,) = client.quick._wires.values()
            await wires.close()
            monkeypatch.setattr(wires, "_port", other_port)
            with pytest.raises(TransferError, match=r"TLS with .* failed"):
                await read_range(client, uri, 0, 10)

    with Nginx(tmp_path, tls=True) as server, Nginx(tmp_path, tls=True) as other:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(server.ca_file))
        other_port = int(other.url.rpartition(":")[2])
        run_sync(read(server.url))
