"""Options, fixtures and the closing table of the benchmarks.

Run by ``make bench``; see README.md. The equality checks fail a run, a slow clock does not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# A kernel type forced on OpenBLAS would slow NumPy, a rival here. The variable is read when NumPy loads.
FORCED_CORETYPE = os.environ.pop("OPENBLAS_CORETYPE", None)
NUMPY_CAME_FIRST = "numpy" in sys.modules

import harness  # noqa: E402
import pytest  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-readme", action="store_true", help="write the table of this run into bench/README.md")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let pytest-benchmark keep quiet: our table is the report; rivals may warn as they like."""
    config.stash[SESSION] = harness.Session()
    config.option.benchmark_quiet = config.option.verbose <= 0
    config.addinivalue_line("filterwarnings", "default")
    for name in [name for name in os.environ if name.startswith("AWS_") and name != "AWS_CA_BUNDLE"]:
        del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


SESSION: pytest.StashKey[harness.Session] = pytest.StashKey()


@pytest.fixture(scope="session")
def session(request: pytest.FixtureRequest) -> harness.Session:
    """Give the rows of this run."""
    return request.config.stash[SESSION]


@pytest.fixture
def compare(benchmark: Any, session: harness.Session) -> Callable[..., harness.Row]:
    """`harness.Session.compare` with pytest-benchmark's clock."""

    def run(name: str, ours: Callable[[], Any], rivals: dict[str, Any], **settings: Any) -> harness.Row:
        return session.compare(benchmark, name, ours, rivals, **settings)

    return run


@pytest.fixture(scope="session")
def endpoint() -> Iterator[Any]:
    """Run an S3 server on loopback in its own process."""
    from starskope.synth.endpoint import Endpoint

    with Endpoint() as running:
        yield running


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder for downloads and products, gone with the session's temporary files."""
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="session")
def full_frame(workspace: Path) -> Any:
    """Make one full-size synthetic FFI, shared by the session."""
    from inputs import FullFrame

    return FullFrame(workspace)


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    """Print the table, write it as JSON, and on demand into the README."""
    session = config.stash[SESSION]
    if not session.rows:
        return
    write = terminalreporter.write_line
    terminalreporter.section("ours against rivals")
    write(harness.environment_line())
    if FORCED_CORETYPE is not None:
        came = "too late, NumPy was loaded" if NUMPY_CAME_FIRST else "so that NumPy picks its own kernels"
        write(f"OPENBLAS_CORETYPE={FORCED_CORETYPE} was unset, {came}")
    write(session.table())
    for rival, reason in session.missing.items():
        write(
            f"left out: {rival} ({reason})"
            + ("; pip install --group bench brings it" if "not installed" in reason else "")
        )
    write(f"wrote {session.write()}")
    if not config.getoption("--update-readme"):
        return
    partial = [kind for kind in ("failed", "error", "skipped", "deselected") if terminalreporter.stats.get(kind)]
    if exitstatus != 0 or partial or any(".py" in argument for argument in config.args):
        write("README.md keeps its table: the published one comes from a whole run without failures")
        return
    try:
        session.update_readme()
    except ValueError as error:
        write(str(error))
    else:
        write(f"updated {harness.README}")
