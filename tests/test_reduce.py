"""Blocks of frames: one result for any number of workers, stack and noise against the truth, bad frames left out."""

from __future__ import annotations

import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table

from starskope.errors import FrameError
from starskope.frames.background import estimate_background, fit_background
from starskope.frames.clip import clip_series
from starskope.frames.decode import Frame, decode_frame
from starskope.frames.photometry import aperture_radius, expected_noise, measure, n_readout, read_noise
from starskope.frames.reduce import BlockProduct, BlockReduction, ReduceSettings, make_reference, reduce_block
from starskope.frames.wcs import TanSip
from starskope.synth import SectorConfig, SyntheticSector, check_light_curves, check_stack

N_FRAME = 40


@pytest.fixture(scope="module")
def sector() -> SyntheticSector:
    return SyntheticSector(SectorConfig(seed=3, n_row=128, n_col=128, n_frame=N_FRAME, n_star=200, n_planet=4))


@pytest.fixture(scope="module")
def frames(sector: SyntheticSector) -> list[Frame]:
    return [decode_frame(sector.ffi_bytes(i), index=i, name=f"frame{i}.fits") for i in range(N_FRAME)]


@pytest.fixture(scope="module")
def stars(sector: SyntheticSector) -> Table:
    return sector.catalog()


@pytest.fixture(scope="module")
def product(frames: list[Frame], stars: Table) -> BlockProduct:
    return reduce_block(frames, stars)


def changed(frame: Frame, *, index: int | None = None, image: np.ndarray | None = None, **cards: object) -> Frame:
    """Give the frame other pixels or image cards; a card that is None is dropped."""
    header = {key: value for key, value in (dict(frame.header) | cards).items() if value is not None}
    new = frame.image.copy() if image is None else image
    return replace(frame, image=new, header=header, index=frame.index if index is None else index)


def stripped(frame: Frame) -> Frame:
    """Give the frame a header without world coordinates."""
    header = {k: v for k, v in frame.header.items() if not k.startswith(("CTYPE", "CRVAL", "CRPIX", "CD", "A_", "B_"))}
    return replace(frame, header=header)


def same_bytes(one: BlockProduct, other: BlockProduct) -> None:
    assert one.arrays().keys() == other.arrays().keys()
    for name, array in one.arrays().items():
        assert array.tobytes() == other.arrays()[name].tobytes(), name
    assert (one.reasons, one.notes, one.header, one.n_used) == (other.reasons, other.notes, other.header, other.n_used)


def test_any_number_of_workers_gives_the_same_bytes_and_frames_stay_as_they_are(
    frames: list[Frame], stars: Table, product: BlockProduct
) -> None:
    before = [frame.image.tobytes() for frame in frames]
    for workers in (2, 7):
        same_bytes(reduce_block(frames, stars, workers=workers), product)
    assert [frame.image.tobytes() for frame in frames] == before


def test_frames_that_may_be_overwritten_are_subtracted_where_they_lie(
    frames: list[Frame], stars: Table, product: BlockProduct
) -> None:
    lying = [replace(frame, image=frame.image.copy()) for frame in frames]
    lying[3].image.flags.writeable = False
    block = BlockReduction(N_FRAME + 3, stars, shape=frames[0].image.shape, overwrite=True)
    for k, frame in enumerate(lying):
        block.add(k, frame)
    same_bytes(block.finish(), product)
    for k, (frame, one) in enumerate(zip(frames, lying, strict=True)):
        background = fit_background(frame.image, frame.science)
        kept = frame.image if k == 3 else background.subtracted_from(frame.image, np.empty_like(frame.image))
        assert one.image.tobytes() == kept.tobytes()
    planes = [weakref.ref(one.image) for one in lying]
    del lying, frame, one
    assert not any(plane() is not None for plane in planes)  # the block, which is still there, has let go of them


