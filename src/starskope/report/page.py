"""The report page: one HTML file with everything in it, readable without a network.

Owns the choice of numbers, tables and example stars and the text around them. Every string that came from a file or
the network is escaped. Refuses scripts, fonts and pictures from elsewhere.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from starskope.report import figures
from starskope.report.noise import StarNoise, medians

if TYPE_CHECKING:
    from starskope.curves.container import LightCurves
    from starskope.frames.stack import Stack

__all__ = ["build_page", "rebuild_page"]

_N_ROW_SHOWN = 60
_NUMBER = re.compile(r"\b\d+\.\d+\b")
# What the page may load: its own style and the pictures inside it.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { --ink:#1c2733; --soft:#5b6875; --line:#dde3e9; --tint:#f5f7fa; --accent:#1f6fb2; --warn:#b4540a; }
* { box-sizing:border-box; }
body { margin:0; background:var(--tint); color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif; }
main { max-width:1080px; margin:0 auto; padding:28px 24px 60px; }
header h1 { font-size:27px; margin:0 0 4px; letter-spacing:-.01em; }
header p { margin:0; color:var(--soft); }
.tiles { display:grid; grid-template-columns:repeat(auto-fit,minmax(150px,1fr)); gap:12px; margin:22px 0; }
.tile, section { background:#fff; border:1px solid var(--line); border-radius:10px; }
.tile { padding:13px 15px; }
.tile b { display:block; font-size:24px; font-weight:650; line-height:1.2; font-variant-numeric:tabular-nums; }
.tile span { color:var(--soft); font-size:13px; }
.tile.warn b { color:var(--warn); }
section { padding:18px 20px; margin:16px 0; }
h2 { font-size:18px; margin:0 0 8px; }
p.note { color:var(--soft); margin:4px 0 12px; font-size:14px; max-width:82ch; }
img { max-width:100%; height:auto; display:block; margin:0 auto; }
.pair { display:grid; grid-template-columns:repeat(auto-fit,minmax(340px,1fr)); gap:14px; }
table { border-collapse:collapse; width:100%; font-size:13.5px; font-variant-numeric:tabular-nums; }
th,td { text-align:left; padding:5px 10px 5px 0; border-bottom:1px solid var(--line); vertical-align:top; }
th { color:var(--soft); font-weight:600; }
td.name { overflow-wrap:anywhere; }
.good { color:#1a7f37; } .bad { color:var(--warn); font-weight:600; }
footer { color:var(--soft); font-size:13px; margin-top:22px; }
"""


def _picture(png: bytes, text: str) -> str:
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    def cells(tag: str, row: Sequence[Any]) -> str:
        return "<tr>" + "".join(f"<{tag} class=name>{escape(str(cell))}</{tag}>" for cell in row) + "</tr>"

    return f"<table>{cells('th', head)}{''.join(cells('td', row) for row in rows)}</table>"


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _scatter_section(noise: StarNoise) -> str:
    title = "Scatter against magnitude"
    if not np.isfinite(noise.measured + noise.expected + noise.tmag).any():
        return _section(title, _note("Too few cadences, or no magnitudes: nothing to compare."))
    return _section(
        title,
        _note(
            "Each dot is a star: the scatter between neighbouring cadences, which slow changes of the star do "
            "not enter, beside the noise that its aperture should have."
        ),
        _picture(
            figures.draw_scatter(noise.tmag, noise.measured, noise.expected, "scatter of neighbouring cadences"),
            "scatter against magnitude beside the expected noise",
        ),
    )


def _curves_sections(curves: LightCurves, noise: StarNoise, used: NDArray[np.bool_]) -> str:
    axis = f"time at the spacecraft, TDB - {curves.time_zero:.0f} (d)"
    parts = [_scatter_section(noise)]
    if picked := noise.examples():
        stars = curves.stars
        ids = stars["tic_id"] if "tic_id" in stars.colnames else np.arange(curves.n_star)
        chosen = [(f"TIC {ids[star]}, Tmag {noise.tmag[star]:.2f}", noise.relative[:, star]) for star in picked]
        parts.append(
            _section(
                "Some light curves",
                _note("The three stars that vary most beyond their noise, then the three brightest quiet ones."),
                _picture(figures.draw_curves(curves.time, chosen, used, axis), "light curves of six stars"),
            )
        )
    if curves.background is not None and curves.n_time:
        sky = medians(curves.background.T)
        parts.append(
            _section(
                "The sky in time",
                _note("Median background under the stars; frames kept out of the stack are marked."),
                _picture(figures.draw_timeline(curves.time, sky, used, axis), "background against time"),
            )
        )
    return "".join(parts)


def _stack_sections(stack: Stack, science: tuple[slice, slice]) -> str:
    n_row, n_col = stack.image[science].shape
    header = dict(stack.header or {})
    for name, part in (("CRPIX2", science[0]), ("CRPIX1", science[1])):
        if name in header:
            header[name] = float(header[name]) - part.start
    maps = [_picture(figures.draw_map(stack.count[science], "frames in the stack"), "frames per pixel")]
    if stack.background is not None:
        label = "mean background (e-/s/pixel)"
        maps.insert(0, _picture(figures.draw_map(stack.background[science], label), "mean background plane"))
    return _section(
        "The stack",
        _note(
            f"{n_row} x {n_col} science pixels, quality-masked and background-subtracted frame by frame, then clipped. "
            "Grey: no data."
        ),
        _picture(figures.draw_stack(stack.image[science], header), "the stacked image with sky coordinates"),
        _section_pair(maps),
    )


