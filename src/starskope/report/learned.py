"""What was learned: the sections of the page on the machines' filters, the most unusual stars, and classes.

Owns the choice of stars and the words. Refuses to learn: features and free energies are those of the products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from starskope.report.evidence import cut_stamp
from starskope.report.html import figure, folded, note, pair, picture, section
from starskope.report.learned_figures import UnusualStar, draw_filters, draw_unusual
from starskope.report.sorting import Cell, sortable_table

if TYPE_CHECKING:
    from starskope.report.folder import RunFolder

__all__ = ["learned_sections", "most_unusual"]

_N_UNUSUAL = 5
_N_PER_CLASS = 25


def learned_sections(folder: RunFolder) -> str:
    """Tell what the restricted Boltzmann machines found."""
    features, model = folder.features, folder.model
    if features is None or model is None:
        return ""
    parts = [_filters(model), _unusual(folder, features)]
    if classes := [name for name in features if name.startswith("p_")]:
        parts.append(_classes(folder, features, classes))
    return "".join(parts)


def _filters(model: Any) -> str:
    drawn = []
    for view, name, n_column, words in (
        (model.image, "stamps", 8, "Of the stamps: light around a star, 11 x 11 pixels."),
        (model.spectrogram, "spectrograms", 4, "Of the spectrograms: time downwards, frequency to the right."),
    ):
        if view.rbm is None:
            drawn.append(note(f"{words} Too few stars to learn from."))
        else:
            weights = np.asarray(view.rbm.weights_, np.float32)
            drawn.append(note(words) + picture(draw_filters(weights, view.shape, n_column), f"filters of the {name}"))
    return section(
        "What the machines look for",
        note(
            "Each small picture is one hidden unit of a restricted Boltzmann machine that learned from these stars "
            "alone: red is what it asks for, blue what it asks to be absent. Strongest first."
        ),
        pair(drawn),
    )


def most_unusual(energy: NDArray[Any], n: int = _N_UNUSUAL) -> list[int]:
    """Return the stars of highest free energy, highest first; stars without one are left out."""
    known = np.flatnonzero(np.isfinite(energy))
    return [int(star) for star in known[np.argsort(-energy[known], kind="stable")][:n]]


def _unusual(folder: RunFolder, features: dict[str, NDArray[Any]]) -> str:
    parts = [
        note(
            "Free energy tells how unlike the other stars of the CCD one is to a machine. High in the stamps: blends, "
            "saturation, the edge of the CCD. High in the spectrograms: strong variables, systematics, the unknown."
        )
    ]
    for column, words in (("spectrogram_free_energy", "By spectrogram"), ("image_free_energy", "By stamp")):
        energy = np.asarray(features.get(column, np.zeros(0)), np.float64)
        chosen = most_unusual(energy)
        if not chosen:
            parts.append(note(f"{words}: too few stars to learn from."))
            continue
        typical = float(np.nanmedian(energy))
        axis = f"time at the spacecraft, TDB - {folder.sample.time_zero:.0f} (d)"
        drawn = draw_unusual(_stars(folder, chosen, energy), axis)
        names = ", ".join(folder.label(star) for star in chosen)
        summary = f"{words} <span>(typical free energy of a star: {typical:.0f} nats)</span>"
        parts.append(folded(summary, figure(drawn, f"most unusual stars, {words.lower()}: {names}"), is_open=True))
    return section("The most unusual stars", *parts)


def _stars(folder: RunFolder, chosen: list[int], energy: NDArray[np.float64]) -> list[UnusualStar]:
    spectrograms = folder.spectrograms(chosen)
    verdicts = _verdicts(folder)
    made = []
    for star, (level, _) in zip(chosen, folder.curves(chosen), strict=True):
        said = f", {verdicts[star]}" if star in verdicts else ""
        title = f"{folder.label(star)}: {energy[star]:.0f} nats{said}"
        made.append(UnusualStar(title, level.time, level.flux[:, 0], spectrograms.get(star), cut_stamp(folder, star)))
    return made


def _verdicts(folder: RunFolder) -> dict[int, str]:
    """Return the verdict on the strongest claim of each star that has one."""
    if folder.candidates is None:
        return {}
    found: dict[int, str] = {}
    for star, claim, verdict in zip(*(folder.candidates[name] for name in ("star", "claim", "verdict")), strict=True):
        if claim:
            found.setdefault(int(star), str(verdict))
    return found


def _classes(folder: RunFolder, features: dict[str, NDArray[Any]], classes: list[str]) -> str:
    """Tell which class the given model finds most probable for each star."""
    names = [name.removeprefix("p_") for name in classes]
    probability = np.stack([np.asarray(features[name], np.float64) for name in classes], axis=1)
    known = np.isfinite(probability).all(axis=1)
    best = np.where(known, np.argmax(np.nan_to_num(probability), axis=1), -1)
    counts = ", ".join(f"{int((best == i).sum()):,} {name}" for i, name in enumerate(names))
    rows = []
    for i, name in enumerate(names):
        own = np.flatnonzero(best == i)
        for star in own[np.argsort(-probability[own, i], kind="stable")][:_N_PER_CLASS]:
            cells = [Cell(folder.label(int(star)).split(", Tmag")[0]), Cell(name)]
            cells += [Cell(f"{value:.3f}", float(value)) for value in probability[star]]
            rows.append((cells, [f"class-{i}"], False))
    head = [
        ("star", "catalogue number", False),
        ("class", "the most probable", False),
        *((name, "probability", True) for name in names),
    ]
    kinds = [("", "everything"), *((f"class-{i}", name) for i, name in enumerate(names))]
    return section(
        "Classes",
        note(f"By the given model: {counts}. The {_N_PER_CLASS} surest of each; all stand in features.parquet."),
        sortable_table(head, rows, kinds, caption="class probabilities"),
    )
