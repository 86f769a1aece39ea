"""Where a CCD looked: the footprint of its science pixels, from the WCS of one of its frames.

Refuses to model where the spacecraft will point: without a frame there is no footprint.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starskope.archive.ffi_listing import list_ffis
from starskope.archive.footprint import Footprint
from starskope.errors import FrameError
from starskope.layout.fits import FFI_LEAD, locate_image, science_region
from starskope.layout.keys import BUCKET, check_ccd, ffi_prefix
from starskope.transfer.client import open_client
from starskope.transfer.options import TransferOptions
from starskope.transfer.ranged import read_range
from starskope.transfer.uris import S3Uri

__all__ = ["footprint_from_wcs", "footprint_of_ccd_async"]

_N_PER_EDGE = 8
_MAX_FRAMES_TRIED = 16
_DAYS_LISTED_FIRST = 3
_WCS_CARD = re.compile(
    r"(WCSAXES|RADESYS|EQUINOX|LONPOLE|LATPOLE|(CTYPE|CRVAL|CRPIX|CDELT|CUNIT)[12]|(CD|PC)[12]_[12]"
    r"|[AB]P?_(ORDER|[0-9]_[0-9]))\Z"
)


def footprint_from_wcs(wcs: Any, shape: tuple[int, int] | None = None) -> Footprint:
    """Return the footprint of a frame's science pixels.

    Parameters
    ----------
    wcs : mapping or object
        Cards of an image HDU (its WCS and science region are used), or anything with
        ``pixel_to_world(row, column) -> (ra, dec)`` in degrees for 0-based pixels.
    shape : (n_row, n_col), optional
        Of the pixels. Needed for an object; for cards the default is NAXIS2, NAXIS1, and the science region within it.

    Returns
    -------
    Footprint
        Eight points per edge: distorted edges are followed to a small part of a pixel.

    Raises
    ------
    FrameError
        When the cards hold no celestial WCS or give no finite positions.
    ValueError
        When an object comes without shape.
    """
    if isinstance(wcs, Mapping):
        if "CRVAL1" not in wcs or not str(wcs.get("CTYPE1", "")).startswith("RA---"):
            raise FrameError(f"no WCS in these cards: CTYPE1 = {wcs.get('CTYPE1')!r}; take another frame of the CCD")
        shape = shape or (int(wcs["NAXIS2"]), int(wcs["NAXIS1"]))
        rows, columns = science_region(wcs, shape)
        bounds = (rows.start, rows.stop, columns.start, columns.stop)
    elif shape is None:
        raise ValueError("footprint_from_wcs needs shape=(n_row, n_col) for a WCS object; header cards carry their own")
    else:
        bounds = (0, shape[0], 0, shape[1])
    low, high, left, right = (bound - 0.5 for bound in bounds)
    step = np.linspace(0.0, 1.0, _N_PER_EDGE, endpoint=False)
    rising, still = step, np.zeros(_N_PER_EDGE)
    row = low + (high - low) * np.concatenate([still, rising, still + 1.0, 1.0 - step])
    column = left + (right - left) * np.concatenate([rising, still + 1.0, 1.0 - step, still])
    ra, dec = _world_of_cards(wcs, row, column) if isinstance(wcs, Mapping) else wcs.pixel_to_world(row, column)
    vertices = np.stack([np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64)], axis=-1)
    if not np.all(np.isfinite(vertices)):
        raise FrameError("the WCS gives no finite positions for the edge of the frame; take another frame of the CCD")
    return Footprint.of(vertices)


def _world_of_cards(cards: Mapping[str, Any], row: NDArray[np.float64], column: NDArray[np.float64]) -> Any:
    from astropy.io.fits import Header
    from astropy.wcs import WCS

    # Only the primary celestial WCS: the alternate physical one and dates would make astropy warn.
    header = Header([(name, cards[name]) for name in cards if _WCS_CARD.match(name)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS(header)
    return wcs.all_pix2world(column, row, 0)


async def footprint_of_ccd_async(
    sector: int, camera: int, ccd: int, *, options: TransferOptions | None = None, bucket: str = BUCKET
) -> Footprint:
    """Find the footprint of a CCD in a sector from the WCS of one of its frames.

    Lists the first days of the sector and reads headers (31,680 bytes each) until one has a WCS.

    Raises
    ------
    ValueError
        When the bucket has no calibrated FFI of this CCD.
    FrameError
        When no header that was tried holds a WCS.
    TransferError
        When the bucket cannot be read.
    """
    check_ccd(sector, camera, ccd)
    reasons: list[str] = []
    async with open_client(options or TransferOptions()) as client:
        for max_days in (_DAYS_LISTED_FIRST, None):
            listing = await list_ffis(client, bucket, sector, camera, ccd, max_days=max_days)
            found = [entry for entry in listing.found if entry[1].size > 0]
            for index in np.unique(np.linspace(0, len(found) - 1, _MAX_FRAMES_TRIED).astype(int)) if found else ():
                key, info = found[index]
                read = await read_range(
                    client, S3Uri(bucket, key.key), 0, min(FFI_LEAD, info.size), etag=info.etag or None
                )
                try:
                    return footprint_from_wcs(locate_image(read.data, name=key.name, complete=False).header)
                except FrameError as error:
                    reasons.append(f"{key.name}: {error}")
        where = f"s3://{bucket}/{ffi_prefix(sector)} at {client.endpoint}"
    what = f"sector {sector}, camera {camera}, CCD {ccd}"
    if not reasons:
        raise ValueError(
            f"no calibrated FFIs of {what} under {where}, so its field is unknown; give footprint= or catalog="
        )
    raise FrameError(
        f"none of {len(reasons)} frames of {what} under {where} has a usable WCS, so its field is unknown; "
        f"give footprint= or catalog= ({reasons[0]})"
    )
