"""World coordinates of one frame: gnomonic TAN projection with forward SIP distortion.

Owns the map between ICRS positions and pixels of TESS and Kepler frames, vectorised over stars, and its cards. It
refuses other projections, inverse SIP polynomials (sky to pixel inverts the forward ones, as the SIP convention
defines them) and any fitting: :mod:`starskope.frames.pointing` corrects a WCS from the stars of a frame.

Own code is kept because astropy takes 13 ms per frame for 10,000 stars (7.4 to build its `WCS` from the 183 cards of a
real header, 5.5 for `all_world2pix` to 1e-6 pixel, 7.0 to 1e-9) where this takes 2.8 (0.2 and 2.6) on one core.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import comb
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope.errors import FrameError

__all__ = ["TanSip", "has_wcs"]

Array = NDArray[np.float64]

_MAX_STEPS = 12
# Newton squares its error: with slopes that change by K per pixel (4e-5 on TESS, never near 1e3), a step of s leaves
# K s**2, so a last step below 1e-6 leaves less than 1e-9 pixel. Slopes from S pixels away leave K S s.
_LAST_STEP_PX = 1e-6
_SAME_SLOPES_PX = 1.0
_CHUNK = 4096  # positions per pass, so that the temporaries of one pass stay in cache


def has_wcs(header: Mapping[str, Any]) -> bool:
    """Whether a header claims celestial coordinates at all (flag-free TESS frames can lack them)."""
    return str(header.get("CTYPE1", "")).startswith(("RA--", "DEC-")) and "CRVAL1" in header


@dataclass(frozen=True, eq=False)
class TanSip:
    """A TAN or TAN-SIP world coordinate system.

    With u = column - crpix_column and v = row - crpix_row, the intermediate world coordinates in degrees are
    ``cd @ (u + A(u, v), v + B(u, v))``, where A and B are polynomials ``sum a[p, q] u**p v**q``.

    Attributes
    ----------
    crval : tuple of float
        (ra, dec) of the reference point, degrees.
    crpix : tuple of float
        (row, column) of the reference point, 0-based.
    cd : ndarray, shape (2, 2), float64
        Degrees per pixel; columns are (column, row), as in the CD cards.
    a, b : ndarray, shape (order + 1, order + 1), float64
        Distortion of the column and of the row; the two orders may differ. Zero where p + q exceeds the order.

    References
    ----------
    Calabretta & Greisen 2002, A&A 395, 1077; Shupe et al. 2005, ASPC 347, 491 (SIP).

    Examples
    --------
    >>> cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": -5.0, "CRPIX1": 1.0,
    ...          "CRPIX2": 1.0, "CD1_1": -0.005, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.005}
    >>> row, column = TanSip.from_header(cards).world_to_pixel(10.0, -4.9)
    >>> print(f"{row:.3f} {column:.3f}")
    20.000 0.000
    """

    crval: tuple[float, float]
    crpix: tuple[float, float]
    cd: Array
    a: Array = field(default_factory=lambda: np.zeros((1, 1)))
    b: Array = field(default_factory=lambda: np.zeros((1, 1)))

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> TanSip:
        """Read the cards of an image header.

        Parameters
        ----------
        header : mapping of str to value
            CTYPE, CRVAL, CRPIX, CD (or CDELT with optional PC) and, for -SIP types, A_ORDER, B_ORDER and A_i_j, B_i_j.

        Raises
        ------
        FrameError
            Cards are missing (all are named), not finite, or describe another projection.
        """
        types = str(header.get("CTYPE1", "")).strip(), str(header.get("CTYPE2", "")).strip()
        if types not in {("RA---TAN", "DEC--TAN"), ("RA---TAN-SIP", "DEC--TAN-SIP")}:
            raise FrameError(
                f"the header has CTYPE1, CTYPE2 = {types[0]!r}, {types[1]!r}; this WCS needs RA---TAN[-SIP] and "
                "DEC--TAN[-SIP]: give another frame's WCS as the reference, or leave the frame out"
            )
        names = ["CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"]
        has_cd = any(f"CD{i}_{j}" in header for i in (1, 2) for j in (1, 2))
        linear = "CD" if has_cd or "CDELT1" not in header else "PC"
        names += ["CDELT1", "CDELT2"] if linear == "PC" else ["CD1_1", "CD1_2", "CD2_1", "CD2_2"]
        is_sip = types[0].endswith("-SIP")
        names += ["A_ORDER", "B_ORDER"] if is_sip else []
        missing = [name for name in names if header.get(name) is None]
        if missing:
            raise FrameError(f"the WCS of the header lacks {', '.join(missing)}; give another frame's WCS as reference")
        if linear == "CD":
            cd = np.array([[_number(header, f"CD{i}_{j}") for j in (1, 2)] for i in (1, 2)])
        else:
            pc = np.array([[_number(header, f"PC{i}_{j}", float(i == j)) for j in (1, 2)] for i in (1, 2)])
            cd = np.array([[_number(header, "CDELT1")], [_number(header, "CDELT2")]]) * pc
        # LONPOLE other than 180 turns the intermediate coordinates; its default is 0 for a reference point on the pole
        # (Calabretta & Greisen 2002, section 2.2).
        turn = np.radians(_number(header, "LONPOLE", 180.0 if _number(header, "CRVAL2") < 90.0 else 0.0) - 180.0)
        if turn != 0.0:
            cd = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) @ cd
        if np.linalg.det(cd) == 0:
            raise FrameError(f"the CD matrix {cd.tolist()} is singular, so no star can be placed; leave the frame out")
        return cls(
            crval=(_number(header, "CRVAL1"), _number(header, "CRVAL2")),
            crpix=(_number(header, "CRPIX2") - 1.0, _number(header, "CRPIX1") - 1.0),
            cd=cd,
            a=_polynomial(header, "A") if is_sip else np.zeros((1, 1)),
            b=_polynomial(header, "B") if is_sip else np.zeros((1, 1)),
        )

    def to_header(self) -> dict[str, str | int | float]:
        """Give the cards of this WCS, 1-based as FITS wants them; `from_header` reads them back exactly."""
        is_sip = bool(np.any(self.a) or np.any(self.b))
        suffix = "-SIP" if is_sip else ""
        cards: dict[str, str | int | float] = {
            "WCSAXES": 2,
            "RADESYS": "ICRS",
            "CTYPE1": f"RA---TAN{suffix}",
            "CTYPE2": f"DEC--TAN{suffix}",
            "CUNIT1": "deg",
            "CUNIT2": "deg",
            "CRVAL1": self.crval[0],
            "CRVAL2": self.crval[1],
            "CRPIX1": self.crpix[1] + 1.0,
            "CRPIX2": self.crpix[0] + 1.0,
            "LONPOLE": 180.0,
        }
        cards |= {f"CD{i + 1}_{j + 1}": float(self.cd[i, j]) for i in (0, 1) for j in (0, 1)}
        if is_sip:
            for name, polynomial in (("A", self.a), ("B", self.b)):
                order = len(polynomial) - 1
                # SIP readers expect an order of at least 2; the extra coefficients are zero.
                cards[f"{name}_ORDER"] = max(order, 2)
                for p, q in _terms(order):
                    if polynomial[p, q] != 0.0:
                        cards[f"{name}_{p}_{q}"] = float(polynomial[p, q])
        return cards

    def pixel_to_world(self, row: ArrayLike, column: ArrayLike) -> tuple[Array, Array]:
        """Map pixels to the sky.

        Parameters
        ----------
        row, column : array_like, any one shape, float64
            0-based positions; pixel centres are integers.

        Returns
        -------
        ra, dec : ndarray, same shape, float64
            ICRS degrees, ra in [0, 360); NaN where the input is NaN.
        """
        return _in_chunks(self._pixel_to_world, row, column)

    def world_to_pixel(
        self, ra: ArrayLike, dec: ArrayLike, *, near: tuple[Array, Array] | None = None
    ) -> tuple[Array, Array]:
        """Map the sky to pixels by Newton's method on the forward distortion.

        Parameters
        ----------
        ra, dec : array_like, any one shape, float64
            ICRS degrees.
        near : tuple of ndarray, same shape, float64, optional
            Row and column of each star on another frame of the same pointing: where to begin. Costs half as much.

        Returns
        -------
        row, column : ndarray, same shape, float64
            0-based positions, converged to 1e-9 pixel. NaN behind the tangent plane (90 degrees and more from the
            reference point), where the input is NaN, and where the distortion has no inverse. Positions off the CCD are
            returned: the caller knows its shape.

        Notes
        -----
        Three steps on a TESS CCD, one of them with slopes; about 0.15 us per star.
        """
        return _in_chunks(self._world_to_pixel, ra, dec, *(near or ()))

    def shifted(self, d_row: float, d_column: float) -> TanSip:
        """Give this WCS for a frame on which every star lies (d_row, d_column) pixels further."""
        crpix = self.crpix[0] + float(d_row), self.crpix[1] + float(d_column)
        return TanSip(self.crval, crpix, self.cd, self.a, self.b)

    def moved(self, matrix: ArrayLike, origin: tuple[float, float], shift: tuple[float, float]) -> TanSip:
        """Give this WCS after an affine motion of the stars over the pixels.

        A star at p = (row, column) here lies at ``origin + shift + matrix @ (p - origin)`` on the new frame. The result
        is exact: the linear part goes into CD, and A and B are rewritten in the new pixels.

        Parameters
        ----------
        matrix : array_like, shape (2, 2), float64
            In (row, column) order; nearly the identity for the roll and scale changes of a spacecraft.
        origin, shift : tuple of float
            (row, column), pixels.

        Raises
        ------
        ValueError
            The matrix is singular.
        """
        forward = np.asarray(matrix, dtype=np.float64)
        if forward.shape != (2, 2) or not np.isfinite(forward).all() or np.linalg.det(forward) == 0:
            raise ValueError(f"an affine motion needs an invertible (2, 2) matrix, got {forward.tolist()}")
        start, move = np.asarray(origin, dtype=np.float64), np.asarray(shift, dtype=np.float64)
        crpix = start + move + forward @ (np.asarray(self.crpix) - start)
        # In the (column, row) order of CD: u_old = back @ u_new, so U_old = back @ (u_new + forward @ A(back @ u_new)).
        back = np.asarray(np.linalg.inv(forward)[::-1, ::-1], dtype=np.float64)
        ahead = forward[::-1, ::-1]
        size = max(len(self.a), len(self.b))
        a_new, b_new = _substituted(self.a, back, size), _substituted(self.b, back, size)
        return TanSip(
            self.crval,
            (float(crpix[0]), float(crpix[1])),
            self.cd @ back,
            ahead[0, 0] * a_new + ahead[0, 1] * b_new,
            ahead[1, 0] * a_new + ahead[1, 1] * b_new,
        )

    def _pixel_to_world(self, row: Array, column: Array) -> tuple[Array, Array]:
        u, v = column - self.crpix[1], row - self.crpix[0]
        du, dv = _value(self.a, u, v), _value(self.b, u, v)
        u, v = u + du, v + dv
        xi = np.radians(self.cd[0, 0] * u + self.cd[0, 1] * v)
        eta = np.radians(self.cd[1, 0] * u + self.cd[1, 1] * v)
        dec0 = np.radians(self.crval[1])
        toward = np.cos(dec0) - eta * np.sin(dec0)
        ra = self.crval[0] + np.degrees(np.arctan2(xi, toward))
        dec = np.degrees(np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, toward)))
        return np.mod(ra, 360.0), dec

    def _world_to_pixel(self, ra: Array, dec: Array, *near: Array) -> tuple[Array, Array]:
        dec0 = np.radians(self.crval[1])
        turn, dec = np.radians(ra - self.crval[0]), np.radians(dec)
        across, sin_dec = np.cos(dec), np.sin(dec)
        x, toward = across * np.sin(turn), across * np.cos(turn)
        z = np.sin(dec0) * sin_dec + np.cos(dec0) * toward
        scale = np.degrees(1.0) / np.where(z > 1e-9, z, np.nan)
        xi, eta = x * scale, (np.cos(dec0) * sin_dec - np.sin(dec0) * toward) * scale
        back = np.linalg.inv(self.cd)
        u_sky, v_sky = back[0, 0] * xi + back[0, 1] * eta, back[1, 0] * xi + back[1, 1] * eta
        start = None
        if near and np.isfinite(near).all():
            start = near[1] - self.crpix[1], near[0] - self.crpix[0]
        u, v = self._undistort(u_sky, v_sky, start)
        return v + self.crpix[0], u + self.crpix[1]

    def _undistort(self, u_sky: Array, v_sky: Array, start: tuple[Array, Array] | None) -> tuple[Array, Array]:
        """Solve u + A(u, v) = u_sky, v + B(u, v) = v_sky; NaN where the steps do not settle."""
        if not (np.any(self.a) or np.any(self.b)):
            return u_sky, v_sky
        largest = np.full(u_sky.shape, np.inf)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            # One cheap fixed-point step saves one of Newton's, which need the slopes too.
            u, v = start or (u_sky - _value(self.a, u_sky, v_sky), v_sky - _value(self.b, u_sky, v_sky))
            for _ in range(_MAX_STEPS):
                if np.any(largest > _SAME_SLOPES_PX):
                    a, a_u, a_v = _value_and_slopes(self.a, u, v)
                    b, b_u, b_v = _value_and_slopes(self.b, u, v)
                    a_u += 1.0
                    b_v += 1.0
                    determinant = a_u * b_v - a_v * b_u
                    # Beyond a fold of the polynomial Newton would settle on a mirrored position.
                    determinant[determinant <= 0.0] = np.nan
                else:
                    a, b = _value(self.a, u, v), _value(self.b, u, v)
                off_u, off_v = u + a - u_sky, v + b - v_sky
                step_u = (off_u * b_v - off_v * a_v) / determinant
                step_v = (off_v * a_u - off_u * b_u) / determinant
                u -= step_u
                v -= step_v
                largest = np.maximum(np.abs(step_u), np.abs(step_v))
                if not np.any(largest > _LAST_STEP_PX):
                    break
        lost = ~(largest <= _LAST_STEP_PX)
        u[lost], v[lost] = np.nan, np.nan
        return u, v


def _number(header: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = header.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise FrameError(f"the WCS card {name} = {value!r} is no finite number; give another frame's WCS as reference")
    return float(value)


def _polynomial(header: Mapping[str, Any], name: str) -> Array:
    order = _number(header, f"{name}_ORDER")
    if order != int(order) or not 0 <= order <= 9:
        raise FrameError(f"{name}_ORDER = {order}: SIP orders are whole numbers from 0 to 9")
    polynomial = np.zeros((int(order) + 1, int(order) + 1))
    for p, q in _terms(int(order)):
        polynomial[p, q] = _number(header, f"{name}_{p}_{q}", 0.0)
    return polynomial


def _terms(order: int) -> list[tuple[int, int]]:
    return [(p, q) for p in range(order + 1) for q in range(order + 1 - p)]


def _in_chunks(function: Any, first: ArrayLike, second: ArrayLike, *near: ArrayLike) -> tuple[Array, Array]:
    x, y = np.broadcast_arrays(np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64))
    shape, x, y = x.shape, x.ravel(), y.ravel()
    if not (np.isfinite(x).all() and np.isfinite(y).all()):  # an infinite angle is none, and must not warn
        x, y = np.where(np.isfinite(x), x, np.nan), np.where(np.isfinite(y), y, np.nan)
    starts = [np.broadcast_to(np.asarray(place, dtype=np.float64), shape).ravel() for place in near]
    out = np.empty((2, x.size))
    for start in range(0, x.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        out[0, part], out[1, part] = function(x[part], y[part], *(place[part] for place in starts))
    return out[0].reshape(shape)[()], out[1].reshape(shape)[()]


def _inner(coefficients: Array, v: Array) -> Array:
    """Horner in v; coefficients in rising powers."""
    total = np.full(v.shape, coefficients[-1])
    for c in coefficients[-2::-1]:
        total *= v
        total += c
    return total


def _value(c: Array, u: Array, v: Array) -> Array:
    order = len(c) - 1
    total = _inner(c[order, :1], v)
    for p in range(order - 1, -1, -1):
        total *= u
        total += _inner(c[p, : order + 1 - p], v)
    return total


def _value_and_slopes(c: Array, u: Array, v: Array) -> tuple[Array, Array, Array]:
    """Polynomial and its derivatives by u and by v, Horner in u."""
    order = len(c) - 1
    value = _inner(c[order, :1], v)
    slope_u, slope_v = np.zeros(u.shape), np.zeros(u.shape)
    for p in range(order - 1, -1, -1):
        row = c[p, : order + 1 - p]
        slope_u *= u
        slope_u += value
        value *= u
        value += _inner(row, v)
        slope_v *= u
        slope_v += _inner(row[1:] * np.arange(1, len(row)), v)
    return value, slope_u, slope_v


def _substituted(c: Array, m: Array, size: int) -> Array:
    """Coefficients of c(m00 x + m01 y, m10 x + m11 y), as a (size, size) table in powers of x and y."""
    out = np.zeros((size, size))
    for p, q in _terms(len(c) - 1):
        for i in range(p + 1):
            for j in range(q + 1):
                weight = comb(p, i) * comb(q, j) * m[0, 0] ** i * m[0, 1] ** (p - i) * m[1, 0] ** j * m[1, 1] ** (q - j)
                out[i + j, p + q - i - j] += c[p, q] * weight
    return out
