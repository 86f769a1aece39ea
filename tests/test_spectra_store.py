"""Spectra on disk: the same back, block by block, damaged and foreign stores, and the pictures of the containers."""

from __future__ import annotations

import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

import starskope as sk
from starskope.errors import FrameError
from starskope.search.spectra_store import SpectraBlock, SpectraStore, read, write

CADENCE = 1800.0 / 86400.0


def block_of(curves: sk.LightCurves) -> SpectraBlock:
    return SpectraBlock(
        sk.power_spectrum(curves), sk.lomb_scargle(curves), sk.spectrogram(curves, segment=32, overlap=16)
    )


@pytest.fixture(scope="module")
def curves() -> sk.LightCurves:
    rng = np.random.default_rng(4)
    stars = Table(
        {"tic_id": np.arange(600) + 10_000, "tmag": rng.uniform(6, 13, 600), "name": [f"s{i}" for i in range(600)]}
    )
    flux = rng.normal(1, 0.01, (90, 600))
    flux[:, 300] = np.nan
    return sk.LightCurves(1325 + CADENCE * np.arange(90), flux, stars)


@pytest.fixture(scope="module")
def whole(curves: sk.LightCurves) -> SpectraBlock:
    return block_of(curves)


def assert_same(found: object, expected: object) -> None:
    assert type(found) is type(expected)
    for field in fields(expected):  # type: ignore[arg-type]
        a, b = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(b, np.ndarray):
            assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), field.name
        elif isinstance(b, Table):
            assert a.colnames == b.colnames
            assert all(np.array_equal(a[name], b[name]) for name in b.colnames)
        else:
            assert a == b or (a != a and b != b), field.name  # noqa: PLR0124


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_spectra_come_back_as_they_were(whole: SpectraBlock, tmp_path: Path) -> None:
    for spectra in whole.kinds().values():
        path = spectra.write(tmp_path / "one.zarr")
        assert_same(type(spectra).read(path), spectra)
        assert_same(type(spectra).read(path, stars=slice(200, 400)), spectra.select(slice(200, 400)))


def test_one_store_holds_all_kinds(whole: SpectraBlock, tmp_path: Path) -> None:
    path = write(whole.kinds(), tmp_path / "spectra.zarr")
    assert_same(sk.Spectra.read(path, "power"), whole.power)
    assert_same(sk.Spectra.read(path, "lomb_scargle"), whole.lomb_scargle)
    assert_same(sk.Spectrogram.read(path), whole.spectrogram)
    with pytest.raises(ValueError, match="say which"):
        sk.Spectra.read(path)
    with pytest.raises(ValueError, match="holds no 'spectrogram' that is Spectra"):
        sk.Spectra.read(path, "spectrogram")
    with pytest.raises(ValueError, match="holds no 'cepstrum'"):
        sk.Spectra.read(path, "cepstrum")


def test_blocks_in_any_order_make_the_same_bytes(curves: sk.LightCurves, whole: SpectraBlock, tmp_path: Path) -> None:
    write(whole.kinds(), tmp_path / "at_once.zarr")
    folder = tmp_path / "in_blocks.zarr"
    blocks = {start: block_of(curves.select(stars=slice(start, start + 256))) for start in (512, 0, 256)}
    store = SpectraStore.create(folder, curves.stars, blocks[256].kinds())
    for number, (start, block) in enumerate(blocks.items()):
        with pytest.raises(FrameError, match="missing"):
            read(folder, sk.Spectra, "power")
        if number == 1:  # as a killed run goes on
            store = SpectraStore(folder)
        store.put(start, block.kinds())
        store.put(start, block.kinds())
    assert files_of(folder) == files_of(tmp_path / "at_once.zarr")


def test_blocks_become_arrays_and_come_back(curves: sk.LightCurves, tmp_path: Path) -> None:
    some = curves.select(stars=slice(0, 5))
    block = block_of(some)
    np.savez(tmp_path / "block.npz", **block.arrays())
    with np.load(tmp_path / "block.npz", allow_pickle=False) as arrays:
        back = SpectraBlock.from_arrays(arrays, some.stars)
    for kind, spectra in block.kinds().items():
        assert_same(getattr(back, kind), spectra)


def test_arrays_without_a_clock_keep_an_unknown_time_zero(tmp_path: Path) -> None:
    spectrogram = sk.spectrogram(np.random.default_rng(0).normal(size=(50, 2)), cadence=CADENCE, segment=20, overlap=0)
    assert_same(sk.Spectrogram.read(spectrogram.write(tmp_path / "s.zarr")), spectrogram)


def test_no_stars_are_a_store_too(tmp_path: Path) -> None:
    none = sk.lomb_scargle(np.empty((50, 0)), cadence=CADENCE)
    assert_same(sk.Spectra.read(none.write(tmp_path / "none.zarr")), none)


def test_a_block_without_any_light_is_written_too(curves: sk.LightCurves, tmp_path: Path) -> None:
    dark = sk.LightCurves(curves.time, np.full_like(curves.flux[:, :256], np.nan))
    block = block_of(dark)
    store = SpectraStore.create(tmp_path / "s.zarr", dark.stars, block.kinds())
    SpectraStore(store.folder).put(0, block.kinds())
    assert_same(sk.Spectrogram.read(store.folder), block.spectrogram)
    assert_same(sk.Spectra.read(store.folder, "lomb_scargle"), block.lomb_scargle)


