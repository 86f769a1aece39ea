"""The plan of reads against every other plan: exact union, least cost, each wanted byte once, and where it lies."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from starskope.frames.cutout_ranges import static_ranges
from starskope.layout.cube import CubeLayout
from starskope.transfer.options import TransferOptions
from starskope.transfer.planning import CostModel, Plan, choose_source, plan_ranges

FILE_BYTES = 120

ranges = st.lists(
    st.tuples(st.integers(0, FILE_BYTES - 1), st.integers(1, 30)).map(
        lambda entry: (entry[0], min(FILE_BYTES, entry[0] + entry[1]))
    ),
    min_size=1,
    max_size=12,
)


def wanted_bytes(wanted: list[tuple[int, int]]) -> set[int]:
    return {byte for start, stop in wanted for byte in range(start, stop)}


def read_bytes(plan: Plan) -> list[int]:
    return [byte for start, stop in plan.reads.tolist() for byte in range(start, stop)]


def check_parts(plan: Plan, wanted: list[tuple[int, int]]) -> None:
    """Every byte of every range lies in exactly one part, and that part within the read that it names."""
    found: dict[int, list[int]] = {number: [] for number in range(len(wanted))}
    for read, (start, stop) in enumerate(plan.reads.tolist()):
        parts = plan.parts_of(read)
        for number, first, last in zip(
            plan.part_range[parts], plan.part_start[parts], plan.part_stop[parts], strict=True
        ):
            assert start <= first < last <= stop
            found[int(number)] += range(first, last)
    for number, (start, stop) in enumerate(wanted):
        assert found[number] == list(range(start, stop))


@given(ranges, st.integers(0, 20))
def test_no_byte_comes_twice_and_none_is_missing(wanted, gap_bytes) -> None:
    plan = plan_ranges(wanted, gap_bytes=gap_bytes)
    come = read_bytes(plan)
    assert len(come) == len(set(come)) == plan.n_bytes
    assert wanted_bytes(wanted) <= set(come)
    assert plan.n_union_bytes == len(wanted_bytes(wanted))
    if gap_bytes == 0:
        assert set(come) == wanted_bytes(wanted)
    check_parts(plan, wanted)


@given(ranges, st.integers(0, 20))
def test_gaps_are_read_over_up_to_the_limit_and_no_further(wanted, gap_bytes) -> None:
    reads = plan_ranges(wanted, gap_bytes=gap_bytes).reads
    asked = wanted_bytes(wanted)
    assert all(start in asked and stop - 1 in asked for start, stop in reads.tolist())
    assert np.all(reads[1:, 0] - reads[:-1, 1] > gap_bytes)
    for start, stop in reads.tolist():
        longest = max(
            (len(list(run)) for there, run in itertools.groupby(range(start, stop), asked.__contains__) if not there),
            default=0,
        )
        assert longest <= gap_bytes


def islands(wanted: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The union as the naive reader sees it: byte by byte."""
    found = []
    asked = sorted(wanted_bytes(wanted))
    for _, run in itertools.groupby(enumerate(asked), lambda entry: entry[1] - entry[0]):
        run_bytes = [byte for _, byte in run]
        found.append((run_bytes[0], run_bytes[-1] + 1))
    return found


@given(ranges, st.floats(0.0, 0.05), st.integers(1, 4), st.floats(0.0, 0.01))
def test_no_other_plan_costs_less(wanted, latency_s, n_parallel, request_s) -> None:
    model = CostModel(latency_s=latency_s, bandwidth=1000.0, n_parallel=n_parallel, request_s=request_s)
    plan = plan_ranges(wanted, gap_bytes=model.gap_bytes)
    pieces = islands(wanted)
    least = min(
        model.seconds(1 + sum(cuts), pieces[-1][1] - pieces[0][0] - gaps)
        for cuts in itertools.product([False, True], repeat=len(pieces) - 1)
        for gaps in [sum(b[0] - a[1] for a, b, cut in zip(pieces, pieces[1:], cuts, strict=False) if cut)]
    )
    assert model.seconds(plan.n_read, plan.n_bytes) <= least + 1e-12


@given(ranges, st.integers(0, 20), st.integers(1, 40), st.integers(1, 8), st.integers(0, 10))
def test_long_reads_are_cut_between_units(wanted, gap_bytes, most, unit, origin) -> None:
    whole = plan_ranges(wanted, gap_bytes=gap_bytes)
    plan = plan_ranges(wanted, gap_bytes=gap_bytes, max_read_bytes=most, unit_bytes=unit, origin=origin)
    assert read_bytes(plan) == read_bytes(whole)
    assert np.all(plan.reads[:, 1] - plan.reads[:, 0] <= max(most, unit))
    starts, stops = set(whole.reads[:, 0].tolist()), set(whole.reads[:, 1].tolist())
    for start, stop in plan.reads.tolist():
        assert start in starts or (start - origin) % unit == 0
        assert stop in stops or (stop - origin) % unit == 0
    check_parts(plan, wanted)


