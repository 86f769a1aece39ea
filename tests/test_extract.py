"""Extraction from files and objects: synthetic frames against their truth, and frames that go wrong."""

from __future__ import annotations

import asyncio
import gzip
import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import reference
from astropy.io import fits
from astropy.table import Table

from starskope.curves import extract
from starskope.curves.extract import light_curves, light_curves_async
from starskope.errors import FrameError, TransferError
from starskope.frames.decode import read_frame
from starskope.frames.reduce import make_reference, reduce_block
from starskope.layout.observer import earth_path
from starskope.synth import SectorConfig, SyntheticSector
from starskope.transfer.options import TransferOptions

DAY = 86400.0


# --- files ----------------------------------------------------------------------------------------------------------

N_FRAME = 20


@pytest.fixture(scope="module")
def sector() -> SyntheticSector:
    return SyntheticSector(
        SectorConfig(seed=5, n_row=96, n_col=96, n_frame=N_FRAME, n_star=120, n_planet=4, no_wcs_frames=(), n_missing=0)
    )


@pytest.fixture(scope="module")
def files(sector: SyntheticSector, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("frames")
    paths = []
    for i in range(N_FRAME):
        path = folder / Path(sector.frame_keys()[i]).name
        path.write_bytes(sector.ffi_bytes(i))
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def catalog(sector: SyntheticSector) -> Table:
    stars = sector.catalog()
    return stars[(stars["tmag"] > 7) & (stars["tmag"] < 12)]


@pytest.fixture(scope="module")
def measured(files, catalog):
    return light_curves(files, catalog, block_frames=8)


def same_bits(one, other) -> bool:
    fields = ("time", "flux", "flux_err", "background", "quality", "observer", "direction")
    return all(getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in fields)


def test_files_give_what_their_blocks_give_one_by_one(files, catalog, measured) -> None:
    frames = [read_frame(path, index=i) for i, path in enumerate(files)]
    blocks = [reduce_block(frames[k : k + 8], catalog) for k in range(0, N_FRAME, 8)]
    for name in ("flux", "flux_err", "background", "quality", "time"):
        expected = np.concatenate([getattr(block, name) for block in blocks])
        assert getattr(measured, name).tobytes() == expected.tobytes(), name
    assert measured.flux_unit == "electron / s"
    assert measured.exposure_s == pytest.approx(1425.6, abs=0.01)
    assert measured.meta["left_out"] == []
    np.testing.assert_array_equal(measured.stars["tic_id"], catalog["tic_id"])
    assert np.isfinite(measured.flux).mean() > 0.8


def test_order_of_the_list_folder_workers_and_blocks(files, catalog, measured) -> None:
    assert same_bits(light_curves(files[0].parent, catalog, block_frames=8, workers=3), measured)
    backwards = light_curves(files[::-1], catalog, block_frames=32)
    for name in ("time", "flux", "flux_err", "background", "quality"):
        assert getattr(backwards, name).tobytes() == getattr(measured, name).tobytes(), name
    # The first frame of the list says where the BARYCORR cards hold: a jitter of 0.01 pixel is 0.5 ms.
    np.testing.assert_allclose(backwards.observer, measured.observer, rtol=0, atol=5e-3)
    assert same_bits(light_curves(files, catalog, block_frames=1), measured)
    small = TransferOptions(bytes_in_flight=1)
    assert same_bits(light_curves(files, catalog, block_frames=8, options=small), measured)


def test_fluxes_scatter_around_the_noise_free_frames_as_their_errors_say(sector, files, catalog, measured) -> None:
    radius = np.asarray(measured.stars["aperture_radius"])
    pulls = []
    for i in range(0, N_FRAME, 2):
        plane = sector.noise_free(i)
        column, row = sector.true_wcs(i).all_world2pix(catalog["ra"], catalog["dec"], 0)
        for star in np.flatnonzero(np.isfinite(measured.flux[i])):
            whole = reference.aperture_sum(plane, row[star], column[star], radius[star])
            # The sky that was subtracted is taken as it was found: its error is no matter of the apertures.
            truth = whole.total - measured.background[i, star] * whole.area
            pulls.append((measured.flux[i, star] - truth) / measured.flux_err[i, star])
    pulls = np.array(pulls)
    # About 550 values, of normal distribution but for cosmic rays: median and scatter are known to 0.05.
    assert pulls.size > 500
    assert abs(np.median(pulls)) < 0.2
    assert 1.4826 * np.median(np.abs(pulls - np.median(pulls))) == pytest.approx(1.0, abs=0.2)


def test_barycentric_times_are_those_of_the_stated_spacecraft(sector, catalog, measured) -> None:
    truth = np.asarray(sector.frame_truth["observer"])
    np.testing.assert_allclose(measured.time, sector.frame_truth["time"], rtol=0, atol=1e-12)
    true_s = truth @ measured.direction.T
    earth = replace(measured, observer=earth_path(measured.time))
    ours = np.array([(measured.bjd(k) - measured.time) * DAY for k in range(measured.n_star)]).T
    plain = np.array([(earth.bjd(k) - measured.time) * DAY for k in range(measured.n_star)]).T
    # The window is half a degree wide, so one card places all its stars; Earth alone is off by up to 1.3 s.
    assert np.abs(ours - true_s).max() < 0.02
    assert np.abs(plain - true_s).max() > 0.1
    assert "20 BARYCORR cards" in measured.meta["observer"]


def test_objects_on_s3_give_the_same_bytes_as_files(sector, files, catalog, measured, endpoint) -> None:
    keys = sector.frame_keys()
    for key, path in zip(keys, files, strict=True):
        endpoint.put(key, path.read_bytes())
    options = TransferOptions(endpoint_url=endpoint.url)
    uris = [f"s3://stpubdata/{key}" for key in keys]
    assert same_bits(light_curves(uris, catalog, options=options, block_frames=8), measured)
    sizes = [path.stat().st_size for path in files]
    table = Table({"uri": uris, "size": sizes})
    assert same_bits(asyncio.run(light_curves_async(table, catalog, options=options, block_frames=8)), measured)


def test_a_missing_object_among_many_is_left_out_and_a_dead_server_stops_the_work(
    sector, files, catalog, endpoint
) -> None:
    keys = sector.frame_keys()[:3]
    for key, path in zip(keys, files, strict=False):
        endpoint.put(key, path.read_bytes())
    options = TransferOptions(endpoint_url=endpoint.url, max_attempts=1)
    uris = [f"s3://stpubdata/{key}" for key in [*keys, "tess/nothing.fits"]]
    for block_frames in (32, 3, 1):
        curves = light_curves(uris, catalog, options=options, block_frames=block_frames)
        assert curves.n_time == 3
        assert [entry["frame"] for entry in curves.meta["left_out"]] == ["nothing.fits"]
    nowhere = TransferOptions(endpoint_url="http://127.0.0.1:9", max_attempts=1)
    with pytest.raises(TransferError, match="not one of 4 frames in a row could be fetched") as caught:
        light_curves(uris, catalog, options=nowhere, block_frames=2)
    assert set(caught.value.causes) == set(uris)
    with pytest.raises(TransferError, match="not one of 8 frames in a row could be fetched"):
        light_curves([f"s3://stpubdata/tess/{i}.fits" for i in range(20)], catalog, options=options)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data, _: data[: len(data) // 3], "truncated|ends|cut"),
        (lambda data, _: b"", "empty|nothing|0 bytes|no bytes"),
        (lambda data, _: b"<html>no such key</html>", "FITS|HTML"),
        (lambda data, _: gzip.compress(data), "gz"),
        (lambda _, sector: SyntheticSector(replace(sector.config, n_row=64)).ffi_bytes(5), "pixels"),
        (lambda _, sector: sector.ffi_bytes(4), "duplicate"),
        (lambda data, _: blank(data), "no|NaN|finite"),
    ],
    ids=["truncated", "empty", "html", "gz", "shape", "duplicate", "all NaN"],
)
def test_one_bad_frame_is_left_out_with_its_reason_and_loses_nothing_else(
    sector, files, catalog, measured, tmp_path, spoil, reason
) -> None:
    bad = tmp_path / "bad.fits"
    bad.write_bytes(spoil(files[5].read_bytes(), sector))
    curves = light_curves([*files[:5], bad, *files[6:]], catalog, block_frames=8)
    others = np.arange(N_FRAME) != 5
    assert same_bits(curves, measured.select(time=others))
    (entry,) = curves.meta["left_out"]
    assert entry["frame"] == "bad.fits"
    assert re.search(reason, entry["reason"]), entry["reason"]


