"""Guide stars, centroids and the world coordinates of frames that have none, against known motions and the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erf

from starskope.frames.background import fit_background
from starskope.frames.decode import Frame, decode_frame
from starskope.frames.pointing import Reference, centroids, find_guides, make_guides, solve_wcs
from starskope.frames.reduce import make_reference
from starskope.frames.wcs import TanSip, has_wcs
from starskope.synth import SectorConfig, SyntheticSector

WHOLE = (slice(0, 128), slice(0, 128))
WCS = TanSip((80.0, -66.0), (63.5, 63.5), np.diag([-0.0057, 0.0057]))


def render(row: np.ndarray, column: np.ndarray, flux: np.ndarray, n: int = 128, sigma: float = 0.75) -> np.ndarray:
    """Pixel-integrated Gaussian stars, undersampled as TESS's are."""
    edges = np.arange(n + 1) - 0.5

    def share(centre: np.ndarray) -> np.ndarray:
        return np.diff(0.5 * erf((edges - centre[:, None]) / (np.sqrt(2) * sigma)), axis=1)

    return np.einsum("si,sj,s->ij", share(row), share(column), flux).astype(np.float32)


def field(n_star: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stars at least 14 pixels apart and off the edges."""
    rng = np.random.default_rng(seed)
    places: list[np.ndarray] = []
    while len(places) < n_star:
        place = rng.uniform(14, 114, 2)
        if all(np.hypot(*(place - other)) > 14 for other in places):
            places.append(place)
    row, column = np.transpose(places)
    return row, column, rng.uniform(2e3, 4e4, n_star)


def noisy(image: np.ndarray, seed: int = 1) -> np.ndarray:
    return (image + np.random.default_rng(seed).normal(0, 0.5, image.shape)).astype(np.float32)


def reference_of(row: np.ndarray, column: np.ndarray, flux: np.ndarray) -> Reference:
    return make_guides(7, "reference.fits", WCS, noisy(render(row, column, flux), 9), WHOLE)


def test_centroids_of_undersampled_stars() -> None:
    row, column, flux = field(25)
    found = np.array(centroids(noisy(render(row, column, flux)), np.rint(row) + 1, np.rint(column) - 1))
    # What is left is the phase within the pixel, which cancels between two frames.
    assert np.abs(found - [row, column]).max() < 0.03


def test_a_centroid_is_missing_where_it_cannot_be_measured() -> None:
    image = noisy(render(np.array([30.0, 60.0, 2.0]), np.array([30.0, 60.0, 64.0]), np.full(3, 1e4)))
    image[59, 62] = np.nan
    row, column = centroids(image, [30.0, 60.0, 2.0, 100.0, np.nan, 1e9], [30.0, 60.0, 64.0, 100.0, 5.0, 5.0])
    assert np.isfinite(row[0])
    assert np.isnan(row[[1, 2, 4, 5]]).all()
    assert np.isnan(column[[1, 2, 4, 5]]).all()
    assert np.isnan(centroids(np.ones((5, 5), np.float32), [2.0], [2.0])[0]).all()


def test_guides_are_bright_unsaturated_and_alone() -> None:
    row, column, flux = field(20)
    flux[0], flux[1] = 3e5, 3.0  # saturated; too faint
    neighbour = row[2] + 3.0, column[2] + 2.0, flux[2] * 0.5
    image = noisy(render(np.append(row, neighbour[0]), np.append(column, neighbour[1]), np.append(flux, neighbour[2])))
    got = np.transpose(find_guides(image, WHOLE))
    distance = np.hypot(*(got[:, None] - np.transpose([row, column])).transpose(2, 0, 1))
    assert set(np.flatnonzero(distance.min(axis=0) < 0.5)) == set(range(2, 20))
    assert len(got) == 18
    peaks = image[np.rint(got[:, 0]).astype(int), np.rint(got[:, 1]).astype(int)]
    assert (np.diff(peaks) <= 0).all()
    assert len(find_guides(image, WHOLE, max_guides=5)[0]) == 5


def test_no_guides_in_an_empty_tiny_or_missing_sky() -> None:
    for image in (noisy(np.zeros((128, 128))), np.full((128, 128), np.nan, np.float32)):
        assert find_guides(image, WHOLE)[0].size == 0
    assert find_guides(np.ones((12, 12), np.float32), (slice(0, 12), slice(0, 12)))[0].size == 0


@pytest.mark.parametrize("shift", [(0.3, -0.25), (0.02, 0.01), (-2.6, 4.3)])
@pytest.mark.parametrize(("n_star", "how"), [(25, "affine motion"), (5, "median shift"), (1, "median shift")])
def test_the_motion_of_a_frame(shift: tuple[float, float], n_star: int, how: str) -> None:
    row, column, flux = field(n_star)
    moved = noisy(render(row + shift[0], column + shift[1], flux), 3)
    wcs, note = solve_wcs(moved, reference_of(row, column, flux))
    got = np.array(wcs.world_to_pixel(*WCS.pixel_to_world([0.0, 127.0, 63.5], [0.0, 127.0, 20.0])))
    expected = np.array([[0.0, 127.0, 63.5], [0.0, 127.0, 20.0]]) + np.reshape(shift, (2, 1))
    assert np.abs(got - expected).max() < 0.05
    assert how in note
    assert "frame 7" in note


def test_a_roll_is_seen() -> None:
    row, column, flux = field(25)
    roll = np.array([[1.0, -8e-4], [8e-4, 1.0]])
    places = np.array([[63.5], [63.5]]) + roll @ np.array([row - 63.5, column - 63.5]) + [[0.1], [-0.2]]
    wcs, _ = solve_wcs(noisy(render(*places, flux), 3), reference_of(row, column, flux))
    corners = np.array([[0.0, 0.0, 127.0, 127.0], [0.0, 127.0, 0.0, 127.0]])
    expected = np.array([[63.6], [63.3]]) + roll @ (corners - 63.5)
    assert np.abs(np.array(wcs.world_to_pixel(*WCS.pixel_to_world(*corners))) - expected).max() < 0.05


def test_stars_that_changed_or_went_do_not_pull_the_solution() -> None:
    row, column, flux = field(25)
    reference = reference_of(row, column, flux)
    now = flux.copy()
    now[:3] = 0.0
    moved_row, moved_column = row + 0.2, column + 0.1
    moved_row[3:6] += 1.2  # neighbours flared beside three guides
    wcs, note = solve_wcs(noisy(render(moved_row, moved_column, now), 3), reference)
    got = np.array(wcs.world_to_pixel(*WCS.pixel_to_world([0.0, 127.0], [0.0, 127.0])))
    assert np.abs(got - [[0.2, 127.2], [0.1, 127.1]]).max() < 0.05
    assert "19 guide stars" in note


def test_without_stars_the_neighbours_wcs_serves_and_says_so() -> None:
    row, column, flux = field(10)
    wcs, note = solve_wcs(np.full((128, 128), np.nan, np.float32), reference_of(row, column, flux))
    assert wcs is WCS
    assert "no guide star" in note
    nowhere = Reference(3, "empty.fits", WCS, (128, 128), np.empty(0), np.empty(0))
    assert "unchanged" in solve_wcs(noisy(np.zeros((128, 128))), nowhere)[1]


@pytest.fixture(scope="module")
def sector() -> SyntheticSector:
    return SyntheticSector(SectorConfig(seed=4, n_row=128, n_col=128, n_frame=60, n_star=200, dump_px=0.3))


def test_frames_of_a_sector_are_placed_to_a_twentieth_of_a_pixel(sector: SyntheticSector) -> None:
    """Stripped frames, momentum dumps and the jitter episode included, over the whole CCD."""
    truth = sector.frame_truth
    restless = np.flatnonzero(np.asarray(truth["dump"]) | np.asarray(truth["episode"]))
    stripped = np.flatnonzero(~np.asarray(truth["has_wcs"]))
    assert stripped.size >= 3
    assert restless.size >= 2
    steady = [i for i in range(60) if truth["has_wcs"][i] and i not in restless]
    n_row, n_col = sector.config.shape
    y, x = (axis.ravel().astype(float) for axis in np.mgrid[0:n_row:9, 0:n_col:9])

    def image(i: int) -> Frame:
        return decode_frame(sector.ffi_bytes(i), index=i, name=f"frame{i}")

    for i in {*stripped.tolist(), *restless.tolist()[:6], steady[5]}:
        neighbour = min((k for k in steady if k != i), key=lambda k: abs(k - i))
        frame = image(i)
        assert has_wcs(frame.header) == (i not in stripped)
        plane = fit_background(frame.image, frame.science).plane()
        wcs, _ = solve_wcs(frame.image - plane, make_reference(image(neighbour)))
        column, row = sector.true_wcs(i).all_world2pix(*wcs.pixel_to_world(y, x), 0)
        assert np.hypot(row - y, column - x).max() < 0.05, i
