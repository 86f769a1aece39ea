"""Public transforms against sums in extended precision, by length, type and instruction set; and what they refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import reference_transforms as reference
from numpy.typing import NDArray
from tolerances import rtol_transform

import starskope as sk
from starskope import _core

# 2 x 641, 2 x 3 x 13 x 41, a power of two, 3 x 5^2 x 157; primes with and without a smooth neighbour; a prime squared.
LENGTHS = [641, 1009, 1282, 1543, 3198, 4096, 4489, 11775]
TYPES = [np.float32, np.float64]
COMPLEX = {np.float32: np.complex64, np.float64: np.complex128}


@pytest.fixture(params=_core.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _core.isa()
    _core.use_isa(request.param)
    yield request.param
    _core.use_isa(before)


def real(n: int, n_series: int, dtype: Any = np.float64) -> NDArray[Any]:
    return np.random.default_rng([n, n_series]).normal(size=(n, n_series)).astype(dtype)


def complex_noise(n: int, n_series: int, dtype: Any = np.float64) -> NDArray[Any]:
    return (real(n, n_series) + 1j * real(n, n_series + 1000)[:, :n_series]).astype(COMPLEX[dtype])


def error(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Largest relative L2 error of any series."""
    wrong = np.linalg.norm((found - expected).astype(np.complex128), axis=0)
    return float(np.max(wrong / np.linalg.norm(expected.astype(np.complex128), axis=0)))