def blank(data: bytes) -> bytes:
    """The file with every pixel of its calibrated plane NaN."""
    with fits.open(BytesIO(data)) as file:
        file[1].data[...] = np.nan
        out = BytesIO()
        file.writeto(out, output_verify="silentfix")
        return out.getvalue()


def test_a_block_without_world_coordinates_borrows_them_from_another(catalog, tmp_path) -> None:
    config = SectorConfig(
        seed=5, n_row=96, n_col=96, n_frame=8, n_star=120, n_planet=4, no_wcs_frames=(0, 1, 2, 3), n_missing=0
    )
    sector = SyntheticSector(config)
    paths = []
    for i in range(8):
        paths.append(tmp_path / Path(sector.frame_keys()[i]).name)
        paths[-1].write_bytes(sector.ffi_bytes(i))
    curves = light_curves(paths, catalog, block_frames=4)
    assert curves.n_time == 8
    assert [note["frame"] for note in curves.meta["notes"]] == [path.name for path in paths[:4]]
    frames = [read_frame(path, index=i) for i, path in enumerate(paths)]
    expected = reduce_block(frames[:4], catalog, None, make_reference(frames[4]))
    assert curves.flux[:4].tobytes() == expected.flux.tobytes()
    # Without any frame that has them there is nothing to borrow.
    with pytest.raises(FrameError, match=r"none of 4 frames could be used; the first, .*ffic.fits: .*WCS"):
        light_curves(paths[:4], catalog)


