"""Classes of stars from their features: a calibrated logistic regression that is kept without pickle.

Owns `train`, `StarClassifier` and its file. The regression is scikit-learn's; what is kept are its coefficients, so a
model needs no version of scikit-learn to be applied. Refuses to compute features (`starskope.learn.columns`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from starskope.errors import FrameError
from starskope.learn.blas import single_threaded
from starskope.learn.columns import LEARNED_PREFIXES, is_feature
from starskope.learn.features import FeatureModel
from starskope.learn.labels import MAX_CLASSES, match_labels
from starskope.learn.model_file import read_model, write_model

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["KIND", "Scaling", "StarClassifier", "train"]

F64 = NDArray[np.float64]

KIND = "starskope classifier"
N_FOLDS = 5
STRENGTHS = tuple(10.0**power for power in range(-3, 2))
_LEAST_SPREAD = 1e-3
_SHOWN = 6


@dataclass(frozen=True)
class Scaling:
    """How features enter the regression: ``(asinh((x - center) / scale) - mean) / spread``, 0 where x is NaN.

    Attributes
    ----------
    center, scale, mean, spread : (n_feature,) float64
        Median and quartile distance of the training stars tame long tails; then mean and standard deviation.
    """

    center: F64
    scale: F64
    mean: F64
    spread: F64

    @classmethod
    def fit(cls, x: F64) -> Self:
        """Take the scaling from training stars ``x`` (n_star, n_feature), NaN = missing."""
        known = ~np.isnan(x)
        center, scale = np.zeros(x.shape[1]), np.ones(x.shape[1])
        for j in range(x.shape[1]):
            column = x[known[:, j], j]
            if column.size:
                low, center[j], high = np.quantile(column, [0.25, 0.5, 0.75])
                quartile, std = (high - low) / 1.349, float(column.std())
                # Columns that are the same for most stars have no quartile distance worth the name.
                scale[j] = quartile if quartile > _LEAST_SPREAD * std else std
        scale[~(scale > 0)] = 1.0
        squashed = np.where(known, np.arcsinh((x - center) / scale), 0.0)
        count = np.maximum(known.sum(axis=0), 1)
        mean = squashed.sum(axis=0) / count
        spread = np.sqrt((np.where(known, squashed - mean, 0.0) ** 2).sum(axis=0) / count)
        spread[~(spread > 1e-9)] = 1.0
        return cls(center, scale, mean, spread)

    def apply(self, x: F64) -> F64:
        """Return the scaled features (n_star, n_feature), finite."""
        scaled: F64 = (np.arcsinh((x - self.center) / self.scale) - self.mean) / self.spread
        return np.where(np.isnan(scaled), 0.0, scaled)


@dataclass(frozen=True)
class StarClassifier:
    """Class probabilities from the features of stars.

    Attributes
    ----------
    classes : list of str
    columns : list of str
        The features that it takes.
    scaling : Scaling
    coefficients : (n_score, n_feature) float64
    intercepts : (n_score,) float64
        One score for two classes (of the second), else one per class.
    slopes, offsets : (n_score,) float64
        Of the calibration: ``1 / (1 + exp(slope * score + offset))``, then normalised over the classes.
    score : dict
        What cross-validation said; see `train`.
    feature_model : FeatureModel or None
        The machines whose hidden units are among the features; None where none are.
    """

    classes: list[str]
    columns: list[str]
    scaling: Scaling
    coefficients: F64
    intercepts: F64
    slopes: F64
    offsets: F64
    score: dict[str, Any]
    feature_model: FeatureModel | None = None

    def check_columns(self, names: Sequence[str]) -> None:
        """Say whether a table with these columns can be classified.

        Raises
        ------
        ValueError
            Features are missing, or are there that the model does not know; both are named.
        """
        own = set(self.columns)
        learned = LEARNED_PREFIXES if self.feature_model is None else ()
        there = [name for name in names if is_feature(name) and not (learned and name.startswith(learned))]
        missing = [name for name in self.columns if name not in set(there)]
        foreign = [name for name in there if name not in own]
        if missing or foreign:
            parts = [
                f"{len(part)} {what}: {', '.join(part[:_SHOWN])}{' ...' if len(part) > _SHOWN else ''}"
                for part, what in ((missing, "missing"), (foreign, "unknown to it"))
                if part
            ]
            raise ValueError(
                f"the model takes {len(self.columns)} features, the table has {len(there)} ({'; '.join(parts)}): "
                "apply it to features of the version of starskope that it was trained with, or train again"
            )

    def predict_proba(self, features: Table) -> F64:
        """Return class probabilities.

        Parameters
        ----------
        features : Table
            From `starskope.learn.columns.star_features`; NaN = not known, taken as typical.

        Returns
        -------
        (n_star, n_class) float64
            In the order of ``classes``; rows add up to 1.

        Raises
        ------
        ValueError
            Other features than those of the training, or hidden units of another `FeatureModel`.
        """
        self.check_columns(features.colnames)
        made_by = features.meta.get("feature_model")
        if self.feature_model is not None and made_by not in (None, self.feature_model.fingerprint):
            raise ValueError(
                f"the features were made with the feature model {made_by}, the classifier was trained on "
                f"{self.feature_model.fingerprint}: make them with the one that the classifier holds"
            )
        with single_threaded():
            scores = self.scaling.apply(_matrix(features, self.columns)) @ self.coefficients.T + self.intercepts
        return _probabilities(scores, self.slopes, self.offsets)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to an npz file without pickle; see `starskope.learn.model_file`."""
        arrays: dict[str, NDArray[Any]] = {**vars(self.scaling), **{name: getattr(self, name) for name in _FITTED}}
        about: dict[str, Any] = {"classes": self.classes, "columns": self.columns, "score": self.score}
        if self.feature_model is not None:
            parts, note = self.feature_model.state()
            arrays |= {f"features_{name}": array for name, array in parts.items()}
            about["features"] = note
        write_model(path, KIND, arrays, about)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model that `save` wrote.

        Raises
        ------
        FrameError
            Not such a file, damaged, or its parts do not fit each other.
        FileNotFoundError
            There is no such file.
        """
        arrays, about = read_model(path, KIND)
        classes, columns = _strings(path, about, "classes"), _strings(path, about, "columns")
        if not 2 <= len(classes) <= MAX_CLASSES or not columns:
            raise FrameError(f"{path}: {len(classes)} classes and {len(columns)} features are no classifier")
        n_score = 1 if len(classes) == 2 else len(classes)
        expected: dict[str, tuple[int, ...]] = dict.fromkeys(Scaling.__annotations__, (len(columns),))
        expected |= {"coefficients": (n_score, len(columns)), **dict.fromkeys(_FITTED[1:], (n_score,))}
        for name, shape in expected.items():
            if name not in arrays or arrays[name].shape != shape or arrays[name].dtype != np.float64:
                got = f"{arrays[name].dtype} {arrays[name].shape}" if name in arrays else "missing"
                raise FrameError(f"{path}: {name} is {got}, expected float64 {shape} for these classes and features")
        for name in expected:
            if (np.abs(arrays[name]) > _MOST).any():
                raise FrameError(f"{path}: {name} goes beyond {_MOST:g}, as no trained model does")
        if not (arrays["scale"] >= 1 / _MOST).all() or not (arrays["spread"] >= 1 / _MOST).all():
            raise FrameError(f"{path}: scales of features must be {1 / _MOST:g} or more")
        model = None
        if "features" in about:
            if not isinstance(about["features"], dict):
                raise FrameError(f"{path}: the note on the feature model is damaged")
            prefix = "features_"
            parts = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
            model = FeatureModel.from_state(path, parts, about["features"])
        score = about.get("score")
        return cls(
            classes=classes,
            columns=columns,
            scaling=Scaling(**{name: arrays[name] for name in Scaling.__annotations__}),
            **{name: arrays[name] for name in _FITTED},
            score=score if isinstance(score, dict) else {},
            feature_model=model,
        )


_MOST = 1e60
"""Of the numbers of a model: products of four of them stay finite."""
_FITTED = ("coefficients", "intercepts", "slopes", "offsets")


def train(
    features: Table,
    labels: Table,
    *,
    feature_model: FeatureModel | None = None,
    skip_unknown: bool = False,
    seed: int = 0,
) -> StarClassifier:
    """Learn classes from labelled stars.

    Parameters
    ----------
    features : Table
        From `starskope.learn.columns.star_features` (``features.parquet`` of a run).
    labels : Table
        Identifiers and labels; see `starskope.learn.labels.match_labels`.
    feature_model : FeatureModel, optional
        The one that made the features. Without it the hidden units and free energies are left out: those of another
        sample would mean something else.
    skip_unknown : bool
        Leave out labels of stars that are not among the features.
    seed : int
        Of the folds.

    Returns
    -------
    StarClassifier
        ``score`` holds, from stars that were held out in turn (5 folds, everything fitted anew in each): ``n_star``,
        ``counts`` per class, ``balanced_accuracy``, ``log_loss`` and that of the bare frequencies of the classes
        (``log_loss_of_frequencies``), and per class ``precision`` and ``recall`` (null where nothing was called so).

    Raises
    ------
    ValueError
        The labels or the features do not suffice.

    Notes
    -----
    Logistic regression (multinomial beyond two classes) on scaled features, classes weighted alike, its strength
    chosen by log loss in inner folds. Weighting distorts probabilities; a sigmoid per class on held-out scores (Platt)
    brings them back to the frequencies of the training stars.
    """
    labelled = match_labels(features, labels, skip_unknown=skip_unknown)
    if feature_model is not None and features.meta.get("feature_model") not in (None, feature_model.fingerprint):
        raise ValueError(
            f"the features were made with the feature model {features.meta['feature_model']}, this one is "
            f"{feature_model.fingerprint}: give the one that stands beside them"
        )
    left_out = LEARNED_PREFIXES if feature_model is None else ()
    columns = [n for n in features.colnames if is_feature(n) and not (left_out and n.startswith(left_out))]
    if not columns:
        raise ValueError("the table has no column of features: give features.parquet of a run")
    x = _matrix(features, columns)[labelled.rows]
    if np.isnan(x).all():
        raise ValueError("no labelled star has any feature that is known")
    classes = sorted(labelled.counts)
    y = np.array([classes.index(label) for label in labelled.labels])
    # Loaded first: a library that comes later would keep its threads.
    import sklearn.linear_model  # noqa: F401
    from threadpoolctl import threadpool_limits

    # Thread counts of OpenMP belong to the calling thread, so these need no shared guard.
    with single_threaded(), threadpool_limits(limits=1, user_api="openmp"):
        score = _cross_validate(x, y, classes, seed)
        scaling, fitted = _fit(x, y, seed)
    parts = dict(zip(_FITTED, fitted, strict=True))
    return StarClassifier(classes, columns, scaling, **parts, score=score, feature_model=feature_model)


def _matrix(features: Table, columns: Sequence[str]) -> F64:
    """Return the features (n_star, n_feature); masked and infinite values are not known: NaN."""
    x = np.empty((len(features), len(columns)))
    for j, name in enumerate(columns):
        if np.ma.asarray(features[name]).dtype.kind not in "fiub":
            raise ValueError(f"feature {name} holds {features[name].dtype}, expected numbers")
        x[:, j] = np.ma.filled(np.ma.asarray(features[name]).astype(np.float64), np.nan)
    x[~np.isfinite(x)] = np.nan
    return x


def _fit(x: F64, y: NDArray[np.intp], seed: int) -> tuple[Scaling, tuple[F64, F64, F64, F64]]:
    """Scale, choose the strength, fit and calibrate on these stars alone."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    scaling = Scaling.fit(x)
    z = scaling.apply(x)
    folds = StratifiedKFold(min(N_FOLDS, int(np.bincount(y).min())), shuffle=True, random_state=seed)
    regressions = [LogisticRegression(C=c, class_weight="balanced", max_iter=5000) for c in STRENGTHS]
    losses = [-cross_val_score(r, z, y, cv=folds, scoring="neg_log_loss").mean() for r in regressions]
    chosen = regressions[int(np.argmin(losses))]
    calibrated = CalibratedClassifierCV(chosen, method="sigmoid", cv=folds, ensemble=False).fit(z, y)
    (pair,) = calibrated.calibrated_classifiers_
    slopes = np.array([calibrator.a_ for calibrator in pair.calibrators], np.float64)
    offsets = np.array([calibrator.b_ for calibrator in pair.calibrators], np.float64)
    fitted = pair.estimator
    return scaling, (
        np.ascontiguousarray(fitted.coef_, np.float64),
        np.ascontiguousarray(fitted.intercept_, np.float64),
        slopes,
        offsets,
    )


