"""The table of features: one row per star, one column per number.

Owns its columns and their order, and puts together what `starskope.learn.features` and `starskope.learn.numbers` say
of a block of stars. Refuses to learn and to write files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope.learn.features import N_HIDDEN, FeatureModel, hidden_columns
from starskope.learn.inputs import spectrogram_rows
from starskope.learn.numbers import (
    CURVE,
    SPECTRUM,
    TRANSIT,
    UNITS,
    curve_numbers,
    spectrum_numbers,
    transit_numbers,
)
from starskope.validation import as_float32

if TYPE_CHECKING:
    from astropy.table import Table

    from starskope.curves.container import LightCurves
    from starskope.search.spectra_store import SpectraBlock

__all__ = [
    "LEARNED_PREFIXES",
    "PREFIXES",
    "LightNumbers",
    "feature_names",
    "feature_table",
    "is_feature",
    "star_features",
]

PREFIXES = ("curve_", "spectrum_", "transit_", "spectrogram_", "image_")
"""Columns that start so are features; all others (identifiers, places, magnitudes, probabilities) are not."""

LEARNED_PREFIXES = ("spectrogram_", "image_")
"""Those that a `FeatureModel` makes."""

_IDENTITY = ("star", "tic_id", "kepler_id", "epic_id", "gaia_id", "name", "ra", "dec", "tmag", "kepmag")


def feature_names(model: FeatureModel | None = None, n_hidden: int = N_HIDDEN) -> list[str]:
    """Return the names of all features in order, known before any work is done.

    Parameters
    ----------
    model : FeatureModel, optional
        Whose hidden units; default: a model of ``n_hidden`` units per machine.
    n_hidden : int
    """
    learned = model.columns if model is not None else hidden_columns(n_hidden, n_hidden)
    return [*CURVE, *SPECTRUM, *TRANSIT, *learned]


def is_feature(name: str) -> bool:
    """Say whether a column of a table of features is a feature."""
    return name.startswith(PREFIXES)


@dataclass(frozen=True, eq=False)
class LightNumbers:
    """What the light of some stars gives to their features, before anything is learned.

    Attributes
    ----------
    numbers : dict of (n_star,) float32
        Of the light curves and of the spectra.
    rows : (n_star, n_feature) float32
        Of the spectrograms, from `starskope.learn.inputs.spectrogram_rows`.
    frequency : (n_frequency,) float64
        Of the spectrograms, 1/day.
    """

    numbers: Mapping[str, NDArray[np.float32]]
    rows: NDArray[np.float32]
    frequency: NDArray[np.float64]

    @classmethod
    def measure(cls, curves: LightCurves, spectra: SpectraBlock) -> Self:
        """Measure masked and normalised light curves and their spectra, of the same stars."""
        numbers = {**curve_numbers(curves), **spectrum_numbers(spectra.power, spectra.lomb_scargle)}
        return cls(numbers, spectrogram_rows(spectra.spectrogram.power), spectra.spectrogram.frequency)

    @classmethod
    def join(cls, parts: Sequence[LightNumbers]) -> Self:
        """Put the stars of several parts behind one another."""
        numbers = {name: np.concatenate([part.numbers[name] for part in parts]) for name in (*CURVE, *SPECTRUM)}
        return cls(numbers, np.concatenate([part.rows for part in parts]), parts[0].frequency)

    def select(self, stars: slice) -> Self:
        """Keep some stars."""
        numbers = {name: column[stars] for name, column in self.numbers.items()}
        return type(self)(numbers, self.rows[stars], self.frequency)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as plain arrays, for a file without pickle."""
        return {**self.numbers, "rows": self.rows, "frequency": self.frequency}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Take back what `arrays` gave."""
        numbers = {name: np.asarray(arrays[name]) for name in (*CURVE, *SPECTRUM)}
        return cls(numbers, np.asarray(arrays["rows"]), np.asarray(arrays["frequency"]))


def star_features(
    curves: LightCurves,
    spectra: SpectraBlock,
    stamps: ArrayLike,
    candidates: Table | None,
    model: FeatureModel,
    *,
    first_star: int = 0,
) -> Table:
    """Describe every star of a block; a star's row does not depend on the other stars.

    Parameters
    ----------
    curves : LightCurves
        The ``n_star`` stars of the block: masked and normalised, not flattened.
    spectra : SpectraBlock
        ``power``, ``lomb_scargle`` and ``spectrogram`` of these stars.
    stamps : (n_star, n_feature) float32
        From `starskope.learn.inputs.stamp_rows`.
    candidates : Table or None
        From `starskope.search`; its column ``star`` counts over all stars of the batch. None: not searched.
    model : FeatureModel
    first_star : int
        Number of the block's first star in that column.

    Returns
    -------
    astropy.table.Table
        ``star`` and the identifiers that `curves.stars` has, then `feature_names`, float32, NaN = not known.
        ``meta["feature_model"]`` is the fingerprint of the model.

    Raises
    ------
    ValueError
        Parts of different numbers of stars, or a model of spectrograms on other frequencies.
    """
    n_star = curves.n_star
    counts = {
        "power": spectra.power.n_star,
        "lomb_scargle": spectra.lomb_scargle.n_star,
        "spectrogram": spectra.spectrogram.n_star,
        "stamps": np.shape(stamps)[0],
    }
    for name, count in counts.items():
        if count != n_star:
            raise ValueError(f"{name} has {count} stars, the light curves have {n_star}: give the same stars")
    light = LightNumbers.measure(curves, spectra)
    return feature_table(light, curves.stars, stamps, candidates, model, first_star=first_star)


def feature_table(
    light: LightNumbers,
    stars: Table,
    stamps: ArrayLike,
    candidates: Table | None,
    model: FeatureModel,
    *,
    first_star: int = 0,
) -> Table:
    """Return what `star_features` does, of stars whose light was measured before.

    Parameters
    ----------
    light : LightNumbers
        Of the stars.
    stars : Table
        Their identifiers.
    stamps, candidates, model, first_star
        As `star_features` takes them.
    """
    from astropy import units

    model.check_frequency(light.frequency)
    table = stars[[name for name in _IDENTITY if name in stars.colnames]]
    n_star = len(stars)
    table["star"] = np.arange(first_star, first_star + n_star)
    learned = model.transform(light.rows, as_float32(stamps, "stamps", 2))
    known = {**light.numbers, **transit_numbers(candidates, first_star, n_star)}
    for name, column in (*known.items(), *((name, learned[name]) for name in learned.colnames)):
        table[name] = column
        if name in UNITS:
            table[name].unit = units.Unit(UNITS[name])
    order = ["star", *(name for name in table.colnames if name != "star")]
    table = table[order]
    table.meta.clear()
    table.meta["feature_model"] = model.fingerprint
    return table
