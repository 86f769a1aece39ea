"""Foreign FITS files with something wrong: one clear line with file, value and remedy, or the documented handling."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from starskope.curves import unpacking
from starskope.curves.container import LightCurves
from starskope.errors import FrameError

N = 200
TIME = 1325.3 + np.arange(N) / 720.0
COLUMNS = {
    "TIME": TIME,
    "SAP_FLUX": np.full(N, 100.0, np.float32),
    "SAP_FLUX_ERR": np.full(N, 1.0, np.float32),
    "PDCSAP_FLUX": np.linspace(99, 101, N).astype(np.float32),
    "PDCSAP_FLUX_ERR": np.full(N, 1.1, np.float32),
    "QUALITY": np.zeros(N, np.int32),
}
CARDS = {"BJDREFI": 2457000, "BJDREFF": 0.0, "TIMEREF": "SOLARSYSTEM", "TIMEUNIT": "d"}
PRIMARY = {"TELESCOP": "TESS", "TICID": 7, "OBJECT": "TIC 7", "RA_OBJ": 10.0, "DEC_OBJ": -20.0}


def write(path: Path, columns=(), cards=(), primary=()) -> Path:
    """Write a light curve like SPOC's; a value of None takes a column or card away."""
    given = {k: v for k, v in (COLUMNS | dict(columns)).items() if v is not None}
    rows = np.rec.fromarrays(list(given.values()), names=list(given))
    table = fits.BinTableHDU(rows, name="LIGHTCURVE")
    first = fits.PrimaryHDU()
    for header, values in ((table.header, CARDS | dict(cards)), (first.header, PRIMARY | dict(primary))):
        for keyword, value in values.items():
            if value is not None:
                header[keyword] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits.HDUList([first, table]).writeto(path, overwrite=True)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lc.fits"


def test_the_file_that_the_others_spoil_is_good(path: Path) -> None:
    curves = LightCurves.read(write(path))
    np.testing.assert_array_equal(curves.time, TIME)
    np.testing.assert_array_equal(curves.flux[:, 0], COLUMNS["PDCSAP_FLUX"])
    assert curves.mission == "TESS"
    assert curves.is_barycentric


# --- times ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (TIME * 86400.0, r"no days since JD 2457000; they look like seconds: divide by 86400"),
        ((TIME - TIME[0]) * 86400.0 * 50, r"they look like seconds"),
        (TIME * 1440.0, r"they look like minutes: divide by 1440"),
        (TIME + 2457000.0, r"they look like full Julian dates: subtract that zero, name them BJD, or give time_zero=0"),
        (TIME + 56999.5, r"they look like modified Julian dates \(MJD\): add -56999.5"),
        (TIME + 1e9, r"expected dates between the years 1900 and 2100"),
        (TIME * 20_000, r"no days since JD 2457000"),
    ],
)
def test_times_in_another_unit_are_refused_with_the_unit_they_look_like(path: Path, times, message) -> None:
    with pytest.raises(FrameError, match=rf"lc\.fits: times from .* are {message}|{message}") as caught:
        LightCurves.read(write(path, {"TIME": times}))
    assert "\n" not in str(caught.value)


def test_a_unit_that_the_header_names_is_believed(path: Path) -> None:
    with pytest.raises(FrameError, match=r"its times are in 's', expected days: convert them first"):
        LightCurves.read(write(path, cards={"TIMEUNIT": "s"}))


@pytest.mark.parametrize(
    ("cards", "primary", "zero", "is_barycentric"),
    [
        ({"BJDREFI": 2454833}, {}, 2454833.0, True),
        ({"BJDREFI": 2457000, "BJDREFF": 0.5}, {}, 2457000.5, True),
        ({"BJDREFI": None, "BJDREFF": None, "TUNIT1": "BJD - 2454833"}, {"TELESCOP": None}, 2454833.0, True),
        ({"BJDREFI": None, "BJDREFF": None, "TUNIT1": "btjd"}, {"TELESCOP": None}, 2457000.0, True),
        ({"BJDREFI": None, "BJDREFF": None}, {"TELESCOP": "Kepler"}, 2454833.0, True),
        ({"BJDREFI": None, "BJDREFF": None}, {"TELESCOP": "TESS"}, 2457000.0, True),
        ({"TIMEREF": "LOCAL"}, {}, 2457000.0, False),
        ({"TIMEREF": None}, {}, 2457000.0, False),
        ({"BJDREFI": None, "BJDREFF": None, "MJDREFI": 56999, "MJDREFF": 0.5}, {}, 2457000.0, True),
    ],
)
def test_the_zero_of_the_times(path: Path, cards, primary, zero, is_barycentric) -> None:
    curves = LightCurves.read(write(path, cards=cards, primary=primary))
    assert (curves.time_zero, curves.is_barycentric) == (zero, is_barycentric)
    if not is_barycentric:
        with pytest.raises(ValueError, match="these light curves hold no observer"):
            curves.bjd(0)


