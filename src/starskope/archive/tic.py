"""Stars of the TESS Input Catalog by their numbers.

Owns the question and the proof that every number was answered. Refuses to search the sky (``archive.stars``) and to
speak with the archive itself (``archive.mast``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.table import Table, vstack

from starskope.archive.catalog import standard_columns
from starskope.archive.mast_service import open_service
from starskope.archive.mast_targets import rows_by_number
from starskope.errors import TransferError
from starskope.transfer.facade import run_sync
from starskope.transfer.options import TransferOptions

__all__ = ["tic_stars", "tic_stars_async"]

_PER_QUESTION = 1000


def tic_stars(tic_ids: Sequence[int], *, options: TransferOptions | None = None) -> Table:
    """Look stars up by TIC number.

    Parameters
    ----------
    tic_ids : sequence of int
    options : TransferOptions, optional
        Attempts and back-off.

    Returns
    -------
    Table
        Standard columns (see `find_stars`), one row per number, in the order asked for, at epoch J2000.

    Raises
    ------
    ValueError
        A number is not in the catalogue, or has no position.
    TransferError
        The archive cannot be asked.
    """
    return run_sync(tic_stars_async(tic_ids, options=options))


async def tic_stars_async(tic_ids: Sequence[int], *, options: TransferOptions | None = None) -> Table:
    """Look stars up: `tic_stars`, to be awaited."""
    numbers = [int(number) for number in tic_ids]
    unique = list(dict.fromkeys(numbers))
    if not unique:
        raise ValueError("no TIC numbers: expected at least one")
    answers = []
    async with open_service("CatalogsClass", options or TransferOptions()) as service:
        for start in range(0, len(unique), _PER_QUESTION):
            asked = unique[start : start + _PER_QUESTION]

            def question(query: Any, asked: list[int] = asked) -> Table:
                return rows_by_number(query, "ID", asked)

            answers.append(await service.ask(f"{len(asked)} TIC numbers", question))
    rows = [table for table in answers if len(table)]
    if not rows:
        raise ValueError(f"the TIC knows none of {', '.join(map(str, unique[:5]))}: check the numbers")
    joined = vstack(rows, metadata_conflicts="silent")
    if "Tmag" in joined.colnames:
        # A star without a magnitude can be cut out all the same.
        joined["Tmag"] = np.ma.filled(np.ma.asarray(joined["Tmag"], np.float64), 99.0)
    stars, _ = standard_columns(joined, "the TIC")
    place = {int(number): row for row, number in enumerate(stars["tic_id"])}
    missing = [number for number in unique if number not in place]
    if missing:
        raise ValueError(f"TIC {missing[0]} is not in the catalogue ({len(missing)} of {len(unique)} are not)")
    if len(stars) > len(unique):
        raise TransferError(f"the archive answered with {len(stars)} stars for {len(unique)} TIC numbers")
    return stars[[place[number] for number in numbers]]
