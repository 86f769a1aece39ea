"""What machines learn from stars: anomalies, files, and the table of features of a block."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from starskope.curves.container import LightCurves
from starskope.errors import FrameError
from starskope.learn.columns import LightNumbers, feature_names, feature_table, is_feature, star_features
from starskope.learn.features import MIN_STARS, FeatureModel
from starskope.learn.inputs import spectrogram_rows, stamp_rows
from starskope.search.lombscargle import lomb_scargle
from starskope.search.power import power_spectrum
from starskope.search.segments import spectrogram
from starskope.search.spectra_store import SpectraBlock

N_STAR, N_TIME, ODD = 250, 1282, 7


@pytest.fixture(scope="module")
def curves() -> LightCurves:
    """Quiet and rotating stars with noise; star ``ODD`` sweeps through all frequencies."""
    rng = np.random.default_rng(1)
    time = np.arange(N_TIME) / 48.0
    flux = 1.0 + 1e-3 * rng.standard_normal((N_TIME, N_STAR))
    rotating = np.arange(N_STAR) % 3 == 0
    periods = rng.uniform(0.5, 8.0, N_STAR)
    flux += np.where(rotating, 5e-3, 0.0) * np.sin(2 * np.pi * (time[:, None] / periods + rng.random(N_STAR)))
    flux[:, ODD] = 1.0 + 1e-3 * rng.standard_normal(N_TIME) + 0.03 * np.sin(2 * np.pi * 0.4 * time**2)
    flux[300:320] = np.nan
    flux[:, 20] = np.nan
    flux[:, 21] = 1.0
    flux[N_TIME // 3 :, 22] = np.nan
    return LightCurves(time, flux, Table({"tic_id": np.arange(1000, 1000 + N_STAR)}))


@pytest.fixture(scope="module")
def block(curves: LightCurves) -> SpectraBlock:
    return SpectraBlock(power_spectrum(curves), lomb_scargle(curves), spectrogram(curves))


@pytest.fixture(scope="module")
def stamps() -> np.ndarray:
    """Stamps of lone stars off their pixel's centre; that of star ``ODD`` is crossed by a trail."""
    rng = np.random.default_rng(2)
    image = rng.normal(size=(16 * 20, 16 * 20)).astype(np.float32)
    rows, columns = 8 + 16 * (np.arange(N_STAR) // 20), 8 + 16 * (np.arange(N_STAR) % 20)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    for row, column in zip(rows, columns, strict=True):
        near = np.s_[row - 8 : row + 8, column - 8 : column + 8]
        dy, dx = rng.uniform(-0.5, 0.5, 2)
        image[near] += 10 ** rng.uniform(2, 4) * np.exp(-((y[near] - row - dy) ** 2 + (x[near] - column - dx) ** 2) / 2)
    i = np.arange(-5, 6)
    image[rows[ODD] + i, columns[ODD] - i] += 2000.0
    rows[30] = -100
    return stamp_rows(image, rows, columns)


@pytest.fixture(scope="module")
def spectra_rows(block: SpectraBlock) -> np.ndarray:
    return spectrogram_rows(block.spectrogram.power)


@pytest.fixture(scope="module")
def model(spectra_rows: np.ndarray, stamps: np.ndarray, block: SpectraBlock) -> FeatureModel:
    return FeatureModel.fit(spectra_rows, stamps, seed=3, n_hidden=16, frequency=block.spectrogram.frequency)


def test_reconstructions_get_better_by_learning(
    model: FeatureModel, spectra_rows: np.ndarray, stamps: np.ndarray
) -> None:
    for view, rows in ((model.spectrogram, spectra_rows), (model.image, stamps)):
        z = (rows[~np.isnan(rows).any(axis=1)] - view.mean) / view.scale
        hidden = view.rbm.transform(z)
        error = ((z - hidden @ view.rbm.weights_.T - view.rbm.visible_bias_) ** 2).mean()
        assert error < 0.75 * ((z - z.mean(axis=0)) ** 2).mean()
        on = hidden.mean(axis=0)
        assert ((on > 0.02) & (on < 0.98)).all(), "a hidden unit that never changes tells nothing"


def test_filters_are_pictures_and_no_noise(model: FeatureModel) -> None:
    """Weights of neighbouring bins resemble each other along time: tones last."""
    filters = model.spectrogram_rbm.weights_.T.reshape(-1, *model.spectrogram.shape)
    centered = filters - filters.mean(axis=(1, 2), keepdims=True)
    neighbours = (centered[:, 1:] * centered[:, :-1]).sum() / (centered**2).sum()
    assert neighbours > 0.3
    assert model.image_rbm.weights_.shape == (121, 16)
    assert model.image.shape == (11, 11)


def test_free_energy_ranks_odd_stars_first(model: FeatureModel, spectra_rows: np.ndarray, stamps: np.ndarray) -> None:
    table = model.transform(spectra_rows, stamps)
    for column in ("spectrogram_free_energy", "image_free_energy"):
        energy = np.asarray(table[column])
        assert (energy[ODD] <= energy[~np.isnan(energy)]).sum() <= 3, column


def test_stars_that_show_nothing_have_nan_and_harm_nobody(
    model: FeatureModel, spectra_rows: np.ndarray, stamps: np.ndarray
) -> None:
    table = model.transform(spectra_rows, stamps)
    for name in table.colnames:
        missing = np.flatnonzero(np.isnan(table[name]))
        assert list(missing) == ([20, 21] if name.startswith("spectrogram") else [30]), name
    known = np.setdiff1d(np.arange(N_STAR), [20, 21, 30])
    without = FeatureModel.fit(
        np.delete(spectra_rows, [20, 21], 0), np.delete(stamps, 30, 0)[: N_STAR - 2], seed=3, n_hidden=16
    )
    assert without.spectrogram.rbm.weights_.tobytes() == model.spectrogram.rbm.weights_.tobytes()
    assert known.size == N_STAR - 3


@pytest.mark.parametrize("workers", [2, -1])
def test_any_number_of_workers_learns_the_same(
    model: FeatureModel, block: SpectraBlock, spectra_rows: np.ndarray, stamps: np.ndarray, workers: int
) -> None:
    frequency = block.spectrogram.frequency
    many = FeatureModel.fit(spectra_rows, stamps, seed=3, n_hidden=16, workers=workers, frequency=frequency)
    assert many.fingerprint == model.fingerprint
    other = FeatureModel.fit(spectra_rows, stamps, seed=4, n_hidden=16, frequency=frequency)
    assert other.fingerprint != model.fingerprint


@pytest.mark.parametrize("n_star", [0, 1, MIN_STARS - 1])
def test_too_few_stars_teach_nothing_and_are_no_error(
    spectra_rows: np.ndarray, stamps: np.ndarray, n_star: int
) -> None:
    few = FeatureModel.fit(spectra_rows[:n_star], stamps[:n_star])
    assert few.spectrogram_rbm is None
    assert few.image_rbm is None
    table = few.transform(spectra_rows[:5], stamps[:5])
    assert table.colnames == few.columns
    assert all(np.isnan(table[name]).all() for name in table.colnames)


def test_stars_that_are_all_the_same_are_no_error(stamps: np.ndarray) -> None:
    table = FeatureModel.fit(np.zeros((30, 256)), np.repeat(stamps[:1], 30, axis=0), n_hidden=4).transform(
        np.zeros((2, 256)), stamps[:2]
    )
    assert all(np.isfinite(table[name]).all() for name in table.colnames)


def test_wrong_rows_are_refused(model: FeatureModel, spectra_rows: np.ndarray, stamps: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"250 spectrogram rows and 249 stamp rows"):
        model.transform(spectra_rows, stamps[1:])
    with pytest.raises(ValueError, match=r"image rows have 81 features, the model was fitted on 121"):
        model.transform(spectra_rows, stamps[:, :81])
    with pytest.raises(ValueError, match=r"rows of 255 and 121 features"):
        FeatureModel.fit(spectra_rows[:, 1:], stamps)
    with pytest.raises(ValueError, match=r"seed=-1"):
        FeatureModel.fit(spectra_rows, stamps, seed=-1)


def test_a_model_comes_back_from_its_file(tmp_path, model: FeatureModel, spectra_rows, stamps) -> None:
    model.save(tmp_path / "model.npz")
    again = FeatureModel.load(tmp_path / "model.npz")
    assert again.fingerprint == model.fingerprint
    one, two = model.transform(spectra_rows, stamps), again.transform(spectra_rows, stamps)
    assert all(one[name].tobytes() == two[name].tobytes() for name in one.colnames)
    first = (tmp_path / "model.npz").read_bytes()
    again.save(tmp_path / "model.npz")
    assert (tmp_path / "model.npz").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_weights": np.zeros((121, 15), np.float32)}, r"image weights is float32 \(121, 15\)"),
        ({"image_scale": np.zeros(121, np.float32)}, r"scales or sizes that cannot be"),
        ({"image_mean": np.zeros(121)}, r"image mean is float64"),
        ({"image_hidden_bias": None}, r"the image part of the model is not whole"),
    ],
)
def test_parts_that_do_not_fit_are_damage(model: FeatureModel, change: dict, message: str) -> None:
    arrays, about = model.state()
    changed = {name: array for name, array in (arrays | change).items() if array is not None}
    with pytest.raises(FrameError, match=message):
        FeatureModel.from_state("model.npz", changed, about)


