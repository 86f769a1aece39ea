"""The command ``starskope spectra``: light-curve files in, each star's strongest period out, and all spectra on demand.

Owns the options and the wording of the result. Refuses to search for transits (``starskope search``) and to judge: a
false-alarm probability holds for white noise.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starskope.cli_words import check_output, say, say_json, tell

if TYPE_CHECKING:
    from starskope.curves.container import LightCurves
    from starskope.search.spectra import Spectra

__all__ = ["add_spectra", "spectra"]

_MOST_LINES = 20


def add_spectra(add: Callable[..., ArgumentParser]) -> ArgumentParser:
    """Add the command to the parser; ``add`` is that of `starskope.cli`."""
    command = add("spectra", spectra, "power spectra, Lomb-Scargle periodograms and spectrograms", "FILE ...")
    command.add_argument(
        "paths", nargs="+", metavar="FILE", help="light curves: mission files, text, .fits or .zarr of ours"
    )
    command.add_argument(
        "--output", metavar="OUT.zarr", help="write all spectra there; several files must share one time axis"
    )
    command.add_argument(
        "--flatten", type=float, metavar="DAYS", help="level each curve first with a window of DAYS (default: do not)"
    )
    command.add_argument("--window", default="hann", metavar="NAME", help="window of SciPy, or none (default: hann)")
    command.add_argument(
        "--oversample", type=int, default=5, metavar="N", help="Lomb-Scargle frequencies per independent one (5)"
    )
    command.add_argument("--frequency-max", type=float, metavar="F", help="per day (default: the Nyquist frequency)")
    command.add_argument("--segment", type=int, metavar="N", help="cadences per segment (default: 256, or all)")
    command.add_argument("--overlap", type=int, metavar="N", help="cadences that segments share (default: half)")
    return command


def spectra(arguments: Namespace) -> int:
    """Make the spectra and tell each star's strongest period."""
    from starskope.curves.container import LightCurves
    from starskope.errors import StarskopeError

    _check_options(arguments)
    if arguments.output:
        check_output(Path(arguments.output), (".zarr",))
        curves = _prepared(LightCurves.read(arguments.paths, time_zero=arguments.time_zero), arguments)
        _tell(", ".join(arguments.paths), curves, _write(curves, arguments), as_json=arguments.json)
        return 0
    code = 0
    for path in arguments.paths:
        try:
            curves = _prepared(LightCurves.read(path, time_zero=arguments.time_zero), arguments)
            periodograms = _periodograms(curves, arguments)
        except FileNotFoundError as error:
            tell(f"starskope: {error.filename}: {error.strerror}")
            code = 1
            continue
        except (StarskopeError, ValueError) as error:
            # One damaged or empty file of many: the others are still worth their lines.
            tell(f"starskope: {path}: {error}" if path not in str(error) else f"starskope: {error}")
            code = 1
            continue
        _tell(path, curves, periodograms, as_json=arguments.json)
    return code


def _check_options(arguments: Namespace) -> None:
    """Refuse what no file could be read with, once and before the first is."""
    from starskope.parallel import resolve_workers
    from starskope.validation import finite, integer_at_least, positive

    integer_at_least(arguments.oversample, "oversample", 1)
    for name in ("frequency_max", "flatten"):
        if getattr(arguments, name) is not None:
            positive(getattr(arguments, name), name)
    if arguments.time_zero is not None:
        finite(arguments.time_zero, "time_zero")
    resolve_workers(arguments.workers)


def _prepared(curves: LightCurves, arguments: Namespace) -> LightCurves:
    masked = curves.mask().normalize()
    return masked if arguments.flatten is None else masked.flatten(arguments.flatten, workers=arguments.workers)


def _periodograms(curves: LightCurves, arguments: Namespace) -> Spectra:
    from starskope.search.lombscargle import lomb_scargle

    return lomb_scargle(
        curves,
        oversample=arguments.oversample,
        frequency_max=arguments.frequency_max,
        workers=arguments.workers,
    )


def _write(curves: LightCurves, arguments: Namespace) -> Spectra:
    """Write all three kinds and return the Lomb-Scargle periodograms."""
    from starskope.search.cadence import fit_grid
    from starskope.search.power import power_spectrum
    from starskope.search.segments import spectrogram
    from starskope.search.spectra_store import SpectraBlock, write

    window = None if arguments.window == "none" else arguments.window
    segment = min(256, fit_grid(curves.time).n_time) if arguments.segment is None else arguments.segment
    overlap = segment // 2 if arguments.overlap is None else arguments.overlap
    block = SpectraBlock(
        power_spectrum(curves, window=window, workers=arguments.workers),
        _periodograms(curves, arguments),
        spectrogram(curves, segment=segment, overlap=overlap, window=window, workers=arguments.workers),
    )
    write(block.kinds(), Path(arguments.output))
    return block.lomb_scargle


def _tell(source: str, curves: LightCurves, periodograms: Spectra, *, as_json: bool) -> None:
    import numpy as np

    from starskope.curves.selection import star_label

    peaks = periodograms.peaks()
    power = np.asarray(peaks["power"])
    order = range(len(peaks)) if as_json else np.argsort(-np.nan_to_num(power, nan=-1.0), kind="stable")
    for star in list(order)[: None if as_json else _MOST_LINES]:
        record = {
            "input": source,
            "target": star_label(curves.stars, int(star)),
            "mission": curves.mission,
            "period_days": float(peaks["period"][star]),
            "frequency_per_day": float(peaks["frequency"][star]),
            "power": float(power[star]),
            "false_alarm_probability": float(peaks["false_alarm_probability"][star]),
            "method": periodograms.method,
            "n_frequency": periodograms.n_freq,
        }
        if as_json:
            say_json(record)
        else:
            say(_line(record))
    if not as_json and len(peaks) > _MOST_LINES:
        say(f"{source}: the {_MOST_LINES} strongest of {len(peaks)} stars; --json tells all")


def _line(record: dict[str, Any]) -> str:
    where = f"{record['input']}: {record['target']}"
    if not record["power"] >= 0:
        return f"{where}: no power: too few points, or no variation"
    return (
        f"{where}: strongest at {record['period_days']:.6g} d, power {record['power']:.3g}, "
        f"false-alarm probability {record['false_alarm_probability']:.2g} (white noise)"
    )
