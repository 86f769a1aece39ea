"""The files of a synthetic sector: what astropy reads in them, headers against the real one's, keys, cube, writing."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from astropy.wcs import WCS

from starskope.layout.cube import CubeLayout
from starskope.layout.fits import locate_image, science_region
from starskope.layout.keys import FfiKey
from starskope.synth import SectorConfig, SyntheticSector
from starskope.synth.header import DATA_OFFSETS, STANDARD_OFFSET

REAL = "ffi/tess2018206192942-s0001-1-4-0120-s_ffic.fits"
CONFIG = SectorConfig(seed=5, n_row=40, n_col=56, n_frame=48, n_star=90)


@pytest.fixture(scope="module")
def sector() -> SyntheticSector:
    return SyntheticSector(CONFIG)


def opened(data: bytes) -> fits.HDUList:
    hdus = fits.open(io.BytesIO(data), memmap=False)
    hdus.verify("exception")
    return hdus


def with_offset(sector: SyntheticSector, offset: int) -> int:
    return int(np.flatnonzero(sector.frame_truth["data_offset"] == offset)[0])


def test_same_seed_gives_same_bytes_whatever_was_made_before(sector: SyntheticSector) -> None:
    again = SyntheticSector(CONFIG)
    for frame in (31, 3):
        assert again.ffi_bytes(frame) == sector.ffi_bytes(frame)
    assert SyntheticSector(CONFIG.replace(seed=6)).ffi_bytes(3) != sector.ffi_bytes(3)


def test_frames_of_one_sector_differ_in_their_noise(sector: SyntheticSector) -> None:
    residuals = [sector.planes(frame)[0] - sector.noise_free(frame) for frame in (8, 9)]
    assert abs(np.corrcoef(residuals[0].ravel(), residuals[1].ravel())[0, 1]) < 0.05


def test_planes_through_astropy_are_the_ones_that_were_made(sector: SyntheticSector) -> None:
    image, uncertainty = sector.planes(7)
    with opened(sector.ffi_bytes(7)) as hdus:
        assert [hdu.data is None for hdu in hdus] == [True, False, False]
        np.testing.assert_array_equal(hdus[1].data, image)
        np.testing.assert_array_equal(hdus[2].data, uncertainty)


def test_keywords_and_comments_are_the_real_ones_in_their_order(sector: SyntheticSector, data_dir: Path) -> None:
    with opened(sector.ffi_bytes(with_offset(sector, STANDARD_OFFSET))) as ours, fits.open(data_dir / REAL) as real:
        assert [key for key in ours[0].header if key != "FFIINDEX"] == list(real[0].header)
        for number in (1, 2):
            assert [key for key in ours[number].header if key] == list(real[number].header)
        for ours_hdu, real_hdu in zip(ours, real, strict=True):
            for key in set(real_hdu.header) - {"CHECKSUM"}:
                assert ours_hdu.header.comments[key] == real_hdu.header.comments[key]
                assert type(ours_hdu.header[key]) is type(real_hdu.header[key]), key


def test_real_values_stand_in_a_full_size_header(data_dir: Path) -> None:
    few = {"n_star": 30, "n_planet": 1, "n_binary": 1, "n_pulsator": 1, "n_rotator": 1, "n_flare": 1}
    full = SyntheticSector(SectorConfig(n_row=2048, n_col=2048, n_frame=1, **few))
    data = full.ffi_bytes(0)
    assert len(data) == 35_553_600
    moving = {"CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2", "TELAPSE", "EXPOSURE", "LIVETIME"}
    own = {"NAXIS1", "NAXIS2", "SIMDATA", "CHECKSUM", "BARYCORR", "TSTART", "TSTOP", "DATE-OBS", "DATE-END"}
    with opened(data) as ours, fits.open(data_dir / REAL) as real:
        assert ours[1].data.shape == (2078, 2136)
        for key, value in real[1].header.items():
            if key in moving:
                assert ours[1].header[key] == pytest.approx(value, rel=1e-4)
            elif key not in own:
                assert ours[1].header[key] == value, key
        # The stated path is not the real orbit: both lie within 1.3 light-seconds of Earth.
        assert abs(ours[1].header["BARYCORR"] - real[1].header["BARYCORR"]) * 86400 < 2.6
        assert ours[0].header["TSTART"] == real[0].header["TSTART"]
        # The mission cuts milliseconds, we round them.
        dates = Time([ours[0].header["DATE-OBS"], real[0].header["DATE-OBS"]])
        assert abs((dates[0] - dates[1]).sec) < 1.1e-3


def test_every_header_length_occurs_and_the_uncertainty_has_another(sector: SyntheticSector) -> None:
    assert set(sector.frame_truth["data_offset"]) == set(DATA_OFFSETS)
    for offset in DATA_OFFSETS:
        data = sector.ffi_bytes(with_offset(sector, offset))
        plane = locate_image(data)
        assert plane.offset == offset
        with opened(data) as hdus:
            assert hdus[1].fileinfo()["datLoc"] == offset
            lengths = [hdu.fileinfo()["datLoc"] - hdu.fileinfo()["hdrLoc"] for hdu in hdus[1:]]
            assert lengths[0] != lengths[1]
            np.testing.assert_array_equal(hdus[1].data, sector.planes(with_offset(sector, offset))[0])


def test_frames_without_wcs_have_none_and_the_others_a_valid_one(sector: SyntheticSector) -> None:
    for offset in DATA_OFFSETS:
        frame = with_offset(sector, offset)
        with opened(sector.ffi_bytes(frame)) as hdus:
            header = hdus[1].header
            assert ("CRVAL1" in header) == ("A_2_0" in header) == bool(sector.frame_truth["has_wcs"][frame])
            assert "DQUALITY" in header
            if "CRVAL1" not in header:
                continue
            with warnings.catch_warnings():
                # MJD-OBS set from DATE-OBS: the real header makes astropy say the same.
                warnings.filterwarnings("ignore", message="'datfix' made the change", category=Warning)
                wcs = WCS(header)
            column, row = wcs.all_world2pix(sector.stars["ra"], sector.stars["dec"], 0)
        true_row, true_column = sector.positions(frame)
        worst = max(np.abs(row - true_row).max(), np.abs(column - true_column).max())
        assert worst < 0.005 + sector.pointing.rest_px


def test_regions_and_checksums_hold(sector: SyntheticSector) -> None:
    data = sector.ffi_bytes(1)
    with opened(data) as hdus:
        assert science_region(hdus[1].header, hdus[1].data.shape) == CONFIG.science
        starts = [hdu.fileinfo()["hdrLoc"] for hdu in hdus] + [len(data)]
        header = hdus[1].header
    assert [header[f"SCCS{k}"] for k in "ABCD"] == [45, 59, 73, 87]
    assert [header[f"SCCE{k}"] for k in "ABCD"] == [58, 72, 86, 100]
    assert (header["TVCED"], header["VROWE"]) == (header["NAXIS1"], header["NAXIS2"])
    for start, stop in pairwise(starts):
        words = np.frombuffer(data[start:stop], ">u4").sum(dtype=np.uint64)
        assert int(words) % 0xFFFFFFFF == 0, "the standard's sum over header and data must be all ones"


def test_keys_carry_the_start_of_the_primary_header(sector: SyntheticSector) -> None:
    keys = sector.frame_keys()
    assert len(set(keys)) == CONFIG.n_frame
    assert keys == sorted(keys)
    first = FfiKey.parse(keys[0])
    assert first.name == "tess2018206192942-s0001-1-4-0120-s_ffic.fits"
    for frame in (0, 30, 47):
        with opened(sector.ffi_bytes(frame)) as hdus:
            primary, image = hdus[0].header, hdus[1].header
        began = Time(primary["DATE-OBS"].removesuffix("Z"), scale="utc")
        assert FfiKey.parse(keys[frame]).stamp == began.strftime("%Y%j%H%M%S")
        assert abs((began.tdb.jd1 - 2457000) + began.tdb.jd2 - primary["TSTART"]) * 86400 < 1e-3
        assert image["TSTART"] - primary["TSTART"] == pytest.approx(image["BARYCORR"], abs=1e-9)
        assert (primary["TSTOP"] - primary["TSTART"]) * 86400 == pytest.approx(1800, abs=1e-4)
        assert primary["FFIINDEX"] == 4697 + sector.timeline.cadence[frame]


def test_cadences_have_a_gap_and_missing_frames(sector: SyntheticSector) -> None:
    steps = np.diff(sector.timeline.cadence)
    assert (steps == 2).sum() + 2 * (steps == 3).sum() == CONFIG.n_missing
    assert (steps > 3).sum() == 1
    assert sector.timeline.dump.sum() >= 2
    assert sector.timeline.episode.sum() >= 2
    assert not (sector.timeline.dump & sector.timeline.episode).any()


def test_unique_pixels_tell_frame_row_and_column() -> None:
    config = SectorConfig(
        n_row=24, n_col=20, n_frame=30, n_star=20, n_planet=0, n_binary=0, n_pulsator=0, n_rotator=0, n_flare=0,
        unique_pixels=True,
    )  # fmt: skip
    sector = SyntheticSector(config)
    seen = np.stack([opened(sector.ffi_bytes(frame))[1].data for frame in range(30)]).astype(np.float64)
    assert np.unique(seen).size == seen.size
    frame, row, column = 17, 41, 99
    assert seen[frame, row, column] == 1 + (frame * config.shape[0] + row) * config.shape[1] + column
    np.testing.assert_array_equal(sector.noise_free(frame), seen[frame])
    with pytest.raises(ValueError, match=r"unique_pixels with 30 frames of 2078 x 2136 .* 16777216"):
        SyntheticSector(config.replace(n_row=2048, n_col=2048))


def test_cube_holds_the_pixels_and_cards_of_the_frames(sector: SyntheticSector, tmp_path: Path) -> None:
    written = sector.write(tmp_path, ("ffi", "cube"))
    cube_path = tmp_path / sector.cube_key()
    assert written[-1] == cube_path
    assert cube_path == tmp_path / "tess/public/mast/tess-s0001-1-4-cube.fits"
    raw = cube_path.read_bytes()
    with fits.open(cube_path, memmap=False) as cube:
        cube.verify("exception")
        assert cube[1].data.shape == (*CONFIG.shape, CONFIG.n_frame, 2)
        layout = CubeLayout(*CONFIG.shape, CONFIG.n_frame, cube[1].fileinfo()["datLoc"])
        assert layout.data_offset == 5760
        rows = cube[2].data
        for frame, path in enumerate(written[:-1]):
            with fits.open(path, memmap=False) as ffi:
                np.testing.assert_array_equal(cube[1].data[:, :, frame, 0], ffi[1].data)
                np.testing.assert_array_equal(cube[1].data[:, :, frame, 1], ffi[2].data)
                assert rows["FFI_FILE"][frame] == path.name
                for key in ("TSTART", "BARYCORR", "DQUALITY", "DATE-OBS", "CRPIX1", "A_2_0", "EXTNAME"):
                    if key in ffi[1].header:
                        assert rows[key][frame] == ffi[1].header[key], key
                if "CRPIX1" not in ffi[1].header:
                    assert np.isnan(rows["CRPIX1"][frame])
        assert {key for key in ffi[1].header if key} <= set(rows.names)
        value = np.frombuffer(raw, ">f4", 1, layout.offset(11, 60, 5, 1))[0]
        assert value == cube[1].data[11, 60, 5, 1]


def test_writing_lays_out_keys_tables_and_nothing_unfinished(sector: SyntheticSector, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    written = sector.write(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(written)
    assert told == [(k + 1, CONFIG.n_frame) for k in range(CONFIG.n_frame)]
    for frame in (0, 20):
        assert (tmp_path / sector.frame_keys()[frame]).read_bytes() == sector.ffi_bytes(frame)
    catalog = Table.read(tmp_path / "catalog.ecsv")
    assert catalog.colnames == ["tic_id", "ra", "dec", "tmag", "teff", "logg", "rad", "mass"]
    np.testing.assert_array_equal(catalog["ra"], sector.stars["ra"])
    truth = Table.read(tmp_path / "truth/stars-s0001-1-4.ecsv")
    np.testing.assert_array_equal(truth["amplitudes"], sector.stars["amplitudes"])
    frames = Table.read(tmp_path / "truth/frames-s0001-1-4.ecsv")
    assert list(frames["key"]) == sector.frame_keys()
    with pytest.raises(ValueError, match="what='fii'"):
        sector.write(tmp_path, ("fii",))


def test_writing_that_is_broken_off_leaves_no_file_under_its_name(
    sector: SyntheticSector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planes_until_the_disk_is_full() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield sector.planes(0)
        raise OSError(28, "No space left on device")

    source = planes_until_the_disk_is_full()
    broken = SyntheticSector(CONFIG)
    monkeypatch.setattr(broken, "planes", lambda frame: next(source))
    with pytest.raises(OSError, match="No space left"):
        broken.write(tmp_path, ("ffi", "cube"))
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left == [tmp_path / sector.frame_keys()[0]]
    assert left[0].read_bytes() == sector.ffi_bytes(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"camera": 5}, "camera=5: expected 1 to 4"),
        ({"n_row": 4000}, "n_row=4000"),
        ({"cadence_s": 100.0}, "cadence_s=100.0"),
        ({"n_star": 10}, "n_star=10 cannot hold"),
        ({"tmag_min": 14.0}, "tmag_min=14.0"),
        ({"n_frame": 0}, "n_frame=0"),
    ],
)
def test_configurations_that_cannot_be_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SectorConfig().replace(**change)


def test_asked_for_header_lengths_are_given_and_wrong_ones_refused() -> None:
    config = CONFIG.replace(n_frame=4, no_wcs_frames=(2,), header_offsets=((1, 31680),))
    assert list(SyntheticSector(config).frame_truth["data_offset"]) == [20160, 31680, 14400, 20160]
    with pytest.raises(ValueError, match="frame 1 with data offset 20161"):
        SyntheticSector(config.replace(header_offsets=((1, 20161),)))
    with pytest.raises(IndexError, match="frame 4"):
        SyntheticSector(config).ffi_bytes(4)
