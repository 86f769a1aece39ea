"""What became of a run, in words and as JSON.

Owns the sentences and the keys that ``starskope run`` and ``starskope demo`` end with. Refuses to run anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starskope.cli_words import count, say, say_json
from starskope.progress import format_bytes, format_duration

if TYPE_CHECKING:
    from starskope.outcome import Outcome

__all__ = ["tell_outcome"]

_COUNTS = ("n_frame", "n_used", "n_star", "n_candidate", "n_single_event")


def tell_outcome(outcome: Outcome, *, as_json: bool) -> None:
    """Say what became of one CCD."""
    if as_json:
        left_out = [{"name": frame.name, "reason": frame.reason} for frame in outcome.left_out]
        counts = {name: getattr(outcome, name) for name in _COUNTS}
        where = {"ccd": outcome.ccd.label, "out": str(outcome.path), "error": outcome.error}
        stars_left_out = [
            {"first": stars.first, "last": stars.last, "reason": stars.reason} for stars in outcome.stars_left_out
        ]
        became = {"left_out": left_out, "stars_left_out": stars_left_out, "no_search": outcome.no_search}
        became["no_classes"] = outcome.no_classes
        say_json({**where, **counts, "already_done": outcome.already_done, **became})
    elif outcome.error:
        say(f"{outcome.ccd.label}: failed: {outcome.error}")
    else:
        if outcome.already_done:
            say(f"{outcome.path} is finished: nothing to do (--restart would begin again)")
        took = format_duration(sum((outcome.timings_s or {}).values())) + f", {format_bytes(outcome.peak_memory_bytes)}"
        took = "done before" if outcome.already_done else took
        n_flagged = outcome.n_frame - outcome.n_used - len(outcome.left_out)
        flagged = f" ({n_flagged} more are flagged or restless: measured only)" if n_flagged else ""
        say(
            f"{outcome.path}: {outcome.n_used} of {count(outcome.n_frame, 'frame')} stacked{flagged}, "
            f"{count(outcome.n_star, 'light curve')}, {count(outcome.n_candidate, 'candidate')}, "
            f"{count(outcome.n_single_event, 'single event')}, {count(len(outcome.left_out), 'frame')} left out "
            f"({took}); look at {outcome.path / 'report.html'}"
        )
        if outcome.no_search:
            say(f"{outcome.path}: nothing was searched: {outcome.no_search}")
        if outcome.no_classes:
            say(f"{outcome.path}: no class probabilities: {outcome.no_classes}")
        for stars in outcome.stars_left_out:
            say(f"{outcome.path}: stars {stars.first} to {stars.last} were not searched: {stars.reason}")
        if any(frame.again for frame in outcome.left_out):
            say(f"{outcome.path}: some frames could not be fetched; the same command tries them again")
