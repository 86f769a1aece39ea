"""Which light-curve files of single stars lie in the bucket: one LIST per star and folder.

Kepler keeps all quarters of a star in one folder, K2 has a branch per campaign, TESS one per sector, so a star costs 1,
about 20, or one request per sector flown. Owns the walk. Refuses to open files, and to ask more than it was allowed to.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from starskope.archive.gather import gather_limited
from starskope.archive.mast_targets import Target
from starskope.layout.keys import LightCurveKey
from starskope.layout.targets import target_prefix
from starskope.transfer.client import Client
from starskope.transfer.listing import ListingBudget, ObjectInfo, list_objects, list_prefixes

__all__ = ["MAX_REQUESTS", "list_light_curves", "prefixes_of_keys", "prefixes_of_targets"]

MAX_REQUESTS = 100_000
"""Most LIST requests of one search: minutes of the bucket's time."""
_BRANCHES = {
    "k2": ("k2/public/lightcurves/", re.compile(r"c([0-9]{1,3})/\Z")),
    "tess": ("tess/public/tid/", re.compile(r"s([0-9]{4})/\Z")),
}


async def prefixes_of_targets(client: Client, bucket: str, targets: Sequence[Target]) -> dict[str, Target]:
    """Return every prefix under which light curves of some stars can lie.

    Raises
    ------
    ValueError
        When that would be too many requests.
    TransferError
        When the campaigns or sectors cannot be listed.
    """
    missions = {target.mission for target in targets}
    branches: dict[str, list[int]] = {"kepler": [0]}
    for mission, (root, pattern) in _BRANCHES.items():
        branches[mission] = []
        if mission in missions:
            async for prefix in list_prefixes(client, bucket, root):
                if found := pattern.match(prefix[len(root) :]):
                    branches[mission].append(int(found[1]))
    n_request = sum(len(branches[target.mission]) for target in targets)
    if n_request > MAX_REQUESTS:
        raise ValueError(
            f"listing every folder of {len(targets)} star(s) and missions would take {n_request} requests, "
            f"more than {MAX_REQUESTS}: ask with source='mast', for fewer missions, or for fewer stars"
        )
    prefixes = {}
    for target in targets:
        for branch in branches[target.mission]:
            which = {"k2": {"campaign": branch}, "tess": {"sector": branch}}.get(target.mission, {})
            prefixes[target_prefix(target.mission, target.number, "lc", **which)] = target
    return prefixes


def prefixes_of_keys(keys: Mapping[Target, set[LightCurveKey]]) -> dict[str, Target]:
    """Return the prefixes under which named files lie."""
    return {
        target_prefix(target.mission, target.number, "lc", sector=key.sector, campaign=key.campaign): target
        for target, some in keys.items()
        for key in some
    }


async def list_light_curves(
    client: Client, bucket: str, prefixes: Mapping[str, Target]
) -> dict[Target, dict[LightCurveKey, ObjectInfo]]:
    """List some prefixes and keep what is, in every character, a light-curve key of the star that belongs to it.

    Raises
    ------
    TransferError
        When a listing fails.
    """
    budget = ListingBudget(client.options.max_listed_keys)

    async def one(prefix: str) -> list[tuple[LightCurveKey, ObjectInfo]]:
        found = []
        target = prefixes[prefix]
        async for info in list_objects(client, bucket, prefix, budget=budget):
            try:
                key = LightCurveKey.parse(info.key)
            except ValueError:
                continue  # target pixels, reports: the folder of a TESS star holds them too
            if info.key == key.key and (key.mission, key.target) == target:
                found.append((key, info))
        return found

    places = sorted(prefixes)
    answers = await gather_limited(one, places, client.options.max_connections)
    files: dict[Target, dict[LightCurveKey, ObjectInfo]] = defaultdict(dict)
    for prefix, found in zip(places, answers, strict=True):
        files[prefixes[prefix]].update(found)
    return dict(files)