def _probabilities(scores: F64, slopes: F64, offsets: F64) -> F64:
    from scipy.special import expit

    each: F64 = expit(-(slopes * scores + offsets))
    if each.shape[1] == 1:
        return np.hstack([1.0 - each, each])
    total = each.sum(axis=1, keepdims=True)
    return np.where(total > 0, each / np.where(total > 0, total, 1.0), 1.0 / each.shape[1])


def _cross_validate(x: F64, y: NDArray[np.intp], classes: Sequence[str], seed: int) -> dict[str, Any]:
    from sklearn.metrics import balanced_accuracy_score, log_loss
    from sklearn.model_selection import StratifiedKFold

    held_out = np.empty((y.size, len(classes)))
    for learn, test in StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed + 1).split(x, y):
        scaling, (coefficients, intercepts, slopes, offsets) = _fit(x[learn], y[learn], seed)
        held_out[test] = _probabilities(scaling.apply(x[test]) @ coefficients.T + intercepts, slopes, offsets)
    called = held_out.argmax(axis=1)
    frequencies = np.bincount(y) / y.size
    per_class = {}
    for i, name in enumerate(classes):
        right = int(((called == i) & (y == i)).sum())
        n_called = int((called == i).sum())
        per_class[name] = {"precision": right / n_called if n_called else None, "recall": right / int((y == i).sum())}
    return {
        "n_star": int(y.size),
        "counts": {name: int((y == i).sum()) for i, name in enumerate(classes)},
        "balanced_accuracy": float(balanced_accuracy_score(y, called)),
        "log_loss": float(log_loss(y, held_out, labels=np.arange(len(classes)))),
        "log_loss_of_frequencies": float(-(frequencies * np.log(frequencies)).sum()),
        "classes": per_class,
    }


def _strings(path: object, about: Mapping[str, Any], name: str) -> list[str]:
    values = about.get(name)
    if not isinstance(values, list) or not all(isinstance(value, str) and value.isprintable() for value in values):
        raise FrameError(f"{path}: the {name} are no list of names")
    if len(set(values)) != len(values) or any(not 0 < len(value) <= 200 for value in values):
        raise FrameError(f"{path}: the {name} are not all different names")
    return list(values)
