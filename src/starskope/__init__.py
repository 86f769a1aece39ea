"""Starskope: a cyberoptic artificial telescope.

The public names are loaded when they are first used, so that ``import starskope`` costs next to nothing: it opens
no socket, starts no thread and loads no astropy, numba or network library.
"""

from __future__ import annotations

import importlib
from typing import Any

# Public name -> the module that defines it. `__getattr__` and `__dir__` below are made from this table alone.
_HOME = {
    "Autocorrelation": "starskope.search.lags",
    "Cutouts": "starskope.frames.cutout_set",
    "Ephemerides": "starskope.frames.moving",
    "Frame": "starskope.frames.decode",
    "FrameError": "starskope.errors",
    "Joined": "starskope.curves.joined",
    "LightCurves": "starskope.curves.container",
    "Moments": "starskope.frames.moments",
    "RBM": "starskope.learn.rbm",
    "RunConfig": "starskope.job",
    "Spectra": "starskope.search.spectra",
    "Spectrogram": "starskope.search.spectra",
    "Stack": "starskope.frames.stack",
    "StarskopeError": "starskope.errors",
    "TransferError": "starskope.errors",
    "TransferOptions": "starskope.transfer.options",
    "autocorrelation": "starskope.search.lags",
    "cutouts": "starskope.frames.cutouts",
    "cutouts_async": "starskope.frames.cutouts",
    "cutouts_each": "starskope.frames.cutouts",
    "cutouts_each_async": "starskope.frames.cutouts",
    "download": "starskope.transfer.download",
    "download_async": "starskope.transfer.download",
    "fft": "starskope.search.transforms",
    "find_cubes": "starskope.archive.cubes",
    "find_cubes_async": "starskope.archive.cubes",
    "find_ffis": "starskope.archive.ffis",
    "find_ffis_async": "starskope.archive.ffis",
    "find_light_curves": "starskope.archive.star_files",
    "find_light_curves_async": "starskope.archive.star_files",
    "find_stars": "starskope.archive.stars",
    "find_stars_async": "starskope.archive.stars",
    "get_include": "starskope.embedding",
    "ifft": "starskope.search.transforms",
    "irfft": "starskope.search.transforms",
    "join": "starskope.curves.joining",
    "light_curves": "starskope.curves.extract",
    "light_curves_async": "starskope.curves.extract",
    "lomb_scargle": "starskope.search.lombscargle",
    "plan_cutouts": "starskope.frames.cutouts",
    "plan_cutouts_async": "starskope.frames.cutouts",
    "power_spectrum": "starskope.search.power",
    "read_frame": "starskope.frames.decode",
    "rfft": "starskope.search.transforms",
    "run": "starskope.job",
    "run_async": "starskope.job",
    "spectrogram": "starskope.search.segments",
    "search_transits": "starskope.search.transits",
    "stack": "starskope.frames.stack",
    "stack_async": "starskope.frames.stack",
    "stream_frames": "starskope.frames.stream",
    "upload": "starskope.transfer.upload",
    "upload_async": "starskope.transfer.upload",
}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata  # 15 ms, which an import need not cost

        return metadata.version("starskope")
    try:
        home = _HOME[name]
    except KeyError:
        raise AttributeError(f"module 'starskope' has no attribute {name!r}") from None
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME, "__version__"])
