"""One FITS header card: 80 characters to a value, and a value to 80 characters.

Owns the grammar of values (strings with doubled quotes, CONTINUE, HIERARCH, ``D`` exponents, complex numbers) and how a
value is written. Refuses to know what a keyword means, where a header ends (``layout.fits``), and record-valued keyword
cards (``DP1 = 'AXIS.1: 2'`` stays the string that it is).
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import numpy as np

from starskope.errors import FrameError

__all__ = ["CARD_LENGTH", "Card", "Verbatim", "format_card", "parse_value", "split_card"]

CARD_LENGTH = 80
COMMENTARY = frozenset({"", "COMMENT", "HISTORY"})

_STRING = re.compile(r"'((?:[^']|'')*)' *(?:/ ?(.*))?$", re.DOTALL)
# Files in the wild hold quotes that nobody doubled; the string then ends at the first quote before a blank or "/".
_LOOSE_STRING = re.compile(r"'(.*?)'(?= |/|$) *(?:/ ?(.*))?$", re.DOTALL)
_NUMBER = r"[+-]? *(?:\.\d+|\d+(?:\.\d*)?) *(?:[deDE] *[+-]? *\d+)?"
_PLAIN = re.compile(
    rf"(?:(?P<bool>[TF])|(?P<number>{_NUMBER})|\( *(?P<real>{_NUMBER}) *, *(?P<imag>{_NUMBER}) *\))?"
    r" *(?:/ ?(?P<comment>.*))?$",
    re.DOTALL,
)
_EXPONENT = str.maketrans("dD", "eE", " ")
_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}\Z")
_HIERARCH = re.compile(r"[!-<>-~]+(?: [!-<>-~]+)*\Z")
_PRINTABLE = re.compile(r"[ -~]*\Z")


class Card(NamedTuple):
    """One keyword with its value and comment; ``CONTINUE`` cards are joined into the card that they continue."""

    keyword: str
    value: Any
    comment: str


class Verbatim(str):
    """A value already in the form of FITS, such as ``"5.6780875E-03"``: written as it stands, right-aligned."""

    __slots__ = ()


def split_card(card: str) -> tuple[str, str | None]:
    """Split an 80-character card into its keyword and the text behind the value indicator.

    Parameters
    ----------
    card : str
        80 characters.

    Returns
    -------
    keyword : str
        Upper case; for a HIERARCH card the name behind ``HIERARCH``; ``""`` for a blank card.
    text : str or None
        What follows ``"= "``; None where the card has no value (commentary, CONTINUE, END).
    """
    keyword = card[:8].rstrip()
    if card[8:10] == "= " and keyword not in COMMENTARY:
        return keyword.upper(), card[10:]
    if keyword == "HIERARCH" and card[8:9] == " ":
        name, equals, text = card[9:].partition("=")
        return (name.strip().upper(), text) if equals else (keyword, None)
    if keyword in COMMENTARY or keyword == "CONTINUE":
        return keyword, None
    # Writers of old set the "=" before column 9; the standard's readers take it.
    equals_at = card.find("= ", 0, 9)
    return (card[:equals_at].strip().upper(), card[equals_at + 2 :]) if equals_at > 0 else (keyword, None)


def parse_value(text: str) -> tuple[Any, str]:
    """Parse the text behind a value indicator.

    Parameters
    ----------
    text : str
        Columns 11-80 of a card, or what follows the ``=`` of a HIERARCH card.

    Returns
    -------
    value : bool, int, float, complex, str or None
        None where the value field is blank (undefined). Trailing blanks of strings are not significant and are cut.
    comment : str
        ``""`` where there is none.

    Raises
    ------
    FrameError
        When the text follows no FITS value grammar.
    """
    text = text.strip()
    if text[:1] == "'":
        found = _STRING.match(text) or _LOOSE_STRING.match(text)
        if found:
            return found[1].replace("''", "'").rstrip(), (found[2] or "").strip()
    else:
        found = _PLAIN.match(text)
        if found:
            flag, number, real, imag, comment = found.groups()
            comment = (comment or "").strip()
            if number is not None:
                return _number(number), comment
            if flag is not None:
                return flag == "T", comment
            return (None if real is None else complex(_number(real), _number(imag))), comment
    raise FrameError(f"header value {text!r} is not FITS: expected a quoted string, T, F or a number")


def _number(text: str) -> int | float:
    text = text.translate(_EXPONENT)
    try:
        return int(text)
    except ValueError:
        return float(text)


def format_card(keyword: str, value: Any = None, comment: str = "") -> str:
    """Write one keyword as one or more 80-character cards.

    Parameters
    ----------
    keyword : str
        Up to eight of ``A-Z 0-9 _ -``; anything longer becomes a HIERARCH card; ``""``, ``COMMENT`` and ``HISTORY``
        take text of any length and wrap it.
    value : bool, int, float, complex, str, Verbatim or None
        None writes an undefined value. Strings that do not fit go on in CONTINUE cards. Floats are written with as many
        digits as give the same float64 back.
    comment : str
        Cut where it does not fit.

    Returns
    -------
    str
        A multiple of 80 characters.

    Raises
    ------
    ValueError
        For text that is not printable ASCII, a keyword that FITS cannot hold, or NaN and infinity.
    """
    for what, content in (("keyword", keyword), ("comment", comment), ("value", value)):
        if isinstance(content, str) and not _PRINTABLE.match(content):
            raise ValueError(
                f"FITS card {keyword!r}: the {what} {content!r} must be printable ASCII; replace the other characters"
            )
    if keyword in COMMENTARY:
        content = "" if value is None else str(value)
        width = CARD_LENGTH - 8
        pieces = [content[start : start + width] for start in range(0, len(content), width)] or [""]
        return "".join(f"{keyword:<8}{piece}".ljust(CARD_LENGTH) for piece in pieces)
    if _KEYWORD.match(keyword):
        lead = f"{keyword:<8}= "
    elif _HIERARCH.match(keyword) and len(keyword) <= 48:
        lead = f"HIERARCH {keyword} = "
    else:
        raise ValueError(
            f"FITS keyword {keyword!r} cannot be written: expected A-Z, 0-9, _ or -, or words of at most 48 characters"
        )
    tail = f" / {comment}" if comment else ""
    if isinstance(value, str) and not isinstance(value, Verbatim):
        return _format_string(lead, value, tail)
    field = _format_plain(keyword, value)
    if len(lead) + len(field) > CARD_LENGTH:
        raise ValueError(
            f"FITS card {keyword!r}: the value {field} does not fit into {CARD_LENGTH} columns; use a shorter keyword"
        )
    width = 20 if len(lead) == 10 else 0
    return (lead + field.rjust(width) + tail)[:CARD_LENGTH].ljust(CARD_LENGTH)


def _format_plain(keyword: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Verbatim):
        return str(value)
    if isinstance(value, bool | np.bool_):
        return "T" if value else "F"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return _format_float(keyword, float(value))
    if isinstance(value, complex | np.complexfloating):
        return f"({_format_float(keyword, float(value.real))}, {_format_float(keyword, float(value.imag))})"
    raise TypeError(
        f"FITS card {keyword!r}: cannot write a {type(value).__name__}; expected bool, int, float, complex, str or None"
    )


def _format_float(keyword: str, value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(f"FITS card {keyword!r}: a header cannot hold {value}; leave the card out or write None")
    mantissa, exponent, power = repr(value).partition("e")
    if "." not in mantissa:
        mantissa += ".0"
    return mantissa + exponent.upper() + power


def _format_string(lead: str, value: str, tail: str) -> str:
    escaped = value.replace("'", "''")
    if len(lead) + len(escaped) + 2 <= CARD_LENGTH:
        quoted = f"'{escaped:<8}'"
        field = quoted.ljust(20) if len(lead) == 10 else f"'{escaped}'"
        return (lead + field + tail)[:CARD_LENGTH].ljust(CARD_LENGTH)
    cards: list[str] = []
    start = 0
    while True:
        room = CARD_LENGTH - len(lead) - 2
        piece = escaped[start : start + room]
        if start + len(piece) == len(escaped):
            return "".join([*cards, (lead + f"'{piece}'" + tail)[:CARD_LENGTH].ljust(CARD_LENGTH)])
        piece = piece[: room - 1]
        # A doubled quote is one character: it must not be torn apart by the card's end.
        if (len(piece) - len(piece.rstrip("'"))) % 2:
            piece = piece[:-1]
        cards.append((lead + f"'{piece}&'").ljust(CARD_LENGTH))
        start += len(piece)
        lead = "CONTINUE  "
