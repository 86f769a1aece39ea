"""Joining files of one star: who is refused, what the segments become, and what files keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

import starskope as sk
from starskope.cli import main
from starskope.curves.container import LightCurves
from starskope.curves.joined import Joined
from starskope.errors import FrameError

KEPLER, TESS = 2454833.0, 2457000.0


def part(
    start_jd: float, mission: str, *, n: int = 40, level: float = 500.0, flux: Any = None, meta: Any = None, **star: Any
) -> LightCurves:
    """Make a light curve of one star at 30 min, barycentric."""
    zero = TESS if mission == "TESS" else KEPLER
    rng = np.random.default_rng(int(start_jd))
    values = level * (1.0 + 1e-3 * rng.standard_normal(n)) if flux is None else flux
    return LightCurves(
        start_jd - zero + np.arange(n) / 48.0,
        np.asarray(values, np.float32)[:, None],
        Table({name: [value] for name, value in star.items()}) if star else None,
        flux_err=np.full((n, 1), 0.5, np.float32),
        time_zero=zero,
        mission=mission,
        meta={"time_reference": "barycentre", "file": f"{mission}{start_jd:.0f}", **(meta or {})},
    )


def test_segments_are_ordered_levelled_and_on_one_time_scale() -> None:
    tess = part(2458683.0, "TESS", level=2e4, tic_id=7, ra=10.0, dec=5.0, meta={"sector": 14})
    kepler = part(2454953.5, "Kepler", kepler_id=3, ra=10.0, dec=5.0001, meta={"quarter": 0})
    joined = sk.join([tess, kepler])
    assert [curves.mission for curves in joined.segments] == ["Kepler", "TESS"]
    assert joined.time_zero == TESS
    np.testing.assert_array_equal(joined.bjd[:40] + TESS, kepler.time + KEPLER)
    for curves, given in zip(joined.segments, (kepler, tess), strict=True):
        np.testing.assert_allclose(np.median(curves.flux), 1.0, rtol=1e-6)
        np.testing.assert_allclose(curves.flux_err, given.flux_err / np.median(given.flux), rtol=1e-6)
    assert list(joined.matches["matched_by"]) == ["first", "place"]
    np.testing.assert_allclose(joined.matches["separation"], [0.0, 0.36], rtol=1e-3)
    coverage = joined.coverage
    assert list(coverage["part"]) == ["quarter 0", "sector 14"]
    np.testing.assert_allclose(coverage["start"], [2454953.5, 2458683.0])
    np.testing.assert_allclose(coverage["cadence"], 1800.0)
    np.testing.assert_array_equal(coverage["n_point"], 40)
    np.testing.assert_allclose(coverage["filled"], 1.0)
    assert list(joined.segment) == [0] * 40 + [1] * 40


def test_a_common_zero_stays() -> None:
    joined = sk.join([part(2454953.5, "Kepler", kepler_id=3), part(2455000.5, "Kepler", kepler_id=3)])
    assert joined.time_zero == KEPLER
    assert list(joined.matches["matched_by"]) == ["first", "kepler_id"]


def test_times_at_the_spacecraft_become_barycentric() -> None:
    given = part(2458683.0, "TESS", tic_id=7)
    path = np.tile([100.0, -50.0, 20.0], (given.n_time, 1))
    local = LightCurves(
        given.time, given.flux, given.stars, observer=path, direction=[[0.6, 0.8, 0.0]], mission="TESS", meta={}
    )
    joined = sk.join([local])
    np.testing.assert_allclose(joined.bjd - given.time, (60.0 - 40.0) / 86400.0, atol=1e-9)
    assert joined.segments[0].is_barycentric
    bare = LightCurves(given.time, given.flux, given.stars)
    with pytest.raises(ValueError, match="times at the spacecraft only"):
        sk.join([bare])


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"tic_id": 1}, {"tic_id": 2}, "different stars: tic_id 1 and 2"),
        ({"kepler_id": 1, "ra": 10.0, "dec": 0.0}, {"tic_id": 2, "ra": 10.0, "dec": 0.01}, "36 arcsec apart"),
        ({"kepler_id": 1, "ra": 10.0, "dec": 0.0}, {"tic_id": 2, "ra": 190.0, "dec": 0.0}, "180 degrees apart"),
        ({"kepler_id": 1}, {"tic_id": 2, "ra": 10.0, "dec": 0.0}, "same_star=True"),
        ({}, {}, "same_star=True"),
    ],
)
def test_other_stars_are_refused(first: dict[str, Any], second: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sk.join([part(2454953.5, "Kepler", **first), part(2458683.0, "TESS", **second)])


def test_the_caller_may_vouch_but_not_contradict() -> None:
    nameless = part(2454953.5, "Kepler"), part(2458683.0, "TESS", tic_id=1)
    assert list(sk.join(nameless, same_star=True).matches["matched_by"]) == ["first", "the caller's word"]
    with pytest.raises(ValueError, match="different stars"):
        sk.join([part(2454953.5, "Kepler", tic_id=2), nameless[1]], same_star=True)


def test_a_part_may_be_the_link_between_two_others() -> None:
    parts = [
        part(2454953.5, "Kepler", kepler_id=1, ra=10.0, dec=0.0),
        part(2457000.5, "K2", gaia_id=5),
        part(2458683.0, "TESS", gaia_id=5, ra=10.0, dec=0.0),
    ]
    assert list(sk.join(parts).matches["matched_by"]) == ["first", "gaia_id", "place"]


def test_proper_motion_explains_a_separation() -> None:
    # 5 arcsec per year to the north-east: from J2000 to 2019 some 95 arcsec.
    moved = 20.0 * 5.0 / 3600.0 / np.sqrt(2.0)
    kepler = part(2454953.5, "Kepler", kepler_id=1, ra=10.0, dec=60.0)
    star = {"tic_id": 2, "ra": 10.0 + 0.9 * moved / np.cos(np.radians(60.0)), "dec": 60.0 + 0.9 * moved}
    motion = {"pmra": 5000.0 / np.sqrt(2.0), "pmdec": 5000.0 / np.sqrt(2.0)}
    joined = sk.join([kepler, part(2458683.0, "TESS", **star, **motion)])
    assert joined.matches["separation"][1] < 0.1
    with pytest.raises(ValueError, match="arcsec apart"):
        sk.join([kepler, part(2458683.0, "TESS", **star)])
    aside = {**motion, "pmra": -motion["pmra"]}
    with pytest.raises(ValueError, match="beyond what its proper motion explains"):
        sk.join([kepler, part(2458683.0, "TESS", **star, **aside)])
    too_far = {**star, "dec": 60.0 + 3.0 * moved, "ra": 10.0 + 3.0 * moved / np.cos(np.radians(60.0))}
    with pytest.raises(ValueError, match="beyond what its proper motion explains"):
        sk.join([kepler, part(2458683.0, "TESS", **too_far, **motion)])


def test_light_that_would_count_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="cover the same time of TESS"):
        sk.join([part(2458683.0, "TESS", tic_id=1), part(2458683.4, "TESS", tic_id=1)])
    # Other missions may look at the same time.
    both = [part(2458330.0, "TESS", tic_id=1, ra=1.0, dec=1.0), part(2458330.2, "K2", epic_id=1, ra=1.0, dec=1.0)]
    assert sk.join(both).n_segment == 2


def test_bad_parts_are_refused() -> None:
    good = part(2458683.0, "TESS", tic_id=1)
    two = LightCurves(good.time, np.ones((good.n_time, 2)), meta={"time_reference": "barycentre"})
    empty = part(2458783.0, "TESS", flux=np.full(40, np.nan), tic_id=1)
    below = part(2458783.0, "TESS", flux=np.full(40, -1.0), tic_id=1)
    for parts, error, message in [
        ([], ValueError, "empty"),
        (good, TypeError, "give a list"),
        ("file.fits", TypeError, "give a list"),
        ([good, 3], TypeError, "part 1 is a int"),
        ([two], ValueError, "holds 2 stars"),
        ([good, empty], ValueError, "no measured flux"),
        ([good, below], ValueError, "median flux -1"),
        (["absent.fits"], FileNotFoundError, "absent.fits"),
    ]:
        with pytest.raises(error, match=message):
            sk.join(parts)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="match_arcsec"):
        sk.join([good], match_arcsec=0.0)


def test_each_segment_is_flattened_by_itself() -> None:
    n = 200
    slope = 1.0 + 0.1 * np.arange(n) / n
    parts = [
        part(2454953.5, "Kepler", n=n, flux=500.0 * slope, kepler_id=1),
        part(2454953.5 + n / 48.0, "Kepler", n=n, flux=90.0 * slope, kepler_id=1),
    ]
    joined = sk.join(parts)
    flat = joined.flatten(window=1.0)
    for one, before in zip(flat.segments, joined.segments, strict=True):
        np.testing.assert_array_equal(one.flux, before.flatten(window=1.0).flux)
        # A trend over the edge would miss the step from one level to the other by much more.
        assert np.abs(one.flux - 1.0).max() < 0.01
    assert [curves.n_time for curves in joined.bin(4).segments] == [n // 4, n // 4]


def test_flags_mask_each_segment_by_its_own_mission() -> None:
    parts = [part(2454953.5, "Kepler", kepler_id=1, ra=1, dec=1), part(2458683.0, "TESS", tic_id=1, ra=1, dec=1)]
    # An impulsive outlier is bit 2048 of Kepler and bit 512 of TESS.
    for curves in parts:
        curves.quality[3] = 2048
        curves.quality[5] = 512
    masked = sk.join(parts).mask()
    assert [np.flatnonzero(np.isnan(curves.flux[:, 0])).tolist() for curves in masked.segments] == [[3], [5]]


def test_files_keep_everything(tmp_path: Path) -> None:
    kepler = part(2454953.5, "Kepler", kepler_id=3, ra=10.0, dec=5.0, name="KIC 3 ü", tmag=np.nan)
    flux = kepler.flux[:, 0].copy()
    flux[7] = np.nan
    kepler = part(2454953.5, "Kepler", flux=flux, kepler_id=3, ra=10.0, dec=5.0, name="KIC 3", tmag=np.nan)
    joined = sk.join([kepler, part(2458683.0, "TESS", tic_id=7, ra=10.0, dec=5.0)])
    again = sk.Joined.read(joined.write(tmp_path / "a.fits"))
    for name in ("bjd", "flux", "flux_err", "segment"):
        np.testing.assert_array_equal(getattr(again, name), getattr(joined, name))
    for one, other in zip(again.segments, joined.segments, strict=True):
        assert (one.meta, one.mission) == (other.meta, other.mission)
        assert one.stars.colnames == other.stars.colnames
        np.testing.assert_array_equal(one.quality, other.quality)
    assert np.isnan(again.segments[0].stars["tmag"][0])
    assert str(again.matches["separation"].unit) == "arcsec"
    assert list(again.matches["name"]) == ["KIC 3", ""]
    same = joined.write(tmp_path / "b.fits").read_bytes()
    assert same == (tmp_path / "a.fits").read_bytes()
    with pytest.raises(ValueError, match=r"end in \.fits"):
        joined.write(tmp_path / "a.csv")
    with pytest.raises(FrameError, match="no joined light curves"):
        sk.Joined.read(kepler.write(tmp_path / "c.fits"))
    with pytest.raises(FileNotFoundError):
        sk.Joined.read(tmp_path / "absent.fits")
    damaged = bytearray(same)
    damaged[8000] ^= 1
    (tmp_path / "d.fits").write_bytes(damaged)
    with pytest.raises(FrameError, match="damaged"):
        sk.Joined.read(tmp_path / "d.fits")


def test_the_container_holds_to_its_word() -> None:
    joined = sk.join([part(2454953.5, "Kepler", kepler_id=3), part(2455000.5, "Kepler", kepler_id=3)])
    with pytest.raises(ValueError, match="at least one"):
        sk.Joined((), joined.matches[:0])
    with pytest.raises(ValueError, match="order segments"):
        sk.Joined(joined.segments[::-1], joined.matches)
    with pytest.raises(ValueError, match="2 rows for 1"):
        sk.Joined(joined.segments[:1], joined.matches)
    with pytest.raises(ValueError, match="barycentric times since"):
        sk.Joined((joined.segments[0], part(2458683.0, "TESS")), joined.matches)
    assert "2 segments" in repr(joined)


def test_the_command_writes_what_search_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    n, rng = 1200, np.random.default_rng(5)
    paths = []
    for i, (start, mission) in enumerate([(2454953.5, "Kepler"), (2455013.5, "TESS")]):
        flux = 500.0 * (1.0 + 2e-4 * rng.standard_normal(n))
        # A planet of one epoch in both; the segments lie so close that no other number of orbits fits between.
        flux[(start + np.arange(n) / 48.0 - 2454954.0) % 2.5 < 0.1] *= 1 - 3e-3
        curves = part(start, mission, n=n, flux=flux, ra=10.0, dec=5.0, **({"tic_id": 7} if i else {"kepler_id": 3}))
        paths.append(str(curves.write(tmp_path / f"{mission}.fits")))
    out = str(tmp_path / "joined.fits")
    assert main(["join", *paths[::-1], "-o", out, "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["mission"], one["matched_by"], one["n_point"]) for one in told] == [
        ("Kepler", "first", n),
        ("TESS", "place", n),
    ]
    assert main(["search", out, "--json", "--candidates", "1", "--period-max", "4"]) == 0
    (found,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (found["mission"], found["target"]) == ("Kepler+TESS", "KIC 3")
    (candidate,) = found["candidates"]
    assert candidate["period_days"] == pytest.approx(2.5, abs=5e-4)
    assert main(["search", "--join", *paths, "--json", "--candidates", "1", "--period-max", "4"]) == 0
    (again,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert again["input"] == " + ".join(paths)
    assert {**again, "input": out} == {**found, "input": out}
    assert main(["search", "--join", paths[0], str(tmp_path / "none.fits"), "--json"]) == 1
    assert "none.fits" in capsys.readouterr().err
    assert main(["search", "--join", paths[0], paths[0], "--json"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "would count twice" in said.err
    assert main(["join", *paths, "-o", str(tmp_path / "a.csv")]) == 2
    assert main(["join", paths[0], paths[0], "-o", out]) == 2
    assert "would count twice" in capsys.readouterr().err
    assert Joined.read(out).n_segment == 2
