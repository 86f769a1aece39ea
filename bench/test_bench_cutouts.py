"""1,000 cutouts of 11 x 11 pixels from one full-width cube of 1,282 frames, against astrocut and tesscube.

The cube is 45.5 GB long and lies as a file with holes behind nginx: pixels are there where targets are, each with a
value of its own. Rivals cut one target at a time, each as costly as the other, so they are timed on some of the
targets and scaled up; their start-up (sessions, the cube's headers) is taken off by a first cutout that is not timed.
Every cutout that is timed is checked bit for bit.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness
import numpy as np
import pytest
from numpy.typing import NDArray

import starskope as sk
from starskope.frames.cutout_set import Cutouts
from starskope.frames.wcs import TanSip
from starskope.synth import SectorConfig, SyntheticSector
from starskope.synth.sparse_cube import pixel_values, write_sparse_cube

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
nginx_server = pytest.importorskip("nginx_server")
latency_server = pytest.importorskip("latency_server")

N_TARGET, SIZE, N_FRAME = 1000, 11, 1282
N_OF_RIVAL = {0.0: 16, 0.05: 6}
N_ROUND = 3
N_COL = 2136
LATENCY_S = 0.05
KEY = "tess/public/mast/tess-s0001-1-4-cube.fits"
URI = f"s3://stpubdata/{KEY}"

pytestmark = pytest.mark.skipif(
    nginx_server.find_nginx() is None, reason="nginx is not installed: apt-get install nginx"
)


@dataclass(frozen=True)
class BigCube:
    """The folder that nginx serves, and where the targets are."""

    root: Path
    row0: NDArray[np.int64]
    col0: NDArray[np.int64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]

    def flux(self, target: int) -> NDArray[np.float32]:
        """Return what the cube holds around a target, (n_frame, SIZE, SIZE)."""
        rows, columns = self.row0[target] + np.arange(SIZE)[:, None], self.col0[target] + np.arange(SIZE)
        return np.moveaxis(pixel_values(rows, columns, N_FRAME, N_COL)[..., 0], -1, 0)


@pytest.fixture(scope="module")
def cube(workspace: Path) -> Iterator[BigCube]:
    memory = Path("/dev/shm")
    root = memory / f"starskope-cube-{os.getpid()}" if os.access(memory, os.W_OK) else workspace / "cube"
    sector = SyntheticSector(SectorConfig(n_row=2048, n_col=2048, n_frame=N_FRAME, n_star=300))
    rng = np.random.default_rng(11)
    row0, col0 = rng.integers(0, 2048 - SIZE, N_TARGET), rng.integers(44, 2092 - SIZE, N_TARGET)
    ra, dec = TanSip.from_header(sector.wcs_cards(N_FRAME // 2)).pixel_to_world(row0 + 5.2, col0 + 5.3)
    try:
        write_sparse_cube(sector, root / "stpubdata" / KEY, row0, col0, (SIZE, SIZE))
        yield BigCube(root, row0, col0, ra, dec)
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextmanager
def serve(cube: BigCube, latency_s: float, patch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start nginx, with a relay before it where latency is added, and send the rivals there."""
    with nginx_server.Nginx(cube.root) as nginx:
        if latency_s:
            with latency_server.LatencyServer(nginx.url, latency_s) as relay:
                patch.setenv("AWS_ENDPOINT_URL", relay.url)
                yield relay.url
        else:
            patch.setenv("AWS_ENDPOINT_URL", nginx.url)
            yield nginx.url


def rival_cutters(session: harness.Session, cube: BigCube) -> dict[str, Callable[[int], Any]]:
    """Return functions that give the flux around one target."""
    from astropy.coordinates import SkyCoord

    cutters: dict[str, Callable[[int], Any]] = {}
    astrocut, tesscube = session.optional("astrocut"), session.optional("tesscube")

    def place(target: int) -> Any:
        return SkyCoord(cube.ra[target], cube.dec[target], unit="deg")

    s3fs = session.optional("s3fs", "astrocut")
    if astrocut is not None and s3fs is not None:
        # It keeps connections to an earlier server, as tesscube below keeps headers.
        s3fs.S3FileSystem.clear_instance_cache()
        cutters["astrocut (threads)"] = lambda target: (
            astrocut.TessCubeCutout(URI, place(target), SIZE, threads=SIZE).tpf_cutouts[0][1].data["FLUX"]
        )
    if tesscube is not None:
        from tesscube import query

        query.get_primary_hdu.cache_clear()
        query.get_last_hdu.cache_clear()
        ccd = tesscube.TESSCube(sector=1, camera=1, ccd=4)
        cutters["tesscube"] = lambda target: ccd.get_tpf(place(target), shape=(SIZE, SIZE))[1].data["FLUX"]
    return cutters


