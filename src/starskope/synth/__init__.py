"""A synthetic sector with known truth, and the embedded S3 endpoint that serves it."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Endpoint": "starskope.synth.endpoint",
    "SectorConfig": "starskope.synth.config",
    "SyntheticSector": "starskope.synth.sector",
    "check_light_curves": "starskope.synth.verify",
    "check_stack": "starskope.synth.verify",
}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'starskope.synth' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
