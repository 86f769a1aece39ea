"""The memory of an unfinished job: which blocks are done, in files that survive a kill at any moment.

Owns the working folder ``OUT/.work``: a SQLite journal (every commit reaches the disk before it counts), one file
per finished block with its SHA-256, the lock that keeps a second run out, and the order in which a file becomes
visible (temporary name, fsync, rename, fsync of the folder). Blocks are of two kinds, counted apart: of frames, and of
stars. Refuses to know what a block holds: it stores named arrays and small JSON notes, and never pickles.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from starskope.durable import flush

__all__ = ["Journal", "Kind", "WorkInProgressError", "publish", "sync_tree", "write_atomic"]

Kind = Literal["frames", "stars"]
"""What the blocks are of."""
# First part of the file names of each kind.
_PREFIXES: dict[Kind, str] = {"frames": "block", "stars": "stars"}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS part (
    kind TEXT NOT NULL, number INTEGER NOT NULL, file TEXT NOT NULL, n_bytes INTEGER NOT NULL, sha256 TEXT NOT NULL,
    complete INTEGER NOT NULL, PRIMARY KEY (kind, number));
"""
_HASH_STEP = 1 << 22


class WorkInProgressError(ValueError):
    """Another run holds this output directory."""


def sync_tree(root: Path) -> None:
    """Bring every file and folder under `root` (a file or a folder) to the disk."""
    if root.is_file():
        flush(root)
        return
    for folder, _, names in os.walk(root):
        for name in names:
            flush(Path(folder, name))
        flush(Path(folder))