def test_a_zero_that_nobody_tells_is_asked_for(path: Path) -> None:
    write(path, cards={"BJDREFI": None, "BJDREFF": None, "TIMEREF": None}, primary={"TELESCOP": "CHEOPS"})
    with pytest.raises(
        FrameError, match=r"zero of its times is not known .*'CHEOPS'.*: give time_zero=, such as 2457000"
    ):
        LightCurves.read(path)
    assert LightCurves.read(path, time_zero=2457000).time_zero == 2457000.0
    with pytest.raises(ValueError, match="time_zero=nan: expected a finite number"):
        LightCurves.read(path, time_zero=np.nan)
    # Files that tell keep theirs.
    assert LightCurves.read(write(path), time_zero=0.0).time_zero == 2457000.0


def test_full_julian_dates_that_call_themselves_so_keep_their_digits(path: Path) -> None:
    cards = {"BJDREFI": None, "BJDREFF": None, "TUNIT1": "BJD"}
    curves = LightCurves.read(write(path, {"TIME": TIME + 2457000.0}, cards))
    assert curves.time_zero == 2457000.0
    np.testing.assert_array_equal(curves.time, (TIME + 2457000.0) - 2457000.0)


def test_rows_are_sorted_and_those_without_or_of_equal_time_are_dropped_and_counted(path: Path) -> None:
    times = TIME.copy()
    times[5] = np.nan
    times[9] = 0.0
    times[20] = times[19]
    times[40:60] = times[40:60][::-1]
    curves = LightCurves.read(write(path, {"TIME": times}))
    assert curves.meta["rows"] == {"without_time": 2, "repeated": 1, "out_of_order": 19}
    assert curves.n_time == N - 3
    by_time = dict(zip(times.tolist()[::-1], COLUMNS["PDCSAP_FLUX"].tolist()[::-1], strict=True))
    assert [by_time[t] for t in curves.time] == curves.flux[:, 0].tolist()


@pytest.mark.parametrize("n", [0, 1])
def test_files_of_no_row_and_of_one_are_light_curves(path: Path, n: int) -> None:
    curves = LightCurves.read(write(path, {name: values[:n] for name, values in COLUMNS.items()}))
    assert (curves.n_time, curves.n_star) == (n, 1)
    assert curves.stars["tic_id"][0] == 7


# --- flux, errors, flags --------------------------------------------------------------------------------------------


def test_the_detrended_flux_is_taken_where_it_is_usable_else_the_plain_sum(path: Path) -> None:
    flux = COLUMNS["PDCSAP_FLUX"].copy()
    flux[60:] = np.nan
    curves = LightCurves.read(write(path, {"PDCSAP_FLUX": flux}))
    assert curves.meta["flux_column"] == "SAP_FLUX"
    assert curves.meta["notes"] == ["PDCSAP_FLUX has 60 points: SAP_FLUX taken instead"]
    np.testing.assert_array_equal(curves.flux[:, 0], COLUMNS["SAP_FLUX"])
    flux[60:120] = 100.0
    assert LightCurves.read(write(path, {"PDCSAP_FLUX": flux})).meta["flux_column"] == "PDCSAP_FLUX"
    plain = {"PDCSAP_FLUX": None, "PDCSAP_FLUX_ERR": None}
    assert LightCurves.read(write(path, plain)).meta["flux_column"] == "SAP_FLUX"


PLAIN = {name: None for name in COLUMNS if "FLUX" in name}
ONES = np.ones(N, np.float32)


@pytest.mark.parametrize(
    ("columns", "product", "flux", "error"),
    [
        # QLP before sector 56, and from it on; EVEREST; a light curve that lightkurve wrote; TESS-SPOC's of frames.
        ({"SAP_FLUX": ONES, "KSPSAP_FLUX": 2 * ONES, "KSPSAP_FLUX_ERR": 0.1 * ONES, "ORBITID": ONES}, "QLP", 2.0, 0.1),
        (
            {"SAP_FLUX": ONES, "DET_FLUX": 3 * ONES, "DET_FLUX_ERR": 0.2 * ONES, "SYS_RM_FLUX": ONES, "ORBITID": ONES},
            *("QLP", 3.0, 0.2),
        ),
        ({"FLUX": 4 * ONES, "FCOR": 5 * ONES, "FRAW": ONES, "FRAW_ERR": 0.3 * ONES}, "EVEREST", 5.0, 0.3),
        ({"FLUX": 4 * ONES, "FRAW": ONES, "FRAW_ERR": 0.3 * ONES}, "EVEREST", 4.0, 0.3),
        ({"FLUX": 6 * ONES, "FLUX_ERR": 0.4 * ONES}, "table", 6.0, 0.4),
        ({"SAP_FLUX": 7 * ONES, "SAP_FLUX_ERR": 0.5 * ONES}, "aperture sums", 7.0, 0.5),
    ],
)
def test_columns_of_community_products(path: Path, columns, product: str, flux: float, error: float) -> None:
    curves = LightCurves.read(write(path, PLAIN | columns))
    assert curves.meta["product"] == product
    assert set(curves.flux[:, 0].tolist()) == {flux}
    np.testing.assert_allclose(curves.flux_err, error)


