"""Target pixel files: what lightkurve and astrocut see in them, what a kill leaves, and what is read back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from cutout_scene import Scene, scene

from starskope.errors import FrameError
from starskope.frames import target_pixels
from starskope.frames.checksums import checksum_note
from starskope.frames.cutout_set import Cutouts
from starskope.frames.cutouts import cutouts
from starskope.frames.moving import Ephemerides
from starskope.frames.target_pixels import cadence_numbers, file_names, find_files, labels
from starskope.frames.target_pixels_read import read_flags
from starskope.frames.wcs import TanSip

__all__ = ["scene"]

LEFT = 44
# Rows and columns among the science pixels: inside, on two edges of the frame, and a corner of the sky.
PLACES = ((30.2, 33.7), (1.2, 12.3), (60.3, 70.4), (12.2, 50.3))


@pytest.fixture(scope="module")
def cuts(scene: Scene) -> Cutouts:
    """Four targets, one of which leaves the frame at row 0."""
    return cutouts(sky(scene), (11, 9), uri=scene.cube)


def sky(scene: Scene) -> Table:
    with fits.open(scene.frames[13]) as hdus:
        wcs = TanSip.from_header(hdus[1].header)
    rows, columns = (np.array(axis) for axis in zip(*PLACES, strict=True))
    ra, dec = wcs.pixel_to_world(rows, columns + LEFT)
    return Table({"ra": ra, "dec": dec, "tic_id": [25155310, 0, 7, 8], "tmag": [8.5, np.nan, 10.0, 11.0]})


@pytest.fixture(scope="module")
def files(cuts: Cutouts, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return cuts.write(tmp_path_factory.mktemp("pixels") / "out")


@pytest.fixture(scope="module")
def theirs(scene: Scene) -> list[fits.HDUList]:
    """The same cutouts by astrocut."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        astrocut = pytest.importorskip("astrocut", exc_type=ImportError)
        made = [
            astrocut.TessCubeCutout(str(scene.cube), SkyCoord(row["ra"], row["dec"], unit="deg"), (9, 11))
            for row in sky(scene)
        ]
    return [cutout.tpf_cutouts[0] for cutout in made]


def test_files_are_what_astropy_accepts_and_every_sum_is_right(files: list[Path]) -> None:
    for path in files:
        assert not checksum_note(path.read_bytes())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with fits.open(path, checksum=True) as hdus:
                hdus.verify("exception")
                assert [hdu.name for hdu in hdus] == ["PRIMARY", "PIXELS", "APERTURE"]
                assert hdus[1].data["FLUX"].shape == (24, 11, 9)


def test_pixels_and_aperture_are_those_of_astrocut_bit_for_bit(cuts: Cutouts, files, theirs) -> None:
    assert cuts.edge.tolist() == [False, True, False, False]
    for path, other in zip(files, theirs, strict=True):
        with fits.open(path) as ours:
            for name in ("FLUX", "FLUX_ERR", "RAW_CNTS", "FLUX_BKG", "FLUX_BKG_ERR", "QUALITY", "POS_CORR1"):
                mine, there = ours[1].data[name], other[1].data[name]
                assert mine.astype(there.dtype).tobytes() == there.tobytes(), name
            np.testing.assert_array_equal(ours[2].data, other[2].data)
            # astrocut cuts the names short.
            names = zip(ours[1].data["FFI_FILE"], other[1].data["FFI_FILE"], strict=True)
            assert all(mine.startswith(name) for mine, name in names)


def test_world_coordinates_are_those_of_astrocut_to_a_millionth_of_a_pixel(files, theirs) -> None:
    row, column = np.indices((11, 9))
    for path, other in zip(files, theirs, strict=True):
        with warnings.catch_warnings(), fits.open(path) as ours:
            warnings.simplefilter("ignore")  # MJD-OBS is filled in
            sky_there = WCS(other[2].header).pixel_to_world(column, row)
            for header in (ours[2].header, column_wcs(ours[1].header)):
                x, y = WCS(header).world_to_pixel(sky_there)
                np.testing.assert_allclose(x, column, atol=1e-6)
                np.testing.assert_allclose(y, row, atol=1e-6)


