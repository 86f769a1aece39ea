"""From light curves of some stars to what is in them: spectra and transit searches, as a job makes them.

Owns the chain (the mask of the whole CCD, normalised flux to the spectra, levelled flux to the search), its settings,
and the named arrays in which a block of stars travels. Refuses pixels, files and the journal, and what needs all stars
at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from starskope.curves.container import LightCurves
from starskope.learn.columns import LightNumbers
from starskope.runconfig import RunConfig
from starskope.search.block import BlockSearch, search_block
from starskope.search.lombscargle import lomb_scargle
from starskope.search.power import power_spectrum
from starskope.search.segments import spectrogram
from starskope.search.settings import SearchSettings
from starskope.search.spectra_store import SpectraBlock

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = [
    "blank",
    "levelled",
    "light_from",
    "measure_block",
    "probe",
    "search_from",
    "search_settings",
    "segment_length",
    "spectra_from",
    "spectra_of",
]

LEAST_CADENCES = 16
"""Fewer hold neither a spectrum nor three transits."""
_SEGMENT, _LEAST_SEGMENT = 256, 16
_SEARCH, _LIGHT = "search.", "light."


def search_settings(config: RunConfig) -> SearchSettings:
    """Return what the transit search of a run is told."""
    return SearchSettings(period_min=config.period_min, period_max=config.period_max, n_candidates=config.n_candidates)


def segment_length(n_time: int) -> int:
    """Return the cadences in a segment of the spectrograms: 256, fewer in a short series, which has seven or more."""
    length = _SEGMENT
    while length > max(_LEAST_SEGMENT, n_time // 4):
        length //= 2
    return length


def blank(curves: LightCurves) -> LightCurves:
    """Return light curves of the same stars and times without any light."""
    return replace(curves, flux=np.full_like(curves.flux, np.nan))


def probe(curves: LightCurves, config: RunConfig) -> tuple[list[str], str]:
    """Search one star without light at the times of these light curves.

    Returns
    -------
    names : list of str
        Of the arrays that a block file holds; empty when there is nothing to look for.
    reason : str
        Why there is not. The stack and the light curves of a run are worth keeping all the same.
    """
    if curves.n_time < LEAST_CADENCES:
        return [], f"{curves.n_time} cadences: spectra and searches need {LEAST_CADENCES} or more"
    try:
        return sorted(measure_block(blank(curves.select(stars=slice(0, 1))), config)), ""
    except ValueError as error:
        return [], str(error)


def levelled(curves: LightCurves) -> LightCurves:
    """Return normalised light curves without the cadences that the mask of their CCD, in their flags, tells."""
    return curves.mask(ensemble=False).normalize()


def spectra_of(curves: LightCurves, *, workers: int = 1) -> SpectraBlock:
    """Return what ``spectra.zarr`` holds of some stars."""
    segment = segment_length(curves.n_time)
    return SpectraBlock(
        power_spectrum(curves, workers=workers),
        lomb_scargle(curves, workers=workers),
        spectrogram(curves, segment=segment, overlap=segment // 2, workers=workers),
    )


def measure_block(curves: LightCurves, config: RunConfig, *, workers: int = 1) -> dict[str, NDArray[Any]]:
    """Return spectra and searches of some stars, as the arrays of a block file.

    Parameters
    ----------
    curves : LightCurves
        As they were measured; the bits of the mask of the whole CCD are in ``quality``.
    config : RunConfig
        Window and grids.
    workers : int
        Compute threads.

    Returns
    -------
    dict of str to array
        `spectra_from`, `search_from` and `light_from` take them back; ``median_flux`` (n_star,) as measured.

    Raises
    ------
    ValueError
        The times hold no period that is asked for, or no regular cadence.

    Notes
    -----
    The spectra are those of the normalised light curves: levelled ones would have lost every rotation that is longer
    than the window. The search sees levelled ones.
    """
    level = levelled(curves)
    flat = level.flatten(config.flatten_window, workers=workers)
    found = search_block(flat, search_settings(config), workers=workers)
    spectra = spectra_of(level, workers=workers)
    return {
        "median_flux": np.asarray(level.stars["median_flux"], np.float64),
        **spectra.arrays(),
        **{f"{_LIGHT}{name}": array for name, array in LightNumbers.measure(level, spectra).arrays().items()},
        **{f"{_SEARCH}{name}": array for name, array in found.arrays().items()},
    }


def spectra_from(arrays: Mapping[str, NDArray[Any]], stars: Table) -> SpectraBlock:
    """Take the spectra of ``stars`` out of the arrays of their block."""
    return SpectraBlock.from_arrays(arrays, stars)


def light_from(arrays: Mapping[str, NDArray[Any]]) -> LightNumbers:
    """Take what the features need of the light out of the arrays of a block."""
    return LightNumbers.from_arrays(_part(arrays, _LIGHT))


def search_from(arrays: Mapping[str, NDArray[Any]]) -> BlockSearch:
    """Take the search out of the arrays of a block."""
    return BlockSearch.from_arrays(_part(arrays, _SEARCH))


def _part(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
