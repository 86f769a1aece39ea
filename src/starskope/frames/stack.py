"""`stack`: one image from an array, from files on disk, or from a stream.

Owns the public functions and the question what kind of frames they were given. Refuses to judge the quality of frames
or to subtract backgrounds (``frames.reduce`` does both for the job), and to await (``frames.stream``). How frames
become planes of statistics is in ``frames.stacking``, the container in ``frames.stacked``; their names are given out
here too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope.frames.clip import Center, Clipped, ClipSettings, Method, Scale, clip_series
from starskope.frames.decode import Frame
from starskope.frames.stacked import Stack, combine
from starskope.frames.stacking import (
    OnError,
    StackAccumulator,
    StackSettings,
    require_one_shape,
    stack_array,
    stack_files,
)
from starskope.parallel import submit
from starskope.transfer.weburi import is_remote
from starskope.validation import as_array, is_array

__all__ = ["Clipped", "Stack", "StackAccumulator", "clip_series", "combine", "stack", "stack_async"]


def stack(
    frames: Any,
    method: Method = "sigma_clip",
    sigma: float | tuple[float, float] = 3.0,
    max_iters: int | None = 5,
    center: Center = "median",
    workers: int = 1,
    *,
    on_error: OnError = "raise",
    block_frames: int | None = None,
    max_bytes: int = 2 << 30,
    checksums: bool = False,
    options: Any = None,
    out: Any = None,
    sigma_low: float | None = None,
    sigma_high: float | None = None,
    scale: Scale = "std",
    mask: Any = None,
    weights: Any = None,
    rejected: bool = False,
) -> Stack:
    """Stack frames: per pixel the sigma-clipped mean, the mean or the median over time.

    Parameters
    ----------
    frames : array_like (n_time, n_row, n_col), paths, Table or URIs
        An array of any library (NaN = missing), used in place where it is C-contiguous float32 of either byte order; a
        list of FITS files, or a folder (the ``*.fits`` in and below it, by name); a list of `Frame`; or a Table from
        `find_ffis` or a list of ``s3://`` or ``https://`` addresses, which stream. Files of any BITPIX, all of one
        shape, are stacked on their own pixel grid, as they are: nothing is aligned or subtracted.
    method : {"sigma_clip", "mean", "median"}
        What the image holds. Every method gives ``count`` and ``std`` too.
    sigma, max_iters, center
        As in `clip_series`.
    workers : int
        Threads; -1 for the CPUs of this process. The result has the same bytes for any number.
    on_error : {"raise", "skip"}
        What to do with a frame that cannot be read or has another shape: raise, or leave it out and tell in
        ``meta["left_out"]``.
    block_frames : int, optional
        Clip fixed blocks of this many frames by themselves and combine them by weight. Bounds the memory of a stream;
        by default all frames are clipped together, for files in bands of rows.
    max_bytes : int
        Most memory for pixels. Streams that need more are refused without `block_frames`.
    checksums : bool
        Verify CHECKSUM cards and tell in ``meta["notes"]``; reads files twice.
    options : TransferOptions, optional
        For streams.
    out : (n_row, n_col) float32, optional
        Where the image goes, C-contiguous or a range of columns, apart from the frames; `Stack.image` is it then. Not
        for streams.
    sigma_low, sigma_high : float, optional
        Limit on one side, instead of ``sigma``.
    scale : {"std", "mad"}
        What deviations are measured in, as in `clip_series`.
    mask : (n_time, n_row, n_col) array of bool, optional
        True where a value is not to be used. Like weights and ``rejected`` not for streams and ``block_frames``.
    weights : (n_time,) or (n_time, n_row, n_col) array, optional
        Of frames or values, for mean and standard deviation; they do not decide who survives.
    rejected : bool
        Keep which values were clipped, in `Stack.rejected`.

    Returns
    -------
    Stack

    Raises
    ------
    FrameError
        A damaged frame, frames of different shape, or no frame left.
    ValueError, TypeError
        No frames, or settings out of range.
    TransferError
        An object could not be read.

    Examples
    --------
    >>> import numpy as np
    >>> frames = np.ones((5, 2, 3), np.float32)
    >>> frames[4, 0, 0] = 100.0
    >>> made = stack(frames, sigma=1.5)
    >>> float(made.image[0, 0]), int(made.count[0, 0])
    (1.0, 4)
    """
    clip = ClipSettings(method, _limits(sigma, sigma_low, sigma_high), max_iters, center, scale)
    settings = StackSettings(
        clip, on_error, block_frames, max_bytes, checksums, workers, mask=mask, weights=weights, rejected=rejected
    )
    source = _resolve(frames)
    if isinstance(source, _Remote):
        _refuse_for_streams(settings, out)
        from starskope.frames import stream
        from starskope.transfer.facade import run_sync

        folded: Stack = run_sync(stream.fold(frames, StackAccumulator(settings), options=options, workers=workers))
        return folded
    return _stack_here(source, settings, out)


def stack_async(
    frames: Any,
    method: Method = "sigma_clip",
    sigma: float | tuple[float, float] = 3.0,
    max_iters: int | None = 5,
    center: Center = "median",
    workers: int = 1,
    *,
    on_error: OnError = "raise",
    block_frames: int | None = None,
    max_bytes: int = 2 << 30,
    checksums: bool = False,
    options: Any = None,
    out: Any = None,
    sigma_low: float | None = None,
    sigma_high: float | None = None,
    scale: Scale = "std",
    mask: Any = None,
    weights: Any = None,
    rejected: bool = False,
) -> Awaitable[Stack]:
    """Stack frames as `stack` does, without blocking the running event loop; parameters as there."""
    clip = ClipSettings(method, _limits(sigma, sigma_low, sigma_high), max_iters, center, scale)
    settings = StackSettings(
        clip, on_error, block_frames, max_bytes, checksums, workers, mask=mask, weights=weights, rejected=rejected
    )
    source = _resolve(frames)
    if isinstance(source, _Remote):
        _refuse_for_streams(settings, out)
        from starskope.frames import stream

        folded: Awaitable[Stack] = stream.fold(frames, StackAccumulator(settings), options=options, workers=workers)
        return folded
    return asyncio.wrap_future(submit(_stack_here, source, settings, out))


def _refuse_for_streams(settings: StackSettings, out: Any) -> None:
    if out is not None:
        raise ValueError("out: the shape of streamed frames is not known before they come; leave it out")
    if settings.per_value:
        raise ValueError(f"{settings.per_value}: expected files or an array, got a stream; download the frames first")


def _limits(sigma: float | tuple[float, float], low: float | None, high: float | None) -> float | tuple[float, float]:
    if low is None and high is None:
        return sigma
    pair = sigma if isinstance(sigma, tuple | list) and len(sigma) == 2 else (sigma, sigma)
    return (pair[0] if low is None else low, pair[1] if high is None else high)


class _Remote:
    """Frames that ``frames.stream`` has to fetch."""


def _resolve(frames: Any) -> _Remote | list[Path] | NDArray[Any]:
    if hasattr(frames, "colnames"):
        return _Remote()
    if isinstance(frames, str | os.PathLike):
        if is_remote(str(frames)):
            return _Remote()
        folder = Path(frames)
        return sorted(folder.rglob("[!.]*.fits"), key=lambda path: (path.name, path)) if folder.is_dir() else [folder]
    if is_array(frames) and not (isinstance(frames, np.ndarray) and frames.dtype.kind in "US"):
        return as_array(frames, "frames")
    items = list(frames)
    if not items:
        return []
    if all(isinstance(item, str | os.PathLike) for item in items):
        remote = [is_remote(str(item)) for item in items]
        if any(remote) and not all(remote):
            raise ValueError("frames: expected URIs or files, got both: stack them apart and combine the stacks")
        return _Remote() if any(remote) else [Path(item) for item in items]
    images = [item.image if isinstance(item, Frame) else np.asanyarray(item) for item in items]
    names = [item.name if isinstance(item, Frame) else "array" for item in items]
    require_one_shape(
        [(index, name, image.shape) for index, (name, image) in enumerate(zip(names, images, strict=True))]
    )
    return np.ma.stack(images) if any(isinstance(image, np.ma.MaskedArray) for image in images) else np.stack(images)


def _stack_here(source: list[Path] | NDArray[Any], settings: StackSettings, out: Any) -> Stack:
    return stack_files(source, settings, out) if isinstance(source, list) else stack_array(source, settings, out)