@pytest.mark.parametrize(
    "note", [None, {}, {"shape": [11], "n_hidden": 16, "fitted": True}, {"shape": "ab", "n_hidden": 16, "fitted": True}]
)
def test_notes_that_say_nothing_are_damage(model: FeatureModel, note: object) -> None:
    arrays, about = model.state()
    with pytest.raises(FrameError, match="not whole"):
        FeatureModel.from_state("model.npz", arrays, {**about, "image": note})


def test_a_model_serves_the_cadence_that_it_learned_from(model: FeatureModel, block: SpectraBlock) -> None:
    frequency = block.spectrogram.frequency
    model.check_frequency(1.005 * frequency)
    for other in (9.0 * frequency, np.linspace(0, frequency[-1], 65)):
        with pytest.raises(
            ValueError, match=r"learned from spectrograms up to 24 per day in steps of 0.1875, these go"
        ):
            model.check_frequency(other)
    FeatureModel(model.spectrogram, model.image).check_frequency(9.0 * frequency)
    arrays, about = model.state()
    for note in ("24", [1.0], [1.0, "x"]):
        with pytest.raises(FrameError, match="frequencies of the model are no two numbers"):
            FeatureModel.from_state("model.npz", arrays, {**about, "frequencies": note})


def candidates() -> Table:
    """Rows of the stars 100, 101 and 103 of a batch; 101 has two claims."""
    names = ("period", "duration", "depth", "snr", "sde", "odd_even", "secondary", "false_alarm_probability")
    table = Table({name: np.arange(1.0, 5.0) + i for i, name in enumerate(names)})
    table["star"], table["rank"] = [100, 101, 101, 103], [0, 0, 1, 0]
    table["n_transits"], table["claim"] = [3, 4, 5, 0], [False, True, True, False]
    return table


