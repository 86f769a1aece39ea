"""From finished blocks of stars to products: ``spectra.zarr``, ``candidates.ecsv`` and what `starskope.learning` makes.

Owns the order of these, and that few blocks are read at a time, however many stars there are. Refuses to measure and to
judge: blocks are made by `starskope.signals`, candidates judged in `starskope.search`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Column

from starskope.journal import Journal
from starskope.learn.classify import StarClassifier
from starskope.learning import learn_features
from starskope.outcome import SIGNAL_PRODUCTS, LeftOutStars
from starskope.parallel import map_ranges
from starskope.progress import Progress
from starskope.runconfig import RunConfig
from starskope.search.batch import conclude
from starskope.search.spectra_store import SpectraStore
from starskope.signals import search_from, search_settings, spectra_from
from starskope.starblocks import StarBlocks

if TYPE_CHECKING:
    from astropy.table import Table

    from starskope.search.spectra import Spectra, Spectrogram

__all__ = ["SignalSummary", "conclude_signals"]


@dataclass(frozen=True)
class SignalSummary:
    """What the light curves of a CCD gave.

    Attributes
    ----------
    n_candidate, n_single_event : int
        Claims of either kind.
    products : tuple of str
        Names of what stands in the working folder.
    left_out : tuple of LeftOutStars
        Stars that were not searched.
    no_search : str
        Why nothing was looked for; empty when something was.
    no_classes : str
        Why there are no class probabilities although a model was given.
    quality : str
        Flags of the cadences as the search took them, decimal numbers with spaces between.
    """

    n_candidate: int = 0
    n_single_event: int = 0
    products: tuple[str, ...] = ()
    left_out: tuple[LeftOutStars, ...] = ()
    no_search: str = ""
    no_classes: str = ""
    quality: str = ""

    @property
    def complete(self) -> bool:
        """Whether no star is worth another try."""
        return not any(stars.again for stars in self.left_out)

    def counts(self) -> dict[str, int]:
        """Return the counts by name."""
        return {"n_candidate": self.n_candidate, "n_single_event": self.n_single_event}


def conclude_signals(
    journal: Journal,
    blocks: StarBlocks,
    config: RunConfig,
    classifier: StarClassifier | None,
    timings: dict[str, float],
    progress: Progress,
) -> SignalSummary:
    """Join the finished blocks of stars: spectra, candidates and features, in the working folder.

    Parameters
    ----------
    journal : Journal
        Of the job.
    blocks : StarBlocks
        All of them finished.
    config : RunConfig
        Settings and workers.
    classifier : StarClassifier, optional
        Adds class probabilities to the features.
    timings : dict
        Seconds per step; those of the steps here are added.
    progress : Progress
        Where to tell what goes on.
    """
    if blocks.no_search:
        progress.note(f"no search: {blocks.no_search}")
        return SignalSummary(no_search=blocks.no_search)
    began = time.monotonic()
    progress.note("judging the candidates")
    stars = blocks.star_table()
    write_spectra(journal.folder / "spectra.zarr", blocks, stars, config.workers)
    candidates = judge(blocks, stars, config)
    candidates.write(journal.folder / "candidates.ecsv", format="ascii.ecsv", overwrite=True)
    claimed = np.asarray(candidates["claim"], bool)
    single = np.asarray(candidates["verdict"]) == "single-event"
    timings["spectra and candidates"] = time.monotonic() - began
    progress.note("learning features")
    began = time.monotonic()
    no_classes = learn_features(journal.folder, blocks, stars, candidates, config, classifier)
    if no_classes:
        progress.note(f"no class probabilities: {no_classes}")
    timings["features"] = time.monotonic() - began
    return SignalSummary(
        n_candidate=int((claimed & ~single).sum()),
        n_single_event=int((claimed & single).sum()),
        products=SIGNAL_PRODUCTS,
        left_out=tuple(blocks.left_out()),
        no_classes=no_classes,
        quality=" ".join(map(str, blocks.quality.tolist())),
    )


def write_spectra(path: Path, blocks: StarBlocks, stars: Table, workers: int) -> None:
    """Fill the store of spectra block by block; what an earlier start left there is replaced."""

    def spectra_of(number: int) -> dict[str, Spectra | Spectrogram]:
        with blocks.arrays(number) as arrays:
            return spectra_from(arrays, stars[blocks.stars(number)]).kinds()

    store = SpectraStore.create(path, stars, spectra_of(blocks.numbers[0]))
    map_ranges(
        lambda number, _: store.put(blocks.stars(number).start, spectra_of(number)), len(blocks.numbers), 1, workers
    )


def judge(blocks: StarBlocks, stars: Table, config: RunConfig) -> Table:
    """Return the table of candidates of all stars."""
    found, levels = [], []
    for number in blocks.numbers:
        with blocks.arrays(number) as arrays:
            found.append(search_from(arrays))
            levels.append(arrays["median_flux"])
    stars = stars.copy()
    stars["median_flux"] = Column(np.concatenate(levels))
    return conclude(found, stars, search_settings(config), time_zero=blocks.light_curves(0).time_zero)
