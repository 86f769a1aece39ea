"""What commands share: lines of results and of notes, lists on standard input, tables as files.

Owns these few words and checks. Refuses to know any command.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from starskope.progress import plain

__all__ = ["TABLE_FORMATS", "check_output", "count", "expand", "say", "say_json", "tell", "write_table"]

TABLE_FORMATS = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv", ".parquet": "parquet"}


def say(text: str) -> None:
    """Write one line of a result."""
    print(plain(text))


def say_json(record: Mapping[str, Any]) -> None:
    """Write one result as a line of JSON; what is not a number becomes null."""
    plain = {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in record.items()}
    print(json.dumps(plain))


def tell(text: str) -> None:
    """Write one line of what is no result: notes and failures."""
    print(plain(text), file=sys.stderr)


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is not one."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def expand(sources: Iterable[str]) -> list[str]:
    """Replace ``-`` by the lines of standard input, of which there must be some: no frames never means all frames."""
    expanded: list[str] = []
    for source in sources:
        if source != "-":
            expanded.append(source)
        elif lines := [line.strip() for line in sys.stdin if line.strip()]:
            expanded += lines
        else:
            raise ValueError("- stands for a list on standard input, which is empty: expected one path or URI per line")
    return expanded


def check_output(path: Path, endings: Collection[str]) -> None:
    """Refuse an ``--output`` that could not be written before hours are spent on it."""
    if not path.name.lower().endswith(tuple(endings)):
        raise ValueError(f"--output is {path}, expected a name that ends in {', '.join(endings)}")
    if not path.parent.is_dir():
        raise ValueError(f"--output is {path}, whose folder does not exist: make it first")


def write_table(table: Any, path: Path) -> None:
    """Write an Astropy table in the format that its name asks for (`TABLE_FORMATS`); whole or not at all."""
    from starskope.journal import write_atomic

    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / path.name
        table.write(whole, format=TABLE_FORMATS[path.suffix.lower()])
        write_atomic(path, whole.read_bytes())