@cache
def forward(n: int, n_series: int, kind: str, dtype: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    x = real(n, n_series, dtype) if kind == "real" else complex_noise(n, n_series, dtype)
    return x, reference.transform(x)


def held(n: int, n_series: int, dtype: Any) -> None:
    """Hold all four transforms of one length to their sums."""
    within, half = rtol_transform(n, dtype), n // 2 + 1
    z, expected = forward(n, n_series, "complex", dtype)
    assert error(sk.fft(z), expected) < within, n
    # Backward is forward of what is reversed.
    assert error(sk.ifft(z, norm="forward"), np.roll(expected[::-1], 1, axis=0)) < within, n
    x, expected = forward(n, n_series, "real", dtype)
    assert error(sk.rfft(x), expected[:half]) < within, n
    rounded = expected[:half].astype(COMPLEX[dtype])  # what goes in errs already
    assert error(sk.irfft(rounded, n), x) < 1.5 * within, n


@pytest.mark.parametrize("dtype", TYPES)
def test_every_length_to_300(isa: str, dtype: Any) -> None:
    for n in range(1, 301):
        held(n, 5, dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("n", LENGTHS)
def test_long_lengths(isa: str, n: int, dtype: Any) -> None:
    held(n, 3, dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("n_series", [1, 7, 8, 16, 17, 31, 32, 33, 64, 65, 130])
def test_any_number_of_series(isa: str, n_series: int, dtype: Any) -> None:
    held(30, n_series, dtype)
    held(74, n_series, dtype)


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft"])
@pytest.mark.parametrize("n", [1, 2, 5, 12, 30, 41, 64, 77])
@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
def test_lengths_axes_and_norms_are_those_of_scipy(name: str, n: int, norm: Any) -> None:
    import scipy.fft

    x = real(30, 6) if name == "rfft" else complex_noise(30, 6)
    for axis in (0, 1):
        given = x if axis == 0 else np.ascontiguousarray(x.T)
        expected = getattr(scipy.fft, name)(given, n, axis=axis, norm=norm)
        found = getattr(sk, name)(given, n, axis=axis, norm=norm)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14 * np.abs(expected).max() * np.sqrt(n))
    np.testing.assert_allclose(
        getattr(sk, name)(x[:, 2], norm=norm), getattr(scipy.fft, name)(x[:, 2], norm=norm), atol=1e-13
    )


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i2", "i8", "u1", ">f4", ">f8"])
def test_types_are_those_of_scipy(dtype: str) -> None:
    x = np.arange(24).reshape(12, 2).astype(dtype)
    wide = dtype not in ("f2", "f4", ">f4")
    assert sk.rfft(x).dtype == sk.fft(x).dtype == (np.complex128 if wide else np.complex64)
    assert sk.irfft(x).dtype == (np.float64 if wide else np.float32)
    expected = np.fft.fft(x.astype(np.float64), axis=0)
    assert error(sk.fft(x), expected) < 1e-6
    assert error(sk.rfft(x), expected[:7]) < 1e-6
    z = (x + 1j * x).astype(">c8")
    assert sk.fft(z).dtype == np.complex64
    assert error(sk.ifft(z, norm="forward"), np.fft.ifft(z, axis=0, norm="forward")) < 1e-6


@pytest.mark.parametrize("dtype", TYPES)
def test_faint_series_beside_bright_ones(isa: str, dtype: Any) -> None:
    n, reach = 120, 30 if dtype == np.float32 else 290
    size = 10.0 ** np.random.default_rng(3).uniform(-reach, reach, 130)
    x = (real(n, 130) * size).astype(dtype)
    expected = reference.transform(x)[: n // 2 + 1]
    scale = np.abs(expected).max(axis=0)
    assert error(sk.rfft(x).astype(np.clongdouble) / scale, expected / scale) < rtol_transform(n, dtype)
    back = sk.irfft(expected.astype(COMPLEX[dtype]), n)
    assert error(back / size, x / size) < 1.5 * rtol_transform(n, dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_a_series_that_is_not_finite_is_lost_alone(isa: str, dtype: Any) -> None:
    x = real(60, 40, dtype)
    whole = np.delete(np.arange(40), [3, 20, 39])
    x[17, 3], x[0, 20], x[59, 39] = np.nan, np.inf, -np.inf
    found = sk.rfft(x)
    assert np.isnan(found[:, [3, 20, 39]].real).all()
    assert np.isnan(found[:, [3, 20, 39]].imag).all()
    assert error(found[:, whole], reference.transform(x[:, whole])[:31]) < rtol_transform(60, dtype)
    z = sk.rfft(real(60, 40, dtype))
    z[17, 3], z[1, 20], z[30, 39] = np.nan, 1j * np.inf, np.inf
    z[0, 5] = complex(z[0, 5].real, np.nan)  # not read
    back = sk.irfft(z)
    assert np.isnan(back[:, [3, 20, 39]]).all()
    assert error(back[:, whole], real(60, 40, dtype)[:, whole]) < 2 * rtol_transform(60, dtype)
    z = complex_noise(60, 40, dtype)
    z[17, 3] = np.nan
    found = sk.fft(z)
    assert not np.isfinite(found[:, 3]).any()
    others = np.delete(np.arange(40), 3)
    assert error(found[:, others], reference.transform(z[:, others])) < rtol_transform(60, dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_zeros_huge_and_tiny_numbers(isa: str, dtype: Any) -> None:
    x = np.zeros((48, 33), dtype)
    x[:, 16] = real(48, 1, dtype)[:, 0]
    assert not sk.rfft(x)[:, [0, 32]].any()
    assert not sk.irfft(sk.rfft(x)).T[0].any()
    large, small = np.finfo(dtype).max / 100, np.finfo(dtype).tiny
    x[:, 0] = x[:, 16] * large / np.abs(x[:, 16]).max()
    x[:, 1] = x[:, 16] * small
    found = sk.irfft(sk.rfft(x))
    np.testing.assert_allclose(found[:, 0], x[:, 0], rtol=0, atol=1e-5 * large)
    np.testing.assert_allclose(found[:, 1], x[:, 1], rtol=0, atol=1e-5 * small)


TRANSFORMS: list[Callable[..., NDArray[Any]]] = [sk.fft, sk.ifft, sk.rfft, sk.irfft]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda function: function.__name__)
@pytest.mark.parametrize("dtype", TYPES)
def test_every_form_of_the_same_numbers_gives_the_same_bytes(transform: Callable[..., Any], dtype: Any) -> None:
    x = real(36, 300, dtype) if transform is sk.rfft else complex_noise(36, 300, dtype)
    expected = transform(x)
    before = x.tobytes()
    wide = np.zeros((72, 900), x.dtype)
    wide[::2, ::3] = x
    x.flags.writeable = False
    forms = {
        "read-only": x,
        "big-endian": x.astype(x.dtype.newbyteorder(">")),
        "strided": wide[::2, ::3],
        "Fortran order": np.asfortranarray(x),
        "backwards": np.ascontiguousarray(x[::-1])[::-1],
        "columns of a larger array": np.hstack([x[:, :5], x])[:, 5:],
        "rows of a larger array": np.vstack([x, x])[:36],
        "unaligned": np.frombuffer(b"?" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape),
    }
    for name, form in forms.items():
        assert transform(form).tobytes() == expected.tobytes(), name
    for workers in (2, 5, -1):
        assert transform(x, workers=workers).tobytes() == expected.tobytes()
    assert transform(np.ascontiguousarray(x.T), axis=1).T.tobytes() == expected.tobytes()
    assert x.tobytes() == before


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda function: function.__name__)
def test_results_go_where_they_are_wanted(transform: Callable[..., Any]) -> None:
    x = real(36, 70) if transform is sk.rfft else complex_noise(36, 70)
    expected = transform(x)
    wide = np.full((len(expected), 80), -7.0, expected.dtype)
    out = wide[:, 3:73]
    assert transform(x, out=out) is out
    assert out.tobytes() == expected.tobytes()
    assert (wide[:, :3] == -7).all()
    assert (wide[:, 73:] == -7).all()
    along = np.empty((70, len(expected)), expected.dtype)
    assert transform(x.T, axis=1, out=along) is along
    assert np.ascontiguousarray(along.T).tobytes() == expected.tobytes()
    line = np.empty(len(expected), expected.dtype)
    assert transform(x[:, 0], out=line) is line
    for wrong in (np.empty((3, 70), expected.dtype), expected.astype(np.complex64), expected[:, ::-1]):
        with pytest.raises(ValueError, match="out: "):
            transform(x, out=wrong)
    locked = expected.copy()
    locked.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        transform(x, out=locked)
    if transform in (sk.fft, sk.ifft):
        with pytest.raises(ValueError, match="shares memory"):
            transform(x, out=x)


def test_empty_batches_and_single_elements() -> None:
    assert sk.rfft(np.empty((10, 0))).shape == (6, 0)
    assert sk.irfft(np.empty((6, 0))).shape == (10, 0)
    assert sk.fft(np.empty((4, 0), np.complex64), 9).shape == (9, 0)
    assert sk.rfft([5.0]).tolist() == [5.0]
    assert sk.irfft([5.0], 1).tolist() == [5.0]
    assert sk.fft([2 + 1j]).tolist() == [2 + 1j]
    assert not sk.rfft(np.empty((0, 3)), 4).any()
    assert not sk.irfft(np.empty((0, 3)), 5).any()


def test_parseval_and_shift() -> None:
    z = complex_noise(1282, 20)
    found = sk.fft(z, norm="ortho")
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), np.linalg.norm(z, axis=0), rtol=1e-14)
    turn = np.exp(-2j * np.pi * 5 * np.arange(1282) / 1282)[:, np.newaxis]
    np.testing.assert_allclose(sk.fft(np.roll(z, 5, axis=0), norm="ortho"), turn * found, atol=1e-13)


@pytest.mark.parametrize("dtype", TYPES)
def test_instruction_sets_agree(dtype: Any) -> None:
    answers, before = [], _core.isa()
    for name in _core.available_isas():
        _core.use_isa(name)
        answers.append((sk.rfft(real(1282, 40, dtype)), sk.fft(complex_noise(1282, 40, dtype))))
    _core.use_isa(before)
    for half, whole in answers[1:]:
        assert error(half, answers[0][0]) < 2 * rtol_transform(1282, dtype)
        assert error(whole, answers[0][1]) < 2 * rtol_transform(1282, dtype)


@pytest.mark.parametrize(
    ("call", "kind", "told"),
    [
        (lambda: sk.rfft(np.ones(4, complex)), TypeError, "fft takes complex ones"),
        (lambda: sk.fft(["a"]), TypeError, "real or complex numbers"),
        (lambda: sk.fft(np.ones(4, bool)), TypeError, "dtype bool"),
        (lambda: sk.fft(np.ones((2, 2, 2))), ValueError, r"x.reshape\(n_time, -1\)"),
        (lambda: sk.fft(1.0), ValueError, "one or two axes"),
        (lambda: sk.fft(np.ones(4), axis=2), ValueError, "axis=2"),
        (lambda: sk.fft(np.ones(4), 0), ValueError, "n=0: expected 1 or more"),
        (lambda: sk.fft(np.ones(4), 2.0), TypeError, "n=2.0: expected an integer"),
        (lambda: sk.fft(np.ones(4), 1 << 27), ValueError, "expected at most 67108864"),
        (lambda: sk.fft(np.empty((0, 3))), ValueError, "length 0: give n="),
        (lambda: sk.irfft([1.0]), ValueError, "length 0: give n="),
        (lambda: sk.fft(np.ones(4), norm="unit"), ValueError, "norm='unit'"),
        (lambda: sk.fft(np.ones(4), workers=0), ValueError, "workers=0"),
        (lambda: sk.fft(np.ma.MaskedArray(np.ones(4))), TypeError, "masked"),
        (lambda: sk.fft(np.ones(4), out=[1]), TypeError, "out: expected an array"),
    ],
)
def test_what_cannot_be_meant_is_refused(call: Callable[[], Any], kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        call()


def test_the_core_refuses_what_does_not_fit() -> None:
    x, out = real(8, 3, np.float32), np.empty((5, 3), np.complex64)
    _core.rfft(x, out, 8)
    for arguments, told in (
        ((x, out, 7), "n_fft=7: cannot hold the 8 times"),
        ((x, out, -1), "n_fft=0: expected 1 to"),
        ((x, out, 10), "out: has shape 5 x 3, expected 6 x 3"),
        ((x, out.astype(np.complex128), 8), "data: expected an array of float64"),
        ((x.T.copy().T, out, 8), "data: expected contiguous rows"),
        ((x, out, 8, np.inf), "factor=inf: expected a finite number"),
    ):
        with pytest.raises(ValueError, match=told):
            _core.rfft(*arguments)