def column_wcs(header: fits.Header, n: int = 5) -> dict[str, object]:
    """Cards of the world coordinates of a column as those of an image."""
    names = {"CTYP": "CTYPE", "CRPX": "CRPIX", "CRVL": "CRVAL", "CUNI": "CUNIT", "CDLT": "CDELT"}
    cards = {f"{long}{axis}": header[f"{axis}{short}{n}"] for short, long in names.items() for axis in (1, 2)}
    return cards | {f"PC{i}_{j}": header[f"{i}{j}PC{n}"] for i in (1, 2) for j in (1, 2)}


def test_the_linear_fit_departs_from_the_frame_as_far_as_it_says(scene: Scene, cuts: Cutouts, files) -> None:
    assert cuts.wcs is not None
    row, column = np.indices((11, 9))
    for index, path in enumerate(files):
        ra, dec = cuts.wcs.pixel_to_world(cuts.row0[index] + row, cuts.col0[index] + column)
        with warnings.catch_warnings(), fits.open(path) as hdus:
            warnings.simplefilter("ignore")
            fitted = WCS(hdus[2].header).pixel_to_world(column, row)
            apart = fitted.separation(SkyCoord(ra, dec, unit="deg")).deg
            # Positions near 315 degrees in float64 are good to 1e-13 degrees times the derivative of arccos.
            np.testing.assert_allclose(hdus[2].header["WCS_MSEP"], apart.max(), rtol=1e-4)
            np.testing.assert_allclose(hdus[2].header["WCS_SIG"], np.sqrt((apart**2).sum()), rtol=1e-4)
            assert 1e-7 < hdus[2].header["WCS_MSEP"] < 1e-5


def test_times_at_the_spacecraft_are_astrocuts_and_differ_at_the_barycentre_by_the_targets_place(
    cuts: Cutouts, files, theirs
) -> None:
    for index, (path, other) in enumerate(zip(files, theirs, strict=True)):
        with fits.open(path) as hdus:
            ours = hdus[1].data
            spacecraft_s = 86400.0 * (
                (ours["TIME"] - ours["TIMECORR"]) - (other[1].data["TIME"] - other[1].data["TIMECORR"])
            )
            # TIMECORR is float32 in both: 5e-3 days to half a unit in the last place are 20 us each, the card 10 us.
            np.testing.assert_allclose(spacecraft_s, 0.0, atol=1e-4)
            np.testing.assert_array_equal(ours["TIME"], cuts.time[index])
            # astrocut takes the correction of the middle of the CCD for every target.
            shift_s = 86400.0 * (ours["TIME"] - other[1].data["TIME"])
            assert np.abs(shift_s).max() < 40.0
            assert np.ptp(86400.0 * (ours["TIMECORR"] - other[1].data["TIMECORR"]) - shift_s) < 1e-3


def test_a_target_in_the_middle_of_the_ccd_has_astrocuts_times(scene: Scene) -> None:
    with fits.open(scene.cube) as hdus:
        cards = hdus[2].data[13]
        plain = {name: getattr(cards[name], "item", lambda name=name: cards[name])() for name in hdus[2].columns.names}
        wcs = TanSip.from_header(plain)
        mid = (hdus[2].data["TSTART"] + hdus[2].data["TSTOP"]) / 2
        ra, dec = wcs.pixel_to_world(cards["BTC_PIX2"] - 1, cards["BTC_PIX1"] - 1)
    middle = cutouts([(ra, dec)], 3, uri=scene.cube)
    np.testing.assert_allclose(86400.0 * (middle.time[0] - mid), 0.0, atol=1e-2)


