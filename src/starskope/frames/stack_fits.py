"""Stacks as FITS files.

Owns the layout: the image in the primary HDU, COUNT, STD and (where there is one) BACKGROUND as image extensions with
the same world coordinates, and META, a table of keys and JSON values. Refuses to overwrite a file with half of another:
what is written has a temporary name until it is flushed to disk.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

from starskope.durable import flush
from starskope.errors import FrameError
from starskope.layout.cards import format_card

if TYPE_CHECKING:
    from starskope.frames.stacked import Stack

__all__ = ["read", "write"]

_SETTINGS = {"method": "METHOD", "center": "CENTER", "max_iters": "MAXITERS", "exact": "EXACT"}
_STRUCTURE = {"SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "NFRAMES", *_SETTINGS.values()}


def write(stack: Stack, path: str | os.PathLike[str]) -> None:
    """Write ``stack``; see `Stack.write`."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            _hdus(stack).writeto(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        flush(path.parent)
    except OSError as error:
        raise OSError(error.errno, f"stack not written: {error.strerror or error}", str(path)) from error
    finally:
        part.unlink(missing_ok=True)


def _hdus(stack: Stack) -> fits.HDUList:
    # Our own cards keep every digit of a float64; astropy would cut long ones to 16.
    header = fits.Header.fromstring("".join(format_card(card, value) for card, value in stack.header.items()))
    primary = fits.PrimaryHDU(stack.image, header)
    primary.header["NFRAMES"] = (stack.n_frame, "frames used")
    for key, card in _SETTINGS.items():
        if key in stack.meta:
            primary.header[card] = stack.meta[key]
    planes = {"COUNT": stack.count, "STD": stack.std, "BACKGROUND": stack.background}
    hdus = [primary]
    hdus += [fits.ImageHDU(plane, header, name=name) for name, plane in planes.items() if plane is not None]
    for hdu in hdus[1:]:
        if hdu.name == "COUNT":
            hdu.header.remove("BUNIT", ignore_missing=True)
    keys = [*stack.meta]
    values = [json.dumps(stack.meta[key]) for key in keys]
    width = max(map(len, values), default=1)
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("key", f"{max(map(len, keys), default=1)}A", array=np.array(keys, dtype=str)),
            fits.Column("value", f"{width}A", array=np.array(values, dtype=str)),
        ],
        name="META",
    )
    return fits.HDUList([*hdus, table])


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the fields of the `Stack` that ``path`` holds."""
    name = Path(path).name
    try:
        with fits.open(path, memmap=False) as hdus:
            missing = [extension for extension in ("COUNT", "STD", "META") if extension not in hdus]
            if hdus[0].data is None or missing:
                found = ", ".join(hdu.name or "unnamed" for hdu in hdus)
                raise FrameError(f"{name} is not a stack: expected an image, COUNT, STD and META, found {found}")
            header = hdus[0].header
            return {
                "image": _native(hdus[0].data, np.float32),
                "count": _native(hdus["COUNT"].data, np.int32),
                "std": _native(hdus["STD"].data, np.float32),
                "background": _native(hdus["BACKGROUND"].data, np.float32) if "BACKGROUND" in hdus else None,
                "header": {card: header[card] for card in header if card not in _STRUCTURE},
                "n_frame": int(header.get("NFRAMES", 0)),
                "meta": {str(key): json.loads(value) for key, value in hdus["META"].data},
            }
    except (OSError, ValueError, TypeError) as error:
        if isinstance(error, FrameError | FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise FrameError(f"{name} is not a readable stack ({error}): write it again") from error


def _native(data: Any, dtype: type) -> Any:
    return np.ascontiguousarray(data, dtype=dtype)
