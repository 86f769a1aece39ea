"""The MAST cube of a sector's frames: values of a pixel side by side, flux and error last, and a table of headers.

Owns the file's layout as the archive's cube factory makes it. Refuses to make pixels. Memory is bounded: blocks of
frames are turned and written into their places in the file.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from starskope.layout.fits import Verbatim, format_header, padded
from starskope.synth import header

if TYPE_CHECKING:
    from starskope.synth.sector import SyntheticSector

__all__ = ["CubeFile", "cube_lead", "frame_table"]

_BLOCK_BYTES = 1 << 26
_LAST = ("TSTOP", "DATE-END")
_STRUCTURE = frozenset(("XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "TFIELDS", "CHECKSUM"))


class CubeFile:
    """A cube that is filled frame by frame under a temporary name and appears when it is finished.

    Parameters
    ----------
    sector : SyntheticSector
    path : Path
        Final name.
    """

    def __init__(self, sector: SyntheticSector, path: Path) -> None:
        self._sector, self._path = sector, path
        self._part = path.with_name(path.name + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        n_row, n_col = sector.config.shape
        n_frame = sector.config.n_frame
        lead = cube_lead(sector)
        self._size = len(lead) + padded(8 * n_row * n_col * n_frame)
        with self._part.open("wb") as file:
            file.write(lead)
            file.truncate(self._size)
        self._cube = np.memmap(self._part, ">f4", "r+", offset=len(lead), shape=(n_row, n_col, n_frame, 2))
        n_block = max(1, min(n_frame, _BLOCK_BYTES // (8 * n_row * n_col)))
        self._block = np.empty((n_row, n_col, n_block, 2), ">f4")
        self._n_done = 0

    def add(self, planes: tuple[NDArray[np.float32], NDArray[np.float32]]) -> None:
        """Add the next frame: flux and error, (n_row, n_col) float32 each."""
        place = self._n_done % self._block.shape[2]
        for k, plane in enumerate(planes):
            self._block[:, :, place, k] = plane
        self._n_done += 1
        if place + 1 == self._block.shape[2] or self._n_done == self._sector.config.n_frame:
            self._cube[:, :, self._n_done - place - 1 : self._n_done] = self._block[:, :, : place + 1]

    def finish(self) -> Path:
        """Append the table of headers and give the file its name."""
        if self._n_done != self._sector.config.n_frame:
            raise ValueError(
                f"{self._path.name} got {self._n_done} of {self._sector.config.n_frame} frames: add all, then finish"
            )
        self._cube.flush()
        del self._cube
        with self._part.open("ab") as file:
            file.write(frame_table(self._sector))
        self._part.replace(self._path)
        return self._path

    def discard(self) -> None:
        """Remove what is unfinished; nothing to do after `finish`."""
        if hasattr(self, "_cube"):
            del self._cube
        self._part.unlink(missing_ok=True)


def cube_lead(sector: SyntheticSector) -> bytes:
    """Return the two headers before the pixels of a sector's cube."""
    config = sector.config
    (n_row, n_col), n_frame = config.shape, config.n_frame
    (first, _), (_, final) = sector.header_values(0), sector.header_values(n_frame - 1)
    values = {
        **first,
        "ORIGIN": "starskope",
        "CREATOR": header.CREATOR,
        "SIMDATA": True,
        **{key: final[key] for key in _LAST},
    }
    cards = [
        (key, values.get(key, value), comment) for key, value, comment in header.cards_of_primary() if key != "CHECKSUM"
    ]
    primary = format_header(
        [
            *cards,
            ("SECTOR", config.sector, "Observing sector"),
            ("CAMERA", config.camera, "Camera number"),
            ("CCD", config.ccd, "CCD chip number"),
        ]
    )
    return primary + format_header(
        [
            ("XTENSION", "IMAGE", "Image extension"),
            ("BITPIX", -32, "array data type"),
            ("NAXIS", 4, "number of array dimensions"),
            *((f"NAXIS{axis}", length) for axis, length in enumerate((2, n_frame, n_col, n_row), 1)),
            ("PCOUNT", 0, "number of parameters"),
            ("GCOUNT", 1, "number of groups"),
        ]
    )


def frame_table(sector: SyntheticSector) -> bytes:
    """Return the table of a sector's frames that follows the pixels: a column per card, a row per frame.

    Cards of the table's header have the cards' comments as their values, as in the archive's cubes.
    """
    config = sector.config
    rows: list[dict[str, Any]] = []
    comments: dict[str, str] = {}
    for frame in range(config.n_frame):
        offset = int(sector.frame_truth["data_offset"][frame])
        cards = header.image_cards(config, sector.header_values(frame)[1], uncertainty=False, offset=offset)
        rows.append({key: _plain(value) for key, value, _ in cards} | {"FFI_FILE": sector.ffi_key(frame).name})
        if len(cards) > len(comments):
            comments = {key: comment for key, _, comment in cards}
    template = max(rows, key=len)
    columns = []
    for key, example in template.items():
        if isinstance(example, str):
            text = [row.get(key, "") for row in rows]
            columns.append(fits.Column(key, f"{max(map(len, text))}A", array=np.array(text)))
        elif isinstance(example, int):
            columns.append(fits.Column(key, "J", array=np.array([row.get(key, 0) for row in rows], np.int32)))
        else:
            columns.append(fits.Column(key, "D", array=np.array([row.get(key, np.nan) for row in rows], np.float64)))
    table = fits.BinTableHDU.from_columns(columns)
    for key, comment in comments.items():
        if key not in _STRUCTURE:
            table.header[key] = comment
    buffer = io.BytesIO()
    table.writeto(buffer)
    buffer.seek(0)
    with fits.open(buffer) as hdus:
        return buffer.getvalue()[hdus[1].fileinfo()["hdrLoc"] :]


def _plain(value: Any) -> Any:
    """Value of a card: what stands there verbatim is T, F or a number."""
    if not isinstance(value, Verbatim):
        return int(value) if isinstance(value, bool | np.bool_) else value
    if value in ("T", "F"):
        return int(value == "T")
    try:
        return int(value)
    except ValueError:
        return float(value)
