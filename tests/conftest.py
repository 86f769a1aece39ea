"""Fixtures shared by every test module: real data, the S3 endpoint, and a home directory that tests may not touch."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from starskope.synth.endpoint import Endpoint

_CHECKOUT = Path(__file__).resolve().parents[1]
_AWS_VARIABLES = [name for name in os.environ if name.startswith("AWS_")]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real mission data; the test skips where it is absent."""
    folder = Path(os.environ.get("STARSKOPE_DATA", _CHECKOUT.parent / "shared" / "data"))
    if not (folder / "MANIFEST.csv").is_file():
        pytest.skip(f"real data not found in {folder}: set STARSKOPE_DATA to the folder that holds MANIFEST.csv")
    return folder


@pytest.fixture(scope="session")
def endpoint() -> Iterator[Endpoint]:
    """An S3 server on loopback in its own process, shared by the session."""
    endpoint_module = pytest.importorskip("starskope.synth.endpoint")
    with endpoint_module.Endpoint() as running:
        yield running


@pytest.fixture(scope="session", autouse=True)
def _interrupts_arrive() -> Iterator[None]:
    """Let Ctrl-C reach the tests and their children: a shell starts background jobs with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _no_ambient_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's AWS settings out of the tests: what a test needs it sets itself."""
    for name in _AWS_VARIABLES:
        if name != "AWS_CA_BUNDLE":
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
