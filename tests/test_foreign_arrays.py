"""Arrays of any make go in without a copy, results go where the caller says, or one line says why not."""

from __future__ import annotations

import array
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

import starskope as sk
from starskope.validation import as_array, as_float32, as_out, is_array

N_TIME, N_STAR = 120, 300
DATA = np.random.default_rng(7).normal(100.0, 2.0, (N_TIME, N_STAR)).astype(np.float32)


class OnlyDlpack:
    """What a tensor library without any of NumPy's protocols hands out."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values

    def __dlpack__(self, **settings: Any) -> Any:
        return self._values.__dlpack__(**settings)

    def __dlpack_device__(self) -> Any:
        return self._values.__dlpack_device__()


class OnlyInterface:
    def __init__(self, values: NDArray[Any]) -> None:
        self.__array_interface__ = values.__array_interface__
        self._values = values


def tensor(values: NDArray[Any]) -> Any:
    return pytest.importorskip("torch").from_numpy(values)


MAKES: dict[str, Callable[[NDArray[Any]], Any]] = {
    "memoryview": memoryview,
    "dlpack": OnlyDlpack,
    "interface": OnlyInterface,
    "torch": tensor,
}
CALLS: dict[str, Callable[..., NDArray[Any]]] = {
    "power_spectrum": lambda x, **more: sk.power_spectrum(x, cadence=0.02, **more).power,
    "lomb_scargle": lambda x, **more: sk.lomb_scargle(x, cadence=0.02, **more).power,
    "spectrogram": lambda x, **more: sk.spectrogram(x, cadence=0.02, segment=40, overlap=20, **more).power,
    "stack": lambda x, **more: sk.stack(x, **more).image,
}


def given(call: str, values: NDArray[Any] = DATA) -> NDArray[Any]:
    return values.reshape(N_TIME, 15, 20) if call == "stack" else values


@pytest.mark.parametrize("make", MAKES)
def test_memory_is_shared_not_copied(make: str) -> None:
    values = DATA.copy()
    assert np.shares_memory(as_float32(MAKES[make](values), "x"), values)


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("call", CALLS)
def test_every_make_gives_what_numpy_gives(call: str, make: str) -> None:
    values = given(call, DATA.copy())
    before = values.tobytes()
    np.testing.assert_array_equal(CALLS[call](MAKES[make](values)), CALLS[call](values))
    assert values.tobytes() == before


@pytest.mark.parametrize("call", CALLS)
def test_input_that_cannot_be_written_will_do(call: str) -> None:
    values = given(call, DATA.copy())
    values.flags.writeable = False
    np.testing.assert_array_equal(CALLS[call](values), CALLS[call](given(call)))


def test_no_copy_of_a_large_input_is_made() -> None:
    cube = np.ones((64, 256, 256), np.float32)
    tracemalloc.start()
    try:
        sk.stack(memoryview(cube))
        assert tracemalloc.get_traced_memory()[1] < cube.nbytes / 4
    finally:
        tracemalloc.stop()


def test_plain_buffers_are_arrays_and_lists_are_not() -> None:
    numbers = array.array("f", [1.0, 2.0])
    assert as_array(numbers, "x").tolist() == [1.0, 2.0]
    assert is_array(numbers)
    assert not is_array([DATA])
    assert not is_array("frames")


def test_arrays_elsewhere_are_named() -> None:
    class Elsewhere(OnlyDlpack):
        def __dlpack__(self, **settings: Any) -> Any:
            raise BufferError("this lies on a GPU")

    with pytest.raises(TypeError, match=r"x: expected .* main memory, got Elsewhere \(this lies on a GPU\)"):
        sk.power_spectrum(Elsewhere(DATA), cadence=0.02)


@pytest.mark.parametrize("call", CALLS)
def test_results_go_to_the_array_given(call: str) -> None:
    wanted = CALLS[call](given(call))
    out = np.full(wanted.shape, -1.0, np.float32)
    got = CALLS[call](given(call), out=out)
    assert got is out
    np.testing.assert_array_equal(out, wanted)


@pytest.mark.parametrize("call", CALLS)
def test_results_go_to_a_range_of_columns_and_nowhere_else(call: str) -> None:
    wanted = CALLS[call](given(call))
    wide = np.full((*wanted.shape[:-1], wanted.shape[-1] + 9), -1.0, np.float32)
    out = wide[..., 4:-5]
    CALLS[call](given(call), out=out)
    np.testing.assert_array_equal(out, wanted)
    assert (wide[..., :4] == -1.0).all()
    assert (wide[..., -5:] == -1.0).all()


@pytest.mark.parametrize("make", ["memoryview", "interface", "torch"])
@pytest.mark.parametrize("call", CALLS)
def test_results_go_to_arrays_of_other_makes(call: str, make: str) -> None:
    wanted = CALLS[call](given(call))
    memory = np.zeros(wanted.shape, np.float32)
    got = CALLS[call](given(call), out=MAKES[make](memory))
    assert np.shares_memory(got, memory)
    np.testing.assert_array_equal(memory, wanted)


def readonly(values: NDArray[Any]) -> NDArray[Any]:
    values.flags.writeable = False
    return values


WRONG: dict[str, tuple[Callable[[tuple[int, ...]], Any], type[Exception], str]] = {
    "dtype": (np.zeros, ValueError, "out: expected float32 .* got ndarray of float64"),
    "bytes": (lambda shape: np.zeros(shape, ">f4"), ValueError, "native byte order"),
    "shape": (lambda shape: np.zeros((*shape[:-1], shape[-1] + 1), np.float32), ValueError, "expected .* shape"),
    "axes": (lambda shape: np.zeros((1, *shape), np.float32), ValueError, "expected .* shape"),
    "read-only": (lambda shape: readonly(np.zeros(shape, np.float32)), ValueError, "writable .* got read-only"),
    "order": (lambda shape: np.zeros(shape, np.float32, order="F"), ValueError, "C-contiguous .* got strides"),
    "steps": (
        lambda shape: np.zeros((*shape[:-1], 2 * shape[-1]), np.float32)[..., ::2],
        ValueError,
        "C-contiguous .* got strides",
    ),
    "backwards": (lambda shape: np.zeros(shape, np.float32)[::-1], ValueError, "C-contiguous .* got strides"),
    "masked": (lambda shape: np.ma.zeros(shape, np.float32), ValueError, "got MaskedArray"),
    "list": (lambda shape: [[0.0]], TypeError, "out: expected an array to write to, got list"),
    "unaligned": (
        lambda shape: np.zeros(4 * int(np.prod(shape)) + 1, np.uint8)[1:].view(np.float32).reshape(shape),
        ValueError,
        "unaligned",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("call", CALLS)
def test_an_array_that_does_not_fit_is_refused_and_left_alone(call: str, wrong: str) -> None:
    make, error, message = WRONG[wrong]
    out = make(CALLS[call](given(call)).shape)
    with pytest.raises(error, match=message):
        CALLS[call](given(call), out=out)
    assert not np.any(out)


@pytest.mark.parametrize("call", CALLS)
def test_an_array_that_an_input_lies_in_is_refused(call: str) -> None:
    shape = CALLS[call](given(call)).shape
    room = np.concatenate([DATA.ravel(), np.zeros(int(np.prod(shape)), np.float32)])
    values = given(call, room[: DATA.size].reshape(DATA.shape))
    out = room[7 : 7 + int(np.prod(shape))].reshape(shape)
    with pytest.raises(ValueError, match="out: shares memory with an input"):
        CALLS[call](values, out=out)
    np.testing.assert_array_equal(room[: DATA.size], DATA.ravel())


def test_columns_beside_the_input_are_not_an_overlap() -> None:
    both = np.zeros((61, 40), np.float32)
    both[:, :20] = DATA[:61, :20]
    out = both[:31, 20:]
    sk.power_spectrum(both[:, :20], cadence=0.02, out=out)
    np.testing.assert_array_equal(out, sk.power_spectrum(DATA[:61, :20].copy(), cadence=0.02).power)


@pytest.mark.parametrize("block_frames", [None, 7])
def test_stacks_of_files_and_of_blocks_go_there_too(tmp_path: Path, block_frames: int | None) -> None:
    cube = given("stack")
    paths = []
    for i in range(20):
        paths.append(tmp_path / f"{i:02d}.fits")
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(cube[i])]).writeto(paths[-1])
    for frames in (cube[:20], paths):
        out = np.zeros(cube.shape[1:], np.float32)
        made = sk.stack(frames, block_frames=block_frames, out=out)
        assert made.image is out
        np.testing.assert_array_equal(out, sk.stack(frames, block_frames=block_frames).image)


def test_a_stream_has_no_place_for_its_image() -> None:
    with pytest.raises(ValueError, match="out: the shape of streamed frames"):
        sk.stack(["s3://stpubdata/a.fits"], out=np.zeros((2, 2), np.float32))


def test_one_row_or_column_may_lie_anywhere() -> None:
    assert as_out(np.zeros((5, 9), np.float32)[:, 3:4], "out", (5, 1)).shape == (5, 1)
    assert as_out(np.zeros((9, 5), np.float32)[4:5], "out", (1, 5)).shape == (1, 5)
    assert as_out(np.zeros((0, 5), np.float32), "out", (0, 5)).size == 0
    with pytest.raises(ValueError, match="strides"):
        as_out(np.lib.stride_tricks.as_strided(np.zeros(99, np.float32), (4, 5), (8, 4)), "out", (4, 5))
