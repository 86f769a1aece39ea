"""FITS headers and planes: equal to astropy on real files, round trips, clear words for all that is not FITS."""

from __future__ import annotations

import gzip
import math
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import example, given, settings
from hypothesis import strategies as st

from starskope.errors import FrameError
from starskope.layout.cards import Verbatim, format_card, parse_value
from starskope.layout.fits import (
    BLOCK,
    FFI_LEAD,
    FFI_PLANE_REQUEST,
    format_header,
    iter_hdus,
    locate_image,
    padded,
    parse_header,
    plane_request,
    science_region,
)

PLANE = 2078 * 2136 * 4
MINIMAL = [("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0)]
TABLE = [("XTENSION", "BINTABLE"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", 8), ("NAXIS2", 3), ("GCOUNT", 1)]

printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200)
values = st.one_of(
    st.booleans(),
    st.integers(-(10**18), 10**18),
    st.floats(allow_nan=False, allow_infinity=False),
    st.complex_numbers(allow_nan=False, allow_infinity=False, max_magnitude=1e300),
    printable,
    st.none(),
)
keywords = st.from_regex(r"[A-Z][A-Z0-9_-]{0,7}", fullmatch=True).filter(
    lambda word: word not in {"SIMPLE", "END", "CONTINUE", "COMMENT", "HISTORY", "HIERARCH", "XTENSION"}
)


def image_header(
    n_row: int, n_col: int, *, primary: bool = False, bitpix: int = -32, n_bytes: int | None = None
) -> bytes:
    first = (
        [("SIMPLE", True)]
        if primary
        else [
            ("XTENSION", "IMAGE"),
        ]
    )
    cards = [*first, ("BITPIX", bitpix), ("NAXIS", 2), ("NAXIS1", n_col), ("NAXIS2", n_row)]
    if not primary:
        cards += [("PCOUNT", 0), ("GCOUNT", 1)]
    return format_header(cards, n_bytes=n_bytes)


def small_ffi(lead: int = 20160, second: int = 23040, n_row: int = 5, n_col: int = 7) -> bytes:
    plane = np.arange(n_row * n_col, dtype=">f4").tobytes().ljust(BLOCK, b"\0")
    primary = format_header([*MINIMAL, ("EXTEND", True)])
    return (
        primary
        + image_header(n_row, n_col, n_bytes=lead - BLOCK)
        + plane
        + image_header(n_row, n_col, n_bytes=second)
        + plane
    )


def test_every_header_of_every_real_file_equals_astropys(data_dir: Path) -> None:
    n_card = n_file = 0
    for path in sorted([*data_dir.rglob("*.fits"), *data_dir.rglob("*.fits.gz")]):
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.name.endswith(".gz") else raw
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # astropy remarks on cards of old files; the values are what counts
            with fits.open(path) as theirs:
                ours = list(iter_hdus(raw, name=path.name))
                assert len(ours) == len(theirs), path.name
                for hdu, our in zip(theirs, ours, strict=True):
                    expected = {}
                    for card in hdu.header.cards:
                        if card.keyword not in ("COMMENT", "HISTORY", ""):
                            value = None if isinstance(card.value, fits.card.Undefined) else card.value
                            expected.setdefault(card.keyword, (type(value), value, card.comment))
                    found = {
                        key: (type(our.header[key]), our.header[key], our.header.comment(key)) for key in our.header
                    }
                    assert found == expected, f"{path.name}, HDU at {our.offset}"
                    assert our.offset == hdu._data_offset
                    again = parse_header(format_header(our.header.cards))
                    assert dict(again) == dict(our.header)
                    n_card += len(found)
        n_file += 1
    assert n_file >= 60
    assert n_card > 20_000


def test_the_real_frame_is_located_and_its_plane_is_astropys(data_dir: Path) -> None:
    path = data_dir / "ffi" / "tess2018206192942-s0001-1-4-0120-s_ffic.fits"
    raw = path.read_bytes()
    plane = locate_image(raw, name=path.name, bitpix=-32)
    assert (plane.hdu, plane.offset, plane.n_row, plane.n_col, plane.n_bytes) == (1, 20160, 128, 173, 88576)
    assert plane.header["TSTART"] == 1325.318778691997
    assert plane.primary["TSTART"] == 1325.313100604524
    image = np.frombuffer(raw, ">f4", 128 * 173, plane.offset).reshape(128, 173)
    np.testing.assert_array_equal(image, fits.getdata(path, 1))
    assert science_region(plane.header, (128, 173)) == (slice(0, 128), slice(44, 173))
    assert science_region(plane.header, (2078, 2136)) == (slice(0, 2048), slice(44, 2092))
    assert science_region(plane.primary, (2078, 2136)) == (slice(0, 2078), slice(0, 2136))


def test_an_ffi_header_is_indexed_well_under_a_millisecond(data_dir: Path) -> None:
    raw = (data_dir / "ffi" / "tess2018206192942-s0001-1-4-0120-s_ffic.fits").read_bytes()
    best_s = math.inf
    for _ in range(50):
        start = time.perf_counter()
        header = parse_header(raw, BLOCK)
        assert header["BARYCORR"] == 5.6780875e-03
        best_s = min(best_s, time.perf_counter() - start)
    assert len(header) == 183
    assert best_s < 1e-3


@given(st.lists(st.tuples(keywords, values, printable.map(str.strip)), max_size=30, unique_by=lambda card: card[0]))
def test_what_is_written_is_read_again(cards) -> None:
    raw = format_header([("SIMPLE", True), *cards])
    assert len(raw) % BLOCK == 0
    header = parse_header(raw)
    assert header.n_bytes == len(raw)
    assert list(header) == ["SIMPLE", *(keyword for keyword, _, _ in cards)]
    for keyword, value, comment in cards:
        expected = value.rstrip() if isinstance(value, str) else value
        assert header[keyword] == expected
        assert type(header[keyword]) is type(expected)
        assert comment.startswith(header.comment(keyword))
    assert format_header(header.cards) == raw or any(isinstance(value, str) for _, value, _ in cards)


# astropy ends a string at a doubled quote before a blank or slash, which the standard does not.
@given(keywords, values.filter(lambda value: not (isinstance(value, str) and ("'" in value or "&" in value))))
def test_astropy_reads_what_is_written(keyword, value) -> None:
    raw = format_header([("SIMPLE", True), (keyword, value, "a comment")])
    card = fits.Header.fromstring(raw.decode()).cards[keyword]
    expected = value.rstrip() if isinstance(value, str) else value
    found = None if isinstance(card.value, fits.card.Undefined) else card.value
    if not (isinstance(found, float | int) and ": " in str(value)):  # astropy's record-valued keyword cards
        assert found == expected


@given(st.binary(max_size=300))
@example(b"SIMPLE  =".ljust(80))
def test_foreign_bytes_raise_frame_errors_only(junk) -> None:
    for data in (junk, small_ffi()[:BLOCK] + junk, format_header(MINIMAL) + b"XTENSION=" + junk.ljust(2871)):
        with pytest.raises(FrameError, match="stray"):
            locate_image(data, name="stray.fits")


@settings(max_examples=300)
@given(st.integers(0, 2 * BLOCK - 1), st.integers(0, 255))
def test_a_damaged_byte_never_raises_anything_else(position, byte) -> None:
    raw = bytearray(small_ffi(lead=2 * BLOCK, second=BLOCK))
    raw[position] = byte
    try:
        plane = locate_image(bytes(raw), name="frame")
        for keyword in plane.header:
            plane.header.get(keyword)
    except FrameError:
        pass


@pytest.mark.parametrize(
    ("text", "value", "comment"),
    [
        ("                   T / yes", True, "yes"),
        ("F", False, ""),
        ("  1.5D-03 / Fortran", 1.5e-3, "Fortran"),
        (" 12d2", 1200.0, ""),
        (" + 0042", 42, ""),
        (" .5", 0.5, ""),
        ("-7.", -7.0, ""),
        ("( 1.0, -2.5E0 ) / complex", 1 - 2.5j, "complex"),
        ("'it''s / here' / comment", "it's / here", "comment"),
        ("''", "", ""),
        ("'   lead   ' /c", "   lead", "c"),
        ("'it's' / undoubled", "it's", "undoubled"),
        ("", None, ""),
        ("  / nothing", None, "nothing"),
    ],
)
def test_values_follow_the_standard(text, value, comment) -> None:
    assert parse_value(text) == (value, comment)
    assert type(parse_value(text)[0]) is type(value)


@pytest.mark.parametrize("text", ["'open", "1.2.3", "TRUE", "0x10", "NaN", "1 2", "(1)"])
def test_a_value_outside_the_grammar_names_its_card(text) -> None:
    raw = format_header([("SIMPLE", True), ("ODD", Verbatim(text))])
    header = parse_header(raw)
    assert header["SIMPLE"] is True
    with pytest.raises(FrameError, match=r"card ODD \(number 2"):
        header["ODD"]


def test_long_strings_hierarch_and_commentary() -> None:
    long = "it's " * 40 + "end"
    cards = [
        ("SIMPLE", True, ""),
        ("LONG", long, "tail"),
        ("ESO DET CHIP1 NAME", "abc", "far"),
        ("COMMENT", "x" * 100, ""),
        ("HISTORY", "made", ""),
        ("", "", ""),
        ("A", 1, ""),
        ("A", 2, "second"),
    ]
    header = parse_header(format_header(cards))
    assert header["LONG"] == long
    assert header["eso det chip1 name"] == "abc"
    assert header["a"] == 1
    assert "COMMENT" not in header
    assert [card.value for card in header.cards if card.keyword == "COMMENT"] == ["x" * 72, "x" * 28]
    assert [card for card in header.cards if card.keyword == "A"] == [("A", 1, ""), ("A", 2, "second")]
    theirs = fits.Header.fromstring(format_header(cards).decode())
    assert theirs["LONG"] == long
    assert theirs["ESO DET CHIP1 NAME"] == "abc"
    with pytest.raises(KeyError):
        header["MISSING"]


def test_numpy_and_verbatim_values() -> None:
    cards = [
        ("SIMPLE", np.True_),
        ("N", np.int32(-3)),
        ("X", np.float32(0.1)),
        ("BARYCORR", Verbatim("5.6780875E-03"), "[d]"),
    ]
    raw = format_header(cards)
    assert b"BARYCORR=        5.6780875E-03 / [d]" in raw
    assert parse_header(raw)["X"] == float(np.float32(0.1))
    assert parse_header(raw)["N"] == -3


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (("A", math.nan), "cannot hold nan"),
        (("A", math.inf), "cannot hold inf"),
        (("A", "Skøpe"), "printable ASCII"),
        (("A", "line\nbreak"), "printable ASCII"),
        (("TOO LONG " * 8, 1), "cannot be written"),
        (("A=B", 1), "cannot be written"),
        (("A", Verbatim("9" * 80)), "does not fit"),
    ],
)
def test_what_fits_cannot_hold_is_refused(card, words) -> None:
    with pytest.raises(ValueError, match=words):
        format_card(*card)


def test_a_foreign_type_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot write a list"):
        format_card("A", [1])


def test_header_length_can_be_asked_for() -> None:
    for n_bytes in (BLOCK, 5 * BLOCK):
        raw = format_header(MINIMAL, n_bytes=n_bytes)
        assert len(raw) == parse_header(raw).n_bytes == n_bytes
    for n_bytes in (0, 2881):
        with pytest.raises(ValueError, match="multiple of 2880"):
            format_header(MINIMAL, n_bytes=n_bytes)


def test_a_header_longer_than_the_search_window_is_found() -> None:
    raw = format_header([("SIMPLE", True), ("TRAP", "x END " + " " * 60), *[("HISTORY", "h")] * 5000, ("LAST", 1)])
    assert len(raw) > 16 * BLOCK
    assert parse_header(memoryview(raw))["LAST"] == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty (zero bytes)"),
        (gzip.compress(small_ffi()), "gunzip"),
        (b"BZh91AY".ljust(200, b"x"), "decompress"),
        (b"<!DOCTYPE html><html>404</html>".ljust(3000), "HTML or XML"),
        (b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "HTML or XML"),
        (b"\xef\xbb\xbf\n <html>", "HTML or XML"),
        (b"\0" * 5000, "unfinished download"),
        (b"time,flux\n1,2\n", "is not FITS: expected SIMPLE"),
        (small_ffi()[:50], "truncated"),
        (small_ffi()[:2000], "needs 2880 bytes, 2000 are there"),
        (small_ffi()[:200], "no END card"),
        (small_ffi()[:2880], "truncated: it ends after HDU0, which announces extensions"),
        (small_ffi()[:10000], "no END card"),
        (small_ffi()[:20160], "5x7 plane ends at byte 20300, 20160 bytes are there"),
        (small_ffi()[:20299], "5x7 plane ends at byte 20300, 20299 bytes are there"),
        (format_header(MINIMAL), "no 2-D image"),
        (format_header(MINIMAL) + format_header(TABLE) + bytes(10), "truncated: 5770 bytes end before the first 2-D"),
        (image_header(5, 7, primary=True, bitpix=12), "BITPIX = 12"),
        (image_header(0, 7, primary=True), "empty"),
        (image_header(-5, 7, primary=True), "NAXIS2 = -5"),
        (format_header([("SIMPLE", True), ("BITPIX", 8)]), "NAXIS must be an integer, found no such card"),
        (format_header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 1.5)]), "found 1.5"),
        (format_header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 5000)]), "NAXIS = 5000"),
        (format_header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 1), ("NAXIS1", 0)]), "no 2-D image"),
        (
            format_header(MINIMAL)
            + format_header(
                [("XTENSION", "BINTABLE"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", 8), ("NAXIS2", 0), ("ZIMAGE", True)]
            ),
            "funpack",
        ),
    ],
)
def test_what_is_no_frame_gets_one_clear_line(data, words) -> None:
    with pytest.raises(FrameError) as caught:
        locate_image(data, name="s0001/frame.fits")
    assert words in str(caught.value)
    assert "s0001/frame.fits" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_trailing_bytes_do_not_hide_the_plane() -> None:
    assert locate_image(small_ffi() + b"\0" * 5000).offset == 20160


