"""What the search of a block of stars found, as plain arrays.

Owns the container and its way through a file without pickle. Refuses to search (`block`) and to conclude (`batch`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from starskope.search.candidate import Candidate, field_names

__all__ = ["N_RANGES", "BlockSearch"]

F64 = NDArray[np.float64]

N_RANGES = 6
"""Ranges of allowed periods that are kept for a single event."""
_PER_BLOCK = (
    "allowed",
    "inverted",
    "inverted_single",
    "inverted_passes",
    "inverted_single_passes",
    "delay",
)


@dataclass(frozen=True, eq=False)
class BlockSearch:
    """What was found in a block of stars.

    Attributes
    ----------
    values : dict of (n_star, n_candidates) float64
        The fields of `Candidate`; kind 0 = no such row.
    allowed : (n_star, n_candidates, 6, 2) float64
        Ranges of periods that the coverage allows a single event, days; NaN = none.
    inverted, inverted_single : (n_star,) float64
        Score of the best box and of the best single event in the star's light turned upside down; NaN = no data.
    inverted_passes, inverted_single_passes : (n_star,) float64
        1 where that box, or that event, would be claimed, else 0.
    delay : (n_star, n_candidates) float64
        Barycentric minus spacecraft time at ``t0``, which is barycentric where that is known, days; NaN = not known.
    """

    values: dict[str, F64]
    allowed: F64
    inverted: F64
    inverted_single: F64
    inverted_passes: F64
    inverted_single_passes: F64
    delay: F64

    @property
    def n_star(self) -> int:
        """Number of stars."""
        return int(self.inverted.size)

    def candidate(self, star: int, rank: int) -> Candidate:
        """Return one candidate."""
        return Candidate(**{name: float(self.values[name][star, rank]) for name in field_names()})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as plain arrays, for ``numpy.savez``."""
        return {**self.values, **{name: getattr(self, name) for name in _PER_BLOCK}}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Take back what `arrays` gave.

        Raises
        ------
        ValueError
            An array is missing.
        """
        names = field_names()
        if missing := [name for name in (*names, *_PER_BLOCK) if name not in arrays]:
            raise ValueError(f"a searched block lacks {', '.join(missing)}: search the block again")
        values = {name: np.asarray(arrays[name], np.float64) for name in names}
        return cls(values, **{name: np.asarray(arrays[name], np.float64) for name in _PER_BLOCK})
