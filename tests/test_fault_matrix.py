"""Every fault against download, stream, find and cutouts, through the command line as a user meets them.

A fault that strikes every object once or twice ends with the right bytes and exit code 0. One that never stops ends
with a clear error, exit code 1 and nothing under the final name, in time. All limits in seconds are the defaults
divided by `SHRINK`, so that what holds here within ``90 s / SHRINK`` holds for users within 90 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import fault_server as faults
import numpy as np
import pytest
from astropy.table import Table
from fault_server import Fault, FaultServer
from small_sector import CONFIG, frame_files, sector_dir

from starskope.cli import _parse, main
from starskope.frames.cutout_set import Cutouts
from starskope.frames.stack import Stack
from starskope.synth import SyntheticSector
from starskope.synth.endpoint import Endpoint
from starskope.transfer.options import TransferOptions

__all__ = ["sector_dir"]

SHRINK = 10
PROMISED_S = 90.0
OWN_WORK_S = 4.0  # reading, decoding and writing, on a busy machine
BUCKET = "fault-matrix"
CCD = ["--sector", "1", "--camera", "1", "--ccd", str(CONFIG.ccd), "--bucket", BUCKET]
CONTENT = np.random.default_rng(90).bytes(1_500_000)
N_FRAME = 3


@dataclass(frozen=True)
class Row:
    """A fault, the words of the complaint when it stays, and which kinds of reads it concerns."""

    fault: Fault
    words: str
    kinds: str = "download stream cutouts"

    def __str__(self) -> str:
        return self.fault.__name__


BROKEN = "the connection broke"
STALLED = "stalled: no byte for 1.5 s"
ROWS = [
    Row(faults.reset, BROKEN),
    Row(faults.early_close, BROKEN),
    Row(faults.close_at_once, BROKEN),
    Row(faults.close_after_a_little, BROKEN),
    Row(faults.stall, STALLED),
    Row(faults.stall_before_head, STALLED),
    Row(faults.trickle, "too slow"),
    Row(faults.slow_down, "503 SlowDown"),
    Row(faults.internal_error, "the server answered 500"),
    Row(faults.flipped_bit, "damaged on the way", "download"),  # no sum is stored for a range: see the page on faults
    Row(faults.short_length, "damaged on the way", "download"),
    Row(faults.short_length, "Content-Length is", "stream cutouts"),
    Row(faults.range_ignored, "ignored the range", "stream cutouts"),
    Row(faults.other_etag_then_close, f"ETag|changed|replaced|412|{BROKEN}"),  # it lies alike each time
    Row(faults.changed_in_the_middle, f"ETag|changed|replaced|412|{BROKEN}"),
    Row(faults.wrong_content_range, "the answer says"),
    Row(faults.other_range, "the answer says|the server ignored the range"),
    Row(faults.no_content_range, "Content-Range"),
    Row(faults.garbage, "is the endpoint right"),
    Row(faults.foreign_xml, "is the endpoint right"),
    Row(faults.not_http, "does not speak HTTP"),
    Row(faults.redirect_loop, "redirect"),
]
LISTING_ROWS = [
    Row(faults.garbage, "not S3's XML|not an S3 listing"),
    Row(faults.foreign_xml, "not an S3 listing"),
    Row(faults.slow_down, "503 SlowDown"),
    Row(faults.early_close, BROKEN),
    Row(faults.stall, STALLED),
    Row(faults.trickle, f"too slow|{STALLED}"),
    Row(faults.reset, BROKEN),
    Row(faults.redirect_loop, "redirect"),
]


# A fault that passes must cost a stall or a wait, not the patience of a busy machine: only what is waited out shrinks.
WAITED_OUT = {"stall_timeout_s", "backoff_base_s", "backoff_max_s"}


@pytest.fixture(autouse=True)
def _shrunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Divide the defaults of the options that are times."""
    times = {field.name for field in fields(TransferOptions) if field.name.endswith(("_s", "_seconds"))}
    times -= {"min_bytes_per_s"}
    assert times > WAITED_OUT
    factors = dict.fromkeys(times, SHRINK)
    if "n_faults" in request.fixturenames:
        factors = dict.fromkeys(WAITED_OUT, SHRINK)
    shrunk = []
    for field in fields(TransferOptions):
        default = field.default
        if field.name in factors:
            assert isinstance(default, float)
            default = default / factors[field.name]
            monkeypatch.setattr(TransferOptions, field.name, default)
        shrunk.append(default)
    monkeypatch.setattr(TransferOptions.__init__, "__defaults__", tuple(shrunk))


