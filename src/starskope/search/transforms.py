"""Fourier transforms of many series at once, forward and backward, real and complex.

Owns `fft`, `ifft`, `rfft` and `irfft`: their dtypes, axes and norms, which are SciPy's, along time instead of the last
axis. Refuses gaps, windows and scales of power (`power_spectrum` has them): a transform is the plain sum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from starskope import _core
from starskope.parallel import map_ranges, resolve_workers
from starskope.validation import as_array, as_out, choice, integer_at_least

__all__ = ["fft", "ifft", "irfft", "rfft"]

_NORMS = ("backward", "ortho", "forward")
_MOST = 1 << 26
_PER_RANGE = 256
"""Series that one worker takes at a time, or more where none are copied: any multiple of 64 gives the same bytes."""


def fft(
    x: ArrayLike,
    n: int | None = None,
    *,
    axis: int = 0,
    norm: str = "backward",
    workers: int = 1,
    out: Any = None,
) -> NDArray[Any]:
    """Transform complex series forward.

    Parameters
    ----------
    x : array_like (n_time, n_series) of real or complex numbers
        A single axis is one series. It is not written to.
    n : int, optional
        Length of the transform, up to 2**26: further samples are dropped, missing ones are 0. Default: n_time.
    axis : 0 or 1
        Axis of time; 1 costs transposing copies.
    norm : "backward", "ortho" or "forward"
        The transform is multiplied by 1, 1 / sqrt(n) or 1 / n.
    workers : int
        Compute threads, -1 = all CPUs of this process; the result has the same bytes for any number.
    out : (n, n_series) complex, optional
        Where the result goes, C-contiguous or a range of its last axis; no input may lie in it.

    Returns
    -------
    (n, n_series) complex64 or complex128
        Element k of each series, ``sum_j x[j] exp(-2 pi i j k / n)``; complex64 of numbers of half or single precision,
        complex128 of all others. With ``axis=1`` (n_series, n), of a single axis (n,). A series with a number that is
        not finite gives NaN and infinities; the others do not feel it.

    Raises
    ------
    TypeError, ValueError
        What was given does not fit; the message names it.

    Notes
    -----
    Any length: butterflies of 2, 3, 4, 5, 7, 8, 11, 13 and odd primes to 61; larger primes as convolutions (Rader,
    Bluestein) at about twice the cost. The relative error in the L2 norm is at most
    ``3 eps sqrt(log2 n)``, eps the roundoff of the type (6e-8, 1.1e-16). Neighbouring series share vectors, so time is
    best the first axis. Plans are kept and shared by all threads. Cost: O(n log n) per series; memory: the result, and
    up to 256 bytes per sample and worker.

    References
    ----------
    Good 1958, J. R. Stat. Soc. B 20, 361; Rader 1968, Proc. IEEE 56, 1107; Bluestein 1970, IEEE Trans. Audio
    Electroacoust. 18, 451

    Examples
    --------
    >>> import numpy as np
    >>> import starskope as sk
    >>> x = np.exp(2j * np.pi * 3 * np.arange(30) / 30)
    >>> int(np.argmax(np.abs(sk.fft(x))))
    3
    """
    return _complex("fft", x, n, axis, norm, workers, out, backward=False)


def ifft(
    x: ArrayLike,
    n: int | None = None,
    *,
    axis: int = 0,
    norm: str = "backward",
    workers: int = 1,
    out: Any = None,
) -> NDArray[Any]:
    """Transform complex series backward: the inverse of `fft`.

    Parameters
    ----------
    x : array_like (n_freq, n_series) of real or complex numbers
        Elements as `fft` gives them, zero frequency first.
    n, axis, workers, out
        As of `fft`.
    norm : "backward", "ortho" or "forward"
        The sum is multiplied by 1 / n, 1 / sqrt(n) or 1.

    Returns
    -------
    (n, n_series) complex64 or complex128
        ``sum_k x[k] exp(2 pi i j k / n)`` times the factor of ``norm``; otherwise as `fft`.

    Raises
    ------
    TypeError, ValueError
        What was given does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> import starskope as sk
    >>> x = np.arange(6) + 1j
    >>> bool(np.allclose(sk.ifft(sk.fft(x)), x))
    True
    """
    return _complex("ifft", x, n, axis, norm, workers, out, backward=True)


def rfft(
    x: ArrayLike,
    n: int | None = None,
    *,
    axis: int = 0,
    norm: str = "backward",
    workers: int = 1,
    out: Any = None,
) -> NDArray[Any]:
    """Transform real series forward; the frequencies that are left out hold conjugates of the others.

    Parameters
    ----------
    x : array_like (n_time, n_series) of real numbers
    n, axis, norm, workers
        As of `fft`.
    out : (n // 2 + 1, n_series) complex, optional
        As of `fft`.

    Returns
    -------
    (n // 2 + 1, n_series) complex64 or complex128
        Elements 0 to n // 2 of what `fft` gives. A series with a number that is not finite is NaN throughout.

    Raises
    ------
    TypeError, ValueError
        What was given does not fit; the message names it.

    Notes
    -----
    Two series share one complex transform, each scaled by a power of two, so that a faint one beside a bright one keeps
    the same relative error; its last digits depend on its neighbours, and the same batch gives the same bytes.

    Examples
    --------
    >>> import numpy as np
    >>> import starskope as sk
    >>> sk.rfft(np.ones((6, 2), np.float32)).shape
    (4, 2)
    """
    array, axis = _series("rfft", x, axis, complex_too=False)
    n = _length("rfft", n, array.shape[axis])
    wide = _is_wide(array.dtype)
    kernel = _Kernel(array[_first(n, axis)], axis, np.float64 if wide else np.float32, workers)
    factor = _factor(norm, n, backward=False)
    result = np.complex128 if wide else np.complex64
    return kernel.run(lambda data, to: _core.rfft(data, to, n, factor), n // 2 + 1, result, out)


def irfft(
    x: ArrayLike,
    n: int | None = None,
    *,
    axis: int = 0,
    norm: str = "backward",
    workers: int = 1,
    out: Any = None,
) -> NDArray[Any]:
    """Transform back to real series: the inverse of `rfft`.

    Parameters
    ----------
    x : array_like (n_freq, n_series) of real or complex numbers
        Elements 0 to n // 2; imaginary parts at zero frequency and, of an even n, at Nyquist are not read.
    n : int, optional
        Length of the result: further elements are dropped, missing ones are 0. Default: 2 (n_freq - 1), which is even,
        so an odd length must be given.
    axis, workers
        As of `fft`.
    norm : "backward", "ortho" or "forward"
        As of `ifft`.
    out : (n, n_series) real, optional
        As of `fft`.

    Returns
    -------
    (n, n_series) float32 or float64
        A series with a number that is not finite is NaN throughout.

    Raises
    ------
    TypeError, ValueError
        What was given does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> import starskope as sk
    >>> x = np.arange(5.0)
    >>> bool(np.allclose(sk.irfft(sk.rfft(x), 5), x))
    True
    """
    array, axis = _series("irfft", x, axis, complex_too=True)
    n = _length("irfft", n, 2 * (array.shape[axis] - 1))
    wide = _is_wide(array.dtype)
    kernel = _Kernel(array[_first(n // 2 + 1, axis)], axis, np.complex128 if wide else np.complex64, workers)
    factor = _factor(norm, n, backward=True)
    result = np.float64 if wide else np.float32
    return kernel.run(lambda data, to: _core.irfft(data, to, n, factor), n, result, out)


def _complex(
    caller: str, x: ArrayLike, n: int | None, axis: int, norm: str, workers: int, out: Any, *, backward: bool
) -> NDArray[Any]:
    array, axis = _series(caller, x, axis, complex_too=True)
    n = _length(caller, n, array.shape[axis])
    dtype = np.complex128 if _is_wide(array.dtype) else np.complex64
    factor = _factor(norm, n, backward=backward)
    kernel = _Kernel(array[_first(n, axis)], axis, dtype, workers)
    return kernel.run(lambda data, to: _core.fft(data, to, n, backward, factor), n, dtype, out)


@dataclass(frozen=True)
class _Kernel:
    """Series for a kernel that takes time-major blocks of ``dtype``."""

    array: NDArray[Any]
    axis: int
    dtype: type[np.generic]
    workers: int

    def run(
        self, transform: Callable[[NDArray[Any], NDArray[Any]], None], n_row: int, dtype: type[np.generic], out: Any
    ) -> NDArray[Any]:
        array, along = self.array, self.array.ndim == 2 and self.axis == 1
        n_series = 1 if array.ndim == 1 else array.shape[1 - self.axis]
        shape = (n_row,) if array.ndim == 1 else (n_series, n_row) if along else (n_row, n_series)
        result = as_out(out, "out", shape, dtype, inputs=(array,))
        rows = array.T if along else array.reshape(len(array), n_series)
        to = result.T if along else result.reshape(n_row, n_series)

        def part(start: int, stop: int) -> None:
            block = np.ascontiguousarray(rows[:, start:stop], self.dtype) if copied else rows[:, start:stop]
            if along:
                scratch = np.empty((n_row, stop - start), dtype)
                transform(block, scratch)
                to[:, start:stop] = scratch
            else:
                transform(block, to[:, start:stop])

        copied = along or not _is_plain(rows, self.dtype)
        workers = resolve_workers(self.workers)
        share = -(-n_series // (4 * workers if workers > 1 else 1))
        step = _PER_RANGE if copied else max(_PER_RANGE, -(-share // 64) * 64)
        map_ranges(part, n_series, step, workers)
        return result


def _is_plain(rows: NDArray[Any], dtype: type[np.generic]) -> bool:
    """Whether the kernels read these columns as they lie."""
    plain = rows.dtype == dtype and rows.dtype.isnative and rows.flags.aligned
    return plain and rows.strides[1] == rows.itemsize and rows.strides[0] >= rows.shape[1] * rows.itemsize


def _series(caller: str, x: Any, axis: int, *, complex_too: bool) -> tuple[NDArray[Any], int]:
    """Return series on one or two axes, and the axis of time."""
    if hasattr(x, "to_value"):
        raise TypeError(f"{caller}: x has a unit; give plain numbers (x.value)")
    array = as_array(x, f"{caller}: x")
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{caller}: x is masked, and a transform knows no gaps: fill them, or use power_spectrum")
    if array.dtype.kind not in ("fiuc" if complex_too else "fiu"):
        what = "real or complex numbers" if complex_too else "real numbers (fft takes complex ones)"
        raise TypeError(f"{caller}: x: expected an array of {what}, got dtype {array.dtype}")
    if array.ndim not in (1, 2):
        raise ValueError(
            f"{caller}: x has shape {array.shape}; expected one or two axes (a cube is x.reshape(n_time, -1))"
        )
    if isinstance(axis, bool) or axis not in (0, 1):
        raise ValueError(f"{caller}: axis={axis!r}: expected 0 (n_time, n_series) or 1 (n_series, n_time)")
    return np.asarray(array), 0 if array.ndim == 1 else axis


def _length(caller: str, n: int | None, given: int) -> int:
    if n is None:
        if given < 1:
            raise ValueError(f"{caller}: x gives a transform of length {given}: give n=, or a longer x")
        n = given
    n = integer_at_least(n, "n", 1)
    if n > _MOST:
        raise ValueError(f"n={n}: expected at most {_MOST}")
    return n


def _first(n: int, axis: int) -> tuple[slice, ...]:
    """Select the first n of the axis of time."""
    return (slice(None), slice(n)) if axis == 1 else (slice(n),)


def _is_wide(dtype: np.dtype[Any]) -> bool:
    return not (dtype.kind in "fc" and np.finfo(dtype).bits <= 32)


def _factor(norm: str, n: int, *, backward: bool) -> float:
    norm = choice(norm, "norm", _NORMS)
    if norm == "ortho":
        return float(n**-0.5)
    return 1.0 / n if (norm == "backward") == backward else 1.0