def test_photometry_is_that_of_its_parts(frames: list[Frame], stars: Table, product: BlockProduct) -> None:
    frame = frames[11]
    background = estimate_background(frame.image, frame.science)
    row, column = TanSip.from_header(frame.header).world_to_pixel(stars["ra"], stars["dec"])
    radius = aperture_radius(stars["tmag"])
    level = np.full(len(stars), np.nan)
    on = (row > -0.5) & (row < 127.5) & (column > 43.5) & (column < 171.5)
    level[on] = background[np.rint(row[on]).astype(int), np.rint(column[on]).astype(int)]
    expected = measure(
        frame.image - background, level, row, column, radius, exposure_s=frame.exposure_s,
        read_noise_e=read_noise(frame.header, column), n_read=n_readout(frame.header), ring=ReduceSettings().ring,
    )  # fmt: skip
    np.testing.assert_array_equal(product.flux[11], expected.flux)
    np.testing.assert_allclose(product.flux_err[11], expected.flux_err, rtol=1e-6)
    np.testing.assert_allclose(product.background[11], expected.background, rtol=1e-6)
    np.testing.assert_allclose(product.row[11], row, rtol=1e-6)
    np.testing.assert_array_equal(product.radius, radius)
    assert 0.5 < np.isfinite(product.flux[11]).mean() < 1.0  # some apertures leave the science region


def test_the_stack_is_the_clipped_mean_of_subtracted_frames(frames: list[Frame], product: BlockProduct) -> None:
    planes = [estimate_background(frame.image, frame.science) for frame in frames]
    cube = np.stack([frame.image - plane for frame, plane in zip(frames, planes, strict=True)])[product.used]
    clipped = clip_series(cube)
    np.testing.assert_array_equal(product.image, clipped.mean)
    np.testing.assert_array_equal(product.std, clipped.std)
    np.testing.assert_array_equal(product.count, clipped.count)
    mean = np.mean(np.stack(planes)[product.used], axis=0, dtype=np.float64)
    np.testing.assert_allclose(product.background_image, mean, rtol=1e-5)
    assert np.isnan(product.image[:, :44]).all()
    assert np.isfinite(product.image[frames[0].science]).all()


def test_stack_meets_the_truth(sector: SyntheticSector, product: BlockProduct) -> None:
    used = product.index[product.used]
    found = check_stack(product.image, product.background_image, product.std, product.count, used, sector)
    assert found["robust_std"] <= 1.1
    assert abs(found["median"]) <= 0.1
    assert found["fraction"] > 0.5
    assert len(used) == product.n_used < N_FRAME


def test_quiet_stars_scatter_as_their_apertures_must() -> None:
    """The requirement of the engine, with jitter, drift, aberration and moving scattered light: within 1.3x per bin."""
    sector = SyntheticSector(SectorConfig(seed=8, n_row=192, n_col=192, n_frame=144, n_star=420))
    frames = [decode_frame(sector.ffi_bytes(i), index=i) for i in range(144)]
    stars = sector.catalog()
    blocks = [reduce_block(frames[k : k + 36], stars, workers=2) for k in range(0, 144, 36)]
    flux = np.concatenate([block.flux for block in blocks])
    curves = SimpleNamespace(
        time=np.concatenate([block.time for block in blocks]),
        flux=flux,
        quality=np.concatenate([block.quality for block in blocks]),
        stars=stars,
    )
    seen = np.isfinite(flux).any(axis=0)
    curves.stars, curves.flux = stars[seen], flux[:, seen]
    table = check_light_curves(curves, sector, radius=blocks[0].radius[seen])
    assert (table["n_star"] >= 1).sum() >= 5
    ratio = np.asarray(table["ratio"])[np.asarray(table["n_star"]) > 0]
    assert ratio.max() < 1.3, table
    assert ratio.min() > 0.7, table
    # The errors that are handed out say the same.
    errors = np.nanmedian(np.concatenate([block.flux_err for block in blocks])[:, seen], axis=0)
    photons = expected_noise(np.nanmedian(flux[:, seen], axis=0), 150.0, np.pi * blocks[0].radius[seen] ** 2, 1425.6)
    assert 0.95 < np.median(errors / photons) < 1.2