def publish(temporary: Path, path: Path) -> None:
    """Give the finished file or folder `temporary` its final name `path`, replacing what stands there.

    Both must lie on one file system. A file is replaced in one step; a folder has to make room first, so for an
    instant neither stands there, and a job killed in that instant publishes again when it is started again.
    """
    sync_tree(temporary)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    temporary.replace(path)
    flush(path.parent)


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` so that `path` holds either what it held before or all of it."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        publish(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_HASH_STEP):
            digest.update(piece)
    return digest.hexdigest()


class Journal:
    """The finished blocks of one job, and the lock on its output directory.

    Use as a context manager. Blocks may be written in any order; a block whose file is missing, cut short or
    altered since its commit is not counted as finished. One journal belongs to one thread at a time.

    Parameters
    ----------
    out : Path
        Output directory of the job; the journal lives in ``out/.work``. Both are created.

    Raises
    ------
    WorkInProgressError
        Another process holds the journal of this directory.
    OSError
        The directory cannot be written.
    """

    def __init__(self, out: Path) -> None:
        self.folder = out / ".work"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._database = self._open()
        self._finished: dict[Kind, dict[int, bool]] = {}
        self._places: dict[tuple[int, str], tuple[int, tuple[int, ...], np.dtype[Any]]] = {}

    def _open(self) -> sqlite3.Connection:
        path = self.folder / "journal.sqlite"
        try:
            return self._connect(path)
        except sqlite3.OperationalError as error:
            raise OSError(f"{path}: {error}") from None
        except sqlite3.DatabaseError:
            # A journal that SQLite cannot read vouches for nothing: its blocks are made again.
            path.unlink()
            return self._connect(path)

    def _connect(self, path: Path) -> sqlite3.Connection:
        # The journal moves between the threads of one job, never shared by two at once.
        database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA locking_mode=EXCLUSIVE")
            database.execute("PRAGMA synchronous=FULL")
            database.execute("BEGIN EXCLUSIVE")  # Takes the lock now; the mode above keeps it until the close.
            for statement in _SCHEMA.strip().split(";"):
                database.execute(statement)
            if database.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'block'").fetchone():
                # Of a version that knew blocks of frames only: its work is not ours to lose.
                database.execute("INSERT INTO part SELECT 'frames', * FROM block")
                database.execute("DROP TABLE block")
            database.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            database.close()
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise self._taken() from None
            raise
        if not path.exists():  # The run before us finished, and removed its folder while we opened this.
            database.close()
            raise self._taken()
        return database

    def _taken(self) -> WorkInProgressError:
        return WorkInProgressError(
            f"another run is working in {self.folder.parent}: wait for it, or choose another directory"
        )

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._database.execute(statement, values)
        except sqlite3.OperationalError as error:  # A full disk speaks through SQLite too.
            raise OSError(f"{self.folder / 'journal.sqlite'}: {error}") from None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock; what was committed stays."""
        self._database.close()

    def note(self, name: str) -> Any:
        """Return the JSON value kept under `name`, None where there is none."""
        row = self._execute("SELECT value FROM note WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def set_note(self, name: str, value: Any) -> None:
        """Keep a JSON value under `name`; it is on the disk when this returns."""
        self._execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (name, json.dumps(value)))

    def finished(self, kind: Kind = "frames") -> dict[int, bool]:
        """Return the number of every finished block of a kind, with whether it is complete.

        The files are compared with their checksums once, at the first call: what does not agree is forgotten.
        """
        known = self._finished.get(kind)
        if known is None:
            known = {}
            rows = self._execute(
                "SELECT number, file, n_bytes, sha256, complete FROM part WHERE kind = ? ORDER BY number", (kind,)
            )
            for number, name, n_bytes, digest, complete in rows.fetchall():
                path = self.folder / name
                if path.is_file() and path.stat().st_size == n_bytes and _sha256(path) == digest:
                    known[number] = bool(complete)
                else:
                    self._execute("DELETE FROM part WHERE kind = ? AND number = ?", (kind, number))
            self._finished[kind] = known
        return dict(known)

    def digest(self, kind: Kind = "frames") -> str:
        """Return a SHA-256 over the finished blocks of a kind: another one when any of them was made again."""
        self.finished(kind)
        rows = self._execute("SELECT number, sha256 FROM part WHERE kind = ? ORDER BY number", (kind,))
        return hashlib.sha256(json.dumps(rows.fetchall()).encode()).hexdigest()

    def path(self, number: int, kind: Kind = "frames") -> Path:
        """Return the file of one block, finished or not."""
        return self.folder / f"{_PREFIXES[kind]}-{number:05d}.npz"

    def write(self, number: int, arrays: Mapping[str, NDArray[Any]], *, complete: bool, kind: Kind = "frames") -> None:
        """Store the arrays of one block and commit it.

        Parameters
        ----------
        number : int
            Which block, from 0.
        arrays : mapping of str to array
            Any shapes and plain dtypes; object arrays are refused.
        complete : bool
            False when something of the block may be had by trying again, as after a broken connection.
        kind : {"frames", "stars"}
            What the block is of.
        """
        for name, array in arrays.items():
            if array.dtype.hasobject:
                raise TypeError(f"block {number}: array {name!r} holds Python objects, expected numbers or text")
        self.finished(kind)
        self._places = {place: known for place, known in self._places.items() if place[0] != number}
        path = self.path(number, kind)
        temporary = path.with_suffix(".part")
        try:
            with temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
            digest, n_bytes = _sha256(temporary), temporary.stat().st_size
            publish(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        self._execute(
            "INSERT OR REPLACE INTO part VALUES (?, ?, ?, ?, ?, ?)",
            (kind, number, path.name, n_bytes, digest, complete),
        )
        self._finished[kind][number] = complete

    @contextlib.contextmanager
    def block(self, number: int, kind: Kind = "frames") -> Iterator[Mapping[str, NDArray[Any]]]:
        """Open one finished block; each array is read when it is asked for."""
        with np.load(self.path(number, kind), allow_pickle=False) as arrays:
            yield arrays

    def columns(self, number: int, name: str, columns: slice) -> NDArray[Any]:
        """Read some columns of an array (n, m) of a finished block of frames, and little else of its file."""
        offset, shape, dtype = self._place(number, name)
        return np.array(np.memmap(self.path(number), dtype, "r", offset, shape)[:, columns])

    def rows(self, number: int, name: str, rows: slice) -> NDArray[Any]:
        """Read some rows of an array (n, m) of a finished block of frames, and nothing else of its file."""
        offset, shape, dtype = self._place(number, name)
        start, stop, _ = rows.indices(shape[0])
        values = np.fromfile(
            self.path(number), dtype, (stop - start) * shape[1], offset=offset + start * shape[1] * dtype.itemsize
        )
        return values.reshape(stop - start, shape[1])

    def shape(self, number: int, name: str) -> tuple[int, ...]:
        """Return the shape of an array of a finished block of frames."""
        return self._place(number, name)[1]

    def _place(self, number: int, name: str) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
        """Tell where in the file of a block of frames the values of an array begin, their shape and dtype."""
        known = self._places.get((number, name))
        if known is None:
            path = self.path(number)
            with zipfile.ZipFile(path) as archive, path.open("rb") as file:
                # Members are stored as they are: behind 30 bytes, the name and an extra field lies a .npy file.
                file.seek(archive.getinfo(f"{name}.npy").header_offset + 26)
                file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
                read_header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
                shape, _, dtype = read_header[np.lib.format.read_magic(file)[0]](file)
                known = self._places[number, name] = (file.tell(), shape, dtype)
        return known

    def forget(self, kind: Kind | None = None) -> None:
        """Drop every block of a kind; without one every block and note. The lock is kept: the job begins again."""
        if kind is not None:
            self._execute("DELETE FROM part WHERE kind = ?", (kind,))
            self._finished[kind] = {}
            for path in self.folder.glob(f"{_PREFIXES[kind]}-*"):
                path.unlink()
            return
        self._execute("DELETE FROM part")
        self._execute("DELETE FROM note")
        self._places.clear()
        self._finished = {name: {} for name in _PREFIXES}
        for path in self.folder.iterdir():
            if not path.name.startswith("journal.sqlite"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def remove(self) -> None:
        """Delete the whole working folder after the products stand, then release the lock."""
        shutil.rmtree(self.folder)
        self.close()
