"""What was observed: the sections of the page on stack, light curves, sky and frames.

Owns the choice of numbers, tables and example stars and the text around them. Refuses what was found in the light
curves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from starskope.report import figures
from starskope.report.html import figure, note, pair, picture, section, table
from starskope.report.noise import StarNoise, medians

if TYPE_CHECKING:
    from starskope.curves.container import LightCurves
    from starskope.frames.stack import Stack

__all__ = ["curves_sections", "frames_section", "stack_section", "verification_section"]

_N_ROW_SHOWN = 60
_NUMBER = re.compile(r"\b\d+\.\d+\b")


def _scatter_section(noise: StarNoise) -> str:
    title = "Scatter against magnitude"
    if not np.isfinite(noise.measured + noise.expected + noise.tmag).any():
        return section(title, note("Too few cadences, or no magnitudes: nothing to compare."))
    return section(
        title,
        note(
            "Each dot is a star: the scatter between neighbouring cadences, which slow changes of the star do "
            "not enter, beside the noise that its aperture should have."
        ),
        picture(
            figures.draw_scatter(noise.tmag, noise.measured, noise.expected, "scatter of neighbouring cadences"),
            "scatter against magnitude beside the expected noise",
        ),
    )


def curves_sections(curves: LightCurves, noise: StarNoise, used: NDArray[np.bool_], n_star: int) -> str:
    """Tell of the light curves (a sample of ``n_star``), their noise and their sky."""
    axis = f"time at the spacecraft, TDB - {curves.time_zero:.0f} (d)"
    parts = [_scatter_section(noise)]
    if picked := noise.examples():
        stars = curves.stars
        ids = stars["tic_id"] if "tic_id" in stars.colnames else np.arange(curves.n_star)
        chosen = [(f"TIC {ids[star]}, Tmag {noise.tmag[star]:.2f}", noise.relative[:, star]) for star in picked]
        of = "" if curves.n_star == n_star else f" of {curves.n_star:,} spread over the {n_star:,}"
        parts.append(
            section(
                "Some light curves",
                note(f"The three stars{of} that vary most beyond their noise, then the three brightest quiet ones."),
                figure(figures.draw_curves(curves.time, chosen, used, axis), "light curves of six stars"),
            )
        )
    if curves.background is not None and curves.n_time:
        sky = medians(curves.background.T)
        parts.append(
            section(
                "The sky in time",
                note("Median background under the stars; frames kept out of the stack are marked."),
                picture(figures.draw_timeline(curves.time, sky, used, axis), "background against time"),
            )
        )
    return "".join(parts)


def stack_section(stack: Stack, science: tuple[slice, slice]) -> str:
    """Show the stack, its background and its coverage."""
    n_row, n_col = stack.image[science].shape
    header = dict(stack.header or {})
    for name, part in (("CRPIX2", science[0]), ("CRPIX1", science[1])):
        if name in header:
            header[name] = float(header[name]) - part.start
    maps = [picture(figures.draw_map(stack.count[science], "frames in the stack"), "frames per pixel")]
    if stack.background is not None:
        label = "mean background (e-/s/pixel)"
        maps.insert(0, picture(figures.draw_map(stack.background[science], label), "mean background plane"))
    return section(
        "The stack",
        note(
            f"{n_row} x {n_col} science pixels, quality-masked and background-subtracted frame by frame, then clipped. "
            "Grey: no data."
        ),
        picture(figures.draw_stack(stack.image[science], header), "the stacked image with sky coordinates"),
        pair(maps),
    )


def frames_section(frames: Sequence[Mapping[str, Any]]) -> str:
    """Tell which frames are in no product or not in the stack, and why."""
    left_out = [frame for frame in frames if frame["status"] == "left out"]
    flagged = [frame for frame in frames if frame["status"] == "flagged"]
    if not left_out and not flagged:
        return section("Frames left out", note("None: every frame is in the stack and in the light curves."))
    parts = []
    if left_out:
        parts.append(note(f"{len(left_out)} are in no product:"))
        parts.append(_frame_table(left_out))
    if flagged:
        parts.append(note(f"{len(flagged)} are measured, with their flags, but not stacked:"))
        parts.append(table(("frames", "reason"), _grouped(str(frame["reason"]) for frame in flagged)))
    return section("Frames left out, and why", *parts)


def _grouped(reasons: Iterable[str]) -> list[tuple[int, str]]:
    """Count reasons that differ in one measured number only, and give its range."""
    groups: dict[str, list[str]] = {}
    for reason in reasons:
        number = _NUMBER.search(reason)
        groups.setdefault(_NUMBER.sub("#", reason, count=1), []).append(number[0] if number else "")
    told = []
    for text, numbers in groups.items():
        low, high = min(numbers, key=_size), max(numbers, key=_size)
        told.append((len(numbers), text.replace("#", low if low == high else f"{low} to {high}", 1)))
    return told


def _size(number: str) -> float:
    return float(number or 0.0)


def _frame_table(frames: Sequence[Mapping[str, Any]]) -> str:
    shown = table(("frame", "reason"), [(frame["name"], frame["reason"]) for frame in frames[:_N_ROW_SHOWN]])
    more = len(frames) - _N_ROW_SHOWN
    return shown + (note(f"and {more} more: see manifest.parquet") if more > 0 else "")


def verification_section(verification: Mapping[str, Any]) -> str:
    """Tell how a synthetic sector compares with its truth."""
    rows = [
        (check["name"], check["value"], check["limit"], "passed" if check["passed"] else "FAILED")
        for check in verification["checks"]
    ]
    body = table(("against the known truth", "found", "asked", ""), rows)
    body = body.replace("<td class=name>passed", "<td class=good>passed").replace(
        "<td class=name>FAILED", "<td class=bad>FAILED"
    )
    return section("Checked against the truth", note(str(verification.get("note", ""))), body)
