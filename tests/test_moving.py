"""Ephemerides: what counts as one, and where a target is between its nodes."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

from starskope.frames.moving import Ephemerides, is_ephemeris


def orbit(time: np.ndarray, phase: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A main-belt asteroid seen from an Earth on a circle: direction in degrees at days."""
    earth = np.stack([np.cos(time / 58.13), np.sin(time / 58.13), np.zeros_like(time)], axis=-1)
    angle = time / 268.0 + 1.0 + phase
    tilt = 0.2
    body = 2.77 * np.stack([np.cos(angle), np.sin(angle) * np.cos(tilt), np.sin(angle) * np.sin(tilt)], axis=-1)
    x, y, z = np.moveaxis(body - earth, -1, 0)
    return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))


def separation_px(ra: np.ndarray, dec: np.ndarray, other: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    across = ((ra - other[0] + 180) % 360 - 180) * np.cos(np.radians(dec))
    return np.hypot(across, dec - other[1]) * 3600 / 21.0


def test_six_hours_between_nodes_place_an_asteroid_to_a_thousandth_of_a_pixel() -> None:
    nodes = np.arange(1325.0, 1353.1, 0.25)
    path = Ephemerides(("a",), (nodes,), *((axis,) for axis in orbit(nodes)))
    time = np.linspace(1325, 1353, 2000)
    ra, dec = path.at(time)
    assert separation_px(ra[0], dec[0], orbit(time)).max() < 1e-3
    # Straight lines between nodes a day apart would not do, nor is the motion slow.
    assert np.abs(np.diff(ra[0])).sum() * 3600 / 21 > 100


def test_zero_right_ascension_and_the_pole_are_places_like_others() -> None:
    nodes = np.linspace(0, 10, 41)
    ra, dec = (359.0 + 0.2 * nodes) % 360, np.full(41, 10.0)
    path = Ephemerides(("zero",), (nodes,), (ra,), (dec,))
    time = np.linspace(0, 10, 333)
    there = path.at(time)
    assert separation_px(there[0][0], there[1][0], ((359.0 + 0.2 * time) % 360, np.full(333, 10.0))).max() < 1e-3
    over = Ephemerides(
        ("pole",), (np.array([0.0, 1.0, 2.0]),), (np.array([0.0, 0.0, 180.0]),), (np.array([89.0, 90, 89]),)
    )
    assert over.at([1.0])[1][0, 0] > 89.99


def test_nothing_is_said_beyond_the_nodes() -> None:
    path = Ephemerides(
        ("a", "b"), (np.array([0.0, 1, 2]), np.array([5.0, 6])), (np.ones(3), np.ones(2)), (np.ones(3), np.ones(2))
    )
    ra, dec = path.at([-1e-9, 0.0, 2.0, 2.1, 5.5, np.nan])
    assert np.isfinite(ra).tolist() == [[False, True, True, False, False, False], [False] * 4 + [True, False]]
    assert (np.isfinite(ra) == np.isfinite(dec)).all()


def test_tables_in_long_and_wide_form_agree() -> None:
    nodes = np.linspace(1325, 1330, 9)
    ra, dec = zip(orbit(nodes), orbit(nodes, 0.5), strict=True)
    long = Table(
        {"name": ["b"] * 9 + ["a"] * 9, "time": np.tile(nodes, 2), "ra": np.concatenate(ra), "dec": np.concatenate(dec)}
    )
    shuffled = long[np.random.default_rng(0).permutation(18)]
    wide = Table({"name": ["b", "a"], "ra": np.array(ra), "dec": np.array(dec)}, meta={"time": nodes})
    julian = long.copy()
    julian["time"] += 2457000.0
    angles = long.copy()
    angles["ra"] = np.radians(angles["ra"]) * u.rad
    time = np.linspace(1325, 1330, 50)
    expected = Ephemerides.from_table(long)
    assert expected.names == ("b", "a")
    for table in (shuffled, wide, julian, angles):
        assert is_ephemeris(table)
        other = Ephemerides.from_table(table)
        order = [other.names.index(name) for name in expected.names]
        for one, two in zip(expected.at(time), other.select(order).at(time), strict=True):
            np.testing.assert_allclose(one, two, atol=1e-9)
    assert not is_ephemeris(Table({"ra": [1.0], "dec": [2.0]}))
    assert Ephemerides.joined([expected, expected.select([1])]).names == ("b", "a", "a")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"time": [1.0, 1.0]}, "comes twice"),
        ({"time": [1.0, np.nan]}, "no numbers"),
        ({"dec": [0.0, 91.0]}, "sphere"),
        ({"ra": [0.0, 1000.0]}, "sphere"),
        ({"time": [1.0], "ra": [1.0], "dec": [1.0]}, "2 or more"),
        ({"time": None}, "time"),
    ],
)
def test_what_is_no_ephemeris_is_named(change: dict[str, object], words: str) -> None:
    columns = {"time": [1.0, 2.0], "ra": [10.0, 11.0], "dec": [0.0, 0.1]} | change
    table = Table({name: values for name, values in columns.items() if values is not None})
    with pytest.raises(ValueError, match=words):
        Ephemerides.from_table(table)
