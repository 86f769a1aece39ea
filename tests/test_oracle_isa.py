"""Every instruction-set variant that this CPU runs answers to the same oracles, and variants agree among themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tolerances
from test_oracle_clip import cube, kernel

from starskope import _core

HERE = Path(__file__).parent
KERNEL_TESTS = ("test_oracle_clip.py", "test_oracle_apertures.py", "test_oracle_decode.py")


@pytest.fixture
def each_isa() -> Iterator[list[str]]:
    """Give the variants and put the one in use back afterwards."""
    before = _core.isa()
    yield _core.available_isas()
    _core.use_isa(before)


def fresh_isa(variable: str | None) -> subprocess.CompletedProcess[str]:
    """Ask a new process which variant it picks."""
    environment = {name: value for name, value in os.environ.items() if name != "STARSKOPE_ISA"}
    if variable is not None:
        environment["STARSKOPE_ISA"] = variable
    code = "from starskope import _core; print(_core.isa())"
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("isa", _core.available_isas())
def test_oracles_hold_on_this_variant(isa: str) -> None:
    files = [str(HERE / name) for name in KERNEL_TESTS]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:asyncio", *files],
        env={**os.environ, "STARSKOPE_ISA": isa},
        cwd=HERE.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]


def test_the_environment_picks_the_variant() -> None:
    assert fresh_isa(None).stdout.strip() == _core.available_isas()[-1]
    for isa in _core.available_isas():
        assert fresh_isa(isa).stdout.strip() == isa


def test_an_unknown_variant_is_named() -> None:
    done = fresh_isa("v9")
    assert done.returncode != 0
    assert "v9" in done.stderr
    assert _core.available_isas()[0] in done.stderr


def test_clipped_statistics_agree_across_variants(each_isa: list[str]) -> None:
    data = cube(129, 257, "inf")
    answers = {}
    for isa in each_isa:
        _core.use_isa(isa)
        answers[isa] = kernel(data, sigma_low=3.0, sigma_high=3.0, max_iters=5, center="median")
    first, *others = answers.values()
    for other in others:
        np.testing.assert_array_equal(other["count"], first["count"])
        np.testing.assert_array_equal(other["median"], first["median"])
        for name in ("mean", "std"):
            np.testing.assert_allclose(other[name], first[name], rtol=tolerances.rtol(np.float32, 129))


def test_aperture_sums_agree_across_variants(each_isa: list[str]) -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(150.0, 40.0, size=(64, 70)).astype(np.float32)
    row, column, radius = rng.uniform(0, 63, 300), rng.uniform(0, 69, 300), rng.uniform(0.5, 4.0, 300)
    answers = []
    for isa in each_isa:
        _core.use_isa(isa)
        total, area, n_bad = np.empty(300), np.empty(300), np.empty(300, np.int32)
        _core.aperture_sums(image, row, column, radius, total, area, n_bad)
        answers.append((total, area, n_bad))
    for total, area, n_bad in answers[1:]:
        np.testing.assert_allclose(area, answers[0][1], rtol=1e-12)
        np.testing.assert_allclose(total, answers[0][0], rtol=1e-12)
        np.testing.assert_array_equal(n_bad, answers[0][2])


def test_decoded_bits_are_the_same_in_every_variant(each_isa: list[str]) -> None:
    raw = np.random.default_rng(1).integers(0, 256, size=4 * 37 * 71 + 3, dtype=np.uint8).tobytes()
    planes = set()
    for isa in each_isa:
        _core.use_isa(isa)
        out = np.empty((37, 71), np.float32)
        _core.decode_plane(raw, 3, out)
        planes.add(out.tobytes())
    assert len(planes) == 1
