"""A whole sector of full-size frames from some dozens of planes: every frame has headers of its own and borrows pixels.

Owns which plane a frame shows. Stars share a few ephemerides: a plane is drawn for each set of events that occur at the
same time, several times with noise of its own, and each frame shows one of those that fit its time, drawn at random. So
every star has the light curve of its planet over the whole sector, white noise about it, and its own depth.

Refuses noise that knows time: pointing and scattered light go from frame to frame by chance, as the planes do.
"""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from spliced_server import Part, Spliced

from starskope.layout.datasum import with_checksum
from starskope.synth import SectorConfig, SyntheticSector
from starskope.synth import header as synthetic_header
from starskope.synth.ffi import big_endian

__all__ = ["Ephemeris", "LongSector"]

BUCKET = "stpubdata"


class Ephemeris:
    """Events at a period, which several stars share: days from the first frame of the sector."""

    def __init__(self, period: float, first: float, duration: float) -> None:
        self.period, self.first, self.duration = period, first, duration

    def covers(self, days: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell at which times an event is under way."""
        phase = (days - self.first + 0.5 * self.period) % self.period - 0.5 * self.period
        return np.asarray(np.abs(phase) < 0.5 * self.duration)


EPHEMERIDES = (
    Ephemeris(1.3217, 0.61, 0.105),
    Ephemeris(2.1173, 0.23, 0.125),
    Ephemeris(3.4039, 1.87, 0.146),
    Ephemeris(5.0311, 2.71, 0.167),
)


class _Planes(SyntheticSector):
    """Frames whose stars shine as they are told to."""

    def __init__(self, config: SectorConfig, light: NDArray[np.float64]) -> None:
        super().__init__(config)
        self._light = light

    @functools.cached_property
    def relative_flux(self) -> NDArray[np.float64]:
        return self._light


class LongSector:
    """A sector of one CCD.

    Parameters
    ----------
    config : SectorConfig
        Of the sector; `n_planet` stars have planets, nothing else varies.
    n_calm, n_event : int
        Planes without any event, and planes for each set of events that occur at one time.
    """

    def __init__(self, config: SectorConfig, n_calm: int = 32, n_event: int = 4) -> None:
        still = {"drift_px": 0.0, "dva_px": 0.0, "dump_px": 0.0, "episode_px": 0.0}
        quiet = {"n_binary": 0, "n_pulsator": 0, "n_rotator": 0, "n_flare": 0}
        self.sector = SyntheticSector(config.replace(**still, **quiet))
        self.config = self.sector.config
        days = self.sector.timeline.time - self.sector.timeline.time[0]
        under_way = np.stack([each.covers(days) for each in EPHEMERIDES], axis=1) @ (1 << np.arange(len(EPHEMERIDES)))
        rng = np.random.default_rng(config.seed)
        events: list[int] = []
        self.plane_of = np.empty(config.n_frame, np.int64)
        for mask in np.unique(under_way):
            here = np.flatnonzero(under_way == mask)
            n_plane = min(n_calm if mask == 0 else n_event, here.size)
            self.plane_of[here] = len(events) + rng.integers(0, n_plane, here.size)
            events += [int(mask)] * n_plane
        few = self.config.replace(n_frame=len(events), no_wcs_frames=(), header_offsets=())
        stars = self.sector.stars
        self.hosts = np.flatnonzero(stars["kind"] == "planet")
        self.ephemeris_of = np.arange(self.hosts.size) % len(EPHEMERIDES)
        self.depths = np.geomspace(0.004, 0.03, max(self.hosts.size, 1))[rng.permutation(self.hosts.size)]
        light = np.ones((len(events), config.n_star))
        for host, which, depth in zip(self.hosts, self.ephemeris_of, self.depths, strict=True):
            light[(np.array(events) >> which & 1).astype(bool), host] -= depth
        self.planes = _Planes(few, light)

    @property
    def tic_ids(self) -> NDArray[np.int64]:
        """Catalogue numbers of the stars with planets."""
        return np.asarray(self.sector.stars["tic_id"])[self.hosts]

    @property
    def catalog(self) -> Table:
        """The stars as a catalogue gives them."""
        return self.sector.catalog()

    def write(self, folder: Path, n_thread: int = 2) -> dict[str, Spliced]:
        """Write planes and headers as files; return the objects, by bucket and key, that they are parts of."""
        folder.mkdir(parents=True, exist_ok=True)

        def draw(k: int) -> tuple[int, int]:
            words, total = big_endian(self.planes.planes(k)[0])
            (folder / f"plane-{k}").write_bytes(words.tobytes())
            return words.nbytes, total

        draw(0)  # what is made once for all frames
        with ThreadPoolExecutor(n_thread) as pool:
            drawn = list(pool.map(draw, range(len(self.planes))))
        # The uncertainties are not read: one for all, and its header, end every file.
        words, total = big_endian(self.planes.planes(0)[1])
        values = self.sector.header_values(0)[1]
        offset = synthetic_header.STANDARD_OFFSET
        last = synthetic_header.image_header(self.config, values, uncertainty=True, offset=offset)
        (folder / "end").write_bytes(with_checksum(last, total) + words.tobytes())
        end = Part(str(folder / "end"), 0, (folder / "end").stat().st_size)
        objects = {}
        with (folder / "heads").open("wb") as heads:
            for frame, key in enumerate(self.sector.frame_keys()):
                k = int(self.plane_of[frame])
                n_bytes, total = drawn[k]
                head = self._head(frame, k, total)
                parts = Part(heads.name, heads.tell(), len(head)), Part(str(folder / f"plane-{k}"), 0, n_bytes), end
                heads.write(head)
                objects[f"{BUCKET}/{key}"] = Spliced(f"{frame:x}-{k:x}", parts)
        return objects

    def _head(self, frame: int, plane: int, total: int) -> bytes:
        """Make all that comes before the plane: the times of the frame, and where the plane looks."""
        primary, image = self.sector.header_values(frame)
        image |= self.planes.wcs_cards(plane)
        offset = int(self.sector.frame_truth["data_offset"][frame])
        calibrated = synthetic_header.image_header(self.config, image, uncertainty=False, offset=offset)
        return with_checksum(synthetic_header.primary_header(primary)) + with_checksum(calibrated, total)
