"""Words for what a search left out: counts with a few names, and runs of numbers.

Refuses to decide what is worth a note.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["note", "runs"]

_MAX_NOTED = 5


def note(notes: list[str], names: Sequence[str], what: str, *, n: int | None = None) -> None:
    """Add a note on some names, the first few of them shown; nothing for none.

    Parameters
    ----------
    notes : list of str
        Gets the note.
    names : sequence of str
        In the order in which they are shown.
    what : str
        What they are.
    n : int, optional
        How many there are, where only some are named.
    """
    n = len(names) if n is None else n
    if n:
        # repr: a name from the network may hold anything.
        shown = ", ".join(repr(name)[:120] for name in names[:_MAX_NOTED])
        more = ", ..." if shown and n > min(len(names), _MAX_NOTED) else ""
        notes.append(f"{n} {what}{': ' if shown else ''}{shown}{more}")


def runs(numbers: Sequence[int]) -> str:
    """Return sorted numbers as ``1, 3-5``."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], number]
        else:
            spans.append([number])
    return ", ".join("-".join(map(str, span)) for span in spans)
