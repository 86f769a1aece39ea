"""Cutouts: each value is the pixel that it claims to be, from a cube as from frames, near edges and in motion."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from cutout_scene import LEFT, Scene, check, same, scene, sky, spread, wcs_of
from reference import barycentric_correction_s

import starskope as sk
from starskope.errors import FrameError
from starskope.frames.cutout_places import OFF
from starskope.frames.cutout_set import Cutouts
from starskope.frames.cutouts import cutouts, cutouts_each, plan_cutouts
from starskope.frames.moving import Ephemerides
from starskope.synth.spacecraft import spacecraft_path
from starskope.transfer.options import TransferOptions
from starskope.transfer.planning import CostModel

__all__ = ["scene"]


# --- pixels ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [11, 1, (3, 8), 30])
def test_every_value_is_the_pixel_that_it_claims_to_be(scene: Scene, size) -> None:
    result = cutouts(spread(scene), size, uri=scene.cube)
    assert result.n_target == 40
    assert result.n_time == 24
    check(scene, result)


def test_frames_give_the_same_bytes_as_their_cube(scene: Scene, tmp_path: Path) -> None:
    for path in scene.frames:
        (tmp_path / path.name).hardlink_to(path)
    targets = spread(scene)
    from_cube = cutouts(targets, 11, uri=scene.cube)
    for frames in (scene.frames, tmp_path, Table({"uri": [str(path) for path in scene.frames]})):
        from_frames = cutouts(targets, 11, uri=frames, source="ffi")
        same(from_cube, from_frames)
        assert from_frames.meta["source"] == "ffi"
    assert from_cube.meta["source"] == "cube"
    assert (from_frames.sector, from_frames.camera, from_frames.ccd) == (1, 1, 4)
    assert (from_cube.sector, from_cube.camera, from_cube.ccd) == (1, 1, 4)


def test_targets_sit_in_the_middle_as_in_the_archives_own_cutouts(scene: Scene) -> None:
    rows, columns = [20.3, 20.7, 30.0], [10.2, 40.9, 33.0]
    odd = cutouts(sky(scene, rows, columns), 11, uri=scene.cube)
    even = cutouts(sky(scene, rows, columns), 10, uri=scene.cube)
    for result, size in ((odd, 11), (even, 10)):
        # Positions come back from the sky to 1e-9 pixel, so a half may fall either way.
        for start, centre in ((result.row0, np.array(rows)), (result.col0, np.array(columns) + LEFT)):
            assert np.all(np.abs(start - (centre - size / 2)) <= 0.5 + 1e-6)


def test_cutouts_at_the_edge_are_filled_with_nan_and_flagged(scene: Scene) -> None:
    height, width = scene.sector.config.shape
    inside = sky(scene, [0.0, 63.0, 30.0, 30.0], [30.0, 30.0, 0.0, 71.0])
    result = cutouts(inside, 101, uri=scene.cube)
    assert result.edge.all()
    check(scene, result)
    assert np.isnan(result.flux).any()
    corner = cutouts(sky(scene, [0.0], [30.0]), 11, uri=scene.cube)
    assert corner.edge.all()
    assert np.isnan(corner.flux[0, :, : -corner.row0[0]]).all()
    assert np.isfinite(corner.flux[0, :, -corner.row0[0] :]).all()
    assert not cutouts(sky(scene, [30.0], [30.0]), 11, uri=scene.cube).edge.any()
    assert height < 101 < width


def test_targets_may_come_in_many_forms(scene: Scene) -> None:
    table = spread(scene, 5)
    places = np.stack([table["ra"], table["dec"]], axis=1)
    expected = cutouts(table, 5, uri=scene.cube)
    coordinates = SkyCoord(table["ra"], table["dec"], unit="deg")
    with_units = Table({"ra": np.asarray(table["ra"]) / 15.0 * u.hourangle, "dec": np.asarray(table["dec"]) * u.deg})
    for targets in (
        places,
        places.tolist(),
        coordinates,
        coordinates.galactic,
        with_units,
        {"ra": places[:, 0], "dec": places[:, 1]},
    ):
        result = cutouts(targets, 5, uri=scene.cube)
        assert result.flux.tobytes() == expected.flux.tobytes()
        assert result.targets["target"].tolist() == [0, 1, 2, 3, 4]
    assert expected.targets["tic_id"].tolist() == [100, 101, 102, 103, 104]
    assert cutouts(places[2], 5, uri=scene.cube).flux.tobytes() == expected.flux[2:3].tobytes()
    assert sk.cutouts is cutouts
    named = Table({"target": ["a", "b", "c", "d", "e"], "ra": table["ra"], "dec": table["dec"]})
    kept = cutouts(named, 5, uri=scene.cube).targets
    assert kept["target"].tolist() == [0, 1, 2, 3, 4]
    assert kept["name"].tolist() == ["a", "b", "c", "d", "e"]


def test_repeated_and_shuffled_targets_change_no_byte(scene: Scene) -> None:
    table = spread(scene, 20)
    order = np.random.default_rng(1).permutation(np.arange(50) % 20)
    once, often = cutouts(table, 7, uri=scene.cube), cutouts(table[order], 7, uri=scene.cube)
    assert often.flux.tobytes() == once.flux[order].tobytes()
    assert often.meta["n_bytes"] == once.meta["n_bytes"]  # what targets share is read once


# --- times and cards ------------------------------------------------------------------------------------------------
def test_times_are_those_of_the_exposures_at_the_barycentre_of_each_target(scene: Scene) -> None:
    table = spread(scene, 6)
    result = cutouts(table, 3, uri=scene.cube)
    timeline = scene.sector.timeline
    np.testing.assert_allclose(result.time_spacecraft, timeline.time, atol=2e-10)
    assert result.quality.tolist() == timeline.quality.tolist()
    assert result.ffi.tolist() == [path.name for path in scene.frames]
    assert result.reference == 13
    for number, row in enumerate(table):
        truth_s = barycentric_correction_s(spacecraft_path(timeline.time), row["ra"], row["dec"])
        # One CCD's cards leave the place across its line of sight open: 0.2 s at its corners (a full CCD's).
        np.testing.assert_allclose((result.time[number] - timeline.time) * 86400.0, truth_s, atol=0.2)


def test_the_cards_of_the_reference_frame_come_along(scene: Scene) -> None:
    for uri, source in ((scene.cube, "cube"), (scene.frames, "ffi")):
        result = cutouts(spread(scene, 2), 3, uri=uri, source=source)
        assert result.header["CAMERA"] == 1
        assert result.header["CRVAL1"] == pytest.approx(wcs_of(scene).crval[0], abs=1e-12)
        assert result.primary["TELESCOP"] == "TESS"
        assert result.frame_shape == scene.sector.config.shape


# --- batches, memory, progress --------------------------------------------------------------------------------------
@pytest.mark.parametrize("kept", [1, 3, 1000])
def test_batches_hold_every_target_once_and_the_same_bytes(scene: Scene, kept) -> None:
    targets = spread(scene, 25)
    whole = cutouts(targets, 5, uri=scene.cube)
    got: list[Cutouts] = []
    threads = set()

    def put(part: Cutouts) -> None:
        threads.add(threading.current_thread())
        got.append(part)

    failed = cutouts_each(targets, put, 5, uri=scene.cube, batch_bytes=kept * 8 * 24 * 25)
    assert len(failed) == 0
    assert [len(part) for part in got] == [min(kept, 25 - k) for k in range(0, 25, kept)]
    assert threading.current_thread() not in threads
    numbers = np.concatenate([part.targets["target"] for part in got])
    assert sorted(numbers.tolist()) == list(range(25))
    flux = np.concatenate([part.flux for part in got])
    assert flux[np.argsort(numbers)].tobytes() == whole.flux.tobytes()
    for part in got:
        assert part.targets["target"].tolist() == sorted(part.targets["target"])


def test_an_error_of_the_taker_ends_the_call(scene: Scene) -> None:
    def refuse(part: Cutouts) -> None:
        raise OSError(28, "no space left")

    with pytest.raises(OSError, match="no space left"):
        cutouts_each(spread(scene, 9), refuse, 5, uri=scene.cube, batch_bytes=1)


def test_any_number_of_workers_and_pieces_gives_the_same_bytes(scene: Scene) -> None:
    targets = spread(scene)
    expected = cutouts(targets, 9, uri=scene.cube)
    free = CostModel(latency_s=0.0, request_s=0.0)
    tight = TransferOptions(small_read_bytes=400, bytes_in_flight=1)
    for options, cost, workers in ((None, free, 2), (tight, free, 3), (tight, None, -1)):
        same(expected, cutouts(targets, 9, uri=scene.cube, options=options, cost=cost, workers=workers))


def test_progress_ends_at_what_was_planned(scene: Scene) -> None:
    seen: list[tuple[int, int]] = []
    result = cutouts(spread(scene), 5, uri=scene.cube, progress=lambda done, planned: seen.append((done, planned)))
    assert seen[-1] == (result.meta["n_bytes"], result.meta["n_bytes"])
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_plan_tells_what_will_be_read(scene: Scene) -> None:
    targets = spread(scene)
    (plan,) = plan_cutouts(targets, 5, uri=scene.cube)
    result = cutouts(targets, 5, uri=scene.cube)
    assert (plan.n_request, plan.n_bytes) == (result.meta["n_request"], result.meta["n_bytes"])
    assert plan.output_bytes == result.flux.nbytes + result.flux_err.nbytes
    assert (plan.source, plan.n_target, plan.n_time, plan.ccd) == ("cube", 40, 24, 4)
    assert plan.seconds == CostModel.from_options(TransferOptions()).seconds(plan.n_request, plan.n_bytes)


def test_more_pixels_than_memory_are_refused_before_a_byte_moves(scene: Scene, monkeypatch) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    with pytest.raises(ValueError, match="take them in batches with cutouts_each"):
        cutouts(spread(scene, 20), 11, uri=scene.cube)


# --- targets without a cutout ---------------------------------------------------------------------------------------
def test_every_target_without_a_cutout_is_told(scene: Scene) -> None:
    table = sky(scene, [30.0, 64.5, 30.0, 10.0], [30.0, 30.0, -3.0, 10.0])
    table.add_row((np.nan, 0.0, 7))
    table.add_row(((table["ra"][0] + 180.0) % 360.0, -table["dec"][0], 8))
    result = cutouts(table, 5, uri=scene.cube)
    assert result.targets["target"].tolist() == [0, 3]
    assert result.failed["target"].tolist() == [1, 2, 4, 5]
    reasons = result.failed["reason"].tolist()
    assert "row 64.5" in reasons[0]
    assert "off the science pixels of camera 1, CCD 4" in reasons[1]
    assert "no position" in reasons[2]
    check(scene, result)
    with pytest.raises(ValueError, match="none of the 1 targets lies on a CCD"):
        cutouts(table[1:2], 5, uri=scene.cube)
    got: list[Cutouts] = []
    assert len(cutouts_each(table[1:2], got.append, 5, uri=scene.cube)) == 1
    assert not got


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "either sector= .* or uri="),
        ({"sector": 1, "uri": "x"}, "either sector="),
        ({"uri": "cube.fits", "ccd": 1}, "go with sector="),
        ({"sector": 0}, "sector is 0"),
        ({"sector": 1, "camera": 5}, "camera is 5"),
        ({"uri": "x.fits", "source": "tape"}, "source='tape'"),
        ({"uri": "x.fits", "on_error": "cry"}, "on_error='cry'"),
        ({"uri": "x.fits", "workers": 0}, "workers=0"),
        ({"uri": ["a.fits"], "source": "cube"}, "address of one cube"),
    ],
)
def test_wrong_arguments_are_named(arguments, words) -> None:
    with pytest.raises(ValueError, match=words):
        cutouts([(10.0, 5.0)], 11, **arguments)


@pytest.mark.parametrize(
    ("targets", "size", "words"),
    [
        ([], 11, "no targets"),
        (Table({"ra": [1.0]}), 11, "columns ra and dec"),
        ([(1.0, 2.0, 3.0)], 11, "expected .n_target, 2."),
        ([(1.0, 2.0)], 0, "size=0"),
        ([(1.0, 2.0)], (3, 4, 5), "size="),
        ([(1.0, 2.0)], 5000, "at most 2048"),
    ],
)
def test_wrong_targets_and_sizes_are_named(targets, size, words) -> None:
    with pytest.raises(ValueError, match=words):
        cutouts(targets, size, uri="cube.fits")


def test_a_misspelt_argument_is_named() -> None:
    with pytest.raises(TypeError, match="no argument 'sectr'"):
        cutouts_each([(1.0, 2.0)], print, sectr=1)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such cube or folder of frames"):
        cutouts([(1.0, 2.0)], 3, uri=tmp_path / "none.fits")


# --- motion ---------------------------------------------------------------------------------------------------------
def path_over(scene: Scene, rows: tuple[float, float], columns: tuple[float, float], late: float = 0.0) -> tuple:
    """An ephemeris along a line over the CCD; with `late` it begins only after some of the sector."""
    time = scene.sector.timeline.time
    nodes = np.linspace(time[0] + late * (time[-1] - time[0]) - 0.01 * (late == 0), time[-1] + 0.01, 9)
    ra, dec = wcs_of(scene).pixel_to_world(np.linspace(*rows, 9), np.linspace(*columns, 9) + LEFT)
    return nodes, ra, dec


def test_targets_in_motion_are_cut_where_they_are_in_each_frame(scene: Scene) -> None:
    tracks = [path_over(scene, (-8, 60), (5, 80)), path_over(scene, (40, 41), (60, 10), late=0.5)]
    times, ra, dec = (tuple(column) for column in zip(*tracks, strict=True))
    paths = Ephemerides(("fast", "late"), times, ra, dec)
    result = cutouts(paths, (5, 7), uri=scene.cube)
    check(scene, result)
    assert result.is_moving
    assert result.targets["name"].tolist() == ["fast", "late"]
    # By the world coordinates of each frame; frames 12 and 20 have none and take their neighbour's.
    where_ra, where_dec = paths.at(result.time_spacecraft)
    for frame in (0, 7, 23):
        row, column = wcs_of(scene, frame).world_to_pixel(where_ra[0, frame], where_dec[0, frame])
        assert result.row0[0, frame] == np.rint(row - 2.5)
        assert result.col0[0, frame] == np.rint(column - 3.5)
    before = np.isnan(where_ra[1])
    assert 8 < before.sum() < 16
    assert (result.row0[1, before] == OFF).all()
    assert np.isnan(result.flux[1, before]).all()
    assert np.isfinite(result.flux[1, ~before]).all()
    assert np.isnan(result.time[1, before]).all()
    same(result, cutouts(paths, (5, 7), uri=scene.frames, source="ffi"))
    tight = TransferOptions(small_read_bytes=400, bytes_in_flight=1)
    same(result, cutouts(paths, (5, 7), uri=scene.cube, options=tight, cost=CostModel(latency_s=0.0, request_s=0.0)))


def test_a_target_in_motion_that_stands_still_is_one_that_stays(scene: Scene) -> None:
    place = sky(scene, [30.0], [30.0])
    time = scene.sector.timeline.time
    still = Ephemerides(
        ("still",),
        (np.array([time[0] - 1, time[-1] + 1]),),
        (np.repeat(place["ra"], 2).data,),
        (np.repeat(place["dec"], 2).data,),
    )
    moving, fixed = cutouts(still, 25, uri=scene.cube), cutouts(place, 25, uri=scene.cube)
    # Pointing moves by a fraction of a pixel; cards of one frame place the fixed one.
    agree = (moving.row0[0] == fixed.row0[0]) & (moving.col0[0] == fixed.col0[0])
    assert agree.any()
    assert moving.flux[0, agree].tobytes() == fixed.flux[0, agree].tobytes()
    np.testing.assert_allclose(moving.time[0], fixed.time[0], atol=1e-9)


# --- damage ---------------------------------------------------------------------------------------------------------
def test_a_damaged_frame_is_raised_or_told(scene: Scene, tmp_path: Path) -> None:
    frames = list(scene.frames)
    damaged = tmp_path / frames[5].name
    damaged.write_bytes(frames[5].read_bytes()[:-20_000])
    frames[5] = damaged
    with pytest.raises(FrameError, match="truncated within its uncertainty plane"):
        cutouts(spread(scene, 4), 5, uri=frames, source="ffi")
    result = cutouts(spread(scene, 4), 5, uri=frames, source="ffi", on_error="skip")
    assert list(result.meta["lost_frames"]) == [damaged.name]
    assert np.isnan(result.flux[:, 5]).all()
    assert np.isnan(result.flux_err[:, 5]).all()
    assert np.isfinite(result.flux[:, 6]).any()


def test_frames_of_two_ccds_are_refused(scene: Scene) -> None:
    with pytest.raises(ValueError, match="frames of several CCDs: 24 of camera 1, CCD 3; 24 of camera 1, CCD 4"):
        cutouts(spread(scene, 1), 5, uri=scene.frames[0].parents[2], source="ffi")


def test_frames_are_put_in_order_of_time(scene: Scene) -> None:
    targets = spread(scene, 3)
    order = np.random.default_rng(5).permutation(24)
    shuffled = cutouts(targets, 5, uri=[scene.frames[k] for k in order], source="ffi")
    same(shuffled, cutouts(targets, 5, uri=scene.cube))
    twice = [*scene.frames, scene.frames[3]]
    with pytest.raises(ValueError, match="come twice"):
        cutouts(targets, 5, uri=twice, source="ffi")


def test_frames_of_two_shapes_are_refused(scene: Scene, tmp_path: Path) -> None:
    other = tmp_path / "other_ffic.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((8, 9), np.float32))]).writeto(other)
    with pytest.raises(FrameError, match=r"other_ffic\.fits is 8x9"):
        cutouts(spread(scene, 1), 5, uri=[*scene.frames, other], source="ffi")