def _section_pair(parts: Sequence[str]) -> str:
    return f'<div class="pair">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def _frames_section(frames: Sequence[Mapping[str, Any]]) -> str:
    left_out = [frame for frame in frames if frame["status"] == "left out"]
    flagged = [frame for frame in frames if frame["status"] == "flagged"]
    if not left_out and not flagged:
        return _section("Frames left out", _note("None: every frame is in the stack and in the light curves."))
    parts = []
    if left_out:
        parts.append(_note(f"{len(left_out)} are in no product:"))
        parts.append(_frame_table(left_out))
    if flagged:
        parts.append(_note(f"{len(flagged)} are measured, with their flags, but not stacked:"))
        parts.append(_table(("frames", "reason"), _grouped(str(frame["reason"]) for frame in flagged)))
    return _section("Frames left out, and why", *parts)


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
    shown = _table(("frame", "reason"), [(frame["name"], frame["reason"]) for frame in frames[:_N_ROW_SHOWN]])
    more = len(frames) - _N_ROW_SHOWN
    return shown + (_note(f"and {more} more: see manifest.parquet") if more > 0 else "")


def _verification_section(verification: Mapping[str, Any]) -> str:
    rows = [
        (check["name"], check["value"], check["limit"], "passed" if check["passed"] else "FAILED")
        for check in verification["checks"]
    ]
    body = _table(("against the known truth", "found", "asked", ""), rows)
    body = body.replace("<td class=name>passed", "<td class=good>passed").replace(
        "<td class=name>FAILED", "<td class=bad>FAILED"
    )
    return _section("Checked against the truth", _note(str(verification.get("note", ""))), body)


def build_page(stack: Stack, curves: LightCurves, frames: Sequence[Mapping[str, Any]], run: Mapping[str, Any]) -> str:
    """Return the report as one HTML text.

    Parameters
    ----------
    stack : Stack
        The stacked image with background and coverage.
    curves : LightCurves
        The light curves; `stars` may hold `tmag` and `tic_id`.
    frames : sequence of mapping
        Rows of the manifest: `name`, `time`, `status` ("stacked", "flagged" or "left out") and `reason`.
    run : mapping
        What ``run.json`` holds: `title`, `science` (row and column ranges), `summary`, `timings_s`, `identity`,
        `versions` and, for a synthetic sector, `verification`.

    Notes
    -----
    Deterministic for the same inputs and library versions.
    """
    used = np.isin(curves.time, [frame["time"] for frame in frames if frame["status"] == "stacked"])
    noise = StarNoise.measure(curves, used)
    n_left_out = sum(frame["status"] == "left out" for frame in frames)
    n_stacked = sum(frame["status"] == "stacked" for frame in frames)
    tiles = [
        (f"{n_stacked:,}", f"of {len(frames):,} frames stacked", False),
        (f"{n_left_out:,}", "frames left out", n_left_out > 0),
        (f"{curves.n_star:,}", "light curves", False),
        (f"{curves.n_time:,}", "cadences each", False),
        (f"{noise.ratio:.2f}" if np.isfinite(noise.ratio) else "unknown", "scatter / expected noise", False),
        (f"{sum(run['timings_s'].values()):.1f} s", "from start to page", False),
    ]
    tile_html = "".join(
        f'<div class="tile{" warn" if warn else ""}"><b>{escape(value)}</b><span>{escape(text)}</span></div>'
        for value, text, warn in tiles
    )
    rows, columns = run["science"]
    settings = [(name, value) for group in ("identity", "versions") for name, value in run[group].items()]
    timings = [(name, f"{seconds:.2f} s") for name, seconds in run["timings_s"].items()]
    title = str(run["title"])
    body = [
        f"<header><h1>{escape(title)}</h1><p>{escape(str(run.get('summary', '')))}</p></header>",
        f'<div class="tiles">{tile_html}</div>',
        _verification_section(run["verification"]) if run.get("verification") else "",
        _stack_sections(stack, (slice(*rows), slice(*columns))),
        _curves_sections(curves, noise, used),
        _frames_section(frames),
        _section("Where the time went", _table(("step", "time"), timings)),
        _section("Configuration", _table(("what", "value"), settings)),
        f"<footer>starskope {escape(str(run['versions'].get('starskope', '')))}</footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{''.join(body)}</main></body></html>\n"
    )


def rebuild_page(folder: Path) -> str:
    """Read the products of a finished run and return its report.

    Raises
    ------
    ValueError
        `folder` holds no finished run.
    """
    import pyarrow.parquet

    from starskope.curves.container import LightCurves
    from starskope.frames.stack import Stack

    try:
        run = json.loads((folder / "run.json").read_text())
        frames = pyarrow.parquet.read_table(folder / "manifest.parquet").to_pylist()
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        raise ValueError(
            f"{folder} holds no finished run ({missing} is missing): give the OUT of `starskope run`"
        ) from None
    return build_page(Stack.read(folder / "stack.fits"), LightCurves.read(folder / "light_curves.zarr"), frames, run)
