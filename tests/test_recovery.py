"""From pixels to candidates: planets that must be found, noise that must not be claimed, binaries that must be named.

The full numbers are those of ``bench/test_validation_search.py``; here are smaller ones of the same kind.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from starskope.curves.container import LightCurves
from starskope.curves.extract import light_curves
from starskope.search.transits import search_transits
from starskope.synth import SectorConfig, SyntheticSector
from starskope.synth.injection import draw_binary, eclipse_signals, inject, noise_curves
from starskope.synth.recovery import planets_in, recovered, redraw_planets

CONFIG = SectorConfig(
    seed=7,
    sector=5,
    n_row=128,
    n_col=128,
    n_frame=640,
    n_star=220,
    n_planet=24,
    n_binary=4,
    n_pulsator=4,
    n_rotator=6,
    n_flare=3,
)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[SyntheticSector, LightCurves, Table]:
    """A sector of 13 d with planets down to the limit: its truth, its flattened light curves, its candidates."""
    folder = tmp_path_factory.mktemp("sector")
    sector = SyntheticSector(CONFIG)
    redraw_planets(sector, 3, period=(0.6, 6.0), rp_rs=(0.03, 0.12))
    sector.write(folder, what=("ffi",))
    paths = sorted(folder.rglob("*_ffic.fits"), key=lambda path: path.name)
    curves = light_curves(paths, sector.catalog(), workers=-1)
    flat = curves.mask().normalize().flatten(window=0.75)
    return sector, flat, search_transits(flat, workers=-1)


def test_planets_are_found(searched) -> None:
    sector, flat, candidates = searched
    outcome = recovered(candidates, planets_in(flat, sector))
    fair = outcome[outcome["counts"]]
    assert len(outcome) == CONFIG.n_planet
    assert len(fair) >= 12
    missed = fair[~fair["at_period"]]["tic_id", "snr", "period", "ratio", "first_period", "first_claim"]
    assert np.mean(fair["found"]) >= 0.9, missed
    assert np.mean(fair["at_period"]) >= 0.85, missed


def test_the_momentary_restlessness_of_the_spacecraft_is_masked(searched) -> None:
    """Dumps carry a flag, the jitter episode none: the stars tell it."""
    sector, flat, _ = searched
    episode = np.isin(flat.time, sector.timeline.time[sector.timeline.episode])
    dump = np.isin(flat.time, sector.timeline.time[sector.timeline.dump])
    assert episode.any()
    assert dump.any()
    assert np.isnan(flat.flux[dump]).all()
    masked = np.isnan(flat.flux).all(axis=1)
    assert np.mean(masked[episode]) > 0.5
    assert np.mean(masked[~episode & ~dump]) < 0.02


def test_quiet_stars_are_left_alone(searched) -> None:
    """Quiet stars far from planets and binaries hold no claim of their own (`same_as` names the source of others)."""
    sector, flat, candidates = searched
    kind = dict(zip(sector.stars["tic_id"], sector.stars["kind"], strict=True))
    own = candidates[candidates["claim"] & (candidates["same_as"] < 0)]
    kinds = np.array([kind[flat.stars["tic_id"][star]] for star in own["star"]])
    assert np.count_nonzero(kinds == "quiet") <= 1, own[kinds == "quiet"]


def test_noise_makes_no_planets() -> None:
    found = search_transits(noise_curves(300, 21).mask().normalize().flatten(window=0.75), workers=-1)
    assert len(set(found["star"])) == 300
    assert np.count_nonzero(found["claim"]) <= 1, found[found["claim"]]


@pytest.mark.parametrize(
    "name",
    [
        "lightcurves/koi/11401755.fits",
        "lightcurves/hlsp_tglc_tess_ffi_gaiaid-6399196263939178880-s0001-cam2-ccd1_tess_v1_llc.fits",
    ],
)
def test_binaries_in_real_curves_are_no_planets(data_dir: Path, name: str) -> None:
    curves = LightCurves.read(data_dir / name)
    rng = np.random.default_rng(8)
    flat = curves.mask().normalize().flatten(window=0.75)
    noise = 1.4826 * float(np.nanmedian(np.abs(flat.flux - np.nanmedian(flat.flux))))
    span = float(curves.time[-1] - curves.time[0])
    n_searched, n_claimed, called_planets = 0, 0, []
    while n_searched < 10:
        binary = draw_binary(rng, start=float(curves.time[0]), period=(0.5, 0.5 * span), twin=n_searched == 9)
        primary, secondary = eclipse_signals(flat, binary, noise)
        if secondary[1] < 10.0 or secondary[0] < 0.1 * primary[0]:
            continue
        n_searched += 1
        found = search_transits(inject(curves, binary).mask().normalize().flatten(window=0.75))
        claims = found[found["claim"]]
        n_claimed += len(claims) > 0
        if np.any(claims["verdict"] == "planet-like"):
            called_planets.append((binary, claims))
    assert n_claimed >= 6
    assert len(called_planets) <= 1, called_planets


def planets(**changes) -> Table:
    row = {"star": 3, "tic_id": 9, "period": 4.0, "t0": 1501.0, "duration": 0.1, "snr": 30.0, "counts": True}
    return Table(rows=[row | changes])


def candidate(period: float, t0: float, *, star: int = 3, claim: bool = True, t0_bjd: float = np.nan) -> Table:
    row = {"star": star, "rank": 0, "period": period, "t0": t0, "t0_bjd": t0_bjd, "snr": 9.0, "sde": 8.0}
    return Table(rows=[row | {"claim": claim, "verdict": "planet-like", "false_alarm_probability": 1e-5}])


@pytest.mark.parametrize(
    ("found", "ratio"),
    [
        (candidate(4.0, 1501.0), 1.0),
        (candidate(4.015, 1513.03), 1.0),
        (candidate(4.03, 1501.0), 0.0),
        (candidate(4.0, 1501.2), 0.0),
        (candidate(4.0, 1501.0, claim=False), 0.0),
        (candidate(np.nan, 1501.0), 0.0),
        (candidate(8.0, 1505.0), 2.0),
        (candidate(12.0, 1509.0), 3.0),
        (candidate(2.0, 1503.0), 0.5),
        (candidate(4 / 3, 1501.0 + 8 / 3), 1 / 3),
        (candidate(2.0, 1502.0), 0.0),
        (candidate(16.0, 1501.0), 0.0),
        (candidate(4.0, 0.0, t0_bjd=2457000.0 + 1505.0), 1.0),
    ],
)
def test_what_counts_as_found(found: Table, ratio: float) -> None:
    outcome = recovered(found, planets())
    assert outcome["ratio"][0] == pytest.approx(ratio)
    assert outcome["found"][0] == (ratio > 0)
    assert outcome["at_period"][0] == (ratio == 1.0)


def test_planets_of_a_scene_that_has_shone_stay() -> None:
    sector = SyntheticSector(SectorConfig(n_row=32, n_col=32, n_frame=30, n_star=80))
    redraw_planets(sector, 1)
    before = sector.relative_flux
    with pytest.raises(ValueError, match="fresh scene"):
        redraw_planets(sector, 2)
    assert sector.relative_flux is before
