"""Blocks of frames joined: the stack a band of rows at a time, as if all were in memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from starskope import products
from starskope.frames.stacked import Stack, combine
from starskope.journal import Journal

META = {"method": "sigma_clip", "sigma": 3.0, "max_iters": 5, "center": "median"}


def blocks(n_row: int, n_col: int) -> list[Stack]:
    """Stacks of other numbers of frames, with pixels that some or all lack."""
    rng = np.random.default_rng(5)
    made = []
    for n_frame in (7, 1, 32):
        count = rng.integers(0, n_frame + 1, (n_row, n_col)).astype(np.int32)
        count[0] = 0
        image, std = (rng.normal(100, 9, count.shape).astype(np.float32) for _ in range(2))
        image[count == 0] = std[count == 0] = np.nan
        sky = rng.normal(5, 1, count.shape).astype(np.float32)
        sky[:, 0] = np.nan
        made.append(Stack(image, count, np.abs(std), sky, {"CAMERA": 1, "CCD": 4}, n_frame, dict(META)))
    return made


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("band", [1, 40, 10_000])
def test_the_stack_of_bands_is_that_of_whole_planes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, band: int, workers: int
) -> None:
    made = blocks(13, 17)
    with Journal(tmp_path) as journal:
        for number, block in enumerate(made):
            arrays = {
                "image": block.image,
                "count": block.count,
                "std": block.std,
                "background_image": block.background,
            }
            about = {"n_used": np.array(block.n_frame), "header": np.array(json.dumps(block.header))}
            journal.write(number, {**arrays, **about}, complete=True)
        # Nothing of a block without frames in the stack counts, whatever its planes hold.
        journal.write(3, {**arrays, **about, "n_used": np.array(0)}, complete=True)
        monkeypatch.setattr(products, "_BAND_VALUES", band)
        joined = products._stacked(journal, [0, 1, 2, 3], META, workers)
    whole = combine(made)
    for name in ("image", "count", "std", "background"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name), name)
    assert (joined.header, joined.n_frame, joined.meta) == (whole.header, whole.n_frame, whole.meta)
