"""Features that restricted Boltzmann machines learn from the stars of one sample.

Owns `FeatureModel`: two machines, one for spectrograms and one for image stamps, the scaling of their inputs, and the
file that keeps them. Refuses labels (`starskope.learn.classify`) and the numbers of other rooms
(`starskope.learn.numbers`).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope.errors import FrameError
from starskope.learn.inputs import SPECTROGRAM_SHAPE
from starskope.learn.model_file import read_model, write_model
from starskope.validation import as_float32, as_float64, integer_at_least

if TYPE_CHECKING:
    from astropy.table import Table

    from starskope.learn.rbm import RBM

__all__ = ["KIND", "MIN_STARS", "N_HIDDEN", "FeatureModel", "View", "hidden_columns"]

KIND = "starskope feature model"
N_HIDDEN = 32
"""Hidden units of each machine."""
MAX_HIDDEN = 4096
MIN_STARS = 16
"""Fewer stars than this teach nothing: their features are NaN."""

_UPDATES = 3000
"""Training steps, whatever the number of stars: by then reconstructions no longer get better."""
_LEAST_SPREAD = 0.25
_CLIP = 10.0
"""Spreads beyond which a value no longer pulls at the training."""


def hidden_columns(n_spectrogram: int, n_image: int) -> list[str]:
    """Return the names of the columns of a model with so many hidden units."""
    return [*_view_columns("spectrogram", n_spectrogram), *_view_columns("image", n_image)]


def _view_columns(name: str, n_hidden: int) -> list[str]:
    return [*(f"{name}_hidden_{j:03d}" for j in range(n_hidden)), f"{name}_free_energy"]


@dataclass(frozen=True)
class View:
    """One way to see a star: how its rows are scaled, and the machine that learned from them.

    Attributes
    ----------
    shape : (int, int)
        Rows as pictures.
    mean, scale : (n_feature,) float32
        A row enters the machine as ``(row - mean) / scale``.
    rbm : RBM or None
        None where there were too few stars to learn from.
    n_hidden : int
    """

    shape: tuple[int, int]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    rbm: RBM | None
    n_hidden: int

    @classmethod
    def fit(cls, rows: NDArray[np.float32], shape: tuple[int, int], n_hidden: int, seed: int, workers: int) -> Self:
        """Learn from the rows that are there."""
        from starskope.learn.rbm import RBM

        there = np.isfinite(rows).all(axis=1)
        known = rows[there]
        if known.shape[0] < MIN_STARS:
            nothing = np.zeros(rows.shape[1], np.float32)
            return cls(shape, nothing, nothing + 1, None, n_hidden)
        mean, scale = _scaling(known)
        known = np.clip((known - mean) / scale, -_CLIP, _CLIP)
        batch_size = min(100, max(MIN_STARS, known.shape[0] // 10))
        n_batch = -(-known.shape[0] // batch_size)
        rbm = RBM(
            n_hidden,
            visible="gaussian",
            learning_rate=0.01,
            batch_size=batch_size,
            n_epochs=max(1, math.ceil(_UPDATES / n_batch)),
            momentum=0.5,
            weight_decay=0.001,
            workers=workers,
            random_state=seed,
        )
        return cls(shape, mean, scale, rbm.fit(known), n_hidden)

    def columns(self, name: str, rows: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Hidden activations and free energy of each star; NaN where its row is, or nothing was learned."""
        if rows.shape[1] != self.mean.size:
            raise ValueError(f"{name} rows have {rows.shape[1]} features, the model was fitted on {self.mean.size}")
        there = np.isfinite(rows).all(axis=1)
        hidden = np.full((rows.shape[0], self.n_hidden), np.nan, np.float32)
        energy = np.full(rows.shape[0], np.nan, np.float32)
        if self.rbm is not None and there.any():
            known = (rows[there] - self.mean) / self.scale
            hidden[there] = self.rbm.transform(known)
            energy[there] = self.rbm.free_energy(known)
        # In the order of `hidden_columns`.
        names = _view_columns(name, self.n_hidden)
        return dict(zip(names, [*np.ascontiguousarray(hidden.T), energy], strict=True))


