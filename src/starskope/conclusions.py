"""From finished blocks of stars to products: ``spectra.zarr``, ``candidates.ecsv``, features and the model behind them.

Owns what needs all stars of a CCD at once, and that blocks are read one at a time, however many stars there are.
Refuses to measure: blocks are made by `starskope.signals`, candidates judged in `starskope.search`, features learned in
`starskope.learn`.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Column, vstack
from numpy.typing import NDArray

from starskope.frames.stacked import Stack
from starskope.frames.wcs import TanSip
from starskope.journal import Journal
from starskope.learn.classify import StarClassifier
from starskope.learn.columns import feature_names, star_features
from starskope.learn.features import FeatureModel
from starskope.learn.inputs import spectrogram_rows, stamp_rows
from starskope.outcome import SIGNAL_PRODUCTS, LeftOutStars
from starskope.progress import Progress
from starskope.runconfig import RunConfig
from starskope.search.batch import conclude
from starskope.search.spectra_store import SpectraStore
from starskope.signals import levelled, search_from, search_settings, spectra_from
from starskope.starblocks import StarBlocks

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["SignalSummary", "conclude_signals", "load_classifier"]

_SAMPLE_STARS = 4096
"""Stars that the machines learn from, spread evenly: enough for them, and no more memory in a crowded field."""


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
    """

    n_candidate: int = 0
    n_single_event: int = 0
    products: tuple[str, ...] = ()
    left_out: tuple[LeftOutStars, ...] = ()
    no_search: str = ""

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
    write_spectra(journal.folder / "spectra.zarr", blocks, stars)
    candidates = judge(blocks, stars, config)
    candidates.write(journal.folder / "candidates.ecsv", format="ascii.ecsv", overwrite=True)
    claimed = np.asarray(candidates["claim"], bool)
    single = np.asarray(candidates["verdict"]) == "single-event"
    timings["spectra and candidates"] = time.monotonic() - began
    progress.note("learning features")
    began = time.monotonic()
    learn_features(journal.folder, blocks, stars, candidates, config, classifier)
    timings["features"] = time.monotonic() - began
    return SignalSummary(
        n_candidate=int((claimed & ~single).sum()),
        n_single_event=int((claimed & single).sum()),
        products=SIGNAL_PRODUCTS,
        left_out=tuple(blocks.left_out()),
    )


def write_spectra(path: Path, blocks: StarBlocks, stars: Table) -> None:
    """Fill the store of spectra block by block; what an earlier start left there is replaced."""
    store: SpectraStore | None = None
    for number in blocks.numbers:
        chosen = blocks.stars(number)
        with blocks.arrays(number) as arrays:
            spectra = spectra_from(arrays, stars[chosen]).kinds()
        store = store or SpectraStore.create(path, stars, spectra)
        store.put(chosen.start, spectra)


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


def load_classifier(config: RunConfig) -> StarClassifier | None:
    """Return the classifier that a run was given, or None: before hours of work, not after.

    Raises
    ------
    ValueError
        It was trained on other features than a run makes.
    FrameError
        The file is damaged or no classifier.
    """
    if config.model is None:
        return None
    config.settings()  # Files that are not there are named here, with the remedy.
    classifier = StarClassifier.load(config.model)
    try:
        classifier.check_columns(feature_names(classifier.feature_model))
    except ValueError as error:
        raise ValueError(f"model {os.fspath(config.model)} does not fit this run: {error}") from error
    return classifier


def learn_features(
    work: Path,
    blocks: StarBlocks,
    stars: Table,
    candidates: Table,
    config: RunConfig,
    classifier: StarClassifier | None,
) -> None:
    """Fit the machines on a sample of the stars, then describe every star, block by block."""
    stamps = _stamps(Stack.read(work / "stack.fits"), stars)
    sample = np.arange(0, len(stars), -(-len(stars) // _SAMPLE_STARS))
    rows = []
    for number in blocks.numbers:
        chosen = blocks.stars(number)
        here = sample[(sample >= chosen.start) & (sample < chosen.stop)] - chosen.start
        with blocks.arrays(number) as arrays:
            rows.append(spectrogram_rows(arrays["spectrogram.power"][:, :, here]))
    model = FeatureModel.fit(np.concatenate(rows), stamps[sample], seed=config.seed, workers=config.workers)
    model.save(work / "feature_model.npz")
    described = []
    for number in blocks.numbers:
        chosen = blocks.stars(number)
        curves = levelled(blocks.light_curves(number))
        with blocks.arrays(number) as arrays:
            spectra = spectra_from(arrays, stars[chosen])
        block = curves, spectra, stamps[chosen], candidates
        table = star_features(*block, model, first_star=chosen.start)
        if classifier is not None:
            # Hidden units of another fit mean nothing: the classifier sees the stars through the machines it knows.
            known = star_features(*block, classifier.feature_model or model, first_star=chosen.start)
            for name, column in zip(classifier.classes, classifier.predict_proba(known).T, strict=True):
                table[f"p_{name}"] = column.astype(np.float32)
        described.append(table)
    features = vstack(described, join_type="exact", metadata_conflicts="error")
    features.write(work / "features.parquet", format="parquet", overwrite=True)


def _stamps(stack: Stack, stars: Table) -> NDArray[np.float32]:
    """Cut the stars out of the stack, as rows (n_star, n_pixel)."""
    ra, dec = (np.asarray(stars[name], np.float64) for name in ("ra", "dec"))
    row, column = TanSip.from_header(stack.header).world_to_pixel(ra, dec)
    return stamp_rows(stack.image, row, column)
