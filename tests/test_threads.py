"""Any number of workers gives the same bytes; kernels bear many threads at once and release the GIL."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_sector
from astropy.table import Table
from numpy.typing import NDArray
from small_sector import frame_files

from starskope import _core
from starskope.curves.extract import light_curves
from starskope.frames.decode import read_frame
from starskope.frames.photometry import measure
from starskope.frames.reduce import reduce_block
from starskope.frames.stack import clip_series, stack
from starskope.frames.stream import open_source, stream
from starskope.parallel import map_ranges, ranges

sector_dir = small_sector.sector_dir  # the fixture
WORKERS = (1, 2, 7, 8)
# A range holds 4,096 series: one less, as many, one more, and several ranges with a rest.
N_SERIES = (1, 17, 4095, 4096, 4097, 3 * 4096 + 257)


def series(n_time: int, n_series: int) -> NDArray[np.float32]:
    rng = np.random.default_rng([n_time, n_series])
    data = rng.normal(100.0, 5.0, size=(n_time, n_series)).astype(np.float32)
    data[rng.random(data.shape, np.float32) < 0.02] += np.float32(300.0)
    data[rng.random(data.shape, np.float32) < 0.02] = np.nan
    return data


def array_bytes(result: Any) -> dict[str, bytes]:
    """Give the bytes of every array that an object holds."""
    fields = vars(result) if hasattr(result, "__dict__") else {}
    arrays = {name: value.tobytes() for name, value in fields.items() if isinstance(value, np.ndarray)}
    assert arrays
    return arrays


def assert_same_for_any_workers(function: Callable[[int], Any]) -> None:
    first, *others = (array_bytes(function(workers)) for workers in WORKERS)
    for workers, other in zip(WORKERS[1:], others, strict=True):
        assert first.keys() == other.keys()
        for name, value in first.items():
            assert other[name] == value, (workers, name)


@pytest.mark.parametrize("n_series", N_SERIES)
@pytest.mark.parametrize("method", ["mean", "median", "sigma_clip"])
def test_clipped_series(method: Any, n_series: int) -> None:
    data = series(21, n_series)
    assert_same_for_any_workers(lambda n: clip_series(data, method=method, median=True, workers=n))


def test_splitting_series_by_hand_gives_the_same_bytes() -> None:
    data = series(40, 10_001)
    whole = clip_series(data)
    for cut in (1, 16, 33, 5000, 9999):
        parts = [clip_series(data[:, :cut]), clip_series(data[:, cut:])]
        for name in ("mean", "std", "count"):
            assert np.concatenate([getattr(p, name) for p in parts]).tobytes() == getattr(whole, name).tobytes(), cut


@pytest.mark.parametrize("block_frames", [None, 7])
def test_stack_of_files(sector_dir: Path, block_frames: int | None) -> None:
    files = frame_files(sector_dir)[:20]
    assert_same_for_any_workers(lambda n: stack(files, workers=n, block_frames=block_frames))


def test_stack_of_an_array() -> None:
    cube = series(33, 90 * 120).reshape(33, 90, 120)
    assert_same_for_any_workers(lambda n: stack(cube, workers=n))


def test_reduced_block(sector_dir: Path) -> None:
    frames = [read_frame(path, index=i) for i, path in enumerate(frame_files(sector_dir)[:16])]
    stars = Table.read(sector_dir / "catalog.ecsv")
    assert_same_for_any_workers(lambda n: reduce_block(frames, stars, workers=n))


def test_light_curves(sector_dir: Path) -> None:
    files = frame_files(sector_dir)[:37]
    stars = Table.read(sector_dir / "catalog.ecsv")

    def arrays(workers: int) -> Any:
        curves = light_curves(files, stars, workers=workers, block_frames=8)
        names = ("time", "flux", "flux_err", "quality", "background", "observer", "direction")
        holder = type("Arrays", (), {})()
        for name in names:
            setattr(holder, name, getattr(curves, name))
        return holder

    assert_same_for_any_workers(arrays)


@pytest.mark.parametrize("workers", WORKERS)
def test_streamed_frames_come_in_order_and_whole(sector_dir: Path, workers: int) -> None:
    files = frame_files(sector_dir)[:12]

    async def collect() -> list[tuple[int, Any]]:
        async with open_source(files) as source:
            few = 2 * files[0].stat().st_size
            indices = range(source.n_frame)
            return [pair async for pair in stream(source, indices, bytes_in_flight=few, workers=workers)]

    got = asyncio.run(collect())
    assert [index for index, _ in got] == list(range(12))
    for index, frame in got:
        assert frame.image.tobytes() == read_frame(files[index]).image.tobytes()


def kernels() -> dict[str, Callable[[], bytes]]:
    """Give one call of each kernel on inputs of its own, whose answer is bytes."""
    data = series(64, 1003)
    image = np.ascontiguousarray(series(90, 95))
    raw = np.random.default_rng(0).integers(0, 256, size=4 * 90 * 95 + 7, dtype=np.uint8).tobytes()
    rng = np.random.default_rng(1)
    row, column, radius = rng.uniform(-2, 92, 500), rng.uniform(-2, 97, 500), rng.uniform(0.4, 4.0, 500)

    def clip() -> bytes:
        done = clip_series(data, median=True)
        assert done.median is not None
        return b"".join(array.tobytes() for array in (done.mean, done.std, done.count, done.median))

    def sums() -> bytes:
        done = measure(image, np.full(500, 100.0), row, column, radius, exposure_s=1425.6)
        return done.flux.tobytes() + done.flux_err.tobytes() + done.n_bad.tobytes()

    def decode() -> bytes:
        out = np.empty((90, 95), np.float32)
        _core.decode_plane(raw, 7, out)
        return out.tobytes()

    def powers() -> bytes:
        out = np.empty((129, 1003), np.float32)
        periodogram = np.empty((128, 1003), np.float32)
        _core.power_spectrum(data, out, None, 257)
        _core.lomb_scargle(data, None, periodogram, 257)
        return out.tobytes() + periodogram.tobytes()

    def boxes() -> bytes:
        out = np.empty((len(PERIODS), 1003), np.float32)
        _core.BoxSearch(0.02 * np.arange(64.0), data).run(**box_trials(), power=out)
        return out.tobytes()

    return {"clip": clip, "sums": sums, "decode": decode, "powers": powers, "boxes": boxes}


PERIODS = np.linspace(0.3, 0.9, 40)


def box_trials() -> dict[str, Any]:
    """Give what one run of the box search needs but for its outputs."""
    first, last = np.zeros(len(PERIODS), np.int32), np.full(len(PERIODS), 2, np.int32)
    durations = np.array([0.05, 0.08])
    trials = {"period": PERIODS, "duration": durations, "oversample": 3, "first": first, "last": last}
    return {**trials, "likelihood": False}


@pytest.mark.parametrize("name", ["clip", "sums", "decode", "powers", "boxes"])
def test_eight_threads_at_once_get_the_same_bytes(name: str) -> None:
    function = kernels()[name]
    want = function()
    together = threading.Barrier(8)

    def many(_: int) -> bool:
        together.wait(timeout=60)
        return all(function() == want for _ in range(20))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(many, range(8)))


LONG_CALLS = (
    *("aperture_sums", "clip", "decode_plane", "rfft", "irfft", "fft", "power_spectrum", "spectrogram", "lomb_scargle"),
    *("box_search_stars", "box_search_run", "box_scan_run", "learn", "hidden_probabilities", "free_energy", "gibbs"),
)


@functools.cache
def long_calls() -> dict[str, Callable[[], None]]:
    """Give kernel calls that take at least some tens of milliseconds."""
    n = 2000
    image = np.ones((400, 400), np.float32)
    place, radius = np.full(n, 200.0), np.full(n, 60.0)
    total, area, n_bad = np.empty(n), np.empty(n), np.empty(n, np.int32)
    data = np.tile(series(1500, 512), (1, 16))
    mean = np.empty(8192, np.float32)
    raw, out = bytes(200 << 20), np.empty((10_000, 5_000), np.float32)
    limits: dict[str, Any] = {"sigma_low": 1.5, "sigma_high": 1.5, "max_iters": 50, "center": "median"}
    many = np.tile(data[:1024, :512], (1, 32))
    power, periodogram = np.empty((513, 16384), np.float32), np.empty((512, 16384), np.float32)
    halves, segments = np.empty((513, 16384), np.complex64), np.empty((15, 65, 16384), np.float32)
    back, turned = np.empty((1024, 16384), np.float32), np.empty((513, 16384), np.complex64)
    time_of_many = 0.02 * np.arange(1024.0)
    stars = _core.BoxSearch(time_of_many[:64], many[:64])
    scan = _core.BoxScan(time_of_many, many[:, :256])
    boxes = np.empty((len(PERIODS), 16384), np.float32)
    machine = {name: np.zeros(512, np.float32) for name in ("visible_bias", "hidden_bias")}
    machine["weights"], pixels = np.zeros((512, 512), np.float32), np.zeros((4096, 512), np.float32)
    units, energies = np.empty((4096, 512), np.float32), np.empty(4096)
    offsets = {name: np.zeros(512, np.float32) for name in ("visible_offset", "hidden_offset")}
    settings = {"gaussian": False, "centered": False, "has_hidden_offset": True, "k": 1, "batch_size": 256}
    rates = {"learning_rate": 0.01, "momentum": 0.0, "weight_decay": 0.0, "offset_rate": 0.0}
    learning = _core.ContrastiveDivergence({**machine, **offsets}, **settings, **rates, seed=[1, 2])
    draws: dict[str, Any] = {"n_steps": 2, "seed": [1, 2], "first_row": 0}
    return {
        "learn": lambda: learning.learn(pixels, np.arange(4096), 0, 0),
        "hidden_probabilities": lambda: _core.hidden_probabilities(pixels, **machine, out=units),
        "free_energy": lambda: _core.free_energy(pixels, **machine, gaussian=False, out=energies),
        "gibbs": lambda: _core.gibbs(pixels, **machine, gaussian=False, **draws, out=units),
        "box_scan_run": lambda: scan.run(**box_trials(), power=boxes[:, :256]),
        "rfft": lambda: _core.rfft(many, halves, 1024),
        "irfft": lambda: _core.irfft(halves, back, 1024),
        "fft": lambda: _core.fft(halves, turned, 513),
        "power_spectrum": lambda: _core.power_spectrum(many, power, None, 1024),
        "spectrogram": lambda: _core.spectrogram(many, segments, None, 128, 64),
        "lomb_scargle": lambda: _core.lomb_scargle(many, None, periodogram, 1024),
        "box_search_stars": lambda: _core.BoxSearch(time_of_many, many),
        "box_search_run": lambda: stars.run(**box_trials(), power=boxes),
        "aperture_sums": lambda: _core.aperture_sums(image, place, place, radius, total, area, n_bad),
        "clip": lambda: _core.clip(data, **limits, mean=mean),
        "decode_plane": lambda: _core.decode_plane(raw, 0, out),
    }


def calls_with_ticks(call: Callable[[], object]) -> int:
    """Make up to 20 calls; count, up to 3, those during which another thread's Python code ran."""
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.0005)

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        seen = 0
        for _ in range(20):
            begin = time.perf_counter()
            call()
            end = time.perf_counter()
            # With the GIL held nothing ticks inside; what ticks when the call has just returned lies at the end.
            seen += any(begin + 0.1 * (end - begin) < t < begin + 0.6 * (end - begin) for t in ticks)
            if seen == 3:
                break
        return seen
    finally:
        stop.set()
        ticker.join()