@given(ranges, st.randoms(use_true_random=False))
def test_the_order_of_the_ranges_changes_no_read(wanted, random) -> None:
    shuffled = list(wanted)
    random.shuffle(shuffled)
    assert np.array_equal(plan_ranges(wanted, gap_bytes=3).reads, plan_ranges(shuffled, gap_bytes=3).reads)


def test_nothing_wanted_is_nothing_read() -> None:
    plan = plan_ranges([], gap_bytes=10, max_read_bytes=5)
    assert (plan.n_read, plan.n_bytes, plan.n_union_bytes, len(plan.part_range)) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [([(3, 3)], r"range 0 is \[3, 3\)"), ([(0, 2), (-1, 4)], r"range 1 is \[-1, 4\)"), ([1, 2, 3], r"\(3,\)")],
)
def test_impossible_ranges_are_refused(wanted, words) -> None:
    with pytest.raises(ValueError, match=words):
        plan_ranges(wanted)
    with pytest.raises(ValueError, match="gap_bytes is -1"):
        plan_ranges([(0, 1)], gap_bytes=-1)


def test_a_whole_ccd_of_targets_is_planned_in_little_memory() -> None:
    rng = np.random.default_rng(4)
    layout = CubeLayout(2078, 2136, 1282)
    row0, col0 = (rng.integers(0, length - 11, 18_400).astype(np.int32) for length in (2048, 2092))
    tracemalloc.start()
    try:
        wanted = static_ranges(layout, row0, col0, (11, 11))
        plan = plan_ranges(
            wanted.ranges, gap_bytes=170_000, max_read_bytes=2**20, unit_bytes=8 * layout.n_frame, origin=5760
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(wanted.ranges) == 202_400
    assert plan.n_bytes >= plan.n_union_bytes
    assert plan.n_union_bytes < 18_400 * 121 * 1282 * 8  # targets overlap, and what they share comes once
    assert peak < 50e6


def test_the_figures_of_ten_thousand_targets_hold() -> None:
    """Counted once on the real layout: 110,000 rows are 81,400 reads as exact union, 43,400 over gaps of 0.25 MB."""
    rng = np.random.default_rng(1)
    layout = CubeLayout(2078, 2136, 1282)
    row0 = rng.integers(0, 2048 - 10, 10_000).astype(np.int32)
    col0 = rng.integers(44, 2092 - 10, 10_000).astype(np.int32)
    wanted = static_ranges(layout, row0, col0, (11, 11)).ranges
    assert len(wanted) == 110_000
    assert plan_ranges(wanted).n_read == pytest.approx(81_400, rel=0.03)
    assert plan_ranges(wanted, gap_bytes=250_000).n_read == pytest.approx(43_400, rel=0.06)


def test_many_targets_are_cheaper_from_frames() -> None:
    free = CostModel(latency_s=0.0, request_s=0.0)
    common = {"size": (11, 11), "n_frame": 1282, "plane_bytes": 17_786_880}
    # Equal bytes at 17.78e6 / (8 w h) targets, whatever the number of frames.
    assert choose_source(18_300, model=free, **common) == "cube"
    assert choose_source(18_500, model=free, **common) == "ffi"
    assert choose_source(18_500, model=free, n_pass=2, **common) == "cube"
    # Latency speaks for fewer requests: eleven per cutout against one per frame.
    slow = CostModel(latency_s=10.0, n_parallel=1, bandwidth=1e12)
    assert choose_source(100, model=slow, **common) == "cube"
    assert choose_source(120, model=slow, **common) == "ffi"
    assert choose_source(18_500, model=free, cube_cost=(1, 1000), **common) == "cube"


def test_the_model_is_checked_and_comes_from_the_options() -> None:
    options = TransferOptions(assumed_latency_s=0.2, assumed_bytes_per_s=5e6, start_connections=7)
    assert CostModel.from_options(options) == CostModel(latency_s=0.2, bandwidth=5e6, n_parallel=7)
    for wrong in ({"latency_s": -1.0}, {"bandwidth": 0.0}, {"n_parallel": 0}, {"request_s": float("nan")}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            CostModel(**wrong)
