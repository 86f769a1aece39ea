"""Conversation with the archive's database through astroquery: which FFIs it knows, which stars lie in a cone.

Owns these two questions. How they are put, repeated and remembered stands in ``archive.mast_service``. Refuses to trust
answers: names become keys only through `FfiKey.parse`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from astropy.table import Table

from starskope.archive.answers import AnswerCache
from starskope.archive.gather import gather_limited
from starskope.archive.mast_service import MAX_CONNECTIONS, IncompleteError, open_service, whole_rows
from starskope.errors import TransferError
from starskope.layout.keys import FfiKey
from starskope.transfer.options import TransferOptions

__all__ = ["ffi_keys", "tic_rows"]

_DATA_URI = re.compile(r"mast:TESS/product/([A-Za-z0-9_.-]+)\Z")


async def ffi_keys(
    sector: int,
    camera: int | None,
    ccd: int | None,
    *,
    options: TransferOptions | None = None,
    cache: str | os.PathLike[str] | AnswerCache | None = None,
) -> tuple[set[FfiKey], list[str]]:
    """Ask the archive which calibrated FFIs exist.

    Parameters
    ----------
    sector : int
    camera, ccd : int or None
        None for all.
    options : TransferOptions, optional
        Attempts and back-off.
    cache : path or AnswerCache, optional
        Where answers are remembered.

    Returns
    -------
    keys : set of FfiKey
    refused : list of str
        Product names that are no calibrated FFI of this search.

    Raises
    ------
    TransferError
        When the archive cannot be asked, refuses, or answers in pieces.

    Notes
    -----
    astroquery drops TESS FFI products from ``get_product_list`` when it is given a table of observations, since files
    of this size should not come from the archive's own servers; given ``obsid`` strings it returns them. Only names are
    taken.
    """
    options = options or TransferOptions()
    cameras = (camera,) if camera else range(1, 5)
    ccds = (ccd,) if ccd else range(1, 5)
    wanted = [f"tess-s{sector:04d}-{one}-{other}" for one in cameras for other in ccds]
    async with open_service("ObservationsClass", options, cache) as service:
        observations = await service.ask(
            f"sector {sector}",
            lambda query: whole_rows(query, query.query_criteria_async(obs_id=wanted)),
            key={"obs_id": wanted},
        )
        if len(observations) == 0:
            return set(), []
        known = set(wanted)
        obsids = sorted({str(row["obsid"]) for row in observations if str(row["obs_id"]) in known})

        async def products_of(obsid: str) -> Table:
            return await service.ask(
                f"products of observation {obsid}",
                lambda query: whole_rows(query, query.get_product_list_async([obsid])),
                key={"products of": [obsid]},
            )

        answers = await gather_limited(products_of, obsids, MAX_CONNECTIONS)
    keys: set[FfiKey] = set()
    refused = []
    for products in answers:
        for product in products:
            if str(product["productSubGroupDescription"]) != "FFIC":
                continue
            uri = str(product["dataURI"])
            key = _key_of(uri)
            if key is None or key.sector != sector or (camera or key.camera, ccd or key.ccd) != (key.camera, key.ccd):
                refused.append(uri)
            else:
                keys.add(key)
    return keys, sorted(refused)


def _key_of(uri: str) -> FfiKey | None:
    found = _DATA_URI.match(uri)
    try:
        key = FfiKey.parse(found[1]) if found else None
    except ValueError:
        return None
    return key if key is not None and key.kind == "ffic" else None


async def tic_rows(
    cones: Sequence[tuple[float, float, float]],
    tmag_max: float,
    *,
    options: TransferOptions | None = None,
    split: Callable[[tuple[float, float, float]], Sequence[tuple[float, float, float]]] | None = None,
    cache: str | os.PathLike[str] | AnswerCache | None = None,
) -> list[Table]:
    """Ask for the stars of the TESS Input Catalog in cones, brighter than a magnitude.

    Parameters
    ----------
    cones : sequence of (ra, dec, radius)
        Degrees, ICRS.
    tmag_max : float
        Faintest TESS magnitude.
    options : TransferOptions, optional
        Attempts and back-off.
    cache : path or AnswerCache, optional
        Where answers are remembered.
    split : callable, optional
        Smaller cones that cover a cone; used where an answer stays incomplete. Without it that is an error.

    Returns
    -------
    list of Table
        One per cone that has stars, columns as the archive names them; cones overlap, so stars repeat.

    Raises
    ------
    TransferError
        When the archive cannot be asked or gives fewer rows than it says it has, smaller cones included.
    """
    options = options or TransferOptions()

    async with open_service("CatalogsClass", options, cache) as service:

        async def one(cone: tuple[float, float, float], depth: int) -> list[Table]:
            ra, dec, radius = cone

            def question(query: Any) -> Table:
                from astropy.coordinates import SkyCoord

                responses = query.query_criteria_async(
                    catalog="Tic",
                    coordinates=SkyCoord(ra, dec, unit="deg"),
                    radius=radius,
                    Tmag=[-10.0, tmag_max],
                    objType="STAR",
                )
                return whole_rows(query, responses)

            try:
                what = f"TIC within {radius:.2f} deg of ({ra:.4f}, {dec:.4f})"
                table = await service.ask(what, question, key={"TIC cone": list(cone), "tmag_max": tmag_max})
            except TransferError as error:
                if not isinstance(error.__cause__, IncompleteError) or split is None or depth == 0:
                    raise
                # One after the other: a nested wait for connections could stand in its own way.
                return [rows for part in split(cone) for rows in await one(part, depth - 1)]
            return [table] if len(table) else []

        answers = await gather_limited(lambda cone: one(cone, 3), cones, MAX_CONNECTIONS)
    return [table for answer in answers for table in answer]
