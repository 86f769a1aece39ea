"""The command ``starskope learn train``: features and labels in, a classifier out.

Owns the options, the reading of the tables and the wording of the score. Refuses to learn (`starskope.learn.classify`).
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starskope.cli_words import check_output, say, say_json, tell

if TYPE_CHECKING:
    from starskope.learn.features import FeatureModel

__all__ = ["add_learn", "learn"]

_BESIDE = "feature_model.npz"


def add_learn(add: Callable[..., ArgumentParser]) -> ArgumentParser:
    """Add the command to the parser; ``add`` is that of `starskope.cli`."""
    command = add("learn", learn, "train a classifier of stars on labelled features", "train FEATURES LABELS")
    command.add_argument("action", choices=("train",), help="what to learn")
    command.add_argument("features", metavar="FEATURES", help="features.parquet of a run (or .ecsv, .csv)")
    command.add_argument(
        "labels", metavar="LABELS", help="table (.csv, .ecsv, .parquet) of tic_id, another identifier or id, and label"
    )
    command.add_argument("--output", required=True, metavar="FILE", help="model to write, .npz; for run --model FILE")
    command.add_argument(
        "--feature-model",
        metavar="FILE",
        help=f"the model that made the features (default: {_BESIDE} beside them; without one the learned features are "
        "left out)",
    )
    command.add_argument("--skip-unknown", action="store_true", help="leave out labels of stars without features")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of the cross-validation (default: 0)")
    return command


def learn(arguments: Namespace) -> int:
    """Train, tell the cross-validated score, and write the model."""
    from starskope.archive.catalog import read_catalog
    from starskope.learn.classify import train
    from starskope.validation import integer_at_least

    output = Path(arguments.output)
    check_output(output, (".npz",))
    seed = integer_at_least(arguments.seed, "--seed", 0)
    if seed >= 2**32 - 1:
        raise ValueError(f"--seed is {seed}, expected less than {2**32 - 1}")
    features, labels = read_catalog(arguments.features), read_catalog(arguments.labels)
    model = _feature_model(arguments)
    classifier = train(features, labels, feature_model=model, skip_unknown=arguments.skip_unknown, seed=seed)
    classifier.save(output)
    record = {
        "output": str(output),
        "n_feature": len(classifier.columns),
        "feature_model": None if model is None else model.fingerprint,
        **classifier.score,
    }
    if arguments.json:
        say_json(record)
    else:
        _tell(record)
    return 0


def _feature_model(arguments: Namespace) -> FeatureModel | None:
    from starskope.learn.features import FeatureModel

    if arguments.feature_model:
        if not Path(arguments.feature_model).is_file():
            raise ValueError(f"--feature-model is {arguments.feature_model}, which is no file")
        return FeatureModel.load(arguments.feature_model)
    beside = Path(arguments.features).parent / _BESIDE
    if beside.is_file():
        return FeatureModel.load(beside)
    tell(f"no {_BESIDE} beside the features: hidden units and free energies are left out")
    return None


def _tell(record: dict[str, Any]) -> None:
    say(f"{'class':<24} {'stars':>6} {'precision':>10} {'recall':>7}   held-out stars, 5 folds")
    for name, numbers in record["classes"].items():
        precision = "-" if numbers["precision"] is None else f"{numbers['precision']:.3f}"
        say(f"{name:<24} {record['counts'][name]:>6} {precision:>10} {numbers['recall']:>7.3f}")
    say(
        f"balanced accuracy {record['balanced_accuracy']:.3f} (chance {1 / len(record['counts']):.3f}); log loss "
        f"{record['log_loss']:.3f} (the frequencies alone {record['log_loss_of_frequencies']:.3f})"
    )
    say(f"{record['output']}: {record['n_feature']} features; apply it with starskope run --model")
