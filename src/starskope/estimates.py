"""What a run needs of disk and memory, before it begins.

Owns the estimates, and the refusal of a disk that cannot hold them. Refuses to measure what is there already.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from starskope.curves.masks import MOST_JUDGES
from starskope.curves.zarr_arrays import STARS_PER_CHUNK
from starskope.framelist import FrameList
from starskope.products import PART_BYTES
from starskope.progress import format_bytes

__all__ = ["check_space", "disk_bytes", "memory_bytes"]


def check_space(out: Path, frames: FrameList, block_frames: int, shape: tuple[int, int], n_star: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises
    ------
    OSError
        Too little room, with what is needed.
    """
    needed, free = disk_bytes(len(frames), block_frames, shape, n_star), shutil.disk_usage(out).free
    done = sum(path.stat().st_size for path in (out / ".work").glob("*-*.npz"))
    if free < needed - done:
        raise OSError(
            f"{out} has {format_bytes(free)} free, the run needs {format_bytes(needed - done)}: "
            "free some space or choose another directory"
        )


def disk_bytes(n_frame: int, block_frames: int, shape: tuple[int, int], n_star: int) -> int:
    """Bytes that a run needs at its largest: all blocks, of frames and of stars, and the products made of them."""
    planes = 16 * shape[0] * shape[1]
    curves = 12 * n_frame * n_star
    # Half a power, two and a half Lomb-Scargle and one spectrogram value per cadence, gaps filled; then some numbers.
    signals = (20 * n_frame + 4000) * n_star
    return (-(-n_frame // block_frames) + 1) * planes + 2 * (curves + signals) + 4_000_000


def memory_bytes(
    n_frame: int, block_frames: int, shape: tuple[int, int], n_star: int, bytes_in_flight: int, workers: int
) -> int:
    """Bytes that a run holds at its largest, libraries included.

    Either a block of planes and what is in flight, or the light curves that are written together, and a copy, or
    the stars that judge the cadences, or a block of stars per worker, of 50 float32 values per cadence and star.
    """
    planes = (block_frames + workers + 1) * 4 * shape[0] * shape[1] + bytes_in_flight
    held = max(PART_BYTES, 12 * n_frame * STARS_PER_CHUNK)
    curves = 2 * min(12 * n_frame * n_star, held) + 32 * shape[0] * shape[1]
    judges = 40 * n_frame * min(MOST_JUDGES, n_star)
    signals = workers * min(STARS_PER_CHUNK, n_star) * 200 * n_frame
    return max(planes, curves, judges, signals) + 300_000_000
