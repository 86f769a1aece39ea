"""Cutouts as a container and as a Zarr store: what fits together, what is read back, what damage says."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table

from starskope import landing
from starskope.errors import FrameError
from starskope.frames.cutout_set import Cutouts, empty_failures
from starskope.frames.cutout_store import open_writer, read_store, write_store
from starskope.frames.wcs import TanSip

ARRAYS = ("flux", "flux_err", "time", "time_spacecraft", "quality", "ffi", "row0", "col0")
WCS = TanSip((315.0, -29.0), (1024.0, 1068.0), np.array([[-0.0055, 0.0014], [-0.0016, -0.0055]]))


def make(n_target: int = 5, n_time: int = 7, shape: tuple[int, int] = (3, 4), *, moving: bool = False) -> Cutouts:
    rng = np.random.default_rng(n_target)
    flux = rng.normal(100, 5, (n_target, n_time, *shape)).astype(np.float32)
    flux[0, 0] = np.nan
    place = (n_target, n_time) if moving else (n_target,)
    row0, col0 = rng.integers(50, 1000, place), rng.integers(50, 1000, place)
    row0[0] = -1
    targets = Table({"target": np.arange(n_target), "ra": rng.uniform(0, 360, n_target) * u.deg})
    targets["dec"] = np.linspace(-5, 5, n_target)
    targets["name"] = [f"étoile {i}" for i in range(n_target)]
    targets["tmag"] = MaskedColumn(np.arange(float(n_target)), mask=np.arange(n_target) == 1)
    failed = empty_failures()
    failed.add_row((77, 1.0, 2.0, "off the CCD"))
    path = rng.uniform(0, 10, (n_target, n_time)) if moving else None
    return Cutouts(
        flux,
        flux / 10,
        rng.uniform(1325, 1353, (n_target, n_time)),
        np.linspace(1325, 1353, n_time),
        np.arange(n_time) % 3,
        [f"frame{i}.fits" for i in range(n_time)],
        row0,
        col0,
        targets,
        wcs=WCS,
        reference=3,
        header={"TIMEDEL": 0.0208, "BAD": float("nan"), "EXTNAME": "cal", "SCIROWS": 1},
        primary={"FFIINDEX": 4697, "SIMDATA": True},
        sector=1,
        camera=2,
        ccd=3,
        path_ra=path,
        path_dec=path,
        failed=failed,
        meta={"source": "cube", "n_bytes": np.int64(5), "lost_frames": {"a": "b"}},
    )


def same(one: Cutouts, other: Cutouts) -> None:
    for name in ARRAYS:
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


@pytest.mark.parametrize("moving", [False, True])
def test_a_store_gives_everything_back(tmp_path: Path, moving: bool) -> None:
    cuts = make(moving=moving)
    (path,) = cuts.write(tmp_path / "cuts.zarr")
    back = Cutouts.read(path)
    same(back, cuts)
    assert back.wcs is not None
    assert back.wcs.to_header() == WCS.to_header()
    assert (back.reference, back.sector, back.camera, back.ccd, back.frame_shape) == (3, 1, 2, 3, (2078, 2136))
    assert back.header == {"TIMEDEL": 0.0208, "EXTNAME": "cal", "SCIROWS": 1}
    assert back.primary == {"FFIINDEX": 4697, "SIMDATA": True}
    assert back.meta == {"source": "cube", "n_bytes": 5, "lost_frames": {"a": "b"}}
    assert back.targets["name"].tolist() == cuts.targets["name"].tolist()
    assert back.targets["ra"].unit == u.deg
    assert np.isnan(back.targets["tmag"][1])
    assert back.failed["reason"].tolist() == ["off the CCD"]
    if moving:
        np.testing.assert_array_equal(back.path_ra, cuts.path_ra)  # type: ignore[arg-type]
    assert repr(back) == repr(cuts)


def test_some_targets_are_read_alone(tmp_path: Path) -> None:
    cuts = make(300, 11, (2, 2))
    path = write_store([cuts], tmp_path / "cuts.zarr")
    same(read_store(path, slice(250, 260)), cuts.select(slice(250, 260)))


@pytest.mark.parametrize("sizes", [(1, 1, 1), (255, 2, 300), (600,)])
def test_sets_are_added_behind_each_other(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    """257 targets a chunk never divide 256: chunks are begun by one set and ended by the next."""
    sets = [make(n, 5, (2, 2)) for n in sizes]
    with open_writer(tmp_path / "cuts.zarr") as writer:
        for part in sets:
            writer.add(part)
        writer.add_failed(sets[0].failed)
    back = Cutouts.read(tmp_path / "cuts.zarr")
    same(back, Cutouts.concatenate(sets))
    assert len(back.failed) == len(sizes) + 1


def test_the_same_cutouts_give_the_same_bytes(tmp_path: Path) -> None:
    trees = []
    for name in ("a.zarr", "b.zarr"):
        make().write(tmp_path / name)
        trees.append(
            {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        )
    assert trees[0] == trees[1]


def test_what_stands_there_is_replaced_only_on_demand_and_only_if_ours(tmp_path: Path) -> None:
    path = tmp_path / "cuts.zarr"
    make(2).write(path)
    with pytest.raises(FileExistsError, match="overwrite"):
        make(3).write(path)
    assert Cutouts.read(path).n_target == 2
    make(3).write(path, overwrite=True)
    assert Cutouts.read(path).n_target == 3
    other = tmp_path / "mine.zarr"
    other.mkdir()
    (other / "thesis.tex").write_text("years")
    with pytest.raises(FileExistsError, match="left alone"):
        make(3).write(other, overwrite=True)
    assert (other / "thesis.tex").read_text() == "years"


def test_a_writer_that_fails_leaves_the_old_store(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "cuts.zarr"
    make(2).write(path)
    with pytest.raises(ValueError, match="write one per CCD"), open_writer(path, overwrite=True) as writer:
        writer.add(make(3))
        writer.add(make(3, shape=(5, 5)))
    assert Cutouts.read(path).n_target == 2

    def no_space(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(landing, "flush", no_space)
    with pytest.raises(OSError, match="free space"):
        make(3).write(path, overwrite=True)
    assert Cutouts.read(path).n_target == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["cuts.zarr"]
    with pytest.raises(ValueError, match="no cutouts to write"):
        write_store([], tmp_path / "none.zarr")
    assert not (tmp_path / "none.zarr").exists()


def test_damage_is_named(tmp_path: Path) -> None:
    good = tmp_path / "good.zarr"
    make().write(good)

    def damaged(name: str) -> Path:
        copy = tmp_path / f"{name}.zarr"
        shutil.copytree(good, copy)
        return copy

    flipped = damaged("flipped")
    chunk = next(p for p in (flipped / "flux").rglob("*") if p.is_file() and p.name != "zarr.json")
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(FrameError, match="'flux' is damaged"):
        Cutouts.read(flipped)
    lost = damaged("lost")
    next(p for p in (lost / "flux_err").rglob("*") if p.is_file() and p.name != "zarr.json").unlink()
    with pytest.raises(FrameError, match="missing"):
        Cutouts.read(lost)
    gone = damaged("gone")
    shutil.rmtree(gone / "time")
    with pytest.raises(FrameError, match="'time'"):
        Cutouts.read(gone)
    for key, value, words in (("format", "starskope.light_curves", "not of cutouts"), ("format_version", 2, "update")):
        changed = damaged(key)
        meta = json.loads((changed / "zarr.json").read_text())
        meta["attributes"][key] = value
        (changed / "zarr.json").write_text(json.dumps(meta))
        with pytest.raises(FrameError, match=words):
            Cutouts.read(changed)
    (damaged("text") / "zarr.json").write_text("{")
    with pytest.raises(FrameError, match="readable"):
        Cutouts.read(tmp_path / "text.zarr")
    with pytest.raises(FileNotFoundError):
        Cutouts.read(tmp_path / "nowhere.zarr")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FrameError, match="no target pixel files"):
        Cutouts.read(tmp_path / "empty")


def test_edges_are_where_the_frame_ends() -> None:
    cuts = dataclasses.replace(
        make(6), row0=np.array([-1, 0, 2075, 2076, 5, 5]), col0=np.array([5, 0, 5, 5, 2132, 2133]), header={}
    )
    assert cuts.edge.tolist() == [True, False, False, True, False, True]
    assert cuts.on_frame(0).sum() == 2 * 4
    assert cuts.on_frame(5).sum() == 3 * 3
    with_cards = dataclasses.replace(
        cuts,
        header={"SCIROWS": 1, "SCIROWE": 2048, "SCCSA": 45, "SCCED": 2092},
        row0=[2045, 2046, 9, 9, 9, 9],
        col0=[44, 44, 43, 44, 2088, 2089],
    )
    assert with_cards.collateral.tolist() == [False, True, True, False, False, True]
    assert not with_cards.edge.any()


def test_one_target_and_some_are_sets_too() -> None:
    cuts = make()
    one = cuts.target(-1)
    assert one.n_target == len(one) == 1
    assert one.targets["target"].tolist() == [4]
    assert np.shares_memory(one.flux, cuts.flux)
    same(Cutouts.concatenate([cuts.target(i) for i in range(5)]), cuts)
    assert cuts.select(np.array([True, False, True, False, False])).targets["target"].tolist() == [0, 2]
    with pytest.raises(IndexError, match="0 to 4"):
        cuts.target(5)
    with pytest.raises(ValueError, match="other frames"):
        Cutouts.concatenate([cuts, dataclasses.replace(cuts, ffi=["x"] * 7)])
    with pytest.raises(ValueError, match="pixels"):
        Cutouts.concatenate([cuts, make(shape=(9, 9))])
    with pytest.raises(ValueError, match="at least one"):
        Cutouts.concatenate([])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"flux": np.zeros((5, 7, 3, 4))}, "float64"),
        ({"flux": np.zeros((5, 7, 3), np.float32)}, "expected native float32"),
        ({"flux_err": np.zeros((5, 7, 3, 3), np.float32)}, "flux_err has shape"),
        ({"time": np.zeros(7)}, "time has shape"),
        ({"quality": np.zeros(6)}, "quality has shape"),
        ({"ffi": ["a"]}, "ffi has shape"),
        ({"row0": np.zeros(4)}, "row0 has shape"),
        ({"row0": np.zeros((5, 7)), "col0": np.zeros((5, 7))}, "path_ra has shape None"),
        ({"targets": Table({"ra": [1.0]})}, "expected 5 rows"),
        ({"reference": 7}, "0 to 6"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, object], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        dataclasses.replace(make(), **change)
