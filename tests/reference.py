"""Slow, obvious float64 oracles: each algorithm of the package written a second time, from its definition.

Owns the answers that the kernels are measured against. Every function here is written from the published definition
(the paper or the library whose semantics we promise), loops where a loop is the clearest statement, and computes in
float64. `test_oracle_reference.py` checks the oracles themselves against astropy, photutils and SciPy.

Refuses speed, and refuses to look at the code under test: nothing here imports ``starskope``. An oracle that shares
a line with the kernel shares its mistakes.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    F64 = NDArray[np.float64]


def decode_plane(buffer: bytes, offset: int, n_row: int, n_col: int) -> NDArray[np.float32]:
    """Return the big-endian float32 plane at ``offset`` as native float32, bit for bit (NaN payloads included)."""
    words = np.frombuffer(buffer, dtype=">u4", count=n_row * n_col, offset=offset)
    return words.astype(np.uint32).view(np.float32).reshape(n_row, n_col)


@dataclass
class ClippedSeries:
    """What is left of one series after clipping, and how close the decision was."""

    mean: float
    median: float
    std: float
    count: int
    keep: NDArray[np.bool_]
    margin: float
    """Smallest distance of any value to a bound it was compared with, over the scale of the series; the answer of a
    kernel with other rounding may differ in the last survivor where this is near zero."""


def clip_one(
    values: ArrayLike,
    *,
    sigma_low: float = math.inf,
    sigma_high: float = math.inf,
    max_iters: int | None = 0,
    center: str = "median",
    scale: str = "std",
) -> ClippedSeries:
    """Sigma-clip one series as ``astropy.stats.sigma_clip(stdfunc="std")`` (``"mad_std"``) defines it.

    Values that are not finite never take part. Each round computes the centre (mean or median) and the population
    standard deviation of the survivors in float64 and rejects what lies strictly outside ``[centre - sigma_low std,
    centre + sigma_high std]``; it ends when a round rejects nothing or after ``max_iters`` rounds (``None``: no
    limit). The last bounds then decide over all finite values, those rejected before included: with a centre that is
    not the mean, an early outlier can lie within them again.
    """
    x = np.asarray(values, dtype=np.float64)
    keep = np.isfinite(x)
    margin, low, high = math.inf, -math.inf, math.inf
    done = 0
    while keep.any() and (max_iters is None or done < max_iters):
        alive = x[keep]
        middle = np.median(alive) if center == "median" else math.fsum(alive) / len(alive)
        mean = math.fsum(alive) / len(alive)
        std = math.sqrt(math.fsum((alive - mean) ** 2) / len(alive))
        if scale == "mad":
            std = 1.482602218505602 * float(np.median(np.abs(alive - np.median(alive))))
        low, high = middle - sigma_low * std, middle + sigma_high * std
        outside = (alive < low) | (alive > high)
        if std > 0.0:
            size = std + float(np.max(np.abs(alive))) / 64.0
            finite = x[np.isfinite(x)]
            margin = min(margin, float(np.min(np.abs(np.concatenate([finite - low, finite - high])))) / size)
        if not outside.any():
            break
        keep[np.flatnonzero(keep)[outside]] = False
        done += 1
    if keep.any():
        keep = np.isfinite(x) & ~(x < low) & ~(x > high)
    alive = x[keep]
    if alive.size == 0:
        return ClippedSeries(math.nan, math.nan, math.nan, 0, keep, margin)
    mean = math.fsum(alive) / len(alive)
    std = math.sqrt(math.fsum((alive - mean) ** 2) / len(alive))
    return ClippedSeries(mean, float(np.median(alive)), std, len(alive), keep, margin)


@dataclass
class ClippedCube:
    """`clip_one` of every series of a time-major array; each field has the shape of one frame."""

    mean: F64
    median: F64
    std: F64
    count: NDArray[np.int64]
    margin: F64
    keep: NDArray[np.bool_]
    """(n_time, ...)"""


def clip_series(data: ArrayLike, **settings: Any) -> ClippedCube:
    """Apply `clip_one` to each series ``data[:, i]`` of an array ``(n_time, ...)``."""
    cube = np.asarray(data)
    flat = cube.reshape(cube.shape[0], -1) if cube.size else np.empty((cube.shape[0], math.prod(cube.shape[1:])))
    done = [clip_one(flat[:, i], **settings) for i in range(flat.shape[1])]

    def field(name: str, dtype: type) -> Any:
        return np.array([getattr(one, name) for one in done], dtype=dtype).reshape(cube.shape[1:])

    keep = np.array([one.keep for one in done], dtype=bool).reshape(flat.shape[1], cube.shape[0]).T
    return ClippedCube(
        mean=field("mean", float),
        median=field("median", float),
        std=field("std", float),
        count=field("count", int),
        margin=field("margin", float),
        keep=keep.reshape(cube.shape),
    )


def weighted(data: ArrayLike, weights: ArrayLike, keep: ArrayLike) -> tuple[F64, F64]:
    """Weighted mean and population standard deviation along the first axis of what is kept; NaN where nothing is."""
    x = np.asarray(data, dtype=np.float64)
    w = np.where(keep, np.broadcast_to(np.asarray(weights, dtype=np.float64), x.shape), 0.0)
    x = np.where(w > 0, x, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (w * x).sum(axis=0) / w.sum(axis=0)
        return mean, np.sqrt((w * (x - mean) ** 2).sum(axis=0) / w.sum(axis=0))


def combine(means: Sequence[ArrayLike], stds: Sequence[ArrayLike], counts: Sequence[ArrayLike]) -> tuple[F64, F64, F64]:
    """Mean, population std and count of a union of samples, from those of its parts (NaN mean where nothing is)."""
    count = np.sum([np.asarray(n, dtype=np.float64) for n in counts], axis=0)
    total = np.zeros_like(count)
    for mean, n in zip(means, counts, strict=True):
        total += np.where(np.asarray(n) > 0, np.asarray(mean, dtype=np.float64), 0.0) * np.asarray(n)
    with np.errstate(invalid="ignore", divide="ignore"):
        grand = total / count
        square = np.zeros_like(count)
        for mean, std, n in zip(means, stds, counts, strict=True):
            deviation = np.asarray(std, dtype=np.float64) ** 2 + (np.asarray(mean, dtype=np.float64) - grand) ** 2
            square += np.where(np.asarray(n) > 0, deviation, 0.0) * np.asarray(n)
        return grand, np.sqrt(square / count), count


def overlap_area(row: float, column: float, radius: float, pixel_row: int, pixel_column: int) -> float:
    """Return the area common to a circle and a pixel, by integrating its height piece by piece.

    The height of the common region above abscissa x is ``min(y1, h) - max(y0, -h)`` with ``h = sqrt(r^2 - x^2)``,
    never below 0. Between the abscissae where the circle crosses an edge the formula does not change, and h has an
    elementary integral.
    """
    x0, x1 = pixel_column - 0.5 - column, pixel_column + 0.5 - column
    y0, y1 = pixel_row - 0.5 - row, pixel_row + 0.5 - row
    cuts = [x0, x1, -radius, radius]
    for y in (y0, y1):
        if abs(y) < radius:
            crossing = math.sqrt(radius * radius - y * y)
            cuts += [-crossing, crossing]
    left, right = max(x0, -radius), min(x1, radius)
    cuts = sorted({cut for cut in cuts if left <= cut <= right})

    def primitive(x: float) -> float:
        x = min(max(x, -radius), radius)
        return 0.5 * (x * math.sqrt(radius * radius - x * x) + radius * radius * math.asin(x / radius))

    area = 0.0
    for a, b in itertools.pairwise(cuts):
        middle = 0.5 * (a + b)
        half = math.sqrt(max(radius * radius - middle * middle, 0.0))
        if min(y1, half) <= max(y0, -half):
            continue
        arc = primitive(b) - primitive(a)
        top = y1 * (b - a) if y1 < half else arc
        bottom = y0 * (b - a) if y0 > -half else -arc
        area += top - bottom
    return area


@dataclass
class ApertureSum:
    """Sum and area over the usable pixels of one aperture, and how many touched pixels were missing."""

    total: float
    area: float
    n_bad: int
    n_off: int
    """Pixels of the endless grid that the circle touches outside the image."""
    magnitude: float
    """Sum of |pixel| times overlap: the scale of the rounding error of ``total``."""


def aperture_sum(image: ArrayLike, row: float, column: float, radius: float) -> ApertureSum:
    """Sum an image over a circle with exact overlap; pixels that are not finite count in ``n_bad`` and nowhere else."""
    pixels = np.asarray(image, dtype=np.float64)
    n_row, n_col = pixels.shape
    total, area, magnitude, n_bad, n_off = [], [], [], 0, 0
    for i in range(math.floor(row - radius - 1), math.ceil(row + radius + 2)):
        for j in range(math.floor(column - radius - 1), math.ceil(column + radius + 2)):
            weight = overlap_area(row, column, radius, i, j)
            if weight <= 0.0:
                continue
            if not (0 <= i < n_row and 0 <= j < n_col):
                n_off += 1
                continue
            if not math.isfinite(pixels[i, j]):
                n_bad += 1
                continue
            total.append(weight * pixels[i, j])
            area.append(weight)
            magnitude.append(abs(weight * pixels[i, j]))
    return ApertureSum(math.fsum(total), math.fsum(area), n_bad, n_off, math.fsum(magnitude))


class TanSip:
    """Pixel to sky through SIP distortion and the gnomonic projection, straight from the papers.

    Shupe et al. 2005 (ADASS XIV, 491) eqs. 1-3: ``u = p - CRPIX``, ``U = u + sum A_pq u^p v^q``, ``V = v + sum B_pq
    u^p v^q``, intermediate world coordinates ``(x, y) = CD (U, V)``. Calabretta & Greisen 2002 (A&A 395, 1077): native
    longitude and latitude of (x, y) by eqs. 14, 15, 55, the sky by the rotation of eq. 2 and back by eqs. 5, 12, 13,
    54. The native pole is the reference point; its longitude LONPOLE is 0 where CRVAL2 is 90 deg and else 180 (section
    2.2), unless the header tells it. Pixels are ``row, column``, 0-based.
    """

    def __init__(self, header: Mapping[str, Any]) -> None:
        self.crpix = np.array([float(header["CRPIX1"]), float(header["CRPIX2"])])
        self.crval = np.radians([float(header["CRVAL1"]), float(header["CRVAL2"])])
        self.cd = np.array([[float(header[f"CD{i}_{j}"]) for j in (1, 2)] for i in (1, 2)])
        default = 0.0 if float(header["CRVAL2"]) >= 90.0 else 180.0
        told = header.get("LONPOLE")
        self.lonpole = math.radians(default if told is None else float(told))
        self.a = self._coefficients(header, "A")
        self.b = self._coefficients(header, "B")

    @staticmethod
    def _coefficients(header: Mapping[str, Any], letter: str) -> list[tuple[int, int, float]]:
        order = int(header.get(f"{letter}_ORDER", 0) or 0)
        return [
            (p, q, float(header[f"{letter}_{p}_{q}"]))
            for p in range(order + 1)
            for q in range(order + 1 - p)
            if header.get(f"{letter}_{p}_{q}") is not None
        ]

    def _distort(self, u: F64, v: F64) -> tuple[F64, F64]:
        return (
            u + sum(c * u**p * v**q for p, q, c in self.a),
            v + sum(c * u**p * v**q for p, q, c in self.b),
        )

    def pixel_to_world(self, row: ArrayLike, column: ArrayLike) -> tuple[F64, F64]:
        """Return ra, dec in degrees of 0-based pixel positions."""
        u = np.asarray(column, dtype=np.float64) + 1.0 - self.crpix[0]
        v = np.asarray(row, dtype=np.float64) + 1.0 - self.crpix[1]
        du, dv = self._distort(u, v)
        x = np.radians(self.cd[0, 0] * du + self.cd[0, 1] * dv)
        y = np.radians(self.cd[1, 0] * du + self.cd[1, 1] * dv)
        phi, theta = np.arctan2(x, -y), np.arctan2(1.0, np.hypot(x, y))
        ra0, dec0 = self.crval
        turn = phi - self.lonpole
        east = -np.cos(theta) * np.sin(turn)
        toward = np.sin(theta) * math.cos(dec0) - np.cos(theta) * math.sin(dec0) * np.cos(turn)
        up = np.sin(theta) * math.sin(dec0) + np.cos(theta) * math.cos(dec0) * np.cos(turn)
        return np.degrees(ra0 + np.arctan2(east, toward)) % 360.0, np.degrees(np.arctan2(up, np.hypot(east, toward)))

    def world_to_pixel(self, ra: ArrayLike, dec: ArrayLike) -> tuple[F64, F64]:
        """Return 0-based row, column of ra, dec in degrees (NaN behind the tangent point), by Newton on the SIP map."""
        lon, lat = np.radians(np.asarray(ra, dtype=np.float64)), np.radians(np.asarray(dec, dtype=np.float64))
        ra0, dec0 = self.crval
        turn = lon - ra0
        sin_theta = np.sin(lat) * math.sin(dec0) + np.cos(lat) * math.cos(dec0) * np.cos(turn)
        phi = self.lonpole + np.arctan2(
            -np.cos(lat) * np.sin(turn), np.sin(lat) * math.cos(dec0) - np.cos(lat) * math.sin(dec0) * np.cos(turn)
        )
        cos_theta = np.hypot(
            np.cos(lat) * np.sin(turn), np.sin(lat) * math.cos(dec0) - np.cos(lat) * math.sin(dec0) * np.cos(turn)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            radius = np.where(sin_theta > 0, cos_theta / sin_theta, np.nan)
        xi, eta = radius * np.sin(phi), -radius * np.cos(phi)
        inverse = np.linalg.inv(self.cd)
        target_u = np.degrees(inverse[0, 0] * xi + inverse[0, 1] * eta)
        target_v = np.degrees(inverse[1, 0] * xi + inverse[1, 1] * eta)
        u, v = target_u.copy(), target_v.copy()
        for _ in range(50):
            step = 1e-3
            f, g = self._distort(u, v)
            f_u, g_u = (
                (p - m) / (2 * step)
                for p, m in zip(self._distort(u + step, v), self._distort(u - step, v), strict=True)
            )
            f_v, g_v = (
                (p - m) / (2 * step)
                for p, m in zip(self._distort(u, v + step), self._distort(u, v - step), strict=True)
            )
            det = f_u * g_v - f_v * g_u
            u = u - ((f - target_u) * g_v - (g - target_v) * f_v) / det
            v = v - ((g - target_v) * f_u - (f - target_u) * g_u) / det
        return v + self.crpix[1] - 1.0, u + self.crpix[0] - 1.0


def bin_inverse_variance(flux: ArrayLike, flux_err: ArrayLike) -> tuple[float, float]:
    """Weighted mean ``sum(f/e^2)/sum(1/e^2)`` of one bin of one star and its error ``sum(1/e^2)^(-1/2)``."""
    f, e = np.asarray(flux, dtype=np.float64), np.asarray(flux_err, dtype=np.float64)
    good = np.isfinite(f) & np.isfinite(e) & (e > 0)
    if not good.any():
        return math.nan, math.nan
    weight = math.fsum(1.0 / e[good] ** 2)
    return math.fsum(f[good] / e[good] ** 2) / weight, 1.0 / math.sqrt(weight)


def running_median(time: ArrayLike, values: ArrayLike, width: float) -> F64:
    """Median of the finite values whose times lie within ``width / 2`` of each time, ends included."""
    t, x = np.asarray(time, dtype=np.float64), np.asarray(values, dtype=np.float64)
    out = np.full(x.shape, np.nan)
    for i, now in enumerate(t):
        near = x[(np.abs(t - now) <= width / 2) & np.isfinite(x)]
        if near.size:
            out[i] = np.median(near)
    return out


def earth_position(time_tdb_jd: ArrayLike) -> F64:
    """Barycentric place of Earth's centre in light-seconds, ICRS ``(n_time, 3)``, by astropy's built-in ephemeris."""
    from astropy import constants
    from astropy.coordinates import get_body_barycentric
    from astropy.time import Time

    times = Time(np.asarray(time_tdb_jd, dtype=np.float64), format="jd", scale="tdb")
    place = get_body_barycentric("earth", times, ephemeris="builtin")
    return np.asarray(place.xyz.to_value("m").T / constants.c.to_value("m/s"))


def barycentric_correction_s(observer_light_s: ArrayLike, ra_deg: float, dec_deg: float) -> F64:
    """Seconds to add to times at ``observer (n_time, 3)`` to have them at the barycentre: ``observer . direction``."""
    ra, dec = math.radians(ra_deg), math.radians(dec_deg)
    direction = np.array([math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)])
    return np.asarray(observer_light_s, dtype=np.float64) @ direction