def test_infinite_flux_and_errors_of_zero_are_not_known(path: Path) -> None:
    flux, error = COLUMNS["PDCSAP_FLUX"].copy(), COLUMNS["PDCSAP_FLUX_ERR"].copy()
    flux[3], flux[4], error[4], error[5] = np.inf, 0.0, 0.0, 0.0
    curves = LightCurves.read(write(path, {"PDCSAP_FLUX": flux, "PDCSAP_FLUX_ERR": error}))
    assert np.flatnonzero(np.isnan(curves.flux[:, 0])).tolist() == [3, 4]
    assert np.flatnonzero(np.isnan(curves.flux_err[:, 0])).tolist() == [3, 4, 5]


def test_a_negative_error_is_named(path: Path) -> None:
    error = COLUMNS["PDCSAP_FLUX_ERR"].copy()
    error[[7, 9]] = -0.5
    with pytest.raises(FrameError, match=r"PDCSAP_FLUX_ERR\[7\] = -0.5 is negative \(2 such values\)"):
        LightCurves.read(write(path, {"PDCSAP_FLUX_ERR": error}))


def test_missing_columns_are_named_with_what_there_is(path: Path) -> None:
    with pytest.raises(FrameError, match=r"found: TIME, QUALITY\): expected columns TIME and a flux"):
        LightCurves.read(write(path, {name: None for name in COLUMNS if "FLUX" in name}))
    with pytest.raises(FrameError, match=r"holds no light curve known here \(found: SAP_FLUX,"):
        LightCurves.read(write(path, {"TIME": None}))


def test_flags_above_the_bits_of_missions_are_left_to_this_program(path: Path) -> None:
    curves = LightCurves.read(write(path, {"QUALITY": np.full(N, -1, np.int32)}))
    assert set(curves.quality.tolist()) == {(1 << 27) - 1}


def test_cards_that_nobody_filled_in_are_not_known(path: Path) -> None:
    primary = {"TEFF": 0.0, "RADIUS": 0.0, "TESSMAG": 0.0, "TICID": "not a number", "OBJECT": ""}
    curves = LightCurves.read(write(path, primary=primary))
    assert curves.stars.colnames == ["ra", "dec"]


def test_a_malformed_card_that_nobody_needs_costs_no_file(path: Path) -> None:
    data = write(path, primary={"PROCFAIL": 1, "TEFF": 5000.0}).read_bytes()
    path.write_bytes(data.replace(b"PROCFAIL=                    1", b"PROCFAIL=                1 1 1"))
    assert LightCurves.read(path).stars["teff"][0] == 5000.0
    path.write_bytes(data.replace(b"TEFF    =               5000.0", b"TEFF    =             50 0.0.0"))
    with pytest.raises(FrameError, match=r"card TEFF .* is not FITS"):
        LightCurves.read(path)


# --- damage ---------------------------------------------------------------------------------------------------------


def test_damaged_files_say_so(path: Path) -> None:
    good = write(path).read_bytes()
    for damaged, message in (
        (good[:9000], "is truncated: 200 rows announced, .* are there; download it again"),
        (good[:4000], "is truncated"),
        (good[:100], "is truncated"),
        (good[:2880], "found: no table"),
        (gzip.compress(good)[:-30], "is truncated: its gzip stream has no end"),
        (gzip.compress(good)[:40] + b"x" * 500, "is damaged"),
        (b"<html><body>404", "is a server's HTML or XML answer"),
        (bytes(3000), "is neither FITS, nor Zarr, nor text"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(FrameError, match=message) as caught:
            LightCurves.read(path)
        assert "lc.fits" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_no_damage_to_a_header_ends_in_anything_else_than_a_clear_error(path: Path) -> None:
    good = write(path).read_bytes()
    rng = np.random.default_rng(5)
    n_refused = 0
    for _ in range(400):
        bad = bytearray(good)
        for place in rng.integers(0, 2 * 2880 + 2880, 3):
            bad[place] = int(rng.integers(32, 127))
        path.write_bytes(bad)
        try:
            LightCurves.read(path)
        except (FrameError, ValueError):
            n_refused += 1
    assert 20 < n_refused < 390


def test_a_file_of_several_gzip_members_is_whole(path: Path) -> None:
    good = write(path).read_bytes()
    path.write_bytes(gzip.compress(good[:5000]) + gzip.compress(good[5000:]))
    assert LightCurves.read(path).n_time == N


def test_a_small_file_cannot_unpack_to_all_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MOST_BYTES", 5_000_000)
    for members in ([5_000_001], [3_000_000, 3_000_000]):
        path.write_bytes(b"".join(gzip.compress(bytes(n)) for n in members))
        with pytest.raises(FrameError, match=r"unpacks to more than 0\.005 GB, which no light curve needs"):
            LightCurves.read(path)


def test_an_aperture_of_another_shape_is_refused(tmp_path: Path, data_dir: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(data_dir / "tpf" / "tpf_test_01.fits") as file:
            file[2].data = np.ones((3, 3), np.int32)
            file.writeto(tmp_path / "t.fits")
    with pytest.raises(FrameError, match=r"APERTURE is \(3, 3\), its pixels \(4, 6\); the file is damaged"):
        LightCurves.read(tmp_path / "t.fits")