def ours_once(cube: BigCube, url: str) -> tuple[float, Cutouts]:
    began = time.perf_counter()
    cuts = sk.cutouts(
        np.stack([cube.ra, cube.dec], axis=1),
        SIZE,
        uri=URI,
        options=sk.TransferOptions(endpoint_url=url),
        workers=-1,
    )
    return time.perf_counter() - began, cuts


@pytest.mark.parametrize("latency_s", [0.0, LATENCY_S], ids=["", "50 ms"])
def test_cutouts(session: harness.Session, cube: BigCube, monkeypatch: pytest.MonkeyPatch, latency_s: float) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    timings: dict[str, harness.Timing] = {}
    ours = harness.Timing([])
    n_rival = N_OF_RIVAL[latency_s]
    with serve(cube, latency_s, monkeypatch) as url, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cutters = rival_cutters(session, cube)
        for cut in cutters.values():
            cut(0)
        for n_round in range(N_ROUND):
            seconds, cuts = ours_once(cube, url)
            ours.rounds.append(seconds)
            for target in range(N_TARGET):
                assert np.array_equal(cuts.flux[target], cube.flux(target)), target
            del cuts
            for name, cut in cutters.items():
                timing = timings.setdefault(name, harness.Timing([]))
                chosen = range(1 + n_round * n_rival, 1 + (n_round + 1) * n_rival)
                began = time.perf_counter()
                fluxes = [cut(target) for target in chosen]
                timing.rounds.append((time.perf_counter() - began) * N_TARGET / n_rival)
                for target, flux in zip(chosen, fluxes, strict=True):
                    assert np.array_equal(flux, cube.flux(target)), (name, target)
    late = f", {1000 * latency_s:g} ms added" if latency_s else ""
    notes = [f"rivals timed on {n_rival} targets a round and scaled", "flux of all bit-equal"]
    notes += [session.note_of(name) for name in ("astrocut", "tesscube") if name in session.missing]
    row = harness.Row(
        f"{N_TARGET:,} cutouts {SIZE}x{SIZE} of one cube of {N_FRAME:,} frames{late}",
        ours,
        timings,
        n_bytes=8 * N_TARGET * SIZE * SIZE * N_FRAME,
        threads="all",
        notes=notes,
    )
    session.record(row)
    for rival, must, aim in (("astrocut (threads)", 10, 30), ("tesscube", 5, 15)):
        if rival in timings:
            row.must(f"{must}x {rival}", row.ratio(rival) >= must)
            row.aim(f"{aim}x {rival}", row.ratio(rival) >= aim)


def test_target_pixel_files(
    compare: Callable[..., harness.Row], session: harness.Session, cube: BigCube, workspace: Path
) -> None:
    """Write 100 files from memory: ours against the same tables through astropy."""
    from astropy.io import fits

    n_file = 100
    cuts = local_cutouts(cube, n_file)
    ours_folder, their_folder = workspace / "tpf-ours", workspace / "tpf-astropy"
    written = cuts.write(ours_folder)
    with fits.open(written[0], memmap=False) as opened:
        lists = [hdu.copy() for hdu in opened]
    their_folder.mkdir()

    def through_astropy() -> None:
        for index in range(n_file):
            data = lists[1].data
            columns = []
            for column in lists[1].columns:
                array = data[column.name]
                if column.name in ("FLUX", "FLUX_ERR"):
                    array = getattr(cuts, column.name.lower())[index]
                columns.append(
                    fits.Column(column.name, column.format, column.unit, column.null, dim=column.dim, array=array)
                )
            table = fits.BinTableHDU.from_columns(columns, header=lists[1].header)
            path = their_folder / written[index].name
            fits.HDUList([lists[0].copy(), table, lists[2].copy()]).writeto(path, overwrite=True, checksum=True)

    def check(rival: str, *_: Any) -> None:
        for index, path in enumerate(written):
            theirs = fits.getdata(their_folder / path.name, 1)["FLUX"] if rival != "ours" else cuts.flux[index]
            assert np.array_equal(fits.getdata(path, 1)["FLUX"], theirs), (rival, index)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compare(
            f"{n_file} target pixel files {SIZE}x{SIZE} of {N_FRAME:,} frames to disk, with checksums",
            lambda: cuts.write(ours_folder, overwrite=True, workers=-1),
            {"astropy": through_astropy},
            check=check,
            n_bytes=n_file * written[0].stat().st_size,
            rounds=3,
            threads="all",
        )


def local_cutouts(cube: BigCube, n_target: int) -> Cutouts:
    return sk.cutouts(
        np.stack([cube.ra[:n_target], cube.dec[:n_target]], axis=1), SIZE, uri=cube.root / "stpubdata" / KEY
    )