def test_frames_without_world_coordinates_take_the_nearest_steady_ones(
    sector: SyntheticSector, frames: list[Frame], stars: Table, product: BlockProduct
) -> None:
    bare = [stripped(frame) if k in (5, 6, 20) else frame for k, frame in enumerate(frames)]
    bare[4] = changed(bare[4], DQUALITY=4)  # a flagged neighbour is no reference
    got = reduce_block(bare, stars)
    assert "WCS from frame 3 by affine motion" in got.notes[5]
    assert "WCS from frame 7 by affine motion" in got.notes[6]
    assert "WCS from frame 19" in got.notes[20] or "WCS from frame 21" in got.notes[20]
    for k in (5, 6, 20):
        offset = np.hypot(got.row[k] - product.row[k], got.column[k] - product.column[k])
        assert np.nanmax(offset) < 0.05
        assert got.measured[k]
        close = np.isfinite(got.flux[k]) & (product.flux[k] > 1000)
        np.testing.assert_allclose(got.flux[k][close], product.flux[k][close], rtol=0.01)
    untouched = [k for k in range(N_FRAME) if k not in (4, 5, 6, 20)]
    np.testing.assert_array_equal(got.flux[untouched], product.flux[untouched])


def test_a_block_without_any_takes_the_reference_and_without_one_says_so(
    frames: list[Frame], stars: Table, product: BlockProduct
) -> None:
    bare = [stripped(frame) for frame in frames[8:12]]
    got = reduce_block(bare, stars, reference=make_reference(frames[7]))
    assert all("WCS from frame 7" in note for note in got.notes)
    assert np.nanmax(np.abs(got.row - product.row[8:12])) < 0.05
    assert TanSip.from_header(got.header).world_to_pixel(stars["ra"][0], stars["dec"][0])[0] == pytest.approx(
        float(got.row[0, 0]), abs=1e-3
    )
    lost = reduce_block(bare, stars)
    assert not lost.measured.any()
    assert np.isnan(lost.flux).all()
    assert all("no photometry" in reason for reason in lost.reasons)
    assert lost.n_used == 4  # the stack needs no coordinates
    with pytest.raises(FrameError, match="CTYPE1"):
        make_reference(bare[0])


def test_bad_frames_are_left_out_and_lose_nothing_else(
    frames: list[Frame], stars: Table, product: BlockProduct
) -> None:
    good = [k for k in range(12) if product.used[k]]
    spoiled = frames[:12]
    extra = [
        changed(frames[good[0]], index=12, image=np.full_like(frames[0].image, np.nan), TSTART=None),
        replace(frames[good[1]], index=13),
        replace(frames[good[2]], index=14, image=np.ones((50, 60), np.float32)),
        changed(frames[29], index=15, DQUALITY="?"),
        changed(frames[30], index=16, EXPOSURE="long"),
        changed(frames[31], index=17, CRVAL2=None),
    ]
    got = reduce_block([*spoiled, *extra], stars)
    clean = reduce_block(spoiled, stars)
    np.testing.assert_array_equal(got.flux[:12], clean.flux)
    np.testing.assert_array_equal(got.used[:12], clean.used)
    assert got.measured.tolist()[12:] == [False, False, False, False, False, True]
    expected = [
        "every science pixel is NaN",
        "a duplicate",
        "50x60 pixels",
        "DQUALITY is '?'",
        "EXPOSURE is 'long'",
        "",
    ]
    for reason, text in zip(got.reasons[12:], expected, strict=True):
        assert text in reason
    assert "lacks CRVAL2" in got.notes[17]
    assert "WCS from frame" in got.notes[17]
    assert np.isnan(got.flux[12:17]).all()
    assert not got.used[12:16].any()


