"""What was found: the sections of the page on transit candidates.

Owns which candidates are shown, in which order, and the words and numbers around their pictures. Refuses to judge: a
claim and its verdict are those of the table of candidates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from starskope.report.candidate_figures import draw_inverted, draw_light, draw_panels
from starskope.report.evidence import Evidence, gather
from starskope.report.html import figure, folded, note, picture, section
from starskope.report.sorting import Cell, sortable_table
from starskope.search.settings import SearchSettings

if TYPE_CHECKING:
    from astropy.table import Row, Table

    from starskope.report.folder import RunFolder

__all__ = ["best_candidates", "candidate_sections"]

VERDICTS = ("planet-like", "single-event", "ambiguous", "binary")
_MOST_SHOWN, _MOST_OPEN = 12, 4
_QUOTA = {"planet-like": 8, "single-event": 2, "ambiguous": 2, "binary": 2}
_MOST_ROWS, _MOST_WEAK = 2000, 100


def candidate_sections(folder: RunFolder) -> str:
    """Tell what the transit search found."""
    table = folder.candidates
    if table is None:
        why = folder.run.get("no_search") or "this run made no transit search"
        return section("Transit candidates", note(f"None were looked for: {why}."))
    claims = table[np.asarray(table["claim"], bool)]
    chosen = best_candidates(claims)
    anchors = {(int(row["star"]), int(row["rank"])): _anchor(row) for row in chosen}
    return "".join(
        [
            section("Transit candidates", *_summary(folder, table, claims), *_cards(folder, chosen)),
            section("All candidates", *_all_rows(folder, table, anchors)),
        ]
    )


def best_candidates(claims: Table) -> list[Row]:
    """Choose the claims to show: the strongest of every verdict, planet-like first, no copies of other stars."""
    own = [row for row in claims if int(row["same_as"]) < 0]
    own.sort(key=lambda row: (-_finite(row["snr"]), int(row["star"]), int(row["rank"])))
    chosen: list[Row] = []
    for verdict in VERDICTS:
        chosen += [row for row in own if row["verdict"] == verdict][: _QUOTA[verdict]]
    kept = {(int(row["star"]), int(row["rank"])) for row in chosen}
    rest = [row for row in own if (int(row["star"]), int(row["rank"])) not in kept]
    rest.sort(key=lambda row: VERDICTS.index(row["verdict"]) if row["verdict"] in VERDICTS else len(VERDICTS))
    return [*chosen, *rest][:_MOST_SHOWN]


def _finite(value: Any) -> float:
    number = float(value)
    return number if math.isfinite(number) else 0.0


def _anchor(row: Row) -> str:
    return f"candidate-{int(row['star'])}-{int(row['rank'])}"


def _summary(folder: RunFolder, table: Table, claims: Table) -> list[str]:
    n_searched = len(set(np.asarray(table["star"]).tolist()))
    if not len(claims):
        told = f"No star passes: {n_searched:,} were searched, and nothing stands out of the noise of the whole CCD."
        parts = [note(f"{told} The strongest of what did not pass stand in the table below.")]
    else:
        counts = ", ".join(
            f"{n} {verdict}" for verdict in VERDICTS if (n := int((np.asarray(claims["verdict"]) == verdict).sum()))
        )
        copies = int((np.asarray(claims["same_as"]) >= 0).sum())
        shared = f"; {copies} share period and epoch with a stronger signal nearby" if copies else ""
        parts = [note(f"{len(claims)} claims on {n_searched:,} searched stars: {counts}{shared}.")]
    return [*parts, *_left_out(folder), *_inverted(table, claims)]


def _left_out(folder: RunFolder) -> list[str]:
    """Tell which stars were not searched."""
    left_out = folder.run.get("stars_left_out") or []
    return [note(f"Stars {part['first']} to {part['last']} were not searched: {part['reason']}.") for part in left_out]


def _inverted(table: Table, claims: Table) -> list[str]:
    """Compare with the light upside down, where nothing transits: what it gives is noise."""
    told = table.meta.get("inverted")
    if not told or not told.get("n_star"):
        return []
    first = table[np.asarray(table["rank"]) == 0]
    upright = np.asarray(first["snr"], np.float64)
    upside_down = np.asarray(told.get("periodic") or [], np.float64)
    single = np.asarray(claims["verdict"]) == "single-event"
    words = (
        "How much of this could be noise? The same search of the light turned upside down, where nothing transits, "
        f"answers for {told['n_star']:,} stars."
    )
    if told.get("n_claim") is not None:
        words += (
            f" By the tests that a claim passes, the curves upside down would give {told['n_claim']} periodic ones and "
            f"{told.get('n_single', 0)} single events; as they are, they give {int((~single).sum())} and "
            f"{int(single.sum())}."
        )
    drawn = draw_inverted(upright, upside_down, int(told["n_star"]), SearchSettings().snr_min)
    return [note(words), picture(drawn, "stars above a signal-to-noise ratio, as they are and upside down")]


def _cards(folder: RunFolder, chosen: Sequence[Row]) -> list[str]:
    return [_card(folder, evidence, i < _MOST_OPEN) for i, evidence in enumerate(gather(folder, chosen))]


def _card(folder: RunFolder, evidence: Evidence, is_open: bool) -> str:
    row = evidence.candidate
    name, verdict = folder.label(int(row["star"])), str(row["verdict"])
    when = f"P = {_number(row['period'], 5)} d" if np.isfinite(evidence.period) else "a single event"
    summary = (
        f"{escape(name)} <span class='badge {escape(verdict)}'>{escape(verdict)}</span> "
        f"<span>{escape(when)}, depth {_ppm(row['depth'])} ppm, S/N {_number(row['snr'], 3)}</span>"
    )
    what = f"{name}, {verdict}"
    after = ""
    if evidence.others:
        n = len(evidence.others)
        after = note(
            f"Found after the events of {n} stronger signal{'s' if n > 1 else ''} of this star were taken out."
        )
    return folded(
        summary,
        after,
        _facts(row),
        figure(draw_light(evidence), f"light curve of {what}, as measured and levelled, events marked"),
        figure(draw_panels(evidence), f"periodogram, folds and stamp of {what}"),
        is_open=is_open,
        anchor=_anchor(row),
    )


def _facts(row: Row) -> str:
    single = row["verdict"] == "single-event"
    facts = [
        ("period", f"{_number(row['period'], 7)} d"),
        ("mid-transit", _epoch(row)),
        ("duration", f"{_number(24 * float(row['duration']), 3)} h"),
        ("depth", f"{_ppm(row['depth'])} ± {_ppm(row['depth_err'])} ppm"),
        ("signal to noise", _number(row["snr"], 4)),
        ("detection efficiency", _number(row["sde"], 3)),
        ("events observed", str(int(row["n_transits"]))),
        ("false-alarm probability", _probability(row["false_alarm_probability"])),
        ("odd less even", _with_error(row, "odd_even")),
        ("deepest other dip", _with_error(row, "secondary")),
    ]
    if single:
        allowed = str(row["periods_allowed"]) if "periods_allowed" in row.colnames else ""
        unknown = {"period", "odd less even", "deepest other dip", "detection efficiency"}
        facts = [fact for fact in facts if fact[0] not in unknown]
        facts.insert(0, ("periods that coverage allows", f"{allowed} d" if allowed else "any"))
    if int(row["same_as"]) >= 0:
        facts.append(("shared with star", str(int(row["same_as"]))))
    inside = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in facts)
    return f'<dl class="facts">{inside}</dl>'


_HEAD = (
    ("star", "catalogue number", False),
    ("verdict", "what the data allow to say", False),
    ("period (d)", "empty = a single event", True),
    ("mid-transit", "of the first event", True),
    ("duration (h)", "of the box", True),
    ("depth (ppm)", "of the light", True),
    ("S/N", "depth over its error, red noise included", True),
    ("SDE", "height of the peak over the spectrum's trend", True),
    ("events", "that were observed", True),
    ("odd-even", "difference in units of its error", True),
    ("other dip", "deepest dip at another phase in units of its error", True),
    ("false alarm", "probability that noise of a star does this", True),
    ("same as", "star with a stronger signal of the same period and epoch", True),
)


def _all_rows(folder: RunFolder, table: Table, anchors: dict[tuple[int, int], str]) -> list[str]:
    claim = np.asarray(table["claim"], bool)
    strength = np.nan_to_num(np.asarray(table["snr"], np.float64), nan=-1.0, posinf=0.0)
    order = np.argsort(-strength, kind="stable")
    claimed = [int(i) for i in order if claim[i]]
    weak = [int(i) for i in order if not claim[i] and strength[i] > 0][:_MOST_WEAK]
    rows = [_row(folder, table[i], anchors, bool(claim[i])) for i in [*claimed[:_MOST_ROWS], *weak]]
    if not rows:
        return [note("Not one star could be searched.")]
    hidden = len(claimed) - _MOST_ROWS
    words = f"Claims, and the {len(weak)} strongest of what did not pass (pale). Click on a head to sort."
    if hidden > 0:
        words += f" {hidden:,} weaker claims are left out here:"
    words += " Everything stands in candidates.ecsv."
    kinds = [("", "everything"), ("claim", "claims"), *((f"{verdict}", f"claims: {verdict}") for verdict in VERDICTS)]
    return [note(words), sortable_table(_HEAD, rows, kinds, caption="transit candidates")]


def _row(
    folder: RunFolder, row: Row, anchors: dict[tuple[int, int], str], claim: bool
) -> tuple[list[Cell], list[str], bool]:
    star, same = int(row["star"]), int(row["same_as"])
    single = row["verdict"] == "single-event"
    name = folder.label(star).split(", Tmag")[0]
    period = float("nan") if single else float(row["period"])
    cells = [
        Cell(name, anchor=anchors.get((star, int(row["rank"])), "")),
        Cell(str(row["verdict"]) if claim else "not claimed"),
        _numeric(period, 7),
        Cell(_epoch(row), float(row["t0"])),
        _numeric(24 * float(row["duration"]), 3),
        Cell(_ppm(row["depth"]), float(row["depth"])),
        _numeric(row["snr"], 4),
        _numeric(row["sde"], 3),
        _numeric(row["n_transits"], 3),
        _numeric(_ratio(row, "odd_even"), 2),
        _numeric(_ratio(row, "secondary"), 2),
        Cell(_probability(row["false_alarm_probability"]), float(row["false_alarm_probability"])),
        Cell(folder.label(same).split(", Tmag")[0], float(same)) if same >= 0 else Cell("", None),
    ]
    return cells, ["claim", str(row["verdict"])] if claim else [], not claim


def _numeric(value: Any, digits: int) -> Cell:
    number = float(value)
    return Cell(_number(number, digits) if math.isfinite(number) else "", number)


def _number(value: Any, digits: int) -> str:
    number = float(value)
    return f"{number:.{digits}g}" if math.isfinite(number) else "not known"


def _probability(value: Any) -> str:
    """Tell a probability; smaller ones than doubles hold are not zero."""
    return "below 1e-300" if float(value) == 0.0 else _number(value, 2)


def _ppm(value: Any) -> str:
    number = 1e6 * float(value)
    return f"{number:,.0f}" if math.isfinite(number) else "not known"


def _ratio(row: Row, name: str) -> float:
    error = float(row[f"{name}_err"])
    return float(row[name]) / error if error > 0 else float("nan")


def _with_error(row: Row, name: str) -> str:
    value = float(row[name])
    return f"{_ppm(value)} ± {_ppm(row[f'{name}_err'])} ppm" if math.isfinite(value) else "not known"


def _epoch(row: Row) -> str:
    bjd = float(row["t0_bjd"])
    return f"BJD {bjd:.5f}" if math.isfinite(bjd) else f"{float(row['t0']):.5f} d"
