"""Classifiers of stars: scores that are earned, probabilities that hold, labels and tables that do not fit."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table

from starskope.cli import main
from starskope.errors import FrameError
from starskope.learn.classify import Scaling, StarClassifier, train
from starskope.learn.features import FeatureModel
from starskope.learn.model_file import read_model, write_model

N_STAR = 300
NAMES = ("binary", "pulsating", "quiet")


def stars(n_class: int = 3, seed: int = 0) -> tuple[Table, Table]:
    """Features of which four tell the classes apart, one with a long tail, one with gaps; a third of each class."""
    rng = np.random.default_rng(seed)
    kind = np.arange(N_STAR) % n_class
    table = Table({"star": np.arange(N_STAR), "tic_id": 10_000 + np.arange(N_STAR)})
    table["ra"] = kind.astype(float)  # tells everything, and is no feature
    table["curve_scatter"] = rng.normal(size=N_STAR) + (kind == 1)
    table["spectrum_slope"] = rng.normal(size=N_STAR) + 2.0 * (kind == 0)
    table["transit_snr"] = np.exp(rng.normal(size=N_STAR) * 3 + 3.0 * (kind == n_class - 1))
    table["transit_depth"] = np.where(rng.random(N_STAR) < 0.4, np.nan, rng.normal(size=N_STAR) + 1.5 * (kind == 1))
    table["curve_noise"] = rng.normal(size=N_STAR)
    table["curve_dead"] = np.full(N_STAR, np.nan)
    table["curve_same"] = np.ones(N_STAR)
    table["image_hidden_000"] = kind == 0
    labels = Table({"tic_id": table["tic_id"], "label": np.array(NAMES)[kind]})
    return table, labels


@pytest.fixture(scope="module")
def trained() -> StarClassifier:
    return train(*stars())


def test_it_learns_what_can_be_known_and_tells_so(trained: StarClassifier) -> None:
    score = trained.score
    assert trained.classes == sorted(NAMES)
    assert score["n_star"] == N_STAR
    assert score["counts"] == dict.fromkeys(sorted(NAMES), 100)
    assert 0.6 < score["balanced_accuracy"] < 0.95
    assert score["log_loss"] < 0.8 * score["log_loss_of_frequencies"]
    assert score["log_loss_of_frequencies"] == pytest.approx(np.log(3))
    assert all(0.5 < score["classes"][name][kind] <= 1 for name in NAMES for kind in ("precision", "recall"))


def test_the_score_holds_for_stars_that_were_never_seen(trained: StarClassifier) -> None:
    table, labels = stars(seed=1)
    called = np.array(trained.classes)[trained.predict_proba(table).argmax(axis=1)]
    recalls = [(called == labels["label"])[labels["label"] == name].mean() for name in NAMES]
    assert np.mean(recalls) == pytest.approx(trained.score["balanced_accuracy"], abs=0.1)


def test_noise_scores_like_chance() -> None:
    table, labels = stars()
    rng = np.random.default_rng(5)
    score = train(table, Table({"id": labels["tic_id"], "label": rng.permutation(labels["label"])})).score
    assert score["balanced_accuracy"] == pytest.approx(1 / 3, abs=0.1)
    assert score["log_loss"] > 0.97 * score["log_loss_of_frequencies"]


def test_probabilities_are_calibrated_where_classes_are_rare() -> None:
    """Weights of classes must not remain in the probabilities: they add up to the frequencies of the training."""
    rng = np.random.default_rng(3)
    n, rare = 3000, 150
    kind = np.arange(n) < rare
    table = Table({"star": np.arange(n), "curve_a": rng.normal(size=n) + 1.5 * kind})
    labels = Table({"star": np.arange(n), "label": np.where(kind, "planet", "none")})
    classifier = train(table, labels)
    chance = classifier.predict_proba(table)[:, classifier.classes.index("planet")]
    assert chance.mean() == pytest.approx(rare / n, rel=0.1)
    high = chance > 0.2
    assert kind[high].mean() == pytest.approx(chance[high].mean(), abs=0.1)


@pytest.mark.parametrize("n_class", [2, 3])
def test_what_is_kept_is_what_scikit_learn_says(n_class: int) -> None:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    table, labels = stars(n_class)
    classifier = train(table, labels)
    x = np.stack([table[name].astype(float) for name in classifier.columns], axis=1)
    z = Scaling.fit(x).apply(x)
    y = np.array([classifier.classes.index(label) for label in labels["label"]])
    found = [
        CalibratedClassifierCV(
            LogisticRegression(C=10.0**power, class_weight="balanced", max_iter=5000),
            cv=StratifiedKFold(5, shuffle=True, random_state=0),
            ensemble=False,
        )
        .fit(z, y)
        .predict_proba(z)
        for power in range(-3, 2)
    ]
    distance = [np.abs(classifier.predict_proba(table) - proba).max() for proba in found]
    assert min(distance) < 1e-9
    np.testing.assert_allclose(classifier.predict_proba(table).sum(axis=1), 1, rtol=1e-12)


def test_training_and_applying_are_the_same_again_and_need_no_order(trained: StarClassifier, tmp_path) -> None:
    table, labels = stars()
    again = train(table, labels[::-1])
    trained.save(tmp_path / "a.npz")
    again.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    loaded = StarClassifier.load(tmp_path / "a.npz")
    assert loaded.score == trained.score
    shuffled = table[[*table.colnames[3:], *table.colnames[:3]]]
    assert loaded.predict_proba(shuffled).tobytes() == trained.predict_proba(table).tobytes()


def test_features_are_by_name_and_identifiers_are_none(trained: StarClassifier) -> None:
    assert trained.columns == [
        "curve_scatter", "spectrum_slope", "transit_snr", "transit_depth", "curve_noise", "curve_dead", "curve_same",
    ]  # fmt: skip


def test_stars_of_which_nothing_is_known_get_the_frequencies_roughly(trained: StarClassifier) -> None:
    table, _ = stars()
    for name in trained.columns:
        table[name] = np.full(N_STAR, np.nan)
    table["curve_scatter"][0] = np.inf
    chance = trained.predict_proba(table)
    assert np.isfinite(chance).all()
    assert (chance < 0.7).all()


def test_other_features_than_the_model_s_are_refused(trained: StarClassifier) -> None:
    table, _ = stars()
    del table["transit_snr"]
    table["curve_new"] = 0.0
    with pytest.raises(
        ValueError,
        match=r"takes 7 features, the table has 7 \(1 missing: transit_snr; 1 unknown to it: curve_new\)",
    ):
        trained.predict_proba(table)
    with pytest.raises(ValueError, match=r"takes 7 features, the table has 0 \(7 missing: .* \.\.\.\)"):
        trained.check_columns(["star"])
    table, _ = stars()
    table["transit_snr"] = ["text"] * N_STAR
    with pytest.raises(ValueError, match="feature transit_snr holds"):
        trained.predict_proba(table)


@pytest.fixture(scope="module")
def machines() -> FeatureModel:
    rng = np.random.default_rng(0)
    return FeatureModel.fit(rng.normal(size=(40, 256)), rng.normal(size=(40, 9)), n_hidden=2)


def test_learned_features_go_with_the_model_that_made_them(machines: FeatureModel, tmp_path) -> None:
    table, labels = stars()
    del table["image_hidden_000"]
    rng = np.random.default_rng(0)
    for name in machines.columns:
        table[name] = rng.random(N_STAR)
    table.meta["feature_model"] = machines.fingerprint
    classifier = train(table, labels, feature_model=machines)
    assert [name for name in classifier.columns if name in machines.columns] == machines.columns
    classifier.save(tmp_path / "model.npz")
    loaded = StarClassifier.load(tmp_path / "model.npz")
    assert loaded.feature_model is not None
    assert loaded.feature_model.fingerprint == machines.fingerprint
    assert loaded.predict_proba(table).tobytes() == classifier.predict_proba(table).tobytes()
    table.meta["feature_model"] = "another"
    with pytest.raises(
        ValueError, match=rf"feature model another, the classifier was trained on {machines.fingerprint}"
    ):
        loaded.predict_proba(table)
    with pytest.raises(ValueError, match="give the one that stands beside them"):
        train(table, labels, feature_model=machines)
    bare = train(table, labels)
    assert bare.feature_model is None
    assert not set(bare.columns) & set(machines.columns)
    bare.predict_proba(table)


def test_tables_that_hold_no_features_are_refused() -> None:
    table, labels = stars()
    with pytest.raises(ValueError, match="no column of features"):
        train(table["star", "tic_id", "ra"], labels)
    with pytest.raises(ValueError, match="features have no identifier"):
        train(table[["curve_scatter"]], labels)
    with pytest.raises(ValueError, match="features: 1 stars stand there more than once"):
        train(table[[0, 0, *range(1, N_STAR - 1)]], labels)
    with pytest.raises(ValueError, match="no labelled star has any feature"):
        train(table["tic_id", "curve_dead"], labels)


DAMAGE = {
    "coefficients of another shape": ({"coefficients": np.zeros((3, 6))}, {}, r"coefficients is float64 \(3, 6\)"),
    "no slopes": ({"slopes": None}, {}, "slopes is missing"),
    "another dtype": ({"intercepts": np.zeros(3, np.float32)}, {}, "intercepts is float32"),
    "a scale of zero": ({"scale": np.zeros(7)}, {}, "scales of features must be 1e-60 or more"),
    "coefficients that overflow": ({"coefficients": np.full((3, 7), 1e300)}, {}, "coefficients goes beyond 1e"),
    "slopes that overflow": ({"slopes": np.full(3, -1e300)}, {}, "slopes goes beyond 1e"),
    "one class": ({}, {"classes": ["a"]}, "1 classes and 7 features are no classifier"),
    "classes that are no names": ({}, {"classes": [1, 2, 3]}, "classes are no list of names"),
    "equal classes": ({}, {"classes": ["a", "a", "b"]}, "classes are not all different"),
    "no columns": ({}, {"columns": []}, "3 classes and 0 features"),
    "columns of control characters": ({}, {"columns": ["\x1b[2J"] * 7}, "columns are no list of names"),
    "a damaged feature model": ({}, {"features": {"image": {}}}, "spectrogram part of the model is not whole"),
    "a feature model that is no note": ({}, {"features": 3}, "note on the feature model is damaged"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_models_are_refused(tmp_path, trained: StarClassifier, case: str) -> None:
    changed, noted, match = DAMAGE[case]
    path = tmp_path / "model.npz"
    trained.save(path)
    arrays, about = read_model(path, "starskope classifier")
    kept = {name: array for name, array in (arrays | changed).items() if array is not None}
    write_model(path, "starskope classifier", kept, about | noted)
    with pytest.raises(FrameError, match=match):
        StarClassifier.load(path)


def test_a_feature_model_is_no_classifier(tmp_path, machines: FeatureModel) -> None:
    machines.save(tmp_path / "model.npz")
    with pytest.raises(FrameError, match="it holds 'starskope feature model', expected 'starskope classifier'"):
        StarClassifier.load(tmp_path / "model.npz")


def test_infinite_coefficients_never_reach_a_file(tmp_path, trained: StarClassifier) -> None:
    replace(trained, slopes=np.full(3, np.inf)).save(tmp_path / "model.npz")
    with pytest.raises(FrameError, match="not finite"):
        StarClassifier.load(tmp_path / "model.npz")


@pytest.fixture
def files(tmp_path):
    table, labels = stars()
    table.write(tmp_path / "features.ecsv")
    labels.write(tmp_path / "labels.csv")
    return tmp_path


def test_the_command_trains_and_tells(files, capsys) -> None:
    output = files / "model.npz"
    command = ["learn", "train", str(files / "features.ecsv"), str(files / "labels.csv"), "--output", str(output)]
    assert main([*command, "--json"]) == 0
    told = capsys.readouterr()
    record = json.loads(told.out)
    assert record["counts"] == dict.fromkeys(sorted(NAMES), 100)
    assert record["n_feature"] == 7
    assert "no feature_model.npz beside the features" in told.err
    assert StarClassifier.load(output).score["log_loss"] == record["log_loss"]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert f"balanced accuracy {record['balanced_accuracy']:.3f} (chance 0.333)" in told
    assert all(name in told for name in NAMES)


def test_the_command_takes_the_feature_model_beside_the_features(files, capsys, machines: FeatureModel) -> None:
    table, _ = stars()
    del table["image_hidden_000"]
    for name in machines.columns:
        table[name] = np.random.default_rng(0).random(N_STAR)
    table.meta["feature_model"] = machines.fingerprint
    table.write(files / "features.ecsv", overwrite=True)
    machines.save(files / "feature_model.npz")
    output = files / "model.npz"
    command = ["learn", "train", str(files / "features.ecsv"), str(files / "labels.csv"), "--output", str(output)]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["feature_model"] == machines.fingerprint
    assert StarClassifier.load(output).feature_model is not None


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (["--output", "model.pkl"], 2, "expected a name that ends in .npz"),
        (["--output", "nowhere/model.npz"], 2, "whose folder does not exist"),
        (["--feature-model", "labels.csv"], 1, "not a whole model file"),
        (["--feature-model", "none.npz"], 2, "--feature-model is none.npz, which is no file"),
        (["--seed", "-1"], 2, "seed=-1"),
    ],
)
def test_wrong_use_of_the_command_is_one_line(files, capsys, monkeypatch, change, code, message) -> None:
    monkeypatch.chdir(files)
    command = ["learn", "train", "features.ecsv", "labels.csv", "--output", "model.npz", *change]
    assert main(command) == code
    told = capsys.readouterr().err
    assert told.startswith("starskope: ")
    assert message in told
    assert not (files / "model.npz").exists()