def test_flagged_frames_are_measured_and_not_stacked(frames: list[Frame], stars: Table) -> None:
    block = [
        changed(frames[k], image=frames[k].image + np.float32(1e4 * (k == 2)), DQUALITY=32 * (k == 2)) for k in range(6)
    ]
    patient = ReduceSettings(max_offset_px=9.0)
    got = reduce_block(block, stars, patient)
    assert got.used.tolist() == [True, True, False, True, True, True]
    assert got.quality.tolist() == [0, 0, 32, 0, 0, 0]
    assert np.isfinite(got.flux[2]).any()
    assert "momentum dump" in got.reasons[2]
    without = reduce_block([block[k] for k in (0, 1, 3, 4, 5)], settings=patient)
    np.testing.assert_array_equal(got.image, without.image)
    np.testing.assert_allclose(got.background_image, without.background_image, rtol=1e-6)
    trusting = reduce_block(block, settings=ReduceSettings(excluded=0, max_offset_px=9.0))
    assert trusting.used.all()


def test_all_frames_flagged_gives_an_empty_stack(frames: list[Frame], stars: Table) -> None:
    got = reduce_block([changed(frame, DQUALITY=128) for frame in frames[:3]], stars)
    assert got.n_used == 0
    assert np.isnan(got.image).all()
    assert (got.count == 0).all()
    assert np.isnan(got.background_image).all()
    assert np.isfinite(got.flux).any()


def test_all_frames_missing(frames: list[Frame], stars: Table) -> None:
    got = reduce_block([changed(f, image=np.full_like(f.image, np.nan)) for f in frames[:3]], stars)
    assert got.n_used == 0
    assert not got.measured.any()
    assert got.image.shape == frames[0].image.shape


def test_without_stars_only_the_stack_is_made(frames: list[Frame]) -> None:
    got = reduce_block(frames[:6])
    assert got.flux.shape == (6, 0)
    assert not got.measured.any()
    assert got.n_used > 0
    assert all(not reason or "pixels off" in reason or "DQUALITY" in reason for reason in got.reasons)


def test_stars_by_pixel_on_frames_without_headers() -> None:
    rng = np.random.default_rng(1)
    image = rng.normal(5, 0.1, (60, 60)).astype(np.float32)
    image[30, 20] += 100.0
    block = [Frame(k, f"array{k}", image + np.float32(k), {}, {}) for k in range(3)]
    got = reduce_block(block, {"row": [30.0, 900.0], "column": [20.0, 20.0]}, ReduceSettings(radius=2.0))
    np.testing.assert_allclose(got.flux[:, 0], 100.0, atol=1.5)
    np.testing.assert_allclose(got.background[:, 0], [5, 6, 7], atol=0.1)
    assert np.isnan(got.flux[:, 1]).all()
    assert np.isnan(got.flux_err).all()  # no exposure time
    assert np.isnan(got.time).all()
    assert got.used.all()  # frames without a time are no duplicates


def test_methods_and_settings_reach_the_stack(frames: list[Frame]) -> None:
    calm = reduce_block(frames[:8], settings=ReduceSettings(method="mean"))
    middle = reduce_block(frames[:8], settings=ReduceSettings(method="median"))
    assert (calm.count[frames[0].science] == calm.n_used).all()
    assert not np.array_equal(calm.image, middle.image, equal_nan=True)
    bigger = reduce_block(frames[:2], {"ra": [315.0], "dec": [-29.0], "tmag": [9.0]}, ReduceSettings(radius=3.3))
    np.testing.assert_array_equal(bigger.radius, [3.3])


def test_wrong_use_is_told(frames: list[Frame]) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        reduce_block([])
    with pytest.raises(ValueError, match="columns ra and dec, or row and column; found tic_id"):
        reduce_block(frames[:1], Table({"tic_id": [1]}))
    with pytest.raises(ValueError, match=r"radius = -1\.0"):
        reduce_block(frames[:1], {"row": [1.0], "column": [1.0]}, ReduceSettings(radius=-1.0))
