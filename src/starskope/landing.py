"""Putting finished files and folders in their place.

Owns the order temporary name, flush to disk, rename, so that a kill or a full disk leaves the old data or the new and
never half of either. Refuses to know what the bytes mean.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from starskope.durable import flush

__all__ = ["replaced_folder_of", "replacing_file", "replacing_folder"]


def replaced_folder_of(path: Path) -> Path:
    """Where `replacing_folder` keeps the old folder for the moment between its two renames."""
    return path.with_name(f".{path.name}.old")


@contextmanager
def replacing_file(path: Path, what: str = "light curves") -> Iterator[Path]:
    """Yield a temporary name beside ``path``; on success it is flushed and takes the place of ``path`` in one step."""
    with _explained(path, what):
        part = _fresh_part(path)
        try:
            yield part
            flush(part)
            part.replace(path)
            flush(path.parent)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path, is_ours: Callable[[Path], bool], what: str = "light curves") -> Iterator[Path]:
    """Yield a new folder beside ``path``; on success it is flushed and takes the place of ``path``.

    A folder that holds files cannot be replaced in one step: the old one is renamed away, the new one takes its name,
    the old one is deleted. A kill between the two renames leaves both, whole, the old one as ``.<name>.old``.

    Raises
    ------
    ValueError
        Something stands at ``path`` that ``is_ours`` does not know: it is left alone.
    """
    with _explained(path, what):
        if path.is_symlink() or (path.exists() and not is_ours(path)):
            raise ValueError(f"{path} exists and holds no {what}: it is left alone; choose another name")
        part, old = _fresh_part(path), replaced_folder_of(path)
        try:
            part.mkdir()
            yield part
            for folder, _, names in os.walk(part, topdown=False):
                for name in names:
                    flush(Path(folder, name))
                flush(Path(folder))
            if path.exists():
                shutil.rmtree(old, ignore_errors=True)
                path.rename(old)
            part.rename(path)
            flush(path.parent)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _fresh_part(path: Path) -> Path:
    """Return the temporary name, always the same: what a killed writer left there is removed by the next one."""
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "the folder does not exist: make it first", str(path.parent))
    part = path.with_name(f".{path.name}.part")
    if part.is_dir():
        shutil.rmtree(part)
    else:
        part.unlink(missing_ok=True)
    return part


@contextmanager
def _explained(path: Path, what: str) -> Iterator[None]:
    """Say in one line which product could not be written, instead of naming a temporary file deep inside it."""
    try:
        yield
    except OSError as error:
        if error.filename == str(path.parent):
            raise
        # NumPy tells of a short write without a number; no other reason than a lack of space is known for it.
        number = errno.ENOSPC if error.errno is None else error.errno
        reason = f"{what} could not be written ({error.strerror or error}); free space or choose another folder"
        raise OSError(number, reason, str(path)) from error
