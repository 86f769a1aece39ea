"""A table that sorts itself: HTML that says the values, and the few lines of script that order them.

Owns the script of the page. It reads nothing but the page, writes no HTML, and a page without it is the same table in
its first order. Refuses libraries.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["SCRIPT", "Cell", "sortable_table"]

SCRIPT = """
for (const box of document.querySelectorAll("[data-sortable]")) {
  const body = box.querySelector("tbody"), heads = [...box.querySelectorAll("thead th")];
  const choice = box.querySelector("select"), told = box.querySelector("[role=status]");
  const value = (row, i) => row.cells[i].dataset.value;
  const sort = (head, i) => {
    const number = head.classList.contains("n"), before = head.getAttribute("aria-sort");
    const down = before ? before === "ascending" : number, sign = down ? -1 : 1;
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows].sort((a, b) => {
      const x = value(a, i), y = value(b, i);
      if (x === "" || y === "") return (x === "") - (y === "");
      return sign * (number ? x - y : x < y ? -1 : x > y ? 1 : 0);
    });
    body.append(...rows);
  };
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "sort";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(head, i));
    head.append(button);
  });
  const filter = () => {
    let shown = 0;
    for (const row of body.rows) {
      row.hidden = choice.value !== "" && !row.dataset.kinds.split(" ").includes(choice.value);
      shown += !row.hidden;
    }
    told.textContent = shown + " of " + body.rows.length + " rows";
  };
  if (choice) {
    box.querySelector(".choose").hidden = false;
    choice.addEventListener("change", filter);
    filter();
  }
}
for (const link of document.querySelectorAll("a[href^='#']"))
  link.addEventListener("click", () => {
    const target = document.getElementById(link.hash.slice(1));
    if (target && "open" in target) target.open = true;
  });
"""


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes
    ----------
    text : str
        What is shown.
    value : float or str or None
        What it is sorted by; default: the text. NaN and None sort last.
    anchor : str
        Place on the page that the text leads to; empty = none.
    """

    text: str
    value: float | str | None = ""
    anchor: str = ""

    def html(self, *, number: bool) -> str:
        """Return the cell."""
        value = self.text if self.value == "" else self.value
        if value is None or (isinstance(value, float) and math.isnan(value)):
            value = ""
        inside = escape(self.text)
        if self.anchor:
            inside = f'<a href="#{escape(self.anchor)}">{inside}</a>'
        side = " class=n" if number else ""
        return f'<td{side} data-value="{escape(str(value))}">{inside}</td>'


def sortable_table(
    head: Sequence[tuple[str, str, bool]],
    rows: Sequence[tuple[Sequence[Cell], Sequence[str], bool]],
    kinds: Sequence[tuple[str, str]],
    *,
    caption: str,
) -> str:
    """Return a table that the script of the page sorts and filters.

    Parameters
    ----------
    head : sequence of (text, explanation, is number)
    rows : sequence of (cells, kinds, is weak)
        The kinds of a row are words without spaces.
    kinds : sequence of (kind, text)
        What can be chosen.
    caption : str
        What the table is.
    """
    titles = "".join(
        f'<th scope="col" title="{escape(text)}"{" class=n" if number else ""}>{escape(name)}</th>'
        for name, text, number in head
    )
    lines = []
    for cells, own, weak in rows:
        inside = "".join(cell.html(number=number) for cell, (_, _, number) in zip(cells, head, strict=True))
        lines.append(f'<tr data-kinds="{escape(" ".join(own))}"{" class=weak" if weak else ""}>{inside}</tr>')
    options = "".join(f'<option value="{escape(kind)}">{escape(text)}</option>' for kind, text in kinds)
    return (
        f'<div data-sortable><div class="choose" hidden><label>Show <select>{options}</select></label>'
        f'<p role="status"></p></div><div class="table-box" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="sortable"><thead><tr>{titles}</tr></thead><tbody>{"".join(lines)}</tbody></table></div></div>'
    )
