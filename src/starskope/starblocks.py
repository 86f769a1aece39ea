"""The blocks of stars of a job: which are finished, which are to be made, and what becomes of one that fails.

Owns the blocks (256 stars by index, never by arrival), their place in the journal, the one mask of all stars of a CCD,
and how many blocks are made side by side. Refuses to compute: what a block holds is made by `starskope.signals`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from starskope.curves.container import LightCurves
from starskope.curves.masks import judges
from starskope.curves.zarr_arrays import STARS_PER_CHUNK, get_stars, open_store
from starskope.journal import Journal
from starskope.outcome import LeftOutStars
from starskope.parallel import map_ranges, ranges, resolve_workers
from starskope.progress import Progress
from starskope.runconfig import RunConfig
from starskope.signals import blank, measure_block, probe

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["StarBlocks"]

_ROUNDS = 4  # of blocks between two chances to stop: at the end of each some threads wait for the slowest block
STARS_PER_BLOCK = STARS_PER_CHUNK
"""A block of stars is read and written as one chunk of the stores."""


class StarBlocks:
    """The blocks of stars of one job, in its journal.

    Blocks of other light curves, as an earlier start of the job made them of fewer frames, are forgotten, and so are
    those that hold something else than blocks do now.

    Parameters
    ----------
    journal : Journal
        With ``light_curves.zarr`` in its folder.
    n_star : int
        Light curves in it.
    config : RunConfig
        Settings and workers.
    progress : Progress
        Told of every finished block.

    Attributes
    ----------
    quality : (n_time,) int32
        Flags of the cadences, those of the mask of the whole CCD among them.
    no_search : str
        Why there is nothing to look for; empty when there is.
    """

    def __init__(self, journal: Journal, n_star: int, config: RunConfig, progress: Progress) -> None:
        self._journal, self._config, self._progress = journal, config, progress
        self.n_star = n_star
        self._store = journal.folder / "light_curves.zarr"
        self._lock = threading.Lock()
        # The stars that would judge the cadences in a mask of all stars, read without the others. By the bits of that
        # mask in the flags every block is masked alike, however small it is.
        sample = LightCurves.read(self._store, stars=judges(n_star)).mask()
        self.quality = sample.quality
        names, self.no_search = probe(sample, config)
        basis = [journal.digest("frames"), names]
        if journal.note("star blocks of") != basis:
            journal.forget("stars")
            journal.set_note("star blocks of", basis)
        pending = self._pending()
        # Whole blocks side by side share the least; where they are few, threads are left for the kernels inside.
        workers = resolve_workers(config.workers)
        self._n_beside = max(1, min(workers, len(pending)))
        self._n_inside = max(1, workers // self._n_beside)

    @property
    def numbers(self) -> range:
        """Numbers of all blocks; none where there is nothing to look for."""
        return range(0 if self.no_search else -(-self.n_star // STARS_PER_BLOCK))

    def stars(self, number: int) -> slice:
        """Return which stars a block holds."""
        first = number * STARS_PER_BLOCK
        return slice(first, min(first + STARS_PER_BLOCK, self.n_star))

    def star_table(self) -> Table:
        """Return the table of all stars, one row per light curve."""
        return get_stars(self._store, open_store(self._store, "light curves"), "light curves")

    def light_curves(self, number: int) -> LightCurves:
        """Read the light curves of a block as they were measured, with the mask of the CCD in their flags."""
        return replace(LightCurves.read(self._store, stars=self.stars(number)), quality=self.quality)

    def arrays(self, number: int) -> AbstractContextManager[Mapping[str, NDArray[Any]]]:
        """Open a finished block; each array is read when it is asked for."""
        return self._journal.block(number, "stars")

    def _pending(self) -> list[int]:
        finished = self._journal.finished("stars")
        return [number for number in self.numbers if not finished.get(number)]

    def groups(self) -> list[list[int]]:
        """Return the unfinished blocks in groups that are made side by side."""
        pending = self._pending()
        n_left = sum(self._size(number) for number in pending)
        self._progress.start("stars searched", self.n_star, done=self.n_star - n_left)
        step = self._n_beside * (_ROUNDS if self._n_beside > 1 else 1)
        return [pending[start:stop] for start, stop in ranges(len(pending), step)]

    def _size(self, number: int) -> int:
        stars = self.stars(number)
        return int(stars.stop - stars.start)

    def measure(self, numbers: Sequence[int]) -> None:
        """Make some blocks, and keep each as soon as it is finished.

        A block that cannot be made is kept without light, with the reason.

        Raises
        ------
        OSError
            The disk is full; what was finished before is kept.
        FrameError
            The light curves in the working folder are damaged.
        """
        map_ranges(lambda start, _: self._make(numbers[start]), len(numbers), 1, self._n_beside)

    def _make(self, number: int) -> None:
        curves = self.light_curves(number)
        again, reason = False, ""
        try:
            arrays = measure_block(curves, self._config, workers=self._n_inside)
        except Exception as error:  # Whatever these stars brought up: the others go on, and the reason is told.
            again, reason = isinstance(error, MemoryError), f"{type(error).__name__}: {error}"
            arrays = measure_block(blank(curves), self._config)
        arrays["error"] = np.array(reason)
        with self._lock:
            if reason:
                self._progress.note(f"{_place(self.stars(number))} are not searched: {reason}")
            self._journal.write(number, arrays, complete=not again, kind="stars")
            self._progress.advance(self._size(number))

    def left_out(self) -> list[LeftOutStars]:
        """Return the stars of the blocks that failed."""
        failed = []
        for number, complete in sorted(self._journal.finished("stars").items()):
            with self.arrays(number) as arrays:
                reason = str(arrays["error"])
            if reason:
                stars = self.stars(number)
                failed.append(LeftOutStars(stars.start, stars.stop - 1, reason, not complete))
        return failed


def _place(stars: slice) -> str:
    return f"stars {stars.start} to {stars.stop - 1}"
