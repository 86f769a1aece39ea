"""How frames become the planes of a stack: an array in place, files by bands of rows, a stream in blocks.

Owns the settings of a stack, the exact clip of any number of files in bounded memory, and the accumulator that takes
frames one by one. Refuses the network and the choice between these ways (``frames.stack``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from starskope.errors import FrameError, TransferError
from starskope.frames.checksums import checksum_note
from starskope.frames.clip import ClipSettings, clip_series
from starskope.frames.decode import Frame, read_frame
from starskope.frames.planes import PlaneFile
from starskope.frames.stacked import Combiner, Stack, combine, kept_cards
from starskope.frames.wcs import has_wcs
from starskope.parallel import map_ranges, ranges, resolve_workers
from starskope.validation import as_array, as_out, choice, integer_at_least

__all__ = ["OnError", "StackAccumulator", "StackSettings", "require_one_shape", "stack_array", "stack_files"]

OnError = Literal["raise", "skip"]
_BAND_BYTES = 256 << 20


@dataclass(frozen=True)
class StackSettings:
    """What `stack` was asked for, checked once; parameters as there."""

    clip: ClipSettings
    on_error: OnError = "raise"
    block_frames: int | None = None
    max_bytes: int = 2 << 30
    checksums: bool = False
    workers: int = 1
    mask: Any = None
    weights: Any = None
    rejected: bool = False

    def __post_init__(self) -> None:
        if self.block_frames is not None and self.per_value:
            raise ValueError(
                f"{self.per_value}: expected no block_frames with it; stack the parts with theirs and combine them"
            )
        choice(self.on_error, "on_error", ("raise", "skip"))
        integer_at_least(self.max_bytes, "max_bytes", 1)
        resolve_workers(self.workers)
        if self.block_frames is not None:
            integer_at_least(self.block_frames, "block_frames", 1)
        for name in ("mask", "weights"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, as_array(getattr(self, name), name))

    @property
    def per_value(self) -> str:
        """Names what was asked for that speaks of single frames or values."""
        asked = {"mask": self.mask is not None, "weights": self.weights is not None, "rejected": self.rejected}
        return ", ".join(name for name, is_asked in asked.items() if is_asked)

    def require_shapes(self, shape: tuple[int, int, int]) -> None:
        """Raise ValueError unless mask and weights fit frames (n_time, n_row, n_col)."""
        if self.mask is not None and self.mask.shape != shape:
            raise ValueError(f"mask: expected shape {shape} like the frames, got {self.mask.shape}")
        if self.weights is not None and self.weights.shape not in (shape[:1], shape):
            raise ValueError(f"weights: expected shape {shape[:1]} or {shape}, got {self.weights.shape}")


class _Planes:
    """Image, count and std of a stack, filled by bands of rows."""

    def __init__(
        self, shape: tuple[int, int], settings: StackSettings, image: NDArray[np.float32] | None = None
    ) -> None:
        self.settings = settings
        self.image = np.empty(shape, np.float32) if image is None else image
        self.count = np.empty(shape, np.int32)
        self.std = np.empty(shape, np.float32)
        self.rejected: NDArray[np.bool_] | None = None

    def fill(self, start: int, stop: int, block: Any, used: Sequence[int] | slice = slice(None)) -> None:
        """Reduce ``block`` (n_time, stop - start, n_col) of the frames ``used`` into rows ``start`` to ``stop``."""
        clip = self.settings.clip
        mask, weights = self.settings.mask, self.settings.weights
        if weights is not None:
            weights = weights[used] if weights.ndim == 1 else weights[:, start:stop][used]
        done = clip_series(
            block,
            method=clip.method,
            sigma=clip.sigma,
            max_iters=clip.max_iters,
            center=clip.center,
            scale=clip.scale,
            mask=None if mask is None else mask[:, start:stop][used],
            weights=weights,
            rejected=self.settings.rejected,
            workers=self.settings.workers,
        )
        if done.rejected is not None:
            if self.rejected is None:
                self.rejected = np.empty((len(block), *self.image.shape), np.bool_)
            self.rejected[:, start:stop] = done.rejected
        self.image[start:stop] = done.mean if done.median is None else done.median
        self.count[start:stop] = done.count
        self.std[start:stop] = done.std

    def stack(self, header: Mapping[str, Any], n_frame: int, left_out: dict[str, str], notes: Sequence[str]) -> Stack:
        clip = self.settings.clip
        meta: dict[str, Any] = {"method": clip.method}
        if clip.method == "sigma_clip":
            meta.update(sigma=list(clip.limits), max_iters=clip.max_iters, center=clip.center, scale=clip.scale)
        meta.update(exact=True, left_out=left_out, notes=list(notes))
        return Stack(self.image, self.count, self.std, None, kept_cards(header), n_frame, meta, self.rejected)


def stack_array(frames: NDArray[Any], settings: StackSettings, out: Any = None) -> Stack:
    """Stack an array (n_time, n_row, n_col); what is no float32 of either byte order is converted by bands of rows.

    ``out`` (n_row, n_col) takes the image.
    """
    if frames.ndim != 3:
        raise ValueError(f"frames: expected (n_time, n_row, n_col), got shape {frames.shape}")
    n_time, n_row, n_col = frames.shape
    if n_time == 0:
        raise ValueError("stack needs at least one frame, got none")
    image = as_out(out, "out", (n_row, n_col), inputs=(frames,))
    settings.require_shapes(frames.shape)
    block_frames = settings.block_frames or n_time
    in_place = frames.dtype.newbyteorder("=") == np.float32 and frames.flags.c_contiguous
    parts = []
    for first, last in ranges(n_time, block_frames):
        planes = _Planes((n_row, n_col), settings, image if block_frames >= n_time else None)
        rows = n_row if in_place else _band_rows(last - first, n_col, settings)
        for start, stop in ranges(n_row, max(rows, 1)):
            planes.fill(start, stop, frames[first:last, start:stop])
        parts.append(planes.stack({}, last - first, {}, []))
    return parts[0] if len(parts) == 1 else _with_image_in(image, combine(parts))


def _with_image_in(image: NDArray[np.float32], stack: Stack) -> Stack:
    image[:] = stack.image
    return replace(stack, image=image)


def stack_files(paths: Sequence[Path], settings: StackSettings, out: Any = None) -> Stack:
    """Stack files on disk, exactly, reading the same rows of all of them at a time; or in blocks when asked.

    ``out`` (n_row, n_col) takes the image.
    """
    if not paths:
        raise ValueError("stack needs at least one frame, got none")
    if settings.block_frames is not None:
        accumulator = StackAccumulator(settings)
        accumulator.begin(tuple(map(str, paths)))
        for index, path in enumerate(paths):
            accumulator.put(index, _frame_or_error(index, path, settings))
        made = accumulator.result()
        return made if out is None else _with_image_in(as_out(out, "out", made.image.shape), made)
    found: list[tuple[int, PlaneFile]] = []
    left_out: dict[str, str] = {}
    for index, path in enumerate(paths):
        try:
            found.append((index, PlaneFile.find(path)))
        except (FrameError, OSError) as error:
            _leave_out(left_out, str(path), error, settings)
    odd = require_one_shape([(index, file.name, file.shape) for index, file in found], settings.on_error)
    for index in odd:
        left_out[str(paths[index])] = odd[index]
    used, files = [index for index, _ in found if index not in odd], [file for index, file in found if index not in odd]
    if not files:
        raise _nothing_left(left_out)
    n_row, n_col = files[0].shape
    settings.require_shapes((len(paths), n_row, n_col))
    planes = _Planes((n_row, n_col), settings, as_out(out, "out", (n_row, n_col)))
    for start, stop in ranges(n_row, _band_rows(len(files), n_col, settings)):
        planes.fill(start, stop, _read_band(files, start, stop, settings.workers), used)
    notes = [checksum_note(file.read_all(), name=file.name) for file in files] if settings.checksums else []
    header = next((file.plane.header for file in files if has_wcs(file.plane.header)), files[0].plane.header)
    return planes.stack(header, len(files), left_out, [note for note in notes if note])


def _read_band(files: Sequence[PlaneFile], start: int, stop: int, workers: int) -> NDArray[np.float32]:
    band = np.empty((len(files), stop - start, files[0].plane.n_col), np.float32)

    def read(first: int, last: int) -> None:
        for i in range(first, last):
            files[i].read_rows(start, stop, band[i])

    map_ranges(read, len(files), 8, workers)
    return band


def _frame_or_error(index: int, path: Path, settings: StackSettings) -> Frame | Exception:
    try:
        return read_frame(path, index=index, checksums=settings.checksums)
    except (FrameError, OSError) as error:
        return error


def _band_rows(n_frame: int, n_col: int, settings: StackSettings) -> int:
    return max(1, min(settings.max_bytes, _BAND_BYTES) // max(1, 4 * n_frame * n_col))


def _leave_out(left_out: dict[str, str], name: str, error: Exception, settings: StackSettings) -> None:
    if settings.on_error == "raise":
        raise error
    left_out[name] = str(error)


def _nothing_left(left_out: Mapping[str, str]) -> FrameError:
    name, reason = next(iter(left_out.items()))
    return FrameError(
        f"no frame left to stack: all {len(left_out)} were left out, the first ({name}) because: {reason}"
    )


def require_one_shape(
    shapes: Sequence[tuple[int, str, tuple[int, ...]]], on_error: OnError = "raise"
) -> dict[int, str]:
    """Find the frames whose shape is not that of most.

    Parameters
    ----------
    shapes : sequence of (index, name, shape)
    on_error : {"raise", "skip"}

    Returns
    -------
    dict
        Index to reason; empty when all agree.

    Raises
    ------
    FrameError
        With ``on_error="raise"``, when they do not.
    """
    common = Counter(shape for _, _, shape in shapes).most_common(1)
    odd = {}
    for index, name, shape in shapes:
        if shape != common[0][0]:
            others = _times(common[0][0])
            if on_error == "raise":
                raise FrameError(
                    f"stack needs frames of one shape; frame {index} ({name}) is {_times(shape)}, the others {others}: "
                    "take it out, or let on_error='skip' leave it out"
                )
            odd[index] = f"is {_times(shape)}, the others {others}"
    return odd


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


class StackAccumulator:
    """Takes frames one by one, in order of their index, and keeps no more than one block of them.

    Without ``block_frames`` the one block holds all frames, and more than ``max_bytes`` of them are refused. Frames
    that differ in shape from the first good one count as errors. Call `begin`, `put` for every index, `result`, never
    two at a time.
    """

    def __init__(self, settings: StackSettings) -> None:
        self._settings = settings
        self._names: tuple[str, ...] = ()
        self._block: NDArray[np.float32] | None = None
        self._n_filled = 0
        self._parts = Combiner()
        self._shape: tuple[int, int] | None = None
        self._first = ""
        self._header: Mapping[str, Any] = {}
        self._left_out: dict[str, str] = {}
        self._notes: list[str] = []

    def begin(self, names: tuple[str, ...]) -> None:
        """Tell the names of all frames, in order."""
        if not names:
            raise ValueError("stack needs at least one frame, got none")
        self._names = names

    def put(self, index: int, frame: Frame | Exception) -> None:
        """Take frame ``index``, or the error that stands in its place."""
        block_frames = self._settings.block_frames or len(self._names)
        if isinstance(frame, Frame):
            self._add(index, frame, block_frames)
        elif isinstance(frame, FrameError | TransferError | OSError):
            _leave_out(self._left_out, self._names[index], frame, self._settings)
        else:
            raise frame
        if (index + 1) % block_frames == 0:
            self._finish_block()

    def result(self) -> Stack:
        """Return the stack of all frames taken."""
        self._finish_block()
        if self._parts.n_block == 0:
            raise _nothing_left(self._left_out)
        made = self._parts.result()
        made.header = kept_cards(self._header)
        made.meta.update(left_out=self._left_out, notes=self._notes)
        return made

    def _add(self, index: int, frame: Frame, block_frames: int) -> None:
        if self._shape is None:
            self._shape, self._first, self._header = frame.image.shape, frame.name, frame.header
        if frame.image.shape != self._shape:
            reason = FrameError(
                f"stack needs frames of one shape; frame {index} ({frame.name}) is {_times(frame.image.shape)}, "
                f"the first ({self._first}) {_times(self._shape)}: take it out, or let on_error='skip' leave it out"
            )
            _leave_out(self._left_out, self._names[index], reason, self._settings)
            return
        if self._block is None:
            self._block = self._new_block(min(block_frames, len(self._names)))
        self._block[self._n_filled] = frame.image
        self._n_filled += 1
        if frame.note:
            self._notes.append(frame.note)
        if not has_wcs(self._header) and has_wcs(frame.header):
            self._header = frame.header

    def _new_block(self, n_frame: int) -> NDArray[np.float32]:
        n_row, n_col = self._shape or (0, 0)
        n_bytes = 4 * n_frame * n_row * n_col
        if n_bytes > self._settings.max_bytes:
            fits = max(1, self._settings.max_bytes // max(1, 4 * n_row * n_col))
            raise ValueError(
                f"{n_frame} frames of {n_row}x{n_col} need {n_bytes / 1e9:.1f} GB at once, max_bytes is "
                f"{self._settings.max_bytes / 1e9:.1f} GB: clip them in blocks (block_frames={min(fits, 32)}), "
                "download them first (files are clipped exactly, by bands of rows), or raise max_bytes"
            )
        return np.empty((n_frame, n_row, n_col), np.float32)

    def _finish_block(self) -> None:
        if self._block is None or self._n_filled == 0:
            return
        planes = _Planes(self._block.shape[1:], self._settings)
        planes.fill(0, self._block.shape[1], self._block[: self._n_filled])
        self._parts.add(planes.stack({}, self._n_filled, {}, []))
        self._n_filled = 0
