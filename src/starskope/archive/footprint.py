"""The patch of sky that a CCD sees: a polygon or a cone, which positions lie in it, and cones that cover it.

Owns spherical geometry, nothing else; where a CCD looks is found in ``archive.field``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Cone", "Footprint", "separation"]

Cone = tuple[float, float, float]
"""Centre (ra, dec) and radius in degrees."""

_MAX_RADIUS_DEG = 60.0


@dataclass(frozen=True, eq=False)
class Footprint:
    """A polygon on the sky; a cone is one with `vertices` None.

    Attributes
    ----------
    centre : (ra, dec)
        Degrees, ICRS.
    radius : float
        Degrees from the centre to the farthest vertex, or of the cone.
    vertices : ndarray, shape (n_vertex, 2), float64, or None
        (ra, dec) in degrees, in order around the patch; edges are great circles.
    """

    centre: tuple[float, float]
    radius: float
    vertices: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, footprint: Any) -> Footprint:
        """Take a footprint as a user may give it.

        Parameters
        ----------
        footprint : Footprint, sequence of (ra, dec), or ((ra, dec), radius)
            Three or more corners in order around the patch, or a centre and a radius; degrees.

        Raises
        ------
        ValueError
            When it is neither, not finite, or wider than 60 degrees from its centre.
        """
        if isinstance(footprint, Footprint):
            return footprint
        expected = "expected three or more (ra, dec) corners, or ((ra, dec), radius), in degrees"
        try:
            parts = list(footprint)
            if len(parts) == 2 and np.ndim(parts[1]) == 0:
                (ra, dec), radius = (float(parts[0][0]), float(parts[0][1])), float(parts[1])
                vertices = None
                positions = np.array([[ra, dec]])
            else:
                positions = vertices = np.array(parts, dtype=np.float64)
                radius = 0.0
        except (TypeError, ValueError, IndexError, KeyError):
            raise ValueError(f"footprint is {footprint!r}: {expected}") from None
        if positions.ndim != 2 or positions.shape[1] != 2 or (vertices is not None and len(vertices) < 3):
            raise ValueError(f"footprint has shape {positions.shape}: {expected}")
        if not np.all(np.isfinite(positions)) or np.any(np.abs(positions[:, 1]) > 90):
            raise ValueError(f"footprint {positions.tolist()} is no set of positions: {expected}")
        if vertices is None:
            if not 0 < radius <= _MAX_RADIUS_DEG:
                raise ValueError(f"footprint radius is {radius}: expected degrees above 0, at most {_MAX_RADIUS_DEG:g}")
            return cls((ra % 360.0, dec), radius)
        middle = _unit(vertices[:, 0], vertices[:, 1]).mean(axis=0)
        if np.linalg.norm(middle) < 0.1:
            raise ValueError(f"footprint is spread over the sky: expected corners within {_MAX_RADIUS_DEG:g} degrees")
        centre = _angles(middle / np.linalg.norm(middle))
        radius = float(separation(vertices[:, 0], vertices[:, 1], *centre).max())
        if not 0 < radius <= _MAX_RADIUS_DEG:
            raise ValueError(
                f"footprint reaches {radius:.1f} degrees from its centre: expected above 0, at most {_MAX_RADIUS_DEG:g}"
            )
        return cls(centre, radius, vertices)

    def contains(self, ra: ArrayLike, dec: ArrayLike, margin_deg: float = 0.0) -> NDArray[np.bool_]:
        """Tell which positions lie inside, or at most `margin_deg` outside.

        Parameters
        ----------
        ra, dec : array_like, shape (n,)
            Degrees; NaN is outside.
        margin_deg : float
            0 or more. Measured in the tangent plane, so good to a percent within 8 degrees of the centre.

        Returns
        -------
        ndarray, shape (n,), bool

        Notes
        -----
        In a gnomonic projection great circles are straight lines, so the polygon test of the plane is exact on the sky;
        corners may turn inwards. O(n * n_vertex) time, O(n) memory.
        """
        ra, dec = np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64)
        if not 0 <= margin_deg < _MAX_RADIUS_DEG:
            raise ValueError(f"margin_deg is {margin_deg}: expected 0 to {_MAX_RADIUS_DEG:g} degrees")
        near = separation(ra, dec, *self.centre) <= self.radius + margin_deg + 1e-9
        if self.vertices is None:
            return near
        inside = np.zeros(ra.shape, dtype=bool)
        x, y = self._plane(ra[near], dec[near])
        corner_x, corner_y = self._plane(self.vertices[:, 0], self.vertices[:, 1])
        odd = np.zeros(x.shape, dtype=bool)
        close = np.zeros(x.shape, dtype=bool)
        margin = np.tan(np.radians(margin_deg))
        for x0, y0, x1, y1 in zip(corner_x, corner_y, np.roll(corner_x, -1), np.roll(corner_y, -1), strict=True):
            if y0 != y1:
                odd ^= ((y0 > y) != (y1 > y)) & (x < x0 + (x1 - x0) * (y - y0) / (y1 - y0))
            if margin_deg > 0:
                length2 = (x1 - x0) ** 2 + (y1 - y0) ** 2
                along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length2 if length2 > 0 else np.zeros_like(x)
                along = np.clip(along, 0.0, 1.0)
                close |= np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0)) <= margin
        inside[near] = odd | close
        return inside

    def cones(self, n_side: int = 3, margin_deg: float = 0.0) -> list[Cone]:
        """Return overlapping cones that cover the footprint and its margin, one per cell of a grid over it.

        Parameters
        ----------
        n_side : int
            Cells per side of the grid; cells that do not touch the footprint are left out.
        margin_deg : float
            As in `contains`.
        """
        if self.vertices is None:
            return [(*self.centre, self.radius + margin_deg)]
        x, y = self._plane(self.vertices[:, 0], self.vertices[:, 1])
        margin = float(np.tan(np.radians(margin_deg)))
        edges_x = np.linspace(x.min() - margin, x.max() + margin, n_side + 1)
        edges_y = np.linspace(y.min() - margin, y.max() + margin, n_side + 1)
        cones = []
        for i in range(n_side):
            for j in range(n_side):
                corners_x = edges_x[[i, i, i + 1, i + 1]]
                corners_y = edges_y[[j, j + 1, j + 1, j]]
                ra, dec = self._sky(float(corners_x.mean()), float(corners_y.mean()))
                corner_ra, corner_dec = self._skies(corners_x, corners_y)
                radius = float(separation(corner_ra, corner_dec, ra, dec).max())
                if bool(self.contains(np.array([ra]), np.array([dec]), margin_deg + radius)[0]):
                    # A little wider: rounding on either side must not lose a star on a shared corner.
                    cones.append((ra, dec, radius * 1.0001 + 1e-6))
        return cones

    def square(self) -> Footprint:
        """Return the square about the circle of this footprint's centre and radius."""
        half = float(np.tan(np.radians(self.radius)))
        ra, dec = self._skies(half * np.array([-1.0, 1.0, 1.0, -1.0]), half * np.array([-1.0, -1.0, 1.0, 1.0]))
        return Footprint.of(np.stack([ra, dec], axis=-1))

    def _axes(self) -> NDArray[np.float64]:
        ra, dec = np.radians(self.centre)
        return np.array(
            [
                [-np.sin(ra), np.cos(ra), 0.0],
                [-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)],
                [np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)],
            ]
        )

    def _plane(self, ra: NDArray[np.float64], dec: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        east, north, forward = self._axes() @ _unit(ra, dec).T
        return east / forward, north / forward

    def _skies(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        vectors = np.stack([x, y, np.ones_like(x)], axis=-1) @ self._axes()
        ra = np.degrees(np.arctan2(vectors[..., 1], vectors[..., 0])) % 360.0
        return ra, np.degrees(np.arctan2(vectors[..., 2], np.hypot(vectors[..., 0], vectors[..., 1])))

    def _sky(self, x: float, y: float) -> tuple[float, float]:
        ra, dec = self._skies(np.array(x), np.array(y))
        return float(ra), float(dec)


def _unit(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.float64]:
    ra, dec = np.radians(np.asarray(ra, dtype=np.float64)), np.radians(np.asarray(dec, dtype=np.float64))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def _angles(vector: NDArray[np.float64]) -> tuple[float, float]:
    ra = float(np.degrees(np.arctan2(vector[1], vector[0]))) % 360.0
    return ra, float(np.degrees(np.arctan2(vector[2], np.hypot(vector[0], vector[1]))))


def separation(ra: ArrayLike, dec: ArrayLike, centre_ra: float, centre_dec: float) -> NDArray[np.float64]:
    """Return angles in degrees between positions and a centre; exact for small angles too."""
    chord = np.linalg.norm(_unit(ra, dec) - _unit(centre_ra, centre_dec), axis=-1)
    return np.asarray(2.0 * np.degrees(np.arcsin(np.minimum(chord / 2.0, 1.0))))