def test_blocks_that_do_not_fit_are_refused(curves: sk.LightCurves, whole: SpectraBlock, tmp_path: Path) -> None:
    store = SpectraStore.create(tmp_path / "s.zarr", curves.stars, whole.kinds())
    some = whole.power.select(slice(0, 256)), whole.lomb_scargle.select(slice(0, 256))
    kinds = {"power": some[0], "lomb_scargle": some[1], "spectrogram": whole.spectrogram.select(slice(0, 256))}
    with pytest.raises(ValueError, match="this store holds"):
        store.put(0, {"power": some[0]})
    with pytest.raises(ValueError, match="whole chunks"):
        store.put(100, kinds)
    with pytest.raises(ValueError, match="whole chunks"):
        store.put(512, kinds)
    with pytest.raises(ValueError, match="whole chunks"):
        store.put(0, {kind: spectra.select(slice(0, 200)) for kind, spectra in kinds.items()})
    other = sk.power_spectrum(curves.select(stars=slice(0, 256)), window=None)
    with pytest.raises(ValueError, match="made otherwise"):
        store.put(0, {**kinds, "power": other})
    with pytest.raises(ValueError, match="'power' is Spectrogram"):
        store.put(0, {**kinds, "power": kinds["spectrogram"]})
    with pytest.raises(ValueError, match="lacks n_point, baseline_days"):
        store.put(0, {**kinds, "lomb_scargle": kinds["power"]})


def test_what_stands_in_the_way_is_left_alone(whole: SpectraBlock, curves: sk.LightCurves, tmp_path: Path) -> None:
    curves.select(stars=slice(0, 3)).write(tmp_path / "curves.zarr")
    with pytest.raises(ValueError, match="holds no spectra: it is left alone"):
        whole.power.write(tmp_path / "curves.zarr")
    with pytest.raises(ValueError, match=r"end in \.zarr"):
        whole.power.write(tmp_path / "spectra.fits")
    with pytest.raises(FrameError, match="not of spectra"):
        sk.Spectra.read(tmp_path / "curves.zarr")
    with pytest.raises(FileNotFoundError, match="no spectra here"):
        sk.Spectra.read(tmp_path / "nothing.zarr")
    with pytest.raises(ValueError, match="different stars"):
        write({"power": whole.power, "lomb_scargle": whole.lomb_scargle.select([1])}, tmp_path / "s.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.zarr"]


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda folder: (folder / "power/power/c/0/1").unlink(), "chunks are missing"),
        (lambda folder: shutil.rmtree(folder / "power/frequency"), "'frequency' is damaged"),
        (lambda folder: (folder / "zarr.json").write_text("{"), "zarr.json"),
        (lambda folder: (folder / "zarr.json").unlink(), "without zarr.json"),
        (lambda folder: shutil.rmtree(folder / "stars"), "damaged"),
    ],
)
def test_damage_is_told(whole: SpectraBlock, tmp_path: Path, harm: object, told: str) -> None:
    path = whole.power.write(tmp_path / "s.zarr")
    harm(path)  # type: ignore[operator]
    with pytest.raises(FrameError, match=told):
        sk.Spectra.read(path)


def test_a_flipped_bit_is_told(whole: SpectraBlock, tmp_path: Path) -> None:
    path = whole.lomb_scargle.write(tmp_path / "s.zarr")
    chunk = path / "lomb_scargle/power/c/0/2"
    raw = bytearray(chunk.read_bytes())
    raw[len(raw) // 2] ^= 4
    chunk.write_bytes(raw)
    with pytest.raises(FrameError, match="'power' is damaged"):
        sk.Spectra.read(path)
    assert sk.Spectra.read(path, stars=slice(0, 512)).n_star == 512


def test_pictures_name_the_star_and_its_period(whole: SpectraBlock) -> None:
    from matplotlib.figure import Figure

    axes = whole.lomb_scargle.plot(7, axes=Figure().add_subplot())
    assert axes.get_title() == "tic_id 10007"
    period = whole.lomb_scargle.peaks()["period"][7]
    assert axes.get_legend().get_texts()[0].get_text() == f"{period:.5g} d"
    assert whole.spectrogram.plot(0, axes=Figure().add_subplot()).get_ylabel() == "frequency [1/d]"
    for spectra in whole.kinds().values():
        spectra.plot(300, axes=Figure().add_subplot())  # a star without any power
        with pytest.raises(IndexError, match="star 600 of 600"):
            spectra.plot(600)


def test_containers_refuse_what_does_not_fit(whole: SpectraBlock) -> None:
    from dataclasses import replace

    with pytest.raises(TypeError, match="expected float32 of 2 axes"):
        replace(whole.power, power=whole.power.power.astype(float))
    with pytest.raises(ValueError, match="frequency has shape"):
        replace(whole.power, frequency=whole.power.frequency[1:])
    with pytest.raises(ValueError, match="normalization='psd'"):
        replace(whole.power, normalization="psd")
    with pytest.raises(ValueError, match="stars has 3 rows"):
        replace(whole.spectrogram, stars=whole.spectrogram.stars[:3])
    with pytest.raises(IndexError, match="star 600"):
        whole.power.select([600])