def test_lightkurve_opens_them(cuts: Cutouts, files: list[Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own optional parts
        lightkurve = pytest.importorskip("lightkurve", exc_type=ImportError)
        opened = lightkurve.read(str(files[0]), quality_bitmask="none")
        assert type(opened) is lightkurve.TessTargetPixelFile
        direct = lightkurve.TessTargetPixelFile(str(files[0]), quality_bitmask="none")
        assert direct.flux.unit == "electron / s"
        np.testing.assert_array_equal(direct.flux.value, cuts.flux[0])
        np.testing.assert_array_equal(direct.time.btjd, cuts.time[0])
        assert (direct.row, direct.column) == (cuts.row0[0] + 1, cuts.col0[0] + 1)
        assert (direct.sector, direct.camera, direct.ccd, direct.targetid) == (1, 1, 4, 25155310)
        ra, dec = direct.get_coordinates(cadence=0)
        assert cuts.wcs is not None
        expected = cuts.wcs.pixel_to_world(cuts.row0[0] + np.indices((11, 9))[0], cuts.col0[0] + np.indices((11, 9))[1])
        np.testing.assert_allclose(ra, expected[0], atol=1e-5)
        np.testing.assert_allclose(dec, expected[1], atol=1e-5)
        curve = direct.to_lightcurve(aperture_mask="all")
        np.testing.assert_allclose(curve.flux.value, cuts.flux[0].sum(axis=(1, 2), dtype=np.float64), rtol=1e-6)
        flagged = lightkurve.TessTargetPixelFile(str(files[0]), quality_bitmask=32)
        assert len(flagged.time) == int((cuts.quality & 32 == 0).sum()) < 24
        for tpf in (opened, direct, flagged):
            tpf.hdu.close()


def test_what_is_not_known_of_a_star_is_undefined_and_never_zero(files: list[Path]) -> None:
    with fits.open(files[0]) as known, fits.open(files[1]) as bare:
        assert known[0].header["TICID"] == 25155310
        assert known[0].header["TESSMAG"] == 8.5
        assert known[0].header["OBJECT"] == "TIC 25155310"
        for card in ("TICID", "TESSMAG", "TEFF", "PMRA"):
            assert bare[0].header[card] is None, card
        assert bare[0].header["EDGE"]


def test_reading_back_gives_the_same_arrays(cuts: Cutouts, files: list[Path]) -> None:
    one = Cutouts.read(files[0])
    for name in ("flux", "flux_err", "time"):
        np.testing.assert_array_equal(getattr(one, name), getattr(cuts, name)[:1])
    assert one.ffi.tolist() == cuts.ffi.tolist()
    assert (one.row0[0], one.col0[0], one.reference) == (cuts.row0[0], cuts.col0[0], cuts.reference)
    assert (one.sector, one.camera, one.ccd) == (1, 1, 4)
    np.testing.assert_allclose(one.time_spacecraft, cuts.time_spacecraft, atol=1e-9)
    assert one.wcs is not None
    row, column = one.wcs.world_to_pixel(cuts.targets["ra"][0], cuts.targets["dec"][0])
    np.testing.assert_allclose((row, column), (30.2, 33.7 + LEFT), atol=3e-3)
    all_of_them = Cutouts.read(files[0].parent)
    assert all_of_them.n_target == 4
    order = np.argsort([path.name for path in files])
    np.testing.assert_array_equal(all_of_them.flux, cuts.flux[order])


def test_astrocuts_own_files_are_read(cuts: Cutouts, theirs, tmp_path: Path) -> None:
    path = tmp_path / "x_astrocut.fits"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # undefined cards
        theirs[0].writeto(path)
    # Its version 1.4 leaves the columns without cards, so the place on the frame is not there.
    if "1CRV5P" not in theirs[0][1].header:
        with pytest.raises(FrameError, match="1CRV5P"):
            Cutouts.read(path)
        return
    np.testing.assert_array_equal(Cutouts.read(path).flux, cuts.flux[:1])


def test_a_real_file_of_the_archive_is_read_and_has_our_columns_and_cards(data_dir: Path, files: list[Path]) -> None:
    (path,) = (data_dir / "cutouts").glob("*_astrocut.fits")
    real = Cutouts.read(path)
    assert (real.n_time, real.shape, real.sector, real.camera, real.ccd) == (1155, (10, 10), 19, 1, 3)
    assert int((real.quality != 0).sum()) == 31
    assert (real.row0[0], real.col0[0]) == (157, 376)
    assert real.wcs is not None
    row, column = real.wcs.world_to_pixel(real.targets["ra"][0], real.targets["dec"][0])
    assert 157 < row < 167
    assert 376 < column < 386
    with fits.open(path) as theirs, fits.open(files[0]) as ours, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(real.flux[0], theirs[1].data["FLUX"])
        assert ours[1].columns.names == theirs[1].columns.names
        for name in ours[1].columns.names:
            mine, other = ours[1].columns[name], theirs[1].columns[name]
            assert mine.format.lstrip("0123456789") == other.format.lstrip("0123456789"), name
            assert (mine.unit, mine.disp) == (None if name == "FFI_FILE" else other.unit, other.disp), name
        # Nothing is said of CDPP, of an aperture's share of flux, or of tables that do not exist; the rest is there.
        left_out = {"CDPP0_5", "CDPP1_0", "CDPP2_0", "CROWDSAP", "FLFRCSAP", "TMOFST11", "PXTABLE", "PMTOTAL", "TCID"}
        left_out |= {"TICVER", "DATE", "MH", "MJDREF", "TUNIT12", "DATE-END", "DATE-OBS", "DATASUM", "CHECKSUM"}
        for number in range(3):
            missing = set(theirs[number].header) - set(ours[number].header) - left_out
            assert not missing, (number, missing)


def test_cadences_are_numbered_over_the_gap(cuts: Cutouts, scene: Scene) -> None:
    np.testing.assert_array_equal(cadence_numbers(cuts), scene.sector.timeline.ffi_index)


def test_names_are_by_number_by_name_or_by_place_and_never_leave_the_folder(cuts: Cutouts) -> None:
    names = ["../../etc/passwd", "", "a/b:c*", "A-b-c", "...", "C/2019 Q4 (Borisov)"]
    table = Table({"name": names, "ra": np.arange(6.0), "dec": np.full(6, -1.5)})
    assert labels(table) == [
        "etc-passwd",
        "1.000000_-1.500000",
        "a-b-c",
        "A-b-c_2",
        "4.000000_-1.500000",
        "C-2019-Q4-Borisov",
    ]
    table["tic_id"] = [5, 5, 0, 0, 0, 0]
    assert labels(table)[:2] == ["tic5", "tic5_2"]
    hostile = cuts.target(0)
    hostile.targets["label"] = ["../../../x"]
    assert file_names(hostile) == ["tess-s0001-1-4_x_11x9_starskope.fits"]


def test_files_that_stand_there_are_told_and_found(cuts: Cutouts, files: list[Path]) -> None:
    folder = files[0].parent
    before = {path: path.read_bytes() for path in files}
    with pytest.raises(FileExistsError, match="overwrite"):
        cuts.write(folder)
    cuts.write(folder, overwrite=True)
    assert {path: path.read_bytes() for path in files} == before
    assert set(find_files(folder, 1, (11, 9))) == set(labels(cuts.targets))
    assert not find_files(folder, 2, (11, 9))
    assert not find_files(folder, 1, (9, 11))
    assert read_flags(files[1]) == {"sector": 1, "camera": 1, "ccd": 4, "edge": True, "collateral": True, "n_lost": 0}


def test_any_number_of_workers_gives_the_same_bytes(cuts: Cutouts, files: list[Path], tmp_path: Path) -> None:
    many = Cutouts.concatenate([cuts] * 20)
    many.targets["tic_id"] = np.arange(80) + 1
    few = target_pixels.write_files(many, tmp_path / "one", workers=1)
    lots = target_pixels.write_files(many, tmp_path / "eight", workers=8)
    assert [path.read_bytes() for path in few] == [path.read_bytes() for path in lots]


def test_a_moving_target_has_its_place_in_every_frame(scene: Scene, cuts: Cutouts, tmp_path: Path) -> None:
    time_there = scene.sector.timeline.time
    nodes = np.linspace(time_there[6], time_there[-1] + 1, 8)
    ra, dec = cuts.wcs.pixel_to_world(np.linspace(10, 60, 8), np.linspace(10, 40, 8) + LEFT)  # type: ignore[union-attr]
    moving = cutouts(Ephemerides(("2018 XY1",), (nodes,), (ra,), (dec,)), 7, uri=scene.cube)
    (path,) = moving.write(tmp_path)
    assert path.name == "tess-s0001-1-4_2018-XY1_7x7_starskope.fits"
    assert not checksum_note(path.read_bytes())
    with fits.open(path) as hdus:
        assert hdus[0].header["MOVING"]
        assert "1CRPX5" not in hdus[1].header
        np.testing.assert_array_equal(hdus[1].data["FLUX"], moving.flux[0])
        np.testing.assert_array_equal(hdus[1].data["RAWX"][6:], moving.col0[0, 6:] + 1)
        np.testing.assert_array_equal(hdus[1].data["RA"], moving.path_ra[0])  # type: ignore[index]
    back = Cutouts.read(path)
    for name in ("flux", "row0", "col0", "path_ra", "path_dec", "time"):
        np.testing.assert_array_equal(getattr(back, name), getattr(moving, name), err_msg=name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lightkurve = pytest.importorskip("lightkurve", exc_type=ImportError)
        opened = lightkurve.TessTargetPixelFile(str(path))
        assert len(opened.time) == 24 - 6 - int((moving.quality[6:] & 175 != 0).sum())
        opened.hdu.close()


def test_a_flipped_bit_is_noticed(files: list[Path], tmp_path: Path) -> None:
    content = bytearray(files[0].read_bytes())
    content[len(content) // 2] ^= 4
    path = tmp_path / "bit_starskope.fits"
    path.write_bytes(content)
    with pytest.raises(FrameError, match="DATASUM"):
        Cutouts.read(path)


def test_damaged_headers_are_frame_errors_or_read(files: list[Path], tmp_path: Path) -> None:
    """Without our name in it the sums are not believed, so that every mutation reaches the reader."""
    clean = files[0].read_bytes().replace(b"starskope TargetPixelFile", b"somebody  TargetPixelFile")
    path = tmp_path / "mutant_starskope.fits"
    path.write_bytes(clean)
    assert Cutouts.read(path).n_time == 24
    rng = np.random.default_rng(12)
    letters = np.frombuffer(b"0123456789 -+.'/=ETFN\x00\xff", np.uint8)
    n_refused = 0
    for _ in range(300):
        content = bytearray(clean)
        for place in rng.integers(0, 28_800, rng.integers(1, 4)):
            content[place] = rng.choice(letters)
        path.write_bytes(content)
        try:
            Cutouts.read(path)
        except FrameError:
            n_refused += 1
    assert n_refused > 5


@pytest.mark.parametrize("n_bytes", [0, 100, 2880, 6000, -2880])
def test_a_cut_file_is_refused(files: list[Path], tmp_path: Path, n_bytes: int) -> None:
    path = tmp_path / "cut_starskope.fits"
    path.write_bytes(files[0].read_bytes()[:n_bytes])
    with pytest.raises(FrameError):
        Cutouts.read(path)


def test_a_full_disk_is_told_and_leaves_nothing(cuts: Cutouts, tmp_path: Path, monkeypatch) -> None:
    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(target_pixels.os, "fsync", no_space)
    with pytest.raises(OSError, match="free space"):
        cuts.write(tmp_path / "full")
    assert not list((tmp_path / "full").iterdir())


_WRITE_FOREVER = """
import sys, numpy as np
from pathlib import Path
from starskope.frames.cutout_set import Cutouts
cuts = Cutouts.read(Path(sys.argv[1]))
many = Cutouts.concatenate([cuts] * 50)
while True:
    many.targets["tic_id"] = np.arange(many.n_target) + 1
    many.write(sys.argv[2], overwrite=True)
    print("round", flush=True)
"""


def test_a_killed_writer_leaves_whole_files_only(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "killed"
    command = [sys.executable, "-c", _WRITE_FOREVER, str(files[0].parent), str(out)]
    writer = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (not out.exists() or len(list(out.glob("tess*"))) < 20):
            time.sleep(0.02)
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    whole = list(out.glob("tess*.fits"))
    assert whole
    for path in whole:
        assert not checksum_note(path.read_bytes()), path.name
        assert Cutouts.read(path).n_time == 24