@pytest.fixture
def proxy(endpoint: Endpoint) -> Iterator[FaultServer]:
    with FaultServer(endpoint.url) as server:
        yield server
        assert server.wait_closed(), "a connection was left open"


def _where(proxy: FaultServer) -> list[str]:
    """The endpoint, and the shrunk limits that have a flag and so a default of the command line's own."""
    limits = {"--stall-timeout": TransferOptions.stall_timeout_s, "--retry-seconds": TransferOptions.retry_seconds}
    return ["--endpoint-url", proxy.url, *(word for flag, value in limits.items() for word in (flag, str(value)))]


@dataclass
class Subject:
    """A command: its arguments before the endpoint, where its product will stand, what that must hold."""

    arguments: list[str]
    product: Path
    is_right: Callable[[], bool]

    def run(self, proxy: FaultServer) -> int:
        return main([*self.arguments, *_where(proxy)])

    def left(self) -> list[str]:
        """Whatever stands beside the product under a name that a user would open."""
        return [path.name for path in self.product.parent.iterdir() if not path.name.startswith((".", "manifest"))]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames so large that a stream which knows their sizes asks for a part: of the whole, a 200 is no fault."""
    root = tmp_path_factory.mktemp("frames")
    sector = SyntheticSector(CONFIG.replace(n_row=370, n_col=300, n_frame=N_FRAME))
    sector.write(root, what=("ffi",))
    return root


@pytest.fixture(scope="module")
def stored(endpoint: Endpoint, frames: Path) -> list[str]:
    """Put one object of random bytes and the frames."""
    endpoint.put("matrix/frame.bin", CONTENT, BUCKET)
    keys = [path.relative_to(frames).as_posix() for path in frame_files(frames)]
    for key in keys:
        endpoint.put(key, (frames / key).read_bytes(), BUCKET)
    return [f"s3://{BUCKET}/{key}" for key in keys]


@pytest.fixture(scope="module")
def expected_stack(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The stack of the files themselves."""
    out = tmp_path_factory.mktemp("expected") / "stack.fits"
    assert main(["stack", *map(str, frame_files(frames)), str(out), "--method", "mean"]) == 0
    return Stack.read(out)


@pytest.fixture
def subject(request: pytest.FixtureRequest, stored: list[str], tmp_path: Path) -> Subject:
    out = tmp_path / "out"
    out.mkdir()
    if request.param == "download":
        product = out / "frame.bin"
        arguments = ["download", f"s3://{BUCKET}/matrix/frame.bin", str(out)]
        return Subject(arguments, product, lambda: product.read_bytes() == CONTENT)
    if request.param == "stream":
        product = out / "stack.fits"
        expected = request.getfixturevalue("expected_stack")

        def is_right() -> bool:
            made = Stack.read(product)
            return made.n_frame == N_FRAME and made.image.tobytes() == expected.image.tobytes()

        return Subject(["stack", str(product), *CCD, "--method", "mean"], product, is_right)
    assert request.param == "cutouts"
    uri, targets, expected = request.getfixturevalue("cube")
    product = out / "cutouts.zarr"
    arguments = ["cutouts", *targets, str(product), "--size", "5", "--source", "cube", "--uri", uri]
    return Subject(arguments, product, lambda: same_cutouts(Cutouts.read(product), expected))


@pytest.fixture(scope="module")
def cube(
    endpoint: Endpoint, sector_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, list[str], Cutouts]:
    """Put the cube of the small sector; return its address, three targets, and what the file itself gives for them."""
    root = tmp_path_factory.mktemp("cube")
    sector = SyntheticSector(CONFIG)
    sector.write(root, what=("cube",))
    endpoint.put(sector.cube_key(), (root / sector.cube_key()).read_bytes(), BUCKET)
    stars = Table.read(sector_dir / "catalog.ecsv")[:3]
    targets = [f"{star['ra']:.8f},{star['dec']:.8f}" for star in stars]
    out = root / "expected.zarr"
    assert main(["cutouts", *targets, str(out), "--size", "5", "--uri", str(root / sector.cube_key())]) == 0
    return f"s3://{BUCKET}/{sector.cube_key()}", targets, Cutouts.read(out)


def same_cutouts(one: Cutouts, other: Cutouts) -> bool:
    names = ("flux", "flux_err", "time", "quality", "row0", "col0", "edge")
    return all(getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in names)


