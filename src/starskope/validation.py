"""Checks at the boundary: what callers pass becomes what the rooms work on, or one clear line says why not.

Owns the reading of arrays of any make (buffers, NumPy's protocols, DLPack) without a copy, their conversion to native
C-contiguous float32 or float64, the check of arrays that callers want results in, and scalars as plain Python numbers
in their range. Refuses to guess: complex, text and object arrays, booleans as numbers, and other shapes are a caller's
mistake.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Iterable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "as_array",
    "as_float32",
    "as_float64",
    "as_out",
    "choice",
    "finite",
    "integer_at_least",
    "is_array",
    "positive",
]

_T = TypeVar("_T", bound=str)


def is_array(value: Any) -> bool:
    """Say whether ``value`` is an array of some library, or memory with a shape, rather than a list of things."""
    if any(hasattr(value, protocol) for protocol in ("__array_interface__", "__array__", "__dlpack__")):
        return True
    try:
        memoryview(value)
    except TypeError:
        return False
    return True


def as_array(value: Any, name: str) -> NDArray[Any]:
    """Return ``value`` as a NumPy array (masked arrays stay masked) that shares its memory where it has any.

    Parameters
    ----------
    value : array-like
        NumPy arrays, anything with the buffer protocol, ``__array__``, ``__array_interface__`` or ``__dlpack__`` (CPU
        tensors of PyTorch), and nested sequences of numbers, which are copied.
    name : str
        What the error calls it.

    Raises
    ------
    TypeError
        No array, or one that is not in this computer's main memory.
    """
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asanyarray(value)
    except (ValueError, TypeError, RuntimeError, BufferError) as error:
        remedy = "expected an array of real numbers in main memory"
        raise TypeError(f"{name}: {remedy}, got {type(value).__name__} ({error})") from None


def as_out(
    value: Any,
    name: str,
    shape: tuple[int, ...],
    dtype: type[np.generic] = np.float32,
    inputs: Iterable[NDArray[Any] | None] = (),
) -> NDArray[Any]:
    """Return the array that results go to: a new one for None, else the caller's own memory.

    Parameters
    ----------
    value : array-like or None
        Native, aligned, writable, of this shape and dtype; C-contiguous, or a range of the last axis of such an array.
    name : str
        What the error calls it.
    shape, dtype
        Of the result.
    inputs : iterable of ndarray or None
        What must not share memory with it.

    Raises
    ------
    TypeError
        No array.
    ValueError
        Another shape, dtype, layout, read-only memory, or memory that an input lies in.
    """
    if value is None:
        return np.empty(shape, dtype)
    if not is_array(value):
        raise TypeError(f"{name}: expected an array to write to, got {type(value).__name__}")
    array = as_array(value, name)
    expected = f"{name}: expected {np.dtype(dtype)} in native byte order, shape {shape}"
    if isinstance(array, np.ma.MaskedArray) or array.dtype != dtype or not array.dtype.isnative or array.shape != shape:
        raise ValueError(f"{expected}; got {type(array).__name__} of {array.dtype}, shape {array.shape}")
    if not array.flags.writeable or not array.flags.aligned:
        fault = "unaligned" if array.flags.writeable else "read-only"
        raise ValueError(f"{expected}, writable and aligned; got {fault} memory")
    if not _is_block(array):
        raise ValueError(f"{expected}, C-contiguous or a range of its last axis; got strides {array.strides}")
    if any(one is not None and _share_memory(array, one) for one in inputs):
        raise ValueError(f"{name}: shares memory with an input: give an array of its own")
    return array


def _is_block(array: NDArray[Any]) -> bool:
    """Say whether the last axis is contiguous and all others are one axis of rows at a constant distance."""
    if array.size == 0 or array.flags.c_contiguous:
        return True
    sizes = [(n, stride) for n, stride in zip(array.shape, array.strides, strict=True) if n > 1]
    row = array.itemsize
    if array.shape[-1] > 1:
        n, stride = sizes.pop()
        if stride != row:
            return False
        row *= n
    distances = [stride for _, stride in sizes]
    wanted = [distances[-1] * math.prod(n for n, _ in sizes[k + 1 :]) for k in range(len(sizes))]
    return distances == wanted and distances[-1] >= row


def _share_memory(one: NDArray[Any], other: NDArray[Any]) -> bool:
    try:
        return bool(np.shares_memory(one, other, max_work=100_000))  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def as_float32(value: ArrayLike, name: str, n_axis: int | tuple[int, ...] | None = None) -> NDArray[np.float32]:
    """Return ``value`` as a native, C-contiguous float32 array: the same object where it is one already.

    Parameters
    ----------
    value : array-like
        Real numbers of any kind; masked elements become NaN. Values beyond float32 become infinite.
    name : str
        What the error calls it.
    n_axis : int or tuple of int, optional
        Numbers of axes that are accepted.

    Returns
    -------
    ndarray of float32
        Not to be written to: it may be the caller's own.

    Raises
    ------
    TypeError
        No array of real numbers.
    ValueError
        Another number of axes.
    """
    return _as_float(value, name, n_axis, np.float32)


def as_float64(value: ArrayLike, name: str, n_axis: int | tuple[int, ...] | None = None) -> NDArray[np.float64]:
    """Return ``value`` as a native, C-contiguous float64 array; otherwise as `as_float32`."""
    return _as_float(value, name, n_axis, np.float64)


def _as_float(value: ArrayLike, name: str, n_axis: int | tuple[int, ...] | None, dtype: type) -> NDArray[Any]:
    array = as_array(value, name)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected an array of real numbers, got dtype {array.dtype}")
    accepted = (n_axis,) if isinstance(n_axis, int) else n_axis
    if accepted is not None and array.ndim not in accepted:
        expected = " or ".join(map(str, accepted))
        raise ValueError(f"{name}: expected {expected} axes, got shape {array.shape}")
    if isinstance(array, np.ma.MaskedArray):
        array = np.ma.filled(array.astype(dtype), np.nan)
    with np.errstate(over="ignore"):
        return np.require(np.asarray(array), dtype=dtype, requirements=["C", "A"])


def finite(value: Any, name: str) -> float:
    """Return ``value`` as a finite float."""
    if isinstance(value, bool | str | bytes):
        raise TypeError(f"{name}={value!r}: expected a number")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}={value!r}: expected a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{name}={value!r}: expected a finite number")
    return number


def positive(value: Any, name: str) -> float:
    """Return ``value`` as a finite float above 0."""
    number = finite(value, name)
    if number <= 0:
        raise ValueError(f"{name}={value!r}: expected a number above 0")
    return number


def integer_at_least(value: Any, name: str, least: int) -> int:
    """Return ``value`` as an int of at least ``least``; floats are refused, also whole ones."""
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}={value!r}: expected an integer")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}={value!r}: expected an integer") from None
    if number < least:
        raise ValueError(f"{name}={value!r}: expected {least} or more")
    return number


def choice(value: Any, name: str, choices: Collection[_T]) -> _T:
    """Return the one of ``choices`` that ``value`` equals."""
    for known in choices:
        if value == known:
            return known
    expected = ", ".join(repr(known) for known in choices)
    raise ValueError(f"{name}={value!r}: expected one of {expected}")