def test_another_bitpix_is_refused_when_one_is_asked_for() -> None:
    raw = image_header(2, 3, primary=True, bitpix=16).ljust(2 * BLOCK, b"\0")
    assert locate_image(raw).bitpix == 16
    with pytest.raises(FrameError, match="BITPIX = 16, expected -32"):
        locate_image(raw, bitpix=-32)


def test_tables_and_cubes_before_the_image_are_passed_over() -> None:
    table = format_header([*TABLE, ("PCOUNT", 5000)])
    cube = format_header(
        [("XTENSION", "IMAGE"), ("BITPIX", 16), ("NAXIS", 3), ("NAXIS1", 2), ("NAXIS2", 3), ("NAXIS3", 4)]
    )
    raw = format_header(MINIMAL) + table + bytes(padded(5024)) + cube + bytes(BLOCK) + image_header(2, 2) + bytes(BLOCK)
    plane = locate_image(raw)
    assert (plane.hdu, plane.offset) == (3, 5 * BLOCK + padded(5024))


def test_where_a_plane_lies_can_be_asked_before_it_is_there() -> None:
    plane = locate_image(small_ffi()[:20160], complete=False)
    assert plane.offset + plane.n_bytes == 20300


LEADS = (17280, 14400, 20160, 23040, 25920, 28800, 31680)


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("second", [2880, 14400, 23040, 31680])
def test_one_request_holds_the_plane_of_every_full_ffi(lead, second) -> None:
    size = lead + second + 2 * padded(PLANE)
    assert plane_request(size) == plane_request(None) == FFI_PLANE_REQUEST == 17_786_880
    assert lead + PLANE <= plane_request(size) <= size


@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from(LEADS), st.sampled_from((2880, 14400, 31680)))
def test_one_request_holds_the_plane_of_any_ffi(n_row, n_col, lead, second) -> None:
    size = lead + second + 2 * padded(n_row * n_col * 4)
    assert lead + n_row * n_col * 4 <= plane_request(size) <= size
    assert plane_request(size) <= max(1 << 20, size // 2 + FFI_LEAD + BLOCK)


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="size is -1"):
        plane_request(-1)


@pytest.mark.parametrize(
    "cards",
    [{"SCIROWS": 500, "SCIROWE": 600}, {"SCCSA": 9, "SCCED": 8}, {"SCIROWS": "one", "SCIROWE": 5}],
)
def test_a_science_region_without_pixels_is_refused(cards) -> None:
    with pytest.raises(FrameError):
        science_region(cards, (100, 100))
