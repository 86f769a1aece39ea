"""Checks at the boundary: what callers pass becomes what the rooms work on, or one clear line says why not.

Owns the conversion of array-likes to native C-contiguous float32 or float64, and of scalars to plain Python numbers in
their range. Refuses to guess: complex, text and object arrays, booleans as numbers, and other shapes are a caller's
mistake.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["as_float32", "as_float64", "choice", "finite", "integer_at_least", "positive"]

_T = TypeVar("_T", bound=str)


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
    try:
        array: NDArray[Any] = np.asanyarray(value)
    except ValueError as error:
        raise TypeError(f"{name}: expected an array of real numbers, got {type(value).__name__} ({error})") from None
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
