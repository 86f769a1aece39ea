"""What the archive's database says of single stars: their light-curve files, and their numbers in other catalogues.

Owns these questions, many stars in each. Refuses to trust answers: a file counts when its name is a light-curve key of
a star that was asked for. How questions are put stands in ``archive.mast_service``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from astropy.table import Table

from starskope.archive.answers import AnswerCache
from starskope.archive.gather import gather_limited
from starskope.archive.mast_service import MAX_CONNECTIONS, Service, open_service, whole_rows
from starskope.layout.keys import LightCurveKey
from starskope.transfer.options import TransferOptions

__all__ = ["Target", "TicRow", "light_curve_products", "rows_by_number", "tic_numbers"]

_COLLECTIONS = {"kepler": "Kepler", "k2": "K2", "tess": "TESS"}
_CURVES = ("LC", "FAST-LC", "LLC", "SLC")  # productSubGroupDescription of light curves
_PER_QUESTION = 100
_TIC = "Mast.Catalogs.Filtered.Tic.Rows"
_LEFT_OUT = ("DUPLICATE", "ARTIFACT")


class Target(NamedTuple):
    """A star as a mission numbers it: KIC for Kepler, EPIC for K2, TIC for TESS."""

    mission: str
    number: int


class TicRow(NamedTuple):
    """Numbers and place (degrees, ICRS, J2000) of a star of the TIC; kic is 0 where it has none."""

    tic: int
    kic: int
    ra: float
    dec: float


async def light_curve_products(
    targets: Sequence[Target],
    *,
    options: TransferOptions | None = None,
    cache: str | os.PathLike[str] | AnswerCache | None = None,
) -> tuple[dict[Target, set[LightCurveKey]], list[str]]:
    """Ask which light-curve files the archive has of some stars.

    Parameters
    ----------
    targets : sequence of Target
    options : TransferOptions, optional
        Attempts and back-off.
    cache : path or AnswerCache, optional
        Where answers are remembered.

    Returns
    -------
    keys : dict of Target to set of LightCurveKey
        Only stars that have some.
    refused : list of str
        Products that call themselves light curves under names that are none of these stars'.

    Raises
    ------
    TransferError
        When the archive cannot be asked, refuses, or answers in pieces.
    """
    options = options or TransferOptions()
    wanted = set(targets)
    batches = []
    for mission in _COLLECTIONS:
        numbers = sorted(target.number for target in wanted if target.mission == mission)
        batches += [(mission, numbers[i : i + _PER_QUESTION]) for i in range(0, len(numbers), _PER_QUESTION)]
    found: dict[Target, set[LightCurveKey]] = {}
    refused: set[str] = set()
    async with open_service("ObservationsClass", options, cache) as service:
        answers = await gather_limited(lambda batch: _products(service, *batch), batches, MAX_CONNECTIONS)
    for products in (table for answer in answers for table in answer):
        for product in products:
            uri, name = str(product["dataURI"]), str(product["productFilename"])
            try:
                key = LightCurveKey.parse(name)
            except ValueError:
                if str(product["productSubGroupDescription"]) in _CURVES:
                    refused.add(uri)
                continue
            target = Target(key.mission, key.target)
            if target in wanted and name == key.name:
                found.setdefault(target, set()).add(key)
            else:
                refused.add(uri)
    return found, sorted(refused)


async def _products(service: Service, mission: str, numbers: Sequence[int]) -> list[Table]:
    """Return the products of the observations of some stars of one mission."""
    names = [name for number in numbers for name in _target_names(mission, number)]
    criteria = {
        "obs_collection": _COLLECTIONS[mission],
        "dataproduct_type": "timeseries",
        "target_name": names,
    }
    what = f"{_COLLECTIONS[mission]} light curves of {len(numbers)} star(s)"
    observations = await service.ask(
        what, lambda query: whole_rows(query, query.query_criteria_async(**criteria)), key=criteria
    )
    if len(observations) == 0:
        return []
    asked = set(names)
    ids = sorted({str(row["obsid"]) for row in observations if str(row["target_name"]) in asked})
    tables = []
    for i in range(0, len(ids), _PER_QUESTION):
        some = ids[i : i + _PER_QUESTION]

        def question(query: Any, some: Sequence[str] = some) -> Table:
            return whole_rows(query, query.get_product_list_async(list(some)))

        tables.append(await service.ask(f"files of {what}", question, key={"products of": some}))
    return tables


def _target_names(mission: str, number: int) -> list[str]:
    """Return how the archive may write a star's name."""
    if mission == "tess":
        # Some observations carry the number as it is, some filled up to nine digits.
        return list(dict.fromkeys((str(number), f"{number:09d}")))
    return [f"{'kplr' if mission == 'kepler' else 'ktwo'}{number:09d}"]


def rows_by_number(query: Any, column: str, numbers: Sequence[int | str]) -> Table:
    """Return the rows of the TIC that have these numbers in a column such as ``ID`` or ``KIC``.

    Notes
    -----
    astroquery's ``query_criteria`` takes the numbers of these columns for the ends of one range, as the archive's
    description of its columns says that they are continuous; so the same question is put with a filter of values.
    """
    portal = query._portal_api_connection
    described = {} if _TIC in portal._column_configs else {"fetch_name": "Mast.Catalogs.Tess.Cone"}
    filters = [{"paramName": column, "values": [str(number) for number in numbers]}]
    params = {"columns": "*", "filters": filters}
    return whole_rows(query, portal.service_request_async(_TIC, params, **described))


async def tic_numbers(
    *,
    tic: Sequence[int] = (),
    kic: Sequence[int] = (),
    options: TransferOptions | None = None,
    cache: str | os.PathLike[str] | AnswerCache | None = None,
) -> list[TicRow]:
    """Ask the TIC for rows by their numbers in the TIC or the KIC; duplicates and artifacts are left out.

    Raises
    ------
    TransferError
        When the archive cannot be asked, refuses, or answers in pieces.
    """
    options = options or TransferOptions()
    batches: list[Mapping[str, list[str]]] = []
    for column, numbers in (("ID", sorted(set(tic))), ("KIC", sorted(set(kic)))):
        for i in range(0, len(numbers), _PER_QUESTION):
            batches.append({column: [str(number) for number in numbers[i : i + _PER_QUESTION]]})
    if not batches:
        return []

    async with open_service("CatalogsClass", options, cache) as service:

        async def one(criteria: Mapping[str, list[str]]) -> Table:
            ((column, some),) = criteria.items()
            key = {"TIC numbers": dict(criteria)}
            return await service.ask(
                "numbers of stars in the TIC", lambda query: rows_by_number(query, column, some), key=key
            )

        answers = await gather_limited(one, batches, MAX_CONNECTIONS)
    rows = {}
    for criteria, answer in zip(batches, answers, strict=True):
        ((column, asked),) = criteria.items()
        for row in answer:
            if str(row["disposition"]) in _LEFT_OUT or str(row[column]) not in asked:
                continue
            kic_number = 0 if np.ma.is_masked(row["KIC"]) else int(row["KIC"])
            rows[int(row["ID"])] = TicRow(int(row["ID"]), kic_number, float(row["ra"]), float(row["dec"]))
    return [rows[number] for number in sorted(rows)]
