"""The package as a whole: public names resolve, and importing it stays light."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import starskope

_HEAVY = [
    "astropy",
    "numba",
    "astroquery",
    "aiobotocore",
    "botocore",
    "zarr",
    "matplotlib",
    "scipy",
    "pyarrow",
    "asyncio",
]


@pytest.mark.parametrize("name", starskope.__all__)
def test_public_name_resolves_to_an_object_of_that_name(name: str) -> None:
    value = getattr(starskope, name)
    assert value.__name__ == name
    assert value.__doc__, f"{name} has no docstring"


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'telescope'"):
        _ = starskope.telescope


def test_import_loads_nothing_heavy_and_starts_no_thread() -> None:
    program = (
        "import sys, threading, json; import starskope;"
        f"print(json.dumps([[m for m in {_HEAVY!r} if m in sys.modules], threading.active_count()]))"
    )
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    loaded, n_threads = json.loads(answer.stdout)
    assert loaded == []
    assert n_threads == 1


def test_version_is_the_installed_one() -> None:
    assert starskope.__version__.count(".") >= 2
