"""Which frames may enter a stack: flags, missing pixels, shapes, duplicates and damaged cards."""

from __future__ import annotations

import numpy as np
import pytest

from starskope.errors import FrameError
from starskope.frames.decode import Frame
from starskope.frames.quality import EXCLUDED, QUALITY_BITS, frame_quality, judge_frames, quality_names


def frame(index: int = 0, *, shape: tuple[int, int] = (20, 30), start: float | None = None, **cards: object) -> Frame:
    primary = {} if start is None else {"TSTART": start, "TSTOP": start + 0.02}
    return Frame(index, f"frame{index}.fits", np.ones(shape, np.float32), cards, {"SIMPLE": True} | primary)


@pytest.mark.parametrize("bit", sorted(QUALITY_BITS))
def test_each_bit_excludes_or_not_as_documented(bit: int) -> None:
    usable, reason = frame_quality(frame(DQUALITY=bit))
    assert usable == (not bit & EXCLUDED)
    assert (QUALITY_BITS[bit] in reason) == (not usable)
    assert frame_quality(frame(DQUALITY=bit), excluded=0) == (True, "")


def test_the_mask_is_the_one_that_the_archive_advises() -> None:
    # 0b0101001010111111: the mask of MAST's own notebooks.
    assert EXCLUDED == 0b0101001010111111


def test_names_of_several_and_of_unknown_bits() -> None:
    assert quality_names(0) == []
    assert quality_names(32 | 4) == ["coarse pointing", "momentum dump"]
    assert quality_names(1 << 20) == ["bit 1048576"]
    with pytest.raises(FrameError, match="-1"):
        quality_names(-1)


def test_missing_pixels_are_counted_over_the_science_region_only() -> None:
    cards = {"SCIROWS": 1, "SCIROWE": 20, "SCCSA": 11, "SCCED": 30}
    collateral_gone = frame(**cards)
    collateral_gone.image[:, :10] = np.nan
    assert frame_quality(collateral_gone) == (True, "")
    sky_gone = frame(**cards)
    sky_gone.image[:, 10:] = np.nan
    assert frame_quality(sky_gone) == (False, "every science pixel is NaN")
    mostly_gone = frame(**cards)
    mostly_gone.image[:13, 10:] = np.inf
    assert frame_quality(mostly_gone) == (False, "only 35% of the science pixels hold a number")
    assert frame_quality(mostly_gone, min_finite=0.3) == (True, "")


def test_a_block_is_judged_together() -> None:
    frames = [
        frame(0, start=1.0),
        frame(1, start=2.0, DQUALITY=32),
        frame(2, start=1.0),
        frame(3, start=3.0, shape=(5, 6)),
        frame(4, start=4.0),
        frame(5, start=5.0, DQUALITY="many"),
        frame(6),
        frame(7),
    ]
    frames[4].image[:] = np.nan
    used, measurable, reasons = judge_frames(frames)
    assert used.tolist() == [True, False, False, False, False, False, True, True]
    assert measurable.tolist() == [True, True, False, False, False, False, True, True]
    assert reasons[0] == reasons[6] == reasons[7] == ""
    assert "momentum dump" in reasons[1]
    assert "frame 0 (frame0.fits): a duplicate" in reasons[2]
    assert reasons[3] == "5x6 pixels where the others have 20x30"
    assert reasons[4] == "every science pixel is NaN"
    assert "frame5.fits: DQUALITY is 'many'" in reasons[5]


def test_the_shape_can_be_given_and_no_frame_is_no_error() -> None:
    used, _, reasons = judge_frames([frame(0), frame(1, shape=(5, 6))], shape=(5, 6))
    assert used.tolist() == [False, True]
    assert "20x30" in reasons[0]
    assert judge_frames([])[2] == []


def test_an_all_nan_frame_does_not_hide_a_good_one_of_the_same_time() -> None:
    frames = [frame(0, start=1.0), frame(1, start=1.0)]
    frames[0].image[:] = np.nan
    used, _, reasons = judge_frames(frames)
    assert used.tolist() == [False, True], reasons
