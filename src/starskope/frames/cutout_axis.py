"""The frames that cutouts are made of, as one axis: names, times, flags, world coordinates.

Owns what the cards of a CCD's frames say together, from the table of a cube or from headers of frames, by the same
arithmetic: the same cards give the same bytes. Refuses to read (``archive.cubes``, ``frames.sources``) and to judge
frames: flagged ones are cut out too, with their flags.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope.errors import FrameError
from starskope.frames.wcs import TanSip, has_wcs
from starskope.layout.fits import science_region
from starskope.layout.keys import CubeKey, FfiKey
from starskope.layout.observer import SECONDS_PER_DAY, ccd_centre, earth_path, solve_observer, unit_vectors

__all__ = ["FrameAxis", "make_axis"]

F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FrameAxis:
    """All frames of one CCD, in order.

    Attributes
    ----------
    names : (n_time,) str
        File names.
    time_spacecraft : (n_time,) float64
        Mid-exposure, BTJD (TDB), at the spacecraft; NaN = not known.
    quality : (n_time,) int32
        DQUALITY.
    shape : (int, int)
        Rows and columns of a frame.
    reference : int
        The frame whose world coordinates place targets: the middle one, or the first after it that has any.
    wcs : TanSip
        Of that frame.
    cards : callable
        ``cards(frame)`` gives the cards of the image of a frame.
    primary : mapping
        Cards of the primary header.
    sector, camera, ccd : int
        0 = not known.
    observer : (n_time, 3) float64
        The spacecraft from the barycentre, light-seconds.
    observer_from : str
        How that was found.
    """

    names: NDArray[np.str_]
    time_spacecraft: F64
    quality: NDArray[np.int32]
    shape: tuple[int, int]
    reference: int
    wcs: TanSip
    cards: Callable[[int], Mapping[str, Any]] = field(repr=False)
    primary: Mapping[str, Any] = field(repr=False)
    sector: int
    camera: int
    ccd: int
    observer: F64
    observer_from: str

    @property
    def n_time(self) -> int:
        """Number of frames."""
        return len(self.names)

    @property
    def science(self) -> tuple[slice, slice]:
        """Rows and columns that see the sky."""
        return science_region(self.cards(self.reference), self.shape)

    def barycentric(self, ra: F64, dec: F64) -> F64:
        """Return mid-exposure times at the barycentre.

        Parameters
        ----------
        ra, dec : (n_target,) or (n_target, n_time) float64
            Degrees, ICRS.

        Returns
        -------
        (n_target, n_time) float64
            BTJD (TDB): ``time_spacecraft + observer . direction / 86400``; NaN where time or place are not known.
        """
        shape = (len(ra), self.n_time)
        directions = unit_vectors(np.ravel(ra), np.ravel(dec)).reshape(len(ra), -1, 3)
        delay_s = np.zeros(shape)
        for axis in range(3):
            delay_s += self.observer[:, axis] * directions[:, :, axis]
        return self.time_spacecraft + delay_s / SECONDS_PER_DAY

    def every_wcs(self) -> list[TanSip]:
        """Return the world coordinates of each frame; a frame without takes those of the nearest one with."""
        own = [_wcs_of(self.cards(frame)) for frame in range(self.n_time)]
        known = np.array([frame for frame, wcs in enumerate(own) if wcs is not None])
        nearest = known[np.abs(known[None, :] - np.arange(self.n_time)[:, None]).argmin(axis=1)]
        return [own[frame] or self.wcs for frame in nearest.tolist()]


def make_axis(
    names: Sequence[str] | NDArray[np.str_],
    *,
    start: F64,
    stop: F64,
    barycorr: F64,
    quality: F64,
    shape: tuple[int, int],
    cards: Callable[[int], Mapping[str, Any]],
    primary: Mapping[str, Any],
    what: str,
) -> FrameAxis:
    """Put the cards of frames together.

    Parameters
    ----------
    names : sequence of str
    start, stop, barycorr, quality : (n_time,) float64
        TSTART, TSTOP (barycentric for the middle of the CCD, as images carry them), BARYCORR, DQUALITY; NaN = absent.
    shape, cards, primary
        As in `FrameAxis`.
    what : str
        What messages call the cube or the list of frames; its name tells sector, camera and CCD where frames do not.

    Raises
    ------
    FrameError
        No frame has world coordinates.
    """
    n_time = len(names)
    for frame in (np.arange(n_time) + n_time // 2) % max(n_time, 1):
        reference = int(frame)
        if (wcs := _wcs_of(cards(reference))) is not None:
            break
    else:
        raise FrameError(f"none of the {n_time} frames of {what} has world coordinates, so no target can be placed")
    flags = np.nan_to_num(quality, nan=0.0)
    if not np.all((flags >= 0) & (flags < 2**31)):
        raise FrameError(f"{what}: DQUALITY runs from {flags.min():g} to {flags.max():g}: expected sets of bits")
    time = 0.5 * (start + stop) - barycorr
    header = cards(reference)
    ra, dec = wcs.pixel_to_world(*ccd_centre(header, shape))
    try:
        observer = solve_observer(time, unit_vectors(ra, dec), barycorr[:, None])
        source = f"Earth, corrected to meet {np.count_nonzero(np.isfinite(barycorr))} BARYCORR cards of one CCD"
    except FrameError as error:
        observer, source = earth_path(time), f"Earth: {error}"
    except ValueError as error:
        raise FrameError(f"{what}: TSTART or TSTOP of some frame is no date ({error})") from None
    sector, camera, ccd = _which(str(names[reference]), what)
    return FrameAxis(
        names=np.asarray(names, np.str_),
        time_spacecraft=time,
        quality=flags.astype(np.int32),
        shape=shape,
        reference=reference,
        wcs=wcs,
        cards=cards,
        primary=primary,
        sector=sector,
        camera=camera,
        ccd=ccd,
        observer=observer,
        observer_from=source,
    )


def _wcs_of(cards: Mapping[str, Any]) -> TanSip | None:
    if not has_wcs(cards):
        return None
    try:
        return TanSip.from_header(cards)
    except FrameError:
        return None


def _which(frame: str, what: str) -> tuple[int, int, int]:
    for parse, text in ((FfiKey.parse, frame), (CubeKey.parse, what.rsplit("/", 1)[-1])):
        try:
            key = parse(text)
        except ValueError:
            continue
        return key.sector, key.camera, key.ccd
    return 0, 0, 0
