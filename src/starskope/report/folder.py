"""The products of a run, read when the page needs them.

Owns the reading of an output folder in pieces that fit into memory: a sample of the light curves, single stars by the
chunks that hold them. Refuses to draw and to compute.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from starskope.curves.container import LightCurves
from starskope.curves.selection import ID_COLUMNS
from starskope.curves.zarr_arrays import STARS_PER_CHUNK, get_stars, open_store

if TYPE_CHECKING:
    from astropy.table import Table

    from starskope.frames.stacked import Stack
    from starskope.learn.features import FeatureModel
    from starskope.search.spectra import Spectrogram

__all__ = ["RunFolder"]

_SAMPLE_STARS, _SAMPLE_VALUES = 2048, 4_000_000


class RunFolder:
    """What stands in the output folder of a finished run.

    Parameters
    ----------
    path : Path
        Holds ``run.json``, ``manifest.parquet``, ``stack.fits`` and ``light_curves.zarr``; ``candidates.ecsv``,
        ``spectra.zarr``, ``features.parquet`` and ``feature_model.npz`` where the run searched.
    run : dict, optional
        What ``run.json`` holds, or will.

    Raises
    ------
    ValueError
        There is no finished run.
    """

    def __init__(self, path: Path, run: dict[str, Any] | None = None) -> None:
        import pyarrow.parquet

        self.path = path
        try:
            self.run: dict[str, Any] = json.loads((path / "run.json").read_text()) if run is None else run
            self.frames: list[dict[str, Any]] = pyarrow.parquet.read_table(path / "manifest.parquet").to_pylist()
        except FileNotFoundError as error:
            missing = Path(error.filename).name
            raise ValueError(
                f"{path} holds no finished run ({missing} is missing): give the OUT of `starskope run`"
            ) from None

    @cached_property
    def stack(self) -> Stack:
        """The stacked image."""
        from starskope.frames.stacked import Stack

        return Stack.read(self.path / "stack.fits")

    @cached_property
    def stars(self) -> Table:
        """The star table, all stars."""
        store = self.path / "light_curves.zarr"
        return get_stars(store, open_store(store, "light curves"), "light curves")

    @cached_property
    def sample(self) -> LightCurves:
        """Light curves of stars spread evenly over all, as many as a page can look at."""
        n_star = len(self.stars)
        first = LightCurves.read(self.path / "light_curves.zarr", stars=slice(0, 1))
        most = max(STARS_PER_CHUNK, min(_SAMPLE_STARS, _SAMPLE_VALUES // max(1, first.n_time)))
        return LightCurves.read(self.path / "light_curves.zarr", stars=slice(0, None, max(1, -(-n_star // most))))

    @cached_property
    def masked_quality(self) -> NDArray[np.int32]:
        """Flags of the cadences with the bits of the mask of the whole CCD, as the run searched with."""
        known = self.run.get("masked_quality")
        return np.array(known.split(), np.int32) if known else self.sample.mask().quality

    @cached_property
    def stacked(self) -> NDArray[np.bool_]:
        """Which cadences of the light curves are in the stack (n_time,)."""
        return np.isin(self.sample.time, [frame["time"] for frame in self.frames if frame["status"] == "stacked"])

    @cached_property
    def candidates(self) -> Table | None:
        """The table of candidates; None where the run did not search."""
        from astropy.table import Table

        path = self.path / "candidates.ecsv"
        return Table.read(path, format="ascii.ecsv") if path.is_file() else None

    @cached_property
    def features(self) -> dict[str, NDArray[Any]] | None:
        """Columns of the features, hidden units aside; None where there are none."""
        import pyarrow.parquet

        path = self.path / "features.parquet"
        if not path.is_file():
            return None
        names = [name for name in pyarrow.parquet.read_schema(path).names if "_hidden_" not in name]
        read = pyarrow.parquet.read_table(path, columns=names)
        return {name: read[name].to_numpy(zero_copy_only=False) for name in names}

    @cached_property
    def model(self) -> FeatureModel | None:
        """The machines that learned from the stars; None where there are none."""
        from starskope.learn.features import FeatureModel

        path = self.path / "feature_model.npz"
        return FeatureModel.load(path) if path.is_file() else None

    @cached_property
    def places(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Row and column of every star on the stack, 0-based; NaN where the sky is not known."""
        from starskope.errors import FrameError
        from starskope.frames.wcs import TanSip

        unknown = np.full(len(self.stars), np.nan)
        if not {"ra", "dec"} <= set(self.stars.colnames):
            return unknown, unknown
        try:
            wcs = TanSip.from_header(self.stack.header or {})
        except FrameError:
            return unknown, unknown
        return wcs.world_to_pixel(*(np.asarray(self.stars[name], np.float64) for name in ("ra", "dec")))

    def label(self, star: int) -> str:
        """Name a star: its catalogue number where there is one."""
        names = {"tic_id": "TIC", "kepler_id": "KIC", "epic_id": "EPIC", "gaia_id": "Gaia"}
        column = next((name for name in ID_COLUMNS if name in self.stars.colnames), None)
        known = f"{names.get(column or '', 'star')} {self.stars[column][star]}" if column else f"star {star}"
        tmag = self.stars["tmag"][star] if "tmag" in self.stars.colnames else np.nan
        return f"{known}, Tmag {tmag:.2f}" if np.isfinite(tmag) else known

    def curves(self, stars: Sequence[int]) -> Iterator[tuple[LightCurves, LightCurves]]:
        """Yield for each star its normalised and its levelled light curve, as the run made them.

        Stars are read by chunk and come in the order in which they are given.
        """
        made: dict[int, tuple[LightCurves, LightCurves]] = {}
        window = float(self.run.get("identity", {}).get("flatten_window", 0.75))
        for chunk in sorted({star // STARS_PER_CHUNK for star in stars}):
            here = sorted({star for star in stars if star // STARS_PER_CHUNK == chunk})
            start = chunk * STARS_PER_CHUNK
            read = LightCurves.read(self.path / "light_curves.zarr", stars=slice(start, start + STARS_PER_CHUNK))
            chosen = read.select(stars=np.array(here) - start)
            level = replace(chosen, quality=self.masked_quality).mask(ensemble=False).normalize()
            flat = level.flatten(window)
            for i, star in enumerate(here):
                made[star] = level.select(stars=[i]), flat.select(stars=[i])
        yield from (made[star] for star in stars)

    def spectrograms(self, stars: Sequence[int]) -> Mapping[int, Spectrogram]:
        """Return the spectrogram of each star; empty where the run made none."""
        from starskope.search.spectra import Spectrogram

        store = self.path / "spectra.zarr"
        if not store.is_dir():
            return {}
        found: dict[int, Spectrogram] = {}
        for chunk in sorted({star // STARS_PER_CHUNK for star in stars}):
            start = chunk * STARS_PER_CHUNK
            read = Spectrogram.read(store, stars=slice(start, start + STARS_PER_CHUNK))
            found |= {star: read.select([star - start]) for star in stars if star // STARS_PER_CHUNK == chunk}
        return found
