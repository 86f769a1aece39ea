"""Labels of stars: which are taken, and every complaint about a labelled set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from starskope.learn.labels import match_labels

N_STAR = 300


def tables() -> tuple[Table, Table]:
    features = Table({"star": np.arange(N_STAR), "tic_id": 10_000 + np.arange(N_STAR)})
    labels = Table({"tic_id": features["tic_id"], "label": np.array(["a", "b", "c"])[np.arange(N_STAR) % 3]})
    return features, labels


def test_labels_are_matched_and_put_into_the_order_of_the_features() -> None:
    features, labels = tables()
    labelled = match_labels(features, labels[::-1][:200])
    np.testing.assert_array_equal(labelled.rows, np.arange(100, 300))
    assert labelled.labels == list(labels["label"][100:])
    assert labelled.counts == {"a": 66, "b": 67, "c": 67}


def test_identifiers_match_across_number_and_text() -> None:
    table, _ = tables()
    ids = table["tic_id"][:40]
    kinds = np.array(["a", "b"])[np.arange(40) % 2]
    found = [
        match_labels(table, Table({name: column, "class": kinds}))
        for name, column in (("id", ids.astype(float)), ("tic_id", ids.astype(str)), ("star", np.arange(40)))
    ]
    for labelled in found:
        np.testing.assert_array_equal(labelled.rows, np.arange(40))
        assert labelled.labels == list(kinds)
    more = Table({"id": [*ids, 1, 2], "label": [*kinds, "a", "a"]})
    skipped = match_labels(table, more, skip_unknown=True)
    assert skipped.n_unknown == 2
    assert skipped.rows.size == 40


def one(name: str, new: object) -> Callable[[Table], None]:
    def change(table: Table) -> None:
        table[name][3] = new

    return change


def all_(name: str, new: object) -> Callable[[Table], None]:
    return lambda table: table.replace_column(name, new)


CASES = {
    "an unknown star": (
        one("tic_id", 7),
        r"1 of 300 labelled stars are not among the features: 7 \(tic_id\).*--skip-unknown",
    ),
    "a repeated star": (one("tic_id", 10_004), r"labels: 1 stars stand there more than once \(tic_id\): 10004"),
    "one class": (all_("label", ["a"] * N_STAR), r"labels hold only 'a': two classes"),
    "few of a class": (all_("label", ["a"] * 9 + ["b"] * 291), r"too few stars of a class: a has 9; 10 of each"),
    "a class per star": (all_("label", [str(i) for i in range(N_STAR)]), r"300 classes, expected at most 32"),
    "a label that is not known": (all_("label", [float("nan")] + [1.0] * (N_STAR - 1)), r"label of row 0 is ''"),
    "an empty label": (one("label", ""), r"label of row 3 is ''"),
    "a long label": (all_("label", ["x" * 65] * N_STAR), r"expected 1 to 64 characters"),
    "a label that writes on the terminal": (all_("label", ["\x1b[2J"] * N_STAR), r"label of row 0 is '\\x1b"),
    "no label": (
        lambda table: table.remove_column("label"),
        r"labels have the columns tic_id: expected label or class",
    ),
    "no identifier": (
        lambda table: table.rename_column("tic_id", "object"),
        r"labels have the columns object, label: expected id \(taken as tic_id\) or one of tic_id, star",
    ),
    "half a number": (all_("tic_id", 10_000.5 + np.arange(N_STAR)), r"tic_id 10000.5 is no identifier"),
    "an empty identifier": (
        all_("tic_id", MaskedColumn(10_000 + np.arange(N_STAR), mask=np.arange(N_STAR) == 2)),
        r"labels: tic_id of row 2 is empty",
    ),
    "no row": (lambda table: table.remove_rows(slice(None)), r"labels hold no labelled star at all"),
}


@pytest.mark.parametrize("case", CASES)
def test_labels_that_do_not_fit_are_refused(case: str) -> None:
    change, match = CASES[case]
    features, labels = tables()
    change(labels)
    with pytest.raises(ValueError, match=match):
        match_labels(features, labels)