def test_times_may_be_given_for_frames_without_any(files, catalog, measured) -> None:
    given = light_curves(files[:6], catalog, time=[5.0, 4, 3, 2, 1, 0])
    np.testing.assert_array_equal(given.flux, measured.flux[5::-1])
    assert given.time.tolist() == [0, 1, 2, 3, 4, 5]
    assert given.observer is None
    with pytest.raises(ValueError, match="time has 2 values for 6 frames"):
        light_curves(files[:6], catalog, time=[1.0, 2.0])


def test_bad_input_for_files_is_named(files, catalog, tmp_path) -> None:
    with pytest.raises(ValueError, match="there are no frames"):
        light_curves([], catalog)
    with pytest.raises(ValueError, match="there are no frames"):
        light_curves(tmp_path, catalog)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        light_curves(tmp_path / "nowhere", catalog)
    with pytest.raises(FrameError, match=r"none of 2 frames could be used; the first, a\.fits"):
        for name in ("a.fits", "b.fits"):
            (tmp_path / name).write_bytes(b"no frame")
        light_curves(tmp_path, catalog)
    with pytest.raises(ValueError, match="belong to arrays"):
        light_curves(files, catalog, exposure_s=3.0)
    opposite = Table({"ra": (np.asarray(catalog["ra"]) + 180) % 360, "dec": -np.asarray(catalog["dec"])})
    with pytest.raises(ValueError, match=r"none of the \d+ stars lies on these frames of 126x184 pixels: check sector"):
        light_curves(files[:2], opposite)


def test_a_cancelled_extraction_stops_and_leaves_nothing_running(files, catalog, monkeypatch) -> None:
    reduced: list[int] = []

    async def cancel_in_the_second_block() -> int:
        loop, second = asyncio.get_running_loop(), asyncio.Event()

        def reduce_and_tell(frames, *arguments, **named):
            reduced.append(frames[0].index)
            if len(reduced) == 2:
                loop.call_soon_threadsafe(second.set)
            return reduce_block(frames, *arguments, **named)

        monkeypatch.setattr(extract, "reduce_block", reduce_and_tell)
        task = asyncio.create_task(light_curves_async(files, catalog, block_frames=2))
        await second.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(asyncio.all_tasks())

    assert asyncio.run(cancel_in_the_second_block()) == 1
    assert len(reduced) <= 3