@dataclass(frozen=True)
class FeatureModel:
    """What the stars of one sample taught: a machine for spectrograms and one for stamps.

    Made by `fit` or `load`. Columns are ``spectrogram_hidden_000`` ..., ``spectrogram_free_energy``,
    ``image_hidden_000`` ..., ``image_free_energy``: probabilities from 0 to 1, and free energies in nats (high =
    unlike the sample).
    """

    spectrogram: View
    image: View
    frequencies: tuple[float, float] | None = None
    """Step and highest frequency of the spectrograms, 1/day; None = not known."""

    @classmethod
    def fit(
        cls,
        spectrogram_rows: ArrayLike,
        stamp_rows: ArrayLike,
        seed: int = 0,
        n_hidden: int = N_HIDDEN,
        workers: int = 1,
        frequency: ArrayLike | None = None,
    ) -> Self:
        """Learn from a sample of stars, unsupervised.

        Parameters
        ----------
        spectrogram_rows, stamp_rows : (n_star, n_feature) float32
            From `starskope.learn.inputs`; a row with NaN is left out. Fewer than ``MIN_STARS`` rows teach nothing:
            their columns are NaN then.
        seed : int
            The same seed and rows give the same bytes.
        n_hidden : int
            Hidden units of each machine.
        workers : int
            Threads; the result does not depend on it.
        frequency : (n_frequency,), optional
            Of the spectrograms, 1/day. Bins count rows, so a model of half-hour cadences means nothing at 200 s:
            `check_frequency` refuses it there.
        """
        spectra, stamps = _rows(spectrogram_rows, stamp_rows)
        side = math.isqrt(stamps.shape[1])
        if spectra.shape[1] != math.prod(SPECTROGRAM_SHAPE) or side * side != stamps.shape[1] or not side:
            raise ValueError(
                f"rows of {spectra.shape[1]} and {stamps.shape[1]} features: expected "
                f"{math.prod(SPECTROGRAM_SHAPE)} and a square number, as starskope.learn.inputs makes them"
            )
        n_hidden, seed = integer_at_least(n_hidden, "n_hidden", 1), integer_at_least(seed, "seed", 0)
        if n_hidden > MAX_HIDDEN:
            raise ValueError(f"n_hidden={n_hidden}: expected at most {MAX_HIDDEN}")
        return cls(
            View.fit(spectra, SPECTROGRAM_SHAPE, n_hidden, seed, workers),
            View.fit(stamps, (side, side), n_hidden, seed, workers),
            None if frequency is None else _axis(frequency),
        )

    def check_frequency(self, frequency: ArrayLike) -> None:
        """Refuse spectrograms on other frequencies than those of the training, by more than 1 %.

        Raises
        ------
        ValueError
            Naming both.
        """
        there = _axis(frequency)
        if self.frequencies is not None and not np.allclose(there, self.frequencies, rtol=0.01, atol=0):
            own = "{1:.4g} per day in steps of {0:.4g}".format(*self.frequencies)
            raise ValueError(
                f"the model learned from spectrograms up to {own}, these go up to {there[1]:.4g} in steps of "
                f"{there[0]:.4g}: it serves light curves of the same cadence and segments only"
            )

    @property
    def spectrogram_rbm(self) -> RBM | None:
        """The machine of the spectrograms: ``weights_`` (256, n_hidden), as pictures ``spectrogram.shape``."""
        return self.spectrogram.rbm

    @property
    def image_rbm(self) -> RBM | None:
        """The machine of the stamps: ``weights_`` (size * size, n_hidden), as pictures ``image.shape``."""
        return self.image.rbm

    @property
    def columns(self) -> list[str]:
        """Names of the columns that `transform` makes."""
        views = (("spectrogram", self.spectrogram), ("image", self.image))
        return [
            column for name, view in views for column in view.columns(name, np.empty((0, view.mean.size), np.float32))
        ]

    def transform(self, spectrogram_rows: ArrayLike, stamp_rows: ArrayLike) -> Table:
        """Return the columns of each star; a star's numbers do not depend on the other stars.

        Raises
        ------
        ValueError
            Rows of another number of features than the model was fitted on.
        """
        from astropy.table import Table

        spectra, stamps = _rows(spectrogram_rows, stamp_rows)
        columns = {**self.spectrogram.columns("spectrogram", spectra), **self.image.columns("image", stamps)}
        return Table(columns, meta={"feature_model": self.fingerprint})

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that decides about the columns: hidden unit 7 of one model is not hidden unit 7 of another."""
        arrays, about = self.state()
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
        for name in sorted(arrays):
            digest.update(f"{name}{arrays[name].shape}".encode() + arrays[name].tobytes())
        return digest.hexdigest()[:16]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to an npz file without pickle."""
        write_model(path, KIND, *self.state())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model that `save` wrote.

        Raises
        ------
        FrameError
            Not such a file, or damaged; see `starskope.learn.model_file.read_model`.
        """
        arrays, about = read_model(path, KIND)
        return cls.from_state(path, arrays, about)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return arrays and JSON values that make the model, for a model file."""
        arrays: dict[str, NDArray[Any]] = {}
        about: dict[str, Any] = {"frequencies": None if self.frequencies is None else list(self.frequencies)}
        for name, view in (("spectrogram", self.spectrogram), ("image", self.image)):
            about[name] = {"shape": list(view.shape), "n_hidden": view.n_hidden, "fitted": view.rbm is not None}
            arrays |= {f"{name}_mean": view.mean, f"{name}_scale": view.scale}
            if view.rbm is not None:
                for part in ("weights", "visible_bias", "hidden_bias"):
                    arrays[f"{name}_{part}"] = getattr(view.rbm, f"{part}_")
        return arrays, about

    @classmethod
    def from_state(cls, path: object, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> Self:
        """Make the model of what `state` returned, checking that the parts fit each other."""
        views = {}
        for name in ("spectrogram", "image"):
            try:
                note = about[name]
                shape, n_hidden = (int(note["shape"][0]), int(note["shape"][1])), int(note["n_hidden"])
                n_feature, fitted = math.prod(shape), bool(note["fitted"])
                expected: dict[str, tuple[int, ...]] = {"mean": (n_feature,), "scale": (n_feature,)}
                if fitted:
                    expected |= {
                        "weights": (n_feature, n_hidden),
                        "visible_bias": (n_feature,),
                        "hidden_bias": (n_hidden,),
                    }
                parts = {part: arrays[f"{name}_{part}"] for part in expected}
            except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
                raise FrameError(f"{path}: the {name} part of the model is not whole ({error!r})") from error
            for part, array in parts.items():
                if array.shape != expected[part] or array.dtype != np.float32:
                    raise FrameError(
                        f"{path}: {name} {part} is {array.dtype} {array.shape}, expected float32 {expected[part]}"
                    )
            if (parts["scale"] <= 0).any() or min(*shape, n_hidden) < 1 or n_hidden > MAX_HIDDEN:
                raise FrameError(f"{path}: the {name} part of the model has scales or sizes that cannot be")
            views[name] = View(shape, parts["mean"], parts["scale"], _machine(parts) if fitted else None, n_hidden)
        frequencies = about.get("frequencies")
        if frequencies is not None:
            if not isinstance(frequencies, list) or [type(value) for value in frequencies] != [float, float]:
                raise FrameError(f"{path}: the frequencies of the model are no two numbers")
            frequencies = (frequencies[0], frequencies[1])
        return cls(views["spectrogram"], views["image"], frequencies)


def _axis(frequency: ArrayLike) -> tuple[float, float]:
    values = as_float64(frequency, "frequency", 1)
    if values.size < 2 or not np.isfinite(values).all() or values[1] <= values[0]:
        raise ValueError("frequency: expected two or more ascending frequencies, 1/day")
    return float(values[1] - values[0]), float(values[-1])


def _rows(spectrogram_rows: ArrayLike, stamp_rows: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    spectra, stamps = as_float32(spectrogram_rows, "spectrogram_rows", 2), as_float32(stamp_rows, "stamp_rows", 2)
    if spectra.shape[0] != stamps.shape[0]:
        n_spectra, n_stamp = spectra.shape[0], stamps.shape[0]
        raise ValueError(f"{n_spectra} spectrogram rows and {n_stamp} stamp rows: give one of each per star")
    return spectra, stamps


def _machine(parts: Mapping[str, NDArray[np.float32]]) -> RBM:
    from starskope.learn.rbm import RBM

    return RBM.from_parameters(parts["weights"], parts["visible_bias"], parts["hidden_bias"], visible="gaussian")


def _scaling(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return median and spread (n_feature,) of the rows; a floor under the spread keeps dead features quiet."""
    values = rows.astype(np.float64)
    center = np.median(values, axis=0)
    spread = np.sqrt(((values - center) ** 2).mean(axis=0))
    spread = np.maximum(spread, _LEAST_SPREAD * np.sqrt((spread**2).mean()))
    spread[spread <= 0] = 1.0
    return center.astype(np.float32), spread.astype(np.float32)
