"""Bringing files and folders to the disk.

Owns the one call behind every "temporary name, fsync, rename, fsync of the folder". Refuses to choose names, to write
and to rename: who writes a product knows what may stand in its place.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["flush"]


def flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk, so that they survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
