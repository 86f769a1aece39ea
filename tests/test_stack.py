"""Stacks of arrays, files and streams: the numbers, the frames left out, the file on disk, the picture."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import reference
from astropy.io import fits
from astropy.stats import sigma_clip
from astropy.wcs import WCS
from numpy.typing import NDArray

from starskope.errors import FrameError, TransferError
from starskope.frames import stacked, stacking
from starskope.frames.decode import decode_frame, read_frame
from starskope.frames.stack import Stack, clip_series, combine, stack, stack_async
from starskope.transfer.options import TransferOptions

if TYPE_CHECKING:
    from starskope.synth.endpoint import Endpoint

REAL = "ffi/tess2018206192942-s0001-1-4-0120-s_ffic.fits"
Cube = NDArray[np.float32]


@pytest.fixture(scope="module")
def cube() -> Cube:
    """23 frames of 19 x 31 pixels, no two of which expect the same, with outliers and gaps."""
    rng = np.random.default_rng(6)
    values = 10.0 * np.arange(19 * 31).reshape(19, 31) + rng.normal(0.0, 2.0, (23, 19, 31))
    values[rng.random(values.shape) < 0.03] += 100.0
    values[rng.random(values.shape) < 0.03] = np.nan
    values[:, 4, 5] = np.nan
    return values.astype(np.float32)


def write_frames(folder: Path, cube: NDArray[Any], **cards: Any) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = []
    for index, plane in enumerate(cube):
        paths.append(folder / f"frame-{index:02d}.fits")
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(plane, fits.Header(cards))]).writeto(paths[-1])
    return paths


def same(a: Stack, b: Stack) -> bool:
    return all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in ("image", "count", "std"))


def m13(data_dir: Path) -> list[Path]:
    return sorted((data_dir / "images").glob("M13_blue_*.fits"))


# --- the numbers


def test_m13_is_clipped_as_published(data_dir: Path) -> None:
    made = stack(m13(data_dir), sigma=1.5, max_iters=5, workers=2)
    n = made.count.astype(np.float64)
    assert made.image.shape == (1040, 1392)
    assert 5 * made.image.size - made.count.sum() == 3_119_056
    assert np.mean(made.image, dtype=np.float64) == pytest.approx(511.73665, abs=5e-6)
    assert (n * made.image).sum() / n.sum() == pytest.approx(511.67884, abs=5e-6)
    assert stack(m13(data_dir), sigma=3.0).count.min() == 5


def test_m13_sums_as_published(data_dir: Path) -> None:
    total = 5.0 * stack(m13(data_dir), method="mean").image.astype(np.float64)
    assert (total.min(), total.max()) == pytest.approx((0.0, 3522.0), abs=1e-3)
    assert total.mean() == pytest.approx(2544.96438, abs=1e-5)


@pytest.mark.parametrize("center", ["median", "mean"])
@pytest.mark.parametrize(("sigma", "max_iters"), [(2.0, 5), (1.5, 1), (2.5, None), ((1.5, 3.0), 3)])
def test_the_clip_is_that_of_astropy(cube: Cube, center: str, sigma: Any, max_iters: int | None) -> None:
    low, high = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        left = sigma_clip(
            cube.astype(np.float64), sigma_lower=low, sigma_upper=high, maxiters=max_iters, cenfunc=center, axis=0
        )
        expected, spread = left.mean(axis=0).filled(np.nan), left.std(axis=0).filled(np.nan)
    made = stack(cube, sigma=sigma, max_iters=max_iters, center=center)  # type: ignore[arg-type]
    np.testing.assert_array_equal(made.count, (~left.mask).sum(axis=0))
    np.testing.assert_allclose(made.image, expected, rtol=1e-6)
    np.testing.assert_allclose(made.std, spread, rtol=1e-6)
    assert math.isnan(made.image[4, 5])
    assert made.count[4, 5] == 0


def test_the_last_bounds_decide_as_in_astropy() -> None:
    # Far values below hold the mean down: the first upper bound cuts into the good ones, a later one takes them back.
    rng = np.random.default_rng(3)
    far, near = -rng.uniform(2, 20, 2000) - rng.uniform(0, 1, (10, 2000)), rng.uniform(0, 1, (30, 2000))
    data = np.concatenate([far, near]).astype(np.float32)
    counts = []
    for max_iters in (1, 2):
        left = sigma_clip(
            data.astype(np.float64), sigma_lower=1.6, sigma_upper=0.6, maxiters=max_iters, cenfunc="mean", axis=0
        )
        counts.append((~left.mask).sum(axis=0))
        made = clip_series(data, sigma=(1.6, 0.6), max_iters=max_iters, center="mean")
        np.testing.assert_array_equal(made.count, counts[-1])
        np.testing.assert_allclose(made.mean, left.mean(axis=0), rtol=1e-6)
    assert (counts[1] > counts[0]).any()


@pytest.mark.parametrize("method", ["mean", "median"])
def test_mean_and_median_take_every_value(cube: Cube, method: str) -> None:
    made = stack(cube, method=method)  # type: ignore[arg-type]
    filled = np.ones((19, 31), bool)
    filled[4, 5] = False
    function = {"mean": np.nanmean, "median": np.nanmedian}[method]
    np.testing.assert_allclose(made.image[filled], function(cube[:, filled].astype(np.float64), axis=0), rtol=1e-6)
    np.testing.assert_allclose(made.std[filled], np.nanstd(cube[:, filled].astype(np.float64), axis=0), rtol=1e-6)
    np.testing.assert_array_equal(made.count, np.isfinite(cube).sum(axis=0))
    assert made.meta["method"] == method
    assert "sigma" not in made.meta


def test_the_median_of_the_survivors_is_there_when_asked(cube: Cube) -> None:
    clipped = clip_series(cube, sigma=2.0, median=True)
    expected = reference.clip_series(cube, sigma_low=2.0, sigma_high=2.0, max_iters=5)
    np.testing.assert_allclose(clipped.median, expected.median, rtol=1e-6)
    assert clip_series(cube, sigma=2.0).median is None


# --- the same bytes


@pytest.mark.parametrize("workers", [2, 7])
def test_any_number_of_workers_gives_the_same_bytes(workers: int) -> None:
    rng = np.random.default_rng(8)
    frames = rng.normal(0.0, 1.0, (9, 150, 131)).astype(np.float32)
    frames[:, 3, :40] = np.nan
    for method in ("sigma_clip", "mean", "median"):
        assert same(stack(frames, method=method, sigma=1.5), stack(frames, method=method, sigma=1.5, workers=workers))


def test_arrays_of_every_kind_are_taken(cube: Cube, tmp_path: Path) -> None:
    expected = stack(cube, sigma=2.0)
    np.save(tmp_path / "cube.npy", cube)
    wide = np.zeros((23, 19, 62), np.float32)
    wide[:, :, ::2] = cube
    for frames in (
        cube.astype(np.float64),
        cube.astype(">f4"),
        np.asfortranarray(cube),
        wide[:, :, ::2],
        np.load(tmp_path / "cube.npy", mmap_mode="r"),
        np.ma.masked_invalid(cube),
        list(cube),
        list(np.ma.masked_invalid(cube)),
    ):
        assert same(stack(frames, sigma=2.0), expected)
        assert same(stack(frames, sigma=2.0, max_bytes=23 * 31 * 4 * 3), expected)


def test_files_are_clipped_exactly_by_bands_of_rows(cube: Cube, tmp_path: Path) -> None:
    paths = write_frames(tmp_path / "frames", cube)
    expected = stack(cube, sigma=2.0)
    for max_bytes in (1, 23 * 31 * 4 * 4, 1 << 30):
        for workers in (1, 3):
            made = stack(paths, sigma=2.0, max_bytes=max_bytes, workers=workers)
            assert same(made, expected)
            assert made.meta["exact"] is True
    assert same(stack(tmp_path / "frames", sigma=2.0), expected)
    assert same(stack([read_frame(path) for path in paths], sigma=2.0), expected)


def test_blocks_are_combined_by_weight(cube: Cube, tmp_path: Path) -> None:
    paths = write_frames(tmp_path / "frames", cube)
    by_hand = combine([stack(cube[first : first + 6], sigma=2.0) for first in range(0, 23, 6)])
    for frames in (cube, paths):
        made = stack(frames, sigma=2.0, block_frames=6)
        assert same(made, by_hand)
        assert made.meta["exact"] is False
        assert made.n_frame == 23
    assert stack(paths, block_frames=23).meta["exact"] is True


# --- frames that do not fit


def test_frames_of_another_shape_are_named(cube: Cube, tmp_path: Path) -> None:
    paths = write_frames(tmp_path / "frames", cube[:4])
    odd = tmp_path / "frames" / "odd.fits"
    fits.PrimaryHDU(np.zeros((5, 6), np.float32)).writeto(odd)
    words = r"stack needs frames of one shape; frame 2 \(odd.fits\) is 5x6, the others 19x31"
    with pytest.raises(FrameError, match=words):
        stack([*paths[:2], odd, *paths[2:]])
    with pytest.raises(FrameError, match=r"frame 1 \(array\) is 5x6, the others 19x31"):
        stack([cube[0], np.zeros((5, 6)), cube[1]])
    with pytest.raises(FrameError, match=r"frame 2 \(odd.fits\) is 5x6, the first \(frame-00.fits\) 19x31"):
        stack([*paths[:2], odd], block_frames=2)


@pytest.mark.parametrize("block_frames", [None, 2])
def test_bad_frames_are_left_out_when_asked_and_cost_nothing_else(
    cube: Cube, tmp_path: Path, block_frames: int | None
) -> None:
    paths = write_frames(tmp_path / "frames", cube[:4])
    broken, odd = tmp_path / "broken.fits", tmp_path / "odd.fits"
    broken.write_bytes(paths[0].read_bytes()[:3000])
    fits.PrimaryHDU(np.zeros((5, 6), np.float32)).writeto(odd)
    mixed = [paths[0], broken, tmp_path / "absent.fits", paths[1], odd, *paths[2:]]
    with pytest.raises((FrameError, FileNotFoundError), match=r"broken\.fits is truncated"):
        stack(mixed, block_frames=block_frames)
    made = stack(mixed, sigma=2.0, on_error="skip", block_frames=block_frames)
    reasons = made.meta["left_out"]
    assert list(reasons) == [str(path) for path in (broken, tmp_path / "absent.fits", odd)]
    assert "truncated" in reasons[str(broken)]
    assert "No such file" in reasons[str(tmp_path / "absent.fits")]
    assert "5x6" in reasons[str(odd)]
    assert made.n_frame == 4
    assert "3 left out" in repr(made)
    if block_frames is None:
        assert same(made, stack(cube[:4], sigma=2.0))


def test_nothing_left_and_nothing_given(tmp_path: Path) -> None:
    (tmp_path / "bad.fits").write_bytes(b"")
    for block_frames in (None, 4):
        with pytest.raises(FrameError, match=r"no frame left to stack: all 1 were left out.*bad\.fits.*empty"):
            stack([tmp_path / "bad.fits"], on_error="skip", block_frames=block_frames)
    (tmp_path / "empty").mkdir()
    for nothing in ([], tmp_path / "empty", np.empty((0, 3, 4), np.float32)):
        with pytest.raises(ValueError, match="at least one frame, got none"):
            stack(nothing)


def test_frames_without_a_value_give_no_data() -> None:
    made = stack(np.full((3, 2, 2), np.nan, np.float32))
    assert np.isnan(made.image).all()
    assert np.isnan(made.std).all()
    assert (made.count == 0).all()


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"method": "mode"}, ValueError, "method='mode': expected one of 'sigma_clip', 'mean', 'median'"),
        ({"center": "mode"}, ValueError, "center='mode'"),
        ({"sigma": 0}, ValueError, "sigma=0: expected a number above 0"),
        ({"sigma": (1, -1)}, ValueError, "sigma="),
        ({"sigma": (1, 2, 3)}, TypeError, "sigma="),
        ({"sigma": "3"}, TypeError, "sigma='3'"),
        ({"max_iters": 0}, ValueError, "max_iters=0: expected 1 or more"),
        ({"max_iters": 2.0}, TypeError, "max_iters=2.0"),
        ({"workers": 0}, ValueError, "workers=0"),
        ({"on_error": "ignore"}, ValueError, "on_error='ignore'"),
        ({"block_frames": 0}, ValueError, "block_frames=0"),
    ],
)
def test_other_settings_are_refused(cube: Cube, settings: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        stack(cube, **settings)


def test_other_frames_are_refused(cube: Cube) -> None:
    with pytest.raises(ValueError, match=r"expected \(n_time, n_row, n_col\), got shape \(19, 31\)"):
        stack(cube[0])
    with pytest.raises(ValueError, match="URIs or files, got both"):
        stack(["s3://bucket/a.fits", "b.fits"])
    with pytest.raises(TypeError, match="real numbers"):
        stack(np.zeros((2, 3, 4), complex))


# --- notes, cards, coordinates


def test_a_real_frame_keeps_its_coordinates(data_dir: Path, tmp_path: Path) -> None:
    made = stack([data_dir / REAL] * 3, sigma=1.5, checksums=True)
    np.testing.assert_array_equal(made.image, fits.getdata(data_dir / REAL, 1))
    assert len(made.meta["notes"]) == 3
    assert "CHECKSUM of HDU1" in made.meta["notes"][0]
    assert made.header["CAMERA"] == 1
    assert "TSTART" not in made.header
    made.write(tmp_path / "stack.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = WCS(fits.getheader(data_dir / REAL, 1))
        written = WCS(fits.getheader(tmp_path / "stack.fits", "STD"))
    where = np.array([[0.0, 0.0], [100.5, 20.25], [172.0, 127.0]])
    assert made.wcs is not None
    for wcs in (made.wcs, Stack.read(tmp_path / "stack.fits").wcs, written):
        np.testing.assert_allclose(wcs.all_pix2world(where, 0), expected.all_pix2world(where, 0), rtol=0, atol=1e-12)


def test_the_first_frame_with_coordinates_gives_them(cube: Cube, tmp_path: Path) -> None:
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 20.0, "CRPIX1": 1.0, "CRPIX2": 1.0}
    paths = write_frames(tmp_path / "bare", cube[:2]) + write_frames(tmp_path / "with", cube[2:4], **cards)
    for block_frames in (None, 2):
        assert stack(paths, block_frames=block_frames).header["CRVAL1"] == 10.0
    assert stack(paths[:2]).wcs is None


# --- blocks


def test_combining_is_exact_for_means(cube: Cube) -> None:
    parts = [stack(cube[a:b], method="mean") for a, b in ((0, 1), (1, 9), (9, 23))]
    whole = stack(cube, method="mean")
    made = combine(parts)
    np.testing.assert_array_equal(made.count, whole.count)
    np.testing.assert_allclose(made.image, whole.image, rtol=1e-6)
    # Means of blocks are float32: near 6,000 their rounding of 2e-4 enters the spread between blocks.
    np.testing.assert_allclose(made.std, whole.std, rtol=2e-6, atol=2.5e-4)
    mean, std, _ = reference.combine([p.image for p in parts], [p.std for p in parts], [p.count for p in parts])
    np.testing.assert_allclose(made.image, mean, rtol=1e-7)
    np.testing.assert_allclose(made.std, std, rtol=1e-6)


def test_backgrounds_are_weighted_by_frames_and_gaps_filled_from_others() -> None:
    plane = np.ones((1, 2), np.float32)
    ones = np.ones((1, 2), np.int32)
    first = Stack(plane, ones, 0 * plane, np.array([[1.0, np.nan]], np.float32), {}, 3)
    second = Stack(plane, ones, 0 * plane, np.array([[5.0, 7.0]], np.float32), {}, 1)
    np.testing.assert_array_equal(combine([first, second]).background, [[2.0, 7.0]])
    with pytest.raises(ValueError, match="block 1: expected a background in every block or in none"):
        combine([first, Stack(plane, ones, 0 * plane)])


def test_blocks_that_do_not_fit_are_refused() -> None:
    def block(shape: tuple[int, int]) -> Stack:
        return Stack(np.zeros(shape, np.float32), np.zeros(shape, np.int32), np.zeros(shape, np.float32))

    with pytest.raises(ValueError, match="at least one stack"):
        combine([])
    with pytest.raises(ValueError, match="expected one shape"):
        combine([block((2, 3)), block((3, 2))])
    with pytest.raises(ValueError, match=r"std: expected shape \(2, 3\)"):
        Stack(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.int32), np.zeros((3, 2), np.float32))


# --- on disk


def test_what_is_written_is_read_back(cube: Cube, tmp_path: Path) -> None:
    made = stack(cube, sigma=(2.0, 3.0), max_iters=None)
    made.background = made.image + np.float32(1)
    made.header = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CD1_1": 0.1 / 3, "BUNIT": "electrons/s", "CCD": 4}
    made.meta["left_out"] = {"a\u2013b.fits": "it's too long: " + "x" * 300}
    made.write(tmp_path / "stack.fits")
    back = Stack.read(tmp_path / "stack.fits")
    assert same(back, made)
    assert back.background is not None
    assert back.background.tobytes() == made.background.tobytes()
    assert back.image.dtype.isnative
    assert (back.header, back.meta, back.n_frame) == (made.header, made.meta, made.n_frame)
    first = (tmp_path / "stack.fits").read_bytes()
    back.write(tmp_path / "stack.fits")
    assert (tmp_path / "stack.fits").read_bytes() == first
    with fits.open(tmp_path / "stack.fits") as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "COUNT", "STD", "BACKGROUND", "META"]
        assert "BUNIT" not in hdus["COUNT"].header
    assert [file.name for file in tmp_path.iterdir()] == ["stack.fits"]


def test_a_write_that_fails_leaves_the_old_file(cube: Cube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "stack.fits"
    stack(cube).write(path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"stack not written: No space left on device.*stack\.fits"):
        stack(cube[:3]).write(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["stack.fits"]
    with pytest.raises(FileNotFoundError, match="absent"):
        stack(cube).write(tmp_path / "absent" / "stack.fits")


def test_other_files_are_no_stacks(cube: Cube, tmp_path: Path) -> None:
    (path,) = write_frames(tmp_path, cube[:1])
    with pytest.raises(FrameError, match=r"frame-00\.fits is not a stack: expected an image, COUNT, STD and META"):
        Stack.read(path)
    path.write_bytes(b"text")
    with pytest.raises(FrameError, match=r"frame-00\.fits is not a readable stack"):
        Stack.read(path)
    with pytest.raises(FileNotFoundError):
        Stack.read(tmp_path / "absent.fits")


def test_it_draws_itself(data_dir: Path, cube: Cube) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    sky = stack([data_dir / REAL]).plot()
    assert "right ascension" in sky.get_xlabel()
    sky.figure.canvas.draw()
    pixels = stack(cube).plot(cmap="viridis")
    assert pixels.get_xlabel() == "column"
    assert pixels.images[0].get_array().shape == (19, 31)
    other = plt.figure().add_subplot()
    assert stack(cube).plot(other) is other
    plt.close("all")


# --- streams


def test_streams_give_the_bytes_of_files(cube: Cube, tmp_path: Path, endpoint: Endpoint) -> None:
    paths = write_frames(tmp_path / "frames", cube)
    for path in paths:
        endpoint.put(f"stack/{path.name}", path.read_bytes())
    options = TransferOptions(endpoint_url=endpoint.url)
    uris = [f"s3://stpubdata/stack/{path.name}" for path in paths]
    assert same(stack(uris, sigma=2.0, options=options, workers=2), stack(paths, sigma=2.0))
    blocks = stack(uris, sigma=2.0, options=options, block_frames=5)
    assert same(blocks, stack(paths, sigma=2.0, block_frames=5))

    async def both() -> tuple[Stack, Stack]:
        return await stack_async(uris, sigma=2.0, options=options), await stack_async(paths, sigma=2.0)

    streamed, read = asyncio.run(both())
    assert same(streamed, read)

    absent = [*uris[:3], "s3://stpubdata/stack/absent.fits"]
    with pytest.raises(TransferError, match=r"absent\.fits"):
        stack(absent, options=options)
    made = stack(absent, options=options, on_error="skip")
    assert made.n_frame == 3
    assert list(made.meta["left_out"]) == [absent[-1]]


def test_a_stream_that_does_not_fit_is_refused_with_a_remedy(cube: Cube, tmp_path: Path) -> None:
    settings = stacking.StackSettings(stacking.ClipSettings(), max_bytes=10 * 19 * 31 * 4)
    accumulator = stacking.StackAccumulator(settings)
    accumulator.begin(tuple(str(index) for index in range(23)))
    (path,) = write_frames(tmp_path, cube[:1])
    with pytest.raises(ValueError, match=r"23 frames of 19x31 need .*block_frames=10"):
        accumulator.put(0, read_frame(path))
    with pytest.raises(ZeroDivisionError):
        accumulator.put(1, ZeroDivisionError("a fault of ours is not a bad frame"))


def test_accumulating_keeps_one_block(cube: Cube, tmp_path: Path) -> None:
    settings = stacking.StackSettings(stacking.ClipSettings(), block_frames=4, max_bytes=4 * 19 * 31 * 4)
    accumulator = stacking.StackAccumulator(settings)
    accumulator.begin(tuple(str(index) for index in range(23)))
    paths = write_frames(tmp_path, cube)
    for index, path in enumerate(paths):
        accumulator.put(index, decode_frame(path.read_bytes(), index=index, name=path.name))
    assert same(accumulator.result(), stack(cube, block_frames=4))


def test_kept_cards_hold_for_all_frames() -> None:
    header = {
        "CRVAL1": 1.0,
        "A_2_0": 2.0,
        "BP_ORDER": 3,
        "DATE-OBS": "now",
        "TSTART": 1.0,
        "CCD": 4,
        "CRVAL2": math.nan,
    }
    assert stacked.kept_cards(header) == {"CRVAL1": 1.0, "A_2_0": 2.0, "BP_ORDER": 3, "CCD": 4}
