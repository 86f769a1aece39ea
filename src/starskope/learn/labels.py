"""Labels of stars: read from a table of identifiers and classes, and matched to a table of features.

Owns which columns count as identifier and label, and every complaint about a labelled set. Refuses to learn.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["LEAST_PER_CLASS", "MAX_CLASSES", "Labelled", "match_labels"]

IDENTIFIERS = ("tic_id", "kepler_id", "epic_id", "gaia_id", "name", "star")
LABELS = ("label", "class", "disposition")
LEAST_PER_CLASS = 10
"""Fewer stars of a class than this cannot be parted into folds that say anything."""
MAX_CLASSES = 32
_MAX_NAME = 64
_SHOWN = 5


@dataclass(frozen=True)
class Labelled:
    """Stars that have a label.

    Attributes
    ----------
    rows : (n_star,) intp
        Their rows in the table of features.
    labels : list of str
    n_unknown : int
        Labels of stars that are not in the table of features.
    """

    rows: NDArray[np.intp]
    labels: list[str]
    n_unknown: int

    @property
    def counts(self) -> dict[str, int]:
        """Number of stars per class, in the order of the classes' names."""
        return dict(sorted(Counter(self.labels).items()))


def match_labels(features: Table, labels: Table, *, skip_unknown: bool = False) -> Labelled:
    """Find the labelled stars among the features.

    Parameters
    ----------
    features : Table
        With an identifier: ``tic_id``, ``kepler_id``, ``epic_id``, ``gaia_id``, ``name`` or ``star``.
    labels : Table
        The same identifier, or ``id`` for the first that the features have, and ``label`` (or ``class``,
        ``disposition``).
    skip_unknown : bool
        Leave out labels of stars that are not among the features; otherwise they are an error.

    Returns
    -------
    Labelled

    Raises
    ------
    ValueError
        No identifier or label, repeated or unknown stars, a single class, or a class of fewer than
        ``LEAST_PER_CLASS`` stars.
    """
    key, name = _columns(features, labels)
    known = _positions(_texts(features, key, "features"), key, "features")
    identifiers = _texts(labels, name, "labels")
    _positions(identifiers, name, "labels")
    classes = _classes(labels)
    unknown = [text for text in identifiers if text not in known]
    if unknown and not skip_unknown:
        raise ValueError(
            f"{len(unknown)} of {len(identifiers)} labelled stars are not among the features: {_some(unknown)} "
            f"({key}); take them out, or skip them (--skip-unknown)"
        )
    # In the order of the features, so that nothing depends on that of the labels.
    pairs = sorted((known[text], label) for text, label in zip(identifiers, classes, strict=True) if text in known)
    labelled = Labelled(np.array([row for row, _ in pairs], np.intp), [label for _, label in pairs], len(unknown))
    _check_counts(labelled.counts)
    return labelled


def _columns(features: Table, labels: Table) -> tuple[str, str]:
    own = [name for name in IDENTIFIERS if name in features.colnames]
    if not own:
        raise ValueError(f"features have no identifier: expected one of {', '.join(IDENTIFIERS)}")
    for name in own:
        if name in labels.colnames:
            return name, name
    if "id" in labels.colnames:
        return own[0], "id"
    raise ValueError(
        f"labels have the columns {_some(labels.colnames)}: expected id (taken as {own[0]}) or one of {', '.join(own)}"
    )


def _texts(table: Table, name: str, what: str) -> list[str]:
    """Return identifiers as text: 7, 7.0 and "7" are the same star."""
    column = np.ma.asarray(table[name])
    if np.ma.getmaskarray(column).any():
        row = int(np.argmax(np.ma.getmaskarray(column)))
        raise ValueError(f"{what}: {name} of row {row} is empty: every star needs one")
    return [_text(value, name, what) for value in np.ma.getdata(column).tolist()]


def _text(value: Any, name: str, what: str) -> str:
    if isinstance(value, float):
        if not value.is_integer() or abs(value) > 2**53:
            raise ValueError(f"{what}: {name} {value!r} is no identifier: expected a whole number or text")
        value = int(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    text = str(value).strip()
    if not text:
        raise ValueError(f"{what}: a {name} is empty: every star needs one")
    return text


def _positions(texts: list[str], name: str, what: str) -> dict[str, int]:
    positions = {text: row for row, text in enumerate(texts)}
    if len(positions) < len(texts):
        repeated = [text for text, count in Counter(texts).items() if count > 1]
        raise ValueError(f"{what}: {len(repeated)} stars stand there more than once ({name}): {_some(repeated)}")
    return positions


def _classes(labels: Table) -> list[str]:
    name = next((name for name in LABELS if name in labels.colnames), None)
    if name is None:
        raise ValueError(f"labels have the columns {_some(labels.colnames)}: expected {' or '.join(LABELS)}")
    column = np.ma.asarray(labels[name])
    empty = np.ma.getmaskarray(column)
    classes = []
    for row, value in enumerate(np.ma.getdata(column).tolist()):
        missing = empty[row] or value is None or value != value  # noqa: PLR0124 - NaN differs from itself
        text = "" if missing else str(value).strip()
        if not text or len(text) > _MAX_NAME or not text.isprintable():
            raise ValueError(f"labels: {name} of row {row} is {text[:80]!r}: expected 1 to {_MAX_NAME} characters")
        classes.append(text)
    return classes


def _check_counts(counts: dict[str, int]) -> None:
    if len(counts) < 2:
        only = f"only {next(iter(counts))!r}" if counts else "no labelled star at all"
        raise ValueError(f"labels hold {only}: two classes or more are needed to tell them apart")
    if len(counts) > MAX_CLASSES:
        raise ValueError(
            f"labels hold {len(counts)} classes, expected at most {MAX_CLASSES}: is this the right column?"
        )
    few = [f"{name} has {count}" for name, count in counts.items() if count < LEAST_PER_CLASS]
    if few:
        raise ValueError(
            f"too few stars of a class: {_some(few)}; {LEAST_PER_CLASS} of each are needed: label more, or join classes"
        )


def _some(items: list[str]) -> str:
    return ", ".join(items[:_SHOWN]) + (f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")
