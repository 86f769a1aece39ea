"""The features of a job: machines that learn from the CCD's own stars, every star described, and classes where asked.

Owns which stars teach, when a given model fits a run, and the files ``feature_model.npz`` and ``features.parquet``.
Refuses to know a feature or a machine: these are of `starskope.learn`.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import vstack
from numpy.typing import NDArray

from starskope.framelist import FrameList
from starskope.frames.stacked import Stack
from starskope.frames.wcs import TanSip
from starskope.learn.classify import StarClassifier
from starskope.learn.columns import LightNumbers, feature_names, feature_table
from starskope.learn.features import FeatureModel
from starskope.learn.inputs import stamp_rows
from starskope.parallel import map_ranges
from starskope.runconfig import RunConfig
from starskope.signals import light_from
from starskope.starblocks import StarBlocks

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["learn_features", "load_classifier", "refuse_other_cadence"]

_SAMPLE_STARS = 4096
"""Stars that the machines learn from, spread evenly: enough for them, and no more memory in a crowded field."""
_STARS_DESCRIBED = 2048
"""Stars of one part of the table."""
_CADENCE_TOLERANCE = 0.05


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


def refuse_other_cadence(config: RunConfig, classifier: StarClassifier | None, frames: FrameList) -> None:
    """Refuse a model of another cadence than that of the frames, as far as their names tell it.

    Raises
    ------
    ValueError
        Naming both.
    """
    own = classifier.feature_model.frequencies if classifier and classifier.feature_model else None
    cadence = frames.cadence_days
    if own is None or not math.isfinite(cadence):
        return
    if abs(2.0 * own[1] * cadence - 1.0) > _CADENCE_TOLERANCE:
        raise ValueError(
            f"model {os.fspath(config.model or '')} was trained on a cadence of {43200.0 / own[1]:.4g} s, these frames "
            f"come every {86400.0 * cadence:.4g} s: train one on their cadence"
        )


def learn_features(
    work: Path,
    blocks: StarBlocks,
    stars: Table,
    candidates: Table,
    config: RunConfig,
    classifier: StarClassifier | None,
) -> str:
    """Fit the machines on a sample of the stars, then describe every star.

    Parameters
    ----------
    work : Path
        Where ``stack.fits`` stands, and where the model and the features go.
    blocks : StarBlocks
        All of them finished.
    stars, candidates : Table
        Of all stars; candidates in order of the stars.
    config : RunConfig
        Seed and workers.
    classifier : StarClassifier, optional
        Adds a column ``p_`` and the name of the class for each.

    Returns
    -------
    str
        Why the classifier could not be applied; empty when it was, or none was given.
    """
    stamps = _stamps(Stack.read(work / "stack.fits"), stars)
    light = LightNumbers.join([_light(blocks, number) for number in blocks.numbers])
    sample = np.arange(0, blocks.n_star, -(-blocks.n_star // _SAMPLE_STARS))
    model = FeatureModel.fit(
        light.rows[sample], stamps[sample], seed=config.seed, workers=config.workers, frequency=light.frequency
    )
    model.save(work / "feature_model.npz")
    seen_by, no_classes = model, ""
    if classifier is not None and classifier.feature_model is not None:
        # Hidden units of another fit mean nothing: the classifier sees the stars through the machines it knows.
        seen_by = classifier.feature_model
        try:
            seen_by.check_frequency(light.frequency)
        except ValueError as error:
            classifier, no_classes = None, str(error)
    first_row = np.searchsorted(np.asarray(candidates["star"]), np.arange(len(stars) + 1))

    def describe(start: int, stop: int) -> Table:
        chosen = slice(start, stop)
        found = candidates[first_row[start] : first_row[stop]]
        block = light.select(chosen), stars[chosen], stamps[chosen], found
        table = feature_table(*block, model, first_star=start)
        if classifier is not None:
            known = table if seen_by is model else feature_table(*block, seen_by, first_star=start)
            for name, column in zip(classifier.classes, classifier.predict_proba(known).T, strict=True):
                table[f"p_{name}"] = column.astype(np.float32)
        return table

    described = map_ranges(describe, len(stars), _STARS_DESCRIBED, config.workers)
    features = vstack(described, join_type="exact", metadata_conflicts="error")
    features.write(work / "features.parquet", format="parquet", overwrite=True)
    return no_classes


def _light(blocks: StarBlocks, number: int) -> LightNumbers:
    with blocks.arrays(number) as arrays:
        return light_from(arrays)


def _stamps(stack: Stack, stars: Table) -> NDArray[np.float32]:
    """Cut the stars out of the stack, as rows (n_star, n_pixel)."""
    ra, dec = (np.asarray(stars[name], np.float64) for name in ("ra", "dec"))
    row, column = TanSip.from_header(stack.header).world_to_pixel(ra, dec)
    return stamp_rows(stack.image, row, column)
