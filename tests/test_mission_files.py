"""Files that missions and archives made, as they are: every column against what astropy reads from the same file."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from starskope.curves.container import LightCurves
from starskope.curves.missions import PIPELINE_FLAG, THRUSTER_FIRING

KEPLER, TESS = 2454833.0, 2457000.0
K2_3 = "hlsp_k2sff_k2_lightcurve_201367065-c01_kepler_v1_llc.fits"
TOI_519 = "hlsp_tglc_tess_ffi_gaiaid-5707485527450614656-s0008-cam2-ccd4_tess_v2_llc.fits"

# name -> (table column of time, of flux, of errors, of flags; mission, zero, catalogue column, number)
LIGHT_CURVES = {
    "target_s0003.fits": ("TIME", "PDCSAP_FLUX", "PDCSAP_FLUX_ERR", "QUALITY", "TESS", TESS, "tic_id", 279741379),
    "tess2019226182529-s0015-0000000424865156-0151-s_lc.fits": (
        *("TIME", "PDCSAP_FLUX", "PDCSAP_FLUX_ERR", "QUALITY"),
        *("TESS", TESS, "tic_id", 424865156),
    ),
    "hlsp_tess-data-alerts_tess_phot_00160148385-s02_tess_v1_lc.fits": (
        *("TIME", "PDCSAP_FLUX", "PDCSAP_FLUX_ERR", "QUALITY"),
        *("TESS", TESS, "tic_id", 160148385),
    ),
    "kplr010666592-2009131110544_slc.fits": (
        *("TIME", "PDCSAP_FLUX", "PDCSAP_FLUX_ERR", "SAP_QUALITY"),
        *("Kepler", KEPLER, "kepler_id", 10666592),
    ),
    "kplr011442793-2009350155506_llc.fits": (
        *("TIME", "PDCSAP_FLUX", "PDCSAP_FLUX_ERR", "SAP_QUALITY"),
        *("Kepler", KEPLER, "kepler_id", 11442793),
    ),
    "koi/10854555.fits": ("TIME", "FLUX", "FLUX_ERR", "SAP_QUALITY", "Kepler", KEPLER, "kepler_id", 10854555),
    K2_3: ("T", "FCOR", None, None, "K2", KEPLER, "epic_id", 201367065),
    TOI_519: ("time", "cal_aper_flux", None, None, "TESS", TESS, "gaia_id", 5707485527450614656),
}
PIXELS = [f"tpf_test_0{i}.fits" for i in range(5)]


def opened(path: Path):
    return fits.open(path, memmap=False, output_verify="silentfix")


@pytest.mark.parametrize("name", LIGHT_CURVES)
def test_a_light_curve_is_what_its_columns_say(data_dir: Path, name: str) -> None:
    time_name, flux_name, error_name, flag_name, mission, zero, id_column, number = LIGHT_CURVES[name]
    path = data_dir / "lightcurves" / name
    curves = LightCurves.read(path)
    with opened(path) as file:
        table, primary = file[1].data, file[0].header
        known = np.isfinite(table[time_name])
        np.testing.assert_array_equal(curves.time, table[time_name][known])
        flux = table[flux_name][known].astype(np.float32)
        np.testing.assert_array_equal(curves.flux[:, 0], flux)
        if error_name:
            errors = table[error_name][known]
            np.testing.assert_array_equal(curves.flux_err[:, 0], np.where(np.isfinite(flux), errors, np.nan))
        if flag_name:
            np.testing.assert_array_equal(curves.quality, table[flag_name][known])
        for column, card in (("ra", "RA_OBJ"), ("dec", "DEC_OBJ"), ("tmag", "TESSMAG"), ("kepmag", "KEPMAG")):
            if primary.get(card) is not None:
                assert curves.stars[column][0] == primary[card]
        for column, card in (("teff", "TEFF"), ("logg", "LOGG"), ("rad", "RADIUS")):
            assert (curves.stars[column][0] if column in curves.stars.colnames else None) == primary.get(card)
    assert curves.n_star == 1
    assert (curves.mission, curves.time_zero) == (mission, zero)
    assert curves.stars[id_column][0] == number
    assert curves.is_barycentric
    assert curves.bjd(0) is curves.time
    assert curves.meta["flux_column"] == flux_name.upper()
    assert "barycentric" in repr(curves)


def test_zeros_where_nothing_was_measured_are_missing(data_dir: Path) -> None:
    # The first alerts hold PDCSAP_FLUX = 0 with an error of 0 on 1,953 cadences, 815 of them without a time.
    curves = LightCurves.read(
        data_dir / "lightcurves" / "hlsp_tess-data-alerts_tess_phot_00025155310-s01_tess_v1_lc.fits"
    )
    assert np.count_nonzero(np.isnan(curves.flux)) == 1953 - 815
    assert np.nanmin(curves.flux) > 9000
    assert np.array_equal(np.isnan(curves.flux_err), np.isnan(curves.flux))
    assert curves.meta["rows"] == {"without_time": 815}


def test_flags_of_community_products_become_bits(data_dir: Path) -> None:
    tglc = LightCurves.read(data_dir / "lightcurves" / TOI_519)
    with opened(data_dir / "lightcurves" / TOI_519) as file:
        own, tess = file[1].data["TGLC_flags"], file[1].data["TESS_flags"]
        error = file[1].header["CAPE_ERR"]
    np.testing.assert_array_equal((tglc.quality & PIPELINE_FLAG) != 0, own == 1)
    np.testing.assert_array_equal(tglc.quality & 0xFFFF, tess)
    np.testing.assert_array_equal(np.unique(tglc.flux_err[np.isfinite(tglc.flux)]), np.float32(error))
    k2sff = LightCurves.read(data_dir / "lightcurves" / K2_3)
    assert np.count_nonzero(k2sff.quality & THRUSTER_FIRING) == np.count_nonzero(k2sff.quality) == 295
    assert k2sff.meta["campaign"] == 1


def test_a_date_in_the_year_8730_does_not_matter(data_dir: Path) -> None:
    path = data_dir / "lightcurves" / "koi" / "10848459.fits"
    with opened(path) as file:
        assert file[0].header["DATE-OBS"].startswith("8730")
        assert "BJDREFI" not in file[1].header
    curves = LightCurves.read(path)
    assert (curves.time_zero, curves.meta["time_zero_from"]) == (KEPLER, "bkjd")


def test_exposures_leave_dead_time_and_the_clip_on_board_out(data_dir: Path) -> None:
    folder = data_dir / "lightcurves"
    assert LightCurves.read(folder / "target_s0001.fits").exposure_s == pytest.approx(0.8 * 60 * 1.98)
    assert LightCurves.read(folder / "kplr010666592-2009131110544_slc.fits").exposure_s == pytest.approx(
        9 * 6.0198, 1e-4
    )


@pytest.mark.parametrize("name", PIXELS)
def test_target_pixels_are_summed_over_the_aperture_of_the_pipeline(data_dir: Path, name: str) -> None:
    curves = LightCurves.read(data_dir / "tpf" / name)
    with opened(data_dir / "tpf" / name) as file:
        table, mask = file[1].data, (file[2].data & 2) != 0
        expected = table["FLUX"][:, mask].astype(float).sum(axis=1)
        errors = np.sqrt((table["FLUX_ERR"][:, mask].astype(float) ** 2).sum(axis=1))
        sky = table["FLUX_BKG"][:, mask].astype(float).mean(axis=1)
    np.testing.assert_array_equal(curves.flux[:, 0], expected.astype(np.float32))
    np.testing.assert_array_equal(curves.flux_err[:, 0], errors.astype(np.float32))
    np.testing.assert_allclose(curves.background[:, 0], sky, rtol=1e-6)
    assert curves.meta["product"] == "target pixels"
    assert f"optimal aperture of the pipeline, {mask.sum()} pixels" in curves.meta["notes"]
    assert curves.mission == "Kepler"
    assert curves.stars["kepler_id"][0] > 12_000_000


def test_the_sum_of_a_tess_target_is_its_published_light_curve(data_dir: Path) -> None:
    pixels = LightCurves.read(data_dir / "lightcurves" / "tess25155310-s01-first-cadences.fits.gz")
    name = "hlsp_tess-data-alerts_tess_phot_00025155310-s01_tess_v1_lc.fits"
    with opened(data_dir / "lightcurves" / name) as file:
        table = file[1].data
        rows = np.isin(table["TIME"], pixels.time)
        np.testing.assert_allclose(pixels.flux[:, 0], table["SAP_FLUX"][rows], rtol=2e-6)
        # The pipeline adds the covariance of the sky, which the pixels do not tell.
        np.testing.assert_allclose(pixels.flux_err[:, 0], table["SAP_FLUX_ERR"][rows], rtol=0.03)
    assert pixels.n_time == 5


def test_pixels_without_an_aperture_follow_the_published_light_curve(data_dir: Path) -> None:
    # K2 field 9: no aperture, sky left in. The star chosen must be the target: the published apertures correlate with
    # the best of them by 1.00, 0.97, 0.85 (4, 9, 22 pixels), the sum of all pixels by -0.17, a neighbour by nothing.
    curves = LightCurves.read(data_dir / "tpf" / "ktwo221312395-c91_lpd-targ.fits.gz")
    with opened(data_dir / "lightcurves" / "hlsp_k2sff_k2_lightcurve_221312395-c91_kepler_v1_llc.fits") as file:
        published = file["BESTAPER"].data
        number, raw = published["CADENCENO"], published["FRAW"]
    with opened(data_dir / "tpf" / "ktwo221312395-c91_lpd-targ.fits.gz") as file:
        table = file[1].data
        cadence = table["CADENCENO"][np.isfinite(table["TIME"])]
        everything = np.nansum(table["FLUX"], axis=(1, 2))[np.isfinite(table["TIME"])]
    _, mine, theirs = np.intersect1d(cadence, number, return_indices=True)
    assert np.corrcoef(curves.flux[mine, 0], raw[theirs])[0, 1] > 0.88
    assert np.corrcoef(everything[mine], raw[theirs])[0, 1] < 0
    assert any("no aperture in the file: the target's peak summed, pixels: 4" in note for note in curves.meta["notes"])
    assert any("no sky was subtracted: median of 53 faint pixels" in note for note in curves.meta["notes"])
    assert curves.mission == "K2"
    assert curves.stars["epic_id"][0] == 221312395


def test_a_cutout_of_frames_is_measured_about_its_centre(data_dir: Path) -> None:
    (path,) = (data_dir / "cutouts").glob("*_astrocut.fits")
    curves = LightCurves.read(path)
    assert curves.n_time == 1155
    assert np.count_nonzero(curves.quality) == 31
    assert np.isfinite(curves.flux).all()
    # A sky of 220 e-/s per pixel was in the frames.
    assert 100 < np.median(curves.background) < 300
    assert "teff" not in curves.stars.colnames
    assert curves.stars["ra"][0] == pytest.approx(65.489205, abs=1e-6)
    assert curves.exposure_s == pytest.approx(1425.6, rel=1e-3)


def test_csv_without_a_header_takes_its_zero_from_the_star_in_its_name(data_dir: Path) -> None:
    curves = LightCurves.read(data_dir / "lightcurves" / "EPIC201367065.csv")
    expected = np.loadtxt(data_dir / "lightcurves" / "EPIC201367065.csv", delimiter=",")
    np.testing.assert_array_equal(curves.time, expected[:, 0])
    np.testing.assert_array_equal(curves.flux[:, 0], expected[:, 1].astype(np.float32))
    assert (curves.mission, curves.time_zero) == ("K2", KEPLER)
    assert curves.stars["epic_id"][0] == 201367065
    assert curves.meta["notes"] == ["times taken as days since JD 2454833, the zero of K2: EPIC 201367065"]


def test_what_was_read_survives_the_stores(data_dir: Path, tmp_path: Path) -> None:
    curves = LightCurves.read(data_dir / "lightcurves" / "koi" / "11401755.fits")
    for ending in ("zarr", "fits"):
        again = LightCurves.read(curves.write(tmp_path / f"c.{ending}"))
        assert again.is_barycentric
        assert again.meta == curves.meta
        np.testing.assert_array_equal(again.flux, curves.flux)
    with fits.open(tmp_path / "c.fits") as file:
        assert file["TIME"].header["TIMEREF"] == "SOLARSYSTEM"


def test_a_file_is_known_by_its_content_not_by_its_name(data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "lightcurves" / "koi" / "11401755.fits"
    expected = LightCurves.read(source)
    for name, data in (("plain.dat", source.read_bytes()), ("TIC 7.csv", gzip.compress(source.read_bytes()))):
        (tmp_path / name).write_bytes(data)
        curves = LightCurves.read(tmp_path / name)
        np.testing.assert_array_equal(curves.time, expected.time)
        assert curves.stars["kepler_id"][0] == 11401755
    some = LightCurves.read(source, stars=slice(0, 0))
    assert some.n_star == 0


def test_twenty_thousand_rows_take_tens_of_milliseconds(data_dir: Path) -> None:
    path = data_dir / "lightcurves" / "target_s0001.fits"
    LightCurves.read(path)
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        LightCurves.read(path)
        best = min(best, time.perf_counter() - start)
    assert best < 0.06
