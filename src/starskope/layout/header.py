"""FITS headers: bytes to keywords and values, and back.

Owns the card index, lazy values, the search for END, the padding to 2880 bytes, and the words with which everything
that is not FITS is refused. Refuses to know about data units (``layout.fits``) and single cards (``layout.cards``).

Headers are indexed at once and valued on demand: of the 183 cards of an FFI a reduction asks for thirty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from starskope.errors import FrameError
from starskope.layout.cards import CARD_LENGTH, Card, format_card, parse_value, split_card

__all__ = ["BLOCK", "Header", "format_header", "padded", "parse_header"]

BLOCK = 2880
_END = b"END".ljust(CARD_LENGTH)


class Header(Mapping[str, Any]):
    """The cards of one HDU, by keyword; values are parsed when asked for.

    Keywords are upper case and looked up in any case; of a repeated keyword the first card counts, as in astropy.
    Commentary (COMMENT, HISTORY, blank) is in `cards` but not among the keys.

    Parameters
    ----------
    text : str
        The header without its END card: a multiple of 80 characters.
    n_bytes : int
        Length on disk, END and padding included.
    """

    __slots__ = ("_images", "_index", "_values", "n_bytes")

    def __init__(self, text: str, n_bytes: int) -> None:
        self.n_bytes = n_bytes
        self._images = [text[start : start + CARD_LENGTH] for start in range(0, len(text), CARD_LENGTH)]
        self._values: dict[str, tuple[Any, str]] = {}
        self._index: dict[str, int] = {}
        index = self._index
        for number, image in enumerate(self._images):
            if image[8:10] == "= " and image[7] != " ":
                index.setdefault(image[:8].upper(), number)
                continue
            keyword, content = split_card(image)
            if content is not None:
                index.setdefault(keyword, number)

    def __getitem__(self, keyword: str) -> Any:
        return self._card(keyword)[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, keyword: object) -> bool:
        return isinstance(keyword, str) and (keyword in self._index or keyword.upper() in self._index)

    def __repr__(self) -> str:
        return f"<Header of {len(self._images)} cards, {self.n_bytes} bytes>"

    def __eq__(self, other: object) -> bool:
        return self._images == other._images if isinstance(other, Header) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def comment(self, keyword: str) -> str:
        """Return the comment of `keyword`, ``""`` where there is none."""
        return self._card(keyword)[1]

    @property
    def text(self) -> str:
        """The cards as they stand in the file, without END: what ``astropy.io.fits.Header.fromstring`` takes."""
        return "".join(self._images)

    @property
    def cards(self) -> list[Card]:
        """All cards in file order, commentary included, CONTINUE cards joined: what `format_header` takes back."""
        cards = []
        for number, image in enumerate(self._images):
            keyword, content = split_card(image)
            if content is not None:
                cards.append(Card(keyword, *self._parse(number, keyword)))
            elif keyword != "CONTINUE":
                cards.append(Card(keyword if image[:8].strip() else "", image[8:].rstrip(), ""))
        return cards

    def _card(self, keyword: str) -> tuple[Any, str]:
        found = self._values.get(keyword)
        if found is None:
            number = self._index.get(keyword)
            if number is None:
                number = self._index[keyword.upper()]
            found = self._values[keyword] = self._parse(number, keyword)
        return found

    def _parse(self, number: int, keyword: str) -> tuple[Any, str]:
        content = split_card(self._images[number])[1]
        try:
            value, comment = parse_value(content or "")
            while isinstance(value, str) and self._images[number + 1 : number + 2]:
                number += 1
                image = self._images[number]
                if image[:8] != "CONTINUE":
                    break
                more, more_comment = parse_value(image[8:])
                if not isinstance(more, str):
                    break
                value = value.removesuffix("&") + more
                comment = f"{comment} {more_comment}".strip()
            if isinstance(value, str) and self._images[number][:8] == "CONTINUE":
                value = value.removesuffix("&").rstrip()
        except FrameError as error:
            raise FrameError(f"card {keyword} (number {number + 1} of its header): {error}") from None
        return value, comment


def parse_header(buffer: Any, offset: int = 0, *, name: str = "the data") -> Header:
    """Parse the header that starts at `offset`.

    Parameters
    ----------
    buffer : bytes-like
        The file or its leading part.
    offset : int
        Where the header starts; a multiple of 2880 in a valid file.
    name : str
        What error messages call the data: a file name or key.

    Returns
    -------
    Header

    Raises
    ------
    FrameError
        When the bytes are not a FITS header, are compressed, are a server's HTML or XML answer, or end too early.
    """
    view = memoryview(buffer).cast("B")
    lead = bytes(view[offset : offset + CARD_LENGTH])
    if lead[:9] not in (b"SIMPLE  =", b"XTENSION="):
        raise FrameError(_why_not_fits(lead, offset, len(view), name))
    window = 16 * BLOCK
    while True:
        data = bytes(view[offset : offset + window])
        end = data.find(_END)
        while end > 0 and end % CARD_LENGTH:
            end = data.find(_END, end + 1)
        if end > 0:
            break
        if offset + window >= len(view):
            raise FrameError(
                f"{name} is truncated or damaged: no END card in the {len(data)} bytes of the header at byte {offset}; "
                "download it again"
            )
        window *= 4
    n_bytes = padded(end + CARD_LENGTH)
    if offset + n_bytes > len(view):
        raise FrameError(
            f"{name} is truncated: the header at byte {offset} needs {n_bytes} bytes, {len(view) - offset} are there; "
            "download it again"
        )
    return Header(data[:end].decode("ascii", "replace"), n_bytes)


def _why_not_fits(lead: bytes, offset: int, size: int, name: str) -> str:
    if size == 0:
        return f"{name} is empty (zero bytes): delete it and download it again"
    if offset >= size:
        return f"{name} is truncated: {size} bytes, and a header is expected at byte {offset}; download it again"
    if lead[:2] == b"\x1f\x8b":
        return f"{name} is gzip-compressed, expected plain FITS: decompress it first (gunzip)"
    if lead[:3] == b"BZh" or lead[:6] == b"\xfd7zXZ\x00" or lead[:4] in (b"PK\x03\x04", b"\x28\xb5\x2f\xfd"):
        return f"{name} is compressed (starts with {lead[:4]!r}), expected plain FITS: decompress it first"
    if lead.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        return (
            f"{name} is a server's HTML or XML answer ({_excerpt(lead)}), not FITS: check its key, then download again"
        )
    if not lead.strip(b"\x00"):
        return f"{name} holds zeros where a header belongs, at byte {offset}: an unfinished download; download it again"
    if len(lead) < CARD_LENGTH and (b"SIMPLE  =".startswith(lead[:9]) or b"XTENSION=".startswith(lead[:9])):
        return f"{name} is truncated: {size} bytes end within the first card of a header; download it again"
    return f"{name} is not FITS: expected SIMPLE or XTENSION at byte {offset}, found {_excerpt(lead)}"


def _excerpt(lead: bytes) -> str:
    return repr(lead[:24].decode("ascii", "backslashreplace"))


def format_header(cards: Iterable[tuple[Any, ...]], *, n_bytes: int | None = None) -> bytes:
    """Write a header: cards, END, padding to 2880 bytes.

    Parameters
    ----------
    cards : iterable of (keyword, value) or (keyword, value, comment)
        In file order.
    n_bytes : int, optional
        Length to reach, a multiple of 2880: blank cards go before END. Default: as short as possible.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        For what FITS cannot hold, or when the cards need more than `n_bytes`.
    """
    text = "".join(format_card(*card) for card in cards)
    shortest = padded(len(text) + CARD_LENGTH)
    length = shortest if n_bytes is None else n_bytes
    if length < shortest or length % BLOCK:
        raise ValueError(
            f"header of {length} bytes asked for: expected a multiple of {BLOCK}, at least {shortest} for these cards"
        )
    if length > shortest:
        text = text.ljust(length - CARD_LENGTH)
    return (text.encode("ascii") + _END).ljust(length)


def padded(n_bytes: int) -> int:
    """Return `n_bytes` rounded up to whole FITS blocks of 2880."""
    return -(-n_bytes // BLOCK) * BLOCK
