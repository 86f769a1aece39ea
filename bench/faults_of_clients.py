"""What seven S3 clients do when the network or the server misbehaves: the table of docs/transfer-faults.md.

``python bench/faults_of_clients.py`` runs every client of `clients_under_test` in a process of its own against the
fault proxy of the tests, one fault at a time, and prints the table; ``--update-docs`` writes it into the page. All of
them with the settings they come with; the verdict is read from the exit code and from what lies on disk afterwards.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

import clients_under_test as clients  # noqa: E402
import fault_server as faults  # noqa: E402
from fault_server import FaultServer  # noqa: E402

PAGE = HERE.parent / "docs" / "transfer-faults.md"
MARKERS = ("<!-- clients: begin -->", "<!-- clients: end -->")
N_BYTES = 35_553_600
LIMIT_S = 100.0
BUCKET, PREFIX = "stpubdata", "faults/"
KEY = PREFIX + "frame_ffic.fits"
RANGE = (17_000_000, 17_002_880)


@dataclass(frozen=True)
class Case:
    """A row: the faults in the order in which they strike, and how often each; None: for ever."""

    words: str
    plans: tuple[tuple[faults.Fault, int | None], ...]
    what: str = "whole"  # whole: the object to a file; range: 2,880 bytes of it; list: its name
    listings: bool = False


CASES = (
    Case("none", ()),
    Case("reset in mid-body, once", ((faults.reset, 1),)),
    Case("early close in mid-body, once", ((faults.early_close, 1),)),
    Case("closed after 1,000 bytes, for ever", ((faults.close_after_a_little, None),)),
    Case("closed without a word, for ever", ((faults.close_at_once, None),)),
    Case("stalled in mid-body, once", ((faults.stall, 1),)),
    Case("stalled in mid-body, for ever", ((faults.stall, None),)),
    Case("10 bytes per second from mid-body on, once", ((faults.trickle, 1),)),
    Case("503 SlowDown, twice", ((faults.slow_down, 2),)),
    Case("503 SlowDown, for ever", ((faults.slow_down, None),)),
    Case("one bit flipped, once", ((faults.flipped_bit, 1),)),
    Case("one bit flipped, for ever", ((faults.flipped_bit, None),)),
    Case("Content-Length and body 1,000 bytes short, once", ((faults.short_length, 1),)),
    Case("wrong ETag on the first answer, which breaks", ((faults.other_etag_then_close, 1),)),
    Case("another ETag in mid-file", ((faults.early_close, 1), (faults.other_etag, 1))),
    Case("answered with a range that begins one byte later, once", ((faults.other_range, 1),)),
    Case("Range ignored (200), for ever", ((faults.range_ignored, None),)),
    Case("a web page with status 200, once", ((faults.garbage, 1),)),
    Case("redirected in a circle", ((faults.redirect_loop, None),)),
    Case("read 2,880 bytes, Range ignored (200), for ever", ((faults.range_ignored, None),), "range"),
    Case("read 2,880 bytes, answered with those one byte later, once", ((faults.other_range, 1),), "range"),
    Case("list, a web page with status 200, once", ((faults.garbage, 1),), "list", listings=True),
    Case("list, XML that is no listing, for ever", ((faults.foreign_xml, None),), "list", listings=True),
)


@dataclass
class Outcome:
    case: str
    client: str
    verdict: str
    seconds: float
    megabytes: float


@contextmanager
def filled_server(content: bytes) -> Iterator[str]:
    """Run moto's server with one object that has an MD5 as ETag and a stored CRC64NVME, as S3 gives new objects."""
    import boto3

    from starskope.synth.endpoint import Endpoint

    with Endpoint() as endpoint:
        endpoint.put(PREFIX + "first", b"")  # makes the bucket
        client = boto3.client(
            "s3", endpoint_url=endpoint.url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        client.delete_object(Bucket=BUCKET, Key=PREFIX + "first")
        client.put_object(Bucket=BUCKET, Key=KEY, Body=content, ACL="public-read", ChecksumAlgorithm="CRC64NVME")
        client.close()
        yield endpoint.url


def judge(case: Case, name: str, upstream: str, content: bytes, limit_s: float) -> Outcome | None:
    """Let one client meet one fault; None when it cannot do what the case asks for."""
    expected = {"whole": content, "range": content[slice(*RANGE)], "list": KEY.encode()}[case.what]
    with tempfile.TemporaryDirectory(prefix="starskope-faults-") as scratch, FaultServer(upstream) as proxy:
        folder = Path(scratch) / "files"
        folder.mkdir()
        dest = folder / KEY.rpartition("/")[2]
        command = clients.command(name, case.what, proxy.url, BUCKET, KEY, dest, RANGE)
        if command is None:
            return None
        for fault, times in case.plans:
            proxy.plan(fault, times, listings=case.listings)
        begun = time.monotonic()
        code = _run(command, Path(scratch), dest if case.what == "list" else None, limit_s)
        seconds = time.monotonic() - begun
        verdict = _verdict(code, folder, dest, expected)
        return Outcome(case.words, name, verdict, round(seconds, 1), round(proxy.n_bytes / 1e6, 1))


def _run(command: list[str], scratch: Path, output: Path | None, limit_s: float) -> int | None:
    """Return the exit code, None when the time was up; a listing's standard output goes to `output`."""
    said = scratch / "said"
    with said.open("wb") as stream, (scratch / "complaint").open("wb") as complaint:
        try:
            environment = clients.environment(scratch)
            done = subprocess.run(
                command, stdout=stream, stderr=complaint, timeout=limit_s, env=environment, cwd=scratch
            )
        except subprocess.TimeoutExpired:
            return None
    if output is not None and not output.exists() and (lines := clients.listed(said.read_text(), PREFIX)):
        output.write_text("\n".join(lines))
    return done.returncode


def _verdict(code: int | None, folder: Path, dest: Path, expected: bytes) -> str:
    is_right = dest.is_file() and dest.read_bytes() == expected
    left = [path for path in folder.rglob("*") if path.is_file() and path != dest and "manifest" not in path.name]
    # What another run goes on from is meant to stay; an unfinished file of somebody who does not is a leak.
    leak = ", temp left" if [path for path in left if not path.name.startswith(".starskope-")] else ""
    if code is None:
        # Killed by us: an unfinished temporary file is no fault then, one under the final name is.
        return f"not done in {LIMIT_S:g} s" + (", wrong file" if dest.is_file() and not is_right else "")
    if code == 0:
        return ("good" if is_right else "SILENT BAD") + leak
    return "error" + (", wrong file left" if dest.is_file() and not is_right else "") + leak


def table(outcomes: list[Outcome], names: list[str]) -> str:
    """Return the table in Markdown: seconds beyond those without a fault, megabytes where more came than was needed."""
    lines = [f"| fault | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    seen = {(one.case, one.client): one for one in outcomes}
    for case in CASES:
        if any(one.case == case.words for one in outcomes):
            cells = [_cell(case, seen.get((case.words, name)), seen.get((CASES[0].words, name))) for name in names]
            lines.append(f"| {case.words} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(case: Case, one: Outcome | None, unharmed: Outcome | None) -> str:
    if one is None:
        return "-"
    needed = N_BYTES / 1e6 if case.what == "whole" else 0.1
    late = one.seconds - (unharmed.seconds if unharmed else 0)
    told = [one.verdict]
    if late > 10 and "not done" not in one.verdict:
        told.append(f"+{late:.0f} s")
    if one.megabytes > 1.15 * needed:
        told.append(f"{one.megabytes:.0f} MB")
    said = ", ".join(told)
    return f"**{said}**" if "SILENT" in said or "wrong file" in said else said


def main() -> int:
    """Run the cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", metavar="WORDS", help="rows whose words hold these")
    parser.add_argument("--clients", default=",".join(clients.NAMES), metavar="A,B")
    parser.add_argument("--at-once", type=int, default=4, metavar="N", help="cases at the same time (default: 4)")
    parser.add_argument("--limit", type=float, default=LIMIT_S, metavar="S", help="seconds until a client hangs")
    parser.add_argument("--json", metavar="FILE", help="write what was seen there, beside what it holds already")
    parser.add_argument("--update-docs", action="store_true", help="write the table into docs/transfer-faults.md")
    arguments = parser.parse_args()
    names = [name for name in arguments.clients.split(",") if clients.is_there(name)]
    record = Path(arguments.json) if arguments.json else None
    known = [Outcome(**one) for one in json.loads(record.read_text())] if record and record.exists() else []
    content = np.random.default_rng(35).bytes(N_BYTES)
    cases = [case for case in CASES if arguments.only in case.words]
    done = {(one.case, one.client) for one in known}
    jobs = [(case, name) for case in cases for name in names if (case.words, name) not in done]
    with filled_server(content) as upstream, ThreadPoolExecutor(arguments.at_once) as pool:

        def one(job: tuple[Case, str]) -> Outcome | None:
            outcome = judge(*job, upstream, content, arguments.limit)
            print(outcome, file=sys.stderr, flush=True)
            return outcome

        outcomes = known + [outcome for outcome in pool.map(one, jobs) if outcome is not None]
    said = f"{clients.versions(names)}\n\n{table(outcomes, names)}"
    print(said)
    if record:
        record.write_text(json.dumps([vars(outcome) for outcome in outcomes], indent=1))
    if arguments.update_docs:
        _update(said)
    return 0


def _update(said: str) -> None:
    page = PAGE.read_text()
    before, _, rest = page.partition(MARKERS[0])
    _, _, after = rest.partition(MARKERS[1])
    if not after:
        raise SystemExit(f"{PAGE} has no lines {MARKERS}")
    PAGE.write_text(f"{before}{MARKERS[0]}\n{said}\n{MARKERS[1]}{after}")


if __name__ == "__main__":
    sys.exit(main())