@pytest.mark.parametrize("name", LONG_CALLS)
def test_the_gil_is_released_while_a_kernel_works(name: str) -> None:
    assert calls_with_ticks(long_calls()[name]) == 3


def test_a_call_that_holds_the_gil_would_be_seen() -> None:
    numbers = np.random.default_rng(0).random(150_000).tolist()
    assert calls_with_ticks(lambda: sorted(numbers)) < 3


def test_ranges_do_not_depend_on_workers_and_results_keep_their_order() -> None:
    for n in (0, 1, 9, 10, 11, 100):
        want = list(ranges(n, 10))
        assert sum(stop - start for start, stop in want) == n
        for workers in WORKERS:
            assert map_ranges(lambda start, stop: (start, stop), n, 10, workers) == want


@pytest.mark.parametrize("workers", WORKERS)
def test_the_first_error_of_a_worker_reaches_the_caller(workers: int) -> None:
    def work(start: int, stop: int) -> int:
        if start >= 30:
            raise ArithmeticError(f"range {start}")
        return stop

    with pytest.raises(ArithmeticError, match="range 30"):
        map_ranges(work, 100, 10, workers)


def test_nested_use_ends() -> None:
    def inner(start: int, stop: int) -> int:
        return stop - start

    def outer(start: int, stop: int) -> int:
        return sum(map_ranges(inner, stop - start, 3, 8))

    assert sum(map_ranges(outer, 1000, 50, 8)) == 1000


def test_no_thread_is_left_behind() -> None:
    before = {thread.name for thread in threading.enumerate()}
    clip_series(series(10, 20_000), workers=8)
    assert {thread.name for thread in threading.enumerate()} == before
