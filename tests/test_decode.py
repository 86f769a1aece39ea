"""Frames from bytes and from files: pixels as astropy reads them, cards, damage, checksums."""

from __future__ import annotations

import gzip
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from starskope.errors import FrameError
from starskope.frames import planes
from starskope.frames.decode import checksum_note, decode_frame, read_frame
from starskope.frames.planes import PlaneFile

REAL = "ffi/tess2018206192942-s0001-1-4-0120-s_ffic.fits"


def fits_bytes(image: Any, cards: dict[str, Any] | None = None, *, extension: bool = False, **options: Any) -> bytes:
    header = fits.Header(cards or {})
    if extension:
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, header)])
    else:
        hdus = fits.HDUList([fits.PrimaryHDU(image, header)])
    file = io.BytesIO()
    hdus.writeto(file, **options)
    return file.getvalue()


@pytest.fixture
def image() -> np.ndarray:
    """No two pixels alike, so that a transposition shows."""
    return (1000.0 * np.arange(7)[:, None] + np.arange(11)).astype(np.float32)


def test_a_real_frame_is_bit_equal_to_astropy(data_dir: Path) -> None:
    frame = read_frame(data_dir / REAL, index=3)
    expected = fits.getdata(data_dir / REAL, 1)
    assert frame.image.dtype == np.float32
    assert frame.image.dtype.isnative
    assert frame.image.view(np.uint32).tobytes() == expected.astype("=f4").view(np.uint32).tobytes()
    assert (frame.index, frame.name) == (3, Path(REAL).name)
    assert decode_frame((data_dir / REAL).read_bytes()).image.tobytes() == frame.image.tobytes()


def test_the_cards_of_a_real_frame_are_understood(data_dir: Path) -> None:
    frame = read_frame(data_dir / REAL)
    # The primary header counts in spacecraft time, the image's in barycentric: the first is the axis of a sector.
    assert frame.start == 1325.313100604524
    assert frame.stop == 1325.333933930305
    assert frame.time == pytest.approx(1325.3235172674, abs=1e-10)
    assert frame.barycorr == 0.0056780875
    assert frame.exposure_s == pytest.approx(1425.6, abs=1e-3)
    assert (frame.camera, frame.ccd, frame.quality) == (1, 4, 0)
    assert frame.science == (slice(0, 128), slice(44, 173))
    assert frame.primary["INSTRUME"] == "TESS Photometer"
    assert frame.note == ""
    assert "128x173" in repr(frame)


def test_cards_that_are_absent_are_missing(image: np.ndarray) -> None:
    frame = decode_frame(fits_bytes(image, {"EXPTIME": 5.0}), name="x")
    assert all(math.isnan(value) for value in (frame.start, frame.stop, frame.time, frame.barycorr))
    assert (frame.camera, frame.ccd, frame.quality, frame.exposure_s) == (None, None, 0, 5.0)
    assert frame.science == (slice(0, 7), slice(0, 11))
    assert frame.primary == {}


@pytest.mark.parametrize(
    ("card", "value", "attribute"),
    [("DQUALITY", "bad", "quality"), ("TSTART", "soon", "start"), ("BARYCORR", True, "barycorr"), ("CCD", 1.5, "ccd")],
)
def test_damaged_cards_are_named(image: np.ndarray, card: str, value: Any, attribute: str) -> None:
    frame = decode_frame(fits_bytes(image, {card: value}), name="x.fits")
    with pytest.raises(FrameError, match=rf"x\.fits: {card} is .*the header is damaged"):
        getattr(frame, attribute)


