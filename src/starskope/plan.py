"""What a command would read and write: objects, bytes, requests, time, memory and disk, before the first one is moved.

Owns the estimates behind ``--dry-run``. It lists (the only way to know what exists) and refuses to read an object or
to write anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from starskope.archive.ffis import find_ffis
from starskope.estimates import disk_bytes, memory_bytes
from starskope.framelist import CcdId, FrameList
from starskope.layout.fits import plane_request
from starskope.layout.keys import ffi_prefix
from starskope.parallel import resolve_workers
from starskope.progress import format_bytes, format_duration
from starskope.runconfig import RunConfig, find_named
from starskope.transfer.weburi import is_remote

__all__ = ["Plan", "make_plans"]

_KEYS_PER_PAGE = 1000
_N_STAR_GUESS = 10_000
# Bytes per second of a home line and of a machine near the archive.
_SLOW, _FAST = 12.5e6, 125e6
_FULL_FFI_BYTES = 35_553_600


@dataclass(frozen=True)
class Plan:
    """What one CCD would cost.

    Attributes
    ----------
    what : str
        The frames, in words.
    n_object, n_request, n_byte : int
        Objects read, requests made, and bytes that they move; -1 where only a listing could tell.
    slow_s, fast_s : float
        Seconds at 100 Mbit/s and at 1 Gbit/s.
    memory, disk : int
        Bytes held and written at the largest.
    """

    what: str
    n_object: int
    n_request: int
    n_byte: int
    slow_s: float
    fast_s: float
    memory: int
    disk: int

    def as_json(self) -> Mapping[str, Any]:
        """Return the attributes by name."""
        return asdict(self)

    def describe(self) -> str:
        """Return the plan as text for a person."""
        if self.n_object < 0:
            return f"{self.what}: would be listed; nothing else is read or written"
        moved = f"{self.n_object} objects, {format_bytes(self.n_byte)} in {self.n_request} requests"
        slow, fast = format_duration(self.slow_s), format_duration(self.fast_s)
        took = f"about {slow} at 100 Mbit/s, {fast} at 1 Gbit/s" if self.n_request else "read from this disk"
        return f"{self.what}: {moved}, {took}; memory {format_bytes(self.memory)}, disk {format_bytes(self.disk)}"


def make_plans(config: RunConfig, purpose: str) -> list[Plan]:
    """Estimate what `purpose` ("find", "download", "stack", "curves" or "run") costs, one plan per CCD.

    Raises
    ------
    ValueError
        There are no such frames.
    TransferError
        The bucket cannot be listed.
    """
    if purpose == "find":
        prefix = f"s3://{config.bucket}/{ffi_prefix(config.sector or 0)}"
        where = config.options.resolve_endpoint() or "AWS"
        return [Plan(f"{prefix} at {where}", -1, -1, -1, 0.0, 0.0, 0, 0)]
    if config.frames:
        return [_plan(config, frames, purpose) for frames in find_named(config).values()]
    plans = []
    for ccd in config.asked_ccds():
        table = find_ffis(*ccd, **config.archive())
        entries = zip(table["uri"].tolist(), table["size"].tolist(), table["etag"].tolist(), strict=True)
        plans.append(_plan(config, FrameList.build(ccd, entries), purpose))
    return plans


def _plan(config: RunConfig, frames: FrameList, purpose: str) -> Plan:
    sizes = [size if size >= 0 else _FULL_FFI_BYTES for size in frames.sizes]
    remote = is_remote(frames.uris[0])
    whole = purpose == "download"
    n_byte = sum(sizes) if whole else sum(plane_request(size) for size in sizes)
    n_pixel = max(sizes, default=0) // 8
    shape = (1, n_pixel)
    n_star = 0 if purpose == "stack" else _N_STAR_GUESS
    workers = resolve_workers(config.workers) if purpose == "run" else 0
    memory = memory_bytes(len(frames), config.block_frames, shape, n_star, config.options.bytes_in_flight, workers)
    disk = {
        "download": n_byte,
        "stack": 16 * n_pixel,
        "curves": 12 * len(frames) * _N_STAR_GUESS,
        "run": disk_bytes(len(frames), config.block_frames, shape, _N_STAR_GUESS),
    }[purpose]
    if whole:
        memory = config.options.max_objects * config.options.write_bytes * 2 + 200_000_000
    listing = -(-len(frames) // _KEYS_PER_PAGE) + 30 if not config.frames else 0
    what = frames.ccd.label if frames.ccd != CcdId(0, 0, 0) else str(Path(frames.uris[0]).parent)
    n_request = len(frames) + listing if remote else 0
    return Plan(what, len(frames), n_request, n_byte, n_byte / _SLOW, n_byte / _FAST, memory, disk)
