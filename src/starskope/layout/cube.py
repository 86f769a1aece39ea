"""Byte layout of the archive's TESS cubes: where a pixel's series lies.

Owns offsets. Refuses to read them (``transfer``), to know ranges of cutouts (``frames/cutout_ranges``) and to know
what is in a cube's table of frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

from starskope.errors import FrameError
from starskope.layout.fits import iter_hdus

__all__ = ["CUBE_LEAD", "CubeLayout"]

CUBE_LEAD = 5760
"""Leading bytes that hold both headers of a real cube."""

_N_PLANE = 2
_ITEM_BYTES = 4


@dataclass(frozen=True)
class CubeLayout:
    """A cube ``(n_row, n_col, n_frame, 2)`` of big-endian float32: flux and error run fastest, then time.

    Attributes
    ----------
    n_row, n_col, n_frame : int
        2078, 2136 and the number of frames for a real cube.
    data_offset : int
        First byte of the data; 5760 in real cubes.
    """

    n_row: int
    n_col: int
    n_frame: int
    data_offset: int = CUBE_LEAD

    def __post_init__(self) -> None:
        for what in ("n_row", "n_col", "n_frame"):
            if getattr(self, what) < 1:
                raise ValueError(f"{what} is {getattr(self, what)}: expected 1 or more")
        if self.data_offset < 0:
            raise ValueError(f"data_offset is {self.data_offset}: expected 0 or more")

    @classmethod
    def from_lead(cls, buffer: Any, *, name: str = "the data") -> CubeLayout:
        """Read the layout from a cube's leading bytes (`CUBE_LEAD` of them hold both headers).

        Raises
        ------
        FrameError
            Not FITS, truncated, or HDU1 is not a 4-D float32 image with two planes; the text names `name`.
        """
        hdus = list(islice(iter_hdus(buffer, name=name), 2))
        if len(hdus) < 2:
            raise FrameError(f"{name} is no cube: expected a 4-D image in HDU1, found one HDU in its leading bytes")
        header = hdus[1].header
        axes = tuple(header[f"NAXIS{axis}"] for axis in range(header["NAXIS"], 0, -1))
        if header.get("XTENSION") != "IMAGE" or header["BITPIX"] != -32 or len(axes) != 4 or axes[3] != _N_PLANE:
            raise FrameError(
                f"{name} is no cube: expected a float32 image (rows, columns, frames, 2) in HDU1, "
                f"found {header.get('XTENSION')} of shape {axes} with BITPIX = {header['BITPIX']}"
            )
        if min(axes) < 1:
            raise FrameError(f"{name} is an empty cube: shape {axes}")
        return cls(axes[0], axes[1], axes[2], hdus[1].offset)

    @property
    def n_bytes(self) -> int:
        """Bytes of data, without padding."""
        return self.n_row * self.n_col * self.n_frame * _N_PLANE * _ITEM_BYTES

    def offset(self, row: int, col: int, frame: int, plane: int) -> int:
        """Return the byte of one value: plane 0 flux, 1 error; all indices 0-based.

        Raises ValueError outside the cube.
        """
        limits = (self.n_row, self.n_col, self.n_frame, _N_PLANE)
        indices = zip(("row", "col", "frame", "plane"), (row, col, frame, plane), limits, strict=True)
        for what, value, limit in indices:
            if not 0 <= value < limit:
                raise ValueError(f"{what} is {value}: expected 0 to {limit - 1} in this cube")
        item = ((row * self.n_col + col) * self.n_frame + frame) * _N_PLANE + plane
        return self.data_offset + _ITEM_BYTES * item
