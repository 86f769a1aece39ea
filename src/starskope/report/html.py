"""The pieces that the report page is put together from: text that is escaped, pictures inside the page, its style.

Owns the HTML. Every string given to a function here is text, never markup: what came from a file, a catalogue or the
network cannot become a tag. Refuses fonts, pictures, scripts and links from elsewhere; the page's own script is let in
by its hash alone.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

__all__ = ["document", "figure", "folded", "note", "pair", "picture", "section", "table", "tiles"]

_STYLE = """
:root { --ink:#1c2733; --soft:#5b6875; --line:#dde3e9; --tint:#f5f7fa; --accent:#1f6fb2; --warn:#b4540a; }
* { box-sizing:border-box; }
body { margin:0; background:var(--tint); color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif; }
main { max-width:1080px; margin:0 auto; padding:28px 24px 60px; }
header h1 { font-size:27px; margin:0 0 4px; letter-spacing:-.01em; }
header p { margin:0; color:var(--soft); }
.tiles { display:grid; grid-template-columns:repeat(auto-fit,minmax(112px,1fr)); gap:12px; margin:22px 0; }
.tile, section { background:#fff; border:1px solid var(--line); border-radius:10px; }
.tile { padding:12px 13px; }
.tile b { display:block; font-size:24px; font-weight:650; line-height:1.2; font-variant-numeric:tabular-nums; }
.tile span { color:var(--soft); font-size:13px; }
.tile.warn b { color:var(--warn); }
section { padding:18px 20px; margin:16px 0; }
h2 { font-size:18px; margin:0 0 8px; }
p.note { color:var(--soft); margin:4px 0 12px; font-size:14px; max-width:82ch; }
img { max-width:100%; height:auto; display:block; margin:0 auto; }
.wide { overflow-x:auto; }
.wide img { min-width:640px; }
.pair { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(340px,100%),1fr)); gap:14px; }
table { border-collapse:collapse; width:100%; font-size:13.5px; font-variant-numeric:tabular-nums; }
th,td { text-align:left; padding:5px 10px 5px 0; border-bottom:1px solid var(--line); vertical-align:top; }
th { color:var(--soft); font-weight:600; }
td.name { overflow-wrap:anywhere; }
.good { color:#1a7f37; } .bad { color:var(--warn); font-weight:600; }
details { border-top:1px solid var(--line); padding:10px 0 4px; }
summary { cursor:pointer; font-weight:600; }
summary span { font-weight:400; color:var(--soft); }
.badge { font-size:12.5px; font-weight:600; padding:1px 8px; border-radius:9px; background:var(--tint);
  border:1px solid var(--line); white-space:nowrap; color:var(--ink) !important; }
.badge.planet-like { background:#e3f4e9; border-color:#a9d8ba; }
.badge.binary { background:#fdeee0; border-color:#f0c79c; }
.badge.single-event { background:#e6f0fa; border-color:#b0cfec; }
dl.facts { display:grid; grid-template-columns:repeat(auto-fill,minmax(150px,1fr)); gap:6px 14px; margin:10px 0; }
dl.facts dt { color:var(--soft); font-size:12.5px; } dl.facts dd { margin:0; font-variant-numeric:tabular-nums; }
table.sortable { font-size:13px; } table.sortable td, table.sortable th { white-space:nowrap; padding-right:14px; }
table.sortable thead th { position:sticky; top:0; background:#fff; }
table.sortable .n { text-align:right; }
th button { all:unset; cursor:pointer; color:inherit; font:inherit; }
th button:focus-visible, summary:focus-visible, a:focus-visible, select:focus-visible, .wide:focus-visible {
  outline:2px solid var(--accent); outline-offset:2px; }
th[aria-sort=ascending] button::after { content:" \\25B2"; }
th[aria-sort=descending] button::after { content:" \\25BC"; }
.table-box { overflow:auto; max-height:560px; border:1px solid var(--line); border-radius:8px; padding:0 10px; }
.choose { display:flex; gap:14px; align-items:center; flex-wrap:wrap; font-size:14px; margin:8px 0; }
.choose [role=status] { margin:0; color:var(--soft); }
tr.weak td { color:var(--soft); }
a { color:var(--accent); }
footer { color:var(--soft); font-size:13px; margin-top:22px; }
@media (max-width:600px) { main { padding:18px 12px 40px; } section { padding:14px 12px; }
  header h1 { font-size:22px; } }
@media print { .table-box { max-height:none; } .choose { display:none; } }
"""


def picture(png: bytes, text: str) -> str:
    """Return a picture that holds its own bytes; ``text`` says what it shows to those who cannot see it."""
    return f'<img loading="lazy" alt="{escape(text)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def figure(png: bytes, text: str) -> str:
    """Return a wide picture that keeps its size on a narrow screen, where it is scrolled sideways."""
    return f'<div class="wide" tabindex="0" role="group" aria-label="{escape(text)}">{picture(png, text)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a plain table of text."""

    def cells(tag: str, row: Sequence[Any]) -> str:
        return "<tr>" + "".join(f"<{tag} class=name>{escape(str(cell))}</{tag}>" for cell in row) + "</tr>"

    return f"<table>{cells('th', head)}{''.join(cells('td', row) for row in rows)}</table>"


def section(title: str, *parts: str) -> str:
    """Return a section; the title is text, the parts are HTML from here."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def note(text: str) -> str:
    """Return a paragraph of explanation."""
    return f'<p class="note">{escape(text)}</p>'


def pair(parts: Sequence[str]) -> str:
    """Put parts side by side where there is room."""
    return f'<div class="pair">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def folded(summary: str, *parts: str, is_open: bool = False, anchor: str = "") -> str:
    """Return parts that a click shows; ``summary`` and the parts are HTML from here."""
    mark = f' id="{escape(anchor)}"' if anchor else ""
    return f"<details{mark}{' open' if is_open else ''}><summary>{summary}</summary>{''.join(parts)}</details>"


def tiles(entries: Iterable[tuple[str, str, bool]]) -> str:
    """Return the headline numbers: value, what it counts, and whether it warns."""
    made = "".join(
        f'<div class="tile{" warn" if warn else ""}"><b>{escape(value)}</b><span>{escape(text)}</span></div>'
        for value, text, warn in entries
    )
    return f'<div class="tiles">{made}</div>'


def document(title: str, body: Iterable[str], script: str) -> str:
    """Return the page.

    Parameters
    ----------
    title : str
        Text.
    body : iterable of str
        HTML from here.
    script : str
        The page's own script; it runs because its hash stands in the policy, no other does.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{''.join(body)}</main>"
        f"<script>{script}</script></body></html>\n"
    )
