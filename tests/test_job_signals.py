"""What the job makes of its light curves: spectra, candidates, features, probabilities, and reasons where it cannot."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import small_sector
from astropy.table import Table
from small_sector import CROWDED, assert_same_products, config_for, frame_files

from starskope import starblocks
from starskope.conclusions import conclude_signals
from starskope.curves import masks
from starskope.curves.container import LightCurves
from starskope.errors import FrameError
from starskope.frames.decode import read_frame
from starskope.frames.stacked import Stack
from starskope.frames.wcs import TanSip
from starskope.job import RunConfig, run
from starskope.journal import Journal
from starskope.learn.classify import Scaling, StarClassifier
from starskope.learn.columns import feature_names
from starskope.learn.features import FeatureModel
from starskope.progress import Progress
from starskope.search.spectra import Spectra, Spectrogram
from starskope.signals import measure_block
from starskope.starblocks import STARS_PER_BLOCK
from starskope.transfer.options import TransferOptions

crowded_dir = small_sector.crowded_dir  # the fixtures
undisturbed = small_sector.crowded_run


def read_features(out: Path) -> Table:
    return Table.read(out / "features.parquet", format="parquet")


def test_every_product_tells_of_every_star(undisturbed: Path) -> None:
    curves = LightCurves.read(undisturbed / "light_curves.zarr")
    ids = curves.stars["tic_id"].tolist()
    assert len(ids) == CROWDED.n_star
    for kind in ("power", "lomb_scargle"):
        spectra = Spectra.read(undisturbed / "spectra.zarr", kind)
        assert spectra.stars["tic_id"].tolist() == ids
        lit = np.isfinite(curves.normalize().flux).sum(axis=0) >= 20
        assert lit.sum() > 500
        assert np.isfinite(spectra.power[:, lit]).all()
    assert Spectrogram.read(undisturbed / "spectra.zarr").stars["tic_id"].tolist() == ids
    candidates = Table.read(undisturbed / "candidates.ecsv", format="ascii.ecsv")
    first = candidates[candidates["rank"] == 0]
    assert first["star"].tolist() == list(range(len(ids)))
    assert first["tic_id"].tolist() == ids
    assert str(candidates["period"].unit) == "d"
    features = read_features(undisturbed)
    assert features["tic_id"].tolist() == ids
    model = FeatureModel.load(undisturbed / "feature_model.npz")
    assert set(feature_names(model)) <= set(features.colnames)
    assert features.meta["feature_model"] == model.fingerprint
    assert not [name for name in features.colnames if name.startswith("p_")]
    told = json.loads((undisturbed / "run.json").read_text())
    periodic = candidates["claim"] & (candidates["verdict"] != "single-event")
    assert told["counts"]["n_candidate"] == periodic.sum()
    assert told["counts"]["n_single_event"] == (candidates["claim"] & ~periodic).sum()
    assert told["no_search"] == ""
    assert told["stars_left_out"] == []


@pytest.mark.parametrize("workers", [1, 7])
def test_the_number_of_workers_changes_no_byte(
    workers: int, undisturbed: Path, crowded_dir: Path, tmp_path: Path
) -> None:
    run(config_for(crowded_dir, workers=workers), tmp_path / "out")
    assert_same_products(tmp_path / "out", undisturbed)


def test_features_follow_the_seed_and_nothing_else_does(undisturbed: Path, crowded_dir: Path, tmp_path: Path) -> None:
    run(config_for(crowded_dir, seed=1), tmp_path / "out")
    for name in ("feature_model.npz", "features.parquet"):
        assert (tmp_path / "out" / name).read_bytes() != (undisturbed / name).read_bytes()
    same = (tmp_path / "out" / "candidates.ecsv").read_bytes() == (undisturbed / "candidates.ecsv").read_bytes()
    assert same


def _classifier(columns: list[str], feature_model: FeatureModel | None = None) -> StarClassifier:
    n_feature = len(columns)
    scaling = Scaling(np.zeros(n_feature), np.ones(n_feature), np.zeros(n_feature), np.ones(n_feature))
    coefficients = np.random.default_rng(1).normal(size=(3, n_feature))
    score = np.zeros(3), np.full(3, -1.0), np.zeros(3)
    return StarClassifier(["binary", "planet", "quiet"], columns, scaling, coefficients, *score, {}, feature_model)


def test_a_model_adds_probabilities_seen_through_its_own_machines(
    undisturbed: Path, crowded_dir: Path, tmp_path: Path
) -> None:
    own = _own_model(FeatureModel.load(undisturbed / "feature_model.npz").frequencies[0] * np.arange(9))
    _classifier(feature_names(own), own).save(tmp_path / "model.npz")
    config = config_for(crowded_dir, model=tmp_path / "model.npz")
    (outcome,) = run(config, tmp_path / "out").ccds
    assert outcome.ok
    features, plain = read_features(tmp_path / "out"), read_features(undisturbed)
    chances = np.stack([features[f"p_{name}"] for name in ("binary", "planet", "quiet")], axis=1)
    assert chances.dtype == np.float32
    np.testing.assert_allclose(chances.sum(axis=1), 1.0, rtol=1e-5)
    assert np.ptp(chances, axis=0).min() > 0.1
    for name in plain.colnames:  # The columns are those of the CCD's own machines, as without a model.
        assert np.asarray(features[name]).tobytes() == np.asarray(plain[name]).tobytes(), name
    assert features.meta["feature_model"] == plain.meta["feature_model"] != own.fingerprint
    # The model belongs to the identity.
    with pytest.raises(ValueError, match=r"with other model \(sha256 .* there, none now\)"):
        run(config_for(crowded_dir), tmp_path / "out")


@pytest.mark.parametrize(
    ("write", "error", "told"),
    [
        (lambda path: None, ValueError, r"model .*model.npz does not exist: give a file that `starskope learn train`"),
        (lambda path: path.write_bytes(b"PK\x03\x04 no model"), FrameError, r"model.npz"),
        (
            lambda path: _classifier(["curve_scatter", "curve_loudness"]).save(path),
            ValueError,
            r"model .*model.npz does not fit this run: .*1 missing: curve_loudness",
        ),
    ],
    ids=["missing", "damaged", "other features"],
)
def test_a_model_that_does_not_fit_is_refused_before_any_work(
    write, error: type[Exception], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "model.npz")

    def asked(*_: object, **__: object) -> None:
        pytest.fail("the archive was asked")

    monkeypatch.setattr("starskope.job.list_frames_async", asked)
    dead = TransferOptions(endpoint_url="http://127.0.0.1:9", max_attempts=1)
    config = RunConfig(sector=1, camera=1, ccd=4, model=tmp_path / "model.npz", options=dead)
    with pytest.raises(error, match=told):
        run(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _own_model(frequency: np.ndarray) -> FeatureModel:
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(40, 256)).astype("f4"), rng.normal(size=(40, 121)).astype("f4")
    return FeatureModel.fit(*rows, seed=3, frequency=frequency)


def test_a_model_of_another_cadence_is_refused_before_the_first_frame(crowded_dir: Path, tmp_path: Path) -> None:
    own = _own_model(np.arange(9) * 9.0)  # to 72 per day: 600 s
    _classifier(feature_names(own), own).save(tmp_path / "model.npz")
    told = r"model.npz was trained on a cadence of 600 s, these frames come every 1800 s: train one on their cadence"
    with pytest.raises(ValueError, match=told):
        run(config_for(crowded_dir, model=tmp_path / "model.npz"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_of_other_segments_costs_the_probabilities_only(
    undisturbed: Path, crowded_dir: Path, tmp_path: Path
) -> None:
    """Only the light curves tell how long the segments are: what was found is kept, and what is missing is told."""
    own = _own_model(np.arange(65) * 0.375)  # segments of 128 cadences of 1800 s; these are of 16
    _classifier(feature_names(own), own).save(tmp_path / "model.npz")
    (outcome,) = run(config_for(crowded_dir, model=tmp_path / "model.npz"), tmp_path / "out").ccds
    assert not outcome.ok
    assert "it serves light curves of the same cadence and segments only" in outcome.no_classes
    assert json.loads((tmp_path / "out" / "run.json").read_text())["no_classes"] == outcome.no_classes
    assert (tmp_path / "out" / "features.parquet").read_bytes() == (undisturbed / "features.parquet").read_bytes()


def test_a_block_that_fails_is_told_and_the_rest_is_as_ever(
    undisturbed: Path, crowded_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = int(LightCurves.read(undisturbed / "light_curves.zarr").stars["tic_id"][256])

    def failing(curves: LightCurves, *arguments: object, **settings: object) -> dict[str, np.ndarray]:
        if curves.stars["tic_id"][0] == second and np.isfinite(curves.flux).any():
            raise ZeroDivisionError("of a star nobody thought of")
        return measure_block(curves, *arguments, **settings)

    monkeypatch.setattr(starblocks, "measure_block", failing)
    (outcome,) = run(config_for(crowded_dir), tmp_path / "out").ccds
    assert not outcome.ok
    assert [(stars.first, stars.last) for stars in outcome.stars_left_out] == [(256, 511)]
    told = json.loads((tmp_path / "out" / "run.json").read_text())
    assert told["stars_left_out"][0]["reason"] == "ZeroDivisionError: of a star nobody thought of"
    here, there = (Spectra.read(out / "spectra.zarr", "power").power for out in (tmp_path / "out", undisturbed))
    assert np.isnan(here[:, 256:512]).all()
    assert here[:, :256].tobytes() == there[:, :256].tobytes()
    candidates = Table.read(tmp_path / "out" / "candidates.ecsv", format="ascii.ecsv")
    assert not candidates["claim"][(candidates["star"] >= 256) & (candidates["star"] < 512)].any()
    assert len(read_features(tmp_path / "out")) == CROWDED.n_star
    assert not (tmp_path / "out" / ".work").exists()
    assert run(config_for(crowded_dir), tmp_path / "out").ccds[0].stars_left_out == outcome.stars_left_out


def test_a_single_star(crowded_dir: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "stars.ecsv"
    Table.read(crowded_dir / "catalog.ecsv", format="ascii.ecsv")[20:21].write(catalog, format="ascii.ecsv")
    (outcome,) = run(config_for(crowded_dir, catalog=catalog), tmp_path / "out").ccds
    assert outcome.ok
    assert outcome.n_star == 1
    assert Spectra.read(tmp_path / "out" / "spectra.zarr", "power").n_star == 1
    features = read_features(tmp_path / "out")
    assert len(features) == 1
    # One star teaches nothing, and says so.
    assert np.isnan(features["image_free_energy"][0])
    assert FeatureModel.load(tmp_path / "out" / "feature_model.npz").image_rbm is None


def test_stars_without_any_light(crowded_dir: Path, tmp_path: Path) -> None:
    """At the very edge of the science pixels every aperture is cut off."""
    wcs = TanSip.from_header(read_frame(frame_files(crowded_dir)[5]).header)
    ra, dec = wcs.pixel_to_world(np.full(20, 0.0), np.linspace(50.0, 100.0, 20))
    Table({"tic_id": np.arange(20) + 1, "ra": ra, "dec": dec, "tmag": np.full(20, 9.0)}).write(tmp_path / "stars.ecsv")
    (outcome,) = run(config_for(crowded_dir, catalog=tmp_path / "stars.ecsv"), tmp_path / "out").ccds
    assert outcome.ok
    assert (outcome.n_star, outcome.n_candidate, outcome.n_single_event) == (20, 0, 0)
    assert np.isnan(LightCurves.read(tmp_path / "out" / "light_curves.zarr").flux).all()
    assert np.isnan(Spectra.read(tmp_path / "out" / "spectra.zarr", "lomb_scargle").power).all()
    candidates = Table.read(tmp_path / "out" / "candidates.ecsv", format="ascii.ecsv")
    assert candidates["rank"].tolist() == [0] * 20
    assert not candidates["claim"].any()


def test_a_period_beyond_the_frames_is_refused_before_any_work(crowded_dir: Path, tmp_path: Path) -> None:
    told = r"period_max is 5 days, these 40 frames span 0\.\d+: search up to 0\.\d+ \(three transits\), or leave it out"
    with pytest.raises(ValueError, match=told):
        run(config_for(crowded_dir, period_max=5.0), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_memory_does_not_grow_with_the_stars(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two blocks and six: what four blocks of spectra weigh is never held together."""
    monkeypatch.setattr(masks, "MOST_JUDGES", 500)  # as many of them in both
    header = Stack.read(undisturbed / "stack.fits").header
    ra, dec = TanSip.from_header(header).pixel_to_world(30.0, 70.0)
    n_time, peaks = 2000, []
    for n_block in (2, 6):
        n_star = n_block * STARS_PER_BLOCK
        stars = Table({"tic_id": np.arange(n_star), "ra": np.full(n_star, ra), "dec": np.full(n_star, dec)})
        dark = np.full((n_time, n_star), np.nan, np.float32)
        with Journal(tmp_path / str(n_block)) as journal:
            LightCurves(1325.0 + np.arange(n_time) / 144, dark, stars).write(journal.folder / "light_curves.zarr")
            del dark
            shutil.copy(undisturbed / "stack.fits", journal.folder)
            tracemalloc.start()
            blocks = starblocks.StarBlocks(journal, n_star, RunConfig(frames=("x",)), Progress())
            for group in blocks.groups():
                blocks.measure(group)
            conclude_signals(journal, blocks, RunConfig(frames=("x",)), None, {}, Progress())
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            block_bytes = journal.path(0, "stars").stat().st_size
    assert block_bytes > 6e6
    assert peaks[1] - peaks[0] < 2 * block_bytes