@pytest.mark.parametrize("extension", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_every_encoding_is_read_as_astropy_does(dtype: str, extension: bool) -> None:
    rng = np.random.default_rng(5)
    info = np.iinfo(dtype) if dtype[0] != "f" else None
    values = rng.normal(0, 1e3, (9, 13)) if info is None else rng.integers(0, min(info.max, 1 << 24), (9, 13))
    raw = fits_bytes(values.astype(dtype), extension=extension)
    expected = fits.getdata(io.BytesIO(raw), int(extension))
    np.testing.assert_array_equal(decode_frame(raw).image, expected.astype(np.float32))


def test_scaling_and_blank_values() -> None:
    file = io.BytesIO()
    hdu = fits.PrimaryHDU(np.array([[1, 2, -99], [4, 5, 6]], np.int16))
    hdu.header.update(BSCALE=0.5, BZERO=10.0, BLANK=-99)
    fits.HDUList([hdu]).writeto(file)
    raw = bytearray(file.getvalue())
    # astropy drops the scaling on writing: put the cards into the bytes.
    header = fits.Header.fromstring(bytes(raw[:2880]).decode("ascii"))
    header.update(BSCALE=0.5, BZERO=10.0, BLANK=-99)
    raw[:2880] = header.tostring().encode("ascii")
    np.testing.assert_array_equal(decode_frame(raw).image, [[10.5, 11.0, np.nan], [12.0, 12.5, 13.0]])
    header["BSCALE"] = "half"
    raw[:2880] = header.tostring().encode("ascii")
    with pytest.raises(FrameError, match="BSCALE is 'half', expected a finite number"):
        decode_frame(raw, name="x")


def test_padding_after_the_end_is_ignored(image: np.ndarray, tmp_path: Path) -> None:
    raw = fits_bytes(image) + bytes(5760)
    np.testing.assert_array_equal(decode_frame(raw).image, image)
    (tmp_path / "x.fits").write_bytes(raw)
    np.testing.assert_array_equal(read_frame(tmp_path / "x.fits").image, image)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda raw: b"", r"is empty \(zero bytes\)"),
        (lambda raw: raw[:40], "truncated"),
        (lambda raw: raw[:2880], "truncated"),
        (lambda raw: raw[: len(raw) - 2880 - 100], "truncated"),
        (gzip.compress, "gzip-compressed.*gunzip"),
        (lambda raw: b"<?xml version='1.0'?><Error/>" * 200, "HTML or XML"),
        (lambda raw: bytes(len(raw)), "holds zeros"),
        (lambda raw: b"\x89PNG" + raw, "is not FITS"),
        (lambda raw: raw.replace(b"BITPIX  =                  -32", b"BITPIX  =                   31"), "BITPIX = 31"),
        (lambda raw: fits_bytes(np.zeros((2, 3, 4), "f4")), "no 2-D image"),
    ],
)
def test_damaged_files_are_refused_by_name(image: np.ndarray, tmp_path: Path, damage: Any, words: str) -> None:
    raw = damage(fits_bytes(np.tile(image, (20, 20))))
    with pytest.raises(FrameError, match=rf"frame-7\.fits.*{words}"):
        decode_frame(raw, name="frame-7.fits")
    (tmp_path / "frame-7.fits").write_bytes(raw)
    with pytest.raises(FrameError, match=rf"frame-7\.fits.*{words}"):
        read_frame(tmp_path / "frame-7.fits")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        read_frame(tmp_path / "absent.fits")


def test_a_given_array_is_filled_and_must_fit(image: np.ndarray) -> None:
    block = np.zeros((2, 7, 11), np.float32)
    frame = decode_frame(fits_bytes(image), out=block[1])
    assert frame.image.base is block
    np.testing.assert_array_equal(block[1], image)
    with pytest.raises(FrameError, match="x is 7x11, expected 7x10"):
        decode_frame(fits_bytes(image), name="x", out=np.zeros((7, 10), np.float32))


def test_rows_are_read_alone(image: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(fits_bytes(np.tile(image, (1000, 20)), extension=True))
    file = PlaneFile.find(path)
    n_read = 0
    read_bytes = planes.read_bytes

    def counting(*arguments: Any) -> bytearray:
        nonlocal n_read
        n_read += arguments[2]
        return read_bytes(*arguments)

    monkeypatch.setattr(planes, "read_bytes", counting)
    out = np.empty((5, 220), np.float32)
    file.read_rows(6998, 7000, out[:2])
    file.read_rows(0, 3, out[2:])
    np.testing.assert_array_equal(out, np.tile(image, (1000, 20))[[6998, 6999, 0, 1, 2]])
    assert n_read == 5 * 220 * 4
    with path.open("r+b") as shortened:
        shortened.truncate(file.plane.offset + 100)
    with pytest.raises(FrameError, match="became shorter"):
        file.read_rows(0, 1, out[:1])


def test_headers_of_any_length_are_found(image: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    for n_card in (1, 700, 20_000):
        path.write_bytes(fits_bytes(image, {f"K{i}": i for i in range(n_card)}, extension=True))
        np.testing.assert_array_equal(read_frame(path).image, image)


def test_other_units_before_the_image_are_passed_over(image: np.ndarray, tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.zeros(200_000))])
    path = tmp_path / "x.fits"
    fits.HDUList([fits.PrimaryHDU(), table, fits.ImageHDU(image)]).writeto(path)
    np.testing.assert_array_equal(read_frame(path).image, image)


def test_checksums_that_agree_and_that_do_not(image: np.ndarray, tmp_path: Path) -> None:
    raw = fits_bytes(image, extension=True, checksum=True)
    assert b"CHECKSUM" in raw
    assert checksum_note(raw, name="x") == ""
    spoiled = bytearray(raw)
    spoiled[-2880 + 5] ^= 1
    assert checksum_note(spoiled, name="x") == (
        "x: the bytes do not agree with DATASUM of HDU1, CHECKSUM of HDU1; used all the same"
    )
    assert decode_frame(spoiled, name="x").note == ""
    assert "HDU1" in decode_frame(spoiled, name="x", checksums=True).note
    # A unit of which only a part is there cannot be judged.
    assert checksum_note(spoiled[:-100], name="x") == ""


def test_a_mission_file_whose_checksums_fail_is_read_with_a_note(data_dir: Path) -> None:
    plain, noted = read_frame(data_dir / REAL), read_frame(data_dir / REAL, checksums=True)
    assert noted.image.tobytes() == plain.image.tobytes()
    assert noted.note.endswith("CHECKSUM of HDU0, CHECKSUM of HDU1, CHECKSUM of HDU2; used all the same")


def test_unaltered_mission_files_keep_their_sums(data_dir: Path) -> None:
    path = data_dir / "lightcurves" / "target_s0001.fits"
    assert b"CHECKSUM" in path.read_bytes()
    assert checksum_note(path.read_bytes(), name=path.name) == ""
