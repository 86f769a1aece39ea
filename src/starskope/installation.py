"""What this installation is made of: versions, compiler, instruction sets, threads, optional parts.

Owns the facts behind `starskope info`. Refuses to import what is merely asked about.
"""

from __future__ import annotations

import os
import platform
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import numpy as np

from starskope import _core
from starskope.parallel import available_cpus
from starskope.runconfig import program_version

__all__ = ["describe_installation"]

_LIBRARIES = (
    *("numpy", "scipy", "numba", "scikit-learn", "nifty-ls", "astropy", "astroquery", "aiobotocore", "zarr", "pyarrow"),
    "matplotlib",
)
# Optional part -> (modules that it needs, how to install them).
_OPTIONAL = {
    "demo (S3 server in here)": (("moto", "flask"), "pip install 'starskope[demo]'"),
    "demo (limb-darkened transits)": (("batman",), "pip install 'starskope[demo]'"),
    "lightkurve objects": (("lightkurve",), "pip install 'starskope[interop]'"),
    "CRC32C and CRC64NVME checks": (("awscrt",), "pip install awscrt"),
}


def describe_installation() -> dict[str, str]:
    """Return facts by name, in the order in which to show them."""
    build = _core.build_info()
    facts = {"starskope": program_version()}
    facts |= {f"core {name}": value for name, value in build.items() if name != "version"}
    override = os.environ.get("STARSKOPE_ISA")
    facts["instruction set"] = _core.isa() + (f" (STARSKOPE_ISA={override})" if override else "")
    facts["instruction sets available"] = ", ".join(_core.available_isas())
    facts["threads"] = f"{available_cpus()} of {os.cpu_count()} CPUs"
    facts["BLAS"] = _blas()
    facts["python"] = f"{platform.python_version()} on {platform.platform()}"
    facts |= {name: _version(name) for name in _LIBRARIES}
    for name, (modules, remedy) in _OPTIONAL.items():
        missing = [module for module in modules if find_spec(module) is None]
        facts[name] = f"missing ({', '.join(missing)}): {remedy}" if missing else "present"
    return facts


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _blas() -> str:
    build: Any = np.show_config(mode="dicts")  # type: ignore[no-untyped-call, unused-ignore]
    blas = build.get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()
