"""Models on disk: named arrays and a few JSON values in one npz file, without pickle.

Owns the format and its limits: what a file claims is checked from the zip directory and the array headers *before* any
memory is taken for it. Refuses to know what the arrays mean; whoever loads a model checks shapes and values against
each other with what this module gives.

A file holds ``about.json`` (kind, version, JSON values) and ``NAME.npy`` members of NumPy's format 1.0.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from starskope.durable import flush
from starskope.errors import FrameError

__all__ = ["VERSION", "read_model", "write_model"]

VERSION = 1

MAX_MEMBERS = 64
MAX_ABOUT = 4 << 20
MAX_ARRAY = 1 << 26
MAX_TOTAL = 1 << 28
MAX_AXES = 3
_DTYPES = {"<f4", "<f8", "<i4", "<i8", "<u4"}
_ABOUT = "about.json"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_HEADER = re.compile(
    rb"\{'descr': '(?P<descr>[<>|=][a-zA-Z]\d{0,4})', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>(?:\d{1,18}(?:, \d{1,18}){0,7},?)?)\), ?\} *\n"
)
_STAMP = (1980, 1, 1, 0, 0, 0)
_MAX_HEADER = 4096
_FLAG_ENCRYPTED = 0x1


def write_model(
    path: str | os.PathLike[str], kind: str, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]
) -> None:
    """Write a model: whole, or not at all. The same content gives the same bytes.

    Parameters
    ----------
    path : path
        Replaced where it exists.
    kind : str
        What the file holds, for `read_model`.
    arrays : mapping of str to ndarray
        Names of lower-case letters, digits and underscores; float32, float64, int32, int64 or uint32.
    about : mapping
        JSON values.

    Raises
    ------
    ValueError
        A name, a dtype or a size that `read_model` would refuse.
    """
    target = Path(path)
    members: dict[str, bytes] = {}
    for name, array in arrays.items():
        plain = np.ascontiguousarray(array)
        plain = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
        if not _NAME.fullmatch(name) or plain.dtype.str not in _DTYPES or plain.ndim > MAX_AXES:
            raise ValueError(f"array {name!r}: {plain.dtype}, shape {plain.shape} has no place in a model file")
        if plain.nbytes > MAX_ARRAY:
            raise ValueError(f"array {name!r}: {plain.nbytes} bytes, a model file holds at most {MAX_ARRAY} per array")
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, plain, version=(1, 0), allow_pickle=False)
        members[f"{name}.npy"] = buffer.getvalue()
    text = json.dumps({"kind": kind, "version": VERSION, "about": dict(about)}, allow_nan=False, sort_keys=True)
    members[_ABOUT] = text.encode()
    if len(members) > MAX_MEMBERS or len(members[_ABOUT]) > MAX_ABOUT or sum(map(len, members.values())) > MAX_TOTAL:
        raise ValueError(f"{target}: the model is larger than a model file may be")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(temporary, "w") as archive:
            for member, content in members.items():
                archive.writestr(zipfile.ZipInfo(member, _STAMP), content, zipfile.ZIP_DEFLATED)
        flush(temporary)
        temporary.replace(target)
        flush(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def read_model(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what `write_model` wrote.

    Parameters
    ----------
    path : path
    kind : str
        What is expected in the file.

    Returns
    -------
    arrays : dict of str to ndarray
        Finite throughout, C-contiguous, native.
    about : dict

    Raises
    ------
    FrameError
        Not a model file, another kind or version, damaged, or larger than the limits of this module. Nothing was
        allocated for what the file merely claims.
    FileNotFoundError
        There is no such file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _entries(path, archive)
            about = _about(path, archive, entries, kind)
            arrays = {
                entry.filename.removesuffix(".npy"): _array(path, archive, entry)
                for entry in entries
                if entry.filename != _ABOUT
            }
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError, struct.error) as error:
        raise FrameError(
            f"{path}: not a whole model file ({error}); write it again with starskope learn train"
        ) from error
    return arrays, about


def _refuse(path: object, what: str) -> NoReturn:
    raise FrameError(f"{path}: {what}; models are made by starskope learn train")


def _entries(path: object, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if len(entries) > MAX_MEMBERS or len(set(names)) != len(names):
        _refuse(path, f"{len(entries)} members, expected different ones and at most {MAX_MEMBERS}")
    total = 0
    for entry in entries:
        name = entry.filename
        if name != _ABOUT and not (name.endswith(".npy") and _NAME.fullmatch(name.removesuffix(".npy"))):
            _refuse(path, f"member {name[:80]!r} has no place in a model file")
        limit = MAX_ABOUT if name == _ABOUT else MAX_ARRAY + _MAX_HEADER
        total += entry.file_size
        if entry.file_size > limit or total > MAX_TOTAL:
            _refuse(path, f"member {name!r} claims {entry.file_size} bytes, more than a model may have")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & _FLAG_ENCRYPTED:
            _refuse(path, f"member {name!r} is packed in another way than models are")
    if _ABOUT not in names:
        _refuse(path, f"no {_ABOUT} in it")
    return entries


def _about(path: object, archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo], kind: str) -> dict[str, Any]:
    text = _bytes(path, archive, next(entry for entry in entries if entry.filename == _ABOUT))
    try:
        about = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"{path}: {_ABOUT} is no JSON ({error}); models are made by starskope learn train") from error
    if not isinstance(about, dict) or not isinstance(about.get("about"), dict):
        _refuse(path, f"{_ABOUT} does not tell what the file is")
    if about.get("kind") != kind:
        _refuse(path, f"it holds {str(about.get('kind'))[:40]!r}, expected {kind!r}")
    if about.get("version") != VERSION:
        _refuse(path, f"version {str(about.get('version'))[:40]} of the format, this is starskope of version {VERSION}")
    content: dict[str, Any] = about["about"]
    return content


def _bytes(path: object, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as member:
        content = member.read(entry.file_size)
        if len(content) != entry.file_size or member.read(1):
            _refuse(path, f"member {entry.filename!r} is not of the size it claims")
    return content


def _header(path: object, name: str, member: IO[bytes]) -> tuple[str, bool, tuple[int, ...]]:
    """Read the header of an array by a pattern: NumPy's own reader evaluates it as Python, which no model needs."""
    start = member.read(10)
    if len(start) < 10 or start[:6] != b"\x93NUMPY":
        _refuse(path, f"array {name!r} has no readable header")
    if start[6:8] != b"\x01\x00":
        _refuse(path, f"array {name!r} is of another format than 1.0")
    length = int.from_bytes(start[8:], "little")
    match = _HEADER.fullmatch(member.read(length)) if length <= _MAX_HEADER else None
    if match is None:
        _refuse(path, f"array {name!r} has no readable header")
    shape = tuple(int(part) for part in match["shape"].split(b",") if part.strip())
    return match["descr"].decode(), match["fortran"] == b"True", shape


def _array(path: object, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    """Read one array: its header first, which must agree with the size in the zip directory."""
    name = entry.filename
    with archive.open(entry) as member:
        descr, fortran, shape = _header(path, name, member)
        if descr not in _DTYPES or fortran:
            order = " in Fortran order" if fortran else ""
            _refuse(path, f"array {name!r} is of dtype {descr}{order}, expected one of {', '.join(sorted(_DTYPES))}")
        if len(shape) > MAX_AXES:
            _refuse(path, f"array {name!r} has shape {shape}, expected at most {MAX_AXES} axes")
        dtype = np.dtype(descr)
        n_byte = math.prod(shape) * dtype.itemsize
        if n_byte != entry.file_size - member.tell():
            _refuse(path, f"array {name!r} of shape {shape} does not fill its {entry.file_size} bytes")
        content = member.read(n_byte)
        if len(content) != n_byte or member.read(1):
            _refuse(path, f"array {name!r} is cut short")
    array = np.frombuffer(content, dtype).reshape(shape)
    if not np.isfinite(array).all():
        _refuse(path, f"array {name!r} holds values that are not finite")
    return array.astype(dtype.newbyteorder("="))
