"""Whole objects of the size of an FFI from nginx to files: what each client costs, its start-up taken off.

Every client is a program of its own; `wait4` tells the CPU time of it and its children. A run with one object is the
start-up, which a run with 24 then has taken off. All clients have the first round; the further ones are for ours and
the rivals that did best in it, by either measure. nginx gives ETags and sums as S3 does and takes little of the CPUs
that it shares with the client. Files go to memory where it has a file system: the row is about clients, not disks.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import harness
import numpy as np
import pytest
from bulk_clients import command, is_there
from child_cost import Cost, Slope, cost_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
nginx_server = pytest.importorskip("nginx_server")
latency_server = pytest.importorskip("latency_server")

N_OBJECT, N_CONTENT = 24, 4
N_BYTES = 35_553_600
BUCKET = "stpubdata"
KEYS = [f"tess/public/bench/frame{i:02d}_ffic.fits" for i in range(N_OBJECT)]
RIVALS = ("s5cmd", "obstore", "awscrt", "boto3", "rclone", "aiobotocore")
N_ROUND = 3
N_REPEATED = 2
LIMIT_S = 30.0
LATENCY_S = 0.05
GIGABYTES = (N_OBJECT - 1) * N_BYTES / 1e9

pytestmark = pytest.mark.skipif(
    nginx_server.find_nginx() is None, reason="nginx is not installed: apt-get install nginx"
)


@dataclass(frozen=True)
class Bucket:
    """A folder that nginx serves, and where clients put their files."""

    root: Path
    out: Path


@pytest.fixture(scope="module")
def bucket(workspace: Path) -> Iterator[Bucket]:
    """Random bytes, as incompressible as an FFI; 24 names of four contents."""
    memory = Path("/dev/shm")
    place = memory / f"starskope-bench-{os.getpid()}" if os.access(memory, os.W_OK) else workspace / "bulk"
    rng = np.random.default_rng(4)
    try:
        for i, key in enumerate(KEYS):
            path = place / "root" / BUCKET / key
            path.parent.mkdir(parents=True, exist_ok=True)
            if i < N_CONTENT:
                path.write_bytes(rng.bytes(N_BYTES))
            else:
                path.hardlink_to(place / "root" / BUCKET / KEYS[i % N_CONTENT])
        yield Bucket(place / "root", place / "out")
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def serve(bucket: Bucket, scheme: str, latency_s: float, **settings: bool) -> Iterator[tuple[str, dict[str, str]]]:
    """Give the address of the server and the environment that its clients need."""
    with nginx_server.Nginx(bucket.root, tls=scheme == "https", **settings) as nginx:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RCLONE_"))}
        environment |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "us-east-1"}
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        if nginx.ca_file is not None:
            environment |= dict.fromkeys(("AWS_CA_BUNDLE", "SSL_CERT_FILE"), str(nginx.ca_file))
        if not latency_s:
            yield nginx.url, environment
        else:
            with latency_server.LatencyServer(nginx.url, latency_s) as relay:
                yield relay.url, environment


def fetch(client: str, url: str, bucket: Bucket, keys: list[str], environment: Mapping[str, str], log: Path) -> Cost:
    """Fetch into an empty folder."""
    shutil.rmtree(bucket.out, ignore_errors=True)
    bucket.out.mkdir()
    line = command(client, url, BUCKET, bucket.out, keys)
    return cost_of(line, environment=environment, log=log, limit_s=LIMIT_S)


def check(client: str, bucket: Bucket) -> None:
    for key in KEYS:
        got, stored = bucket.out / key.rpartition("/")[2], bucket.root / BUCKET / key
        assert got.read_bytes() == stored.read_bytes(), (client, key)


def best(slopes: Mapping[str, Slope]) -> set[str]:
    """Return the rivals that are worth another round: those of the least CPU time and those of the least wall time."""
    found: set[str] = set()
    for what in (lambda cost: cost.cpu_s, lambda cost: cost.wall_s):
        figures = {client: min(slope.rounds(what)) for client, slope in slopes.items() if client != "starskope"}
        found.update(sorted(figures, key=figures.__getitem__)[:N_REPEATED])
    return found


def measure(
    session: harness.Session, clients: tuple[str, ...], bucket: Bucket, scheme: str, latency_s: float, log: Path
) -> tuple[dict[str, Slope], list[str]]:
    """Run the clients with one object and with all, in turns; also give notes on rivals that failed."""
    slopes = {client: Slope() for client in clients}
    notes = []
    with serve(bucket, scheme, latency_s, checksums=True, md5_etags=True) as (url, environment):
        for n_round in range(N_ROUND):
            again = {"starskope", *(best(slopes) if n_round else slopes)}
            for client, slope in list(slopes.items()):
                if client not in again:
                    continue
                try:
                    few = fetch(client, url, bucket, KEYS[:1], environment, log)
                    many = fetch(client, url, bucket, KEYS, environment, log)
                except RuntimeError as error:
                    if client == "starskope":
                        raise
                    if slope.many:
                        notes.append(f"{client} failed in one of its rounds: {str(error)[-200:]}")
                    else:
                        del slopes[client]
                        notes.append(session.leave_out(client, f"failed over {scheme}: {str(error)[-200:]}"))
                    continue
                slope.few.append(few)
                slope.many.append(many)
                if not n_round:
                    check(client, bucket)
    return slopes, notes


@pytest.mark.parametrize("latency_s", [0.0, LATENCY_S], ids=["", "50 ms"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_bulk(session: harness.Session, bucket: Bucket, workspace: Path, scheme: str, latency_s: float) -> None:
    rivals = tuple(rival for rival in RIVALS if is_there(rival))
    missing = [session.leave_out(rival, "not installed") for rival in RIVALS if rival not in rivals]
    clients = ("starskope", *rivals)
    slopes, failed = measure(session, clients, bucket, scheme, latency_s, workspace / "client.log")
    late = f", {1000 * latency_s:g} ms added" if latency_s else ""
    what = f"{N_OBJECT - 1} objects of 35.5 MB with a stored CRC64NVME over {scheme}{late}, start-up taken off"
    checked = "ours and rclone (MD5) alone compare every byte with the server's sum"

    def row(name: str, figure: dict[str, list[float]], n_bytes: int | None) -> harness.Row:
        timings = {client: harness.Timing(rounds) for client, rounds in figure.items()}
        ours = timings.pop("starskope")
        notes = [checked, *missing, *failed]
        return session.record(harness.Row(name, ours, timings, n_bytes=n_bytes, threads="all", notes=notes))

    cpu = {
        client: [cpu / GIGABYTES for cpu in slope.rounds(lambda cost: cost.cpu_s)] for client, slope in slopes.items()
    }
    made = row(f"CPU time of the client per GB: {what}", cpu, None)
    least = min(made.ratio(rival) for rival in ("s5cmd", "obstore", "awscrt", "boto3") if rival in made.rivals)
    made.must("not above s5cmd, obstore, awscrt, boto3", least >= 1)
    made.aim("0.8x the best", least >= 1.25)
    wall = {client: slope.rounds(lambda cost: cost.wall_s) for client, slope in slopes.items()}
    made = row(f"wall time: {what}", wall, (N_OBJECT - 1) * N_BYTES)
    least = min(map(made.ratio, made.rivals))
    made.must("1.1x the fastest", least >= 1 / 1.1)
    made.aim("the fastest", least >= 1)
    peak = max(cost.peak_bytes for cost in slopes["starskope"].many)
    made.notes.append(f"largest process of ours {peak / 1e6:.0f} MB")


SERVERS = {"nothing to compare but the size": {}, "CRC64NVME": {"checksums": True}, "MD5": {"md5_etags": True}}


def test_checks(session: harness.Session, bucket: Bucket, workspace: Path) -> None:
    """What it costs to hold the bytes against a sum: the same client, servers that store different sums."""
    slopes = {name: Slope() for name in SERVERS}
    rclone = Slope()
    log = workspace / "client.log"
    for n_round in range(N_ROUND):
        for name, settings in SERVERS.items():
            with serve(bucket, "http", 0.0, **settings) as (url, environment):
                slopes[name].few.append(fetch("starskope", url, bucket, KEYS[:1], environment, log))
                slopes[name].many.append(fetch("starskope", url, bucket, KEYS, environment, log))
                if not n_round:
                    check(name, bucket)
                if name == "MD5" and is_there("rclone"):
                    rclone.few.append(fetch("rclone", url, bucket, KEYS[:1], environment, log))
                    rclone.many.append(fetch("rclone", url, bucket, KEYS, environment, log))
    for text, what in (("CPU time", lambda cost: cost.cpu_s), ("wall time", lambda cost: cost.wall_s)):
        timings = {name: harness.Timing(slope.rounds(what)) for name, slope in slopes.items()}
        plain = timings.pop("nothing to compare but the size")
        name = f"{text} of a download over http, the server stores no sum; then one that is checked, start-up taken off"
        row = session.record(harness.Row(name, plain, timings, threads="all"))
        row.must("CRC64NVME 1.15x of unchecked", row.ratio("CRC64NVME") <= 1.15)
        row.must("MD5 2.2x of unchecked", row.ratio("MD5") <= 2.2)
        row.notes.append("the rivals are ours with a check: below the limit is good")
        if rclone.many:
            name = f"{text} of a download over http that compares the MD5 of every object, start-up taken off"
            ours = harness.Timing(slopes["MD5"].rounds(what))
            timings = {"rclone": harness.Timing(rclone.rounds(what))}
            session.record(harness.Row(name, ours, timings, threads="all"))


def test_relay(session: harness.Session, bucket: Bucket, workspace: Path) -> None:
    """What the relay that adds the 50 ms can carry by itself: the rows above mean something below it alone."""
    log = workspace / "client.log"
    rounds: dict[str, list[float]] = {"through it": [], "without": []}
    with (
        nginx_server.Nginx(bucket.root, md5_etags=True) as nginx,
        latency_server.LatencyServer(nginx.url, 0.0) as relay,
    ):
        environment = {**os.environ, "AWS_REGION": "us-east-1"}
        for _ in range(N_ROUND):
            for name, url in (("through it", relay.url), ("without", nginx.url)):
                rounds[name].append(fetch("s5cmd", url, bucket, KEYS, environment, log).wall_s)
    row = harness.Row(
        "s5cmd through the relay of the tests, no latency added, start-up included",
        harness.Timing(rounds["through it"]),
        {"s5cmd without it": harness.Timing(rounds["without"])},
        n_bytes=N_OBJECT * N_BYTES,
        threads="all",
        notes=["what the relay can carry: the ceiling of the rows with 50 ms"],
    )
    session.record(row)
