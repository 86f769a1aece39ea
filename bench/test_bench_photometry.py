"""One full-size frame: apertures, background and world coordinates of a catalogue."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import harness
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from inputs import N_STAR, FullFrame

from starskope.frames.background import estimate_background, fit_background
from starskope.frames.photometry import measure
from starskope.frames.wcs import TanSip
from starskope.layout.fits import locate_image

Compare = Callable[..., harness.Row]


def test_apertures(compare: Compare, session: harness.Session, full_frame: FullFrame) -> None:
    image, (row, column) = full_frame.sky, full_frame.apertures
    sep, photutils = session.optional("sep"), session.optional("photutils.aperture", "photutils")
    places, level = np.stack([column, row], axis=1), np.full(N_STAR, 100.0)

    def ours() -> Any:
        return measure(image, level, row, column, 2.5, exposure_s=1425.6, read_noise_e=8.0, n_read=720).flux

    def with_sep() -> Any:
        return sep.sum_circle(image, column, row, 2.5, subpix=0)[0]  # type: ignore[union-attr]

    def with_photutils() -> Any:
        circles = photutils.CircularAperture(places, 2.5)  # type: ignore[union-attr]
        return np.asarray(circles.do_photometry(image, method="exact")[0])

    def close(rival: str, mine: Any, theirs: Any) -> None:
        np.testing.assert_allclose(mine, theirs, rtol=2e-6, err_msg=rival)

    compare(
        f"{N_STAR} circular apertures on one full-size frame, exact overlap, with errors",
        ours,
        {"sep": with_sep if sep else None, "photutils": with_photutils if photutils else None},
        check=close,
        rounds=15,
    )


def test_apertures_with_background(compare: Compare, session: harness.Session, full_frame: FullFrame) -> None:
    """From a raw frame to fluxes: the background measured, subtracted, and circles summed with their errors."""
    image, (row, column) = full_frame.sky, full_frame.apertures
    sep = session.optional("sep")

    def ours() -> Any:
        model = fit_background(image, box=64)
        return measure(image, model, row, column, 2.5, exposure_s=1425.6, read_noise_e=8.0, n_read=720).flux

    def with_sep() -> Any:
        background = sep.Background(image, bw=64, bh=64)  # type: ignore[union-attr]
        return sep.sum_circle(image - background, column, row, 2.5, subpix=0, err=background.globalrms)[0]  # type: ignore[union-attr]

    def close(rival: str, mine: Any, theirs: Any) -> None:
        # The surfaces differ by what each takes for sky, within 1 e-/s per pixel.
        assert float(np.median(np.abs(mine - theirs))) < np.pi * 2.5**2, rival

    row_ = compare(
        f"photometry of {N_STAR} apertures with background on one full-size frame",
        ours,
        {"sep": with_sep if sep else None},
        check=close,
        rounds=9,
    )
    if "sep" in row_.rivals:
        ratio = row_.rivals["sep"].best / row_.ours.best
        row_.must("4x sep", ratio >= 4.0)
        row_.aim("10x sep", ratio >= 10.0)


def test_background(compare: Compare, session: harness.Session, full_frame: FullFrame) -> None:
    image = full_frame.sky
    sep, photutils = session.optional("sep"), session.optional("photutils.background", "photutils")

    def with_sep() -> Any:
        return sep.Background(image, bw=64, bh=64).back()  # type: ignore[union-attr]

    def with_photutils() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return photutils.Background2D(image, 64).background  # type: ignore[union-attr]

    # Other estimators of the level and other surfaces: what is asked is that ours is no farther from the truth.
    truth = full_frame.sector.background.image(0)
    errors: dict[str, float] = {}

    def no_worse(rival: str, mine: Any, theirs: Any) -> None:
        errors["ours"] = float(np.sqrt(np.mean((mine - truth) ** 2)))
        errors[rival] = float(np.sqrt(np.mean((np.asarray(theirs) - truth) ** 2)))
        assert errors["ours"] <= 1.05 * errors[rival], errors

    done = compare(
        "2-D background of 2048 x 2048 pixels, boxes of 64",
        lambda: estimate_background(image, box=64),
        {"sep": with_sep if sep else None, "photutils": with_photutils if photutils else None},
        check=no_worse,
        n_bytes=image.nbytes,
        rounds=7,
        rival_budget_s=2.0,
    )
    done.notes.append("rms error " + ", ".join(f"{name} {error:.2f}" for name, error in errors.items()) + " e-/s")


def test_world_to_pixel(compare: Compare, full_frame: FullFrame) -> None:
    cards = dict(locate_image(full_frame.buffer).header)
    with fits.open(full_frame.path) as hdus:
        header = hdus[1].header.copy()
    rng = np.random.default_rng(1)
    ra, dec = TanSip.from_header(cards).pixel_to_world(rng.uniform(0, 2047, N_STAR), rng.uniform(44, 2091, N_STAR))

    def ours() -> Any:
        return TanSip.from_header(cards).world_to_pixel(ra, dec)

    def with_astropy() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            column, row = WCS(header).all_world2pix(ra, dec, 0, tolerance=1e-6)
        return row, column

    def close(rival: str, mine: Any, theirs: Any) -> None:
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6, err_msg=rival)

    compare(
        f"pixels of {N_STAR} stars from a frame's header, TAN-SIP, to 1e-6 pixel",
        ours,
        {"astropy": with_astropy},
        check=close,
        rounds=15,
    )
