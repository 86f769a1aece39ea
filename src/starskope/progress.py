"""What a person sees while something long is running.

Owns one bar on a terminal and one line every few seconds anywhere else. Refuses to touch standard output, which
belongs to results, and to know what is being done.
"""

from __future__ import annotations

import shutil
import time
from types import TracebackType
from typing import TextIO

__all__ = ["Progress", "format_bytes", "format_duration", "plain"]

_BAR_PERIOD_S = 0.1
_LINE_PERIOD_S = 5.0
_N_CELL = 24


def format_bytes(n_bytes: float) -> str:
    """Return a size such as ``22.8 GB`` (powers of ten).

    Examples
    --------
    >>> format_bytes(17_786_880)
    '17.8 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 999.5:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def format_duration(seconds: float) -> str:
    """Return a time such as ``2 min 5 s``.

    Examples
    --------
    >>> format_duration(125.2)
    '2 min 5 s'
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def plain(text: str) -> str:
    """Return a text in which names from the network steer no terminal: what cannot be printed stands as an escape."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in text
    )


class Progress:
    """One task after another on one stream.

    Parameters
    ----------
    stream : text file, optional
        Usually standard error. None: silence.
    bar : bool, optional
        Whether to draw a bar that is rewritten in place; None: when the stream is a terminal.

    Examples
    --------
    >>> progress = Progress()
    >>> progress.start("frames", 3)
    >>> progress.advance(n_bytes=2880)
    >>> progress.close()
    """

    def __init__(self, stream: TextIO | None = None, *, bar: bool | None = None) -> None:
        self._stream = stream
        self._bar = stream is not None and stream.isatty() if bar is None else bar
        self._task = ""
        self._total = self._done = self._n_bytes = 0
        self._first = 0
        self._began = self._shown = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, task: str, total: int, *, done: int = 0) -> None:
        """Begin a task of `total` steps of which `done` were finished by an earlier run."""
        self.close()
        self._task, self._total, self._done, self._n_bytes = task, total, done, 0
        self._began = time.monotonic()
        self._first = done
        self._show(force=not self._bar)

    def advance(self, steps: int = 1, n_bytes: int = 0) -> None:
        """Count finished steps and the bytes that came with them."""
        self._done += steps
        self._n_bytes += n_bytes
        self._show(force=self._done == self._total)

    def note(self, text: str) -> None:
        """Say one line that stays."""
        if self._stream is not None:
            text = plain(text)
            self._stream.write(f"\r\x1b[K{text}\n" if self._bar else f"{text}\n")
            self._stream.flush()
            if self._bar and self._task:
                self._show(force=True)

    def close(self) -> None:
        """End the running task, if any, and leave its last state on the screen."""
        if self._task and self._stream is not None and self._bar:
            self._show(force=True)
            self._stream.write("\n")
            self._stream.flush()
        self._task = ""

    def _show(self, *, force: bool) -> None:
        now = time.monotonic()
        if self._stream is None or (not force and now - self._shown < (_BAR_PERIOD_S if self._bar else _LINE_PERIOD_S)):
            return
        self._shown = now
        text = self._describe(now)
        if not self._bar:
            self._stream.write(f"{text}\n")
        else:
            filled = _N_CELL * self._done // max(self._total, 1)
            width = shutil.get_terminal_size().columns - 1
            line = f"[{'#' * filled}{'.' * (_N_CELL - filled)}] {text}"
            self._stream.write(f"\r\x1b[K{line[:width]}")
        self._stream.flush()

    def _describe(self, now: float) -> str:
        elapsed = now - self._began
        parts = [f"{self._task} {self._done}/{self._total}"]
        if self._n_bytes and elapsed > 0:
            parts.append(f"{format_bytes(self._n_bytes)} at {format_bytes(self._n_bytes / elapsed)}/s")
        advanced = self._done - self._first
        if advanced and self._done < self._total:
            parts.append(f"{format_duration(elapsed / advanced * (self._total - self._done))} left")
        elif advanced:
            parts.append(format_duration(elapsed))
        return ", ".join(parts)
