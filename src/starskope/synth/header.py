"""Headers of synthetic frames: the real cards with what belongs to this CCD, this size and this frame filled in.

Owns which cards differ and how long headers are. Refuses pixels and the writing of files (`ffi`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope.layout.fits import BLOCK, Verbatim, format_header
from starskope.synth.config import N_LEADING, SectorConfig, random_generator
from starskope.synth.real_header import IMAGE_CARDS, PRIMARY_CARDS

__all__ = [
    "DATA_OFFSETS",
    "NO_WCS_OFFSET",
    "STANDARD_OFFSET",
    "cards_of_primary",
    "draw_offsets",
    "image_cards",
    "image_header",
    "primary_header",
    "region_cards",
]

STANDARD_OFFSET = 20160
NO_WCS_OFFSET = 14400
_SHORT_OFFSET = 17280
DATA_OFFSETS = (STANDARD_OFFSET, NO_WCS_OFFSET, 23040, 25920, 31680, 28800, _SHORT_OFFSET)
"""Where the calibrated plane starts in the mission's files, the most frequent first."""
CREATOR = "starskope.synth"
_OUTPUTS = "ABCD"
_MANY, _NO_WCS_FRACTION = 40, 0.014


@functools.cache
def _cards(text: str) -> tuple[tuple[str, Any, str], ...]:
    cards: list[tuple[str, Any, str]] = []
    for line in text.splitlines():
        keyword, _, rest = line.partition(" = ")
        raw, _, comment = rest.partition(" / ")
        value: Any = raw[1:-1].rstrip() if raw.startswith("'") else Verbatim(raw)
        cards.append((keyword, value, comment))
    return tuple(cards)


def _is_inverse(keyword: str) -> bool:
    return keyword.startswith(("AP_", "BP_"))


def _is_wcs(keyword: str) -> bool:
    if keyword.endswith("P") or keyword == "WCSAXES":
        return keyword == "WCSAXES"
    return keyword.startswith(("CTYPE", "CRVAL", "CRPIX", "CD1_", "CD2_", "A_", "B_")) or _is_inverse(keyword)


def region_cards(config: SectorConfig) -> dict[str, Any]:
    """Return size and region cards of a plane, 1-based and inclusive."""
    n_row, n_col = config.shape
    cards: dict[str, Any] = {
        "NAXIS1": n_col,
        "NAXIS2": n_row,
        "CAMERA": config.camera,
        "CCD": config.ccd,
        "SIMDATA": True,
    }
    trailing = N_LEADING + config.n_col + 1
    for k, output in enumerate(_OUTPUTS):
        cards[f"TVCS{output}"], cards[f"TVCE{output}"] = trailing + 11 * k, trailing + 11 * k + 10
        cards[f"SCCS{output}"] = N_LEADING + config.n_col * k // 4 + 1
        cards[f"SCCE{output}"] = N_LEADING + config.n_col * (k + 1) // 4
    cards["SCIROWE"] = config.n_row
    for k, name in enumerate(("BFROW", "SMROW", "VROW")):
        cards[f"{name}S"], cards[f"{name}E"] = config.n_row + 10 * k + 1, config.n_row + 10 * k + 10
    cards["BTC_PIX1"], cards["BTC_PIX2"] = (
        Verbatim(f"{N_LEADING + config.n_col // 2}.0"),
        Verbatim(f"{config.n_row // 2}.0"),
    )
    cadence, exposure = config.cadence_days, config.exposure_s / 86400
    cards |= {"EXPOSURE": exposure, "LIVETIME": exposure, "TELAPSE": cadence, "TIMEDEL": cadence}
    cards |= {"NUM_FRM": round(config.cadence_s / 2), "NREADOUT": config.n_readout}
    return cards


def draw_offsets(config: SectorConfig) -> NDArray[np.int64]:
    """Return the data offset of each frame's calibrated plane, (n_frame,): mostly 20160, see `SectorConfig`."""
    offsets = np.full(config.n_frame, STANDARD_OFFSET)
    many = config.n_frame >= _MANY
    drawn = random_generator(config, "timeline", 1).permutation(config.n_frame)
    n_bare = max(round(_NO_WCS_FRACTION * config.n_frame), 3)
    bare, special = config.no_wcs_frames, config.header_offsets
    if bare is None:
        bare = tuple(drawn[:n_bare]) if many else ()
    if special is None:
        special = tuple(zip(drawn[n_bare:], DATA_OFFSETS[2:], strict=False)) if many else ()
    for frame, offset in (*special, *((frame, NO_WCS_OFFSET) for frame in bare)):
        if not 0 <= frame < config.n_frame or offset not in DATA_OFFSETS:
            raise ValueError(
                f"frame {frame} with data offset {offset}: expected a frame below {config.n_frame} "
                f"and an offset of {', '.join(map(str, DATA_OFFSETS))}"
            )
        offsets[frame] = offset
    return offsets


def cards_of_primary() -> tuple[tuple[str, Any, str], ...]:
    """Return keyword, value and comment of the real primary header."""
    return _cards(PRIMARY_CARDS)


def primary_header(values: Mapping[str, Any]) -> bytes:
    """Return the primary header with these values in place of the real ones."""
    values = {"ORIGIN": "starskope", "CREATOR": CREATOR, "SIMDATA": True, **values}
    return format_header([(key, values.get(key, value), comment) for key, value, comment in cards_of_primary()])


def image_cards(
    config: SectorConfig, values: Mapping[str, Any], *, uncertainty: bool, offset: int
) -> list[tuple[str, Any, str]]:
    """Return the cards of the calibrated or uncertainty plane in the real order.

    Parameters
    ----------
    values : mapping
        By keyword, in place of the real ones.
    offset : int
        Data offset of the frame's calibrated plane: 14400 has no WCS, 17280 no inverse polynomials.
    """
    kind = "uncert" if uncertainty else "cal"
    values = {**values, "EXTNAME": f"CAMERA.CCD {config.camera}.{config.ccd} {kind}", "IMAGTYPE": kind}
    cards = []
    for key, value, comment in _cards(IMAGE_CARDS):
        if (offset == NO_WCS_OFFSET and _is_wcs(key)) or (offset == _SHORT_OFFSET and _is_inverse(key)):
            continue
        if key == "TMOFST14":
            cards.append(
                (
                    f"TMOFST{config.camera}{config.ccd}",
                    value,
                    f"(s) readout delay for camera {config.camera} and ccd {config.ccd}",
                )
            )
        else:
            cards.append((key, values.get(key, value), comment))
    return cards


def image_header(config: SectorConfig, values: Mapping[str, Any], *, uncertainty: bool, offset: int) -> bytes:
    """Return the header of a plane; the uncertainty's is two blocks longer, which gives files the mission's size."""
    n_bytes = offset - BLOCK + (2 * BLOCK if uncertainty else 0)
    return format_header(image_cards(config, values, uncertainty=uncertainty, offset=offset), n_bytes=n_bytes)
