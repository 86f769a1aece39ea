"""How stars vary: relative flux of planets' hosts, eclipsing binaries, pulsators, rotators and flare stars.

Owns light curves as functions of barycentric time, averaged over the exposure. Refuses to choose which star does what
(`stars`) and adds no noise. Transits and eclipses come from batman with quadratic limb darkening.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.table import Row
from numpy.typing import NDArray

__all__ = ["relative_flux"]

_SUPERSAMPLE = 15
_FLARE_STEPS = 30


def relative_flux(star: Row, time: NDArray[np.float64], exposure_days: float, first_time: float) -> NDArray[np.float64]:
    """Return the flux of a star relative to its `flux` column.

    Parameters
    ----------
    star : Row
        Of the truth table.
    time : (n_time,) float64
        Mid-exposure at the barycentre, BTJD.
    exposure_days : float
        Length of the frame over which the flux is averaged.
    first_time : float
        Phases of pulsations and spots count from here, BTJD.

    Returns
    -------
    (n_time,) float64
        1 for a quiet star.
    """
    kind = str(star["kind"])
    if kind == "planet":
        return _eclipse(star, time, exposure_days, "primary")
    if kind == "binary":
        ratio = float(star["flux_ratio"])
        both = _eclipse(star, time, exposure_days, "primary") + _eclipse(star, time, exposure_days, "secondary") - 1.0
        return np.asarray(both / (1.0 + ratio))
    if kind in ("pulsator", "rotator"):
        return _waves(star, time - first_time, exposure_days)
    if kind == "flare":
        return _flares(star, time, exposure_days)
    return np.ones_like(time)


def eclipse_model(star: Row, time: NDArray[np.float64], which: str, **sampling: Any) -> NDArray[np.float64]:
    """Return batman's light curve of a star of kind planet or binary; `which` is primary or secondary."""
    import batman

    shape = batman.TransitParams()
    shape.t0, shape.per, shape.rp = float(star["t0"]), float(star["period"]), float(star["rp_rs"])
    shape.a, shape.inc, shape.ecc, shape.w = float(star["a_rs"]), float(star["inc"]), 0.0, 90.0
    shape.limb_dark, shape.u = "quadratic", [float(star["u1"]), float(star["u2"])]
    if which == "secondary":
        shape.fp, shape.t_secondary = float(star["flux_ratio"]), shape.t0 + 0.5 * shape.per
    model = batman.TransitModel(shape, time, transittype=which, **sampling)
    return np.asarray(model.light_curve(shape), np.float64)


def _eclipse(star: Row, time: NDArray[np.float64], exposure_days: float, which: str) -> NDArray[np.float64]:
    return eclipse_model(star, time, which, supersample_factor=_SUPERSAMPLE, exp_time=exposure_days)


def _waves(star: Row, days: NDArray[np.float64], exposure_days: float) -> NDArray[np.float64]:
    """Sines; averaging over the exposure multiplies each by a sinc."""
    flux = np.ones_like(days)
    for frequency, amplitude, phase in zip(star["frequencies"], star["amplitudes"], star["phases"], strict=True):
        if amplitude > 0:
            flux += amplitude * np.sinc(frequency * exposure_days) * np.sin(2 * np.pi * (frequency * days + phase))
    return flux


def _flares(star: Row, time: NDArray[np.float64], exposure_days: float) -> NDArray[np.float64]:
    steps = ((np.arange(_FLARE_STEPS) + 0.5) / _FLARE_STEPS - 0.5) * exposure_days
    flux = np.ones_like(time)
    columns: Sequence[str] = ("frequencies", "amplitudes", "phases")
    for moment, amplitude, width in zip(*(star[name] for name in columns), strict=True):
        if amplitude > 0:
            flux += amplitude * flare_shape((time[:, None] + steps - moment) / width).mean(axis=1)
    return flux


def flare_shape(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the flare template of Davenport et al. 2014 (doi:10.1088/0004-637X/797/2/122), peak 1.

    Parameters
    ----------
    x : float64
        Time from the peak in units of the full width at half maximum.
    """
    rise = 1 + 1.941 * x - 0.175 * x**2 - 2.246 * x**3 - 1.125 * x**4
    late = np.maximum(x, 0)
    decay = 0.6890 * np.exp(-1.600 * late) + 0.3030 * np.exp(-0.2783 * late)
    return np.asarray(np.where(x < -1, 0.0, np.where(x < 0, rise, decay)))