def test_a_block_of_stars_becomes_a_table(curves, block, stamps, model) -> None:
    table = star_features(curves, block, stamps, candidates(), model, first_star=100)
    assert table.colnames == ["star", "tic_id", *feature_names(model)]
    assert [name for name in table.colnames if is_feature(name)] == feature_names(model)
    assert list(table["star"][:2]) == [100, 101]
    assert table.meta == {"feature_model": model.fingerprint}
    assert all(table[name].dtype == np.float32 for name in feature_names(model))
    rotating = 9
    assert table["spectrum_ls_power"][rotating] > 0.8
    assert table["spectrum_ls_false_alarm"][rotating] < -20
    assert table["spectrum_period"].unit == "d"
    assert np.isnan(table["curve_scatter"][20])
    assert table["curve_coverage"][20] == 0
    assert table["curve_scatter"][1] == pytest.approx(-3.0, abs=0.05)
    assert table["spectrum_slope"][1] == pytest.approx(0.0, abs=0.3)
    assert table["spectrum_red"][rotating] > 1.0
    np.testing.assert_array_equal(table["transit_period"][:4], [1, 2, np.nan, 4])
    np.testing.assert_array_equal(table["transit_n_claims"][:4], [0, 2, np.nan, 0])
    np.testing.assert_array_equal(table["transit_claim"][:4], [0, 1, np.nan, 0])


def test_a_star_does_not_depend_on_its_block(curves, block, stamps, model) -> None:
    whole = star_features(curves, block, stamps, None, model)
    few = slice(5, 40)
    part = star_features(
        curves.select(stars=few),
        SpectraBlock(block.power.select(few), block.lomb_scargle.select(few), block.spectrogram.select(few)),
        stamps[few],
        None,
        model,
        first_star=5,
    )
    for name in whole.colnames:
        assert part[name].tobytes() == whole[name][few].tobytes(), name
    assert np.isnan(whole["transit_period"]).all()


def test_light_that_was_measured_before_gives_the_same_table(curves, block, stamps, model) -> None:
    whole = star_features(curves, block, stamps, None, model)
    light = LightNumbers.measure(curves, block)
    parts = [LightNumbers.from_arrays(light.select(each).arrays()) for each in (slice(0, 100), slice(100, None))]
    table = feature_table(LightNumbers.join(parts), curves.stars, stamps, None, model)
    assert table.colnames == whole.colnames
    for name in whole.colnames:
        assert table[name].tobytes() == whole[name].tobytes(), name


def test_parts_of_other_stars_are_refused(curves, block, stamps, model) -> None:
    with pytest.raises(ValueError, match=r"stamps has 249 stars, the light curves have 250"):
        star_features(curves, block, stamps[1:], None, model)
    broken = candidates()
    del broken["sde"]
    with pytest.raises(ValueError, match="candidates has no column sde"):
        star_features(curves, block, stamps, broken, model)