def _cases(*, with_counts: bool) -> list[object]:
    """Download meets each fault once and twice, the ranged reads twice."""
    kinds = {"download": (1, 2), "stream": (2,), "cutouts": (2,)}
    rows = [(kind, row) for row in ROWS for kind in kinds if kind in row.kinds]
    if not with_counts:
        return [pytest.param(kind, row, id=f"{kind}-{row}") for kind, row in rows]
    return [pytest.param(kind, row, n, id=f"{kind}-{row}-{n}") for kind, row in rows for n in kinds[kind]]


@pytest.mark.parametrize(("subject", "row", "n_faults"), _cases(with_counts=True), indirect=["subject"])
def test_a_fault_that_passes_changes_nothing(proxy: FaultServer, subject: Subject, row: Row, n_faults: int) -> None:
    plan = proxy.plan(row.fault, n_faults, of_each=True)
    assert subject.run(proxy) == 0
    assert subject.is_right()
    assert plan.applied >= n_faults
    assert subject.left() == [subject.product.name]


@pytest.mark.parametrize(("subject", "row"), _cases(with_counts=False), indirect=["subject"])
def test_a_fault_that_stays_ends_in_time_and_leaves_no_product(
    proxy: FaultServer, subject: Subject, row: Row, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy.plan(row.fault)
    begun = time.monotonic()
    assert subject.run(proxy) == 1
    assert time.monotonic() - begun < PROMISED_S / SHRINK + OWN_WORK_S
    said = capsys.readouterr().err
    assert any(words in said for words in row.words.split("|")), said
    assert "Traceback" not in said
    assert subject.left() == []


@pytest.mark.parametrize("n_faults", [1, 2])
@pytest.mark.parametrize("row", LISTING_ROWS, ids=str)
def test_a_listing_survives_a_fault_that_passes(
    proxy: FaultServer, stored: list[str], row: Row, n_faults: int, tmp_path: Path
) -> None:
    out = tmp_path / "found.ecsv"
    plan = proxy.plan(row.fault, n_faults, listings=True)
    assert main(["find", *CCD, "--output", str(out), *_where(proxy)]) == 0
    assert plan.applied == n_faults
    assert sum(out.read_text().count(uri) for uri in stored) == N_FRAME


@pytest.mark.parametrize("row", LISTING_ROWS, ids=str)
def test_a_listing_ends_in_time_when_the_fault_stays(
    proxy: FaultServer, stored: list[str], row: Row, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.ecsv"
    proxy.plan(row.fault, listings=True)
    begun = time.monotonic()
    assert main(["find", *CCD, "--output", str(out), *_where(proxy)]) == 1
    assert time.monotonic() - begun < PROMISED_S / SHRINK + OWN_WORK_S
    said = capsys.readouterr().err
    assert any(words in said for words in row.words.split("|")), said
    assert not out.exists()


@pytest.mark.parametrize("subject", ["download", "stream", "cutouts"], indirect=True)
def test_nothing_is_asked_of_another_host(proxy: FaultServer, endpoint: Endpoint, subject: Subject) -> None:
    with FaultServer(endpoint.url) as elsewhere:
        proxy.plan(faults.redirect_to(elsewhere.url))
        assert subject.run(proxy) == 1
        assert not elsewhere.requests
        assert elsewhere.n_accepted == 0
    assert subject.left() == []


def test_a_lying_first_answer_is_not_believed_to_the_end(proxy: FaultServer, stored: list[str], tmp_path: Path) -> None:
    """One answer with a wrong ETag that does not break: the bytes are checked all the same."""
    proxy.plan(faults.other_etag, 1)
    assert main(["download", f"s3://{BUCKET}/matrix/frame.bin", str(tmp_path), *_where(proxy)]) == 0
    assert (tmp_path / "frame.bin").read_bytes() == CONTENT


def test_the_product_of_some_frames_tells_which_are_missing(
    proxy: FaultServer, stored: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One frame that never comes: the others are stacked, the exit code says that something failed."""

    name = stored[1].rpartition("/")[2]
    proxy.plan(faults.slow_down, only=name)
    out = tmp_path / "stack.fits"
    assert main(["stack", str(out), *CCD, "--method", "mean", *_where(proxy)]) == 1
    assert Stack.read(out).n_frame == N_FRAME - 1
    assert name in capsys.readouterr().err


def test_the_command_line_is_as_patient_as_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its flags have defaults of their own; the promise of 90 s is made of those of `TransferOptions`."""
    monkeypatch.undo()
    asked = _parse(["download", "s3://bucket/key", "folder"])
    names = {"stall_timeout": "stall_timeout_s", "min_rate": "min_bytes_per_s"}
    for name in ("max_attempts", "retry_seconds", "stall_timeout", "min_rate"):
        assert getattr(asked, name) == getattr(TransferOptions(), names.get(name, name)), name
