"""What becomes of each frame that arrives: into its block, or left out with the reason.

Owns the judgement of a decoded frame beside the others of its run, and when so many are lost that going on is no use.
Refuses to fetch, to decode and to reduce.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from starskope.errors import FrameError, StarskopeError, TransferError
from starskope.frames.decode import Frame
from starskope.frames.quality import quality_names
from starskope.outcome import LeftOut
from starskope.progress import Progress

__all__ = ["Arrivals"]

# A missing object or two must not decide the run, a dead server must not be asked a thousand times.
_MAX_LOST = 16


class Arrivals:
    """The frames of one run, judged in order of their index.

    Parameters
    ----------
    names : sequence of str
        Of all frames.
    shape, place : tuple
        Rows and columns of the planes; camera and CCD, None where not known.
    exposures : dict
        Start and stop of the exposures in finished blocks, with the index of their frame; grows.
    progress : Progress
        Told of every frame.
    """

    def __init__(
        self,
        names: Sequence[str],
        shape: tuple[int, int],
        place: tuple[int | None, int | None],
        exposures: dict[tuple[float, float], int],
        progress: Progress,
    ) -> None:
        self._names, self._shape, self._place = names, shape, place
        self._exposures, self._progress = exposures, progress
        self._n_lost = 0

    def sort(self, index: int, item: Frame | Exception, good: list[Frame], left_out: list[LeftOut]) -> None:
        """Put one arrival among the frames of its block, or among those left out.

        Raises
        ------
        TransferError
            So many frames in a row could not be fetched that the rest will not come either.
        """
        if not isinstance(item, Exception):
            try:
                reason = self._objection(item)
            except (FrameError, ValueError) as error:
                reason = str(error)
            if not reason:
                good.append(item)
                self._progress.advance(n_bytes=item.image.nbytes)
                self._n_lost = 0
                return
        elif isinstance(item, StarskopeError | OSError):
            reason = str(item)
        else:
            raise item
        lost = isinstance(item, TransferError | OSError)
        self._n_lost = self._n_lost + 1 if lost else 0
        left_out.append(LeftOut(index, self._names[index], reason, lost))
        self.tell(left_out[-1])
        self._progress.advance()
        if self._n_lost >= _MAX_LOST:
            raise TransferError(
                f"{self._n_lost} frames in a row could not be fetched: {reason}", {self._names[index]: reason}
            )

    def _objection(self, frame: Frame) -> str:
        """Say why a decoded frame is none of this run, empty when it is; damaged cards raise."""
        if frame.image.shape != self._shape:
            here, others = ("x".join(map(str, shape)) for shape in (frame.image.shape, self._shape))
            return f"{frame.name} is {here} pixels, the others are {others}"
        place = (frame.camera, frame.ccd)
        if None not in (*place, *self._place) and place != self._place:
            here, others = (f"camera {camera}, CCD {ccd}" for camera, ccd in (place, self._place))
            return f"{frame.name} is of {here}, the others are of {others}"
        quality_names(frame.quality)
        span = (frame.start, frame.stop)
        if all(map(math.isfinite, (*span, frame.time))):
            first = self._exposures.setdefault(span, frame.index)
            if first < frame.index:
                return f"{frame.name} is a duplicate: same exposure as {self._names[first]}"
        # Every card that the reduction will ask for is asked for here, where a damaged one costs one frame only.
        _ = frame.barycorr, frame.exposure_s, frame.science
        return ""

    def tell(self, frame: LeftOut) -> None:
        """Say that a frame is left out, and why."""
        text = frame.reason if frame.name in frame.reason else f"{frame.name}: {frame.reason}"
        self._progress.note(f"left out: {text}")
