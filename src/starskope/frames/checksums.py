"""The CHECKSUM and DATASUM cards of a file, verified on demand.

Owns the sums of the FITS standard. Refuses to reject: a sum that does not agree becomes a note, and pixels are used all
the same, since files that archives or authors trimmed keep the sums of the whole.
"""

from __future__ import annotations

from typing import Any

from starskope.layout.datasum import folded, word_sum
from starskope.layout.fits import iter_hdus, padded

__all__ = ["checksum_note"]


def checksum_note(buffer: Any, *, name: str = "frame") -> str:
    """Verify the CHECKSUM and DATASUM cards of every HDU that `buffer` holds in full.

    Parameters
    ----------
    buffer : bytes-like
        A FITS file or its leading part.
    name : str
        What the note calls it.

    Returns
    -------
    str
        Empty when all cards that are there agree, else one line.

    Notes
    -----
    The sum is taken over the bytes as they are. astropy warns of many unaltered mission files whose sums are right so.

    References
    ----------
    FITS standard 4.0, appendix J (ASCII encoded checksum).
    """
    view = memoryview(buffer).cast("B")
    wrong = []
    for number, hdu in enumerate(iter_hdus(view, name=name)):
        start, stop = hdu.offset - hdu.header.n_bytes, hdu.offset + padded(hdu.n_bytes)
        if stop > len(view):
            break
        data_sum = word_sum(view[hdu.offset : stop])
        stated = hdu.header.get("DATASUM")
        if stated is not None and str(stated).strip() not in ("", str(data_sum)):
            wrong.append(f"DATASUM of HDU{number}")
        stated = hdu.header.get("CHECKSUM")
        if stated is not None and str(stated).strip():
            total = folded(data_sum + word_sum(view[start : hdu.offset]))
            if total not in (0, 0xFFFFFFFF):
                wrong.append(f"CHECKSUM of HDU{number}")
    return f"{name}: the bytes do not agree with {', '.join(wrong)}; used all the same" if wrong else ""
