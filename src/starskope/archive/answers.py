"""Answers of the archive on disk: asked once, used for some days.

One file per question, named by the SHA-256 of the question, which stands in it and is compared: the SHA-256 of what
follows, then Parquet. Owns the age and the size that the folder may reach. Refuses anything that could run when it is
read (no pickle: astroquery's own cache holds those, and is not used), and to vouch: names in an answer are checked
again by whoever uses them. A damaged file is asked for again, since a cache holds nothing that cannot be had.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import MaskedColumn, Table

from starskope.durable import flush

__all__ = ["AnswerCache", "open_cache"]

_VERSION = 1
_META = b"starskope answer"
_PATTERNS = ("answer-*.starskope", ".answer-*.part")
_N_SUM = hashlib.sha256().digest_size
_PART_AGE_S = 3600.0  # by then whoever wrote it is gone


class AnswerCache:
    """A folder of answers.

    Parameters
    ----------
    folder : path
        Made where it is missing; only its owner may look into it then.
    max_age_days : float
        Older answers are asked for again, and removed.
    max_bytes : int
        When the folder holds more, its oldest answers are removed.
    """

    def __init__(self, folder: str | os.PathLike[str], *, max_age_days: float = 7.0, max_bytes: int = 2**30) -> None:
        if not (math.isfinite(max_age_days) and max_age_days > 0 and max_bytes > 0):
            raise ValueError(f"max_age_days={max_age_days!r}, max_bytes={max_bytes!r}: expected positive numbers")
        self.folder = Path(folder)
        self.max_age_days = max_age_days
        self.max_bytes = max_bytes
        self.n_used = 0
        self.oldest_used: datetime | None = None
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"cache is {self.folder}, which is no folder: name one")

    def path_of(self, question: Mapping[str, Any]) -> Path:
        """Return where the answer to a question lies."""
        return self.folder / f"answer-{hashlib.sha256(_text(question).encode()).hexdigest()[:40]}.starskope"

    def get(self, question: Mapping[str, Any]) -> Table | None:
        """Return the answer to a question; None where there is none, or none that is young and whole."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            content = self.path_of(question).read_bytes()
            # Parquet sums its pages, not its footer: a name or a type could change unseen.
            if hashlib.sha256(content[_N_SUM:]).digest() != content[:_N_SUM]:
                return None
            arrow = pq.ParquetFile(pa.BufferReader(content[_N_SUM:])).read(use_threads=False)
            about = json.loads((arrow.schema.metadata or {})[_META])
            asked = datetime.fromisoformat(about["asked"])
            age_days = (datetime.now(UTC) - asked).total_seconds() / 86400.0
            if about["question"] != json.loads(_text(question)) or not 0.0 <= age_days <= self.max_age_days:
                return None
            table = _to_table(arrow)
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
            return None
        self.n_used += 1
        self.oldest_used = min(self.oldest_used or asked, asked)
        return table

    def put(self, question: Mapping[str, Any], answer: Table) -> None:
        """Keep an answer, in one step; OSError when the disk refuses."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        about = {"question": json.loads(_text(question)), "asked": datetime.now(UTC).isoformat(), "version": _VERSION}
        arrow = _to_arrow(answer).replace_schema_metadata({_META: _text(about)})
        buffer = pa.BufferOutputStream()
        pq.write_table(arrow, buffer, compression="zstd")
        content = buffer.getvalue().to_pybytes()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A name of its own: threads and processes may keep the same answer at the same time.
        descriptor, part = tempfile.mkstemp(prefix=".answer-", suffix=".part", dir=self.folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
            flush(Path(part))
            Path(part).replace(self.path_of(question))
        finally:
            Path(part).unlink(missing_ok=True)
        self._prune()

    def _prune(self) -> None:
        """Remove what is too old, then the oldest until the rest is small enough."""
        files = []
        for path in chain.from_iterable(map(self.folder.glob, _PATTERNS)):
            try:
                status = path.stat()
            except FileNotFoundError:  # another process prunes too
                continue
            files.append((status.st_mtime, status.st_size, path))
        files.sort(reverse=True)
        now, total = datetime.now(UTC).timestamp(), 0
        for written, size, path in files:
            if path.suffix == ".part":
                if now - written > _PART_AGE_S:
                    path.unlink(missing_ok=True)
                continue
            total += size
            if now - written > self.max_age_days * 86400.0 or total > self.max_bytes:
                path.unlink(missing_ok=True)


def open_cache(cache: str | os.PathLike[str] | AnswerCache | None) -> AnswerCache | None:
    """Return a cache by its folder; None where none is wanted."""
    return cache if cache is None or isinstance(cache, AnswerCache) else AnswerCache(cache)


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps({**value, "v": _VERSION}, sort_keys=True, allow_nan=False)


def _to_arrow(table: Table) -> Any:
    import pyarrow as pa

    columns = {}
    for name in table.colnames:
        column = table[name]
        mask = np.ma.getmaskarray(np.ma.asarray(column))
        values = np.asarray(column)
        kind = values.dtype.kind
        if kind not in "iufbUS":
            raise TypeError(f"column {name!r} of an answer is of type {values.dtype}: expected numbers or text")
        if kind in "US":
            columns[name] = pa.array(values.astype(np.str_).tolist(), pa.string(), mask=mask)
        else:
            columns[name] = pa.array(values, mask=mask)
    return pa.table(columns)


def _to_table(arrow: Any) -> Table:
    table = Table(masked=True)
    for name in arrow.column_names:
        column = arrow.column(name).combine_chunks()
        mask = np.asarray(column.is_null())
        is_text = column.type == "string"
        blank = "" if is_text else False if column.type == "bool" else 0
        values = column.fill_null(blank).to_numpy(zero_copy_only=False)
        table[name] = MaskedColumn(values.astype(np.str_) if is_text else values, mask=mask)
    return table
